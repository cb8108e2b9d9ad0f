/**
 * Puts batches into the store: rows and cursor in one transaction that needs no answer of this thread (which has a low
 * priority, and others would wait for it), and only if the cursor stands where the batch starts. Who
 * loses that comparison (an answer to COMMIT that was lost, a second indexer, a rebuild in between) finds out here.
 *
 * The usual way is COPY straight into idx_statements. If a row is there already, because a range is indexed again, the
 * transaction is done once more through a temporary table and ON CONFLICT.
 */
import { AppError, isAppError } from '../base/errors.ts';
import type { Step } from './backend.ts';
import { isDuplicate } from './errors.ts';
import { type IndexBatch, STATEMENT_COLUMNS } from './index-batch.ts';
import { createPartition, type Month, type PartitionedTable } from './partitions.ts';
import type { Store } from './store.ts';

export interface CursorMove {
  readonly fromSeq: number;
  readonly toSeq: number;
  /** The block that holds `toSeq`, or would. */
  readonly nextBlock: number;
  /** The newest block of which an event is in the batch. */
  readonly lastBlock: BlockMark;
  readonly atUs: number;
}

/** Recognises a block: whether the journal still is the one that was indexed. */
export interface BlockMark {
  readonly index: number;
  /** Length and CRC-32 of the payload; a check against mistakes, not against people. */
  readonly digest: string;
}

export interface Cursor {
  readonly nextBlock: number;
  readonly nextSeq: number;
  /** `null` before the first batch. */
  readonly lastBlock: BlockMark | null;
}

/**
 * `written`: this call, or an earlier one whose answer was lost, put it there.
 * `moved`: the cursor is elsewhere; start again from it, with nothing remembered.
 */
export type WriteOutcome = 'written' | 'moved';

export class IndexWriter {
  readonly #store: Store;
  readonly #journal: string;
  /** Partitions known to exist: `idx_statements_y2026m09`. */
  readonly #partitions = new Set<string>();
  #rewrites = 0;

  constructor(store: Store, journal: string) {
    this.#store = store;
    this.#journal = journal;
  }

  /** Batches that found their rows in the store already. */
  get rewrites(): number {
    return this.#rewrites;
  }

  async write(batch: IndexBatch, move: CursorMove): Promise<WriteOutcome> {
    let merge = false;
    for (let attempt = 0; ; attempt++) {
      try {
        await this.#ensurePartitions(batch);
        if (await this.#store.batch(this.#steps(batch, move, merge))) return 'written';
        return await this.#whereIsTheCursor(move);
      } catch (error) {
        if (attempt >= 2) throw error;
        if (isDuplicate(error) && !merge) {
          merge = true;
          this.#rewrites++;
        } else if (isMissingPartition(error)) this.#partitions.clear();
        else throw error;
      }
    }
  }

  async #whereIsTheCursor(move: CursorMove): Promise<WriteOutcome> {
    const row = await this.#store.db
      .selectFrom('idx_cursor')
      .select('next_seq')
      .where('journal', '=', this.#journal)
      .executeTakeFirst();
    return row?.next_seq === move.toSeq ? 'written' : 'moved';
  }

  #steps(batch: IndexBatch, move: CursorMove, merge: boolean): Step[] {
    const steps: Step[] = [];
    // The index can be made again from the journal, and a lost commit takes its cursor with it: no need to wait
    // for the disk. (PGlite has no background writer that would write it later.)
    if (this.#store.kind === 'postgres') steps.push(query('set local synchronous_commit = off'));
    steps.push({
      kind: 'query',
      sql: `update idx_cursor set next_seq = $3, next_block = $4, updated_us = $5,
         first_seq = greatest(first_seq, $6::bigint), last_block = $7, last_digest = $8
       where journal = $1 and next_seq = $2`,
      params: [
        this.#journal,
        move.fromSeq,
        move.toSeq,
        move.nextBlock,
        move.atUs,
        batch.droppedUntilSeq ?? 0,
        move.lastBlock.index,
        move.lastBlock.digest,
      ],
      mustAffect: 1, // else the cursor is not where the batch starts
    });
    if (batch.openedAtSeq !== null) closeCrashed(steps, this.#journal, batch.openedAtSeq);
    writeSessions(steps, batch);
    if (batch.statements !== null) copyStatements(steps, batch.statements, merge);
    updateStatements(steps, batch);
    writeTexts(steps, batch);
    writeEvents(steps, batch);
    writeUsage(steps, batch, this.#journal);
    return steps;
  }

  /** Before the batch and not in it, since it is once a month: an empty partition too many does no harm. */
  async #ensurePartitions(batch: IndexBatch): Promise<void> {
    const missing = [
      ...this.#unknown('idx_statements', batch.statementMonths),
      ...this.#unknown('idx_events', batch.eventMonths),
    ];
    if (missing.length === 0) return;
    await this.#store.transaction(async (client) => {
      for (const { table, month } of missing) await createPartition(client, table, month);
    });
    for (const { name } of missing) this.#partitions.add(name);
  }

  #unknown(
    table: PartitionedTable,
    months: IndexBatch['eventMonths'],
  ): { table: PartitionedTable; month: Month; name: string }[] {
    return months
      .map((month) => ({ table, month, name: `${table}_${month.suffix}` }))
      .filter(({ name }) => !this.#partitions.has(name));
  }
}

function query(sql: string, params: readonly unknown[] = []): Step {
  return { kind: 'query', sql, params };
}

function closeCrashed(steps: Step[], journal: string, seq: number): void {
  steps.push(
    query(
      `update idx_statements set outcome = 'unknown'
       where outcome = 'running' and journal = $1 and start_seq < $2`,
      [journal, seq],
    ),
    query(
      `update idx_sessions set closed_us = last_us, close_reason = 'crashed', close_detail = ''
       where closed_us is null and journal = $1 and first_seq < $2`,
      [journal, seq],
    ),
    query('delete from idx_texts where journal = $1', [journal]),
  );
}

function isMissingPartition(error: unknown): boolean {
  return isAppError(error) && error.details['cause'] === '23514';
}

const SESSION_COLUMNS = `uid uuid, journal text, opened_us bigint, user_uid text, user_name text, database_uid text,
  database_name text, grant_uid text, server_uid text, engine text, backend_id text, controls text[],
  client_address text, client_port int, tls text, authentication text, application_name text, last_us bigint,
  first_seq bigint, last_seq bigint`;
const SESSION_NAMES = SESSION_COLUMNS.replaceAll(/ (uuid|bigint|int|text\[\]|text)(?=,|$)/g, '');

function writeSessions(steps: Step[], batch: IndexBatch): void {
  if (batch.newSessions.length > 0)
    steps.push(
      query(
        `insert into idx_sessions (${SESSION_NAMES})
       select ${SESSION_NAMES} from json_to_recordset($1::json) as new (${SESSION_COLUMNS})
       on conflict (uid) do nothing`,
        [JSON.stringify(batch.newSessions)],
      ),
    );
  if (batch.sessions.length > 0)
    steps.push(
      query(
        `update idx_sessions s set
         statements = s.statements + d.statements,
         errors = s.errors + d.errors,
         used_statements = s.used_statements + d.used_statements,
         used_bytes = s.used_bytes + d.used_bytes,
         server_messages = s.server_messages + d.server_messages,
         last_us = greatest(s.last_us, d.last_us),
         last_seq = greatest(s.last_seq, d.last_seq),
         closed_us = coalesce(d.closed_us, s.closed_us),
         close_reason = coalesce(d.close_reason, s.close_reason),
         close_detail = coalesce(d.close_detail, s.close_detail),
         bytes_in = case when d.closed_us is null then s.bytes_in else d.bytes_in end,
         bytes_out = case when d.closed_us is null then s.bytes_out else d.bytes_out end
       from json_to_recordset($1::json) as d (uid uuid, statements bigint, errors bigint, used_statements bigint,
         used_bytes bigint, server_messages bigint, last_us bigint, last_seq bigint, closed_us bigint,
         close_reason text, close_detail text, bytes_in bigint, bytes_out bigint)
       where s.uid = d.uid`,
        [JSON.stringify(batch.sessions)],
      ),
    );
}

/** What the end of a statement may change of its row. */
const OF_THE_END: readonly (typeof STATEMENT_COLUMNS)[number][] = [
  ...STATEMENT_COLUMNS.slice(STATEMENT_COLUMNS.indexOf('outcome')),
  'sql',
  'verb',
  'fingerprint',
  'tables',
];

function copyStatements(steps: Step[], data: Uint8Array, merge: boolean): void {
  if (!merge) {
    steps.push({ kind: 'copy', table: 'idx_statements', columns: STATEMENT_COLUMNS, data });
    return;
  }
  steps.push(query('create temporary table idx_again (like idx_statements) on commit drop'));
  steps.push({ kind: 'copy', table: 'idx_again', columns: STATEMENT_COLUMNS, data });
  const names = STATEMENT_COLUMNS.join(', ');
  const sets = OF_THE_END.map((name) => `${name} = excluded.${name}`).join(', ');
  // What is known from the start never changes; and an end that is there is not taken away by a range without it.
  steps.push(
    query(
      `insert into idx_statements (${names}) select ${names} from idx_again
     on conflict (session_uid, ordinal, started_us) do update set ${sets}
     where excluded.finish_seq is not null and idx_statements.finish_seq is null`,
    ),
  );
}

function updateStatements(steps: Step[], batch: IndexBatch): void {
  if (batch.updates.length === 0) return;
  steps.push(
    query(
      `update idx_statements s set
       outcome = d.outcome, finish_seq = d.finish_seq, tag = d.tag, rows = d.rows, bytes = d.bytes,
       duration_us = d.duration_us, first_row_us = d.first_row_us, error_code = d.error_code,
       error_message = d.error_message, xid = d.xid, truncated = d.truncated,
       sql = coalesce(d.sql, s.sql), verb = coalesce(d.verb, s.verb),
       fingerprint = coalesce(d.fingerprint, s.fingerprint), tables = coalesce(d.tables, s.tables)
     from json_to_recordset($1::json) as d (session_uid uuid, ordinal bigint, started_us bigint, outcome text,
       finish_seq bigint, tag text, rows bigint, bytes bigint, duration_us bigint, first_row_us bigint, error_code text,
       error_message text, xid bigint, truncated boolean, sql text, verb text, fingerprint text, tables text[])
     where s.session_uid = d.session_uid and s.ordinal = d.ordinal and s.started_us = d.started_us
       and (d.finish_seq is not null or s.finish_seq is null)`,
      [JSON.stringify(batch.updates)],
    ),
  );
}

function writeTexts(steps: Step[], batch: IndexBatch): void {
  if (batch.texts.length > 0)
    steps.push(
      query(
        `insert into idx_texts (session_uid, ref, journal, sql, redacted, parameter_types, verb, fingerprint, tables)
       select session_uid, ref, journal, sql, redacted, parameter_types, verb, fingerprint, tables
       from json_to_recordset($1::json) as d (session_uid uuid, ref bigint, journal text, sql text, redacted boolean,
         parameter_types bigint[], verb text, fingerprint text, tables text[])
       on conflict (session_uid, ref) do update set sql = excluded.sql, redacted = excluded.redacted,
         parameter_types = excluded.parameter_types, verb = excluded.verb, fingerprint = excluded.fingerprint,
         tables = excluded.tables`,
        [JSON.stringify(batch.texts)],
      ),
    );
  if (batch.endedSessions.length > 0)
    steps.push(
      query('delete from idx_texts where session_uid = any($1::text[]::uuid[])', [batch.endedSessions]),
    );
}

function writeEvents(steps: Step[], batch: IndexBatch): void {
  if (batch.events.length === 0) return;
  steps.push(
    query(
      `insert into idx_events (journal, seq, at_us, kind, session_uid, actor, subject, summary, body)
     select journal, seq, at_us, kind, session_uid, actor, subject, summary, body
     from json_to_recordset($1::json) as d (journal text, seq bigint, at_us bigint, kind text, session_uid uuid,
       actor text, subject text, summary text, body text)
     on conflict (journal, seq, at_us) do nothing`,
      [JSON.stringify(batch.events)],
    ),
  );
}

function writeUsage(steps: Step[], batch: IndexBatch, journal: string): void {
  if (batch.usage.length === 0) return;
  steps.push(
    query(
      `insert into idx_usage (journal, grant_uid, statements, bytes)
     select $2, grant_uid, statements, bytes
     from json_to_recordset($1::json) as d (grant_uid text, statements bigint, bytes bigint)
     on conflict (grant_uid, journal) do update set
       statements = idx_usage.statements + excluded.statements, bytes = idx_usage.bytes + excluded.bytes`,
      [JSON.stringify(batch.usage), journal],
    ),
  );
}

/** Creates the cursor of a journal that was never indexed. */
export async function ensureCursor(
  store: Store,
  journal: string,
  start: { readonly block: number; readonly seq: number; readonly atUs: number },
): Promise<Cursor> {
  await store.db
    .insertInto('idx_cursor')
    .values({
      journal,
      next_block: start.block,
      next_seq: start.seq,
      first_seq: start.seq,
      updated_us: start.atUs,
    })
    .onConflict((conflict) => conflict.column('journal').doNothing())
    .execute();
  const row = await store.db
    .selectFrom('idx_cursor')
    .select(['next_block', 'next_seq', 'last_block', 'last_digest'])
    .where('journal', '=', journal)
    .executeTakeFirst();
  if (row === undefined)
    throw new AppError('conflict', 'STORE_CURSOR_GONE', 'the index is being rebuilt; try again');
  return {
    nextBlock: row.next_block,
    nextSeq: row.next_seq,
    lastBlock: row.last_block === null ? null : { index: row.last_block, digest: row.last_digest },
  };
}
