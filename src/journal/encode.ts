/**
 * Hand-written encoders of the events of the hot path, straight into the appender's buffer: no message objects, no
 * copies but the one into the block. Each produces exactly the bytes that the generated code's `toBinary` would (a
 * test holds them to it), so every reader uses the generated code.
 *
 * Records are mutable structs that their owner keeps and reuses: set every field that differs from the default, call
 * the encoder, `reset()`. Slices (`bytes`, `start`, `end`) are read during the call only.
 *
 * Fields go out in the order of their numbers, and values that are proto3 defaults are left out.
 */
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import type { ByteWriter } from '../base/bytes.ts';
import { EventSchema, Decision, Outcome, StatementKind } from '../model/events.ts';
import type { EventSeq, JournalAppender } from '../model/journal.ts';
import { closeMessage, oneByte, openMessage, packed, repeatedText, text, textMap } from './encode-fields.ts';

export const NO_BYTES: Uint8Array = new Uint8Array(0);
const NO_NUMBERS: readonly number[] = [];

/** Numbers of `Event.body`'s fields. */
const BODY = {
  sessionOpened: 10,
  sessionClosed: 11,
  textDeclared: 13,
  statementStarted: 14,
  statementFinished: 15,
  resultChunk: 16,
  copyChunk: 17,
} as const;

/** Appends any event through the generated code: for what is not hot. Allocates. */
export function appendEvent(journal: JournalAppender, event: MessageInitShape<typeof EventSchema>): EventSeq {
  return journal.appendEncoded(toBinary(EventSchema, create(EventSchema, event)));
}

// ---- sessions -------------------------------------------------------------------------------------------------

export interface SessionOpenedFields {
  readonly witness: number;
  readonly engine: number;
  readonly serverUid: string;
  readonly backendId: string;
  readonly backendStartedUs: number;
  readonly userUid: string;
  readonly userName: string;
  readonly databaseUid: string;
  readonly databaseName: string;
  readonly grantUid: string;
  readonly controls: readonly string[];
  readonly clientAddress: string;
  readonly clientPort: number;
  readonly tls: string;
  readonly authentication: string;
  readonly credentialUid: string;
  readonly applicationName: string;
  readonly clientProtocol: string;
  readonly parameters: Readonly<Record<string, string>>;
  /** Repeated at the start of a new segment. */
  readonly continued: boolean;
  readonly openedUs: number;
  /** 16 bytes, or empty. */
  readonly parentSessionUid: Uint8Array;
  readonly upstreamUser: string;
}

export function sessionOpened(
  journal: JournalAppender,
  atUs: number,
  sessionUid: Uint8Array,
  session: SessionOpenedFields,
): EventSeq {
  const writer = journal.beginEvent(atUs, sessionUid);
  const body = openMessage(writer, BODY.sessionOpened);
  const origin = openMessage(writer, 1);
  writer.uintField(1, session.witness);
  writer.uintField(2, session.engine);
  text(writer, 3, session.serverUid);
  text(writer, 4, session.backendId);
  writer.uintField(5, session.backendStartedUs);
  closeMessage(writer, origin);
  text(writer, 2, session.userUid);
  text(writer, 3, session.userName);
  text(writer, 4, session.databaseUid);
  text(writer, 5, session.databaseName);
  text(writer, 6, session.grantUid);
  for (const control of session.controls) repeatedText(writer, 7, control);
  text(writer, 8, session.clientAddress);
  writer.uintField(9, session.clientPort);
  text(writer, 10, session.tls);
  text(writer, 11, session.authentication);
  text(writer, 12, session.credentialUid);
  text(writer, 13, session.applicationName);
  text(writer, 14, session.clientProtocol);
  textMap(writer, 15, session.parameters);
  writer.boolField(16, session.continued);
  writer.uintField(17, session.openedUs);
  writer.bytesField(18, session.parentSessionUid);
  text(writer, 19, session.upstreamUser);
  closeMessage(writer, body);
  return journal.endEvent();
}

/** @param reason a `SessionClosed_Reason`. */
export function sessionClosed(
  journal: JournalAppender,
  atUs: number,
  sessionUid: Uint8Array,
  reason: number,
  detail: string,
  statements: number,
  bytesIn: number,
  bytesOut: number,
): EventSeq {
  const writer = journal.beginEvent(atUs, sessionUid);
  const body = openMessage(writer, BODY.sessionClosed);
  writer.uintField(1, reason);
  text(writer, 2, detail);
  writer.uintField(3, statements);
  writer.uintField(4, bytesIn);
  writer.uintField(5, bytesOut);
  closeMessage(writer, body);
  return journal.endEvent();
}

// ---- statements -----------------------------------------------------------------------------------------------

/**
 * @param ref within the session, from 1.
 * @param sqlBytes length before redaction or truncation; 0 when `sql` is the whole text.
 * @param offset where this piece begins in a text that needs several events.
 */
export function textDeclared(
  journal: JournalAppender,
  atUs: number,
  sessionUid: Uint8Array,
  ref: number,
  sql: Uint8Array,
  start: number,
  end: number,
  parameterTypes: ArrayLike<number>,
  sqlBytes: number,
  redacted: boolean,
  offset = 0,
): EventSeq {
  const writer = journal.beginEvent(atUs, sessionUid);
  const body = openMessage(writer, BODY.textDeclared);
  writer.uintField(1, ref);
  writer.bytesField(2, sql, start, end);
  packed(writer, 3, parameterTypes);
  writer.uintField(4, sqlBytes);
  writer.boolField(5, redacted);
  writer.uintField(6, offset);
  closeMessage(writer, body);
  return journal.endEvent();
}

export class StatementStartedRecord {
  ordinal = 0;
  kind: StatementKind = StatementKind.UNSPECIFIED;
  /** The statement's own text, or empty with `textRef`. */
  sql = NO_BYTES;
  sqlStart = 0;
  sqlEnd = 0;
  textRef = 0;
  /** PostgreSQL's Bind body from the parameter formats to the end of the values, raw. */
  bind = NO_BYTES;
  bindStart = 0;
  bindEnd = 0;
  parameterTypes: ArrayLike<number> = NO_NUMBERS;
  /** Full length of the values, when `bind` was cut. */
  parameterBytes = 0;
  redacted = false;
  sqlBytes = 0;
  decision: Decision = Decision.ALLOWED;
  decisionReason = '';
  preparedName = '';
  portalName = '';
  /** The byte I, T or E; 0 when unknown. */
  transactionStatus = 0;
  maxRows = 0;

  reset(): void {
    this.ordinal = 0;
    this.kind = StatementKind.UNSPECIFIED;
    this.sql = NO_BYTES;
    this.sqlStart = 0;
    this.sqlEnd = 0;
    this.textRef = 0;
    this.bind = NO_BYTES;
    this.bindStart = 0;
    this.bindEnd = 0;
    this.parameterTypes = NO_NUMBERS;
    this.parameterBytes = 0;
    this.redacted = false;
    this.sqlBytes = 0;
    this.decision = Decision.ALLOWED;
    this.decisionReason = '';
    this.preparedName = '';
    this.portalName = '';
    this.transactionStatus = 0;
    this.maxRows = 0;
  }
}

export function statementStarted(
  journal: JournalAppender,
  atUs: number,
  sessionUid: Uint8Array,
  record: StatementStartedRecord,
): EventSeq {
  const writer = journal.beginEvent(atUs, sessionUid);
  const body = openMessage(writer, BODY.statementStarted);
  writer.uintField(1, record.ordinal);
  writer.uintField(2, record.kind);
  writer.bytesField(3, record.sql, record.sqlStart, record.sqlEnd);
  writer.uintField(4, record.textRef);
  writer.bytesField(6, record.bind, record.bindStart, record.bindEnd);
  packed(writer, 7, record.parameterTypes);
  writer.uintField(8, record.parameterBytes);
  writer.boolField(9, record.redacted);
  writer.uintField(10, record.sqlBytes);
  writer.uintField(11, record.decision);
  text(writer, 12, record.decisionReason);
  text(writer, 13, record.preparedName);
  text(writer, 14, record.portalName);
  oneByte(writer, 15, record.transactionStatus);
  writer.uintField(16, record.maxRows);
  closeMessage(writer, body);
  return journal.endEvent();
}

export interface StatementErrorFields {
  readonly severity: string;
  readonly code: string;
  readonly message: string;
  readonly detail: string;
  readonly hint: string;
  readonly position: number;
  readonly number: number;
  /** Further fields by their protocol letter. */
  readonly fields: Readonly<Record<string, string>>;
}

export class StatementFinishedRecord {
  ordinal = 0;
  /** The CommandComplete tag as received, without its terminating zero. Must be UTF-8 (it is ASCII in practice). */
  tag = NO_BYTES;
  tagStart = 0;
  tagEnd = 0;
  rows = 0;
  bytes = 0;
  durationUs = 0;
  firstRowUs = 0;
  error: StatementErrorFields | null = null;
  /** The byte I, T or E; 0 when unknown. */
  transactionStatus = 0;
  xid = 0;
  /** The inline result: RowDescription body and whole DataRow messages, raw. Left out when all three are empty. */
  description = NO_BYTES;
  descriptionStart = 0;
  descriptionEnd = 0;
  resultRows = NO_BYTES;
  resultRowsStart = 0;
  resultRowsEnd = 0;
  resultRowCount = 0;
  truncated = false;
  outcome: Outcome = Outcome.COMPLETED;
  actualSql = NO_BYTES;
  affectedRows = 0;
  lastInsertId = 0;
  warnings = 0;
  suspended = false;
  gtid = '';
  notices: readonly string[] = [];

  reset(): void {
    this.ordinal = 0;
    this.tag = NO_BYTES;
    this.tagStart = 0;
    this.tagEnd = 0;
    this.rows = 0;
    this.bytes = 0;
    this.durationUs = 0;
    this.firstRowUs = 0;
    this.error = null;
    this.transactionStatus = 0;
    this.xid = 0;
    this.description = NO_BYTES;
    this.descriptionStart = 0;
    this.descriptionEnd = 0;
    this.resultRows = NO_BYTES;
    this.resultRowsStart = 0;
    this.resultRowsEnd = 0;
    this.resultRowCount = 0;
    this.truncated = false;
    this.outcome = Outcome.COMPLETED;
    this.actualSql = NO_BYTES;
    this.affectedRows = 0;
    this.lastInsertId = 0;
    this.warnings = 0;
    this.suspended = false;
    this.gtid = '';
    if (this.notices.length > 0) this.notices = [];
  }
}

export function statementFinished(
  journal: JournalAppender,
  atUs: number,
  sessionUid: Uint8Array,
  record: StatementFinishedRecord,
): EventSeq {
  const writer = journal.beginEvent(atUs, sessionUid);
  const body = openMessage(writer, BODY.statementFinished);
  writer.uintField(1, record.ordinal);
  writer.bytesField(2, record.tag, record.tagStart, record.tagEnd);
  writer.uintField(3, record.rows);
  writer.uintField(4, record.bytes);
  writer.uintField(5, record.durationUs);
  writer.uintField(6, record.firstRowUs);
  if (record.error !== null) statementError(writer, 7, record.error);
  oneByte(writer, 8, record.transactionStatus);
  writer.uintField(9, record.xid);
  result(
    writer,
    10,
    record.description,
    record.descriptionStart,
    record.descriptionEnd,
    record.resultRows,
    record.resultRowsStart,
    record.resultRowsEnd,
    record.resultRowCount,
  );
  writer.boolField(11, record.truncated);
  writer.uintField(12, record.outcome);
  writer.bytesField(13, record.actualSql);
  writer.uintField(14, record.affectedRows);
  writer.uintField(15, record.lastInsertId);
  writer.uintField(16, record.warnings);
  writer.boolField(17, record.suspended);
  text(writer, 18, record.gtid);
  for (const notice of record.notices) repeatedText(writer, 19, notice);
  closeMessage(writer, body);
  return journal.endEvent();
}

/** A piece of a result. `description` is given with the first piece only (empty slice afterwards). */
export function resultChunk(
  journal: JournalAppender,
  atUs: number,
  sessionUid: Uint8Array,
  ordinal: number,
  description: Uint8Array,
  descriptionStart: number,
  descriptionEnd: number,
  rows: Uint8Array,
  rowsStart: number,
  rowsEnd: number,
  rowCount: number,
): EventSeq {
  const writer = journal.beginEvent(atUs, sessionUid);
  const body = openMessage(writer, BODY.resultChunk);
  writer.uintField(1, ordinal);
  result(writer, 2, description, descriptionStart, descriptionEnd, rows, rowsStart, rowsEnd, rowCount);
  closeMessage(writer, body);
  return journal.endEvent();
}

export function copyChunk(
  journal: JournalAppender,
  atUs: number,
  sessionUid: Uint8Array,
  ordinal: number,
  fromClient: boolean,
  data: Uint8Array,
  start: number,
  end: number,
): EventSeq {
  const writer = journal.beginEvent(atUs, sessionUid);
  const body = openMessage(writer, BODY.copyChunk);
  writer.uintField(1, ordinal);
  writer.boolField(2, fromClient);
  writer.bytesField(3, data, start, end);
  closeMessage(writer, body);
  return journal.endEvent();
}

// ---- parts ----------------------------------------------------------------------------------------------------

function result(
  writer: ByteWriter,
  field: number,
  description: Uint8Array,
  descriptionStart: number,
  descriptionEnd: number,
  rows: Uint8Array,
  rowsStart: number,
  rowsEnd: number,
  rowCount: number,
): void {
  if (descriptionEnd === descriptionStart && rowsEnd === rowsStart && rowCount === 0) return;
  const mark = openMessage(writer, field);
  writer.bytesField(1, description, descriptionStart, descriptionEnd);
  writer.bytesField(2, rows, rowsStart, rowsEnd);
  writer.uintField(3, rowCount);
  closeMessage(writer, mark);
}

function statementError(writer: ByteWriter, field: number, error: StatementErrorFields): void {
  const mark = openMessage(writer, field);
  text(writer, 1, error.severity);
  text(writer, 2, error.code);
  text(writer, 3, error.message);
  text(writer, 4, error.detail);
  text(writer, 5, error.hint);
  writer.uintField(6, error.position);
  writer.uintField(7, error.number);
  textMap(writer, 8, error.fields);
  closeMessage(writer, mark);
}
