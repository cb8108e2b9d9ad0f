/**
 * Names that SQL itself gives: `PREPARE name AS …` makes a prepared statement that a protocol-level Bind may use. Only
 * the name is taken here; the text stays the whole PREPARE.
 */

import { latin1 } from '../../../wire/postgres/reader.ts';

const PREPARE = /^\s*prepare\s+(?:"((?:[^"]|"")+)"|([a-z_\u0080-\uffff][a-z0-9_$\u0080-\uffff]*))/i;

/** Whether a statement begins with the letter of PREPARE: the cheap question before the dear one. */
export function mayDeclare(bytes: Buffer, start: number): boolean {
  return (bytes[start] | 0x20) === 0x70;
}

/** The name that a statement prepares, as the protocol would spell it (latin1), or `null`. */
export function declaredName(bytes: Buffer, start: number, end: number): string | null {
  if (!mayDeclare(bytes, start)) return null;
  const match = PREPARE.exec(latin1(bytes, start, Math.min(end, start + 200)));
  if (!match) return null;
  return match[1] === undefined ? match[2].toLowerCase() : match[1].replaceAll('""', '"');
}
