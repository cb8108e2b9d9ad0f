/**
 * How fast the indexer catches up: a journal of many statements is written first, then indexed by the real thread with
 * the real decoder, into PGlite and into PostgreSQL 15. Prints statements per second.
 *
 *   node bench/index-speed.ts [statements] [prepared|simple] [pglite|postgres|both]
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../src/base/clock.ts';
import { newUidBytes } from '../src/base/ids.ts';
import { appendEvent } from '../src/journal/encode.ts';
import { type Journal, openJournal } from '../src/journal/journal.ts';
import { Engine, StatementKind } from '../src/model/events.ts';
import { startIndexer } from '../src/store/indexer-thread.ts';
import { openStore, type Store } from '../src/store/store.ts';
import { startPostgres } from '../test/servers/index.ts';

const count = Number(process.argv[2] ?? 200_000);
const mode = process.argv[3] ?? 'prepared';
const which = process.argv[4] ?? 'both';
const CLIENTS = 8;

const sql = (aid: number | string): Buffer =>
  Buffer.from(`SELECT abalance FROM pgbench_accounts WHERE aid = ${aid}`);

/** pgbench -S as the relay records it: a block per turn with what some of the clients did. */
function write(journal: Journal): void {
  const sessions = Array.from({ length: CLIENTS }, () => newUidBytes(systemClock));
  sessions.forEach((sessionUid, i) => {
    const who = {
      userUid: `user-${i}`,
      userName: `user${i}`,
      databaseUid: 'db',
      databaseName: 'bench',
      grantUid: `grant-${i}`,
    };
    appendEvent(journal, {
      atUs: BigInt(systemClock.wallUs()),
      sessionUid,
      body: { case: 'sessionOpened', value: { ...who, origin: { engine: Engine.POSTGRES } } },
    });
    const value = { ref: 1, sql: sql('$1'), parameterTypes: [23] };
    appendEvent(journal, {
      atUs: BigInt(systemClock.wallUs()),
      sessionUid,
      body: { case: 'textDeclared', value },
    });
  });
  journal.flush();
  const rows = Buffer.from('440000000e000100000004000000000', 'hex');
  for (let i = 0; i < count; i++) {
    const sessionUid = sessions[i % CLIENTS];
    const ordinal = Math.floor(i / CLIENTS) + 1;
    const atUs = BigInt(systemClock.wallUs());
    const aid = String((i * 7919) % 100_000);
    const bind = Buffer.concat([Buffer.from([0, 0, 0, 1, 0, 0, 0, aid.length]), Buffer.from(aid)]);
    appendEvent(journal, {
      atUs,
      sessionUid,
      body: {
        case: 'statementStarted',
        value:
          mode === 'prepared'
            ? { ordinal, kind: StatementKind.EXECUTE, textRef: 1, bind, transactionStatus: Buffer.from('I') }
            : { ordinal, kind: StatementKind.SIMPLE, sql: sql(aid), transactionStatus: Buffer.from('I') },
      },
    });
    appendEvent(journal, {
      atUs,
      sessionUid,
      body: {
        case: 'statementFinished',
        value: {
          ordinal,
          tag: 'SELECT 1',
          rows: 1n,
          bytes: 14n,
          durationUs: 90n,
          firstRowUs: 80n,
          result: { rows, rowCount: 1n },
        },
      },
    });
    if (i % 5 === 0) journal.flush();
  }
  journal.flush();
}

/** CPU seconds of each thread of this process so far (proc(5): fields 14 and 15 of stat, in hundredths). */
function threadSeconds(): Map<string, number> {
  const seconds = new Map<string, number>();
  for (const id of readdirSync('/proc/self/task')) {
    const stat = readFileSync(`/proc/self/task/${id}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    seconds.set(id, (Number(fields[11]) + Number(fields[12])) / 100);
  }
  return seconds;
}

/** The busiest threads since `before`, in µs of CPU per statement: what the speed would be on a free machine. */
function busiest(before: Map<string, number>): string {
  const used = [...threadSeconds()].map(([id, seconds]) => seconds - (before.get(id) ?? 0));
  const top = used.sort((a, b) => b - a).slice(0, 3);
  return top.map((seconds) => ((seconds * 1e6) / count).toFixed(1)).join(' + ');
}

async function measure(name: string, store: Store, dir: string, nextSeq: number): Promise<void> {
  const caughtUp = Promise.withResolvers<void>();
  let startedMs = 0;
  const cpuBefore = threadSeconds();
  const indexer = startIndexer({
    module: new URL('../src/app/node/indexer-worker.ts', import.meta.url),
    store,
    journal: { dir, key: null },
    maxLagMs: 0,
    journalName: 'bench',
    onStatus: (status) => {
      if (status.failure !== '') process.stderr.write(`${status.failure}\n`);
      if (status.state === 'running' && startedMs === 0) startedMs = performance.now();
      if (status.nextSeq >= nextSeq) caughtUp.resolve();
    },
  });
  await caughtUp.promise;
  const seconds = (performance.now() - startedMs) / 1000;
  process.stdout.write(
    `${name} ${mode}: ${Math.round(count / seconds)} statements/s (${count} in ${seconds.toFixed(1)} s); CPU µs per statement of the busiest threads: ${busiest(cpuBefore)}\n`,
  );
  await indexer.stop();
  await store.close();
}

const dir = mkdtempSync(join(tmpdir(), 'dbw-bench-index-'));
try {
  const folder = join(dir, 'journal');
  const journal = await openJournal({
    folder,
    node: 'bench',
    version: '0',
    clock: systemClock,
    encryptionKey: null,
  });
  write(journal);
  const nextSeq = journal.nextSeq;
  await journal.close();
  if (which !== 'postgres') await measure('pglite', await openStore({ dataDir: dir }), folder, nextSeq);
  if (which !== 'pglite') {
    const server = await startPostgres({ version: '15', durable: true });
    const dsn = `postgres://${server.user}:${server.password}@127.0.0.1:${server.port}/postgres`;
    await measure('postgres 15', await openStore({ dsn, dataDir: dir }), folder, nextSeq);
    await server.stop();
  }
} finally {
  rmSync(dir, { recursive: true, force: true });
}
