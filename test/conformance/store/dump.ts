/** Everything the index holds, row by row in a fixed order, without the wall-clock time of the indexing itself. */
import { sql } from 'kysely';
import type { Store } from '../../../src/store/store.ts';

export const INDEX_TABLES = {
  idx_sessions: 'uid',
  idx_texts: 'session_uid, ref',
  idx_usage: 'grant_uid, journal',
  idx_statements: 'start_seq',
  idx_events: 'seq',
} as const;

export type IndexDump = Record<keyof typeof INDEX_TABLES, Record<string, unknown>[]>;

export async function dumpIndex(store: Store): Promise<IndexDump> {
  const dump: Partial<IndexDump> = {};
  for (const [table, order] of Object.entries(INDEX_TABLES) as [keyof IndexDump, string][]) {
    const { rows } = await sql<Record<string, unknown>>`
      select * from ${sql.table(table)} order by ${sql.raw(order)}`.execute(store.db);
    dump[table] = rows;
  }
  return dump as IndexDump;
}
