/**
 * The schema, as the steps that led to it. A migration that was released is never edited; a change is a new one. See
 * `schema.ts` for what the columns mean.
 *
 * Indexes serve the queries of `queries.ts`: newest statements first (all, of a user, of a database, with errors), a
 * statement by its uid, the statements of a session, statements that touch a table. Each costs the indexer about
 * 2–5 µs a statement on PGlite, so there is none for filters that narrow little (verb, kind, duration) or that no plain
 * index helps (text search): those read backwards in time until the page is full.
 */
import type { Migration } from './migrate.ts';

const CONTROL_PLANE = `
  create table users (
    uid text primary key,
    username text not null,
    display_name text not null default '',
    email text not null default '',
    roles text[] not null default '{}',
    scram_salt bytea not null,
    scram_iterations int not null,
    disabled boolean not null default false,
    deleted_us bigint,
    created_us bigint not null,
    updated_us bigint not null
  );
  create unique index users_username on users (lower(username)) where deleted_us is null;

  create table credentials (
    uid text primary key,
    user_uid text not null references users (uid) on delete cascade,
    kind text not null check (kind in ('password', 'api_key')),
    name text not null default '',
    prefix text not null default '',
    hash text not null,
    scram_stored_key bytea not null,
    scram_server_key bytea not null,
    expires_us bigint,
    revoked_us bigint,
    last_used_us bigint,
    created_us bigint not null,
    created_by text not null default ''
  );
  create index credentials_user on credentials (user_uid);
  create index credentials_hash on credentials (hash);
  create unique index credentials_one_password on credentials (user_uid)
    where kind = 'password' and revoked_us is null;

  create table tokens (
    hash text primary key,
    user_uid text not null references users (uid) on delete cascade,
    created_us bigint not null,
    expires_us bigint not null
  );
  create index tokens_user on tokens (user_uid);
  create index tokens_expiry on tokens (expires_us);

  create table servers (
    uid text primary key,
    engine text not null,
    host text not null,
    port int not null,
    created_us bigint not null,
    unique (engine, host, port)
  );

  create table databases (
    uid text primary key,
    name text not null,
    description text not null default '',
    protocol text not null,
    server_uid text not null references servers (uid),
    host text not null,
    port int not null,
    database_name text not null,
    username text not null,
    password_sealed bytea not null,
    ssl_mode text not null,
    ssl_ca text not null default '',
    ssl_cert text not null default '',
    ssl_key_sealed bytea not null default '',
    recording text not null default '{}',
    deleted_us bigint,
    created_us bigint not null,
    updated_us bigint not null
  );
  create unique index databases_name on databases (name) where deleted_us is null;

  create table grants (
    uid text primary key,
    user_uid text not null references users (uid),
    database_uid text not null references databases (uid),
    controls text[] not null default '{}',
    starts_us bigint not null,
    expires_us bigint not null,
    max_query_counts bigint,
    max_bytes_transferred bigint,
    reason text not null default '',
    created_us bigint not null,
    created_by text not null default '',
    revoked_us bigint,
    revoked_by text
  );
  create index grants_user_database on grants (user_uid, database_uid);
  create index grants_database on grants (database_uid);

  create table settings (
    name text primary key,
    value text not null
  );
`;

const INDEX = `
  create table idx_cursor (
    journal text primary key,
    next_block bigint not null default 0,
    next_seq bigint not null,
    first_seq bigint not null default 0,
    last_block bigint,
    last_digest text not null default '',
    updated_us bigint not null
  );

  create table idx_sessions (
    uid uuid primary key,
    journal text collate "C" not null,
    opened_us bigint not null,
    closed_us bigint,
    close_reason text,
    close_detail text,
    user_uid text collate "C" not null,
    user_name text not null,
    database_uid text collate "C" not null,
    database_name text not null,
    grant_uid text collate "C" not null,
    server_uid text not null,
    engine text not null,
    backend_id text not null,
    controls text[] not null,
    client_address text not null,
    client_port int not null,
    tls text not null,
    authentication text not null,
    application_name text not null,
    statements bigint not null default 0,
    errors bigint not null default 0,
    bytes_in bigint not null default 0,
    bytes_out bigint not null default 0,
    used_statements bigint not null default 0,
    used_bytes bigint not null default 0,
    server_messages bigint not null default 0,
    last_us bigint not null,
    first_seq bigint not null,
    last_seq bigint not null
  ) with (fillfactor = 70);
  create index idx_sessions_opened on idx_sessions (opened_us);
  create index idx_sessions_user on idx_sessions (user_uid, opened_us);
  create index idx_sessions_user_name on idx_sessions (user_name);
  create index idx_sessions_database on idx_sessions (database_uid, opened_us);
  create index idx_sessions_database_name on idx_sessions (database_name);
  create index idx_sessions_open on idx_sessions (journal, opened_us) where closed_us is null;

  create table idx_texts (
    session_uid uuid not null,
    ref bigint not null,
    journal text collate "C" not null,
    sql text not null,
    redacted boolean not null,
    parameter_types bigint[] not null,
    verb text not null,
    fingerprint text not null,
    tables text[] not null,
    primary key (session_uid, ref)
  );

  create table idx_usage (
    journal text collate "C" not null,
    grant_uid text collate "C" not null,
    statements bigint not null,
    bytes bigint not null,
    primary key (grant_uid, journal)
  ) with (fillfactor = 70);
  create view grant_usage as
    select grant_uid, sum(statements)::bigint as statements, sum(bytes)::bigint as bytes
    from idx_usage group by grant_uid;

  create table idx_statements (
    session_uid uuid not null,
    ordinal bigint not null,
    started_us bigint not null,
    journal text collate "C" not null,
    user_name text not null,
    user_uid text collate "C" not null,
    database_name text not null,
    database_uid text collate "C" not null,
    kind text not null,
    verb text not null,
    sql text not null,
    fingerprint text not null,
    tables text[] not null,
    params text,
    tag text not null,
    rows bigint not null,
    bytes bigint not null,
    duration_us bigint,
    first_row_us bigint,
    outcome text not null,
    decision text not null,
    error_code text,
    error_message text,
    transaction_status text not null,
    xid bigint,
    truncated boolean not null,
    redacted boolean not null,
    start_seq bigint not null,
    start_block bigint not null,
    finish_seq bigint,
    primary key (session_uid, ordinal, started_us)
  ) partition by range (started_us);
  create index idx_statements_started on idx_statements (started_us);
  create index idx_statements_user on idx_statements (user_uid, started_us);
  create index idx_statements_database on idx_statements (database_uid, started_us);
  create index idx_statements_errors on idx_statements (started_us) where error_code is not null;
  create index idx_statements_running on idx_statements (session_uid) where outcome = 'running';
  create index idx_statements_tables on idx_statements using gin (tables);

  create table idx_events (
    journal text collate "C" not null,
    seq bigint not null,
    at_us bigint not null,
    kind text not null,
    session_uid uuid,
    actor text not null,
    subject text not null,
    summary text not null,
    body text not null,
    primary key (journal, seq, at_us)
  ) partition by range (at_us);
  create index idx_events_at on idx_events (at_us);
  create index idx_events_kind on idx_events (kind, at_us);
  create index idx_events_session on idx_events (session_uid) where session_uid is not null;
`;

const MYSQL_VERIFIERS = `
  alter table credentials add column mysql_native bytea;
  alter table credentials add column mysql_ed25519 bytea;
`;

export const MIGRATIONS: readonly Migration[] = [
  { version: 1, name: 'control plane', sql: CONTROL_PLANE },
  { version: 2, name: 'index', sql: INDEX },
  { version: 3, name: 'verifiers for MySQL and MariaDB', sql: MYSQL_VERIFIERS },
];
