import type { Access } from '../../access/access.ts';
import { actorOf, addressOf, bearerOf } from '../authentication.ts';
import { LoginAnswer, LoginBody, Me } from '../contract/auth.ts';
import { Nothing } from '../contract/common.ts';
import { formatTime } from '../times.ts';
import { userView } from '../views.ts';
import { failures, type Api } from './typed.ts';

const tags = ['login'];

export function authRoutes(api: Api, access: Access): void {
  api.post(
    '/auth/login',
    {
      config: { open: true },
      schema: {
        tags,
        summary: 'Log in with a password',
        security: [],
        body: LoginBody,
        response: { 200: LoginAnswer, ...failures },
      },
    },
    async (request) => {
      const { username, password } = request.body;
      const login = await access.logins.login({ username, password, clientAddress: addressOf(request) });
      const user = await access.users.get(login.actor, login.actor.uid);
      return { token: login.token, expires_at: formatTime(login.expiresUs), user: userView(user) };
    },
  );

  api.post(
    '/auth/logout',
    { schema: { tags, summary: 'End this login', response: { 204: Nothing, ...failures } } },
    async (request, reply) => {
      await access.logins.logout(actorOf(request), bearerOf(request) ?? '');
      return reply.code(204).send(null);
    },
  );

  api.get(
    '/auth/me',
    { schema: { tags, summary: 'Who am I?', response: { 200: Me, ...failures } } },
    (request) => {
      const actor = actorOf(request);
      return {
        uid: actor.uid === '' ? null : actor.uid,
        username: actor.name,
        roles: [...actor.roles],
        via: actor.via,
        key_uid: actor.credentialUid,
      };
    },
  );
}
