import { Type, type Static } from 'typebox';
import { Count, Nullable, pageQuery, StatementUid, strict, Time, Uid } from './common.ts';

export const Session = Type.Object({
  uid: Uid,
  user: Type.String(),
  user_uid: Type.String(),
  database: Type.String(),
  database_uid: Type.String(),
  grant_uid: Type.String(),
  engine: Type.String(),
  server_uid: Type.String(),
  backend_id: Type.String({ description: 'PostgreSQL pid, MySQL thread id, Oracle "sid,serial#"' }),
  controls: Type.Array(Type.String()),
  client_address: Type.String(),
  client_port: Type.Integer(),
  tls: Type.String(),
  authentication: Type.String(),
  application_name: Type.String(),
  opened_at: Time,
  closed_at: Nullable(Time),
  close_reason: Nullable(Type.String()),
  close_detail: Nullable(Type.String()),
  statements: Count,
  errors: Count,
  bytes_in: Count,
  bytes_out: Count,
});
export type Session = Static<typeof Session>;

export const StatementError = Type.Object({ code: Type.String(), message: Type.String() });

export const Statement = Type.Object({
  uid: StatementUid,
  session_uid: Uid,
  ordinal: Type.Integer({ minimum: 1 }),
  user: Type.String(),
  user_uid: Type.String(),
  database: Type.String(),
  database_uid: Type.String(),
  kind: Type.String(),
  verb: Type.String(),
  sql: Type.String(),
  params: Nullable(Type.Array(Type.Unknown())),
  tables: Type.Array(Type.String()),
  tag: Type.String(),
  rows: Count,
  bytes: Count,
  started_at: Time,
  duration_us: Nullable(Count),
  first_row_us: Nullable(Count),
  outcome: Type.String(),
  decision: Type.String(),
  error: Nullable(StatementError),
  transaction_status: Type.String(),
  xid: Nullable(Count),
  truncated: Type.Boolean({ description: 'rows or COPY data were not recorded in full' }),
  redacted: Type.Boolean({ description: 'a secret was taken out of the text' }),
  fingerprint: Type.String(),
});
export type Statement = Static<typeof Statement>;

const search = {
  user: Type.Optional(Type.String({ maxLength: 255, description: 'name or uid' })),
  database: Type.Optional(Type.String({ maxLength: 255, description: 'name or uid' })),
  from: Type.Optional(Time),
  until: Type.Optional(Time),
};

export const SessionQuery = Type.Object(
  {
    ...search,
    open: Type.Optional(Type.Boolean({ description: 'only running ones, or only ended ones' })),
    ...pageQuery,
  },
  strict,
);

export const StatementQuery = Type.Object(
  {
    ...search,
    session_uid: Type.Optional(Uid),
    q: Type.Optional(Type.String({ maxLength: 1000, description: 'text within the SQL, without case' })),
    table: Type.Optional(Type.String({ maxLength: 255 })),
    kind: Type.Optional(Type.String({ maxLength: 64 })),
    verb: Type.Optional(Type.String({ maxLength: 64 })),
    error: Type.Optional(Type.Boolean({ description: 'only failed ones, or only the others' })),
    error_code: Type.Optional(Type.String({ maxLength: 64 })),
    outcome: Type.Optional(Type.String({ maxLength: 64 })),
    min_duration_us: Type.Optional(Count),
    max_duration_us: Type.Optional(Count),
    ...pageQuery,
  },
  strict,
);

const resultSet = {
  columns: Type.Array(Type.Object({ name: Type.String(), type: Type.String() })),
  rows: Type.Array(Type.Array(Type.Unknown()), {
    description: 'in the order of the columns, whose names may repeat',
  }),
};

export const ResultRows = Type.Object({
  ...resultSet,
  truncated: Type.Boolean(),
  more: Type.Array(Type.Object(resultSet), {
    description: 'the second and further result sets of a statement that has several (a procedure called)',
  }),
});
export type ResultRows = Static<typeof ResultRows>;

const eventFields = {
  seq: Type.Integer({ minimum: 0, description: 'position in the journal' }),
  at: Time,
  kind: Type.String(),
  body: Type.Unknown({ description: 'the event in the JSON form of proto/dbwitness/v1/events.proto' }),
};

export const SessionEvent = Type.Object(eventFields);
export type SessionEvent = Static<typeof SessionEvent>;

export const AuditEvent = Type.Object({
  journal: Type.String(),
  ...eventFields,
  session_uid: Nullable(Uid),
  actor: Type.String(),
  subject: Type.String(),
  summary: Type.String(),
});
export type AuditEvent = Static<typeof AuditEvent>;

export const EventQuery = Type.Object(
  {
    kind: Type.Optional(Type.String({ maxLength: 64 })),
    actor: Type.Optional(Type.String({ maxLength: 255 })),
    from: search.from,
    until: search.until,
    ...pageQuery,
  },
  strict,
);
