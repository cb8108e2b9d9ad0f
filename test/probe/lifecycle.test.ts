/** Servers that come, go, are upgraded and share files while the probe runs; and a ring that is too small. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Gap_Reason } from '../../src/model/events.ts';
import {
  isMissing,
  pgbench,
  pgbenchInit,
  type PostgresServer,
  startPostgres,
  waitFor,
} from '../servers/index.ts';
import { type PrivatePostgres, privatePostgres } from '../servers/private-postgres.ts';
import { cannotProbe, Recorder } from './support.ts';

const skip = isMissing('postgres', 'pgbench') || cannotProbe();

describe.skipIf(skip)('while the probe runs', () => {
  let recorder: Recorder;
  const ends: (() => Promise<unknown> | void)[] = [];

  beforeAll(async () => {
    recorder = await Recorder.start({ engines: ['postgres'] });
    ends.push(() => recorder.stop());
  });
  afterAll(async () => {
    for (const end of ends.reverse()) await end();
  });

  const copy = async (version: '15' | '17' = '15'): Promise<PrivatePostgres> => {
    const binary = await privatePostgres(version);
    ends.push(() => binary.remove());
    return binary;
  };
  const serve = async (binDir: string, version: '15' | '17' = '15'): Promise<PostgresServer> => {
    const server = await startPostgres({ version, binDir });
    let running = true;
    const once = async (): Promise<void> => {
      if (running) await server.stop();
      running = false;
    };
    ends.push(once);
    return { ...server, stop: once };
  };
  const attachedTo = (program: string): number =>
    recorder.notices.filter((notice) => notice.startsWith(`attached to ${program} `)).length;
  const count = (sql: string): number => recorder.seen((seen) => seen.sql === sql).length;

  it('finds a server that starts later within seconds, and tells it when it is gone', async () => {
    const binary = await copy();
    const server = await serve(binary.binDir);
    await waitFor('the new binary', () => attachedTo(binary.program) === 1);
    await server.query("SELECT 'started later'");
    await recorder.until("SELECT 'started later'");
    const seen = recorder.bodies('serverObserved').filter(({ value }) => value.program === binary.program);
    const [{ value, event }] = seen;
    expect(value).toMatchObject({ dataDirectory: server.dataDir, gone: false });
    expect(value.version).toMatch(/^15\./);
    expect(value.systemIdentifier).toMatch(/^\d{15,}$/);
    const [observation] = recorder.seen(({ sql }) => sql === "SELECT 'started later'");
    expect(observation.event.origin?.serverUid).toBe(event.origin?.serverUid);
    await server.stop();
    await waitFor('its end', () =>
      recorder.bodies('serverObserved').some(({ value }) => value.program === binary.program && value.gone),
    );
  });

  it('attaches once to a binary that two servers run, and tells the servers apart', async () => {
    const binary = await copy();
    const [one, two] = await Promise.all([serve(binary.binDir), serve(binary.binDir)]);
    await waitFor('the binary', () => attachedTo(binary.program) === 1);
    await one.query("SELECT 'server one'");
    await two.query("SELECT 'server two'");
    await recorder.until("SELECT 'server two'");
    expect([count("SELECT 'server one'"), count("SELECT 'server two'")]).toEqual([1, 1]);
    const uids = recorder
      .seen(({ sql }) => /^SELECT 'server (one|two)'$/.test(sql))
      .map(({ event }) => event.origin?.serverUid);
    expect(new Set(uids).size).toBe(2);
    expect(attachedTo(binary.program)).toBe(1);
  });

  it('sees a statement once, though two file systems show one file as two', async () => {
    // What containers of one image do: an overlay each, with the server's binary in the layer that they share.
    const binary = await copy();
    const root = dirname(dirname(dirname(dirname(binary.binDir))));
    const mounts = ['a', 'b'].map((name) => {
      const home = mkdtempSync(join(tmpdir(), `dbw-overlay-${name}-`));
      for (const part of ['upper', 'work', 'merged']) mkdirSync(join(home, part));
      execFileSync('chmod', ['-R', '755', home]);
      const merged = join(home, 'merged');
      const options = `lowerdir=${root},upperdir=${join(home, 'upper')},workdir=${join(home, 'work')}`;
      execFileSync('mount', ['-t', 'overlay', 'overlay', '-o', options, merged]);
      ends.push(() => {
        execFileSync('umount', ['-l', merged]);
        rmSync(home, { recursive: true, force: true });
      });
      return join(merged, 'lib/postgresql/15/bin');
    });
    const servers = await Promise.all(mounts.map((binDir) => serve(binDir)));
    await waitFor(
      'both',
      () =>
        mounts.every((binDir) => attachedTo(join(binDir, 'postgres')) <= 1) &&
        attachedTo(join(mounts[1], 'postgres')) + attachedTo(join(mounts[0], 'postgres')) >= 1,
    );
    await waitFor('to be seen', async () => {
      await servers[1].query("SELECT 'warm'");
      return count("SELECT 'warm'") > 0;
    });
    for (const [i, server] of servers.entries())
      for (let n = 0; n < 20; n++) await server.query(`SELECT ${n} AS overlay${i}`);
    await servers[1].query("SELECT 'last of overlays'");
    await recorder.until("SELECT 'last of overlays'");
    for (const i of [0, 1])
      for (let n = 0; n < 20; n++) expect(count(`SELECT ${n} AS overlay${i}`), `${n} of ${i}`).toBe(1);
  });

  it('attaches again to a server that was upgraded, and lets the old file go', async () => {
    const binary = await copy();
    const server = await serve(binary.binDir);
    await waitFor('the old one', () => attachedTo(binary.program) === 1).catch((error: unknown) => {
      throw new Error(recorder.notices.join('\n'), { cause: error });
    });
    const fresh = `${binary.program}.new`;
    copyFileSync(binary.program, fresh);
    renameSync(fresh, binary.program);
    await server.query("SELECT 'old binary, replaced'");
    await recorder.until("SELECT 'old binary, replaced'");
    await server.stop();
    const upgraded = await serve(binary.binDir);
    await waitFor('the new one', () => attachedTo(binary.program) === 2);
    await upgraded.query("SELECT 'new binary'");
    await recorder.until("SELECT 'new binary'");
    expect(count("SELECT 'new binary'")).toBe(1);
    await waitFor('the old file to be let go', () =>
      recorder.notices.some((notice) => notice.startsWith(`detached from ${binary.program}`)),
    );
  });

  it('counts what a ring that is too small loses: the gaps say exactly what is missing', async () => {
    const binary = await copy();
    const server = await startPostgres({
      version: '15',
      binDir: binary.binDir,
      settings: { shared_preload_libraries: 'pg_stat_statements', 'pg_stat_statements.track_utility': 'on' },
      initSql: 'CREATE EXTENSION pg_stat_statements',
    });
    ends.push(() => server.stop());
    const target = {
      host: '127.0.0.1',
      port: server.port,
      user: 'postgres',
      password: server.password,
      database: 'postgres',
    };
    await pgbenchInit(target, 1);
    await server.query('SELECT pg_stat_statements_reset()');
    // From here to the probe's end the server counts what the probe does: pgbench's own questions, too.
    const small = await Recorder.start({ path: binary.program, ringBytes: 16 * 1024 });
    await pgbench(target, { script: 'select-only', protocol: 'simple', clients: 4, transactions: 3_000 });
    await small.stop();
    const [{ calls }] = await server.query<{ calls: string }>(
      "SELECT sum(calls)::text AS calls FROM pg_stat_statements WHERE query NOT LIKE '%pg_stat_statements_reset%'",
    );
    const gaps = small.bodies('gap').map(({ value }) => value);
    const lost = gaps.reduce((sum, { lostEvents }) => sum + Number(lostEvents), 0);
    expect(lost).toBeGreaterThan(0);
    expect(Number(calls)).toBeGreaterThanOrEqual(12_000);
    expect(lost).toBe(Number(calls) - small.seen().length);
    for (const gap of gaps) {
      expect(gap.reason).toBe(Gap_Reason.RING_OVERFLOW);
      expect(gap.fromUs).toBeLessThanOrEqual(gap.untilUs);
    }
  });
});
