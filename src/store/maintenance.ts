/**
 * What PostgreSQL's autovacuum does and PGlite, being one process, does not: statistics for the planner, and the dead
 * versions of the small tables that every batch updates. (Rows of the large tables are hardly ever updated, and their
 * partitions are dropped whole.) Takes some 100 ms, during which the embedded store answers nobody.
 */
import { sql } from 'kysely';
import { listPartitions, PARTITIONED_TABLES } from './partitions.ts';
import type { Store } from './store.ts';

/** Statements indexed before the first time; then the double of that, and so on up to {@link MAX_INTERVAL}. */
export const MIN_INTERVAL = 50_000;
export const MAX_INTERVAL = 1_000_000;

const SMALL_TABLES = ['idx_sessions', 'idx_texts', 'idx_usage', 'idx_cursor'] as const;

export async function maintainEmbedded(store: Store): Promise<void> {
  for (const table of SMALL_TABLES) await sql`vacuum (analyze) ${sql.table(table)}`.execute(store.db);
  for (const table of PARTITIONED_TABLES) {
    const partitions = await store.transaction((client) => listPartitions(client, table));
    // Older months do not change any more.
    for (const partition of partitions.slice(-2))
      await sql`analyze ${sql.table(partition)}`.execute(store.db);
  }
}
