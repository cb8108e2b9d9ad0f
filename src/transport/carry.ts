/**
 * What a handler left over, until more bytes arrive. Short remainders are kept in a small buffer of the link and copied
 * in front of the next read; long ones live in a buffer that the next read appends to directly, growing by doubling, so
 * that a long message in small pieces costs time linear in its length. Bytes that were presented never move within a
 * buffer: a slice of them may still be queued.
 */
const MIN_SMALL_BYTES = 512;
/** Remainders up to this are copied in front of each read. */
export const SMALL_BYTES = 8 * 1024;
/** A long remainder grows when fewer bytes than this are free behind it. */
const MIN_TAIL_BYTES = 16 * 1024;
const NONE = Buffer.alloc(0);

export class Carry {
  #small: Buffer = NONE;
  /** The long remainder `large[start, end)`, or the short one `small[0, end)` when `large` is null. */
  large: Buffer | null = null;
  start = 0;
  end = 0;

  get length(): number {
    return this.end - this.start;
  }

  /** Puts the short remainder at `target[at…]`. */
  copyTo(target: Buffer, at: number): void {
    copyBytes(this.#small, 0, this.end, target, at);
  }

  /** The short remainder itself; it stays valid until `keep` or `clear`. */
  get small(): Buffer {
    return this.#small;
  }

  /** Keeps `bytes[start, end)`, which is not the small buffer, for later. */
  keep(bytes: Buffer, start: number, end: number): void {
    const count = end - start;
    if (bytes === this.large && count > SMALL_BYTES) {
      this.start = start;
      this.end = end;
      return;
    }
    if (count > SMALL_BYTES) {
      this.large = Buffer.allocUnsafeSlow(2 * count + MIN_TAIL_BYTES);
      copyBytes(bytes, start, end, this.large, 0);
    } else {
      this.large = null;
      if (this.#small.length < count) this.#small = Buffer.allocUnsafeSlow(roundUp(count));
      copyBytes(bytes, start, end, this.#small, 0);
    }
    this.start = 0;
    this.end = count;
  }

  clear(): void {
    this.large = null;
    this.start = 0;
    this.end = 0;
  }

  /** Makes sure that there is room behind the long remainder; returns its buffer. `maxBytes` is the longest remainder. */
  ensureTail(maxBytes: number): Buffer {
    const large = this.large as Buffer;
    if (large.length - this.end >= MIN_TAIL_BYTES || this.length >= maxBytes) return large;
    const grown = Buffer.allocUnsafeSlow(2 * this.length + MIN_TAIL_BYTES);
    copyBytes(large, this.start, this.end, grown, 0);
    this.large = grown;
    this.end = this.length;
    this.start = 0;
    return grown;
  }
}

function roundUp(count: number): number {
  let size = MIN_SMALL_BYTES;
  while (size < count) size *= 2;
  return size;
}

function copyBytes(source: Buffer, start: number, end: number, target: Buffer, at: number): void {
  if (end - start <= 32) for (let i = start, j = at; i < end; i++, j++) target[j] = source[i];
  else source.copy(target, at, start, end);
}
