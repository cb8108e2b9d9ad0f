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
import { MessageCursor, nextMessage } from '../../../wire/postgres/framing.ts';
import {
  BindView,
  decodeBind,
  decodeClose,
  decodeExecute,
  ExecuteView,
  formatCodes,
  TARGET_STATEMENT,
  TargetView,
} from '../../../wire/postgres/frontend.ts';
import {
  clientRunning,
  Frontend as T,
  HEADER_BYTES,
  type LengthLimits,
} from '../../../wire/postgres/messages.ts';
import { latin1 } from '../../../wire/postgres/reader.ts';
import { PAUSE } from '../flow-control.ts';
import { applyToNames } from './names.ts';
import { COPY_FAIL, malformedRefusal, oversizedRefusal, UNPARSABLE_PARSE } from './refusal.ts';
import { Request, RequestKind } from './requests.ts';
import { TextMessages } from './texts.ts';
import type { PgSession } from './session.ts';
import { maskParameters, secretsOf } from './secret-parameters.ts';
import { Portal, unknownText } from './statement.ts';
import { StatementKind } from '../recorder.ts';

/** Names and types around a text, which a total length cannot tell from it. */
const SLACK_BYTES = 64 * 1024;
/** What an unreadable message of the extended protocol counts as: its answer can only be an error. */
const UNREADABLE_AS: Readonly<Record<number, RequestKind>> = {
  [T.Parse]: RequestKind.parse,
  [T.Bind]: RequestKind.bind,
  [T.Describe]: RequestKind.describePortal,
  [T.Execute]: RequestKind.execute,
  [T.Close]: RequestKind.closePortal,
};
const CALL = Buffer.from('/* FunctionCall */');
const NO_FORMATS: readonly number[] = [];

export class Frontend {
  readonly #s: PgSession;
  readonly #limits: LengthLimits;
  readonly #cursor = new MessageCursor();
  readonly #texts: TextMessages;
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
    this.#texts = new TextMessages(session);
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
    if (s.queue.size > limits.maxPipelinedRequests) s.flow.pauseClient(PAUSE.pipeline);
    this.#keepPortals();
    s.copy.flush();
    if (s.closing) at = end;
    s.traffic.countIn(at - start);
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
    if (this.#borrowed.length > 0) for (const portal of this.#borrowed.splice(0)) portal.keep();
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
    if (type === T.Query || type === T.Parse || type === T.FunctionCall) {
      const textBytes = total - HEADER_BYTES;
      if (textBytes > s.maxStatementBytes + SLACK_BYTES) {
        const why = oversizedRefusal(textBytes, s.maxStatementBytes);
        if (type === T.FunctionCall) this.#texts.refuse(type, CALL, 0, CALL.length, why);
        else this.#texts.refuse(type, bytes, at + HEADER_BYTES, Math.min(end, at + 1024), why);
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
    if (this.#flowIsCopy) s.copy.record(true, bytes, at, at + count);
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
    const refused = s.controlled ? malformedRefusal(why) : s.gate.statements(1);
    if (refused) {
      this.#texts.refuse(type, bytes, next, next, refused);
      return;
    }
    const simple = type === T.Query || type === T.FunctionCall;
    const request = new Request(simple ? RequestKind.query : UNREADABLE_AS[type], '', s.turn.number);
    if (simple) request.statements = [this.#texts.announceText(bytes, at + HEADER_BYTES, next)];
    this.#s.pass(request, bytes, at, next);
  }

  #dispatch(type: number, bytes: Buffer, at: number, next: number): void {
    const s = this.#s;
    switch (type) {
      case T.Query:
        this.#texts.query(bytes, at, next);
        break;
      case T.Parse:
        this.#texts.parse(bytes, at, next);
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
        this.#s.pass(new Request(RequestKind.sync, '', s.turn.number), bytes, at, next);
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
      s.predicted.statement(view.statement) ?? unknownText(view.statement),
      view.statement,
      bytes,
      view.formatsStart,
      whole ? view.resultFormatsStart : maxEnd,
      whole ? 0 : view.parameterBytes,
      formats,
    );
    if (view.parameterCount > 0) hideSecrets(portal, whole);
    this.#bound(view.portal, portal, bytes, at, next);
  }

  /** A Bind of which only a first part is there: what is there is recorded, the rest flows. */
  #largeBind(bytes: Buffer, at: number, end: number): boolean {
    const s = this.#s;
    const portalEnd = bytes.indexOf(0, at + HEADER_BYTES);
    const statementEnd = portalEnd < 0 ? -1 : bytes.indexOf(0, portalEnd + 1);
    if (portalEnd < 0 || statementEnd < 0 || statementEnd >= end) {
      this.#texts.refuse(
        T.Bind,
        bytes,
        at,
        at,
        malformedRefusal('bind message with names of unlimited length'),
      );
      return false;
    }
    const statementName = latin1(bytes, portalEnd + 1, statementEnd);
    const start = statementEnd + 1;
    const cut = Math.min(end, start + s.maxBindBytes);
    const text = s.predicted.statement(statementName) ?? unknownText(statementName);
    const portal = new Portal(text, statementName, bytes, start, cut, this.#cursor.end - start, NO_FORMATS);
    hideSecrets(portal, false);
    this.#bound(latin1(bytes, at + HEADER_BYTES, portalEnd), portal, bytes, at, end);
    return true;
  }

  #bound(name: string, portal: Portal, bytes: Buffer, at: number, end: number): void {
    const s = this.#s;
    const request = new Request(RequestKind.bind, name, s.turn.number);
    request.portal = portal;
    applyToNames(s.predicted, request);
    if (name !== '') this.#borrowed.push(portal);
    this.#s.pass(request, bytes, at, end);
  }

  #execute(bytes: Buffer, at: number, next: number): void {
    const s = this.#s;
    const view = this.#executeView;
    decodeExecute(bytes, at + HEADER_BYTES, next, view);
    const portal = s.predicted.portal(view.portal);
    const text = portal?.text ?? unknownText(view.portal);
    const request = new Request(RequestKind.execute, view.portal, s.turn.number);
    request.portal = portal;
    const why = s.gate.statements(1);
    const statement = s.newInFlight(text);
    s.announceExecution(statement, text, portal, view.portal, view.maxRows, why);
    if (why) {
      request.refusal = why;
      s.finishRefused(statement, why);
      this.#s.pass(request, UNPARSABLE_PARSE, 0, UNPARSABLE_PARSE.length);
      return;
    }
    s.account.statements++;
    const { classification } = text;
    if (classification?.writes) {
      s.batchWrites = true;
      if (classification.verb === 'copy') s.batchCopies = true;
    }
    if (portal && view.maxRows <= 0) portal.finished = true;
    request.statements = [statement];
    this.#s.pass(request, bytes, at, next);
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
    this.#s.pass(request, bytes, at, next);
  }

  #functionCall(bytes: Buffer, at: number, next: number): void {
    const s = this.#s;
    const oid = next - at >= 9 ? bytes.readUInt32BE(at + HEADER_BYTES) : 0;
    const text = Buffer.from(`/* FunctionCall */ SELECT function ${oid}`);
    const why = s.gate.statements(1) ?? s.gate.functionCall(oid);
    if (why) {
      this.#texts.refuse(T.FunctionCall, text, 0, text.length, why);
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
    this.#s.pass(request, bytes, at, next);
  }

  // --- COPY -------------------------------------------------------------------------------------------------------

  /** Returns whether the bytes went upstream. */
  #copyData(bytes: Buffer, at: number, end: number, payloadBytes: number): boolean {
    const s = this.#s;
    if (this.#copyRefused) return false;
    const why = s.gate.general();
    if (why) {
      this.#copyRefused = true;
      s.copy.refuse(why);
      this.#s.pass(new Request(RequestKind.copyEnd, '', s.turn.number), COPY_FAIL, 0, COPY_FAIL.length);
      return false;
    }
    s.copy.received(payloadBytes);
    s.copy.record(true, bytes, at + HEADER_BYTES, end);
    s.toUpstream.push(bytes, at, end);
    return true;
  }

  #copyEnd(bytes: Buffer, at: number, next: number): void {
    this.#s.batchCopies = false;
    if (this.#copyRefused) {
      this.#copyRefused = false;
      return;
    }
    this.#s.pass(new Request(RequestKind.copyEnd, '', this.#s.turn.number), bytes, at, next);
  }

  /** A turn that could not be recorded ended a COPY in the client's place: its further data are swallowed. */
  copyWasRefused(): void {
    this.#copyRefused = true;
  }
}

/** Takes secrets out of a portal's parameters; where not all of them are there, all of them. */
function hideSecrets(portal: Portal, whole: boolean): void {
  const secrets = secretsOf(portal.text);
  if (secrets === null) return;
  portal.redacted = true;
  if (!whole) return portal.forget();
  portal.bind = maskParameters(portal.bind, portal.bindStart, portal.bindEnd, secrets);
  portal.bindStart = 0;
  portal.bindEnd = portal.bind.length;
  portal.borrowed = false;
}
