/** The index on both back ends: exactly what the journal says, whatever happens on the way. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { sql } from 'kysely';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import { uidToBytes } from '../../src/base/ids.ts';
import { Engine, Outcome, StatementKind } from '../../src/model/events.ts';
import { type IndexerOptions, type IndexerStatus, runIndexer } from '../../src/store/indexer.ts';
import { applyRetention, listPartitions } from '../../src/store/partitions.ts';
import { getStatement, indexLag, listStatements } from '../../src/store/queries.ts';
import { rebuildIndex } from '../../src/store/rebuild.ts';
import { openStore, type Store, type StoreOptions } from '../../src/store/store.ts';
import { waitFor } from '../servers/index.ts';
import { openFresh, startPglite, startPostgres15, type TestBackend } from './store/backends.ts';
import createDecoder from './store/decoder.ts';
import { dumpIndex } from './store/dump.ts';
import { type EventInit, MemoryJournal } from './store/journal.ts';
import { sessionUid, START_US, seeded, Workload } from './store/workload.ts';

const seed = Number(process.env['DBW_TEST_SEED'] ?? 20_260_901);
const never = new AbortController().signal;

describe.each([
  ['pglite', startPglite],
  ['postgres', startPostgres15],
] as const)('index on %s', (_kind, start) => {
  let backend: TestBackend;
  let store: Store;
  let journal: MemoryJournal;
  let status: IndexerStatus;

  beforeAll(async () => {
    backend = await start();
    store = await openFresh(backend);
  });
  afterAll(async () => {
    await store.close();
    await backend.stop();
  });
  beforeEach(async () => {
    journal = new MemoryJournal();
    await emptyIndex(store);
  });

  const optionsOf = (more: Partial<IndexerOptions> = {}): IndexerOptions => ({
    store,
    source: journal,
    journalName: 'node',
    decoder: createDecoder(),
    clock: systemClock,
    signal: never,
    onStatus: (next) => {
      status = next;
    },
    ...more,
  });
  const indexAll = (more: Partial<IndexerOptions> = {}): Promise<void> =>
    runIndexer(optionsOf({ untilSeq: journal.nextSeq, ...more }));

  describe('is the same', () => {
    it(`whatever the size of the batches (seed ${seed})`, async () => {
      new Workload(journal, seed).run(1500);
      await indexAll();
      const whole = await dumpIndex(store);
      expect(whole.idx_statements.length).toBeGreaterThan(500);
      expect(whole.idx_statements.filter((row) => row['outcome'] === 'unknown').length).toBeGreaterThan(0);
      expect(whole.idx_sessions.filter((row) => row['close_reason'] === 'crashed').length).toBeGreaterThan(0);
      expect(status.orphans + status.undecodable + status.decoderFailures).toBe(0);
      for (const maxBatchEvents of [1, 17]) {
        await emptyIndex(store);
        await indexAll({ limits: { maxBatchEvents } });
        expect(await dumpIndex(store)).toEqual(whole);
      }
    });

    it('after a rebuild from the journal alone', async () => {
      new Workload(journal, seed + 1).run(1500);
      await indexAll({ limits: { maxBatchEvents: 100 } });
      const incremental = await dumpIndex(store);
      await sql`update idx_statements set sql = 'tampered', user_name = 'nobody'`.execute(store.db);
      await sql`update idx_usage set statements = 0`.execute(store.db);
      await sql`delete from idx_sessions where client_port % 2 = 0`.execute(store.db);
      const result = await rebuildIndex(optionsOf());
      expect(result).toEqual({ statements: incremental.idx_statements.length, nextSeq: journal.nextSeq });
      expect(await dumpIndex(store)).toEqual(incremental);
    });

    it('after any range was indexed again', async () => {
      new Workload(journal, seed + 2).run(1200);
      await indexAll({ limits: { maxBatchEvents: 50 } });
      const once = await dumpIndex(store);
      const random = seeded(seed);
      for (let i = 0; i < 6; i++) {
        const seq = Math.floor(random() * journal.nextSeq);
        await moveCursor(store, journal, seq);
        await indexAll({ limits: { maxBatchEvents: 1 + Math.floor(random() * 300) } });
        expect(await dumpIndex(store), `from ${seq}`).toEqual(once);
      }
    });

    it('when two indexers run at once', async () => {
      new Workload(journal, seed + 3).run(1000);
      await indexAll();
      const once = await dumpIndex(store);
      await emptyIndex(store);
      const limits = { maxBatchEvents: 30, minRetryMs: 1, maxRetryMs: 5 };
      await Promise.all([indexAll({ limits }), indexAll({ limits })]);
      expect(await dumpIndex(store)).toEqual(once);
    });

    it('when the store goes away in between', async () => {
      new Workload(journal, seed + 4).run(1200);
      await indexAll();
      const once = await dumpIndex(store);
      await emptyIndex(store);
      const states: string[] = [];
      const half = Promise.withResolvers<void>();
      const done = runIndexer(
        optionsOf({
          untilSeq: journal.nextSeq,
          limits: { maxBatchEvents: 10, minRetryMs: 10, maxRetryMs: 50 },
          onStatus: (next) => {
            if (states.at(-1) !== next.state) states.push(next.state);
            if (next.nextSeq > journal.nextSeq / 3) half.resolve();
          },
        }),
      );
      await half.promise;
      const restore = await backend.outage(store);
      await waitFor('the indexer to wait', () => states.includes('waiting'));
      await restore();
      await done;
      expect(states.at(-1)).toBe('stopped');
      expect(await dumpIndex(store)).toEqual(once);
    });
  });

  it('is the same after kill -9 in the middle of indexing, many times', async () => {
    const count = 1500;
    new Workload(journal, seed + 5).run(count);
    await indexAll();
    const once = await dumpIndex(store);
    const options = await backend.fresh();
    const random = seeded(seed + 5);
    let kills = 0;
    for (;;) {
      const batches = 6 + Math.floor(random() * 10);
      if (await indexInChild(options, seed + 5, count, batches)) break;
      kills++;
    }
    expect(kills).toBeGreaterThan(1);
    const after = await openStore(options);
    expect(await dumpIndex(after)).toEqual(once);
    await after.close();
    // Every round starts a process and opens a store, which on a busy machine takes its time.
  }, 240_000);

  describe('follows the journal', () => {
    it('and shows a statement of an idle system soon, then its end', async () => {
      const stop = new AbortController();
      const done = runIndexer(optionsOf({ signal: stop.signal }));
      const appendedUs = systemClock.monotonicUs();
      openSession(journal, 0);
      startStatement(journal, 0, 1, 'SELECT 1');
      journal.flush();
      const uid = `${sessionUid(0)}-1`;
      await waitFor(
        'the running statement',
        async () => (await getStatement(store.db, uid))?.outcome === 'running',
      );
      expect(systemClock.monotonicUs() - appendedUs).toBeLessThan(5_000_000);
      finishStatement(journal, 0, 1);
      journal.flush();
      await waitFor('its end', async () => (await getStatement(store.db, uid))?.outcome === 'completed');
      expect(await indexLag(store.db, 'node', journal.nextSeq + 5)).toMatchObject({ nextSeq: 3, events: 5 });
      stop.abort();
      await done;
      expect(status.state).toBe('stopped');
    });

    it('goes on with texts and running statements from before a restart', async () => {
      openSession(journal, 0);
      append(journal, 0, {
        case: 'textDeclared',
        value: { ref: 7, sql: Buffer.from('SELECT $1 FROM t'), parameterTypes: [23], redacted: true },
      });
      startStatement(journal, 0, 1, 'UPDATE a SET b = 1');
      journal.flush();
      await indexAll();
      append(journal, 0, {
        case: 'statementStarted',
        value: {
          ordinal: 2,
          kind: StatementKind.EXECUTE,
          textRef: 7,
          parameters: [{ value: Buffer.from('42'), bytes: 2n }],
        },
      });
      finishStatement(journal, 0, 1);
      journal.flush();
      await indexAll();
      const { items } = await listStatements(store.db, {});
      expect(
        items.map(({ ordinal, sql: text, params, redacted, user_name, outcome, tables }) => [
          ordinal,
          text,
          params,
          redacted,
          user_name,
          outcome,
          tables,
        ]),
      ).toEqual([
        [2, 'SELECT $1 FROM t', '[42]', true, 'alice', 'running', ['t']],
        [1, 'UPDATE a SET b = 1', null, false, 'alice', 'completed', ['a']],
      ]);
    });

    it('over events that nobody understands', async () => {
      openSession(journal, 0);
      journal.appendBytes(new Uint8Array([0x0a, 0xff, 0xff]));
      journal.appendBytes(new Uint8Array([]));
      startStatement(journal, 0, 1, 'SELECT 1');
      journal.flush();
      await indexAll();
      expect(status).toMatchObject({ undecodable: 2, statements: 1 });
      const { idx_events } = await dumpIndex(store);
      expect(idx_events.map((row) => [row['seq'], row['kind']])).toEqual([
        [1, 'undecodable'],
        [2, 'undecodable'],
      ]);
    });

    it('keeps statements whose session began before the journal', async () => {
      startStatement(journal, 3, 9, 'SELECT 1');
      finishStatement(journal, 3, 8);
      journal.flush();
      await indexAll();
      const row = await getStatement(store.db, `${sessionUid(3)}-9`);
      expect(row).toMatchObject({ user_name: '', sql: 'SELECT 1', outcome: 'running' });
      expect(status.orphans).toBe(1);
    });

    it('and starts anew when it is not the journal that was indexed', async () => {
      new Workload(journal, seed + 6).run(400);
      await indexAll();
      // A machine's crash takes the last blocks; the next start goes on with the same positions.
      journal.cutAt(journal.all.length - 5);
      new Workload(journal, seed + 7).run(600);
      await indexAll();
      expect(status.resets).toBe(1);
      const mended = await dumpIndex(store);
      await emptyIndex(store);
      await indexAll();
      expect(await dumpIndex(store)).toEqual(mended);
    });
  });

  describe('retention', () => {
    it('of the index drops months; a rebuild brings back what the journal has', async () => {
      new Workload(journal, seed + 8).run(1500);
      await indexAll();
      const once = await dumpIndex(store);
      const partitions = await store.transaction((client) => listPartitions(client, 'idx_statements'));
      expect(partitions.length).toBeGreaterThan(2);
      expect(partitions[0]).toBe('idx_statements_y2026m09');
      const october = Date.UTC(2026, 9, 1) * 1000;
      const dropped = await applyRetention(store, october + 5);
      expect(dropped.droppedPartitions).toEqual(['idx_statements_y2026m09', 'idx_events_y2026m09']);
      const { items } = await listStatements(store.db, { untilUs: october });
      expect(items).toEqual([]);
      const kept = await dumpIndex(store);
      expect(kept.idx_statements).toEqual(
        once.idx_statements.filter((row) => (row['started_us'] as number) >= october),
      );
      expect(kept.idx_usage).toEqual(once.idx_usage);
      // A late event of a month that was dropped makes its partition again.
      journal.append({ atUs: BigInt(START_US + 5), body: { case: 'gap', value: { detail: 'late' } } });
      journal.flush();
      await indexAll();
      await rebuildIndex(optionsOf());
      expect((await dumpIndex(store)).idx_statements).toEqual(once.idx_statements);
    });

    it('of the journal keeps in the index what cannot be made again, and counts nothing twice', async () => {
      const usage = (): Promise<unknown[]> => store.db.selectFrom('grant_usage').selectAll().execute();
      openSession(journal, 0);
      for (let ordinal = 1; ordinal <= 4; ordinal++) {
        startStatement(journal, 0, ordinal, `SELECT ${ordinal}`);
        finishStatement(journal, 0, ordinal);
        journal.flush();
      }
      openSession(journal, 1);
      startStatement(journal, 1, 1, 'SELECT 1');
      finishStatement(journal, 1, 1);
      journal.flush();
      await indexAll();
      const before = await dumpIndex(store);
      expect(await usage()).toEqual([{ grant_uid: 'grant', statements: 5, bytes: 50 }]);
      // The first two blocks go; session 0 goes on over that place.
      journal.dropBefore(2);
      const value = { firstBlock: 0n, lastBlock: 1n, firstEvent: 0n, lastEvent: 4n, policy: 'days=1' };
      journal.append({ atUs: BigInt(START_US), body: { case: 'segmentsDropped', value } });
      journal.flush();
      await indexAll();
      await rebuildIndex(optionsOf());
      const after = await dumpIndex(store);
      expect(after.idx_statements).toEqual(before.idx_statements);
      expect(after.idx_sessions).toEqual(before.idx_sessions);
      expect(await usage()).toEqual([{ grant_uid: 'grant', statements: 5, bytes: 50 }]);
    });

    it('makes partitions for any time, however wrong the clock', async () => {
      openSession(journal, 0);
      const times = [
        0,
        1,
        Date.UTC(1999, 11, 31) * 1000,
        START_US + 7,
        Date.UTC(2240, 0) * 1000,
        Number.MAX_SAFE_INTEGER,
      ];
      times.forEach((atUs, i) => startStatement(journal, 0, i + 1, 'SELECT 1', atUs));
      journal.flush();
      await indexAll();
      const { items } = await listStatements(store.db, {});
      expect(items.map((row) => row.started_us)).toEqual(times.toReversed());
    });
  });
});

async function emptyIndex(store: Store): Promise<void> {
  await sql`truncate idx_sessions, idx_texts, idx_usage, idx_statements, idx_events, idx_cursor`.execute(
    store.db,
  );
}

async function moveCursor(store: Store, journal: MemoryJournal, seq: number): Promise<void> {
  const block = journal.all.find(({ firstSeq, count }) => firstSeq + count > seq);
  await store.db
    .updateTable('idx_cursor')
    .set({ next_seq: seq, next_block: block?.index ?? 0, last_block: null, last_digest: '' })
    .execute();
}

/** Runs the child until it has written `batches` batches, then kills it. `true` when it came to the end before. */
async function indexInChild(
  options: StoreOptions,
  workloadSeed: number,
  count: number,
  batches: number,
): Promise<boolean> {
  const script = new URL('./store/index-child.ts', import.meta.url).pathname;
  const child = spawn(
    process.execPath,
    [script, JSON.stringify(options), String(workloadSeed), String(count)],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  const ended = new Promise((resolve) => child.once('exit', resolve));
  for await (const line of createInterface({ input: child.stdout })) {
    if (line === 'done') {
      await ended;
      return true;
    }
    if (Number(line) >= batches) child.kill('SIGKILL');
  }
  await ended;
  expect(child.signalCode).toBe('SIGKILL');
  return false;
}

function append(
  journal: MemoryJournal,
  n: number,
  body: NonNullable<EventInit['body']>,
  atUs = START_US,
): void {
  const at = atUs === START_US ? START_US + journal.nextSeq : atUs;
  journal.append({ atUs: BigInt(at), sessionUid: uidToBytes(sessionUid(n)), body });
}

function openSession(journal: MemoryJournal, n: number): void {
  const value = {
    userUid: 'u-1',
    userName: 'alice',
    databaseUid: 'd-1',
    databaseName: 'shop',
    grantUid: 'grant',
  };
  append(journal, n, { case: 'sessionOpened', value: { ...value, origin: { engine: Engine.POSTGRES } } });
}

function startStatement(
  journal: MemoryJournal,
  n: number,
  ordinal: number,
  text: string,
  atUs = START_US,
): void {
  const value = { ordinal, kind: StatementKind.SIMPLE, sql: Buffer.from(text) };
  append(journal, n, { case: 'statementStarted', value }, atUs);
}

function finishStatement(journal: MemoryJournal, n: number, ordinal: number): void {
  const value = { ordinal, tag: 'SELECT 1', rows: 1n, bytes: 10n, outcome: Outcome.COMPLETED };
  append(journal, n, { case: 'statementFinished', value });
}
