/**
 * The shape of a simple text: its bytes with every constant replaced by a mark for the kind of constant it is. Two texts
 * of one shape have the same tokens but for the values of their constants, so one classification may serve both, where
 * the values do not matter (`classifier.ts` decides that from the parse tree).
 *
 * A text is simple when nothing in it can change how the rest is read: no backslash, no line comment, no dollar quote,
 * no prefixed string (E'', B'', U&''), no number that PostgreSQL versions read differently, no control character. Every
 * other text has no shape, and is cached as a whole.
 *
 *   SELECT a FROM t WHERE id = 42 AND n = 'x''y'   ⟶   SELECT a FROM t WHERE id = ① AND n = ③
 *
 * Marks (bytes that no simple text holds): 1 an integer that fits 32 bits (ICONST), 2 digits with a decimal point
 * (FCONST), 3 a string (SCONST), 4 a block comment, 5 an integer that does not fit 32 bits (FCONST).
 */
const MARK_INTEGER = 1;
const MARK_DECIMAL = 2;
const MARK_STRING = 3;
const MARK_COMMENT = 4;
const MARK_BIG_INTEGER = 5;

const MINUS = 0x2d;
const MAX_INT32 = 2_147_483_647;

// What a byte is, where a token may begin.
const REFUSED = 0;
const COPIED = 1;
const LETTER = 2;
const DIGIT = 3;
const QUOTE = 4;
const DOUBLE_QUOTE = 5;
const DASH = 6;
const SOLIDUS = 7;
const DOLLAR = 8;

const CLASSES = new Uint8Array(256);
for (let byte = 0; byte < 256; byte++) {
  const lower = byte | 0x20;
  if ((lower >= 0x61 && lower <= 0x7a) || byte === 0x5f || byte >= 0x80) CLASSES[byte] = LETTER;
  else if (byte >= 0x30 && byte <= 0x39) CLASSES[byte] = DIGIT;
  else if (byte >= 0x20 && byte < 0x7f) CLASSES[byte] = COPIED;
}
for (const space of [0x09, 0x0a, 0x0c, 0x0d]) CLASSES[space] = COPIED;
CLASSES[0x27] = QUOTE;
CLASSES[0x22] = DOUBLE_QUOTE;
CLASSES[MINUS] = DASH;
CLASSES[0x2f] = SOLIDUS;
CLASSES[0x24] = DOLLAR;
CLASSES[0x5c] = REFUSED; // backslash
CLASSES[0x3b] = REFUSED; // semicolon: several statements

const isWordPart = new Uint8Array(256);
for (let byte = 0; byte < 256; byte++)
  isWordPart[byte] = CLASSES[byte] === LETTER || CLASSES[byte] === DIGIT || byte === 0x24 ? 1 : 0;

/** Reads one text at a time; its results stay until the next. */
export class ShapeReader {
  /** The shape is `bytes[0, length)`. */
  readonly bytes: Uint8Array;
  length = 0;
  /** Of the shape, 30 bits. */
  hash = 0;
  /** Constants replaced, and their offsets from the text's start. */
  constants = 0;
  readonly constantsAt: Int32Array;
  /** For each, the offset of a minus sign right before it, else its own: the parser places `-5` at its sign. */
  readonly signsAt: Int32Array;
  #mark = MARK_INTEGER;

  constructor(maxBytes: number) {
    this.bytes = new Uint8Array(maxBytes);
    this.constantsAt = new Int32Array(maxBytes);
    this.signsAt = new Int32Array(maxBytes);
  }

  /** Whether the text is simple. Texts longer than `maxBytes` are not. */
  read(text: Uint8Array, start: number, end: number): boolean {
    if (end - start > this.bytes.length) return false;
    const shape = this.bytes;
    let length = 0;
    let hash = 0x811c9dc5;
    let sign = -1; // offset of a minus with nothing but spaces behind it
    let at = start;
    this.constants = 0;
    while (at < end) {
      let byte = text[at];
      let from = at;
      switch (CLASSES[byte]) {
        case COPIED:
          at++;
          if (byte > 0x20) sign = -1;
          break;
        case LETTER:
          do at++;
          while (at < end && isWordPart[text[at]] === 1);
          // A prefix of a string, or of a quoted identifier.
          if (at < end && (text[at] === 0x27 || (text[at] === 0x26 && at - from === 1))) return false;
          for (; from < at; from++) hash = Math.imul(hash ^ (shape[length++] = text[from]), 0x01000193);
          sign = -1;
          continue;
        case DASH:
          if (text[at + 1] === MINUS && at + 1 < end) return false;
          sign = at++;
          break;
        case DIGIT:
          at = this.#number(text, at, start, end);
          if (at < 0) return false;
          byte = this.#mark;
          this.signsAt[this.constants] = (sign >= 0 ? sign : from) - start;
          this.constantsAt[this.constants++] = from - start;
          sign = -1;
          break;
        case QUOTE:
          at = endOfString(text, at + 1, end);
          if (at < 0) return false;
          this.signsAt[this.constants] = from - start;
          this.constantsAt[this.constants++] = from - start;
          byte = MARK_STRING;
          sign = -1;
          break;
        case DOUBLE_QUOTE:
          at++;
          while (at < end && text[at] !== 0x22) if (text[at++] === 0) return false;
          if (at++ >= end) return false;
          for (; from < at; from++) {
            if (text[from] < 0x20) return false;
            hash = Math.imul(hash ^ (shape[length++] = text[from]), 0x01000193);
          }
          sign = -1;
          continue;
        case SOLIDUS:
          at++;
          if (at < end && text[at] === 0x2a) {
            at = endOfComment(text, at + 1, end);
            if (at < 0) return false;
            byte = MARK_COMMENT;
          }
          sign = -1;
          break;
        case DOLLAR:
          // Only parameters: their number stays.
          at = endOfDigits(text, at + 1, end);
          if (at === from + 1 || (at < end && isWordPart[text[at]] === 1)) return false;
          for (; from < at; from++) hash = Math.imul(hash ^ (shape[length++] = text[from]), 0x01000193);
          sign = -1;
          continue;
        default:
          return false;
      }
      hash = Math.imul(hash ^ (shape[length++] = byte), 0x01000193);
    }
    this.length = length;
    this.hash = (hash ^ (hash >>> 15)) & 0x3fffffff;
    return true;
  }

  /** Behind the number, its mark in `#mark`; -1 for one that versions of PostgreSQL read differently. */
  #number(text: Uint8Array, from: number, start: number, end: number): number {
    let at = endOfDigits(text, from, end);
    this.#mark = MARK_INTEGER;
    if (at - from > 9) {
      if (text[from] === 0x30) return -1; // leading zeros hide the magnitude
      if (!fitsInt32(text, from, at)) this.#mark = MARK_BIG_INTEGER;
    }
    if (from > start && text[from - 1] === 0x2e) return -1;
    if (at < end && text[at] === 0x2e) {
      const fraction = at + 1;
      at = endOfDigits(text, fraction, end);
      if (at === fraction || (at < end && text[at] === 0x2e)) return -1;
      this.#mark = MARK_DECIMAL;
    }
    return at < end && isWordPart[text[at]] === 1 ? -1 : at;
  }
}

function endOfDigits(text: Uint8Array, at: number, end: number): number {
  while (at < end && CLASSES[text[at]] === DIGIT) at++;
  return at;
}

function fitsInt32(text: Uint8Array, from: number, to: number): boolean {
  if (to - from > 10) return false;
  let value = 0;
  for (let i = from; i < to; i++) value = value * 10 + text[i] - 0x30;
  return value <= MAX_INT32;
}

/** Behind the closing quote; -1 for a string with a backslash or without an end. */
function endOfString(text: Uint8Array, at: number, end: number): number {
  for (; at < end; at++) {
    const byte = text[at];
    if (byte === 0x5c || byte === 0) return -1;
    if (byte !== 0x27) continue;
    if (at + 1 < end && text[at + 1] === 0x27) at++;
    else return at + 1;
  }
  return -1;
}

/** Behind a block comment that holds no other; -1 otherwise. */
function endOfComment(text: Uint8Array, at: number, end: number): number {
  for (; at + 1 < end; at++) {
    const byte = text[at];
    if (byte === 0) return -1;
    if (byte === 0x2a && text[at + 1] === 0x2f) return at + 2;
    if (byte === 0x2f && text[at + 1] === 0x2a) return -1;
  }
  return -1;
}
