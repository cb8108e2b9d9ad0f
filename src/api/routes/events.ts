import { demand } from '../../access/actor.ts';
import { listEvents } from '../../store/queries.ts';
import { eventView } from '../audit-views.ts';
import { actorOf } from '../authentication.ts';
import { AuditEvent, EventQuery } from '../contract/audit.ts';
import { PageOf } from '../contract/common.ts';
import type { ApiDeps } from '../deps.ts';
import { failures, type Api } from './typed.ts';
import { pageJson, pageOf, timeSpan } from './visibility.ts';

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
      return pageJson(await listEvents(db, filter, pageOf(query)), eventView);
    },
  );
}
