/**
 * Rows in PostgreSQL's binary COPY format: an 11-byte signature, two 32-bit words, then per row a 16-bit field count and
 * per field a 32-bit length (−1: NULL) and the value in its binary form; −1 as the last field count.
 * https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format".
 *
 * Built on the shared byte buffer, which is kept between batches. Texts must be storable (`sql-text.ts`).
 */
import { ByteWriter } from '../base/bytes.ts';

const SIGNATURE = Buffer.from('PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0', 'latin1');
const OID_TEXT = 25;

export class CopyWriter {
  readonly #out: ByteWriter;
  #rows = 0;

  constructor(out: ByteWriter = new ByteWriter(1024 * 1024)) {
    this.#out = out;
    this.reset();
  }

  get rows(): number {
    return this.#rows;
  }

  get byteLength(): number {
    return this.#out.length;
  }

  reset(): void {
    this.#out.reset();
    this.#out.raw(SIGNATURE);
    this.#rows = 0;
  }

  row(fields: number): void {
    this.#out.u16be(fields);
    this.#rows++;
  }

  /** Fields that were encoded before, by {@link encodeFields}. */
  encoded(fields: Uint8Array): void {
    this.#out.raw(fields);
  }

  bytes(value: Uint8Array): void {
    this.#out.u32be(value.length);
    this.#out.raw(value);
  }

  text(value: string): void {
    const out = this.#out;
    out.ensure(4 + value.length * 3);
    const written = out.bytes.write(value, out.length + 4, 'utf8');
    out.u32be(written);
    out.length += written;
  }

  null(): void {
    this.#out.u32be(0xffffffff);
  }

  bigint(value: number): void {
    this.#out.u32be(8);
    this.#out.u32be(Math.floor(value / 0x100000000));
    this.#out.u32be(value >>> 0);
  }

  boolean(value: boolean): void {
    this.#out.u32be(1);
    this.#out.u8(value ? 1 : 0);
  }

  /** `text[]`: dimensions, flags, element type, then length and lower bound, then the elements. */
  textArray(values: readonly string[]): void {
    const out = this.#out;
    const encoded = values.map((value) => Buffer.from(value, 'utf8'));
    const size = encoded.reduce((sum, value) => sum + 4 + value.length, encoded.length === 0 ? 12 : 20);
    out.u32be(size);
    out.u32be(encoded.length === 0 ? 0 : 1);
    out.u32be(0);
    out.u32be(OID_TEXT);
    if (encoded.length === 0) return;
    out.u32be(encoded.length);
    out.u32be(1);
    for (const value of encoded) this.bytes(value);
  }

  /** The finished stream, a copy. */
  finish(): Uint8Array {
    this.#out.u16be(0xffff);
    return this.#out.copy();
  }

  /** What was written since `reset`, without signature and trailer: fields for {@link encoded}. A copy. */
  takeFields(): Buffer {
    const fields = Buffer.from(this.#out.view().subarray(SIGNATURE.length));
    this.reset();
    return fields;
  }
}

const scratch = new CopyWriter(new ByteWriter(64 * 1024));

/** Encodes fields that many rows have in common, once. */
export function encodeFields(write: (writer: CopyWriter) => void): Buffer {
  write(scratch);
  return scratch.takeFields();
}
