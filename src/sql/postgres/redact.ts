/**
 * Passwords out of SQL, before anything is stored (HOSTILE.md 75b). Literals are replaced by `'***'`; every other byte
 * stays as it was. Rules, on tokens:
 *
 *  1. a literal after a name that says password or secret, directly or behind `=`, `TO`, `=>`: `PASSWORD '…'`,
 *     `OPTIONS (password '…')`, `SET app.api_key = '…'`, `set_config('app.secret', '…', …)`;
 *  2. a literal that is a connection string with a password, a URI with one, or a SCRAM verifier;
 *  3. the literals among the arguments of functions that take keys (crypt, pgp_sym_encrypt, hmac, …);
 *  4. SQL inside literals, dollar-quoted bodies and comments: the same rules in there, and where a literal is a piece of
 *     SQL that ends in `PASSWORD`, the literals beside it;
 *  5. a text that mentions a secret and cannot be parsed: all its literals.
 *
 * Redacting errs on the side of hiding: `WHERE password = 'x'` loses its constant as well.
 */
import { limits } from '../../base/limits.ts';
import type { LexicalSettings, Redaction } from '../dialect.ts';
import { isAsciiSafe, maskMultibyte } from './encoding.ts';
import { isIdentifierPart, Lexer, type StringKind, Token, type TokenKind } from './lexer.ts';
import { mayHoldSecret } from './secret-scan.ts';

const HIDDEN = Buffer.from("'***'");
const MAX_DEPTH = 5;

const SECRET_NAME =
  /passw|passphrase|passcode|pwd|secret|credential|scram_(client|server)_key|api_?key|private_?key|access_?key|token/;
/** Every trigger of `secret-scan.ts`, for texts inside texts. */
const MENTION = /pass|pwd|secret|cred|scram|:\/\//i;
const CONNECTION_PASSWORD = /pass(?:w(?:or)?d)\s*=\s*[^\s]|secret\s*=\s*[^\s]/i;
const URI_PASSWORD = /[a-z][a-z0-9+.-]*:\/\/[^\s/@:]*:[^\s@]+@/i;
const VERIFIER = /SCRAM-SHA-(?:1|256|512)\$/i;
const KEYED_FUNCTION =
  /^(?:crypt|hmac|(?:en|de)crypt(?:_iv)?|pgp_(?:sym|pub)_(?:en|de)crypt(?:_bytea)?|.*credential.*)$/;
/** A piece of SQL whose next token would be a password. */
const DANGLING_PASSWORD = /\bpassword\b\s*(?:=?\s*['"]*\s*$|%|\$\d|e?''?\s*\|\|)/i;

interface Item {
  readonly kind: TokenKind;
  readonly start: number;
  readonly end: number;
  readonly innerStart: number;
  readonly innerEnd: number;
  readonly stringKind: StringKind;
}

interface Edit {
  readonly start: number;
  readonly end: number;
  readonly replacement: Buffer;
}

export class Redactor {
  readonly #parses: (text: Buffer, settings: LexicalSettings) => boolean;

  /** `parses`: whether the server's parser accepts a text of at most `limits.maxInlineParseBytes`. */
  constructor(parses: (text: Buffer, settings: LexicalSettings) => boolean) {
    this.#parses = parses;
  }

  redact(text: Buffer, start: number, end: number, settings: LexicalSettings): Redaction {
    const view = start === 0 && end === text.length ? text : text.subarray(start, end);
    if (!mayHoldSecret(text, start, end)) return { text: view, redacted: false };
    const lexable =
      (isAsciiSafe(settings.clientEncoding)
        ? null
        : maskMultibyte(view, 0, view.length, settings.clientEncoding)) ?? view;
    const scope = new Scope(lexable, 0, lexable.length, settings.standardConformingStrings, 0);
    const edits =
      scope.mentions() && !this.#understood(view, scope, settings) ? scope.everyLiteral() : scope.edits();
    return edits.length === 0
      ? { text: view, redacted: false }
      : { text: apply(view, 0, view.length, edits), redacted: true };
  }

  #understood(view: Buffer, scope: Scope, settings: LexicalSettings): boolean {
    if (scope.broken) return false;
    // Longer texts are not parsed here; their tokens are all there is to go by.
    return view.length > limits.maxInlineParseBytes || this.#parses(view, settings);
  }
}

/** One piece of SQL: a whole text, a body, a comment. */
class Scope {
  readonly broken: boolean;
  readonly #text: Buffer;
  readonly #start: number;
  readonly #end: number;
  readonly #conforming: boolean;
  readonly #depth: number;
  readonly #items: readonly Item[];

  constructor(text: Buffer, start: number, end: number, conforming: boolean, depth: number) {
    this.#text = text;
    this.#start = start;
    this.#end = end;
    this.#conforming = conforming;
    this.#depth = depth;
    this.#items = lex(text, start, end, conforming);
    this.broken = this.#items.at(-1)?.kind === Token.unterminated;
  }

  /** Whether it says anything of secrets, or defines roles. */
  mentions(): boolean {
    return MENTION.test(this.#text.toString('latin1', this.#start, this.#end)) || this.#definesRole();
  }

  #definesRole(): boolean {
    const [verb, object] = this.#items.filter((item) => item.kind !== Token.comment);
    return (
      verb !== undefined &&
      object !== undefined &&
      /^(?:alter|create)$/.test(this.#name(verb)) &&
      /^(?:role|user|group)$/.test(this.#name(object))
    );
  }

  /**
   * For text that is not understood. A quote too many or too few in a password turns literals inside out; where one is
   * glued to what follows, or does not end, nothing behind the first is kept.
   */
  everyLiteral(): Edit[] {
    const bare = this.#barePassword();
    if (bare === null) return this.#literals();
    const rest = { start: bare.start, end: this.#end, replacement: HIDDEN };
    return [...this.#literals().filter((edit) => edit.end <= bare.start), rest];
  }

  /** `ALTER ROLE x PASSWORD hunter2`: quotes forgotten, or the wrong ones. Nothing from there on is kept. */
  #barePassword(): Item | null {
    if (!this.#definesRole()) return null;
    const items = this.#items.filter((item) => item.kind !== Token.comment);
    for (let at = 0; at < items.length; at++) {
      if (items[at].kind !== Token.word || !SECRET_NAME.test(this.#name(items[at]))) continue;
      while (at + 1 < items.length && /^(?:is|to|as|=|:)$/i.test(this.#latin1(items[at + 1]))) at++;
      const next = items[at + 1];
      if (next !== undefined && !isLiteral(next)) return next;
    }
    return null;
  }

  #literals(): Edit[] {
    const literals = this.#items.filter((item) => isLiteral(item) || this.#hasDollar(item));
    const [first] = literals;
    if (first !== undefined && literals.some((item) => this.#isGlued(item)))
      return [{ start: first.start, end: this.#end, replacement: HIDDEN }];
    const comments = this.#items
      .filter((item) => item.kind === Token.comment)
      .flatMap((item) => this.#within(item.start + 2, item.end) ?? [hide(item)]);
    return [...literals.map(hide), ...comments].sort((a, b) => a.start - b.start);
  }

  #isGlued(item: Item): boolean {
    return (
      item.kind === Token.unterminated || (item.end < this.#end && isIdentifierPart(this.#text[item.end]))
    );
  }

  /** `PASSWORD$$x$$` is one identifier, but was not meant as one. */
  #hasDollar(item: Item): boolean {
    return item.kind === Token.word && this.#latin1(item).includes('$');
  }

  edits(): Edit[] {
    const hidden = this.#hiddenByNeighbours();
    const edits: Edit[] = [];
    for (const [index, item] of this.#items.entries()) {
      if (hidden.has(index) || (this.#hasDollar(item) && SECRET_NAME.test(this.#name(item))))
        edits.push(hide(item));
      else if (isLiteral(item)) edits.push(...this.#insideLiteral(item));
      else if (item.kind === Token.comment) edits.push(...(this.#within(item.start + 2, item.end) ?? []));
    }
    return edits;
  }

  /** Indexes of literals that what stands beside them tells to be secrets. */
  #hiddenByNeighbours(): Set<number> {
    const items = this.#items;
    const hidden = new Set<number>();
    let all = false;
    for (const [index, item] of items.entries()) {
      if (isLiteral(item)) {
        if (this.#isNamedSecret(index)) hidden.add(index);
        else if (DANGLING_PASSWORD.test(this.#inner(item))) all = true;
        continue;
      }
      const name = this.#name(item);
      if (name === '' || !this.#isSymbol(index + 1, '(')) continue;
      if (KEYED_FUNCTION.test(name)) this.#literalsOfCall(index + 1).forEach((each) => hidden.add(each));
      else if (name === 'set_config') {
        const [setting, ...values] = this.#literalsOfCall(index + 1);
        if (setting !== undefined && SECRET_NAME.test(this.#inner(items[setting]).toLowerCase()))
          for (const value of values) hidden.add(value);
      }
    }
    if (all)
      for (const [index, item] of items.entries())
        if (isLiteral(item) && !DANGLING_PASSWORD.test(this.#inner(item))) hidden.add(index);
    return hidden;
  }

  /** Looks back from a literal over `=`, `TO` and the like to a dotted name, and reads it. */
  #isNamedSecret(index: number): boolean {
    let at = index - 1;
    let assigned = false;
    for (; at >= 0; at--) {
      const item = this.#items[at];
      if (item.kind === Token.comment) continue;
      const isOperator = item.kind === Token.symbol && '=:>&'.includes(this.#latin1(item));
      if (!isOperator && this.#name(item) !== 'to') break;
      assigned = true;
    }
    for (let name = at; name >= 0; name--) {
      const part = this.#name(this.#items[name]);
      if (part !== '') {
        // Directly before a literal stands a keyword or an option's name: `PASSWORD 'x'`, but also `AS token 'x'`.
        if (SECRET_NAME.test(part) && (assigned || name === at)) return true;
      } else if (!this.#isSymbol(name, '.')) return false;
      if (name > 0 && part !== '' && !this.#isSymbol(name - 1, '.')) return false;
    }
    return false;
  }

  #literalsOfCall(open: number): number[] {
    const found: number[] = [];
    let depth = 0;
    for (let at = open; at < this.#items.length; at++) {
      if (this.#isSymbol(at, '(')) depth++;
      else if (this.#isSymbol(at, ')') && --depth === 0) break;
      else if (isLiteral(this.#items[at])) found.push(at);
    }
    return found;
  }

  #insideLiteral(item: Item): Edit[] {
    const inner = this.#inner(item);
    if (!MENTION.test(inner)) return [];
    if (CONNECTION_PASSWORD.test(inner) || URI_PASSWORD.test(inner) || VERIFIER.test(inner))
      return [hide(item)];
    if (item.kind === Token.dollarString) return this.#within(item.innerStart, item.innerEnd) ?? [hide(item)];
    if (item.kind !== Token.string) return [hide(item)];
    // Escapes could spell anything; what mentions a secret and holds one is not looked at more closely.
    const escaped = item.stringKind !== 'plain' || !this.#conforming ? inner.includes('\\') : false;
    if (escaped) return [hide(item)];
    if (!inner.includes("''") && !inner.includes('$')) return [];
    return this.#insideQuotes(item);
  }

  /** A string whose text, its quotes no longer doubled, is SQL with literals of its own. */
  #insideQuotes(item: Item): Edit[] {
    if (this.#depth >= MAX_DEPTH) return [hide(item)];
    const inner = Buffer.from(this.#inner(item).replaceAll("''", "'"), 'latin1');
    const scope = new Scope(inner, 0, inner.length, this.#conforming, this.#depth + 1);
    const edits = scope.broken ? scope.everyLiteral() : scope.edits();
    if (edits.length === 0) return [];
    const redacted = apply(inner, 0, inner.length, edits).toString('latin1').replaceAll("'", "''");
    return [{ start: item.innerStart, end: item.innerEnd, replacement: Buffer.from(redacted, 'latin1') }];
  }

  /** Edits in a piece of this text that is SQL by itself; `null` when it is nested too deep to be looked at. */
  #within(start: number, end: number): Edit[] | null {
    if (!MENTION.test(this.#text.toString('latin1', start, end))) return [];
    if (this.#depth >= MAX_DEPTH) return null;
    const scope = new Scope(this.#text, start, end, this.#conforming, this.#depth + 1);
    return scope.broken ? scope.everyLiteral() : scope.edits();
  }

  /** Of a word or quoted identifier, in lower case; else empty. */
  #name(item: Item): string {
    if (item.kind === Token.word) return this.#latin1(item).toLowerCase();
    return item.kind === Token.quotedIdentifier ? this.#inner(item).toLowerCase() : '';
  }

  #isSymbol(index: number, symbol: string): boolean {
    const item = this.#items[index];
    return item?.kind === Token.symbol && this.#latin1(item) === symbol;
  }

  #inner(item: Item): string {
    return this.#text.toString('latin1', item.innerStart, item.innerEnd);
  }

  #latin1(item: Item): string {
    return this.#text.toString('latin1', item.start, item.end);
  }
}

function lex(text: Buffer, start: number, end: number, conforming: boolean): Item[] {
  const items: Item[] = [];
  const lexer = new Lexer(text, start, end, conforming, true);
  for (let kind = lexer.next(); kind !== Token.end; kind = lexer.next())
    items.push({
      kind,
      start: lexer.tokenStart,
      end: lexer.tokenEnd,
      innerStart: Math.max(lexer.innerStart, lexer.tokenStart),
      innerEnd: Math.max(lexer.innerEnd, lexer.tokenStart),
      stringKind: lexer.stringKind,
    });
  return items;
}

function isLiteral(item: Item): boolean {
  return item.kind === Token.string || item.kind === Token.dollarString || item.kind === Token.unterminated;
}

function hide(item: Item): Edit {
  return { start: item.start, end: item.end, replacement: HIDDEN };
}

/** `edits` in order and without overlap. */
function apply(text: Buffer, start: number, end: number, edits: readonly Edit[]): Buffer {
  const pieces: Buffer[] = [];
  let at = start;
  for (const edit of edits) {
    pieces.push(text.subarray(at, edit.start), edit.replacement);
    at = edit.end;
  }
  pieces.push(text.subarray(at, end));
  return Buffer.concat(pieces);
}
