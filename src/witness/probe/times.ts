/**
 * The kernel's clock against ours. bpf_ktime_get_ns() is CLOCK_MONOTONIC in nanoseconds, which is also what
 * process.hrtime() reads; the wall clock may be set at any time, so the difference is taken anew for every batch.
 */
import { hrtime } from 'node:process';
import type { Clock } from '../../base/clock.ts';

/** Between two looks at one clock, the other one is read in between: how far apart they may be, and how often it is tried. */
const GOOD_US = 5;
const TRIES = 8;

function kernelUs(): number {
  const [seconds, nanoseconds] = hrtime();
  return seconds * 1e6 + nanoseconds / 1000;
}

export class KernelTimes {
  readonly #clock: Clock;
  #offsetUs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.refresh();
  }

  /** Whoever is interrupted between the two clocks tries again: the best of a few looks counts. */
  refresh(): void {
    let best = Number.POSITIVE_INFINITY;
    for (let tries = 0; tries < TRIES && best > GOOD_US; tries++) {
      const before = kernelUs();
      const wall = this.#clock.wallUs();
      const after = kernelUs();
      if (after - before >= best) continue;
      best = after - before;
      this.#offsetUs = wall - (before + after) / 2;
    }
  }

  nowUs(): number {
    return this.#clock.wallUs();
  }

  /** Microseconds since 1970 of a kernel time in nanoseconds. */
  wallUs(kernelNs: number): number {
    return Math.round(kernelNs / 1000 + this.#offsetUs);
  }
}
