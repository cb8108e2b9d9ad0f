/**
 * Memory for gathered output of Node streams. Mostly the kernel takes everything at once and the same bytes are used for
 * the next write; what a stream keeps is left to it (`keep`) and collected with it.
 */
const SLAB_BYTES = 256 * 1024;

export class Scratch {
  #slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
  position = 0;

  /** Memory with room for `count` bytes at `position`. Valid until the next `reserve`, unless kept. */
  reserve(count: number): Buffer {
    if (this.#slab.length - this.position < count) {
      this.#slab = Buffer.allocUnsafeSlow(Math.max(SLAB_BYTES, count));
      this.position = 0;
    }
    return this.#slab;
  }

  /** The last reserved bytes are in use until their stream has written them. */
  keep(count: number): void {
    this.position += count;
  }
}
