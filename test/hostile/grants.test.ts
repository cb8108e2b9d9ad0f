/**
 * Grants under load and over time, through the running product (HOSTILE.md 85, 86 for PostgreSQL): what was granted ends when
 * it ends, in sessions that run and in log-ins that are under way, with a clear error; quotas hold across parallel sessions.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { int32, message as m, RawClient } from '../conformance/postgres/raw-client.ts';
import {
  type Access,
  type Dbwitness,
  isMissing,
  type PostgresServer,
  processTree,
  startDbwitness,
  startPostgres,
  waitFor,
} from '../servers/index.ts';
import { AuditedClient, outcomes } from './support/audit.ts';
import { typed } from './support/bare-socket.ts';

let server: PostgresServer;
let node: Dbwitness;
const listeners: Server[] = [];

beforeAll(async () => {
  [server, node] = await Promise.all([
    startPostgres({ version: '15', initSql: 'CREATE TABLE t (a int)' }),
    startDbwitness(),
  ]);
});
afterAll(async () => {
  for (const listener of listeners) listener.close();
  await node?.stop();
  await server?.stop();
});

const soon = (ms: number): string => new Date(Date.now() + ms).toISOString();
const sleeps = async (): Promise<number> =>
  (await server.query("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND state = 'active'"))
    .length;

/** One session that sleeps and one that idles; both must end, with this message, and the sleep with them. */
async function bothEnd(access: Access, action: () => Promise<unknown>, message: RegExp): Promise<void> {
  const busy = await AuditedClient.connect(node, access);
  const idle = await AuditedClient.connect(node, access);
  busy.raw.send(m.query('SELECT pg_sleep(60)'));
  await waitFor('the sleep', async () => (await sleeps()) === 1);
  await action();
  await Promise.all([busy.raw.untilClosed(), idle.raw.untilClosed()]);
  for (const client of [busy, idle]) expect(client.lines()).toEqual([expect.stringMatching(message)]);
  await waitFor('the end of the sleep', async () => (await sleeps()) === 0);
  expect(outcomes(await busy.recorded())).toEqual(['SELECT pg_sleep(60) → unknown']);
}

const reasonOf = async (client: AuditedClient): Promise<unknown> => (await client.closed())['close_reason'];

describe.skipIf(isMissing('postgres'))('a grant', () => {
  it('that expires ends its sessions, idle and busy, soon after', async () => {
    const expiresAt = soon(5_000);
    const access = await node.grantAccess(server, { grant: { expires_at: expiresAt } });
    await bothEnd(access, async () => {}, /^E 57P01 .*grant.*expired/);
    const { items } = await node.api<{ items: { closed_at: string }[] }>(
      'GET',
      `/sessions?user=${access.userUid}`,
    );
    for (const { closed_at: closedAt } of items) {
      const lateMs = Date.parse(closedAt) - Date.parse(expiresAt);
      // 250 ms on an idle machine.
      expect(lateMs).toBeGreaterThanOrEqual(0);
      expect(lateMs).toBeLessThan(5_000);
    }
    await expect(RawClient.connect(access)).rejects.toThrow(/28000.*ended at/);
  });

  it('that is revoked leaves no connection behind, though the clients keep theirs', async () => {
    const relay = processTree(node.pid).find((pid) =>
      readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('/relay/main.'),
    );
    const descriptors = (): number => readdirSync(`/proc/${relay}/fd`).length;
    const access = await node.grantAccess(server);
    await (await RawClient.connect(access)).end();
    const before = descriptors();
    const clients = await Promise.all(Array.from({ length: 20 }, () => RawClient.connect(access)));
    expect(descriptors()).toBeGreaterThanOrEqual(before + 20);
    for (const client of clients) client.stopReading();
    await node.api('DELETE', `/grants/${access.grantUid}`);
    await waitFor('their descriptors to be closed', () => descriptors() < before + 5, { timeoutMs: 45_000 });
    for (const client of clients) client.abort();
  });

  it('that is revoked ends its sessions, idle and busy', async () => {
    const access = await node.grantAccess(server);
    await bothEnd(
      access,
      async () => node.call('DELETE', `/grants/${access.grantUid}`),
      /^E 57P01 .*revoked/,
    );
    await expect(RawClient.connect(access)).rejects.toThrow(/28000/);
  });

  it('that is not valid yet lets nobody in, and says when it will', async () => {
    const access = await node.grantAccess(server, { grant: { starts_at: soon(3_600_000) } });
    await expect(RawClient.connect(access)).rejects.toThrow(/28000.*your grant starts at/);
  });

  it('of a user who is disabled ends, and lets nobody in again', async () => {
    const access = await node.grantAccess(server);
    const disable = async (): Promise<unknown> =>
      node.api('PATCH', `/users/${access.userUid}`, { disabled: true });
    await bothEnd(access, disable, /^E 57P01 .*disabled/);
    await expect(RawClient.connect(access)).rejects.toThrow(/28P01/);
  });

  it('that is tightened ends its sessions; the next one, at once, has the new terms', async () => {
    const access = await node.grantAccess(server);
    const client = await AuditedClient.connect(node, access);
    await node.api('PATCH', `/grants/${access.grantUid}`, { controls: ['read_only'] });
    await client.raw.untilClosed();
    expect(client.lines()).toEqual([expect.stringMatching(/^E 57P01 .*tightened.*connect again/)]);
    const next = await AuditedClient.connect(node, access);
    expect((await next.exchange(m.query('INSERT INTO t VALUES (1)')))[0]).toMatch(/^E 25006/);
    // Some ticks of the registry later it is still there.
    await next.exchange(m.query('SELECT pg_sleep(1)'));
    expect(await next.exchange(m.query('SELECT 1'))).toContain('C SELECT 1');
    await next.raw.end();
  });

  it('that is revoked while a log-in waits for the database opens no session', async () => {
    const sockets: Socket[] = [];
    const slow = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.once('data', () => sockets.push(socket));
    });
    listeners.push(slow);
    await new Promise<void>((done) => {
      slow.listen(0, '127.0.0.1', () => done());
    });
    const { port } = slow.address() as { port: number };
    const access = await node.grantAccess(server, { database: { port } });
    const login = RawClient.connect(access).then(
      () => 'let in',
      (error: unknown) => String(error),
    );
    await waitFor('the log-in to reach the database', () => sockets.length === 1);
    await node.call('DELETE', `/grants/${access.grantUid}`);
    // The notice overtakes nothing: a session of the same grant would have ended by now.
    const other = await node.grantAccess(server);
    await node.call('DELETE', `/grants/${other.grantUid}`);
    await expect(RawClient.connect(other)).rejects.toThrow(/28000/);
    sockets[0].write(Buffer.concat([typed('R', int32(0)), typed('K', int32(1), int32(2)), typed('Z', 'I')]));
    expect(await login).toMatch(/28000.*revoked/);
  });
});

describe.skipIf(isMissing('postgres'))('a quota', () => {
  it('of statements holds across parallel sessions, simple and pipelined', async () => {
    const access = await node.grantAccess(server, { grant: { max_query_counts: 30 } });
    const clients = await Promise.all(
      Array.from({ length: 4 }, async () => AuditedClient.connect(node, access)),
    );
    const answers = await Promise.all(
      clients.map(async (client, i) => {
        const one =
          i % 2 === 0
            ? [m.query('SELECT 1')]
            : [m.parse('', 'SELECT 1'), m.bind('', ''), m.execute(), m.sync()];
        return client.exchange(...Array.from({ length: 20 }, () => one).flat());
      }),
    );
    const lines = answers.flat();
    expect(lines.filter((line) => line === 'C SELECT 1')).toHaveLength(30);
    expect(lines.filter((line) => line.startsWith('E 53400 your grant allows 30 statements'))).toHaveLength(
      50,
    );
    expect(lines.filter((line) => line === 'Z I')).toHaveLength(80);
    for (const client of clients) client.raw.destroy();
    const recorded = (await Promise.all(clients.map(async (client) => client.recorded()))).flat();
    expect(recorded.filter((one) => one.outcome === 'completed')).toHaveLength(30);
    expect(recorded.filter((one) => one.outcome === 'refused')).toHaveLength(50);
    await waitFor('new sessions to be refused', async () =>
      RawClient.connect(access).then(
        (client) => client.destroy(),
        (error: unknown) => /53400.*used up/.test(String(error)),
      ),
    );
  });

  it('of statements counts each statement of a Query, and runs none of one that is too many', async () => {
    const access = await node.grantAccess(server, { grant: { max_query_counts: 3 } });
    const client = await AuditedClient.connect(node, access);
    expect(await client.exchange(m.query('SELECT 1; SELECT 2'))).toContain('C SELECT 1');
    expect((await client.exchange(m.query('SELECT 3; INSERT INTO t VALUES (7)')))[0]).toMatch(/^E 53400/);
    expect(await server.query('SELECT 1 FROM t WHERE a = 7')).toEqual([]);
    expect(await client.exchange(m.query('SELECT 4'))).toContain('C SELECT 1');
    client.raw.destroy();
  });

  it('of bytes ends the session in the middle of a result', async () => {
    const access = await node.grantAccess(server, { grant: { max_bytes_transferred: 4_000_000 } });
    const [big, idle] = await Promise.all([
      AuditedClient.connect(node, access),
      AuditedClient.connect(node, access),
    ]);
    big.raw.send(m.query("SELECT repeat('x', 1000) FROM generate_series(1, 100000)"));
    await big.raw.untilClosed();
    const bytes = big.raw.received.reduce((sum, one) => sum + one.body.length, 0);
    expect(bytes).toBeGreaterThan(1_000_000);
    expect(bytes).toBeLessThan(10_000_000);
    expect(await reasonOf(big)).toBe('quota');
    // The other session of the grant has nothing left either.
    idle.raw.send(m.query('SELECT 1'));
    await idle.raw.untilClosed();
    expect(idle.lines().at(-1)).toMatch(/^E (53400|57P01) /);
  });

  it('of bytes counts what a COPY sends in', async () => {
    const access = await node.grantAccess(server, { grant: { max_bytes_transferred: 1_000_000 } });
    const client = await AuditedClient.connect(node, access);
    client.raw.send(m.query('COPY t FROM STDIN'));
    await client.raw.until('G');
    const rows = m.copyData('12345\n'.repeat(20_000));
    for (let i = 0; i < 20; i++) await client.raw.write(rows).catch(() => undefined);
    await client.raw.untilClosed();
    expect(await reasonOf(client)).toBe('quota');
    await waitFor('the COPY to be rolled back', async () => {
      const [{ n }] = await server.query<{ n: string }>(
        "SELECT count(*) AS n FROM pg_stat_activity WHERE query LIKE 'COPY t%' AND state = 'active'",
      );
      return n === '0';
    });
    expect(await server.query('SELECT 1 FROM t WHERE a = 12345 LIMIT 1')).toEqual([]);
  });
});

describe.skipIf(isMissing('postgres'))('a session', () => {
  it('is ended by an administrator, by nobody else', async () => {
    const access = await node.grantAccess(server);
    const client = await AuditedClient.connect(node, access);
    client.raw.send(m.query('SELECT pg_sleep(60)'));
    await waitFor('the sleep', async () => (await sleeps()) === 1);
    const { uid } = await client.session();
    const stranger = await node.createUser();
    const token = await node.login(stranger.username, stranger.password);
    expect(
      (await node.call('POST', `/sessions/${uid}/kill`, undefined, token)).status,
    ).toBeGreaterThanOrEqual(403);
    expect(await sleeps()).toBe(1);
    expect((await node.call('POST', `/sessions/${uid}/kill`)).status).toBe(204);
    await client.raw.untilClosed();
    expect(client.lines()).toEqual([expect.stringMatching(/^E 57P01 this session was ended by admin/)]);
    expect(await reasonOf(client)).toBe('killed');
    await waitFor('the end of the sleep', async () => (await sleeps()) === 0);
    await (await RawClient.connect(access)).end();
  });
});

describe.skipIf(isMissing('postgres'))('controls', () => {
  const outcome = async (client: AuditedClient, sql: string): Promise<string> =>
    (await client.exchange(m.query(sql))).find((line) => /^[EC] /.test(line)) ?? '';

  it('block_copy: COPY in every form, and the files of the server', async () => {
    const access = await node.grantAccess(server, { grant: { controls: ['block_copy'] } });
    const client = await AuditedClient.connect(node, access);
    for (const sql of [
      'COPY t TO STDOUT',
      'COPY (SELECT 1) TO STDOUT',
      'COPY t FROM STDIN',
      "COPY t TO '/tmp/x'",
      "COPY t FROM PROGRAM 'true'",
      "SELECT lo_export(1, '/tmp/x')",
      "SELECT pg_read_file('PG_VERSION')",
      'DO $$ BEGIN EXECUTE $x$COPY t TO STDOUT$x$; END $$',
    ])
      expect(await outcome(client, sql), sql).toMatch(/^E 42501 /);
    expect(await outcome(client, 'INSERT INTO t VALUES (2)')).toBe('C INSERT 0 1');
    expect(await outcome(client, 'CREATE TEMP TABLE u (a int)')).toBe('C CREATE TABLE');
    await client.raw.end();
  });

  it('block_ddl: definitions, roles and privileges; data may change', async () => {
    const access = await node.grantAccess(server, { grant: { controls: ['block_ddl'] } });
    const client = await AuditedClient.connect(node, access);
    for (const sql of [
      'CREATE TABLE u (a int)',
      'DROP TABLE t',
      'ALTER TABLE t ADD b int',
      'SELECT 1 INTO u',
      'CREATE ROLE x',
      'GRANT ALL ON t TO PUBLIC',
      'SELECT 1; DROP TABLE t',
      'PREPARE p AS SELECT 1; DROP TABLE t',
      'EXECUTE unknown_statement',
      'DO $$ BEGIN DROP TABLE t; END $$',
    ])
      expect(await outcome(client, sql), sql).toMatch(/^E 42501 /);
    expect(await outcome(client, 'INSERT INTO t VALUES (3)')).toBe('C INSERT 0 1');
    expect(await outcome(client, 'COPY t TO STDOUT')).toMatch(/^C COPY/);
    expect((await server.query("SELECT 1 FROM pg_class WHERE relname = 't'")).length).toBe(1);
    await client.raw.end();
  });

  it('together they add up', async () => {
    const access = await node.grantAccess(server, {
      grant: { controls: ['read_only', 'block_copy', 'block_ddl'] },
    });
    const client = await AuditedClient.connect(node, access);
    for (const sql of ['INSERT INTO t VALUES (4)', 'COPY t TO STDOUT', 'CREATE TABLE u (a int)'])
      expect(await outcome(client, sql), sql).toMatch(/^E (25006|42501) /);
    expect(await outcome(client, 'SELECT 1')).toBe('C SELECT 1');
    await client.raw.end();
  });
});
