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
  /** MariaDB's SET STATEMENT … FOR another statement: ask the dialect which. */
  setStatement: 7,
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
  const at = wordStart(bytes, start, end);
  return at < 0 ? (at === HIDDEN ? FirstWord.hidden : FirstWord.other) : wordAt(bytes, at, end);
}

const NONE = -1;
const HIDDEN = -2;

/** Where the first word begins; NONE, or HIDDEN. */
function wordStart(bytes: Buffer, start: number, end: number): number {
  let at = start;
  for (;;) {
    // In latin1 and its like, some of the upper half are white space; no statement begins with one of the others.
    while (at < end && (bytes[at] <= 0x20 || bytes[at] >= 0x80)) at++;
    if (at >= end) return NONE;
    const byte = bytes[at];
    if (byte === HASH || (byte === DASH && bytes[at + 1] === DASH)) {
      while (at < end && bytes[at] !== NEWLINE) at++;
      if (at >= end) return NONE;
      at++;
    } else if (byte === SLASH && bytes[at + 1] === STAR) {
      const third = bytes[at + 2];
      if (third === BANG || third === UPPER_M) return HIDDEN;
      at += 2;
      while (at + 1 < end && !(bytes[at] === STAR && bytes[at + 1] === SLASH)) at++;
      if (at + 1 >= end) return HIDDEN;
      at += 2;
    } else if (byte === OPEN) at++;
    else return at;
  }
}

function wordAt(bytes: Buffer, at: number, end: number): FirstWord {
  for (const [word, value] of WORDS) {
    if (!matches(bytes, at, end, word)) continue;
    // A comment may stand right behind it, or a quoted name.
    const next = at + word.length;
    if (next < end && isLetter(bytes[next])) return FirstWord.other;
    return value === FirstWord.set && isSetStatement(bytes, next, end) ? FirstWord.setStatement : value;
  }
  // A word directly followed by a versioned comment is still a word of its own.
  return FirstWord.other;
}

function isSetStatement(bytes: Buffer, at: number, end: number): boolean {
  const next = wordStart(bytes, at, end);
  return next === HIDDEN || (next >= 0 && matches(bytes, next, end, 'statement'));
}

/**
 * Whether KILL or USE stands where a statement may begin, in any reading of a text that has versioned comments in front:
 * behind the beginning or the end of a comment.
 */
export function mayBeginHidden(bytes: Buffer, start: number, end: number): boolean {
  const text = bytes.toString('latin1', start, end);
  for (const { index } of text.matchAll(/kill|use/gi)) {
    let at = index;
    let newLine = false;
    while (at > 0 && isGap(text.charCodeAt(at - 1))) {
      at--;
      newLine ||= text.charCodeAt(at) === NEWLINE;
    }
    if (newLine || at === 0 || /(?:\*\/|\/\*M?!\d*)$/.test(text.slice(Math.max(0, at - 16), at))) return true;
  }
  return false;
}

function isGap(byte: number): boolean {
  return byte <= 0x20 || byte >= 0x80 || byte === OPEN;
}

function matches(bytes: Buffer, at: number, end: number, word: string): boolean {
  if (end - at < word.length) return false;
  for (let i = 0; i < word.length; i++) if ((bytes[at + i] | 0x20) !== word.charCodeAt(i)) return false;
  return true;
}

/** Letters beyond ASCII are none here: they may be white space. */
function isLetter(byte: number): boolean {
  const lower = byte | 0x20;
  return (lower >= 0x61 && lower <= 0x7a) || (byte >= 0x30 && byte <= 0x39) || byte === 0x5f || byte === 0x24;
}
