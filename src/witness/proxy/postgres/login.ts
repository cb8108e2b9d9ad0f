/**
 * The client's log-in, up to the moment when a permit is held. Existence of users, databases and grants shows only to
 * somebody who has proved who they are.
 *
 *   SSLRequest / GSSENCRequest / direct TLS ─▶ StartupMessage ─▶ SCRAM (or certificate, or cleartext in TLS) ─▶ permit
 *                                        └───▶ CancelRequest
 */
import { ByteWriter } from '../../../base/bytes.ts';
import { limits } from '../../../base/limits.ts';
import type { LoginRefusal, Permit, ScramVerifier } from '../../../model/access.ts';
import type { Link, ServerTlsOptions } from '../../../transport/link.ts';
import {
  decodePassword,
  decodeSaslInitialResponse,
  encodeAuthentication,
} from '../../../wire/postgres/authentication.ts';
import { MessageCursor, nextMessage } from '../../../wire/postgres/framing.ts';
import { clientAuthenticating } from '../../../wire/postgres/messages.ts';
import {
  isScramMechanism,
  SCRAM_SHA_256,
  SCRAM_SHA_256_PLUS,
  scramMechanisms,
  ScramServer,
} from '../../../wire/postgres/scram.ts';
import {
  type CancelRequest,
  decodeCancelRequest,
  decodeStartupMessage,
  ENCRYPTION_REFUSED,
  encodeNegotiateProtocolVersion,
  negotiateProtocol,
  nextStartupPacket,
  startupKind,
  type StartupMessage,
  TLS_HANDSHAKE_BYTE,
} from '../../../wire/postgres/startup.ts';
import { HandshakeReader } from '../handshake.ts';
import { LoginRefused } from '../login-failed.ts';
import type { PgContext } from './context.ts';
import { SQLSTATE } from './refusal.ts';

export interface LoginSettings {
  /** TLS for handshakes that start now; `null`: not offered. */
  readonly tls: () => ServerTlsOptions | null;
  /** Ask for the password in clear inside TLS, for clients without SCRAM. */
  readonly allowCleartext: boolean;
  /** Clients must use TLS. */
  readonly requireTls: boolean;
  /** A verified client certificate whose common name is the user's name is proof enough. */
  readonly certificateLogin: boolean;
}

/** Somebody who has proved who they are, with the permit to open one session. */
export interface Login {
  readonly link: Link;
  readonly startup: StartupMessage;
  /** Minor version spoken with the client. */
  readonly minor: number;
  readonly user: string;
  readonly permit: Permit;
  readonly credentialUid: string;
  readonly authentication: 'password' | 'api_key' | 'certificate';
}

export class LoginError extends LoginRefused {
  readonly sqlstate: string;

  constructor(sqlstate: string, message: string, auditReason: string) {
    super(message, auditReason);
    this.sqlstate = sqlstate;
  }
}

type Packet =
  | { readonly kind: 'tls'; readonly head: Buffer }
  | { readonly kind: 'ssl' | 'gssenc' }
  | { readonly kind: 'cancel'; readonly request: CancelRequest }
  | { readonly kind: 'startup'; readonly startup: StartupMessage };

/** What the caller needs for the audit when a log-in fails half way. */
export interface LoginProgress {
  link: Link;
  user: string;
  database: string;
  applicationName: string;
}

/**
 * Runs the log-in on a fresh link. Resolves with `null` when it was a cancel request (handled). Rejects with a
 * LoginError, or an AppError for a client that does not keep to the protocol; nothing has been told to the client then.
 */
export async function logIn(
  context: PgContext,
  settings: LoginSettings,
  progress: LoginProgress,
  onCancel: (request: CancelRequest) => Promise<void>,
): Promise<Login | null> {
  let reader = new HandshakeReader(progress.link);
  let asked = { ssl: false, gssenc: false };
  for (;;) {
    const packet = await reader.read(parsePacket(progress.link.tls !== null));
    switch (packet.kind) {
      case 'cancel':
        await onCancel(packet.request);
        return null;
      case 'gssenc':
      case 'ssl': {
        if (asked[packet.kind] || progress.link.tls) throw twice(packet.kind);
        asked = { ...asked, [packet.kind]: true };
        const tls = packet.kind === 'ssl' ? settings.tls() : null;
        const accept = tls !== null;
        if (accept && reader.leftover > 0) throw earlyBytes();
        progress.link.send(Buffer.from([accept ? 0x53 : ENCRYPTION_REFUSED]));
        if (!accept) break;
        progress.link = await progress.link.startServerTls(tls);
        reader = new HandshakeReader(progress.link);
        break;
      }
      case 'tls': {
        const tls = settings.tls();
        if (!tls)
          throw new LoginError(
            SQLSTATE.featureNotSupported,
            'TLS is not offered here',
            'direct TLS without a certificate',
          );
        progress.link = await progress.link.startServerTls(tls, packet.head);
        if (progress.link.tls?.alpn !== 'postgresql')
          throw new LoginError(
            SQLSTATE.protocolViolation,
            'direct TLS without the ALPN protocol "postgresql"',
            'direct TLS without ALPN',
          );
        reader = new HandshakeReader(progress.link);
        break;
      }
      case 'startup':
        return new ClientLogin(context, settings, progress, reader, packet.startup).run();
    }
  }
}

function parsePacket(insideTls: boolean) {
  return (bytes: Buffer, start: number, end: number): { value: Packet; next: number } | null => {
    if (start === end) return null;
    if (!insideTls && bytes[start] === TLS_HANDSHAKE_BYTE)
      return { value: { kind: 'tls', head: Buffer.from(bytes.subarray(start, end)) }, next: end };
    const cursor = new MessageCursor();
    if (!nextStartupPacket(bytes, start, end, cursor)) return null;
    const kind = startupKind(cursor);
    const next = cursor.end;
    if (kind === 'cancel') {
      const { processId, key } = decodeCancelRequest(bytes, start, next);
      return { value: { kind, request: { processId, key: Buffer.from(key) } }, next };
    }
    if (kind === 'startup')
      return { value: { kind, startup: decodeStartupMessage(bytes, start, next) }, next };
    return { value: { kind }, next };
  };
}

function twice(kind: string): LoginError {
  return new LoginError(
    SQLSTATE.protocolViolation,
    `a second request for encryption (${kind})`,
    'encryption asked for twice',
  );
}

function earlyBytes(): LoginError {
  return new LoginError(
    SQLSTATE.protocolViolation,
    'received unencrypted data after SSL request',
    'bytes before the TLS handshake: a faulty client or an attempted man-in-the-middle attack',
  );
}

class ClientLogin {
  readonly #context: PgContext;
  readonly #settings: LoginSettings;
  readonly #progress: LoginProgress;
  readonly #reader: HandshakeReader;
  readonly #startup: StartupMessage;

  constructor(
    context: PgContext,
    settings: LoginSettings,
    progress: LoginProgress,
    reader: HandshakeReader,
    startup: StartupMessage,
  ) {
    this.#context = context;
    this.#settings = settings;
    this.#progress = progress;
    this.#reader = reader;
    this.#startup = startup;
  }

  get #link(): Link {
    return this.#progress.link;
  }

  async run(): Promise<Login> {
    const { parameters } = this.#startup;
    const user = parameters.get('user') ?? '';
    const database = parameters.get('database') || user;
    Object.assign(this.#progress, {
      user,
      database,
      applicationName: parameters.get('application_name') ?? '',
    });
    const { minor, answer } = negotiateProtocol(this.#startup);
    if (answer) {
      const writer = new ByteWriter(256);
      encodeNegotiateProtocolVersion(writer, answer);
      this.#link.send(writer.copy());
    }
    if (user === '')
      throw new LoginError(
        SQLSTATE.invalidAuthorization,
        'no user name was given; put your dbwitness user name',
        'no user name',
      );
    if (this.#settings.requireTls && !this.#link.tls)
      throw new LoginError(
        SQLSTATE.invalidAuthorization,
        'this server accepts TLS connections only; connect with sslmode=require',
        'TLS required',
      );
    const proof = await this.#authenticate(user, database);
    // Before any refusal, as from the server: libpq tries a second time, without TLS, if it is refused before.
    this.#ask({ kind: 'ok' });
    const result = await this.#context.authority.permit({
      userUid: proof.userUid,
      database,
      engine: 'postgres',
      credentialUid: proof.credentialUid,
    });
    if (!result.ok) throw new LoginError(stateOf(result.refusal), result.message, result.refusal);
    return { link: this.#link, startup: this.#startup, minor, user, permit: result.permit, ...proof };
  }

  async #authenticate(
    user: string,
    database: string,
  ): Promise<{ userUid: string; credentialUid: string; authentication: Login['authentication'] }> {
    const { authority } = this.#context;
    const clientAddress = this.#link.peer.address;
    const challenge = await authority.challenge({ user, database, engine: 'postgres', clientAddress });
    if (challenge.delayMs > 0) await new Promise((resolve) => setTimeout(resolve, challenge.delayMs));
    const byCertificate =
      this.#settings.certificateLogin &&
      this.#link.tls?.clientCertificate != null &&
      this.#link.tls.clientCommonName === user;
    if (byCertificate && challenge.userUid !== null)
      return { userUid: challenge.userUid, credentialUid: '', authentication: 'certificate' };
    const match =
      this.#settings.allowCleartext && this.#link.tls
        ? await this.#cleartext(user, clientAddress)
        : await this.#scram(challenge.scram);
    authority.proved({ user, clientAddress, credentialUid: match?.credentialUid ?? null });
    const userUid = match && 'userUid' in match ? match.userUid : challenge.userUid;
    if (!match || userUid === null)
      throw new LoginError(
        SQLSTATE.invalidPassword,
        `password authentication failed for user "${user}"`,
        'wrong secret or unknown user',
      );
    return { userUid, credentialUid: match.credentialUid, authentication: match.kind };
  }

  async #cleartext(user: string, clientAddress: string) {
    this.#ask({ kind: 'cleartext' });
    const message = await this.#reader.read(parsePassword);
    const secret = decodePassword(message, 5, message.length);
    return this.#context.authority.checkSecret({ user, secret, clientAddress });
  }

  async #scram(challenge: {
    readonly salt: Uint8Array;
    readonly iterations: number;
    readonly verifiers: readonly ScramVerifier[];
  }): Promise<ScramVerifier | null> {
    // Ed25519 certificates have no tls-server-end-point, so no channel binding.
    const binding = this.#link.tls?.serverEndPoint;
    const endPoint = binding && binding.length > 0 ? binding : null;
    this.#ask({ kind: 'sasl', mechanisms: scramMechanisms(endPoint) });
    const first = await this.#reader.read(parsePassword);
    const { mechanism, data } = decodeSaslInitialResponse(first, 5, first.length);
    const offered = mechanism === SCRAM_SHA_256 || (mechanism === SCRAM_SHA_256_PLUS && endPoint !== null);
    if (!isScramMechanism(mechanism) || !offered || data === null)
      throw new LoginError(
        SQLSTATE.protocolViolation,
        'client selected an invalid SASL authentication mechanism',
        'SASL mechanism not offered',
      );
    const server = new ScramServer<ScramVerifier>({ mechanism, serverEndPoint: endPoint, ...challenge });
    this.#ask({ kind: 'sasl-continue', data: server.challenge(data) });
    const final = await this.#reader.read(parsePassword);
    const result = server.verify(final.subarray(5));
    if (!result.ok) return null;
    this.#ask({ kind: 'sasl-final', data: result.message });
    return result.verifier;
  }

  #ask(message: Parameters<typeof encodeAuthentication>[1]): void {
    const writer = new ByteWriter(512);
    encodeAuthentication(writer, message);
    this.#link.send(writer.copy());
  }
}

function parsePassword(bytes: Buffer, start: number, end: number): { value: Buffer; next: number } | null {
  const cursor = new MessageCursor();
  if (!nextMessage(bytes, start, end, clientAuthenticating, cursor)) return null;
  return { value: Buffer.from(bytes.subarray(start, cursor.end)), next: cursor.end };
}

function stateOf(refused: LoginRefusal): string {
  switch (refused) {
    case 'wrong_secret':
    case 'unknown_user':
      return SQLSTATE.invalidPassword;
    case 'unknown_database':
    case 'no_database':
    case 'no_grant': // whether the database exists is not for those who have no grant for it
      return SQLSTATE.invalidCatalog;
    case 'quota_used_up':
      return SQLSTATE.quotaExceeded;
    case 'throttled':
      return SQLSTATE.tooManyConnections;
    case 'grant_not_started':
    case 'grant_ended':
    case 'role_missing':
      return SQLSTATE.invalidAuthorization;
  }
}

export const LOGIN_TIMEOUT_MS = limits.authenticationTimeoutMs;
