/**
 * The cheap look at every statement: could it hold a secret at all? One pass over the bytes, no allocation. `false` is
 * certain with regard to the rules of `redact.ts`: each of them needs one of these words, or one of these first words.
 */
import { hasWordAt, SecretWords } from '../secret-words.ts';

const SLASH = 0x2f;
const DASH = 0x2d;
const STAR = 0x2a;

const WORDS = new SecretWords([
  ['pass', 2],
  ['secret', 2],
  ['scram', 1],
  ['crypt', 0],
  ['cred', 0],
  ['pwd', 1],
  ['hmac', 0],
  ['://', 1],
  ['set_config', 3],
]);

export function mayHoldSecret(text: Uint8Array, start: number, end: number): boolean {
  return WORDS.in(text, start, end) || beginsTelling(text, start, end);
}

/** SET (settings with telling names), ALTER and CREATE (of roles; a mistyped PASSWORD tells nothing by itself). */
function beginsTelling(text: Uint8Array, start: number, end: number): boolean {
  const at = firstWord(text, start, end);
  if (at >= end) return false;
  const first = text[at] | 0x20;
  if (first === 0x73) return hasWordAt(text, at, start, end, 'set');
  if (first === 0x61) return hasWordAt(text, at, start, end, 'alter');
  return first === 0x63 && hasWordAt(text, at, start, end, 'create');
}

/** Behind white space, semicolons and comments. Where several statements follow each other, only the first counts. */
function firstWord(text: Uint8Array, at: number, end: number): number {
  while (at < end) {
    const byte = text[at];
    if (byte <= 0x20 || byte === 0x3b) at++;
    else if (byte === DASH && text[at + 1] === DASH)
      while (at < end && text[at] !== 0x0a && text[at] !== 0x0d) at++;
    else if (byte === SLASH && text[at + 1] === STAR) at = behindComment(text, at + 2, end);
    else return at;
  }
  return end;
}

function behindComment(text: Uint8Array, at: number, end: number): number {
  for (let depth = 1; at < end; at++) {
    const byte = text[at];
    const next = text[at + 1];
    if (byte === STAR && next === SLASH) {
      at++;
      if (--depth === 0) return at + 1;
    } else if (byte === SLASH && next === STAR) {
      at++;
      depth++;
    }
  }
  return end;
}
