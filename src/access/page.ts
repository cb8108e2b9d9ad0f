/**
 * Lists come in pages, ordered by uid, which is the order of creation (UUIDv7). The cursor is the last uid of the
 * page before, so a page costs the same wherever it is, and objects created meanwhile neither repeat nor hide others.
 */
import type { Uid } from '../base/ids.ts';

export interface PageRequest {
  /** Objects at most, from 1. */
  readonly limit: number;
  /** The `next` of the page before; `null`: from the start. */
  readonly after: Uid | null;
}

export interface Page<T> {
  readonly items: readonly T[];
  /** `null`: this was the last page. */
  readonly next: Uid | null;
}

/** Makes a page of rows that were asked for with `limit + 1`. */
export function toPage<Row extends { uid: Uid }, T>(
  rows: readonly Row[],
  limit: number,
  view: (row: Row) => T,
): Page<T> {
  const shown = rows.slice(0, limit);
  return { items: shown.map(view), next: rows.length > limit ? shown[shown.length - 1].uid : null };
}
