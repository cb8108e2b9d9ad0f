/** Sessions, statements and events. A connector sees their own; what is not theirs does not exist for them. */
import { demand, may, type Actor } from '../../access/actor.ts';
import { AppError } from '../../base/errors.ts';
import type { Uid } from '../../base/ids.ts';
import {
  getSession,
  getStatement,
  listEvents,
  listSessions,
  listStatements,
  sessionEvents,
  type SessionRecord,
  type StatementRecord,
} from '../../store/queries.ts';
import { eventView, sessionView, statementView } from '../audit-views.ts';
import { actorOf } from '../authentication.ts';
import {
  AuditEvent,
  EventQuery,
  ResultRows,
  Session,
  SessionEvent,
  SessionQuery,
  Statement,
  StatementQuery,
} from '../contract/audit.ts';
import { Nothing, PageOf, PageQuery, StatementParams, UidParams } from '../contract/common.ts';
import type { ApiDeps } from '../deps.ts';
import { formatTime, parseOptionalTime } from '../times.ts';
import { failures, type Api } from './typed.ts';

const sessionTags = ['sessions'];
const statementTags = ['statements'];

/** `null`: everybody's records. Otherwise those of this user alone. */
function scopeOf(actor: Actor): Uid | null {
  if (may(actor, 'audit.read')) return null;
  demand(actor, 'audit.read_own');
  return actor.uid;
}

/** The `user` filter within what the actor may see; `null`: nothing can match. */
function userFilter(actor: Actor, asked: string | undefined): { user?: string } | null {
  const scope = scopeOf(actor);
  if (scope === null) return asked === undefined ? {} : { user: asked };
  return asked === undefined || asked === scope || asked.toLowerCase() === actor.name
    ? { user: scope }
    : null;
}

function timeSpan(query: { from?: string; until?: string }): { fromUs?: number; untilUs?: number } {
  const fromUs = parseOptionalTime('from', query.from);
  const untilUs = parseOptionalTime('until', query.until);
  return { ...(fromUs === undefined ? {} : { fromUs }), ...(untilUs === undefined ? {} : { untilUs }) };
}

function pageOf(query: { cursor?: string; limit?: number }): { cursor: string | undefined; limit: number } {
  return { cursor: query.cursor, limit: query.limit ?? 50 };
}

function list<T, Json>(
  page: { readonly items: readonly T[]; readonly next: string | null },
  view: (item: T) => Json,
): { items: Json[]; next_cursor: string | null } {
  return { items: page.items.map(view), next_cursor: page.next };
}

const NO_ITEMS = { items: [], next_cursor: null };

export function sessionRoutes(api: Api, { access, db, journal }: ApiDeps): void {
  const visible = async (actor: Actor, uid: Uid): Promise<SessionRecord> => {
    const scope = scopeOf(actor);
    const session = await getSession(db, uid);
    if (session === null || (scope !== null && session.user_uid !== scope))
      throw new AppError('not-found', 'API_SESSION_UNKNOWN', 'there is no such session');
    return session;
  };

  api.get(
    '/sessions',
    {
      schema: {
        tags: sessionTags,
        summary: 'List sessions, newest first',
        querystring: SessionQuery,
        response: { 200: PageOf(Session), ...failures },
      },
    },
    async (request) => {
      const { query } = request;
      const user = userFilter(actorOf(request), query.user);
      if (user === null) return NO_ITEMS;
      const filter = { ...user, ...timeSpan(query), database: query.database, open: query.open };
      return list(await listSessions(db, filter, pageOf(query)), sessionView);
    },
  );

  api.get(
    '/sessions/:uid',
    {
      schema: {
        tags: sessionTags,
        summary: 'Show a session',
        params: UidParams,
        response: { 200: Session, ...failures },
      },
    },
    async (request) => sessionView(await visible(actorOf(request), request.params.uid)),
  );

  api.get(
    '/sessions/:uid/events',
    {
      schema: {
        tags: sessionTags,
        summary: 'The events of a session in the order of the journal, for replay',
        params: UidParams,
        querystring: PageQuery,
        response: { 200: PageOf(SessionEvent), ...failures },
      },
    },
    async (request) => {
      const session = await visible(actorOf(request), request.params.uid);
      const page = await sessionEvents(db, session.uid, pageOf(request.query));
      const bodies = await journal.bodies(session, page.items);
      const items = page.items.map(({ seq, kind, atUs }, i) => ({
        seq,
        kind,
        at: formatTime(atUs),
        body: bodies[i],
      }));
      return { items, next_cursor: page.next };
    },
  );

  api.post(
    '/sessions/:uid/kill',
    {
      schema: {
        tags: sessionTags,
        summary: 'End a running session: one’s own, or as admin anybody’s',
        params: UidParams,
        response: { 204: Nothing, ...failures },
      },
    },
    async (request, reply) => {
      await access.sessions.kill(actorOf(request), request.params.uid);
      return reply.code(204).send(null);
    },
  );
}

export function statementRoutes(api: Api, { db, journal }: ApiDeps): void {
  const visible = async (actor: Actor, uid: string): Promise<StatementRecord> => {
    const scope = scopeOf(actor);
    const statement = await getStatement(db, uid);
    if (statement === null || (scope !== null && statement.user_uid !== scope))
      throw new AppError('not-found', 'API_STATEMENT_UNKNOWN', 'there is no such statement');
    return statement;
  };

  api.get(
    '/statements',
    {
      schema: {
        tags: statementTags,
        summary: 'Search statements, newest first',
        querystring: StatementQuery,
        response: { 200: PageOf(Statement), ...failures },
      },
    },
    async (request) => {
      const { query } = request;
      const user = userFilter(actorOf(request), query.user);
      if (user === null) return NO_ITEMS;
      const filter = {
        ...user,
        ...timeSpan(query),
        database: query.database,
        session: query.session_uid,
        text: query.q,
        error: query.error_code ?? query.error,
        table: query.table,
        kind: query.kind,
        verb: query.verb?.toLowerCase(),
        outcome: query.outcome,
        minDurationUs: query.min_duration_us,
        maxDurationUs: query.max_duration_us,
      };
      return list(await listStatements(db, filter, pageOf(query)), statementView);
    },
  );

  api.get(
    '/statements/:uid',
    {
      schema: {
        tags: statementTags,
        summary: 'Show a statement',
        params: StatementParams,
        response: { 200: Statement, ...failures },
      },
    },
    async (request) => statementView(await visible(actorOf(request), request.params.uid)),
  );

  api.get(
    '/statements/:uid/rows',
    {
      schema: {
        tags: statementTags,
        summary: 'The result rows that were recorded',
        params: StatementParams,
        response: { 200: ResultRows, ...failures },
      },
    },
    async (request) => {
      const recorded = await journal.rows(await visible(actorOf(request), request.params.uid));
      return {
        columns: recorded.columns.map(({ name, type }) => ({ name, type })),
        rows: recorded.rows.map((row) => [...row]),
        truncated: recorded.truncated,
      };
    },
  );
}

export function eventRoutes(api: Api, { db }: ApiDeps): void {
  api.get(
    '/events',
    {
      schema: {
        tags: ['events'],
        summary: 'What else happened: failed logins, changes of the control plane, gaps; newest first',
        querystring: EventQuery,
        response: { 200: PageOf(AuditEvent), ...failures },
      },
    },
    async (request) => {
      demand(actorOf(request), 'audit.read');
      const { query } = request;
      const filter = { ...timeSpan(query), kind: query.kind, actor: query.actor };
      return list(await listEvents(db, filter, pageOf(query)), eventView);
    },
  );
}
