/** The command line against a running node: the control plane, the records, the index, and hostile text on a terminal. */
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SessionEvent, Session, Statement } from '../../src/api/contract/audit.ts';
import { systemClock } from '../../src/base/clock.ts';
import type { Io } from '../../src/cli/io.ts';
import { runCli } from '../../src/cli/run.ts';
import {
  type Access,
  type ApiObject,
  type CommandResult,
  type Dbwitness,
  LAUNCHER,
  type PostgresServer,
  startDbwitness,
  startPostgres,
  startProcess,
  waitFor,
} from '../servers/index.ts';

let server: PostgresServer;
let node: Dbwitness;
let access: Access;

beforeAll(async () => {
  [server, node] = await Promise.all([startPostgres(), startDbwitness()]);
  access = await node.grantAccess(server);
});

afterAll(async () => {
  await node.stop();
  await server.stop();
});

async function connect(options: pg.ClientConfig = {}): Promise<pg.Client> {
  const { host, port, user, password, database } = access;
  const client = new pg.Client({ host, port, user, password, database, ...options });
  // A session that is killed by a test ends with an error that nobody waits for.
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

/** The record of a statement with this text, once it is indexed. */
function recorded(text: string): Promise<Statement> {
  return waitFor(`the record of ${text}`, async () => {
    const found = await cliJson<Statement>('statement', 'ls', '--text', text);
    return found.find(({ outcome }) => outcome !== 'running') ?? null;
  });
}

/** The command line in this process: what `bin/dbwitness` runs, without starting a Node for each. */
async function cli(...args: readonly string[]): Promise<CommandResult> {
  return runWith(node.env, args);
}

async function runWith(env: Io['env'], args: readonly string[]): Promise<CommandResult> {
  let stdout = '';
  let stderr = '';
  const io: Io = {
    env,
    clock: systemClock,
    width: null,
    write: (text) => {
      stdout += text;
    },
    note: (line) => {
      stderr += `${line}\n`;
    },
    readSecret: () => Promise.reject(new Error('nobody types here')),
  };
  return { code: await runCli(args, io), stdout, stderr };
}

async function cliJson<T = ApiObject>(...args: readonly string[]): Promise<T[]> {
  const { code, stdout, stderr } = await cli(...args, '--json');
  if (code !== 0) throw new Error(`dbwitness ${args.join(' ')}: exit ${code}: ${stderr}`);
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as T);
}

async function fails(code: number, words: string, ...args: string[]): Promise<void> {
  const result = await cli(...args);
  expect({ code: result.code, stdout: result.stdout }, args.join(' ')).toEqual({ code, stdout: '' });
  expect(result.stderr).toContain(words);
}

describe('people', () => {
  it('are created, shown, changed, switched off and deleted', async () => {
    const [made] = await cliJson('user', 'add', 'Carol', '--role', 'viewer', 'connector');
    expect(made).toMatchObject({ username: 'carol', roles: ['connector', 'viewer'] });
    const generated = made?.['password'] as string;
    expect(await node.login('carol', generated)).not.toBe('');
    await fails(5, 'there is already a user named carol', 'user', 'add', 'carol');

    const [changed] = await cliJson(
      'user',
      'set',
      'carol',
      '--email',
      'c@example.org',
      '--generate-password',
    );
    expect(changed).toMatchObject({ email: 'c@example.org' });
    await expect(node.login('carol', generated)).rejects.toThrow('401');
    expect(await node.login('carol', changed?.['password'] as string)).not.toBe('');

    await cliJson('user', 'set', 'carol', '--disable');
    expect((await cli('user', 'ls')).stdout).toMatch(/^carol +connector, viewer +disabled +/m);
    expect((await cliJson('user', 'set', 'carol', '--enable'))[0]).toMatchObject({ disabled: false });
    expect((await cliJson('user', 'rm', 'carol'))[0]).toMatchObject({ deleted: true });
    await fails(4, 'there is no user named carol', 'user', 'show', 'carol');
  });

  it('get a password from a file, which is not repeated', async () => {
    const file = join(node.dataDir, 'password.txt');
    writeFileSync(file, 'kept-in-a-file-1\nsecond line\n', { mode: 0o600 });
    const made = await cli('user', 'add', 'dave', '--password-file', file, '--json');
    expect(made.code).toBe(0);
    expect(made.stdout).not.toContain('password');
    expect(await node.login('dave', 'kept-in-a-file-1')).not.toBe('');
    await fails(4, 'there is no file', 'user', 'add', 'erin', '--password-file', `${file}.not`);
  });
});

describe('databases, grants and keys', () => {
  it('are managed by name, and open the door', async () => {
    const file = join(node.dataDir, 'upstream.txt');
    writeFileSync(file, `${server.password}\n`, { mode: 0o600 });
    const account = ['--username', server.user, '--password-file', file];
    const where = ['--host', server.host, '--port', String(server.port), '--dbname', 'postgres'];
    const [database] = await cliJson(
      'database',
      'add',
      'shop',
      ...where,
      ...account,
      '--ssl-mode',
      'disable',
    );
    expect(database).toMatchObject({ name: 'shop', has_password: true });
    expect(JSON.stringify(database)).not.toContain(server.password);
    const [changed] = await cliJson('database', 'set', 'shop', '--capture-rows', '2', '--durability', 'sync');
    expect(changed).toMatchObject({ recording: { capture_rows: 2, durability: 'sync' } });
    expect((await cli('database', 'show', 'shop')).stdout).toMatch(/^password +set$/m);

    await cliJson('user', 'add', 'frank');
    const [key] = await cliJson('key', 'add', '--user', 'frank', '--name', 'laptop', '--for', '1d');
    const who = ['--user', 'frank', '--database', 'shop'];
    const terms = ['--for', '8h', '--control', 'read_only', '--max-queries', '100', '--max-bytes', '10MB'];
    const [grant] = await cliJson('grant', 'add', ...who, ...terms);
    expect(grant).toMatchObject({
      user: 'frank',
      database: 'shop',
      controls: ['read_only'],
      max_query_counts: 100,
      max_bytes_transferred: 10_000_000,
      state: 'active',
    });
    const hours =
      (Date.parse(grant?.['expires_at'] as string) - Date.parse(grant?.['starts_at'] as string)) / 3_600_000;
    expect(hours).toBeCloseTo(8, 1);

    const login = { user: 'frank', password: key?.['key'] as string, database: 'shop' };
    const client = await connect(login);
    const { rows } = await client.query('select generate_series(1, 5) as n');
    expect(rows).toHaveLength(5);
    await client.end();
    const statement = await recorded('generate_series(1, 5)');
    const lines = await cliJson<{ values: unknown[]; truncated?: boolean }>(
      'statement',
      'rows',
      statement.uid,
    );
    expect(lines.map(({ values }) => values)).toEqual([[1], [2]]);
    expect(lines.at(-1)?.truncated).toBe(true);

    const [shown] = await cliJson('grant', 'ls', '--user', 'frank', '--active');
    expect(shown).toMatchObject({ uid: grant?.uid });
    expect((await cliJson('grant', 'set', grant?.uid ?? '', '--max-queries', 'none'))[0]).toMatchObject({
      max_query_counts: null,
    });
    await cliJson('grant', 'revoke', grant?.uid ?? '');
    expect(await cliJson('grant', 'ls', '--user', 'frank', '--active')).toEqual([]);
    await expect(connect(login)).rejects.toThrow();
    await cliJson('key', 'revoke', key?.uid ?? '');
    expect((await cli('key', 'ls', '--user', 'frank')).stdout).toContain('laptop');
    expect((await cliJson('database', 'rm', 'shop'))[0]).toMatchObject({ deleted: true });
  });
});

describe('records', () => {
  it('are found by every filter, newest first, with parameters, rows and outcome', async () => {
    const client = await connect({ application_name: 'the test' });
    await client.query('create table if not exists filters (id int, name text)');
    await client.query('insert into filters values ($1, $2) returning id, name as "the name"', [7, 'Ödön']);
    await expect(client.query('select 1 / 0')).rejects.toThrow('division by zero');
    await client.end();
    const failed = await recorded('select 1 / 0');
    const insert = await recorded('insert into filters');

    expect(insert).toMatchObject({
      user: access.user,
      database: access.database,
      params: ['7', 'Ödön'],
      tag: 'INSERT 0 1',
      rows: 1,
      kind: 'execute',
      verb: 'insert',
      tables: ['filters'],
      error: null,
    });
    expect(insert.bytes).toBeGreaterThan(0);
    expect(insert.duration_us).toBeGreaterThan(0);
    expect(Date.parse(insert.started_at)).not.toBeNaN();
    expect(failed).toMatchObject({
      outcome: 'failed',
      error: { code: '22012' },
      session_uid: insert.session_uid,
    });

    const uids = async (...filters: string[]): Promise<string[]> =>
      (await cliJson<Statement>('statement', 'ls', ...filters)).map(({ uid }) => uid);
    const session = ['--session', insert.session_uid];
    const all = await uids(...session);
    expect(all).toHaveLength(3);
    expect(all[0]).toBe(failed.uid);
    expect(await uids(...session, '--limit', '1')).toEqual([failed.uid]);
    expect(await uids(...session, '--errors')).toEqual([failed.uid]);
    expect(await uids(...session, '--error-code', '22012')).toEqual([failed.uid]);
    expect(await uids(...session, '--outcome', 'failed')).toEqual([failed.uid]);
    expect(await uids(...session, '--verb', 'INSERT')).toEqual([insert.uid]);
    expect(await uids(...session, '--kind', 'execute')).toEqual([insert.uid]);
    expect(await uids(...session, '--table', 'filters', '--text', 'INTO FILTERS')).toEqual([insert.uid]);
    expect(await uids(...session, '--user', access.user, '--database', access.database)).toEqual(all);
    expect(await uids(...session, '--user', 'nobody')).toEqual([]);
    expect(await uids(...session, '--from', '1h')).toEqual(all);
    expect(await uids(...session, '--until', '1h')).toEqual([]);
    expect(await uids(...session, '--slower', '1h')).toEqual([]);
    expect(await uids(...session, '--faster', '1h', '--limit', 'all')).toEqual(all);

    const rows = await cliJson('statement', 'rows', insert.uid);
    expect(rows).toEqual([{ row: 1, columns: ['id', 'the name'], values: [7, 'Ödön'] }]);
    expect((await cli('statement', 'rows', insert.uid)).stdout).toBe('id  the name\n 7  Ödön\n');
    const shown = (await cli('statement', 'show', insert.uid)).stdout;
    expect(shown).toContain('$1 = 7\n    $2 = Ödön\n');
    expect(shown).toMatch(/^outcome +completed \(INSERT 0 1\)$/m);

    const [opened] = await cliJson<Session>('session', 'show', insert.session_uid);
    expect(opened).toMatchObject({
      user: access.user,
      application_name: 'the test',
      statements: 3,
      errors: 1,
    });
    const sessions = await cliJson<Session>('session', 'ls', '--closed', '--user', access.user);
    expect(sessions.map(({ uid }) => uid)).toContain(insert.session_uid);
    const events = await cliJson<SessionEvent>('session', 'events', insert.session_uid);
    expect(events[0]?.kind).toBe('session_opened');
    expect(events.map(({ seq }) => seq)).toEqual(events.map(({ seq }) => seq).toSorted((a, b) => a - b));
    const table = (await cli('session', 'events', insert.session_uid)).stdout;
    expect(table).toContain(`${access.user} on ${access.database} from 127.0.0.1`);
    expect(table).toContain('insert into filters values ($1, $2)');
    expect(table).toContain('failed 22012 division by zero');
  });

  it('of what nobody may see do not exist, and exit codes say so', async () => {
    await fails(4, 'there is no such statement', 'statement', 'show', `${access.userUid}-1`);
    await fails(4, 'there is no such session', 'session', 'show', access.userUid);
    await fails(2, 'does not have the right form', 'statement', 'show', 'nonsense');
  });

  it('of a killed session end', async () => {
    const client = await connect();
    const {
      rows: [row],
    } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
    const session = await waitFor('the open session', async () => {
      const open = await cliJson<Session>('session', 'ls', '--open');
      return open.find(({ backend_id }) => backend_id === String(row?.pid)) ?? null;
    });
    const ended = new Promise((done) => client.once('end', done));
    expect((await cliJson('session', 'kill', session.uid))[0]).toEqual({
      uid: session.uid,
      killed: true,
    });
    await ended;
    await waitFor('its end in the record', async () => {
      const [shown] = await cliJson<Session>('session', 'show', session.uid);
      return shown?.close_reason === 'killed';
    });
    await fails(5, 'the session has ended already', 'session', 'kill', session.uid);
  });

  it('of the control plane are listed', async () => {
    const events = await waitFor('the events', async () => {
      const found = await cliJson<{ kind: string; summary: string }>(
        'event',
        'ls',
        '--kind',
        'control_change',
      );
      return found.some(({ summary }) => summary.includes(access.user)) ? found : null;
    });
    expect(events.every(({ kind }) => kind === 'control_change')).toBe(true);
    expect(await cliJson('event', 'ls', '--actor', 'nobody')).toEqual([]);
    expect((await cli('event', 'ls', '--limit', '2')).stdout.trimEnd().split('\n')).toHaveLength(3);
  });

  it('are followed as they end', async () => {
    const client = await connect();
    const tail = startProcess(
      LAUNCHER,
      ['statement', 'ls', '--follow', '--limit', '1', '--json', '--text', 'followed'],
      {
        env: node.env,
      },
    );
    try {
      await client.query("select 'followed 1'");
      await waitFor('the first', () => tail.stdout().includes('followed 1'));
      await client.query("select 'followed 2', pg_sleep(0.4)");
      await client.query("select 'followed 3'");
      await waitFor('the others', () => tail.stdout().includes('followed 3'));
      await waitFor('the slow one', () => tail.stdout().includes('followed 2'));
      const seen = tail
        .stdout()
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as Statement);
      expect(seen.map(({ sql }) => /followed \d/.exec(sql)?.[0])).toEqual([
        'followed 1',
        'followed 2',
        'followed 3',
      ]);
    } finally {
      await tail.stop();
      await client.end();
    }
  });
});

describe('HOSTILE 71: recorded text on a terminal', () => {
  const evil = 'evil \u001b[31mred\u0007 \u202edesrever\u202c \u009b2J <b>=1+1</b>';

  it('is shown, not obeyed, in SQL, parameters, rows, column names, errors and names', async () => {
    const client = await connect({ application_name: 'app\u001b[2J'.slice(0, 60) });
    await client.query(`select $1::text as "col\u001b[1m" /* ${evil} */`, [evil]);
    await expect(client.query(`select 'marker_71'::text, cast('${evil}' as int)`)).rejects.toThrow();
    await client.end();
    const first = await recorded('col');
    const second = await recorded('marker_71');
    expect(first.params).toEqual([evil]);

    const views = [
      ['statement', 'ls'],
      ['statement', 'show', first.uid],
      ['statement', 'show', second.uid],
      ['statement', 'rows', first.uid],
      ['session', 'show', first.session_uid],
      ['session', 'ls'],
      ['session', 'events', first.session_uid],
      ['event', 'ls'],
    ];
    for (const view of views)
      for (const format of [[], ['--json']]) {
        const { stdout, stderr, code } = await cli(...view, ...format);
        expect(code, view.join(' ')).toBe(0);
        expect(`${stdout}${stderr}`.replaceAll('\n', ''), view.join(' ')).not.toMatch(
          /[\p{Cc}\u202a-\u202e]/u,
        );
      }
    expect((await cli('statement', 'rows', first.uid)).stdout).toContain(
      String.raw`evil \x1b[31mred\x07 \u202edesrever\u202c \x9b2J <b>=1+1</b>`,
    );
    const [row] = await cliJson<{ values: string[] }>('statement', 'rows', first.uid);
    expect(row?.values).toEqual([evil]);
  });
});

describe('the index', () => {
  it('is made again from the journal alone, with the same content, by the running node', async () => {
    const client = await connect();
    for (let i = 0; i < 20; i++) await client.query('select $1::int', [i]);
    await client.end();
    await waitFor('all to be indexed', async () => {
      const [index] = await cliJson<{ next_seq: number; journal_seq: number }>('index', 'status');
      return index !== undefined && index.next_seq === index.journal_seq;
    });
    const before = await cliJson('statement', 'ls', '--limit', 'all');
    expect(before.length).toBeGreaterThan(20);
    const result = await cli('index', 'rebuild');
    expect(result).toMatchObject({ code: 0, stderr: '' });
    expect(result.stdout).toMatch(/^The index was made again from \d+ events of the journal\.\n$/);
    expect(await cliJson('statement', 'ls', '--limit', 'all')).toEqual(before);
    const [event] = await waitFor('the rebuild in the record', async () => {
      const events = await cliJson<{ summary: string }>('event', 'ls', '--limit', '5');
      const found = events.filter(({ summary }) => summary.includes('rebuild_index'));
      return found.length > 0 ? found : null;
    });
    expect(event?.summary).toContain('local');
  });

  it('is not for viewers to remake', async () => {
    const viewer = await node.createUser({ roles: ['viewer'] });
    const token = await node.login(viewer.username, viewer.password);
    expect((await node.call('GET', '/index', undefined, token)).status).toBe(200);
    expect((await node.call('POST', '/index/rebuild', {}, token)).status).toBe(403);
  });
});

describe('from elsewhere', () => {
  it('an API key reads what its owner reads, and gives no access', async () => {
    const viewer = await node.createUser({ roles: ['viewer'] });
    const [key] = await cliJson('key', 'add', '--user', viewer.username);
    const env = { ...node.env, DBW_URL: node.url(''), DBW_API_KEY: key?.['key'] as string };
    const remote = (...args: string[]): Promise<CommandResult> => runWith(env, args);
    expect((await remote('database', 'ls')).stdout).toContain(access.database);
    const refused = await remote('user', 'add', 'mallory');
    expect(refused.code).toBe(3);
    expect(refused.stderr).toMatch(/^dbwitness: .*role admin/);
    expect((await runWith({ ...env, DBW_API_KEY: 'dbw_wrong' }, ['user', 'ls'])).code).toBe(3);
  });
});

it('runs as bin/dbwitness, in the environment of the node', async () => {
  const [database] = await node.cliJson('database', 'show', access.database);
  expect(database).toMatchObject({ name: access.database });
  const { code, stderr } = await node.cli('database', 'show', 'nonsense');
  expect(code).toBe(4);
  expect(stderr).toContain('there is no database named nonsense');
});

it('leaves the control socket to its owner alone', () => {
  expect(statSync(join(node.dataDir, 'control.sock')).mode & 0o777).toBe(0o600);
  expect(readFileSync(join(node.dataDir, 'node.json'), 'utf8')).not.toContain('password');
});
