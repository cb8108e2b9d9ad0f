/**
 * HOSTILE.md 75b through the running product: whatever way a secret goes through dbwitness, it is in clear in no file of the
 * data folder (journal, index, keys), in no log at the most talkative level, in no answer of the API, and in no process's
 * arguments or environment that dbwitness made.
 */
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { message as m, RawClient } from '../conformance/postgres/raw-client.ts';
import {
  type Access,
  type ApiObject,
  type Dbwitness,
  isMissing,
  type PostgresServer,
  startDbwitness,
  startPostgres,
} from '../servers/index.ts';
import { AuditedClient, type Recorded } from './support/audit.ts';
import { allSigned } from './support/journal-folder.ts';
import { psql } from './support/psql.ts';

/** Every secret that was given away, by where. Long and random: what is found is no accident. */
const secrets = new Map<string, string>();
function secret(where: string): string {
  const text = `pw${randomBytes(12).toString('hex')}`;
  secrets.set(where, text);
  return text;
}

const CANARY = `canary${randomBytes(8).toString('hex')}`;

let server: PostgresServer;
let node: Dbwitness;
let access: Access;

beforeAll(async () => {
  const upstream = secret('the upstream account');
  [server, node] = await Promise.all([
    startPostgres({
      version: '15',
      initSql: `CREATE ROLE upstream SUPERUSER LOGIN PASSWORD '${upstream}'; CREATE ROLE target LOGIN`,
    }),
    startDbwitness({
      env: {
        DBW_LOG_LEVEL: 'trace',
        DBW_ADMIN_PASSWORD: secret('the first administrator'),
        DBW_KEY: keyOf(secret('the master key')),
      },
    }),
  ]);
  access = await node.grantAccess(server, { database: { username: 'upstream', password: upstream } });
  secrets.set('the person', access.password);
});
afterAll(async () => {
  await node?.stop();
  await server?.stop();
});

/** 32 bytes in hexadecimal, beginning with the secret's own digits. */
function keyOf(text: string): string {
  const key = text.slice(2).padEnd(64, '0');
  secrets.set('the master key', key);
  return key;
}

/** Regular files below a folder. */
function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => join(folder, name))
    .filter((path) => statSync(path).isFile());
}

/** The forms in which a text might have been kept without being hidden. */
function forms(text: string): Buffer[] {
  const bytes = Buffer.from(text);
  // Base64 of a text depends on where it starts; its inner part is the same for each of three places.
  const base64 = [0, 1, 2].map((lead) =>
    Buffer.concat([Buffer.alloc(lead), bytes])
      .toString('base64')
      .slice(4, -4),
  );
  return [
    bytes,
    Buffer.from(text, 'utf16le'),
    Buffer.from(bytes.toString('hex')),
    ...base64.map((b) => Buffer.from(b)),
  ];
}

function expectNoSecret(where: string, content: Buffer): void {
  for (const [of, text] of secrets)
    for (const form of forms(text))
      expect(content.includes(form), `the secret of ${of} is in ${where}`).toBe(false);
}

/** Statements with a password in the text; `%` is where it stands. */
const STATEMENTS: Readonly<Record<string, string>> = {
  'ALTER ROLE': "ALTER ROLE target PASSWORD '%'",
  'ALTER USER, in several lines with comments':
    "alter /* who */ user target\n with -- how\n encrypted password\n'%' valid until 'infinity'",
  'CREATE ROLE': "CREATE ROLE another LOGIN PASSWORD '%'",
  'the second of several statements': "SELECT 1; ALTER ROLE target PASSWORD '%'; SELECT 2",
  'an escape string': "ALTER ROLE target PASSWORD E'%'",
  'a Unicode string': "ALTER ROLE target PASSWORD U&'%'",
  'a dollar-quoted string': 'ALTER ROLE target PASSWORD $x$%$x$',
  'a DO block': "DO $$ BEGIN ALTER ROLE target PASSWORD '%'; END $$",
  'dynamic SQL in a DO block': "DO $$ BEGIN EXECUTE 'ALTER ROLE target PASSWORD ''%'''; END $$",
  'a syntax error': "ALTER ROLE target SOON PASSWORD '%'",
  'a string that does not end': "ALTER ROLE target PASSWORD '%",
  'a user mapping': "CREATE USER MAPPING FOR target SERVER nowhere OPTIONS (user 'a', password '%')",
  'a subscription': "CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1 password=% dbname=x' PUBLICATION p",
  'EXPLAIN of nothing': "EXPLAIN ALTER ROLE target PASSWORD '%'",
  'SQL-level PREPARE': "PREPARE p AS ALTER ROLE target PASSWORD '%'",
};

describe.skipIf(isMissing('postgres', 'psql'))('75b: secrets are never stored in clear', () => {
  it('passwords in the text of statements, in both protocols', async () => {
    const client = await AuditedClient.connect(node, access);
    for (const [what, sql] of Object.entries(STATEMENTS)) {
      await client.exchange(m.query(sql.replace('%', secret(`${what}, simple`))));
      const text = sql.replace('%', secret(`${what}, extended`));
      await client.exchange(m.parse('', text), m.bind('', ''), m.execute(), m.sync());
    }
    await client.exchange(m.query(`SELECT '${CANARY}'`));
    const records = await client.statements();
    expect(records.length).toBeGreaterThan(2 * Object.keys(STATEMENTS).length);
    // They are recorded, and it shows that something was taken out.
    const alters = records.filter(({ sql }) => sql.startsWith('ALTER ROLE target PASSWORD'));
    expect(alters.length).toBeGreaterThanOrEqual(8);
    for (const one of alters) expect((one as Recorded & { redacted: boolean }).redacted, one.sql).toBe(true);
    expectNoSecret('the records', Buffer.from(JSON.stringify(records)));
  });

  it('passwords as parameters, where a client hopes for the best', async () => {
    const client = await AuditedClient.connect(node, access);
    const bind = (where: string): Buffer => m.bind('', '', [secret(where)]);
    await client.exchange(
      m.parse('', 'ALTER ROLE target PASSWORD $1'),
      bind('a parameter of ALTER ROLE'),
      m.execute(),
      m.sync(),
    );
    await client.exchange(
      m.parse('', 'CREATE ROLE further PASSWORD $1', [25]),
      bind('a parameter of CREATE ROLE'),
      m.execute(),
      m.sync(),
    );
    // Where the statement is a usual one, everything but the secret is recorded.
    await client.exchange(m.query('CREATE TEMP TABLE account (name text, password_hash text)'));
    await client.exchange(
      m.parse('', 'UPDATE account SET password_hash = $2 WHERE name = $1'),
      m.bind('', '', ['mine', secret('a parameter of UPDATE')]),
      m.execute(),
      m.sync(),
    );
    const records = await client.statements();
    expectNoSecret('the records', Buffer.from(JSON.stringify(records)));
    expect(records.at(-1)).toMatchObject({ params: ['mine', '***'], redacted: true, outcome: 'completed' });
    const driver = new pg.Client({ ...access });
    await driver.connect();
    await expect(
      driver.query('ALTER ROLE target PASSWORD $1', [secret('a parameter of a driver')]),
    ).rejects.toThrow(/syntax error/);
    await driver.end();
  });

  it('psql \\password and passwords of log-ins, right and wrong', async () => {
    await expect(RawClient.connect({ ...access, password: secret('a wrong password') })).rejects.toThrow(
      /28P01/,
    );
    await expect(
      RawClient.connect({ ...access, user: 'nobody', password: secret('a stranger') }),
    ).rejects.toThrow(/28P01/);
    // What psql makes of \password: a verifier, with which one could guess at leisure.
    const salted = `SCRAM-SHA-256$4096:${randomBytes(16).toString('base64')}$${randomBytes(32).toString('base64')}:${randomBytes(32).toString('base64')}`;
    secrets.set('a SCRAM verifier', salted);
    expect((await psql(access, `ALTER USER target PASSWORD '${salted}'`)).code).toBe(0);
  });

  it('secrets of the control plane', async () => {
    const token = await node.login(access.user, access.password);
    secrets.set('a token', token);
    secrets.set("the administrator's token", await node.adminToken());
    const key = await node.api<{ key: string }>('POST', '/keys', { name: 'mine' }, token);
    secrets.set('an API key', key.key);
    expect((await psql({ ...access, password: key.key }, `SELECT '${CANARY}'`)).code).toBe(0);
    expect((await node.call('GET', '/auth/me', undefined, key.key)).status).toBe(200);
    const user = await node.createUser({ password: secret('a user') });
    await node.api('PATCH', `/users/${user.uid}`, { password: secret('a changed password') });
    const database = await node.createDatabase(server, { password: secret('another account') });
    await node.api('PATCH', `/databases/${database.uid}`, { password: secret('a changed account') });
    // Refused ones, whose values a validator might repeat, and one that is no JSON at all.
    const bad = { username: 'x', password: secret('a refused user'), roles: ['no such role'] };
    expect((await node.call('POST', '/users', bad)).status).toBe(400);
    const misplaced = { username: secret('a password in the wrong field'), password: 'short', roles: [] };
    expect((await node.call('POST', '/users', misplaced)).status).toBe(400);
    const login = { username: 'admin', password: secret('a failed log-in') };
    expect((await node.call('POST', '/auth/login', login, null)).status).toBe(401);
    await fetch(node.url('/api/v1/auth/login'), {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${secret('a bearer')}` },
      body: `{"username":"admin","password":"${secret('broken JSON')}`,
    });
    for (const path of ['/users', '/databases', '/keys', '/grants', '/events?limit=500', '/sessions']) {
      const page = await node.api<{ items: ApiObject[] }>('GET', path);
      expectNoSecret(path, Buffer.from(JSON.stringify(page)));
    }
  });

  it('… are in no file, log, argument list or environment', async () => {
    await allSigned(node);
    for (const pid of node.processes()) {
      expectNoSecret(`the arguments of process ${pid}`, readFileSync(`/proc/${pid}/cmdline`));
      // Its own environment is what the operator gave it; what it starts gets none of that.
      if (pid !== node.pid)
        expectNoSecret(`the environment of process ${pid}`, readFileSync(`/proc/${pid}/environ`));
    }
    expect(node.processes().length).toBeGreaterThan(1);
    const log = node.output();
    // A talkative log, in which there was something to be found.
    expect(log.length).toBeGreaterThan(200);
    await node.halt();
    const files = filesBelow(node.dataDir);
    const contents = files.map((path) => ({ path, bytes: readFileSync(path) }));
    for (const { path, bytes } of contents) expectNoSecret(path, bytes);
    expectNoSecret('the log', Buffer.from(log));
    // The search would have found them: what is no secret is there, in the journal and in the index.
    const found = contents.filter(({ bytes }) => bytes.includes(CANARY)).map(({ path }) => path);
    expect(found.some((path) => path.includes('/journal/segments/'))).toBe(true);
    expect(found.some((path) => !path.includes('/journal/'))).toBe(true);
    expect(log).not.toContain(CANARY);
  });
});
