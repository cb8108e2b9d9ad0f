/**
 * Bytes of one stream that were not consumed yet, contiguous. Nothing that was presented ever moves or changes: growing
 * takes new memory, at least twice what is kept, so that every byte is copied a bounded number of times however small
 * the pieces are.
 */
const MIN_GROWN_BYTES = 4 * 1024;

export class InputWindow {
  bytes: Buffer = Buffer.alloc(0);
  start = 0;
  end = 0;
  /** `bytes` is ours: its tail may be written. */
  #owned = false;

  get length(): number {
    return this.end - this.start;
  }

  /** Takes over `chunk`, which nobody may write any more. */
  append(chunk: Buffer): void {
    const kept = this.end - this.start;
    if (kept === 0) {
      this.bytes = chunk;
      this.start = 0;
      this.end = chunk.length;
      this.#owned = false;
      return;
    }
    if (!this.#owned || this.bytes.length - this.end < chunk.length) {
      const size = Math.max(MIN_GROWN_BYTES, 2 * kept, kept + chunk.length);
      const grown = Buffer.allocUnsafeSlow(size);
      grown.set(this.bytes.subarray(this.start, this.end), 0);
      this.bytes = grown;
      this.start = 0;
      this.end = kept;
      this.#owned = true;
    }
    this.bytes.set(chunk, this.end);
    this.end += chunk.length;
  }
}
