/**
 * HOSTILE.md 15–33 through the running product, under a read_only grant: nothing of it reaches the server, every line is
 * answered in order and in the right transaction state, and every attempt is in the journal with its own outcome.
 */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { message as m } from '../conformance/postgres/raw-client.ts';
import {
  type Access,
  type Dbwitness,
  isMissing,
  type PostgresServer,
  startDbwitness,
  startPostgres,
} from '../servers/index.ts';
import { CORPUS, FIXTURE } from './postgres-readonly-corpus.ts';
import { AuditedClient, outcomes } from './support/audit.ts';

let server: PostgresServer;
let node: Dbwitness;
let reader: Access;
let before: unknown;

/** What a statement could change: rows, sequences, catalogs, roles, settings, large objects, locks. */
const STATE = `SELECT (SELECT sum(hashtextextended(t::text, 0)) FROM t)::text AS t,
  (SELECT last_value FROM s)::text AS s,
  (SELECT count(*) FROM pg_class)::text AS classes,
  (SELECT count(*) FROM pg_proc)::text AS procs,
  (SELECT count(*) || md5(string_agg(r::text, ',' ORDER BY oid)) FROM pg_authid r) AS roles,
  (SELECT md5(string_agg(pg_largeobject::text, ',' ORDER BY loid)) FROM pg_largeobject) AS objects,
  (SELECT count(*) FROM pg_replication_slots)::text AS slots,
  (SELECT count(*) FROM pg_file_settings)::text AS settings,
  (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')::text AS advisory,
  (SELECT pg_current_wal_insert_lsn() > '0/0')::text AS alive`;

beforeAll(async () => {
  [server, node] = await Promise.all([
    startPostgres({ version: '15', settings: { log_statement: 'all', autovacuum: 'off' }, initSql: FIXTURE }),
    startDbwitness(),
  ]);
  reader = await node.grantAccess(server, { grant: { controls: ['read_only'] } });
  before = await server.query(STATE);
});
afterAll(async () => {
  await node?.stop();
  await server?.stop();
});

const refused = (lines: readonly string[]): void => {
  expect(lines).toHaveLength(2);
  expect(lines[0]).toMatch(/^E (25006|42501) /);
};

async function nothingChanged(): Promise<void> {
  expect(await server.query(STATE)).toEqual(before);
}

// Read-only mode is the session's own default here, so that these come back to it: pools send them.
const RESETS = new Set(['RESET ALL', 'DISCARD ALL']);
const refusedTexts = (number: number): string[] =>
  CORPUS.filter((entry) => entry.number === number && !entry.allow)
    .map(({ sql }) => sql)
    .filter((sql) => !RESETS.has(sql));
const refusedNumbers = [...new Set(CORPUS.filter((entry) => !entry.allow).map((entry) => entry.number))];

describe.skipIf(isMissing('postgres'))('under read_only', () => {
  it.each(refusedNumbers)('%i: refused, recorded as such, never seen by the server', async (number) => {
    const texts = refusedTexts(number);
    const client = await AuditedClient.connect(node, reader);
    for (const sql of texts) {
      const lines = await client.exchange(m.query(sql));
      refused(lines);
      expect(lines[1], sql).toBe('Z I');
    }
    const statements = await client.statements();
    expect(statements.map(({ sql, outcome, decision }) => [sql, outcome, decision])).toEqual(
      texts.map((sql) => [sql, 'refused', 'denied']),
    );
    const log = readFileSync(server.logFile, 'utf8');
    for (const sql of texts) expect(log.includes(sql), sql).toBe(false);
    await nothingChanged();
  });

  it.each(refusedNumbers)('%i: the same in the extended protocol, prepared under a name', async (number) => {
    const texts = refusedTexts(number);
    const client = await AuditedClient.connect(node, reader);
    for (const sql of texts) {
      const lines = await client.exchange(m.parse('p', sql), m.bind('', 'p'), m.execute(), m.sync());
      refused(lines);
    }
    // What was refused was not prepared.
    expect(await client.exchange(m.bind('', 'p'), m.execute(), m.sync())).toEqual([
      'E 26000 prepared statement "p" does not exist',
      'Z I',
    ]);
    const statements = await client.statements();
    expect(statements.slice(0, -1).map(({ sql, outcome }) => [sql, outcome])).toEqual(
      texts.flatMap((sql) => [
        [sql, 'refused'],
        [sql, 'skipped'],
      ]),
    );
    await nothingChanged();
  });

  it('0: reading stays possible, and is recorded as what it is', async () => {
    const entries = CORPUS.filter((entry) => entry.allow);
    const client = await AuditedClient.connect(node, reader);
    for (const { sql, fails } of entries) {
      const lines = await client.exchange(m.query(sql));
      const errors = lines.filter((line) => line.startsWith('E '));
      if (fails) expect(errors.join('\n'), sql).toMatch(fails);
      else expect(errors, sql).toEqual([]);
      await client.exchange(m.query('ROLLBACK; RESET ALL'));
    }
    for (const sql of RESETS) expect((await client.exchange(m.query(sql)))[0]).not.toMatch(/^E/);
    expect(await client.exchange(m.query('DELETE FROM t'))).toContain('Z I');
    const statements = await client.statements();
    expect(outcomes(statements.filter((one) => one.outcome === 'refused'))).toEqual([
      'DELETE FROM t → refused 25006',
    ]);
    expect(statements.length).toBeGreaterThanOrEqual(entries.length);
    await nothingChanged();
  });

  it('in order within a pipeline, and in the right transaction state', async () => {
    const client = await AuditedClient.connect(node, reader);
    expect(
      await client.exchange(
        m.query('SELECT 1'),
        m.query('DELETE FROM t'),
        m.query('BEGIN'),
        m.query('SELECT 2; DROP TABLE t'),
        m.query('SELECT 3'),
        m.query('ROLLBACK'),
        m.query('SELECT 4'),
      ),
    ).toEqual([
      'T',
      'D',
      'C SELECT 1',
      'Z I',
      'E 25006 DELETE may change data; this grant allows reading only',
      'Z I',
      'C BEGIN',
      'Z T',
      'E 25006 DROP may change data; this grant allows reading only',
      'Z E',
      'E 25P02 current transaction is aborted, commands ignored until end of transaction block',
      'Z E',
      'C ROLLBACK',
      'Z I',
      'T',
      'D',
      'C SELECT 1',
      'Z I',
    ]);
    expect(outcomes(await client.statements())).toEqual([
      'SELECT 1 → completed',
      'DELETE FROM t → refused 25006',
      'BEGIN → completed',
      'SELECT 2; DROP TABLE t → refused 25006',
      'SELECT 3 → failed 25P02',
      'ROLLBACK → completed',
      'SELECT 4 → completed',
    ]);
  });

  it('in a pipeline of the extended protocol everything behind it is skipped to the Sync', async () => {
    const client = await AuditedClient.connect(node, reader);
    const run = (sql: string): Buffer[] => [m.parse('', sql), m.bind('', ''), m.execute()];
    expect(
      await client.exchange(
        ...run('SELECT 1'),
        ...run("UPDATE t SET b = 'x'"),
        ...run('SELECT 2'),
        m.sync(),
        ...run('SELECT 3'),
        m.sync(),
      ),
    ).toEqual([
      '1',
      '2',
      'D',
      'C SELECT 1',
      'E 25006 UPDATE may change data; this grant allows reading only',
      'Z I',
      '1',
      '2',
      'D',
      'C SELECT 1',
      'Z I',
    ]);
    const statements = await client.statements();
    expect(statements.map(({ sql, outcome }) => [sql, outcome])).toEqual([
      ['SELECT 1', 'completed'],
      ["UPDATE t SET b = 'x'", 'refused'],
      ["UPDATE t SET b = 'x'", 'skipped'],
      ['SELECT 2', 'skipped'],
      ['SELECT 3', 'completed'],
    ]);
  });

  it('22: COPY FROM STDIN with its payload in the same segment: refused, and the payload goes nowhere', async () => {
    const client = await AuditedClient.connect(node, reader);
    client.raw.send(
      m.query('COPY t FROM STDIN'),
      m.copyData('4242\tsmuggled\n'),
      m.copyDone(),
      m.query('SELECT 1'),
    );
    await client.raw.until('Z', 2);
    expect(client.lines()).toEqual([
      'E 25006 COPY FROM may change data; this grant allows reading only',
      'Z I',
      'T',
      'D',
      'C SELECT 1',
      'Z I',
    ]);
    await client.raw.end();
    await nothingChanged();
  });

  it('25: EXECUTE by SQL of what the protocol prepared, and the other way round', async () => {
    const client = await AuditedClient.connect(node, reader);
    expect(await client.exchange(m.parse('p', 'SELECT a FROM t WHERE a = 1'), m.sync())).toEqual([
      '1',
      'Z I',
    ]);
    expect(await client.exchange(m.query('EXECUTE p'))).toEqual(['T', 'D', 'C SELECT 1', 'Z I']);
    expect(await client.exchange(m.query('PREPARE q AS SELECT 7'))).toEqual(['C PREPARE', 'Z I']);
    expect(await client.exchange(m.bind('', 'q'), m.execute(), m.sync())).toEqual([
      '2',
      'D',
      'C SELECT 1',
      'Z I',
    ]);
    // A name that is given again: the second PREPARE fails, the first one holds.
    await client.exchange(m.query('PREPARE q AS SELECT 8'));
    expect(await client.exchange(m.query('EXECUTE q'))).toEqual(['T', 'D', 'C SELECT 1', 'Z I']);
    refused(await client.exchange(m.query('PREPARE r AS DELETE FROM t; EXECUTE r')));
    refused(await client.exchange(m.query('EXECUTE r')));
    await client.raw.end();
    await nothingChanged();
  });

  it('26: FunctionCall by oid: reading is allowed, everything else refused', async () => {
    const client = await AuditedClient.connect(node, reader);
    const oid = async (name: string): Promise<number> => {
      const [row] = await server.query<{ oid: number }>(
        `SELECT oid::int FROM pg_proc WHERE proname = '${name}' LIMIT 1`,
      );
      return row.oid;
    };
    for (const name of [
      'nextval',
      'lo_create',
      'lowrite',
      'lo_unlink',
      'pg_reload_conf',
      'sneaky',
      'set_config',
      'abs',
    ]) {
      const lines = await client.exchange(m.functionCall(await oid(name), ['1'], [0]));
      expect(lines[0], name).toMatch(/^E 42501 /);
      expect(lines[1]).toBe('Z I');
    }
    const statements = await client.statements();
    expect(statements.map((one) => one.outcome)).toEqual(Array.from({ length: 8 }, () => 'refused'));
    await nothingChanged();
  });

  it('30: when read-only mode is switched off all the same, the session ends and says why', async () => {
    await server.query(
      "CREATE OR REPLACE FUNCTION off() RETURNS text LANGUAGE sql AS $$ SELECT set_config('default_transaction_read_only', 'off', false) $$",
    );
    before = await server.query(STATE);
    const client = await AuditedClient.connect(node, reader);
    client.raw.send(m.query('SELECT off()'), m.query("SELECT 'next'"));
    await client.raw.untilClosed();
    expect(client.lines().at(-1)).toMatch(/^E 25006 read-only was switched off/);
    const session = await client.closed();
    expect(session['close_reason']).toBe('read_only_lost');
    // An INSERT behind it in the same message would have to get past the parser first.
    const second = await AuditedClient.connect(node, reader);
    refused(await second.exchange(m.query('SELECT off(); COMMIT; INSERT INTO t VALUES (99)')));
    await second.raw.end();
    await nothingChanged();
  });

  it('33: the unnamed statement parsed again between Bind and Execute', async () => {
    const client = await AuditedClient.connect(node, reader);
    const lines = await client.exchange(
      m.parse('', "SELECT 'first'"),
      m.bind('', ''),
      m.parse('', "SELECT 'second'"),
      m.execute(),
      m.bind('', ''),
      m.execute(),
      m.sync(),
    );
    expect(lines).toEqual(['1', '2', '1', 'D', 'C SELECT 1', '2', 'D', 'C SELECT 1', 'Z I']);
    const rows = client.raw.received
      .filter((one) => one.type === 'D')
      .map((one) => one.body.subarray(6).toString());
    expect(rows).toEqual(['first', 'second']);
    const statements = await client.statements();
    expect(statements.map(({ sql, outcome }) => [sql, outcome])).toEqual([
      ["SELECT 'first'", 'completed'],
      ["SELECT 'second'", 'completed'],
    ]);
    for (const [i, { uid }] of statements.entries()) {
      const result = await node.api<{ rows: unknown[][] }>('GET', `/statements/${uid}/rows`);
      expect(result.rows).toEqual([[rows[i]]]);
    }
  });

  it('33: a refused Parse in between does not lend its name to the one before it', async () => {
    const client = await AuditedClient.connect(node, reader);
    await client.exchange(
      m.parse('', "SELECT 'kept'"),
      m.bind('', ''),
      m.parse('', 'DELETE FROM t'),
      m.execute(),
      m.sync(),
    );
    const lines = await client.exchange(m.bind('', ''), m.execute(), m.sync());
    const statements = await client.statements();
    const last = statements.at(-1);
    // Either the server has no unnamed statement any more, or it is the one that was allowed: never the refused one.
    if (lines[0].startsWith('E')) expect(lines[0]).toMatch(/^E 26000/);
    else expect([last?.sql, last?.outcome]).toEqual(["SELECT 'kept'", 'completed']);
    expect(statements.filter((one) => one.sql === 'DELETE FROM t').map((one) => one.outcome)).toEqual([
      'refused',
    ]);
    await nothingChanged();
  });

  it('33: a name whose second Parse fails in a pipeline stays attributed to the first', async () => {
    const client = await AuditedClient.connect(node, reader);
    client.raw.send(
      m.parse('n', "SELECT 'one'"),
      m.sync(),
      m.parse('n', "SELECT 'two'"),
      m.sync(),
      m.bind('', 'n'),
      m.execute(),
      m.sync(),
    );
    await client.raw.until('Z', 3);
    expect(client.lines()).toEqual([
      '1',
      'Z I',
      'E 42P05 prepared statement "n" already exists',
      'Z I',
      '2',
      'D',
      'C SELECT 1',
      'Z I',
    ]);
    const statements = await client.statements();
    expect(statements.filter((one) => one.outcome === 'completed').map((one) => one.sql)).toEqual([
      "SELECT 'one'",
    ]);
  });
});
