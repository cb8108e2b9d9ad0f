/**
 * Two fresh servers of one version; the script runs against one direct and against the other through dbwitness, by
 * every client, each in a database of its own. What the clients saw must be the same, line by line.
 *
 * With `DBW_CONFORMANCE_SELF=1` the second server is reached direct too: that shows that the script itself gives the
 * same result twice.
 */
import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  type Dbwitness,
  type PgTarget,
  type PostgresMajor,
  type PostgresServer,
  startDbwitness,
  startPostgres,
} from '../../servers/index.ts';
import {
  featuresThroughPostgresJs,
  parametersThroughPg,
  statementsIn,
  throughPg,
  throughPostgresJs,
  throughPsql,
} from './drivers.ts';
import { play, SCENARIOS } from './raw/index.ts';
import { ENTRIES, PSQL_FILE, SCRIPT_FILES } from './script.ts';

const SELF = process.env['DBW_CONFORMANCE_SELF'] === '1';

/** Nothing of the server's own that happens at its own time: no autovacuum, no parallel workers, no JIT. */
const SETTINGS = { autovacuum: 'off', max_parallel_workers_per_gather: '0', jit: 'off' };

type Way = (target: PgTarget) => Promise<readonly string[]>;

const WAYS: Readonly<Record<string, Way>> = {
  'pg, simple queries': (target) => throughPg(target, 'simple'),
  'pg, extended queries': (target) => throughPg(target, 'extended'),
  'pg, parameters and named statements': parametersThroughPg,
  'postgres.js, simple queries': (target) => throughPostgresJs(target, false),
  'postgres.js, prepared': (target) => throughPostgresJs(target, true),
  'postgres.js, cursors, COPY, transactions, pipelines': featuresThroughPostgresJs,
  'psql, the script': (target) => psqlLines(target, SCRIPT_FILES),
  'psql, its own commands': (target) => psqlLines(target, [PSQL_FILE]),
};

async function psqlLines(target: PgTarget, files: readonly string[]): Promise<string[]> {
  const { out, err } = await throughPsql(target, files);
  return [...out.split('\n'), '--- standard error', ...err.split('\n')];
}

/** Declares the tests; to be called inside a `describe`. */
export function differential(version: PostgresMajor): void {
  let direct: PostgresServer;
  let proxied: PostgresServer;
  let node: Dbwitness | null = null;
  let databases = 0;

  beforeAll(async () => {
    [direct, proxied] = await Promise.all([
      startPostgres({ version, settings: SETTINGS }),
      startPostgres({ version, settings: SETTINGS }),
    ]);
    if (!SELF) node = await startDbwitness();
  });
  afterAll(async () => {
    await node?.stop();
    await Promise.all([direct.stop(), proxied.stop()]);
  });

  /** The same fresh database on both sides: the direct target, and the one under test. */
  async function targets(): Promise<[PgTarget, PgTarget]> {
    const database = `conformance_${++databases}`;
    for (const server of [direct, proxied])
      await server.query(`CREATE DATABASE ${database} TEMPLATE template0`);
    const plain = (server: PostgresServer): PgTarget => ({
      host: server.host,
      port: server.port,
      user: server.user,
      password: server.password,
      database,
    });
    if (node === null) return [plain(direct), plain(proxied)];
    // Named as the database itself: psql and drivers print it.
    const access = await node.grantAccess(proxied, { database: { name: database, database_name: database } });
    return [plain(direct), access];
  }

  it('has a script of at least three hundred statements', () => {
    expect(ENTRIES.length).toBeGreaterThanOrEqual(300);
    expect(statementsIn(SCRIPT_FILES)).toBeGreaterThanOrEqual(300);
    expect(SCENARIOS.length).toBeGreaterThanOrEqual(60);
  });

  it.each(Object.keys(WAYS))(
    '%s',
    async (name) => {
      const [plain, tested] = await targets();
      const expected = await WAYS[name](plain);
      const actual = await WAYS[name](tested);
      expect(expected.length).toBeGreaterThan(50);
      expectSameLines(actual, expected);
    },
    180_000,
  );

  it('raw messages, byte for byte', async () => {
    const [plain, tested] = await targets();
    const different: string[] = [];
    for (const scenario of SCENARIOS) {
      const expected = await play(scenario, plain);
      const actual = await play(scenario, tested).catch((error: unknown) => [String(error)]);
      const difference = firstDifference(actual, expected);
      if (difference !== null) different.push(`${scenario.name}: ${difference}`);
    }
    expect(different).toEqual([]);
  }, 300_000);
}

function expectSameLines(actual: readonly string[], expected: readonly string[]): void {
  // All differences would be unreadable: the first, and how many lines there were.
  expect(firstDifference(actual, expected)).toBeNull();
}

function firstDifference(actual: readonly string[], expected: readonly string[]): string | null {
  const at = Array.from({ length: Math.max(actual.length, expected.length) }).findIndex(
    (_, i) => actual[i] !== expected[i],
  );
  if (at === -1) return null;
  const around = (lines: readonly string[]): string =>
    lines
      .slice(Math.max(0, at - 2), at + 3)
      .map((line) => line.slice(0, 600))
      .join('\n    ');
  return `line ${at + 1} of ${expected.length} differs\n  direct:\n    ${around(expected)}\n  through dbwitness:\n    ${around(actual)}`;
}
