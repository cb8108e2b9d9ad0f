/** From the control plane's objects to the contract's JSON, field by field: what is not named here is not shown. */
import type { Database } from '../access/databases.ts';
import type { Grant } from '../access/grants.ts';
import type { ApiKey } from '../access/keys.ts';
import type { Page } from '../access/page.ts';
import type { User } from '../access/users.ts';
import type { RecordingOptions } from '../model/access.ts';
import type { Database as DatabaseJson, Recording } from './contract/databases.ts';
import type { Grant as GrantJson } from './contract/grants.ts';
import type { ApiKey as ApiKeyJson } from './contract/keys.ts';
import type { User as UserJson } from './contract/users.ts';
import { formatOptionalTime, formatTime } from './times.ts';

export function pageView<T, Json>(
  page: Page<T>,
  view: (item: T) => Json,
): { items: Json[]; next_cursor: string | null } {
  return { items: page.items.map(view), next_cursor: page.next };
}

export function userView(user: User): UserJson {
  return {
    uid: user.uid,
    username: user.username,
    display_name: user.displayName,
    email: user.email,
    roles: [...user.roles],
    disabled: user.disabled,
    created_at: formatTime(user.createdUs),
    updated_at: formatTime(user.updatedUs),
  };
}

export function databaseView(database: Database): DatabaseJson {
  const { connection } = database;
  return {
    uid: database.uid,
    name: database.name,
    description: database.description,
    protocol: database.protocol,
    created_at: formatTime(database.createdUs),
    updated_at: formatTime(database.updatedUs),
    ...(connection === null
      ? {}
      : {
          server_uid: connection.serverUid,
          host: connection.host,
          port: connection.port,
          database_name: connection.databaseName,
          username: connection.username,
          has_password: connection.hasPassword,
          ssl_mode: connection.sslMode,
          ssl_ca: connection.sslCa,
          ssl_cert: connection.sslCert,
          has_ssl_key: connection.hasSslKey,
          recording: recordingView(connection.recording),
        }),
  };
}

function recordingView(options: RecordingOptions): Recording {
  return {
    durability: options.durability,
    capture_rows: options.captureRows,
    capture_bytes: options.captureBytes,
    capture_copy_bytes: options.captureCopyBytes,
    capture_parameter_bytes: options.captureParameterBytes,
    xid_probe: options.xidProbe,
    fail_open: options.failOpen,
    allow_replication: options.allowReplication,
    label_application_name: options.labelApplicationName,
    allow_local_infile: options.allowLocalInfile,
    statement_comment: options.statementComment,
  };
}

export function grantView(grant: Grant): GrantJson {
  return {
    uid: grant.uid,
    user_id: grant.userUid,
    user: grant.userName,
    database_id: grant.databaseUid,
    database: grant.databaseName,
    controls: [...grant.controls],
    starts_at: formatTime(grant.startsUs),
    expires_at: formatTime(grant.expiresUs),
    max_query_counts: grant.maxQueryCounts,
    max_bytes_transferred: grant.maxBytesTransferred,
    used_queries: grant.usedQueries,
    used_bytes: grant.usedBytes,
    state: grant.state,
    reason: grant.reason,
    created_at: formatTime(grant.createdUs),
    created_by: grant.createdBy,
    revoked_at: formatOptionalTime(grant.revokedUs),
    revoked_by: grant.revokedBy,
  };
}

export function keyView(key: ApiKey): ApiKeyJson {
  return {
    uid: key.uid,
    user_id: key.userUid,
    user: key.userName,
    name: key.name,
    prefix: key.prefix,
    expires_at: formatOptionalTime(key.expiresUs),
    revoked_at: formatOptionalTime(key.revokedUs),
    last_used_at: formatOptionalTime(key.lastUsedUs),
    created_at: formatTime(key.createdUs),
    created_by: key.createdBy,
  };
}
