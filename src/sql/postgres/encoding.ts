/**
 * Client encodings in which a byte below 0x80 may be the second half of a character. The server converts a text to its
 * own encoding before it lexes it, and none of those has such bytes; we see the client's bytes. So before one of these
 * texts is lexed, its characters are masked: `縺` in SJIS must not hide or invent a backslash.
 *
 * https://www.postgresql.org/docs/current/multibyte.html, lengths from src/common/wchar.c
 */
type LengthOf = (bytes: Buffer, at: number) => number;

const two: LengthOf = () => 2;
const LENGTHS: Readonly<Record<string, LengthOf>> = {
  BIG5: two,
  GBK: two,
  UHC: two,
  SJIS: (bytes, at) => (bytes[at] >= 0xa1 && bytes[at] <= 0xdf ? 1 : 2),
  SHIFTJIS2004: (bytes, at) => (bytes[at] >= 0xa1 && bytes[at] <= 0xdf ? 1 : 2),
  JOHAB: (bytes, at) => (bytes[at] === 0x8f ? 3 : 2),
  GB18030: (bytes, at) => (bytes[at + 1] >= 0x30 && bytes[at + 1] <= 0x39 ? 4 : 2),
};
const ALIASES: Readonly<Record<string, string>> = {
  SHIFTJIS: 'SJIS',
  MSKANJI: 'SJIS',
  WIN932: 'SJIS',
  WINDOWS932: 'SJIS',
  WIN936: 'GBK',
  WINDOWS936: 'GBK',
  WIN949: 'UHC',
  WINDOWS949: 'UHC',
  WIN950: 'BIG5',
  WINDOWS950: 'BIG5',
};

/** Whether texts in this encoding must be masked. The name as the server reports it, or an alias of it. */
export function isAsciiSafe(clientEncoding: string): boolean {
  return clientEncoding === 'UTF8' || lengthsOf(clientEncoding) === undefined;
}

/**
 * A copy of `bytes[start, end)` of the same length in which every byte of a multi-byte character is 0x80: a letter to
 * the lexer. `null` when there is nothing to mask.
 */
export function maskMultibyte(
  bytes: Buffer,
  start: number,
  end: number,
  clientEncoding: string,
): Buffer | null {
  const lengthOf = lengthsOf(clientEncoding);
  if (lengthOf === undefined) return null;
  let at = start;
  while (at < end && bytes[at] < 0x80) at++;
  if (at === end) return null;
  const copy = Buffer.from(bytes.subarray(start, end));
  at -= start;
  while (at < copy.length) {
    if (copy[at] < 0x80) {
      at++;
      continue;
    }
    const next = Math.min(copy.length, at + lengthOf(copy, at));
    copy.fill(0x80, at, next);
    at = next;
  }
  return copy;
}

function lengthsOf(clientEncoding: string): LengthOf | undefined {
  const name = clientEncoding.toUpperCase().replaceAll(/[^A-Z0-9]/g, '');
  return LENGTHS[ALIASES[name] ?? name];
}
