/**
 * Results: RowDescription, ParameterDescription, DataRow, CommandComplete. A DataRow is only counted and measured by
 * the relay; its values are decoded when somebody reads the record (`values/`).
 */
import type { ByteWriter } from '../../base/bytes.ts';
import { Backend } from './messages.ts';
import type { Format } from './frontend.ts';
import { int32At, malformed, MessageReader, nameText, stringEnd, uint16At } from './reader.ts';
import { beginMessage, endMessage, writeCount, writeLatin1, writeString, writeValue } from './writer.ts';

export interface Field {
  readonly name: string;
  /** 0: not a column of a table. */
  readonly tableOid: number;
  readonly columnNumber: number;
  readonly typeOid: number;
  /** −1: variable length, −2: NUL-terminated. */
  readonly typeBytes: number;
  readonly typeModifier: number;
  /** In the answer to Describe of a statement 0 for all, as the formats are not known yet. */
  readonly format: Format;
}

/** Bytes of a field behind its name. */
const FIELD_BYTES = 18;

/** RowDescription: `Int16 n`, n × `String name, Int32 table, Int16 column, Int32 type, Int16 size, Int32 modifier, Int16 format`. */
export function decodeRowDescription(bytes: Buffer, start: number, end: number): Field[] {
  const reader = new MessageReader(bytes, start, end, 'RowDescription');
  const count = reader.count(1 + FIELD_BYTES);
  const fields: Field[] = [];
  for (let i = 0; i < count; i++)
    fields.push({
      name: reader.string(),
      tableOid: reader.uint32(),
      columnNumber: reader.int16(),
      typeOid: reader.uint32(),
      typeBytes: reader.int16(),
      typeModifier: reader.int32(),
      format: reader.uint16(),
    });
  reader.finish();
  return fields;
}

export function encodeRowDescription(out: ByteWriter, fields: readonly Field[]): void {
  const mark = beginMessage(out, Backend.RowDescription);
  writeCount(out, fields.length);
  for (const field of fields) {
    writeString(out, field.name);
    out.u32be(field.tableOid);
    out.u16be(field.columnNumber);
    out.u32be(field.typeOid);
    out.u16be(field.typeBytes);
    out.u32be(field.typeModifier);
    out.u16be(field.format);
  }
  endMessage(out, mark);
}

/**
 * Sets the format codes of a RowDescription body in place, as the Bind of a portal chose them: what a later Execute
 * without Describe delivers differs from the statement's description in nothing else.
 * @param body a copy that the caller owns; must be a valid RowDescription body.
 * @param formats none: all text, one: for all, else one for each.
 */
export function setResultFormats(body: Buffer, formats: readonly Format[]): void {
  const count = uint16At(body, 0);
  let at = 2;
  for (let i = 0; i < count; i++) {
    at = stringEnd(body, at, body.length, 'RowDescription') + 1 + FIELD_BYTES;
    if (at > body.length) throw malformed('RowDescription', 'it ends early');
    const format = formats.length === 0 ? 0 : formats.length === 1 ? formats[0] : (formats[i] ?? 0);
    body[at - 2] = format >>> 8;
    body[at - 1] = format;
  }
}

/** DataRow: `Int16 n, n × (Int32 length, bytes)`. Views of the buffer, `null` for NULL. */
export function decodeDataRow(bytes: Buffer, start: number, end: number): (Buffer | null)[] {
  const reader = new MessageReader(bytes, start, end, 'DataRow');
  const count = reader.count(4);
  const values: (Buffer | null)[] = [];
  for (let i = 0; i < count; i++) values.push(reader.value());
  reader.finish();
  return values;
}

export function encodeDataRow(out: ByteWriter, values: readonly (Uint8Array | null)[]): void {
  const mark = beginMessage(out, Backend.DataRow);
  writeCount(out, values.length);
  for (const value of values) writeValue(out, value);
  endMessage(out, mark);
}

/**
 * ParameterDescription: `Int16 n, n × Int32 type oid`. Of a text with more than 65,535 parameters the server sends all
 * types behind a count that has wrapped; as nobody can bind them, they decode as none.
 */
export function decodeParameterDescription(bytes: Buffer, start: number, end: number): number[] {
  if (end - start > 2 + 4 * 65_535) return [];
  const reader = new MessageReader(bytes, start, end, 'ParameterDescription');
  const count = reader.count(4);
  const types: number[] = [];
  for (let i = 0; i < count; i++) types.push(reader.uint32());
  reader.finish();
  return types;
}

export function encodeParameterDescription(out: ByteWriter, types: readonly number[]): void {
  const mark = beginMessage(out, Backend.ParameterDescription);
  writeCount(out, types.length);
  for (const oid of types) out.u32be(oid);
  endMessage(out, mark);
}

/**
 * CommandComplete: `String tag`.
 * @param previous a tag decoded before: returned itself when it is the same, so that repeated tags are not allocated.
 */
export function decodeCommandComplete(bytes: Buffer, start: number, end: number, previous = ''): string {
  const stop = stringEnd(bytes, start, end, 'CommandComplete');
  if (stop + 1 !== end) throw malformed('CommandComplete', 'bytes follow its tag');
  return nameText(bytes, start, stop, previous);
}

/**
 * The row count at the end of a CommandComplete's tag, without making a string: `INSERT 0 5` → 5, `SELECT 3` → 3,
 * `CREATE TABLE` → −1. Exact up to 2^53.
 */
export function commandRows(bytes: Uint8Array, start: number, end: number): number {
  let at = end - 2; // in front of the terminator
  let rows = 0;
  let unit = 1;
  while (at > start && bytes[at] >= 0x30 && bytes[at] <= 0x39) {
    rows += (bytes[at--] - 0x30) * unit;
    unit *= 10;
  }
  return unit > 1 && bytes[at] === 0x20 ? rows : -1;
}

export function encodeCommandComplete(out: ByteWriter, tag: string): void {
  const mark = beginMessage(out, Backend.CommandComplete);
  writeLatin1(out, tag);
  endMessage(out, mark);
}

/** FunctionCallResponse: `Int32 length, bytes`. A view of the buffer. */
export function decodeFunctionCallResponse(bytes: Buffer, start: number, end: number): Buffer | null {
  if (end - start < 4) throw malformed('FunctionCallResponse', 'it ends early');
  const length = int32At(bytes, start);
  if (length === -1 && end - start === 4) return null;
  if (length !== end - start - 4)
    throw malformed('FunctionCallResponse', 'its length does not fit its value');
  return bytes.subarray(start + 4, end);
}

export function encodeFunctionCallResponse(out: ByteWriter, value: Uint8Array | null): void {
  const mark = beginMessage(out, Backend.FunctionCallResponse);
  writeValue(out, value);
  endMessage(out, mark);
}
