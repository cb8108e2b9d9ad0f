/**
 * SASLprep (RFC 4013) as PostgreSQL applies it to passwords (`pg_saslprep`): a password that may not be prepared is
 * used as it is, so that one set with any client can be given to any other.
 */
import { LEFT_TO_RIGHT, NOT_ALLOWED, RIGHT_TO_LEFT } from './saslprep-tables.ts';

// C.1.2, mapped to a space. U+200B stands in B.1 too; the server looks here first.
const NON_ASCII_SPACE = /[\u00a0\u1680\u2000-\u200b\u202f\u205f\u3000]/gu;
// B.1, mapped to nothing; by alternatives, as some are combining characters that a class would join.
const MAPPED_TO_NOTHING =
  /\u00ad|\u034f|\u1806|\u180b|\u180c|\u180d|\u200c|\u200d|\u2060|[\ufe00-\ufe0f]|\ufeff/gu;
// oxlint-disable-next-line no-control-regex -- ASCII, controls included
const ASCII_ONLY = /^[\0-\x7f]*$/;

/** The prepared password, or `password` itself where the profile prohibits it. */
export function saslprep(password: string): string {
  if (ASCII_ONLY.test(password)) return password;
  const mapped = password.replace(NON_ASCII_SPACE, ' ').replace(MAPPED_TO_NOTHING, '');
  if (mapped === '') return password;
  const prepared = mapped.normalize('NFKC');
  return isAllowed(prepared) ? prepared : password;
}

function isAllowed(text: string): boolean {
  const points = Array.from(text, (char) => char.codePointAt(0) ?? 0);
  const notAllowed = tableOf(NOT_ALLOWED);
  if (points.some((point) => contains(notAllowed, point))) return false;
  const rightToLeft = tableOf(RIGHT_TO_LEFT);
  if (!points.some((point) => contains(rightToLeft, point))) return true;
  // RFC 3454 §6: text from right to left has nothing of the other direction, and begins and ends with its own.
  const leftToRight = tableOf(LEFT_TO_RIGHT);
  return (
    !points.some((point) => contains(leftToRight, point)) &&
    contains(rightToLeft, points[0]) &&
    contains(rightToLeft, points[points.length - 1])
  );
}

/** First and last code points by turns, ascending. */
type RangeTable = readonly number[];
const tables = new Map<string, RangeTable>();

function tableOf(encoded: string): RangeTable {
  let table = tables.get(encoded);
  if (table === undefined) {
    let at = 0;
    table = encoded.split(' ').map((digits, i) => {
      at += parseInt(digits, 36);
      return i % 2 === 0 ? at : at - 1;
    });
    tables.set(encoded, table);
  }
  return table;
}

function contains(table: RangeTable, point: number): boolean {
  let low = 0;
  let high = table.length / 2 - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    if (point < table[2 * middle]) high = middle - 1;
    else if (point > table[2 * middle + 1]) low = middle + 1;
    else return true;
  }
  return false;
}
