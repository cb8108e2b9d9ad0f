/**
 * One reading of a text for its secrets. Rules, on tokens; a literal is '…', "…" (a string or a name, we cannot tell) and
 * a hexadecimal number where a hash may stand:
 *
 *  1. literals behind IDENTIFIED, but for the names of plug-ins, up to the next account or clause; where a bare word
 *     stands instead of the literal (quotes forgotten), nothing from there on is kept;
 *  2. in statements about accounts (CREATE USER, ALTER USER, GRANT, SET PASSWORD), every literal that is no account's
 *     name and stands behind no word that says what it is: a mistyped IDENTIFIED hides its password, too;
 *  3. a literal after a name that says password or secret, directly or behind `=`: MASTER_PASSWORD = '…', OPTIONS (PASSWORD
 *     '…'), SET @secret := '…', `WHERE password = '…'`;
 *  4. the literals among the arguments of PASSWORD(), OLD_PASSWORD(), ENCRYPT() and their like;
 *  5. a literal that is a URI or a connection string with a password, or a password's hash;
 *  6. SQL inside literals and comments: the same rules in there, and where a literal is a piece of SQL that ends in
 *     IDENTIFIED BY or PASSWORD, the literals beside it;
 *  7. in a text that mentions a secret and in which a quote does not end: everything from the first literal on.
 *
 * The text is read token by token, and nothing is kept of it but the edits.
 */
import { isIdentifierPart, Lexer, type Reading, Token, type TokenKind } from './lexer.ts';
import { literalBytes } from './literal.ts';
import { mentionsSecret } from './secret-scan.ts';

export interface Edit {
  readonly start: number;
  readonly end: number;
  readonly replacement: Buffer;
}

export const HIDDEN = Buffer.from("'***'");
const STARS = Buffer.from('***');
const STAR = 0x2a;
const DOLLAR = 0x24;
const MAX_DEPTH = 5;
/** More literals than this are hidden with all that stands between them. */
const MAX_EDITS = 100_000;
/** Longer names are no keywords. */
const MAX_NAME = 64;

const SECRET_NAME =
  /passw|passphrase|passcode|pwd|secret|credential|api_?key|private_?key|access_?key|token|_pass$|^pass$/;
/** Every word of `secret-scan.ts`, for texts inside texts. */
const MENTION = /pass|secret|cred|pwd|identif|:\/\/|api_?key/i;
const CONNECTION_PASSWORD = /pass(?:w(?:or)?d)?\s*=\s*[^\s]|secret\s*=\s*[^\s]|password\s+["'][^"']/i;
const URI_PASSWORD = /[a-z][a-z0-9+.-]*:\/\/[^\s/@:]*:[^\s@]+@/i;
/** mysql_native_password, caching_sha2_password, sha256_password. */
const HASH = /^(?:\*[0-9A-F]{40}$|\$A\$[0-9A-F]{3}\$|\$5\$)/i;
/** A piece of SQL whose next token would be a password. */
const DANGLING_PASSWORD =
  /\b(?:identified\s+(?:by|(?:with|via)\s+\S+\s+(?:by|as|using))|password)\b\s*(?:[=(]?\s*['"\\]*\s*$|%)/i;
const KEYED_FUNCTION = /^(?:(?:old_)?password|encrypt|des_(?:en|de)crypt)$/;

/** Behind these, a literal is the name of an account, a plug-in, or says what it is. */
const NO_SECRET_AFTER: ReadonlySet<string> = new Set([
  'user',
  'for',
  'to',
  'from',
  'exists',
  'with',
  'via',
  'or',
  'comment',
  'attribute',
  'subject',
  'issuer',
  'cipher',
  'role',
  'and',
  ',',
  '@',
]);
/** These end what belongs to IDENTIFIED. */
const ENDS_IDENTIFIED: ReadonlySet<string> = new Set([
  ',',
  ';',
  'require',
  'account',
  'comment',
  'attribute',
  'default',
]);
/** Between a name and its value: `=`, `:=`, `<>`, `!=`, `=>` and words. */
const ASSIGNS: ReadonlySet<string> = new Set(['=', ':', '<', '>', '!', 'to', 'is', '&']);
const BEFORE_PASSWORD: ReadonlySet<string> = new Set(['by', 'as', 'using']);
const NO_BARE_PASSWORD: ReadonlySet<string> = new Set(['random', 'password', 'old_password']);

/** What one reading says of a text. */
export interface Secrets {
  readonly edits: Edit[];
  /** How many `?` it has. */
  readonly parameterCount: number;
  /** Those that stand where a literal would be hidden, by number from 0; `all` where it cannot be told. */
  readonly parameters: ReadonlySet<number> | 'all';
}

/** `lexable` is `view` with characters masked where their bytes could be misread. */
export function readSecrets(lexable: Buffer, view: Buffer, reading: Reading, believed: boolean): Secrets {
  const reader = new SecretReader(lexable, view, 0, lexable.length, reading, 0);
  const edits = reader.read(believed);
  return { edits, parameterCount: reader.parameterCount, parameters: reader.parameters };
}

/** A literal, or a parameter, that the next token may still tell to be the name of an account: `'bob'@'%'`. */
interface Pending {
  readonly start: number;
  readonly end: number;
  /** Its number; −1: a literal. */
  readonly parameter: number;
}

class SecretReader {
  readonly #text: Buffer;
  readonly #view: Buffer;
  readonly #end: number;
  readonly #reading: Reading;
  readonly #depth: number;
  readonly #lexer: Lexer;
  #edits: Edit[] = [];
  #firstLiteral = -1;
  /** Nothing behind this offset is kept. */
  #hideFrom = -1;
  #everyLiteral = false;
  readonly #secretParameters = new Set<number>();
  #parameterCount = 0;
  /** EXECUTE IMMEDIATE of a text with parameters in secret places: what is given for them is hidden. */
  #givesSecrets = false;
  #pending: Pending | null = null;
  /** Of the statement so far: its first two words, in lower case. */
  #first = '';
  #second = '';
  #identified = false;
  /** Open parentheses, and how many were open when a keyed function was called. */
  #parentheses = 0;
  #keyedAt = -1;
  /** The last token as text: words and names in lower case, symbols; '' for literals. */
  #previous = '';
  /** The name that `=` and the like assign to, or that stands directly before. */
  #name = '';
  #assigned = false;

  constructor(text: Buffer, view: Buffer, start: number, end: number, reading: Reading, depth: number) {
    this.#text = text;
    this.#view = view;
    this.#end = end;
    this.#reading = reading;
    this.#depth = depth;
    this.#lexer = new Lexer(text, start, end, reading, true);
  }

  /** `believed`: an open quote hides the rest. In other readings it only tells that the text is not read like this. */
  read(believed: boolean): Edit[] {
    const lexer = this.#lexer;
    for (;;) {
      const kind = lexer.next();
      if (kind === Token.end) break;
      if (kind === Token.broken || kind === Token.obscure) {
        this.#settle('');
        if (believed || this.#isSecret(kind)) this.#hideRest(this.#firstLiteral);
        break;
      }
      if (kind === Token.comment) this.#comment();
      else this.#token(kind);
      // Nothing that follows could show any more.
      if (this.#hideFrom >= 0 || this.#hidesEveryLiteral) break;
    }
    this.#settle('');
    return this.#result();
  }

  get parameterCount(): number {
    return this.#parameterCount;
  }

  get parameters(): ReadonlySet<number> | 'all' {
    return this.#hideFrom >= 0 ? 'all' : this.#secretParameters;
  }

  get #hidesEveryLiteral(): boolean {
    return this.#everyLiteral || this.#edits.length > MAX_EDITS;
  }

  #result(): Edit[] {
    if (this.#hidesEveryLiteral) this.#hideRest(this.#firstLiteral);
    if (this.#hideFrom < 0) return this.#edits;
    const from = this.#hideFrom;
    const rest = { start: from, end: this.#end, replacement: HIDDEN };
    return [...this.#edits.filter((each) => each.end <= from), rest];
  }

  #hideRest(literal: number): void {
    const from = literal >= 0 ? literal : this.#lexer.tokenStart;
    this.#hideFrom = this.#hideFrom < 0 ? from : Math.min(this.#hideFrom, from);
  }

  #token(kind: TokenKind): void {
    const lexer = this.#lexer;
    const text = this.#textOf(kind);
    this.#settle(text);
    if (kind === Token.symbol) this.#symbol(text);
    if (isLiteral(kind)) this.#literal(kind);
    else if (kind === Token.number && this.#identified && this.#isHexadecimal()) this.#hide();
    else if (text !== '') {
      if (this.#isBarePassword(kind, text)) {
        this.#hideFrom = lexer.tokenStart;
        return;
      }
      this.#word(kind, text);
    }
    this.#remember(kind, text);
  }

  #symbol(text: string): void {
    if (text === '(') {
      this.#parentheses++;
      if (this.#keyedAt < 0 && KEYED_FUNCTION.test(this.#previous)) this.#keyedAt = this.#parentheses;
    } else if (text === ')') {
      if (this.#keyedAt === this.#parentheses) this.#keyedAt = -1;
      this.#parentheses--;
    } else if (text === '?') this.#parameter();
    else if (text === ';') {
      this.#givesSecrets = false;
      this.#first = '';
      this.#second = '';
      this.#parentheses = 0;
      this.#keyedAt = -1;
    }
    if (ENDS_IDENTIFIED.has(text)) this.#identified = false;
  }

  #word(kind: TokenKind, text: string): void {
    if (kind !== Token.word) return;
    if (this.#first === '') this.#first = text;
    else if (this.#second === '' && text !== 'or' && text !== 'replace') this.#second = text;
    if (text === 'identified') this.#identified = true;
    else if (ENDS_IDENTIFIED.has(text)) this.#identified = false;
  }

  /** What the next literal will look back to. */
  #remember(kind: TokenKind, text: string): void {
    this.#previous = text;
    if (ASSIGNS.has(text)) {
      this.#assigned = true;
      return;
    }
    if (text !== '.' && text !== '@') {
      this.#name = kind === Token.symbol ? '' : text;
      this.#assigned = false;
    }
  }

  #literal(kind: TokenKind): void {
    const lexer = this.#lexer;
    if (this.#firstLiteral < 0) this.#firstLiteral = lexer.tokenStart;
    if (this.#isSecret(kind)) {
      this.#hide();
      return;
    }
    if (this.#mayNameAccount()) {
      this.#pending = { start: lexer.tokenStart, end: lexer.tokenEnd, parameter: -1 };
      return;
    }
    this.#insideLiteral(kind);
  }

  /** `?`, which may stand wherever a literal may. */
  #parameter(): void {
    const parameter = this.#parameterCount++;
    if (this.#isSecretPlace()) this.#secretParameters.add(parameter);
    else if (this.#mayNameAccount()) this.#pending = { start: 0, end: 0, parameter };
  }

  #mayNameAccount(): boolean {
    return this.#isAccountStatement() && !NO_SECRET_AFTER.has(this.#previous);
  }

  #isSecret(kind: TokenKind): boolean {
    if (kind !== Token.broken && kind !== Token.obscure && !isLiteral(kind)) return false;
    return this.#isSecretPlace();
  }

  #isSecretPlace(): boolean {
    if (this.#keyedAt >= 0 || this.#givesSecrets) return true;
    if (this.#identified && this.#previous !== 'with' && this.#previous !== 'via' && this.#previous !== 'or')
      return true;
    return SECRET_NAME.test(this.#name) && (this.#assigned || this.#previous === this.#name);
  }

  #isAccountStatement(): boolean {
    const first = this.#first;
    if (first === 'create' || first === 'alter') return this.#second === 'user';
    return first === 'grant' || (first === 'set' && this.#second === 'password');
  }

  /** After IDENTIFIED BY, or SET PASSWORD … =, no literal but a word. */
  #isBarePassword(kind: TokenKind, text: string): boolean {
    if (kind !== Token.word && kind !== Token.quotedIdentifier && kind !== Token.userVariable) return false;
    if (NO_BARE_PASSWORD.has(text)) return false;
    if (this.#identified && BEFORE_PASSWORD.has(this.#previous)) return true;
    return this.#first === 'set' && this.#second === 'password' && this.#previous === '=';
  }

  #isHexadecimal(): boolean {
    const { tokenStart, tokenEnd } = this.#lexer;
    return tokenEnd - tokenStart > 2 && (this.#text[tokenStart + 1] | 0x20) === 0x78;
  }

  /** Hides a pending literal, unless what follows makes it the name of an account. */
  #settle(following: string): void {
    const pending = this.#pending;
    if (pending === null) return;
    this.#pending = null;
    if (following === '@') return;
    if (pending.parameter >= 0) this.#secretParameters.add(pending.parameter);
    else this.#push(pending.start, pending.end, HIDDEN);
  }

  #hide(): void {
    const { tokenStart, tokenEnd } = this.#lexer;
    // 'hun'ter2': a quote too many; what is hidden may be the wrong half.
    if (tokenEnd < this.#end && isIdentifierPart(this.#text[tokenEnd])) this.#hideRest(tokenStart);
    else this.#push(tokenStart, tokenEnd, HIDDEN);
  }

  #push(start: number, end: number, replacement: Buffer): void {
    if (this.#edits.length <= MAX_EDITS) this.#edits.push({ start, end, replacement });
  }

  #insideLiteral(kind: TokenKind): void {
    const { tokenStart, tokenEnd, innerStart, innerEnd } = this.#lexer;
    if (tokenEnd - tokenStart < 6) return;
    // Texts may have millions of literals: most of them are not worth a string.
    const first = this.#text[innerStart];
    const mentions = mentionsSecret(this.#text, innerStart, innerEnd);
    if (!mentions && first !== STAR && first !== DOLLAR) return;
    const inner = this.#text.toString('latin1', innerStart, innerEnd);
    if (HASH.test(inner) && this.#mentionsNear()) {
      this.#hide();
      return;
    }
    if (!MENTION.test(inner)) return;
    if (this.#first === 'execute' && inner.includes('?')) this.#givesSecrets ||= this.#asksForSecrets();
    if (DANGLING_PASSWORD.test(inner)) {
      this.#everyLiteral = true;
      return;
    }
    if (CONNECTION_PASSWORD.test(inner) && !/['"]/.test(inner)) {
      this.#hide();
      return;
    }
    if (URI_PASSWORD.test(inner)) {
      this.#hide();
      return;
    }
    if (kind === Token.dollarString) {
      this.#within(innerStart, innerEnd);
      return;
    }
    if (/identif|['"\\]/i.test(inner)) this.#insideQuotes(kind);
  }

  /** In a statement about accounts, or one that names a column for it. */
  #mentionsNear(): boolean {
    return this.#identified || this.#isAccountStatement();
  }

  /** A string whose text, its quotes and escapes undone, is SQL with literals of its own. */
  #insideQuotes(kind: TokenKind): void {
    const { tokenStart, innerStart, innerEnd } = this.#lexer;
    const escapes = kind === Token.string ? this.#reading.singleEscapes : this.#reading.doubleEscapes;
    const token = { kind, start: tokenStart, innerStart, innerEnd };
    const inner = literalBytes(this.#view, token, escapes);
    if (inner === null || this.#depth >= MAX_DEPTH) {
      this.#hide();
      return;
    }
    const edits = new SecretReader(inner, inner, 0, inner.length, this.#reading, this.#depth + 1).read(false);
    if (edits.length === 0) return;
    // Escapes cannot be put back where they were; quotes can.
    if (escapes && this.#view.subarray(innerStart, innerEnd).includes(0x5c)) {
      this.#push(innerStart, innerEnd, STARS);
      return;
    }
    const quote = kind === Token.string ? "'" : '"';
    const pieces: string[] = [];
    let at = 0;
    for (const each of edits) {
      pieces.push(inner.toString('latin1', at, each.start), each.replacement.toString('latin1'));
      at = each.end;
    }
    pieces.push(inner.toString('latin1', at));
    const redacted = pieces.join('').replaceAll(quote, quote + quote);
    this.#push(innerStart, innerEnd, Buffer.from(redacted, 'latin1'));
  }

  /** Whether a literal is SQL with parameters in secret places. */
  #asksForSecrets(): boolean {
    const { innerStart, innerEnd } = this.#lexer;
    const inner = new SecretReader(this.#text, this.#view, innerStart, innerEnd, this.#reading, MAX_DEPTH);
    inner.read(false);
    return inner.parameters === 'all' || inner.parameters.size > 0;
  }

  /** A comment: it may hold anything, also SQL. */
  #comment(): void {
    const { tokenStart, tokenEnd } = this.#lexer;
    let from = tokenStart + 2;
    // Of a versioned comment that is not code, the version as well.
    if (this.#text[from] === 0x4d && this.#text[from + 1] === 0x21) from++;
    if (this.#text[from] === 0x21) for (from++; from < tokenEnd && isVersion(this.#text[from]); ) from++;
    const isBlock = this.#text[tokenStart] === 0x2f;
    this.#within(Math.min(from, tokenEnd), isBlock ? Math.max(from, tokenEnd - 2) : tokenEnd);
  }

  /** A piece of this text that is SQL by itself. */
  #within(start: number, end: number): void {
    if (!MENTION.test(this.#text.toString('latin1', start, end))) return;
    if (this.#depth >= MAX_DEPTH) {
      this.#push(start, end, STARS);
      return;
    }
    const reader = new SecretReader(this.#text, this.#view, start, end, this.#reading, this.#depth + 1);
    for (const each of reader.read(true)) this.#push(each.start, each.end, each.replacement);
  }

  /** Words, names and variables in lower case; symbols; '' for everything else. */
  #textOf(kind: TokenKind): string {
    const { word, tokenStart, tokenEnd, innerStart, innerEnd } = this.#lexer;
    if (word !== '') return word;
    const text = this.#text;
    if (kind === Token.symbol) return String.fromCharCode(text[tokenStart]);
    if (kind === Token.word || kind === Token.userVariable)
      return text.toString('latin1', tokenStart, Math.min(tokenEnd, tokenStart + MAX_NAME)).toLowerCase();
    if (kind === Token.quotedIdentifier)
      return text.toString('latin1', innerStart, Math.min(innerEnd, innerStart + MAX_NAME)).toLowerCase();
    return '';
  }
}

function isVersion(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39;
}

function isLiteral(kind: TokenKind): boolean {
  return kind === Token.string || kind === Token.doubleQuoted || kind === Token.dollarString;
}
