import { Type, type Static } from 'typebox';
import { Nullable, strict, Time, Uid } from './common.ts';
import { Role, User } from './users.ts';

export const LoginBody = Type.Object(
  { username: Type.String({ minLength: 1, maxLength: 255 }), password: Type.String({ maxLength: 1024 }) },
  strict,
);

export const LoginAnswer = Type.Object({
  token: Type.String({ description: 'send it as "Authorization: Bearer …"; it is shown once' }),
  expires_at: Time,
  user: User,
});
export type LoginAnswer = Static<typeof LoginAnswer>;

export const Me = Type.Object({
  uid: Nullable(Uid),
  username: Type.String(),
  roles: Type.Array(Role),
  via: Type.Union([Type.Literal('token'), Type.Literal('api_key'), Type.Literal('local')]),
  key_uid: Nullable(Uid),
});
export type Me = Static<typeof Me>;
