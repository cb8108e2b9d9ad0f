/**
 * From what a back end throws to an {@link AppError}. The original error is not kept as the cause: PostgreSQL's messages and
 * details quote values (`Key (username)=(…) already exists`), and causes end up in logs.
 */
import { AppError, type ErrorKind, isAppError, systemErrorCode } from '../base/errors.ts';

interface Rule {
  readonly kind: ErrorKind;
  readonly code: string;
  readonly message: string;
  /** Whether the same work may succeed later without anybody changing the work itself. */
  readonly retry: boolean;
}

const UNAVAILABLE: Rule = {
  kind: 'unavailable',
  code: 'STORE_UNAVAILABLE',
  message:
    'the store cannot be reached; recording goes on, and the store is used again as soon as it answers',
  retry: true,
};
const FULL: Rule = {
  kind: 'exhausted',
  code: 'STORE_EXHAUSTED',
  message: 'the store is out of disk, memory or connections; free some and it goes on by itself',
  retry: true,
};
const BUSY: Rule = {
  kind: 'conflict',
  code: 'STORE_BUSY',
  message: 'another change to the same rows came in between; try again',
  retry: true,
};
const INVALID: Rule = {
  kind: 'invalid',
  code: 'STORE_INVALID_VALUE',
  message: 'a value does not fit its column',
  retry: false,
};

/** By SQLSTATE, whole or class (PostgreSQL, appendix A). What is not here is a bug of ours and passes unchanged. */
const RULES: Readonly<Record<string, Rule>> = {
  '08': UNAVAILABLE,
  '57P01': UNAVAILABLE,
  '57P02': UNAVAILABLE,
  '57P03': UNAVAILABLE,
  '57P05': UNAVAILABLE,
  '25006': {
    kind: 'unavailable',
    code: 'STORE_READ_ONLY',
    message: 'the store is read only (a standby?); point DBW_DSN at the primary server',
    retry: true,
  },
  '28': {
    kind: 'unavailable',
    code: 'STORE_LOGIN_REFUSED',
    message: 'the PostgreSQL server of DBW_DSN refused the login; check its user name and password',
    retry: true,
  },
  '3D': {
    kind: 'unavailable',
    code: 'STORE_DATABASE_MISSING',
    message: 'the database named in DBW_DSN does not exist; create it',
    retry: true,
  },
  '42501': {
    kind: 'denied',
    code: 'STORE_PRIVILEGE_MISSING',
    message: 'the user of DBW_DSN may not do this; it must own the tables of dbwitness',
    retry: true,
  },
  '53': FULL,
  '58': FULL,
  '40001': BUSY,
  '40P01': BUSY,
  '55P03': BUSY,
  '57014': {
    kind: 'unavailable',
    code: 'STORE_TIMEOUT',
    message: 'the query took too long; narrow it down, for instance by time',
    retry: true,
  },
  '23505': {
    kind: 'conflict',
    code: 'STORE_DUPLICATE',
    message: 'such an object exists already; choose another name',
    retry: false,
  },
  '23503': {
    kind: 'conflict',
    code: 'STORE_REFERENCED',
    message: 'the object refers to one that does not exist, or is still referred to',
    retry: false,
  },
  '23': INVALID,
  '22': INVALID,
  XX001: {
    kind: 'corrupt',
    code: 'STORE_CORRUPT',
    message:
      'the store reports damaged data; restore it from a backup, or rebuild the index from the journal',
    retry: false,
  },
  XX002: {
    kind: 'corrupt',
    code: 'STORE_CORRUPT_INDEX',
    message: 'the store reports a damaged index; run REINDEX, or rebuild the index from the journal',
    retry: false,
  },
};

const SYSTEM_CODES: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ENOENT',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EACCES',
]);

/** What node-postgres says without a code when a connection went away under a query, or none could be had in time. */
const LOST = /Connection terminated|timeout exceeded when trying to connect|timeout expired|not queryable/;

const RETRYABLE: ReadonlySet<string> = new Set(
  [...Object.values(RULES), UNAVAILABLE].filter((rule) => rule.retry).map((rule) => rule.code),
);

/** The AppError for anything a back end rejected with; what is nobody's operational failure is returned as it came. */
export function toStoreError(error: unknown): unknown {
  if (isAppError(error)) return error;
  const code = systemErrorCode(error);
  if (code === undefined)
    return error instanceof Error && LOST.test(error.message) ? appError(UNAVAILABLE, '', error) : error;
  if (SYSTEM_CODES.has(code)) return appError(UNAVAILABLE, code, error);
  const rule = RULES[code] ?? RULES[code.slice(0, 2)];
  return rule === undefined || code.length !== 5 ? error : appError(rule, code, error);
}

/** Whether the same work may succeed later: what the indexer waits out instead of giving up. */
export function isRetryable(error: unknown): boolean {
  return isAppError(error) && RETRYABLE.has(error.code);
}

export function isDuplicate(error: unknown): boolean {
  return isAppError(error) && error.code === 'STORE_DUPLICATE';
}

/** The store went away in the middle of something; what was not committed is undone. */
export function unavailable(why: string): AppError {
  return new AppError(UNAVAILABLE.kind, UNAVAILABLE.code, UNAVAILABLE.message, { details: { why } });
}

function appError(rule: Rule, code: string, error: unknown): AppError {
  const constraint =
    error instanceof Error && 'constraint' in error && typeof error.constraint === 'string'
      ? error.constraint
      : null;
  return new AppError(rule.kind, rule.code, rule.message, { details: { cause: code, constraint } });
}
