import { expect, test } from 'vitest';
import { Courtesy } from './courtesy.ts';

const MAX_LAG_MS = 120_000;

/** A machine of `cores` whose times are set by hand, in milliseconds. */
class Machine {
  nowMs = 0;
  idleMs = 0;
  processMs = 0;
  readonly cores: number;

  constructor(cores: number) {
    this.cores = cores;
  }

  now(): number {
    return this.nowMs;
  }

  machine(): { idleMs: number; totalMs: number; cores: number } {
    return { idleMs: this.idleMs, totalMs: this.nowMs * this.cores, cores: this.cores };
  }

  ownMs(): number {
    return this.processMs;
  }

  /** 100 ms in which so much of the machine was idle and so much was ours. */
  pass(idleMs: number, ownMs: number): void {
    this.nowMs += 100;
    this.idleMs += idleMs;
    this.processMs += ownMs;
  }
}

test('takes no pause while the machine has room', () => {
  const machine = new Machine(2);
  const courtesy = new Courtesy(MAX_LAG_MS, machine);
  machine.pass(110, 0);
  expect(courtesy.pauseMs(0)).toBe(0);
  machine.pass(0, 150); // nothing is idle, but only because of ourselves
  expect(courtesy.pauseMs(0)).toBe(0);
});

test('takes a small share of a core while others need the machine', () => {
  const machine = new Machine(2);
  const courtesy = new Courtesy(MAX_LAG_MS, machine);
  machine.pass(10, 20);
  expect(courtesy.pauseMs(0)).toBeCloseTo(20 * 24);
  machine.pass(10, 0);
  expect(courtesy.pauseMs(0)).toBe(0);
  for (let i = 0; i < 6; i++) machine.pass(0, 90);
  expect(courtesy.pauseMs(0)).toBe(10_000); // bounded, so that a small backlog never waits for long
});

test('does not wait for what this process did while there was nothing to index', () => {
  const machine = new Machine(2);
  const courtesy = new Courtesy(MAX_LAG_MS, machine);
  machine.pass(0, 90);
  courtesy.begin();
  machine.pass(10, 20);
  expect(courtesy.pauseMs(0)).toBeCloseTo(20 * 24);
});

test('catches up at full speed once it is too far behind', () => {
  const machine = new Machine(2);
  const courtesy = new Courtesy(MAX_LAG_MS, machine);
  machine.pass(0, 20);
  expect(courtesy.pauseMs(MAX_LAG_MS)).toBe(0);
});

test('never pauses when it may not fall behind', () => {
  const machine = new Machine(2);
  const courtesy = new Courtesy(0, machine);
  machine.pass(0, 20);
  expect(courtesy.pauseMs(0)).toBe(0);
});
