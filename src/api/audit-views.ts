/** From the index's rows to the contract's JSON. */
import type { EventRecord, SessionRecord, StatementRecord } from '../store/queries.ts';
import type { AuditEvent, Session, Statement } from './contract/audit.ts';
import { formatOptionalTime, formatTime } from './times.ts';

export function sessionView(row: SessionRecord): Session {
  return {
    uid: row.uid,
    user: row.user_name,
    user_uid: row.user_uid,
    database: row.database_name,
    database_uid: row.database_uid,
    grant_uid: row.grant_uid,
    engine: row.engine,
    server_uid: row.server_uid,
    backend_id: row.backend_id,
    controls: row.controls,
    client_address: row.client_address,
    client_port: row.client_port,
    tls: row.tls,
    authentication: row.authentication,
    application_name: row.application_name,
    opened_at: formatTime(row.opened_us),
    closed_at: formatOptionalTime(row.closed_us),
    close_reason: row.close_reason,
    close_detail: row.close_detail,
    statements: row.statements,
    errors: row.errors,
    bytes_in: row.bytes_in,
    bytes_out: row.bytes_out,
  };
}

export function statementView(row: StatementRecord): Statement {
  const error =
    row.error_code === null && row.error_message === null
      ? null
      : { code: row.error_code ?? '', message: row.error_message ?? '' };
  return {
    uid: row.uid,
    session_uid: row.session_uid,
    ordinal: row.ordinal,
    user: row.user_name,
    user_uid: row.user_uid,
    database: row.database_name,
    database_uid: row.database_uid,
    kind: row.kind,
    verb: row.verb,
    sql: row.sql,
    params: row.params === null ? null : (JSON.parse(row.params) as unknown[]),
    tables: row.tables,
    tag: row.tag,
    rows: row.rows,
    bytes: row.bytes,
    started_at: formatTime(row.started_us),
    duration_us: row.duration_us,
    first_row_us: row.first_row_us,
    outcome: row.outcome,
    decision: row.decision,
    error,
    transaction_status: row.transaction_status,
    xid: row.xid,
    truncated: row.truncated,
    redacted: row.redacted,
    fingerprint: row.fingerprint,
  };
}

export function eventView(row: EventRecord): AuditEvent {
  return {
    journal: row.journal,
    seq: row.seq,
    at: formatTime(row.at_us),
    kind: row.kind,
    session_uid: row.session_uid,
    actor: row.actor,
    subject: row.subject,
    summary: row.summary,
    body: eventBody(row.body),
  };
}

/** The event as JSON; as text when the index had to cut it. */
function eventBody(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}
