/**
 * The lexer of MySQL and MariaDB, as far as it decides where tokens begin and end. It follows sql_lex.cc: what a text
 * means depends on the session's sql_mode, on the server's version and on the client's character set, so a lexer is
 * made for one {@link Reading} of it. Checked against MariaDB 10.11 and MySQL 9.7 (`test/conformance/mysql-sql.test.ts`).
 *
 *  - `# …` and `-- …` (the dashes need a space, a control character or the end of the text behind them) end at \n, not at \r;
 *  - `/* … * /` does not nest; `/*! … * /`, `/*!50100 … * /` and MariaDB's `/*M! … * /` are code when the reading says so, and
 *    ordinary comments may stand in them; when they are not code, one level of comments nests in them;
 *  - `'…'` and `"…"` double their quotes, and know backslashes or not; `` `…` `` doubles its quotes and knows no backslash;
 *  - a number may be glued to what follows: `1e1FOR` is two tokens, `1FOR` is one identifier;
 *  - behind `.`, keywords are identifiers.
 *
 * https://dev.mysql.com/doc/refman/9.4/en/language-structure.html, https://mariadb.com/kb/en/language-structure/
 */
import { WORDS } from './words.ts';

export const Token = {
  end: 0,
  /** Identifier or keyword without quotes. */
  word: 1,
  /** In backticks. */
  quotedIdentifier: 2,
  /** In single quotes: also N'…', x'…' and b'…'. */
  string: 3,
  /** In double quotes: an identifier under ANSI_QUOTES, else a string. */
  doubleQuoted: 4,
  number: 5,
  /** `@name`; `@'name'` and ``@`name` `` come as a symbol and what is quoted. */
  userVariable: 6,
  /** `@@` */
  systemVariable: 7,
  /** One byte of an operator or punctuation. */
  symbol: 8,
  /** Only from a lexer that keeps comments. */
  comment: 9,
  /** MySQL 9: `$$ … $$`, `$tag$ … $tag$`. Older servers read identifiers here. */
  dollarString: 10,
  /** What every server refuses as a syntax error: a string, name or comment that does not end, a NUL. Reaches to the end. */
  broken: 11,
  /** What servers read in different ways, or we cannot tell how. Reaches to the end. */
  obscure: 12,
} as const;
export type TokenKind = (typeof Token)[keyof typeof Token];

/** One way in which a server may read a text. */
export interface Reading {
  /** A backslash escapes in '…': not under NO_BACKSLASH_ESCAPES. */
  readonly singleEscapes: boolean;
  /** A backslash escapes in "…": neither under NO_BACKSLASH_ESCAPES nor under ANSI_QUOTES. */
  readonly doubleEscapes: boolean;
  /** Whether a versioned comment is code, by its key: "M100100", "50101", "" for one without a version. */
  readonly runs: (key: string) => boolean;
  /** Bytes from 0x80 on outside of quotes: letters (UTF-8), or who knows (some of latin1's are spaces). */
  readonly highBytes: 'letters' | 'unknown';
}

const NEWLINE = 0x0a;
const QUOTE = 0x27;
const DOUBLE_QUOTE = 0x22;
const BACKTICK = 0x60;
const BACKSLASH = 0x5c;
const HASH = 0x23;
const DASH = 0x2d;
const SOLIDUS = 0x2f;
const STAR = 0x2a;
const BANG = 0x21;
const PLUS = 0x2b;
const DOT = 0x2e;
const AT = 0x40;
const DOLLAR = 0x24;
const UPPER_M = 0x4d;

const IDENTIFIER = 1;
const DIGIT = 2;
const SPACE = 4;
const HEX = 8;
const CLASS = new Uint8Array(256);
for (let byte = 0; byte < 256; byte++) {
  const lower = byte | 0x20;
  if ((lower >= 0x61 && lower <= 0x7a) || byte === 0x5f || byte === DOLLAR || byte >= 0x80)
    CLASS[byte] = IDENTIFIER;
  if (byte >= 0x30 && byte <= 0x39) CLASS[byte] = IDENTIFIER | DIGIT | HEX;
  if (lower >= 0x61 && lower <= 0x66) CLASS[byte] |= HEX;
  if (byte === 0x20 || (byte >= 0x09 && byte <= 0x0d)) CLASS[byte] = SPACE;
}

/** White space that separates tokens. */
export function isSpace(byte: number): boolean {
  return CLASS[byte] === SPACE;
}

export function isIdentifierPart(byte: number): boolean {
  return (CLASS[byte] & IDENTIFIER) !== 0;
}

function isDigit(byte: number): boolean {
  return (CLASS[byte] & DIGIT) !== 0;
}

export class Lexer {
  /** Of the last token, byte offsets. */
  tokenStart = 0;
  tokenEnd = 0;
  /** The last token, where it is a word that `words.ts` lists, in lower case; else ''. Words behind a dot have none. */
  word = '';
  /** Where the text within the quotes of the last quoted token begins and ends. */
  innerStart = 0;
  innerEnd = 0;
  /** Why the last token is `obscure`. */
  obscurity = '';
  readonly #bytes: Uint8Array;
  readonly #end: number;
  readonly #reading: Reading;
  readonly #keepComments: boolean;
  #at: number;
  /** Within a versioned comment that is code. */
  #inVersioned = false;
  #afterDot = false;

  constructor(bytes: Uint8Array, start: number, end: number, reading: Reading, keepComments = false) {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
    this.#reading = reading;
    this.#keepComments = keepComments;
  }

  /** A server begins anew with each statement: `* /` behind a semicolon closes nothing. */
  nextStatement(): void {
    this.#inVersioned = false;
    this.#afterDot = false;
  }

  next(): TokenKind {
    const bytes = this.#bytes;
    const end = this.#end;
    for (;;) {
      while (this.#at < end && CLASS[bytes[this.#at]] === SPACE) this.#at++;
      const at = this.#at;
      this.tokenStart = at;
      this.word = '';
      if (at >= end) return this.#inVersioned ? this.#rest(Token.broken) : this.#token(Token.end, end);
      const byte = bytes[at];
      const following = at + 1 < end ? bytes[at + 1] : 0;
      let comment = -1;
      if (byte === HASH) comment = this.#endOfLine(at + 1);
      else if (byte === DASH && following === DASH) {
        const third = at + 2 < end ? bytes[at + 2] : 0;
        if (third <= 0x20 || third === 0x7f) comment = this.#endOfLine(at + 2);
        else if (third >= 0x80 && this.#reading.highBytes === 'unknown') return this.#obscure(HIGH_BYTES);
      } else if (byte === SOLIDUS && following === STAR) {
        const opened = this.#versioned(at);
        if (opened === OPENED) continue;
        if (opened === OBSCURE) return this.#obscure('an unusual versioned comment');
        if (opened === HINT && !this.#isPlainHint(at + 3)) return this.#obscure('an unusual hint');
        comment = opened === SKIPPED ? this.#endOfSkipped(at + 2) : this.#endOfBlock(at + 2);
        if (comment < 0) return this.#rest(Token.broken);
      } else if (byte === STAR && following === SOLIDUS && this.#inVersioned) {
        this.#inVersioned = false;
        this.#at = at + 2;
        continue;
      }
      if (comment < 0) return this.#significant(byte, following);
      this.#token(Token.comment, comment);
      if (this.#keepComments) return Token.comment;
    }
  }

  #significant(byte: number, following: number): TokenKind {
    const at = this.#at;
    const afterDot = this.#afterDot;
    this.#afterDot = false;
    if (byte === QUOTE) return this.#string(at + 1, QUOTE, this.#reading.singleEscapes);
    if (byte === DOUBLE_QUOTE) return this.#string(at + 1, DOUBLE_QUOTE, this.#reading.doubleEscapes);
    if (byte === BACKTICK) return this.#string(at + 1, BACKTICK, false);
    const kind = CLASS[byte];
    if ((kind & IDENTIFIER) !== 0) {
      if (following === QUOTE && !afterDot) {
        const lower = byte | 0x20;
        if (lower === 0x6e) return this.#string(at + 2, QUOTE, this.#reading.singleEscapes);
        if (lower === 0x78 || lower === 0x62) return this.#bits();
      }
      if (byte === DOLLAR && !afterDot) {
        const dollar = this.#dollar();
        if (dollar !== null) return dollar;
      }
      return (kind & DIGIT) === 0 || afterDot ? this.#word(at, afterDot) : this.#number();
    }
    if (byte === AT) return this.#at_(following);
    if (byte === DOT) {
      if (isDigit(following) && !this.#followsName()) return this.#real(at + 1);
      this.#afterDot = isIdentifierPart(following);
    }
    if (byte === 0) return this.#rest(Token.broken);
    return this.#token(Token.symbol, at + 1);
  }

  #token(kind: TokenKind, end: number): TokenKind {
    this.tokenEnd = end;
    this.#at = end;
    return kind;
  }

  #rest(kind: TokenKind): TokenKind {
    this.#inVersioned = false;
    return this.#token(kind, this.#end);
  }

  #obscure(why: string): TokenKind {
    this.obscurity = why;
    return this.#rest(Token.obscure);
  }

  /** A dot right behind a name, as in `t.5a`. */
  #followsName(): boolean {
    const before = this.#at - 1;
    return before >= 0 && before === this.tokenEnd - 1 && this.tokenEnd > 0
      ? isIdentifierPart(this.#bytes[before]) || this.#bytes[before] === BACKTICK
      : false;
  }

  #word(from: number, afterDot: boolean): TokenKind {
    const bytes = this.#bytes;
    let at = from;
    let hash = 0x811c9dc5;
    let high = 0;
    while (at < this.#end) {
      const byte = bytes[at];
      if ((CLASS[byte] & IDENTIFIER) === 0) break;
      high |= byte;
      hash = Math.imul(hash ^ (byte | 0x20), 0x01000193);
      at++;
    }
    if (high >= 0x80 && this.#reading.highBytes === 'unknown') return this.#obscure(HIGH_BYTES);
    if (!afterDot) this.word = WORDS.find(hash, bytes, from, at);
    return this.#token(Token.word, at);
  }

  /** MY_LEX_NUMBER_IDENT: digits, and then perhaps an identifier after all. */
  #number(): TokenKind {
    const bytes = this.#bytes;
    const end = this.#end;
    const start = this.#at;
    let at = start + 1;
    const second = at < end ? bytes[at] : 0;
    if (bytes[start] === 0x30 && (second === 0x78 || second === 0x62)) {
      at++;
      if (second === 0x78) while (at < end && (CLASS[bytes[at]] & HEX) !== 0) at++;
      else while (at < end && (bytes[at] === 0x30 || bytes[at] === 0x31)) at++;
      if (at - start >= 3 && (at === end || !isIdentifierPart(bytes[at])))
        return this.#token(Token.number, at);
      return this.#word(start, false);
    }
    while (at < end && isDigit(bytes[at])) at++;
    if (at < end && (bytes[at] | 0x20) === 0x65) {
      const exponent = this.#exponent(at + 1);
      if (exponent > 0) return this.#token(Token.number, exponent);
    }
    if (at < end && isIdentifierPart(bytes[at])) return this.#word(start, false);
    return at < end && bytes[at] === DOT ? this.#real(at + 1) : this.#token(Token.number, at);
  }

  /** Behind the digits of an exponent, or -1 where there are none. */
  #exponent(at: number): number {
    const bytes = this.#bytes;
    if (at < this.#end && (bytes[at] === PLUS || bytes[at] === DASH)) at++;
    if (at >= this.#end || !isDigit(bytes[at])) return -1;
    while (at < this.#end && isDigit(bytes[at])) at++;
    return at;
  }

  /** Behind the decimal point. */
  #real(at: number): TokenKind {
    const bytes = this.#bytes;
    while (at < this.#end && isDigit(bytes[at])) at++;
    if (at < this.#end && (bytes[at] | 0x20) === 0x65) {
      const exponent = this.#exponent(at + 1);
      if (exponent > 0) at = exponent;
    }
    return this.#token(Token.number, at);
  }

  /** `@name`, `@@`, `@`. */
  #at_(following: number): TokenKind {
    let at = this.#at + 1;
    if (following === AT) return this.#token(Token.systemVariable, at + 1);
    const bytes = this.#bytes;
    while (at < this.#end && (isIdentifierPart(bytes[at]) || bytes[at] === DOT)) {
      if (bytes[at] >= 0x80 && this.#reading.highBytes === 'unknown') return this.#obscure(HIGH_BYTES);
      at++;
    }
    return at === this.#at + 1 ? this.#token(Token.symbol, at) : this.#token(Token.userVariable, at);
  }

  #string(inner: number, quote: number, escapes: boolean): TokenKind {
    const bytes = this.#bytes;
    const end = this.#end;
    this.innerStart = inner;
    let at = inner;
    for (; at < end; at++) {
      const byte = bytes[at];
      if (byte === quote) {
        if (at + 1 < end && bytes[at + 1] === quote) at++;
        else break;
      } else if (byte === BACKSLASH && escapes) at++;
      // Under ANSI_QUOTES, too, it is a name, and names hold none.
      else if (byte === 0 && quote !== QUOTE) return this.#obscure('a zero byte in a name or string');
    }
    this.innerEnd = Math.min(at, end);
    if (at >= end) return this.#rest(Token.broken);
    if (quote === QUOTE) return this.#token(Token.string, at + 1);
    return this.#token(quote === BACKTICK ? Token.quotedIdentifier : Token.doubleQuoted, at + 1);
  }

  /** x'…' and b'…': the server refuses what is no digit in there. */
  #bits(): TokenKind {
    const bytes = this.#bytes;
    let at = this.#at + 2;
    this.innerStart = at;
    while (at < this.#end && (CLASS[bytes[at]] & HEX) !== 0) at++;
    this.innerEnd = at;
    if (at >= this.#end || bytes[at] !== QUOTE) return this.#rest(Token.broken);
    return this.#token(Token.string, at + 1);
  }

  /** `null` where no delimiter stands: an identifier that begins with a dollar sign. */
  #dollar(): TokenKind | null {
    const bytes = this.#bytes;
    const start = this.#at;
    let at = start + 1;
    while (at < this.#end && bytes[at] !== DOLLAR && isIdentifierPart(bytes[at])) at++;
    if (at >= this.#end || bytes[at] !== DOLLAR) return null;
    const tag = Buffer.from(bytes.buffer, bytes.byteOffset + start, at + 1 - start);
    const whole = Buffer.from(bytes.buffer, bytes.byteOffset, this.#end);
    const close = whole.indexOf(tag, at + 1);
    this.innerStart = at + 1;
    this.innerEnd = close < 0 ? this.#end : close;
    if (close < 0) return this.#obscure('a dollar quote without an end');
    return this.#token(Token.dollarString, close + tag.length);
  }

  /** What begins at `/*`. A versioned comment that is code is opened, and its first byte becomes the next. */
  #versioned(at: number): number {
    const bytes = this.#bytes;
    const end = this.#end;
    let inner = at + 2;
    const first = inner < end ? bytes[inner] : 0;
    if (first === PLUS) return HINT;
    const ofMariadb = first === UPPER_M && inner + 1 < end && bytes[inner + 1] === BANG;
    if (!ofMariadb && first !== BANG) return PLAIN;
    inner += ofMariadb ? 2 : 1;
    let digits = 0;
    while (digits < 7 && inner + digits < end && isDigit(bytes[inner + digits])) digits++;
    // MySQL 8 and later and MariaDB take six digits, older ones five; nobody writes seven.
    if (digits === 7) return OBSCURE;
    const behind = inner + digits < end ? bytes[inner + digits] : 0;
    if (digits === 6 && CLASS[behind] !== SPACE && behind !== BACKSLASH) return OBSCURE;
    const key = commentKey(bytes, inner, digits, ofMariadb);
    if (!this.#reading.runs(key)) return SKIPPED;
    this.#inVersioned = true;
    this.#at = digits >= 5 ? inner + digits : inner;
    return OPENED;
  }

  /** Quoted names in hints are read by a lexer of their own: `* /` within them ends no hint. */
  #isPlainHint(at: number): boolean {
    const bytes = this.#bytes;
    const close = this.#endOfBlock(at) - 2;
    let quote = 0;
    for (; at < close; at++) {
      const byte = bytes[at];
      if (byte === quote) quote = 0;
      else if (quote === 0 && (byte === QUOTE || byte === DOUBLE_QUOTE || byte === BACKTICK)) quote = byte;
    }
    return quote === 0;
  }

  /** Behind the line. A NUL ends a comment as well, and then the statement cannot be parsed. */
  #endOfLine(at: number): number {
    const bytes = this.#bytes;
    while (at < this.#end && bytes[at] !== NEWLINE && bytes[at] !== 0) at++;
    return at;
  }

  #endOfBlock(at: number): number {
    const bytes = this.#bytes;
    for (; at + 1 < this.#end; at++) if (bytes[at] === STAR && bytes[at + 1] === SOLIDUS) return at + 2;
    return -1;
  }

  /** consume_comment() with one recursion. */
  #endOfSkipped(at: number): number {
    const bytes = this.#bytes;
    for (; at + 1 < this.#end; at++) {
      if (bytes[at] === STAR && bytes[at + 1] === SOLIDUS) return at + 2;
      if (bytes[at] === SOLIDUS && bytes[at + 1] === STAR) {
        at = this.#endOfBlock(at + 2) - 1;
        if (at < 0) return -1;
      }
    }
    return -1;
  }
}

const HIGH_BYTES = 'letters beyond ASCII outside of quotes, in a character set that is not known to be UTF-8';
const PLAIN = 0;
const HINT = 1;
const SKIPPED = 2;
const OPENED = 3;
const OBSCURE = 4;

/** "M100100", "50101", "" for `/*! … * /`. Less than five digits are no version but the first token of the content. */
function commentKey(bytes: Uint8Array, at: number, digits: number, ofMariadb: boolean): string {
  let key = ofMariadb ? 'M' : '';
  if (digits >= 5) for (let i = 0; i < digits; i++) key += String.fromCharCode(bytes[at + i]);
  return key;
}

/** The versioned comments of a text, by key; also what only looks like one (in a string). At most `max` + 1 of them. */
export function versionedComments(bytes: Uint8Array, start: number, end: number, max: number): Set<string> {
  const keys = new Set<string>();
  for (let at = start; at + 2 < end; at++) {
    if (bytes[at] !== SOLIDUS || bytes[at + 1] !== STAR) continue;
    const ofMariadb = bytes[at + 2] === UPPER_M && at + 3 < end && bytes[at + 3] === BANG;
    if (!ofMariadb && bytes[at + 2] !== BANG) continue;
    const inner = at + (ofMariadb ? 4 : 3);
    let digits = 0;
    while (digits < 6 && inner + digits < end && isDigit(bytes[inner + digits])) digits++;
    keys.add(commentKey(bytes, inner, digits, ofMariadb));
    if (keys.size > max) break;
  }
  return keys;
}
