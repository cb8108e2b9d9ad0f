/**
 * The probe on real PostgreSQL servers: a script of statements of every kind with its ground truth, texts of every
 * length, many connections at once, pgbench against the server's own counts.
 */
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ObservedSession_Kind } from '../../src/model/events.ts';
import {
  isMissing,
  pgbench,
  pgbenchInit,
  type PgTarget,
  type PostgresMajor,
  type PostgresServer,
  startPostgres,
  waitFor,
} from '../servers/index.ts';
import { type PrivatePostgres, privatePostgres } from '../servers/private-postgres.ts';
import { cannotProbe, fetchInSteps, kindOf, Recorder, type Seen } from './support.ts';

const skip = isMissing('postgres', 'pgbench') || cannotProbe();
const VERSIONS: readonly PostgresMajor[] = ['15', '13', '14', '16', '17', '18'];

interface Expected {
  readonly sql: string;
  readonly tag?: string;
  readonly rows?: number;
  readonly error?: string;
  readonly place?: number;
}

describe.skipIf(skip).each(VERSIONS)('PostgreSQL %s', (version) => {
  let binary: PrivatePostgres;
  let server: PostgresServer;
  let recorder: Recorder;

  beforeAll(async () => {
    binary = await privatePostgres(version);
    server = await startPostgres({
      version,
      binDir: binary.binDir,
      settings: {
        shared_preload_libraries: 'pg_stat_statements',
        'pg_stat_statements.track_utility': 'on',
        max_prepared_transactions: '2',
      },
      initSql: 'CREATE EXTENSION pg_stat_statements',
    });
    await pgbenchInit(target(), 1);
    recorder = await Recorder.start({ path: binary.program, parameters: true });
  });

  const target = (): PgTarget => ({
    host: '127.0.0.1',
    port: server.port,
    user: 'postgres',
    password: server.password,
    database: 'postgres',
  });

  afterAll(async () => {
    await recorder?.stop();
    await server?.stop();
    binary?.remove();
  });

  const connect = async (application: string, more: pg.ClientConfig = {}): Promise<pg.Client> => {
    const client = new pg.Client({
      ...target(),
      application_name: application,
      ...more,
    });
    client.on('error', () => undefined);
    await client.connect();
    return client;
  };

  /** Everything that connections of this application ran. */
  const of = (application: string): Seen[] =>
    recorder.seen(({ observation }) => observation.applicationName === application);

  it('sees a script of statements of every kind, each with every field right, and nothing else', async () => {
    const client = await connect('script');
    const { rows: facts } = await client.query<{ pid: number; port: number; started: string }>(
      'SELECT pid, client_port AS port, (extract(epoch FROM backend_start) * 1e6)::bigint::text AS started FROM pg_stat_activity WHERE pid = pg_backend_pid()',
    );
    const expected: Expected[] = [
      {
        sql: 'SELECT pid, client_port AS port, (extract(epoch FROM backend_start) * 1e6)::bigint::text AS started FROM pg_stat_activity WHERE pid = pg_backend_pid()',
        tag: 'SELECT 1',
        rows: 1,
      },
    ];
    const run = async (sql: string, ...parts: Expected[]): Promise<void> => {
      await client.query(sql).catch(() => undefined);
      expected.push(...(parts.length === 0 ? [{ sql }] : parts));
    };
    await run('CREATE TABLE things (id int PRIMARY KEY, name text)', {
      sql: 'CREATE TABLE things (id int PRIMARY KEY, name text)',
      tag: 'CREATE TABLE',
    });
    await run("INSERT INTO things SELECT g, 'name' FROM generate_series(1, 100) g;", {
      sql: "INSERT INTO things SELECT g, 'name' FROM generate_series(1, 100) g;",
      tag: 'INSERT 0 100',
      rows: 100,
    });
    await run(
      "SELECT 1; SELECT 2, ';' ; UPDATE things SET name = 'x' WHERE id < 4",
      {
        sql: 'SELECT 1',
        tag: 'SELECT 1',
        rows: 1,
        place: 0,
      },
      { sql: "SELECT 2, ';'", tag: 'SELECT 1', rows: 1, place: 1 },
      {
        sql: "UPDATE things SET name = 'x' WHERE id < 4",
        tag: 'UPDATE 3',
        rows: 3,
        place: 2,
      },
    );
    await run('SELEC', { sql: 'SELEC', error: '42601' });
    await run('SELECT * FROM nowhere', { sql: 'SELECT * FROM nowhere', error: '42P01' });
    await run('SELECT 1/0', { sql: 'SELECT 1/0', error: '22012' });
    await run(
      'SELECT 7; SELECT 1/0; SELECT 8',
      { sql: 'SELECT 7', tag: 'SELECT 1', rows: 1, place: 0 },
      {
        sql: 'SELECT 1/0',
        error: '22012',
        place: 1,
      },
    );
    await run('BEGIN', { sql: 'BEGIN', tag: 'BEGIN' });
    await run('DELETE FROM things WHERE id > 90', {
      sql: 'DELETE FROM things WHERE id > 90',
      tag: 'DELETE 10',
      rows: 10,
    });
    await run('ROLLBACK', { sql: 'ROLLBACK', tag: 'ROLLBACK' });
    await run('DO $$ BEGIN PERFORM 1; PERFORM count(*) FROM things; END $$', {
      sql: 'DO $$ BEGIN PERFORM 1; PERFORM count(*) FROM things; END $$',
      tag: 'DO',
    });
    await run('DECLARE c CURSOR WITH HOLD FOR SELECT * FROM things', {
      sql: 'DECLARE c CURSOR WITH HOLD FOR SELECT * FROM things',
      tag: 'DECLARE CURSOR',
    });
    await run('FETCH 5 FROM c', { sql: 'FETCH 5 FROM c', tag: 'FETCH 5', rows: 5 });
    await run('CLOSE c', { sql: 'CLOSE c', tag: 'CLOSE CURSOR' });
    await run('PREPARE q AS SELECT 40 + 2', { sql: 'PREPARE q AS SELECT 40 + 2', tag: 'PREPARE' });
    await run('EXECUTE q', { sql: 'EXECUTE q', tag: 'SELECT 1', rows: 1 });
    await run("COPY (SELECT 1) TO '/dev/null'", {
      sql: "COPY (SELECT 1) TO '/dev/null'",
      tag: 'COPY 1',
      rows: 1,
    });
    await run('VACUUM things', { sql: 'VACUUM things', tag: 'VACUUM' });
    await run("SELECT 'ünïcødé 漢字 🐘'", { sql: "SELECT 'ünïcødé 漢字 🐘'", tag: 'SELECT 1', rows: 1 });
    await run(';;', ...([] as Expected[]).concat([]));
    expected.pop(); // an empty query is no statement
    await client.query('SELECT $1::int + $2::int', [1, 2]);
    expected.push({ sql: 'SELECT $1::int + $2::int', tag: 'SELECT 1', rows: 1 });
    for (let i = 0; i < 3; i++) {
      await client.query({
        name: 'named',
        text: 'UPDATE things SET name = $1 WHERE id = $2',
        values: ['n', i],
      });
      const changed = i === 0 ? 0 : 1;
      expected.push({
        sql: 'UPDATE things SET name = $1 WHERE id = $2',
        tag: `UPDATE ${changed}`,
        rows: changed,
      });
    }
    await client.query('SELECT $1::int / 0', [1]).catch(() => undefined);
    expected.push({ sql: 'SELECT $1::int / 0', error: '22012' });
    await client.query("SELECT 'last of the script'");
    expected.push({ sql: "SELECT 'last of the script'", tag: 'SELECT 1', rows: 1 });
    await client.end();

    await recorder.until("SELECT 'last of the script'");
    const seen = of('script');
    expect(
      seen.map(({ sql, observation: { tag, rows, error, place } }) => ({
        sql,
        tag,
        rows: Number(rows),
        error: error?.code ?? '',
        place,
      })),
    ).toEqual(
      expected.map(({ sql, tag = '', rows = 0, error = '', place = 0 }) => ({
        sql,
        tag,
        rows,
        error,
        place,
      })),
    );
    for (const { event, observation } of seen) {
      expect(observation).toMatchObject({
        userName: 'postgres',
        databaseName: 'postgres',
        clientAddress: '127.0.0.1',
        clientPort: facts[0]?.port,
        pid: facts[0]?.pid,
        processName: 'postgres',
        cut: false,
      });
      expect(event.origin).toMatchObject({
        backendId: String(facts[0]?.pid),
        backendStartedUs: BigInt(facts[0]?.started ?? 0),
      });
    }
    expect(seen.at(-6)?.observation.parameters.map(({ value }) => Buffer.from(value).toString())).toEqual([
      '1',
      '2',
    ]);
  });

  it('says when a statement began, how long it took, in which transaction, and where that ended in the WAL', async () => {
    const client = await connect('times');
    await client.query('CREATE TABLE writes (n int)');
    await client.query('BEGIN');
    const { rows } = await client.query<{ us: string }>(
      'SELECT (extract(epoch FROM statement_timestamp()) * 1e6)::bigint::text AS us FROM pg_sleep(0.2)',
    );
    await client.query('INSERT INTO writes VALUES (1)');
    const { rows: ids } = await client.query<{ xid: string }>('SELECT txid_current()::text AS xid');
    await client.query('COMMIT');
    const { rows: after } = await client.query<{ lsn: string }>(
      "SELECT (pg_current_wal_insert_lsn() - '0/0')::text AS lsn",
    );
    await client.query('BEGIN');
    await client.query('INSERT INTO writes VALUES (2)');
    const { rows: lost } = await client.query<{ xid: string }>('SELECT txid_current()::text AS xid');
    await client.query('ROLLBACK');
    await client.query('INSERT INTO writes VALUES (3)');
    await client.query('INSERT INTO writes VALUES ($1)', [4]);
    await client.query("SELECT 'last of times'");
    await client.end();
    await recorder.until("SELECT 'last of times'");
    const seen = of('times');
    const [sleep] = seen.filter(({ sql }) => sql.includes('pg_sleep'));
    expect(sleep.observation.startedUs).toBe(BigInt(rows[0]?.us ?? 0));
    expect(Number(sleep.observation.durationUs)).toBeGreaterThanOrEqual(200_000);
    expect(Number(sleep.observation.durationUs)).toBeLessThan(1_000_000);
    const xidOf = (sql: string): bigint | undefined => seen.find((each) => each.sql === sql)?.observation.xid;
    expect(String(xidOf('INSERT INTO writes VALUES (1)'))).toBe(ids[0]?.xid);
    expect(String(xidOf('COMMIT'))).toBe(ids[0]?.xid);
    expect(String(xidOf('INSERT INTO writes VALUES (2)'))).toBe(lost[0]?.xid);
    const ends = recorder
      .bodies('transactionEnded')
      .filter(({ event }) => event.origin?.backendId === sleep.event.origin?.backendId)
      .map(({ value }) => value);
    const commit = ends.find(({ xid }) => String(xid) === ids[0]?.xid);
    expect(commit?.aborted).toBe(false);
    const insertLsn = seen.find(({ sql }) => sql === 'INSERT INTO writes VALUES (1)')?.observation.lsn ?? 0n;
    expect(commit?.lsn).toBeGreaterThan(insertLsn);
    expect(commit?.lsn).toBeLessThanOrEqual(BigInt(after[0]?.lsn ?? 0));
    expect(ends.find(({ xid }) => String(xid) === lost[0]?.xid)?.aborted).toBe(true);
    // Transactions of one statement, by both protocols: the xid is that of a commit.
    for (const sql of ['INSERT INTO writes VALUES (3)', 'INSERT INTO writes VALUES ($1)']) {
      const xid = xidOf(sql);
      expect(xid).not.toBe(0n);
      expect(ends.filter((end) => end.xid === xid && !end.aborted)).toHaveLength(1);
    }
  });

  it('ends a transaction once: not with a savepoint, and with COMMIT PREPARED in another session', async () => {
    const [client, other] = [await connect('nested'), await connect('nested')];
    await client.query('CREATE TABLE nested (n int)');
    await client.query('BEGIN');
    await client.query('INSERT INTO nested VALUES (1)');
    await client.query('SAVEPOINT inner_one');
    await client.query('INSERT INTO nested VALUES (2)');
    await client.query('ROLLBACK TO inner_one');
    await client.query('COMMIT');
    await client.query('BEGIN');
    await client.query('INSERT INTO nested VALUES (3)');
    await client.query("PREPARE TRANSACTION 'later'");
    await client.end();
    await other.query("COMMIT PREPARED 'later'");
    await other.query('INSERT INTO nested VALUES (4); SELECT 1/0').catch(() => undefined);
    await other.query("SELECT 'last of nested'");
    await other.end();
    await recorder.until("SELECT 'last of nested'");
    const xidOf = (sql: string): bigint =>
      of('nested').find((each) => each.sql === sql)?.observation.xid ?? 0n;
    const ends = (xid: bigint): string[] =>
      recorder
        .bodies('transactionEnded')
        .filter(({ value }) => value.xid === xid)
        .map(({ value, event }) => `${value.aborted ? 'abort' : 'commit'} ${event.origin?.backendId}`);
    const [mine, others] = ['SAVEPOINT inner_one', "SELECT 'last of nested'"].map(
      (sql) => of('nested').find((each) => each.sql === sql)?.event.origin?.backendId,
    );
    expect(xidOf('INSERT INTO nested VALUES (1)')).toBeGreaterThan(0n);
    expect(ends(xidOf('INSERT INTO nested VALUES (1)'))).toEqual([`commit ${mine}`]);
    expect(xidOf('COMMIT')).toBe(xidOf('INSERT INTO nested VALUES (1)'));
    expect(ends(xidOf('INSERT INTO nested VALUES (3)'))).toEqual([`commit ${others}`]);
    expect(xidOf("COMMIT PREPARED 'later'")).toBe(xidOf('INSERT INTO nested VALUES (3)'));
    expect(ends(xidOf('INSERT INTO nested VALUES (4)'))).toEqual([`abort ${others}`]);
    expect(xidOf("SELECT 'last of nested'")).toBe(0n);
  });

  it('knows sessions: those that were there, those that come, log-ins that fail, and their ends', async () => {
    await server.query("CREATE ROLE joe LOGIN PASSWORD 'geheim'");
    const client = await connect('by joe', { user: 'joe', password: 'geheim' });
    await client.query("SET application_name = 'other'");
    await client.query("SELECT 'by joe'");
    await expect(connect('wrong', { user: 'joe', password: 'falsch' })).rejects.toThrow();
    await expect(
      connect('wrong', { user: 'joe', password: 'geheim', database: 'nowhere' }),
    ).rejects.toThrow();
    const [mine] = await recorder
      .until("SELECT 'by joe'")
      .then((seen) => seen.filter(({ sql }) => sql === "SELECT 'by joe'"));
    await client.end();
    expect(mine.observation).toMatchObject({ userName: 'joe', applicationName: 'other' });
    const backend = mine.event.origin?.backendId;
    await waitFor('the session to end', () => sessions(ObservedSession_Kind.CLOSED).length > 0);
    function sessions(kind: ObservedSession_Kind): string[] {
      return recorder
        .bodies('observedSession')
        .filter(({ event, value }) => event.origin?.backendId === backend && value.kind === kind)
        .map(
          ({ value }) => `${value.userName}@${value.databaseName} ${value.clientAddress}:${value.clientPort}`,
        );
    }
    const peer = `joe@postgres 127.0.0.1:${mine.observation.clientPort}`;
    expect(sessions(ObservedSession_Kind.OPENED)).toEqual([peer]);
    expect(sessions(ObservedSession_Kind.CLOSED)).toEqual([peer]);
    await waitFor('both failures', () => recorder.bodies('loginFailed').length >= 2);
    expect(
      recorder
        .bodies('loginFailed')
        .map(({ value }) => `${value.userName}@${value.databaseName}: ${value.reason}`),
    ).toEqual([
      'joe@postgres: 28P01 password authentication failed for user "joe"',
      'joe@nowhere: 3D000 database "nowhere" does not exist',
    ]);
    expect(recorder.bodies('loginFailed')[0]?.value.origin?.backendId).not.toBe('');
  });

  it('keeps texts of every length exactly, and says how long those are that it cuts', async () => {
    const client = await connect('lengths');
    const lengths = [167, 168, 169, 255, 256, 257, 935, 936, 937, 4096, 5030, 5031, 5032, 65_536, 1_000_000];
    const bytes = lengths.map((length) => `SELECT ${length} -- é${'x'.repeat(length)}`.slice(0, length - 1));
    for (const text of bytes) await client.query(text);
    const long = `SELECT 'too long' -- ${'x'.repeat(3_000_000)}`;
    await client.query(long);
    await client.query("SELECT 'last of lengths'");
    await client.end();
    await recorder.until("SELECT 'last of lengths'");
    const seen = of('lengths');
    expect(seen.slice(0, -2).map(({ sql }) => sql)).toEqual(bytes);
    expect(seen.slice(0, -2).every(({ observation }) => !observation.cut)).toBe(true);
    const { observation, sql } = seen.at(-2) ?? { observation: null, sql: '' };
    expect(observation).toMatchObject({ cut: true, sqlBytes: BigInt(long.length) });
    expect(sql.length).toBeGreaterThanOrEqual(1_048_576);
    expect(long.startsWith(sql)).toBe(true);
  });

  it('attributes nothing to another connection, with 64 of them at once', async () => {
    const clients = await Promise.all(Array.from({ length: 64 }, (_, i) => connect(`many-${i}`)));
    const pids = await Promise.all(
      clients.map(async (client, i) => {
        const { rows } = await client.query<{ pid: number }>(`SELECT pg_backend_pid() AS pid -- of ${i}`);
        for (let n = 0; n < 50; n++) {
          await client.query(`SELECT ${n} AS n -- of ${i}`);
          if (n % 10 === 0) await client.query(`SELECT $1::int / 0 -- of ${i}`, [n]).catch(() => undefined);
        }
        await client.query(`SELECT 'end' -- of ${i}`);
        return rows[0].pid;
      }),
    );
    await Promise.all(clients.map((client) => client.end()));
    const mine = (): Seen[] => recorder.seen(({ sql }) => sql.includes(' -- of '));
    await waitFor('all of them', () => mine().length >= 64 * 57);
    expect(mine()).toHaveLength(64 * 57);
    const wrong = mine().filter(({ sql, observation, event }) => {
      const i = Number(/of (\d+)$/.exec(sql)?.[1]);
      return (
        observation.pid !== pids[i] ||
        event.origin?.backendId !== String(pids[i]) ||
        observation.applicationName !== `many-${i}` ||
        (observation.error?.code ?? '') !== (sql.includes('/ 0') ? '22012' : '')
      );
    });
    expect(wrong).toEqual([]);
  });

  it('says that a portal was suspended at its row limit, once for each Execute, after how many rows', async () => {
    // A cursor of node-postgres' own protocol client: Execute with a row limit, again and again.
    const client = await connect('portal');
    const sql = 'SELECT g, pg_sleep(0.01) FROM generate_series(1, 10) g';
    await fetchInSteps(client, sql, 4);
    await client.query("SELECT 'last of portals'");
    await client.end();
    await recorder.until("SELECT 'last of portals'");
    const steps = of('portal').filter((seen) => seen.sql === sql);
    expect(
      steps.map(({ observation: { suspended, tag, rows } }) => ({ suspended, tag, rows: Number(rows) })),
    ).toEqual([
      { suspended: true, tag: '', rows: 4 },
      { suspended: true, tag: '', rows: 4 },
      { suspended: false, tag: 'SELECT 2', rows: 2 },
    ]);
    // Each Execute is a message of its own, with its own start and end.
    for (const [i, least] of [40_000, 40_000, 20_000].entries())
      expect(Number(steps[i].observation.durationUs)).toBeGreaterThanOrEqual(least);
    const times = steps.flatMap(({ observation: { startedUs, durationUs } }) => [
      startedUs,
      startedUs + durationUs,
    ]);
    expect(times).toEqual(times.toSorted((a, b) => Number(a - b)));
  });

  it('hides secrets before they leave it', async () => {
    const client = await connect('secrets');
    await client.query("CREATE ROLE hidden PASSWORD 'hunter2'");
    await client.query("ALTER ROLE hidden PASSWORD 'hunter2' nonsense").catch(() => undefined);
    await client.query("SELECT 'last of secrets'");
    await client.end();
    await recorder.until("SELECT 'last of secrets'");
    const [first, second] = of('secrets');
    expect(first).toMatchObject({
      sql: "CREATE ROLE hidden PASSWORD '***'",
      observation: { redacted: true },
    });
    expect(second.observation.redacted).toBe(true);
    const everything = JSON.stringify(recorder.events, (_, value: unknown) =>
      value instanceof Uint8Array
        ? Buffer.from(value).toString('latin1')
        : typeof value === 'bigint'
          ? String(value)
          : value,
    );
    expect(everything).not.toContain('hunter2');
    expect(everything).not.toContain('geheim');
  });

  it.each(['simple', 'extended', 'prepared'] as const)(
    'counts pgbench TPC-B (%s) as the server does',
    async (protocol) => {
      await server.query('SELECT pg_stat_statements_reset()');
      const before = recorder.events.length;
      const report = await pgbench(target(), {
        script: 'tpcb-like',
        protocol,
        clients: 4,
        transactions: 150,
      });
      const counted = await server.query<{ query: string; calls: string }>(
        "SELECT query, calls FROM pg_stat_statements WHERE query ILIKE '%pgbench_%' OR query IN ('BEGIN', 'END')",
      );
      const marker = `SELECT 'after pgbench ${protocol}'`;
      await server.query(marker);
      await recorder.until(marker);
      const mine = new Map<string, number>();
      let transactions = 0;
      for (const event of recorder.events.slice(before)) {
        if (event.body.case !== 'observation' || event.body.value.applicationName !== 'pgbench') continue;
        const { sql, error } = event.body.value;
        const kind = kindOf(Buffer.from(sql).toString());
        if (kind === '') continue;
        expect(error).toBeUndefined();
        mine.set(kind, (mine.get(kind) ?? 0) + 1);
        if (kind === 'END') transactions++;
      }
      const theirs = new Map<string, number>();
      for (const { query, calls } of counted)
        if (kindOf(query) !== '') theirs.set(kindOf(query), (theirs.get(kindOf(query)) ?? 0) + Number(calls));
      // The extension counts a prepared utility statement only when it is planned.
      if (protocol === 'prepared') for (const kind of ['BEGIN', 'END']) theirs.set(kind, report.transactions);
      expect(Object.fromEntries(mine)).toEqual(Object.fromEntries(theirs));
      expect(transactions).toBe(report.transactions);
      expect(transactions).toBe(600);
    },
  );

  it('lost nothing of all this', () => {
    expect(recorder.bodies('gap')).toEqual([]);
    expect(recorder.probe.status).toMatchObject({
      lostStatements: 0,
      lostTexts: 0,
      lostOthers: 0,
      unreadable: 0,
    });
  });
});
