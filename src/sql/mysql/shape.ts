/**
 * The shape of a simple text: its bytes with every '…' and every plain number replaced by a mark. Judgement looks at the
 * kinds of tokens and at words, and never at a constant of a SELECT, INSERT, UPDATE, DELETE or REPLACE: so one
 * classification serves all texts of a shape (`classifier.ts` asks for those verbs).
 *
 *   SELECT a FROM t WHERE id = 42 AND n = 'x''y'   ⟶   SELECT a FROM t WHERE id = ① AND n = ②
 *
 * A text is simple when there is but one way to read it, and nothing in it changes how the rest is read: no backslash, no
 * comment, no semicolon, no double quote, no dollar, no variable, no glued number, no byte beyond ASCII outside of '…'.
 */
const MARK_NUMBER = 1;
const MARK_STRING = 2;

// What a byte is, where a token may begin.
const REFUSED = 0;
const COPIED = 1;
const LETTER = 2;
const DIGIT = 3;
const QUOTE = 4;
const BACKTICK = 5;
const CLASSES = new Uint8Array(256);
for (let byte = 0x20; byte < 0x7f; byte++) CLASSES[byte] = COPIED;
for (let byte = 0x61; byte <= 0x7a; byte++) CLASSES[byte] = CLASSES[byte - 0x20] = LETTER;
for (let byte = 0x30; byte <= 0x39; byte++) CLASSES[byte] = DIGIT;
for (const space of [0x09, 0x0a, 0x0d]) CLASSES[space] = COPIED;
CLASSES[0x5f] = LETTER;
CLASSES[0x27] = QUOTE;
CLASSES[0x60] = BACKTICK;
// " # $ ; @ \
for (const byte of [0x22, 0x23, 0x24, 0x3b, 0x40, 0x5c]) CLASSES[byte] = REFUSED;

/** Reads one text at a time; its results stay until the next. */
export class ShapeReader {
  /** The shape is `bytes[0, length)`. */
  readonly bytes: Uint8Array;
  length = 0;
  /** Of the shape, 30 bits. */
  hash = 0;

  constructor(maxBytes: number) {
    this.bytes = new Uint8Array(maxBytes);
  }

  /** Whether the text is simple. Texts longer than `maxBytes` are not. */
  read(text: Uint8Array, start: number, end: number): boolean {
    if (end - start > this.bytes.length) return false;
    const shape = this.bytes;
    let length = 0;
    let hash = 0x811c9dc5;
    let at = start;
    while (at < end) {
      let byte = text[at];
      const from = at;
      switch (CLASSES[byte]) {
        case COPIED:
          at++;
          // -- and /*
          if ((byte === 0x2d && text[at] === 0x2d) || (byte === 0x2f && text[at] === 0x2a)) return false;
          break;
        case LETTER:
          do hash = Math.imul(hash ^ (shape[length++] = text[at++]), 0x01000193);
          while (at < end && (CLASSES[text[at]] === LETTER || CLASSES[text[at]] === DIGIT));
          // N'…', x'…', and names that go on beyond ASCII
          if (at < end && (text[at] === 0x27 || text[at] >= 0x80)) return false;
          continue;
        case DIGIT:
          do at++;
          while (at < end && CLASSES[text[at]] === DIGIT);
          if (at < end && (CLASSES[text[at]] === LETTER || text[at] === 0x2e)) return false;
          if (from > start && text[from - 1] === 0x2e) return false;
          byte = MARK_NUMBER;
          break;
        case QUOTE:
          at = endOfString(text, at + 1, end);
          if (at < 0) return false;
          byte = MARK_STRING;
          break;
        case BACKTICK:
          do hash = Math.imul(hash ^ (shape[length++] = text[at++]), 0x01000193);
          while (at < end && text[at] !== 0x60 && text[at] >= 0x20 && text[at] < 0x7f && text[at] !== 0x5c);
          if (at >= end || text[at] !== 0x60) return false;
          byte = text[at++];
          break;
        default:
          return false;
      }
      hash = Math.imul(hash ^ (shape[length++] = byte), 0x01000193);
    }
    this.length = length;
    this.hash = (hash ^ (hash >>> 15)) & 0x3fffffff;
    return true;
  }
}

/** Behind the closing quote; -1 for a string with a backslash or a NUL, or without an end. */
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
