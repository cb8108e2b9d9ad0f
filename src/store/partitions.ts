/**
 * Monthly partitions (UTC) of the two large index tables, by their time column: `idx_statements` by `started_us`,
 * `idx_events` by `at_us`. Created when the first row of a month comes, whichever month that is (clocks are wrong
 * sometimes); dropped by retention once all of the month is past.
 */
import type { StoreClient } from './backend.ts';
import type { Store } from './store.ts';

export const PARTITIONED_TABLES = ['idx_statements', 'idx_events'] as const;
export type PartitionedTable = (typeof PARTITIONED_TABLES)[number];

/** Several nodes may create the same partition at once. */
const PARTITION_LOCK = 0x64627702;

export interface Month {
  /** `y2026m09` */
  readonly suffix: string;
  readonly fromUs: number;
  /** The first microsecond that is not in it. */
  readonly untilUs: number;
}

/** The month of a time; times are 0 … 2^53 − 1 µs (year 2255). */
export function monthOf(us: number): Month {
  const date = new Date(Math.floor(us / 1000));
  const year = date.getUTCFullYear();
  const month = date.getUTCMonth();
  return {
    suffix: `y${year}m${String(month + 1).padStart(2, '0')}`,
    fromUs: Date.UTC(year, month) * 1000,
    untilUs: Date.UTC(year, month + 1) * 1000,
  };
}

function monthOfPartition(name: string): Month | null {
  const match = /_y([0-9]{4,})m([0-9]{2})$/.exec(name);
  return match ? monthOf(Date.UTC(Number(match[1]), Number(match[2]) - 1) * 1000) : null;
}

/** Creates a partition within the caller's transaction; nothing if it exists. */
export async function createPartition(
  client: StoreClient,
  table: PartitionedTable,
  month: Month,
): Promise<void> {
  await client.query('select pg_advisory_xact_lock($1)', [PARTITION_LOCK]);
  const name = `${table}_${month.suffix}`;
  const { rows } = await client.query('select to_regclass($1) is not null as found', [name]);
  if (rows[0]?.['found'] === true) return;
  await client.query(
    `create table ${name} partition of ${table} for values from (${month.fromUs}) to (${month.untilUs})`,
  );
}

/** The partitions there are, oldest first. */
export async function listPartitions(client: StoreClient, table: PartitionedTable): Promise<string[]> {
  const { rows } = await client.query(
    `select c.relname as name from pg_inherits i join pg_class c on c.oid = i.inhrelid
     where i.inhparent = $1::regclass`,
    [table],
  );
  const names = rows.map((row) => row['name'] as string);
  return names.sort((a, b) => (monthOfPartition(a)?.fromUs ?? 0) - (monthOfPartition(b)?.fromUs ?? 0));
}

export interface RetentionResult {
  readonly droppedPartitions: string[];
  readonly deletedSessions: number;
}

/**
 * Forgets what is older than `beforeUs`: partitions whose whole month is, and sessions that were closed before and that
 * the journal has forgotten too (a session that a rebuild would bring back must stay: its usage is counted in
 * it). What grants have used is kept. The journal is not touched; {@link rebuildIndex} brings back what is still in it.
 */
export async function applyRetention(store: Store, beforeUs: number): Promise<RetentionResult> {
  const droppedPartitions: string[] = [];
  let keptFromUs = beforeUs;
  for (const table of PARTITIONED_TABLES) {
    const names = await store.transaction((client) => listPartitions(client, table));
    for (const name of names) {
      const month = monthOfPartition(name);
      if (month === null) continue;
      if (month.untilUs > beforeUs) {
        keptFromUs = Math.min(keptFromUs, month.fromUs);
        continue;
      }
      // One at a time: dropping takes an exclusive lock on the parent, under which no query runs.
      await store.transaction((client) => client.query(`drop table if exists ${name}`));
      droppedPartitions.push(name);
    }
  }
  const { numDeletedRows } = await store.db
    .deleteFrom('idx_sessions')
    .where('closed_us', '<', keptFromUs)
    .where((eb) =>
      eb(
        'last_seq',
        '<',
        eb
          .selectFrom('idx_cursor')
          .whereRef('idx_cursor.journal', '=', 'idx_sessions.journal')
          .select('first_seq'),
      ),
    )
    .executeTakeFirst();
  return { droppedPartitions, deletedSessions: Number(numDeletedRows) };
}
