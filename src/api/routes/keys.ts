import type { Access } from '../../access/access.ts';
import { actorOf } from '../authentication.ts';
import { Nothing, PageOf, UidParams } from '../contract/common.ts';
import { ApiKey, CreatedApiKey, KeyQuery, NewApiKey } from '../contract/keys.ts';
import { parseTime } from '../times.ts';
import { keyView, pageView } from '../views.ts';
import { failures, uidPage, type Api } from './typed.ts';

const tags = ['keys'];

export function keyRoutes(api: Api, { keys }: Access): void {
  api.get(
    '/keys',
    {
      schema: {
        tags,
        summary: 'List API keys; connectors see their own',
        querystring: KeyQuery,
        response: { 200: PageOf(ApiKey), ...failures },
      },
    },
    async (request) =>
      pageView(await keys.list(actorOf(request), uidPage(request.query), request.query.user_id), keyView),
  );

  api.post(
    '/keys',
    {
      schema: {
        tags,
        summary: 'Create an API key for oneself, or as admin for another user; not with an API key',
        body: NewApiKey,
        response: { 201: CreatedApiKey, ...failures },
      },
    },
    async (request, reply) => {
      const { name, user_id, expires_at } = request.body;
      const { key, secret } = await keys.create(actorOf(request), {
        name,
        userUid: user_id,
        expiresUs:
          expires_at === undefined || expires_at === null ? null : parseTime('expires_at', expires_at),
      });
      return reply.code(201).send({ ...keyView(key), key: secret });
    },
  );

  api.get(
    '/keys/:uid',
    {
      schema: { tags, summary: 'Show an API key', params: UidParams, response: { 200: ApiKey, ...failures } },
    },
    async (request) => keyView(await keys.get(actorOf(request), request.params.uid)),
  );

  api.delete(
    '/keys/:uid',
    {
      schema: {
        tags,
        summary: 'Revoke an API key: sessions that were opened with it end',
        params: UidParams,
        response: { 204: Nothing, ...failures },
      },
    },
    async (request, reply) => {
      await keys.revoke(actorOf(request), request.params.uid);
      return reply.code(204).send(null);
    },
  );
}
