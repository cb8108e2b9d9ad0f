/**
 * Result sets: column count, column definitions, rows, and the answer to COM_STMT_PREPARE. Rows are only counted and
 * measured by the relay; their values are decoded when somebody reads the record (`values/`).
 */
import type { ByteWriter } from '../../base/bytes.ts';
import { type Capabilities, Capability, MariadbCapability } from './protocol.ts';
import { malformed, PayloadReader } from './reader.ts';
import { LOCAL_INFILE } from './responses.ts';
import {
  beginPacket,
  endPacket,
  writeLenenc,
  writeLenencBytes,
  writeLenencString,
  writeU16,
  writeU32,
  writeUtf8,
  writeZeros,
} from './writer.ts';

/** A server's own limit is 4096 columns. */
const MAX_COLUMNS = 65_535;
const FIXED_BYTES = 12;

const shared = new PayloadReader();

/** What stands at the head of a result set. */
export class ResultSetHeader {
  columnCount = 0;
  /** Whether column definitions (and their EOF, if any) follow. */
  metadataFollows = true;
}

/** `int<lenenc> columns[, int<1> metadata follows]`: the last with MySQL's or MariaDB's optional metadata. */
export function decodeResultSetHeader(
  bytes: Buffer,
  start: number,
  end: number,
  capabilities: Capabilities,
  header: ResultSetHeader,
): void {
  const reader = shared.over(bytes, start, end, 'column count');
  header.columnCount = reader.lenenc();
  if (header.columnCount === 0 || header.columnCount > MAX_COLUMNS)
    throw malformed('column count', `${header.columnCount} columns`);
  header.metadataFollows =
    hasMetadataFlag(capabilities) && reader.remaining > 0 ? reader.uint8() !== 0 : true;
  reader.finish();
  reader.release();
}

export function encodeResultSetHeader(
  out: ByteWriter,
  header: Readonly<ResultSetHeader>,
  capabilities: Capabilities,
  sequence: number,
): number {
  const mark = beginPacket(out);
  writeLenenc(out, header.columnCount);
  if (hasMetadataFlag(capabilities)) out.u8(header.metadataFollows ? 1 : 0);
  return endPacket(out, mark, sequence);
}

function hasMetadataFlag({ flags, mariadb }: Capabilities): boolean {
  return (
    (flags & Capability.OPTIONAL_RESULTSET_METADATA) !== 0 ||
    (mariadb & MariadbCapability.CACHE_METADATA) !== 0
  );
}

/** Parts of MariaDB's extended metadata. */
export interface ExtendedMetadata {
  /** `uuid`, `inet6`, `point`, …; '': not said. */
  readonly typeName: string;
  /** `json`; '': not said. */
  readonly format: string;
}

export interface ColumnDefinition {
  readonly schema: string;
  readonly table: string;
  readonly originalTable: string;
  readonly name: string;
  readonly originalName: string;
  /** Collation id; 63 is binary. */
  readonly collation: number;
  readonly length: number;
  /** `ColumnType`. */
  readonly type: number;
  readonly flags: number;
  readonly decimals: number;
  /** MARIADB_CLIENT_EXTENDED_METADATA; `null`: without. */
  readonly extended: ExtendedMetadata | null;
  /** COM_FIELD_LIST only: the default as text, `null` for none; `undefined` elsewhere. */
  readonly defaultValue?: Uint8Array | null;
}

const METADATA_TYPE_NAME = 0;
const METADATA_FORMAT = 1;

/**
 * Protocol::ColumnDefinition41: `string<lenenc>` catalog, schema, table, original table, name, original name, with
 * MariaDB's extended metadata a seventh, then `int<lenenc> 12, int<2> collation, int<4> length, int<1> type, int<2> flags,
 * int<1> decimals, 2 bytes`, and in an answer to COM_FIELD_LIST the default. Whether the seventh is there shows in the
 * length, so that a recorded definition can be read without its connection's capabilities.
 */
export function decodeColumnDefinition(
  bytes: Buffer,
  start: number,
  end: number,
  fieldList = false,
): ColumnDefinition {
  const reader = new PayloadReader().over(bytes, start, end, 'column definition');
  reader.lenencBytes(); // the catalog is always "def"
  const schema = reader.lenencString();
  const table = reader.lenencString();
  const originalTable = reader.lenencString();
  const name = reader.lenencString();
  const originalName = reader.lenencString();
  const plain =
    reader.bytes[reader.at] === FIXED_BYTES && (fieldList || reader.remaining === FIXED_BYTES + 1);
  const extended = plain ? null : readExtended(reader);
  if (reader.lenenc() !== FIXED_BYTES) throw malformed('column definition', 'its fixed part is not 12 bytes');
  const collation = reader.uint16();
  const length = reader.uint32();
  const type = reader.uint8();
  const flags = reader.uint16();
  const decimals = reader.uint8();
  reader.take(2);
  const fixed = {
    schema,
    table,
    originalTable,
    name,
    originalName,
    collation,
    length,
    type,
    flags,
    decimals,
  };
  if (!fieldList) {
    reader.finish();
    return { ...fixed, extended };
  }
  const from = reader.remaining === 0 ? -1 : reader.lenencBytesOrNull();
  return { ...fixed, extended, defaultValue: from < 0 ? null : bytes.subarray(from, reader.at) };
}

function readExtended(reader: PayloadReader): ExtendedMetadata {
  const start = reader.lenencBytes();
  const parts = new PayloadReader().over(reader.bytes, start, reader.at, 'column definition');
  let typeName = '';
  let format = '';
  while (parts.remaining > 0) {
    const part = parts.uint8();
    const text = parts.lenencString();
    if (part === METADATA_TYPE_NAME) typeName = text;
    else if (part === METADATA_FORMAT) format = text;
  }
  return { typeName, format };
}

export function encodeColumnDefinition(out: ByteWriter, column: ColumnDefinition, sequence: number): number {
  const mark = beginPacket(out);
  writeLenencString(out, 'def');
  writeLenencString(out, column.schema);
  writeLenencString(out, column.table);
  writeLenencString(out, column.originalTable);
  writeLenencString(out, column.name);
  writeLenencString(out, column.originalName);
  if (column.extended !== null) writeExtended(out, column.extended);
  writeLenenc(out, FIXED_BYTES);
  writeU16(out, column.collation);
  writeU32(out, column.length);
  out.u8(column.type);
  writeU16(out, column.flags);
  out.u8(column.decimals);
  writeZeros(out, 2);
  if (column.defaultValue === null) out.u8(0xfb);
  else if (column.defaultValue !== undefined) writeLenencBytes(out, column.defaultValue);
  return endPacket(out, mark, sequence);
}

function writeExtended(out: ByteWriter, extended: ExtendedMetadata): void {
  const parts: [part: number, text: string][] = [
    [METADATA_TYPE_NAME, extended.typeName],
    [METADATA_FORMAT, extended.format],
  ];
  const said = parts.filter(([, text]) => text !== '');
  // Names of types are short: one byte of length each.
  writeLenenc(
    out,
    said.reduce((sum, [, text]) => sum + 2 + Buffer.byteLength(text), 0),
  );
  for (const [part, text] of said) {
    out.u8(part);
    writeLenencString(out, text);
  }
}

/** COM_STMT_PREPARE's OK. */
export class PrepareOk {
  statementId = 0;
  columnCount = 0;
  parameterCount = 0;
  warnings = 0;
  metadataFollows = true;
}

/**
 * `int<1> 0x00, int<4> statement, int<2> columns, int<2> parameters, 1 byte, int<2> warnings[, int<1> metadata follows]`.
 * Definitions of the parameters, then of the columns follow, each with an EOF unless CLIENT_DEPRECATE_EOF.
 */
export function decodePrepareOk(
  bytes: Buffer,
  start: number,
  end: number,
  capabilities: Capabilities,
  ok: PrepareOk,
): void {
  const reader = shared.over(bytes, start, end, 'COM_STMT_PREPARE response');
  if (reader.uint8() !== 0) throw malformed(reader.message, 'its first byte is another packet’s');
  ok.statementId = reader.uint32();
  ok.columnCount = reader.uint16();
  ok.parameterCount = reader.uint16();
  reader.take(1);
  ok.warnings = reader.remaining >= 2 ? reader.uint16() : 0;
  ok.metadataFollows =
    (capabilities.flags & Capability.OPTIONAL_RESULTSET_METADATA) !== 0 && reader.remaining > 0
      ? reader.uint8() !== 0
      : true;
  reader.release();
}

export function encodePrepareOk(
  out: ByteWriter,
  ok: Readonly<PrepareOk>,
  capabilities: Capabilities,
  sequence: number,
): number {
  const mark = beginPacket(out);
  out.u8(0);
  writeU32(out, ok.statementId);
  writeU16(out, ok.columnCount);
  writeU16(out, ok.parameterCount);
  out.u8(0);
  writeU16(out, ok.warnings);
  if ((capabilities.flags & Capability.OPTIONAL_RESULTSET_METADATA) !== 0) out.u8(ok.metadataFollows ? 1 : 0);
  return endPacket(out, mark, sequence);
}

/** A row of the text protocol: n × `string<lenenc>`, 0xfb for NULL. Views. */
export function decodeTextRow(bytes: Buffer, start: number, end: number, columns: number): (Buffer | null)[] {
  const reader = new PayloadReader().over(bytes, start, end, 'row');
  if (columns > reader.remaining) throw malformed('row', `it holds fewer than its ${columns} columns`);
  const values: (Buffer | null)[] = [];
  for (let i = 0; i < columns; i++) {
    const from = reader.lenencBytesOrNull();
    values.push(from < 0 ? null : bytes.subarray(from, reader.at));
  }
  reader.finish();
  return values;
}

export function encodeTextRow(
  out: ByteWriter,
  values: readonly (Uint8Array | null)[],
  sequence: number,
): number {
  const mark = beginPacket(out);
  for (const value of values)
    if (value === null) out.u8(0xfb);
    else writeLenencBytes(out, value);
  return endPacket(out, mark, sequence);
}

/** LOCAL INFILE request: `int<1> 0xfb, string<EOF> file name`, asked for by the server. */
export function decodeLocalInfile(bytes: Buffer, start: number, end: number): string {
  if (start >= end || bytes[start] !== LOCAL_INFILE) throw malformed('LOCAL INFILE request', 'it is empty');
  return bytes.toString('utf8', start + 1, end);
}

export function encodeLocalInfile(out: ByteWriter, fileName: string, sequence: number): number {
  const mark = beginPacket(out);
  out.u8(LOCAL_INFILE);
  writeUtf8(out, fileName);
  return endPacket(out, mark, sequence);
}
