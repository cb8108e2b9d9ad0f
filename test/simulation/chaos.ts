/**
 * kill −9 under load. In each round load generators run through dbwitness, in every protocol mode; at a random moment
 * the whole process tree of dbwitness is killed. Then:
 *
 *   1. the server's connections finish what they had received, and end;
 *   2. dbwitness starts again on the same data, and `dbwitness verify` finds the journal whole;
 *   3. every statement in the server's own log is in the journal: same connection, same text, same parameters, same order.
 *
 * The journal may hold more than the server ran (recorded, not yet forwarded), never less.
 */
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type Access, type Dbwitness, seeded, startDbwitness, waitFor } from '../servers/index.ts';
import { startMysqlField } from './chaos-mysql.ts';
import { startPostgresField } from './chaos-postgres.ts';
import { JournalFollower, type RecordedForm } from './journal-statements.ts';
import type { RunStatement } from './server-log.ts';

/** A server under test: its load, and its own account of what it ran. */
export interface ChaosField {
  /** Somebody who is witnessed. */
  grantAccess(node: Dbwitness): Promise<Access>;
  /** Starts every load. Each ends when its connections break, and does not reject then. */
  load(access: Access, seconds: number): Promise<unknown>[];
  /** Whether statements arrive on several of the witnessed connections. */
  flowing(): Promise<boolean>;
  /** Whether no witnessed connection is left. */
  idle(): Promise<boolean>;
  /** What was run on witnessed connections since the last call, in the server's order. None of them may be left. */
  statementsSince(): Promise<RunStatement[]>;
  /** How the journal's record is compared with the server's log. */
  readonly recordedForm: RecordedForm;
  stop(): Promise<void>;
}

export const CHAOS_SERVERS = {
  postgres: startPostgresField,
  mariadb: () => startMysqlField('mariadb'),
  mysql: () => startMysqlField('mysql'),
} satisfies Record<string, () => Promise<ChaosField>>;
export type ChaosServerName = keyof typeof CHAOS_SERVERS;

export interface ChaosOptions {
  /** Default `postgres`. */
  readonly server?: ChaosServerName;
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

const LOAD_SECONDS = 30; // longer than any delay: the kill ends it

export async function chaosKill(options: ChaosOptions): Promise<ChaosResult> {
  const random = seeded(options.seed);
  const field = await CHAOS_SERVERS[options.server ?? 'postgres']();
  const node = await startDbwitness({ mysql: true });
  try {
    const access = await field.grantAccess(node);
    const journal = new JournalFollower(join(node.dataDir, 'journal'), field.recordedForm);
    let statements = 0;
    let onlyRecorded = 0;
    const lost: RunStatement[] = [];
    for (let round = 1; round <= options.rounds; round++) {
      const delayMs = Math.floor(random() * (options.maxDelayMs ?? 1_000));
      // Most kills strike while statements flow; every fifth may strike while clients connect.
      await killUnderLoad({ node, access, field, delayMs, connecting: random() < 0.2 });
      await node.start();
      await verified(node);
      const ran = await field.statementsSince();
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
    await field.stop();
  }
}

interface Kill {
  readonly node: Dbwitness;
  readonly access: Access;
  readonly field: ChaosField;
  readonly delayMs: number;
  /** Count the delay from the start of the clients, not from their first statements. */
  readonly connecting: boolean;
}

async function killUnderLoad({ node, access, field, delayMs, connecting }: Kill): Promise<void> {
  const running = field.load(access, LOAD_SECONDS);
  if (!connecting) await waitFor('statements to flow', () => field.flowing());
  await delay(delayMs);
  await node.kill9();
  await Promise.all(running);
  // What a connection's server side had received it still runs and logs, before it sees that the client is gone.
  await waitFor('the connections to end', () => field.idle());
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
