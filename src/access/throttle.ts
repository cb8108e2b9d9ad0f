/**
 * Guessing backs off: one memory for all listeners and the REST login together, kept by three keys.
 *
 * | key            | free failures | delay                  | queued | who is exempt                        |
 * |----------------|---------------|------------------------|--------|--------------------------------------|
 * | user × address | 3             | 250 ms, doubling, 30 s | yes    | nobody                               |
 * | address        | 20            | 100 ms, doubling, 5 s  | yes    | user × address pairs that logged in  |
 * | user           | 20            | 100 ms, doubling, 2 s  | no     | user × address pairs that logged in  |
 *
 * Queued: attempts of a key are answered one after the other, however many connections they come on; when more than
 * `maxWaitMs` of them wait, a further one is refused at once. The key of the user alone only slows, so guessing from a
 * thousand addresses never keeps the right password out at another address; an address from which the user has logged
 * in before is not slowed at all. Failures halve every quarter of an hour. Memory is bounded: the least recently used
 * keys are forgotten.
 */
import type { Clock } from '../base/clock.ts';
import { createHash } from 'node:crypto';

export const throttleDefaults = {
  pair: { freeFailures: 3, firstDelayMs: 250, maxDelayMs: 30_000 },
  address: { freeFailures: 20, firstDelayMs: 100, maxDelayMs: 5_000 },
  user: { freeFailures: 20, firstDelayMs: 100, maxDelayMs: 2_000 },
  /** An attempt that would wait longer than this is refused. Below the authentication timeout. */
  maxWaitMs: 45_000,
  halfLifeMs: 15 * 60_000,
  /** Entries of each of the three tables. */
  maxEntries: 20_000,
};

type Rule = typeof throttleDefaults.pair;

export type ThrottleVerdict =
  /** Wait, then check the secret. */
  | { readonly refused: false; readonly delayMs: number }
  /** Do not check the secret. */
  | { readonly refused: true; readonly retryAfterMs: number };

interface Entry {
  failures: number;
  /** When `failures` was last brought up to date. */
  atUs: number;
  /** When the last attempt that was admitted will be answered. */
  busyUntilUs: number;
  /** The user logged in here. */
  proved: boolean;
}

export class Throttle {
  readonly #clock: Clock;
  readonly #options: typeof throttleDefaults;
  readonly #pairs = new Map<string, Entry>();
  readonly #addresses = new Map<string, Entry>();
  readonly #users = new Map<string, Entry>();

  constructor(clock: Clock, options: Partial<typeof throttleDefaults> = {}) {
    this.#clock = clock;
    this.#options = { ...throttleDefaults, ...options };
  }

  /** Asks before a secret is checked. Every admitted attempt is told apart later by `failed` or `succeeded`. */
  begin(user: string, address: string): ThrottleVerdict {
    const now = this.#clock.monotonicUs();
    const pair = this.#read(this.#pairs, pairKey(user, address), now);
    const perAddress = this.#read(this.#addresses, addressKey(address), now);
    const perUser = this.#read(this.#users, shortKey(user), now);
    const known = pair.proved;
    const { pair: pairRule, address: addressRule, user: userRule } = this.#options;

    const pairDelay = delayUs(pair, pairRule);
    const addressDelay = known ? 0 : delayUs(perAddress, addressRule);
    const userDelay = known ? 0 : delayUs(perUser, userRule);
    const answerAt = Math.max(
      pairDelay === 0 ? now : Math.max(now, pair.busyUntilUs) + pairDelay,
      addressDelay === 0 ? now : Math.max(now, perAddress.busyUntilUs) + addressDelay,
      now + userDelay,
    );
    if (answerAt - now > this.#options.maxWaitMs * 1000) {
      const busy = Math.max(pair.busyUntilUs, perAddress.busyUntilUs) - now;
      return { refused: true, retryAfterMs: Math.ceil(Math.max(busy, 1_000_000) / 1000) };
    }
    if (pairDelay > 0) this.#write(this.#pairs, pairKey(user, address), { ...pair, busyUntilUs: answerAt });
    if (addressDelay > 0)
      this.#write(this.#addresses, addressKey(address), { ...perAddress, busyUntilUs: answerAt });
    return { refused: false, delayMs: Math.ceil((answerAt - now) / 1000) };
  }

  failed(user: string, address: string): void {
    const now = this.#clock.monotonicUs();
    for (const [table, key] of this.#places(user, address)) {
      const entry = this.#read(table, key, now);
      this.#write(table, key, { ...entry, failures: entry.failures + 1 });
    }
  }

  /** Forgets this pair's failures; those of the address and of the user stay, they may be others' guesses. */
  succeeded(user: string, address: string): void {
    this.#write(this.#pairs, pairKey(user, address), {
      failures: 0,
      atUs: this.#clock.monotonicUs(),
      busyUntilUs: 0,
      proved: true,
    });
  }

  /** Entries held, for the metric and the test of the bound. */
  get size(): number {
    return this.#pairs.size + this.#addresses.size + this.#users.size;
  }

  #places(user: string, address: string): [Map<string, Entry>, string][] {
    return [
      [this.#pairs, pairKey(user, address)],
      [this.#addresses, addressKey(address)],
      [this.#users, shortKey(user)],
    ];
  }

  #read(table: Map<string, Entry>, key: string, now: number): Entry {
    const entry = table.get(key);
    if (entry === undefined) return { failures: 0, atUs: now, busyUntilUs: 0, proved: false };
    const halvings = (now - entry.atUs) / (this.#options.halfLifeMs * 1000);
    return { ...entry, failures: entry.failures * 0.5 ** halvings, atUs: now };
  }

  // A Map keeps insertion order: writing again moves a key to the end, the first key is the one to forget.
  #write(table: Map<string, Entry>, key: string, entry: Entry): void {
    table.delete(key);
    table.set(key, entry);
    if (table.size <= this.#options.maxEntries) return;
    for (const oldest of table.keys()) {
      table.delete(oldest);
      break;
    }
  }
}

function delayUs(entry: Entry, rule: Rule): number {
  const over = Math.round(entry.failures) - rule.freeFailures;
  if (over < 0) return 0;
  return Math.min(rule.maxDelayMs, rule.firstDelayMs * 2 ** Math.min(over, 30)) * 1000;
}

function pairKey(user: string, address: string): string {
  return `${shortKey(user)}\n${addressKey(address)}`;
}

/** Names come from strangers and may be long; a key may not. */
function shortKey(name: string): string {
  const lower = name.toLowerCase();
  return lower.length <= 64 ? lower : createHash('sha256').update(lower).digest('base64');
}

/** An IPv4 address, or the /64 of an IPv6 address: whoever has one of its addresses has them all. */
export function addressKey(address: string): string {
  const plain = address.replace(/^::ffff:(?=\d+\.)/i, '').replace(/%.*$/, '');
  if (!plain.includes(':')) return shortKey(plain);
  const [head, tail] = plain.split('::', 2);
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = Array.from({ length: Math.max(0, 8 - left.length - right.length) }, () => '0');
  const groups = tail === undefined ? left : [...left, ...zeros, ...right];
  return shortKey(`${groups.slice(0, 4).join(':')}/64`);
}
