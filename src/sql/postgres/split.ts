/**
 * One Query string into its statements. In every text that PostgreSQL parses, a semicolon separates statements unless
 * it stands in parentheses (CREATE RULE … DO (a; b)) or in the body of a routine (CREATE FUNCTION … BEGIN ATOMIC a; b;
 * END). Those are the only three productions of gram.y that hold one. `BEGIN ATOMIC` counts only in CREATE FUNCTION and
 * CREATE PROCEDURE, since both words may be names elsewhere; and `END` closes the body only where a statement would
 * begin, since it may be a column label.
 */
import type { LexicalSettings } from '../dialect.ts';
import type { StatementSpan } from '../../model/statement.ts';
import { isAsciiSafe, maskMultibyte } from './encoding.ts';
import { isSpace, Lexer, Token } from './lexer.ts';

const SEMICOLON = 0x3b;
const OPEN = 0x28;
const CLOSE = 0x29;

export function split(text: Buffer, start: number, end: number, settings: LexicalSettings): StatementSpan[] {
  while (start < end && isSpace(text[start])) start++;
  while (end > start && isSpace(text[end - 1])) end--;
  if (start === end) return [];
  const simple = onlyStatement(text, start, end);
  if (simple !== null) return [simple];
  if (!isAsciiSafe(settings.clientEncoding)) {
    const masked = maskMultibyte(text, start, end, settings.clientEncoding);
    if (masked)
      return splitByLexer(masked, 0, masked.length, settings.standardConformingStrings).map((span) => ({
        start: span.start + start,
        end: span.end + start,
      }));
  }
  return splitByLexer(text, start, end, settings.standardConformingStrings);
}

/** The common case, without lexing: no semicolon but at the very end, and nothing that could be a comment around it. */
function onlyStatement(text: Buffer, start: number, end: number): StatementSpan | null {
  const first = text[start];
  // A text that begins with a comment, or with a semicolon, may hold no statement at all.
  if (first === SEMICOLON || first === 0x2d || first === 0x2f) return null;
  let at = start;
  while (at < end && text[at] !== SEMICOLON && !(text[at] === 0x2d && text[at + 1] === 0x2d)) at++;
  if (at === end) return { start, end };
  // The last byte ends the statement; a line comment before it might hide it, which only the lexer can tell.
  if (at !== end - 1 || text[at] !== SEMICOLON) return null;
  while (at > start && isSpace(text[at - 1])) at--;
  return { start, end: at };
}

/** Where we are between `CREATE` and `BEGIN ATOMIC`. */
type Prefix = 'start' | 'create' | 'or' | 'replace' | 'routine' | 'begin' | 'other';

function splitByLexer(
  text: Buffer,
  start: number,
  end: number,
  standardConformingStrings: boolean,
): StatementSpan[] {
  const spans: StatementSpan[] = [];
  const lexer = new Lexer(text, start, end, standardConformingStrings);
  let depth = 0; // parentheses
  let bodies = 0; // BEGIN ATOMIC
  let prefix = 'start' as Prefix;
  let pieceStart = start;
  let tokens = 0;
  const finish = (pieceEnd: number): void => {
    if (tokens > 0) spans.push(trim(text, pieceStart, pieceEnd));
    tokens = 0;
    depth = 0;
    prefix = 'start';
  };
  for (;;) {
    const token = lexer.next();
    if (token === Token.end) break;
    if (token === Token.unterminated) {
      tokens++;
      break;
    }
    if (token === Token.symbol) {
      const symbol = text[lexer.tokenStart];
      if (symbol === SEMICOLON && depth === 0) {
        if (bodies > 0) prefix = 'start';
        else {
          finish(lexer.tokenStart);
          pieceStart = lexer.tokenEnd;
          continue;
        }
      } else {
        if (symbol === OPEN) depth++;
        else if (symbol === CLOSE && depth > 0) depth--;
        prefix = prefix === 'routine' || prefix === 'begin' ? 'routine' : 'other';
      }
    } else if (token === Token.word && depth === 0) {
      if (prefix === 'start' && bodies > 0 && lexer.isWord('end')) {
        bodies--;
        prefix = 'other';
      } else if (prefix === 'begin' && lexer.isWord('atomic')) {
        bodies++;
        prefix = 'start';
      } else prefix = advance(prefix, lexer);
    } else prefix = prefix === 'routine' || prefix === 'begin' ? 'routine' : 'other';
    tokens++;
  }
  finish(end);
  return spans;
}

function advance(prefix: Prefix, lexer: Lexer): Prefix {
  switch (prefix) {
    case 'start':
      return lexer.isWord('create') ? 'create' : 'other';
    case 'create':
      if (lexer.isWord('or')) return 'or';
      return lexer.isWord('function') || lexer.isWord('procedure') ? 'routine' : 'other';
    case 'or':
      return lexer.isWord('replace') ? 'replace' : 'other';
    case 'replace':
      return lexer.isWord('function') || lexer.isWord('procedure') ? 'routine' : 'other';
    case 'routine':
    case 'begin':
      return lexer.isWord('begin') ? 'begin' : 'routine';
    case 'other':
      return 'other';
  }
}

function trim(text: Buffer, start: number, end: number): StatementSpan {
  while (start < end && isSpace(text[start])) start++;
  while (end > start && isSpace(text[end - 1])) end--;
  return { start, end };
}
