/**
 * The client's log-in, up to the moment when a permit is held. Existence of users, databases and grants shows only to
 * somebody who has proved who they are.
 *
 *   [PROXY header] ─▶ our greeting ─▶ [SSLRequest ─▶ TLS] ─▶ HandshakeResponse41 ─▶ authentication ─▶ permit
 *   COM_CHANGE_USER in a session ───────────────────────────────────────────────▶ the same from there
 */
import { BlockList, isIPv6 } from 'node:net';
import type { Uid } from '../../../base/ids.ts';
import type { LoginRefusal, Permit, PermitResult } from '../../../model/access.ts';
import type { Link, PeerAddress, ServerTlsOptions } from '../../../transport/link.ts';
import { type ChangeUser, decodeChangeUser } from '../../../wire/mysql/commands.ts';
import {
  decodeHandshakeResponse,
  encodeHandshakeV10,
  type HandshakeResponse,
  isSslRequest,
} from '../../../wire/mysql/handshake.ts';
import { type Capabilities, Capability as C, clientAuthenticating } from '../../../wire/mysql/protocol.ts';
import { parseProxyHeader } from '../../../wire/mysql/proxy-protocol.ts';
import { CACHING_SHA2_PASSWORD, makeNonce, MYSQL_NATIVE_PASSWORD } from '../../../wire/mysql/scramble.ts';
import { HandshakeReader } from '../handshake.ts';
import { LoginRefused } from '../login-failed.ts';
import type { Offer } from './announce.ts';
import {
  authenticate,
  chooseMethod,
  type FirstResponse,
  type GivenNonce,
  type Proof,
  type RsaKey,
} from './client-auth.ts';
import type { ConnectionIds } from './connections.ts';
import type { MysqlContext } from './context.ts';
import { PacketWire } from './packet-wire.ts';
import { CODES } from './refusal.ts';
import type { ClientWishes } from './upstream.ts';

export interface MysqlLoginSettings {
  /** TLS for handshakes that start now; `null`: not offered. */
  readonly tls: () => ServerTlsOptions | null;
  /** Clients must use TLS. */
  readonly requireTls: boolean;
  /** Of caching_sha2_password, mysql_clear_password, client_ed25519, mysql_native_password: those that are allowed. */
  readonly methods: readonly string[];
  /** For caching_sha2_password outside TLS. */
  readonly rsa: RsaKey;
  /** Addresses and CIDR blocks whose connections begin with a PROXY protocol header. */
  readonly proxyProtocolFrom: readonly string[];
}

/** Somebody who has proved who they are, with the permit to open one session. */
export interface Login {
  readonly wire: PacketWire;
  readonly peer: PeerAddress;
  readonly user: string;
  readonly permit: Permit;
  readonly credentialUid: string;
  readonly authentication: 'password' | 'api_key';
  readonly wishes: ClientWishes;
  readonly given: GivenNonce;
  /** Of KILL only, as no database was named; what to say to everything else. '' for any statement. */
  readonly killsOnly: string;
}

export class LoginError extends LoginRefused {
  readonly errno: number;
  readonly sqlstate: string;

  constructor(code: { errno: number; sqlstate: string }, message: string, auditReason: string) {
    super(message, auditReason);
    this.errno = code.errno;
    this.sqlstate = code.sqlstate;
  }
}

/** What the caller needs for the audit, and for the answer, when a log-in fails half way. */
export interface LoginProgress {
  link: Link;
  /** Behind a load balancer that says who is behind it: that address. */
  peer: PeerAddress;
  user: string;
  database: string;
  applicationName: string;
  /** Sequence id of the next packet of ours. */
  wire: PacketWire | null;
  /** The client has said that it speaks protocol 4.1. */
  speaks41: boolean;
}

export class Logins {
  readonly #context: MysqlContext;
  readonly #settings: MysqlLoginSettings;
  readonly #connections: ConnectionIds;
  readonly #balancers: BlockList;

  constructor(context: MysqlContext, settings: MysqlLoginSettings, connections: ConnectionIds) {
    this.#connections = connections;
    this.#context = context;
    this.#settings = settings;
    this.#balancers = new BlockList();
    for (const block of settings.proxyProtocolFrom) {
      const [address, prefix] = block.split('/');
      const family = isIPv6(address) ? 'ipv6' : 'ipv4';
      if (prefix === undefined) this.#balancers.addAddress(address, family);
      else this.#balancers.addSubnet(address, Number(prefix), family);
    }
  }

  /**
   * Runs the log-in on a fresh link. Rejects with a LoginError, or an AppError for a client that does not keep to the
   * protocol; nothing has been told to the client then.
   */
  async logIn(progress: LoginProgress, offer: Offer, connectionId: number): Promise<Login> {
    await this.#proxyHeader(progress);
    const tls = this.#settings.tls();
    const { capabilities } = offer;
    const flags = (capabilities.flags | (tls ? C.SSL : 0)) >>> 0;
    const nonce = makeNonce();
    let wire = this.#wire(progress, new PacketWire(progress.link, clientAuthenticating));
    // Clients of the other methods take the greeting's 20 bytes for a nonce of theirs; they are switched to them.
    const announced = this.#settings.methods.includes(CACHING_SHA2_PASSWORD)
      ? CACHING_SHA2_PASSWORD
      : MYSQL_NATIVE_PASSWORD;
    wire.send((out, sequence) =>
      encodeHandshakeV10(
        out,
        {
          serverVersion: offer.serverVersion,
          connectionId,
          authData: nonce,
          capabilities: { flags, mariadb: capabilities.mariadb },
          collation: offer.collation,
          status: 2,
          authPlugin: announced,
        },
        sequence,
      ),
    );
    let payload = await wire.read();
    if (isSslRequest(payload, 0, payload.length)) {
      progress.speaks41 = true;
      if (!tls || wire.link.tls) throw protocolError('TLS was asked for, but not offered');
      // What came behind it can only be the beginning of the handshake; as anything else it fails there.
      const head = await wire.takeLeftover();
      progress.link = await progress.link.startServerTls(tls, head);
      wire = this.#wire(progress, new PacketWire(progress.link, clientAuthenticating, wire.sequence));
      payload = await wire.read();
      if (isSslRequest(payload, 0, payload.length)) throw protocolError('a second request for TLS');
    }
    const response = decodeHandshakeResponse(payload, 0, payload.length);
    progress.speaks41 = true;
    const names = named(response.user, response.database);
    if ((response.capabilities.flags & (C.COMPRESS | C.ZSTD_COMPRESSION_ALGORITHM)) !== 0) {
      // PHP's mysqlnd compresses when it was told to, offered or not: it would wait for a compressed answer for ever.
      progress.user = names.user;
      progress.database = names.database;
      throw protocolError(
        'dbwitness does not compress; connect without compression (PHP: MYSQLI_CLIENT_COMPRESS, PDO::MYSQL_ATTR_COMPRESS)',
      );
    }
    const wishes = wishesOf(response, offer);
    const first = { plugin: response.authPlugin, data: response.authResponse, announced, repeats: false };
    const given = { bytes: nonce };
    return this.#prove(progress, wire, names, first, wishes, given);
  }

  /**
   * COM_CHANGE_USER: `payload` is the command's. The connection, and what was agreed on it, stay as they are.
   * @param before the log-in that it changes.
   */
  async changeUser(progress: LoginProgress, before: Login, payload: Buffer): Promise<Login> {
    const wire = this.#wire(progress, new PacketWire(progress.link, clientAuthenticating, 1));
    const change: ChangeUser = decodeChangeUser(payload, 0, payload.length, before.wishes.capabilities);
    const attributes = change.attributes.size > 0 ? change.attributes : before.wishes.attributes;
    const collation =
      change.collation > 0 && change.collation < 256 ? change.collation : before.wishes.collation;
    const wishes = { ...before.wishes, attributes, collation };
    // Which nonce the client used is not certain, so it is told.
    const first = { plugin: change.authPlugin, data: change.authResponse, announced: '', repeats: true };
    return this.#prove(progress, wire, named(change.user, change.database), first, wishes, before.given);
  }

  #wire(progress: LoginProgress, wire: PacketWire): PacketWire {
    progress.wire = wire;
    return wire;
  }

  async #proxyHeader(progress: LoginProgress): Promise<void> {
    const { address } = progress.link.peer;
    const plain = address.startsWith('::ffff:') ? address.slice(7) : address;
    if (address.startsWith('/') || !this.#balancers.check(plain, isIPv6(plain) ? 'ipv6' : 'ipv4')) return;
    const reader = new HandshakeReader(progress.link);
    const header = await reader.read((bytes, start, end) => {
      const parsed = parseProxyHeader(bytes.subarray(start, end));
      return parsed && { value: parsed, next: start + parsed.bytes };
    });
    if (header.source) progress.peer = header.source;
  }

  async #prove(
    progress: LoginProgress,
    wire: PacketWire,
    { user, database, contradiction }: Named,
    first: FirstResponse,
    wishes: ClientWishes,
    given: GivenNonce,
  ): Promise<Login> {
    progress.user = user;
    progress.database = database;
    progress.applicationName = applicationName(wishes.attributes);
    if (this.#settings.requireTls && !progress.link.tls)
      throw new LoginError(
        CODES.secureTransport,
        'Connections using insecure transport are prohibited; connect with TLS (--ssl-mode=REQUIRED, --ssl)',
        'TLS required',
      );
    if (user === '')
      throw new LoginError(
        CODES.accessDenied,
        'no user name was given; put your dbwitness user name',
        'no user name',
      );
    if (contradiction !== '') throw new LoginError(CODES.unknownDatabase, contradiction, contradiction);
    const proof = await this.#authenticate(progress, wire, user, database, first, given);
    const { permit: result, killsOnly } = await this.#permit(
      user,
      proof.userUid,
      database,
      proof.credentialUid,
    );
    if (!result.ok) throw new LoginError(codeOf(result.refusal), howToName(user, result), result.refusal);
    return {
      wire,
      peer: progress.peer,
      user,
      permit: result.permit,
      credentialUid: proof.credentialUid,
      authentication: proof.kind,
      wishes,
      given,
      killsOnly,
    };
  }

  /**
   * Command lines interrupt a statement over a second connection, which names no database. For a user with several, that
   * is the one of a session of theirs, and nothing but KILL is passed on: nobody's statement may land where it was not sent.
   */
  async #permit(
    user: string,
    userUid: Uid,
    database: string,
    credentialUid: Uid,
  ): Promise<{ permit: PermitResult; killsOnly: string }> {
    const { authority } = this.#context;
    const permit = await authority.permit({ userUid, database, engine: 'mysql', credentialUid });
    if (permit.ok || permit.refusal !== 'no_database') return { permit, killsOnly: '' };
    const latest = this.#connections.latestDatabase(userUid);
    if (latest === '') return { permit, killsOnly: '' };
    const implied = await authority.permit({ userUid, database: latest, engine: 'mysql', credentialUid });
    return implied.ok ? { permit: implied, killsOnly: howToName(user, permit) } : { permit, killsOnly: '' };
  }

  async #authenticate(
    progress: LoginProgress,
    wire: PacketWire,
    user: string,
    database: string,
    first: FirstResponse,
    given: GivenNonce,
  ): Promise<Proof & { userUid: string }> {
    const { authority } = this.#context;
    const clientAddress = progress.peer.address;
    const method = chooseMethod(this.#settings.methods, first.plugin, progress.link.tls !== null);
    if (method === null)
      throw new LoginError(
        { errno: 1251, sqlstate: '08004' },
        'Client does not support authentication protocol requested by server; use a newer client, or TLS',
        'no authentication method in common',
      );
    const challenge = await authority.challenge({ user, database, engine: 'mysql', clientAddress });
    if (challenge.delayMs > 0) await new Promise((resolve) => setTimeout(resolve, challenge.delayMs));
    const { methods, rsa } = this.#settings;
    const parts = { wire, authority, challenge, user, clientAddress, methods, rsa, given };
    let proof: Proof | null = null;
    try {
      proof = await authenticate(parts, method, first);
    } finally {
      // Leaving half way counts as well: the fast path tells whether a guess was right before the password is asked for.
      authority.proved({ user, clientAddress, credentialUid: proof?.credentialUid ?? null });
    }
    const userUid = proof?.userUid ?? challenge.userUid;
    if (!proof || userUid === null)
      throw new LoginError(
        CODES.accessDenied,
        `Access denied for user '${user}'@'${clientAddress}' (using password: ${first.data.length === 0 && proof === null ? 'NO' : 'YES'})`,
        'wrong secret or unknown user',
      );
    return { ...proof, userUid };
  }
}

interface Named {
  readonly user: string;
  readonly database: string;
  /** What to say where the user name names another database than the connection does; else ''. */
  readonly contradiction: string;
}

/**
 * `user/database`, for clients that name no database when they log in (mysqldump, mysqladmin). No name of a user has a
 * slash in it.
 */
function named(user: string, database: string): Named {
  const slash = user.indexOf('/');
  if (slash < 0) return { user, database, contradiction: '' };
  const inUser = user.slice(slash + 1);
  const contradiction =
    database === '' || inUser === '' || database === inUser
      ? ''
      : `the user name names the database "${inUser}", the connection "${database}"; name one of them only`;
  return { user: user.slice(0, slash), database: database || inUser, contradiction };
}

function howToName(
  user: string,
  refused: { readonly refusal: LoginRefusal; readonly message: string },
): string {
  if (refused.refusal !== 'no_database') return refused.message;
  return `${refused.message}; or, where the client cannot, log in as ${user}/DATABASE`;
}

function wishesOf(response: HandshakeResponse, offer: Offer): ClientWishes {
  const { flags, mariadb } = response.capabilities;
  const asMariadb =
    (offer.capabilities.flags & flags & C.LONG_PASSWORD) === 0 && (flags & C.LONG_PASSWORD) === 0;
  const capabilities: Capabilities = {
    flags: (flags & (offer.capabilities.flags | C.LONG_PASSWORD)) >>> 0,
    mariadb: asMariadb ? (mariadb & offer.capabilities.mariadb) >>> 0 : 0,
  };
  return {
    capabilities,
    collation: response.collation,
    maxPacketBytes: response.maxPacketBytes,
    attributes: response.attributes,
  };
}

/** What a client calls itself among its attributes. */
export function applicationName(attributes: ReadonlyMap<string, string>): string {
  return attributes.get('program_name') ?? attributes.get('_client_name') ?? '';
}

function protocolError(message: string): LoginError {
  return new LoginError(CODES.handshake, message, message);
}

function codeOf(refused: LoginRefusal): { errno: number; sqlstate: string } {
  switch (refused) {
    case 'wrong_secret':
    case 'unknown_user':
      return CODES.accessDenied;
    case 'unknown_database':
    case 'no_grant': // whether the database exists is not for those who have no grant for it
      return CODES.unknownDatabase;
    case 'no_database':
      return CODES.noDatabase;
    case 'quota_used_up':
      return CODES.quota;
    case 'throttled':
      return CODES.tooManyConnections;
    case 'grant_not_started':
    case 'grant_ended':
    case 'role_missing':
      return CODES.databaseDenied;
  }
}
