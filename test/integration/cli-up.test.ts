/** `dbwitness up` as a process: the first start, signals, failures to start, run modes. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Statement } from '../../src/api/contract/audit.ts';
import {
  Dbwitness,
  freePort,
  LAUNCHER,
  type PostgresServer,
  processTree,
  type RunningProcess,
  startPostgres,
  startProcess,
  waitFor,
} from '../servers/index.ts';

let server: PostgresServer;
const scratch = mkdtempSync(join(tmpdir(), 'dbw-up-'));

beforeAll(async () => {
  server = await startPostgres();
});

afterAll(async () => {
  await server.stop();
  rmSync(scratch, { recursive: true, force: true, maxRetries: 3 });
});

interface UpOptions {
  readonly dataDir: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly pgPort?: number;
  readonly apiPort?: number;
}

/** `bin/dbwitness up` with nothing set but what is named. */
async function up(options: UpOptions): Promise<RunningProcess> {
  const outer = Object.entries(process.env).filter(([name]) => !name.startsWith('DBW_'));
  return startProcess(LAUNCHER, ['up'], {
    env: {
      ...Object.fromEntries(outer),
      DBW_DATA_DIR: options.dataDir,
      DBW_LISTEN_PG: `127.0.0.1:${options.pgPort ?? (await freePort())}`,
      DBW_LISTEN_MYSQL: '',
      DBW_LISTEN_API: `127.0.0.1:${options.apiPort ?? (await freePort())}`,
      DBW_LOG_LEVEL: 'warn',
      ...options.env,
    },
  });
}

async function ready(running: RunningProcess): Promise<string> {
  return waitFor(
    'dbwitness to say that it runs',
    () => {
      if (running.child.exitCode !== null) throw new Error(`it ended: ${running.output()}`);
      return /REST API +(http:\S+)\/api\/v1/.exec(running.stdout())?.[1] ?? null;
    },
    { timeoutMs: 55_000 },
  );
}

async function occupy(): Promise<{ port: number; server: Server }> {
  const port = await freePort();
  const taker = createServer();
  await new Promise<void>((done) => taker.listen(port, '127.0.0.1', done));
  return { port, server: taker };
}

async function passwordWorks(api: string, password: string): Promise<boolean> {
  const answer = await fetch(`${api}/api/v1/auth/login`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ username: 'admin', password }),
  });
  return answer.ok;
}

const PASSWORD = /log in as "admin" with the password (\S+)/;

describe('the first start', () => {
  it('prints a generated password, even if it then fails, and never again', {
    timeout: 180_000,
  }, async () => {
    const dataDir = join(scratch, 'first');
    const taken = await occupy();
    const failed = await up({ dataDir, apiPort: taken.port });
    expect(await failed.ended).toBe(1);
    expect(failed.stderr()).toContain('EADDRINUSE');
    const password = PASSWORD.exec(failed.stdout())?.[1] ?? '';
    expect(password.length).toBeGreaterThanOrEqual(16);
    taken.server.close();

    const second = await up({ dataDir });
    const api = await ready(second);
    expect(second.stdout()).not.toMatch(PASSWORD);
    expect(second.stdout()).toMatch(/PostgreSQL +127\.0\.0\.1:\d+\n/);
    expect(second.stdout()).toContain(dataDir);
    expect(await passwordWorks(api, password)).toBe(true);

    // Nobody else may have the folder meanwhile.
    const third = await up({ dataDir });
    expect(await third.ended).toBe(1);
    expect(third.stderr()).toMatch(/^dbwitness: .*(in use|writes|another process)/m);
    expect(await passwordWorks(api, password)).toBe(true);

    second.child.kill('SIGTERM');
    expect(await second.ended).toBe(0);
  });

  it('takes the password from DBW_ADMIN_PASSWORD and does not print it', async () => {
    const running = await up({
      dataDir: join(scratch, 'given'),
      env: { DBW_ADMIN_PASSWORD: 'given-by-the-test-1' },
    });
    expect(await passwordWorks(await ready(running), 'given-by-the-test-1')).toBe(true);
    expect(running.output()).not.toContain('given-by-the-test-1');
    await running.stop();
  });
});

describe('a start that cannot be', () => {
  it.each<[Record<string, string>, string]>([
    [{ DBW_LISTEN_PGG: ':1' }, 'DBW_LISTEN_PGG: there is no such setting'],
    [{ DBW_LISTEN_PG: 'nonsense' }, 'DBW_LISTEN_PG: "nonsense" is not an address'],
    [{ DBW_LISTEN_ORA: ':1522' }, 'DBW_LISTEN_ORA: this version has no such listener'],
    [{ DBW_KEY: 'short' }, 'DBW_KEY is not a key'],
    [{ DBW_DATA_DIR: join(scratch, 'x'.repeat(100)) }, 'the control socket '],
  ])('%j: exit code 1, and why', async (env, words) => {
    const running = await up({ dataDir: join(scratch, 'never'), env });
    expect(await running.ended).toBe(1);
    expect(running.stdout()).toBe('');
    expect(running.stderr()).toContain(`dbwitness: ${words}`);
  });

  it('leaves nothing running when the port of the proxy is taken', async () => {
    const taken = await occupy();
    const running = await up({ dataDir: join(scratch, 'taken'), pgPort: taken.port });
    expect(await running.ended).toBe(1);
    expect(running.stderr()).toMatch(/^dbwitness: cannot listen on 127\.0\.0\.1:\d+: EADDRINUSE/m);
    expect(processTree(running.pid)).toEqual([running.pid]);
    taken.server.close();
  });
});

describe('signals', () => {
  it('SIGTERM lets a running statement finish; a second one does not wait, and nothing is lost', {
    timeout: 180_000,
  }, async () => {
    const node = new Dbwitness(await freePort(), await freePort(), 0, {});
    await node.start();
    const access = await node.grantAccess(server);
    const connect = async (): Promise<pg.Client> => {
      const client = new pg.Client({ ...access });
      client.on('error', () => undefined);
      await client.connect();
      return client;
    };
    const started = (text: string): Promise<true> =>
      waitFor(`the server to run ${text}`, async () => {
        const found = await server.query('select 1 from pg_stat_activity where query = $1', [text]);
        return found.length > 0 ? true : null;
      });

    const patient = await connect();
    const slow = patient.query<{ done: string }>("select pg_sleep(1.5), 'finished' as done");
    await started("select pg_sleep(1.5), 'finished' as done");
    await node.halt();
    expect((await slow).rows[0]?.done).toBe('finished');

    await node.start();
    const impatient = await connect();
    const lost = impatient.query('select pg_sleep(8)').catch((error: unknown) => error);
    await started('select pg_sleep(8)');
    const tree = node.processes();
    process.kill(node.pid, 'SIGTERM');
    await waitFor('the word about the second signal', () =>
      node.output().includes('once more to stop at once'),
    );
    // Again and again: two at once count as one.
    const parent = node.pid;
    const gone = (pid: number): boolean => !existsSync(`/proc/${pid}`);
    await waitFor(
      'all of it to be gone',
      () => {
        if (!gone(parent)) process.kill(parent, 'SIGTERM');
        return tree.every(gone);
      },
      { timeoutMs: 5_000, everyMs: 100 },
    );
    expect(await lost).toBeInstanceOf(Error);

    await node.restart();
    const recorded = await waitFor('both in the record', async () => {
      const found = await node.cliJson<Statement>('statement', 'ls', '--text', 'pg_sleep');
      return found.length === 2 && found.every(({ outcome }) => outcome !== 'running') ? found : null;
    });
    expect(recorded.map(({ outcome }) => outcome)).toEqual(['unknown', 'completed']);
    expect((await node.cli('verify')).code).toBe(0);
    await node.stop();
  });
});

describe('DBW_RUN_MODE=test', () => {
  it('keeps nothing: its folder is temporary and gone at the end', async () => {
    const running = await up({
      dataDir: '',
      env: { DBW_RUN_MODE: 'test', DBW_ADMIN_PASSWORD: 'for-the-test-only-1' },
    });
    const api = await ready(running);
    const folder = /^ +Data +(\S+)$/m.exec(running.stdout())?.[1] ?? '';
    expect(folder.startsWith(tmpdir())).toBe(true);
    expect(existsSync(join(folder, 'journal'))).toBe(true);
    expect(await passwordWorks(api, 'for-the-test-only-1')).toBe(true);
    running.child.kill('SIGINT');
    expect(await running.ended).toBe(0);
    expect(existsSync(folder)).toBe(false);
  });
});
