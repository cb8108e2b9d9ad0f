/** Other clocks for programs that we start: Debian's libfaketime, preloaded. Monotonic time stays what it is. */
import { writeFileSync } from 'node:fs';
import { requirePath } from '../../servers/index.ts';

/** A wall clock that is off by so much, for as long as the program runs. */
export function clockOff(ms: number): Record<string, string> {
  return { ...preload(), FAKETIME: offset(ms) };
}

/** A wall clock that is set while programs run. */
export class SettableClock {
  readonly #file: string;
  offsetMs = 0;

  /** @param file where its setting is kept. */
  constructor(file: string) {
    this.#file = file;
    this.set(0);
  }

  /** Off by so much from the true time, from now on, for every program with {@link env}. */
  set(offsetMs: number): void {
    this.offsetMs = offsetMs;
    writeFileSync(this.#file, `${offset(offsetMs)}\n`);
  }

  now(): number {
    return Date.now() + this.offsetMs;
  }

  get env(): Record<string, string> {
    return { ...preload(), FAKETIME_TIMESTAMP_FILE: this.#file, FAKETIME_NO_CACHE: '1' };
  }
}

function preload(): Record<string, string> {
  return { LD_PRELOAD: requirePath('faketime'), FAKETIME_DONT_FAKE_MONOTONIC: '1' };
}

function offset(ms: number): string {
  return `${ms < 0 ? '-' : '+'}${Math.abs(ms) / 1000}`;
}
