/**
 * Opening the upstream connection of a session: dial, TLS as the database's ssl_mode says, log-in with the stored
 * credentials, up to the first ReadyForQuery. Errors of the server at log-in are told to the person without the
 * credentials' details; those about the client's own settings as the server says them.
 */
import { pbkdf2 } from 'node:crypto';
import { promisify } from 'node:util';
import { AppError } from '../../../base/errors.ts';
import { ByteWriter } from '../../../base/bytes.ts';
import { limits } from '../../../base/limits.ts';
import type { UpstreamTarget } from '../../../model/access.ts';
import type { Link, Reactor } from '../../../transport/link.ts';
import {
  type Authentication,
  decodeAuthentication,
  encodePassword,
  encodeSaslInitialResponse,
  encodeSaslResponse,
} from '../../../wire/postgres/authentication.ts';
import { decodeErrorFields, decodeParameterStatus } from '../../../wire/postgres/backend.ts';
import { MessageCursor, nextMessage } from '../../../wire/postgres/framing.ts';
import { Backend as T, upstreamAuthenticating } from '../../../wire/postgres/messages.ts';
import { chooseScramMechanism, md5Response, ScramClient } from '../../../wire/postgres/scram.ts';
import {
  decodeBackendKeyData,
  encodeEncryptionRequest,
  encodeStartupMessage,
  PROTOCOL_3_0,
} from '../../../wire/postgres/startup.ts';
import { HandshakeReader, withTimeout } from '../handshake.ts';
import { clientTls, dialAddress } from './upstream-address.ts';

const DIAL_TIMEOUT_MS = 10_000;
/** A server that takes connections and then says nothing must not hold them, nor those who wait for it. */
const LOGIN_TIMEOUT_MS = 30_000;
const pbkdf2Async = promisify(pbkdf2);

export interface UpstreamConnection {
  readonly link: Link;
  readonly encrypted: boolean;
  readonly processId: number;
  readonly key: Buffer;
  /** ParameterStatus in the order reported. */
  readonly parameters: ReadonlyMap<string, string>;
  /** Notices of the log-in, whole messages. */
  readonly notices: readonly Buffer[];
  readonly transactionStatus: number;
}

interface Message {
  readonly type: number;
  readonly whole: Buffer;
}

export async function connectUpstream(
  reactor: Reactor,
  target: UpstreamTarget,
  parameters: ReadonlyMap<string, string>,
): Promise<UpstreamConnection> {
  const link = await secured(reactor, target);
  try {
    return await withTimeout(
      logIn(link, target, parameters),
      LOGIN_TIMEOUT_MS,
      'the log-in at the database server',
    );
  } catch (error) {
    link.destroy();
    throw error;
  }
}

async function secured(reactor: Reactor, target: UpstreamTarget): Promise<Link> {
  const link = await reactor.dial(dialAddress(target, DIAL_TIMEOUT_MS));
  // Unix sockets never speak TLS, as in libpq.
  if (target.sslMode === 'disable' || target.host.startsWith('/')) return link;
  const reader = new HandshakeReader(link);
  const writer = new ByteWriter(16);
  encodeEncryptionRequest(writer, 'ssl');
  link.send(writer.copy());
  try {
    const answer = await withTimeout(
      reader.read((bytes, start, end) => (start < end ? { value: bytes[start], next: start + 1 } : null)),
      DIAL_TIMEOUT_MS,
      "the database server's answer to the request for TLS",
    );
    if (answer === 0x53) {
      if (reader.leftover > 0)
        throw new AppError(
          'protocol',
          'PROXY_UPSTREAM_EARLY_BYTES',
          'the server sent bytes before TLS began; something in between interferes',
        );
      return await link.startClientTls(clientTls(target));
    }
    if (answer === 0x4e && target.sslMode === 'prefer') return link;
    throw new AppError(
      'unavailable',
      'PROXY_UPSTREAM_NO_TLS',
      `the database server does not offer TLS, but ssl_mode of this database is ${target.sslMode}; an administrator can change either`,
    );
  } catch (error) {
    link.destroy();
    throw error;
  }
}

async function logIn(
  link: Link,
  target: UpstreamTarget,
  parameters: ReadonlyMap<string, string>,
): Promise<UpstreamConnection> {
  const reader = new HandshakeReader(link);
  const writer = new ByteWriter(1024);
  const all = new Map([['user', target.username], ['database', target.databaseName], ...parameters]);
  encodeStartupMessage(writer, { protocol: PROTOCOL_3_0, parameters: all });
  link.send(writer.copy());
  const login = new UpstreamLogin(link, target);
  const statuses = new Map<string, string>();
  const notices: Buffer[] = [];
  let processId = 0;
  let key: Buffer = Buffer.alloc(4);
  for (;;) {
    const { type, whole } = await reader.read(parseMessage);
    switch (type) {
      case T.Authentication:
        await login.answer(decodeAuthentication(whole, 5, whole.length));
        break;
      case T.ParameterStatus: {
        const { name, value } = decodeParameterStatus(whole, 5, whole.length);
        statuses.set(name, value);
        break;
      }
      case T.BackendKeyData: {
        const data = decodeBackendKeyData(whole, 5, whole.length);
        processId = data.processId;
        key = Buffer.from(data.key);
        break;
      }
      case T.NoticeResponse:
        notices.push(whole);
        break;
      case T.ErrorResponse:
        throw upstreamRefused(whole, login.done);
      case T.NegotiateProtocolVersion:
        break; // we asked for 3.0 and no options: nothing can have been turned down
      case T.ReadyForQuery:
        login.demandDone();
        return {
          link,
          encrypted: link.tls !== null,
          processId,
          key,
          parameters: statuses,
          notices,
          transactionStatus: whole[5],
        };
      default:
        throw new AppError(
          'protocol',
          'PROXY_UPSTREAM_UNEXPECTED',
          `the database server sent message type 0x${type.toString(16)} during the log-in`,
        );
    }
  }
}

function parseMessage(bytes: Buffer, start: number, end: number): { value: Message; next: number } | null {
  const cursor = new MessageCursor();
  if (!nextMessage(bytes, start, end, upstreamAuthenticating, cursor)) return null;
  return {
    value: { type: cursor.type, whole: Buffer.from(bytes.subarray(start, cursor.end)) },
    next: cursor.end,
  };
}

/** SQLSTATEs of what a client can get wrong in its start-up settings: values, names, the form of `options`. */
const ABOUT_SETTINGS = /^(22...|42601|42602|42704|55P02)$/;

/** The server turned down a setting that came from the client: its own words are the answer. */
export class SettingRefused extends AppError {
  /** The server's ErrorResponse, whole. */
  readonly response: Buffer;

  constructor(response: Buffer, message: string) {
    super('invalid', 'PROXY_SETTING_REFUSED', message);
    this.response = response;
  }
}

/** The server's own refusal, without what only the administrator of dbwitness may know. */
function upstreamRefused(whole: Buffer, loggedIn: boolean): AppError {
  const fields = decodeErrorFields(whole, 5, whole.length);
  const code = fields.get('C') ?? '';
  if (loggedIn && ABOUT_SETTINGS.test(code)) return new SettingRefused(whole, fields.get('M') ?? code);
  const aboutCredentials = code.startsWith('28');
  const message = aboutCredentials
    ? 'the database server refused the credentials stored for this database; an administrator must correct them'
    : `the database server refused the connection: ${fields.get('M') ?? 'no reason given'}`;
  return new AppError('unavailable', 'PROXY_UPSTREAM_REFUSED', message, {
    details: { sqlstate: aboutCredentials ? '08004' : code },
  });
}

class UpstreamLogin {
  readonly #link: Link;
  readonly #target: UpstreamTarget;
  #scram: ScramClient | null = null;
  #done = false;
  #serverProved = true;

  constructor(link: Link, target: UpstreamTarget) {
    this.#link = link;
    this.#target = target;
  }

  async answer(request: Authentication): Promise<void> {
    const { username, password } = this.#target;
    const writer = new ByteWriter(1024);
    switch (request.kind) {
      case 'ok':
        if (!this.#serverProved) throw unproved();
        this.#done = true;
        return;
      case 'cleartext':
        encodePassword(writer, password);
        break;
      case 'md5':
        encodePassword(writer, md5Response(username, password, request.salt));
        break;
      case 'sasl': {
        const endPoint = this.#link.tls?.serverEndPoint ?? null;
        const mechanism = chooseScramMechanism(
          request.mechanisms,
          endPoint && endPoint.length > 0 ? endPoint : null,
        );
        if (mechanism === null || this.#scram) throw unsupported(request.mechanisms.join(', '));
        this.#scram = new ScramClient({
          mechanism,
          serverEndPoint: mechanism.endsWith('PLUS') ? endPoint : null,
        });
        this.#serverProved = false;
        encodeSaslInitialResponse(writer, { mechanism, data: this.#scram.first() });
        break;
      }
      case 'sasl-continue':
        if (!this.#scram) throw unproved();
        encodeSaslResponse(writer, await this.#scram.proof(request.data, password, deriveKey));
        break;
      case 'sasl-final':
        if (!this.#scram) throw unproved();
        this.#scram.finish(request.data);
        this.#serverProved = true;
        return;
      case 'gss':
      case 'gss-continue':
      case 'kerberos5':
      case 'sspi':
      case 'unknown':
        throw unsupported(request.kind);
    }
    this.#link.send(writer.copy());
  }

  /** The server has accepted the credentials. */
  get done(): boolean {
    return this.#done;
  }

  demandDone(): void {
    if (!this.#done) throw unproved();
  }
}

// On the thread pool: 4096 rounds take milliseconds, and a hostile server may ask for many more.
async function deriveKey(password: Buffer, salt: Uint8Array, iterations: number): Promise<Uint8Array> {
  return pbkdf2Async(password, salt, Math.min(iterations, limits.maxScramIterations), 32, 'sha256');
}

function unproved(): AppError {
  return new AppError(
    'protocol',
    'PROXY_UPSTREAM_UNPROVED',
    'the database server left out steps of its log-in; it may not be the server it claims to be',
  );
}

function unsupported(method: string): AppError {
  return new AppError(
    'unavailable',
    'PROXY_UPSTREAM_METHOD',
    `the database server asks for the authentication method ${method}, which dbwitness does not have; use scram-sha-256, md5, password or trust for its user`,
  );
}
