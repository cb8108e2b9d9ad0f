/**
 * What one statement may do, from its tokens. There is no tree: no parser on npm reads all of MySQL's and MariaDB's SQL
 * (see `dialect.ts`), and a parser that reads a text otherwise than the server is worse than none. Instead:
 *
 *  - the first word must be a verb of `verbs.ts`; any other statement is not understood;
 *  - what is dangerous wherever it stands is looked for at every token: INTO OUTFILE, locking reads, calls, sequences,
 *    and the words of data changes where a reading statement has none;
 *  - verbs that depend on what follows (SET, EXPLAIN, WITH, PREPARE, …) look at their first tokens (`judge-verbs.ts`).
 *
 * So `parsed` does not promise that the server will parse the statement; one that it does not parse does nothing. And a
 * flag may hold because a word of an expression looks like danger, as an unquoted column `dumpfile` behind INTO would.
 */
import type { Facts } from './facts.ts';
import { HARMFUL, BUILT_IN } from './functions.ts';
import { type Lexer, Token, type TokenKind } from './lexer.ts';
import type { Flavour } from './readings.ts';
import { judgeVerb } from './judge-verbs.ts';
import { TableNames } from './tables.ts';

/** Tokens at the beginning of a statement that verbs may look at; SET lists of clients hold a few dozen. */
export const MAX_HEAD = 1024;

const OPEN = 0x28;
const CLOSE = 0x29;
const DOT = 0x2e;

/** Words before a name and a parenthesis that is no call: `INSERT INTO t (a)`, `WITH x (a) AS`. */
const NO_CALL_AFTER: ReadonlySet<string> = new Set([
  'into',
  'table',
  'as',
  'with',
  'recursive',
  'index',
  'key',
  'constraint',
  'view',
  'procedure',
  'function',
  'references',
]);

/** A copy of a token, as verbs look at them. */
export interface HeadToken {
  readonly kind: TokenKind;
  readonly start: number;
  readonly end: number;
  readonly innerStart: number;
  readonly innerEnd: number;
  readonly word: string;
}

export interface JudgeContext {
  readonly text: Buffer;
  readonly flavour: Flavour;
  /** Whether a backslash escapes in such a literal. */
  readonly escapes: (kind: TokenKind) => boolean;
  /** Judges SQL that stands in a literal, its quotes and escapes undone. */
  readonly nested: (sql: Buffer) => Facts;
}

export class Judge {
  readonly facts: Facts;
  readonly context: JudgeContext;
  /** The first tokens of the statement. */
  readonly head: HeadToken[] = [];
  /** More tokens than `head` keeps. */
  overflowed = false;
  /** The first word of a data change that stands where a reading statement has none. */
  dataChange = '';
  /** FOR UPDATE and the like. */
  lockingRead = '';
  /** PREPARE or EXECUTE IMMEDIATE, anywhere. */
  dynamic = false;
  unknownCall = '';
  /** Of a statement that begins with WITH: index in `head` of the word behind the last query, or -1. */
  afterWith = -1;
  readonly #tables: TableNames;
  #depth = 0;
  #previousKind: TokenKind = Token.end;
  #previousByte = 0;
  #previousStart = 0;
  #previousEnd = 0;
  #previousWord = '';
  #secondLastWord = '';
  #secondLastByte = 0;
  /** INSERT or REPLACE, unless a parenthesis follows. */
  #pending = '';

  constructor(facts: Facts, context: JudgeContext) {
    this.facts = facts;
    this.context = context;
    this.#tables = new TableNames(facts, context.text);
  }

  token(kind: TokenKind, lexer: Lexer): void {
    const { text } = this.context;
    const { word, tokenStart } = lexer;
    const byte = kind === Token.symbol ? text[tokenStart] : 0;
    if (this.head.length < MAX_HEAD)
      this.head.push({
        kind,
        start: tokenStart,
        end: lexer.tokenEnd,
        innerStart: lexer.innerStart,
        innerEnd: lexer.innerEnd,
        word,
      });
    else this.overflowed = true;
    if (this.#pending !== '') {
      if (byte !== OPEN) this.#changes(this.#pending);
      this.#pending = '';
    }
    if (byte !== 0) this.#symbol(byte);
    else if (word !== '') this.#word(word);
    else if (kind === Token.word && this.#previousByte === DOT) this.#member(lexer);
    else if (kind === Token.dollarString) this.facts.flag('opaque', 'a dollar-quoted text');
    this.#tables.token(kind, word, byte, lexer);
    this.#secondLastWord = this.#previousWord;
    this.#secondLastByte = this.#previousByte;
    this.#previousKind = kind;
    this.#previousByte = byte;
    this.#previousStart =
      kind === Token.quotedIdentifier || kind === Token.doubleQuoted ? lexer.innerStart : tokenStart;
    this.#previousEnd =
      kind === Token.quotedIdentifier || kind === Token.doubleQuoted ? lexer.innerEnd : lexer.tokenEnd;
    this.#previousWord = word;
  }

  /** After the last token. */
  finish(): void {
    if (this.#pending !== '') this.#changes(this.#pending);
    this.#tables.finish();
    this.facts.statements++;
    judgeVerb(this);
  }

  #symbol(byte: number): void {
    if (byte === CLOSE) this.#depth--;
    else if (byte === OPEN) {
      this.#depth++;
      this.#call();
    }
  }

  /** A parenthesis opens. */
  #call(): void {
    const kind = this.#previousKind;
    const isQuoted = kind === Token.quotedIdentifier || kind === Token.doubleQuoted;
    if (kind !== Token.word && !isQuoted) return;
    const { text, escapes } = this.context;
    const qualified = this.#secondLastByte === DOT;
    let word = qualified || isQuoted ? '' : this.#previousWord;
    if (word === '') {
      const from = this.#previousStart;
      const name = text.toString('latin1', from, Math.min(this.#previousEnd, from + 80)).toLowerCase();
      if (kind === Token.doubleQuoted && escapes(kind) && !/^\w+$/.test(name)) return;
      // The server's tables of names fold accents: `gét_lock` may be GET_LOCK to it.
      if (/[^\0-\x7f]/.test(name)) this.#unknown('a function with letters beyond ASCII in its name');
      word = HARMFUL.has(name) || (!qualified && BUILT_IN.has(name)) ? name : '';
      if (word === '') {
        if (!NO_CALL_AFTER.has(this.#secondLastWord))
          this.#unknown(`function ${/^\w+$/.test(name) ? name : ''}`);
        return;
      }
    }
    const effect = HARMFUL.get(word);
    if (effect === undefined) return;
    if (effect === 'files') {
      this.facts.flag('copy', `function ${word}`);
      this.facts.flag('serverFiles', `function ${word}`);
    } else this.facts.flag(effect, `function ${word}`);
  }

  #unknown(what: string): void {
    this.facts.unknownFunctions = true;
    if (this.unknownCall === '') this.unknownCall = what;
  }

  /** `sequence.nextval`, as in MariaDB's ORACLE mode. */
  #member(lexer: Lexer): void {
    if (lexer.tokenEnd - lexer.tokenStart !== 7) return;
    const name = this.context.text.toString('latin1', lexer.tokenStart, lexer.tokenEnd).toLowerCase();
    if (name === 'nextval') this.facts.flag('writes', 'NEXTVAL of a sequence');
  }

  #word(word: string): void {
    const previous = this.#previousWord;
    if (this.#depth === 0 && this.afterWith < 0 && this.#previousByte === CLOSE && MAIN_VERBS.has(word))
      this.afterWith = this.head.length - 1;
    switch (word) {
      case 'outfile':
      case 'dumpfile':
        if (previous !== 'into') return;
        this.facts.flag('copy', `INTO ${word.toUpperCase()}`);
        this.facts.flag('serverFiles', `INTO ${word.toUpperCase()}`);
        return;
      case 'update':
        if (previous === 'for') this.#locks('SELECT … FOR UPDATE');
        else if (previous !== 'on' && previous !== 'key') this.#changes('UPDATE');
        return;
      case 'share':
        if (previous === 'for') this.#locks('SELECT … FOR SHARE');
        else if (previous === 'in' && this.#secondLastWord === 'lock') this.#locks('LOCK IN SHARE MODE');
        return;
      case 'delete':
        if (previous !== 'on') this.#changes('DELETE');
        return;
      case 'insert':
      case 'replace':
        this.#pending = word.toUpperCase();
        return;
      case 'value':
        if (previous === 'next') this.facts.flag('writes', 'NEXT VALUE of a sequence');
        return;
      case 'data':
      case 'xml':
        if (previous !== 'load') return;
        this.facts.flag('copy', `LOAD ${word.toUpperCase()}`);
        this.facts.flag('writes', `LOAD ${word.toUpperCase()}`);
        return;
      case 'prepare':
      case 'immediate':
        this.dynamic = true;
        return;
      default:
        return;
    }
  }

  #changes(word: string): void {
    if (this.dataChange === '') this.dataChange = word;
  }

  #locks(what: string): void {
    if (this.lockingRead === '') this.lockingRead = what;
  }
}

const MAIN_VERBS: ReadonlySet<string> = new Set([
  'select',
  'insert',
  'update',
  'delete',
  'replace',
  'table',
  'values',
]);
