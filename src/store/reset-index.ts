/**
 * Empties the index of one journal, so that indexing starts again from the oldest event that is still there.
 *
 * What retention has dropped from the journal cannot be made again; it stays as it was indexed: statements and events
 * before the journal's first position, sessions that began before it, and what grants used in them. A session that
 * goes on over that position keeps its row and its counts, and `last_seq` keeps its events from being counted twice.
 * From a whole journal everything is made again.
 */
import type { Clock } from '../base/clock.ts';
import type { StoreClient } from './backend.ts';
import type { JournalRange } from './journal-source.ts';
import { listPartitions, PARTITIONED_TABLES } from './partitions.ts';
import type { Store } from './store.ts';

export async function resetIndex(
  store: Store,
  journal: string,
  range: JournalRange,
  clock: Clock,
): Promise<void> {
  await store.transaction(async (client) => {
    // First, and so before anything that an indexer has under way: its comparison of the cursor fails after this.
    await client.query('delete from idx_cursor where journal = $1', [journal]);
    const { rows } = await client.query('select 1 as one from idx_cursor limit 1');
    if (range.firstSeq === 0 && rows.length === 0) await emptyAll(client);
    else await emptyFrom(client, journal, range.firstSeq);
    await client.query(
      `insert into idx_cursor (journal, next_block, next_seq, first_seq, updated_us) values ($1, $2, $3, $4, $5)`,
      [journal, range.firstBlock, range.firstSeq, range.firstSeq, clock.wallUs()],
    );
  });
}

/** The only journal, and all of it is there: nothing of the index needs to be looked at. */
async function emptyAll(client: StoreClient): Promise<void> {
  for (const table of PARTITIONED_TABLES)
    for (const partition of await listPartitions(client, table))
      await client.query(`drop table ${partition}`);
  await client.query('truncate idx_sessions, idx_texts, idx_usage');
}

async function emptyFrom(client: StoreClient, journal: string, firstSeq: number): Promise<void> {
  await client.query('delete from idx_statements where journal = $1 and start_seq >= $2', [
    journal,
    firstSeq,
  ]);
  await client.query('delete from idx_events where journal = $1 and seq >= $2', [journal, firstSeq]);
  await client.query('delete from idx_texts where journal = $1', [journal]);
  if (firstSeq === 0) await client.query('delete from idx_usage where journal = $1', [journal]);
  else
    await client.query(
      `update idx_usage u set statements = u.statements - s.statements, bytes = u.bytes - s.bytes
       from (select grant_uid, sum(used_statements)::bigint as statements, sum(used_bytes)::bigint as bytes
             from idx_sessions where journal = $1 and first_seq >= $2 group by grant_uid) s
       where u.journal = $1 and u.grant_uid = s.grant_uid`,
      [journal, firstSeq],
    );
  await client.query('delete from idx_sessions where journal = $1 and first_seq >= $2', [journal, firstSeq]);
}
