/**
 * The turn: which links have output, and the one moment at which it goes out.
 *
 *   sends, touches, closes ─▶ end(): onClose calls ─▶ onTurnEnd() ─true──▶ writeQueued() of every link with output
 *                                                         └─false─▶ holdQueued(): copied, kept until retryTurn()
 *
 * Handlers are never called while output is written: what goes wrong there is remembered and told in the next turn.
 */
import type { BaseLink } from './base-link.ts';

const EARLY_END_BYTES = 256 * 1024;

export class Turn {
  /** Set by the relay, see `Reactor.onTurnEnd`. */
  onTurnEnd: () => boolean = () => true;
  /** Several links have output, and their writes may go out together. True only while they are asked to write. */
  isBatch = false;
  readonly #wake: () => void;
  readonly #written: () => void;
  /** The first `#dirtyCount` are links with output; the rest is kept memory. */
  readonly #dirty: (BaseLink | null)[] = [];
  #dirtyCount = 0;
  #closing: BaseLink[] = [];
  #held: BaseLink[] = [];
  #touched = false;
  #retry = false;
  #readBytes = 0;

  /**
   * @param wake makes sure that `end` is called soon; cheap to call again
   * @param written called when all links with output were asked to write
   */
  constructor(wake: () => void, written: () => void = () => undefined) {
    this.#wake = wake;
    this.#written = written;
  }

  addDirty(link: BaseLink): void {
    this.#dirty[this.#dirtyCount++] = link;
    this.#wake();
  }

  /** The link is closed; its handler is told before the turn ends. */
  addClosing(link: BaseLink): void {
    this.#closing.push(link);
    this.#wake();
  }

  touch(): void {
    this.#touched = true;
    this.#wake();
  }

  retry(): void {
    this.#retry = true;
    this.#wake();
  }

  get isPending(): boolean {
    return this.#touched || this.#retry || this.#dirtyCount > 0 || this.#closing.length > 0;
  }

  /**
   * Counts bytes that a Node stream has read, and ends the turn early when they are many: libuv reads one socket up
   * to 32 times in a row, and handlers see a backlog only when the turn is over. Must not be called from a handler.
   */
  countRead(count: number): void {
    this.#readBytes += count;
    if (this.#readBytes >= EARLY_END_BYTES) this.end();
  }

  /** Ends the turn. Must not be called from a handler. */
  end(): void {
    this.#readBytes = 0;
    if (this.#closing.length > 0) this.#tellClosed();
    if (this.#dirtyCount === 0 && !this.#touched && !this.#retry) return;
    const retry = this.#retry;
    this.#touched = false;
    this.#retry = false;
    // What onTurnEnd itself sends belongs to this turn: `#dirty` may grow while it runs. A touch asks for another turn.
    const granted = this.onTurnEnd();
    const dirty = this.#dirty;
    const count = this.#dirtyCount;
    this.isBatch = count > 1 || (granted && retry);
    if (granted && retry) this.#releaseHeld();
    this.#dirtyCount = 0;
    for (let i = 0; i < count; i++) {
      const link = dirty[i] as BaseLink;
      dirty[i] = null;
      if (granted && !link.isHolding) link.writeQueued();
      else if (link.holdQueued()) this.#held.push(link);
    }
    this.isBatch = false;
    this.#written();
  }

  #releaseHeld(): void {
    const held = this.#held;
    this.#held = [];
    for (const link of held) link.writeHeld();
  }

  #tellClosed(): void {
    // A handler told may close further links; they are told in the same turn.
    for (let i = 0; i < this.#closing.length; i++) this.#closing[i].tellClosed();
    this.#closing.length = 0;
  }
}
