/**
 * What the packets of an answer mean, and what they leave in the journal. They say what they are only by their place, so
 * the head of the request queue has a *phase*:
 *
 *   first ── OK, ERR ───────────────────────────────────▶ answered (or first again: SERVER_MORE_RESULTS_EXISTS)
 *     ├──── column count ─▶ columns ─▶ [EOF] ─▶ rows ── EOF, OK 0xfe, ERR ─▶ the same
 *     ├──── PREPARE_OK ──▶ parameters ─▶ [EOF] ─▶ columns ─▶ [EOF] ─▶ answered
 *     └──── 0xfb ────────▶ the client's file (infile.ts) ─▶ first
 *
 * A packet that does not fit means that we lost track: the session ends rather than attribute a result wrongly.
 */
import {
  type Capabilities,
  Capability,
  HEADER_BYTES,
  MAX_PACKET_BYTES,
  Status,
} from '../../../wire/mysql/protocol.ts';
import { uint16At } from '../../../wire/mysql/reader.ts';
import {
  decodeErr,
  decodeOk,
  EOF,
  eofStatus,
  ERR,
  isProgressReport,
  LOCAL_INFILE,
  OK,
  OkView,
} from '../../../wire/mysql/responses.ts';
import {
  decodePrepareOk,
  decodeResultSetHeader,
  decodeTextRow,
  PrepareOk,
  ResultSetHeader,
} from '../../../wire/mysql/resultset.ts';
import { Outcome } from '../recorder.ts';
import type { RowCapture } from '../row-capture.ts';
import { type InternalAnswer, type Request, RequestKind } from './requests.ts';
import type { MysqlSession } from './session.ts';
import type { InFlight } from './statement.ts';
import { okWithoutState } from './translate.ts';

/** A cursor's result has none behind it. */
const CURSOR_BITS = Status.CURSOR_EXISTS | Status.MORE_RESULTS_EXISTS;
const Phase = { first: 0, parameters: 1, parametersEnd: 2, columns: 3, columnsEnd: 4, rows: 5 } as const;
type Phase = (typeof Phase)[keyof typeof Phase];

/** Descriptions beyond this get an event of their own, and beyond the other are not recorded at all. */
const LONG_DESCRIPTION_BYTES = 64 * 1024;
const MAX_DESCRIPTION_BYTES = 900 * 1024;

/** A row, or a packet of one, of which `bytes[at, end)` is there. */
export type RowSink = (head: Request, bytes: Buffer, at: number, end: number, total: number) => void;

export class Answers {
  readonly #s: MysqlSession;
  readonly #capabilities: Capabilities;
  readonly #deprecateEof: boolean;
  /** The client did not agree to session tracking, but the upstream does it for our sake. */
  readonly #stripState: boolean;
  readonly #capture: RowCapture<InFlight>;
  readonly #beginRow: RowSink;
  readonly #ok = new OkView();
  readonly #header = new ResultSetHeader();
  readonly #prepareOk = new PrepareOk();
  #phase: Phase = Phase.first;
  /** Definitions that are still to come. */
  #definitions = 0;
  #columnCount = 0;
  /** Of the result that is being received: MORE_RESULTS_EXISTS, where it is said in front of the rows only. */
  #moreByFirstEof = 0;
  #internalRow: (string | null)[] | null = null;

  constructor(session: MysqlSession, capture: RowCapture<InFlight>, beginRow: RowSink) {
    this.#s = session;
    this.#capabilities = session.upstreamCapabilities;
    this.#deprecateEof = (this.#capabilities.flags & Capability.DEPRECATE_EOF) !== 0;
    this.#stripState =
      (this.#capabilities.flags & ~session.clientCapabilities.flags & Capability.SESSION_TRACK) !== 0;
    this.#capture = capture;
    this.#beginRow = beginRow;
  }

  get inRows(): boolean {
    return this.#phase === Phase.rows;
  }

  /** A request became the head of the queue. */
  begin(): void {
    this.#phase = Phase.first;
    this.#moreByFirstEof = 0;
    this.#internalRow = null;
  }

  /** Whether the packet is a row, by its first byte and the length of its payload. */
  isRow(first: number, length: number): boolean {
    return this.#phase === Phase.rows && !isTerminator(first, length, this.#deprecateEof);
  }

  /** A packet in order, whole, and not a row but those of our own queries. */
  packet(head: Request, bytes: Buffer, at: number, next: number): void {
    const start = at + HEADER_BYTES;
    const first = bytes[start];
    if (this.isRow(first, next - start)) {
      this.#internalRowOf(bytes, start, next);
      return;
    }
    if (first === ERR && this.#phase !== Phase.columns && this.#phase !== Phase.parameters) {
      this.#error(head, bytes, at, next);
      return;
    }
    switch (this.#phase) {
      case Phase.first:
        this.#first(head, bytes, at, next);
        return;
      case Phase.parameters:
      case Phase.columns:
        this.#definition(head, bytes, at, next);
        return;
      case Phase.parametersEnd:
      case Phase.columnsEnd:
        this.#definitionsEnd(head, bytes, at, next);
        return;
      case Phase.rows:
        this.#okOrEof(head, bytes, at, next, true);
    }
  }

  #forward(head: Request, bytes: Buffer, at: number, next: number): void {
    if (head.kind !== RequestKind.internal) this.#s.toClient.push(bytes, at, next);
  }

  #first(head: Request, bytes: Buffer, at: number, next: number): void {
    const s = this.#s;
    const start = at + HEADER_BYTES;
    const first = bytes[start];
    switch (head.kind) {
      case RequestKind.statistics:
        this.#forward(head, bytes, at, next);
        this.#answered(head, s.status, 0, null, bytes);
        return;
      case RequestKind.fieldList:
        this.#phase = Phase.columns;
        this.#definitions = -1;
        s.records.beginDescription(false);
        this.#definition(head, bytes, at, next);
        return;
      case RequestKind.fetch:
        this.#phase = Phase.rows;
        this.#beginFetch(head);
        if (this.isRow(first, next - start)) this.#beginRow(head, bytes, at, next, next - at);
        else this.#okOrEof(head, bytes, at, next, true);
        return;
      case RequestKind.prepare:
        this.#prepared(head, bytes, at, next);
        return;
      case RequestKind.ok:
      case RequestKind.query:
      case RequestKind.execute:
      case RequestKind.internal:
      case RequestKind.local:
        break;
    }
    if (first === OK || (first === EOF && next - start < 9)) {
      this.#okOrEof(head, bytes, at, next, false);
      return;
    }
    if (head.kind === RequestKind.ok) {
      s.lostTrack('an answer that is neither OK nor ERR');
      return;
    }
    if (first === LOCAL_INFILE) {
      s.file.askedFor(head, bytes, at, next);
      return;
    }
    this.#resultSet(head, bytes, at, next);
  }

  #resultSet(head: Request, bytes: Buffer, at: number, next: number): void {
    const s = this.#s;
    const header = this.#header;
    decodeResultSetHeader(bytes, at + HEADER_BYTES, next, this.#capabilities, header);
    this.#columnCount = header.columnCount;
    const statement = head.running();
    if (!statement && head.kind !== RequestKind.internal) {
      s.lostTrack('a result that belongs to no statement');
      return;
    }
    if (head.kind !== RequestKind.internal) s.records.beginDescription(head.kind === RequestKind.execute);
    if (header.metadataFollows) {
      this.#definitions = header.columnCount;
      this.#phase = Phase.columns;
    } else {
      const known = head.prepared?.columns ?? null;
      if (known) s.records.addDescription(known, 0, known.length);
      else s.records.dropDescription();
      this.#phase = this.#deprecateEof ? Phase.rows : Phase.columnsEnd;
    }
    this.#forward(head, bytes, at, next);
  }

  /** A column or parameter definition, or what ends those of COM_FIELD_LIST. */
  #definition(head: Request, bytes: Buffer, at: number, next: number): void {
    const s = this.#s;
    const first = bytes[at + HEADER_BYTES];
    if (
      head.kind === RequestKind.fieldList &&
      isTerminator(first, next - at - HEADER_BYTES, this.#deprecateEof)
    ) {
      this.#okOrEof(head, bytes, at, next, true);
      return;
    }
    if (head.kind === RequestKind.fieldList && first === ERR) {
      this.#error(head, bytes, at, next);
      return;
    }
    if (this.#phase === Phase.columns && head.kind !== RequestKind.internal) {
      if (s.records.descriptionBytes + next - at <= MAX_DESCRIPTION_BYTES)
        s.records.addDescription(bytes, at, next);
      else this.#tooLongToDescribe(head);
    }
    this.#forward(head, bytes, at, next);
    if (--this.#definitions !== 0) return;
    if (!this.#deprecateEof)
      this.#phase = this.#phase === Phase.parameters ? Phase.parametersEnd : Phase.columnsEnd;
    else if (this.#phase === Phase.parameters) this.#afterParameters(head, bytes);
    else this.#afterColumns(head, bytes);
  }

  /** The EOF behind definitions, for clients without CLIENT_DEPRECATE_EOF. */
  #definitionsEnd(head: Request, bytes: Buffer, at: number, next: number): void {
    const status = eofStatus(bytes, at + HEADER_BYTES, next);
    // MySQL says only here that more follows the values of OUT parameters, and not behind them.
    this.#moreByFirstEof = (status & Status.PS_OUT_PARAMS) === 0 ? 0 : status & Status.MORE_RESULTS_EXISTS;
    this.#forward(head, bytes, at, next);
    if (this.#phase === Phase.parametersEnd) this.#afterParameters(head, bytes);
    // The flag alone says nothing: a procedure's own cursor sets it as well, in results that have their rows.
    else if (head.opensCursor && (status & CURSOR_BITS) === Status.CURSOR_EXISTS) {
      this.#keepColumns(head);
      this.#resultEnds(head, status, uint16At(bytes, at + 5), null, bytes);
    } else this.#afterColumns(head, bytes);
  }

  #afterParameters(head: Request, bytes: Buffer): void {
    if (this.#prepareOk.columnCount === 0) {
      this.#answered(head, this.#s.status, 0, null, bytes);
      return;
    }
    this.#definitions = this.#prepareOk.columnCount;
    this.#phase = Phase.columns;
    this.#s.records.beginDescription(true);
  }

  #afterColumns(head: Request, bytes: Buffer): void {
    const s = this.#s;
    if (head.kind === RequestKind.prepare) {
      this.#keepColumns(head);
      s.records.dropDescription();
      this.#answered(head, s.status, 0, null, bytes);
      return;
    }
    this.#phase = Phase.rows;
    if (head.prepared) this.#keepColumns(head);
    const statement = head.running();
    if (statement && s.records.descriptionBytes > LONG_DESCRIPTION_BYTES) s.records.describeEmpty(statement);
  }

  /** Column definitions are kept where a later answer may leave them out: cached metadata, and cursors. */
  #keepColumns(head: Request): void {
    const { prepared } = head;
    if (!prepared || (prepared.columns && !this.#s.keepsColumns)) return;
    if (prepared.columns?.length === this.#s.records.descriptionBytes - 1) return;
    prepared.columns = this.#s.records.copyColumns();
  }

  #tooLongToDescribe(head: Request): void {
    this.#s.records.dropDescription();
    const statement = head.running();
    if (statement) statement.truncated = true;
  }

  #beginFetch(head: Request): void {
    const { records } = this.#s;
    records.beginDescription(true);
    const columns = head.prepared?.columns ?? null;
    if (columns) records.addDescription(columns, 0, columns.length);
    else records.dropDescription();
  }

  #prepared(head: Request, bytes: Buffer, at: number, next: number): void {
    const s = this.#s;
    const ok = this.#prepareOk;
    decodePrepareOk(bytes, at + HEADER_BYTES, next, this.#capabilities, ok);
    this.#forward(head, bytes, at, next);
    if (head.prepared) s.statements.answered(head.prepared, ok);
    if (!ok.metadataFollows) {
      this.#answered(head, s.status, ok.warnings, null, bytes);
      return;
    }
    if (ok.parameterCount > 0) {
      this.#definitions = ok.parameterCount;
      this.#phase = Phase.parameters;
    } else this.#afterParameters(head, bytes);
  }

  // --- ends -------------------------------------------------------------------------------------------------------

  /** @param ofResult it ends a result set. */
  #okOrEof(head: Request, bytes: Buffer, at: number, next: number, ofResult: boolean): void {
    const s = this.#s;
    const start = at + HEADER_BYTES;
    if (bytes[start] === EOF && next - start === 5 && !(this.#deprecateEof && ofResult)) {
      const status = eofStatus(bytes, start, next) | (ofResult ? this.#moreByFirstEof : 0);
      this.#forward(head, bytes, at, next);
      this.#resultEnds(head, status, uint16At(bytes, start + 1), null, bytes, ofResult);
      return;
    }
    const ok = this.#ok;
    decodeOk(bytes, start, next, this.#capabilities, ok);
    if (this.#stripState && head.kind !== RequestKind.internal) {
      const stripped = okWithoutState(bytes, start, ok, bytes[at + 3]);
      s.toClient.push(stripped, 0, stripped.length);
    } else this.#forward(head, bytes, at, next);
    this.#resultEnds(head, ok.status, ok.warnings, ok, bytes, ofResult);
  }

  /** A result, with rows or without, has come to its end. */
  #resultEnds(
    head: Request,
    status: number,
    warnings: number,
    ok: OkView | null,
    bytes: Buffer,
    ofResult = true,
  ): void {
    const s = this.#s;
    const more = (status & Status.MORE_RESULTS_EXISTS) !== 0;
    if (!more) {
      this.#answered(head, status, warnings, ok, bytes, ofResult);
      return;
    }
    this.#phase = Phase.first;
    this.#moreByFirstEof = 0;
    const statement = head.running();
    if (!statement || !head.statements) {
      s.noteStatus(status, ok, bytes);
      return;
    }
    const last = head.done === head.statements.length - 1;
    if (last || (statement.calls && ofResult)) {
      // One of several results of the same statement.
      this.#capture.flush();
      s.records.describeEmpty(statement);
      s.outcomeInTurn = true;
      s.noteStatus(status, ok, bytes);
      return;
    }
    this.#finish(head, statement, status, warnings, ofResult ? null : ok, bytes);
    s.noteStatus(status, ok, bytes);
  }

  /** The answer is complete. */
  #answered(
    head: Request,
    status: number,
    warnings: number,
    ok: OkView | null,
    bytes: Buffer,
    ofResult = false,
  ): void {
    const s = this.#s;
    const statement = head.running();
    if (statement) {
      statement.suspended =
        (status & Status.CURSOR_EXISTS) !== 0 &&
        (status & Status.LAST_ROW_SENT) === 0 &&
        (head.opensCursor || head.kind === RequestKind.fetch);
      this.#finish(head, statement, status, warnings, ofResult ? null : ok, bytes);
    }
    s.noteStatus(status, ok, bytes);
    this.#close(head, null);
  }

  #finish(
    head: Request,
    statement: InFlight,
    status: number,
    warnings: number,
    ok: OkView | null,
    bytes: Buffer,
  ): void {
    const s = this.#s;
    s.records.finish(statement, status, warnings, ok, bytes, null);
    this.#capture.intoOutcome(statement);
    s.outcomeInTurn = true;
    head.done++;
  }

  #error(head: Request, bytes: Buffer, at: number, next: number): void {
    const s = this.#s;
    const start = at + HEADER_BYTES;
    if (isProgressReport(bytes, start, next)) {
      this.#forward(head, bytes, at, next);
      return;
    }
    const error = decodeErr(bytes, start, next);
    this.#capture.flush();
    const statement = head.running();
    if (statement) {
      s.records.finish(statement, s.status, 0, null, bytes, error);
      head.done++;
      s.outcomeInTurn = true;
    } else if (head.kind === RequestKind.prepare && head.prepared)
      s.recordFailedPreparation(head.prepared, error);
    this.#forward(head, bytes, at, next);
    this.#close(head, { errno: error.number, message: error.message });
  }

  #close(head: Request, error: InternalAnswer['error']): void {
    const s = this.#s;
    this.#phase = Phase.first;
    // The server ran fewer statements than we saw in the text, or stopped at an error.
    for (let left = head.running(); left; left = head.running()) {
      s.records.finishUnanswered(left, Outcome.SKIPPED);
      head.done++;
    }
    const values = this.#internalRow ?? [];
    s.answered(head, error);
    if (head.onAnswer) head.onAnswer({ values, error });
  }

  #internalRowOf(bytes: Buffer, start: number, next: number): void {
    this.#internalRow ??= decodeTextRow(bytes, start, next, this.#columnCount).map((value) =>
      value === null ? null : value.toString('latin1'),
    );
  }
}

function isTerminator(first: number, length: number, deprecateEof: boolean): boolean {
  if (first === ERR) return true;
  return first === EOF && (deprecateEof ? length < MAX_PACKET_BYTES : length < 9);
}
