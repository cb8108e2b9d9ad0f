/** One value of a parameter or a result column as something that JSON can say and a person can read. */
import { isAppError } from '../../../base/errors.ts';
import { utf8OrUndefined } from '../reader.ts';
import { typeOf } from './types.ts';
import { exactNumber, hexText, type JsonValue, unreadableValue } from '../../values.ts';

export const FORMAT_TEXT = 0;
export const FORMAT_BINARY = 1;

/**
 * A value by its type oid and format: NULL is `null`, bool a boolean; int2, int4, int8, oid, float4 and float8 numbers
 * where a JavaScript number holds them exactly, else strings; everything else the server's own text (`infinity`,
 * `{1,2}`, `\x00ff`). Text in no valid UTF-8 and broken binary values are marked {@link UnreadableValue}; the binary
 * value of a type that is not built in is `\x…`. Never throws. Cost and result are in proportion to the bytes.
 */
export function decodeValue(bytes: Buffer | null, oid: number, format: number): JsonValue {
  if (bytes === null) return null;
  const type = typeOf(oid);
  if (format === FORMAT_TEXT) {
    const text = utf8OrUndefined(bytes);
    return text === undefined ? unreadableValue(bytes, 'not UTF-8') : jsonOf(text, type?.json ?? 'string');
  }
  if (format !== FORMAT_BINARY) return unreadableValue(bytes, `unknown format code ${format}`);
  if (type === undefined) return hexText(bytes);
  try {
    return jsonOf(type.text(bytes, 0), type.json);
  } catch (error) {
    if (!isAppError(error)) throw error;
    return unreadableValue(bytes, `not a binary ${type.name}`);
  }
}

function jsonOf(text: string, form: 'string' | 'boolean' | 'number'): JsonValue {
  switch (form) {
    case 'boolean':
      return text === 't' ? true : text === 'f' ? false : text;
    case 'number':
      return exactNumber(text);
    case 'string':
      return text;
  }
}
