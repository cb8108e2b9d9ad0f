/**
 * HOSTILE.md 73 through the running product: the host's clock is set back and forwards while people work and while nobody
 * does. Nobody gets more time than was granted, nothing is lost, the record keeps its order, and what is old by
 * a wrong clock only is not dropped.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { message as m, RawClient } from '../conformance/postgres/raw-client.ts';
import {
  type Access,
  type Dbwitness,
  isMissing,
  type PostgresServer,
  startDbwitness,
  startPostgres,
  waitFor,
} from '../servers/index.ts';
import { AuditedClient, type Recorded } from './support/audit.ts';
import { SettableClock } from './support/faketime.ts';
import { allSigned, segments, verified } from './support/journal-folder.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

let server: PostgresServer;
let node: Dbwitness;
let clock: SettableClock;
let scratch: string;

beforeAll(async () => {
  scratch = mkdtempSync(join(tmpdir(), 'dbw-clock-'));
  clock = new SettableClock(join(scratch, 'clock'));
  [server, node] = await Promise.all([
    startPostgres({ version: '15' }),
    startDbwitness({ env: { ...clock.env, DBW_RETENTION_DAYS: '30' } }),
  ]);
});
afterAll(async () => {
  await node?.stop();
  await server?.stop();
  rmSync(scratch, { recursive: true, force: true });
});

const granted = (expiresInMs: number): Promise<Access> =>
  node.grantAccess(server, {
    grant: {
      starts_at: new Date(Date.now() - 30 * DAY_MS).toISOString(),
      expires_at: new Date(Date.now() + expiresInMs).toISOString(),
    },
  });

const stateOf = async (access: Access): Promise<unknown> =>
  (await node.api('GET', `/grants/${access.grantUid}`))['state'];

describe.skipIf(isMissing('postgres', 'faketime'))('73: the clock jumps', () => {
  it('back: a grant still ends when its time has passed, for sessions and for log-ins', async () => {
    clock.set(0);
    const access = await granted(8_000);
    const busy = await AuditedClient.connect(node, access);
    const idle = await AuditedClient.connect(node, access);
    clock.set(-10 * DAY_MS);
    expect(await idle.exchange(m.query('SELECT 1'))).toContain('C SELECT 1');
    busy.raw.send(m.query('SELECT pg_sleep(60)'));
    // By the clock there are ten days left. By what has passed, there is nothing.
    await Promise.all([busy.raw.untilClosed(), idle.raw.untilClosed()]);
    for (const client of [busy, idle]) expect(client.lines().at(-1)).toMatch(/^E 57P01 .*grant.*expired/);
    await expect(RawClient.connect(access)).rejects.toThrow(/grant ended/);
    expect(await stateOf(access)).toBe('expired');
    // The record shows the clock as it was, and the jump with it.
    const record = await idle.recorded();
    expect(record).toHaveLength(1);
    clock.set(0);
    await expect(RawClient.connect(access)).rejects.toThrow(/grant ended/);
  }, 90_000);

  it('forwards: what has ended by the new time ends at once, and is there again when the mistake is corrected', async () => {
    clock.set(0);
    const short = await granted(HOUR_MS);
    const long = await granted(30 * DAY_MS);
    const ending = await AuditedClient.connect(node, short);
    const staying = await AuditedClient.connect(node, long);
    clock.set(10 * DAY_MS);
    await ending.raw.untilClosed();
    expect(ending.lines().at(-1)).toMatch(/^E 57P01 .*grant.*expired/);
    await expect(RawClient.connect(short)).rejects.toThrow(/grant ended/);
    expect(await staying.exchange(m.query('SELECT 1'))).toContain('C SELECT 1');
    clock.set(0);
    const again = await waitFor('the grant', () => AuditedClient.connect(node, short));
    expect(await again.exchange(m.query('SELECT 2'))).toContain('C SELECT 1');
    await again.raw.end();
    await staying.raw.end();
  }, 90_000);

  it('to and fro under a session: its record is complete, in order, searchable, and proved', async () => {
    clock.set(0);
    const access = await granted(400 * DAY_MS);
    const client = await AuditedClient.connect(node, access);
    const expected: string[] = [];
    for (const offset of [0, -400 * DAY_MS, 100 * DAY_MS, -HOUR_MS, 0]) {
      clock.set(offset);
      // The node looks at the clock ten times a second.
      await waitFor('the new time in the record', async () => {
        const sql = `SELECT ${expected.length}`;
        expected.push(sql);
        await client.exchange(m.query(sql));
        const at = await waitFor('its record', async () => startedAt(access, sql));
        return Math.abs(at - clock.now()) < HOUR_MS / 2;
      });
    }
    const records = await client.statements();
    expect(records.map((one) => one.sql)).toEqual(expected);
    expect(records.map((one) => one.ordinal)).toEqual(expected.map((_, i) => i + 1));
    expect(records.every((one) => one.outcome === 'completed')).toBe(true);
    // Durations are not made of the wall clock.
    const durations = records.map((one) => (one as unknown as { duration_us: number }).duration_us);
    expect(durations.every((us) => us >= 0 && us < 60_000_000)).toBe(true);
    const session = await client.session();
    const { items } = await node.api<{ items: { seq: number; kind: string }[] }>(
      'GET',
      `/sessions/${session.uid}/events?limit=500`,
    );
    const order = items.map((one) => one.seq);
    expect(order).toEqual(order.toSorted((a, b) => a - b));
    // Its opening, and of each statement the start and the end.
    expect(items[0]?.kind).toBe('session_opened');
    expect(items).toHaveLength(1 + 2 * expected.length);
    await allSigned(node);
    expect(await verified(node)).toMatchObject({ whole: true });
    for (const one of records) expect((await node.cli('proof', one.uid)).code, one.sql).toBe(0);
  }, 180_000);

  it('forwards by years: retention drops nothing, in this run and in one that starts at that time', async () => {
    clock.set(0);
    const before = segments(node.dataDir);
    await node.halt();
    clock.set(20 * 365 * DAY_MS);
    await node.start();
    await waitFor('the doubt', () => node.output().includes('the clock may be wrong'));
    expect(segments(node.dataDir)).toEqual(expect.arrayContaining(before));
    await node.halt();
    clock.set(0);
    await node.start();
    const access = await granted(HOUR_MS);
    const client = await AuditedClient.connect(node, access);
    expect(await client.exchange(m.query('SELECT 1'))).toContain('C SELECT 1');
    await client.raw.end();
    expect(await verified(node)).toMatchObject({ whole: true });
  }, 120_000);
});

/** Asked through the control socket, which needs no log-in that could expire by the clock. */
async function startedAt(access: Access, sql: string): Promise<number | null> {
  const found = await node.cliJson<Recorded & { started_at: string }>(
    'statement',
    'ls',
    '--user',
    access.userUid,
    '--limit',
    'all',
  );
  const one = found.find((statement) => statement.sql === sql);
  return one === undefined ? null : Date.parse(one.started_at);
}
