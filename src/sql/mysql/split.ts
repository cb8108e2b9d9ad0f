/**
 * The text of one COM_QUERY into its statements.
 *
 * What a text's statements are depends on the session's sql_mode (see `lexer.ts`), which is not always known, and which a
 * statement of the same text may change for those behind it. Therefore: the text is split as the session is believed to
 * read it; and where another reading is possible that would separate *complete* statements elsewhere, it is not split
 * at all. One span is then the whole text, whose classification merges everything it may be. A statement that no server
 * can parse (a quote that does not end) ends a reading: the server runs nothing from there on.
 */
import { limits } from '../../base/limits.ts';
import type { LexicalSettings } from '../dialect.ts';
import type { StatementSpan } from '../../model/statement.ts';
import { Boundaries } from './boundaries.ts';
import { isSpace, Lexer, type Reading, Token } from './lexer.ts';
import { believedReading, type Flavour, mayHoldReadings, quotingIndex, readingsOf } from './readings.ts';

const SEMICOLON = 0x3b;
/** Longer texts are not read several times on the relay's loop. */
const MAX_COMPARED_BYTES = 128 * 1024;

export interface Pieces {
  readonly spans: StatementSpan[];
  /** The last span is refused by every server that reads it like this. */
  readonly broken: boolean;
  /** What comes last cannot be told apart at all. */
  readonly obscure: boolean;
  /** A statement that is not the last one may change how those behind it are read. */
  readonly changesReading: boolean;
}

export function split(
  text: Buffer,
  start: number,
  end: number,
  flavour: Flavour,
  settings: LexicalSettings,
): StatementSpan[] {
  while (start < end && isSpace(text[start])) start++;
  while (end > start && isSpace(text[end - 1])) end--;
  if (start === end) return [];
  const simple = onlyStatement(text, start, end);
  if (simple !== null) return [simple];
  const believed = pieces(text, start, end, flavour, believedReading(flavour, settings));
  if (believed.spans.length > limits.maxStatementsPerQuery) return believed.spans;
  // Spans of one statement that is the whole text cannot be wrong about more than the text as a whole.
  if (believed.spans.length === 0 || !mayHoldReadings(text, start, end)) return believed.spans;
  const whole = [{ start, end }];
  const { changesReading } = believed;
  // Within a statement behind such a change, a backslash may mean something else, even where boundaries stay.
  if (changesReading && quotingIndex(settings.sqlMode) < 3 && text.subarray(start, end).includes(0x5c))
    return whole;
  const readings = readingsOf(text, start, end, flavour, settings, changesReading);
  if (readings === null) return whole;
  if (readings.length > 1 && end - start > MAX_COMPARED_BYTES) return whole;
  for (const reading of readings) {
    const other = pieces(text, start, end, flavour, reading);
    if (other.obscure || (other.changesReading && !changesReading) || !agrees(believed, other)) return whole;
  }
  return believed.spans;
}

/** Every complete statement of the other reading is one of this one. */
function agrees(believed: Pieces, other: Pieces): boolean {
  const complete = other.broken ? other.spans.length - 1 : other.spans.length;
  let at = 0;
  for (let i = 0; i < complete; i++) {
    const { start, end } = other.spans[i];
    while (at < believed.spans.length && believed.spans[at].start < start) at++;
    if (believed.spans[at]?.start !== start || believed.spans[at].end !== end) return false;
  }
  return true;
}

/** The common case, without lexing: no semicolon but at the very end, and nothing that could be a comment around it. */
function onlyStatement(text: Buffer, start: number, end: number): StatementSpan | null {
  const first = text[start];
  // A text that begins with a comment, or with a semicolon, may hold no statement at all.
  if (first === SEMICOLON || first === 0x2d || first === 0x2f || first === 0x23) return null;
  const semicolon = firstSemicolon(text, start, end);
  if (semicolon < 0) return { start, end };
  // The last byte ends the statement; a comment or quote before it might hide it, which only the lexer can tell.
  if (semicolon !== end - 1) return null;
  for (let at = start; at < semicolon; at++) {
    const byte = text[at];
    if (byte === 0x23 || byte === 0x2d || byte === 0x2a || byte === 0x27 || byte === 0x22 || byte === 0x60)
      return null;
  }
  return trim(text, start, semicolon);
}

/**
 * −1: there is none. The native search takes no end, and what is behind the text may be megabytes of other input: it gets
 * a view, which pays for long texts only.
 */
function firstSemicolon(text: Buffer, start: number, end: number): number {
  const near = Math.min(end, start + 512);
  for (let at = start; at < near; at++) if (text[at] === SEMICOLON) return at;
  if (near === end) return -1;
  const found = text.subarray(near, end).indexOf(SEMICOLON);
  return found < 0 ? -1 : near + found;
}

/** How one reading separates the text. */
export function pieces(text: Buffer, start: number, end: number, flavour: Flavour, reading: Reading): Pieces {
  const spans: StatementSpan[] = [];
  const lexer = new Lexer(text, start, end, reading);
  const boundaries = new Boundaries(text, flavour === 'mariadb');
  let pieceStart = start;
  let tokens = 0;
  let changes = false;
  let changesReading = false;
  const finish = (pieceEnd: number): void => {
    if (tokens === 0) return;
    if (changes) changesReading = true;
    spans.push(trim(text, pieceStart, pieceEnd));
    tokens = 0;
  };
  for (;;) {
    const token = lexer.next();
    if (token === Token.end) break;
    if (token === Token.broken || token === Token.obscure) {
      tokens++;
      finish(end);
      const broken = token === Token.broken;
      return { spans, broken, obscure: !broken, changesReading };
    }
    if (boundaries.ends(token, lexer)) {
      finish(lexer.tokenStart);
      // More than anybody passes on: the rest, which may be long, changes nothing.
      if (spans.length > limits.maxStatementsPerQuery)
        return { spans, broken: false, obscure: true, changesReading };
      pieceStart = lexer.tokenEnd;
      lexer.nextStatement();
      continue;
    }
    if (tokens === 0 && (lexer.word === 'execute' || lexer.word === 'call')) changes = true;
    else if (changesReadingWord(lexer, text)) changes = true;
    tokens++;
  }
  const before = changesReading;
  finish(end);
  // Comments alone are answered like a statement; followed by a semicolon, they are a syntax error.
  const rest = trim(text, pieceStart, end);
  const last = spans.at(-1);
  if (rest.start < rest.end && (last === undefined || last.start < pieceStart)) spans.push(rest);
  return { spans, broken: false, obscure: false, changesReading: before };
}

/** Words of statements that set sql_mode or the client's character set. */
function changesReadingWord(lexer: Lexer, text: Buffer): boolean {
  const length = lexer.tokenEnd - lexer.tokenStart;
  if (length < 5 || length > 40) return false;
  const first = text[lexer.tokenStart] | 0x20;
  if (lexer.word === 'names' || lexer.word === 'charset' || lexer.word === 'character') return true;
  if (first !== 0x73 && first !== 0x63 && first !== 0x60 && first !== 0x22 && first < 0x80) return false;
  return /sql_?mode|character_set_client|[^\0-\x7f]/i.test(
    text.toString('latin1', lexer.tokenStart, lexer.tokenEnd),
  );
}

function trim(text: Buffer, start: number, end: number): StatementSpan {
  while (start < end && isSpace(text[start])) start++;
  while (end > start && isSpace(text[end - 1])) end--;
  return { start, end };
}
