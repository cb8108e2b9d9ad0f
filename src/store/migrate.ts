/**
 * Brings the schema up to date: every migration that is not yet recorded in `schema_migrations` runs in a transaction of
 * its own, under an advisory lock, so that several nodes may start at once. Forward only. A schema that is newer than
 * this program is refused instead of being used by guesswork.
 */
import { AppError } from '../base/errors.ts';
import type { StoreClient } from './backend.ts';
import { MIGRATIONS } from './migrations.ts';
import type { Store } from './store.ts';

/** "dbw" and a number: any constant that others are unlikely to use in the same database. */
export const MIGRATION_LOCK = 0x64627701;

export interface Migration {
  /** Counts from 1 without gaps. */
  readonly version: number;
  readonly name: string;
  /** One or several statements. */
  readonly sql: string;
}

/** Runs what is missing; returns the versions that were run. */
export async function migrate(
  store: Pick<Store, 'transaction'>,
  migrations: readonly Migration[] = MIGRATIONS,
): Promise<number[]> {
  const done: number[] = [];
  for (;;) {
    const version = await store.transaction((client) => runNext(client, migrations));
    if (version === null) return done;
    done.push(version);
  }
}

async function runNext(client: StoreClient, migrations: readonly Migration[]): Promise<number | null> {
  await client.query('select pg_advisory_xact_lock($1)', [MIGRATION_LOCK]);
  // Only after looking: CREATE … IF NOT EXISTS would put a NOTICE into the server's log at every start.
  const { rows: found } = await client.query(`select to_regclass('schema_migrations') is not null as found`);
  if (found[0]?.['found'] !== true)
    await client.query(
      `create table schema_migrations
         (version int primary key, name text not null, applied_at timestamptz not null default now())`,
    );
  const { rows } = await client.query('select coalesce(max(version), 0) as version from schema_migrations');
  const current = rows[0]?.['version'] as number;
  const newest = migrations.at(-1)?.version ?? 0;
  if (current > newest)
    throw new AppError(
      'conflict',
      'STORE_SCHEMA_NEWER',
      `the store has schema version ${current}, this dbwitness knows ${newest}; run the newer dbwitness`,
      { details: { found: current, known: newest } },
    );
  const next = migrations.find((migration) => migration.version > current);
  if (next === undefined) return null;
  await client.query(next.sql);
  await client.query('insert into schema_migrations (version, name) values ($1, $2)', [
    next.version,
    next.name,
  ]);
  return next.version;
}
