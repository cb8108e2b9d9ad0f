/** Rows made from the rare events, by the generated code: idx_events, and idx_sessions from SessionOpened. */
import { fromBinary, toJsonString } from '@bufbuild/protobuf';
import { type Uid, uidFromBytes } from '../base/ids.ts';
import type { EngineName } from '../model/access.ts';
import {
  Engine,
  type Event,
  EventSchema,
  Gap_Reason,
  ObservedSession_Kind,
  RowChange_Kind,
  SessionClosed_Reason,
  type SessionOpened,
} from '../model/events.ts';
import type { ScannedEvent } from './event-scan.ts';
import type { SessionEnd, SessionRow } from './index-state.ts';
import type { EventIndexTable } from './schema.ts';
import { storableText } from './sql-text.ts';

const MAX_SUMMARY_BYTES = 500;
const MAX_BODY_BYTES = 1024 * 1024;
const MAX_INT4 = 0x7fffffff;

const ENGINES: Readonly<Record<Engine, EngineName | ''>> = {
  [Engine.UNSPECIFIED]: '',
  [Engine.POSTGRES]: 'postgres',
  [Engine.MYSQL]: 'mysql',
  [Engine.MARIADB]: 'mariadb',
  [Engine.ORACLE]: 'oracle',
};

/** Why a session ended, as the `close_reason` column says it: client_quit, client_lost, … */
function reasonName(reason: SessionClosed_Reason): string {
  return (SessionClosed_Reason[reason] ?? 'unspecified').toLowerCase();
}

function safe(value: bigint): number {
  return value > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(value);
}

export function decodeEvent(event: ScannedEvent): Event {
  return fromBinary(EventSchema, event.bytes);
}

export function uidOfKey(key: string): Uid {
  return uidFromBytes(Buffer.from(key, 'latin1'));
}

/** A session's first row; `opened` is `null` when its SessionOpened is not in the journal any more. */
export function sessionRow(
  journal: string,
  key: string,
  seq: number,
  atUs: number,
  opened: SessionOpened | null,
): SessionRow {
  const text = (value: string | undefined): string => storableText(value ?? '', 4096);
  const openedUs = safe(opened?.openedUs ?? 0n);
  return {
    uid: uidOfKey(key),
    journal,
    opened_us: openedUs === 0 ? atUs : openedUs,
    closed_us: null,
    close_reason: null,
    close_detail: null,
    user_uid: text(opened?.userUid),
    user_name: text(opened?.userName),
    database_uid: text(opened?.databaseUid),
    database_name: text(opened?.databaseName),
    grant_uid: text(opened?.grantUid),
    server_uid: text(opened?.origin?.serverUid),
    engine: ENGINES[opened?.origin?.engine ?? Engine.UNSPECIFIED] ?? '',
    backend_id: text(opened?.origin?.backendId),
    controls: (opened?.controls ?? []).slice(0, 64).map(text),
    client_address: text(opened?.clientAddress),
    client_port: Math.min(opened?.clientPort ?? 0, MAX_INT4),
    tls: text(opened?.tls),
    authentication: text(opened?.authentication),
    application_name: text(opened?.applicationName),
    statements: 0,
    errors: 0,
    bytes_in: 0,
    bytes_out: 0,
    used_statements: 0,
    used_bytes: 0,
    server_messages: 0,
    last_us: atUs,
    first_seq: seq,
    last_seq: seq,
  };
}

export function sessionEnd(event: Event): SessionEnd | null {
  if (event.body.case !== 'sessionClosed') return null;
  const closed = event.body.value;
  return {
    atUs: safe(event.atUs),
    reason: reasonName(closed.reason),
    detail: storableText(closed.detail, 4096),
    bytesIn: safe(closed.bytesIn),
    bytesOut: safe(closed.bytesOut),
  };
}

interface Digest {
  readonly kind: string;
  readonly actor?: string;
  readonly subject?: string;
  readonly summary: string;
}

/** The idx_events row of an event that is neither session nor statement; `null` for those that are. */
export function eventRow(
  journal: string,
  scanned: ScannedEvent,
  event: Event | null,
): EventIndexTable | null {
  const digest =
    event === null
      ? { kind: 'undecodable', summary: `an event of ${scanned.bytes.length} bytes that is not understood` }
      : digestOf(event);
  if (digest === null) return null;
  return {
    journal,
    seq: scanned.seq,
    at_us: scanned.atUs,
    kind: digest.kind,
    session_uid: scanned.session === '' ? null : uidOfKey(scanned.session),
    actor: storableText(digest.actor ?? '', MAX_SUMMARY_BYTES),
    subject: storableText(digest.subject ?? '', MAX_SUMMARY_BYTES),
    summary: storableText(digest.summary, MAX_SUMMARY_BYTES),
    body: event === null ? '{}' : bodyOf(event),
  };
}

function bodyOf(event: Event): string {
  const body = toJsonString(EventSchema, event);
  return Buffer.byteLength(body) <= MAX_BODY_BYTES ? body : '{"tooLong":true}';
}

function digestOf(event: Event): Digest | null {
  const { body } = event;
  switch (body.case) {
    case 'sessionOpened':
    case 'sessionClosed':
    case 'textDeclared':
    case 'statementStarted':
    case 'statementFinished':
    case 'resultChunk':
    case 'copyChunk':
    case 'serverMessage':
      return null;
    case 'loginFailed': {
      const { userName, databaseName, clientAddress, reason } = body.value;
      const summary = `login of ${userName} to ${databaseName} from ${clientAddress} failed: ${reason}`;
      return { kind: 'login_failed', actor: userName, subject: databaseName, summary };
    }
    case 'controlChange': {
      const { actorName, action, objectKind, objectName, objectUid } = body.value;
      const actor = actorName === '' ? 'dbwitness' : actorName;
      const object = objectName === '' ? objectUid : objectName;
      const summary = `${actor}: ${action} ${objectKind} ${object}`.trim();
      return { kind: 'control_change', actor: actorName, subject: object, summary };
    }
    case 'gap': {
      const { reason, lostEvents, lostBytes, detail } = body.value;
      const name = (Gap_Reason[reason] ?? 'unspecified').toLowerCase().replaceAll('_', ' ');
      const lost = lostEvents > 0n ? `, ${lostEvents} events` : lostBytes > 0n ? `, ${lostBytes} bytes` : '';
      return {
        kind: 'gap',
        subject: name,
        summary: `gap: ${name}${lost}${detail === '' ? '' : `: ${detail}`}`,
      };
    }
    case 'journalOpened': {
      const { version, node, clean } = body.value;
      const summary = `journal opened by dbwitness ${version} on ${node}${clean ? '' : ' after an unclean end'}`;
      return { kind: 'journal_opened', subject: node, summary };
    }
    case 'segmentsDropped': {
      const { firstBlock, lastBlock, policy } = body.value;
      const summary = `retention dropped blocks ${firstBlock} to ${lastBlock} (${policy})`;
      return { kind: 'segments_dropped', subject: policy, summary };
    }
    case 'observation':
    case 'observedSession':
    case 'transactionEnded':
    case 'serverObserved':
      return digestOfProbe(body);
    case 'rowChange': {
      const { kind, schemaName, tableName } = body.value;
      const table = schemaName === '' ? tableName : `${schemaName}.${tableName}`;
      const verb = (RowChange_Kind[kind] ?? 'unspecified').toLowerCase();
      return { kind: 'row_change', subject: table, summary: `${verb} ${table}` };
    }
    case 'schemaChange': {
      const { commandTag, objectIdentity, userName, refused } = body.value;
      const summary = `${refused ? 'refused: ' : ''}${commandTag} ${objectIdentity}`.trim();
      return { kind: 'schema_change', actor: userName, subject: objectIdentity, summary };
    }
    case undefined:
      return { kind: 'undecodable', summary: 'an event of a kind that this version does not know' };
  }
}

type ProbeBody = Extract<
  Event['body'],
  { case: 'observation' | 'observedSession' | 'transactionEnded' | 'serverObserved' }
>;

function digestOfProbe(body: ProbeBody): Digest {
  switch (body.case) {
    case 'observation': {
      const { userName, databaseName, tag, sql } = body.value;
      const summary = Buffer.from(sql.subarray(0, MAX_SUMMARY_BYTES)).toString('utf8');
      return {
        kind: 'observation',
        actor: userName,
        subject: databaseName,
        summary: summary === '' ? tag : summary,
      };
    }
    case 'observedSession': {
      const { kind, userName, databaseName, clientAddress } = body.value;
      const what = (ObservedSession_Kind[kind] ?? 'unspecified').toLowerCase();
      const summary = `session ${what}: ${userName} on ${databaseName} from ${clientAddress}`;
      return { kind: 'observed_session', actor: userName, subject: databaseName, summary };
    }
    case 'transactionEnded': {
      const { xid, aborted } = body.value;
      const summary = `transaction ${xid} ${aborted ? 'aborted' : 'committed'}`;
      return { kind: 'transaction_ended', subject: String(xid), summary };
    }
    case 'serverObserved': {
      const { program, version, gone } = body.value;
      const summary = `${gone ? 'gone' : 'observed'}: ${program} ${version}`.trim();
      return { kind: 'server_observed', subject: program, summary };
    }
  }
}
