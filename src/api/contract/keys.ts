import { Type, type Static } from 'typebox';
import { Nullable, pageQuery, strict, Time, Uid } from './common.ts';

export const ApiKey = Type.Object({
  uid: Uid,
  user_id: Uid,
  user: Type.String(),
  name: Type.String(),
  prefix: Type.String({ description: 'how the key begins' }),
  expires_at: Nullable(Time),
  revoked_at: Nullable(Time),
  last_used_at: Nullable(Time),
  created_at: Time,
  created_by: Type.String(),
});
export type ApiKey = Static<typeof ApiKey>;

export const NewApiKey = Type.Object(
  {
    name: Type.Optional(Type.String({ maxLength: 100 })),
    expires_at: Type.Optional(Nullable(Time)),
    user_id: Type.Optional(Uid),
  },
  strict,
);

export const CreatedApiKey = Type.Intersect([
  ApiKey,
  Type.Object({
    key: Type.String({
      description: 'the key itself; it is shown once, and also works as a database password',
    }),
  }),
]);

export const KeyQuery = Type.Object({ user_id: Type.Optional(Uid), ...pageQuery }, strict);
