/**
 * Records of the ring buffer and values of the maps, as bpf/records.h lays them out (its assertions hold the offsets in
 * place). Little-endian.
 *
 *   header    0 u16 type · 2 u16 binary · 4 u32 pid · 8 u32 tid · 12 u32 bytes of text · 16 u64 at (monotonic ns)
 *   TEXT      24 u32 offset · 28 u32 last · 32 data             TEXT_END  24 u64 total
 *   PG_STATEMENT  24 u64 started · 32 u64 message_us · 40 u64 lsn · 48 u32 xid · 52 u16 index · 54 u8 flags ·
 *                 56 u32 tag, 64 u64 rows (before 13: 56 char tag[32]) · 88 text
 *   PG_ERROR      the same to 88, then 88 severity[8] · 96 sqlstate[8] · 104 message[512]
 *   PG_SESSION    24 address[32] · 56 database[64] · 120 user[64] · 184 u64 backend start (µs since 2000) ·
 *                 192 server[32] · 224 u32 postmaster
 *   PG_READY, PG_APPLICATION  24 name[64]
 *   PG_TRANSACTION  24 u64 xid · 32 u64 lsn · 40 u64 time_us · 48 u64 committed
 *   PG_PARAMETER  24 u32 index · 28 u32 count · 32 u32 type · 36 u32 flags · 40 u64 value · 48 data[256]
 *   MY_STATEMENT  24 u64 started · 32 u64 connection · 40 u64 query_id · 48 u64 rows · 56 u64 affected ·
 *                 64 u64 insert_id · 72 u32 total · 76 u32 command · 80 u32 error · 84 u16 index · 86 u8 flags ·
 *                 88 sqlstate[8] · 96 database[64] · 160 text
 *   MY_RETURN     24 i32 result · 28 u32 command · 32 u64 affected · 40 u64 insert_id · 48 u32 error · 52 sqlstate[8]
 *   MY_SESSION    24 u64 connection · 32 user[128] · 160 host[64] · 224 ip[64] · 288 i32 descriptor of the socket
 *   MY_PACKET     24 u64 connection · 32 u32 command · 36 u32 total · 40 data
 *   MY_HANDSHAKE  24 u32 change user · 32 data
 *   MY_LOGIN      24 u64 connection · 32 u32 result · 36 u32 port · 40 user[128] · 168 host[64] · 232 ip[64] · 296 database[64]
 *   MY_EXIT       24 u64 connection                             MY_MESSAGE  24 message[512]
 */
export const RECORD = {
  text: 1,
  textEnd: 2,
  pgStatement: 10,
  pgError: 11,
  pgSession: 12,
  pgReady: 13,
  pgApplication: 14,
  pgTransaction: 15,
  pgExit: 16,
  pgParameter: 17,
  myStatement: 30,
  myReturn: 31,
  mySession: 32,
  myLogin: 33,
  myExit: 34,
  myHandshake: 35,
  myMessage: 36,
  myPacket: 37,
} as const;

export const FLAG = {
  moreText: 1,
  limited: 2,
  parameters: 4,
  error: 8,
  running: 16,
  begins: 32,
  suspended: 64,
} as const;
export const PG_TEXT_AT = 88;
export const MY_TEXT_AT = 160;

/** An address that a handler is attached at: slot of `struct binary.entry`. */
export const ENTRY = {
  portalRun: 0,
  endCommand: 1,
  sendString: 2,
  init: 3,
  treeStatus: 4,
  portalFailed: 5,
  portalStart: 6,
  suspended: 7,
} as const;
/** A variable of the server: slot of `struct binary.global`. */
export const GLOBAL = {
  query: 0,
  statementTime: 1,
  xid: 2,
  lastRecord: 3,
  port: 4,
  application: 5,
  started: 6,
  postmaster: 7,
  stopTime: 8,
  activePortal: 9,
} as const;
/** An offset in a structure of the server: slot of `struct binary.offset`. */
export const OFFSET = {
  threadId: 0,
  security: 1,
  user: 2,
  host: 3,
  ip: 4,
  database: 5,
  query: 6,
  rows: 7,
  queryId: 8,
  paramCount: 9,
  params: 10,
  suspended: 11,
  net: 12,
} as const;
export const OPTION = { parameters: 1, textAtEntry: 2, securityInside: 4, suspendedRbp: 8 } as const;
export const LOST = { statements: 0, texts: 1, others: 2, unreadable: 3 } as const;

const ENTRIES = 8;
const GLOBALS = 12;
const OFFSETS = 14;

/** `struct binary`: {u32 engine, major, max_text, options; u64 entry[8]; u64 global[12]; u32 offset[14]}. */
export interface BinaryFacts {
  readonly engine: 1 | 2;
  readonly major: number;
  readonly maxTextBytes: number;
  readonly options: number;
  readonly entries: Readonly<Record<number, number>>;
  readonly globals: Readonly<Record<number, number>>;
  readonly offsets: Readonly<Record<number, number>>;
}

export function encodeBinary(facts: BinaryFacts): Buffer {
  const bytes = Buffer.alloc(16 + 8 * (ENTRIES + GLOBALS) + 4 * OFFSETS);
  bytes.writeUInt32LE(facts.engine, 0);
  bytes.writeUInt32LE(facts.major, 4);
  bytes.writeUInt32LE(facts.maxTextBytes, 8);
  bytes.writeUInt32LE(facts.options, 12);
  const word = (at: number, value: number): void => void bytes.writeBigUInt64LE(BigInt(value), at);
  for (let i = 0; i < ENTRIES; i++) word(16 + 8 * i, facts.entries[i] ?? 0);
  for (let i = 0; i < GLOBALS; i++) word(16 + 8 * (ENTRIES + i), facts.globals[i] ?? 0);
  for (let i = 0; i < OFFSETS; i++)
    bytes.writeUInt32LE((facts.offsets[i] ?? 0xffff_ffff) >>> 0, 16 + 8 * (ENTRIES + GLOBALS) + 4 * i);
  return bytes;
}

export function u64At(data: Buffer, at: number): number {
  return u32At(data, at) + u32At(data, at + 4) * 0x1_0000_0000;
}

export function u32At(data: Buffer, at: number): number {
  return (data[at] | (data[at + 1] << 8) | (data[at + 2] << 16) | (data[at + 3] << 24)) >>> 0;
}

export function u16At(data: Buffer, at: number): number {
  return data[at] | (data[at + 1] << 8);
}

/** A NUL-terminated field. */
export function fieldAt(data: Buffer, at: number, bytes: number): string {
  let end = at;
  while (end < at + bytes && data[end] !== 0) end++;
  return data.toString('utf8', at, end);
}
