/** Placeholder */
import type { Syscalls } from './syscalls.ts';

const SPIN_US = Number(process.env['DBW_SPIN_US'] ?? 100);

export class Spinner {
  readonly #sys: Syscalls;
  #entered = 0;
  #last = 0;
  #now = 0;

  constructor(sys: Syscalls) {
    this.#sys = sys;
  }

  /** A visit begins. */
  enter(): void {
    this.#entered = performance.now();
    this.#now = this.#entered;
    this.#last = 0;
  }

  /** Events were handled. */
  worked(_events: number): void {
    this.#now = performance.now();
    this.#last = this.#now;
  }

  /** Nothing is ready: `true` to look again. */
  wait(): boolean {
    if (this.#last === 0) return false;
    this.#now = performance.now();
    if ((this.#now - this.#last) * 1000 > SPIN_US) return false;
    this.#sys.schedYield();
    return true;
  }

  /** Microseconds since the visit began, as of the last `worked` or `wait`. */
  stayedUs(): number {
    return (this.#now - this.#entered) * 1000;
  }
}
