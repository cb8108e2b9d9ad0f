/**
 * The cheap look at every statement: could it hold a secret at all? One pass over the bytes, no allocation. `false` is
 * certain with regard to the rules of `redact.ts`: each of them needs one of these words, or one of these first words.
 */
import { hasWordAt, SecretWords } from '../secret-words.ts';
import { isSpace } from './lexer.ts';

const WORDS = new SecretWords([
  ['pass', 2],
  ['secret', 2],
  ['crypt', 0],
  ['cred', 0],
  ['pwd', 1],
  ['identif', 5],
  ['api_key', 2],
  ['apikey', 1],
  ['://', 1],
]);

/** Statements about accounts and connections; a mistyped IDENTIFIED tells nothing by itself. */
const FIRST_WORDS = ['set', 'alter', 'create', 'grant', 'change', 'start', 'clone'];

export function mayHoldSecret(text: Uint8Array, start: number, end: number): boolean {
  return mentionsSecret(text, start, end) || beginsTelling(text, start, end);
}

/** Whether one of the words is there. */
export function mentionsSecret(text: Uint8Array, start: number, end: number): boolean {
  return WORDS.in(text, start, end);
}

/** Where several statements follow each other, only the first counts. */
function beginsTelling(text: Uint8Array, start: number, end: number): boolean {
  const at = firstWord(text, start, end);
  for (const word of FIRST_WORDS) if (hasWordAt(text, at, start, end, word)) return true;
  return false;
}

/** Behind white space, semicolons and comments, and into versioned comments. */
function firstWord(text: Uint8Array, at: number, end: number): number {
  while (at < end) {
    const byte = text[at];
    if (isSpace(byte) || byte === 0x3b || byte === 0x28) at++;
    else if (byte === 0x23 || (byte === 0x2d && text[at + 1] === 0x2d))
      while (at < end && text[at] !== 0x0a) at++;
    else if (byte === 0x2f && text[at + 1] === 0x2a) {
      const marker = text[at + 2] === 0x4d ? text[at + 3] : text[at + 2];
      if (marker === 0x21) {
        at += text[at + 2] === 0x4d ? 4 : 3;
        while (at < end && text[at] >= 0x30 && text[at] <= 0x39) at++;
      } else at = behindComment(text, at + 2, end);
    } else if (byte === 0x2a && text[at + 1] === 0x2f) at += 2;
    else return at;
  }
  return end;
}

function behindComment(text: Uint8Array, at: number, end: number): number {
  for (; at + 1 < end; at++) if (text[at] === 0x2a && text[at + 1] === 0x2f) return at + 2;
  return end;
}
