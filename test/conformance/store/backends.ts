/** The two back ends, each with what a test does to it: a fresh store, an outage, the end of it. */
import { chownSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startEmbeddedPostgres } from '../../../src/app/demo/embedded-postgres.ts';
import { serverIdentity } from '../../../src/app/demo/unprivileged.ts';
import { type EmbeddedStore, openStore, type Store, type StoreOptions } from '../../../src/store/store.ts';
import { freePort, pathOf } from '../../servers/index.ts';

export interface TestBackend {
  readonly kind: 'pglite' | 'postgres';
  /** Options of an empty store. */
  fresh(): Promise<StoreOptions>;
  /** Takes the store's server away; the function that is returned brings it back. */
  outage(store: Store): Promise<() => Promise<void>>;
  stop(): Promise<void>;
}

export function openFresh(backend: TestBackend): Promise<Store> {
  return backend.fresh().then(openStore);
}

function temporaryDir(): string {
  return mkdtempSync(join(tmpdir(), 'dbw-test-store-'));
}

export function startPglite(): Promise<TestBackend> {
  const dirs: string[] = [];
  return Promise.resolve({
    kind: 'pglite' as const,
    fresh: () => {
      const dataDir = temporaryDir();
      dirs.push(dataDir);
      return Promise.resolve({ dataDir });
    },
    outage: async (store) => {
      await (store as EmbeddedStore).host.crash();
      // It comes back by itself.
      return () => Promise.resolve();
    },
    stop: () => {
      for (const dir of dirs) rmSync(dir, { recursive: true, force: true });
      return Promise.resolve();
    },
  });
}

/** PostgreSQL 15 on a port of its own, never as root, that can be stopped and started on the same data. */
export async function startPostgres15(): Promise<TestBackend> {
  const port = await freePort();
  const dataDir = temporaryDir();
  const identity = serverIdentity();
  if (identity.stepsDown) chownSync(dataDir, identity.uid, identity.gid);
  const debian = pathOf('postgres') !== null;
  const options = {
    major: '15' as const,
    ...(debian ? { binDir: '/usr/lib/postgresql/15/bin' } : {}),
    dataDir,
    superuserPassword: 'of-tests',
    port,
    settings: { fsync: 'off', max_connections: '100' },
  };
  let server = await startEmbeddedPostgres(options);
  let databases = 0;
  const dsnOf = (database: string): string => `postgres://postgres:of-tests@127.0.0.1:${port}/${database}`;
  return {
    kind: 'postgres',
    fresh: async () => {
      const name = `store${++databases}`;
      const { Client } = (await import('pg')).default;
      const client = new Client({ connectionString: dsnOf('postgres') });
      await client.connect();
      await client.query(`create database ${name}`);
      await client.end();
      return { dsn: dsnOf(name), dataDir: '/nonexistent' };
    },
    outage: async () => {
      await server.stop();
      return async () => {
        server = await startEmbeddedPostgres(options);
      };
    },
    stop: async () => {
      await server.stop();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}
