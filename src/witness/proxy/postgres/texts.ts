/**
 * Query and Parse: the messages that carry a text. The text is split, judged where the grant has controls, redacted, and
 * announced (Query) or kept under its name (Parse); or the message is refused and the server gets one that it cannot
 * parse in its place.
 */
import { limits } from '../../../base/limits.ts';
import type { Classification, StatementSpan } from '../../../model/statement.ts';
import { decodeParse, decodeQuery, ParseView, typeOids } from '../../../wire/postgres/frontend.ts';
import { Frontend as T, HEADER_BYTES } from '../../../wire/postgres/messages.ts';
import { StatementKind } from '../recorder.ts';
import { protocolName } from './gate.ts';
import { UNREPORTED } from './lexical.ts';
import { applyToNames } from './names.ts';
import {
  oversizedRefusal,
  refusal,
  type Refusal,
  SQLSTATE,
  UNPARSABLE_PARSE,
  UNPARSABLE_QUERY,
} from './refusal.ts';
import { Request, RequestKind } from './requests.ts';
import type { PgSession } from './session.ts';
import { declaredName, mayDeclare } from './sql-names.ts';
import { type InFlight, StatementText } from './statement.ts';

const NO_TYPES: number[] = [];
const REFUSED_KINDS: Readonly<Record<number, StatementKind>> = {
  [T.Query]: StatementKind.SIMPLE,
  [T.FunctionCall]: StatementKind.FUNCTION_CALL,
};

export class TextMessages {
  readonly #s: PgSession;
  readonly #parseView = new ParseView();

  constructor(session: PgSession) {
    this.#s = session;
  }

  query(bytes: Buffer, at: number, next: number): void {
    const s = this.#s;
    const start = at + HEADER_BYTES;
    const end = decodeQuery(bytes, start, next);
    if (end - start > s.maxStatementBytes) {
      this.refuse(T.Query, bytes, start, start + 1024, oversizedRefusal(end - start, s.maxStatementBytes));
      return;
    }
    if (this.#cannotBeRead(T.Query, bytes, at, next, start, end)) return;
    const spans = s.sql.split(bytes, start, end, s.lexical);
    if (spans.length > limits.maxStatementsPerQuery) {
      const message = `${spans.length} statements in one Query; dbwitness passes on at most ${limits.maxStatementsPerQuery}`;
      this.refuse(
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
    const why = s.gate.statements(spans.length || 1) ?? (s.controlled ? this.#decideAll(bytes, spans) : null);
    this.#queryDecided(bytes, at, next, spans, why);
  }

  /** The first refusal among the statements of a Query. */
  #decideAll(bytes: Buffer, spans: readonly StatementSpan[]): Refusal | null {
    const s = this.#s;
    const prepared = new Map<string, Classification>();
    for (const span of spans) {
      const classification = s.sql.classify(bytes, span.start, span.end, s.lexical);
      const why = s.gate.decide(classification, prepared);
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
      this.refuse(T.Query, bytes, start, next - 1, why);
      return;
    }
    if (s.probing && spans.length === 1) s.probeBeforeCommit(bytes, spans[0]);
    const request = new Request(RequestKind.query, '', s.turn.number);
    const statements: InFlight[] = [];
    if (spans.length === 0) statements.push(this.announceText(bytes, start, next - 1));
    for (const span of spans) {
      statements.push(this.announceText(bytes, span.start, span.end));
      if (mayDeclare(bytes, span.start)) this.#declareBySql(request, bytes, span);
    }
    request.statements = statements;
    s.account.statements += statements.length;
    s.unnamedDestroyed();
    this.#s.pass(request, bytes, at, next);
  }

  /** `PREPARE name AS …` in a Query: the name can be bound by protocol messages once it has succeeded. */
  #declareBySql(request: Request, bytes: Buffer, span: StatementSpan): void {
    const s = this.#s;
    const classification = s.controlled ? s.sql.classify(bytes, span.start, span.end, s.lexical) : null;
    const name = classification
      ? protocolName(classification.prepares)
      : (declaredName(bytes, span.start, span.end) ?? '');
    if (name === '') return;
    const { text, redacted } = s.sql.redactSecrets(bytes, span.start, span.end, s.lexical);
    const declared = new StatementText(
      Buffer.from(text),
      redacted,
      span.end - span.start,
      [],
      classification,
    );
    request.declares ??= [];
    request.declares.push([name, declared]);
    s.predicted.setStatement(name, declared);
  }

  announceText(bytes: Buffer, start: number, end: number): InFlight {
    const s = this.#s;
    const redaction = s.sql.mayHoldSecret(bytes, start, end)
      ? s.sql.redactSecrets(bytes, start, end, s.lexical)
      : null;
    const statement = s.newInFlight(null);
    const record = s.recorder.started;
    record.ordinal = statement.ordinal;
    record.kind = StatementKind.SIMPLE;
    if (redaction?.redacted) {
      statement.redacted = true;
      s.recorder.putOnce(redaction.text, 0, redaction.text.length, end - start, true);
    } else s.recorder.putOnce(bytes, start, end, end - start, false);
    record.transactionStatus = s.transactionStatus;
    s.recorder.start();
    return statement;
  }

  parse(bytes: Buffer, at: number, next: number): void {
    const s = this.#s;
    const view = this.#parseView;
    decodeParse(bytes, at + HEADER_BYTES, next, view);
    const { textStart, textEnd } = view;
    if (textEnd - textStart > s.maxStatementBytes) {
      this.refuse(
        T.Parse,
        bytes,
        textStart,
        textStart + 1024,
        oversizedRefusal(textEnd - textStart, s.maxStatementBytes),
        view.name,
      );
      return;
    }
    if (this.#cannotBeRead(T.Parse, bytes, at, next, textStart, textEnd)) return;
    if (s.controlled && textEnd - textStart > limits.maxInlineParseBytes) {
      this.#decideElsewhere(bytes, at, next, textStart, textEnd, [{ start: textStart, end: textEnd }]);
      return;
    }
    let why = s.gate.general();
    const classification =
      why === null && (s.controlled || s.probing)
        ? s.sql.classify(bytes, textStart, textEnd, s.lexical)
        : null;
    if (why === null && s.controlled && classification) why = s.gate.decide(classification);
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
    const why = refused ?? (name === '' ? null : s.gate.prepared());
    if (why) {
      this.refuse(T.Parse, bytes, textStart, textEnd, why, name);
      return;
    }
    const { text: shown, redacted } = s.sql.redactSecrets(bytes, textStart, textEnd, s.lexical);
    const types = typeCount === 0 ? NO_TYPES : typeOids(bytes, typesStart, typeCount);
    const recorded = redacted ? shown : Buffer.from(shown);
    const request = new Request(RequestKind.parse, name, s.turn.number);
    request.text = new StatementText(recorded, redacted, textEnd - textStart, types, classification);
    applyToNames(s.predicted, request);
    this.#s.pass(request, bytes, at, next);
  }

  /** Under controls: whether the text must wait, or is refused, because the server may read it in another way than we. */
  #cannotBeRead(type: number, bytes: Buffer, at: number, next: number, start: number, end: number): boolean {
    const s = this.#s;
    const answer = s.controlled ? s.lexicalKnowledge.ask(bytes, start, end) : 'known';
    if (answer === 'known') return false;
    if (answer === 'unknown') {
      this.refuse(type, bytes, start, end, UNREPORTED, type === T.Parse ? this.#parseView.name : '');
      return true;
    }
    const copy = Buffer.from(bytes.subarray(at, next));
    s.holdClient();
    s.lexicalKnowledge.whenKnown(() => {
      if (s.closing) return;
      s.joinTurn();
      s.releaseClient();
      try {
        if (type === T.Query) this.query(copy, 0, copy.length);
        else this.parse(copy, 0, copy.length);
      } catch (error) {
        s.fail(error);
      }
    });
    return true;
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
    const judged = s.sql.classifyLong(bytes, start - at, end - at, s.lexical).then((classification) => {
      if (s.closing) return;
      s.joinTurn();
      const query = bytes[0] === T.Query;
      const why =
        (query ? s.gate.statements(spans.length || 1) : s.gate.general()) ?? s.gate.decide(classification);
      if (query) this.#queryDecided(bytes, 0, bytes.length, spans, why);
      else {
        decodeParse(bytes, HEADER_BYTES, bytes.length, this.#parseView);
        this.#parseDecided(bytes, 0, bytes.length, why, classification);
      }
      s.releaseClient();
    });
    judged.catch((error: unknown) => s.fail(error));
  }

  /**
   * Refuses a message of any type; `[start, end)` is the text to record, if there is one. `name` is the one that a Parse
   * would have given: what the client meant to execute by it is skipped, and its record shows this text.
   */
  refuse(type: number, bytes: Buffer, start: number, end: number, why: Refusal, name = ''): void {
    const s = this.#s;
    const simple = type === T.Query || type === T.FunctionCall;
    const request = new Request(simple ? RequestKind.query : RequestKind.parse, name, s.turn.number);
    request.refusal = why;
    s.recordRefused(REFUSED_KINDS[type] ?? StatementKind.PREPARE, bytes, start, end, why);
    if (type === T.Query) s.unnamedDestroyed();
    if (type === T.Parse) {
      const { text, redacted } = s.sql.redactSecrets(bytes, start, end, s.lexical);
      request.text = new StatementText(Buffer.from(text), redacted, end - start, NO_TYPES, null);
      applyToNames(s.predicted, request);
    }
    const substitute = simple ? UNPARSABLE_QUERY : UNPARSABLE_PARSE;
    this.#s.pass(request, substitute, 0, substitute.length);
  }
}
