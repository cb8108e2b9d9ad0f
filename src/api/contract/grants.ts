import { Type, type Static } from 'typebox';
import { Count, Nullable, pageQuery, strict, Time, Uid } from './common.ts';

export const Control = Type.Union(
  [Type.Literal('read_only'), Type.Literal('block_copy'), Type.Literal('block_ddl')],
  { description: 'what the grant does not allow' },
);

export const GrantState = Type.Union([
  Type.Literal('pending'),
  Type.Literal('active'),
  Type.Literal('expired'),
  Type.Literal('revoked'),
  Type.Literal('used_up'),
]);

const Quota = Nullable(Type.Integer({ minimum: 1, description: 'null: no limit' }));

export const Grant = Type.Object({
  uid: Uid,
  user_id: Uid,
  user: Type.String(),
  database_id: Uid,
  database: Type.String(),
  controls: Type.Array(Control),
  starts_at: Time,
  expires_at: Time,
  max_query_counts: Quota,
  max_bytes_transferred: Quota,
  used_queries: Count,
  used_bytes: Count,
  state: GrantState,
  reason: Type.String(),
  created_at: Time,
  created_by: Type.String(),
  revoked_at: Nullable(Time),
  revoked_by: Nullable(Type.String()),
});
export type Grant = Static<typeof Grant>;

const terms = {
  controls: Type.Optional(Type.Array(Control, { maxItems: 16 })),
  starts_at: Type.Optional(Time),
  max_query_counts: Type.Optional(Quota),
  max_bytes_transferred: Type.Optional(Quota),
  reason: Type.Optional(Type.String({ maxLength: 2000 })),
};

export const NewGrant = Type.Object({ user_id: Uid, database_id: Uid, expires_at: Time, ...terms }, strict);
export const GrantUpdate = Type.Object(
  { expires_at: Type.Optional(Time), ...terms },
  { ...strict, minProperties: 1 },
);

export const GrantQuery = Type.Object(
  {
    user_id: Type.Optional(Uid),
    database_id: Type.Optional(Uid),
    active: Type.Optional(
      Type.Boolean({ description: 'only those that can be used now, or only the others' }),
    ),
    ...pageQuery,
  },
  strict,
);
