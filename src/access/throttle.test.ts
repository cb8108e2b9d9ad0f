import { describe, expect, test } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { addressKey, Throttle, throttleDefaults, type ThrottleVerdict } from './throttle.ts';

function delay(verdict: ThrottleVerdict): number {
  return verdict.refused ? Infinity : verdict.delayMs;
}

/** One wrong guess, waited for as told. */
function guess(throttle: Throttle, clock: ManualClock, user: string, address: string): number {
  const verdict = throttle.begin(user, address);
  const waited = delay(verdict);
  if (verdict.refused) return waited;
  clock.advanceUs(waited * 1000);
  throttle.failed(user, address);
  return waited;
}

describe('throttle', () => {
  test('the delay of one user at one address doubles up to its maximum', () => {
    const clock = new ManualClock();
    const throttle = new Throttle(clock);
    const delays = Array.from({ length: 14 }, () => guess(throttle, clock, 'alice', '10.0.0.1'));
    expect(delays.slice(0, 7)).toEqual([0, 0, 0, 250, 500, 1000, 2000]);
    expect(delays[13]).toBe(throttleDefaults.pair.maxDelayMs);
  });

  test('84: parallel attempts queue and then are refused', () => {
    const clock = new ManualClock();
    const throttle = new Throttle(clock);
    for (let i = 0; i < 8; i++) guess(throttle, clock, 'alice', '10.0.0.1');
    const verdicts = Array.from({ length: 50 }, () => throttle.begin('alice', '10.0.0.1'));
    const admitted = verdicts.filter((v) => !v.refused).map(delay);
    expect(admitted.length).toBeGreaterThan(0);
    expect(admitted.length).toBeLessThan(10);
    for (let i = 1; i < admitted.length; i++) expect(admitted[i]).toBeGreaterThan(admitted[i - 1]);
    expect(Math.max(...admitted)).toBeLessThanOrEqual(throttleDefaults.maxWaitMs);
    // When those are answered, the next one is admitted again.
    clock.advanceUs(throttleDefaults.maxWaitMs * 1000);
    expect(throttle.begin('alice', '10.0.0.1').refused).toBe(false);
  });

  test('guessing from a thousand addresses never locks the user out elsewhere', () => {
    const clock = new ManualClock();
    const throttle = new Throttle(clock);
    throttle.succeeded('alice', '10.0.0.1');
    for (let i = 0; i < 1000; i++) {
      throttle.begin('alice', `192.168.${i >> 8}.${i & 255}`);
      throttle.failed('alice', `192.168.${i >> 8}.${i & 255}`);
    }
    // Where she has logged in before, nothing is felt; at a new address, a bounded delay, in parallel too.
    expect(delay(throttle.begin('alice', '10.0.0.1'))).toBe(0);
    for (let i = 0; i < 100; i++)
      expect(delay(throttle.begin('alice', '10.9.9.9'))).toBe(throttleDefaults.user.maxDelayMs);
    expect(delay(throttle.begin('bob', '10.9.9.9'))).toBe(0);
  });

  test('one address that tries many users is slowed, who logged in there before is not', () => {
    const clock = new ManualClock();
    const throttle = new Throttle(clock);
    throttle.succeeded('app', '10.0.0.1');
    const delays = Array.from({ length: 40 }, (_, i) => guess(throttle, clock, `user${i}`, '10.0.0.1'));
    expect(delays.slice(0, 20).every((d) => d === 0)).toBe(true);
    expect(delays[39]).toBe(throttleDefaults.address.maxDelayMs);
    expect(delay(throttle.begin('app', '10.0.0.1'))).toBe(0);
    // A success of one's own account does not wipe what the address did.
    throttle.succeeded('attacker', '10.0.0.1');
    expect(delay(throttle.begin('user41', '10.0.0.1'))).toBeGreaterThan(0);
  });

  test('success forgets the failures of the pair, time halves them', () => {
    const clock = new ManualClock();
    const throttle = new Throttle(clock);
    for (let i = 0; i < 8; i++) guess(throttle, clock, 'alice', 'a');
    throttle.succeeded('alice', 'a');
    expect(delay(throttle.begin('alice', 'a'))).toBe(0);
    for (let i = 0; i < 8; i++) guess(throttle, clock, 'bob', 'b');
    expect(delay(throttle.begin('bob', 'b'))).toBeGreaterThan(2000);
    clock.advanceUs(3 * throttleDefaults.halfLifeMs * 1000);
    expect(delay(throttle.begin('bob', 'b'))).toBe(0);
  });

  test('memory is bounded, whatever names strangers make up', () => {
    const throttle = new Throttle(new ManualClock(), { maxEntries: 100 });
    for (let i = 0; i < 10_000; i++) throttle.failed('x'.repeat(1000) + i, `10.0.${i >> 8}.${i & 255}`);
    expect(throttle.size).toBeLessThanOrEqual(300);
  });

  test('user names compare without case; IPv6 by /64; mapped IPv4 as IPv4', () => {
    expect(addressKey('::ffff:10.0.0.1')).toBe('10.0.0.1');
    expect(addressKey('2001:db8:1:2:3:4:5:6')).toBe(addressKey('2001:db8:1:2::9'));
    expect(addressKey('2001:db8:1:2::9')).not.toBe(addressKey('2001:db8:1:3::9'));
    expect(addressKey('::1')).toBe('0:0:0:0/64');
    expect(addressKey('fe80::1%eth0')).toBe('fe80:0:0:0/64');
    const throttle = new Throttle(new ManualClock());
    for (let i = 0; i < 4; i++) throttle.failed('Alice', '2001:db8::1');
    expect(delay(throttle.begin('alice', '2001:db8::2'))).toBeGreaterThan(0);
  });
});
