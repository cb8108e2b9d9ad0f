/** What the API and the CLI ask of the index, on both back ends, and its way from a real journal through the thread. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import { newUid, uidToBytes } from '../../src/base/ids.ts';
import { appendEvent } from '../../src/journal/encode.ts';
import { openJournal } from '../../src/journal/journal.ts';
import { JournalReader } from '../../src/journal/reader.ts';
import { Engine, StatementKind } from '../../src/model/events.ts';
import { startIndexer } from '../../src/store/indexer-thread.ts';
import { runIndexer } from '../../src/store/indexer.ts';
import {
  getSession,
  getStatement,
  listEvents,
  listSessions,
  listStatements,
  sessionEvents,
  type StatementFilter,
  type StatementRecord,
} from '../../src/store/queries.ts';
import { rebuildIndex } from '../../src/store/rebuild.ts';
import { statementEvents } from '../../src/store/replay.ts';
import type { EmbeddedStore, Store } from '../../src/store/store.ts';
import { waitFor } from '../servers/index.ts';
import { openFresh, startPglite, startPostgres15, type TestBackend } from './store/backends.ts';
import createDecoder, { encodeBind } from './store/decoder.ts';
import { dumpIndex } from './store/dump.ts';
import { type EventInit, MemoryJournal } from './store/journal.ts';
import { sessionUid, Workload } from './store/workload.ts';

const seed = Number(process.env['DBW_TEST_SEED'] ?? 20_260_901);

describe.each([
  ['pglite', startPglite],
  ['postgres', startPostgres15],
] as const)('queries on %s', (kind, start) => {
  let backend: TestBackend;
  let store: Store;
  const journal = new MemoryJournal();
  /** Every statement, newest first, to check filters against. */
  let all: StatementRecord[];

  beforeAll(async () => {
    backend = await start();
    store = await openFresh(backend);
    new Workload(journal, seed).run(1200);
    await runIndexer({
      store,
      source: journal,
      journalName: 'node',
      decoder: createDecoder(),
      clock: systemClock,
      signal: new AbortController().signal,
      untilSeq: journal.nextSeq,
    });
    all = (await listStatements(store.db, {}, { limit: 1000 })).items;
  });
  afterAll(async () => {
    await store.close();
    await backend.stop();
  });

  const uids = (rows: readonly { uid: string }[]): string[] => rows.map((row) => row.uid);

  it('list statements newest first', () => {
    expect(all.length).toBeGreaterThan(400);
    const sorted = all.toSorted(
      (a, b) =>
        b.started_us - a.started_us ||
        (a.session_uid < b.session_uid ? 1 : a.session_uid > b.session_uid ? -1 : b.ordinal - a.ordinal),
    );
    expect(uids(all)).toEqual(uids(sorted));
  });

  const middle = (): number => all[Math.floor(all.length / 2)].started_us;
  const filters: [string, () => StatementFilter, (row: StatementRecord) => boolean][] = [
    ['user by name', () => ({ user: 'person1' }), (row) => row.user_name === 'person1'],
    ['database by name', () => ({ database: 'hr' }), (row) => row.database_name === 'hr'],
    [
      'both',
      () => ({ user: 'person2', database: 'shop' }),
      (row) => row.user_uid === 'user-2' && row.database_uid === 'db-0',
    ],
    ['session', () => ({ session: sessionUid(3) }), (row) => row.session_uid === sessionUid(3)],
    ['from', () => ({ fromUs: middle() }), (row) => row.started_us >= middle()],
    ['until', () => ({ untilUs: middle() }), (row) => row.started_us < middle()],
    [
      'text, any case',
      () => ({ text: 'insert INTO Orders' }),
      (row) => row.sql.startsWith('INSERT INTO orders'),
    ],
    ["text with LIKE's own signs", () => ({ text: '%' }), (row) => row.sql.includes('%')],
    ['text with a backslash', () => ({ text: '\\u0000' }), (row) => row.sql.includes('\\u0000')],
    ['text beyond ASCII', () => ({ text: 'żółć 😀' }), (row) => row.sql.includes('żółć 😀')],
    ['any error', () => ({ error: true }), (row) => row.error_code !== null],
    ['no error', () => ({ error: false }), (row) => row.error_code === null],
    ['an error', () => ({ error: '42P01' }), (row) => row.error_code === '42P01'],
    ['another error', () => ({ error: '42601' }), () => false],
    ['table', () => ({ table: 'accounts' }), (row) => row.tables.includes('accounts')],
    ['kind', () => ({ kind: 'execute' }), (row) => row.kind === 'execute'],
    ['verb', () => ({ verb: 'select' }), (row) => row.verb === 'select'],
    ['outcome', () => ({ outcome: 'unknown' }), (row) => row.outcome === 'unknown'],
    ['decision', () => ({ decision: 'denied' }), (row) => row.decision === 'denied'],
    [
      'duration',
      () => ({ minDurationUs: 200_000, maxDurationUs: 500_000 }),
      (row) => row.duration_us !== null && row.duration_us >= 200_000 && row.duration_us <= 500_000,
    ],
    ['user nobody has', () => ({ user: 'nobody' }), () => false],
    ['session that is no uid', () => ({ session: "' or 1=1" }), () => false],
  ];
  it.each(filters)('filter statements by %s', async (_name, filter, matches) => {
    const { items, next } = await listStatements(store.db, filter(), { limit: 1000 });
    expect(uids(items)).toEqual(uids(all.filter(matches)));
    expect(next).toBeNull();
  });

  it('page through statements without repeating or skipping, while new ones come in', async () => {
    const seen: string[] = [];
    let cursor: string | undefined;
    const newest = all[0].started_us;
    for (let pages = 0; ; pages++) {
      const { items, next } = await listStatements(store.db, { untilUs: newest + 10 }, { limit: 37, cursor });
      seen.push(...uids(items));
      if (next === null) break;
      cursor = next;
      if (pages === 2)
        await sql`insert into idx_statements select session_uid, 100000 + ordinal, ${newest + 5}::bigint, journal, user_name,
          user_uid, database_name, database_uid, kind, verb, sql, fingerprint, tables, params, tag, rows, bytes, duration_us,
          first_row_us, outcome, decision, error_code, error_message, transaction_status, xid, truncated, redacted,
          start_seq, start_block, finish_seq from idx_statements order by started_us limit 3`.execute(
          store.db,
        );
    }
    expect(seen).toEqual(uids(all));
    await sql`delete from idx_statements where ordinal > 100000`.execute(store.db);
    const bad = listStatements(store.db, {}, { cursor: 'nonsense' });
    await expect(bad).rejects.toMatchObject({ kind: 'invalid', code: 'STORE_CURSOR_INVALID' });
  });

  it('reach statements by indexes', async () => {
    await sql`set enable_seqscan = off`.execute(store.db);
    const plan = async (condition: string): Promise<string> => {
      const { rows } = await sql<
        Record<string, string>
      >`explain select * from idx_statements where ${sql.raw(condition)}
        order by started_us desc, session_uid desc, ordinal desc limit 100`.execute(store.db);
      return rows.map((row) => row['QUERY PLAN']).join('\n');
    };
    try {
      expect(await plan('true')).toMatch(/Index Scan Backward/);
      expect(await plan(`started_us <= ${middle()} and started_us >= ${middle() - 1}`)).not.toMatch(/Append/);
      expect(await plan(`tables @> array['accounts']`)).toMatch(/tables/);
      expect(await plan(`session_uid = '${sessionUid(1)}' and ordinal = 1`)).toMatch(/pkey/);
    } finally {
      await sql`reset enable_seqscan`.execute(store.db);
    }
  });

  it('give one statement by its uid', async () => {
    expect(await getStatement(store.db, all[5].uid)).toEqual(all[5]);
    for (const uid of [`${sessionUid(0)}-99999`, 'x', `${sessionUid(0)}-0`])
      expect(await getStatement(store.db, uid)).toBeNull();
  });

  it('list sessions, newest first, by user, database, grant, time and state', async () => {
    const { items } = await listSessions(store.db, {}, { limit: 1000 });
    expect(items.map((row) => row.opened_us)).toEqual(
      items.map((row) => row.opened_us).toSorted((a, b) => b - a),
    );
    const paged: string[] = [];
    for (let cursor: string | undefined; ; ) {
      const page = await listSessions(store.db, {}, { limit: 7, cursor });
      paged.push(...uids(page.items));
      if (page.next === null) break;
      cursor = page.next;
    }
    expect(paged).toEqual(uids(items));
    const by = async (
      filter: Parameters<typeof listSessions>[1],
      matches: (row: (typeof items)[0]) => boolean,
    ) =>
      expect(uids((await listSessions(store.db, filter, { limit: 1000 })).items)).toEqual(
        uids(items.filter(matches)),
      );
    await by({ user: 'person3' }, (row) => row.user_name === 'person3');
    await by(
      { database: 'shop', grant: 'grant-0' },
      (row) => row.database_name === 'shop' && row.grant_uid === 'grant-0',
    );
    await by({ open: true }, (row) => row.closed_us === null);
    await by(
      { open: false, fromUs: items[9].opened_us },
      (row) => row.closed_us !== null && row.opened_us >= items[9].opened_us,
    );
    expect(await getSession(store.db, items[2].uid)).toEqual(items[2]);
    expect(await getSession(store.db, 'x')).toBeNull();
  });

  it('give the events of a session in the order of the journal', async () => {
    const session = sessionUid(1);
    const { items } = await sessionEvents(store.db, session, { limit: 1000 });
    expect(items[0]).toMatchObject({ kind: 'session_opened', ordinal: null });
    const seqs = items.map((event) => event.seq);
    expect(seqs).toEqual(seqs.toSorted((a, b) => a - b));
    const statements = all.filter((row) => row.session_uid === session);
    const ends = statements.filter((row) => row.finish_seq !== null);
    expect(items.length).toBe(1 + statements.length + ends.length);
    const first = await sessionEvents(store.db, session, { limit: 5 });
    const second = await sessionEvents(store.db, session, { limit: 5, cursor: first.next ?? '' });
    expect([...first.items, ...second.items]).toEqual(items.slice(0, 10));
  });

  it('list other events', async () => {
    const { items } = await listEvents(store.db, {}, { limit: 1000 });
    expect(new Set(items.map((row) => row.kind))).toEqual(
      new Set(['login_failed', 'control_change', 'journal_opened']),
    );
    const logins = await listEvents(store.db, { kind: 'login_failed', actor: 'eve', text: 'FROM 10.0' });
    expect(logins.items.length).toBe(items.filter((row) => row.kind === 'login_failed').length);
    expect(logins.items[0]).toMatchObject({
      subject: 'shop',
      summary: 'login of eve to shop from 10.0.0.1 failed: wrong_secret',
    });
    const first = await listEvents(store.db, {}, { limit: 2 });
    const second = await listEvents(store.db, {}, { limit: 1000, cursor: first.next ?? '' });
    expect([...first.items, ...second.items]).toEqual(items);
  });

  it("lead to a statement's own events in the journal", async () => {
    const chunks = new Map<number, number>();
    for (const row of all) {
      const kinds: string[] = [];
      for await (const { seq, event } of statementEvents(journal, row)) {
        expect(seq >= row.start_seq && (row.finish_seq === null || seq <= row.finish_seq)).toBe(true);
        kinds.push(event.body.case ?? '');
      }
      const middles = kinds.slice(1, row.finish_seq === null ? undefined : -1);
      expect(kinds[0]).toBe('statementStarted');
      if (row.finish_seq !== null) expect(kinds.at(-1)).toBe('statementFinished');
      expect(middles.every((name) => name === 'resultChunk')).toBe(true);
      chunks.set(middles.length, (chunks.get(middles.length) ?? 0) + 1);
    }
    expect([...chunks.keys()].toSorted((a, b) => a - b)).toEqual([0, 1]);
    journal.dropBefore(1);
    const gone = statementEvents(journal, { ...all[0], start_seq: 0, start_block: 0 }).next();
    await expect(gone).rejects.toMatchObject({ kind: 'not-found', code: 'STORE_STATEMENT_DROPPED' });
  });

  describe('through the thread of the indexer', () => {
    it.each([[null], [Buffer.alloc(32, 7)]])('from a real journal, with key %s', async (key) => {
      const dir = mkdtempSync(join(tmpdir(), 'dbw-test-index-'));
      const folder = join(dir, 'journal');
      const writer = await openJournal({
        folder,
        node: 'n',
        version: '1',
        clock: systemClock,
        encryptionKey: key,
      });
      const journalName = `thread-${String(key !== null)}`;
      const indexer = startIndexer({
        module: new URL('./store/index-worker.ts', import.meta.url),
        store,
        journal: { dir: folder, key },
        maxLagMs: 0,
        journalName,
      });
      const uid = newUid(systemClock);
      const say = (body: NonNullable<EventInit['body']>): void => {
        appendEvent(writer, { atUs: BigInt(systemClock.wallUs()), sessionUid: uidToBytes(uid), body });
      };
      const opened = {
        userName: 'alice',
        userUid: 'u',
        databaseName: 'shop',
        databaseUid: 'd',
        grantUid: journalName,
      };
      say({ case: 'sessionOpened', value: { ...opened, origin: { engine: Engine.POSTGRES } } });
      say({ case: 'textDeclared', value: { ref: 1, sql: Buffer.from('SELECT $1'), parameterTypes: [23] } });
      const started = { kind: StatementKind.EXECUTE, textRef: 1, bind: encodeBind(['7']) };
      say({ case: 'statementStarted', value: { ...started, ordinal: 1 } });
      writer.flush();
      const row = await waitFor('the statement', () => getStatement(store.db, `${uid}-1`));
      expect(row).toMatchObject({
        sql: 'SELECT $1',
        params: '[7]',
        outcome: 'running',
        journal: journalName,
      });
      if (kind === 'pglite' && key === null) {
        await (store as EmbeddedStore).host.crash();
        await waitFor(
          'the indexer to notice',
          () => indexer.status.restarts > 0 || indexer.status.state === 'running',
        );
      }
      say({ case: 'resultChunk', value: { ordinal: 1, result: { rowCount: 1n } } });
      say({ case: 'statementFinished', value: { ordinal: 1, tag: 'SELECT 1', rows: 1n, bytes: 9n } });
      writer.flush();
      const done = await waitFor('its end', async () => {
        const found = await getStatement(store.db, `${uid}-1`);
        return found?.outcome === 'completed' ? found : null;
      });
      const reader = JournalReader.open(folder, { key });
      const kinds: string[] = [];
      for await (const { event } of statementEvents(reader, done)) kinds.push(event.body.case ?? '');
      expect(kinds).toEqual(['statementStarted', 'resultChunk', 'statementFinished']);
      await waitFor('the status', () => indexer.status.nextSeq === writer.nextSeq);
      await indexer.stop();
      expect(indexer.status.state).toBe('stopped');

      const before = await dumpIndex(store);
      const decoder = createDecoder();
      await rebuildIndex({ store, source: reader, journalName, decoder, clock: systemClock });
      expect(await dumpIndex(store)).toEqual(before);
      await reader.close();
      await writer.close();
      rmSync(dir, { recursive: true, force: true });
    });
  });
});
