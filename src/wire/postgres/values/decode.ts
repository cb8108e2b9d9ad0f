/**
 * Recorded parameters and rows, as the journal stores them raw, for reading. A capture may be cut anywhere (limits of
 * recording, a crash): decoding stops there, returns what was whole, and says so. It never throws, whatever the bytes.
 */
import { isAppError } from '../../../base/errors.ts';
import { Backend, HEADER_BYTES } from '../messages.ts';
import { MessageReader, uint32At } from '../reader.ts';
import type { DecodedColumn, DecodedRows, JsonValue } from '../../values.ts';
import { typeNameOf } from './types.ts';
import { decodeValue, FORMAT_BINARY, FORMAT_TEXT } from './value.ts';

export type FormatName = 'text' | 'binary';

export interface DecodedParameter {
  readonly type: string;
  /** 0: not known. */
  readonly oid: number;
  readonly format: FormatName;
  readonly value: JsonValue;
}

export interface DecodedParameters {
  readonly parameters: readonly DecodedParameter[];
  /** Parameters that the statement had. */
  readonly count: number;
  /** Not all of them are here. */
  readonly truncated: boolean;
}

/**
 * @param bind from the count of parameter formats to the end of the values: `StatementStarted.bind`.
 * @param types oids by position, as far as known; 0 unknown.
 */
export function decodeParameters(bind: Uint8Array, types: readonly number[]): DecodedParameters {
  const bytes = bufferOf(bind);
  const reader = new MessageReader(bytes, 0, bytes.length, 'Bind');
  const parameters: DecodedParameter[] = [];
  let count = 0;
  const whole = untilItEnds(() => {
    const formats: number[] = [];
    for (let left = reader.count(2); left > 0; left--) formats.push(reader.uint16());
    count = reader.uint16();
    for (let i = 0; i < count; i++) {
      const format = formats.length === 1 ? formats[0] : (formats[i] ?? FORMAT_TEXT);
      const oid = types[i] ?? 0;
      const value = decodeValue(reader.value(), oid, format);
      parameters.push({ type: typeNameOf(oid), oid, format: formatName(format), value });
    }
  });
  return { parameters, count, truncated: !whole };
}

export interface PgColumn extends DecodedColumn {
  readonly oid: number;
  readonly format: FormatName;
}

/**
 * @param description body of the RowDescription; empty when it is not known: values are shown as text then.
 * @param rows whole DataRow messages, one after the other.
 * @param maxRows rows to decode; the others are left, which is not `truncated`.
 */
export function decodeRows(
  description: Uint8Array,
  rows: Uint8Array,
  maxRows: number = Number.MAX_SAFE_INTEGER,
): DecodedRows<PgColumn> {
  const { columns, formats, whole } = decodeColumns(bufferOf(description));
  const bytes = bufferOf(rows);
  const decoded: JsonValue[][] = [];
  let at = 0;
  let cut = false;
  while (at < bytes.length && decoded.length < maxRows) {
    const end = dataRowEnd(bytes, at);
    const row = end < 0 ? null : decodeRow(bytes, at + HEADER_BYTES, end, columns, formats);
    if (row === null) {
      cut = true;
      break;
    }
    decoded.push(row);
    at = end;
  }
  return { columns, rows: decoded, truncated: cut || !whole };
}

/** −1: not a whole DataRow. */
function dataRowEnd(bytes: Buffer, at: number): number {
  if (bytes.length - at < HEADER_BYTES || bytes[at] !== Backend.DataRow) return -1;
  const length = uint32At(bytes, at + 1);
  return length < 4 || length > bytes.length - at - 1 ? -1 : at + 1 + length;
}

function decodeRow(
  bytes: Buffer,
  start: number,
  end: number,
  columns: readonly PgColumn[],
  formats: readonly number[],
): JsonValue[] | null {
  const values: JsonValue[] = [];
  const reader = new MessageReader(bytes, start, end, 'DataRow');
  const whole = untilItEnds(() => {
    const count = reader.count(4);
    for (let i = 0; i < count; i++)
      values.push(decodeValue(reader.value(), columns[i]?.oid ?? 0, formats[i] ?? FORMAT_TEXT));
    reader.finish();
  });
  return whole ? values : null;
}

interface DecodedDescription {
  readonly columns: readonly PgColumn[];
  readonly formats: readonly number[];
  readonly whole: boolean;
}

function decodeColumns(bytes: Buffer): DecodedDescription {
  const columns: PgColumn[] = [];
  const formats: number[] = [];
  if (bytes.length === 0) return { columns, formats, whole: true };
  const reader = new MessageReader(bytes, 0, bytes.length, 'RowDescription');
  const whole = untilItEnds(() => {
    for (let left = reader.uint16(); left > 0; left--) {
      const name = reader.string();
      reader.take(6); // table and column
      const oid = reader.uint32();
      reader.take(6); // size and modifier
      const format = reader.uint16();
      columns.push({ name, type: typeNameOf(oid), oid, format: formatName(format) });
      formats.push(format);
    }
    reader.finish();
  });
  return { columns, formats, whole };
}

/** Whether `read` came to its end; `false` when the bytes ended, or made no sense, before. */
function untilItEnds(read: () => void): boolean {
  try {
    read();
    return true;
  } catch (error) {
    if (isAppError(error)) return false;
    throw error;
  }
}

function formatName(format: number): FormatName {
  return format === FORMAT_BINARY ? 'binary' : 'text';
}

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}
