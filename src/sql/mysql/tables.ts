/** The names of tables, gathered from the tokens of a statement: for search, and for what the grant's database is. */
import type { Facts } from './facts.ts';
import { type Lexer, Token, type TokenKind } from './lexer.ts';

const COMMA = 0x2c;
const OPEN = 0x28;
const CLOSE = 0x29;
const DOT = 0x2e;
const MAX_DEPTH = 64;
const MAX_QUERIES = 100;

/** Behind these, a table is named. */
const BEFORE_TABLE: ReadonlySet<string> = new Set([
  'from',
  'join',
  'straight_join',
  'into',
  'update',
  'table',
  'tables',
  'references',
  'truncate',
  'describe',
  'desc',
]);
/** Of those, the ones that begin a list. */
const LISTS: ReadonlySet<string> = new Set(['from', 'join', 'straight_join', 'update', 'table', 'tables']);
/** Between such a word and the name. */
const FILLERS: ReadonlySet<string> = new Set([
  'low_priority',
  'quick',
  'ignore',
  'only',
  'if',
  'not',
  'exists',
  'lateral',
  'delayed',
  'high_priority',
  'table',
  'concurrent',
]);
/** These end a list of tables. */
const ENDS_LIST: ReadonlySet<string> = new Set([
  'where',
  'group',
  'order',
  'having',
  'limit',
  'set',
  'values',
  'value',
  'select',
  'union',
  'window',
  'for',
  'procedure',
  'into',
  'returning',
]);
/** In the calls of these, FROM is no clause. */
const FROM_IN_CALL: ReadonlySet<string> = new Set([
  'extract',
  'substring',
  'substr',
  'mid',
  'trim',
  'position',
  'overlay',
]);
const NO_NAMES: ReadonlySet<string> = new Set([
  'select',
  'dual',
  'outfile',
  'dumpfile',
  'as',
  'on',
  'using',
  'set',
  'values',
  'statistics',
  'local',
  'json_table',
  'row',
]);

export class TableNames {
  readonly #facts: Facts;
  readonly #text: Buffer;
  #expecting = false;
  /** Per open parenthesis: whether we are in a list of tables, and whether FROM is no clause. */
  readonly #inList = new Uint8Array(MAX_DEPTH + 1);
  readonly #inCall = new Uint8Array(MAX_DEPTH + 1);
  #depth = 0;
  #previousWord = '';
  /** What was read of a name: one or two parts. */
  #parts: string[] = [];
  #afterDot = false;
  readonly #withQueries = new Set<string>();
  #lastIdentifier = '';
  #first = true;
  #isWith = false;

  constructor(facts: Facts, text: Buffer) {
    this.#facts = facts;
    this.#text = text;
  }

  token(kind: TokenKind, word: string, byte: number, lexer: Lexer): void {
    const isFirst = this.#first;
    if (isFirst) {
      this.#isWith = word === 'with';
      this.#first = false;
    }
    const isName =
      kind === Token.word ||
      kind === Token.quotedIdentifier ||
      (kind === Token.doubleQuoted && this.#expecting);
    if (this.#parts.length > 0 && this.#continues(byte, isName, lexer, kind)) return;
    if (byte !== 0) this.#symbol(byte);
    else if (word !== '' && this.#keyword(word, isFirst)) return;
    else if (isName) this.#name(word, kind, lexer);
    else this.#expecting = false;
    this.#previousWord = word;
  }

  /** A name goes on with a dot and another part. */
  #continues(byte: number, isName: boolean, lexer: Lexer, kind: TokenKind): boolean {
    if (byte === DOT && !this.#afterDot) {
      this.#afterDot = true;
      return true;
    }
    if (this.#afterDot && isName) {
      this.#parts.push(this.#nameOf(kind, lexer));
      this.#afterDot = false;
      return true;
    }
    const [schema, name] = this.#parts.length > 1 ? this.#parts : ['', this.#parts[0]];
    if (!this.#withQueries.has(name) || schema !== '') this.#facts.table(schema, name);
    this.#parts = [];
    this.#afterDot = false;
    return false;
  }

  /** After the last token. */
  finish(): void {
    if (this.#parts.length > 0) this.#continues(0, false, NO_LEXER, Token.end);
  }

  #symbol(byte: number): void {
    const depth = Math.min(this.#depth, MAX_DEPTH);
    if (byte === OPEN) {
      // WITH x AS ( …
      if (
        this.#isWith &&
        this.#depth === 0 &&
        this.#previousWord === 'as' &&
        this.#withQueries.size < MAX_QUERIES
      )
        this.#withQueries.add(this.#lastIdentifier);
      this.#depth++;
      const inner = Math.min(this.#depth, MAX_DEPTH);
      // FROM (a, b): a list goes on within.
      this.#inList[inner] = this.#expecting ? 1 : 0;
      this.#inCall[inner] = FROM_IN_CALL.has(this.#previousWord) ? 1 : 0;
    } else if (byte === CLOSE) {
      if (this.#depth > 0) this.#depth--;
      this.#expecting = false;
    } else if (byte === COMMA) this.#expecting = this.#inList[depth] === 1;
    else this.#expecting = false;
    this.#previousWord = '';
  }

  /** Whether the word has been dealt with. */
  #keyword(word: string, isFirst: boolean): boolean {
    const depth = Math.min(this.#depth, MAX_DEPTH);
    if (this.#expecting && FILLERS.has(word)) return true;
    if (ENDS_LIST.has(word)) this.#inList[depth] = 0;
    if (!BEFORE_TABLE.has(word)) return false;
    if (word === 'from' && this.#inCall[depth] === 1) return false;
    // ON DUPLICATE KEY UPDATE, FOR UPDATE, ON UPDATE CASCADE
    if (word === 'update' && this.#previousWord !== '') return false;
    // ORDER BY a DESC, TRUNCATE(a, 2)
    if (!isFirst && (word === 'desc' || word === 'describe' || word === 'truncate')) return false;
    this.#expecting = true;
    if (LISTS.has(word)) this.#inList[depth] = 1;
    this.#previousWord = word;
    return true;
  }

  #name(word: string, kind: TokenKind, lexer: Lexer): void {
    if (this.#expecting && !NO_NAMES.has(word)) this.#parts = [this.#nameOf(kind, lexer)];
    else if (this.#isWith && this.#depth === 0 && word !== 'as')
      this.#lastIdentifier = this.#nameOf(kind, lexer);
    this.#expecting = false;
  }

  #nameOf(kind: TokenKind, lexer: Lexer): string {
    if (kind === Token.word)
      return this.#text.toString('utf8', lexer.tokenStart, lexer.tokenEnd).toLowerCase();
    const inner = this.#text.toString('utf8', lexer.innerStart, lexer.innerEnd);
    return kind === Token.quotedIdentifier ? inner.replaceAll('``', '`') : inner;
  }
}

const NO_LEXER = { tokenStart: 0, tokenEnd: 0, innerStart: 0, innerEnd: 0 } as Lexer;
