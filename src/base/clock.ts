import { performance } from 'node:perf_hooks';

/**
 * Time is passed in. Wall-clock values are microseconds since 1970 UTC as a `number` (exact until the year 2255);
 * monotonic values are microseconds since an arbitrary start and never go back, whatever the wall clock does.
 */
export interface Clock {
  /** Microseconds since the Unix epoch, UTC. May jump when the host's clock is set. */
  wallUs(): number;
  /** Microseconds since an arbitrary origin. Never decreases. */
  monotonicUs(): number;
  /** What {@link wallUs} would have said at a moment that {@link monotonicUs} has just given: one reading for both. */
  wallUsAt(monotonicUs: number): number;
}

const ORIGIN_MS = performance.timeOrigin;

export const systemClock: Clock = {
  wallUs: () => wallUsAt(performance.now()),
  monotonicUs: () => performance.now() * 1000,
  wallUsAt: (monotonicUs) => wallUsAt(monotonicUs / 1000),
};

// performance.timeOrigin is fixed at start; the host's clock may be set later. The shift is re-read at most every
// 100 ms, so that a timestamp costs no system call and yet follows the host.
let shiftUs = 0;
let shiftReadAtMs = -Infinity;
function wallUsAt(nowMs: number): number {
  if (nowMs - shiftReadAtMs > 100) {
    shiftReadAtMs = nowMs;
    const drift = (Date.now() - (ORIGIN_MS + nowMs)) * 1000;
    if (Math.abs(drift - shiftUs) > 2000) shiftUs = Math.round(drift);
  }
  return Math.round((ORIGIN_MS + nowMs) * 1000) + shiftUs;
}

/**
 * For what must end in time: expiry. The wall clock, but never behind what has passed since this call, so that setting
 * the host's clock back gives nothing that is over a second life. A step forward counts, and one that is taken back
 * again does no harm.
 */
export function neverBehind(clock: Clock): Clock {
  const startUs = clock.wallUs() - clock.monotonicUs();
  return {
    wallUs: () => Math.max(clock.wallUs(), Math.round(startUs + clock.monotonicUs())),
    monotonicUs: () => clock.monotonicUs(),
    wallUsAt: (monotonicUs) => Math.max(clock.wallUsAt(monotonicUs), Math.round(startUs + monotonicUs)),
  };
}

/**
 * For what must not go too early: retention. The wall clock, but never ahead of what has passed since this call, so that
 * a clock that is set forward by mistake removes nothing. Behind while the machine sleeps.
 */
export function neverAhead(clock: Clock): Clock {
  const startUs = clock.wallUs() - clock.monotonicUs();
  return {
    wallUs: () => Math.min(clock.wallUs(), Math.round(startUs + clock.monotonicUs())),
    monotonicUs: () => clock.monotonicUs(),
    wallUsAt: (monotonicUs) => Math.min(clock.wallUsAt(monotonicUs), Math.round(startUs + monotonicUs)),
  };
}

/** A clock for tests and the simulator: it moves only when told. */
export class ManualClock implements Clock {
  #wallUs: number;
  #monotonicUs = 0;

  constructor(wallUs = 1_700_000_000_000_000) {
    this.#wallUs = wallUs;
  }

  wallUs(): number {
    return this.#wallUs;
  }

  monotonicUs(): number {
    return this.#monotonicUs;
  }

  wallUsAt(monotonicUs: number): number {
    return this.#wallUs - this.#monotonicUs + monotonicUs;
  }

  advanceUs(us: number): void {
    this.#wallUs += us;
    this.#monotonicUs += us;
  }

  /** Sets the wall clock alone, as an administrator or NTP would. */
  jumpToUs(wallUs: number): void {
    this.#wallUs = wallUs;
  }
}
