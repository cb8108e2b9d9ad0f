/**
 * Opening the upstream connection of a session: dial, TLS as the database's ssl_mode says, log-in with the stored
 * credentials, and under controls the settings that they depend on. Errors of the server at log-in are told to the person
 * without the credentials' details.
 */
import { ByteWriter } from '../../../base/bytes.ts';
import { AppError, isAppError } from '../../../base/errors.ts';
import { limits } from '../../../base/limits.ts';
import type { Permit, UpstreamTarget } from '../../../model/access.ts';
import type { Link, Reactor } from '../../../transport/link.ts';
import {
  AUTH_MORE_DATA,
  AUTH_NEXT_FACTOR,
  AUTH_SWITCH_REQUEST,
  decodeAuthMoreData,
  decodeAuthSwitchRequest,
} from '../../../wire/mysql/authentication.ts';
import {
  decodeHandshakeV10,
  encodeHandshakeResponse,
  encodeSslRequest,
  type HandshakeV10,
  isMariadb,
} from '../../../wire/mysql/handshake.ts';
import { encodeQuery } from '../../../wire/mysql/parameters.ts';
import { type Capabilities, Capability as C, upstreamAuthenticating } from '../../../wire/mysql/protocol.ts';
import { decodeErr, decodeOk, EOF, ERR, OK, OkView } from '../../../wire/mysql/responses.ts';
import { decodeTextRow } from '../../../wire/mysql/resultset.ts';
import { charsetOf } from '../../../wire/mysql/values/charsets.ts';
import { withTimeout } from '../handshake.ts';
import { versionNumber, WIRE_FLAGS, WIRE_FLAGS_MARIADB } from './announce.ts';
import type { Family } from './context.ts';
import { PacketWire } from './packet-wire.ts';
import type { StartSettings } from './settings.ts';
import { clientTls, pinnedKey, upstreamAddress } from './upstream-address.ts';
import { UpstreamAuth } from './upstream-auth.ts';

const DIAL_TIMEOUT_MS = 10_000;
/** A server that takes connections and then says nothing must not hold them, nor those who wait for it. */
const LOGIN_TIMEOUT_MS = 30_000;

/** What the client asked for and the server should know. */
export interface ClientWishes {
  /** As agreed with us. */
  readonly capabilities: Capabilities;
  readonly collation: number;
  readonly maxPacketBytes: number;
  readonly attributes: ReadonlyMap<string, string>;
}

export interface UpstreamConnection {
  readonly link: Link;
  readonly greeting: HandshakeV10;
  readonly family: Family;
  readonly capabilities: Capabilities;
  readonly connectionId: number;
  /** Payload of the OK of the log-in. */
  readonly ok: Buffer;
  readonly start: StartSettings;
}

export async function connectUpstream(
  reactor: Reactor,
  permit: Permit,
  wishes: ClientWishes,
  onGreeting: (greeting: HandshakeV10) => void,
): Promise<UpstreamConnection> {
  const target = permit.upstream;
  let link = await reactor.dial(upstreamAddress(target, DIAL_TIMEOUT_MS));
  const work = async (): Promise<UpstreamConnection> => {
    let wire = new PacketWire(link, upstreamAuthenticating);
    const greeting = await readGreeting(wire);
    onGreeting(greeting);
    const capabilities = agree(greeting, permit, wishes);
    const secure = await wantsTls(target, greeting);
    const response = {
      capabilities: secure ? { ...capabilities, flags: (capabilities.flags | C.SSL) >>> 0 } : capabilities,
      maxPacketBytes: wishes.maxPacketBytes,
      collation: wishes.collation,
    };
    if (secure) {
      if (wire.leftover > 0) throw earlyBytes();
      wire.send((out, sequence) => encodeSslRequest(out, response, sequence));
      link = await link.startClientTls(clientTls(target));
      wire = new PacketWire(link, upstreamAuthenticating, wire.sequence);
    }
    const auth = new UpstreamAuth(target, secure || target.host.startsWith('/'), pinnedKey(target));
    const plugin = greeting.authPlugin === '' ? 'mysql_native_password' : greeting.authPlugin;
    const first = auth.first(plugin, greeting.authData);
    wire.send((out, sequence) =>
      encodeHandshakeResponse(
        out,
        {
          ...response,
          user: target.username,
          authResponse: first.data,
          database: target.databaseName,
          authPlugin: first.plugin,
          attributes: wishes.attributes,
          zstdLevel: 0,
        },
        sequence,
      ),
    );
    const ok = await authenticate(wire, auth);
    return finish(wire, link, greeting, capabilities, ok, permit, wishes);
  };
  try {
    return await withTimeout(work(), LOGIN_TIMEOUT_MS, 'the log-in at the database server');
  } catch (error) {
    link.destroy();
    throw error;
  }
}

async function readGreeting(wire: PacketWire): Promise<HandshakeV10> {
  const payload = await wire.read();
  if (payload[0] === ERR) throw upstreamRefused(payload);
  return decodeHandshakeV10(payload, 0, payload.length);
}

/** What the upstream connection speaks: what the client does, as far as it is there. */
function agree(greeting: HandshakeV10, permit: Permit, wishes: ClientWishes): Capabilities {
  const server = greeting.capabilities;
  const client = wishes.capabilities;
  const missing = client.flags & WIRE_FLAGS & ~server.flags;
  const missingMariadb = client.mariadb & WIRE_FLAGS_MARIADB & ~server.mariadb;
  if (missing !== 0 || missingMariadb !== 0)
    throw new AppError(
      'unavailable',
      'PROXY_UPSTREAM_OLDER',
      'the database server is older than dbwitness knew when it greeted you; connect again',
    );
  const always = C.PROTOCOL_41 | C.SECURE_CONNECTION | C.CONNECT_WITH_DB | C.TRANSACTIONS | C.PLUGIN_AUTH;
  const never = C.COMPRESS | C.SSL | C.ZSTD_COMPRESSION_ALGORITHM | C.MULTI_FACTOR_AUTHENTICATION;
  let flags = client.flags & ~never & (server.flags | C.IGNORE_SIGPIPE | C.LONG_PASSWORD);
  flags |= always | (server.flags & (C.CONNECT_ATTRS | C.PLUGIN_AUTH_LENENC_CLIENT_DATA));
  if (!permit.recording.allowLocalInfile) flags &= ~C.LOCAL_FILES;
  if (permit.controls.length > 0) flags |= server.flags & C.SESSION_TRACK;
  return { flags: flags >>> 0, mariadb: client.mariadb };
}

async function wantsTls(target: UpstreamTarget, greeting: HandshakeV10): Promise<boolean> {
  if (target.sslMode === 'disable' || target.host.startsWith('/')) return false;
  if ((greeting.capabilities.flags & C.SSL) !== 0) return true;
  if (target.sslMode === 'prefer') return false;
  throw new AppError(
    'unavailable',
    'PROXY_UPSTREAM_NO_TLS',
    `the database server does not offer TLS, but ssl_mode of this database is ${target.sslMode}; an administrator can change either`,
  );
}

function earlyBytes(): AppError {
  return new AppError(
    'protocol',
    'PROXY_UPSTREAM_EARLY_BYTES',
    'the server sent bytes before TLS began; something in between interferes',
  );
}

async function authenticate(wire: PacketWire, auth: UpstreamAuth): Promise<Buffer> {
  for (;;) {
    const payload = await wire.read();
    let answer: Buffer | null;
    switch (payload[0]) {
      case OK:
        return payload;
      case ERR:
        throw upstreamRefused(payload);
      case AUTH_SWITCH_REQUEST: {
        const { plugin, data } = decodeAuthSwitchRequest(payload, 0, payload.length);
        answer = auth.switched(plugin, data);
        break;
      }
      case AUTH_MORE_DATA:
        answer = auth.more(decodeAuthMoreData(payload, 0, payload.length));
        break;
      case AUTH_NEXT_FACTOR:
        throw new AppError(
          'unavailable',
          'PROXY_UPSTREAM_METHOD',
          'the database server asks for a second factor, which dbwitness does not have; use an account with a password',
        );
      default:
        throw unexpected();
    }
    if (answer === null) continue;
    const bytes = answer;
    wire.send((out, sequence) => {
      const mark = out.length;
      out.raw(Buffer.from([bytes.length, bytes.length >>> 8, bytes.length >>> 16, sequence]));
      out.raw(bytes);
      return mark === 0 ? (sequence + 1) & 0xff : sequence;
    });
  }
}

function unexpected(): AppError {
  return new AppError(
    'protocol',
    'PROXY_UPSTREAM_UNEXPECTED',
    'the database server sent an unexpected packet during the log-in',
  );
}

async function finish(
  wire: PacketWire,
  link: Link,
  greeting: HandshakeV10,
  capabilities: Capabilities,
  ok: Buffer,
  permit: Permit,
  wishes: ClientWishes,
): Promise<UpstreamConnection> {
  const view = new OkView();
  decodeOk(ok, 0, ok.length, capabilities, view);
  const family: Family = isMariadb(greeting) ? 'mariadb' : 'mysql';
  const tracking = (capabilities.flags & C.SESSION_TRACK) !== 0;
  const plain: StartSettings = {
    family,
    serverVersion: versionNumber(greeting.serverVersion),
    status: view.status,
    sqlMode: null,
    clientEncoding: charsetOf(wishes.collation) ?? '',
    tracksEncoding: tracking,
    tracksMode: false,
    setUp: [],
  };
  const start = permit.controls.length === 0 ? plain : await setUp(wire, capabilities, permit, plain);
  return { link, greeting, family, capabilities, connectionId: greeting.connectionId, ok, start };
}

/**
 * What the read-only mode is called, most likely names first. MySQL 5.7 renamed it and 8.0 dropped the old name; MariaDB
 * from 11.1 on has both. Asking for one that does not exist leaves an error in the session's first SHOW WARNINGS.
 */
function readOnlyVariables({ family, serverVersion }: StartSettings): readonly (readonly string[])[] {
  const [both, renamed] = family === 'mysql' ? [50_720, 80_003] : [110_100, Infinity];
  if (serverVersion < both) return [['tx_read_only'], ['transaction_read_only']];
  if (serverVersion >= renamed) return [['transaction_read_only'], ['tx_read_only']];
  return [['transaction_read_only', 'tx_read_only']];
}

/** The variables of the first group that has any. */
async function existing(
  wire: PacketWire,
  capabilities: Capabilities,
  groups: readonly (readonly string[])[],
): Promise<readonly string[]> {
  for (const group of groups) {
    const found: string[] = [];
    for (const name of group) if (await hasVariable(wire, capabilities, name)) found.push(name);
    if (found.length > 0) return found;
  }
  return [];
}

/** What the controls rely on: read-only transactions, and the server's reports of what changes. */
async function setUp(
  wire: PacketWire,
  capabilities: Capabilities,
  permit: Permit,
  plain: StartSettings,
): Promise<StartSettings> {
  const [[sqlMode, clientEncoding]] = await query(
    wire,
    capabilities,
    'SELECT @@sql_mode, @@character_set_client',
  );
  const statements: string[] = [];
  const tracksMode = plain.tracksEncoding;
  if (tracksMode) {
    const [[tracked]] = await query(wire, capabilities, 'SELECT @@session_track_system_variables');
    if (tracked !== '*') {
      const names = new Set((tracked ?? '').split(',').map((name) => name.trim()));
      names.delete('');
      for (const name of ['sql_mode', 'character_set_client']) names.add(name);
      for (const name of await existing(wire, capabilities, readOnlyVariables(plain))) names.add(name);
      statements.push(`SET SESSION session_track_system_variables = '${[...names].join(',')}'`);
    }
  }
  if (permit.controls.includes('read_only')) statements.push('SET SESSION TRANSACTION READ ONLY');
  for (const statement of statements) await query(wire, capabilities, statement);
  return {
    ...plain,
    sqlMode,
    clientEncoding: clientEncoding ?? plain.clientEncoding,
    tracksMode,
    setUp: statements,
  };
}

async function hasVariable(wire: PacketWire, capabilities: Capabilities, name: string): Promise<boolean> {
  try {
    await query(wire, capabilities, `SELECT @@${name}`);
    return true;
  } catch (error) {
    if (isAppError(error) && error.details['errno'] === UNKNOWN_VARIABLE) return false;
    throw error;
  }
}

/** ER_UNKNOWN_SYSTEM_VARIABLE */
const UNKNOWN_VARIABLE = 1193;

/** A query on a connection that nobody else uses yet: its rows as text. */
export async function query(
  wire: PacketWire,
  capabilities: Capabilities,
  sql: string,
): Promise<(string | null)[][]> {
  const writer = new ByteWriter(256);
  encodeQuery(writer, sql, capabilities);
  wire.sequence = 1;
  wire.link.send(writer.copy());
  const first = await wire.read();
  if (first[0] === ERR) throw upstreamRefused(first);
  if (first[0] === OK) return [];
  const columns = first[0];
  const deprecateEof = (capabilities.flags & C.DEPRECATE_EOF) !== 0;
  for (let i = 0; i < columns + (deprecateEof ? 0 : 1); i++) await wire.read();
  const rows: (string | null)[][] = [];
  for (;;) {
    const payload = await wire.read();
    if (payload[0] === ERR) throw upstreamRefused(payload);
    if (payload[0] === EOF) return rows;
    rows.push(decodeTextRow(payload, 0, payload.length, columns).map((value) => value?.toString() ?? null));
  }
}

/** The server's own refusal, without what only the administrator of dbwitness may know. */
function upstreamRefused(payload: Buffer): AppError {
  const { number, sqlState, message } = decodeErr(payload, 0, payload.length);
  const aboutCredentials = ACCESS_ERRORS.has(number);
  return new AppError(
    'unavailable',
    'PROXY_UPSTREAM_REFUSED',
    aboutCredentials
      ? 'the database server refused the credentials stored for this database; an administrator must correct them'
      : `the database server refused the connection: ${message}`,
    aboutCredentials ? {} : { details: { errno: number, sqlstate: sqlState || 'HY000' } },
  );
}

/** ER_ACCESS_DENIED_ERROR and its relatives, among them those that name the account. */
const ACCESS_ERRORS = new Set([1044, 1045, 1130, 1251, 1275, 1524, 1698, 1820, 1862, 1873, 2061, 3118, 3955]);

/**
 * One statement over a connection of its own, with the stored credentials: KILL of what runs.
 * @param timeoutMs for all of it.
 */
export async function runAlone(
  reactor: Reactor,
  permit: Permit,
  sql: string,
  timeoutMs: number,
): Promise<void> {
  const wishes: ClientWishes = {
    capabilities: {
      flags: (C.LONG_PASSWORD | C.PROTOCOL_41 | C.TRANSACTIONS | C.SECURE_CONNECTION | C.PLUGIN_AUTH) >>> 0,
      mariadb: 0,
    },
    collation: 45,
    maxPacketBytes: limits.maxStatementBytes,
    attributes: new Map([['program_name', 'dbwitness']]),
  };
  const work = async (): Promise<void> => {
    const alone = { ...permit, controls: [] };
    const connection = await connectUpstream(reactor, alone, wishes, () => undefined);
    try {
      await query(new PacketWire(connection.link, upstreamAuthenticating), connection.capabilities, sql);
    } finally {
      connection.link.end();
      connection.link.destroy();
    }
  };
  await withTimeout(work(), timeoutMs, 'a KILL at the database server');
}
