/**
 * `npm run demo` as somebody tries it: the printed lines work, the statement with parameters and rows is in the record
 * soon, the journal is whole, Ctrl-C ends it, and a second start finds everything.
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Statement } from '../../src/api/contract/audit.ts';
import {
  type CommandResult,
  freePort,
  LAUNCHER,
  processTree,
  requirePath,
  type RunningProcess,
  startProcess,
  waitFor,
} from '../servers/index.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const START_TIMEOUT_MS = 110_000;

let dataDir: string;
let env: Record<string, string | undefined>;
let demo: RunningProcess;

beforeAll(async () => {
  dataDir = mkdtempSync(join(tmpdir(), 'dbw-demo-'));
  env = {
    ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('DBW_'))),
    DBW_DATA_DIR: dataDir,
    DBW_LISTEN_PG: `127.0.0.1:${await freePort()}`,
    DBW_LISTEN_API: `127.0.0.1:${await freePort()}`,
    DBW_DEMO_TARGET_PORT: String(await freePort()),
  };
  demo = await start();
});

afterAll(async () => {
  for (const pid of processTree(demo.pid)) if (existsSync(`/proc/${pid}`)) process.kill(pid, 'SIGTERM');
  await demo.ended;
  rmSync(dataDir, { recursive: true, force: true, maxRetries: 3 });
});

async function start(): Promise<RunningProcess> {
  const running = startProcess('npm', ['run', 'demo'], { cwd: ROOT, env });
  await waitFor(
    'the demo to say how to connect',
    () => {
      if (running.child.exitCode !== null) throw new Error(running.output());
      return running.stdout().includes('Ctrl-C stops it');
    },
    { timeoutMs: START_TIMEOUT_MS, everyMs: 50 },
  );
  return running;
}

/** What a terminal does: SIGINT to everything that it runs. Resolves when all of it is gone. */
async function controlC(running: RunningProcess): Promise<void> {
  const tree = processTree(running.pid);
  process.kill(-running.pid, 'SIGINT');
  await waitFor('all of the demo to be gone', () => tree.every((pid) => !existsSync(`/proc/${pid}`)), {
    timeoutMs: 40_000,
  });
}

/** A line as it is printed, pasted into a shell. */
function paste(line: string): Promise<CommandResult> {
  return new Promise((done) => {
    execFile('sh', ['-c', line], { cwd: ROOT, env }, (error, stdout, stderr) =>
      done({ code: typeof error?.code === 'number' ? error.code : error === null ? 0 : 1, stdout, stderr }),
    );
  });
}

/** The commands that are printed, each on a line of its own. */
function printed(beginning: string): string[] {
  return demo
    .stdout()
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line.startsWith(beginning));
}

function uri(line: string | undefined): string {
  return /"(postgresql:[^"]+)"/.exec(line ?? '')?.[1] ?? '';
}

async function statements(...filters: string[]): Promise<Statement[]> {
  const { stdout, code, stderr } = await paste([LAUNCHER, 'statement', 'ls', '--json', ...filters].join(' '));
  if (code !== 0) throw new Error(stderr);
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Statement);
}

interface LoggedIn {
  readonly token: string;
  readonly user: { readonly roles: string[] };
}

/** With the password that is printed. */
async function logIn(username: string): Promise<LoggedIn> {
  const password = new RegExp(`^ +${username} +(\\S+) `, 'm').exec(demo.stdout())?.[1] ?? '';
  const answer = await fetch(`${apiAddress()}/api/v1/auth/login`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ username, password }),
  });
  expect(answer.status, username).toBe(200);
  return (await answer.json()) as LoggedIn;
}

function apiAddress(): string {
  return /REST API +(http:\S+)\/api\/v1 /.exec(demo.stdout())?.[1] ?? '';
}

async function newest(token: string): Promise<Statement[]> {
  const answer = await fetch(`${apiAddress()}/api/v1/statements?limit=5`, {
    headers: { authorization: `Bearer ${token}` },
  });
  return ((await answer.json()) as { items: Statement[] }).items;
}

it('bar 1: the printed psql line works, its statement is in the record within 2 s, the journal is whole', async () => {
  requirePath('psql');
  const [line] = printed('psql ');
  expect(line).toMatch(/^psql "postgresql:\/\/developer:[^@]+@127\.0\.0\.1:\d+\/clinic"$/);
  const hello = await paste(`${line} -Atc "select name from patients where id = 1"`);
  expect(hello).toMatchObject({ code: 0, stdout: 'Vera Dubois\n' });

  const viewer = (await logIn('viewer')).token;
  const client = new pg.Client({ connectionString: uri(line) });
  await client.connect();
  // A machine that is busy with something else is no reason to fail; an index that is slow by itself fails every time.
  const delays: number[] = [];
  for (let attempt = 1; attempt <= 5 && !(Math.min(...delays) < 2_000); attempt++) {
    const { rows } = await client.query(
      `select id, name, city from patients where city = $1 and id <= $2 order by id /* try ${attempt} */`,
      ['Bern', 20],
    );
    const since = performance.now();
    const found = ({ sql, outcome }: Statement): boolean =>
      sql.includes(`try ${attempt}`) && outcome === 'completed';
    // Over the API: the start of a command line is no delay of the record.
    await waitFor('the statement in the record', async () => (await newest(viewer)).some(found));
    delays.push(performance.now() - since);
    const record = (await statements('--limit', '5')).find(found) as Statement;
    expect(record).toMatchObject({
      user: 'developer',
      database: 'clinic',
      params: ['Bern', '20'],
      rows: rows.length,
      tag: `SELECT ${rows.length}`,
      error: null,
    });
    for (const field of ['uid', 'session_uid', 'bytes', 'duration_us', 'started_at'])
      expect(record).toHaveProperty(field);
    const shown = await paste(`${LAUNCHER} statement rows ${record.uid} --json`);
    const values = shown.stdout
      .trimEnd()
      .split('\n')
      .map((each) => (JSON.parse(each) as { values: unknown[] }).values);
    expect(values).toEqual(rows.map((row: Record<string, unknown>) => [row['id'], row['name'], row['city']]));
  }
  await client.end();
  expect(Math.min(...delays)).toBeLessThan(2_000);

  const verified = await paste(`${LAUNCHER} verify`);
  expect(verified.code).toBe(0);
  expect(verified.stdout).toMatch(/^The journal is whole: /);
});

it('prints commands that work as they are', async () => {
  const commands = [
    ...printed('bin/dbwitness '),
    ...printed('dbwitness ').filter((line) => line.includes('--data-dir')),
  ];
  expect(commands).toHaveLength(4);
  // Without the environment of the demo: in the other terminal it is not set.
  for (const command of commands.filter((each) => !each.endsWith('STATEMENT')))
    expect(await paste(`unset DBW_DATA_DIR; ${command}`), command).toMatchObject({ code: 0 });
});

it('lets the analyst read only, the developer everything, several at once', async () => {
  const [developerLine, analystLine] = printed('psql ');
  const developer = new pg.Client({ connectionString: uri(developerLine) });
  const analyst = new pg.Client({ connectionString: uri(analystLine) });
  await Promise.all([developer.connect(), analyst.connect()]);
  await developer.query('begin');
  await developer.query("update patients set city = 'Basel' where id = 2");
  expect((await analyst.query('select count(*)::int as n from patients')).rows).toEqual([{ n: 1_500 }]);
  await expect(analyst.query('delete from patients')).rejects.toMatchObject({ code: '25006' });
  await developer.query('commit');
  expect((await analyst.query('select city from patients where id = 2')).rows).toEqual([{ city: 'Basel' }]);
  await Promise.all([developer.end(), analyst.end()]);
});

it('prints log-ins that work on the REST API, whose documentation is there', async () => {
  const documentation = /documentation: (http:\S+)/.exec(demo.stdout())?.[1] ?? '';
  expect((await fetch(documentation)).ok).toBe(true);
  const roles: Record<string, string[]> = {};
  for (const name of ['admin', 'developer', 'analyst', 'viewer'])
    roles[name] = (await logIn(name)).user.roles;
  expect(roles).toEqual({
    admin: ['admin'],
    developer: ['connector'],
    analyst: ['connector'],
    viewer: ['viewer'],
  });
});

it('keeps its secrets and its store to itself', () => {
  const mode = (path: string): number => statSync(join(dataDir, path)).mode & 0o077;
  for (const path of ['demo.json', 'key', 'store', 'control.sock']) expect(mode(path), path).toBe(0);
});

it('ends with Ctrl-C, and a second start finds data, log-ins and record', { timeout: 240_000 }, async () => {
  const before = demo.stdout();
  const recorded = await statements('--limit', 'all');
  await controlC(demo);
  // It was closed, not cut off: the last record is signed.
  expect(JSON.parse((await paste(`${LAUNCHER} verify --json`)).stdout)).toMatchObject({
    whole: true,
    unsignedBlocks: 0,
  });
  expect((await paste(`${LAUNCHER} statement ls`)).code).toBe(6);

  demo = await start();
  expect(demo.stdout()).toContain('the data of an earlier start');
  const parts = (text: string): string => text.slice(text.indexOf('  Connect,'));
  expect(parts(demo.stdout())).toBe(parts(before));
  const [line] = printed('psql ');
  expect(await paste(`${line} -Atc "select city from patients where id = 2"`)).toMatchObject({
    stdout: 'Basel\n',
  });
  expect((await statements('--limit', 'all')).slice(-recorded.length)).toEqual(recorded);
  expect((await paste(`${LAUNCHER} verify`)).code).toBe(0);
});

it('ends when npm is ended from outside, which tells nobody', { timeout: 60_000 }, async () => {
  const tree = processTree(demo.pid);
  process.kill(demo.pid, 'SIGTERM');
  await waitFor('all of the demo to be gone', () => tree.every((pid) => !existsSync(`/proc/${pid}`)), {
    timeoutMs: 40_000,
  });
  expect((await paste(`${LAUNCHER} verify`)).code).toBe(0);
});
