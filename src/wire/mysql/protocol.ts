/**
 * The MySQL and MariaDB client/server protocol (protocol version 10, CLIENT_PROTOCOL_41) as pure bytes: no socket, no
 * clock, no state of a session. The relay frames a stream in place, decodes *views* of the packets it needs, and forwards
 * the original bytes; what dbwitness says itself (greetings, log-ins, refusals) is made by the encoders.
 *
 *   bytes ─▶ proxy-protocol   what a load balancer puts in front (PROXY v1, v2)
 *         ─▶ compression      7-byte frames of zlib or zstd, where it was negotiated; inside them:
 *         ─▶ framing          where a packet begins and ends, no allocation
 *              ├─▶ handshake, authentication   greeting, HandshakeResponse41, SSLRequest, AuthSwitchRequest, …
 *              │     └─▶ scramble, ed25519     what the authentication methods compute
 *              ├─▶ commands, parameters        COM_QUERY, COM_STMT_EXECUTE, …   views: offsets into the caller's buffer
 *              ├─▶ responses, session-track    OK, ERR, EOF
 *              ├─▶ resultset                   column counts and definitions, rows
 *              └─▶ values/                     parameters and results by type and character set, for reading
 *
 * Invariants
 *  1. A length is checked against the limit of its phase and command before any of its bytes is waited for.
 *  2. A reader never looks past the end of its payload, whatever the buffer holds behind it.
 *  3. Whatever the input, a decoder returns or throws an `AppError` of kind `protocol`; it never loops, and allocates
 *     no more than in proportion to the payload.
 *  4. `decode(encode(m))` equals `m`; every encoder has its decoder and the other way round.
 *  5. Offsets in views refer to the caller's buffer and live exactly as long as its bytes stay where they are.
 *
 * Every packet has the same frame, integers are little-endian:
 *
 *   offset 0  int<3>  payload bytes in this packet; 0xffffff: the payload goes on in the next one
 *   offset 3  int<1>  sequence id, 0 for a command, then one more for each packet in either direction, modulo 256
 *   offset 4          payload
 *
 * Specifications: https://dev.mysql.com/doc/dev/mysql-server/latest/PAGE_PROTOCOL.html,
 * https://mariadb.com/kb/en/clientserver-protocol/. What the relay does with each: docs/protocols/mysql.md
 */
import { limits } from '../../base/limits.ts';

/** Capability flags, the 32 bits that both families have. Combine with `>>> 0` where bit 31 may be set. */
export const Capability = {
  /** CLIENT_MYSQL in MariaDB: a server or client *without* it has the MariaDB capabilities in its reserved bytes. */
  LONG_PASSWORD: 1,
  FOUND_ROWS: 1 << 1,
  LONG_FLAG: 1 << 2,
  CONNECT_WITH_DB: 1 << 3,
  NO_SCHEMA: 1 << 4,
  COMPRESS: 1 << 5,
  ODBC: 1 << 6,
  LOCAL_FILES: 1 << 7,
  IGNORE_SPACE: 1 << 8,
  PROTOCOL_41: 1 << 9,
  INTERACTIVE: 1 << 10,
  SSL: 1 << 11,
  IGNORE_SIGPIPE: 1 << 12,
  TRANSACTIONS: 1 << 13,
  RESERVED: 1 << 14,
  SECURE_CONNECTION: 1 << 15,
  MULTI_STATEMENTS: 1 << 16,
  MULTI_RESULTS: 1 << 17,
  PS_MULTI_RESULTS: 1 << 18,
  PLUGIN_AUTH: 1 << 19,
  CONNECT_ATTRS: 1 << 20,
  PLUGIN_AUTH_LENENC_CLIENT_DATA: 1 << 21,
  CAN_HANDLE_EXPIRED_PASSWORDS: 1 << 22,
  SESSION_TRACK: 1 << 23,
  DEPRECATE_EOF: 1 << 24,
  OPTIONAL_RESULTSET_METADATA: 1 << 25,
  ZSTD_COMPRESSION_ALGORITHM: 1 << 26,
  QUERY_ATTRIBUTES: 1 << 27,
  MULTI_FACTOR_AUTHENTICATION: 1 << 28,
  CAPABILITY_EXTENSION: 1 << 29,
  SSL_VERIFY_SERVER_CERT: 1 << 30,
  REMEMBER_OPTIONS: 0x8000_0000,
} as const;

/** MariaDB's extended capabilities: bits 32 and up there, an integer of their own here. */
export const MariadbCapability = {
  PROGRESS: 1,
  /** COM_MULTI, of 10.2 to 10.3 only. */
  COM_MULTI: 1 << 1,
  STMT_BULK_OPERATIONS: 1 << 2,
  /** Column definitions carry a type name or format: uuid, inet6, json, point, … */
  EXTENDED_METADATA: 1 << 3,
  /** Executions of a prepared statement leave out column definitions that did not change. */
  CACHE_METADATA: 1 << 4,
  BULK_UNIT_RESULTS: 1 << 5,
} as const;

/** What two peers agreed on: the bits that change how packets read. */
export interface Capabilities {
  /** {@link Capability}, unsigned. */
  readonly flags: number;
  /** {@link MariadbCapability}, unsigned; 0 with MySQL. */
  readonly mariadb: number;
}

/** Server status in OK and EOF. */
export const Status = {
  IN_TRANS: 0x0001,
  AUTOCOMMIT: 0x0002,
  MORE_RESULTS_EXISTS: 0x0008,
  NO_GOOD_INDEX_USED: 0x0010,
  NO_INDEX_USED: 0x0020,
  CURSOR_EXISTS: 0x0040,
  LAST_ROW_SENT: 0x0080,
  DB_DROPPED: 0x0100,
  NO_BACKSLASH_ESCAPES: 0x0200,
  METADATA_CHANGED: 0x0400,
  QUERY_WAS_SLOW: 0x0800,
  PS_OUT_PARAMS: 0x1000,
  IN_TRANS_READONLY: 0x2000,
  SESSION_STATE_CHANGED: 0x4000,
  /** MariaDB. */
  ANSI_QUOTES: 0x8000,
} as const;

/** First payload byte of what a client sends in the command phase. */
export const Command = {
  SLEEP: 0x00,
  QUIT: 0x01,
  INIT_DB: 0x02,
  QUERY: 0x03,
  FIELD_LIST: 0x04,
  CREATE_DB: 0x05,
  DROP_DB: 0x06,
  REFRESH: 0x07,
  SHUTDOWN: 0x08,
  STATISTICS: 0x09,
  PROCESS_INFO: 0x0a,
  CONNECT: 0x0b,
  PROCESS_KILL: 0x0c,
  DEBUG: 0x0d,
  PING: 0x0e,
  TIME: 0x0f,
  DELAYED_INSERT: 0x10,
  CHANGE_USER: 0x11,
  BINLOG_DUMP: 0x12,
  TABLE_DUMP: 0x13,
  CONNECT_OUT: 0x14,
  REGISTER_SLAVE: 0x15,
  STMT_PREPARE: 0x16,
  STMT_EXECUTE: 0x17,
  STMT_SEND_LONG_DATA: 0x18,
  STMT_CLOSE: 0x19,
  STMT_RESET: 0x1a,
  SET_OPTION: 0x1b,
  STMT_FETCH: 0x1c,
  DAEMON: 0x1d,
  BINLOG_DUMP_GTID: 0x1e,
  RESET_CONNECTION: 0x1f,
  /** MySQL. */
  CLONE: 0x20,
  /** MySQL. */
  SUBSCRIBE_GROUP_REPLICATION_STREAM: 0x21,
  /** MariaDB. */
  STMT_BULK_EXECUTE: 0xfa,
  /** MariaDB 10.2, 10.3. */
  MULTI: 0xfe,
} as const;

const COMMAND_NAMES = new Map<number, string>(
  Object.entries(Command).map(([name, value]) => [value, `COM_${name}`]),
);

/** `COM_QUERY`, or `command 0x99`. */
export function commandName(command: number): string {
  return COMMAND_NAMES.get(command) ?? `command 0x${command.toString(16).padStart(2, '0')}`;
}

/** Bytes in front of a packet's payload. */
export const HEADER_BYTES = 4;
/** A packet with as many payload bytes says that the payload goes on in the next one. */
export const MAX_PACKET_BYTES = 0xff_ffff;

/** What a server can be set to take at most: max_allowed_packet. */
const LARGEST_PAYLOAD_BYTES = 1024 * 1024 * 1024;
/** Commands that carry a number or a name. */
const SMALL_COMMAND_BYTES = 64 * 1024;

export type Phase = 'authenticating' | 'running' | 'infile';

/** What may come in one direction of a connection now. */
export interface PayloadLimits {
  readonly direction: 'client' | 'upstream';
  readonly phase: Phase;
  /** The greatest payload, over all its packets. */
  readonly maxPayloadBytes: number;
  /** Where the payload is a command: its greatest length by first byte, 0 for what is not a command. */
  readonly maxPayloadByCommand: Int32Array | null;
}

/**
 * Before a client has proved who it is. Connection attributes may have 64 KiB by themselves (the server's own limit), and
 * the response has a little more.
 */
export const clientAuthenticating: PayloadLimits = {
  direction: 'client',
  phase: 'authenticating',
  maxPayloadBytes: limits.maxAuthMessageBytes + 4096,
  maxPayloadByCommand: null,
};

/** An upstream until its OK of the log-in. */
export const upstreamAuthenticating: PayloadLimits = { ...clientAuthenticating, direction: 'upstream' };

/** What a client sends for LOAD DATA LOCAL INFILE, and an upstream in a session. */
export const clientInfile: PayloadLimits = {
  direction: 'client',
  phase: 'infile',
  maxPayloadBytes: LARGEST_PAYLOAD_BYTES,
  maxPayloadByCommand: null,
};

export const upstreamRunning: PayloadLimits = {
  direction: 'upstream',
  phase: 'running',
  maxPayloadBytes: LARGEST_PAYLOAD_BYTES,
  maxPayloadByCommand: null,
};

/**
 * Commands of an authenticated client. A byte that is no command of either family is refused: what it does cannot be
 * recorded. Which of the known ones are let through, the relay decides.
 * @param maxStatementBytes limit of COM_QUERY (with its attributes) and COM_STMT_PREPARE.
 */
export function clientRunning(maxStatementBytes: number = limits.maxStatementBytes): PayloadLimits {
  const table = new Int32Array(256);
  for (const command of Object.values(Command)) table[command] = SMALL_COMMAND_BYTES;
  const text = Math.min(LARGEST_PAYLOAD_BYTES, maxStatementBytes + SMALL_COMMAND_BYTES);
  for (const command of [Command.QUERY, Command.STMT_PREPARE]) table[command] = text;
  const { STMT_EXECUTE, STMT_SEND_LONG_DATA, STMT_BULK_EXECUTE } = Command;
  for (const command of [STMT_EXECUTE, STMT_SEND_LONG_DATA, STMT_BULK_EXECUTE])
    table[command] = LARGEST_PAYLOAD_BYTES;
  table[Command.CHANGE_USER] = clientAuthenticating.maxPayloadBytes;
  return {
    direction: 'client',
    phase: 'running',
    maxPayloadBytes: LARGEST_PAYLOAD_BYTES,
    maxPayloadByCommand: table,
  };
}
