/**
 * The kernel's clock against ours. bpf_ktime_get_ns() is CLOCK_MONOTONIC in nanoseconds, which is also what
 * process.hrtime() reads; the wall clock may be set at any time, so the difference is taken anew for every batch.
 */
import { hrtime } from 'node:process';
import type { Clock } from '../../base/clock.ts';

export class KernelTimes {
  readonly #clock: Clock;
  #offsetUs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.refresh();
  }

  refresh(): void {
    const [seconds, nanoseconds] = hrtime();
    this.#offsetUs = this.#clock.wallUs() - (seconds * 1e6 + nanoseconds / 1000);
  }

  nowUs(): number {
    return this.#clock.wallUs();
  }

  /** Microseconds since 1970 of a kernel time in nanoseconds. */
  wallUs(kernelNs: number): number {
    return Math.round(kernelNs / 1000 + this.#offsetUs);
  }
}
