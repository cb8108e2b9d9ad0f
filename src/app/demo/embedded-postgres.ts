/**
 * A real PostgreSQL server of one's own: initdb into a folder, start on a free port, wait until it answers, stop.
 * The demo's sample target and every test server run through here.
 *
 *   startEmbeddedPostgres ─▶ who runs it ─▶ binaries ─▶ initdb (once) ─▶ postgres ─▶ SELECT 1 ─▶ EmbeddedPostgres
 *
 * Invariants
 *  1. It never runs as root, listens on loopback only, and its Unix socket is in a folder closed to other users.
 *  2. It ends when this process ends, in whatever way.
 *  3. A data folder that exists is used as it is: a second start finds the data of the first.
 */
import { type ChildProcess, execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, chownSync, closeSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { chmod, chown, mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { AppError, messageOf } from '../../base/errors.ts';
import { fetchPostgres, type PostgresMajor } from './postgres-binaries.ts';
import { canReach, type ServerIdentity, serverIdentity, spawnServer } from './unprivileged.ts';

export interface EmbeddedPostgresOptions {
  /** Which npm-carried server; ignored when `binDir` is given. Default "18". */
  readonly major?: PostgresMajor;
  /** A folder with `initdb` and `postgres` of an installed server. */
  readonly binDir?: string;
  /** Made and initialised when it does not exist. See {@link EmbeddedPostgres.dataDir} for where it really is. */
  readonly dataDir: string;
  /** 0 or absent: a free one. */
  readonly port?: number;
  /** Of the superuser `postgres`; used at initdb only. */
  readonly superuserPassword: string;
  /** `-c name=value` for the server. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Lines of pg_hba.conf, replacing the default (trust on our own socket folder, scram-sha-256 on loopback). */
  readonly hba?: readonly string[];
  /** Passed to initdb: `['--locale=C']`. */
  readonly initdbArgs?: readonly string[];
  /** PEM; switches `ssl` on. */
  readonly tls?: { readonly cert: string; readonly key: string; readonly ca?: string };
  readonly log?: (line: string) => void;
}

export interface EmbeddedPostgres {
  readonly host: '127.0.0.1';
  readonly port: number;
  /** Folder of the Unix socket; only we and the server's user can enter it. */
  readonly socketDir: string;
  readonly superuser: 'postgres';
  /** Where the data is. Not what was asked for when the server's user could not reach that (a clone under /root). */
  readonly dataDir: string;
  /** The server's own log. */
  readonly logFile: string;
  readonly binDir: string;
  readonly identity: ServerIdentity;
  /** Of the postmaster. */
  readonly pid: number;
  /** Made by this start: there was no data before. */
  readonly fresh: boolean;
  /** Ends it (fast shutdown) and waits until it is gone. */
  stop(): Promise<void>;
}

const START_TIMEOUT_MS = 30_000;
const STOP_TIMEOUT_MS = 15_000;
const live = new Map<ChildProcess, string>();
let exitHookInstalled = false;

/** Rejects with `unavailable`, with the last lines of the server's log, when it does not come up within 30 s. */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const dataDir = reachableDataDir(resolve(options.dataDir));
  const identity = serverIdentity(dataDir);
  const binDir = options.binDir ?? (await fetchPostgres(options.major ?? '18', identity, options.log));
  const fresh = await initialise(dataDir, binDir, identity, options);
  await configure(dataDir, identity, options);
  const socketDir = mkdtempSync(join(tmpdir().length > 60 ? '/tmp' : tmpdir(), 'dbw-pg-'));
  if (identity.stepsDown) chownSync(socketDir, identity.uid, identity.gid);
  chmodSync(socketDir, 0o700);
  // Between finding a free port and binding it somebody else may take it: then once more with another.
  for (let attempt = 1; ; attempt++) {
    const port = options.port !== undefined && options.port !== 0 ? options.port : await freePort();
    const server = { dataDir, binDir, identity, socketDir, port, fresh };
    try {
      return await launch(server, options);
    } catch (error) {
      const taken = messageOf(error).includes('could not bind');
      if (!taken || port === options.port || attempt === 3) {
        rmSync(socketDir, { recursive: true, force: true });
        throw error;
      }
    }
  }
}

/** A port that nobody listens on at the moment, on loopback. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done, fail) => {
    server.once('error', fail);
    server.listen(0, '127.0.0.1', done);
  });
  const { port } = server.address() as AddressInfo;
  await new Promise<void>((done) => server.close(() => done()));
  return port;
}

/**
 * Root's own folders are closed to the user that the server runs as. Then the data goes to /var/lib/dbwitness-demo, under
 * a name derived from the asked one, so that the next start finds it again.
 */
function reachableDataDir(asked: string): string {
  const identity = serverIdentity(asked);
  if (!identity.stepsDown) return asked;
  let ancestor = dirname(asked);
  while (dirname(ancestor) !== ancestor && !existsSyncQuiet(ancestor)) ancestor = dirname(ancestor);
  if (canReach(identity, ancestor, 'enter')) return asked;
  const name = createHash('sha256').update(asked).digest('hex').slice(0, 12);
  return join('/var/lib/dbwitness-demo', `postgres-${name}`);
}

function existsSyncQuiet(path: string): boolean {
  try {
    closeSync(openSync(path, 'r'));
    return true;
  } catch {
    return false;
  }
}

async function initialise(
  dataDir: string,
  binDir: string,
  identity: ServerIdentity,
  options: EmbeddedPostgresOptions,
): Promise<boolean> {
  const present = await stat(join(dataDir, 'PG_VERSION')).then(
    () => true,
    () => false,
  );
  if (present) return false;
  const made = await mkdir(dirname(dataDir), { recursive: true });
  if (made !== undefined) await chmod(dirname(dataDir), 0o755); // whatever the umask: the server's user goes through it
  await mkdir(dataDir, { mode: 0o700, recursive: true });
  if (identity.stepsDown) await chown(dataDir, identity.uid, identity.gid);
  const secrets = mkdtempSync(join(tmpdir(), 'dbw-initdb-'));
  const passwordFile = join(secrets, 'password');
  try {
    await writeFile(passwordFile, options.superuserPassword, { mode: 0o600 });
    if (identity.stepsDown) {
      await chown(passwordFile, identity.uid, identity.gid);
      await chown(secrets, identity.uid, identity.gid);
    }
    const locale = process.platform === 'linux' ? 'C.UTF-8' : 'C';
    await runAs(identity, dataDir, join(binDir, 'initdb'), [
      `--pgdata=${dataDir}`,
      '--username=postgres',
      `--pwfile=${passwordFile}`,
      '--auth-local=trust',
      '--auth-host=scram-sha-256',
      '--encoding=UTF8',
      `--locale=${locale}`,
      '--no-sync',
      ...(options.initdbArgs ?? []),
    ]);
    return true;
  } finally {
    await rm(secrets, { recursive: true, force: true });
  }
}

async function configure(
  dataDir: string,
  identity: ServerIdentity,
  options: EmbeddedPostgresOptions,
): Promise<void> {
  const write = async (name: string, text: string): Promise<void> => {
    await writeFile(join(dataDir, name), text, { mode: 0o600 });
    if (identity.stepsDown) await chown(join(dataDir, name), identity.uid, identity.gid);
  };
  const hba = options.hba ?? [
    'local all all trust',
    'local replication all trust',
    'host all all 127.0.0.1/32 scram-sha-256',
    'host replication all 127.0.0.1/32 scram-sha-256',
  ];
  await write('pg_hba.conf', `${hba.join('\n')}\n`);
  if (options.tls !== undefined) {
    await write('server.crt', options.tls.cert);
    await write('server.key', options.tls.key);
    if (options.tls.ca !== undefined) await write('root.crt', options.tls.ca);
  }
}

async function runAs(
  identity: ServerIdentity,
  cwd: string,
  program: string,
  args: readonly string[],
): Promise<void> {
  const as = identity.stepsDown ? { uid: identity.uid, gid: identity.gid } : {};
  const env = { PATH: process.env['PATH'] ?? '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' };
  await new Promise<void>((done, fail) => {
    execFile(program, [...args], { cwd, env, ...as }, (error, _stdout, stderr) => {
      if (error === null) done();
      else
        fail(
          new AppError(
            'unavailable',
            'DEMO_INITDB',
            `${program} failed: ${stderr.trim() || messageOf(error)}`,
          ),
        );
    });
  });
}

interface Prepared {
  readonly dataDir: string;
  readonly binDir: string;
  readonly identity: ServerIdentity;
  readonly socketDir: string;
  readonly port: number;
  readonly fresh: boolean;
}

async function launch(server: Prepared, options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const { dataDir, binDir, identity, socketDir, port } = server;
  const logFile = join(dataDir, 'server.log');
  const settings: Record<string, string> = {
    listen_addresses: '127.0.0.1',
    port: String(port),
    unix_socket_directories: socketDir,
    ...(options.tls === undefined ? {} : { ssl: 'on' }),
    ...(options.tls?.ca === undefined ? {} : { ssl_ca_file: 'root.crt' }),
    ...options.settings,
  };
  const args = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const log = openSync(logFile, 'a', 0o600);
  if (identity.stepsDown) chownSync(logFile, identity.uid, identity.gid);
  const logStart = (await stat(logFile)).size;
  const child = spawnServer(join(binDir, 'postgres'), ['-D', dataDir, ...args], {
    identity,
    cwd: dataDir,
    stdio: ['ignore', log, log],
  });
  closeSync(log);
  track(child, socketDir);
  await ready(child, socketDir, port).catch(async (error: unknown) => {
    await stopChild(child);
    const said = (await readFile(logFile, 'utf8')).slice(logStart).trim().split('\n').slice(-5).join('; ');
    throw new AppError(
      'unavailable',
      'DEMO_POSTGRES_START',
      `PostgreSQL did not start in ${dataDir}: ${said || messageOf(error)}`,
      { cause: error },
    );
  });
  return {
    host: '127.0.0.1',
    port,
    socketDir,
    superuser: 'postgres',
    dataDir,
    logFile,
    binDir,
    identity,
    pid: child.pid ?? 0,
    fresh: server.fresh,
    stop: async () => {
      await stopChild(child);
      rmSync(socketDir, { recursive: true, force: true });
    },
  };
}

/** Asks on the server's own socket until it answers. */
async function ready(child: ChildProcess, socketDir: string, port: number): Promise<void> {
  let failure: Error | null = null;
  child.once('error', (error) => {
    failure = error;
  });
  const deadline = performance.now() + START_TIMEOUT_MS;
  for (;;) {
    if (failure !== null) throw failure as Error;
    if (child.exitCode !== null || child.signalCode !== null) throw new Error('it ended at once');
    const client = new pg.Client({ host: socketDir, port, user: 'postgres', database: 'postgres' });
    client.on('error', () => {}); // the connection's end is seen by the query below
    try {
      await client.connect();
      await client.query('SELECT 1');
      return;
    } catch (error) {
      // Any answer in its own protocol but "starting up" means that it is up (a pg_hba.conf without local lines).
      const code = error instanceof pg.DatabaseError ? error.code : undefined;
      if (code !== undefined && code !== '57P03') return;
      if (performance.now() > deadline) throw error;
      await delay(20);
    } finally {
      await client.end().catch(() => {});
    }
  }
}

function track(child: ChildProcess, socketDir: string): void {
  live.set(child, socketDir);
  child.once('exit', () => live.delete(child));
  if (exitHookInstalled) return;
  exitHookInstalled = true;
  process.once('exit', () => {
    for (const [server, dir] of live) {
      server.kill('SIGQUIT');
      rmSync(dir, { recursive: true, force: true });
    }
  });
}

async function stopChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const gone = new Promise<void>((done) => child.once('exit', () => done()));
  child.kill('SIGINT');
  const slow = setTimeout(() => child.kill('SIGQUIT'), STOP_TIMEOUT_MS);
  await gone;
  clearTimeout(slow);
}
