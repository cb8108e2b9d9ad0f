/**
 * Between two runs of the probe nobody looked: a file that is touched while it runs says since when. A run that finds the
 * file of one before it records a gap from there to its own start.
 */
import { readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import type { Clock } from '../../base/clock.ts';
import { Gap_Reason } from '../../model/events.ts';
import { EventWriter } from './event-writer.ts';

const BEAT_MS = 1_000;

export class Heartbeat {
  readonly #file: string;
  readonly #clock: Clock;
  readonly #timer: NodeJS.Timeout;
  /** A batch with the gap since the last run; `null` at the first. */
  readonly gap: Uint8Array | null;

  constructor(file: string, clock: Clock) {
    this.#file = file;
    this.#clock = clock;
    const before = lastBeat(file);
    this.gap = before === null ? null : gapSince(before, clock.wallUs());
    this.#beat();
    this.#timer = setInterval(() => this.#beat(), BEAT_MS);
    this.#timer.unref();
  }

  /** The last beat stays: what comes until the next run is a gap too. */
  stop(): void {
    clearInterval(this.#timer);
    this.#beat();
  }

  #beat(): void {
    const seconds = this.#clock.wallUs() / 1e6;
    try {
      writeFileSync(this.#file, `${Math.round(seconds * 1e6)}\n`, { mode: 0o600 });
      utimesSync(this.#file, seconds, seconds);
    } catch {
      // A folder that cannot be written costs the exact end of a gap, nothing more.
      rmSync(this.#file, { force: true });
    }
  }
}

function lastBeat(file: string): number | null {
  try {
    const us = Number(readFileSync(file, 'utf8'));
    return Number.isSafeInteger(us) && us > 0 ? us : null;
  } catch {
    return null;
  }
}

function gapSince(fromUs: number, untilUs: number): Uint8Array {
  const writer = new EventWriter(256);
  writer.gap(Math.min(fromUs, untilUs), untilUs, Gap_Reason.WITNESS_STOPPED, 0, 'the probe did not run');
  return writer.take();
}
