/**
 * The little of DER that certificates need (X.690 §8, §10): a reader for the signature algorithm and a writer for a
 * self-signed certificate. Lengths are checked against what is there before anything is read.
 */
import { AppError } from '../base/errors.ts';

export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  utf8String: 0x0c,
  sequence: 0x30,
  set: 0x31,
  utcTime: 0x17,
  generalizedTime: 0x18,
} as const;

export class DerReader {
  readonly #bytes: Uint8Array;
  #at: number;
  readonly #end: number;

  constructor(bytes: Uint8Array, start = 0, end = bytes.length) {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#end;
  }

  peekTag(): number {
    if (this.isAtEnd) throw malformed();
    return this.#bytes[this.#at];
  }

  /** Passes over one element. */
  skip(): void {
    this.#element();
  }

  sequence(): DerReader {
    return this.#expect(TAG.sequence);
  }

  /** The content of an explicitly tagged element `[number]`. */
  explicit(number: number): DerReader {
    return this.#expect(0xa0 | number);
  }

  oid(): string {
    const content = this.#expect(TAG.oid);
    const bytes = content.#bytes.subarray(content.#at, content.#end);
    if (bytes.length === 0) throw malformed();
    const arcs: number[] = [Math.min(2, Math.floor(bytes[0] / 40))];
    arcs.push(bytes[0] - arcs[0] * 40);
    let value = 0;
    for (const byte of bytes.subarray(1)) {
      value = value * 128 + (byte & 0x7f);
      if (value > Number.MAX_SAFE_INTEGER / 128) throw malformed();
      if (byte < 0x80) {
        arcs.push(value);
        value = 0;
      }
    }
    return arcs.join('.');
  }

  #expect(tag: number): DerReader {
    if (this.peekTag() !== tag) throw malformed();
    return this.#element();
  }

  #element(): DerReader {
    let at = this.#at + 1;
    const first = this.#bytes[at++];
    if (first === undefined || at > this.#end) throw malformed();
    let length = first;
    if (first >= 0x80) {
      const count = first & 0x7f;
      if (count === 0 || count > 4 || at + count > this.#end) throw malformed();
      length = 0;
      for (let i = 0; i < count; i++) length = length * 256 + this.#bytes[at++];
    }
    if (length > this.#end - at) throw malformed();
    this.#at = at + length;
    return new DerReader(this.#bytes, at, at + length);
  }
}

function malformed(): AppError {
  return new AppError('corrupt', 'TRANSPORT_CERTIFICATE_MALFORMED', 'the certificate is not well-formed DER');
}

/** One element: tag, length, content. */
export function der(tag: number, ...content: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(content);
  const { length } = body;
  if (length < 0x80) return Buffer.concat([Buffer.from([tag, length]), body]);
  const digits: number[] = [];
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) digits.unshift(rest % 256);
  return Buffer.concat([Buffer.from([tag, 0x80 | digits.length, ...digits]), body]);
}

export function derOid(dotted: string): Buffer {
  const [first, second, ...rest] = dotted.split('.').map(Number);
  const bytes = [first * 40 + second];
  for (const arc of rest) {
    const digits = [arc & 0x7f];
    for (let value = Math.floor(arc / 128); value > 0; value = Math.floor(value / 128))
      digits.unshift((value & 0x7f) | 0x80);
    bytes.push(...digits);
  }
  return der(TAG.oid, Buffer.from(bytes));
}

/** A non-negative integer, big-endian. */
export function derInteger(value: Uint8Array): Buffer {
  return der(TAG.integer, value[0] >= 0x80 ? Buffer.concat([Buffer.from([0]), value]) : value);
}
