/** MySQL and MariaDB servers for tests and benchmarks, each with a data folder, a socket and a port of its own. */
import {
  chmodSync,
  chownSync,
  closeSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { execFile, execFileSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import mysql, { type ConnectionOptions } from 'mysql2/promise';
import { freePort } from '../../src/app/demo/embedded-postgres.ts';
import { serverIdentity, type ServerIdentity } from '../../src/app/demo/unprivileged.ts';
import { type Certificate, makeAuthority } from './certificate.ts';
import {
  type MariadbVersion,
  type MysqlBinaries,
  mysqlBinaries,
  type MysqlFamily,
  type MysqlVersion,
} from './mysql-binaries.ts';
import { type RunningProcess, startProcess } from './processes.ts';
import { waitFor } from './wait.ts';

export type { MariadbVersion, MysqlFamily, MysqlVersion } from './mysql-binaries.ts';

export interface MysqlServerOptions {
  /** Server variables, e.g. `{ sql_mode: '' }`; `null` takes a default of ours away. */
  readonly settings?: Readonly<Record<string, string | null>>;
  /** Run by root in database `test` after the start; several statements may be in one string. */
  readonly initSql?: string;
  /** `true`: a new certificate for localhost and 127.0.0.1. MySQL 5.6 of our source has no TLS. */
  readonly tls?: boolean | Certificate;
  /** Every statement goes into {@link MysqlServer.generalLog}. */
  readonly logStatements?: boolean;
  /** Keeps InnoDB's flushing on. Default: off, for speed. */
  readonly durable?: boolean;
  /** 0 or absent: a free one. */
  readonly port?: number;
}

export interface MysqlServer {
  /** What a database of dbwitness has as its protocol. */
  readonly family: MysqlFamily;
  readonly version: MariadbVersion | MysqlVersion;
  readonly host: '127.0.0.1';
  readonly port: number;
  /** Path of its Unix socket. */
  readonly socket: string;
  /** The superuser: `root`, from anywhere, by password. */
  readonly user: string;
  readonly password: string;
  readonly dataDir: string;
  /** Its error log. */
  readonly logFile: string;
  readonly generalLog: string;
  readonly pid: number;
  readonly certificate: Certificate | null;
  /** One statement (or several without parameters) as root over the socket, on a connection of its own. */
  query<Row extends object = Record<string, unknown>>(
    sql: string,
    params?: readonly (string | number | null)[],
    database?: string,
  ): Promise<Row[]>;
  /** Options for mysql2's `createConnection`, as root over the socket, several statements allowed. */
  admin(database?: string): ConnectionOptions;
  /** Ends the server, waits until it is gone, and removes its data. */
  stop(): Promise<void>;
}

const PASSWORD = 'superuser-of-tests';
const START_TIMEOUT_MS = 60_000;
const temporary = new Set<string>();
process.once('exit', () => {
  for (const dir of temporary) rmSync(dir, { recursive: true, force: true, maxRetries: 3 });
});

/** Starts a MariaDB server (default 10.11) on a free port of 127.0.0.1 in about a second. Database `test` is empty. */
export function startMariadb(
  options: MysqlServerOptions & { readonly version?: MariadbVersion } = {},
): Promise<MysqlServer> {
  return start('mariadb', options.version ?? '10.11', options);
}

/** Starts a MySQL server (default 9.7) on a free port of 127.0.0.1 in 1–3 s. Database `test` is empty. */
export function startMysql(
  options: MysqlServerOptions & { readonly version?: MysqlVersion } = {},
): Promise<MysqlServer> {
  return start('mysql', options.version ?? '9.7', options);
}

async function start(
  family: MysqlFamily,
  version: MariadbVersion | MysqlVersion,
  options: MysqlServerOptions,
): Promise<MysqlServer> {
  const identity = serverIdentity();
  const binaries = await mysqlBinaries(family, version, identity);
  // Short: a socket's path has at most 107 bytes.
  const home = mkdtempSync(join(tmpdir().length > 60 ? '/tmp' : tmpdir(), `dbw-${family}-`));
  temporary.add(home);
  if (identity.stepsDown) chownSync(home, identity.uid, identity.gid);
  const certificate = options.tls === true ? makeAuthority('rsa').issue('localhost') : (options.tls ?? null);
  const place: Place = {
    home,
    dataDir: join(home, 'data'),
    logFile: join(home, 'error.log'),
    generalLog: join(home, 'general.log'),
    socket: join(home, 'server.sock'),
    certificate: certificate === false ? null : certificate,
    identity,
  };
  try {
    await initialise(binaries, place);
    if (place.certificate !== null) keepCertificate(place, version);
    return await launch(binaries, place, options);
  } catch (error) {
    rmSync(home, { recursive: true, force: true, maxRetries: 3 });
    temporary.delete(home);
    throw error;
  }
}

interface Place {
  readonly home: string;
  readonly dataDir: string;
  readonly logFile: string;
  readonly generalLog: string;
  readonly socket: string;
  readonly certificate: Certificate | null;
  readonly identity: ServerIdentity;
}

const run = promisify(execFile);

/** Makes the data folder with the system tables and `root@localhost`, which has no password yet. */
async function initialise(binaries: MysqlBinaries, place: Place): Promise<void> {
  const { dataDir, identity } = place;
  const [program, ...first] = binaries.command;
  const args = [...first, '--no-defaults', ...binaries.locations, `--datadir=${dataDir}`];
  const as = { env: { ...process.env, ...binaries.env }, ...owner(identity), maxBuffer: 64 * 1024 * 1024 };
  if (binaries.version === '5.6') {
    cpSync(join(binaries.bootstrapDir, 'mysql'), dataDir, { recursive: true });
    rmSync(join(dataDir, 'auto.cnf'), { force: true });
    giveTo(identity, dataDir, '-R');
  } else if (binaries.family === 'mysql') {
    await run(program, [...args, '--initialize-insecure', '--innodb-redo-log-capacity=32M'], as);
  } else {
    const prefix = binaries.version === '10.11' ? 'mysql' : 'mariadb';
    const scripts = [
      `${prefix}_system_tables`,
      `${prefix}_performance_tables`,
      `${prefix}_system_tables_data`,
    ];
    const last = [`fill_help_tables`, 'maria_add_gis_sp_bootstrap', `${prefix}_sys_schema`];
    const sql = ['CREATE DATABASE mysql;', 'USE mysql;', 'SET @auth_root_socket=NULL;'];
    for (const script of [...scripts, ...last])
      sql.push(readFileSync(join(binaries.bootstrapDir, `${script}.sql`), 'utf8'));
    const options = ['--bootstrap', '--innodb-log-file-size=32M', `--log-error=${place.logFile}`];
    bootstrap(place, sql.join('\n'), (stdin) =>
      execFileSync(program, [...args, ...options], { ...as, stdio: [stdin, 'pipe', 'pipe'] }),
    );
  }
}

/** MariaDB's first start with its scripts; once more where the machine was too busy for it (asynchronous I/O runs out). */
function bootstrap(place: Place, sql: string, start: (stdin: number) => void): void {
  const file = join(place.home, 'bootstrap.sql');
  writeFileSync(file, sql);
  for (let attempt = 1; ; attempt++) {
    mkdirSync(place.dataDir);
    giveTo(place.identity, place.dataDir);
    const stdin = openSync(file, 'r');
    try {
      start(stdin);
      return;
    } catch (error) {
      const log = existsSync(place.logFile) ? readFileSync(place.logFile, 'utf8').slice(-4000) : '';
      if (attempt === 2) throw new Error(`MariaDB's first start failed: ${log}`, { cause: error });
      rmSync(place.dataDir, { recursive: true });
    } finally {
      closeSync(stdin);
    }
  }
}

/** `uid` and `gid` for `child_process`, where we are root and step down. */
function owner(identity: ServerIdentity): { uid?: number; gid?: number } {
  return identity.stepsDown ? { uid: identity.uid, gid: identity.gid } : {};
}

function giveTo(identity: ServerIdentity, path: string, ...flags: readonly string[]): void {
  if (identity.stepsDown) execFileSync('chown', [...flags, `${identity.uid}:${identity.gid}`, path]);
}

function keepCertificate(place: Place, version: string): void {
  const { certificate, home, identity } = place;
  if (certificate === null) return;
  if (version === '5.6') throw new Error('the MySQL 5.6 that tests use was built without TLS');
  for (const [name, pem] of Object.entries({
    'ca.pem': certificate.ca,
    'cert.pem': certificate.cert,
    'key.pem': certificate.key,
  })) {
    writeFileSync(join(home, name), pem);
    chmodSync(join(home, name), 0o600);
    giveTo(identity, join(home, name));
  }
}

function settingsOf(
  binaries: MysqlBinaries,
  place: Place,
  port: number,
  options: MysqlServerOptions,
): string[] {
  const { home, certificate } = place;
  const careless = {
    innodb_flush_log_at_trx_commit: '0',
    innodb_doublewrite: '0',
    innodb_fast_shutdown: '2',
    sync_binlog: '0',
  };
  const files = { ssl_ca: 'ca.pem', ssl_cert: 'cert.pem', ssl_key: 'key.pem' };
  const settings: Record<string, string | null> = {
    datadir: place.dataDir,
    socket: place.socket,
    pid_file: join(home, 'server.pid'),
    log_error: place.logFile,
    tmpdir: home,
    bind_address: '127.0.0.1',
    port: String(port),
    max_connections: '200',
    skip_name_resolve: '1',
    performance_schema: '0',
    secure_file_priv: '',
    innodb_buffer_pool_size: '64M',
    general_log_file: place.generalLog,
    general_log: options.logStatements === true ? '1' : '0',
    ...(options.durable === true ? {} : careless),
    ...(binaries.version === '9.7'
      ? { mysqlx: '0', innodb_redo_log_capacity: '64M', disable_log_bin: '1' }
      : {}),
    ...(certificate === null
      ? {}
      : Object.fromEntries(Object.entries(files).map(([name, file]) => [name, join(home, file)]))),
    ...options.settings,
  };
  // Giving a binary log means wanting one.
  if (options.settings?.['log_bin'] !== undefined) settings['disable_log_bin'] = null;
  return Object.entries(settings).flatMap(([name, value]) => (value === null ? [] : [`--${name}=${value}`]));
}

async function launch(
  binaries: MysqlBinaries,
  place: Place,
  options: MysqlServerOptions,
): Promise<MysqlServer> {
  const { identity, home } = place;
  const port = options.port !== undefined && options.port !== 0 ? options.port : await freePort();
  const [program, ...first] = binaries.command;
  const args = ['--no-defaults', ...binaries.locations, ...settingsOf(binaries, place, port, options)];
  const running = startProcess(program, [...first, ...args], {
    cwd: home,
    env: { PATH: process.env['PATH'], LC_ALL: 'C', TZ: 'UTC', ...binaries.env },
    ...owner(identity),
  });
  await ready(binaries, place, running);
  await makeAccounts(binaries, place);
  const admin = (database = 'test'): ConnectionOptions => ({
    socketPath: place.socket,
    user: 'root',
    password: PASSWORD,
    database,
    multipleStatements: true,
  });
  const server: MysqlServer = {
    family: binaries.family,
    version: binaries.version,
    host: '127.0.0.1',
    port,
    socket: place.socket,
    user: 'root',
    password: PASSWORD,
    dataDir: place.dataDir,
    logFile: place.logFile,
    generalLog: place.generalLog,
    pid: running.pid,
    certificate: place.certificate,
    admin,
    query: async <Row extends object>(
      sql: string,
      params: readonly (string | number | null)[] = [],
      database = 'test',
    ) => {
      const client = await mysql.createConnection(admin(database));
      try {
        const [rows] = await client.query(sql, [...params]);
        return (Array.isArray(rows) ? rows : []) as Row[];
      } finally {
        await client.end();
      }
    },
    stop: async () => {
      await running.stop();
      rmSync(home, { recursive: true, force: true, maxRetries: 3 });
      temporary.delete(home);
    },
  };
  if (options.initSql !== undefined) await server.query(options.initSql);
  return server;
}

/** Its first log-in, on the socket, where only we and the server's user can come. */
function connectFirst(place: Place): Promise<mysql.Connection> {
  return mysql.createConnection({ socketPath: place.socket, user: 'root', multipleStatements: true });
}

async function ready(binaries: MysqlBinaries, place: Place, running: RunningProcess): Promise<void> {
  const said = (): string => {
    const log = existsSync(place.logFile) ? readFileSync(place.logFile, 'utf8') : '';
    return `${log}${running.output()}`.trim().split('\n').slice(-8).join('\n');
  };
  try {
    await waitFor(
      `${binaries.family} ${binaries.version} to let us in`,
      async () => {
        if (running.child.exitCode !== null || running.child.signalCode !== null) return 'ended';
        await (await connectFirst(place)).end();
        return true;
      },
      { timeoutMs: START_TIMEOUT_MS },
    );
    if (running.child.exitCode !== null) throw new Error('it ended at once');
  } catch (error) {
    await running.stop();
    throw new Error(`${binaries.family} ${binaries.version} did not start: ${said()}`, { cause: error });
  }
}

/** Exactly one account, root by password from anywhere, and an empty database. */
async function makeAccounts(binaries: MysqlBinaries, place: Place): Promise<void> {
  const client = await connectFirst(place);
  try {
    const [rows] = await client.query(
      "SELECT user, host FROM mysql.user WHERE user IN ('', 'root') AND NOT (user = 'root' AND host = 'localhost')",
    );
    for (const row of rows as { user?: string; User?: string; host?: string; Host?: string }[])
      await client.query('DROP USER ?@?', [row.user ?? row.User ?? '', row.host ?? row.Host ?? '']);
    await client.query('DROP DATABASE IF EXISTS test; CREATE DATABASE test');
    await client.query("CREATE USER 'root'@'%' IDENTIFIED BY ?", [PASSWORD]);
    await client.query("GRANT ALL PRIVILEGES ON *.* TO 'root'@'%' WITH GRANT OPTION");
    const modern = binaries.family === 'mysql' && binaries.version !== '5.6';
    await client.query(
      modern
        ? "ALTER USER 'root'@'localhost' IDENTIFIED BY ?"
        : "SET PASSWORD FOR 'root'@'localhost' = PASSWORD(?)",
      [PASSWORD],
    );
  } finally {
    await client.end();
  }
}
