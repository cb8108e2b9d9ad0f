/**
 * What a session wants to send on one link, kept back until the turn's records are in the journal.
 *
 * Slices point into the reactor's arena and stay valid until the turn ends; whatever must live longer (the journal is
 * failing, or `sync` durability waits for an fsync) is copied by {@link Outbox.hold} first. Order is kept always: while
 * anything is held, everything behind it is held too.
 */
import type { Link } from '../../transport/link.ts';

export class Outbox {
  readonly #link: Link;
  readonly #bytes: Uint8Array[] = [];
  readonly #bounds: number[] = [];
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
    const count = this.#bytes.length;
    this.queuedBytes += end - start;
    if (count > 0 && this.#bytes[count - 1] === bytes && this.#bounds[count * 2 - 1] === start) {
      this.#bounds[count * 2 - 1] = end; // adjacent: one longer slice
      return;
    }
    this.#bytes.push(bytes);
    this.#bounds.push(start, end);
  }

  /** Takes back what was pushed in this turn. */
  discard(): void {
    this.#bytes.length = 0;
    this.#bounds.length = 0;
    this.queuedBytes = 0;
  }

  /** Gives this turn's bytes to the link, behind nothing: call only while nothing is held. */
  send(): void {
    const bytes = this.#bytes;
    const bounds = this.#bounds;
    if (this.#ended) {
      this.discard();
      return;
    }
    for (let i = 0; i < bytes.length; i++) this.#link.send(bytes[i], bounds[i * 2], bounds[i * 2 + 1]);
    this.discard();
  }

  /** Copies this turn's bytes behind what is held already. */
  hold(): void {
    for (let i = 0; i < this.#bytes.length; i++) {
      const copy = Uint8Array.prototype.slice.call(
        this.#bytes[i],
        this.#bounds[i * 2],
        this.#bounds[i * 2 + 1],
      );
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
