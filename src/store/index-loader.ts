/** Loads what the translator needs of sessions that the store knows: after a restart, or when they were forgotten. */
import { sql } from 'kysely';
import { uidOfKey } from './event-rows.ts';
import { SessionState, type StateCache } from './index-state.ts';
import type { Store } from './store.ts';
import { textState } from './text-cache.ts';
import type { Missing } from './translate.ts';

export async function loadMissing(store: Store, state: StateCache, missing: Missing): Promise<void> {
  if (missing.sessions.length > 0) await loadSessions(store, state, missing.sessions.map(uidOfKey));
  if (missing.texts.length > 0) await loadTexts(store, state, missing.texts);
}

async function loadSessions(store: Store, state: StateCache, uids: readonly string[]): Promise<void> {
  const rows = await store.db
    .selectFrom('idx_sessions')
    .selectAll()
    .where((eb) => eb('uid', '=', sql<string>`any(${uids}::text[]::uuid[])`))
    .execute();
  if (rows.length === 0) return;
  const byUid = new Map<string, SessionState>();
  for (const row of rows) {
    const session = new SessionState(row, true);
    byUid.set(session.uid, session);
    state.add(session);
  }
  const running = await store.db
    .selectFrom('idx_statements')
    .select(['session_uid', 'ordinal', 'started_us'])
    .where('outcome', '=', 'running')
    .where((eb) => eb('session_uid', '=', sql<string>`any(${rows.map((row) => row.uid)}::text[]::uuid[])`))
    .execute();
  for (const { session_uid, ordinal, started_us } of running)
    byUid.get(session_uid)?.running.set(ordinal, { ordinal, startedUs: started_us, row: null });
}

async function loadTexts(store: Store, state: StateCache, texts: Missing['texts']): Promise<void> {
  const bySession = Map.groupBy(texts, (text) => text.session);
  for (const [key, refs] of bySession) {
    const session = state.get(key);
    // Not in the store either: it is opened, and its texts declared, in the batch that is about to be translated.
    if (session === undefined) continue;
    const rows = await store.db
      .selectFrom('idx_texts')
      .selectAll()
      .where('session_uid', '=', session.uid)
      .where((eb) => eb('ref', '=', sql<number>`any(${refs.map((text) => text.ref)}::bigint[])`))
      .execute();
    for (const row of rows)
      session.declare(row.ref, textState(row.sql, row, row.redacted, row.parameter_types));
  }
}
