/** What of the record a caller may see: everything, or their own. What is not theirs does not exist for them. */
import { demand, may, type Actor } from '../../access/actor.ts';
import type { Uid } from '../../base/ids.ts';
import { parseOptionalTime } from '../times.ts';

/** `null`: everybody's records. Otherwise those of this user alone. */
export function scopeOf(actor: Actor): Uid | null {
  if (may(actor, 'audit.read')) return null;
  demand(actor, 'audit.read_own');
  return actor.uid;
}

/** The `user` filter within what the actor may see; `null`: nothing can match. */
export function userFilter(actor: Actor, asked: string | undefined): { user?: string } | null {
  const scope = scopeOf(actor);
  if (scope === null) return asked === undefined ? {} : { user: asked };
  return asked === undefined || asked === scope || asked.toLowerCase() === actor.name
    ? { user: scope }
    : null;
}

export function timeSpan(query: { from?: string; until?: string }): { fromUs?: number; untilUs?: number } {
  const fromUs = parseOptionalTime('from', query.from);
  const untilUs = parseOptionalTime('until', query.until);
  return { ...(fromUs === undefined ? {} : { fromUs }), ...(untilUs === undefined ? {} : { untilUs }) };
}

export function pageOf(query: { cursor?: string; limit?: number }): {
  cursor: string | undefined;
  limit: number;
} {
  return { cursor: query.cursor, limit: query.limit ?? 50 };
}

export function pageJson<T, Json>(
  page: { readonly items: readonly T[]; readonly next: string | null },
  view: (item: T) => Json,
): { items: Json[]; next_cursor: string | null } {
  return { items: page.items.map(view), next_cursor: page.next };
}

export const NO_ITEMS = { items: [], next_cursor: null };
