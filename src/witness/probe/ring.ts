/**
 * The reader's end of a BPF ring buffer, over shared memory: no system call per record, no copy, and one BigInt per call instead of one per record.
 *
 *   page 0: consumer position (ours)    page 1: producer position    then the data, mapped twice in a row
 *   record: u32 length | BUSY << 31 | DISCARD << 30, u32 page offset, then the data, padded to 8
 *
 * Positions are 64-bit counters; as numbers they are exact for 2^53 bytes, which is years.
 */
import { assert } from '../../base/assert.ts';
import type { Syscalls } from './syscalls.ts';

const PAGE = 4096;
const HEADER_BYTES = 8;
const BUSY = 0x8000_0000;
const DISCARD = 0x4000_0000;
const LENGTH = 0x3fff_ffff;
/** Room is given back to the kernel at least this often while draining. */
const RELEASE_EVERY_BYTES = 256 * 1024;

export type RecordHandler = (data: Buffer, at: number, bytes: number) => void;

export class Ring {
  readonly bytes: number;
  readonly #consumer: BigInt64Array;
  readonly #producer: BigInt64Array;
  readonly #headers: Int32Array;
  readonly #data: Buffer;
  #position: number;

  /** `bytes`: as the map was made, a power of two and a multiple of the page size. */
  constructor(sys: Syscalls, fd: number, bytes: number) {
    assert((bytes & (bytes - 1)) === 0 && bytes >= PAGE, 'a ring has a power of two bytes');
    this.bytes = bytes;
    this.#consumer = new BigInt64Array(sys.map(fd, PAGE, 0, true), 0, 1);
    const producer = sys.map(fd, PAGE + 2 * bytes, PAGE, false);
    this.#producer = new BigInt64Array(producer, 0, 1);
    this.#headers = new Int32Array(producer, PAGE, (2 * bytes) / 4);
    this.#data = Buffer.from(producer, PAGE, 2 * bytes);
    this.#position = Number(Atomics.load(this.#consumer, 0));
  }

  /** Bytes that wait to be read. */
  get pending(): number {
    return Number(Atomics.load(this.#producer, 0)) - this.#position;
  }

  /**
   * Gives every complete record to `handle`, at most about `maxBytes` of them; the buffer is the ring itself and is only
   * valid during the call. Returns the number of records.
   */
  drain(handle: RecordHandler, maxBytes = Number.MAX_SAFE_INTEGER): number {
    let records = 0;
    const end = this.#position + Math.min(this.pending, maxBytes);
    let released = this.#position;
    while (this.#position < end) {
      const offset = this.#position % this.bytes;
      const header = Atomics.load(this.#headers, offset / 4) >>> 0;
      if ((header & BUSY) !== 0) break; // still being written; it and what follows come with the next call
      const length = header & LENGTH;
      if ((header & DISCARD) === 0) {
        handle(this.#data, offset + HEADER_BYTES, length);
        records++;
      }
      this.#position += (length + HEADER_BYTES + 7) & ~7;
      if (this.#position - released >= RELEASE_EVERY_BYTES) {
        Atomics.store(this.#consumer, 0, BigInt(this.#position));
        released = this.#position;
      }
    }
    if (this.#position > released) Atomics.store(this.#consumer, 0, BigInt(this.#position));
    return records;
  }
}
