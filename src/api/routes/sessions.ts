import type { Actor } from '../../access/actor.ts';
import { AppError } from '../../base/errors.ts';
import type { Uid } from '../../base/ids.ts';
import { getSession, listSessions, sessionEvents, type SessionRecord } from '../../store/queries.ts';
import { sessionView } from '../audit-views.ts';
import { actorOf } from '../authentication.ts';
import { Session, SessionEvent, SessionQuery } from '../contract/audit.ts';
import { Nothing, PageOf, PageQuery, UidParams } from '../contract/common.ts';
import type { ApiDeps } from '../deps.ts';
import { formatTime } from '../times.ts';
import { failures, type Api } from './typed.ts';
import { NO_ITEMS, pageJson, pageOf, scopeOf, timeSpan, userFilter } from './visibility.ts';

const tags = ['sessions'];

export function sessionRoutes(api: Api, deps: ApiDeps): void {
  const { db } = deps;
  api.get(
    '/sessions',
    {
      schema: {
        tags,
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
      return pageJson(await listSessions(db, filter, pageOf(query)), sessionView);
    },
  );

  api.get(
    '/sessions/:uid',
    {
      schema: {
        tags,
        summary: 'Show a session',
        params: UidParams,
        response: { 200: Session, ...failures },
      },
    },
    async (request) => sessionView(await visibleSession(db, actorOf(request), request.params.uid)),
  );

  sessionEventRoutes(api, deps);
}

function sessionEventRoutes(api: Api, { access, db, journal }: ApiDeps): void {
  api.get(
    '/sessions/:uid/events',
    {
      schema: {
        tags,
        summary: 'The events of a session in the order of the journal, for replay',
        params: UidParams,
        querystring: PageQuery,
        response: { 200: PageOf(SessionEvent), ...failures },
      },
    },
    async (request) => {
      const session = await visibleSession(db, actorOf(request), request.params.uid);
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
        tags,
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

async function visibleSession(db: ApiDeps['db'], actor: Actor, uid: Uid): Promise<SessionRecord> {
  const scope = scopeOf(actor);
  const session = await getSession(db, uid);
  if (session === null || (scope !== null && session.user_uid !== scope))
    throw new AppError('not-found', 'API_SESSION_UNKNOWN', 'there is no such session');
  return session;
}
