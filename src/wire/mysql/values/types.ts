/** The types of columns and parameters: their names for people. */
import type { ColumnDefinition } from '../resultset.ts';
import { ColumnType, UNSIGNED } from '../parameters.ts';
import { BINARY_COLLATION } from './charsets.ts';

/** Flags of a column definition that change what its values are. */
export const ColumnFlag = {
  NOT_NULL: 1,
  UNSIGNED: 32,
  ZEROFILL: 64,
  BINARY: 128,
  ENUM: 256,
  SET: 2048,
} as const;

const T = ColumnType;

const NAMES = new Map<number, string>([
  [T.DECIMAL, 'decimal'],
  [T.NEWDECIMAL, 'decimal'],
  [T.TINY, 'tinyint'],
  [T.SHORT, 'smallint'],
  [T.INT24, 'mediumint'],
  [T.LONG, 'int'],
  [T.LONGLONG, 'bigint'],
  [T.FLOAT, 'float'],
  [T.DOUBLE, 'double'],
  [T.NULL, 'null'],
  [T.TIMESTAMP, 'timestamp'],
  [T.TIMESTAMP2, 'timestamp'],
  [T.DATE, 'date'],
  [T.NEWDATE, 'date'],
  [T.TIME, 'time'],
  [T.TIME2, 'time'],
  [T.DATETIME, 'datetime'],
  [T.DATETIME2, 'datetime'],
  [T.YEAR, 'year'],
  [T.BIT, 'bit'],
  [T.BOOL, 'bool'],
  [T.JSON, 'json'],
  [T.ENUM, 'enum'],
  [T.SET, 'set'],
  [T.VECTOR, 'vector'],
  [T.GEOMETRY, 'geometry'],
  [T.VARCHAR, 'varchar'],
  [T.VAR_STRING, 'varchar'],
  [T.STRING, 'char'],
  [T.TINY_BLOB, 'text'],
  [T.MEDIUM_BLOB, 'text'],
  [T.LONG_BLOB, 'text'],
  [T.BLOB, 'text'],
]);

const BYTES_NAMES = new Map<string, string>([
  ['varchar', 'varbinary'],
  ['char', 'binary'],
  ['text', 'blob'],
]);

const INTEGERS = new Set<number>([T.TINY, T.SHORT, T.INT24, T.LONG, T.LONGLONG]);
const DECIMALS = new Set<number>([T.DECIMAL, T.NEWDECIMAL, T.FLOAT, T.DOUBLE]);

/** The name of a parameter's type: `bigint unsigned`. Text and bytes cannot be told apart there: `varchar`, `blob`. */
export function parameterTypeName(type: number): string {
  const name = nameOf(type & 0xff);
  const blob = name === 'text' ? 'blob' : name;
  return (type & UNSIGNED) !== 0 && INTEGERS.has(type & 0xff) ? `${name} unsigned` : blob;
}

/** The name of a column's type as its table has it, as far as the definition tells: `int unsigned`, `uuid`, `varbinary`. */
export function columnTypeName(column: ColumnDefinition): string {
  const { extended, type, flags } = column;
  if (extended !== null && extended.typeName !== '') return extended.typeName;
  if (extended !== null && extended.format !== '') return extended.format;
  if ((flags & ColumnFlag.ENUM) !== 0) return 'enum';
  if ((flags & ColumnFlag.SET) !== 0) return 'set';
  const name = nameOf(type);
  if (column.collation === BINARY_COLLATION) {
    const bytes = BYTES_NAMES.get(name);
    if (bytes !== undefined) return bytes;
  }
  const unsigned = (flags & ColumnFlag.UNSIGNED) !== 0 && (INTEGERS.has(type) || DECIMALS.has(type));
  return unsigned ? `${name} unsigned` : name;
}

function nameOf(type: number): string {
  return NAMES.get(type) ?? `type 0x${type.toString(16).padStart(2, '0')}`;
}
