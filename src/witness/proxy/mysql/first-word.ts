/** The first word of a statement, looked at without lexing: the few words that every grant is held to. */

export const FirstWord = {
  other: 0,
  set: 1,
  use: 2,
  kill: 3,
  call: 4,
  load: 5,
  /** Within a versioned comment, or behind something we do not look through: ask the dialect. */
  hidden: 6,
} as const;
export type FirstWord = (typeof FirstWord)[keyof typeof FirstWord];

const WORDS: readonly (readonly [word: string, value: FirstWord])[] = [
  ['set', FirstWord.set],
  ['use', FirstWord.use],
  ['kill', FirstWord.kill],
  ['call', FirstWord.call],
  ['load', FirstWord.load],
];

const SLASH = 0x2f;
const STAR = 0x2a;
const HASH = 0x23;
const DASH = 0x2d;
const BANG = 0x21;
const OPEN = 0x28;
const UPPER_M = 0x4d;
const NEWLINE = 0x0a;

export function firstWord(bytes: Buffer, start: number, end: number): FirstWord {
  let at = start;
  for (;;) {
    while (at < end && bytes[at] <= 0x20) at++;
    if (at >= end) return FirstWord.other;
    const byte = bytes[at];
    if (byte === HASH || (byte === DASH && bytes[at + 1] === DASH)) {
      const newline = bytes.indexOf(NEWLINE, at);
      if (newline < 0 || newline >= end) return FirstWord.other;
      at = newline + 1;
    } else if (byte === SLASH && bytes[at + 1] === STAR) {
      const third = bytes[at + 2];
      if (third === BANG || third === UPPER_M) return FirstWord.hidden;
      const close = bytes.indexOf('*/', at + 2);
      if (close < 0 || close >= end) return FirstWord.hidden;
      at = close + 2;
    } else if (byte === OPEN) at++;
    else return wordAt(bytes, at, end);
  }
}

function wordAt(bytes: Buffer, at: number, end: number): FirstWord {
  const first = bytes[at] | 0x20;
  for (const [word, value] of WORDS) {
    if (word.charCodeAt(0) !== first) continue;
    if (end - at >= word.length && matches(bytes, at, word)) {
      const next = at + word.length;
      // A comment may stand right behind it, or a quoted name.
      return next === end || !isLetter(bytes[next]) ? value : FirstWord.other;
    }
  }
  // A word directly followed by a versioned comment is still a word of its own.
  return FirstWord.other;
}

function matches(bytes: Buffer, at: number, word: string): boolean {
  for (let i = 1; i < word.length; i++) if ((bytes[at + i] | 0x20) !== word.charCodeAt(i)) return false;
  return true;
}

function isLetter(byte: number): boolean {
  const lower = byte | 0x20;
  return (
    (lower >= 0x61 && lower <= 0x7a) ||
    (byte >= 0x30 && byte <= 0x39) ||
    byte === 0x5f ||
    byte === 0x24 ||
    byte >= 0x80
  );
}
