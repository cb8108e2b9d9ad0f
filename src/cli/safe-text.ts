/**
 * Recorded text on a terminal. SQL, values, names and error messages come from whoever connected: what a terminal would
 * obey (ANSI sequences, carriage returns), what reorders text (bidirectional controls) and what cannot be seen is shown
 * as `\x1b` or `\u202e`. In JSON the same characters are `\u` escapes, so the value stays exact.
 */

// Controls C0, DEL, C1; line and paragraph separators; marks that reorder, hide or join; byte order mark; tags; lone
// surrogates.
const UNSAFE =
  /[\p{Cc}\u00AD\u061C\u180E\u200B-\u200F\u2028-\u202E\u2060-\u206F\uFEFF\uFFF9-\uFFFB\u{E0000}-\u{E007F}\p{Cs}]/gu;

/** For one line: everything unsafe is escaped, line ends and tabs included. */
export function safeLine(text: string): string {
  return text.replace(UNSAFE, escapeCharacter);
}

/** For several lines: line ends stay, tabs become spaces. */
export function safeBlock(text: string): string {
  return text.split('\n').map(safeBlockLine).join('\n');
}

/** SQL on one line: runs of white space become one space first. */
export function safeSql(sql: string): string {
  return safeLine(sql.replaceAll(/[\t\n\v\f\r ]+/g, ' ').trim());
}

/** JSON text without any character that a terminal would obey. */
export function safeJson(value: unknown): string {
  return JSON.stringify(value).replace(UNSAFE, (character) => {
    let escaped = '';
    for (let i = 0; i < character.length; i++) escaped += unicode(character.charCodeAt(i));
    return escaped;
  });
}

function safeBlockLine(line: string): string {
  return safeLine(line.replaceAll('\t', '    ').replace(/\r$/, ''));
}

const SHORT: Readonly<Record<string, string>> = {
  '\n': String.raw`\n`,
  '\r': String.raw`\r`,
  '\t': String.raw`\t`,
};

function escapeCharacter(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  if (code > 0xffff) return String.raw`\u{${code.toString(16)}}`;
  return (
    SHORT[character] ?? (code < 0x100 ? String.raw`\x${code.toString(16).padStart(2, '0')}` : unicode(code))
  );
}

function unicode(unit: number): string {
  return String.raw`\u${unit.toString(16).padStart(4, '0')}`;
}
