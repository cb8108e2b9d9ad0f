/**
 * Pages by keyset: a cursor is the key of the last row of a page, so the next page starts behind that row whatever has been added
 * since. To callers it is an opaque string.
 */
import { AppError } from '../base/errors.ts';

export const MAX_PAGE_ROWS = 1_000;
export const DEFAULT_PAGE_ROWS = 100;
const MAX_CURSOR_BYTES = 1024;

export interface PageRequest {
  /** `next` of the page before. */
  readonly cursor?: string | undefined;
  /** 1 … {@link MAX_PAGE_ROWS}; default {@link DEFAULT_PAGE_ROWS}. */
  readonly limit?: number | undefined;
}

export interface Page<T> {
  readonly items: T[];
  /** Cursor of the next page; `null` at the end. */
  readonly next: string | null;
}

export type KeyPart = string | number;
type KeyOf<Kinds extends readonly ('string' | 'number')[]> = {
  -readonly [I in keyof Kinds]: Kinds[I] extends 'string' ? string : number;
};

export function encodeCursor(key: readonly KeyPart[]): string {
  return Buffer.from(JSON.stringify(key)).toString('base64url');
}

/** Rejects with `invalid` what `encodeCursor` did not make for the same kinds of parts. */
export function decodeCursor<const Kinds extends readonly ('string' | 'number')[]>(
  cursor: string,
  kinds: Kinds,
): KeyOf<Kinds> {
  const invalid = (): AppError =>
    new AppError(
      'invalid',
      'STORE_CURSOR_INVALID',
      'the cursor is not one that a page of this list has given',
    );
  if (cursor.length > MAX_CURSOR_BYTES) throw invalid();
  let key: unknown;
  try {
    key = JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8'));
  } catch {
    throw invalid();
  }
  if (!Array.isArray(key) || key.length !== kinds.length) throw invalid();
  const fits = kinds.every((kind, i) =>
    kind === 'string' ? typeof key[i] === 'string' : Number.isSafeInteger(key[i]),
  );
  if (!fits) throw invalid();
  return key as unknown as KeyOf<Kinds>;
}

export function pageLimit(request: PageRequest): number {
  const limit = request.limit ?? DEFAULT_PAGE_ROWS;
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_PAGE_ROWS)
    throw new AppError('invalid', 'STORE_LIMIT_INVALID', `a page has 1 to ${MAX_PAGE_ROWS} rows`);
  return limit;
}

/** `rows` were asked for with one more than `limit`. */
export function page<T>(rows: T[], limit: number, keyOf: (row: T) => readonly KeyPart[]): Page<T> {
  const items = rows.slice(0, limit);
  const last = items.at(-1);
  return { items, next: rows.length > limit && last !== undefined ? encodeCursor(keyOf(last)) : null };
}
