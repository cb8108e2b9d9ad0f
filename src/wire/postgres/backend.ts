/**
 * What a server says about the state of a session: readiness, errors, notices, parameters, notifications. Results are
 * in `rows.ts`, COPY in `copy.ts`, the log-in in `authentication.ts` and `startup.ts`.
 */
import type { ByteWriter } from '../../base/bytes.ts';
import { Backend } from './messages.ts';
import { malformed, MessageReader, stringEnd } from './reader.ts';
import { beginMessage, endMessage, writeEmptyMessage, writeString } from './writer.ts';

/** Transaction status in ReadyForQuery. */
export const STATUS_IDLE = 0x49; // I
export const STATUS_IN_TRANSACTION = 0x54; // T
export const STATUS_FAILED = 0x45; // E

/** ReadyForQuery: `Byte1 status`. */
export function decodeReadyForQuery(bytes: Uint8Array, start: number, end: number): number {
  if (end - start !== 1) throw malformed('ReadyForQuery', 'it is not one byte');
  const status = bytes[start];
  if (status !== STATUS_IDLE && status !== STATUS_IN_TRANSACTION && status !== STATUS_FAILED)
    throw malformed('ReadyForQuery', `an unknown transaction status ${status}`);
  return status;
}

export function encodeReadyForQuery(out: ByteWriter, status: number): void {
  out.u8(Backend.ReadyForQuery);
  out.u32be(5);
  out.u8(status);
}

/** Letters of the fields of ErrorResponse and NoticeResponse. */
export const ERROR_FIELDS = {
  S: 'severity',
  V: 'severityNonlocalized',
  C: 'code',
  M: 'message',
  D: 'detail',
  H: 'hint',
  P: 'position',
  p: 'internalPosition',
  q: 'internalQuery',
  W: 'where',
  s: 'schema',
  t: 'table',
  c: 'column',
  d: 'dataType',
  n: 'constraint',
  F: 'file',
  L: 'line',
  R: 'routine',
} as const;

/**
 * The fields of an ErrorResponse or NoticeResponse by their letters, in the order sent, unknown letters included. A server
 * that leaves out the SQLSTATE (HOSTILE 13) gives a map without `C`.
 */
export type ErrorFields = ReadonlyMap<string, string>;

/** Fields of one error; the server has 18. */
const MAX_ERROR_FIELDS = 64;

/**
 * ErrorResponse and NoticeResponse: n × `Byte1 letter, String value`, `Byte1 0`.
 * @param maxFieldBytes longer values are cut there, so that a 100 MB notice is not made into a string.
 */
export function decodeErrorFields(
  bytes: Buffer,
  start: number,
  end: number,
  maxFieldBytes = 64 * 1024,
): ErrorFields {
  const fields = new Map<string, string>();
  let at = start;
  for (;;) {
    if (at >= end) throw malformed('ErrorResponse', 'the final terminator is missing');
    const letter = bytes[at++];
    if (letter === 0) break;
    if (fields.size === MAX_ERROR_FIELDS) throw malformed('ErrorResponse', 'too many fields');
    const stop = stringEnd(bytes, at, end, 'ErrorResponse');
    fields.set(String.fromCharCode(letter), bytes.toString('utf8', at, Math.min(stop, at + maxFieldBytes)));
    at = stop + 1;
  }
  if (at !== end) throw malformed('ErrorResponse', 'bytes are left over');
  return fields;
}

export function encodeErrorResponse(out: ByteWriter, fields: ErrorFields): void {
  encodeFields(out, Backend.ErrorResponse, fields);
}

export function encodeNoticeResponse(out: ByteWriter, fields: ErrorFields): void {
  encodeFields(out, Backend.NoticeResponse, fields);
}

function encodeFields(out: ByteWriter, type: number, fields: ErrorFields): void {
  const mark = beginMessage(out, type);
  for (const [letter, value] of fields) {
    out.u8(letter.charCodeAt(0));
    writeString(out, value);
  }
  out.u8(0);
  endMessage(out, mark);
}

export interface ParameterStatus {
  readonly name: string;
  readonly value: string;
}

/** ParameterStatus: `String name, String value`. */
export function decodeParameterStatus(bytes: Buffer, start: number, end: number): ParameterStatus {
  const reader = new MessageReader(bytes, start, end, 'ParameterStatus');
  const name = reader.string();
  const value = reader.string();
  reader.finish();
  return { name, value };
}

export function encodeParameterStatus(out: ByteWriter, message: ParameterStatus): void {
  const mark = beginMessage(out, Backend.ParameterStatus);
  writeString(out, message.name);
  writeString(out, message.value);
  endMessage(out, mark);
}

export interface Notification {
  readonly processId: number;
  readonly channel: string;
  readonly payload: string;
}

/** NotificationResponse: `Int32 pid, String channel, String payload`. */
export function decodeNotification(bytes: Buffer, start: number, end: number): Notification {
  const reader = new MessageReader(bytes, start, end, 'NotificationResponse');
  const processId = reader.uint32();
  const channel = reader.string();
  const payload = reader.string();
  reader.finish();
  return { processId, channel, payload };
}

export function encodeNotification(out: ByteWriter, message: Notification): void {
  const mark = beginMessage(out, Backend.NotificationResponse);
  out.u32be(message.processId);
  writeString(out, message.channel);
  writeString(out, message.payload);
  endMessage(out, mark);
}

export function encodeParseComplete(out: ByteWriter): void {
  writeEmptyMessage(out, Backend.ParseComplete);
}

export function encodeBindComplete(out: ByteWriter): void {
  writeEmptyMessage(out, Backend.BindComplete);
}

export function encodeCloseComplete(out: ByteWriter): void {
  writeEmptyMessage(out, Backend.CloseComplete);
}

export function encodeNoData(out: ByteWriter): void {
  writeEmptyMessage(out, Backend.NoData);
}

export function encodePortalSuspended(out: ByteWriter): void {
  writeEmptyMessage(out, Backend.PortalSuspended);
}

export function encodeEmptyQueryResponse(out: ByteWriter): void {
  writeEmptyMessage(out, Backend.EmptyQueryResponse);
}
