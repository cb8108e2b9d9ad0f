/**
 * What texts have in common that differ in constants only: their tokens, constants as one mark, lists of constants as
 * one, comments dropped, words in lower case. Read with the quoting of a new server; of versioned comments the content.
 */
import { Lexer, type Reading, Token } from './lexer.ts';

const READING: Reading = {
  singleEscapes: true,
  doubleEscapes: true,
  runs: () => true,
  highBytes: 'letters',
};
const OPEN = 0x28;
const CLOSE = 0x29;
const COMMA = 0x2c;

/** 16 hexadecimal digits; '' for a text that no server can lex. Two lanes of FNV-1a, each of 32 bits. */
export function fingerprint(text: string): string {
  const bytes = Buffer.from(text);
  const lexer = new Lexer(bytes, 0, bytes.length, READING);
  const hash = new Hash();
  for (;;) {
    const kind = lexer.next();
    if (kind === Token.end) return hash.digest();
    if (kind === Token.broken || kind === Token.obscure) return '';
    if (isConstant(kind)) {
      hash.constant();
      continue;
    }
    const { tokenStart, tokenEnd } = lexer;
    if (kind === Token.symbol) hash.symbol(bytes[tokenStart]);
    else if (kind === Token.word) hash.name(bytes, tokenStart, tokenEnd);
    else
      hash.bytes(
        bytes,
        kind === Token.quotedIdentifier ? lexer.innerStart : tokenStart,
        kind === Token.quotedIdentifier ? lexer.innerEnd : tokenEnd,
      );
  }
}

function isConstant(kind: number): boolean {
  return (
    kind === Token.string ||
    kind === Token.doubleQuoted ||
    kind === Token.number ||
    kind === Token.dollarString
  );
}

/** `(1, 2), (3, 4)` is hashed as `(?)`: what repeats a constant, or a list of them, adds nothing. */
class Hash {
  #one = 0x811c9dc5;
  #two = 0x6b43a9b5;
  #empty = true;
  /** A comma that waits for what follows; whether a list of nothing but constants is open, or was the last thing. */
  #comma = false;
  #last: 'constant' | 'list' | 'open' | 'other' = 'other';
  #inRepeatedList = false;

  constant(): void {
    this.#empty = false;
    if (this.#comma && this.#last === 'constant') {
      this.#comma = false;
      return;
    }
    if (!this.#inRepeatedList || this.#last !== 'open') {
      this.#flush();
      this.#byte(0x3f);
    }
    this.#last = 'constant';
  }

  symbol(byte: number): void {
    this.#empty = false;
    if (byte === COMMA && !this.#comma && (this.#last === 'constant' || this.#last === 'list')) {
      this.#comma = true;
      return;
    }
    if (byte === OPEN && this.#comma && this.#last === 'list') {
      this.#comma = false;
      this.#inRepeatedList = true;
      this.#last = 'open';
      return;
    }
    if (byte === CLOSE && this.#last === 'constant' && !this.#comma) {
      if (!this.#inRepeatedList) this.#byte(byte);
      this.#inRepeatedList = false;
      this.#last = 'list';
      return;
    }
    this.#flush();
    this.#byte(byte);
    this.#last = byte === OPEN ? 'open' : 'other';
  }

  name(bytes: Uint8Array, from: number, to: number): void {
    this.#separate();
    for (let at = from; at < to; at++) {
      const byte = bytes[at];
      this.#byte(byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte);
    }
  }

  bytes(bytes: Uint8Array, from: number, to: number): void {
    this.#separate();
    for (let at = from; at < to; at++) this.#byte(bytes[at]);
  }

  digest(): string {
    if (this.#empty) return '';
    this.#flush();
    const hex = (word: number): string => (word >>> 0).toString(16).padStart(8, '0');
    return hex(this.#one) + hex(this.#two);
  }

  #separate(): void {
    this.#empty = false;
    this.#flush();
    this.#byte(0x20);
    this.#last = 'other';
  }

  /** What was held back after all differs. */
  #flush(): void {
    if (this.#inRepeatedList) {
      this.#byte(COMMA);
      this.#byte(OPEN);
      if (this.#last === 'constant') this.#byte(0x3f);
    }
    this.#inRepeatedList = false;
    if (this.#comma) this.#byte(COMMA);
    this.#comma = false;
  }

  #byte(byte: number): void {
    this.#one = Math.imul(this.#one ^ byte, 0x01000193);
    this.#two = Math.imul(this.#two ^ byte, 0x85ebca6b) + 1;
  }
}
