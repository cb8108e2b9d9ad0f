/** What the fuzzers of all codecs share: chance made of a seed, mutation, and what is counted. */
import { assert } from '../../src/base/assert.ts';

/** mulberry32: small, fast, the same everywhere. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0;
  }

  uint32(): number {
    this.#state = (this.#state + 0x6d2b_79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return (t ^ (t >>> 14)) >>> 0;
  }

  /** From 0 to `limit` − 1; 0 when there is no room. */
  below(limit: number): number {
    return limit <= 0 ? 0 : this.uint32() % limit;
  }

  bytes(count: number): Buffer {
    return Buffer.from(Array.from({ length: count }, () => this.below(256)));
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)];
  }
}

export interface FuzzCounts {
  messages: number;
  values: number;
  refusals: number;
}

/** How a protocol writes counts and lengths, and which of them are at the edges. */
export interface Numbers {
  readonly extremes: readonly number[];
  readonly littleEndian: boolean;
}

/** What is shown of some bytes is in proportion to them. */
export function bounded(value: unknown, bytes: number): void {
  const chars = JSON.stringify(value).length;
  assert(chars < 20_000 + 400 * bytes, `${chars} characters of ${bytes} bytes`);
}

/** A copy with one to four changes. */
export function mutated(random: Random, source: Uint8Array, numbers: Numbers): Buffer {
  let bytes = Buffer.from(source);
  for (let left = 1 + random.below(4); left > 0; left--) {
    const at = random.below(bytes.length);
    const extreme = random.pick(numbers.extremes);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    switch (random.below(8)) {
      case 0: // a bit
        if (bytes.length > 0) bytes[at] ^= 1 << random.below(8);
        break;
      case 1: // a byte
        if (bytes.length > 0) bytes[at] = random.below(256);
        break;
      case 2: // a count or a length, of one byte, two and four
        if (bytes.length > 0) bytes[at] = extreme & 0xff;
        break;
      case 3:
        if (at + 2 <= bytes.length) view.setUint16(at, extreme & 0xffff, numbers.littleEndian);
        break;
      case 4:
        if (at + 4 <= bytes.length) view.setUint32(at, extreme, numbers.littleEndian);
        break;
      case 5: // something goes
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + random.below(20))]);
        break;
      case 6: // something comes
        bytes = Buffer.concat([
          bytes.subarray(0, at),
          random.bytes(1 + random.below(10)),
          bytes.subarray(at),
        ]);
        break;
      default: // something comes twice
        bytes = Buffer.concat([bytes.subarray(0, at + random.below(100)), bytes.subarray(at)]);
    }
  }
  return bytes;
}
