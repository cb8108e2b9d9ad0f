/** Writing messages: the frame and the protocol's strings on top of {@link ByteWriter}. */
import type { ByteWriter } from '../../base/bytes.ts';
import { AppError } from '../../base/errors.ts';

/** Starts a message; give the result to {@link endMessage}. */
export function beginMessage(out: ByteWriter, type: number): number {
  out.u8(type);
  return beginPacket(out);
}

/** Starts a packet without a type byte (start-up); give the result to {@link endMessage}. */
export function beginPacket(out: ByteWriter): number {
  const mark = out.length;
  out.u32be(0);
  return mark;
}

/** Writes the length of what was written since `mark`. */
export function endMessage(out: ByteWriter, mark: number): void {
  const length = out.length - mark;
  out.bytes[mark] = length >>> 24;
  out.bytes[mark + 1] = length >>> 16;
  out.bytes[mark + 2] = length >>> 8;
  out.bytes[mark + 3] = length;
}

/** A message without a body. */
export function writeEmptyMessage(out: ByteWriter, type: number): void {
  out.u8(type);
  out.u32be(4);
}

function refuseNul(text: string): void {
  if (text.includes('\0'))
    throw new AppError(
      'invalid',
      'WIRE_NUL_IN_STRING',
      'A string for PostgreSQL contains a NUL character, which its protocol cannot carry. Remove it.',
    );
}

/** UTF-8 without a terminator. */
export function writeUtf8(out: ByteWriter, text: string): void {
  out.ensure(text.length * 3);
  out.length += out.bytes.write(text, out.length, 'utf8');
}

/** A NUL-terminated string in UTF-8. */
export function writeString(out: ByteWriter, text: string): void {
  refuseNul(text);
  writeUtf8(out, text);
  out.u8(0);
}

/** A NUL-terminated string with one byte per character: the counterpart of the names in views. */
export function writeLatin1(out: ByteWriter, text: string): void {
  refuseNul(text);
  out.ensure(text.length + 1);
  out.length += out.bytes.write(text, out.length, 'latin1');
  out.u8(0);
}

/** A 16-bit count; more cannot be said in the protocol. */
export function writeCount(out: ByteWriter, count: number): void {
  if (count > 0xffff)
    throw new AppError(
      'invalid',
      'WIRE_TOO_MANY_ITEMS',
      `A PostgreSQL message carries at most 65535 columns or parameters, not ${count}.`,
    );
  out.u16be(count);
}

/** A counted value; `null` is NULL. */
export function writeValue(out: ByteWriter, value: Uint8Array | null): void {
  if (value === null) {
    out.u32be(0xffff_ffff);
    return;
  }
  out.u32be(value.length);
  out.raw(value);
}
