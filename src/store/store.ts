/**
 * The store: the side of dbwitness that can be asked. Control-plane tables (users, databases, grants …) are the truth;
 * index tables (`idx_*`) are a copy of what the journal says, made by the indexer and made again from the journal alone
 * by {@link rebuildIndex} (`rebuild.ts`). A slow or absent store delays nobody: witnesses append to the journal and
 * never wait for this.
 *
 *   journal ─blocks▶ indexer (own thread, nice 10) ─COPY▶ ┌──────────┐ ◀─Kysely─ access, API
 *                    events → rows, cursor in the same     │  store   │
 *                    transaction                           └────┬─────┘
 *                                         PGlite in its own thread │ PostgreSQL at DBW_DSN
 *
 * One SQL dialect, PostgreSQL's, on two back ends behind one port (`backend.ts`); the same conformance suite runs on
 * both (`test/conformance/store*.test.ts`).
 *
 * Invariants
 *  1. Rows of the index and the cursor move in one transaction, and only from the position they were made for:
 *     every event is indexed exactly once, whatever is killed when.
 *  2. Indexing any range of the journal again changes nothing (`index-writer.ts`, `translate.ts`).
 *  3. Loss of the back end fails queries with kind `unavailable` and heals without a restart: connections are opened
 *     anew, PGlite's thread is started again.
 *  4. Migrations go forward only, each in one transaction under a lock; a newer schema is refused.
 *
 * PostgreSQL 13 or later. The user of DBW_DSN must own the schema it works in.
 */
import { Kysely, PostgresDialect } from 'kysely';
import type { MessagePort } from 'node:worker_threads';
import {
  type BackendKind,
  inTransaction,
  type Step,
  type StoreBackend,
  type StoreClient,
} from './backend.ts';
import { openPgliteBackend } from './backend-pglite.ts';
import { openPostgresBackend } from './backend-postgres.ts';
import { migrate } from './migrate.ts';
import { connectThroughControl, PgliteHost } from './pglite-host.ts';
import type { StoreSchema } from './schema.ts';

export interface StoreOptions {
  /** `postgres://…`: use that server. Absent or empty: PGlite in `<dataDir>/store`. */
  readonly dsn?: string;
  readonly dataDir: string;
  /** PostgreSQL only: connections at most. Default 10. */
  readonly maxConnections?: number;
  /** PostgreSQL only: a longer query is cancelled. Default 60 s. */
  readonly statementTimeoutMs?: number;
}

/** How another thread of this process gets at the store; pass it by `workerData` or `postMessage` with {@link transferOf}. */
export type StoreHandle =
  | { readonly kind: 'postgres'; readonly dsn: string }
  | { readonly kind: 'pglite'; readonly port: MessagePort };

export interface Store {
  readonly kind: BackendKind;
  /** Every query rejects with an AppError where the failure is operational: `unavailable`, `conflict`, `invalid`, … */
  readonly db: Kysely<StoreSchema>;
  /** Plain SQL in one transaction, with COPY: what bulk work needs. Commits when `work` resolves. */
  transaction<T>(work: (client: StoreClient) => Promise<T>): Promise<T>;
  /** One transaction of steps that are all known beforehand: {@link StoreClient.batch}. */
  batch(steps: readonly Step[]): Promise<boolean>;
  /** A new handle for one other thread. */
  share(): StoreHandle;
  /** Ends the connections, and the embedded store with them when this is the store that opened it. */
  close(): Promise<void>;
}

/** A store that runs PGlite itself. */
export interface EmbeddedStore extends Store {
  readonly host: PgliteHost;
}

/**
 * Opens the store and brings its schema up to date. Rejects with `unavailable` when PostgreSQL does not answer (try
 * again later), `conflict` when the schema is newer than this program or another process has the data folder.
 */
export async function openStore(options: StoreOptions): Promise<Store> {
  const { dsn = '' } = options;
  const store = dsn === '' ? await openEmbedded(options.dataDir) : openServer(dsn, options);
  try {
    await migrate(store);
    return store;
  } catch (error) {
    await store.close();
    throw error;
  }
}

/** The store from another thread, by the handle that {@link Store.share} gave. The schema is taken to be up to date. */
export function connectStore(handle: StoreHandle | MessagePort): Store {
  if ('kind' in handle && handle.kind === 'postgres')
    return openServer(handle.dsn, { maxConnections: 2, statementTimeoutMs: 0 });
  const port = 'kind' in handle ? handle.port : handle;
  const backend = openPgliteBackend(connectThroughControl(port), () => {
    port.close();
    return Promise.resolve();
  });
  return storeOn(backend, () => {
    throw new TypeError('share() is for the thread that opened the store');
  });
}

/** What `postMessage` and `new Worker` need in their transfer list along with a handle. */
export function transferOf(handle: StoreHandle): MessagePort[] {
  return handle.kind === 'pglite' ? [handle.port] : [];
}

function openServer(
  dsn: string,
  options: Pick<StoreOptions, 'maxConnections' | 'statementTimeoutMs'>,
): Store {
  const backend = openPostgresBackend({
    dsn,
    maxConnections: options.maxConnections ?? 10,
    statementTimeoutMs: options.statementTimeoutMs ?? 60_000,
    applicationName: 'dbwitness',
    connectTimeoutMs: 5_000,
  });
  return storeOn(backend, () => ({ kind: 'postgres', dsn }));
}

async function openEmbedded(dataDir: string): Promise<EmbeddedStore> {
  const host = await PgliteHost.open(dataDir);
  const backend = openPgliteBackend(
    () => host.connect(),
    () => host.close(),
  );
  const store = storeOn(backend, () => ({ kind: 'pglite', port: host.controlPort() }));
  return Object.assign(store, { host });
}

function storeOn(backend: StoreBackend, share: () => StoreHandle): Store {
  let closing: Promise<void> | null = null;
  const close = (): Promise<void> => (closing ??= backend.close());
  const pool = {
    connect: () => backend.connect(),
    end: close,
  };
  // Kysely wants node-postgres' pool; of that it uses connect, query, release and end, which is what StoreClient has.
  const dialect = new PostgresDialect({
    pool: pool as unknown as ConstructorParameters<typeof PostgresDialect>[0] extends { pool: infer P }
      ? Extract<P, { connect(): unknown }>
      : never,
  });
  return {
    kind: backend.kind,
    db: new Kysely<StoreSchema>({ dialect }),
    transaction: (work) => inTransaction(backend, work),
    batch: async (steps) => {
      const client = await backend.connect();
      try {
        return await client.batch(steps);
      } finally {
        client.release();
      }
    },
    share,
    close,
  };
}
