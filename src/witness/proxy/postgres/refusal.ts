/**
 * Refusals, executed by the server itself.
 *
 * An error within a pipeline has consequences that only the server can get right: what follows is skipped to the next
 * Sync, an open transaction is aborted, ReadyForQuery tells so. So a refused message is not just dropped: in its place
 * goes one that the server is certain to answer with a syntax error, and that error is replaced by ours on its way
 * back. Order, skipping and transaction status are then right by construction, and nothing of the client's text
 * reaches the server (the server's log shows `dbwitness refused a statement`).
 */
import { ByteWriter } from '../../../base/bytes.ts';
import { encodeErrorResponse, encodeNoticeResponse } from '../../../wire/postgres/backend.ts';

export interface Refusal {
  readonly sqlstate: string;
  readonly message: string;
  readonly detail: string;
  readonly hint: string;
}

export const SQLSTATE = {
  insufficientPrivilege: '42501',
  readOnly: '25006',
  limitExceeded: '54000',
  quotaExceeded: '53400',
  ioError: '58030',
  diskFull: '53100',
  adminShutdown: '57P01',
  protocolViolation: '08P01',
  connectionFailure: '08006',
  cannotConnect: '08001',
  invalidAuthorization: '28000',
  invalidPassword: '28P01',
  featureNotSupported: '0A000',
  invalidCatalog: '3D000',
  tooManyConnections: '53300',
  internal: 'XX000',
} as const;

export function refusal(sqlstate: string, message: string, hint = '', detail = ''): Refusal {
  return { sqlstate, message, detail, hint };
}

export function malformedRefusal(message: string): Refusal {
  return refusal(SQLSTATE.protocolViolation, message);
}

export function oversizedRefusal(bytes: number, maxBytes: number): Refusal {
  return refusal(
    SQLSTATE.limitExceeded,
    `this statement has ${bytes} bytes; dbwitness passes on at most ${maxBytes}`,
    'Send large data as parameters or with COPY, or raise DBW_MAX_STATEMENT_BYTES.',
  );
}

/** No valid SQL statement begins so: the raw parser refuses it in every state of a session. */
const UNPARSABLE = 'dbwitness refused a statement';

export type Severity = 'ERROR' | 'FATAL';

/** An ErrorResponse message, whole. */
export function errorResponse(severity: Severity, of: Refusal): Buffer {
  const writer = new ByteWriter(512);
  encodeErrorResponse(writer, fields(severity, of));
  return writer.copy();
}

/** A NoticeResponse message, whole. */
export function noticeResponse(of: Refusal): Buffer {
  const writer = new ByteWriter(512);
  encodeNoticeResponse(writer, fields('WARNING', of));
  return writer.copy();
}

function fields(severity: string, of: Refusal): Map<string, string> {
  const map = new Map([
    ['S', severity],
    ['V', severity],
    ['C', of.sqlstate],
    ['M', of.message.replaceAll('\0', '')],
  ]);
  if (of.detail) map.set('D', of.detail.replaceAll('\0', ''));
  if (of.hint) map.set('H', of.hint.replaceAll('\0', ''));
  map.set('R', 'dbwitness');
  return map;
}

function message(type: string, ...parts: string[]): Buffer {
  const body = Buffer.from(parts.join(''), 'latin1');
  const whole = Buffer.allocUnsafe(body.length + 5);
  whole[0] = type.charCodeAt(0);
  whole.writeUInt32BE(body.length + 4, 1);
  body.copy(whole, 5);
  return whole;
}

/** Goes upstream in place of a refused Query or FunctionCall. */
export const UNPARSABLE_QUERY = message('Q', UNPARSABLE, '\0');
/** Goes upstream in place of a refused extended-protocol message. Its name never comes to exist. */
export const UNPARSABLE_PARSE = message('P', 'dbwitness_refused\0', UNPARSABLE, '\0', '\0\0');
/** Goes upstream in place of a refused CopyData. */
export const COPY_FAIL = message('f', UNPARSABLE, '\0');
export const SYNC = message('S');
