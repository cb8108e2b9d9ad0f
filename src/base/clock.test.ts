import { expect, test } from 'vitest';
import { ManualClock, neverAhead, neverBehind } from './clock.ts';

const HOUR_US = 3_600_000_000;

test('a clock that is set back still comes to the end of what must end', () => {
  const clock = new ManualClock();
  const start = clock.wallUs();
  const deadlines = neverBehind(clock);
  clock.advanceUs(HOUR_US);
  clock.jumpToUs(start - 24 * HOUR_US);
  expect(deadlines.wallUs()).toBe(start + HOUR_US);
  clock.advanceUs(HOUR_US);
  expect(deadlines.wallUs()).toBe(start + 2 * HOUR_US);
  // A step forward counts, and is forgotten when it is taken back.
  clock.jumpToUs(start + 100 * HOUR_US);
  expect(deadlines.wallUs()).toBe(start + 100 * HOUR_US);
  clock.jumpToUs(start + 2 * HOUR_US);
  expect(deadlines.wallUs()).toBe(start + 2 * HOUR_US);
  expect(deadlines.monotonicUs()).toBe(clock.monotonicUs());
});

test('a clock that is set forward does not hurry what must stay', () => {
  const clock = new ManualClock();
  const start = clock.wallUs();
  const retention = neverAhead(clock);
  clock.advanceUs(HOUR_US);
  clock.jumpToUs(start + 10_000 * HOUR_US);
  expect(retention.wallUs()).toBe(start + HOUR_US);
  clock.advanceUs(HOUR_US);
  clock.jumpToUs(start + 2 * HOUR_US);
  expect(retention.wallUs()).toBe(start + 2 * HOUR_US);
  clock.jumpToUs(start - HOUR_US);
  expect(retention.wallUs()).toBe(start - HOUR_US);
});
