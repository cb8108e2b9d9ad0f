/**
 * Recorded parameters and rows, as the journal stores them raw, for reading. A capture may be cut anywhere (limits of
 * recording, a crash): decoding stops there, returns what was whole, and says so. It never throws, whatever the bytes.
 */
import { isAppError } from '../../../base/errors.ts';
import { joinPayload } from '../framing.ts';
import {
  BULK,
  ColumnType,
  INDICATOR_DEFAULT,
  INDICATOR_NONE,
  INDICATOR_NULL,
  isNull,
  LENENC_VALUE,
  LONG_DATA,
  TEMPORAL_VALUE,
  UNSIGNED,
  valueBytes,
} from '../parameters.ts';
import { HEADER_BYTES, MAX_PACKET_BYTES } from '../protocol.ts';
import { malformed, PayloadReader, uint24At } from '../reader.ts';
import { type ColumnDefinition, decodeColumnDefinition } from '../resultset.ts';
import type { DecodedRows, JsonValue } from '../../values.ts';
import { BINARY_COLLATION } from './charsets.ts';
import { ColumnFlag, columnTypeName, parameterTypeName } from './types.ts';
import { decodeBinaryValue, decodeTextValue, type ValueType } from './value.ts';

export interface DecodedParameter {
  readonly type: string;
  /** Of a bulk execution an array, a value per row; a value left to the server is `{ "indicator": "default" }` there. */
  readonly value: JsonValue;
}

export interface DecodedParameters {
  readonly parameters: readonly DecodedParameter[];
  /** Parameters that the statement had. */
  readonly count: number;
  /** Not all of them are here. */
  readonly truncated: boolean;
}

/** Digits of a fraction that nobody fixed. */
const NOT_FIXED = 31;
/** A statement's own limit. */
const MAX_PARAMETERS = 65_535;

/**
 * @param bind `StatementStarted.bind`, as `parameters.ts` describes it.
 * @param types `StatementStarted.parameter_types`: one for each parameter.
 */
export function decodeParameters(bind: Uint8Array, types: readonly number[]): DecodedParameters {
  const count = Math.min(types.length, MAX_PARAMETERS);
  const reader = new PayloadReader().over(bufferOf(bind), 0, bind.length, 'parameters');
  if (count > 0 && (types[0] & BULK) !== 0) return decodeBulk(reader, types.slice(0, count));
  const parameters: DecodedParameter[] = [];
  const whole = untilItEnds(() => {
    const bitmap = reader.take((count + 7) >>> 3);
    for (let i = 0; i < count; i++) {
      const value = isNull(reader.bytes, bitmap, i) ? null : readParameter(reader, types[i]);
      parameters.push({ type: parameterTypeName(types[i]), value });
    }
    reader.finish();
  });
  return { parameters, count, truncated: !whole };
}

function decodeBulk(reader: PayloadReader, types: readonly number[]): DecodedParameters {
  const columns = types.map((type) => ({ type: parameterTypeName(type), value: [] as JsonValue[] }));
  const whole = untilItEnds(() => {
    while (reader.remaining > 0) {
      const row = types.map((type): JsonValue => {
        const indicator = reader.uint8();
        if (indicator === INDICATOR_NONE) return readParameter(reader, type);
        if (indicator === INDICATOR_NULL) return null;
        return { indicator: indicator === INDICATOR_DEFAULT ? 'default' : 'ignore' };
      });
      for (const [i, value] of row.entries()) columns[i].value.push(value);
    }
  });
  return { parameters: columns, count: types.length, truncated: !whole };
}

function readParameter(reader: PayloadReader, type: number): JsonValue {
  const valueType: ValueType = {
    type: type & 0xff,
    unsigned: (type & UNSIGNED) !== 0,
    collation: null,
    decimals: NOT_FIXED,
    length: 0,
    typeName: '',
  };
  return (type & LONG_DATA) !== 0
    ? decodeTextValue(reader.lenencView(), stringLike(valueType))
    : decodeBinaryValue(readBinary(reader, type), valueType);
}

/** Long data of a number's type is that number's text. */
function stringLike(type: ValueType): ValueType {
  return valueBytes(type.type) === LENENC_VALUE ? type : { ...type, type: ColumnType.BLOB };
}

/** The bytes of one binary value, without what counts them: a view. */
function readBinary(reader: PayloadReader, type: number): Buffer {
  const length = valueBytes(type);
  if (length === LENENC_VALUE) return reader.lenencView();
  return reader.view(length === TEMPORAL_VALUE ? reader.uint8() : length);
}

/**
 * @param description `Result.description`: a byte, 0 for text rows and 1 for binary ones, then whole packets with the
 * column definitions; empty when it is not known: nothing can be shown then.
 * @param rows whole packets with the rows, one after the other.
 * @param maxRows rows to decode; the others are left, which is not `truncated`.
 */
export function decodeRows(
  description: Uint8Array,
  rows: Uint8Array,
  maxRows: number = Number.MAX_SAFE_INTEGER,
): DecodedRows {
  const { columns, binary, whole } = decodeDescription(bufferOf(description));
  const types = columns.map(valueTypeOf);
  const bytes = bufferOf(rows);
  const decoded: JsonValue[][] = [];
  let at = 0;
  let cut = columns.length === 0 && rows.length > 0;
  while (!cut && at < bytes.length && decoded.length < maxRows) {
    const end = payloadEnd(bytes, at);
    const row = end < 0 ? null : decodeRow(joinPayload(bytes, at, end), types, binary);
    if (row === null) cut = true;
    else decoded.push(row);
    at = end;
  }
  const shown = columns.map((column) => ({ name: column.name, type: columnTypeName(column) }));
  return { columns: shown, rows: decoded, truncated: cut || !whole };
}

/** Offset behind the packets of the payload at `at`; −1: they are not all there. */
function payloadEnd(bytes: Buffer, at: number): number {
  let offset = at;
  while (bytes.length - offset >= HEADER_BYTES) {
    const length = uint24At(bytes, offset);
    offset += HEADER_BYTES + length;
    if (offset > bytes.length) return -1;
    if (length < MAX_PACKET_BYTES) return offset;
  }
  return -1;
}

interface Description {
  readonly columns: readonly ColumnDefinition[];
  readonly binary: boolean;
  readonly whole: boolean;
}

function decodeDescription(bytes: Buffer): Description {
  const columns: ColumnDefinition[] = [];
  if (bytes.length === 0) return { columns, binary: false, whole: true };
  const whole = untilItEnds(() => {
    for (let at = 1; at < bytes.length; ) {
      const end = payloadEnd(bytes, at);
      if (end < 0) throw malformed('column definition', 'it is not whole');
      const payload = joinPayload(bytes, at, end);
      columns.push(decodeColumnDefinition(payload, 0, payload.length));
      at = end;
    }
  });
  return { columns, binary: bytes[0] === 1, whole };
}

function valueTypeOf(column: ColumnDefinition): ValueType {
  const typeName = column.extended?.typeName ?? '';
  return {
    type: column.type,
    unsigned: (column.flags & ColumnFlag.UNSIGNED) !== 0,
    // Names of values are text, whatever their collation says.
    collation:
      (column.flags & (ColumnFlag.ENUM | ColumnFlag.SET)) !== 0
        ? textual(column.collation)
        : column.collation,
    decimals: column.decimals,
    length: column.length,
    typeName,
  };
}

function textual(collation: number): number | null {
  return collation === BINARY_COLLATION ? null : collation;
}

function decodeRow(payload: Buffer, types: readonly ValueType[], binary: boolean): JsonValue[] | null {
  const reader = new PayloadReader().over(payload, 0, payload.length, 'row');
  const values: JsonValue[] = [];
  const whole = untilItEnds(() => {
    if (binary) readBinaryRow(reader, types, values);
    else readTextRow(reader, types, values);
    reader.finish();
  });
  return whole ? values : null;
}

function readTextRow(reader: PayloadReader, types: readonly ValueType[], values: JsonValue[]): void {
  for (const type of types) {
    const start = reader.lenencBytesOrNull();
    values.push(decodeTextValue(start < 0 ? null : reader.bytes.subarray(start, reader.at), type));
  }
}

/** `int<1> 0, NULL bitmap` with two bits left out at its beginning, values. */
function readBinaryRow(reader: PayloadReader, types: readonly ValueType[], values: JsonValue[]): void {
  if (reader.uint8() !== 0) throw malformed('row', 'its first byte is another packet’s');
  const bitmap = reader.take((types.length + 9) >>> 3);
  for (const [i, type] of types.entries())
    values.push(
      isNull(reader.bytes, bitmap, i + 2) ? null : decodeBinaryValue(readBinary(reader, type.type), type),
    );
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

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}
