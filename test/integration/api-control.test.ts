/** The control plane through the API: users, databases, grants, keys, logins, as a program would use them. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Store } from '../../src/store/store.ts';
import { NOW_US, openApi, openTestStore, type Answer, type ApiBench } from './api-bench.ts';

let store: Store;
let closeStore: () => Promise<void>;
let bench: ApiBench;

beforeAll(async () => {
  ({ store, close: closeStore } = await openTestStore());
  bench = await openApi(store);
});
afterAll(async () => {
  await bench.stop();
  await closeStore();
});

const hour = 3_600_000;
const inHours = (hours: number): string => new Date(NOW_US / 1000 + hours * hour).toISOString();

const DATABASE = {
  name: 'shop',
  description: 'the web shop',
  protocol: 'postgresql',
  host: 'db.internal',
  port: 5433,
  database_name: 'shop_production',
  username: 'dbw',
  password: 'upstream-secret',
  ssl_mode: 'verify-full',
  ssl_ca: '-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----\n',
  recording: { durability: 'sync', capture_rows: 10 },
};

async function admin(method: string, path: string, body?: unknown, status = 200): Promise<Answer['json']> {
  const answer = await bench.call('admin', method, `/api/v1${path}`, body);
  expect(answer.status, answer.text).toBe(status);
  return answer.json;
}

describe('login', () => {
  test('a password becomes a token that says who one is', async () => {
    const body = { username: 'Alice', password: 'alice-password' };
    const login = await bench.with(null, 'POST', '/api/v1/auth/login', body);
    expect(login.status).toBe(200);
    expect(login.json).toMatchObject({ user: { username: 'alice', roles: ['connector'] } });
    expect(login.json['expires_at']).toBe('2023-11-15T10:13:20.000000Z');
    const bearer = `Bearer ${String(login.json['token'])}`;
    const me = await bench.with(bearer, 'GET', '/api/v1/auth/me');
    expect(me.json).toEqual({
      uid: bench.uids.connector,
      username: 'alice',
      roles: ['connector'],
      via: 'token',
      key_uid: null,
    });
    expect((await bench.with(bearer, 'POST', '/api/v1/auth/logout')).status).toBe(204);
    expect((await bench.with(bearer, 'GET', '/api/v1/auth/me')).status).toBe(401);
  });

  test.each([
    '',
    'Bearer',
    'Bearer ',
    'Basic cm9vdDpyb290',
    'Bearer x y',
    `Bearer ${'a'.repeat(500)}`,
    'Bearer dbw_x',
  ])('Authorization: %j is nobody', async (authorization) => {
    expect((await bench.with(authorization, 'GET', '/api/v1/auth/me')).status).toBe(401);
  });
});

describe('objects', () => {
  test('a user from creation to deletion', async () => {
    const user = await admin(
      'POST',
      '/users',
      {
        username: 'carol',
        password: 'carol-password',
        roles: ['viewer', 'connector'],
        email: 'c@example.com',
      },
      201,
    );
    expect(user).toMatchObject({ username: 'carol', roles: ['connector', 'viewer'], disabled: false });
    expect(JSON.stringify(user)).not.toMatch(/password|salt|hash/);
    const path = `/users/${String(user['uid'])}`;
    expect(await admin('GET', path)).toEqual(user);
    expect(await admin('PATCH', path, { disabled: true })).toMatchObject({ disabled: true });
    await admin('DELETE', path, undefined, 204);
    expect(await admin('GET', path, undefined, 404)).toMatchObject({
      type: 'urn:dbwitness:problem:access_user_unknown',
      title: 'Not found',
      detail: 'there is no such user',
    });
    expect(bench.journal.actions).toEqual(
      expect.arrayContaining(['create user carol', 'update user carol', 'delete user carol']),
    );
  });

  test('a database: everything that was set is shown, except secrets', async () => {
    const made = await admin('POST', '/databases', DATABASE, 201);
    const { password: _password, protocol: _protocol, recording: _recording, ...shown } = DATABASE;
    expect(made).toMatchObject({
      ...shown,
      protocol: 'postgres',
      has_password: true,
      has_ssl_key: false,
      recording: { durability: 'sync', capture_rows: 10, capture_bytes: 1_048_576, fail_open: false },
    });
    expect(JSON.stringify(made)).not.toContain('upstream-secret');
    const path = `/databases/${String(made['uid'])}`;
    const patched = await admin('PATCH', path, { recording: { fail_open: true }, port: 5432 });
    expect(patched).toMatchObject({ port: 5432, recording: { durability: 'sync', fail_open: true } });
    expect((await bench.call('viewer', 'GET', `/api/v1${path}`)).text).not.toContain('upstream-secret');
    await admin('DELETE', path, undefined, 204);
    await admin('GET', path, undefined, 404);
  });

  test('a grant in the words of the issue, its quotas and its end', async () => {
    const { uid } = await admin('POST', '/databases', DATABASE, 201);
    const body = {
      user_id: bench.uids.connector,
      database_id: String(uid),
      controls: ['read_only', 'block_copy'],
      starts_at: inHours(0),
      expires_at: inHours(8),
      max_query_counts: 100,
      max_bytes_transferred: 1_000_000,
    };
    const grant = await admin('POST', '/grants', body, 201);
    expect(grant).toMatchObject({
      user: 'alice',
      database: 'shop',
      controls: ['read_only', 'block_copy'],
      starts_at: '2023-11-14T22:13:20.000000Z',
      expires_at: '2023-11-15T06:13:20.000000Z',
      max_query_counts: 100,
      state: 'active',
      used_queries: 0,
      created_by: 'root',
    });
    const path = `/grants/${String(grant['uid'])}`;
    const seen = await bench.call('connector', 'GET', '/api/v1/databases');
    expect(seen.json.items).toEqual([
      expect.objectContaining({ name: 'shop', protocol: 'postgres' }) as Record<string, unknown>,
    ]);
    expect(seen.text).not.toMatch(/db\.internal|dbw|5433/);
    await admin('DELETE', `/databases/${String(uid)}`, undefined, 409);
    expect(await admin('PATCH', path, { max_query_counts: null })).toMatchObject({ max_query_counts: null });
    await admin('DELETE', path, undefined, 204);
    expect(await admin('GET', path)).toMatchObject({ state: 'revoked', revoked_by: 'root' });
    const active = await admin('GET', '/grants?active=true');
    expect(active['items']).toEqual([]);
    await admin('DELETE', `/databases/${String(uid)}`, undefined, 204);
  });

  test('microseconds and offsets of times survive', async () => {
    const { uid } = await admin('POST', '/databases', { ...DATABASE, name: 'archive' }, 201);
    const times = { starts_at: '2024-02-29T01:02:03.123456+02:00', expires_at: '2030-01-01T00:00:00Z' };
    const grant = await admin(
      'POST',
      '/grants',
      { user_id: bench.uids.connector, database_id: uid, ...times },
      201,
    );
    expect(grant).toMatchObject({ starts_at: '2024-02-28T23:02:03.123456Z', state: 'pending' });
  });

  test('an API key is shown once, works, and cannot make another; 87', async () => {
    const made = await bench.call('connector', 'POST', '/api/v1/keys', {
      name: 'ci',
      expires_at: inHours(1),
    });
    expect(made.status).toBe(201);
    const key = String(made.json['key']);
    expect(key).toMatch(/^dbw_[0-9A-Za-z]{38}$/);
    const path = `/api/v1/keys/${String(made.json['uid'])}`;
    const shown = await bench.call('connector', 'GET', path);
    expect(shown.json).toMatchObject({ name: 'ci', prefix: key.slice(0, 8), user: 'alice' });
    expect(shown.text).not.toContain(key);
    const me = await bench.with(`Bearer ${key}`, 'GET', '/api/v1/auth/me');
    expect(me.json).toMatchObject({ via: 'api_key', key_uid: made.json['uid'] });
    const another = await bench.with(`Bearer ${key}`, 'POST', '/api/v1/keys', {});
    expect(another.status).toBe(403);
    expect(another.json).toMatchObject({ code: 'ACCESS_API_KEY_LIMITED' });
    expect((await bench.with(`Bearer ${key}`, 'DELETE', path)).status).toBe(204);
    expect((await bench.with(`Bearer ${key}`, 'GET', '/api/v1/auth/me')).status).toBe(401);
  });

  test('one’s own password, with the current one', async () => {
    const path = `/api/v1/users/${bench.uids.connector}`;
    const wrong = await bench.call('connector', 'PATCH', path, {
      password: 'new-password',
      current_password: 'x',
    });
    expect(wrong.status).toBe(400);
    const right = { password: 'new-password', current_password: 'alice-password' };
    expect((await bench.call('connector', 'PATCH', path, right)).status).toBe(200);
    expect((await bench.call('connector', 'GET', path)).status).toBe(401);
  });

  test('pages of every list', async () => {
    for (let i = 0; i < 5; i++)
      await admin('POST', '/users', { username: `u${i}`, password: 'long enough' }, 201);
    const names: string[] = [];
    let cursor: string | null = null;
    do {
      const page: Answer['json'] = await admin(
        'GET',
        `/users?limit=4${cursor === null ? '' : `&cursor=${cursor}`}`,
      );
      names.push(...(page['items'] as { username: string }[]).map((user) => user.username));
      cursor = page.next_cursor;
    } while (cursor !== null);
    expect(names).toEqual(expect.arrayContaining(['alice', 'root', 'u0', 'u1', 'u2', 'u3', 'u4']));
    expect(new Set(names).size).toBe(names.length);
    await admin('GET', '/users?cursor=nonsense', undefined, 400);
    await admin('GET', '/users?limit=0', undefined, 400);
    await admin('GET', '/users?limit=501', undefined, 400);
    await admin('GET', '/users?page=2', undefined, 400);
  });

  test('when the journal cannot be written, changes are refused with 503', async () => {
    await admin('GET', '/users');
    bench.journal.failing = true;
    const refused = await admin('POST', '/users', { username: 'x', password: 'long enough' }, 503);
    expect(refused).toMatchObject({ code: 'ACCESS_JOURNAL_REFUSED' });
    bench.journal.failing = false;
    await admin('POST', '/users', { username: 'x', password: 'long enough' }, 201);
  });
});

describe('the control socket', () => {
  test('needs no login and acts as the local administrator', async () => {
    const me = await bench.call('local', 'GET', '/api/v1/auth/me');
    expect(me.json).toEqual({ uid: null, username: 'local', roles: ['admin'], via: 'local', key_uid: null });
    const made = await bench.call('local', 'POST', '/api/v1/users', {
      username: 'dave',
      password: 'dave-password',
    });
    expect(made.status).toBe(201);
    expect(bench.journal.changes.at(-1)).toMatchObject({
      actorName: 'local',
      actorUid: '',
      action: 'create',
    });
  });

  test('on TCP nobody is local', async () => {
    expect((await bench.with(null, 'GET', '/api/v1/users')).status).toBe(401);
  });
});

// Last: afterwards this address is slowed.
describe('guessing', () => {
  test('wrong logins say nothing and back off; 84', async () => {
    const attempt = (username: string): ReturnType<typeof bench.with> =>
      bench.with(null, 'POST', '/api/v1/auth/login', { username, password: 'wrong' });
    const [wrong, unknown] = [await attempt('alice'), await attempt('nobody')];
    expect(wrong.status).toBe(401);
    expect(wrong.headers.get('www-authenticate')).toContain('Bearer');
    expect({ ...wrong.json, instance: '' }).toEqual({ ...unknown.json, instance: '' });
    // As if somebody had guessed at a database's listener from here for a while.
    for (let i = 0; i < 300; i++)
      bench.access.authority.proved({ user: 'mallory', clientAddress: '127.0.0.1', credentialUid: null });
    bench.access.throttle.begin('mallory', '127.0.0.1');
    const refused = await attempt('mallory');
    expect(refused.status).toBe(429);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(refused.json).toMatchObject({ code: 'ACCESS_THROTTLED' });
  });
});
