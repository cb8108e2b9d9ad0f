/** Who may do what, for every route of the document and every kind of caller: one table, compared with the real thing. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Store } from '../../src/store/store.ts';
import {
  fixedUid,
  NOW_US,
  openApi,
  openTestStore,
  seedSession,
  type ApiBench,
  type Caller,
} from './api-bench.ts';

let store: Store;
let closeStore: () => Promise<void>;
let bench: ApiBench;

const own = fixedUid(1);
const foreign = fixedUid(2);
let database = '';
let aliceGrant = '';
let bobGrant = '';
let aliceKey = '';

beforeAll(async () => {
  ({ store, close: closeStore } = await openTestStore());
  bench = await openApi(store);
  await seedSession(store, { uid: own, userUid: bench.uids.connector, user: 'alice' }, [
    { ordinal: 1, sql: 'select 1' },
  ]);
  await seedSession(store, { uid: foreign, userUid: bench.uids.other, user: 'bob' }, [
    { ordinal: 1, sql: 'select 2' },
  ]);
  database = await created('/databases', {
    name: 'shop',
    host: 'h',
    database_name: 'd',
    username: 'u',
    password: 'p',
  });
  aliceGrant = await created('/grants', grantBody(bench.uids.connector));
  bobGrant = await created('/grants', grantBody(bench.uids.other));
  aliceKey = await created('/keys', { user_id: bench.uids.connector });
});
afterAll(async () => {
  await bench.stop();
  await closeStore();
});

async function created(path: string, body: unknown): Promise<string> {
  const answer = await bench.call('local', 'POST', `/api/v1${path}`, body);
  expect(answer.status, answer.text).toBe(201);
  return String(answer.json['uid']);
}

function grantBody(user: string): Record<string, unknown> {
  return {
    user_id: user,
    database_id: database,
    expires_at: new Date(NOW_US / 1000 + 3_600_000).toISOString(),
  };
}

const CALLERS: readonly Caller[] = ['anonymous', 'connector', 'viewer', 'admin', 'key', 'local'];
const NOBODY = fixedUid(99);

interface Row {
  /** As in the OpenAPI document. */
  readonly route: string;
  readonly path: () => string;
  readonly body?: () => unknown;
  /** Statuses in the order of CALLERS. */
  readonly statuses: readonly number[];
}

const at = (path: string) => () => `/api/v1${path}`;
let serial = 0;

// What changes something names objects that are not there where it may: 404 says that the caller was let through.
const MATRIX: readonly Row[] = [
  { route: 'GET /healthz', path: () => '/healthz', statuses: [200, 200, 200, 200, 200, 200] },
  { route: 'GET /readyz', path: () => '/readyz', statuses: [200, 200, 200, 200, 200, 200] },
  { route: 'GET /metrics', path: () => '/metrics', statuses: [200, 200, 200, 200, 200, 200] },
  {
    route: 'POST /api/v1/auth/login',
    path: at('/auth/login'),
    body: () => ({ username: 'vera', password: 'vera-password' }),
    statuses: [200, 200, 200, 200, 200, 200],
  },
  { route: 'GET /api/v1/auth/me', path: at('/auth/me'), statuses: [401, 200, 200, 200, 200, 200] },
  { route: 'GET /api/v1/users', path: at('/users'), statuses: [401, 403, 200, 200, 200, 200] },
  {
    route: 'POST /api/v1/users',
    path: at('/users'),
    body: () => ({ username: `new${serial++}`, password: 'long enough' }),
    statuses: [401, 403, 403, 201, 403, 201],
  },
  {
    route: 'GET /api/v1/users/{uid}',
    path: () => `/api/v1/users/${bench.uids.other}`,
    statuses: [401, 404, 200, 200, 200, 200],
  },
  {
    route: 'PATCH /api/v1/users/{uid}',
    path: () => `/api/v1/users/${bench.uids.other}`,
    body: () => ({ email: 'b@example.com' }),
    statuses: [401, 403, 403, 200, 403, 200],
  },
  {
    route: 'DELETE /api/v1/users/{uid}',
    path: at(`/users/${NOBODY}`),
    statuses: [401, 403, 403, 404, 403, 404],
  },
  { route: 'GET /api/v1/databases', path: at('/databases'), statuses: [401, 200, 200, 200, 200, 200] },
  {
    route: 'POST /api/v1/databases',
    path: at('/databases'),
    body: () => ({ name: `db${serial++}`, host: 'h', database_name: 'd', username: 'u' }),
    statuses: [401, 403, 403, 201, 201, 201],
  },
  {
    route: 'GET /api/v1/databases/{uid}',
    path: () => `/api/v1/databases/${database}`,
    statuses: [401, 200, 200, 200, 200, 200],
  },
  {
    route: 'PATCH /api/v1/databases/{uid}',
    path: () => `/api/v1/databases/${database}`,
    body: () => ({ description: 'the shop' }),
    statuses: [401, 403, 403, 200, 200, 200],
  },
  {
    route: 'DELETE /api/v1/databases/{uid}',
    path: at(`/databases/${NOBODY}`),
    statuses: [401, 403, 403, 404, 404, 404],
  },
  { route: 'GET /api/v1/grants', path: at('/grants'), statuses: [401, 200, 200, 200, 200, 200] },
  {
    route: 'POST /api/v1/grants',
    path: at('/grants'),
    body: () => grantBody(bench.uids.connector),
    statuses: [401, 403, 403, 201, 403, 201],
  },
  {
    route: 'GET /api/v1/grants/{uid}',
    path: () => `/api/v1/grants/${bobGrant}`,
    statuses: [401, 404, 200, 200, 200, 200],
  },
  {
    route: 'PATCH /api/v1/grants/{uid}',
    path: () => `/api/v1/grants/${aliceGrant}`,
    body: () => ({ reason: 'ticket 7' }),
    statuses: [401, 403, 403, 200, 403, 200],
  },
  {
    route: 'DELETE /api/v1/grants/{uid}',
    path: at(`/grants/${NOBODY}`),
    statuses: [401, 403, 403, 404, 404, 404],
  },
  { route: 'GET /api/v1/keys', path: at('/keys'), statuses: [401, 200, 200, 200, 200, 200] },
  {
    route: 'POST /api/v1/keys',
    path: at('/keys'),
    body: () => ({ user_id: bench.uids.other }),
    statuses: [401, 403, 403, 201, 403, 201],
  },
  {
    route: 'GET /api/v1/keys/{uid}',
    path: () => `/api/v1/keys/${aliceKey}`,
    statuses: [401, 200, 200, 200, 200, 200],
  },
  {
    route: 'DELETE /api/v1/keys/{uid}',
    path: at(`/keys/${NOBODY}`),
    statuses: [401, 404, 404, 404, 404, 404],
  },
  { route: 'GET /api/v1/sessions', path: at('/sessions'), statuses: [401, 200, 200, 200, 200, 200] },
  {
    route: 'GET /api/v1/sessions/{uid}',
    path: at(`/sessions/${foreign}`),
    statuses: [401, 404, 200, 200, 200, 200],
  },
  {
    route: 'GET /api/v1/sessions/{uid}/events',
    path: at(`/sessions/${foreign}/events`),
    statuses: [401, 404, 200, 200, 200, 200],
  },
  {
    route: 'POST /api/v1/sessions/{uid}/kill',
    path: at(`/sessions/${foreign}/kill`),
    statuses: [401, 404, 403, 204, 204, 204],
  },
  { route: 'GET /api/v1/statements', path: at('/statements'), statuses: [401, 200, 200, 200, 200, 200] },
  {
    route: 'GET /api/v1/statements/{uid}',
    path: at(`/statements/${foreign}-1`),
    statuses: [401, 404, 200, 200, 200, 200],
  },
  {
    route: 'GET /api/v1/statements/{uid}/rows',
    path: at(`/statements/${foreign}-1/rows`),
    statuses: [401, 404, 200, 200, 200, 200],
  },
  {
    route: 'GET /api/v1/statements/{uid}/proof',
    path: at(`/statements/${foreign}-1/proof`),
    statuses: [401, 403, 200, 200, 200, 200],
  },
  { route: 'GET /api/v1/events', path: at('/events'), statuses: [401, 403, 200, 200, 200, 200] },
  {
    route: 'GET /api/v1/journal/checkpoint',
    path: at('/journal/checkpoint'),
    statuses: [401, 403, 200, 200, 200, 200],
  },
  // Last: it ends the logins.
  { route: 'POST /api/v1/auth/logout', path: at('/auth/logout'), statuses: [401, 204, 204, 204, 204, 204] },
];

describe('roles', () => {
  test('the table has every route of the document, once', async () => {
    const { json } = await bench.call('anonymous', 'GET', '/api/docs/openapi.json');
    const paths = json['paths'] as Record<string, Record<string, unknown>>;
    const routes = Object.entries(paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    );
    expect(MATRIX.map((row) => row.route).sort()).toEqual(routes.sort());
  });

  test.each(MATRIX)('$route', async ({ route, path, body, statuses }) => {
    const [method] = route.split(' ');
    const seen: number[] = [];
    for (const caller of CALLERS) {
      const answer = await bench.call(caller, method, path(), body?.());
      seen.push(answer.status);
      if (answer.status >= 400) {
        expect(answer.headers.get('content-type')).toBe('application/problem+json; charset=utf-8');
        expect(answer.json).toMatchObject({ status: answer.status, code: expect.any(String) as string });
      }
    }
    expect(Object.fromEntries(CALLERS.map((caller, i) => [caller, seen[i]]))).toEqual(
      Object.fromEntries(CALLERS.map((caller, i) => [caller, statuses[i]])),
    );
  });
});
