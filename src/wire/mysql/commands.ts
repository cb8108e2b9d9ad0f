/**
 * What a client sends in the command phase: views for the relay, encoders for our own requests. Parameters of COM_QUERY's
 * attributes and of COM_STMT_EXECUTE are in `parameters.ts`.
 *
 * `start` and `end` are the payload's, command byte included: `cursor.payload` and `cursor.end`.
 */
import type { ByteWriter } from '../../base/bytes.ts';
import { readAttributes, writeAttributes } from './handshake.ts';
import { type Capabilities, Capability, Command, commandName } from './protocol.ts';
import { malformed, PayloadReader, uint16At, uint32At } from './reader.ts';
import {
  beginPacket,
  endPacket,
  writeNulString,
  writeU16,
  writeU32,
  writeUtf8,
  writePayload,
} from './writer.ts';

/** Statement text: UTF-8 when a string, as it is when bytes. */
export type StatementText = string | Uint8Array;

export function writeText(out: ByteWriter, text: StatementText): void {
  if (typeof text === 'string') writeUtf8(out, text);
  else out.raw(text);
}

/** A command whose payload behind its first byte is text: COM_STMT_PREPARE, COM_INIT_DB, COM_QUERY without attributes. */
export function encodeTextCommand(out: ByteWriter, command: number, text: StatementText): void {
  const mark = beginPacket(out);
  out.u8(command);
  writeText(out, text);
  endPacket(out, mark, 0);
}

/** A command of one byte: COM_QUIT, COM_PING, COM_RESET_CONNECTION, COM_STATISTICS, COM_DEBUG. */
export function encodeBareCommand(out: ByteWriter, command: number): void {
  const mark = beginPacket(out);
  out.u8(command);
  endPacket(out, mark, 0);
}

/** COM_INIT_DB, COM_CREATE_DB, COM_DROP_DB: `string<EOF> name`; what is not UTF-8 becomes U+FFFD. */
export function decodeName(bytes: Buffer, start: number, end: number): string {
  if (start >= end) throw malformed('command', 'it is empty');
  return bytes.toString('utf8', start + 1, end);
}

/** Commands of one integer: a statement (COM_STMT_CLOSE, COM_STMT_RESET) or a connection (COM_PROCESS_KILL). */
export function decodeId(bytes: Uint8Array, start: number, end: number): number {
  if (end - start !== 5) throw malformed(commandName(bytes[start]), 'it is not five bytes');
  return uint32At(bytes, start + 1);
}

export function encodeIdCommand(out: ByteWriter, command: number, id: number): void {
  const mark = beginPacket(out);
  out.u8(command);
  writeU32(out, id);
  endPacket(out, mark, 0);
}

/** COM_STMT_FETCH: `int<4> statement, int<4> rows`. */
export class FetchView {
  statementId = 0;
  rows = 0;
}

export function decodeFetch(bytes: Uint8Array, start: number, end: number, view: FetchView): void {
  if (end - start !== 9) throw malformed('COM_STMT_FETCH', 'it is not nine bytes');
  view.statementId = uint32At(bytes, start + 1);
  view.rows = uint32At(bytes, start + 5);
}

export function encodeFetch(out: ByteWriter, statementId: number, rows: number): void {
  const mark = beginPacket(out);
  out.u8(Command.STMT_FETCH);
  writeU32(out, statementId);
  writeU32(out, rows);
  endPacket(out, mark, 0);
}

/** COM_STMT_SEND_LONG_DATA: `int<4> statement, int<2> parameter, string<EOF> data`. Nothing answers it. */
export class LongDataView {
  statementId = 0;
  /** From 0. */
  parameter = 0;
  dataStart = 0;
  dataEnd = 0;
}

export function decodeLongData(bytes: Uint8Array, start: number, end: number, view: LongDataView): void {
  if (end - start < 7) throw malformed('COM_STMT_SEND_LONG_DATA', 'it ends early');
  view.statementId = uint32At(bytes, start + 1);
  view.parameter = uint16At(bytes, start + 5);
  view.dataStart = start + 7;
  view.dataEnd = end;
}

export function encodeLongData(
  out: ByteWriter,
  statementId: number,
  parameter: number,
  data: Uint8Array,
): void {
  const mark = beginPacket(out);
  out.u8(Command.STMT_SEND_LONG_DATA);
  writeU32(out, statementId);
  writeU16(out, parameter);
  out.raw(data);
  endPacket(out, mark, 0);
}

export const OPTION_MULTI_STATEMENTS_ON = 0;
export const OPTION_MULTI_STATEMENTS_OFF = 1;

/** COM_SET_OPTION: `int<2> option`. */
export function decodeSetOption(bytes: Uint8Array, start: number, end: number): number {
  if (end - start !== 3) throw malformed('COM_SET_OPTION', 'it is not three bytes');
  return uint16At(bytes, start + 1);
}

export function encodeSetOption(out: ByteWriter, option: number): void {
  const mark = beginPacket(out);
  out.u8(Command.SET_OPTION);
  writeU16(out, option);
  endPacket(out, mark, 0);
}

export interface FieldList {
  readonly table: string;
  readonly wildcard: string;
}

/** COM_FIELD_LIST: `string<NUL> table, string<EOF> wildcard`. */
export function decodeFieldList(bytes: Buffer, start: number, end: number): FieldList {
  const reader = new PayloadReader().over(bytes, start, end, 'COM_FIELD_LIST');
  reader.take(1);
  const table = reader.nulString();
  return { table, wildcard: reader.restString() };
}

export function encodeFieldList(out: ByteWriter, message: FieldList): void {
  const mark = beginPacket(out);
  out.u8(Command.FIELD_LIST);
  writeNulString(out, message.table);
  writeUtf8(out, message.wildcard);
  endPacket(out, mark, 0);
}

export interface ChangeUser {
  readonly user: string;
  /** A copy. */
  readonly authResponse: Uint8Array;
  readonly database: string;
  /** Collation id, 16 bits; 0: not said. */
  readonly collation: number;
  readonly authPlugin: string;
  readonly attributes: ReadonlyMap<string, string>;
}

/**
 * COM_CHANGE_USER: `string<NUL> user, int<1> and bytes of the authentication response, string<NUL> database, int<2>
 * collation, string<NUL> method, attributes`: from the collation on they may be missing.
 */
export function decodeChangeUser(
  bytes: Buffer,
  start: number,
  end: number,
  capabilities: Capabilities,
): ChangeUser {
  const reader = new PayloadReader().over(bytes, start, end, 'COM_CHANGE_USER');
  const { flags } = capabilities;
  reader.take(1);
  const user = reader.nulString();
  const authResponse = Buffer.from(
    (flags & Capability.SECURE_CONNECTION) !== 0 ? reader.view(reader.uint8()) : nulView(reader),
  );
  const database = reader.nulOrRestString();
  const collation = reader.remaining >= 2 ? reader.uint16() : 0;
  const has = (flag: number): boolean => (flags & flag) !== 0 && reader.remaining > 0;
  const authPlugin = has(Capability.PLUGIN_AUTH) ? reader.nulOrRestString() : '';
  const attributes = has(Capability.CONNECT_ATTRS) ? readAttributes(reader) : new Map<string, string>();
  return { user, authResponse, database, collation, authPlugin, attributes };
}

function nulView(reader: PayloadReader): Buffer {
  const from = reader.nulBytes();
  return reader.bytes.subarray(from, reader.at - 1);
}

/** @param message with an authentication response of at most 255 bytes. */
export function encodeChangeUser(out: ByteWriter, message: ChangeUser, capabilities: Capabilities): void {
  const { flags } = capabilities;
  const mark = beginPacket(out);
  out.u8(Command.CHANGE_USER);
  writeNulString(out, message.user);
  if ((flags & Capability.SECURE_CONNECTION) !== 0) {
    out.u8(message.authResponse.length);
    out.raw(message.authResponse);
  } else {
    out.raw(message.authResponse);
    out.u8(0);
  }
  writeNulString(out, message.database);
  writeU16(out, message.collation);
  if ((flags & Capability.PLUGIN_AUTH) !== 0) writeNulString(out, message.authPlugin);
  if ((flags & Capability.CONNECT_ATTRS) !== 0) writeAttributes(out, message.attributes);
  endPacket(out, mark, 0);
}

/** One packet of a file for LOAD DATA LOCAL INFILE; an empty one ends it. @returns the sequence id of what comes next. */
export function encodeInfileData(out: ByteWriter, data: Uint8Array, sequence: number): number {
  return writePayload(out, data, sequence);
}
