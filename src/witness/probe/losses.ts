/**
 * What the kernel could not hand over: counters in shared memory, looked at with every drain. A loss goes on for a while
 * (the ring is full until somebody drains it), so it is reported once it has paused, or after some seconds.
 */
import { LOST } from './records.ts';
import type { Syscalls } from './syscalls.ts';

const PAGE = 4096;
const PAUSE_US = 200_000;
const LONGEST_US = 5_000_000;

export interface Loss {
  readonly fromUs: number;
  readonly untilUs: number;
  readonly statements: number;
  readonly detail: string;
}

export interface LossTotals {
  readonly statements: number;
  readonly texts: number;
  readonly others: number;
  readonly unreadable: number;
}

export class LossCounter {
  readonly #words: Uint32Array;
  readonly #reported: [statements: number, texts: number, others: number] = [0, 0, 0];
  #seen = 0;
  /** When the last look found nothing new, before the loss that is not reported yet. */
  #fromUs: number;
  #changedUs = 0;

  constructor(sys: Syscalls, fd: number, nowUs: number) {
    this.#words = new Uint32Array(sys.map(fd, PAGE, 0, false), 0, 16);
    this.#fromUs = nowUs;
  }

  get totals(): LossTotals {
    return {
      statements: this.#count(LOST.statements),
      texts: this.#count(LOST.texts),
      others: this.#count(LOST.others),
      unreadable: this.#count(LOST.unreadable),
    };
  }

  /** A loss that has paused, or gone on for long, and was not reported yet. */
  look(nowUs: number): Loss | null {
    const seen = this.#count(LOST.statements) + this.#count(LOST.texts) + this.#count(LOST.others);
    if (seen !== this.#seen) {
      this.#seen = seen;
      this.#changedUs = nowUs;
    } else if (this.#changedUs === 0) this.#fromUs = nowUs;
    if (this.#changedUs === 0) return null;
    const over = nowUs - this.#changedUs >= PAUSE_US || nowUs - this.#fromUs >= LONGEST_US;
    return over ? this.#report() : null;
  }

  /** Everything not reported yet. */
  rest(nowUs: number): Loss | null {
    this.look(nowUs);
    return this.#changedUs === 0 ? null : this.#report();
  }

  #report(): Loss {
    const now = [this.#count(LOST.statements), this.#count(LOST.texts), this.#count(LOST.others)] as const;
    const [statements, texts, others] = now.map((count, i) => count - this.#reported[i]);
    now.forEach((count, i) => {
      this.#reported[i] = count;
    });
    const loss = {
      fromUs: this.#fromUs,
      untilUs: this.#changedUs,
      statements,
      detail: `the ring buffer was full: ${statements} statements, ${texts} parts of texts and ${others} other records were lost`,
    };
    this.#fromUs = this.#changedUs;
    this.#changedUs = 0;
    return loss;
  }

  #count(which: number): number {
    return Atomics.load(this.#words, which * 2) + Atomics.load(this.#words, which * 2 + 1) * 0x1_0000_0000;
  }
}
