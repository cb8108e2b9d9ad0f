/**
 * Where a statement ends. In most of them, a semicolon ends it. In the body of a stored program it does not, nor in
 * MariaDB's compound statements outside of stored programs (BEGIN NOT ATOMIC, IF, CASE, LOOP, …): there, blocks are
 * counted. Fed with the tokens of a text, one after the other.
 *
 *   start ─ CREATE ─▶ create ─ PROCEDURE, TRIGGER, … ─▶ header ─ BEGIN, IF, … ─▶ body ─ END ─▶ (no block open) `;`
 *     └─ BEGIN NOT, IF, … (MariaDB) ────────────────────────────────────────────▶ body
 *
 * IF, LOOP, WHILE, REPEAT and FOR open a block only where a statement begins: elsewhere they are functions or clauses.
 * CASE opens one everywhere, and whether it is an expression decides what THEN and ELSE are followed by.
 */
import { type Lexer, Token, type TokenKind } from './lexer.ts';

const SEMICOLON = 0x3b;
const OPEN = 0x28;
const CLOSE = 0x29;
/** Behind a label. */
const COLON = 0x3a;

type State = 'start' | 'begin' | 'create' | 'header' | 'body' | 'plain';

/** Between CREATE and the kind of object stand at most a few clauses, a definer among them. */
const MAX_CREATE_TOKENS = 32;
/** Deeper nesting is not followed: servers give up long before. */
const MAX_BLOCKS = 1000;

const PROGRAMS: ReadonlySet<string> = new Set(['procedure', 'function', 'trigger', 'event', 'package']);
const OTHER_OBJECTS: ReadonlySet<string> = new Set(
  `table view index unique fulltext spatial user role database schema server tablespace sequence undo logfile resource
   temporary`.split(/\s+/),
);
const BLOCKS: ReadonlySet<string> = new Set(['if', 'case', 'loop', 'while', 'repeat', 'for']);

export class Boundaries {
  readonly #text: Uint8Array;
  readonly #compound: boolean;
  #state: State = 'start';
  #tokens = 0;
  #parentheses = 0;
  /** What is open, `true` for CASE as an expression. */
  readonly #blocks: boolean[] = [];
  /** The next token may begin a statement of a body. */
  #atStatement = false;
  #afterEnd = false;
  #inHandler = false;
  /** In the condition of a REPEAT, which END closes. */
  #inUntil = false;
  /** Right behind the kind of object: IF is IF [NOT] EXISTS. */
  #afterObject = false;

  /** `compound`: MariaDB's compound statements outside of stored programs. */
  constructor(text: Uint8Array, compound: boolean) {
    this.#text = text;
    this.#compound = compound;
  }

  /** A stored program, or a compound statement. */
  get isProgram(): boolean {
    return this.#state === 'header' || this.#state === 'body';
  }

  /** Whether the token is the semicolon that ends the statement. It is then ready for the next one. */
  ends(kind: TokenKind, lexer: Lexer): boolean {
    const byte = kind === Token.symbol ? this.#text[lexer.tokenStart] : 0;
    if (byte === SEMICOLON && this.#blocks.length === 0) {
      this.#reset();
      return true;
    }
    this.#tokens++;
    if (byte === SEMICOLON) {
      this.#atStatement = true;
      this.#afterEnd = false;
      this.#inHandler = false;
      this.#inUntil = false;
    } else this.#advance(lexer.word, byte);
    return false;
  }

  #reset(): void {
    this.#state = 'start';
    this.#tokens = 0;
    this.#parentheses = 0;
    this.#blocks.length = 0;
    this.#atStatement = false;
    this.#afterEnd = false;
    this.#inHandler = false;
    this.#inUntil = false;
    this.#afterObject = false;
  }

  #advance(word: string, byte: number): void {
    switch (this.#state) {
      case 'start':
        this.#state = this.#afterFirst(word);
        break;
      case 'begin':
        if (word === 'not') this.#openBody(false);
        else this.#state = 'plain';
        break;
      case 'create':
        if (PROGRAMS.has(word)) {
          this.#state = 'header';
          this.#afterObject = true;
        } else if (OTHER_OBJECTS.has(word) || this.#tokens > MAX_CREATE_TOKENS) this.#state = 'plain';
        break;
      case 'header':
        this.#header(word, byte);
        break;
      case 'body':
        this.#body(word, byte);
        break;
      case 'plain':
        break;
    }
  }

  #afterFirst(word: string): State {
    if (word === 'create' || word === 'alter') return 'create';
    if (!this.#compound) return 'plain';
    if (word === 'begin') return 'begin';
    if (!BLOCKS.has(word)) return 'plain';
    this.#openBody(word === 'loop' || word === 'repeat');
    return 'body';
  }

  #openBody(atStatement: boolean): void {
    this.#state = 'body';
    this.#blocks.push(false);
    this.#atStatement = atStatement;
  }

  #header(word: string, byte: number): void {
    if (byte === OPEN) this.#parentheses++;
    else if (byte === CLOSE && this.#parentheses > 0) this.#parentheses--;
    const isExistsClause = this.#afterObject && word === 'if';
    // PACKAGE BODY
    this.#afterObject = false;
    if (isExistsClause || this.#parentheses > 0) return;
    if (word === 'begin') this.#openBody(true);
    else if (word !== 'for' && BLOCKS.has(word)) this.#openBody(word === 'loop' || word === 'repeat');
  }

  #body(word: string, byte: number): void {
    const atStatement = this.#atStatement;
    const afterEnd = this.#afterEnd;
    this.#atStatement = byte === COLON || (atStatement && word === 'atomic');
    this.#afterEnd = false;
    if (word === '') return;
    if (afterEnd && BLOCKS.has(word)) return;
    switch (word) {
      case 'end':
        // Elsewhere it is the name of something.
        if (!atStatement && !this.#inUntil && this.#blocks.at(-1) !== true) return;
        this.#blocks.pop();
        this.#afterEnd = true;
        return;
      case 'until':
        this.#inUntil = true;
        return;
      case 'case':
        this.#open(!atStatement);
        return;
      case 'begin':
        if (atStatement || this.#inHandler) this.#open(false);
        this.#inHandler = false;
        this.#atStatement = true;
        return;
      case 'if':
      case 'while':
      case 'for':
        if (atStatement) this.#open(false);
        return;
      case 'loop':
      case 'repeat':
        if (atStatement) this.#open(false);
        this.#atStatement = true;
        return;
      case 'handler':
        this.#inHandler = true;
        return;
      case 'then':
      case 'else':
        this.#atStatement = this.#blocks.at(-1) !== true;
        return;
      case 'atomic':
      case 'do':
        this.#atStatement = true;
        return;
      default:
        return;
    }
  }

  #open(expression: boolean): void {
    if (this.#blocks.length < MAX_BLOCKS) this.#blocks.push(expression);
  }
}
