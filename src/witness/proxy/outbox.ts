/**
 * What a session wants to send on one link, kept back until the turn's records are in the journal.
 *
 * Slices point into the reactor's arena and stay valid until the turn ends; whatever must live longer (the journal is
 * failing, or `sync` durability waits for an fsync) is copied by {@link Outbox.hold} first. Order is kept always: while
 * anything is held, everything behind it is held too.
 */
import type { Link } from '../../transport/link.ts';

const NOTHING = new Uint8Array(0);

export class Outbox {
  readonly #link: Link;
  /** Slices of this turn: `#count` of each are in use. */
  readonly #bytes: Uint8Array[] = [];
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];
  #count = 0;
  readonly #held: Uint8Array[] = [];
  #heldTotal = 0;
  #ended = false;
  /** Bytes held back in copies. */
  heldBytes = 0;
  /** Bytes pushed in this turn. */
  queuedBytes = 0;

  constructor(link: Link) {
    this.#link = link;
  }

  get link(): Link {
    return this.#link;
  }

  /** Nothing goes out after this: what is queued or held is written, then FIN. */
  end(): void {
    if (this.#ended) return;
    this.send();
    this.#ended = true;
    this.#link.end();
  }

  push(bytes: Uint8Array, start: number, end: number): void {
    const last = this.#count - 1;
    this.queuedBytes += end - start;
    if (last >= 0 && this.#ends[last] === start && this.#bytes[last] === bytes) {
      this.#ends[last] = end; // adjacent: one longer slice
      return;
    }
    const at = this.#count++;
    this.#bytes[at] = bytes;
    this.#starts[at] = start;
    this.#ends[at] = end;
  }

  /** Takes back what was pushed in this turn. */
  discard(): void {
    // The arrays keep their memory; what they point to must not be kept.
    for (let i = 0; i < this.#count; i++) this.#bytes[i] = NOTHING;
    this.#count = 0;
    this.queuedBytes = 0;
  }

  /** Gives this turn's bytes to the link, behind nothing: call only while nothing is held. */
  send(): void {
    if (this.#count === 0) return;
    if (!this.#ended)
      for (let i = 0; i < this.#count; i++) this.#link.send(this.#bytes[i], this.#starts[i], this.#ends[i]);
    this.discard();
  }

  /** Copies this turn's bytes behind what is held already. */
  hold(): void {
    for (let i = 0; i < this.#count; i++) {
      const copy = Uint8Array.prototype.slice.call(this.#bytes[i], this.#starts[i], this.#ends[i]);
      this.#held.push(copy);
      this.heldBytes += copy.length;
      this.#heldTotal += copy.length;
    }
    this.discard();
  }

  /** Cumulative count of bytes ever held: a mark for {@link releaseTo}. */
  get heldMark(): number {
    return this.#heldTotal;
  }

  /** Sends what was held before `mark` was taken, oldest first. */
  releaseTo(mark: number): void {
    while (this.#held.length > 0 && this.#heldTotal - this.heldBytes < mark) {
      const piece = this.#held.shift() as Uint8Array;
      this.heldBytes -= piece.length;
      if (!this.#ended) this.#link.send(piece);
    }
  }
}
