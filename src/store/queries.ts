/**
 * What can be asked of the index. Lists are newest first, paged by keyset (`pages.ts`): pages neither repeat nor skip a
 * row while new ones come in. `user` and `database` filters take a uid or a name.
 *
 * Text search reads statements backwards in time until the page is full (about two million a second); give it a time
 * span. It finds the text anywhere in `sql`, without regard to case.
 */
import { type Expression, type ExpressionBuilder, type Selectable, type SqlBool, sql } from 'kysely';
import { isUid, parseStatementUid, statementUid } from '../base/ids.ts';
import { decodeCursor, type Page, page, pageLimit, type PageRequest } from './pages.ts';
import type { EventIndexTable, SessionIndexTable, StatementIndexTable, StoreSchema } from './schema.ts';
import type { Store } from './store.ts';

type Db = Store['db'];

export type SessionRecord = Selectable<SessionIndexTable>;
export type EventRecord = Selectable<EventIndexTable>;
/** A row of idx_statements with its uid, `<session uid>-<ordinal>`. */
export type StatementRecord = Selectable<StatementIndexTable> & { readonly uid: string };

export interface TimeSpan {
  /** Inclusive. Microseconds since 1970. */
  readonly fromUs?: number | undefined;
  /** Exclusive. */
  readonly untilUs?: number | undefined;
}

export interface SessionFilter extends TimeSpan {
  readonly user?: string | undefined;
  readonly database?: string | undefined;
  readonly grant?: string | undefined;
  readonly open?: boolean | undefined;
}

export interface StatementFilter extends TimeSpan {
  readonly user?: string | undefined;
  readonly database?: string | undefined;
  readonly session?: string | undefined;
  /** Anywhere in the text, any case. */
  readonly text?: string | undefined;
  /** `true`: any error; `false`: none; a text: that SQLSTATE or error number. */
  readonly error?: boolean | string | undefined;
  /** As the classification names it. */
  readonly table?: string | undefined;
  readonly kind?: string | undefined;
  readonly verb?: string | undefined;
  readonly outcome?: string | undefined;
  readonly decision?: string | undefined;
  readonly fingerprint?: string | undefined;
  readonly minDurationUs?: number | undefined;
  readonly maxDurationUs?: number | undefined;
}

export interface EventFilter extends TimeSpan {
  readonly kind?: string | undefined;
  readonly session?: string | undefined;
  readonly actor?: string | undefined;
  readonly text?: string | undefined;
}

/** A backslash quotes in LIKE; the text itself is to be found as it is. */
function containing(text: string): string {
  return `%${text.replaceAll(/[\\%_]/g, String.raw`\$&`)}%`;
}

type Conditions = Expression<SqlBool>[];

/** Sessions, newest opened first. */
export async function listSessions(
  db: Db,
  filter: SessionFilter,
  request: PageRequest = {},
): Promise<Page<SessionRecord>> {
  const limit = pageLimit(request);
  const rows = await db
    .selectFrom('idx_sessions')
    .selectAll()
    .where((eb) => eb.and(sessionConditions(eb, filter, request)))
    .orderBy('opened_us', 'desc')
    .orderBy('uid', 'desc')
    .limit(limit + 1)
    .execute();
  return page(rows, limit, (row) => [row.opened_us, row.uid]);
}

function sessionConditions(
  eb: ExpressionBuilder<StoreSchema, 'idx_sessions'>,
  filter: SessionFilter,
  request: PageRequest,
): Conditions {
  const where: Conditions = [];
  const { user, database, grant, open, fromUs, untilUs } = filter;
  if (user !== undefined) where.push(eb(isUid(user) ? 'user_uid' : 'user_name', '=', user));
  if (database !== undefined)
    where.push(eb(isUid(database) ? 'database_uid' : 'database_name', '=', database));
  if (grant !== undefined) where.push(eb('grant_uid', '=', grant));
  if (open !== undefined) where.push(eb('closed_us', open ? 'is' : 'is not', null));
  if (fromUs !== undefined) where.push(eb('opened_us', '>=', fromUs));
  if (untilUs !== undefined) where.push(eb('opened_us', '<', untilUs));
  if (request.cursor !== undefined) {
    const [openedUs, uid] = decodeCursor(request.cursor, ['number', 'string']);
    where.push(eb('opened_us', '<=', openedUs));
    where.push(sql<SqlBool>`(opened_us, uid) < (${openedUs}, ${uidOrNever(uid)}::uuid)`);
  }
  return where;
}

export async function getSession(db: Db, uid: string): Promise<SessionRecord | null> {
  if (!isUid(uid)) return null;
  const row = await db.selectFrom('idx_sessions').selectAll().where('uid', '=', uid).executeTakeFirst();
  return row ?? null;
}

/** Statements, newest started first. */
export async function listStatements(
  db: Db,
  filter: StatementFilter,
  request: PageRequest = {},
): Promise<Page<StatementRecord>> {
  const limit = pageLimit(request);
  if (filter.session !== undefined && !isUid(filter.session)) return { items: [], next: null };
  const userUids = await uidsOf(db, 'user', filter.user);
  const databaseUids = await uidsOf(db, 'database', filter.database);
  if (userUids?.length === 0 || databaseUids?.length === 0) return { items: [], next: null };
  const rows = await db
    .selectFrom('idx_statements')
    .selectAll()
    .where((eb) =>
      eb.and([
        ...identityConditions(eb, filter, userUids, databaseUids),
        ...statementConditions(eb, filter),
        ...statementPosition(eb, request),
      ]),
    )
    .orderBy('started_us', 'desc')
    .orderBy('session_uid', 'desc')
    .orderBy('ordinal', 'desc')
    .limit(limit + 1)
    .execute();
  return page(rows.map(withUid), limit, (row) => [row.started_us, row.session_uid, row.ordinal]);
}

type StatementBuilder = ExpressionBuilder<StoreSchema, 'idx_statements'>;

function identityConditions(
  eb: StatementBuilder,
  filter: StatementFilter,
  userUids: readonly string[] | null,
  databaseUids: readonly string[] | null,
): Conditions {
  const where: Conditions = [];
  const { user, database, session } = filter;
  // By uid because that is what the indexes have; by name too, for it may have been another person's before.
  if (userUids !== null) where.push(eb('user_uid', 'in', userUids));
  if (user !== undefined && !isUid(user)) where.push(eb('user_name', '=', user));
  if (databaseUids !== null) where.push(eb('database_uid', 'in', databaseUids));
  if (database !== undefined && !isUid(database)) where.push(eb('database_name', '=', database));
  if (session !== undefined) where.push(eb('session_uid', '=', session));
  return where;
}

function statementConditions(eb: StatementBuilder, filter: StatementFilter): Conditions {
  const where: Conditions = [];
  const { fromUs, untilUs, text, error, table, minDurationUs, maxDurationUs } = filter;
  if (fromUs !== undefined) where.push(eb('started_us', '>=', fromUs));
  if (untilUs !== undefined) where.push(eb('started_us', '<', untilUs));
  if (text !== undefined) where.push(eb('sql', 'ilike', containing(text)));
  if (typeof error === 'boolean') where.push(eb('error_code', error ? 'is not' : 'is', null));
  else if (error !== undefined) where.push(eb('error_code', '=', error));
  if (table !== undefined) where.push(sql<SqlBool>`tables @> ${[table]}::text[]`);
  for (const column of ['kind', 'verb', 'outcome', 'decision', 'fingerprint'] as const) {
    const value = filter[column];
    if (value !== undefined) where.push(eb(column, '=', value));
  }
  if (minDurationUs !== undefined) where.push(eb('duration_us', '>=', minDurationUs));
  if (maxDurationUs !== undefined) where.push(eb('duration_us', '<=', maxDurationUs));
  return where;
}

function statementPosition(eb: StatementBuilder, request: PageRequest): Conditions {
  if (request.cursor === undefined) return [];
  const kinds = ['number', 'string', 'number'] as const;
  const [startedUs, uid, ordinal] = decodeCursor(request.cursor, kinds);
  return [
    // Said on its own because partitions are left out by plain comparisons only.
    eb('started_us', '<=', startedUs),
    sql<SqlBool>`(started_us, session_uid, ordinal) < (${startedUs}, ${uidOrNever(uid)}::uuid, ${ordinal})`,
  ];
}

/** The uids that sessions have had under a name; a uid stands for itself; `null` without a filter. */
async function uidsOf(
  db: Db,
  what: 'user' | 'database',
  nameOrUid: string | undefined,
): Promise<string[] | null> {
  if (nameOrUid === undefined) return null;
  if (isUid(nameOrUid)) return [nameOrUid];
  const rows = await db
    .selectFrom('idx_sessions')
    .select(`${what}_uid as uid`)
    .distinct()
    .where(`${what}_name`, '=', nameOrUid)
    .execute();
  return rows.map((row) => row.uid);
}

/** A uid for a cast to `uuid`; anything else in a cursor is somebody's own work and finds nothing. */
function uidOrNever(uid: string): string {
  return isUid(uid) ? uid : '00000000-0000-0000-0000-000000000000';
}

/** One statement by `<session uid>-<ordinal>`. */
export async function getStatement(db: Db, uid: string): Promise<StatementRecord | null> {
  const parts = parseStatementUid(uid);
  if (parts === null) return null;
  const row = await db
    .selectFrom('idx_statements')
    .selectAll()
    .where('session_uid', '=', parts.session)
    .where('ordinal', '=', parts.ordinal)
    .executeTakeFirst();
  return row === undefined ? null : withUid(row);
}

function withUid(row: Selectable<StatementIndexTable>): StatementRecord {
  return { ...row, uid: statementUid(row.session_uid, row.ordinal) };
}

/** A step of a session in the order of the journal: where it is, and what it is. */
export interface SessionEvent {
  readonly seq: number;
  readonly kind: 'session_opened' | 'statement_started' | 'statement_finished' | (string & {});
  /** Of the statement, for the two kinds of it. */
  readonly ordinal: number | null;
  readonly atUs: number;
}

/** For replay: the events of a session that the index knows, oldest first, paged by position. */
export async function sessionEvents(
  db: Db,
  sessionUid: string,
  request: PageRequest = {},
): Promise<Page<SessionEvent>> {
  const limit = pageLimit(request);
  if (!isUid(sessionUid)) return { items: [], next: null };
  const after = request.cursor === undefined ? -1 : decodeCursor(request.cursor, ['number'])[0];
  const { rows } = await sql<{ seq: number; kind: string; ordinal: number | null; at_us: number }>`
    select first_seq as seq, 'session_opened' as kind, null::bigint as ordinal, opened_us as at_us
      from idx_sessions where uid = ${sessionUid}::uuid and first_seq > ${after}
    union all
    select start_seq, 'statement_started', ordinal, started_us
      from idx_statements where session_uid = ${sessionUid}::uuid and start_seq > ${after}
    union all
    select finish_seq, 'statement_finished', ordinal, started_us + coalesce(duration_us, 0)
      from idx_statements where session_uid = ${sessionUid}::uuid and finish_seq > ${after}
    union all
    select seq, kind, null, at_us from idx_events where session_uid = ${sessionUid}::uuid and seq > ${after}
    order by seq limit ${limit + 1}`.execute(db);
  const events = rows.map(({ seq, kind, ordinal, at_us }) => ({ seq, kind, ordinal, atUs: at_us }));
  return page(events, limit, (event) => [event.seq]);
}

/** Events that are neither session nor statement, newest first. */
export async function listEvents(
  db: Db,
  filter: EventFilter,
  request: PageRequest = {},
): Promise<Page<EventRecord>> {
  const limit = pageLimit(request);
  if (filter.session !== undefined && !isUid(filter.session)) return { items: [], next: null };
  const rows = await db
    .selectFrom('idx_events')
    .selectAll()
    .where((eb) => {
      const where: Conditions = [];
      const { kind, session, actor, text, fromUs, untilUs } = filter;
      if (kind !== undefined) where.push(eb('kind', '=', kind));
      if (session !== undefined) where.push(eb('session_uid', '=', session));
      if (actor !== undefined) where.push(eb('actor', '=', actor));
      if (text !== undefined) where.push(eb('summary', 'ilike', containing(text)));
      if (fromUs !== undefined) where.push(eb('at_us', '>=', fromUs));
      if (untilUs !== undefined) where.push(eb('at_us', '<', untilUs));
      if (request.cursor !== undefined) {
        const kinds = ['number', 'string', 'number'] as const;
        const [atUs, journal, seq] = decodeCursor(request.cursor, kinds);
        where.push(eb('at_us', '<=', atUs));
        where.push(sql<SqlBool>`(at_us, journal, seq) < (${atUs}, ${journal}, ${seq})`);
      }
      return eb.and(where);
    })
    .orderBy('at_us', 'desc')
    .orderBy('journal', 'desc')
    .orderBy('seq', 'desc')
    .limit(limit + 1)
    .execute();
  return page(rows, limit, (row) => [row.at_us, row.journal, row.seq]);
}

export interface IndexLag {
  /** The next event to index. */
  readonly nextSeq: number;
  /** Events in the journal that cannot be asked for yet. */
  readonly events: number;
  /** When the index last moved; microseconds. `null` before it ever did. */
  readonly updatedUs: number | null;
}

/** How far the index is behind a journal whose next event will be `headSeq`. */
export async function indexLag(db: Db, journal: string, headSeq: number): Promise<IndexLag> {
  const row = await db
    .selectFrom('idx_cursor')
    .select(['next_seq', 'updated_us'])
    .where('journal', '=', journal)
    .executeTakeFirst();
  const nextSeq = row?.next_seq ?? 0;
  return { nextSeq, events: Math.max(0, headSeq - nextSeq), updatedUs: row?.updated_us ?? null };
}
