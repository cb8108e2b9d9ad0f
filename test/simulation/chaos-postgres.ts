/** PostgreSQL under `chaos:kill`: pgbench in every protocol mode and with pipelines; the server's JSON log. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pgbench, pgbenchInit, type PgbenchOptions, startPostgres } from '../servers/index.ts';
import type { ChaosField } from './chaos.ts';
import type { RecordedForm } from './journal-statements.ts';
import { LOG_SETTINGS, normalised, ServerLog } from './server-log.ts';

const WITNESSED = 'witnessed';

export async function startPostgresField(): Promise<ChaosField> {
  const server = await startPostgres({
    version: '15',
    settings: LOG_SETTINGS,
    initSql: `CREATE ROLE ${WITNESSED} SUPERUSER LOGIN PASSWORD 'witnessed'`,
  });
  await pgbenchInit({ ...server, database: 'postgres' }, 1);
  const scripts = mkdtempSync(join(tmpdir(), 'dbw-chaos-'));
  const loads = loadsOf(scripts);
  const log = new ServerLog(server);
  const count = async (condition: string): Promise<number> => {
    const sql = `SELECT count(*)::int AS backends FROM pg_stat_activity WHERE usename = $1 AND ${condition}`;
    const [{ backends }] = await server.query<{ backends: number }>(sql, [WITNESSED]);
    return backends;
  };
  return {
    grantAccess: (node) =>
      node.grantAccess(server, { database: { username: WITNESSED, password: 'witnessed' } }),
    load: (access, seconds) => loads.map((one) => pgbench(access, { ...one, seconds, tolerant: true })),
    flowing: async () => (await count("query <> ''")) >= 5,
    idle: async () => (await count('true')) === 0,
    statementsSince: () => log.statementsSince(WITNESSED),
    recordedForm,
    stop: async () => {
      await server.stop();
      rmSync(scripts, { recursive: true, force: true });
    },
  };
}

/** A recorded statement as PostgreSQL's log shows it. */
export const recordedForm: RecordedForm = ({ bind }, text) => ({
  text: normalised(text),
  parameters: parametersOf(Buffer.from(bind)),
});

/** Several clients in every protocol mode, and pipelines. */
function loadsOf(scripts: string): Omit<PgbenchOptions, 'seconds'>[] {
  const pipeline = join(scripts, 'pipeline.sql');
  writeFileSync(
    pipeline,
    `\\set aid random(1, 100000)
\\startpipeline
SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = :aid;
SELECT 'a literal', :aid;
\\endpipeline
`,
  );
  return [
    { script: 'tpcb-like', protocol: 'simple', clients: 3 },
    { script: 'tpcb-like', protocol: 'extended', clients: 2 },
    { script: 'select-only', protocol: 'prepared', clients: 3 },
    { script: { file: pipeline }, protocol: 'extended', clients: 2 },
  ];
}

/** Bind's parameters, all in text format, as the server writes them into its log. */
function parametersOf(bind: Buffer): string {
  if (bind.length === 0) return '';
  let at = 2 + 2 * bind.readInt16BE(0);
  const count = bind.readInt16BE(at);
  at += 2;
  const values: string[] = [];
  for (let i = 0; i < count; i++) {
    const length = bind.readInt32BE(at);
    at += 4;
    values.push(length < 0 ? 'NULL' : `'${bind.toString('utf8', at, at + length).replaceAll("'", "''")}'`);
    at += Math.max(0, length);
  }
  return values.join(', ');
}
