/**
 * The client's side of a session: every message from the client is framed in place, decided, announced in the journal
 * and kept for the upstream until the turn ends.
 *
 * Messages that a decision needs whole (Query, Parse, FunctionCall) are collected when they are larger than a chunk;
 * CopyData and large Binds flow through in pieces. A message that contradicts itself is refused like a forbidden one, so
 * the session survives it as it would in the server. A type that is not in the protocol ends the session, as the
 * server would end it.
 */
import { isAppError } from '../../../base/errors.ts';
import { limits } from '../../../base/limits.ts';
import type { Classification, StatementSpan } from '../../../model/statement.ts';
import { MessageCursor, nextMessage } from '../../../wire/postgres/framing.ts';
import {
  BindView,
  decodeBind,
  decodeClose,
  decodeExecute,
  decodeParse,
  decodeQuery,
  ExecuteView,
  formatCodes,
  ParseView,
  TARGET_STATEMENT,
  TargetView,
  typeOids,
} from '../../../wire/postgres/frontend.ts';
import {
  clientRunning,
  Frontend as T,
  HEADER_BYTES,
  type LengthLimits,
} from '../../../wire/postgres/messages.ts';
import { latin1 } from '../../../wire/postgres/reader.ts';
import { applyToNames } from './names.ts';
import { malformedRefusal, oversizedRefusal, refusal, type Refusal, SQLSTATE } from './refusal.ts';
import { COPY_FAIL, UNPARSABLE_PARSE, UNPARSABLE_QUERY } from './refusal.ts';
import { Request, RequestKind } from './requests.ts';
import type { PgSession } from './session.ts';
import { mayDeclare } from './sql-names.ts';
import { type InFlight, Portal, StatementText } from './statement.ts';
import { StatementKind } from '../recorder.ts';

/** Names and types around a text, which a total length cannot tell from it. */
const SLACK_BYTES = 64 * 1024;
const NO_TYPES: number[] = [];
/** What an unreadable message of the extended protocol counts as: its answer can only be an error. */
const UNREADABLE_AS: Readonly<Record<number, RequestKind>> = {
  [T.Parse]: RequestKind.parse,
  [T.Bind]: RequestKind.bind,
  [T.Describe]: RequestKind.describePortal,
  [T.Execute]: RequestKind.execute,
  [T.Close]: RequestKind.closePortal,
};
const NO_FORMATS: readonly number[] = [];

export class Frontend {
  readonly #s: PgSession;
  readonly #limits: LengthLimits;
  readonly #cursor = new MessageCursor();
  readonly #parseView = new ParseView();
  readonly #bindView = new BindView();
  readonly #executeView = new ExecuteView();
  readonly #targetView = new TargetView();
  /** Bytes of a message in flow that are still to come and are passed on as they are … */
  #flowing = 0;
  #flowIsCopy = false;
  /** … or dropped. */
  #dropping = 0;
  /** A message being collected. */
  #collected: Buffer | null = null;
  #collectedBytes = 0;
  /** The rest of a refused COPY is swallowed up to its end. */
  #copyRefused = false;
  /** Named or unfinished portals whose Bind points into this turn's memory. */
  readonly #borrowed: Portal[] = [];

  constructor(session: PgSession) {
    this.#s = session;
    // Longer texts than configured are refused, not framed out: the session survives them.
    this.#limits = clientRunning(0x3fffffff);
  }

  /** The last byte kept for the upstream is in the middle of a message. */
  get midMessage(): boolean {
    return this.#flowing > 0;
  }

  onBytes(bytes: Buffer, start: number, end: number): number {
    const s = this.#s;
    const cursor = this.#cursor;
    s.joinTurn();
    let at = start;
    if (this.#flowing > 0 || this.#dropping > 0 || this.#collected) at = this.#goOn(bytes, at, end);
    while (at < end && !s.closing && !s.clientHeld) {
      if (!this.#frame(bytes, at, end)) {
        if (cursor.end < 0 || !this.#beginPartial(bytes, at, end)) break;
        at = end;
        break;
      }
      this.#message(bytes, at, cursor.end);
      at = cursor.end;
    }
    // A client that pipelines more than we hold is not read until answers come (back-pressure).
    if (s.queue.size > limits.maxPipelinedRequests) s.pauseClient();
    this.#keepPortals();
    if (s.closing) at = end;
    s.countIn(at - start);
    return at;
  }

  #frame(bytes: Buffer, at: number, end: number): boolean {
    return nextMessage(bytes, at, end, this.#limits, this.#cursor);
  }

  /** Bind bytes that may be needed after this turn become copies. */
  #keepPortals(): void {
    const unnamed = this.#s.predicted.unnamedPortal;
    if (unnamed?.borrowed) {
      if (unnamed.finished) unnamed.forget();
      else unnamed.keep();
    }
    for (const portal of this.#borrowed) portal.keep();
    this.#borrowed.length = 0;
  }

  // --- messages larger than what is there -------------------------------------------------------------------------

  /** Returns false when the message should wait in the link for its rest. */
  #beginPartial(bytes: Buffer, at: number, end: number): boolean {
    const s = this.#s;
    const { type, end: next } = this.#cursor;
    const total = next - at;
    if (type === T.CopyData) {
      const forwarded = this.#copyData(bytes, at, end, total - HEADER_BYTES);
      this.#flowIsCopy = true;
      if (forwarded) this.#flowing = next - end;
      else this.#dropping = next - end;
      return true;
    }
    if (total <= s.maxChunkBytes) return false;
    if (type === T.Query || type === T.Parse) {
      const textBytes = total - HEADER_BYTES;
      if (textBytes > s.maxStatementBytes + SLACK_BYTES) {
        this.#refuse(
          type,
          bytes,
          at + HEADER_BYTES,
          Math.min(end, at + 1024),
          oversizedRefusal(textBytes, s.maxStatementBytes),
        );
        this.#dropping = next - end;
        return true;
      }
    } else if (type === T.Bind) {
      if (end - at < s.maxChunkBytes / 2) return false;
      const forwarded = this.#largeBind(bytes, at, end);
      this.#flowIsCopy = false;
      if (forwarded) this.#flowing = next - end;
      else this.#dropping = next - end;
      return true;
    }
    this.#collected = Buffer.allocUnsafeSlow(total);
    this.#collectedBytes = bytes.copy(this.#collected, 0, at, end);
    return true;
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
        if (this.#frame(whole, 0, whole.length)) this.#message(whole, 0, whole.length);
      }
      return at + count;
    }
    if (this.#dropping > 0) {
      const count = Math.min(end - at, this.#dropping);
      this.#dropping -= count;
      return at + count;
    }
    const count = Math.min(end - at, this.#flowing);
    if (this.#flowIsCopy) s.recordCopy(true, bytes, at, at + count);
    s.toUpstream.push(bytes, at, at + count);
    this.#flowing -= count;
    return at + count;
  }

  // --- whole messages ---------------------------------------------------------------------------------------------

  #message(bytes: Buffer, at: number, next: number): void {
    const type = bytes[at];
    try {
      this.#dispatch(type, bytes, at, next);
    } catch (error) {
      if (!isAppError(error) || error.kind !== 'protocol') throw error;
      this.#malformed(type, bytes, at, next, error.message);
    }
  }

  /**
   * The server answers a malformed message with an error of its own and goes on. It may judge it where nothing forbids
   * that; under controls it does not get to see what we could not read.
   */
  #malformed(type: number, bytes: Buffer, at: number, next: number, why: string): void {
    const s = this.#s;
    const refused = s.controlled ? malformedRefusal(why) : s.admission(1);
    if (refused) {
      this.#refuse(type, bytes, next, next, refused);
      return;
    }
    const simple = type === T.Query || type === T.FunctionCall;
    const request = new Request(simple ? RequestKind.query : UNREADABLE_AS[type], '', s.turn.number);
    if (simple) request.statements = [this.#announceText(bytes, at + HEADER_BYTES, next)];
    this.#pass(request, bytes, at, next);
  }

  #dispatch(type: number, bytes: Buffer, at: number, next: number): void {
    const s = this.#s;
    switch (type) {
      case T.Query:
        this.#query(bytes, at, next);
        break;
      case T.Parse:
        this.#parse(bytes, at, next);
        break;
      case T.Bind:
        this.#bind(bytes, at, next);
        break;
      case T.Execute:
        this.#execute(bytes, at, next);
        break;
      case T.Describe:
      case T.Close:
        this.#describeOrClose(type, bytes, at, next);
        break;
      case T.Sync:
        s.beforeSync();
        this.#pass(new Request(RequestKind.sync, '', s.turn.number), bytes, at, next);
        break;
      case T.CopyData:
        this.#copyData(bytes, at, next, next - at - HEADER_BYTES);
        break;
      case T.CopyDone:
      case T.CopyFail:
        this.#copyEnd(bytes, at, next);
        break;
      case T.FunctionCall:
        this.#functionCall(bytes, at, next);
        break;
      case T.Terminate:
        s.clientQuit(bytes, at, next);
        break;
      default:
        s.toUpstream.push(bytes, at, next); // Flush; other types do not pass the framing
    }
  }

  #pass(request: Request, bytes: Buffer, at: number, next: number): void {
    this.#s.queue.push(request);
    this.#s.toUpstream.push(bytes, at, next);
  }

  /** Refuses a message of any type; `[start, end)` is the text to record, if there is one. */
  #refuse(type: number, bytes: Buffer, start: number, end: number, why: Refusal): void {
    const s = this.#s;
    const simple = type === T.Query || type === T.FunctionCall;
    const request = new Request(simple ? RequestKind.query : RequestKind.parse, '', s.turn.number);
    request.refusal = why;
    const statementKind = type === T.Query ? StatementKind.SIMPLE : StatementKind.PREPARE;
    s.recordRefused(
      type === T.FunctionCall ? StatementKind.FUNCTION_CALL : statementKind,
      bytes,
      start,
      end,
      why,
    );
    if (type === T.Query) s.unnamedDestroyed();
    const substitute = simple ? UNPARSABLE_QUERY : UNPARSABLE_PARSE;
    this.#pass(request, substitute, 0, substitute.length);
  }

  #query(bytes: Buffer, at: number, next: number): void {
    const s = this.#s;
    const start = at + HEADER_BYTES;
    const end = decodeQuery(bytes, start, next);
    if (end - start > s.maxStatementBytes) {
      this.#refuse(T.Query, bytes, start, start + 1024, oversizedRefusal(end - start, s.maxStatementBytes));
      return;
    }
    const spans = s.sql.split(bytes, start, end, s.lexical);
    if (spans.length > limits.maxStatementsPerQuery) {
      const message = `${spans.length} statements in one Query; dbwitness passes on at most ${limits.maxStatementsPerQuery}`;
      this.#refuse(
        T.Query,
        bytes,
        start,
        end,
        refusal(SQLSTATE.limitExceeded, message, 'Send them in several queries.'),
      );
      return;
    }
    if (s.controlled && end - start > limits.maxInlineParseBytes) {
      this.#decideElsewhere(bytes, at, next, start, end, spans);
      return;
    }
    const why = s.admission(spans.length || 1) ?? (s.controlled ? this.#decideAll(bytes, spans) : null);
    this.#queryDecided(bytes, at, next, spans, why);
  }

  /** The first refusal among the statements of a Query. */
  #decideAll(bytes: Buffer, spans: readonly StatementSpan[]): Refusal | null {
    const s = this.#s;
    const prepared = new Map<string, Classification>();
    for (const span of spans) {
      const classification = s.sql.classify(bytes, span.start, span.end, s.lexical);
      const why = s.decide(classification, prepared);
      if (why) return why;
      if (classification.prepares !== '') prepared.set(classification.prepares, classification);
    }
    return null;
  }

  #queryDecided(
    bytes: Buffer,
    at: number,
    next: number,
    spans: readonly StatementSpan[],
    why: Refusal | null,
  ): void {
    const s = this.#s;
    const start = at + HEADER_BYTES;
    if (why) {
      this.#refuse(T.Query, bytes, start, next - 1, why);
      return;
    }
    if (s.probing && spans.length === 1) s.probeBeforeCommit(bytes, spans[0]);
    const request = new Request(RequestKind.query, '', s.turn.number);
    const statements: InFlight[] = [];
    if (spans.length === 0) statements.push(this.#announceText(bytes, start, next - 1));
    for (const span of spans) {
      statements.push(this.#announceText(bytes, span.start, span.end));
      if (mayDeclare(bytes, span.start)) s.declareBySql(request, bytes, span);
    }
    request.statements = statements;
    s.account.statements += statements.length;
    s.unnamedDestroyed();
    this.#pass(request, bytes, at, next);
  }

  #announceText(bytes: Buffer, start: number, end: number): InFlight {
    const s = this.#s;
    const { text, redacted } = s.sql.redactSecrets(bytes, start, end, s.lexical);
    const statement = s.newInFlight(null);
    const record = s.recorder.started;
    record.ordinal = statement.ordinal;
    record.kind = StatementKind.SIMPLE;
    if (redacted) s.recorder.putOnce(text, 0, text.length, end - start, true);
    else s.recorder.putOnce(bytes, start, end, end - start, false);
    record.transactionStatus = s.transactionStatus;
    s.recorder.start();
    return statement;
  }

  #parse(bytes: Buffer, at: number, next: number): void {
    const s = this.#s;
    const view = this.#parseView;
    decodeParse(bytes, at + HEADER_BYTES, next, view);
    const { textStart, textEnd } = view;
    if (textEnd - textStart > s.maxStatementBytes) {
      this.#refuse(
        T.Parse,
        bytes,
        textStart,
        textStart + 1024,
        oversizedRefusal(textEnd - textStart, s.maxStatementBytes),
      );
      return;
    }
    if (s.controlled && textEnd - textStart > limits.maxInlineParseBytes) {
      this.#decideElsewhere(bytes, at, next, textStart, textEnd, [{ start: textStart, end: textEnd }]);
      return;
    }
    let why = s.generalRefusal();
    const classification =
      why === null && (s.controlled || s.probing)
        ? s.sql.classify(bytes, textStart, textEnd, s.lexical)
        : null;
    if (why === null && s.controlled && classification) why = s.decide(classification);
    this.#parseDecided(bytes, at, next, why, classification);
  }

  /** `#parseView` holds the message. */
  #parseDecided(
    bytes: Buffer,
    at: number,
    next: number,
    refused: Refusal | null,
    classification: StatementText['classification'],
  ): void {
    const s = this.#s;
    const { name, textStart, textEnd, typesStart, typeCount } = this.#parseView;
    const why = refused ?? (name === '' ? null : s.preparedLimitRefusal());
    if (why) {
      this.#refuse(T.Parse, bytes, textStart, textEnd, why);
      return;
    }
    const { text: shown, redacted } = s.sql.redactSecrets(bytes, textStart, textEnd, s.lexical);
    const types = typeCount === 0 ? NO_TYPES : typeOids(bytes, typesStart, typeCount);
    const recorded = redacted ? shown : Buffer.from(shown);
    const request = new Request(RequestKind.parse, name, s.turn.number);
    request.text = new StatementText(recorded, redacted, textEnd - textStart, types, classification);
    applyToNames(s.predicted, request);
    this.#pass(request, bytes, at, next);
  }

  /** Texts that would hold up the loop are parsed by a worker; the client is not read meanwhile. */
  #decideElsewhere(
    borrowed: Buffer,
    at: number,
    next: number,
    start: number,
    end: number,
    borrowedSpans: readonly StatementSpan[],
  ): void {
    const s = this.#s;
    const bytes = Buffer.from(borrowed.subarray(at, next));
    const spans = borrowedSpans.map((span) => ({ start: span.start - at, end: span.end - at }));
    s.holdClient();
    // One classification of the whole: several statements in a text are merged into it.
    void s.sql.classifyLong(bytes, start - at, end - at, s.lexical).then((classification) => {
      if (s.closing) return;
      s.joinTurn();
      const query = bytes[0] === T.Query;
      const why = (query ? s.admission(spans.length || 1) : s.generalRefusal()) ?? s.decide(classification);
      if (query) this.#queryDecided(bytes, 0, bytes.length, spans, why);
      else {
        decodeParse(bytes, HEADER_BYTES, bytes.length, this.#parseView);
        this.#parseDecided(bytes, 0, bytes.length, why, classification);
      }
      s.releaseClient();
    });
  }

  #bind(bytes: Buffer, at: number, next: number): void {
    const s = this.#s;
    const view = this.#bindView;
    decodeBind(bytes, at + HEADER_BYTES, next, view);
    const maxEnd = view.formatsStart + s.maxBindBytes;
    const whole = view.resultFormatsStart <= maxEnd;
    const formats =
      view.resultFormatCount === 0
        ? NO_FORMATS
        : formatCodes(bytes, view.resultFormatsStart + 2, view.resultFormatCount);
    const portal = new Portal(
      s.predicted.statement(view.statement) ?? s.unknownText(view.statement),
      view.statement,
      bytes,
      view.formatsStart,
      whole ? view.resultFormatsStart : maxEnd,
      whole ? 0 : view.parameterBytes,
      formats,
    );
    this.#bound(view.portal, portal, bytes, at, next);
  }

  /** A Bind of which only a first part is there: what is there is recorded, the rest flows. */
  #largeBind(bytes: Buffer, at: number, end: number): boolean {
    const s = this.#s;
    const portalEnd = bytes.indexOf(0, at + HEADER_BYTES);
    const statementEnd = portalEnd < 0 ? -1 : bytes.indexOf(0, portalEnd + 1);
    if (portalEnd < 0 || statementEnd < 0 || statementEnd >= end) {
      this.#refuse(T.Bind, bytes, at, at, malformedRefusal('bind message with names of unlimited length'));
      return false;
    }
    const statementName = latin1(bytes, portalEnd + 1, statementEnd);
    const start = statementEnd + 1;
    const cut = Math.min(end, start + s.maxBindBytes);
    const text = s.predicted.statement(statementName) ?? s.unknownText(statementName);
    const portal = new Portal(text, statementName, bytes, start, cut, this.#cursor.end - start, NO_FORMATS);
    this.#bound(latin1(bytes, at + HEADER_BYTES, portalEnd), portal, bytes, at, end);
    return true;
  }

  #bound(name: string, portal: Portal, bytes: Buffer, at: number, end: number): void {
    const s = this.#s;
    const request = new Request(RequestKind.bind, name, s.turn.number);
    request.portal = portal;
    applyToNames(s.predicted, request);
    if (name !== '') this.#borrowed.push(portal);
    this.#pass(request, bytes, at, end);
  }

  #execute(bytes: Buffer, at: number, next: number): void {
    const s = this.#s;
    const view = this.#executeView;
    decodeExecute(bytes, at + HEADER_BYTES, next, view);
    const portal = s.predicted.portal(view.portal);
    const text = portal?.text ?? s.unknownText(view.portal);
    const request = new Request(RequestKind.execute, view.portal, s.turn.number);
    request.portal = portal;
    const why = s.admission(1);
    const statement = s.newInFlight(text);
    s.announceExecution(statement, text, portal, view.portal, view.maxRows, why);
    if (why) {
      request.refusal = why;
      s.finishRefused(statement, why);
      this.#pass(request, UNPARSABLE_PARSE, 0, UNPARSABLE_PARSE.length);
      return;
    }
    s.account.statements++;
    if (text.classification?.writes) s.batchWrites = true;
    if (portal && view.maxRows <= 0) portal.finished = true;
    request.statements = [statement];
    this.#pass(request, bytes, at, next);
  }

  #describeOrClose(type: number, bytes: Buffer, at: number, next: number): void {
    const s = this.#s;
    const view = this.#targetView;
    decodeClose(bytes, at + HEADER_BYTES, next, view); // Describe has the same layout
    const isStatement = view.target === TARGET_STATEMENT;
    const close = type === T.Close;
    let kind: RequestKind;
    if (close) kind = isStatement ? RequestKind.closeStatement : RequestKind.closePortal;
    else kind = isStatement ? RequestKind.describeStatement : RequestKind.describePortal;
    const request = new Request(kind, view.name, s.turn.number);
    if (close) applyToNames(s.predicted, request);
    else if (isStatement) request.text = s.predicted.statement(view.name);
    else request.portal = s.predicted.portal(view.name);
    this.#pass(request, bytes, at, next);
  }

  #functionCall(bytes: Buffer, at: number, next: number): void {
    const s = this.#s;
    const oid = next - at >= 9 ? bytes.readUInt32BE(at + HEADER_BYTES) : 0;
    const text = Buffer.from(`/* FunctionCall */ SELECT function ${oid}`);
    const why = s.admission(1) ?? s.functionCallRefusal(oid);
    if (why) {
      this.#refuse(T.FunctionCall, text, 0, text.length, why);
      return;
    }
    const argumentsEnd = Math.min(next, at + 9 + s.maxBindBytes);
    const statement = s.newInFlight(null);
    const record = s.recorder.started;
    record.ordinal = statement.ordinal;
    record.kind = StatementKind.FUNCTION_CALL;
    record.sql = text;
    record.sqlEnd = text.length;
    record.bind = bytes;
    record.bindStart = at + 9;
    record.bindEnd = argumentsEnd;
    record.parameterBytes = argumentsEnd < next ? next - at - 9 : 0;
    s.recorder.start();
    s.account.statements++;
    const request = new Request(RequestKind.functionCall, '', s.turn.number);
    request.statements = [statement];
    this.#pass(request, bytes, at, next);
  }

  // --- COPY -------------------------------------------------------------------------------------------------------

  /** Returns whether the bytes went upstream. */
  #copyData(bytes: Buffer, at: number, end: number, payloadBytes: number): boolean {
    const s = this.#s;
    if (this.#copyRefused) return false;
    const why = s.generalRefusal();
    if (why) {
      this.#copyRefused = true;
      s.refuseCopy(why);
      this.#pass(new Request(RequestKind.copyEnd, '', s.turn.number), COPY_FAIL, 0, COPY_FAIL.length);
      return false;
    }
    s.countCopyIn(payloadBytes);
    s.recordCopy(true, bytes, at + HEADER_BYTES, end);
    s.toUpstream.push(bytes, at, end);
    return true;
  }

  #copyEnd(bytes: Buffer, at: number, next: number): void {
    if (this.#copyRefused) {
      this.#copyRefused = false;
      return;
    }
    this.#pass(new Request(RequestKind.copyEnd, '', this.#s.turn.number), bytes, at, next);
  }

  /** A turn that could not be recorded ended a COPY in the client's place: its further data are swallowed. */
  copyWasRefused(): void {
    this.#copyRefused = true;
  }
}
