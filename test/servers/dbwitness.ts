/**
 * A running dbwitness: `bin/dbwitness up` with a data folder of its own on free ports, its REST API as a client, and the
 * means to kill and restart it.
 */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { freePort } from '../../src/app/demo/embedded-postgres.ts';
import type { MysqlServer } from './mysql.ts';
import type { PgTarget } from './pgbench.ts';
import type { PostgresServer } from './postgres.ts';
import { isRunning, killTree, processTree, type RunningProcess, startProcess } from './processes.ts';
import { giveEmptyStore } from './store-template.ts';
import { waitFor } from './wait.ts';

const run = promisify(execFile);
const ROOT = fileURLToPath(new URL('../..', import.meta.url));
export const LAUNCHER = join(ROOT, 'bin', 'dbwitness');

export interface DbwitnessOptions {
  /** Further `DBW_*` variables, or others for the ones set by default. `undefined` removes one. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** A folder to keep; default a temporary one, removed by `stop`. */
  readonly dataDir?: string;
  /** Opens the listener for MySQL and MariaDB, at {@link Dbwitness.mysqlPort}. Default: off. */
  readonly mysql?: boolean;
  /** Default 180 s: the embedded store starts slowly on a loaded machine. */
  readonly startTimeoutMs?: number;
}

/** Any object that the API returns. */
export type ApiObject = { readonly uid: string } & Readonly<Record<string, unknown>>;

export interface ApiAnswer {
  readonly status: number;
  readonly body: unknown;
  readonly headers: Headers;
}

export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Someone who can reach a database through dbwitness. */
export interface Access extends PgTarget {
  readonly user: string;
  readonly userUid: string;
  readonly databaseUid: string;
  readonly grantUid: string;
}

const ADMIN_PASSWORD = 'admin-of-the-tests-1';

export class Dbwitness {
  readonly dataDir: string;
  readonly host = '127.0.0.1';
  readonly pgPort: number;
  readonly apiPort: number;
  /** 0: the listener is off. */
  readonly mysqlPort: number;
  readonly env: Readonly<Record<string, string>>;
  readonly #startTimeoutMs: number;
  readonly #removeData: boolean;
  #running: RunningProcess | null = null;
  #token = '';
  #names = 0;

  constructor(pgPort: number, apiPort: number, mysqlPort: number, options: DbwitnessOptions) {
    this.pgPort = pgPort;
    this.mysqlPort = mysqlPort;
    this.apiPort = apiPort;
    this.#startTimeoutMs = options.startTimeoutMs ?? 180_000;
    this.#removeData = options.dataDir === undefined;
    this.dataDir = options.dataDir ?? mkdtempSync(join(tmpdir(), 'dbw-node-'));
    const outer = Object.entries(process.env).filter(([name]) => !name.startsWith('DBW_'));
    const env: Record<string, string | undefined> = {
      ...Object.fromEntries(outer),
      DBW_DATA_DIR: this.dataDir,
      DBW_LISTEN_PG: `127.0.0.1:${pgPort}`,
      DBW_LISTEN_API: `127.0.0.1:${apiPort}`,
      DBW_LISTEN_MYSQL: mysqlPort === 0 ? '' : `127.0.0.1:${mysqlPort}`,
      DBW_LISTEN_ORA: '',
      DBW_ADMIN_PASSWORD: ADMIN_PASSWORD,
      DBW_LOG_LEVEL: 'warn',
      DBW_INDEX_LAG_SECONDS: '0', // tests use the whole machine, and look at what they did at once
      ...options.env,
    };
    this.env = Object.fromEntries(
      Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined),
    );
  }

  get pid(): number {
    if (this.#running === null) throw new Error('dbwitness is not running');
    return this.#running.pid;
  }

  /** What it wrote so far, to stdout and stderr. */
  output(): string {
    return this.#running?.output() ?? '';
  }

  /** Starts it and waits until /readyz says yes. */
  async start(): Promise<void> {
    if (this.env['DBW_DSN'] === undefined) await giveEmptyStore(this.dataDir);
    const running = startProcess(LAUNCHER, ['up'], { cwd: ROOT, env: this.env });
    this.#running = running;
    this.#token = '';
    try {
      await waitFor(
        'dbwitness to be ready',
        async () => {
          if (running.child.exitCode !== null || running.child.signalCode !== null) return 'ended';
          return (await fetch(this.url('/readyz'))).ok;
        },
        { timeoutMs: this.#startTimeoutMs },
      );
      if (running.child.exitCode !== null) throw new Error('it ended');
    } catch (error) {
      await running.stop();
      throw new Error(`dbwitness did not start: ${running.output()}`, { cause: error });
    }
  }

  /** Graceful: SIGTERM, and waits. */
  async halt(): Promise<void> {
    await this.#running?.stop();
    this.#running = null;
  }

  /** kill −9 of the whole process tree, at once; resolves when all of it is gone. */
  async kill9(): Promise<void> {
    const running = this.#running;
    if (running === null) throw new Error('dbwitness is not running');
    const tree = processTree(running.pid);
    killTree(running.pid);
    await running.ended;
    await waitFor('its processes to be gone', () => tree.every((pid) => !isRunning(pid)));
    this.#running = null;
  }

  /** Halts it (gracefully, if it still runs) and starts it again on the same data and ports. */
  async restart(): Promise<void> {
    await this.halt();
    await this.start();
  }

  /** Ends it and removes its data. */
  async stop(): Promise<void> {
    await this.halt();
    if (this.#removeData) rmSync(this.dataDir, { recursive: true, force: true, maxRetries: 3 });
  }

  url(path: string): string {
    return `http://127.0.0.1:${this.apiPort}${path}`;
  }

  processes(): number[] {
    return processTree(this.pid);
  }

  /** A raw API call below /api/v1; never throws for a status. `token` null: without a login; absent: the admin's. */
  async call(method: string, path: string, body?: unknown, token?: string | null): Promise<ApiAnswer> {
    const bearer = token === undefined ? await this.adminToken() : token;
    const response = await fetch(this.url(`/api/v1${path}`), {
      method,
      headers: {
        ...(bearer === null ? {} : { authorization: `Bearer ${bearer}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    const json = /\bjson\b/.test(response.headers.get('content-type') ?? '');
    return {
      status: response.status,
      body: json ? (JSON.parse(text) as unknown) : text,
      headers: response.headers,
    };
  }

  /** An API call that must succeed; gives the body. */
  async api<T = ApiObject>(method: string, path: string, body?: unknown, token?: string): Promise<T> {
    const answer = await this.call(method, path, body, token);
    if (answer.status >= 300)
      throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body as T;
  }

  async login(username: string, password: string): Promise<string> {
    const answer = await this.call('POST', '/auth/login', { username, password }, null);
    if (answer.status !== 200)
      throw new Error(`login as ${username}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return (answer.body as { token: string }).token;
  }

  async adminToken(): Promise<string> {
    if (this.#token === '')
      this.#token = await this.login('admin', this.env['DBW_ADMIN_PASSWORD'] ?? ADMIN_PASSWORD);
    return this.#token;
  }

  async createUser(
    fields: { username?: string; password?: string; roles?: string[] } = {},
  ): Promise<ApiObject & { readonly username: string; readonly password: string }> {
    const username = fields.username ?? `person${++this.#names}`;
    const password = fields.password ?? `password-of-${username}`;
    const user = await this.api('POST', '/users', {
      username,
      password,
      roles: fields.roles ?? ['connector'],
    });
    return { ...user, username, password };
  }

  /** A database on `server`, logged in to as its superuser over TCP unless told otherwise. */
  async createDatabase(
    server: PostgresServer | MysqlServer,
    fields: Readonly<Record<string, unknown>> = {},
  ): Promise<ApiObject & { readonly name: string }> {
    const name = typeof fields['name'] === 'string' ? fields['name'] : `target${++this.#names}`;
    const database = await this.api('POST', '/databases', {
      name,
      description: '',
      protocol: 'family' in server ? server.family : 'postgres',
      host: server.host,
      port: server.port,
      database_name: 'family' in server ? 'test' : 'postgres',
      username: server.user,
      password: server.password,
      ssl_mode: 'disable',
      ...fields,
    });
    return { ...database, name };
  }

  async createGrant(
    userUid: string,
    databaseUid: string,
    fields: Readonly<Record<string, unknown>> = {},
  ): Promise<ApiObject> {
    return this.api('POST', '/grants', {
      user_id: userUid,
      database_id: databaseUid,
      controls: [],
      starts_at: new Date(Date.now() - 60_000).toISOString(),
      expires_at: new Date(Date.now() + 24 * 3_600_000).toISOString(),
      ...fields,
    });
  }

  /** A new user with a grant on a new database on `server`, ready to connect with. */
  async grantAccess(
    server: PostgresServer | MysqlServer,
    fields: {
      readonly database?: Readonly<Record<string, unknown>>;
      readonly grant?: Readonly<Record<string, unknown>>;
    } = {},
  ): Promise<Access> {
    const user = await this.createUser();
    const database = await this.createDatabase(server, fields.database);
    const grant = await this.createGrant(user.uid, database.uid, fields.grant);
    return {
      host: this.host,
      port: 'family' in server ? this.mysqlPort : this.pgPort,
      user: user.username,
      password: user.password,
      database: database.name,
      userUid: user.uid,
      databaseUid: database.uid,
      grantUid: grant.uid,
    };
  }

  /** Runs the CLI with this node's environment. Never throws for an exit code. */
  async cli(...args: readonly string[]): Promise<CommandResult> {
    try {
      const options = { cwd: ROOT, env: { ...this.env }, maxBuffer: 1024 * 1024 * 1024 };
      const { stdout, stderr } = await run(LAUNCHER, [...args], options);
      return { code: 0, stdout, stderr };
    } catch (error) {
      const failed = error as { code?: number; stdout?: string; stderr?: string };
      if (typeof failed.code !== 'number') throw error;
      return { code: failed.code, stdout: failed.stdout ?? '', stderr: failed.stderr ?? '' };
    }
  }

  /** The objects that `--json` prints, one per line. Throws when the command fails. */
  async cliJson<T = ApiObject>(...args: readonly string[]): Promise<T[]> {
    const result = await this.cli(...args, '--json');
    if (result.code !== 0)
      throw new Error(`dbwitness ${args.join(' ')}: exit ${result.code}: ${result.stderr}`);
    return result.stdout
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as T);
  }
}

/** Starts a dbwitness and waits until it is ready. */
export async function startDbwitness(options: DbwitnessOptions = {}): Promise<Dbwitness> {
  const mysqlPort = options.mysql === true ? await freePort() : 0;
  const node = new Dbwitness(await freePort(), await freePort(), mysqlPort, options);
  await node.start();
  return node;
}
