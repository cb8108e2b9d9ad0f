import { describe, expect, test } from 'vitest';
import { Spinner } from './spinner.ts';

/** A scheduler of our own: a yield takes as long as it says. */
function rig(waitUs = 50) {
  const world = { now: 1, yieldMs: 0.001, yields: 0 };
  const host = {
    now: () => world.now,
    yieldCore: () => {
      world.yields++;
      world.now += world.yieldMs;
    },
  };
  const spinner = new Spinner(host, waitUs);
  /** Handles events, then waits; the next events come after `answerMs`. Returns whether it was still awake then. */
  const round = (answerMs: number): boolean => {
    spinner.enter();
    spinner.worked(world.now);
    const due = world.now + answerMs;
    while (world.now < due) {
      if (!spinner.wait(world.now)) {
        world.now = due;
        return false;
      }
    }
    spinner.worked(world.now);
    return true;
  };
  return { world, spinner, round };
}

describe('Spinner', () => {
  test('waits for quick answers, every time', () => {
    const { round } = rig();
    for (let i = 0; i < 1_000; i++) expect(round(0.02)).toBe(true);
  });

  test('never waits before anything was handled, nor when switched off', () => {
    const { spinner, world } = rig();
    spinner.enter();
    expect(spinner.wait(world.now)).toBe(false);
    const off = rig(0);
    expect(off.round(0.001)).toBe(false);
    expect(off.world.yields).toBe(0);
  });

  test('a wait is bounded', () => {
    const { round, world } = rig(50);
    const before = world.now;
    expect(round(10)).toBe(false);
    expect(world.yields * world.yieldMs).toBeLessThanOrEqual(0.06);
    expect(world.now).toBe(before + 10);
  });

  test('answers that take long end the waiting, nearly; quick ones bring it back', () => {
    const { round, world } = rig();
    for (let i = 0; i < 5_000; i++) round(5);
    world.yields = 0;
    for (let i = 0; i < 1_000; i++) round(5);
    expect(world.yields).toBeLessThan(5 * 60);
    let awake = 0;
    for (let i = 0; i < 5_000; i++) if (round(0.02)) awake++;
    expect(awake).toBeGreaterThan(3_500);
  });

  test('busy cores: after one long yield it sleeps, longer each time, and forgets when all is quiet', () => {
    const { round, world } = rig();
    for (let i = 0; i < 100; i++) round(0.02);
    world.yieldMs = 3;
    world.yields = 0;
    const start = world.now;
    while (world.now < start + 10_000) round(0.02);
    // 20 + 40 + … + 1280 ms, then every 2 s.
    expect(world.yields).toBeGreaterThan(5);
    expect(world.yields).toBeLessThan(15);
    world.yieldMs = 0.001;
    const quiet = world.now;
    while (world.now < quiet + 8_000) round(0.02);
    expect(round(0.02)).toBe(true);
    world.yieldMs = 3;
    round(0.02);
    world.yieldMs = 0.001;
    const again = world.now;
    for (let i = 0; i < 10_000 && !round(0.02); i++);
    expect(world.now - again).toBeLessThan(100);
  });
});
