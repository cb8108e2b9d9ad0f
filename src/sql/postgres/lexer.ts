/**
 * PostgreSQL's lexer, as far as it decides where tokens begin and end. It follows `scan.l`: quotes and their
 * continuation over line ends, E'' and U&'' strings, bit strings, dollar quotes, nested comments, identifiers with `$`.
 * Operators come as single bytes: nothing here needs more, and a comment ends an operator in `scan.l` as well.
 *
 * https://www.postgresql.org/docs/current/sql-syntax-lexical.html and src/backend/parser/scan.l
 */
export const Token = {
  end: 0,
  /** Identifier or keyword without quotes. */
  word: 1,
  quotedIdentifier: 2,
  /** Any string in single quotes; `stringKind` says which, and continuations are part of it. */
  string: 3,
  dollarString: 4,
  number: 5,
  parameter: 6,
  /** One byte of an operator or punctuation. */
  symbol: 7,
  /** Only from a lexer that keeps comments. */
  comment: 8,
  /** A string, quoted identifier or comment that does not end. It reaches to the end of the text. */
  unterminated: 9,
} as const;
export type TokenKind = (typeof Token)[keyof typeof Token];

export type StringKind = 'plain' | 'escape' | 'unicode' | 'bit';

const NEWLINE = 0x0a;
const RETURN = 0x0d;
const QUOTE = 0x27;
const DOUBLE_QUOTE = 0x22;
const BACKSLASH = 0x5c;
const DOLLAR = 0x24;
const MINUS = 0x2d;
const SLASH = 0x2f;
const STAR = 0x2a;

/** \v counts since PostgreSQL 16; older servers refuse the whole text. */
export function isSpace(byte: number): boolean {
  return byte === 0x20 || (byte >= 0x09 && byte <= 0x0d);
}

export function isDigit(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39;
}

export function isIdentifierStart(byte: number): boolean {
  const lower = byte | 0x20;
  return (lower >= 0x61 && lower <= 0x7a) || byte === 0x5f || byte >= 0x80;
}

export function isIdentifierPart(byte: number): boolean {
  return isIdentifierStart(byte) || isDigit(byte) || byte === DOLLAR;
}

export class Lexer {
  /** Of the last token, byte offsets. */
  tokenStart = 0;
  tokenEnd = 0;
  /** Of the last `Token.string`. */
  stringKind: StringKind = 'plain';
  /** Where the text within the quotes of the last string token begins. */
  innerStart = 0;
  innerEnd = 0;
  readonly #bytes: Buffer;
  readonly #end: number;
  readonly #backslashInPlain: boolean;
  readonly #keepComments: boolean;
  #at: number;

  constructor(
    bytes: Buffer,
    start: number,
    end: number,
    standardConformingStrings: boolean,
    keepComments = false,
  ) {
    // The native search takes no end: an unterminated quote would have it read what is behind the text.
    this.#bytes = end === bytes.length ? bytes : bytes.subarray(0, end);
    this.#at = start;
    this.#end = end;
    this.#backslashInPlain = !standardConformingStrings;
    this.#keepComments = keepComments;
  }

  next(): TokenKind {
    const bytes = this.#bytes;
    const end = this.#end;
    for (;;) {
      while (this.#at < end && isSpace(bytes[this.#at])) this.#at++;
      this.tokenStart = this.#at;
      if (this.#at >= end) return this.#token(Token.end, end);
      const byte = bytes[this.#at];
      const following = this.#at + 1 < end ? bytes[this.#at + 1] : 0;
      if (byte === MINUS && following === MINUS) {
        this.#token(Token.comment, this.#endOfLine(this.#at + 2));
        if (this.#keepComments) return Token.comment;
        continue;
      }
      if (byte === SLASH && following === STAR) {
        const close = this.#endOfBlockComment(this.#at + 2);
        if (close < 0) return this.#token(Token.unterminated, end);
        this.#token(Token.comment, close);
        if (this.#keepComments) return Token.comment;
        continue;
      }
      return this.#significant(byte, following);
    }
  }

  /** Whether the last token is this word (ASCII, lower case), whatever its case in the text. */
  isWord(lowerCase: string): boolean {
    if (this.tokenEnd - this.tokenStart !== lowerCase.length) return false;
    for (let i = 0; i < lowerCase.length; i++)
      if ((this.#bytes[this.tokenStart + i] | 0x20) !== lowerCase.charCodeAt(i)) return false;
    return true;
  }

  #significant(byte: number, following: number): TokenKind {
    const at = this.#at;
    if (byte === QUOTE) return this.#string(at + 1, 'plain');
    if (following === QUOTE) {
      const lower = byte | 0x20;
      if (lower === 0x65) return this.#string(at + 2, 'escape');
      if (lower === 0x62 || lower === 0x78) return this.#string(at + 2, 'bit');
      if (lower === 0x6e) return this.#string(at + 2, 'plain');
    }
    if ((byte | 0x20) === 0x75 && following === 0x26 && at + 2 < this.#end) {
      const third = this.#bytes[at + 2];
      if (third === QUOTE) return this.#string(at + 3, 'unicode');
      if (third === DOUBLE_QUOTE) return this.#quotedIdentifier(at + 3);
    }
    if (isIdentifierStart(byte)) return this.#token(Token.word, this.#endOfWord(at + 1));
    if (byte === DOUBLE_QUOTE) return this.#quotedIdentifier(at + 1);
    if (byte === DOLLAR) return this.#dollar();
    if (isDigit(byte)) return this.#token(Token.number, this.#endOfNumber(at + 1));
    return this.#token(Token.symbol, at + 1);
  }

  #token(kind: TokenKind, end: number): TokenKind {
    this.tokenEnd = end;
    this.#at = end;
    return kind;
  }

  #endOfLine(at: number): number {
    const bytes = this.#bytes;
    while (at < this.#end && bytes[at] !== NEWLINE && bytes[at] !== RETURN) at++;
    return at;
  }

  #endOfBlockComment(at: number): number {
    const bytes = this.#bytes;
    let depth = 1;
    while (at + 1 < this.#end) {
      if (bytes[at] === STAR && bytes[at + 1] === SLASH) {
        at += 2;
        if (--depth === 0) return at;
      } else if (bytes[at] === SLASH && bytes[at + 1] === STAR) {
        at += 2;
        depth++;
      } else at++;
    }
    return -1;
  }

  #endOfWord(at: number): number {
    const bytes = this.#bytes;
    while (at < this.#end && isIdentifierPart(bytes[at])) at++;
    return at;
  }

  /** Digits only: signs, points and exponents come as tokens of their own, which moves no boundary that matters. */
  #endOfNumber(at: number): number {
    const bytes = this.#bytes;
    while (at < this.#end && isDigit(bytes[at])) at++;
    return at;
  }

  #string(inner: number, kind: StringKind): TokenKind {
    const bytes = this.#bytes;
    const end = this.#end;
    this.stringKind = kind;
    this.innerStart = inner;
    const backslash = kind === 'escape' || (kind === 'plain' && this.#backslashInPlain);
    let at = inner;
    while (at < end) {
      const byte = bytes[at];
      if (byte === BACKSLASH && backslash) {
        at += 2;
        continue;
      }
      if (byte !== QUOTE) {
        at++;
        continue;
      }
      if (at + 1 < end && bytes[at + 1] === QUOTE && kind !== 'bit') {
        at += 2;
        continue;
      }
      const continued = this.#continuation(at + 1);
      if (continued < 0) {
        this.innerEnd = at;
        return this.#token(Token.string, at + 1);
      }
      at = continued;
    }
    this.innerEnd = end;
    return this.#token(Token.unterminated, end);
  }

  /** After a closing quote: the offset behind the quote that goes on with the string on another line, or -1. */
  #continuation(at: number): number {
    const bytes = this.#bytes;
    const end = this.#end;
    let newline = false;
    while (at < end) {
      const byte = bytes[at];
      if (byte === NEWLINE || byte === RETURN) {
        newline = true;
        at++;
      } else if (isSpace(byte)) at++;
      else if (byte === MINUS && at + 1 < end && bytes[at + 1] === MINUS) at = this.#endOfLine(at + 2);
      else return byte === QUOTE && newline ? at + 1 : -1;
    }
    return -1;
  }

  #quotedIdentifier(at: number): TokenKind {
    const bytes = this.#bytes;
    this.innerStart = at;
    for (;;) {
      const close = bytes.indexOf(DOUBLE_QUOTE, at);
      if (close < 0 || close >= this.#end) {
        this.innerEnd = this.#end;
        return this.#token(Token.unterminated, this.#end);
      }
      if (close + 1 < this.#end && bytes[close + 1] === DOUBLE_QUOTE) {
        at = close + 2;
        continue;
      }
      this.innerEnd = close;
      return this.#token(Token.quotedIdentifier, close + 1);
    }
  }

  #dollar(): TokenKind {
    const bytes = this.#bytes;
    const start = this.#at;
    let at = start + 1;
    if (at < this.#end && isDigit(bytes[at])) return this.#token(Token.parameter, this.#endOfNumber(at + 1));
    if (at < this.#end && isIdentifierStart(bytes[at])) {
      at++;
      while (at < this.#end && bytes[at] !== DOLLAR && isIdentifierPart(bytes[at])) at++;
    }
    if (at >= this.#end || bytes[at] !== DOLLAR) return this.#token(Token.symbol, start + 1);
    const delimiter = bytes.subarray(start, at + 1);
    this.innerStart = at + 1;
    const close = bytes.indexOf(delimiter, at + 1);
    if (close < 0 || close + delimiter.length > this.#end) {
      this.innerEnd = this.#end;
      return this.#token(Token.unterminated, this.#end);
    }
    this.innerEnd = close;
    return this.#token(Token.dollarString, close + delimiter.length);
  }
}
