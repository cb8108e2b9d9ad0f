/**
 * What the indexer remembers of open sessions: who they are, the texts they declared, the statements they have running.
 * All of it is in the store too and can be loaded again, so memory is bounded by forgetting (`StateCache.trim`), which
 * is allowed whenever no batch is on its way to the store.
 */
import type { EngineName } from '../model/access.ts';
import { encodeFields } from './copy-writer.ts';
import type { SessionIndexTable } from './schema.ts';
import type { StatementFacts } from './statement-decoder.ts';

/** Sessions and bytes of texts that are remembered between batches. */
const MAX_SESSIONS = 20_000;
const MAX_TEXT_BYTES = 64 * 1024 * 1024;

/** A statement text, its columns ready for COPY: verb, sql, fingerprint, tables. */
export interface TextState {
  readonly sql: string;
  readonly facts: StatementFacts;
  readonly encoded: Buffer;
  readonly redacted: boolean;
  readonly parameterTypes: readonly number[];
}

/** A statement whose end is not known yet. `row` as long as it waits in the current batch, then `null`. */
export interface RunningStatement {
  readonly ordinal: number;
  readonly startedUs: number;
  row: StatementRow | null;
}

/** A row of idx_statements in the making; `finish` is filled when the end comes in the same batch. */
export interface StatementRow {
  readonly session: SessionState;
  readonly ordinal: number;
  readonly startedUs: number;
  readonly startSeq: number;
  readonly startBlock: number;
  readonly kind: number;
  readonly decision: number;
  readonly transactionStatus: number;
  readonly text: TextState;
  readonly params: string | null;
  readonly redacted: boolean;
  /** `running` or, when the session ended first, `unknown`. */
  unfinished: 'running' | 'unknown';
  finish: StatementFinish | null;
}

export interface StatementFinish {
  readonly seq: number;
  readonly tag: Buffer;
  readonly rows: number;
  readonly bytes: number;
  readonly durationUs: number;
  readonly firstRowUs: number | null;
  readonly outcome: string;
  readonly errorCode: Buffer | null;
  readonly errorMessage: Buffer | null;
  readonly xid: number | null;
  readonly truncated: boolean;
  /** The text the server really ran, when that was another. */
  readonly actual: TextState | null;
}

/** What a batch adds to a session. */
export interface SessionDelta {
  statements: number;
  errors: number;
  usedStatements: number;
  usedBytes: number;
  serverMessages: number;
  lastUs: number;
  closed: SessionEnd | null;
}

export interface SessionEnd {
  readonly atUs: number;
  readonly reason: string;
  readonly detail: string;
  readonly bytesIn: number;
  readonly bytesOut: number;
}

export type SessionRow = SessionIndexTable;

export class SessionState {
  readonly key: string;
  readonly uid: string;
  readonly uidBytes: Buffer;
  readonly engine: EngineName;
  readonly grantUid: string;
  /** The row to insert, until the store has it. */
  row: SessionRow | null;
  /** Columns that all its statements share, ready for COPY. */
  readonly encoded: Buffer;
  readonly texts = new Map<number, TextState>();
  readonly running = new Map<number, RunningStatement>();
  /** Events up to here are counted already; they may be seen again. */
  lastSeq: number;
  delta: SessionDelta | null = null;
  textBytes = 0;

  constructor(row: SessionRow, stored: boolean) {
    this.uid = row.uid;
    this.uidBytes = Buffer.from(row.uid.replaceAll('-', ''), 'hex');
    this.key = this.uidBytes.toString('latin1');
    this.engine = row.engine as EngineName;
    this.grantUid = row.grant_uid;
    this.row = stored ? null : row;
    this.lastSeq = stored ? row.last_seq : -1;
    this.encoded = encodeFields((out) => {
      for (const text of [row.journal, row.user_name, row.user_uid, row.database_name, row.database_uid])
        out.text(text);
    });
  }

  declare(ref: number, text: TextState): void {
    this.textBytes += text.encoded.length - (this.texts.get(ref)?.encoded.length ?? 0);
    this.texts.set(ref, text);
  }
}

export class StateCache {
  readonly #sessions = new Map<string, SessionState>();

  get(key: string): SessionState | undefined {
    return this.#sessions.get(key);
  }

  add(session: SessionState): void {
    this.#sessions.set(session.key, session);
  }

  forget(key: string): void {
    this.#sessions.delete(key);
  }

  clear(): void {
    this.#sessions.clear();
  }

  get size(): number {
    return this.#sessions.size;
  }

  /** Too much is remembered: {@link trim} at the next moment when no batch is under way. */
  get full(): boolean {
    return this.#sessions.size > MAX_SESSIONS || this.#textBytes() > MAX_TEXT_BYTES;
  }

  /** Forgets the sessions that were seen first, down to three quarters of the limits. */
  trim(): void {
    let bytes = this.#textBytes();
    for (const [key, session] of this.#sessions) {
      if (this.#sessions.size <= MAX_SESSIONS * 0.75 && bytes <= MAX_TEXT_BYTES * 0.75) return;
      bytes -= session.textBytes;
      this.#sessions.delete(key);
    }
  }

  #textBytes(): number {
    let bytes = 0;
    for (const session of this.#sessions.values()) bytes += session.textBytes;
    return bytes;
  }
}
