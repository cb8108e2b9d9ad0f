/** Writing packets: the frame and the protocol's little-endian integers and strings on top of {@link ByteWriter}. */
import type { ByteWriter } from '../../base/bytes.ts';
import { assert } from '../../base/assert.ts';
import { AppError } from '../../base/errors.ts';
import { HEADER_BYTES, MAX_PACKET_BYTES } from './protocol.ts';

export function writeU16(out: ByteWriter, value: number): void {
  out.u8(value);
  out.u8(value >>> 8);
}

export function writeU24(out: ByteWriter, value: number): void {
  out.u8(value);
  out.u8(value >>> 8);
  out.u8(value >>> 16);
}

export function writeU32(out: ByteWriter, value: number): void {
  writeU16(out, value);
  writeU16(out, value >>> 16);
}

/** A length-encoded integer. @param value whole, from 0 to 2^53. */
export function writeLenenc(out: ByteWriter, value: number): void {
  if (value < 0xfb) out.u8(value);
  else if (value <= 0xffff) {
    out.u8(0xfc);
    writeU16(out, value);
  } else if (value <= 0xff_ffff) {
    out.u8(0xfd);
    writeU24(out, value);
  } else {
    out.u8(0xfe);
    writeU32(out, value % 0x1_0000_0000);
    writeU32(out, Math.floor(value / 0x1_0000_0000));
  }
}

export function writeLenencBytes(out: ByteWriter, bytes: Uint8Array): void {
  writeLenenc(out, bytes.length);
  out.raw(bytes);
}

/** A length-encoded string in UTF-8. */
export function writeLenencString(out: ByteWriter, text: string): void {
  writeLenenc(out, Buffer.byteLength(text));
  writeUtf8(out, text);
}

/** UTF-8 without a terminator. */
export function writeUtf8(out: ByteWriter, text: string): void {
  out.ensure(text.length * 3);
  out.length += out.bytes.write(text, out.length, 'utf8');
}

/** A NUL-terminated string in UTF-8. */
export function writeNulString(out: ByteWriter, text: string): void {
  if (text.includes('\0'))
    throw new AppError(
      'invalid',
      'WIRE_NUL_IN_STRING',
      'A string for MySQL contains a NUL character, which its protocol cannot carry here. Remove it.',
    );
  writeUtf8(out, text);
  out.u8(0);
}

/** `count` zero bytes. */
export function writeZeros(out: ByteWriter, count: number): void {
  for (let i = 0; i < count; i++) out.u8(0);
}

/** Starts a packet; give the result to {@link endPacket}. */
export function beginPacket(out: ByteWriter): number {
  const mark = out.length;
  writeZeros(out, HEADER_BYTES);
  return mark;
}

/**
 * Writes the header of what was written since `mark`, cutting it into several packets when it has 2^24−1 bytes or more.
 * @returns the sequence id of what comes next.
 */
export function endPacket(out: ByteWriter, mark: number, sequence: number): number {
  const length = out.length - mark - HEADER_BYTES;
  if (length < MAX_PACKET_BYTES) {
    setHeader(out.bytes, mark, length, sequence);
    return (sequence + 1) & 0xff;
  }
  // Rare: the payload is moved apart for the headers in between.
  const payload = Buffer.from(out.bytes.subarray(mark + HEADER_BYTES, out.length));
  out.length = mark;
  return writePayload(out, payload, sequence);
}

/** A whole payload as one or more packets. @returns the sequence id of what comes next. */
export function writePayload(out: ByteWriter, payload: Uint8Array, sequence: number): number {
  let at = 0;
  let id = sequence & 0xff;
  for (;;) {
    const length = Math.min(MAX_PACKET_BYTES, payload.length - at);
    out.ensure(HEADER_BYTES + length);
    setHeader(out.bytes, out.length, length, id);
    out.length += HEADER_BYTES;
    out.raw(payload, at, at + length);
    at += length;
    id = (id + 1) & 0xff;
    if (length < MAX_PACKET_BYTES) break;
  }
  return id;
}

function setHeader(bytes: Uint8Array, at: number, length: number, sequence: number): void {
  assert(length <= MAX_PACKET_BYTES, 'a packet longer than its header can say');
  bytes[at] = length;
  bytes[at + 1] = length >>> 8;
  bytes[at + 2] = length >>> 16;
  bytes[at + 3] = sequence;
}
