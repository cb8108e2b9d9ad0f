/**
 * Parameters that stand where the text of a statement would have its secrets taken out (HOSTILE.md 75b): `PASSWORD $1`,
 * `SET password_hash = $2`, `crypt($1, …)`, and all of a statement that defines a role. Their values are replaced before
 * they are recorded; the server gets them as they came.
 *
 * The value of `INSERT INTO users (name, password) VALUES ($1, $2)` is data like any other, as its literal would be.
 */
import { mayHoldSecret } from '../../../sql/postgres/secret-scan.ts';
import type { StatementText } from './statement.ts';

/** Numbers of the parameters, from 1; `all` of them; `null`: none, as nearly always. */
export type SecretParameters = ReadonlySet<number> | 'all' | null;

const GAP = String.raw`(?:\s|/\*[\s\S]*?\*/|--[^\n]*\n)*`;
const ROLE = new RegExp(`^${GAP}(?:alter|create)${GAP}(?:role|user|group)\\b`, 'i');
const NAMED = new RegExp(
  String.raw`(?:passw|passphrase|passcode|pwd|secret|credential|api_?key|private_?key|access_?key|token)\w*"?` +
    String.raw`${GAP}(?:=>|:=|=|<>|!=|\b(?:to|is|as)\b)?${GAP}\(?${GAP}\$(\d{1,5})`,
  'gi',
);
const KEYED_CALL =
  /\b(?:crypt|hmac|(?:en|de)crypt(?:_iv)?|pgp_(?:sym|pub)_(?:en|de)crypt(?:_bytea)?|\w*credential\w*)\s*\(/gi;
const NUMBER = /\$(\d{1,5})/g;
const MASK = Buffer.from('***');

export function secretParameters(text: Buffer): SecretParameters {
  if (!mayHoldSecret(text, 0, text.length) || !text.includes(0x24)) return null;
  const sql = text.toString('latin1');
  if (ROLE.test(sql)) return 'all';
  const found = new Set<number>();
  for (const match of sql.matchAll(NAMED)) found.add(Number(match[1]));
  for (const match of sql.matchAll(KEYED_CALL))
    for (const inner of callFrom(sql, match.index + match[0].length).matchAll(NUMBER))
      found.add(Number(inner[1]));
  return found.size === 0 ? null : found;
}

/** The arguments of a call, up to its closing parenthesis. */
function callFrom(sql: string, start: number): string {
  let depth = 1;
  for (let at = start; at < sql.length; at++) {
    if (sql[at] === '(') depth++;
    else if (sql[at] === ')' && --depth === 0) return sql.slice(start, at);
  }
  return sql.slice(start);
}

/** {@link secretParameters} of a text, found out once. */
export function secretsOf(text: StatementText): SecretParameters {
  if (text.secretParameters === undefined) text.secretParameters = secretParameters(text.recorded);
  return text.secretParameters;
}

/**
 * A copy of `bytes[start, end)`, the part of a Bind from its parameter formats to the end of its parameters, in which the
 * values of `secrets` read `***`. The part must be whole.
 */
export function maskParameters(
  bytes: Buffer,
  start: number,
  end: number,
  secrets: Exclude<SecretParameters, null>,
): Buffer {
  const formats = bytes.readUInt16BE(start);
  let at = start + 2 + 2 * formats;
  const count = bytes.readUInt16BE(at);
  at += 2;
  // The value is given as text, whatever its format was.
  const head = Buffer.alloc(4 + 2 * count);
  head.writeUInt16BE(count, 0);
  head.writeUInt16BE(count, 2 + 2 * count);
  const parts: Buffer[] = [head];
  for (let number = 1; number <= count; number++) {
    const length = bytes.readInt32BE(at);
    const next = at + 4 + Math.max(0, length);
    const hidden = length >= 0 && (secrets === 'all' || secrets.has(number));
    const format = formats === 0 ? 0 : bytes.readUInt16BE(start + 2 + (formats === 1 ? 0 : 2 * (number - 1)));
    head.writeUInt16BE(hidden ? 0 : format, 2 * number);
    parts.push(hidden ? masked() : bytes.subarray(at, next));
    at = next;
  }
  if (at !== end) throw new RangeError(`parameters end at ${at}, not at ${end}`);
  return Buffer.concat(parts);
}

function masked(): Buffer {
  const value = Buffer.alloc(4 + MASK.length);
  value.writeInt32BE(MASK.length, 0);
  MASK.copy(value, 4);
  return value;
}
