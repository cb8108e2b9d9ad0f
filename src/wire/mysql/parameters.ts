/**
 * Binary parameters: COM_STMT_EXECUTE, MariaDB's COM_STMT_BULK_EXECUTE, and the attributes of COM_QUERY.
 *
 *   COM_QUERY         with CLIENT_QUERY_ATTRIBUTES: int<lenenc> n, int<lenenc> sets (1), and where n > 0: NULL bitmap,
 *                     int<1> 1, n × (int<2> type, string<lenenc> name), values; then the text
 *   COM_STMT_EXECUTE  int<4> statement, int<1> flags, int<4> 1, [int<lenenc> n,] NULL bitmap, int<1> new types, and where
 *                     that is 1: n × (int<2> type[, string<lenenc> name]); values
 *   COM_STMT_BULK_EXECUTE  int<4> statement, int<2> flags, [n × int<2> type,] then to the end, row by row, n × (int<1>
 *                     indicator, value where that is 0)
 *
 * An execution may leave its types out when they are those of the last one. The relay keeps them per statement, and gives
 * them back to {@link decodeParameterValues}, together with what came by COM_STMT_SEND_LONG_DATA.
 *
 * What a StatementStarted event stores: `bind` is the NULL bitmap and the values, each at its place ({@link writeBind});
 * `parameter_types` has a number per parameter: the two bytes of the type as sent, with {@link LONG_DATA} where the value
 * came as long data (recorded as a length-encoded string), and {@link BULK} where the record is a bulk execution's:
 * there `bind` is the rows as sent, indicators included.
 */
import type { ByteWriter } from '../../base/bytes.ts';
import { type Capabilities, Capability, Command } from './protocol.ts';
import { malformed, PayloadReader, uint16At } from './reader.ts';
import { skipAttribute, skipValue } from './column-types.ts';
import type { StatementText } from './commands.ts';
import {
  beginPacket,
  endPacket,
  writeLenenc,
  writeLenencBytes,
  writeLenencString,
  writeU16,
  writeU32,
  writeUtf8,
} from './writer.ts';

/** In a parameter's type. */
export const UNSIGNED = 0x8000;
/** In a recorded parameter's type: the value came by COM_STMT_SEND_LONG_DATA. */
export const LONG_DATA = 0x4000;
/** In a recorded parameter's type: the parameters are those of a bulk execution. */
export const BULK = 0x2000;

export { ColumnType, LENENC_VALUE, skipValue, TEMPORAL_VALUE, valueBytes } from './column-types.ts';

const shared = new PayloadReader();

/** COM_QUERY: the text is `bytes[textStart, end)`. */
export class QueryView {
  textStart = 0;
  attributeCount = 0;
  /** Where the attributes begin: their NULL bitmap. `textStart` when there are none. */
  attributesStart = 0;
}

/** @throws AppError `protocol`: WIRE_MESSAGE_MALFORMED for attributes that do not fit. */
export function decodeQuery(
  bytes: Buffer,
  start: number,
  end: number,
  capabilities: Capabilities,
  view: QueryView,
): void {
  if (start >= end) throw malformed('COM_QUERY', 'it is empty');
  view.attributeCount = 0;
  view.textStart = start + 1;
  view.attributesStart = start + 1;
  if ((capabilities.flags & Capability.QUERY_ATTRIBUTES) === 0) return;
  const reader = shared.over(bytes, start + 1, end, 'COM_QUERY');
  const count = reader.lenenc();
  const sets = reader.lenenc();
  if (sets !== 1) throw malformed('COM_QUERY', `${sets} sets of attributes`);
  view.attributeCount = count;
  view.attributesStart = reader.at;
  if (count > 0) skipAttributes(reader, count);
  view.textStart = reader.at;
  reader.release();
}

function skipAttributes(reader: PayloadReader, count: number): void {
  checkCount(reader, count);
  const bitmap = reader.take((count + 7) >>> 3);
  if (reader.uint8() !== 1) throw malformed(reader.message, 'attributes without types');
  const types: number[] = [];
  for (let i = 0; i < count; i++) {
    types.push(reader.uint16());
    reader.lenencBytes();
  }
  for (let i = 0; i < count; i++) if (!isNull(reader.bytes, bitmap, i)) skipAttribute(reader, types[i]);
}

/** A parameter needs two bytes of type, or had them before; its bit is checked with the bitmap. */
function checkCount(reader: PayloadReader, count: number): void {
  if (count > 0xffff || (count + 7) >>> 3 > reader.remaining)
    throw malformed(reader.message, `it cannot hold ${count} parameters`);
}

export function isNull(bytes: Uint8Array, bitmap: number, index: number): boolean {
  return (bytes[bitmap + (index >>> 3)] & (1 << (index & 7))) !== 0;
}

export interface QueryAttribute {
  readonly name: string;
  /** As `parameter_types`. */
  readonly type: number;
  /** As sent, in its binary form with its length, a view; `null` for NULL. */
  readonly value: Uint8Array | null;
}

/** The attributes of a query that {@link decodeQuery} has seen. */
export function queryAttributes(bytes: Buffer, view: Readonly<QueryView>): QueryAttribute[] {
  const count = view.attributeCount;
  if (count === 0) return [];
  const reader = new PayloadReader().over(bytes, view.attributesStart, view.textStart, 'COM_QUERY');
  const bitmap = reader.take((count + 7) >>> 3);
  reader.take(1);
  const named: { name: string; type: number }[] = [];
  for (let i = 0; i < count; i++) {
    const type = reader.uint16();
    named.push({ name: reader.lenencString(), type });
  }
  return named.map(({ name, type }, i) => {
    if (isNull(bytes, bitmap, i)) return { name, type, value: null };
    const from = reader.at;
    skipValue(reader, type);
    return { name, type, value: bytes.subarray(from, reader.at) };
  });
}

export function encodeQuery(
  out: ByteWriter,
  text: StatementText,
  capabilities: Capabilities,
  attributes: readonly QueryAttribute[] = [],
): void {
  const mark = beginPacket(out);
  out.u8(Command.QUERY);
  if ((capabilities.flags & Capability.QUERY_ATTRIBUTES) !== 0) {
    writeLenenc(out, attributes.length);
    writeLenenc(out, 1);
    if (attributes.length > 0) writeParameters(out, attributes, true);
  }
  if (typeof text === 'string') writeUtf8(out, text);
  else out.raw(text);
  endPacket(out, mark, 0);
}

function writeParameters(out: ByteWriter, parameters: readonly QueryAttribute[], named: boolean): void {
  writeNullBitmap(out, parameters.length, (i) => parameters[i].value === null);
  out.u8(1);
  for (const { name, type } of parameters) {
    writeU16(out, type);
    if (named) writeLenencString(out, name);
  }
  for (const { value } of parameters) if (value !== null) out.raw(value);
}

function writeNullBitmap(out: ByteWriter, count: number, isNullAt: (index: number) => boolean): void {
  for (let base = 0; base < count; base += 8) {
    let byte = 0;
    for (let i = base; i < Math.min(count, base + 8); i++) if (isNullAt(i)) byte |= 1 << (i - base);
    out.u8(byte);
  }
}

/** Flags of COM_STMT_EXECUTE. */
export const CURSOR_TYPE_READ_ONLY = 1;
export const CURSOR_TYPE_FOR_UPDATE = 2;
export const CURSOR_TYPE_SCROLLABLE = 4;
export const PARAMETER_COUNT_AVAILABLE = 8;

/** MariaDB: the statement prepared last. */
export const LAST_STATEMENT = 0xffff_ffff;

/** The statement of COM_STMT_EXECUTE and COM_STMT_BULK_EXECUTE, which their decoders need to know before. */
export function executedStatement(bytes: Uint8Array, start: number, end: number): number {
  if (end - start < 7) throw malformed('COM_STMT_EXECUTE', 'it ends early');
  return (
    (bytes[start + 1] | (bytes[start + 2] << 8) | (bytes[start + 3] << 16) | (bytes[start + 4] << 24)) >>> 0
  );
}

/** What one statement has to be remembered of for its executions. */
export class StatementParameters {
  /** Parameters of the statement, without attributes. */
  count = 0;
  /** Types as sent last; `null` before the first execution. */
  types: Uint16Array | null = null;
}

/** COM_STMT_EXECUTE. */
export class ExecuteView {
  statementId = 0;
  flags = 0;
  /** Parameters, and attributes behind them. */
  parameterCount = 0;
  /** Offset of the NULL bitmap. */
  bitmapStart = 0;
  /** Whether this execution carries types. */
  newTypes = false;
  /** Types as sent, now or before: valid up to `parameterCount`. The view's own; it grows, and is reused. */
  types: Uint16Array = new Uint16Array(16);
  valuesStart = 0;
  valuesEnd = 0;
}

/**
 * COM_STMT_EXECUTE up to its values, and over them.
 * @param parameterCount what the answer to COM_STMT_PREPARE said.
 * @param knownTypes types of the last execution, for one that carries none; `null`: there was none.
 * @param longData whether a parameter came by COM_STMT_SEND_LONG_DATA and so has no value here; `null`: none did.
 * @throws AppError `protocol`: WIRE_MESSAGE_MALFORMED, also for one without types where none are known.
 */
export function decodeExecute(
  bytes: Buffer,
  start: number,
  end: number,
  capabilities: Capabilities,
  parameterCount: number,
  knownTypes: Uint16Array | null,
  longData: ReadonlySet<number> | null,
  view: ExecuteView,
): void {
  const reader = shared.over(bytes, start, end, 'COM_STMT_EXECUTE');
  reader.take(1);
  view.statementId = reader.uint32();
  view.flags = reader.uint8();
  reader.take(4);
  const attributes = (capabilities.flags & Capability.QUERY_ATTRIBUTES) !== 0;
  // Measured with MySQL 9.7: a statement with parameters has the count even without the flag.
  const counted = attributes && (parameterCount > 0 || (view.flags & PARAMETER_COUNT_AVAILABLE) !== 0);
  let count = parameterCount;
  if (counted) count = reader.lenenc();
  if (count < parameterCount) throw malformed('COM_STMT_EXECUTE', `${count} of ${parameterCount} parameters`);
  view.parameterCount = count;
  view.newTypes = false;
  view.bitmapStart = reader.at;
  if (count > 0) {
    checkCount(reader, count);
    reader.take((count + 7) >>> 3);
    view.newTypes = reader.uint8() !== 0;
    readTypes(reader, view, attributes, knownTypes);
  }
  view.valuesStart = reader.at;
  for (let i = 0; i < count; i++)
    if (!isNull(bytes, view.bitmapStart, i) && !(longData?.has(i) ?? false)) {
      if (attributes) skipAttribute(reader, view.types[i]);
      else skipValue(reader, view.types[i]);
    }
  view.valuesEnd = reader.at;
  reader.release();
}

function readTypes(
  reader: PayloadReader,
  view: ExecuteView,
  named: boolean,
  known: Uint16Array | null,
): void {
  const count = view.parameterCount;
  if (view.types.length < count) view.types = new Uint16Array(Math.max(count, view.types.length * 2));
  const { types } = view;
  if (!view.newTypes) {
    if (known === null || known.length < count)
      throw malformed(reader.message, 'it carries no types, and none were sent before');
    for (let i = 0; i < count; i++) types[i] = known[i];
    return;
  }
  for (let i = 0; i < count; i++) {
    types[i] = uint16At(reader.bytes, reader.take(2));
    if (named) reader.lenencBytes();
  }
}

/** The values that came by COM_STMT_SEND_LONG_DATA, by parameter: the pieces put together, as far as they are recorded. */
export type LongData = ReadonlyMap<number, Uint8Array>;

/**
 * Writes what an event stores as `bind`: the NULL bitmap and the values, long data at its place.
 * @param longData as was given to {@link decodeExecute}.
 */
export function writeBind(
  out: ByteWriter,
  bytes: Buffer,
  view: Readonly<ExecuteView>,
  longData: LongData | null,
): void {
  const count = view.parameterCount;
  out.raw(bytes, view.bitmapStart, view.bitmapStart + ((count + 7) >>> 3));
  if (longData === null || longData.size === 0) {
    out.raw(bytes, view.valuesStart, view.valuesEnd);
    return;
  }
  const reader = shared.over(bytes, view.valuesStart, view.valuesEnd, 'COM_STMT_EXECUTE');
  for (let i = 0; i < count; i++) {
    if (isNull(bytes, view.bitmapStart, i)) continue;
    const long = longData.get(i);
    if (long !== undefined) {
      writeLenencBytes(out, long);
      continue;
    }
    const from = reader.at;
    skipValue(reader, view.types[i]);
    out.raw(bytes, from, reader.at);
  }
  reader.release();
}

/** The type of a parameter as an event stores it. */
export function recordedType(view: Readonly<ExecuteView>, index: number, longData: LongData | null): number {
  // A server takes only the low byte and the sign bit of what is sent.
  const type = view.types[index] & (UNSIGNED | 0xff);
  return longData?.has(index) ? type | LONG_DATA : type;
}

export interface Execute {
  readonly statementId: number;
  readonly flags: number;
  /** `type` as sent, `value` in binary form. Names only with CLIENT_QUERY_ATTRIBUTES. */
  readonly parameters: readonly QueryAttribute[];
  readonly newTypes: boolean;
}

/** COM_STMT_EXECUTE; with CLIENT_QUERY_ATTRIBUTES the count is written where there are parameters, or its flag is set. */
export function encodeExecute(out: ByteWriter, message: Execute, capabilities: Capabilities): void {
  const attributes = (capabilities.flags & Capability.QUERY_ATTRIBUTES) !== 0;
  const { parameters } = message;
  const mark = beginPacket(out);
  out.u8(Command.STMT_EXECUTE);
  writeU32(out, message.statementId);
  out.u8(message.flags);
  writeU32(out, 1);
  if (attributes && (parameters.length > 0 || (message.flags & PARAMETER_COUNT_AVAILABLE) !== 0))
    writeLenenc(out, parameters.length);
  if (parameters.length > 0) {
    if (message.newTypes) writeParameters(out, parameters, attributes);
    else {
      writeNullBitmap(out, parameters.length, (i) => parameters[i].value === null);
      out.u8(0);
      for (const { value } of parameters) if (value !== null) out.raw(value);
    }
  }
  endPacket(out, mark, 0);
}

/** Flags of COM_STMT_BULK_EXECUTE. */
export const BULK_RETURN_GENERATED_IDS = 64;
export const BULK_SEND_TYPES = 128;

/** Indicators of COM_STMT_BULK_EXECUTE. */
export const INDICATOR_NONE = 0;
export const INDICATOR_NULL = 1;
export const INDICATOR_DEFAULT = 2;
export const INDICATOR_IGNORE = 3;

/** COM_STMT_BULK_EXECUTE. */
export class BulkExecuteView {
  statementId = 0;
  flags = 0;
  newTypes = false;
  /** Types as sent, now or before: valid up to the statement's number of parameters. The view's own. */
  types: Uint16Array = new Uint16Array(16);
  rowCount = 0;
  /** Rows, indicators included: what an event stores as `bind`. */
  rowsStart = 0;
  rowsEnd = 0;
}

/** @throws AppError `protocol`: WIRE_MESSAGE_MALFORMED. Parameters as {@link decodeExecute}. */
export function decodeBulkExecute(
  bytes: Buffer,
  start: number,
  end: number,
  parameterCount: number,
  knownTypes: Uint16Array | null,
  view: BulkExecuteView,
): void {
  const reader = shared.over(bytes, start, end, 'COM_STMT_BULK_EXECUTE');
  reader.take(1);
  view.statementId = reader.uint32();
  view.flags = reader.uint16();
  view.newTypes = (view.flags & BULK_SEND_TYPES) !== 0;
  if (parameterCount === 0) throw malformed(reader.message, 'its statement has no parameters');
  if (view.types.length < parameterCount) view.types = new Uint16Array(parameterCount);
  const { types } = view;
  if (view.newTypes) for (let i = 0; i < parameterCount; i++) types[i] = reader.uint16();
  else {
    if (knownTypes === null || knownTypes.length < parameterCount)
      throw malformed(reader.message, 'it carries no types, and none were sent before');
    for (let i = 0; i < parameterCount; i++) types[i] = knownTypes[i];
  }
  view.rowsStart = reader.at;
  view.rowsEnd = end;
  view.rowCount = 0;
  while (reader.remaining > 0) {
    for (let i = 0; i < parameterCount; i++) {
      const indicator = reader.uint8();
      if (indicator === INDICATOR_NONE) skipValue(reader, types[i]);
      else if (indicator > INDICATOR_IGNORE) throw malformed(reader.message, `indicator ${indicator}`);
    }
    view.rowCount++;
  }
  reader.release();
}

export interface BulkExecute {
  readonly statementId: number;
  readonly flags: number;
  /** Written with BULK_SEND_TYPES in the flags. */
  readonly types: readonly number[];
  /** A value in binary form, or one of the other indicators. */
  readonly rows: readonly (readonly (Uint8Array | number)[])[];
}

export function encodeBulkExecute(out: ByteWriter, message: BulkExecute): void {
  const mark = beginPacket(out);
  out.u8(Command.STMT_BULK_EXECUTE);
  writeU32(out, message.statementId);
  writeU16(out, message.flags);
  if ((message.flags & BULK_SEND_TYPES) !== 0) for (const type of message.types) writeU16(out, type);
  for (const row of message.rows)
    for (const value of row)
      if (typeof value === 'number') out.u8(value);
      else {
        out.u8(INDICATOR_NONE);
        out.raw(value);
      }
  endPacket(out, mark, 0);
}
