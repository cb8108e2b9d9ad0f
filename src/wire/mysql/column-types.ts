/** Types of columns and parameters, and how long their binary values are. */
import { malformed, type PayloadReader } from './reader.ts';

/** Type bytes of columns and parameters. */
export const ColumnType = {
  DECIMAL: 0x00,
  TINY: 0x01,
  SHORT: 0x02,
  LONG: 0x03,
  FLOAT: 0x04,
  DOUBLE: 0x05,
  NULL: 0x06,
  TIMESTAMP: 0x07,
  LONGLONG: 0x08,
  INT24: 0x09,
  DATE: 0x0a,
  TIME: 0x0b,
  DATETIME: 0x0c,
  YEAR: 0x0d,
  NEWDATE: 0x0e,
  VARCHAR: 0x0f,
  BIT: 0x10,
  TIMESTAMP2: 0x11,
  DATETIME2: 0x12,
  TIME2: 0x13,
  TYPED_ARRAY: 0x14,
  VECTOR: 0xf2,
  INVALID: 0xf3,
  BOOL: 0xf4,
  JSON: 0xf5,
  NEWDECIMAL: 0xf6,
  ENUM: 0xf7,
  SET: 0xf8,
  TINY_BLOB: 0xf9,
  MEDIUM_BLOB: 0xfa,
  LONG_BLOB: 0xfb,
  BLOB: 0xfc,
  VAR_STRING: 0xfd,
  STRING: 0xfe,
  GEOMETRY: 0xff,
} as const;

/** How a binary value of a type is counted: its bytes, or one of the two below. */
export const LENENC_VALUE = -1;
/** One byte of length in front. */
export const TEMPORAL_VALUE = -2;

const VALUE_BYTES = new Int8Array(256).fill(LENENC_VALUE);
{
  const { TINY, SHORT, YEAR, LONG, INT24, FLOAT, DOUBLE, LONGLONG, NULL, BOOL } = ColumnType;
  const { DATE, DATETIME, TIMESTAMP, TIME, NEWDATE, TIMESTAMP2, DATETIME2, TIME2 } = ColumnType;
  VALUE_BYTES[NULL] = 0;
  for (const type of [TINY, BOOL]) VALUE_BYTES[type] = 1;
  for (const type of [SHORT, YEAR]) VALUE_BYTES[type] = 2;
  for (const type of [LONG, INT24, FLOAT]) VALUE_BYTES[type] = 4;
  for (const type of [DOUBLE, LONGLONG]) VALUE_BYTES[type] = 8;
  for (const type of [DATE, DATETIME, TIMESTAMP, TIME, NEWDATE, TIMESTAMP2, DATETIME2, TIME2])
    VALUE_BYTES[type] = TEMPORAL_VALUE;
}

/** Bytes of a binary value of a type, {@link LENENC_VALUE} or {@link TEMPORAL_VALUE}. */
export function valueBytes(type: number): number {
  return VALUE_BYTES[type & 0xff];
}

/** Passes over one binary value. Text types and types nobody knows are length-encoded. */
export function skipValue(reader: PayloadReader, type: number): void {
  const length = VALUE_BYTES[type & 0xff];
  if (length >= 0) reader.take(length);
  else if (length === TEMPORAL_VALUE) reader.take(reader.uint8());
  else reader.lenencBytes();
}

/** A type as MySQL reads it in front of a text: all bits but the one that says unsigned. */
const ATTRIBUTE_TYPE = 0x7fff;
/**
 * MySQL 9.7 counts these, in front of a text, otherwise than their fixed lengths (measured for all types): it would take
 * another part of the packet for the statement than we do. No client sends them.
 */
const UNCERTAIN_TYPES = new Uint8Array(256);
for (const type of [
  ColumnType.NULL,
  ColumnType.INT24,
  ColumnType.YEAR,
  ColumnType.NEWDATE,
  ColumnType.TIMESTAMP2,
  ColumnType.DATETIME2,
  ColumnType.TIME2,
  ColumnType.TYPED_ARRAY,
  ColumnType.INVALID,
  ColumnType.BOOL,
])
  UNCERTAIN_TYPES[type] = 1;
/** Nor is a date or time as long as a length that goes on in further bytes. */
const MAX_TEMPORAL_BYTES = 0xfa;

/** Passes over the value of one attribute of a query, or of one parameter where attributes may follow it. */
export function skipAttribute(reader: PayloadReader, sent: number): void {
  const type = sent & ATTRIBUTE_TYPE;
  const isTemporal = valueBytes(type) === TEMPORAL_VALUE;
  if (
    type > 0xff ||
    UNCERTAIN_TYPES[type] === 1 ||
    (isTemporal && reader.bytes[reader.at] > MAX_TEMPORAL_BYTES)
  )
    throw malformed(
      reader.message,
      `an attribute or parameter of type ${type}, of which it is not certain where it ends`,
    );
  skipValue(reader, type);
}
