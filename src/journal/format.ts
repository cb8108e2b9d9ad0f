/**
 * Bytes of the segment files and of the tree's entries. All integers are big-endian; 64-bit values stay below 2^53.
 *
 *   segment  = segment header (256 bytes) block*
 *   block    = block header (56 bytes) payload
 *   payload  = (varint length, Event)* | AES-256-GCM ciphertext of that and its 16-byte tag
 *   entry    = what the tree holds of a block; never longer than 128 bytes
 *
 * Segment header                                  Block header
 *     0   8  magic "DBWJSEG1"                        0  4  magic "DBWB"
 *     8   2  version, 1                              4  4  CRC-32 (IEEE) of bytes 8 … end of payload
 *    10   2  flags: 1 encrypted                      8  1  version, 1
 *    12   4  header length, 256                      9  1  flags: 1 encrypted, 2 first of its segment,
 *    16   8  segment number                               4 holds a SegmentsDropped event
 *    24   8  first block index                      10  2  0
 *    32   8  first event position                   12  4  payload length
 *    40   8  created, µs since 1970                 16  8  block index, over the whole journal
 *    48   8  key id (0 when not encrypted)          24  8  position of its first event
 *    56  16  salt (0 when not encrypted)            32  8  time of its first event, µs since 1970
 *    72   1  length of the origin                   40  8  time of its last event
 *    73   n  origin, ASCII, then zeros              48  4  number of events
 *   252   4  CRC-32 of bytes 0 … 251                52  4  0
 *                                                   56     payload
 *
 * Entry
 *     0  48  bytes 8 … 55 of the block header
 *    48   8  first block index of the segment it was written to
 *    56   8  offset of its header in that segment
 *    64  32  SHA-256 of the payload as stored
 *    96  32  SHA-256 of the segment header; only in the first entry of a segment
 */
import { hash } from 'node:crypto';
import { crc32 } from 'node:zlib';

export const SEGMENT_HEADER_BYTES = 256;
export const BLOCK_HEADER_BYTES = 56;
export const ENTRY_BYTES = 96;
export const FIRST_ENTRY_BYTES = 128;
export const GCM_TAG_BYTES = 16;
export const FLAG_ENCRYPTED = 1;
export const FLAG_FIRST_OF_SEGMENT = 2;
/** The block holds one SegmentsDropped event and is not encrypted. */
export const FLAG_RETENTION = 4;
export const MAX_ORIGIN_BYTES = 160;

const SEGMENT_MAGIC = Buffer.from('DBWJSEG1', 'latin1');
const BLOCK_MAGIC = 0x44425742;
const VERSION = 1;

export interface SegmentHeader {
  readonly encrypted: boolean;
  /** Counts the segments of a journal from 0. */
  readonly number: number;
  readonly firstBlock: number;
  readonly firstSeq: number;
  readonly createdUs: number;
  /** 8 bytes that name the master key without telling it. */
  readonly keyId: Uint8Array;
  /** 16 bytes, random. */
  readonly salt: Uint8Array;
  readonly origin: string;
}

export interface BlockHeader {
  readonly encrypted: boolean;
  readonly firstOfSegment: boolean;
  readonly retention: boolean;
  readonly payloadBytes: number;
  readonly index: number;
  readonly firstSeq: number;
  readonly firstUs: number;
  readonly lastUs: number;
  readonly events: number;
}

/** What the tree says of a block. */
export interface Entry extends BlockHeader {
  readonly segmentFirstBlock: number;
  readonly offset: number;
  readonly payloadSha256: Uint8Array;
  readonly segmentSha256: Uint8Array | null;
}

export function putU64(bytes: Uint8Array, at: number, value: number): void {
  const high = Math.floor(value / 0x100000000);
  const low = value >>> 0;
  bytes[at] = high >>> 24;
  bytes[at + 1] = high >>> 16;
  bytes[at + 2] = high >>> 8;
  bytes[at + 3] = high;
  bytes[at + 4] = low >>> 24;
  bytes[at + 5] = low >>> 16;
  bytes[at + 6] = low >>> 8;
  bytes[at + 7] = low;
}

export function putU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

export function getU32(bytes: Uint8Array, at: number): number {
  return ((bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]) >>> 0;
}

export function getU64(bytes: Uint8Array, at: number): number {
  return getU32(bytes, at) * 0x100000000 + getU32(bytes, at + 4);
}

export function sha256(bytes: Uint8Array): Buffer {
  return Buffer.from(hash('sha256', bytes, 'latin1'), 'latin1');
}

/**
 * Writes the digest of `bytes` to `into` at `at`. By way of a string: a digest as a buffer costs an allocation outside
 * the heap, four times as much as the hashing itself of what is that short.
 */
export function putSha256(bytes: Uint8Array, into: Buffer, at: number): void {
  into.write(hash('sha256', bytes, 'latin1'), at, 'latin1');
}

/** `<first block, 20 digits>.dbwj` */
export function segmentName(firstBlock: number): string {
  return `${String(firstBlock).padStart(20, '0')}.dbwj`;
}

/** The first block index in a segment's file name, or -1 when the name is none. */
export function parseSegmentName(name: string): number {
  if (!/^[0-9]{20}\.dbwj$/.test(name)) return -1;
  const value = Number(name.slice(0, 20));
  return Number.isSafeInteger(value) ? value : -1;
}

export function encodeSegmentHeader(header: SegmentHeader): Buffer {
  const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES);
  SEGMENT_MAGIC.copy(bytes);
  bytes.writeUInt16BE(VERSION, 8);
  bytes.writeUInt16BE(header.encrypted ? FLAG_ENCRYPTED : 0, 10);
  bytes.writeUInt32BE(SEGMENT_HEADER_BYTES, 12);
  putU64(bytes, 16, header.number);
  putU64(bytes, 24, header.firstBlock);
  putU64(bytes, 32, header.firstSeq);
  putU64(bytes, 40, header.createdUs);
  bytes.set(header.keyId, 48);
  bytes.set(header.salt, 56);
  bytes[72] = header.origin.length;
  bytes.write(header.origin, 73, 'latin1');
  bytes.writeUInt32BE(crc32(bytes.subarray(0, 252)), 252);
  return bytes;
}

/** The header, or what is wrong with it. */
export function decodeSegmentHeader(bytes: Uint8Array): SegmentHeader | string {
  if (bytes.length < SEGMENT_HEADER_BYTES) return 'the segment header is cut off';
  const page = Buffer.from(bytes.buffer, bytes.byteOffset, SEGMENT_HEADER_BYTES);
  if (page.compare(SEGMENT_MAGIC, 0, 8, 0, 8) !== 0) return 'this is not a journal segment';
  if (crc32(page.subarray(0, 252)) !== page.readUInt32BE(252))
    return 'the segment header has a wrong checksum';
  if (page.readUInt16BE(8) !== VERSION) return `the segment has format version ${page.readUInt16BE(8)}`;
  const flags = page.readUInt16BE(10);
  if ((flags & ~FLAG_ENCRYPTED) !== 0) return 'the segment header has unknown flags';
  if (page.readUInt32BE(12) !== SEGMENT_HEADER_BYTES) return 'the segment header has a wrong length';
  const originLength = page[72];
  if (originLength > MAX_ORIGIN_BYTES) return 'the segment header has an overlong origin';
  for (let i = 73 + originLength; i < 252; i++)
    if (page[i] !== 0) return 'the segment header is not padded with zeros';
  return {
    encrypted: flags === FLAG_ENCRYPTED,
    number: getU64(page, 16),
    firstBlock: getU64(page, 24),
    firstSeq: getU64(page, 32),
    createdUs: getU64(page, 40),
    keyId: Uint8Array.from(page.subarray(48, 56)),
    salt: Uint8Array.from(page.subarray(56, 72)),
    origin: page.toString('latin1', 73, 73 + originLength),
  };
}

/** Writes a block header at `at`, all but the checksum. Positional, so that the hot path builds no object. */
export function putBlockHeader(
  bytes: Uint8Array,
  at: number,
  flags: number,
  payloadBytes: number,
  index: number,
  firstSeq: number,
  firstUs: number,
  lastUs: number,
  events: number,
): void {
  putU32(bytes, at, BLOCK_MAGIC);
  bytes[at + 8] = VERSION;
  bytes[at + 9] = flags;
  bytes[at + 10] = 0;
  bytes[at + 11] = 0;
  putU32(bytes, at + 12, payloadBytes);
  putU64(bytes, at + 16, index);
  putU64(bytes, at + 24, firstSeq);
  putU64(bytes, at + 32, firstUs);
  putU64(bytes, at + 40, lastUs);
  putU32(bytes, at + 48, events);
  putU32(bytes, at + 52, 0);
}

/** Sets the checksum of the block whose header is at `at` and whose payload ends at `end`. */
export function putBlockChecksum(bytes: Uint8Array, at: number, end: number): void {
  putU32(bytes, at + 4, crc32(bytes.subarray(at + 8, end)));
}

export function blockChecksumHolds(bytes: Uint8Array, at: number, end: number): boolean {
  return crc32(bytes.subarray(at + 8, end)) === getU32(bytes, at + 4);
}

/** The block header at `at`, or what is wrong with it. The checksum is not looked at. */
export function decodeBlockHeader(bytes: Uint8Array, at: number): BlockHeader | string {
  if (getU32(bytes, at) !== BLOCK_MAGIC) return 'no block starts here';
  return decodeHeaderFields(bytes, at + 8);
}

function decodeHeaderFields(bytes: Uint8Array, at: number): BlockHeader | string {
  if (bytes[at] !== VERSION) return `the block has format version ${bytes[at]}`;
  const flags = bytes[at + 1];
  if (flags > 7 || bytes[at + 2] !== 0 || bytes[at + 3] !== 0 || getU32(bytes, at + 44) !== 0)
    return 'the block header has unknown flags';
  return {
    encrypted: (flags & FLAG_ENCRYPTED) !== 0,
    firstOfSegment: (flags & FLAG_FIRST_OF_SEGMENT) !== 0,
    retention: (flags & FLAG_RETENTION) !== 0,
    payloadBytes: getU32(bytes, at + 4),
    index: getU64(bytes, at + 8),
    firstSeq: getU64(bytes, at + 16),
    firstUs: getU64(bytes, at + 24),
    lastUs: getU64(bytes, at + 32),
    events: getU32(bytes, at + 40),
  };
}

/** The tree's entry of the block at `at … end` of `bytes`. */
export function encodeEntry(
  bytes: Uint8Array,
  at: number,
  end: number,
  segmentFirstBlock: number,
  offset: number,
  segmentSha256: Uint8Array | null,
): Buffer {
  const entry = Buffer.allocUnsafe(segmentSha256 === null ? ENTRY_BYTES : FIRST_ENTRY_BYTES);
  entry.set(bytes.subarray(at + 8, at + BLOCK_HEADER_BYTES), 0);
  putU64(entry, 48, segmentFirstBlock);
  putU64(entry, 56, offset);
  putSha256(bytes.subarray(at + BLOCK_HEADER_BYTES, end), entry, 64);
  if (segmentSha256 !== null) entry.set(segmentSha256, 96);
  return entry;
}

/** The entry, or what is wrong with it. */
export function decodeEntry(bytes: Uint8Array): Entry | string {
  if (bytes.length !== ENTRY_BYTES && bytes.length !== FIRST_ENTRY_BYTES) return 'an entry of a wrong length';
  const header = decodeHeaderFields(bytes, 0);
  if (typeof header === 'string') return header;
  if (header.firstOfSegment !== (bytes.length === FIRST_ENTRY_BYTES)) return 'an entry of a wrong length';
  return {
    ...header,
    segmentFirstBlock: getU64(bytes, 48),
    offset: getU64(bytes, 56),
    payloadSha256: bytes.subarray(64, 96),
    segmentSha256: header.firstOfSegment ? bytes.subarray(96, 128) : null,
  };
}

/** Counts the length-delimited events of a plain payload; -1 when they do not fill it exactly. */
export function countEvents(bytes: Uint8Array, start: number, end: number): number {
  let at = start;
  let count = 0;
  while (at < end) {
    let size = 0;
    let scale = 1;
    for (;;) {
      if (at >= end || scale > 2 ** 28) return -1;
      const byte = bytes[at++];
      size += (byte & 0x7f) * scale;
      if (byte < 0x80) break;
      scale *= 128;
    }
    at += size;
    count++;
  }
  return at === end ? count : -1;
}
