/**
 * The dialect of MySQL and MariaDB: a lexer of our own, and judgement by tokens (`judge.ts`).
 *
 *   text ─▶ readings ─▶ per reading: lexer ─▶ boundaries ─▶ judge ─▶ facts ─▶ merged ─▶ Classification
 *
 * Why no parser. A parser answers for one grammar in one sql_mode; what a text may do has to hold for two families of
 * servers, a dozen versions, and modes that we may not know. The parsers on npm (node-sql-parser and its like, generated
 * from grammars of their own) refuse much of what these servers run (SHOW in most forms, HANDLER, XA, versioned
 * comments, hints), and worse, read some of it otherwise: as a source of permission they cannot be trusted, and as one of
 * further refusals they would refuse what people write. A lexer is small enough to be checked against the servers, token
 * by token, and what it cannot show is the server's own to refuse: SET SESSION TRANSACTION READ ONLY (docs/read-only.md).
 *
 * Under controls, whoever has a text of several statements may classify each of them, or the whole text at once.
 * `MysqlClassification` says more than the engines have in common; `unknownFunctions` and `implicitCommit` are about
 * what the server's read-only mode must stand behind.
 */
import { limits } from '../../base/limits.ts';
import type { StatementSpan } from '../../model/statement.ts';
import { defaultLexicalSettings, type LexicalSettings, type Redaction, type SqlDialect } from '../dialect.ts';
import { type LongText, WorkerPool, type WorkerPoolOptions } from '../worker-pool.ts';
import { Classifier } from './classifier.ts';
import { type MysqlClassification, unread } from './facts.ts';
import { fingerprint } from './fingerprint.ts';
import type { Flavour } from './readings.ts';
import { type PreparedRedaction, redact, redactPrepared, type SecretParameters } from './redact.ts';
import { mayHoldSecret } from './secret-scan.ts';
import { split } from './split.ts';

export type { MysqlClassification } from './facts.ts';
export type { Flavour } from './readings.ts';
export type { SecretParameters } from './redact.ts';

/** A long text, split and redacted by a worker. */
export interface MysqlLongText extends LongText {
  /** Of a text that is prepared. */
  readonly secrets: SecretParameters | null;
}

/** Nothing is loaded; threads start when the first long text comes. */
export function loadMysqlDialect(flavour: Flavour, pool: Partial<WorkerPoolOptions> = {}): MysqlDialect {
  return new MysqlDialect(flavour, pool);
}

export class MysqlDialect implements SqlDialect {
  readonly engine: Flavour;
  readonly #classifier: Classifier;
  readonly #pool: WorkerPool;
  /** Of its own, so that no decision waits until somebody's dump is redacted. */
  readonly #readers: WorkerPool;

  /** For {@link loadMysqlDialect}. */
  constructor(flavour: Flavour, pool: Partial<WorkerPoolOptions>) {
    this.engine = flavour;
    this.#classifier = new Classifier(flavour, limits.maxInlineParseBytes);
    // Beside this file under the same extension, as sources and as compiled.
    const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js';
    const worker = new URL(`./worker${extension}`, import.meta.url);
    // No tree is made of a text, so that its length is all the memory it takes.
    this.#pool = new WorkerPool(worker, flavour, { maxTextBytes: limits.maxStatementBytes, ...pool });
    this.#readers = new WorkerPool(worker, flavour, pool);
  }

  /** How often a text had to be read: all other answers came from a cache. */
  get reads(): number {
    return this.#classifier.reads;
  }

  /**
   * Where the session's sql_mode decides where statements end, and it is not known or a statement of the text may
   * change it: one span for the whole text.
   */
  split(
    text: Buffer,
    start: number,
    end: number,
    settings: LexicalSettings = defaultLexicalSettings,
  ): StatementSpan[] {
    return split(text, start, end, this.engine, settings);
  }

  classify(
    text: Buffer,
    start: number,
    end: number,
    settings: LexicalSettings = defaultLexicalSettings,
  ): MysqlClassification {
    return this.#classifier.classify(text, start, end, settings);
  }

  async classifyLong(
    text: Buffer,
    start: number,
    end: number,
    settings: LexicalSettings = defaultLexicalSettings,
  ): Promise<MysqlClassification> {
    const known = this.#classifier.classify(text, start, end, settings);
    if (!this.#classifier.needsLong(known)) return known;
    const copy = Buffer.from(text.subarray(start, end));
    const answer = await this.#pool.classify(copy, 0, copy.length, settings);
    if (!answer.parsed) return unread(answer.because);
    const classification = answer as MysqlClassification;
    this.#classifier.keep(copy, settings, classification);
    return classification;
  }

  mayHoldSecret(text: Buffer, start: number, end: number): boolean {
    return mayHoldSecret(text, start, end);
  }

  redactSecrets(
    text: Buffer,
    start: number,
    end: number,
    settings: LexicalSettings = defaultLexicalSettings,
  ): Redaction {
    return redact(text, start, end, settings);
  }

  /** {@link redactSecrets} of a text that is prepared, and which of its parameters are secrets. */
  redactPrepared(text: Buffer, start: number, end: number, settings: LexicalSettings): PreparedRedaction {
    return redactPrepared(text, start, end, settings);
  }

  /**
   * {@link split} and {@link redactSecrets} (or, with `settings.prepared`, {@link redactPrepared}) of a text that would
   * hold up the loop. The bytes must stay as they are until it resolves. Never rejects.
   * @returns in words, why it could not be read.
   */
  readLong(
    text: Buffer,
    start: number,
    end: number,
    settings: LexicalSettings,
  ): Promise<MysqlLongText | string> {
    return this.#readers.read<MysqlLongText>(text, start, end, settings);
  }

  fingerprint(text: string): string {
    return fingerprint(text);
  }

  /** There is no such message in this protocol. */
  isReadOnlyFunction(): boolean {
    return false;
  }

  async close(): Promise<void> {
    await Promise.all([this.#pool.close(), this.#readers.close()]);
  }
}
