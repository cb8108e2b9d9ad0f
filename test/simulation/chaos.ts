/**
 * kill −9 under load. In each round pgbench runs through dbwitness, in every protocol mode and with pipelines; at a
 * random moment the whole process tree of dbwitness is killed. Then:
 *
 *   1. the server's backends finish what they had received, and end;
 *   2. dbwitness starts again on the same data, and `dbwitness verify` finds the journal whole;
 *   3. every statement in the server's own log is in the journal: same backend, same text, same parameters, same order.
 *
 * The journal may hold more than the server ran (recorded, not yet forwarded), never less.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import {
  type Access,
  type Dbwitness,
  pgbench,
  pgbenchInit,
  type PgbenchOptions,
  type PostgresServer,
  seeded,
  startDbwitness,
  startPostgres,
  waitFor,
} from '../servers/index.ts';
import { JournalFollower } from './journal-statements.ts';
import { LOG_SETTINGS, type RunStatement, ServerLog } from './server-log.ts';

export interface ChaosOptions {
  readonly rounds: number;
  readonly seed: number;
  readonly log: (line: string) => void;
  /** Longest time from the first statements to the kill. Default 1,000 ms. */
  readonly maxDelayMs?: number;
}

export interface ChaosResult {
  readonly rounds: number;
  /** In the server's log. */
  readonly statements: number;
  /** Of those, not in the journal. */
  readonly lost: readonly RunStatement[];
  /** In the journal and not run: recorded, and then the process was killed. */
  readonly onlyRecorded: number;
}

const WITNESSED = 'witnessed';
const LOAD_SECONDS = 30; // longer than any delay: the kill ends it

export async function chaosKill(options: ChaosOptions): Promise<ChaosResult> {
  const random = seeded(options.seed);
  const scripts = mkdtempSync(join(tmpdir(), 'dbw-chaos-'));
  const server = await startPostgres({
    version: '15',
    settings: LOG_SETTINGS,
    initSql: `CREATE ROLE ${WITNESSED} SUPERUSER LOGIN PASSWORD 'witnessed'`,
  });
  const node = await startDbwitness();
  try {
    await pgbenchInit({ ...server, database: 'postgres' }, 1);
    const access = await node.grantAccess(server, {
      database: { username: WITNESSED, password: 'witnessed' },
    });
    const serverLog = new ServerLog(server);
    const journal = new JournalFollower(join(node.dataDir, 'journal'));
    let statements = 0;
    let onlyRecorded = 0;
    const lost: RunStatement[] = [];
    for (let round = 1; round <= options.rounds; round++) {
      const delayMs = Math.floor(random() * (options.maxDelayMs ?? 1_000));
      // Most kills strike while statements flow; every fifth may strike while clients connect.
      await killUnderLoad({
        node,
        access,
        server,
        load: loads(scripts),
        delayMs,
        connecting: random() < 0.2,
      });
      await node.start();
      await verified(node);
      const ran = await serverLog.statementsSince(WITNESSED);
      const recorded = await journal.statementsSince();
      const missing = notIn(ran, recorded);
      lost.push(...missing);
      statements += ran.length;
      onlyRecorded += recorded.length - (ran.length - missing.length);
      options.log(
        `round ${round}: killed after ${delayMs} ms, ${ran.length} statements run, ${recorded.length} recorded, ${missing.length} lost, verify: whole`,
      );
    }
    return { rounds: options.rounds, statements, lost, onlyRecorded };
  } finally {
    await node.stop();
    await server.stop();
    rmSync(scripts, { recursive: true, force: true });
  }
}

/** Several clients in every protocol mode, and pipelines. */
function loads(scripts: string): Omit<PgbenchOptions, 'seconds'>[] {
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

interface Kill {
  readonly node: Dbwitness;
  readonly access: Access;
  readonly server: PostgresServer;
  readonly load: readonly Omit<PgbenchOptions, 'seconds'>[];
  readonly delayMs: number;
  /** Count the delay from the start of the clients, not from their first statements. */
  readonly connecting: boolean;
}

async function killUnderLoad({ node, access, server, load, delayMs, connecting }: Kill): Promise<void> {
  const running = load.map((one) => pgbench(access, { ...one, seconds: LOAD_SECONDS, tolerant: true }));
  if (!connecting)
    await waitFor('statements to flow', async () => {
      const [{ active }] = await server.query<{ active: string }>(
        "SELECT count(*) AS active FROM pg_stat_activity WHERE usename = $1 AND query <> ''",
        [WITNESSED],
      );
      return Number(active) >= 5;
    });
  await delay(delayMs);
  await node.kill9();
  await Promise.all(running);
  // What a backend had received it still runs and logs, before it sees that the connection is gone.
  await waitFor('the backends to end', async () => {
    const [{ left }] = await server.query<{ left: string }>(
      'SELECT count(*) AS left FROM pg_stat_activity WHERE usename = $1',
      [WITNESSED],
    );
    return left === '0';
  });
}

async function verified(node: Dbwitness): Promise<void> {
  const result = await node.cli('verify', join(node.dataDir, 'journal'));
  if (result.code !== 0)
    throw new Error(`verify ended with ${result.code}: ${result.stdout}${result.stderr}`);
}

/** The statements of `ran` that are not in `recorded`, where each backend's must come in the same order. */
export function notIn(ran: readonly RunStatement[], recorded: readonly RunStatement[]): RunStatement[] {
  const queues = new Map<number, { next: number; readonly list: RunStatement[] }>();
  for (const one of recorded) {
    const queue = queues.get(one.pid) ?? { next: 0, list: [] };
    queue.list.push(one);
    queues.set(one.pid, queue);
  }
  return ran.filter((one) => {
    const queue = queues.get(one.pid);
    if (queue === undefined) return true;
    // Those passed over were recorded and not run; they cannot match a later statement of this backend.
    let at = queue.next;
    while (at < queue.list.length && !same(queue.list[at], one)) at++;
    if (at === queue.list.length) return true;
    queue.next = at + 1;
    return false;
  });
}

function same(a: RunStatement, b: RunStatement): boolean {
  return a.text === b.text && a.parameters === b.parameters;
}
