/**
 * COM_QUERY and COM_STMT_PREPARE: the commands that carry a text. The text is split, judged where the grant has controls,
 * redacted, and announced (COM_QUERY) or kept (COM_STMT_PREPARE); or the command is refused as a whole, and nothing of it
 * reaches the server.
 */
import { limits } from '../../../base/limits.ts';
import type { Classification, StatementSpan, Verb } from '../../../model/statement.ts';
import type { LexicalSettings, Redaction } from '../../../sql/dialect.ts';
import { decodeQuery, isNull, queryAttributes, QueryView } from '../../../wire/mysql/parameters.ts';
import { Command } from '../../../wire/mysql/protocol.ts';
import { StatementKind } from '../recorder.ts';
import { withComment } from './comment.ts';
import type { WholeCommand } from './frontend.ts';
import { firstWord, FirstWord, mayBeginHidden } from './first-word.ts';
import { isKill } from './kill.ts';
import { HEAD_BYTES, joined, redactionOf } from './long-text.ts';
import { Names, textCommand, withoutDatabase } from './names.ts';
import type { BoundParameters } from './records.ts';
import { CODES, malformedRefusal, oversizedRefusal, refusal, type Refusal } from './refusal.ts';
import { Request, RequestKind } from './requests.ts';
import type { MysqlSession } from './session.ts';
import { type InFlight, Prepared, PreparedText } from './statement.ts';

/** Under controls the server's reports must not be switched off. */
const TRACKING = /session_track/i;
/** LOAD DATA … LOCAL: how far into its text we look for the file. */
const MAX_LOAD_BYTES = 64 * 1024;

/** What becomes of one statement of a text before it is passed on. */
interface Verdict {
  readonly why: Refusal | null;
  /** The text to send instead: USE and KILL, whose names and numbers are ours. */
  readonly instead: string | null;
}
const PASS: Verdict = { why: null, instead: null };

export class Texts {
  readonly #s: MysqlSession;
  readonly #view = new QueryView();
  readonly #names: Names;
  /** Attributes of the query that is being announced. */
  #attributes: BoundParameters | null = null;

  constructor(session: MysqlSession) {
    this.#s = session;
    this.#names = new Names(session);
  }

  // --- COM_QUERY --------------------------------------------------------------------------------------------------

  query(whole: WholeCommand): void {
    const s = this.#s;
    decodeQuery(whole.payload, whole.start, whole.end, s.upstreamCapabilities, this.#view);
    const { textStart } = this.#view;
    const bytes = whole.payload;
    const { end } = whole;
    if (end - textStart > s.maxStatementBytes) {
      const why = oversizedRefusal(end - textStart, s.maxStatementBytes);
      this.#refuseQuery(whole, bytes, textStart, Math.min(end, textStart + 1024), why);
      return;
    }
    if (s.connection.killsOnly !== '' && !isKill(bytes, textStart, end)) {
      this.#refuseQuery(whole, bytes, textStart, end, withoutDatabase(s));
      return;
    }
    if (this.#waits(whole, bytes, textStart, end)) return;
    if (end - textStart > limits.maxInlineReadBytes && whole.read === null) {
      this.#readElsewhere(whole, textStart, s.settings.lexical);
      return;
    }
    const spans =
      whole.read === null
        ? s.sql.split(bytes, textStart, end, s.settings.lexical)
        : whole.read.spans.map((span) => ({ start: span.start + textStart, end: span.end + textStart }));
    if (spans.length > limits.maxStatementsPerQuery) {
      const message = `${spans.length} statements in one COM_QUERY; dbwitness passes on at most ${limits.maxStatementsPerQuery}`;
      this.#refuseQuery(whole, bytes, textStart, end, tooMany(message));
      return;
    }
    if (s.controlled && end - textStart > limits.maxInlineParseBytes) {
      this.#decideElsewhere(whole, textStart, spans);
      return;
    }
    this.#decided(whole, spans, s.controlled ? this.#decideAll(bytes, spans) : null);
  }

  /** The first refusal among the statements of a text. */
  #decideAll(bytes: Buffer, spans: readonly StatementSpan[]): Refusal | null {
    const s = this.#s;
    const prepared = new Map<string, Classification>();
    for (const span of spans) {
      const classification = s.sql.classify(bytes, span.start, span.end, s.settings.lexical);
      const why = s.gate.decide(classification, prepared) ?? this.#untrackable(classification, bytes, span);
      if (why) return why;
      if (classification.prepares !== '') prepared.set(classification.prepares.toLowerCase(), classification);
    }
    for (const [name, classification] of prepared) s.gate.remember(name, classification);
    return null;
  }

  #untrackable(classification: Classification, bytes: Buffer, span: StatementSpan): Refusal | null {
    if (classification.verb !== 'set' || !TRACKING.test(bytes.toString('latin1', span.start, span.end)))
      return null;
    return refusal(
      CODES.notAllowed,
      'the session tracking variables cannot be changed under this grant, which has controls',
      'Leave them as they are: dbwitness watches the session with them',
    );
  }

  /** `refused`: by the controls. What holds for every grant is looked at here. */
  #decided(whole: WholeCommand, spans: readonly StatementSpan[], refused: Refusal | null): void {
    const s = this.#s;
    const bytes = whole.payload;
    const { textStart } = this.#view;
    const why = s.gate.statements(spans.length || 1) ?? refused;
    if (why) {
      this.#refuseQuery(whole, bytes, textStart, whole.end, why);
      return;
    }
    let instead: string | null = null;
    for (const span of spans) {
      const verdict = this.#special(bytes, span, spans.length === 1);
      if (verdict.why) {
        this.#refuseQuery(whole, bytes, textStart, whole.end, verdict.why);
        return;
      }
      instead ??= verdict.instead;
    }
    this.#announce(whole, spans, instead);
  }

  #announce(whole: WholeCommand, spans: readonly StatementSpan[], instead: string | null): void {
    const s = this.#s;
    const bytes = whole.payload;
    const { textStart } = this.#view;
    this.#attributes = this.#view.attributeCount === 0 ? null : this.#bound(bytes);
    const request = new Request(RequestKind.query, s.turn.number, whole.answerSequence);
    const statements: InFlight[] = [];
    if (spans.length === 0) statements.push(this.#announceText(bytes, textStart, whole.end, false, null));
    for (let at = 0; at < spans.length; at++) {
      const span = spans[at];
      const known = whole.read === null ? null : redactionOf(whole, span, at);
      const word = firstWord(bytes, span.start, span.end);
      const isSet = word === FirstWord.set || word === FirstWord.setStatement;
      s.settings.passed(bytes, span.start, span.end, isSet);
      const verb = this.#verb(bytes, span, word);
      const statement = this.#announceText(bytes, span.start, span.end, verb === 'call', known);
      if (verb === 'load') statement.loads = loadText(bytes, span);
      statements.push(statement);
    }
    request.statements = statements;
    s.account.statements += statements.length;
    if (instead !== null) {
      const packet = s.encodeQuery(instead);
      s.pass(request, packet, 0, packet.length);
    } else if (s.permit.recording.statementComment && spans.length > 0) {
      const packet = withComment(whole, textStart, `${s.uid}:${statements[0].ordinal}`);
      if (packet) s.pass(request, packet, 0, packet.length);
      else s.pass(request, whole.packets, whole.from, whole.to);
    } else s.pass(request, whole.packets, whole.from, whole.to);
  }

  /** The verbs whose answers are of their own kind, CALL and LOAD; others as they come. */
  #verb(bytes: Buffer, span: StatementSpan, word: FirstWord): Verb {
    if (word === FirstWord.call) return 'call';
    if (word === FirstWord.load) return 'load';
    if (word !== FirstWord.hidden && word !== FirstWord.setStatement) return '';
    const s = this.#s;
    return s.sql.classify(bytes, span.start, span.end, s.settings.lexical).verb;
  }

  /** `known`: what a worker has made of the text. */
  #announceText(
    bytes: Buffer,
    start: number,
    end: number,
    calls: boolean,
    known: Redaction | null,
  ): InFlight {
    const s = this.#s;
    const redaction =
      known ??
      (s.sql.mayHoldSecret(bytes, start, end)
        ? s.sql.redactSecrets(bytes, start, end, s.settings.lexical)
        : null);
    const statement = s.newInFlight(calls);
    const redacted = redaction?.redacted === true;
    statement.redacted = redacted;
    const own = redacted ? redaction.text : bytes;
    s.records.announceText(
      statement.ordinal,
      StatementKind.SIMPLE,
      own,
      redacted ? 0 : start,
      redacted ? own.length : end,
      end - start,
      redacted,
      s.status,
      null,
      this.#attributes,
    );
    this.#attributes = null;
    return statement;
  }

  /** Query attributes in the recorded form. */
  #bound(bytes: Buffer): BoundParameters {
    const view = this.#view;
    const attributes = queryAttributes(bytes, view);
    const bitmap = Buffer.alloc((view.attributeCount + 7) >>> 3);
    for (let i = 0; i < view.attributeCount; i++)
      if (isNull(bytes, view.attributesStart, i)) bitmap[i >>> 3] |= 1 << (i & 7);
    const whole = Buffer.concat([bitmap, ...attributes.map(({ value }) => value ?? NOTHING)]);
    const end = Math.min(whole.length, this.#s.maxBindBytes);
    return {
      bytes: whole,
      end,
      types: attributes.map(({ type }) => type & 0x80ff),
      fullBytes: end < whole.length ? whole.length : 0,
    };
  }

  /** Statements that every grant is held to: the database may not be left, nor other people's connections killed. */
  #special(bytes: Buffer, span: StatementSpan, alone: boolean): Verdict {
    const s = this.#s;
    const word = firstWord(bytes, span.start, span.end);
    if (!mayLeave(word)) return PASS;
    const { verb } = s.sql.classify(bytes, span.start, span.end, s.settings.lexical);
    const use = word === FirstWord.use || verb === 'use';
    const kill = word === FirstWord.kill || verb === 'kill';
    if (!use && !kill)
      return word === FirstWord.hidden && mayBeginHidden(bytes, span.start, span.end)
        ? this.#names.hidden()
        : PASS;
    const text = bytes.toString('utf8', span.start, span.end);
    const mapped = use ? this.#names.use(text) : this.#names.kill(text);
    if (mapped.why || mapped.instead === null || alone) return mapped;
    return {
      why: refusal(
        CODES.notAllowed,
        `${use ? 'USE' : 'KILL'} must be sent alone here, as its ${use ? 'name' : 'number'} is one of dbwitness`,
      ),
      instead: null,
    };
  }

  #refuseQuery(whole: WholeCommand, bytes: Buffer, start: number, end: number, why: Refusal): void {
    this.#recordRefused(StatementKind.SIMPLE, whole, bytes, start, end, why);
    this.#s.answerWith(why, whole.answerSequence);
  }

  /** Of a long text that no worker has read, no more than its beginning is recorded. */
  #recordRefused(
    kind: StatementKind,
    whole: WholeCommand,
    bytes: Buffer,
    start: number,
    end: number,
    why: Refusal,
  ): void {
    const s = this.#s;
    if (end - start <= limits.maxInlineReadBytes) s.recordRefused(kind, bytes, start, end, why);
    else if (whole.read === null) s.recordRefused(kind, bytes, start, start + HEAD_BYTES, why, end - start);
    else s.recordRedacted(kind, joined(whole, start), end - start, why);
  }

  // --- COM_STMT_PREPARE -------------------------------------------------------------------------------------------

  prepare(whole: WholeCommand): void {
    const s = this.#s;
    const bytes = whole.payload;
    const start = whole.start + 1;
    const { end } = whole;
    if (end - start > s.maxStatementBytes) {
      this.#refusePrepare(
        whole,
        Math.min(end, start + 1024),
        oversizedRefusal(end - start, s.maxStatementBytes),
      );
      return;
    }
    if (this.#waits(whole, bytes, start, end)) return;
    if (end - start > limits.maxInlineReadBytes && whole.read === null) {
      this.#readElsewhere(whole, start, { ...s.settings.lexical, prepared: true });
      return;
    }
    if (s.controlled && end - start > limits.maxInlineParseBytes) {
      this.#decideElsewhere(whole, start, [{ start, end }]);
      return;
    }
    const general = s.connection.killsOnly === '' ? s.gate.general() : withoutDatabase(s);
    const classification =
      general === null && s.controlled ? s.sql.classify(bytes, start, end, s.settings.prepared) : null;
    this.#prepareDecided(
      whole,
      general ?? (classification && this.#judgePrepare(bytes, start, end, classification)),
      classification,
    );
  }

  #judgePrepare(bytes: Buffer, start: number, end: number, classification: Classification): Refusal | null {
    const s = this.#s;
    return s.gate.decide(classification) ?? this.#untrackable(classification, bytes, { start, end });
  }

  #prepareDecided(whole: WholeCommand, refused: Refusal | null, classification: Classification | null): void {
    const s = this.#s;
    const bytes = whole.payload;
    const start = whole.start + 1;
    const { end } = whole;
    const word = firstWord(bytes, start, end);
    const leaving = this.#leavingPrepared(bytes, start, end, word);
    const why = refused ?? s.statements.room(end - start) ?? leaving.why;
    if (why) {
      this.#refusePrepare(whole, end, why);
      return;
    }
    const { text, redacted, secrets } =
      whole.read === null
        ? s.sql.redactPrepared(bytes, start, end, s.settings.lexical)
        : { ...redactionOf(whole, { start, end }, 0), secrets: whole.read.secrets };
    const recorded = redacted ? text : Buffer.from(bytes.subarray(start, end));
    const verb = this.#verb(bytes, { start, end }, word);
    const prepared = new Prepared(
      new PreparedText(recorded, redacted, end - start, classification, secrets),
      verb === 'call',
      verb === 'load' ? loadText(bytes, { start, end }) : null,
    );
    const request = new Request(RequestKind.prepare, s.turn.number, whole.answerSequence);
    request.prepared = prepared;
    s.statements.passed(prepared);
    let packet = s.permit.recording.statementComment ? withComment(whole, start, s.uid) : null;
    if (leaving.instead !== null) packet = textCommand(Command.STMT_PREPARE, leaving.instead);
    if (packet) s.pass(request, packet, 0, packet.length);
    else s.pass(request, whole.packets, whole.from, whole.to);
  }

  /**
   * What becomes of a USE or KILL that is prepared. A USE names its database for good. A KILL's number is looked at when it
   * runs, and cannot be then. What is refused may be sent as text, and is told there what is wrong with it.
   */
  #leavingPrepared(bytes: Buffer, start: number, end: number, word: FirstWord): Verdict {
    const s = this.#s;
    if (!mayLeave(word)) return PASS;
    const { verb } = s.sql.classify(bytes, start, end, s.settings.lexical);
    if (word === FirstWord.use || verb === 'use') {
      const mapped = this.#names.use(bytes.toString('utf8', start, end).replace(/;\s*$/, ''));
      if (!mapped.why) return mapped;
    } else if (word !== FirstWord.kill && verb !== 'kill') {
      if (word !== FirstWord.hidden || !mayBeginHidden(bytes, start, end)) return PASS;
    }
    const what = 'KILL, and USE of another database, cannot be prepared here';
    return { why: refusal(CODES.notPreparable, what, 'Send them as text'), instead: null };
  }

  /** An execution of what was let through when it was prepared: controls cannot have changed since. */
  judgeExecution(prepared: Prepared): Refusal | null {
    const { classification } = prepared.text;
    return classification ? this.#s.gate.decide(classification) : null;
  }

  #refusePrepare(whole: WholeCommand, end: number, why: Refusal): void {
    const s = this.#s;
    this.#recordRefused(StatementKind.PREPARE, whole, whole.payload, whole.start + 1, end, why);
    s.statements.refused();
    s.answerWith(why, whole.answerSequence);
  }

  // --- waiting ----------------------------------------------------------------------------------------------------

  /**
   * How a text is read depends on settings that what is in flight may change. Under controls it waits until all is
   * answered; without, only where the settings are in doubt, and are asked for.
   */
  #waits(whole: WholeCommand, bytes: Buffer, start: number, end: number): boolean {
    const s = this.#s;
    const asks = s.settings.mustAsk(bytes, start, end);
    if (!asks && !(s.controlled && s.queue.size > 0)) return false;
    if (s.queue.size > 0) this.later(whole);
    else {
      const copy = own(whole);
      s.holdClient();
      s.settings.ask(() => {
        s.whenIdle(() => s.redispatch(copy));
      });
    }
    return true;
  }

  /** Decides about a command again, when everything before it is answered. */
  later(whole: WholeCommand): void {
    const copy = own(whole);
    this.#s.whenIdle(() => this.#s.redispatch(copy));
  }

  /** Texts that would hold up the loop are split and redacted by a worker; the client is not read meanwhile. */
  #readElsewhere(borrowed: WholeCommand, start: number, settings: LexicalSettings): void {
    const s = this.#s;
    const shift = borrowed.payload === borrowed.packets ? borrowed.from : 0;
    const whole = own(borrowed);
    s.holdClient();
    const reading = s.sql.readLong(whole.payload, start - shift, whole.end, settings).then((read) => {
      if (s.closing) return;
      s.joinTurn();
      s.releaseClient();
      if (typeof read !== 'string') {
        whole.read = read;
        s.redispatch(whole);
        return;
      }
      const why = refusal(
        CODES.internal,
        `dbwitness could not read this statement: ${read}`,
        'Send it again',
      );
      if (whole.payload[whole.start] === Command.STMT_PREPARE) this.#refusePrepare(whole, whole.end, why);
      else this.#refuseQuery(whole, whole.payload, start - shift, whole.end, why);
    });
    reading.catch((error: unknown) => s.fail(error));
  }

  /** Texts that would hold up the loop are parsed by a worker; the client is not read meanwhile. */
  #decideElsewhere(borrowed: WholeCommand, start: number, spans: readonly StatementSpan[]): void {
    const s = this.#s;
    const shift = borrowed.payload === borrowed.packets ? borrowed.from : 0;
    const whole = own(borrowed);
    const text = { start: start - shift, end: whole.end };
    const moved = spans.map((span) => ({ start: span.start - shift, end: span.end - shift }));
    s.holdClient();
    // One classification of the whole: several statements in a text are merged into it.
    const isQuery = whole.payload[whole.start] === Command.QUERY;
    const settings = isQuery ? s.settings.lexical : s.settings.prepared;
    const judged = s.sql
      .classifyLong(whole.payload, text.start, text.end, settings)
      .then((classification) => {
        if (s.closing) return;
        s.joinTurn();
        const why = s.gate.decide(classification) ?? this.#untrackable(classification, whole.payload, text);
        if (isQuery) {
          decodeQuery(whole.payload, whole.start, whole.end, s.upstreamCapabilities, this.#view);
          this.#decided(whole, moved, why);
        } else this.#prepareDecided(whole, s.gate.general() ?? why, classification);
        s.releaseClient();
      });
    judged.catch((error: unknown) => s.fail(error));
  }
}

const NOTHING = Buffer.alloc(0);

/** Statements that begin like this may be a USE or a KILL. */
function mayLeave(word: FirstWord): boolean {
  return (
    word === FirstWord.use ||
    word === FirstWord.kill ||
    word === FirstWord.hidden ||
    word === FirstWord.setStatement
  );
}

/** The same command in memory of its own. */
export function own(whole: WholeCommand): WholeCommand {
  const { packets, from, to, payload, start, end, answerSequence, read } = whole;
  if (payload !== packets)
    return {
      payload: Buffer.from(payload.subarray(start, end)),
      start: 0,
      end: end - start,
      packets: Buffer.from(packets.subarray(from, to)),
      from: 0,
      to: to - from,
      answerSequence,
      read,
    };
  const copy = Buffer.from(packets.subarray(from, to));
  return {
    payload: copy,
    start: start - from,
    end: end - from,
    packets: copy,
    from: 0,
    to: copy.length,
    answerSequence,
    read,
  };
}

function tooMany(message: string): Refusal {
  return refusal(malformedRefusal(message), message, 'Send them in several queries');
}

/** The text of a LOAD DATA LOCAL, as far as its file can be; `null` for one that is not LOCAL. */
function loadText(bytes: Buffer, span: StatementSpan): string | null {
  const text = bytes.toString('utf8', span.start, Math.min(span.end, span.start + MAX_LOAD_BYTES));
  return /\blocal\b/i.test(text) ? text : null;
}
