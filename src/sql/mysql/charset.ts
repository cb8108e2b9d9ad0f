/**
 * Character sets of clients (character_set_client). The server lexes the client's own bytes, and in four of them a byte
 * below 0x80 may be the second half of a character: half of 0xBF5C in gbk is a backslash to whoever does not know. Texts
 * in those are masked before they are lexed. Outside of quotes, the others differ as well: in latin1, 0xA0 is white space.
 *
 * ucs2, utf16, utf16le and utf32 cannot be a client's character set.
 */

/** Second bytes: `[from, to]` pairs. */
interface Multibyte {
  readonly lead: (byte: number) => boolean;
  readonly trail: (byte: number) => boolean;
  /** GB18030 has four-byte characters: the second and the fourth are digits. */
  readonly four?: true;
}

const between = (byte: number, from: number, to: number): boolean => byte >= from && byte <= to;
const sjis: Multibyte = {
  lead: (byte) => between(byte, 0x81, 0x9f) || between(byte, 0xe0, 0xfc),
  trail: (byte) => between(byte, 0x40, 0x7e) || between(byte, 0x80, 0xfc),
};
const HAZARDOUS: ReadonlyMap<string, Multibyte> = new Map<string, Multibyte>([
  [
    'big5',
    {
      lead: (byte) => between(byte, 0xa1, 0xf9),
      trail: (byte) => between(byte, 0x40, 0x7e) || between(byte, 0xa1, 0xfe),
    },
  ],
  [
    'gbk',
    {
      lead: (byte) => between(byte, 0x81, 0xfe),
      trail: (byte) => between(byte, 0x40, 0x7e) || between(byte, 0x80, 0xfe),
    },
  ],
  ['sjis', sjis],
  ['cp932', sjis],
  [
    'gb18030',
    {
      lead: (byte) => between(byte, 0x81, 0xfe),
      trail: (byte) => between(byte, 0x40, 0x7e) || between(byte, 0x80, 0xfe),
      four: true,
    },
  ],
]);

const UTF8: ReadonlySet<string> = new Set(['utf8', 'utf8mb3', 'utf8mb4']);
/** All others that a client may have. No byte of them is mistaken for a quote or a backslash. */
const SAFE: ReadonlySet<string> = new Set(
  `armscii8 ascii binary cp1250 cp1251 cp1256 cp1257 cp850 cp852 cp866 dec8 eucjpms euckr gb2312 geostd8 greek hebrew hp8
   keybcs2 koi8r koi8u latin1 latin2 latin5 latin7 macce macroman swe7 tis620 ujis`.split(/\s+/),
);

export type CharsetKind = 'utf8' | 'safe' | 'hazardous' | 'unknown';

/** Of a name as MySQL spells it, in any case; '' and what nobody knows are `unknown`. */
export function charsetKind(name: string): CharsetKind {
  const lower = name.toLowerCase();
  if (UTF8.has(lower)) return 'utf8';
  if (SAFE.has(lower)) return 'safe';
  return HAZARDOUS.has(lower) ? 'hazardous' : 'unknown';
}

/**
 * A copy of `bytes[start, end)` of the same length in which every byte of a multi-byte character is 0x80: a letter to
 * the lexer. `null` where a byte from 0x80 on is no character: versions of the server skip different numbers of bytes.
 */
export function maskMultibyte(bytes: Uint8Array, start: number, end: number, charset: string): Buffer | null {
  const lower = charset.toLowerCase();
  const encoding = HAZARDOUS.get(lower);
  if (encoding === undefined) return null;
  const copy = Buffer.from(bytes.subarray(start, end));
  const isSjis = encoding === sjis;
  for (let at = 0; at < copy.length; ) {
    const byte = copy[at];
    if (byte < 0x80) {
      at++;
      continue;
    }
    let length = 0;
    if (isSjis && between(byte, 0xa1, 0xdf)) length = 1;
    else if (encoding.lead(byte) && at + 1 < copy.length) {
      if (encoding.trail(copy[at + 1])) length = 2;
      else if (encoding.four && isFour(copy, at, encoding)) length = 4;
    }
    if (length === 0) return null;
    copy.fill(0x80, at, at + length);
    at += length;
  }
  return copy;
}

function isFour(bytes: Uint8Array, at: number, encoding: Multibyte): boolean {
  return (
    at + 3 < bytes.length &&
    between(bytes[at + 1], 0x30, 0x39) &&
    encoding.lead(bytes[at + 2]) &&
    between(bytes[at + 3], 0x30, 0x39)
  );
}

/** A letter beyond ASCII before a byte that some character set would make half of it: a backslash, a backtick. */
export function hasHazard(bytes: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at + 1 < end; at++)
    if (bytes[at] >= 0x80 && (bytes[at + 1] === 0x5c || bytes[at + 1] === 0x60)) return true;
  return false;
}
