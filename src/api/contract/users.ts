import { Type, type Static } from 'typebox';
import { strict, Time, Uid } from './common.ts';

export const Role = Type.Union([Type.Literal('admin'), Type.Literal('viewer'), Type.Literal('connector')], {
  description:
    'admin: everything; viewer: reads everything; connector: connects to databases through grants and reads their own records',
});

export const User = Type.Object({
  uid: Uid,
  username: Type.String(),
  display_name: Type.String(),
  email: Type.String(),
  roles: Type.Array(Role),
  disabled: Type.Boolean(),
  created_at: Time,
  updated_at: Time,
});
export type User = Static<typeof User>;

const Password = Type.String({ maxLength: 1024, description: 'at least 8 characters' });

export const NewUser = Type.Object(
  {
    username: Type.String({
      maxLength: 255,
      description: 'letters, digits and _ . @ + $ -; compared without case',
    }),
    password: Password,
    roles: Type.Optional(Type.Array(Role, { maxItems: 3, description: 'without: connector' })),
    display_name: Type.Optional(Type.String({ maxLength: 200 })),
    email: Type.Optional(Type.String({ maxLength: 254 })),
  },
  strict,
);

export const UserUpdate = Type.Object(
  {
    password: Type.Optional(Password),
    current_password: Type.Optional(
      Type.String({
        maxLength: 1024,
        description: 'needed to change one’s own password, unless one is admin',
      }),
    ),
    roles: Type.Optional(Type.Array(Role, { maxItems: 3 })),
    display_name: Type.Optional(Type.String({ maxLength: 200 })),
    email: Type.Optional(Type.String({ maxLength: 254 })),
    disabled: Type.Optional(Type.Boolean()),
  },
  { ...strict, minProperties: 1 },
);
