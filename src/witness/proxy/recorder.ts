/**
 * Writes one session's events into the journal: the session itself, every statement before it is forwarded, every
 * outcome before it reaches the client.
 *
 * Segments are self-contained: when the journal has moved on to a new segment, the session is declared again before its
 * next event, and so is every text that is referred to.
 *
 * An outcome is kept open until the next event or the end of the chunk ({@link SessionRecorder.settle}), because what
 * follows in the same chunk still belongs to it: the transaction status of ReadyForQuery, a transaction id.
 */
import { uidFromBytes, type Uid } from '../../base/ids.ts';
import { limits } from '../../base/limits.ts';
import {
  copyChunk,
  NO_BYTES,
  resultChunk,
  sessionClosed,
  sessionOpened,
  type SessionOpenedFields,
  type StatementErrorFields,
  statementFinished,
  StatementFinishedRecord,
  statementStarted,
  StatementStartedRecord,
  textDeclared,
} from '../../journal/encode.ts';
import type { JournalAppender } from '../../model/journal.ts';
import type { TurnScheduler } from './turn.ts';

export {
  StatementKind,
  Outcome,
  Decision,
  SessionClosed_Reason as CloseReason,
  Engine,
  Witness,
} from '../../model/events.ts';

/** A text long enough to be declared once and referred to afterwards. */
export interface DeclarableText {
  readonly recorded: Buffer;
  readonly redacted: boolean;
  readonly originalBytes: number;
  readonly parameterTypes: readonly number[];
  ref: number;
  declaredIn: number;
  /** Executions so far: the first one of a text carries it inline. */
  executions: number;
}

/** Texts up to this size are repeated in every record: a reference would save little. */
const SHORT_TEXT_BYTES = 256;
/** Longer ones are declared even for their first execution, so that text and parameters fit into one event. */
const INLINE_TEXT_BYTES = 64 * 1024;
/** Of a longer text, in one TextDeclared. */
const PIECE_BYTES = 512 * 1024;
/** Parameters of one execution that fit into its event, beside an inline text. */
export const MAX_BIND_BYTES: number = limits.maxEventBytes - 64 * 1024;
/** A row that fits into one event, beside the description of its columns. */
export const MAX_ROW_BYTES: number = limits.maxEventBytes - 256 * 1024;

export class SessionRecorder {
  readonly uid: Uid;
  readonly uidBytes: Uint8Array;
  readonly journal: JournalAppender;
  readonly started = new StatementStartedRecord();
  readonly finished = new StatementFinishedRecord();
  readonly #turn: TurnScheduler;
  #opened: SessionOpenedFields | null = null;
  #segment = -1;
  #nextRef = 1;
  #pending = false;
  #pendingAtUs = 0;
  statements = 0;

  constructor(journal: JournalAppender, turn: TurnScheduler, uidBytes: Uint8Array) {
    this.journal = journal;
    this.#turn = turn;
    this.uidBytes = uidBytes;
    this.uid = uidFromBytes(uidBytes);
  }

  open(fields: SessionOpenedFields): void {
    this.#opened = fields;
    this.#segment = this.journal.segment;
    sessionOpened(this.journal, this.#turn.wallUs, this.uidBytes, fields);
  }

  close(reason: number, detail: string, bytesIn: number, bytesOut: number): void {
    this.#ready();
    sessionClosed(
      this.journal,
      this.#turn.wallUs,
      this.uidBytes,
      reason,
      detail,
      this.statements,
      bytesIn,
      bytesOut,
    );
  }

  /** Appends the record in `started`, which the caller has filled, and resets it. */
  start(): void {
    this.#ready();
    statementStarted(this.journal, this.#turn.wallUs, this.uidBytes, this.started);
    this.started.reset();
  }

  /** Puts a text into `started`: inline, or as a reference once it is executed again. */
  putText(text: DeclarableText): void {
    const { recorded } = text;
    const repeated = recorded.length > SHORT_TEXT_BYTES && ++text.executions > 1;
    if (!repeated && recorded.length <= INLINE_TEXT_BYTES) {
      this.#inline(recorded, 0, recorded.length, text.originalBytes, text.redacted);
      this.started.parameterTypes = text.parameterTypes;
      return;
    }
    this.#ready();
    if (text.ref === 0) text.ref = this.#nextRef++;
    if (text.declaredIn !== this.#segment)
      this.#declare(
        text.ref,
        recorded,
        0,
        recorded.length,
        text.originalBytes,
        text.redacted,
        text.parameterTypes,
      );
    text.declaredIn = this.#segment;
    this.started.textRef = text.ref;
    this.started.redacted = text.redacted;
  }

  /** Puts a text that is used once into `started`; one that is too long for an event is declared before, in pieces. */
  putOnce(sql: Buffer, start: number, end: number, originalBytes: number, redacted: boolean): void {
    if (end - start <= INLINE_TEXT_BYTES) {
      this.#inline(sql, start, end, originalBytes, redacted);
      return;
    }
    this.#ready();
    const ref = this.#nextRef++;
    this.#declare(ref, sql, start, end, originalBytes, redacted, []);
    this.started.textRef = ref;
    this.started.redacted = redacted;
  }

  #inline(sql: Buffer, start: number, end: number, originalBytes: number, redacted: boolean): void {
    const record = this.started;
    record.sql = sql;
    record.sqlStart = start;
    record.sqlEnd = end;
    record.sqlBytes = originalBytes === end - start ? 0 : originalBytes;
    record.redacted = redacted;
  }

  #declare(
    ref: number,
    sql: Buffer,
    start: number,
    end: number,
    originalBytes: number,
    redacted: boolean,
    parameterTypes: readonly number[],
  ): void {
    const { journal, uidBytes } = this;
    const { wallUs } = this.#turn;
    const bytes = originalBytes === end - start && end - start <= PIECE_BYTES ? 0 : originalBytes;
    for (let at = start; at === start || at < end; at += PIECE_BYTES) {
      const next = Math.min(end, at + PIECE_BYTES);
      textDeclared(
        journal,
        wallUs,
        uidBytes,
        ref,
        sql,
        at,
        next,
        parameterTypes,
        bytes,
        redacted,
        at - start,
      );
    }
  }

  /** The caller has filled `finished`; it goes into the journal with what may still follow in this chunk. */
  finish(): void {
    this.#pending = true;
    this.#pendingAtUs = this.#turn.wallUs;
  }

  get pending(): boolean {
    return this.#pending;
  }

  /** Appends the outcome that is kept open. Borrowed slices in it must still be valid. */
  settle(): void {
    if (!this.#pending) return;
    this.#pending = false;
    this.#declareSession();
    statementFinished(this.journal, this.#pendingAtUs, this.uidBytes, this.finished);
    this.finished.reset();
  }

  rows(
    ordinal: number,
    description: Uint8Array | null,
    descriptionStart: number,
    descriptionEnd: number,
    rows: Uint8Array,
    start: number,
    end: number,
    count: number,
  ): void {
    this.#ready();
    const d = description ?? NO_BYTES;
    resultChunk(
      this.journal,
      this.#turn.wallUs,
      this.uidBytes,
      ordinal,
      d,
      descriptionStart,
      descriptionEnd,
      rows,
      start,
      end,
      count,
    );
  }

  copy(ordinal: number, fromClient: boolean, data: Uint8Array, start: number, end: number): void {
    this.#ready();
    copyChunk(this.journal, this.#turn.wallUs, this.uidBytes, ordinal, fromClient, data, start, end);
  }

  /** What the server said outside of any statement. */
  serverMessage(kind: string, text: string): void {
    this.#ready();
    const writer = this.journal.beginEvent(this.#turn.wallUs, this.uidBytes);
    const mark = writer.beginMessage(18);
    writer.stringField(1, kind);
    writer.stringField(2, text);
    writer.endMessage(mark);
    this.journal.endEvent();
  }

  #ready(): void {
    this.settle();
    this.#declareSession();
  }

  #declareSession(): void {
    const { segment } = this.journal;
    if (segment === this.#segment || !this.#opened) return;
    this.#segment = segment;
    sessionOpened(this.journal, this.#turn.wallUs, this.uidBytes, { ...this.#opened, continued: true });
  }
}

export type { StatementErrorFields };
