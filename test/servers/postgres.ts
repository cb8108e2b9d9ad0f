/** PostgreSQL servers for tests and benchmarks: every major version, each with a data folder and port of its own. */
import { chownSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { startEmbeddedPostgres } from '../../src/app/demo/embedded-postgres.ts';
import type { PostgresMajor } from '../../src/app/demo/postgres-binaries.ts';
import { serverIdentity } from '../../src/app/demo/unprivileged.ts';
import { pathOf } from './available.ts';
import { type Certificate, makeAuthority } from './certificate.ts';

export type { PostgresMajor } from '../../src/app/demo/postgres-binaries.ts';

export interface PostgresOptions {
  /** Default "15": Debian's where installed, else the one that npm carries, as all the others. */
  readonly version?: PostgresMajor;
  /** Server settings, e.g. `{ log_statement: 'all' }`. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Lines of pg_hba.conf instead of the default: trust on the socket, scram-sha-256 on 127.0.0.1. */
  readonly hba?: readonly string[];
  /** Run by the superuser in database `postgres` after the start; several statements may be in one string. */
  readonly initSql?: string;
  /** `true`: a new certificate for localhost and 127.0.0.1; see {@link PostgresServer.certificate}. */
  readonly tls?: boolean | Certificate;
  /** Keeps fsync and full_page_writes on. Default: off, for speed. */
  readonly durable?: boolean;
  readonly initdbArgs?: readonly string[];
  /** 0 or absent: a free one. */
  readonly port?: number;
  /** Another installation of that version. */
  readonly binDir?: string;
}

export interface PostgresServer {
  readonly version: PostgresMajor;
  readonly host: '127.0.0.1';
  readonly port: number;
  /** `host` for a connection over the Unix socket (trust: any user, no password). */
  readonly socketDir: string;
  /** The superuser: `postgres`. */
  readonly user: string;
  readonly password: string;
  readonly dataDir: string;
  readonly logFile: string;
  readonly pid: number;
  readonly certificate: Certificate | null;
  /** One statement (or several without parameters) as superuser over the socket, on a connection of its own. */
  query<Row extends object = Record<string, unknown>>(
    sql: string,
    params?: readonly unknown[],
    database?: string,
  ): Promise<Row[]>;
  /** Options for `new pg.Client`, as superuser over the socket. */
  admin(database?: string): pg.ClientConfig;
  /** Ends the server, waits until it is gone, and removes its data. */
  stop(): Promise<void>;
}

const PASSWORD = 'superuser-of-tests';
const temporary = new Set<string>();
process.once('exit', () => {
  for (const dir of temporary) rmSync(dir, { recursive: true, force: true, maxRetries: 3 });
});

/** Starts a server on a free port of 127.0.0.1. Takes 0.5–1.5 s; the first start of a version fetches it. */
export async function startPostgres(options: PostgresOptions = {}): Promise<PostgresServer> {
  const version = options.version ?? '15';
  const dataDir = mkdtempSync(join(tmpdir(), `dbw-test-pg${version}-`));
  temporary.add(dataDir);
  const identity = serverIdentity();
  if (identity.stepsDown) chownSync(dataDir, identity.uid, identity.gid);
  const certificate = options.tls === true ? makeAuthority().issue('localhost') : (options.tls ?? null);
  const debian = version === '15' && pathOf('postgres') !== null;
  const careless = { fsync: 'off', full_page_writes: 'off', synchronous_commit: 'off' };
  const server = await startEmbeddedPostgres({
    major: version,
    ...(debian ? { binDir: '/usr/lib/postgresql/15/bin' } : {}),
    ...(options.binDir === undefined ? {} : { binDir: options.binDir }),
    dataDir,
    superuserPassword: PASSWORD,
    settings: { ...(options.durable === true ? {} : careless), max_connections: '200', ...options.settings },
    ...(options.hba === undefined ? {} : { hba: options.hba }),
    ...(options.initdbArgs === undefined ? {} : { initdbArgs: options.initdbArgs }),
    ...(options.port === undefined ? {} : { port: options.port }),
    ...(certificate ? { tls: certificate } : {}),
  });
  const admin = (database = 'postgres'): pg.ClientConfig => ({
    host: server.socketDir,
    port: server.port,
    user: 'postgres',
    password: PASSWORD,
    database,
  });
  const started: PostgresServer = {
    version,
    host: server.host,
    port: server.port,
    socketDir: server.socketDir,
    user: server.superuser,
    password: PASSWORD,
    dataDir: server.dataDir,
    logFile: server.logFile,
    pid: server.pid,
    certificate: certificate === false ? null : certificate,
    admin,
    query: async <Row extends object>(
      sql: string,
      params: readonly unknown[] = [],
      database = 'postgres',
    ) => {
      const client = new pg.Client(admin(database));
      await client.connect();
      try {
        const result = await (params.length === 0 ? client.query(sql) : client.query(sql, [...params]));
        return (Array.isArray(result) ? [] : result.rows) as Row[];
      } finally {
        await client.end();
      }
    },
    stop: async () => {
      await server.stop();
      rmSync(dataDir, { recursive: true, force: true, maxRetries: 3 });
      temporary.delete(dataDir);
    },
  };
  if (options.initSql !== undefined) await started.query(options.initSql);
  return started;
}
