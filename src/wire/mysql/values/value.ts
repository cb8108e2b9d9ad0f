/** One value of a parameter or a result column as something that JSON can say and a person can read. */
import { isAppError } from '../../../base/errors.ts';
import { ColumnType } from '../parameters.ts';
import { BINARY_COLLATION, charsetOf, textOf } from './charsets.ts';
import { geometryText } from './geometry.ts';
import { dateText, datetimeText, timeText } from './temporal.ts';
import { exactNumber, expectBytes, hexText, type JsonValue, unreadableValue } from '../../values.ts';

/** What must be known of a value's column or parameter to read it. */
export interface ValueType {
  /** Type byte. */
  readonly type: number;
  readonly unsigned: boolean;
  /** Collation id; `null` for a parameter, which is in the client's character set: read as UTF-8. */
  readonly collation: number | null;
  /** Digits behind the point; more than 6: not fixed. */
  readonly decimals: number;
  /** Display length: bits of a BIT column; 0: not known. */
  readonly length: number;
  /** The server's own name for a value of this column that is not told by the type byte; '' none. */
  readonly typeName: string;
}

const T = ColumnType;
const BLOBS = [T.TINY_BLOB, T.MEDIUM_BLOB, T.LONG_BLOB, T.BLOB];
const STRINGS = new Set<number>([T.VARCHAR, T.VAR_STRING, T.STRING, T.ENUM, T.SET, ...BLOBS]);
const NUMBERS = new Set<number>([T.TINY, T.SHORT, T.INT24, T.LONG, T.LONGLONG, T.YEAR, T.FLOAT, T.DOUBLE]);

/**
 * A value of the text protocol. Integers, years and floating point numbers are numbers where a JavaScript number holds them
 * exactly, else strings; bytes are `\x…`, BIT is `0`s and `1`s, GEOMETRY well-known text, VECTOR `[1,2]`; all else is the
 * server's own text. What cannot be read is marked {@link UnreadableValue}. Never throws; cost and result are in
 * proportion to the bytes.
 */
export function decodeTextValue(bytes: Buffer | null, type: ValueType): JsonValue {
  if (bytes === null) return null;
  const special = specialValue(bytes, type);
  if (special !== undefined) return special;
  if (STRINGS.has(type.type)) return stringValue(bytes, type);
  const text = bytes.toString('latin1');
  if (NUMBERS.has(type.type)) return exactNumber(text);
  if (type.type === T.JSON) return charactersOf(bytes, 'utf8mb4');
  return charactersOf(bytes, 'ascii');
}

/**
 * A value of the binary protocol: without its length, NULL is told by the bitmap. The same conventions.
 */
export function decodeBinaryValue(bytes: Buffer, type: ValueType): JsonValue {
  try {
    return binaryValue(bytes, type);
  } catch (error) {
    if (!isAppError(error)) throw error;
    return unreadableValue(bytes, error.message);
  }
}

function binaryValue(bytes: Buffer, type: ValueType): JsonValue {
  switch (type.type) {
    case T.NULL:
      return null;
    case T.TINY:
    case T.BOOL:
      expectBytes(bytes, 1, 'tinyint');
      return type.unsigned ? bytes[0] : bytes.readInt8(0);
    case T.SHORT:
    case T.YEAR:
      expectBytes(bytes, 2, 'smallint');
      return type.unsigned || type.type === T.YEAR ? bytes.readUInt16LE(0) : bytes.readInt16LE(0);
    case T.LONG:
    case T.INT24:
      expectBytes(bytes, 4, 'int');
      return type.unsigned ? bytes.readUInt32LE(0) : bytes.readInt32LE(0);
    case T.LONGLONG: {
      expectBytes(bytes, 8, 'bigint');
      const value = type.unsigned ? bytes.readBigUInt64LE(0) : bytes.readBigInt64LE(0);
      return exactNumber(value.toString());
    }
    case T.FLOAT:
      expectBytes(bytes, 4, 'float');
      return finite(shortestFloat(bytes.readFloatLE(0), type.decimals));
    case T.DOUBLE:
      expectBytes(bytes, 8, 'double');
      return finite(bytes.readDoubleLE(0));
    case T.DATE:
    case T.NEWDATE:
      return dateText(bytes);
    case T.DATETIME:
    case T.TIMESTAMP:
    case T.DATETIME2:
    case T.TIMESTAMP2:
      return datetimeText(bytes, type.decimals);
    case T.TIME:
    case T.TIME2:
      return timeText(bytes, type.decimals);
    default:
      return decodeTextValue(bytes, type);
  }
}

/** −0, NaN and infinities do not exist in JSON. */
function finite(value: number): JsonValue {
  return Number.isFinite(value) && !Object.is(value, -0)
    ? value
    : Object.is(value, -0)
      ? '-0'
      : String(value);
}

/** The shortest decimal that is this float: 1.1, where the nearest double is 1.10000002384185791015625. */
function shortestFloat(value: number, decimals: number): number {
  // A column FLOAT(m,d) is rounded to its digits by the server's own text.
  if (decimals < 31 && Number.isFinite(value)) return Number(value.toFixed(decimals));
  for (let digits = 6; digits < 9; digits++) {
    const candidate = Number(value.toPrecision(digits));
    if (Math.fround(candidate) === value) return candidate;
  }
  return Number(value.toPrecision(9));
}

/** Types whose text is bytes as well. `undefined`: none of them. */
function specialValue(bytes: Buffer, type: ValueType): JsonValue | undefined {
  switch (type.type) {
    case T.BIT:
      return bitText(bytes, type.length);
    case T.GEOMETRY:
      return geometryValue(bytes);
    case T.VECTOR:
      return vectorValue(bytes);
    default:
      return type.typeName === 'vector' ? vectorValue(bytes) : undefined;
  }
}

/** Big-endian; as many digits as the column has, or as are needed. */
function bitText(bytes: Buffer, bits: number): string {
  const digits = [...bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('');
  if (bits > 0 && bits <= digits.length) return digits.slice(digits.length - bits);
  return digits;
}

function geometryValue(bytes: Buffer): JsonValue {
  try {
    return geometryText(bytes);
  } catch (error) {
    if (!isAppError(error)) throw error;
    return hexText(bytes);
  }
}

/** 32-bit floats. */
function vectorValue(bytes: Buffer): JsonValue {
  if (bytes.length % 4 !== 0) return hexText(bytes);
  const parts: string[] = [];
  for (let at = 0; at < bytes.length; at += 4) parts.push(String(shortestFloat(bytes.readFloatLE(at), 31)));
  return `[${parts.join(',')}]`;
}

function stringValue(bytes: Buffer, type: ValueType): JsonValue {
  if (type.collation === BINARY_COLLATION) return hexText(bytes);
  if (type.collation === null) {
    // A parameter: the type tells text from bytes as little as most drivers do.
    const text = textOf(bytes, 'utf8mb4');
    return text ?? (isBlob(type.type) ? hexText(bytes) : unreadableValue(bytes, 'not UTF-8'));
  }
  const charset = charsetOf(type.collation);
  return charset === undefined
    ? unreadableValue(bytes, `unknown collation ${type.collation}`)
    : charactersOf(bytes, charset);
}

function isBlob(type: number): boolean {
  return type === T.BLOB || type === T.TINY_BLOB || type === T.MEDIUM_BLOB || type === T.LONG_BLOB;
}

function charactersOf(bytes: Buffer, charset: string): JsonValue {
  return (
    textOf(bytes, charset) ?? unreadableValue(bytes, `not ${charset.startsWith('utf8') ? 'UTF-8' : charset}`)
  );
}
