/**
 * sql/: what a statement is, judged from its text alone.
 *
 * One {@link SqlDialect} per engine answers five questions about bytes that a client sent: how many statements are
 * they (`split`), what may each of them do (`classify`), which parts of them must never be stored (`redactSecrets`),
 * which other statements are they like (`fingerprint`), and the same for texts too long for the relay's loop
 * (`classifyLong`).
 *
 *   Query bytes ─▶ split ─▶ spans ─▶ classify ─▶ Classification ─▶ access/policy decides
 *                             └────▶ redactSecrets ─▶ text for the journal      fingerprint ◀─ indexer, later
 *
 * Invariants
 *  1. Nothing here throws on any input, however hostile, and nothing blocks longer than `limits.maxInlineParseBytes` of
 *     text can. What is not understood is `parsed: false`: `access/` refuses it under any control.
 *  2. A flag of a Classification may be true without need, but never false where the text alone shows that it holds.
 *     What the text cannot show (user-defined functions, views, triggers) is written down in `docs/read-only.md`.
 *  3. Texts are read, never kept: a dialect copies what it caches. Offsets are bytes of the caller's buffer.
 *  4. Caches are bounded in entries and in bytes, and are exact: a hash only finds the bucket.
 */
import type { EngineName } from '../model/access.ts';
import type { Classification, StatementSpan } from '../model/statement.ts';

/** The state of the session that changes what its texts mean. A dialect ignores what its engine does not have. */
export interface LexicalSettings {
  /** PostgreSQL's `standard_conforming_strings`, as the server last reported it. */
  readonly standardConformingStrings: boolean;
  /**
   * PostgreSQL's `client_encoding`, as the server last reported it ("UTF8", "SJIS"); MySQL's `character_set_client`
   * ("utf8mb4", "gbk"; '' when it is not known). In some encodings the second byte of a character looks like a backslash
   * or a letter.
   */
  readonly clientEncoding: string;
  /**
   * MySQL's `sql_mode`, only when it is certain for this very text. Absent or `null`: every quoting that a mode may bring
   * is considered, and what any of them may do counts.
   */
  readonly sqlMode?: string | null;
  /**
   * MySQL's or MariaDB's version as versioned comments count (90704, 101119). It tells how a text is most likely read;
   * the other way counts as well. Absent: the newest.
   */
  readonly serverVersion?: number;
  /**
   * The text is prepared. MySQL keeps its bytes and reads them again when a table of it has changed, as the session is
   * set *then*: whatever `sqlMode` and `clientEncoding` say now, every other way of reading counts as well.
   */
  readonly prepared?: boolean;
}

export const defaultLexicalSettings: LexicalSettings = {
  standardConformingStrings: true,
  clientEncoding: 'UTF8',
};

export interface Redaction {
  /** The caller's own bytes `[start, end)` as a view when nothing was redacted, else a new buffer. */
  readonly text: Buffer;
  readonly redacted: boolean;
}

export interface SqlDialect {
  readonly engine: EngineName;

  /**
   * The statements of a text as the server's lexer would separate them, in order. White space and comments alone give
   * no span (but in MySQL, where a comment behind the last semicolon is answered like a statement). For every text that
   * the server parses, the number of spans is the number of statements it runs; one that it does not parse runs nothing,
   * and gets the spans that a lexer sees.
   */
  split(text: Buffer, start: number, end: number, settings?: LexicalSettings): StatementSpan[];

  /**
   * What the statement may do. Texts longer than `limits.maxInlineParseBytes` that are not cached come back as
   * `parsed: false` at once: give those to {@link classifyLong}. (So do rare shorter ones that would hold up the loop;
   * whoever refuses those refuses nothing that people write.) Several statements in the text are merged.
   */
  classify(text: Buffer, start: number, end: number, settings?: LexicalSettings): Classification;

  /**
   * The same for a text of any length, outside this thread and within a time limit. Never rejects: too slow, too big,
   * too many waiting, or a parser that died are `parsed: false`. The bytes are copied before it returns.
   */
  classifyLong(text: Buffer, start: number, end: number, settings?: LexicalSettings): Promise<Classification>;

  /** Whether {@link redactSecrets} could find anything: `false` is certain. Allocates nothing, for the hot path. */
  mayHoldSecret(text: Buffer, start: number, end: number): boolean;
  /**
   * The text with its passwords replaced by `'***'`, every other byte as it was. Where a text mentions a password and
   * cannot be understood, all its string literals are replaced.
   */
  redactSecrets(text: Buffer, start: number, end: number, settings?: LexicalSettings): Redaction;

  /** A hexadecimal number that texts differing in constants only have in common; '' when the text does not parse. Slow. */
  fingerprint(text: string): string;

  /**
   * Whether a function called by object id (PostgreSQL's FunctionCall message) is known to read only. `false` for every
   * function that is not built in.
   */
  isReadOnlyFunction(oid: number): boolean;

  /** Ends the worker threads of {@link classifyLong}. */
  close(): Promise<void>;
}
