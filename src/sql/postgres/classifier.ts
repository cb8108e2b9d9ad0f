/**
 * From a text to its Classification: shape cache, text cache, parser, in this order.
 *
 *   text ─▶ simple? ─yes─▶ shape known? ─▶ answer
 *             │no              │no
 *             └──▶ text known? ┴─▶ answer      else parse, judge, and keep:
 *                                               by shape  if only constants differ and none of them mattered
 *                                               by text   otherwise
 *
 * When a shape may stand for all its texts: the text is one SELECT, INSERT, UPDATE, DELETE or MERGE; nothing in the
 * judgement looked at a constant's value; and each constant that the shape replaced is, in the tree, a constant node at
 * that very place. There the grammar accepts any constant of that token class without looking at its value. (Where it
 * does look, as in `float(54)`, the constant is no node of the tree; so such texts are kept as a whole.) A text without
 * any constant is its own shape.
 */
import { limits } from '../../base/limits.ts';
import type { Classification } from '../../model/statement.ts';
import { ByteCache, hashBytes } from '../cache.ts';
import type { LexicalSettings } from '../dialect.ts';
import { unparsed } from '../unparsed.ts';
import { isAsciiSafe, maskMultibyte } from './encoding.ts';
import type { Facts } from './facts.ts';
import type { ParserInstance } from './instance.ts';
import { judge } from './judge.ts';
import { Lexer, Token } from './lexer.ts';
import { ShapeReader } from './shape.ts';
import type { JsonObject } from './tree.ts';

const CACHE_ENTRIES = 8192;
const CACHE_BYTES = 8 * 1024 * 1024;
/** Longest text that is kept, and so copied and compared. */
const MAX_CACHED_BYTES = 64 * 1024;
/** SQL in SQL in SQL. */
const MAX_NESTING = 3;
const MAX_NESTED_TEXTS = 8;

const COMMENT_OPENERS = '/*'.repeat(8);

const VERBS_WITH_SHAPE: ReadonlySet<string> = new Set(['select', 'insert', 'update', 'delete', 'merge']);

const SYNTAX = unparsed('the parser does not accept this text');
const NUL = unparsed('a zero byte in the text');
const TOO_LONG = unparsed('the text is too long, or too odd, to be parsed at once');
const NO_PARSER = unparsed('the parser is restarting; try again');
const NATIONAL = unparsed('a backslash in a national string without standard_conforming_strings');

export class Classifier {
  readonly #parser: ParserInstance;
  readonly #maxBytes: number;
  readonly #shape: ShapeReader;
  readonly #byShape = new ByteCache<Classification>(CACHE_ENTRIES, CACHE_BYTES);
  readonly #byText = new ByteCache<Classification>(CACHE_ENTRIES, CACHE_BYTES);
  /** How often the parser itself had to be asked. For tests and metrics. */
  parses = 0;

  /** `maxBytes`: longer texts come back unparsed. */
  constructor(parser: ParserInstance, maxBytes: number) {
    this.#parser = parser;
    this.#maxBytes = maxBytes;
    this.#shape = new ShapeReader(Math.min(maxBytes, limits.maxInlineParseBytes));
  }

  classify(text: Buffer, start: number, end: number, settings: LexicalSettings): Classification {
    const long = end - start > this.#maxBytes;
    if (!isAsciiSafe(settings.clientEncoding)) {
      if (long) return TOO_LONG;
      const masked = maskMultibyte(text, start, end, settings.clientEncoding);
      if (masked) return this.#classifyMasked(masked, settings);
    }
    const shape = this.#shape;
    const simple = shape.read(text, start, end);
    if (simple) {
      const known = this.#byShape.get(shape.hash, shape.bytes, 0, shape.length);
      if (known) return known;
    } else if (!settings.standardConformingStrings && hasByte(text, 0x5c, start, end)) {
      return long ? TOO_LONG : this.#classifyOldStrings(text, start, end);
    }
    return this.#classifyWhole(text, start, end, simple);
  }

  /** Whether this answer only says that the text was not tried. */
  needsLong(answer: Classification): boolean {
    return answer === TOO_LONG || answer === NO_PARSER;
  }

  /** Keeps an answer that was found elsewhere (in a worker). */
  keep(text: Buffer, classification: Classification): void {
    if (text.length > MAX_CACHED_BYTES) return;
    this.#byText.set(hashBytes(text, 0, text.length), text, 0, text.length, classification);
  }

  #classifyWhole(text: Buffer, start: number, end: number, simple: boolean): Classification {
    const length = end - start;
    const keyed = length <= MAX_CACHED_BYTES;
    const hash = keyed ? hashBytes(text, start, end) : 0;
    if (keyed) {
      const known = this.#byText.get(hash, text, start, end);
      if (known) return known;
    }
    if (length > this.#maxBytes || this.#isSlow(text, start, end)) return TOO_LONG;
    if (hasByte(text, 0, start, end)) return NUL;
    if (!this.#parser.isAvailable()) return NO_PARSER;
    const facts = this.#judge(text, start, end, 0);
    const classification = facts?.classification() ?? SYNTAX;
    const shape = this.#shape;
    if (simple && facts && (shape.constants === 0 || this.#standsForShape(facts)))
      this.#byShape.set(shape.hash, shape.bytes, 0, shape.length, classification);
    else if (keyed) this.#byText.set(hash, text, start, end, classification);
    return classification;
  }

  /**
   * PostgreSQL's lexer looks at the rest of a run of comment openers at each of them, so that 8 KB of them take 30 ms:
   * something for a worker with a time limit.
   */
  #isSlow(text: Buffer, start: number, end: number): boolean {
    return this.#maxBytes !== Number.MAX_SAFE_INTEGER && text.subarray(start, end).includes(COMMENT_OPENERS);
  }

  #judge(text: Buffer, start: number, end: number, depth: number): Facts | null {
    this.parses++;
    const output = this.#parser.parse(text, start, end);
    if (output === null) return null;
    const tree = parseJson(output);
    if (tree === null) return null;
    const facts = judge(tree);
    if (facts.nested.length === 0) return facts;
    if (depth >= MAX_NESTING || facts.nested.length > MAX_NESTED_TEXTS) {
      facts.flag('writes', 'too much SQL given as text');
      return facts;
    }
    for (const sql of facts.nested) {
      const bytes = Buffer.from(sql);
      const inner = bytes.includes(0) ? null : this.#judge(bytes, 0, bytes.length, depth + 1);
      if (inner) facts.include(inner);
      else facts.flag('writes', 'SQL given as text that the parser does not accept');
    }
    return facts;
  }

  #standsForShape(facts: Facts): boolean {
    if (facts.statements !== 1 || facts.constantsMatter || !VERBS_WITH_SHAPE.has(facts.verb)) return false;
    const shape = this.#shape;
    const places = new Set(facts.constantsAt);
    for (let i = 0; i < shape.constants; i++)
      if (!places.has(shape.constantsAt[i]) && !places.has(shape.signsAt[i])) return false;
    return true;
  }

  /** Characters that could be misread are letters now; as UTF-8, since the parser reports names as such. */
  #classifyMasked(masked: Buffer, settings: LexicalSettings): Classification {
    const text = Buffer.from(masked.toString('latin1').replaceAll('\u0080', 'é'));
    return this.classify(text, 0, text.length, { ...settings, clientEncoding: 'UTF8' });
  }

  /**
   * With standard_conforming_strings off, '…' is read as E'…'. The parser knows only the setting's default, so every
   * plain string gets its E. A national string N'…' cannot have one.
   */
  #classifyOldStrings(text: Buffer, start: number, end: number): Classification {
    const lexer = new Lexer(text, start, end, false);
    const pieces: Buffer[] = [];
    let copied = start;
    for (let token = lexer.next(); token !== Token.end; token = lexer.next()) {
      if (token === Token.unterminated) return SYNTAX;
      if (token !== Token.string || lexer.stringKind !== 'plain') continue;
      if (text[lexer.tokenStart] !== 0x27) return NATIONAL;
      pieces.push(text.subarray(copied, lexer.tokenStart), Buffer.from(' E'));
      copied = lexer.tokenStart;
    }
    pieces.push(text.subarray(copied, end));
    const rewritten = Buffer.concat(pieces);
    return this.#classifyWhole(rewritten, 0, rewritten.length, false);
  }
}

function parseJson(output: string): JsonObject | null {
  try {
    return JSON.parse(output) as JsonObject;
  } catch {
    return null; // the parser's own fault; to us a text that it cannot handle
  }
}

function hasByte(text: Buffer, byte: number, start: number, end: number): boolean {
  return text.subarray(start, end).includes(byte);
}
