import { Type, type Static } from 'typebox';
import { strict, Time, Uid } from './common.ts';

export const Protocol = Type.Union([
  Type.Literal('postgres'),
  Type.Literal('mysql'),
  Type.Literal('mariadb'),
  Type.Literal('oracle'),
]);

export const SslMode = Type.Union([
  Type.Literal('disable'),
  Type.Literal('prefer'),
  Type.Literal('require'),
  Type.Literal('verify-ca'),
  Type.Literal('verify-full'),
]);

const bytes = Type.Integer({ minimum: 0, maximum: 1_073_741_824 });

const recording = {
  durability: Type.Union([Type.Literal('batch'), Type.Literal('sync')], {
    description: 'sync: every statement is on stable storage before it is forwarded',
  }),
  capture_rows: Type.Integer({
    minimum: 0,
    maximum: 1_073_741_824,
    description: 'rows recorded per statement',
  }),
  capture_bytes: bytes,
  capture_copy_bytes: bytes,
  capture_parameter_bytes: bytes,
  xid_probe: Type.Boolean({
    description: 'PostgreSQL: ask the server for the transaction id behind writes',
  }),
  fail_open: Type.Boolean({ description: 'forward even when the journal fails' }),
  allow_replication: Type.Boolean({ description: 'PostgreSQL: allow replication connections' }),
  label_application_name: Type.Boolean({
    description: 'PostgreSQL: put the person’s name into application_name',
  }),
  allow_local_infile: Type.Boolean({
    description: 'MySQL, MariaDB: LOAD DATA LOCAL is let through; its data is recorded',
  }),
  statement_comment: Type.Boolean({
    description:
      'MySQL, MariaDB: put a comment with the statement’s id into its text, for the binary log’s rows_query events',
  }),
};

export const Recording = Type.Object(recording);
export type Recording = Static<typeof Recording>;
export const RecordingUpdate = Type.Partial(Type.Object(recording), strict);

/** Connection details are left out for those who may only connect. Secrets are never shown. */
export const Database = Type.Object({
  uid: Uid,
  name: Type.String({ description: 'what people connect to' }),
  description: Type.String(),
  protocol: Protocol,
  created_at: Time,
  updated_at: Time,
  server_uid: Type.Optional(Uid),
  host: Type.Optional(
    Type.String({
      description:
        'host name, address, or absolute path: of a Unix socket’s folder (PostgreSQL) or of the socket (MySQL, MariaDB)',
    }),
  ),
  port: Type.Optional(Type.Integer()),
  database_name: Type.Optional(Type.String({ description: 'its name on the server' })),
  username: Type.Optional(Type.String({ description: 'the upstream login' })),
  has_password: Type.Optional(Type.Boolean()),
  ssl_mode: Type.Optional(SslMode),
  ssl_ca: Type.Optional(Type.String()),
  ssl_cert: Type.Optional(Type.String()),
  has_ssl_key: Type.Optional(Type.Boolean()),
  recording: Type.Optional(Recording),
});
export type Database = Static<typeof Database>;

const name = Type.String({ maxLength: 255 });
const pem = Type.String({ maxLength: 262_144, description: 'PEM; empty: none' });

const optional = {
  description: Type.Optional(Type.String({ maxLength: 2000 })),
  protocol: Type.Optional(
    Type.Union([...Protocol.anyOf, Type.Literal('postgresql')], {
      description: 'postgresql is another word for postgres',
    }),
  ),
  port: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: 65_535,
      description: 'default: the protocol’s own: 5432 for postgres, 3306 for mysql and mariadb',
    }),
  ),
  password: Type.Optional(Type.String({ maxLength: 1024, description: 'sealed at rest, never shown' })),
  ssl_mode: Type.Optional(SslMode),
  ssl_ca: Type.Optional(pem),
  ssl_cert: Type.Optional(pem),
  ssl_key: Type.Optional(pem),
  recording: Type.Optional(RecordingUpdate),
};

export const NewDatabase = Type.Object(
  { name, host: name, database_name: name, username: name, ...optional },
  strict,
);
export type NewDatabase = Static<typeof NewDatabase>;

export const DatabaseUpdate = Type.Object(
  {
    name: Type.Optional(name),
    host: Type.Optional(name),
    database_name: Type.Optional(name),
    username: Type.Optional(name),
    ...optional,
  },
  { ...strict, minProperties: 1 },
);
export type DatabaseUpdate = Static<typeof DatabaseUpdate>;
