/**
 * The store's tables, as Kysely sees them. One SQL dialect, PostgreSQL's, on PGlite or PostgreSQL. Two halves:
 *
 *  - control-plane tables (users … usage): the truth about who may do what; changed only by `access/`;
 *  - index tables (idx_*): rebuilt from the journal alone; changed only by the indexer.
 *
 * A column that ends in `_us` is a `bigint` of microseconds since 1970. Every `bigint` comes back as a safe integer;
 * `bytea` comes back as a plain `Uint8Array`. Uids are text, but `session_uid` and `idx_sessions.uid`, which are the
 * native `uuid` (16 bytes in the two largest indexes) and read as the same 36 characters.
 */
import type { Generated } from 'kysely';

export interface StoreSchema {
  users: UserTable;
  credentials: CredentialTable;
  tokens: TokenTable;
  servers: ServerTable;
  databases: DatabaseTable;
  grants: GrantTable;
  grant_usage: GrantUsageTable;
  settings: SettingTable;
  idx_sessions: SessionIndexTable;
  idx_texts: TextIndexTable;
  idx_usage: UsageIndexTable;
  idx_statements: StatementIndexTable;
  idx_events: EventIndexTable;
  idx_cursor: CursorTable;
}

export interface UserTable {
  uid: string;
  /** Unique among users that are not deleted, lower-cased for comparison. */
  username: string;
  display_name: string;
  email: string;
  roles: string[];
  /** One salt per user, so that password and API keys answer the same SCRAM challenge. */
  scram_salt: Uint8Array;
  scram_iterations: number;
  disabled: boolean;
  /** Deleted users stay, without any secret, so that old grants keep a name. The username is free again. */
  deleted_us: number | null;
  created_us: number;
  updated_us: number;
}

/** Every secret of a user: at most one password, any number of API keys. */
export interface CredentialTable {
  uid: string;
  user_uid: string;
  kind: 'password' | 'api_key';
  name: string;
  /** First characters of an API key (`dbw_ab12…`), to recognise it; empty for passwords. */
  prefix: string;
  /** Argon2id hash of a password; SHA-256 of an API key (it has full entropy). */
  hash: string;
  /** Both sealed by the vault: a copy of the store alone allows no guessing against them. */
  scram_stored_key: Uint8Array;
  scram_server_key: Uint8Array;
  /** SHA1(SHA1(secret)) for mysql_native_password, sealed; `null` while that is off or the secret was not seen since. */
  mysql_native: Uint8Array | null;
  /** The public key for client_ed25519, sealed; `null` likewise. */
  mysql_ed25519: Uint8Array | null;
  expires_us: number | null;
  revoked_us: number | null;
  last_used_us: number | null;
  created_us: number;
  created_by: string;
}

/** Login tokens of the REST API; only their hash is kept. */
export interface TokenTable {
  hash: string;
  user_uid: string;
  created_us: number;
  expires_us: number;
}

export interface ServerTable {
  uid: string;
  engine: string;
  host: string;
  port: number;
  created_us: number;
}

export interface DatabaseTable {
  uid: string;
  /** Unique among databases that are not deleted: what people put as the database name. */
  name: string;
  description: string;
  protocol: string;
  server_uid: string;
  host: string;
  port: number;
  database_name: string;
  username: string;
  /** AES-256-GCM, the uid as associated data. */
  password_sealed: Uint8Array;
  ssl_mode: string;
  ssl_ca: string;
  ssl_cert: string;
  ssl_key_sealed: Uint8Array;
  /** RecordingOptions as JSON text. */
  recording: string;
  deleted_us: number | null;
  created_us: number;
  updated_us: number;
}

export interface GrantTable {
  uid: string;
  user_uid: string;
  database_uid: string;
  controls: string[];
  starts_us: number;
  expires_us: number;
  max_query_counts: number | null;
  max_bytes_transferred: number | null;
  reason: string;
  created_us: number;
  created_by: string;
  revoked_us: number | null;
  revoked_by: string | null;
}

/**
 * A view over {@link UsageIndexTable}, all journals together: read only. `statements` counts the statements that were
 * let through to the server (decision `allowed`, whatever came of them), `bytes` the sum of their row and COPY bytes.
 */
export interface GrantUsageTable {
  grant_uid: string;
  statements: number;
  bytes: number;
}

export interface SettingTable {
  name: string;
  value: string;
}

export interface SessionIndexTable {
  uid: string;
  journal: string;
  opened_us: number;
  closed_us: number | null;
  close_reason: string | null;
  close_detail: string | null;
  user_uid: string;
  user_name: string;
  database_uid: string;
  database_name: string;
  grant_uid: string;
  server_uid: string;
  engine: string;
  backend_id: string;
  controls: string[];
  client_address: string;
  client_port: number;
  tls: string;
  authentication: string;
  application_name: string;
  statements: number;
  errors: number;
  bytes_in: number;
  bytes_out: number;
  /** What this session used of its grant; see {@link GrantUsageTable}. */
  used_statements: number;
  used_bytes: number;
  /** Notices, notifications and parameter reports that came outside of any statement. */
  server_messages: number;
  /** Time of the newest event; a crashed session is closed with it. */
  last_us: number;
  first_seq: number;
  /** The newest event that is counted above: an event at or before it is never counted again. */
  last_seq: number;
}

/** Statement texts that open sessions have declared: what the indexer needs to go on after a restart. */
export interface TextIndexTable {
  session_uid: string;
  ref: number;
  journal: string;
  /** Cut to 64 KiB. */
  sql: string;
  redacted: boolean;
  parameter_types: number[];
  verb: string;
  fingerprint: string;
  tables: string[];
}

/** What one journal says that a grant used. */
export interface UsageIndexTable {
  journal: string;
  grant_uid: string;
  statements: number;
  bytes: number;
}

/** Partitioned by month of `started_us`. */
export interface StatementIndexTable {
  session_uid: string;
  ordinal: number;
  started_us: number;
  journal: string;
  user_name: string;
  user_uid: string;
  database_name: string;
  database_uid: string;
  /** simple, execute, function_call, prepare, command. */
  kind: string;
  verb: string;
  /** Cut to 64 KiB; the journal has it whole. */
  sql: string;
  /** PostgreSQL's fingerprint of the text without its constants, hex; empty when it did not parse. */
  fingerprint: string;
  tables: string[];
  /** Decoded parameters as a JSON array, cut to 64 KiB. */
  params: string | null;
  tag: string;
  rows: number;
  bytes: number;
  duration_us: number | null;
  first_row_us: number | null;
  /** `running` until it is known; then completed, failed, refused, skipped, unknown. */
  outcome: string;
  decision: string;
  error_code: string | null;
  error_message: string | null;
  /** PostgreSQL's I, T or E as it was before the statement; empty when unknown. */
  transaction_status: string;
  xid: number | null;
  truncated: boolean;
  redacted: boolean;
  /** Where its events are in the journal: StatementStarted, StatementFinished (null while it runs). */
  start_seq: number;
  /** The block that holds `start_seq`: where to start reading for its result rows. */
  start_block: number;
  finish_seq: number | null;
}

/**
 * Everything that is neither session nor statement: logins failed, control changes, gaps, journal openings.
 * Partitioned by month of `at_us`.
 */
export interface EventIndexTable {
  journal: string;
  seq: number;
  at_us: number;
  kind: string;
  session_uid: string | null;
  actor: string;
  subject: string;
  summary: string;
  /** The event as protobuf JSON. */
  body: string;
}

export interface CursorTable {
  journal: string;
  /** The block that holds `next_seq`, or would. */
  next_block: Generated<number>;
  /** The next event to index. */
  next_seq: number;
  /** Events before this position were dropped from the journal by its retention. */
  first_seq: Generated<number>;
  /** The newest block that was indexed and what it looked like: whether the journal still is the same. */
  last_block: Generated<number | null>;
  last_digest: Generated<string>;
  updated_us: number;
}
