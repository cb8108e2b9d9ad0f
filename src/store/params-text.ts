/** Decoded parameters as the JSON text of the `params` column: always valid JSON, never longer than the column allows. */
import { MAX_TEXT_BYTES } from './sql-text.ts';
import type { JsonValue } from './statement-decoder.ts';

/** What a long value is cut to, in characters, when the whole does not fit. */
const CUT_VALUE_CHARACTERS = 1024;
const CUT_MARK = '…';

export function paramsText(values: readonly JsonValue[]): string {
  const whole = JSON.stringify(values);
  if (whole.length * 3 <= MAX_TEXT_BYTES || Buffer.byteLength(whole) <= MAX_TEXT_BYTES) return whole;
  let text = '[';
  for (const value of values) {
    const piece = (text === '[' ? '' : ',') + JSON.stringify(cutValue(value));
    // Room for one more mark and the bracket.
    if (Buffer.byteLength(text) + Buffer.byteLength(piece) > MAX_TEXT_BYTES - 16)
      return `${text}${text === '[' ? '' : ','}"${CUT_MARK}"]`;
    text += piece;
  }
  return `${text}]`;
}

function cutValue(value: JsonValue): JsonValue {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  if (text.length <= CUT_VALUE_CHARACTERS) return value;
  return `${text.slice(0, CUT_VALUE_CHARACTERS)}${CUT_MARK}`;
}
