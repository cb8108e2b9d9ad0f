/**
 * The ways in which a server may read a text, as far as we know its session.
 *
 * Quoting: sql_mode decides whether backslashes escape in '…' and in "…". There are three combinations (under
 * ANSI_QUOTES "…" is a name, and names know no backslash), and they only differ where there is a backslash. Versioned
 * comments: each version that a text mentions may be code or not. Every combination is a reading, and what *any* of them
 * may do counts. With `settings.sqlMode` given, only its quoting is considered.
 */
import type { LexicalSettings } from '../dialect.ts';
import { charsetKind, hasHazard } from './charset.ts';
import { type Reading, versionedComments } from './lexer.ts';

export type Flavour = 'mysql' | 'mariadb';

/** Different versions in one text; people write one or two, mysqldump two. */
const MAX_VERSIONS = 3;
const NEWEST: Readonly<Record<Flavour, number>> = { mysql: 99_999, mariadb: 129_999 };
const BACKSLASH = 0x5c;

export type Quoting = Pick<Reading, 'singleEscapes' | 'doubleEscapes'>;
const QUOTINGS: readonly Quoting[] = [
  { singleEscapes: true, doubleEscapes: true },
  { singleEscapes: true, doubleEscapes: false },
  { singleEscapes: false, doubleEscapes: false },
];

const always = (): boolean => true;

/** How the session reads its texts, by all that is known of it; the defaults of a new server where nothing is. */
export function believedReading(flavour: Flavour, settings: LexicalSettings): Reading {
  const version = settings.serverVersion ?? NEWEST[flavour];
  return {
    ...(quotingOf(settings.sqlMode) ?? QUOTINGS[0]),
    runs: (key) => runsOn(flavour, version, key),
    highBytes: highBytesOf(settings, false),
  };
}

/**
 * Every reading that is possible; the believed one comes first. `null`: too many, or the character set makes it
 * impossible to tell. `unsure`: an earlier statement of the same text may have changed sql_mode and character set.
 */
export function readingsOf(
  text: Uint8Array,
  start: number,
  end: number,
  flavour: Flavour,
  settings: LexicalSettings,
  unsure: boolean,
): readonly Reading[] | null {
  const highBytes = highBytesOf(settings, unsure);
  if (highBytes === 'unknown' && charsetKind(charsetOf(settings)) !== 'safe' && hasHazard(text, start, end))
    return null;
  if (unsure && hasHazard(text, start, end)) return null;
  const quotings = quotingsFor(text, start, end, unsure ? null : settings);
  const keys = [...versionedComments(text, start, end, MAX_VERSIONS)];
  if (keys.length > MAX_VERSIONS) return null;
  const believed = believedReading(flavour, settings);
  const first = keys.reduce((bits, key, i) => (believed.runs(key) ? bits | (1 << i) : bits), 0);
  const readings: Reading[] = [];
  for (let bits = 0; bits < 1 << keys.length; bits++) {
    const running = new Set(
      keys.filter((_, i) => ((bits ^ first ^ ((1 << keys.length) - 1)) & (1 << i)) === 0),
    );
    const runs = keys.length === 0 ? always : (key: string): boolean => running.has(key);
    for (const quoting of quotings) readings.push({ ...quoting, runs, highBytes });
  }
  return readings;
}

/** How backslashes may be meant in this text, most likely first. `settings` of `null` say nothing of it. */
export function quotingsFor(
  text: Uint8Array,
  start: number,
  end: number,
  settings: LexicalSettings | null,
): readonly Quoting[] {
  const known = quotingOf(settings?.sqlMode);
  if (known !== null) return [known];
  return hasByte(text, BACKSLASH, start, end) ? QUOTINGS : [QUOTINGS[0]];
}

/** Cheap: whether a text may have more than one reading. */
export function mayHoldReadings(text: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end; at++) {
    const byte = text[at];
    if (byte === BACKSLASH || byte >= 0x80) return true;
    if (byte === 0x21 && at > start && (text[at - 1] === 0x2a || text[at - 1] === 0x4d)) return true;
  }
  return false;
}

/** Of sql_mode as the server reports it: names in any case, separated by commas. `null` where it is not known. */
function quotingOf(sqlMode: string | null | undefined): Quoting | null {
  if (sqlMode === null || sqlMode === undefined) return null;
  const modes = new Set(sqlMode.toUpperCase().split(','));
  if (modes.has('NO_BACKSLASH_ESCAPES')) return QUOTINGS[2];
  // The server lists ANSI_QUOTES beside the combinations that include it; ask for them all the same.
  const ansi = ['ANSI_QUOTES', 'ANSI', 'ORACLE', 'DB2', 'MAXDB', 'MSSQL', 'POSTGRESQL'].some((mode) =>
    modes.has(mode),
  );
  return ansi ? QUOTINGS[1] : QUOTINGS[0];
}

/** What holds for a text that a server may read again later, in a session that is set otherwise by then. */
export function preparedSettings(settings: LexicalSettings): LexicalSettings {
  const isHazardous = charsetKind(charsetOf(settings)) === 'hazardous';
  return {
    ...settings,
    sqlMode: null,
    clientEncoding: isHazardous ? '' : settings.clientEncoding,
    prepared: false,
  };
}

/** A number for how the mode quotes, 3 where it is not known. */
export function quotingIndex(sqlMode: string | null | undefined): number {
  const quoting = quotingOf(sqlMode);
  return quoting === null ? 3 : QUOTINGS.indexOf(quoting);
}

/** The name of the client's character set; `defaultLexicalSettings` carries PostgreSQL's for UTF-8. */
export function charsetOf(settings: LexicalSettings): string {
  return settings.clientEncoding;
}

function highBytesOf(settings: LexicalSettings, unsure: boolean): Reading['highBytes'] {
  if (unsure) return 'unknown';
  const kind = charsetKind(charsetOf(settings));
  // Of the hazardous ones only masked characters are left, all of them letters.
  return kind === 'utf8' || kind === 'hazardous' ? 'letters' : 'unknown';
}

/** MariaDB does not run what MySQL 5.7 and later are addressed by, since 10.0. */
function runsOn(flavour: Flavour, serverVersion: number, key: string): boolean {
  const ofMariadb = key.startsWith('M');
  const version = Number(ofMariadb ? key.slice(1) : key); // 0 where there is none
  if (flavour === 'mysql') return !ofMariadb && version <= serverVersion;
  return version <= serverVersion && (ofMariadb || version < 50_700 || version > 99_999);
}

function hasByte(text: Uint8Array, byte: number, start: number, end: number): boolean {
  return text.subarray(start, end).includes(byte);
}
