/**
 * Character sets by collation id, and their bytes as text where the platform's `TextDecoder` knows them. Ids are those of
 * MySQL 5.6 to 9.7 and of MariaDB 10.11 to 11.8 (`information_schema.COLLATIONS`); ids of compiled-in collations never
 * change. MariaDB's uca1400 collations have a block of 256 ids per character set, its nopad ones have 1024 added.
 */
import { utf8OrUndefined } from '../reader.ts';

/** Collation id of bytes that are no text. */
export const BINARY_COLLATION = 63;

const COLLATIONS: Readonly<Record<string, string>> = {
  big5: '1 84 1108',
  latin2: '2 9 21 27 77 1101',
  dec8: '3 69 1093',
  cp850: '4 80 1104',
  latin1: '5 8 15 31 47-49 94 1071',
  hp8: '6 72 1096',
  koi8r: '7 74 1098',
  swe7: '10 82 1106',
  ascii: '11 65 1089',
  ujis: '12 91 1115',
  sjis: '13 88 1112',
  cp1251: '14 23 50-52 1074',
  hebrew: '16 71 1095',
  tis620: '18 89 1113',
  euckr: '19 85 1109',
  latin7: '20 41-42 79 1103',
  koi8u: '22 75 1099',
  gb2312: '24 86 1110',
  greek: '25 70 1094',
  cp1250: '26 34 44 66 99',
  gbk: '28 87 1111',
  cp1257: '29 58-59',
  latin5: '30 78 1102',
  armscii8: '32 64 1088',
  utf8mb3: '33 76 83 192-223 576-607 2048-2303',
  ucs2: '35 90 128-159 640-671 2560-2815',
  cp866: '36 68 1092',
  keybcs2: '37 73 1097',
  macce: '38 43 1067',
  macroman: '39 53 1077',
  cp852: '40 81 1105',
  utf8mb4: '45-46 224-247 255-511 608-639 2304-2559',
  utf16: '54-55 101-124 672-703 2816-3071',
  utf16le: '56 62 1086',
  cp1256: '57 67 1091',
  utf32: '60-61 160-191 736-767 3072-3327',
  binary: '63',
  geostd8: '92-93 1117',
  cp932: '95-96 1120',
  eucjpms: '97-98 1122',
  gb18030: '248-250',
};

const NAMES = new Map<number, string>();
for (const [name, ids] of Object.entries(COLLATIONS))
  for (const range of ids.split(' ')) {
    const [first, last = first] = range.split('-').map(Number);
    for (let id = first; id <= last; id++) NAMES.set(id, name);
  }

/** `utf8mb4`, …; `undefined` for a collation nobody knows. */
export function charsetOf(collation: number): string | undefined {
  const known = NAMES.get(collation);
  // A nopad collation is its padding one and 1024; those whose numbers are not so are in the table.
  return known ?? (collation > 1024 && collation < 2048 ? NAMES.get(collation - 1024) : undefined);
}

/** Labels of the Encoding Standard, whose tables extend those of the servers (sjis to cp932, latin5 to cp1254). */
const LABELS: Readonly<Record<string, string>> = {
  big5: 'big5',
  latin1: 'windows-1252',
  latin2: 'iso-8859-2',
  koi8r: 'koi8-r',
  koi8u: 'koi8-u',
  ujis: 'euc-jp',
  eucjpms: 'euc-jp',
  sjis: 'shift_jis',
  cp932: 'shift_jis',
  cp1250: 'windows-1250',
  cp1251: 'windows-1251',
  cp1256: 'windows-1256',
  cp1257: 'windows-1257',
  hebrew: 'iso-8859-8',
  greek: 'iso-8859-7',
  latin5: 'windows-1254',
  latin7: 'iso-8859-13',
  tis620: 'windows-874',
  euckr: 'euc-kr',
  gb2312: 'gbk',
  gbk: 'gbk',
  gb18030: 'gb18030',
  cp866: 'ibm866',
  macroman: 'macintosh',
  ucs2: 'utf-16be',
  utf16: 'utf-16be',
  utf16le: 'utf-16le',
};

/** Read as ASCII where they are, as the platform has no table for the rest. */
const ASCII_BELOW_128 = new Set(['dec8', 'cp850', 'hp8', 'keybcs2', 'macce', 'cp852', 'armscii8', 'geostd8']);

const decoders = new Map<string, TextDecoder | null>();

/** A platform built without its tables has fewer of them. */
function decoderOf(label: string): TextDecoder | null {
  const known = decoders.get(label);
  if (known !== undefined) return known;
  let made: TextDecoder | null = null;
  try {
    made = new TextDecoder(label, { fatal: true, ignoreBOM: true });
  } catch {
    made = null; // shown in hexadecimal then
  }
  decoders.set(label, made);
  return made;
}

/** Bytes in a character set as text; `undefined` when they are none in it, or its table is not there. */
export function textOf(bytes: Buffer, charset: string): string | undefined {
  if (charset.startsWith('utf8') || charset === 'ascii') return utf8OrUndefined(bytes);
  if (charset === 'utf32') return utf32Text(bytes);
  if (ASCII_BELOW_128.has(charset))
    return bytes.every((byte) => byte < 0x80) ? bytes.toString('latin1') : undefined;
  const label = LABELS[charset];
  const decoder = label === undefined ? null : decoderOf(label);
  try {
    return decoder?.decode(bytes);
  } catch {
    return undefined; // an expected outcome, told by the return value
  }
}

/** Big-endian. */
function utf32Text(bytes: Buffer): string | undefined {
  if (bytes.length % 4 !== 0) return undefined;
  const parts: string[] = [];
  for (let at = 0; at < bytes.length; at += 4) {
    const code = bytes.readUInt32BE(at);
    if (code > 0x10_ffff || (code >= 0xd800 && code <= 0xdfff)) return undefined;
    parts.push(String.fromCodePoint(code));
  }
  return parts.join('');
}
