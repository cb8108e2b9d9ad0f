/** A session's event in one line, for people; `--json` has all of it (proto/dbwitness/v1/events.proto, as JSON). */
import type { SessionEvent } from '../api/contract/audit.ts';
import { showDuration } from './amounts.ts';
import { safeJson, safeSql } from './safe-text.ts';

type Fields = Readonly<Record<string, unknown>>;

const DESCRIBED: Readonly<Record<string, (body: Fields) => string>> = {
  sessionOpened: (body) =>
    `${text(body, 'userName')} on ${text(body, 'databaseName')} from ${text(body, 'clientAddress')}${body['continued'] === true ? ' (continued in a new segment)' : ''}`,
  sessionClosed: (body) =>
    [word(body, 'reason', 'REASON_'), text(body, 'detail')].filter((part) => part !== '').join(': '),
  textDeclared: (body) => `text ${text(body, 'ref')}: ${sqlOf(body)}`,
  statementStarted: (body) =>
    `#${text(body, 'ordinal')} ${word(body, 'kind', 'STATEMENT_KIND_')} ${'sql' in body ? sqlOf(body) : `text ${text(body, 'textRef')}`}${refused(body)}`,
  statementFinished: (body) => {
    const error = body['error'];
    const came =
      typeof error === 'object' && error !== null
        ? `${text(error as Fields, 'code')} ${text(error as Fields, 'message')}`
        : text(body, 'tag');
    const outcome = word(body, 'outcome', 'OUTCOME_') || 'completed';
    return `#${text(body, 'ordinal')} ${outcome} ${came} (${rowCount(text(body, 'rows'))}, ${showDuration(Number(body['durationUs'] ?? 0))})`;
  },
  resultChunk: (body) => `#${text(body, 'ordinal')} ${rowCount(text(body['result'] as Fields, 'rowCount'))}`,
  copyChunk: (body) =>
    `#${text(body, 'ordinal')} ${Buffer.from(text(body, 'data'), 'base64').length} bytes of COPY data`,
  serverMessage: (body) => `${text(body, 'kind')}: ${text(body, 'text')}`,
};

export function describeEvent({ body }: SessionEvent): string {
  return describeEventBody(body);
}

/** `body`: the event in the JSON form of its protobuf message. */
export function describeEventBody(body: unknown): string {
  if (typeof body !== 'object' || body === null) return '';
  for (const [name, content] of Object.entries(body)) {
    const describe = DESCRIBED[name];
    if (describe !== undefined && typeof content === 'object' && content !== null)
      return describe(content as Fields);
  }
  return safeJson(body);
}

/** A field as text; what is absent or no plain value is empty. */
function text(fields: Fields | undefined, name: string): string {
  const value = fields?.[name];
  return typeof value === 'string' || typeof value === 'number' ? String(value) : '';
}

function rowCount(count: string): string {
  return count === '1' ? '1 row' : `${count === '' ? '0' : count} rows`;
}

/** An enum's value in lower case: `STATEMENT_KIND_SIMPLE` is `simple`. */
function word(fields: Fields, name: string, prefix: string): string {
  const value = text(fields, name);
  return value.startsWith(prefix) ? value.slice(prefix.length).toLowerCase().replaceAll('_', ' ') : value;
}

/** Bytes are base64 in protobuf's JSON form. */
function sqlOf(fields: Fields): string {
  return safeSql(Buffer.from(text(fields, 'sql'), 'base64').toString('utf8'));
}

function refused(fields: Fields): string {
  const reason = text(fields, 'decisionReason');
  return reason === '' ? '' : ` (${reason})`;
}
