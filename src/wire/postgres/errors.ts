/** From an {@link AppError} to what a PostgreSQL client understands. */
import type { ByteWriter } from '../../base/bytes.ts';
import type { AppError, ErrorKind } from '../../base/errors.ts';
import { encodeErrorResponse, type ErrorFields } from './backend.ts';

/** https://www.postgresql.org/docs/current/errcodes-appendix.html */
export const SQLSTATE_OF_KIND: Readonly<Record<ErrorKind, string>> = {
  invalid: '22023', // invalid_parameter_value
  denied: '42501', // insufficient_privilege
  'not-found': '42704', // undefined_object
  conflict: '55000', // object_not_in_prerequisite_state
  unavailable: '57P03', // cannot_connect_now
  exhausted: '53400', // configuration_limit_exceeded
  corrupt: 'XX001', // data_corrupted
  protocol: '08P01', // protocol_violation
};

/** What a bug of ours looks like to a client. */
export const SQLSTATE_INTERNAL_ERROR = 'XX000';

/** SQLSTATEs that refusals choose themselves, by their names in the manual. */
export const SqlState = {
  connectionFailure: '08006',
  invalidAuthorization: '28000',
  invalidPassword: '28P01',
  invalidCatalogName: '3D000',
  readOnlySqlTransaction: '25006',
  inFailedSqlTransaction: '25P02',
  insufficientPrivilege: '42501',
  syntaxError: '42601',
  featureNotSupported: '0A000',
  tooManyConnections: '53300',
  diskFull: '53100',
  statementTooComplex: '54001',
  programLimitExceeded: '54000',
  queryCanceled: '57014',
  adminShutdown: '57P01',
  crashShutdown: '57P02',
  ioError: '58030',
} as const;

/** ERROR ends the statement, FATAL the session. */
export type Severity = 'ERROR' | 'FATAL' | 'PANIC';

export interface ErrorOptions {
  /** Default ERROR. */
  readonly severity?: Severity;
  /** Default: by the error's kind. Five characters. */
  readonly sqlState?: string;
  readonly detail?: string;
  readonly hint?: string;
  /** Character in the statement's text, from 1. */
  readonly position?: number;
}

/** The fields of an ErrorResponse for `error`; its stable code goes into the routine, where drivers show it. */
export function errorFields(error: AppError, options: ErrorOptions = {}): ErrorFields {
  const severity = options.severity ?? 'ERROR';
  const fields = new Map([
    ['S', severity],
    ['V', severity],
    ['C', options.sqlState ?? SQLSTATE_OF_KIND[error.kind]],
    ['M', withoutNul(error.message)],
  ]);
  if (options.detail !== undefined) fields.set('D', withoutNul(options.detail));
  if (options.hint !== undefined) fields.set('H', withoutNul(options.hint));
  if (options.position !== undefined) fields.set('P', String(options.position));
  fields.set('R', error.code);
  return fields;
}

/** Writes the ErrorResponse for `error`. */
export function encodeAppError(out: ByteWriter, error: AppError, options: ErrorOptions = {}): void {
  encodeErrorResponse(out, errorFields(error, options));
}

// A message may quote what somebody sent; a NUL in it must not end the field early.
function withoutNul(text: string): string {
  return text.replaceAll('\0', '\uFFFD');
}
