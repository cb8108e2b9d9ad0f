/** Protobuf fields as the hot path writes them; what {@link ByteWriter} has in general, here for the common case. */
import { type ByteWriter, varintBytes } from '../base/bytes.ts';

/**
 * Starts a nested message and keeps two bytes for its length, which is right for 128 … 16,383 bytes; others are moved
 * when it is closed. (ByteWriter's own `beginMessage` keeps five and always moves.)
 */
export function openMessage(writer: ByteWriter, field: number): number {
  writer.tag(field, 2);
  writer.ensure(2);
  writer.length += 2;
  return writer.length;
}

/** Writes the length of what was written since `mark` into the two bytes before it, moving it when they do not fit. */
export function closeMessage(writer: ByteWriter, mark: number): void {
  const size = writer.length - mark;
  const { bytes } = writer;
  if (size < 0x80) {
    // A short move by hand is faster than the call.
    if (size <= 64) for (let i = mark; i < writer.length; i++) bytes[i - 1] = bytes[i];
    else bytes.copyWithin(mark - 1, mark, writer.length);
    bytes[mark - 2] = size;
    writer.length--;
    return;
  }
  if (size < 0x4000) {
    bytes[mark - 2] = (size & 0x7f) | 0x80;
    bytes[mark - 1] = size >>> 7;
    return;
  }
  const extra = varintBytes(size) - 2;
  writer.ensure(extra);
  writer.bytes.copyWithin(mark + extra, mark, writer.length);
  const end = writer.length + extra;
  writer.length = mark - 2;
  writer.varint(size);
  writer.length = end;
}

/** A bytes field of one byte, left out when that is 0. */
export function oneByte(writer: ByteWriter, field: number, value: number): void {
  if (value === 0) return;
  writer.tag(field, 2);
  writer.u8(1);
  writer.u8(value);
}

/** A packed repeated uint32 field. */
export function packed(writer: ByteWriter, field: number, values: ArrayLike<number>): void {
  const count = values.length;
  if (count === 0) return;
  const mark = openMessage(writer, field);
  for (let i = 0; i < count; i++) writer.varint(values[i]);
  closeMessage(writer, mark);
}

/** A string field; short ASCII, which nearly all are, without the encoder's call. */
export function text(writer: ByteWriter, field: number, value: string): void {
  const size = value.length;
  if (size === 0) return;
  if (size < 0x80) {
    const start = writer.length;
    writer.tag(field, 2);
    writer.ensure(size + 1);
    const { bytes } = writer;
    let at = writer.length;
    bytes[at++] = size;
    let i = 0;
    for (; i < size; i++) {
      const code = value.charCodeAt(i);
      if (code >= 0x80) break;
      bytes[at++] = code;
    }
    if (i === size) {
      writer.length = at;
      return;
    }
    writer.length = start;
  }
  writer.stringField(field, value);
}

/** An element of a repeated string field: written even when empty. */
export function repeatedText(writer: ByteWriter, field: number, value: string): void {
  if (value.length > 0) {
    text(writer, field, value);
    return;
  }
  writer.tag(field, 2);
  writer.u8(0);
}

/** `map<string, string>`: every entry writes both its key and its value, empty or not. */
export function textMap(writer: ByteWriter, field: number, map: Readonly<Record<string, string>>): void {
  for (const key of Object.keys(map)) {
    const mark = openMessage(writer, field);
    repeatedText(writer, 1, key);
    repeatedText(writer, 2, map[key]);
    closeMessage(writer, mark);
  }
}
