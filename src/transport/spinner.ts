/**
 * Whether to look again or to go to sleep, when nothing is ready.
 *
 * A sleeping thread costs whoever wakes it, and the wake-up itself is most of what a relay adds to one client's round
 * trip. So after activity the reactor looks again for a short while, giving the core away each time (`sched_yield`), which
 * lets a server process on the same core run without anybody having to be woken. Two things turn that off:
 *
 *  - It does not pay: the answers take longer than the wait. Then only now and then a wait is tried.
 *  - The cores are busy with others: a yield then costs a time slice, during which we are runnable but not running and
 *    no event can wake us. One yield that long, and we sleep like everybody else for a while, doubled each time.
 *
 * Measured, 8 clients on 2 cores: yields among server processes take < 0.25 ms practically always, with a foreign busy
 * loop on the core 2–4 ms.
 */

/** Time and the scheduler, passed in. */
export interface SpinnerHost {
  /** Milliseconds, monotonic, with fractions. */
  readonly now: () => number;
  readonly yieldCore: () => void;
}

const LONG_YIELD_MS = 0.3;
const FIRST_PAUSE_MS = 20;
const LONGEST_PAUSE_MS = 2_000;
/** Time without a long yield after which the earlier ones are forgotten. */
const FORGIVEN_AFTER_MS = 5_000;
/** Waits that found nothing cost more than those that found something are worth. */
const MISS_COST = 2;
const MAX_CREDIT = 64;
const TRIAL_CREDIT = 4;
const FIRST_SKIP = 16;
const MOST_SKIPS = 1_024;

export class Spinner {
  readonly #host: SpinnerHost;
  readonly #waitMs: number;
  /** When the last events were handled; 0: none in this visit. */
  #workedAt = 0;
  #waiting = false;
  #credit = TRIAL_CREDIT;
  /** Waits to pass over before the next trial, and how many it will be after the next failure. */
  #skips = 0;
  #nextSkips = FIRST_SKIP;
  #pausedUntil = 0;
  #pauseMs = FIRST_PAUSE_MS;

  /** @param waitUs longest wait after the last events; 0 switches waiting off. */
  constructor(host: SpinnerHost, waitUs: number) {
    this.#host = host;
    this.#waitMs = waitUs / 1000;
  }

  /** A visit begins; nothing was handled yet. */
  enter(): void {
    this.#workedAt = 0;
    this.#waiting = false;
  }

  /** Events were handled, at `now`. */
  worked(now: number): void {
    this.#workedAt = now;
    if (!this.#waiting) return;
    this.#waiting = false;
    this.#nextSkips = FIRST_SKIP;
    if (this.#credit < MAX_CREDIT) this.#credit++;
  }

  /** Nothing is ready at `now`: `true` after having given the core away, to look again; `false` to sleep. */
  wait(now: number): boolean {
    if (this.#workedAt === 0 || this.#waitMs === 0) return false;
    if (!this.#waiting && !this.#mayWait(now)) return false;
    this.#waiting = true;
    if (now - this.#workedAt > this.#waitMs) {
      this.#missed();
      return false;
    }
    this.#host.yieldCore();
    const after = this.#host.now();
    if (after - now < LONG_YIELD_MS) return true;
    if (now - this.#pausedUntil > FORGIVEN_AFTER_MS) this.#pauseMs = FIRST_PAUSE_MS;
    this.#pausedUntil = after + this.#pauseMs;
    this.#pauseMs = Math.min(LONGEST_PAUSE_MS, this.#pauseMs * 2);
    this.#waiting = false;
    this.#workedAt = 0; // one more look, then sleep
    return true;
  }

  #mayWait(now: number): boolean {
    if (now < this.#pausedUntil) return false;
    if (this.#skips === 0) return true;
    if (--this.#skips === 0) this.#credit = TRIAL_CREDIT;
    return false;
  }

  #missed(): void {
    this.#waiting = false;
    this.#workedAt = 0;
    this.#credit -= MISS_COST;
    if (this.#credit > 0) return;
    this.#skips = this.#nextSkips;
    this.#nextSkips = Math.min(MOST_SKIPS, this.#nextSkips * 2);
  }
}
