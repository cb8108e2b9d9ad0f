/**
 * What two runs are compared by: lines of text. The differences that are allowed are here, all of them:
 *
 *  1. BackendKeyData: the process id and the secret. dbwitness gives out keys of its own. Their length must be equal.
 *  2. The process id in a NotificationResponse, which differs between any two connections.
 *  3. The value of application_name, which carries the person upstream (a switch of dbwitness).
 *  4. The names that postgres.js makes up for prepared statements, in error messages: they differ from run to run.
 *  5. Authentication, which ends at dbwitness: not compared at all.
 */
import { createHash } from 'node:crypto';
import type { BackendMessage } from './raw-client.ts';

/** One backend message as a line: its type, and its body where printable as text, else escaped. */
export function lineOf({ type, body }: BackendMessage): string {
  if (type === 'K') return `K (${body.length} bytes)`;
  if (type === 'A') return `A (pid) ${printable(body.subarray(4))}`;
  if (type === 'S' && body.toString('latin1').startsWith('application_name\0')) return 'S application_name';
  return `${type} ${printable(body)}`;
}

/** The whole of a short value, length and hash of a long one. */
export function printable(bytes: Buffer): string {
  if (bytes.length > 2000)
    return `${bytes.length} bytes, sha256 ${createHash('sha256').update(bytes).digest('hex')}`;
  let text = '';
  for (const byte of bytes) {
    if (byte === 0x5c) text += '\\\\';
    else if (byte >= 0x20 && byte < 0x7f) text += String.fromCharCode(byte);
    else text += `\\x${byte.toString(16).padStart(2, '0')}`;
  }
  return text;
}

/** Any value as stable JSON: Buffers by their bytes, long strings by their hash, application_name left out. */
export function stable(value: unknown): string {
  return JSON.stringify(value, (key, one: unknown): unknown => {
    if (key === 'application_name') return '(any)';
    if (typeof one === 'bigint') return `${one}n`;
    if (typeof one === 'string' && one.length > 2000) return printable(Buffer.from(one));
    if (one !== null && typeof one === 'object' && 'type' in one && one.type === 'Buffer' && 'data' in one)
      return printable(Buffer.from(one.data as number[]));
    return one;
  });
}
