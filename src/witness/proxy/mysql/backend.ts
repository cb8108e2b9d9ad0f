/**
 * The server's side of a session: every packet from the upstream is framed in place and given to the request it answers;
 * outcome and rows are appended to the journal, and its bytes are kept for the client until the turn ends.
 *
 * Packets of an answer say what they are only by their place, so the head of the request queue has a *phase*:
 *
 *   first ── OK, ERR ───────────────────────────────────▶ answered (or first again: SERVER_MORE_RESULTS_EXISTS)
 *     ├──── column count ─▶ columns ─▶ [EOF] ─▶ rows ── EOF, OK 0xfe, ERR ─▶ the same
 *     ├──── PREPARE_OK ──▶ parameters ─▶ [EOF] ─▶ columns ─▶ [EOF] ─▶ answered
 *     └──── 0xfb ────────▶ the client's file (frontend.ts) ─▶ first
 *
 * A packet that does not fit, or one out of order, means that we lost track: the session ends rather than attribute a
 * result wrongly.
 */
import { PacketCursor, nextPacket, skipRows } from '../../../wire/mysql/framing.ts';
import {
  type Capabilities,
  Capability,
  HEADER_BYTES,
  MAX_PACKET_BYTES,
  Status,
  upstreamRunning,
} from '../../../wire/mysql/protocol.ts';
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
import { uint16At } from '../../../wire/mysql/reader.ts';
import { Outcome } from '../recorder.ts';
import { RowCapture } from './capture.ts';
import { okWithoutState } from './translate.ts';
import { type InternalAnswer, type Request, RequestKind } from './requests.ts';
import type { MysqlSession } from './session.ts';
import type { InFlight } from './statement.ts';

const Phase = { first: 0, parameters: 1, parametersEnd: 2, columns: 3, columnsEnd: 4, rows: 5 } as const;
type Phase = (typeof Phase)[keyof typeof Phase];

/** Packets up to this size wait in the link until they are whole; rows beyond it flow through. */
const WHOLE_BYTES = 16 * 1024;
const MAX_COLLECTED_BYTES = 64 * 1024 * 1024;
/** Descriptions beyond this get an event of their own, and beyond the other are not recorded at all. */
const LONG_DESCRIPTION_BYTES = 64 * 1024;
const MAX_DESCRIPTION_BYTES = 900 * 1024;

export class Backend {
  readonly #s: MysqlSession;
  readonly #capabilities: Capabilities;
  readonly #deprecateEof: boolean;
  /** The client did not agree to session tracking, but the upstream does it for our sake. */
  readonly #stripState: boolean;
  readonly #cursor = new PacketCursor();
  readonly #ok = new OkView();
  readonly #header = new ResultSetHeader();
  readonly #prepareOk = new PrepareOk();
  readonly #capture: RowCapture;
  #phase: Phase = Phase.first;
  /** Definitions that are still to come. */
  #definitions = 0;
  #columnCount = 0;
  /** Sequence id of the packet that comes. */
  #sequence = 1;
  /** Bytes of a row in flow that are still to come; whether another packet of it follows them. */
  #flowing = 0;
  #rowContinues = false;
  #collected: Buffer | null = null;
  #collectedBytes = 0;
  #internalRow: (string | null)[] | null = null;

  constructor(session: MysqlSession) {
    this.#s = session;
    this.#capabilities = session.upstreamCapabilities;
    this.#deprecateEof = (this.#capabilities.flags & Capability.DEPRECATE_EOF) !== 0;
    this.#stripState =
      (this.#capabilities.flags & ~session.clientCapabilities.flags & Capability.SESSION_TRACK) !== 0;
    this.#capture = new RowCapture(session.records, session.permit.recording);
  }

  /** True while the last byte forwarded to the client was in the middle of a packet. */
  get midMessage(): boolean {
    return this.#flowing > 0;
  }

  /** The sequence id that a packet of ours to the client must have now. */
  get nextSequence(): number {
    return this.#sequence;
  }

  /** The client's file is through: the answer comes behind its last packet. */
  fileSent(nextSequence: number): void {
    this.#sequence = nextSequence;
  }

  /** A request became the head of the queue. */
  begin(request: Request): void {
    this.#phase = Phase.first;
    this.#sequence = request.answerSequence;
    this.#internalRow = null;
  }

  onBytes(bytes: Buffer, start: number, end: number): number {
    const s = this.#s;
    const cursor = this.#cursor;
    s.joinTurn();
    let at = start;
    if (this.#flowing > 0 || this.#collected) at = this.#goOn(bytes, at, end);
    while (at < end && !s.closing && !s.detached) {
      if (this.#phase === Phase.rows && !this.#rowContinues) {
        const after = this.#rows(bytes, at, end);
        if (after !== at) {
          at = after;
          continue;
        }
      }
      cursor.before = 0;
      if (!nextPacket(bytes, at, end, upstreamRunning, cursor)) {
        if (cursor.end < 0 || !this.#beginPartial(bytes, at, end)) break;
        at = end;
        break;
      }
      this.#packet(bytes, at, cursor.end);
      at = cursor.end;
    }
    this.#capture.flush();
    s.recorder.settle();
    if (s.closing) at = end;
    s.countOut(at - start);
    return at;
  }

  // --- rows -------------------------------------------------------------------------------------------------------

  /** Whole rows, one behind the other: the inner loop of large results. Returns the offset behind the last one. */
  #rows(bytes: Buffer, start: number, end: number): number {
    const s = this.#s;
    const head = s.queue.head();
    if (!head || head.kind === RequestKind.internal) return start;
    const statement = head.running();
    if (!statement) return start;
    const cursor = this.#cursor;
    let rows = 0;
    let at = start;
    if (!statement.truncated) {
      // Those that may be recorded, one by one.
      let captureEnd = start;
      for (;;) {
        const one = this.#oneRow(bytes, at, end);
        if (one < 0) break;
        if (!this.#capture.fits(statement, rows + 1, one - start)) {
          statement.truncated = true;
          break;
        }
        this.#sequence = (this.#sequence + 1) & 0xff;
        rows++;
        at = one;
        captureEnd = one;
      }
      if (rows > 0) this.#capture.take(statement, bytes, start, captureEnd, rows);
    }
    if (statement.truncated) {
      const more = skipRows(bytes, at, end, this.#sequence, cursor);
      if (more > 0) {
        this.#sequence = (cursor.sequence + 1) & 0xff;
        rows += more;
        at = cursor.end;
      }
    }
    if (rows === 0) return start;
    this.#countRows(statement, rows, at - start);
    s.toClient.push(bytes, start, at);
    return at;
  }

  /** The offset behind the row at `at`, or −1: something else, or not whole. */
  #oneRow(bytes: Buffer, at: number, end: number): number {
    if (end - at <= HEADER_BYTES) return -1;
    const length = bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16);
    const next = at + HEADER_BYTES + length;
    if (length === 0 || length === MAX_PACKET_BYTES || next > end) return -1;
    if (bytes[at + HEADER_BYTES] >= EOF || bytes[at + 3] !== this.#sequence) return -1;
    return next;
  }

  #countRows(statement: InFlight, rows: number, bytes: number): void {
    const s = this.#s;
    if (statement.rows === 0) statement.firstRowUs = s.turn.monotonicUs;
    statement.rows += rows;
    statement.bytes += bytes;
    s.outcomeInTurn = true;
  }

  // --- packets larger than what is there --------------------------------------------------------------------------

  /** Returns false when the packet should wait in the link for its rest. */
  #beginPartial(bytes: Buffer, at: number, end: number): boolean {
    const s = this.#s;
    const { end: next, length } = this.#cursor;
    const total = next - at;
    if (total <= WHOLE_BYTES || end - at <= HEADER_BYTES) return false;
    const head = s.queue.head();
    if (head && this.#isRow(bytes[at + HEADER_BYTES], length) && head.kind !== RequestKind.internal) {
      if (!this.#inOrder(bytes, at)) return true;
      this.#beginRow(head, bytes, at, end, total);
      this.#flowing = next - end;
      return true;
    }
    if (total <= s.maxChunkBytes) return false;
    if (total > MAX_COLLECTED_BYTES) {
      s.lostTrack(`the server sent a packet of ${total} bytes that is no row`);
      return true;
    }
    this.#collected = Buffer.allocUnsafeSlow(total);
    this.#collectedBytes = bytes.copy(this.#collected, 0, at, end);
    return true;
  }

  #isRow(first: number, length: number): boolean {
    if (this.#rowContinues) return true;
    return this.#phase === Phase.rows && !isTerminator(first, length, this.#deprecateEof);
  }

  /** A row, or a packet of one, of which `bytes[at, end)` is there. */
  #beginRow(head: Request, bytes: Buffer, at: number, end: number, total: number): void {
    const s = this.#s;
    const statement = head.running();
    if (!statement) {
      s.lostTrack('a row that belongs to no statement');
      return;
    }
    const goesOn = this.#rowContinues;
    this.#rowContinues = this.#cursor.length === MAX_PACKET_BYTES;
    this.#countRows(statement, goesOn ? 0 : 1, total);
    if (goesOn || this.#rowContinues) statement.truncated = true; // 16 MiB and more are never recorded
    else this.#capture.beginLong(statement, bytes, at, end, total);
    s.toClient.push(bytes, at, end);
  }

  #goOn(bytes: Buffer, at: number, end: number): number {
    const s = this.#s;
    if (this.#collected) {
      const count = Math.min(end - at, this.#collected.length - this.#collectedBytes);
      bytes.copy(this.#collected, this.#collectedBytes, at, at + count);
      this.#collectedBytes += count;
      if (this.#collectedBytes === this.#collected.length) {
        const whole = this.#collected;
        this.#collected = null;
        this.#cursor.before = 0;
        nextPacket(whole, 0, whole.length, upstreamRunning, this.#cursor);
        this.#packet(whole, 0, whole.length);
      }
      return at + count;
    }
    const count = Math.min(end - at, this.#flowing);
    s.outcomeInTurn = true;
    s.toClient.push(bytes, at, at + count);
    this.#flowing -= count;
    this.#capture.goOn(bytes, at, at + count);
    return at + count;
  }

  // --- whole packets ----------------------------------------------------------------------------------------------

  #inOrder(bytes: Buffer, at: number): boolean {
    const sequence = bytes[at + 3];
    if (sequence !== this.#sequence) {
      this.#s.lostTrack(`the server's packet ${sequence} came where ${this.#sequence} was expected`);
      return false;
    }
    this.#sequence = (sequence + 1) & 0xff;
    return true;
  }

  #packet(bytes: Buffer, at: number, next: number): void {
    const s = this.#s;
    const head = s.queue.head();
    if (!head) {
      this.#unasked(bytes, at, next);
      return;
    }
    if (!this.#inOrder(bytes, at)) return;
    const { length } = this.#cursor;
    if (length === 0 && !this.#rowContinues) {
      s.lostTrack('the server sent an empty packet');
      return;
    }
    const start = at + HEADER_BYTES;
    const first = bytes[start];
    if (this.#isRow(first, length)) {
      if (head.kind === RequestKind.internal) this.#internalRowOf(bytes, start, next);
      else this.#beginRow(head, bytes, at, next, next - at);
      return;
    }
    if (length === MAX_PACKET_BYTES) {
      s.lostTrack('the server sent a packet of 16 MiB that is no row');
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
        this.#terminator(head, bytes, at, next);
    }
  }

  /** A server says good-bye without having been asked: an idle connection, a shutdown. */
  #unasked(bytes: Buffer, at: number, next: number): void {
    const s = this.#s;
    if (next - at > HEADER_BYTES + 3 && bytes[at + HEADER_BYTES] === ERR) {
      const error = decodeErr(bytes, at + HEADER_BYTES, next);
      s.recorder.serverMessage('error', `${error.number} ${error.sqlState} ${error.message}`.slice(0, 1024));
      s.outcomeInTurn = true;
      s.toClient.push(bytes, at, next);
    } else s.lostTrack('the server sent an answer to nothing');
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
        if (this.#isRow(first, next - start)) this.#beginRow(head, bytes, at, next, next - at);
        else this.#terminator(head, bytes, at, next);
        return;
      case RequestKind.prepare:
        this.#prepared(head, bytes, at, next);
        return;
      default:
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
      s.fileAskedFor(head, bytes, at, next);
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
    if (head.kind !== RequestKind.internal)
      s.records.beginDescription(head.kind === RequestKind.execute);
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
    if (head.kind === RequestKind.fieldList && isTerminator(first, next - at - HEADER_BYTES, this.#deprecateEof)) {
      this.#terminator(head, bytes, at, next);
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
    this.#forward(head, bytes, at, next);
    if (this.#phase === Phase.parametersEnd) this.#afterParameters(head, bytes);
    else if ((status & Status.CURSOR_EXISTS) !== 0 && head.kind === RequestKind.execute) {
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

  #terminator(head: Request, bytes: Buffer, at: number, next: number): void {
    this.#okOrEof(head, bytes, at, next, true);
  }

  /** @param ofResult it ends a result set. */
  #okOrEof(head: Request, bytes: Buffer, at: number, next: number, ofResult: boolean): void {
    const s = this.#s;
    const start = at + HEADER_BYTES;
    if (bytes[start] === EOF && next - start === 5 && !(this.#deprecateEof && ofResult)) {
      const status = eofStatus(bytes, start, next);
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
        (head.kind === RequestKind.execute || head.kind === RequestKind.fetch);
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
    } else if (head.kind === RequestKind.prepare && head.prepared) s.recordFailedPreparation(head.prepared, error);
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
