/**
 * The server's side of a session: every message from the upstream is framed in place, matched with the request it
 * answers, its outcome and rows are appended to the journal, and its bytes are kept for the client until the turn ends.
 *
 * What a message belongs to (the head of the request queue; "=" keeps it at the head):
 *
 *   ParseComplete ─ parse          RowDescription ─ describe…, query=       CommandComplete ─ execute, query=
 *   BindComplete ─ bind            DataRow ─ execute=, query=               EmptyQueryResponse ─ execute, query=
 *   CloseComplete ─ close…         ErrorResponse ─ any: marks it failed     PortalSuspended ─ execute
 *   NoData ─ describe…             ReadyForQuery ─ query, functionCall, or everything up to the next sync
 *
 * Anything else at the head means that we lost track: the session ends rather than attribute a result wrongly.
 */
import { decodeErrorFields, type ErrorFields } from '../../../wire/postgres/backend.ts';
import { MessageCursor, nextMessage } from '../../../wire/postgres/framing.ts';
import { Backend as T, HEADER_BYTES, upstreamRunning } from '../../../wire/postgres/messages.ts';
import { commandRows, decodeParameterDescription } from '../../../wire/postgres/rows.ts';
import { tellsEnd } from './answer-end.ts';
import { applyToNames, revertNames } from './names.ts';
import { withoutSecrets } from './records.ts';
import { errorResponse } from './refusal.ts';
import { type Request, RequestKind } from './requests.ts';
import { RowCapture } from '../row-capture.ts';
import type { PgSession } from './session.ts';
import type { InFlight } from './statement.ts';
import { Outcome } from '../recorder.ts';

/** Messages up to this size wait in the link until they are whole; rows and COPY data beyond it flow through. */
const WHOLE_BYTES = 16 * 1024;
const MAX_COLLECTED_BYTES = 64 * 1024 * 1024;

export class Backend {
  readonly #s: PgSession;
  readonly #cursor = new MessageCursor();
  /** Bytes of a row or CopyData in flow that are still to come. */
  #flowing = 0;
  #flowType = 0;
  #collected: Buffer | null = null;
  #collectedBytes = 0;
  readonly #capture: RowCapture<InFlight>;

  constructor(session: PgSession) {
    this.#s = session;
    this.#capture = new RowCapture(session.records, session.permit.recording);
  }

  /** True while the last byte forwarded to the client was in the middle of a message. */
  get midMessage(): boolean {
    return this.#flowing > 0;
  }

  onBytes(bytes: Buffer, start: number, end: number): number {
    const s = this.#s;
    const cursor = this.#cursor;
    s.joinTurn();
    let at = start;
    if (this.#flowing > 0 || this.#collected) at = this.#goOn(bytes, at, end);
    while (at < end && !s.closing) {
      if (bytes[at] === T.DataRow) {
        const after = this.#dataRows(bytes, at, end);
        if (after !== at) {
          at = after;
          continue;
        }
      }
      if (!nextMessage(bytes, at, end, upstreamRunning, cursor)) {
        if (cursor.end < 0 || !this.#beginPartial(bytes, at, end)) break;
        at = end;
        break;
      }
      if (s.replication && cursor.type === T.CommandComplete && !tellsEnd(bytes, cursor.end, end)) break;
      this.#message(cursor.type, bytes, at, cursor.end);
      at = cursor.end;
    }
    this.#settle();
    if (s.closing) at = end;
    s.traffic.countOut(at - start);
    return at;
  }

  /** What was kept open for this chunk's sake goes into the journal, or becomes a copy. */
  #settle(): void {
    const s = this.#s;
    this.#capture.flush();
    s.copy.flush();
    s.records.recorder.settle();
    s.running(s.queue.head())?.keep();
  }

  // --- rows -------------------------------------------------------------------------------------------------------

  /** Whole DataRows in a row: the inner loop of large results. Returns the offset behind the last one taken. */
  #dataRows(bytes: Buffer, start: number, end: number): number {
    const s = this.#s;
    const head = s.queue.head();
    if (head?.kind === RequestKind.xidProbe) return start;
    const statement = s.running(head);
    if (!statement) return start;
    let capturing = !statement.truncated;
    let at = start;
    let captureEnd = start;
    let rows = 0;
    let captured = 0;
    while (end - at >= 7 && bytes[at] === T.DataRow) {
      const length = (bytes[at + 1] << 24) | (bytes[at + 2] << 16) | (bytes[at + 3] << 8) | bytes[at + 4];
      const next = at + 1 + length;
      if (length < 6 || next > end) break;
      if (capturing) {
        if (this.#capture.fits(statement, captured + 1, next - start)) {
          captureEnd = next;
          captured++;
        } else capturing = false;
      }
      rows++;
      at = next;
    }
    if (rows === 0) return start;
    if (statement.rows === 0) statement.firstRowUs = s.turn.monotonicUs;
    statement.rows += rows;
    statement.bytes += at - start;
    if (captured > 0) this.#capture.take(statement, bytes, start, captureEnd, captured);
    if (!capturing) statement.truncated = true;
    s.outcomeInTurn = true;
    s.toClient.push(bytes, start, at);
    return at;
  }

  // --- messages larger than what is there -------------------------------------------------------------------------

  #beginPartial(bytes: Buffer, at: number, end: number): boolean {
    const s = this.#s;
    const { type, end: next } = this.#cursor;
    const total = next - at;
    if (total <= WHOLE_BYTES) return false;
    const head = s.queue.head();
    if (type === T.DataRow && head?.kind !== RequestKind.xidProbe) {
      this.#beginRow(s.running(head), bytes, at, end, total);
    } else if (type === T.CopyData) {
      this.#copyOut(bytes, at + HEADER_BYTES, end, total - HEADER_BYTES);
    } else {
      if (total <= s.maxChunkBytes) return false;
      if (total > MAX_COLLECTED_BYTES) {
        s.lostTrack(`the server sent a message of type 0x${type.toString(16)} with ${total} bytes`);
        return true;
      }
      this.#collected = Buffer.allocUnsafeSlow(total);
      this.#collectedBytes = bytes.copy(this.#collected, 0, at, end);
      return true;
    }
    s.outcomeInTurn = true;
    s.toClient.push(bytes, at, end);
    this.#flowing = next - end;
    this.#flowType = type;
    return true;
  }

  #beginRow(statement: InFlight | null, bytes: Buffer, at: number, end: number, total: number): void {
    const s = this.#s;
    if (!statement) {
      s.lostTrack('a row that belongs to no statement');
      return;
    }
    if (statement.rows === 0) statement.firstRowUs = s.turn.monotonicUs;
    statement.rows++;
    statement.bytes += total;
    this.#capture.beginLong(statement, bytes, at, end, total);
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
        this.#message(whole[0], whole, 0, whole.length);
      }
      return at + count;
    }
    const count = Math.min(end - at, this.#flowing);
    s.outcomeInTurn = true;
    s.toClient.push(bytes, at, at + count);
    this.#flowing -= count;
    if (this.#flowType === T.CopyData) s.copy.record(false, bytes, at, at + count);
    else this.#capture.goOn(bytes, at, at + count);
    return at + count;
  }

  // --- whole messages ---------------------------------------------------------------------------------------------

  #message(type: number, bytes: Buffer, at: number, next: number): void {
    const s = this.#s;
    const head = s.queue.head();
    if (head?.kind === RequestKind.xidProbe && s.xid.takes(type)) {
      s.xid.onMessage(type, bytes, at, next);
      return;
    }
    switch (type) {
      case T.CommandComplete:
        this.#complete(head, bytes, at, next);
        break;
      case T.ReadyForQuery:
        this.#ready(bytes, at, next);
        return;
      case T.RowDescription:
        this.#rowDescription(head, bytes, at, next);
        break;
      case T.BindComplete:
        this.#confirm(head, RequestKind.bind, RequestKind.bind, 'BindComplete');
        break;
      case T.ParseComplete:
        this.#confirm(head, RequestKind.parse, RequestKind.parse, 'ParseComplete');
        break;
      case T.CloseComplete:
        this.#confirm(head, RequestKind.closeStatement, RequestKind.closePortal, 'CloseComplete');
        break;
      case T.NoData:
        this.#confirm(head, RequestKind.describeStatement, RequestKind.describePortal, 'NoData');
        break;
      case T.ErrorResponse:
        this.#error(head, bytes, at, next);
        return;
      case T.EmptyQueryResponse:
        this.#complete(head, bytes, next, next);
        break;
      case T.PortalSuspended:
        this.#suspended(head);
        break;
      case T.ParameterDescription:
        if (head?.kind === RequestKind.describeStatement && head.text)
          head.text.parameterTypes = decodeParameterDescription(bytes, at + HEADER_BYTES, next);
        break;
      case T.CopyInResponse:
      case T.CopyOutResponse:
      case T.CopyBothResponse:
        s.copy.begin(s.running(head), type === T.CopyInResponse);
        break;
      case T.CopyData:
        this.#copyOut(bytes, at + HEADER_BYTES, next, next - at - HEADER_BYTES);
        break;
      case T.FunctionCallResponse:
        this.#functionResult(head, at, next);
        break;
      case T.ParameterStatus:
        s.parameterStatus(bytes, at, next);
        break;
      case T.NoticeResponse:
        this.#notice(head, bytes, at, next);
        break;
      case T.CopyDone:
      case T.NotificationResponse:
        break;
      case T.DataRow: // those of a statement have been taken already
        s.lostTrack('a row that belongs to no statement');
        return;
      default:
        if (s.controlled) {
          s.lostTrack(`the server sent an unknown message type 0x${type.toString(16)}`);
          return;
        }
    }
    // After a farewell of ours nothing else is said.
    if (!s.closing) s.toClient.push(bytes, at, next);
  }

  #confirm(head: Request | null, kind: RequestKind, orKind: RequestKind, message: string): void {
    const s = this.#s;
    if (!head || (head.kind !== kind && head.kind !== orKind)) {
      s.lostTrack(`${message} without its request`);
      return;
    }
    s.queue.shift();
    if (head.kind === RequestKind.bind && head.portal) {
      const actual = s.actual.statement(head.portal.statementName);
      if (actual && actual !== head.portal.text) head.portal = head.portal.rebound(actual);
    }
    applyToNames(s.actual, head);
    s.requestAnswered();
  }

  #rowDescription(head: Request | null, bytes: Buffer, at: number, next: number): void {
    const s = this.#s;
    if (head?.kind === RequestKind.query) {
      this.#capture.flush(); // rows of an earlier result (a replication command has several) are not of this shape
      s.running(head)?.describe(bytes, at + HEADER_BYTES, next);
      return;
    }
    if (head?.kind === RequestKind.describeStatement || head?.kind === RequestKind.describePortal) {
      const body = Buffer.from(bytes.subarray(at + 5, next));
      if (head.kind === RequestKind.describeStatement) {
        const text = s.actual.statement(head.name) ?? head.text;
        if (text) text.description = body;
      } else if (head.portal) head.portal.description = body;
      s.queue.shift();
      s.requestAnswered();
      return;
    }
    if (head?.kind !== RequestKind.execute) s.lostTrack('RowDescription without its request');
  }

  /** CommandComplete, or EmptyQueryResponse when `at` equals `next` (no tag). */
  #complete(head: Request | null, bytes: Buffer, at: number, next: number): void {
    const s = this.#s;
    const statement = s.running(head);
    if (!head || !statement) {
      s.lostTrack('CommandComplete without its statement');
      return;
    }
    const tagStart = at === next ? next : at + 5;
    const tagEnd = at === next ? next : next - 1;
    if (statement.rows === 0)
      statement.rows = tagEnd > tagStart ? Math.max(0, commandRows(bytes, at + HEADER_BYTES, next)) : 0;
    if (s.replication && head.kind === RequestKind.query && head.statements?.length === 1)
      head.tag = Buffer.from(bytes.subarray(tagStart, tagEnd));
    else this.#finish(head, statement, Outcome.COMPLETED, bytes, tagStart, tagEnd, null);
    s.copy.end(statement);
    if (head.kind === RequestKind.execute) {
      s.queue.shift();
      s.requestAnswered();
    }
  }

  #suspended(head: Request | null): void {
    const s = this.#s;
    const statement = s.running(head);
    if (head?.kind !== RequestKind.execute || !statement) {
      s.lostTrack('PortalSuspended without its Execute');
      return;
    }
    this.#finish(head, statement, Outcome.COMPLETED, EMPTY, 0, 0, null);
    s.records.recorder.finished.suspended = true;
    s.queue.shift();
    s.requestAnswered();
  }

  #finish(
    head: Request,
    statement: InFlight,
    outcome: Outcome,
    tag: Buffer,
    tagStart: number,
    tagEnd: number,
    error: ErrorFields | null,
  ): void {
    const s = this.#s;
    this.#capture.flushOthers(statement);
    s.copy.flush();
    // An error before its Execute was reached: it never came to run the portal that has its name now.
    const reached = head === s.queue.head();
    const actual = reached && head.kind === RequestKind.execute ? s.actual.portal(head.name) : null;
    if (actual) statement.portal = actual;
    s.records.finish(statement, outcome, tag, tagStart, tagEnd, error);
    s.records.recorder.finished.xid = s.xid.value;
    this.#capture.intoOutcome(statement);
    if (actual && actual.text !== statement.text)
      s.records.recorder.finished.actualSql = actual.text.recorded;
    s.outcomeInTurn = true;
    head.done++;
  }

  #functionResult(head: Request | null, at: number, next: number): void {
    const s = this.#s;
    const statement = s.running(head);
    if (head?.kind !== RequestKind.functionCall || !statement) {
      s.lostTrack('FunctionCallResponse without its call');
      return;
    }
    statement.bytes += next - at - 5;
    this.#finish(head, statement, Outcome.COMPLETED, EMPTY, 0, 0, null);
  }

  #copyOut(bytes: Buffer, start: number, end: number, payloadBytes: number): void {
    const s = this.#s;
    s.outcomeInTurn = true;
    s.copy.sent(payloadBytes);
    s.copy.record(false, bytes, start, end);
  }

  #notice(head: Request | null, bytes: Buffer, at: number, next: number): void {
    const statement = this.#s.running(head);
    if (!statement) return;
    statement.notices ??= [];
    if (statement.notices.length >= 20) return;
    const fields = decodeErrorFields(bytes, at + HEADER_BYTES, next);
    const said = withoutSecrets(fields.get('M') ?? '', statement.redacted);
    statement.notices.push(`${fields.get('V') ?? ''}: ${said}`.slice(0, 1024));
  }

  // --- errors and ReadyForQuery -----------------------------------------------------------------------------------

  #error(head: Request | null, bytes: Buffer, at: number, next: number): void {
    const s = this.#s;
    const fields = decodeErrorFields(bytes, at + HEADER_BYTES, next);
    this.#capture.flush();
    s.copy.flush();
    s.copy.end(null);
    const severity = fields.get('V') ?? fields.get('S');
    if (!head || severity === 'FATAL' || severity === 'PANIC') {
      const statement = s.running(head);
      if (head && statement) this.#finish(head, statement, Outcome.FAILED, EMPTY, 0, 0, fields);
      s.toClient.push(bytes, at, next);
      return;
    }
    head.failed = true;
    const ours = head.refusal;
    if (ours) {
      const replacement = errorResponse('ERROR', ours);
      s.toClient.push(replacement, 0, replacement.length);
      const statement = s.running(head);
      if (statement) {
        statement.finished = true;
        s.records.finishRefused(statement.ordinal, ours);
        head.done++;
      }
    } else {
      this.#attributeError(head, fields);
      s.toClient.push(bytes, at, next);
    }
    s.skipped.begin(head.kind);
  }

  /** Gives an error to the statement that it is about. */
  #attributeError(head: Request, fields: ErrorFields): void {
    const s = this.#s;
    const statement = s.running(head);
    if (statement) {
      this.#finish(head, statement, Outcome.FAILED, EMPTY, 0, 0, fields);
      return;
    }
    if (head.kind === RequestKind.sync) {
      const said = withoutSecrets(fields.get('M') ?? '', false);
      s.records.recorder.serverMessage('error_at_sync', `${fields.get('C') ?? ''} ${said}`);
      return;
    }
    // A Parse, Bind or Describe that failed: the error is that of the execution it was for, if there is one before
    // the next Sync; else the attempt gets a record of its own.
    for (let i = 1; i < s.queue.size; i++) {
      const request = s.queue.at(i);
      if (request.kind === RequestKind.sync) break;
      const executed = request.kind === RequestKind.execute ? s.running(request) : null;
      if (executed) {
        this.#finish(request, executed, Outcome.FAILED, EMPTY, 0, 0, fields);
        return;
      }
    }
    s.recordFailedPreparation(head, fields);
  }

  #ready(bytes: Buffer, at: number, next: number): void {
    const s = this.#s;
    const status = bytes[at + 5];
    const head = s.queue.head();
    if (head && (head.kind === RequestKind.query || head.kind === RequestKind.functionCall)) {
      const several = head.tag === null ? null : s.running(head);
      if (several && head.tag)
        this.#finish(head, several, Outcome.COMPLETED, head.tag, 0, head.tag.length, null);
      s.queue.shift();
      s.skipped.conclude(head);
      if (!head.failed) for (const [name, text] of head.declares ?? []) s.actual.setStatement(name, text);
      s.actual.unnamedStatement = null;
      s.actual.unnamedPortal = null;
    } else if (!this.#readyAfterSync()) {
      s.lostTrack('ReadyForQuery without its request');
      return;
    }
    s.records.recorder.finished.transactionStatus = s.records.recorder.pending ? status : 0;
    s.transactionStatus = status;
    if (status === 0x49) {
      s.actual.transactionEnded();
      s.xid.transactionEnded();
    }
    s.toClient.push(bytes, at, next);
    s.lexicalKnowledge.ready();
    s.requestAnswered();
  }

  /** Everything up to the next Sync was answered or skipped. */
  #readyAfterSync(): boolean {
    const s = this.#s;
    const skipped: Request[] = s.skipped.take();
    while (s.queue.size > 0) {
      const request = s.queue.shift();
      if (request.kind === RequestKind.sync) {
        if (skipped.length > 0) revertNames(s.predicted, s.actual, skipped, s.queue);
        return true;
      }
      if (request.kind === RequestKind.xidProbe) s.xid.skipped();
      s.skipped.conclude(request);
      skipped.push(request);
    }
    return false;
  }
}

const EMPTY = Buffer.alloc(0);
