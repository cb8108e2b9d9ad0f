/**
 * OK, ERR and EOF. With CLIENT_DEPRECATE_EOF an OK that begins with 0xfe stands where an EOF stood.
 *
 * {@link decodeOk} runs for every statement: it fills a view that the caller owns and reuses, and allocates nothing. What
 * an OK says of the session is read from the view by `session-track.ts`.
 */
import type { ByteWriter } from '../../base/bytes.ts';
import { type Capabilities, Capability, MAX_PACKET_BYTES, Status } from './protocol.ts';
import { malformed, PayloadReader, uint16At, uint24At } from './reader.ts';
import {
  beginPacket,
  endPacket,
  writeLenenc,
  writeLenencBytes,
  writeLenencString,
  writeU16,
  writeUtf8,
} from './writer.ts';

export const OK = 0x00;
export const LOCAL_INFILE = 0xfb;
export const EOF = 0xfe;
export const ERR = 0xff;
/** The error number with which a MariaDB server reports progress instead (MARIADB_CLIENT_PROGRESS). */
export const PROGRESS_REPORT = 0xffff;

/** What a server's payload is, where an answer to a command begins or rows may come. */
export type ResponseKind = 'ok' | 'eof' | 'err' | 'infile' | 'other';

/** The first packet of the answer to COM_QUERY and COM_STMT_EXECUTE: 'other' is a column count. */
export function responseKind(bytes: Uint8Array, start: number, end: number): ResponseKind {
  if (start >= end) return 'other';
  switch (bytes[start]) {
    case OK:
      return 'ok';
    case LOCAL_INFILE:
      return 'infile';
    case EOF:
      return end - start < 9 ? 'eof' : 'other';
    case ERR:
      return 'err';
    default:
      return 'other';
  }
}

/**
 * Whether a packet among rows or column definitions ends them. @param length of the packet's payload, of which at least
 * one byte must be there. 'ok' is an OK that begins with 0xfe.
 */
export function terminatorKind(
  first: number,
  length: number,
  deprecateEof: boolean,
): 'none' | 'eof' | 'ok' | 'err' {
  if (first === ERR) return 'err';
  if (first !== EOF) return 'none';
  if (deprecateEof) return length < MAX_PACKET_BYTES ? 'ok' : 'none';
  return length < 9 ? 'eof' : 'none';
}

/** An OK packet; offsets are those of the buffer it was decoded from. */
export class OkView {
  /** Exact up to 2^53, rounded beyond. */
  affectedRows = 0;
  /** The same. */
  lastInsertId = 0;
  status = 0;
  warnings = 0;
  infoStart = 0;
  infoEnd = 0;
  /** Session state changes, from `stateStart` to `stateEnd`: none when they are equal. */
  stateStart = 0;
  stateEnd = 0;
}

const shared = new PayloadReader();

/**
 * OK: `int<1> 0x00 or 0xfe, int<lenenc> affected rows, int<lenenc> last insert id, int<2> status, int<2> warnings`, then
 * `string<EOF> info`, or with CLIENT_SESSION_TRACK `string<lenenc> info` and, when the status says so, `string<lenenc>
 * session state changes`.
 */
export function decodeOk(
  bytes: Buffer,
  start: number,
  end: number,
  capabilities: Capabilities,
  view: OkView,
): void {
  const reader = shared.over(bytes, start, end, 'OK');
  const first = reader.uint8();
  if (first !== OK && first !== EOF) throw malformed('OK', 'its first byte is another packet’s');
  view.affectedRows = reader.lenenc();
  view.lastInsertId = reader.lenenc();
  view.status = reader.uint16();
  view.warnings = reader.uint16();
  view.stateStart = end;
  view.stateEnd = end;
  if ((capabilities.flags & Capability.SESSION_TRACK) === 0 || reader.remaining === 0) {
    view.infoStart = reader.at;
    view.infoEnd = end;
  } else {
    view.infoStart = reader.lenencBytes();
    view.infoEnd = reader.at;
    if ((view.status & Status.SESSION_STATE_CHANGED) !== 0 && reader.remaining > 0) {
      view.stateStart = reader.lenencBytes();
      view.stateEnd = reader.at;
    }
  }
  reader.release();
}

export interface OkPacket {
  readonly affectedRows: number;
  readonly lastInsertId: number;
  readonly status: number;
  readonly warnings: number;
  readonly info: string;
  /** From `encodeSessionChanges`; needs Status.SESSION_STATE_CHANGED. */
  readonly sessionChanges: Uint8Array;
}

/** An OK with nothing in it but a status. */
export function plainOk(status: number): OkPacket {
  return {
    affectedRows: 0,
    lastInsertId: 0,
    status,
    warnings: 0,
    info: '',
    sessionChanges: new Uint8Array(),
  };
}

/** @param header 0x00, or 0xfe where an EOF stood. @returns the sequence id of what comes next. */
export function encodeOk(
  out: ByteWriter,
  ok: OkPacket,
  capabilities: Capabilities,
  sequence: number,
  header: typeof OK | typeof EOF = OK,
): number {
  const mark = beginPacket(out);
  out.u8(header);
  writeLenenc(out, ok.affectedRows);
  writeLenenc(out, ok.lastInsertId);
  writeU16(out, ok.status);
  writeU16(out, ok.warnings);
  if ((capabilities.flags & Capability.SESSION_TRACK) !== 0) {
    const changed = (ok.status & Status.SESSION_STATE_CHANGED) !== 0;
    if (ok.info !== '' || changed) writeLenencString(out, ok.info);
    if (changed) writeLenencBytes(out, ok.sessionChanges);
  } else writeUtf8(out, ok.info);
  return endPacket(out, mark, sequence);
}

export interface EofPacket {
  readonly warnings: number;
  readonly status: number;
}

/** EOF: `int<1> 0xfe, int<2> warnings, int<2> status`. */
export function decodeEof(bytes: Buffer, start: number, end: number): EofPacket {
  if (end - start !== 5 || bytes[start] !== EOF) throw malformed('EOF', 'it is not five bytes');
  return { warnings: uint16At(bytes, start + 1), status: uint16At(bytes, start + 3) };
}

/** The status of an EOF, without an object. */
export function eofStatus(bytes: Uint8Array, start: number, end: number): number {
  if (end - start !== 5 || bytes[start] !== EOF) throw malformed('EOF', 'it is not five bytes');
  return uint16At(bytes, start + 3);
}

export function encodeEof(out: ByteWriter, eof: EofPacket, sequence: number): number {
  const mark = beginPacket(out);
  out.u8(EOF);
  writeU16(out, eof.warnings);
  writeU16(out, eof.status);
  return endPacket(out, mark, sequence);
}

export interface ErrPacket {
  /** errno: 1064, 1045, … */
  readonly number: number;
  /** SQLSTATE, five characters; '' in an error from before the capabilities are agreed. */
  readonly sqlState: string;
  readonly message: string;
}

/** Longer messages are cut there. */
const MAX_ERROR_BYTES = 64 * 1024;

/** ERR: `int<1> 0xff, int<2> number, [string<1> '#', string<5> SQLSTATE,] string<EOF> message`. */
export function decodeErr(bytes: Buffer, start: number, end: number): ErrPacket {
  if (end - start < 3 || bytes[start] !== ERR) throw malformed('ERR', 'it ends early');
  const number = uint16At(bytes, start + 1);
  let at = start + 3;
  let sqlState = '';
  if (end - at >= 6 && bytes[at] === 0x23) {
    sqlState = bytes.toString('latin1', at + 1, at + 6);
    at += 6;
  }
  return { number, sqlState, message: bytes.toString('utf8', at, Math.min(end, at + MAX_ERROR_BYTES)) };
}

/** @param error with SQLSTATE '' without one, for the time before a client has said that it speaks protocol 4.1. */
export function encodeErr(out: ByteWriter, error: ErrPacket, sequence: number): number {
  const mark = beginPacket(out);
  out.u8(ERR);
  writeU16(out, error.number);
  // A message that begins with '#' would be read as a SQLSTATE: it gets the one that says nothing.
  const ambiguous = error.sqlState === '' && error.message.startsWith('#');
  if (error.sqlState !== '' || ambiguous) {
    const state = ambiguous ? 'HY000' : error.sqlState.padEnd(5, '0');
    out.u8(0x23);
    for (let i = 0; i < 5; i++) out.u8(state.charCodeAt(i));
  }
  writeUtf8(out, error.message);
  return endPacket(out, mark, sequence);
}

export interface ProgressReport {
  readonly stage: number;
  readonly maxStage: number;
  /** Thousandths of a per cent. */
  readonly progress: number;
  readonly info: string;
}

/** Whether an ERR is a MariaDB progress report, behind which the real answer comes. */
export function isProgressReport(bytes: Uint8Array, start: number, end: number): boolean {
  return end - start >= 3 && bytes[start] === ERR && uint16At(bytes, start + 1) === PROGRESS_REPORT;
}

/** `int<1> 0xff, int<2> 0xffff, int<1> strings, int<1> stage, int<1> max stage, int<3> progress, string<lenenc> info`. */
export function decodeProgressReport(bytes: Buffer, start: number, end: number): ProgressReport {
  if (!isProgressReport(bytes, start, end) || end - start < 9)
    throw malformed('progress report', 'it ends early');
  const reader = shared.over(bytes, start + 9, end, 'progress report');
  const info = reader.remaining === 0 ? '' : reader.lenencString();
  reader.release();
  return { stage: bytes[start + 4], maxStage: bytes[start + 5], progress: uint24At(bytes, start + 6), info };
}
