/**
 * The cheap look at every statement: could it hold a secret at all? One pass over the bytes, no allocation. `false` is
 * certain with regard to the rules of `redact.ts`: each of them needs one of these words, or one of these first words.
 */
const SLASH = 0x2f;
const DASH = 0x2d;
const STAR = 0x2a;

/** Each word, and where in it the pair of bytes is that the scan looks for: rare pairs of frequent letters. */
const WORDS: readonly (readonly [string, number])[] = [
  ['pass', 2],
  ['secret', 2],
  ['scram', 1],
  ['crypt', 0],
  ['cred', 0],
  ['pwd', 1],
  ['hmac', 0],
  ['://', 1],
  ['set_config', 3],
];

/** Per byte, the pairs that it may begin, and those that it may end, as bits. */
const BEGINS = new Uint8Array(256);
const ENDS = new Uint8Array(256);
const PAIRS = [...new Set(WORDS.map(([word, at]) => word.slice(at, at + 2)))];
for (const [bit, pair] of PAIRS.entries())
  for (const spelling of [pair, pair.toUpperCase()]) {
    BEGINS[spelling.charCodeAt(0)] |= 1 << bit;
    ENDS[spelling.charCodeAt(1)] |= 1 << bit;
  }

export function mayHoldSecret(text: Uint8Array, start: number, end: number): boolean {
  let begun = 0;
  for (let at = start; at < end; at++) {
    const byte = text[at];
    if ((begun & ENDS[byte]) !== 0 && isWordAround(text, at - 1, start, end)) return true;
    begun = BEGINS[byte];
  }
  return beginsTelling(text, start, end);
}

function isWordAround(text: Uint8Array, pair: number, start: number, end: number): boolean {
  return WORDS.some(([word, before]) => hasWordAt(text, pair - before, start, end, word));
}

function hasWordAt(text: Uint8Array, at: number, start: number, end: number, word: string): boolean {
  if (at < start || at + word.length > end) return false;
  for (let i = 0; i < word.length; i++) {
    const wanted = word.charCodeAt(i);
    const byte = text[at + i];
    if (byte !== wanted && !(wanted >= 0x61 && (byte | 0x20) === wanted)) return false;
  }
  return true;
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
