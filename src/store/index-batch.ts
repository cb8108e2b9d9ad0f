/** One transaction's worth of index rows, and the builder that the translator fills. */
import { CopyWriter, encodeFields } from './copy-writer.ts';

import type {
  RunningStatement,
  SessionRow,
  SessionState,
  StatementFinish,
  StatementRow,
  TextState,
} from './index-state.ts';
import { type Month, monthOf } from './partitions.ts';
import type { EventIndexTable, TextIndexTable } from './schema.ts';
import { storableBytes } from './sql-text.ts';

/** Order of the fields in {@link writeRow}. */
export const STATEMENT_COLUMNS = [
  'session_uid',
  'ordinal',
  'started_us',
  'journal',
  'user_name',
  'user_uid',
  'database_name',
  'database_uid',
  'verb',
  'sql',
  'fingerprint',
  'tables',
  'kind',
  'decision',
  'transaction_status',
  'params',
  'redacted',
  'start_seq',
  'start_block',
  'outcome',
  'tag',
  'rows',
  'bytes',
  'duration_us',
  'first_row_us',
  'error_code',
  'error_message',
  'xid',
  'truncated',
  'finish_seq',
] as const;

/** A statement that an earlier batch inserted and that has come to its end; the columns of idx_statements by name. */
export interface StatementUpdate {
  readonly session_uid: string;
  readonly ordinal: number;
  readonly started_us: number;
  readonly outcome: string;
  readonly finish_seq: number | null;
  readonly tag: string;
  readonly rows: number;
  readonly bytes: number;
  readonly duration_us: number | null;
  readonly first_row_us: number | null;
  readonly error_code: string | null;
  readonly error_message: string | null;
  readonly xid: number | null;
  readonly truncated: boolean;
  /** `null`: stays as it is. */
  readonly sql: string | null;
  readonly verb: string | null;
  readonly fingerprint: string | null;
  readonly tables: readonly string[] | null;
}

export interface SessionChange {
  readonly uid: string;
  readonly statements: number;
  readonly errors: number;
  readonly used_statements: number;
  readonly used_bytes: number;
  readonly server_messages: number;
  readonly last_us: number;
  readonly last_seq: number;
  readonly closed_us: number | null;
  readonly close_reason: string | null;
  readonly close_detail: string | null;
  readonly bytes_in: number;
  readonly bytes_out: number;
}

export interface IndexBatch {
  readonly journal: string;
  /** The journal was opened at this position: whatever is open in the store before it has crashed. */
  readonly openedAtSeq: number | null;
  /** Events before this position were dropped from the journal. */
  readonly droppedUntilSeq: number | null;
  /** COPY stream for idx_statements, `null` when there is no row. */
  readonly statements: Uint8Array | null;
  readonly statementCount: number;
  readonly statementMonths: readonly Month[];
  readonly updates: readonly StatementUpdate[];
  readonly newSessions: readonly SessionRow[];
  readonly sessions: readonly SessionChange[];
  readonly texts: readonly TextIndexTable[];
  /** Sessions whose texts are not needed any more. */
  readonly endedSessions: readonly string[];
  readonly events: readonly EventIndexTable[];
  readonly eventMonths: readonly Month[];
  readonly usage: readonly {
    readonly grant_uid: string;
    readonly statements: number;
    readonly bytes: number;
  }[];
}

export class BatchBuilder {
  readonly #journal: string;
  readonly #rows: StatementRow[] = [];
  readonly #updates: StatementUpdate[] = [];
  readonly #sessions = new Set<SessionState>();
  readonly #texts = new Map<string, TextIndexTable>();
  readonly #ended = new Set<string>();
  readonly #events: EventIndexTable[] = [];
  readonly #usage = new Map<string, { statements: number; bytes: number }>();
  readonly #statementMonths = new Months();
  readonly #eventMonths = new Months();
  #openedAtSeq: number | null = null;
  #droppedUntilSeq: number | null = null;

  constructor(journal: string) {
    this.#journal = journal;
  }

  insert(row: StatementRow): void {
    this.#statementMonths.add(row.startedUs);
    this.#rows.push(row);
  }

  update(session: SessionState, running: RunningStatement, finish: StatementFinish): void {
    this.#updates.push(updateOf(session, running, 'unknown', finish));
  }

  /** The session ended before the statement did. */
  abandon(session: SessionState, running: RunningStatement): void {
    this.#updates.push(updateOf(session, running, 'unknown', null));
  }

  declare(session: SessionState, ref: number, text: TextState): void {
    this.#texts.set(`${session.uid}${ref}`, {
      session_uid: session.uid,
      ref,
      journal: this.#journal,
      sql: text.sql,
      redacted: text.redacted,
      parameter_types: [...text.parameterTypes],
      verb: text.facts.verb,
      fingerprint: text.facts.fingerprint,
      tables: [...text.facts.tables],
    });
  }

  /** The session has a delta, or is new. */
  touch(session: SessionState): void {
    this.#sessions.add(session);
  }

  end(session: SessionState): void {
    this.#ended.add(session.uid);
  }

  addEvent(row: EventIndexTable): void {
    this.#eventMonths.add(row.at_us);
    this.#events.push(row);
  }

  use(grantUid: string, statements: number, bytes: number): void {
    if (grantUid === '') return;
    const used = this.#usage.get(grantUid);
    if (used === undefined) this.#usage.set(grantUid, { statements, bytes });
    else {
      used.statements += statements;
      used.bytes += bytes;
    }
  }

  openJournal(seq: number): void {
    this.#openedAtSeq = seq;
  }

  dropUntil(seq: number): void {
    this.#droppedUntilSeq = seq;
  }

  /** Closes the batch. Sessions and running statements count as stored from here on. */
  finish(): IndexBatch {
    const statements = this.#copyStatements();
    const newSessions: SessionRow[] = [];
    const sessions: SessionChange[] = [];
    for (const session of this.#sessions) {
      if (session.row !== null) newSessions.push(session.row);
      session.row = null;
      if (session.delta !== null) sessions.push(changeOf(session, session.delta));
      session.delta = null;
    }
    return {
      journal: this.#journal,
      openedAtSeq: this.#openedAtSeq,
      droppedUntilSeq: this.#droppedUntilSeq,
      statements,
      statementCount: this.#rows.length,
      statementMonths: this.#statementMonths.all(),
      updates: this.#updates,
      newSessions,
      sessions,
      texts: [...this.#texts.values()].filter((text) => !this.#ended.has(text.session_uid)),
      endedSessions: [...this.#ended],
      events: this.#events,
      eventMonths: this.#eventMonths.all(),
      usage: [...this.#usage].map(([grant_uid, used]) => ({ grant_uid, ...used })),
    };
  }

  #copyStatements(): Uint8Array | null {
    if (this.#rows.length === 0) return null;
    copy.reset();
    for (const row of this.#rows) {
      writeRow(copy, row);
      const running = row.session.running.get(row.ordinal);
      if (running?.row === row) running.row = null;
    }
    return copy.finish();
  }
}

/** Kept between batches: the stream of a batch is some megabytes. */
const copy = new CopyWriter();

/** The months of many times, which mostly are the same one. */
class Months {
  readonly #months = new Map<string, Month>();
  #last: Month | null = null;

  add(us: number): void {
    const last = this.#last;
    if (last !== null && us >= last.fromUs && us < last.untilUs) return;
    const month = monthOf(us);
    this.#last = month;
    this.#months.set(month.suffix, month);
  }

  all(): Month[] {
    return [...this.#months.values()];
  }
}

const word = (text: string): Buffer => encodeFields((out) => out.text(text));
/** By number of `StatementKind`. */
const KIND_FIELDS = ['', 'simple', 'execute', 'function_call', 'prepare', 'command'].map(word);
const DECISION_FIELDS = ['allowed', 'denied', 'held'].map(word);
const NO_STATUS = word('');
const STATUS_FIELDS = new Map(['I', 'T', 'E'].map((status) => [status.charCodeAt(0), word(status)]));
const OUTCOME_FIELDS = new Map(
  ['running', 'completed', 'failed', 'refused', 'skipped', 'unknown'].map((name) => [name, word(name)]),
);
/** Fields from `tag` to `finish_seq` of a row whose end is not known. */
const UNFINISHED = encodeFields((out) => {
  out.text('');
  out.bigint(0);
  out.bigint(0);
  for (let i = 0; i < 5; i++) out.null();
  out.boolean(false);
  out.null();
});

function writeRow(out: CopyWriter, row: StatementRow): void {
  const { session, finish } = row;
  out.row(STATEMENT_COLUMNS.length);
  out.bytes(session.uidBytes);
  out.bigint(row.ordinal);
  out.bigint(row.startedUs);
  out.encoded(session.encoded);
  out.encoded((finish?.actual ?? row.text).encoded);
  out.encoded(KIND_FIELDS[row.kind] ?? KIND_FIELDS[0]);
  out.encoded(DECISION_FIELDS[row.decision] ?? DECISION_FIELDS[0]);
  out.encoded(STATUS_FIELDS.get(row.transactionStatus) ?? NO_STATUS);
  if (row.params === null) out.null();
  else out.text(row.params);
  out.boolean(row.redacted);
  out.bigint(row.startSeq);
  out.bigint(row.startBlock);
  out.encoded(OUTCOME_FIELDS.get(finish?.outcome ?? row.unfinished)!);
  if (finish === null) {
    out.encoded(UNFINISHED);
    return;
  }
  out.bytes(storableBytes(finish.tag));
  out.bigint(finish.rows);
  out.bigint(finish.bytes);
  out.bigint(finish.durationUs);
  bigintOrNull(out, finish.firstRowUs);
  bytesOrNull(out, finish.errorCode);
  bytesOrNull(out, finish.errorMessage);
  bigintOrNull(out, finish.xid);
  out.boolean(finish.truncated);
  out.bigint(finish.seq);
}

function bigintOrNull(out: CopyWriter, value: number | null): void {
  if (value === null) out.null();
  else out.bigint(value);
}

function bytesOrNull(out: CopyWriter, value: Buffer | null): void {
  if (value === null) out.null();
  else out.bytes(storableBytes(value));
}

function updateOf(
  session: SessionState,
  running: RunningStatement,
  outcome: string,
  finish: StatementFinish | null,
): StatementUpdate {
  const text = (bytes: Buffer | null): string | null =>
    bytes === null ? null : storableBytes(bytes).toString('utf8');
  const actual = finish?.actual ?? null;
  return {
    session_uid: session.uid,
    ordinal: running.ordinal,
    started_us: running.startedUs,
    outcome: finish?.outcome ?? outcome,
    finish_seq: finish?.seq ?? null,
    tag: text(finish?.tag ?? null) ?? '',
    rows: finish?.rows ?? 0,
    bytes: finish?.bytes ?? 0,
    duration_us: finish?.durationUs ?? null,
    first_row_us: finish?.firstRowUs ?? null,
    error_code: text(finish?.errorCode ?? null),
    error_message: text(finish?.errorMessage ?? null),
    xid: finish?.xid ?? null,
    truncated: finish?.truncated ?? false,
    sql: actual?.sql ?? null,
    verb: actual?.facts.verb ?? null,
    fingerprint: actual?.facts.fingerprint ?? null,
    tables: actual?.facts.tables ?? null,
  };
}

function changeOf(session: SessionState, delta: NonNullable<SessionState['delta']>): SessionChange {
  const { closed } = delta;
  return {
    uid: session.uid,
    statements: delta.statements,
    errors: delta.errors,
    used_statements: delta.usedStatements,
    used_bytes: delta.usedBytes,
    server_messages: delta.serverMessages,
    last_us: delta.lastUs,
    last_seq: session.lastSeq,
    closed_us: closed?.atUs ?? null,
    close_reason: closed?.reason ?? null,
    close_detail: closed?.detail ?? null,
    bytes_in: closed?.bytesIn ?? 0,
    bytes_out: closed?.bytesOut ?? 0,
  };
}
