/** Waiting for a condition: the only place of the tests that lets time pass. */
import { setTimeout as delay } from 'node:timers/promises';

export interface WaitOptions {
  /** Default 20 s. */
  readonly timeoutMs?: number;
  /** Pause between two looks. Default 10 ms. */
  readonly everyMs?: number;
}

/**
 * Asks `condition` until it gives something other than `false`, `null` or `undefined`, and returns that. A rejection
 * counts as "not yet". Rejects after the time, naming what was waited for and the last failure.
 */
export async function waitFor<T>(
  what: string,
  condition: () => T | Promise<T>,
  options: WaitOptions = {},
): Promise<Exclude<T, false | null | undefined>> {
  const timeoutMs = options.timeoutMs ?? 20_000;
  const deadline = performance.now() + timeoutMs;
  let last: unknown;
  for (;;) {
    try {
      const value = await condition();
      if (value !== false && value !== null && value !== undefined)
        return value as Exclude<T, false | null | undefined>;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (performance.now() > deadline)
      throw new Error(
        `waited ${timeoutMs} ms for ${what}${last === undefined ? '' : `: ${last instanceof Error ? last.message : JSON.stringify(last)}`}`,
        { cause: last },
      );
    await delay(options.everyMs ?? 10);
  }
}
