/** What a literal says: its quotes and escapes undone. */
import { Token, type TokenKind } from './lexer.ts';

const QUOTE = 0x27;
const DOUBLE_QUOTE = 0x22;
const BACKSLASH = 0x5c;

const ESCAPED: Readonly<Record<number, number>> = {
  0x30: 0x00,
  0x62: 0x08,
  0x6e: 0x0a,
  0x72: 0x0d,
  0x74: 0x09,
  0x5a: 0x1a,
};

interface LiteralToken {
  readonly kind: TokenKind;
  readonly start: number;
  readonly innerStart: number;
  readonly innerEnd: number;
}

/** `null` for anything but '…' and "…": also for N'…', x'…' and b'…'. */
export function literalBytes(text: Uint8Array, token: LiteralToken, escapes: boolean): Buffer | null {
  const quote = token.kind === Token.string ? QUOTE : token.kind === Token.doubleQuoted ? DOUBLE_QUOTE : 0;
  if (quote === 0 || text[token.start] !== quote) return null;
  const bytes = Buffer.alloc(token.innerEnd - token.innerStart);
  let length = 0;
  for (let at = token.innerStart; at < token.innerEnd; at++) {
    let byte = text[at];
    if (byte === quote) at++;
    else if (byte === BACKSLASH && escapes) {
      byte = text[++at];
      // Only for patterns: the backslash stays.
      if (byte === 0x25 || byte === 0x5f) bytes[length++] = BACKSLASH;
      byte = ESCAPED[byte] ?? byte;
    }
    bytes[length++] = byte;
  }
  return bytes.subarray(0, length);
}
