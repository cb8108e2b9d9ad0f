/** What all parts of the contract share. Pure schemas: the web UI imports this folder, and nothing of the server. */
import { Type, type Static, type TSchema } from 'typebox';

/** Everything that is not known is refused: a mistyped field must not be silently ignored (mass assignment too). */
export const strict = { additionalProperties: false } as const;

export const Uid = Type.String({
  pattern: '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$',
  description: 'UUIDv7 of the object',
});

export const StatementUid = Type.String({
  pattern: '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}-[1-9][0-9]{0,9}$',
  description: "The session's uid, a hyphen, and the statement's number within it",
});

export const Time = Type.String({ format: 'date-time', maxLength: 40, description: 'RFC 3339' });
export const Count = Type.Integer({ minimum: 0 });

export function Nullable<Schema extends TSchema>(schema: Schema) {
  return Type.Union([schema, Type.Null()]);
}

export const UidParams = Type.Object({ uid: Uid }, strict);
export const StatementParams = Type.Object({ uid: StatementUid }, strict);

/** Query parameters of every list. */
export const pageQuery = {
  cursor: Type.Optional(
    Type.String({ maxLength: 500, description: 'next_cursor of the page before; without: the first page' }),
  ),
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 500, default: 50, description: 'items at most' })),
};

export const PageQuery = Type.Object(pageQuery, strict);

export function PageOf<Item extends TSchema>(item: Item) {
  return Type.Object({
    items: Type.Array(item),
    next_cursor: Nullable(Type.String({ description: 'of the next page; null: this was the last' })),
  });
}

/** RFC 9457. `code` is stable and for programs, `detail` is for people. */
export const Problem = Type.Object(
  {
    type: Type.String({ description: 'urn:dbwitness:problem:<code in lower case>' }),
    title: Type.String(),
    status: Type.Integer(),
    detail: Type.String(),
    code: Type.String(),
    instance: Type.Optional(Type.String({ description: 'id of the request, as in the logs' })),
    errors: Type.Optional(
      Type.Array(Type.Object({ field: Type.String(), message: Type.String() }), {
        description: 'what is wrong with the request, field by field',
      }),
    ),
    details: Type.Optional(
      Type.Record(Type.String(), Type.Union([Type.String(), Type.Number(), Type.Boolean(), Type.Null()])),
    ),
  },
  { description: 'A problem, RFC 9457' },
);
export type Problem = Static<typeof Problem>;

export const Nothing = Type.Null({ description: 'Done; there is nothing to say' });
