/**
 * PostgreSQL's statements as journal records: what the recorder needs to be told of texts, portals, rows and errors.
 */
import { setResultFormats } from '../../../wire/postgres/rows.ts';
import type { ErrorFields } from '../../../wire/postgres/backend.ts';
import { Decision, Outcome, StatementKind, type StatementErrorFields } from '../recorder.ts';
import { StatementRecords } from '../statement-records.ts';
import type { Refusal } from './refusal.ts';
import type { InFlight, Portal, StatementText } from './statement.ts';

/** Text of a recorded error field, at most. */
const MAX_FIELD_CHARS = 8 * 1024;

export class PgRecords extends StatementRecords {
  announceExecution(
    statement: InFlight,
    text: StatementText,
    portal: Portal | null,
    portalName: string,
    maxRows: number,
    transactionStatus: number,
    why: Refusal | null,
  ): void {
    const record = this.recorder.started;
    record.ordinal = statement.ordinal;
    record.kind = StatementKind.EXECUTE;
    this.recorder.putText(text);
    if (portal) {
      record.bind = portal.bind;
      record.bindStart = portal.bindStart;
      record.bindEnd = portal.bindEnd;
      record.parameterBytes = portal.parameterBytes;
      record.preparedName = portal.statementName;
      if (portal.redacted) {
        record.redacted = true;
        statement.redacted = true;
      }
    }
    record.portalName = portalName;
    record.maxRows = maxRows > 0 ? maxRows : 0;
    record.transactionStatus = transactionStatus;
    if (why) {
      record.decision = Decision.DENIED;
      record.decisionReason = why.message;
    }
    this.recorder.start();
  }

  /** A text that was refused before it became a statement of its own. */
  announceRefused(
    ordinal: number,
    kind: StatementKind,
    text: Buffer,
    redacted: boolean,
    originalBytes: number,
    transactionStatus: number,
    why: Refusal,
  ): void {
    const record = this.recorder.started;
    record.ordinal = ordinal;
    record.kind = kind;
    this.recorder.putOnce(text, 0, text.length, originalBytes, redacted);
    record.decision = Decision.DENIED;
    record.decisionReason = why.message;
    record.transactionStatus = transactionStatus;
    this.recorder.start();
  }

  /** The outcome of a statement that dbwitness refused. */
  finishRefused(ordinal: number, why: Refusal): void {
    this.recorder.settle();
    const record = this.recorder.finished;
    record.ordinal = ordinal;
    record.outcome = Outcome.REFUSED;
    record.error = refusalFields(why);
    this.recorder.finish();
    this.recorder.settle();
  }

  /** An outcome of the server. Slices are borrowed until the recorder settles, at the latest when the chunk ends. */
  finish(
    statement: InFlight,
    outcome: Outcome,
    tag: Buffer,
    tagStart: number,
    tagEnd: number,
    error: ErrorFields | null,
  ): void {
    const record = this.answered(statement);
    record.outcome = outcome;
    record.tag = tag;
    record.tagStart = tagStart;
    record.tagEnd = tagEnd;
    if (error) record.error = errorRecord(error, statement.redacted);
    if (statement.notices) record.notices = statement.notices;
    if (this.#takeDescription(statement)) {
      record.description = statement.description as Buffer;
      record.descriptionStart = statement.descriptionStart;
      record.descriptionEnd = statement.descriptionEnd;
    }
    this.recorder.finish();
  }

  /** Rows of a statement that is still running. */
  rows(statement: InFlight, rows: Buffer, start: number, end: number, count: number): void {
    const described = this.#takeDescription(statement);
    this.recorder.rows(
      statement.ordinal,
      described ? statement.description : null,
      described ? statement.descriptionStart : 0,
      described ? statement.descriptionEnd : 0,
      rows,
      start,
      end,
      count,
    );
  }

  #takeDescription(statement: InFlight): boolean {
    if (statement.described) return false;
    if (!statement.description && statement.portal) {
      const body = descriptionOf(statement.portal);
      if (body) {
        statement.description = body;
        statement.descriptionEnd = body.length;
      }
    }
    statement.described = statement.description !== null;
    return statement.described;
  }
}

/** The description of what a portal returns: its own, or its statement's with the formats that Bind chose. */
function descriptionOf(portal: Portal): Buffer | null {
  if (portal.description) return portal.description;
  const { text, resultFormats } = portal;
  if (!text.description || resultFormats.length === 0) return text.description;
  if (text.patched && sameNumbers(text.patchedFor, resultFormats)) return text.patched;
  const patched = Buffer.from(text.description);
  setResultFormats(patched, resultFormats);
  text.patched = patched;
  text.patchedFor = resultFormats;
  return patched;
}

function sameNumbers(a: readonly number[], b: readonly number[]): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

function refusalFields(why: Refusal): StatementErrorFields {
  return {
    severity: 'ERROR',
    code: why.sqlstate,
    message: why.message,
    detail: why.detail,
    hint: why.hint,
    position: 0,
    number: 0,
    fields: {},
  };
}

const OWN_FIELDS = new Set(['S', 'V', 'C', 'M', 'D', 'H', 'P']);
/** Message, detail, hint, context, internal query: the fields that may quote a text. */
const QUOTING = new Set(['M', 'D', 'H', 'W', 'q']);
const MENTION = /pass|pwd|secret|cred|scram|:\/\//i;

function errorRecord(error: ErrorFields, redacted: boolean): StatementErrorFields {
  const field = (letter: string): string => {
    const text = error.get(letter) ?? '';
    return (QUOTING.has(letter) ? withoutSecrets(text, redacted) : text).slice(0, MAX_FIELD_CHARS);
  };
  const others: Record<string, string> = {};
  for (const letter of error.keys()) if (!OWN_FIELDS.has(letter)) others[letter] = field(letter);
  return {
    severity: field('V') || field('S'),
    code: field('C'),
    message: field('M'),
    detail: field('D'),
    hint: field('H'),
    position: Number(field('P')) || 0,
    number: 0,
    fields: others,
  };
}

/**
 * What the server says, without what it quotes where that may be a secret: `syntax error at or near "'hunter2'"`, or the
 * statement of a function in its context.
 *
 * @param redacted a secret was taken out of the statement that this is about.
 */
export function withoutSecrets(text: string, redacted: boolean): string {
  if (!redacted && !MENTION.test(text)) return text;
  const literals = text
    .replaceAll(/'(?:[^']|'')*'?/g, "'***'")
    .replaceAll(/\$(\w*)\$[^]*?(?:\$\1\$|$)/g, "'***'");
  return redacted ? literals.replace(/".*"?/s, '"***"') : literals;
}
