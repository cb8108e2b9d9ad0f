/** What was recorded, through the API: sessions, statements, rows, events, proofs; who sees what; filters and pages. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Store } from '../../src/store/store.ts';
import {
  fixedUid,
  NOW_US,
  openApi,
  openTestStore,
  seedSession,
  type Answer,
  type ApiBench,
  type Caller,
} from './api-bench.ts';

let store: Store;
let closeStore: () => Promise<void>;
let bench: ApiBench;

const alices = fixedUid(1);
const bobs = fixedUid(2);
const second = 1_000_000;

beforeAll(async () => {
  ({ store, close: closeStore } = await openTestStore());
  bench = await openApi(store);
  await seedSession(store, { uid: alices, userUid: bench.uids.connector, user: 'alice', closed: true }, [
    { ordinal: 1, sql: 'select * from orders where id = $1' },
    { ordinal: 2, sql: 'update Customers set name = $1', table: 'customers', durationUs: 900_000 },
    { ordinal: 3, sql: 'select 1/0', error: '22012', kind: 'simple' },
    { ordinal: 4, sql: 'select 100%_done', startedUs: NOW_US + 60 * second },
  ]);
  await seedSession(store, { uid: bobs, userUid: bench.uids.other, user: 'bob', openedUs: NOW_US + second }, [
    { ordinal: 1, sql: 'select * from salaries', table: 'salaries' },
  ]);
  await store.transaction((client) =>
    client.query(
      `insert into idx_events (journal, seq, at_us, kind, session_uid, actor, subject, summary, body) values
       ('j', 1, $1, 'login_failed', null, 'eve', 'shop', 'wrong_secret', '{"loginFailed":{"userName":"eve"}}'),
       ('j', 2, $1 + 1, 'gap', null, '', '', 'torn tail', 'not json'),
       ('j', 4, $1 + 2, 'server_message', $2, '', '', '', '{}')`,
      [NOW_US, bobs],
    ),
  );
});
afterAll(async () => {
  await bench.stop();
  await closeStore();
});

async function get(path: string, caller: Caller = 'viewer'): ReturnType<typeof bench.call> {
  const answer = await bench.call(caller, 'GET', `/api/v1${path}`);
  expect(answer.status, answer.text).toBe(200);
  return answer;
}

async function uids(path: string, caller: Caller = 'viewer'): Promise<string[]> {
  return (await get(path, caller)).json.items.map((item) => String(item['uid']));
}

describe('statements', () => {
  test('have every field', async () => {
    const { json } = await get(`/statements/${alices}-3`);
    expect(json).toEqual({
      uid: `${alices}-3`,
      session_uid: alices,
      ordinal: 3,
      user: 'alice',
      user_uid: bench.uids.connector,
      database: 'shop',
      database_uid: fixedUid(200),
      kind: 'simple',
      verb: 'select',
      sql: 'select 1/0',
      params: ['42', null],
      tables: ['orders'],
      tag: 'SELECT 2',
      rows: 2,
      bytes: 64,
      started_at: '2023-11-14T22:13:20.000003Z',
      duration_us: 1500,
      first_row_us: 7,
      outcome: 'failed',
      decision: 'allowed',
      error: { code: '22012', message: 'it failed' },
      transaction_status: 'I',
      xid: 771,
      truncated: false,
      redacted: false,
      fingerprint: 'f00d',
    });
    expect((await get(`/statements/${alices}-1`)).json).toMatchObject({ error: null });
  });

  const [a1, a2, a3, a4, b1] = [`${alices}-1`, `${alices}-2`, `${alices}-3`, `${alices}-4`, `${bobs}-1`];
  test.each<[string, string[]]>([
    ['', [a4, b1, a3, a2, a1]],
    ['user=alice', [a4, a3, a2, a1]],
    ['user=nobody', []],
    ['database=shop&session_uid=' + bobs, [b1]],
    ['database=other', []],
    ['q=customers', [a2]],
    ['q=100%25_DONE', [a4]],
    ['q=100__done', []],
    ["q=';drop table users--", []],
    ['error=true', [a3]],
    ['error=false', [a4, b1, a2, a1]],
    ['error_code=22012', [a3]],
    ['table=salaries', [b1]],
    ['kind=simple', [a3]],
    ['verb=SELECT&outcome=failed', [a3]],
    ['min_duration_us=1501', [a2]],
    ['max_duration_us=1499', []],
    ['from=2023-11-14T22:14:00Z', [a4]],
    ['until=2023-11-14T22:13:20.000002Z', [a1]],
    ['from=2023-11-14T22:13:20.000002Z&until=2023-11-14T22:13:20.000004%2B00:00', [a3, a2]],
  ])('filter %j', async (query, expected) => {
    expect(await uids(`/statements?${query}`)).toEqual(expected);
  });

  test('pages neither repeat nor skip, also while new ones come in', async () => {
    const first = await get('/statements?limit=2');
    await seedSession(store, { uid: fixedUid(3), userUid: 'x', user: 'x', openedUs: NOW_US + 500 * second }, [
      { ordinal: 1, sql: 'select 3' },
    ]);
    const seen = first.json.items.map((item) => String(item['uid']));
    let cursor: string | null = first.json.next_cursor;
    while (cursor !== null) {
      const page: Answer = await get(`/statements?limit=2&cursor=${cursor}`);
      seen.push(...page.json.items.map((item) => String(item['uid'])));
      cursor = page.json.next_cursor;
    }
    expect(seen).toEqual([a4, b1, a3, a2, a1]);
    await store.transaction(async (client) => {
      await client.query('delete from idx_statements where session_uid = $1', [fixedUid(3)]);
      await client.query('delete from idx_sessions where uid = $1', [fixedUid(3)]);
    });
  });

  test.each([
    'cursor=nonsense',
    'cursor=W10',
    'limit=x',
    'from=yesterday',
    'min_duration_us=-1',
    'session_uid=1',
    'error=maybe',
    'order=asc',
    'user=a&user=b',
  ])('a wrong query %j is refused', async (query) => {
    const answer = await bench.call('viewer', 'GET', `/api/v1/statements?${query}`);
    expect(answer.status).toBe(400);
  });

  test('rows keep duplicate column names', async () => {
    expect((await get(`/statements/${a1}/rows`)).json).toEqual({
      columns: [
        { name: 'id', type: 'int4' },
        { name: 'id', type: 'text' },
      ],
      rows: [
        [1, 'one'],
        [2, null],
      ],
      truncated: false,
      more: [{ columns: [{ name: 'again', type: 'int' }], rows: [[3]] }],
    });
  });

  test('a proof is passed on as it is', async () => {
    expect((await get(`/statements/${a1}/proof`)).json).toEqual({
      statement: a1,
      nested: { path: ['a', 'b'] },
    });
    const missing = await bench.call('viewer', 'GET', `/api/v1/statements/${alices}-99/proof`);
    expect(missing.status).toBe(404);
  });
});

describe('sessions', () => {
  test('have every field, and their filters', async () => {
    const { json } = await get(`/sessions/${alices}`);
    expect(json).toMatchObject({
      uid: alices,
      user: 'alice',
      database: 'shop',
      controls: ['read_only'],
      backend_id: '4711',
      tls: 'TLSv1.3',
      opened_at: '2023-11-14T22:13:20.000000Z',
      closed_at: '2023-11-14T22:13:20.000009Z',
      close_reason: 'client_quit',
    });
    expect(await uids('/sessions')).toEqual([bobs, alices]);
    expect(await uids('/sessions?open=true')).toEqual([bobs]);
    expect(await uids('/sessions?open=false&user=alice&database=shop')).toEqual([alices]);
    expect(await uids('/sessions?from=2023-11-14T22:13:21Z')).toEqual([bobs]);
  });

  test('events come in the order of the journal, in pages', async () => {
    const seen: Record<string, unknown>[] = [];
    let cursor: string | null = null;
    do {
      const page: Answer = await get(
        `/sessions/${alices}/events?limit=4${cursor === null ? '' : `&cursor=${cursor}`}`,
      );
      seen.push(...page.json.items);
      cursor = page.json.next_cursor;
    } while (cursor !== null);
    expect(seen.map((event) => event['kind'])).toEqual([
      'session_opened',
      ...Array.from({ length: 4 }, () => ['statement_started', 'statement_finished']).flat(),
    ]);
    expect(seen[1]).toEqual({
      seq: 2,
      kind: 'statement_started',
      at: '2023-11-14T22:13:20.000001Z',
      body: { of: alices, seq: 2 },
    });
  });

  test('a kill is journaled and reaches the relay', async () => {
    const told: unknown[] = [];
    bench.access.authority.onNotice((notice) => told.push(notice));
    const ended = await bench.call('admin', 'POST', `/api/v1/sessions/${alices}/kill`);
    expect(ended.status).toBe(409);
    const killed = await bench.call('other', 'POST', `/api/v1/sessions/${bobs}/kill`);
    expect(killed.status).toBe(204);
    expect(told).toEqual([{ kind: 'kill_session', sessionUid: bobs, by: 'bob' }]);
    expect(bench.journal.actions).toContain('kill session bob → shop');
  });
});

describe('72: one’s own and others’', () => {
  test('a connector sees their own records only, whatever they ask for', async () => {
    expect(await uids('/sessions', 'connector')).toEqual([alices]);
    expect(await uids('/sessions?user=bob', 'connector')).toEqual([]);
    expect(await uids(`/sessions?user=${bench.uids.other}`, 'connector')).toEqual([]);
    expect(await uids('/sessions?user=ALICE', 'connector')).toEqual([alices]);
    expect(await uids('/statements', 'connector')).toHaveLength(4);
    expect(await uids('/statements?user=bob', 'connector')).toEqual([]);
    expect(await uids(`/statements?session_uid=${bobs}`, 'connector')).toEqual([]);
    expect(await uids('/statements?q=salaries', 'connector')).toEqual([]);
  });

  test('a page of others’ is no way in', async () => {
    const { json } = await get('/statements?limit=1');
    const page = await uids(`/statements?cursor=${json.next_cursor}`, 'connector');
    expect(page.every((uid) => uid.startsWith(alices))).toBe(true);
  });

  test('others’ uids answer as ones that do not exist, byte for byte', async () => {
    const nobodys = fixedUid(77);
    for (const path of ['/sessions/U', '/sessions/U/events', '/statements/U-1', '/statements/U-1/rows']) {
      const [theirs, none] = await Promise.all(
        [bobs, nobodys].map((uid) => bench.call('connector', 'GET', `/api/v1${path.replace('U', uid)}`)),
      );
      expect(theirs.status).toBe(404);
      expect({ ...theirs.json, instance: '' }).toEqual({ ...none.json, instance: '' });
    }
    const own = await bench.call('connector', 'GET', `/api/v1/statements/${alices}-1/rows`);
    expect(own.status).toBe(200);
  });
});

describe('events and the journal', () => {
  test('events, newest first, with their bodies', async () => {
    const { json } = await get('/events');
    expect(json.items.map((event) => event['kind'])).toEqual(['server_message', 'gap', 'login_failed']);
    expect(json.items[1]).toMatchObject({ body: 'not json' });
    expect(json.items[2]).toMatchObject({
      seq: 1,
      journal: 'j',
      actor: 'eve',
      session_uid: null,
      body: { loginFailed: { userName: 'eve' } },
    });
    expect((await get('/events?kind=gap')).json.items).toHaveLength(1);
    expect((await get('/events?actor=eve&until=2023-11-14T22:13:21Z')).json.items).toHaveLength(1);
  });

  test('the newest checkpoint, in parts and as the note itself', async () => {
    const { json } = await get('/journal/checkpoint');
    expect(json).toMatchObject({
      origin: 'dbw.example/test',
      size: 7,
      root_hash: Buffer.alloc(32, 5).toString('base64'),
      verifier_key: expect.stringMatching(/^dbw\.example\/test\+[0-9a-f]{8}\+/) as string,
    });
    const note = String(json['note']);
    expect(note.startsWith('dbw.example/test\n7\n')).toBe(true);
    const { secret } = await bench.access.keys.create(
      {
        uid: bench.uids.viewer,
        name: 'vera',
        roles: ['viewer'],
        via: 'token',
        credentialUid: null,
        clientAddress: '',
      },
      {},
    );
    const plain = await fetch(`${bench.base}/api/v1/journal/checkpoint`, {
      headers: { authorization: `Bearer ${secret}`, accept: 'text/plain' },
    });
    expect(plain.headers.get('content-type')).toBe('text/plain; charset=utf-8');
    expect(await plain.text()).toBe(note);
    bench.journalReads.checkpointed = false;
    expect((await bench.call('viewer', 'GET', '/api/v1/journal/checkpoint')).status).toBe(404);
    bench.journalReads.checkpointed = true;
  });
});
