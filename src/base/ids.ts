/**
 * Identifiers. Every object has a `uid`: a UUIDv7 (RFC 9562 §5.7), 16 bytes in the journal, 36 characters of
 * lower-case text elsewhere. A statement's uid is derived, so that it costs nothing on the hot path:
 * `<session uid>-<ordinal>`, the ordinal counting from 1 within the session.
 */
import { randomBytes } from 'node:crypto';
import type { Clock } from './clock.ts';

export type Uid = string;

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

export function newUid(clock: Clock): Uid {
  return uidFromBytes(newUidBytes(clock));
}

export function newUidBytes(clock: Clock): Uint8Array {
  const bytes = new Uint8Array(randomBytes(16));
  const ms = Math.floor(clock.wallUs() / 1000);
  bytes[0] = ms / 2 ** 40;
  bytes[1] = ms / 2 ** 32;
  bytes[2] = ms / 2 ** 24;
  bytes[3] = ms / 2 ** 16;
  bytes[4] = ms / 2 ** 8;
  bytes[5] = ms;
  bytes[6] = 0x70 | (bytes[6] & 0x0f);
  bytes[8] = 0x80 | (bytes[8] & 0x3f);
  return bytes;
}

export function isUid(text: string): boolean {
  return UUID.test(text);
}

export function uidFromBytes(bytes: Uint8Array): Uid {
  const hex = Buffer.from(bytes.buffer, bytes.byteOffset, 16).toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

export function uidToBytes(uid: Uid): Uint8Array {
  return new Uint8Array(Buffer.from(uid.replaceAll('-', ''), 'hex'));
}

export function statementUid(session: Uid, ordinal: number): string {
  return `${session}-${ordinal}`;
}

/** The parts of a statement uid, or `null` when the text is none. */
export function parseStatementUid(text: string): { session: Uid; ordinal: number } | null {
  const session = text.slice(0, 36);
  const ordinal = text.slice(37);
  if (!isUid(session) || text[36] !== '-' || !/^[1-9][0-9]{0,9}$/.test(ordinal)) return null;
  return { session, ordinal: Number(ordinal) };
}
