/**
 * A growable byte buffer with the primitives of the protobuf wire format, for records encoded by hand on the hot
 * path. It allocates only when it grows; `reset` keeps the memory.
 */
import { AppError } from './errors.ts';

export const utf8 = new TextDecoder('utf-8');
const encoder = new TextEncoder();

export class ByteWriter {
  bytes: Buffer;
  length = 0;
  readonly #maxBytes: number;

  constructor(initialBytes = 64 * 1024, maxBytes = 1024 * 1024 * 1024) {
    this.bytes = Buffer.allocUnsafeSlow(initialBytes);
    this.#maxBytes = maxBytes;
  }

  reset(): void {
    this.length = 0;
  }

  /** Makes room for `count` more bytes. Views handed out before stay valid only until it grows. */
  ensure(count: number): void {
    if (this.length + count > this.bytes.length) this.#grow(this.length + count);
  }

  #grow(needed: number): void {
    if (needed > this.#maxBytes)
      throw new AppError(
        'exhausted',
        'BASE_BUFFER_FULL',
        `a buffer of at most ${this.#maxBytes} bytes is full`,
      );
    const grown = Buffer.allocUnsafeSlow(Math.min(this.#maxBytes, Math.max(needed, this.bytes.length * 2)));
    this.bytes.copy(grown, 0, 0, this.length);
    this.bytes = grown;
  }

  u8(value: number): void {
    this.ensure(1);
    this.bytes[this.length++] = value;
  }

  u16be(value: number): void {
    this.ensure(2);
    this.bytes[this.length++] = value >>> 8;
    this.bytes[this.length++] = value;
  }

  u32be(value: number): void {
    this.ensure(4);
    const { bytes } = this;
    bytes[this.length++] = value >>> 24;
    bytes[this.length++] = value >>> 16;
    bytes[this.length++] = value >>> 8;
    bytes[this.length++] = value;
  }

  raw(source: Uint8Array, start = 0, end = source.length): void {
    const count = end - start;
    this.ensure(count);
    if (count <= 96) {
      // A short copy by hand is faster than the call and the view it needs.
      const { bytes } = this;
      let at = this.length;
      for (let i = start; i < end; i++) bytes[at++] = source[i];
      this.length = at;
      return;
    }
    this.bytes.set(start === 0 && end === source.length ? source : source.subarray(start, end), this.length);
    this.length += count;
  }

  /** Unsigned LEB128 of a non-negative integer below 2^53. */
  varint(value: number): void {
    this.ensure(10);
    if (value < 0x80) this.bytes[this.length++] = value;
    else this.#longVarint(value);
  }

  /** There is room for it. */
  #longVarint(value: number): void {
    const { bytes } = this;
    let at = this.length;
    while (value > 0x7fffffff) {
      bytes[at++] = (value % 128) | 0x80;
      value = Math.floor(value / 128);
    }
    let low = value | 0;
    while (low > 0x7f) {
      bytes[at++] = (low & 0x7f) | 0x80;
      low >>>= 7;
    }
    bytes[at++] = low;
    this.length = at;
  }

  /** A protobuf tag; `wireType` 0 varint, 1 fixed64, 2 length-delimited, 5 fixed32. */
  tag(field: number, wireType: 0 | 1 | 2 | 5): void {
    this.varint(field * 8 + wireType);
  }

  /** A varint field, left out when 0 as proto3 does. */
  uintField(field: number, value: number): void {
    if (value === 0) return;
    this.tag(field, 0);
    this.varint(value);
  }

  boolField(field: number, value: boolean): void {
    if (!value) return;
    this.tag(field, 0);
    this.u8(1);
  }

  /** A bytes field, left out when empty. */
  bytesField(field: number, source: Uint8Array, start = 0, end = source.length): void {
    if (end === start) return;
    this.tag(field, 2);
    this.varint(end - start);
    this.raw(source, start, end);
  }

  /** A string field, left out when empty. */
  stringField(field: number, text: string): void {
    if (text.length === 0) return;
    this.tag(field, 2);
    this.ensure(text.length * 3 + 10);
    // Written behind the longest possible length prefix, then moved if the prefix turned out shorter.
    const at = this.length;
    const prefix = varintBytes(text.length * 3);
    const { written } = encoder.encodeInto(text, this.bytes.subarray(at + prefix));
    const actual = varintBytes(written);
    if (actual !== prefix) this.bytes.copyWithin(at + actual, at + prefix, at + prefix + written);
    this.varint(written);
    this.length = at + actual + written;
  }

  /**
   * Starts a length-delimited field whose length is not known yet: returns a mark for {@link endMessage}. Five bytes
   * are kept for the length; it is moved together at the end, so nest sparingly on the hot path.
   */
  beginMessage(field: number): number {
    this.tag(field, 2);
    this.ensure(5);
    this.length += 5;
    return this.length;
  }

  endMessage(mark: number): void {
    this.ensure(10); // while `length` still covers the message: growing copies no further than that
    const size = this.length - mark;
    const prefix = varintBytes(size);
    this.bytes.copyWithin(mark - 5 + prefix, mark, this.length);
    this.length = mark - 5;
    this.varint(size);
    this.length += size;
  }

  /** A view of what was written; valid until the next write. */
  view(): Buffer {
    return this.bytes.subarray(0, this.length);
  }

  /** A copy of what was written. */
  copy(): Buffer {
    return Buffer.from(this.view());
  }
}

export function varintBytes(value: number): number {
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  if (value < 0x200000) return 3;
  if (value < 0x10000000) return 4;
  if (value < 0x800000000) return 5;
  return value < 2 ** 42 ? 6 : value < 2 ** 49 ? 7 : 8;
}
