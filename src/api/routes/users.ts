import type { Access } from '../../access/access.ts';
import { actorOf } from '../authentication.ts';
import { Nothing, PageOf, PageQuery, UidParams } from '../contract/common.ts';
import { NewUser, User, UserUpdate } from '../contract/users.ts';
import { pageView, userView } from '../views.ts';
import { failures, uidPage, type Api } from './typed.ts';

const tags = ['users'];

export function userRoutes(api: Api, { users }: Access): void {
  api.get(
    '/users',
    {
      schema: {
        tags,
        summary: 'List users',
        querystring: PageQuery,
        response: { 200: PageOf(User), ...failures },
      },
    },
    async (request) => pageView(await users.list(actorOf(request), uidPage(request.query)), userView),
  );

  api.post(
    '/users',
    { schema: { tags, summary: 'Create a user', body: NewUser, response: { 201: User, ...failures } } },
    async (request, reply) => {
      const { display_name, ...fields } = request.body;
      const user = await users.create(actorOf(request), { ...fields, displayName: display_name });
      return reply.code(201).send(userView(user));
    },
  );

  api.get(
    '/users/:uid',
    { schema: { tags, summary: 'Show a user', params: UidParams, response: { 200: User, ...failures } } },
    async (request) => userView(await users.get(actorOf(request), request.params.uid)),
  );

  api.patch(
    '/users/:uid',
    {
      schema: {
        tags,
        summary: 'Change a user, or one’s own password',
        params: UidParams,
        body: UserUpdate,
        response: { 200: User, ...failures },
      },
    },
    async (request) => {
      const { display_name, current_password, ...fields } = request.body;
      const update = { ...fields, displayName: display_name, currentPassword: current_password };
      return userView(await users.update(actorOf(request), request.params.uid, update));
    },
  );

  api.delete(
    '/users/:uid',
    {
      schema: {
        tags,
        summary: 'Delete a user: revokes their grants, keys and logins and ends their sessions',
        params: UidParams,
        response: { 204: Nothing, ...failures },
      },
    },
    async (request, reply) => {
      await users.delete(actorOf(request), request.params.uid);
      return reply.code(204).send(null);
    },
  );
}
