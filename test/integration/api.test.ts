/** The API as a server: problems, limits, hostile requests, the document and its page. */
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PERMISSIONS } from '../../src/access/actor.ts';
import { statusOf, STATUS_BY_KIND } from '../../src/api/problems.ts';
import { formatTime, parseTime } from '../../src/api/times.ts';
import { AppError, ERROR_KINDS } from '../../src/base/errors.ts';
import type { Store } from '../../src/store/store.ts';
import { fixedUid, openApi, openTestStore, type ApiBench } from './api-bench.ts';

let store: Store;
let closeStore: () => Promise<void>;
let bench: ApiBench;

beforeAll(async () => {
  ({ store, close: closeStore } = await openTestStore());
  bench = await openApi(store, { requestTimeoutMs: 1_000 });
});
afterAll(async () => {
  await bench.stop();
  await closeStore();
});

/** Sends bytes as they are and gives back everything that comes until the server closes. */
function raw(bytes: string): Promise<string> {
  const { hostname, port } = new URL(bench.base);
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname, () => socket.write(bytes));
    let text = '';
    socket.on('data', (chunk) => (text += chunk.toString()));
    socket.on('close', () => resolve(text));
    socket.on('error', reject);
  });
}

describe('problems', () => {
  test('every kind of error has a status', () => {
    for (const kind of ERROR_KINDS) expect(statusOf(new AppError(kind, 'X', 'x'))).toBe(STATUS_BY_KIND[kind]);
    expect(statusOf(new AppError('denied', 'API_LOGIN_REQUIRED', 'x'))).toBe(401);
  });

  test('an unknown address and a wrong method', async () => {
    const unknown = await bench.call('admin', 'GET', '/api/v1/nothing');
    expect(unknown.status).toBe(404);
    expect(unknown.json).toMatchObject({
      code: 'API_ROUTE_UNKNOWN',
      type: 'urn:dbwitness:problem:api_route_unknown',
    });
    for (const path of ['/api/v1/users', `/api/v1/sessions/${fixedUid(1)}/kill`, '/healthz']) {
      const wrong = await bench.call('anonymous', 'PUT', path);
      expect(wrong.status).toBe(405);
      expect(wrong.headers.get('content-type')).toBe('application/problem+json; charset=utf-8');
      expect(wrong.headers.get('allow')).toMatch(/GET|POST/);
    }
    expect((await bench.call('admin', 'GET', '/api/v1/users')).status).toBe(200);
  });

  test('a request that is not valid names every wrong field, and never the value', async () => {
    const answer = await bench.call('admin', 'POST', '/api/v1/grants', {
      user_id: 'hunter2-secret-value',
      controls: ['everything'],
      expires_at: 'tomorrow',
      max_query_counts: 'many',
      extra: 1,
    });
    expect(answer.status).toBe(400);
    const fields = (answer.json['errors'] as { field: string }[]).map((error) => error.field);
    for (const field of ['user_id', 'database_id', 'controls.0', 'expires_at', 'max_query_counts', 'extra'])
      expect(fields).toContain(field);
    expect(answer.text).not.toContain('hunter2');
    expect(answer.text).not.toContain('tomorrow');
  });

  test('a failure of ours says nothing but where to look', async () => {
    bench.readiness.broken = true;
    const answer = await bench.call('anonymous', 'GET', '/readyz');
    bench.readiness.broken = false;
    expect(answer.status).toBe(500);
    expect(answer.json).toMatchObject({ code: 'API_INTERNAL', instance: expect.any(String) as string });
    expect(answer.text).not.toContain('secret of the machine');
  });
});

describe('88: hostile requests', () => {
  test.each([
    ['POST', '/api/v1/users', { username: 'eve', password: 'long enough', uid: fixedUid(9) }],
    ['POST', '/api/v1/users', { username: 'eve', password: 'long enough', is_admin: true }],
    ['POST', '/api/v1/users', { username: 'eve', password: 'long enough', scram_salt: 'x' }],
    ['POST', '/api/v1/users', { username: ['eve'], password: 'long enough' }],
    ['POST', '/api/v1/users', { username: 'eve', password: 'long enough', roles: ['root'] }],
    ['POST', '/api/v1/users', { username: 'eve', password: 'long enough', roles: 'admin' }],
    [
      'POST',
      '/api/v1/databases',
      { name: 'd', host: 'h', database_name: 'd', username: 'u', server_uid: fixedUid(1) },
    ],
    ['POST', '/api/v1/databases', { name: 'd', host: 'h', database_name: 'd', username: 'u', port: '5432' }],
    [
      'POST',
      '/api/v1/databases',
      { name: 'd', host: 'h', database_name: 'd', username: 'u', recording: { x: 1 } },
    ],
    ['POST', '/api/v1/keys', { name: 'k', key: 'dbw_chosen' }],
    ['POST', '/api/v1/auth/login', { username: 'root', password: { $ne: '' } }],
    ['POST', '/api/v1/users', [1, 2]],
    ['POST', '/api/v1/users', 'null'],
    ['POST', '/api/v1/users', '{"username":"eve","password":"long enough","__proto__":{"roles":["admin"]}}'],
    ['POST', '/api/v1/users', '{"username":"eve"'],
    ['POST', '/api/v1/users', ''],
  ])('%s %s %j is refused', async (method, path, body) => {
    const answer = await bench.call('admin', method, path, body);
    expect(answer.status, answer.text).toBe(400);
    expect(answer.headers.get('content-type')).toContain('problem+json');
    const eve = await store.db.selectFrom('users').where('username', '=', 'eve').select('uid').execute();
    expect(eve).toEqual([]);
  });

  test('mass assignment: a connector cannot make themselves more', async () => {
    const path = `/api/v1/users/${bench.uids.connector}`;
    const current = { password: 'new-password', current_password: 'alice-password' };
    for (const extra of [{ roles: ['admin'] }, { disabled: false }, { email: 'x@y' }]) {
      const answer = await bench.call('connector', 'PATCH', path, { ...current, ...extra });
      expect(answer.status).toBe(403);
    }
    const me = await bench.call('connector', 'GET', '/api/v1/auth/me');
    expect(me.json).toMatchObject({ roles: ['connector'] });
  });

  test('a body over 1 MiB is refused, whether it says so or not', async () => {
    const big = await bench.call('admin', 'POST', '/api/v1/users', { username: 'x'.repeat(1024 * 1024 + 1) });
    expect(big.status).toBe(413);
    expect(big.json).toMatchObject({ code: 'API_BODY_TOO_LARGE' });
    const head =
      'POST /api/v1/auth/login HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n';
    const declared = await raw(`${head}content-length: 99999999999\r\n\r\n{`);
    expect(declared).toMatch(/^HTTP\/1\.1 413 /);
    const chunk = `10000\r\n${'x'.repeat(0x10000)}\r\n`;
    const chunked = await raw(`${head}transfer-encoding: chunked\r\n\r\n${chunk.repeat(17)}0\r\n\r\n`).catch(
      () => 'reset',
    );
    expect(chunked).toMatch(/^HTTP\/1\.1 413 |^reset$/);
  });

  test('other kinds of bodies are refused', async () => {
    const head = 'POST /api/v1/auth/login HTTP/1.1\r\nhost: x\r\nconnection: close\r\n';
    const xml = await raw(`${head}content-type: text/xml\r\ncontent-length: 4\r\n\r\n<a/>`);
    expect(xml).toMatch(/^HTTP\/1\.1 415 /);
    expect(xml).toContain('application/problem+json');
  });

  test('slow headers and slow bodies are ended', async () => {
    const head = 'POST /api/v1/auth/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n';
    const [headers, body] = await Promise.all([
      raw(head),
      raw(`${head}content-length: 50\r\n\r\n{"username":`),
    ]);
    for (const text of [headers, body]) {
      expect(text).toMatch(/^HTTP\/1\.1 408 /);
      expect(text).toContain('application/problem+json');
    }
    expect(await raw('NONSENSE\r\n\r\n')).toMatch(/^HTTP\/1\.1 400 [^]*API_HTTP_INVALID/);
  });

  test.each([
    '/api/v1/users/..%2f..%2fetc%2fpasswd',
    '/api/v1/users/%00',
    '/api/v1/users/%ff',
    `/api/v1/users/${'a'.repeat(3000)}`,
    '/api/docs/static/..%2f..%2f..%2fpackage.json',
    '/api/docs/static/%2e%2e/%2e%2e/package.json',
    "/api/v1/sessions/' or 1=1",
    '/api/v1/statements/__proto__',
  ])('a path %j leads nowhere', async (path) => {
    const answer = await bench.call('admin', 'GET', path);
    expect([400, 403, 404, 414]).toContain(answer.status);
    expect(answer.text).not.toMatch(/root:|"dependencies"/);
  });
});

describe('health', () => {
  test('alive, ready or not, and counted', async () => {
    expect((await bench.call('anonymous', 'GET', '/healthz')).json).toEqual({
      status: 'ok',
      version: '0.0.0-test',
    });
    expect((await bench.call('anonymous', 'GET', '/readyz')).json).toEqual({
      status: 'ready',
      checks: { journal: 'open' },
    });
    bench.readiness.ready = false;
    const failing = await bench.call('anonymous', 'GET', '/readyz');
    expect(failing.status).toBe(503);
    expect(failing.json).toEqual({ status: 'not ready', checks: { journal: 'failing' } });
    bench.readiness.ready = true;
    const metrics = await bench.call('anonymous', 'GET', '/metrics');
    expect(metrics.text).toBe('dbw_sessions 1\n');
    expect(metrics.headers.get('content-type')).toContain('version=0.0.4');
  });
});

interface Operation {
  readonly summary?: string;
  readonly tags?: string[];
  readonly security?: unknown[];
  readonly requestBody?: { content: Record<string, { schema: unknown }> };
  readonly responses: Record<string, { description: string; content?: Record<string, { schema?: unknown }> }>;
  readonly parameters?: { name: string; in: string; required: boolean; schema: unknown }[];
}

describe('the document', () => {
  test('is OpenAPI 3.1, and every operation says what it takes and gives', async () => {
    const { json } = await bench.call('anonymous', 'GET', '/api/docs/openapi.json');
    expect(json['openapi']).toBe('3.1.0');
    expect(json['info']).toMatchObject({ title: 'dbwitness', version: '0.0.0-test' });
    const tags = (json['tags'] as { name: string }[]).map((tag) => tag.name);
    const paths = Object.entries(json['paths'] as Record<string, Record<string, Operation>>);
    expect(paths.length).toBeGreaterThan(20);
    for (const [path, operations] of paths)
      for (const [method, operation] of Object.entries(operations))
        checkOperation(path, method, operation, tags);
  });

  function checkOperation(path: string, method: string, operation: Operation, tags: readonly string[]): void {
    const where = `${method} ${path}`;
    expect(operation.summary, where).toBeTruthy();
    expect(tags, where).toContain(operation.tags?.[0]);
    const good = Object.entries(operation.responses).filter(([status]) => status.startsWith('2'));
    expect(good, where).toHaveLength(1);
    const [status, response] = good[0];
    expect(response.description, where).toBeTruthy();
    if (status !== '204') expect(Object.values(response.content ?? {})[0]?.schema, where).toBeTruthy();
    const inPath = Array.from(path.matchAll(/\{(\w+)\}/g), (match) => match[1]);
    const declared = (operation.parameters ?? [])
      .filter((each) => each.in === 'path')
      .map((each) => each.name);
    expect(declared, where).toEqual(inPath);
    if (method === 'patch' || (method === 'post' && !/kill|logout/.test(path)))
      expect(operation.requestBody?.content['application/json']?.schema, where).toMatchObject({
        additionalProperties: false,
      });
    if (!path.startsWith('/api/v1')) return;
    expect(operation.responses['4XX'] ?? operation.responses['4xx'], where).toBeTruthy();
    expect(operation.responses['5XX'] ?? operation.responses['5xx'], where).toBeTruthy();
  }

  test('the page renders without any other host', async () => {
    const page = await bench.call('anonymous', 'GET', '/api/docs');
    expect(page.status).toBe(200);
    expect(page.headers.get('content-security-policy')).toContain("default-src 'none'; script-src 'self'");
    expect(page.text).toContain('dbwitness API');
    const assets = Array.from(page.text.matchAll(/(?:src|href)="([^"]+)"/g), (match) => match[1]);
    expect(assets.length).toBeGreaterThan(4);
    for (const asset of assets) {
      expect(asset).toMatch(/^\.?\//);
      expect((await fetch(new URL(asset, `${bench.base}/api/docs/`))).status, asset).toBe(200);
    }
    const script = await fetch(`${bench.base}/api/docs/static/swagger-initializer.js`);
    expect(await script.text()).toContain('"validatorUrl":null');
  });
});

test('times: six digits, and back again', () => {
  for (const us of [0, 1, 999_999, 1_700_000_000_123_456]) expect(parseTime('t', formatTime(us))).toBe(us);
  expect(formatTime(1_700_000_000_000_000)).toBe('2023-11-14T22:13:20.000000Z');
  expect(parseTime('t', '2023-11-14T23:13:20.1234567+01:00')).toBe(1_700_000_000_123_456);
  expect(() => parseTime('t', '2023-02-31T99:00:00Z')).toThrow(AppError);
});

test('87: no permission that gives access can be used by an API key', () => {
  const giving = Object.entries(PERMISSIONS).filter(([name]) =>
    /^(user\.write|password\.|grant\.give|key\.create)/.test(name),
  );
  expect(giving.length).toBe(5);
  for (const [name, rule] of giving) expect(rule.byApiKey, name).toBe(false);
});
