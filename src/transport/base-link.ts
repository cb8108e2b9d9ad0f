/**
 * What both kinds of links share: the queue of slices of the current turn, what is held after a refused turn, and the
 * life of a link. A driver adds how bytes are read and how they are written.
 *
 *   send ─▶ queue ──turn granted──▶ writeOut (driver) ─▶ kernel, rest ─▶ backlog (driver)
 *             └──turn refused──▶ held (copied) ──retryTurn──▶ writeOut
 */
import { AssertionError, assert } from '../base/assert.ts';
import { AppError } from '../base/errors.ts';
import type { ClientTlsOptions, Link, LinkHandler, PeerAddress, ServerTlsOptions, TlsFacts } from './link.ts';
import type { Turn } from './turn.ts';

export const EMPTY = Buffer.alloc(0);

/** Queues longer than this give their memory back after the turn. */
const KEPT_SLICES = 256;

/** In place until the owner sets a handler: nothing is read before, so only a close can reach it. */
const UNSET: LinkHandler = {
  onBytes: (_bytes, start) => start,
  onDrain: () => undefined,
  onEnd: () => undefined,
  onClose: () => undefined,
};

const callOnDrain = (handler: LinkHandler): void => handler.onDrain();

export abstract class BaseLink implements Link {
  readonly peer: PeerAddress;
  readonly tls: TlsFacts | null;
  protected readonly turn: Turn;
  /** The handler as the hot path reads it; set through {@link handler}. */
  protected owner: LinkHandler = UNSET;

  /** Slices queued in this turn: parallel arrays, `sliceCount` of them in use. */
  protected readonly sliceBytes: Uint8Array[] = [];
  protected readonly sliceStart: number[] = [];
  protected readonly sliceEnd: number[] = [];
  protected sliceCount = 0;
  #queuedBytes = 0;
  #isDirty = false;
  #held: Buffer[] = [];
  #heldBytes = 0;

  #paused = false;
  #closed = false;
  #closeError: Error | null = null;
  #onProgress: (() => void) | null = null;
  protected ending = false;

  constructor(turn: Turn, peer: PeerAddress, tls: TlsFacts | null) {
    this.turn = turn;
    this.peer = peer;
    this.tls = tls;
  }

  get handler(): LinkHandler {
    return this.owner;
  }

  set handler(handler: LinkHandler) {
    const first = this.owner === UNSET;
    this.owner = handler;
    if (first && !this.#closed && !this.#paused) this.startReading();
  }

  /** Nobody listens yet: nothing may be read. */
  protected get isUnowned(): boolean {
    return this.owner === UNSET;
  }

  get closed(): boolean {
    return this.#closed;
  }

  get paused(): boolean {
    return this.#paused;
  }

  get queuedBytes(): number {
    return this.#queuedBytes + this.#heldBytes;
  }

  abstract get backlogBytes(): number;

  send(bytes: Uint8Array, start = 0, end = bytes.length): void {
    if (end <= start || this.#closed) return;
    assert(!this.ending, 'send after end');
    const last = this.sliceCount - 1;
    if (last >= 0 && this.sliceEnd[last] === start && this.sliceBytes[last] === bytes) {
      this.sliceEnd[last] = end;
    } else {
      const at = this.sliceCount++;
      this.sliceBytes[at] = bytes;
      this.sliceStart[at] = start;
      this.sliceEnd[at] = end;
    }
    this.#queuedBytes += end - start;
    this.markDirty();
  }

  discardQueued(): void {
    this.#clearSlices();
    this.#held = [];
    this.#heldBytes = 0;
  }

  pause(): void {
    if (this.#paused || this.#closed) return;
    this.#paused = true;
    if (!this.isUnowned) this.stopReading();
  }

  resume(): void {
    if (!this.#paused || this.#closed) return;
    this.#paused = false;
    if (!this.isUnowned) this.startReading();
  }

  end(): void {
    if (this.ending || this.#closed) return;
    this.ending = true;
    this.markDirty();
  }

  destroy(error?: Error): void {
    this.close(error ?? null);
  }

  abstract startServerTls(options: ServerTlsOptions, head?: Uint8Array): Promise<Link>;
  abstract startClientTls(options: ClientTlsOptions): Promise<Link>;

  /** Queued output exists that the last turns were not allowed to write. */
  get isHolding(): boolean {
    return this.#heldBytes > 0;
  }

  /** The turn is granted: everything queued goes out, or into the backlog. */
  writeQueued(): void {
    this.#isDirty = false;
    if (this.#closed) return;
    if (this.#queuedBytes > 0) {
      const total = this.#queuedBytes;
      this.writeSlices(total);
      this.#clearSlices();
    }
    if (this.ending && !this.#closed && this.backlogBytes === 0) this.sendFin();
    if (this.#onProgress !== null) this.#progress();
  }

  /** The turn is refused: the slices are copied. Returns whether the link was not holding before. */
  holdQueued(): boolean {
    this.#isDirty = false;
    if (this.#closed) return false;
    if (this.#queuedBytes === 0) {
      if (this.#heldBytes === 0) this.writeQueued(); // nothing to hold back but a FIN
      return false;
    }
    const first = this.#heldBytes === 0;
    this.#held.push(this.#copySlices());
    this.#heldBytes += this.#queuedBytes;
    this.#clearSlices();
    return first;
  }

  /** The held turn is granted after all. Sends of the current turn follow behind. */
  writeHeld(): void {
    if (this.#heldBytes === 0 || this.#closed) return;
    const held = this.#held;
    const later = this.#queuedBytes > 0 ? this.#copySlices() : EMPTY;
    this.#held = [];
    this.#heldBytes = 0;
    this.#clearSlices();
    if (later.length > 0) held.push(later);
    // Written as a turn of its own; the link may be dirty or not, `writeQueued` handles the FIN.
    for (const bytes of held) this.#requeue(bytes);
    this.writeQueued();
  }

  /** Resolves when nothing is queued, held or in the backlog; rejects when the link closes before. */
  protected async whenWritten(): Promise<void> {
    while (!this.#closed && (this.queuedBytes > 0 || this.backlogBytes > 0)) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#onProgress = resolve;
      await promise;
    }
    if (!this.#closed) return;
    throw new AppError(
      'unavailable',
      'TRANSPORT_CLOSED',
      `the connection with ${this.peer.address} was closed before TLS could start`,
      { cause: this.#closeError ?? undefined },
    );
  }

  #progress(): void {
    const resolve = this.#onProgress;
    this.#onProgress = null;
    resolve?.();
  }

  /** Calls `onClose` once. By the turn only. */
  tellClosed(): void {
    const { owner } = this;
    owner.onClose(this.#closeError);
  }

  protected markDirty(): void {
    if (this.#isDirty) return;
    this.#isDirty = true;
    this.turn.addDirty(this);
  }

  /** Closes at once and has the handler told before the turn ends. Idempotent. */
  protected close(error: Error | null): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#closeError = error;
    this.discardQueued();
    this.release();
    this.turn.addClosing(this);
    this.#progress();
  }

  /** Ends this link without telling its handler: its stream continues as another link. */
  protected abandon(): void {
    this.#closed = true;
    this.discardQueued();
  }

  /** Presents bytes and checks the answer. A handler that throws ends its own link and nothing else. */
  protected present(bytes: Buffer, start: number, end: number): number {
    try {
      const consumed = this.owner.onBytes(bytes, start, end);
      if (consumed >= start && consumed <= end) return consumed;
      throw new AssertionError(`onBytes returned ${consumed}, outside of ${start}..${end}`);
    } catch (error) {
      this.close(error instanceof Error ? error : new AssertionError(String(error)));
      return end;
    }
  }

  /** Runs a handler call that is not `onBytes`, with the same rule. */
  protected tell(call: (handler: LinkHandler) => void): void {
    try {
      call(this.owner);
    } catch (error) {
      this.close(error instanceof Error ? error : new AssertionError(String(error)));
    }
  }

  /** The backlog fell to zero after it had been above zero. By the driver. */
  protected drained(): void {
    if (this.ending && !this.isHolding && this.#queuedBytes === 0) this.sendFin();
    if (this.#onProgress === null) this.tell(callOnDrain);
    else this.#progress();
  }

  /** Bytes may be presented from now on; called again after each pause. */
  protected abstract startReading(): void;
  protected abstract stopReading(): void;
  /** Writes all slices in order; what is not taken is copied. Must not call the handler. */
  protected abstract writeSlices(total: number): void;
  protected abstract sendFin(): void;
  /** Frees the descriptor or stream. */
  protected abstract release(): void;

  #requeue(bytes: Buffer): void {
    const at = this.sliceCount++;
    this.sliceBytes[at] = bytes;
    this.sliceStart[at] = 0;
    this.sliceEnd[at] = bytes.length;
    this.#queuedBytes += bytes.length;
  }

  #copySlices(): Buffer {
    const copy = Buffer.allocUnsafeSlow(this.#queuedBytes);
    this.gather(copy, 0);
    return copy;
  }

  /** Copies every queued slice, one behind the other. */
  protected gather(target: Buffer, at: number): void {
    let position = at;
    for (let i = 0; i < this.sliceCount; i++) {
      const bytes = this.sliceBytes[i];
      const start = this.sliceStart[i];
      const end = this.sliceEnd[i];
      if (end - start <= 32) {
        for (let j = start; j < end; j++) target[position++] = bytes[j];
      } else {
        target.set(start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end), position);
        position += end - start;
      }
    }
  }

  #clearSlices(): void {
    this.#queuedBytes = 0;
    const used = this.sliceCount;
    this.sliceCount = 0;
    for (let i = 0; i < used; i++) this.sliceBytes[i] = EMPTY;
    if (used <= KEPT_SLICES) return;
    this.sliceBytes.length = 0;
    this.sliceStart.length = 0;
    this.sliceEnd.length = 0;
  }
}
