/**
 * Reading inside one message. {@link MessageReader} is for messages off the hot path; the functions below it are for
 * views. Neither ever looks behind `end`.
 */
import { AppError } from '../../base/errors.ts';

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The error of every message whose contents contradict its length or its own counts. */
export function malformed(message: string, problem: string): AppError {
  return new AppError(
    'protocol',
    'WIRE_MESSAGE_MALFORMED',
    `A ${message} message is malformed: ${problem}. Check the driver, or what stands between it and dbwitness.`,
    { details: { message, problem } },
  );
}

export function int16At(bytes: Uint8Array, at: number): number {
  return ((bytes[at] << 24) >> 16) | bytes[at + 1];
}

export function uint16At(bytes: Uint8Array, at: number): number {
  return (bytes[at] << 8) | bytes[at + 1];
}

export function int32At(bytes: Uint8Array, at: number): number {
  return (bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3];
}

export function uint32At(bytes: Uint8Array, at: number): number {
  return int32At(bytes, at) >>> 0;
}

/** Offset of the NUL that ends the string at `at`, before `end`. */
export function stringEnd(bytes: Uint8Array, at: number, end: number, message: string): number {
  // Names are short: by hand they are faster than the native search, which pays only for statement texts.
  const near = Math.min(end, at + 64);
  for (let i = at; i < near; i++) if (bytes[i] === 0) return i;
  // The native search takes no end. A terminator behind the message is not one of this message; and cutting a view
  // for every statement would cost more than a search too far, which happens once and ends the connection.
  const found = near === end ? -1 : bytes.indexOf(0, near);
  if (found < 0 || found >= end) throw malformed(message, 'a string without its terminator');
  return found;
}

/** Bytes as a string with one character per byte: loses nothing, whatever the client's encoding. */
export function latin1(bytes: Buffer, start: number, end: number): string {
  return start === end ? '' : bytes.toString('latin1', start, end);
}

/**
 * The same for the names of the hot path. Drivers run one prepared statement again and again: when the bytes are those
 * of the name that the view held before, that string is returned and nothing is allocated.
 */
export function nameText(bytes: Buffer, start: number, end: number, previous: string): string {
  const length = end - start;
  if (length === 0) return '';
  if (length !== previous.length) return bytes.toString('latin1', start, end);
  for (let i = 0; i < length; i++)
    if (bytes[start + i] !== previous.charCodeAt(i)) return bytes.toString('latin1', start, end);
  return previous;
}

/** `undefined` when the bytes are not UTF-8. */
export function utf8OrUndefined(bytes: Uint8Array): string | undefined {
  try {
    return strictUtf8.decode(bytes);
  } catch {
    return undefined;
  }
}

/** A cursor over one message body, for messages off the hot path. */
export class MessageReader {
  readonly bytes: Buffer;
  readonly end: number;
  readonly message: string;
  at: number;

  /** @param message the protocol's name of the message, for errors. */
  constructor(bytes: Buffer, start: number, end: number, message: string) {
    this.bytes = bytes;
    this.at = start;
    this.end = end;
    this.message = message;
  }

  get remaining(): number {
    return this.end - this.at;
  }

  /** Offset of the next `count` bytes, which are passed over. */
  take(count: number): number {
    if (count < 0 || count > this.remaining) throw malformed(this.message, 'it ends early');
    const at = this.at;
    this.at += count;
    return at;
  }

  uint8(): number {
    return this.bytes[this.take(1)];
  }

  int16(): number {
    return int16At(this.bytes, this.take(2));
  }

  uint16(): number {
    return uint16At(this.bytes, this.take(2));
  }

  int32(): number {
    return int32At(this.bytes, this.take(4));
  }

  uint32(): number {
    return uint32At(this.bytes, this.take(4));
  }

  /** A NUL-terminated string, one character per byte. */
  latin1(): string {
    const start = this.at;
    const stop = stringEnd(this.bytes, start, this.end, this.message);
    this.at = stop + 1;
    return latin1(this.bytes, start, stop);
  }

  /** A NUL-terminated string; what is not UTF-8 becomes U+FFFD. */
  string(): string {
    const start = this.at;
    const stop = stringEnd(this.bytes, start, this.end, this.message);
    this.at = stop + 1;
    return this.bytes.toString('utf8', start, stop);
  }

  /** A view, not a copy. */
  view(count: number): Buffer {
    const start = this.take(count);
    return this.bytes.subarray(start, this.at);
  }

  /** A counted value, −1 for NULL: a view, not a copy. */
  value(): Buffer | null {
    const length = this.int32();
    if (length === -1) return null;
    if (length < 0) throw malformed(this.message, 'a negative value length');
    return this.view(length);
  }

  /** A 16-bit count of things of at least `itemBytes` each, checked against what is left before anything is made of it. */
  count(itemBytes: number): number {
    const count = this.uint16();
    if (count * itemBytes > this.remaining)
      throw malformed(this.message, 'a count greater than its contents');
    return count;
  }

  finish(): void {
    if (this.at !== this.end) throw malformed(this.message, 'bytes are left over');
  }
}
