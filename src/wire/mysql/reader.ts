/**
 * Reading inside one payload. {@link PayloadReader} allocates nothing but what it returns, and can be set upon one payload
 * after the other. It never looks behind its end.
 */
import { AppError } from '../../base/errors.ts';

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The error of every payload whose contents contradict its length or its own counts. */
export function malformed(message: string, problem: string): AppError {
  return new AppError(
    'protocol',
    'WIRE_MESSAGE_MALFORMED',
    `A ${message} packet is malformed: ${problem}. Check the driver, or what stands between it and dbwitness.`,
    { details: { message, problem } },
  );
}

export function uint16At(bytes: Uint8Array, at: number): number {
  return bytes[at] | (bytes[at + 1] << 8);
}

export function uint24At(bytes: Uint8Array, at: number): number {
  return bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16);
}

export function uint32At(bytes: Uint8Array, at: number): number {
  return (bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)) >>> 0;
}

/** Exact up to 2^53, rounded beyond. */
export function uint64At(bytes: Uint8Array, at: number): number {
  return uint32At(bytes, at) + uint32At(bytes, at + 4) * 0x1_0000_0000;
}

/** `undefined` when the bytes are not UTF-8. */
export function utf8OrUndefined(bytes: Uint8Array): string | undefined {
  try {
    return strictUtf8.decode(bytes);
  } catch {
    return undefined;
  }
}

const NOTHING = Buffer.alloc(0);

/** First byte of a length-encoded NULL in a text row, and of LOCAL INFILE requests. */
export const LENENC_NULL = 0xfb;

/** A cursor over one payload. */
export class PayloadReader {
  bytes: Buffer = NOTHING;
  at = 0;
  end = 0;
  message = '';

  /**
   * Sets the reader upon `bytes[start, end)`, which stay the caller's.
   * @param message the protocol's name of the packet, for errors.
   */
  over(bytes: Buffer, start: number, end: number, message: string): this {
    this.bytes = bytes;
    this.at = start;
    this.end = end;
    this.message = message;
    return this;
  }

  /** Lets go of the buffer. */
  release(): void {
    this.bytes = NOTHING;
    this.at = 0;
    this.end = 0;
  }

  get remaining(): number {
    return this.end - this.at;
  }

  /** Offset of the next `count` bytes, which are passed over. */
  take(count: number): number {
    if (count < 0 || count > this.end - this.at) throw malformed(this.message, 'it ends early');
    const at = this.at;
    this.at += count;
    return at;
  }

  uint8(): number {
    return this.bytes[this.take(1)];
  }

  uint16(): number {
    return uint16At(this.bytes, this.take(2));
  }

  uint24(): number {
    return uint24At(this.bytes, this.take(3));
  }

  uint32(): number {
    return uint32At(this.bytes, this.take(4));
  }

  /** A length-encoded integer, exact up to 2^53, rounded beyond. */
  lenenc(): number {
    const first = this.uint8();
    if (first < 0xfb) return first;
    switch (first) {
      case 0xfc:
        return this.uint16();
      case 0xfd:
        return this.uint24();
      case 0xfe:
        return uint64At(this.bytes, this.take(8));
      default:
        throw malformed(this.message, `a length that begins with 0x${first.toString(16)}`);
    }
  }

  /** Passes over a length-encoded string and returns the offset of its bytes; they end at `at`. */
  lenencBytes(): number {
    return this.take(this.lenenc());
  }

  /** The same where NULL may stand: −1. */
  lenencBytesOrNull(): number {
    if (this.at < this.end && this.bytes[this.at] === LENENC_NULL) {
      this.at++;
      return -1;
    }
    return this.lenencBytes();
  }

  /** A length-encoded string; what is not UTF-8 becomes U+FFFD. */
  lenencString(): string {
    const start = this.lenencBytes();
    return start === this.at ? '' : this.bytes.toString('utf8', start, this.at);
  }

  /** A length-encoded string: a view, not a copy. */
  lenencView(): Buffer {
    const start = this.lenencBytes();
    return this.bytes.subarray(start, this.at);
  }

  /** Passes over a NUL-terminated string and its terminator and returns the offset of its first byte. */
  nulBytes(): number {
    const start = this.at;
    const { bytes, end } = this;
    for (let i = start; i < end; i++)
      if (bytes[i] === 0) {
        this.at = i + 1;
        return start;
      }
    throw malformed(this.message, 'a string without its terminator');
  }

  /** A NUL-terminated string; what is not UTF-8 becomes U+FFFD. */
  nulString(): string {
    const start = this.nulBytes();
    return this.bytes.toString('utf8', start, this.at - 1);
  }

  /** A NUL-terminated string that may also end with the payload, as some drivers end their last one. */
  nulOrRestString(): string {
    const found = this.bytes.subarray(this.at, this.end).indexOf(0);
    if (found >= 0) return this.nulString();
    return this.restString();
  }

  /** What is left, as a string; what is not UTF-8 becomes U+FFFD. */
  restString(): string {
    const start = this.take(this.remaining);
    return this.bytes.toString('utf8', start, this.end);
  }

  /** What is left: a view, not a copy. */
  restView(): Buffer {
    const start = this.take(this.remaining);
    return this.bytes.subarray(start, this.end);
  }

  /** A view, not a copy. */
  view(count: number): Buffer {
    const start = this.take(count);
    return this.bytes.subarray(start, this.at);
  }

  finish(): void {
    if (this.at !== this.end) throw malformed(this.message, 'bytes are left over');
  }
}
