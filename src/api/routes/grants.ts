import type { Access } from '../../access/access.ts';
import { actorOf } from '../authentication.ts';
import { Nothing, PageOf, UidParams } from '../contract/common.ts';
import { Grant, GrantQuery, GrantUpdate, NewGrant } from '../contract/grants.ts';
import { parseOptionalTime, parseTime } from '../times.ts';
import { grantView, pageView } from '../views.ts';
import { failures, uidPage, type Api } from './typed.ts';

const tags = ['grants'];

export function grantRoutes(api: Api, access: Access): void {
  const { grants } = access;
  api.get(
    '/grants',
    {
      schema: {
        tags,
        summary: 'List grants; connectors see their own',
        querystring: GrantQuery,
        response: { 200: PageOf(Grant), ...failures },
      },
    },
    async (request) => {
      const { user_id, database_id, active } = request.query;
      const filter = { userUid: user_id, databaseUid: database_id, active };
      return pageView(await grants.list(actorOf(request), uidPage(request.query), filter), grantView);
    },
  );

  api.post(
    '/grants',
    { schema: { tags, summary: 'Create a grant', body: NewGrant, response: { 201: Grant, ...failures } } },
    async (request, reply) => {
      const { body } = request;
      const grant = await grants.create(actorOf(request), {
        userUid: body.user_id,
        databaseUid: body.database_id,
        controls: body.controls,
        startsUs: parseOptionalTime('starts_at', body.starts_at),
        expiresUs: parseTime('expires_at', body.expires_at),
        maxQueryCounts: body.max_query_counts,
        maxBytesTransferred: body.max_bytes_transferred,
        reason: body.reason,
      });
      return reply.code(201).send(grantView(grant));
    },
  );

  api.get(
    '/grants/:uid',
    { schema: { tags, summary: 'Show a grant', params: UidParams, response: { 200: Grant, ...failures } } },
    async (request) => grantView(await grants.get(actorOf(request), request.params.uid)),
  );

  grantChangeRoutes(api, access);
}

function grantChangeRoutes(api: Api, { grants }: Access): void {
  api.patch(
    '/grants/:uid',
    {
      schema: {
        tags,
        summary: 'Change the terms of a grant; tighter terms end its running sessions',
        params: UidParams,
        body: GrantUpdate,
        response: { 200: Grant, ...failures },
      },
    },
    async (request) => {
      const { body } = request;
      const grant = await grants.update(actorOf(request), request.params.uid, {
        controls: body.controls,
        startsUs: parseOptionalTime('starts_at', body.starts_at),
        expiresUs: parseOptionalTime('expires_at', body.expires_at),
        maxQueryCounts: body.max_query_counts,
        maxBytesTransferred: body.max_bytes_transferred,
        reason: body.reason,
      });
      return grantView(grant);
    },
  );

  api.delete(
    '/grants/:uid',
    {
      schema: {
        tags,
        summary: 'Revoke a grant: its sessions end within a second; it stays visible as revoked',
        params: UidParams,
        response: { 204: Nothing, ...failures },
      },
    },
    async (request, reply) => {
      await grants.revoke(actorOf(request), request.params.uid);
      return reply.code(204).send(null);
    },
  );
}
