/**
 * PostgreSQL's dialect: its own parser in WebAssembly for what a statement does (`classifier.ts`), its lexer in
 * TypeScript for where statements end (`split.ts`) and where secrets stand (`redact.ts`).
 */
import { limits } from '../../base/limits.ts';
import type { Classification, StatementSpan } from '../../model/statement.ts';
import { defaultLexicalSettings, type LexicalSettings, type Redaction, type SqlDialect } from '../dialect.ts';
import type { WorkerPoolOptions } from '../worker-pool.ts';
import { Classifier } from './classifier.ts';
import { isAsciiSafe } from './encoding.ts';
import { READ_ONLY_OIDS } from './functions.ts';
import { ParserInstance } from './instance.ts';
import { ParserPool } from './parser-pool.ts';
import { Redactor } from './redact.ts';
import { mayHoldSecret } from './secret-scan.ts';
import { split } from './split.ts';

/** Loads the parser (about 30 ms); everything but `classifyLong` is synchronous afterwards. */
export async function loadPostgresDialect(pool: Partial<WorkerPoolOptions> = {}): Promise<PostgresDialect> {
  return new PostgresDialect(await ParserInstance.load(), new ParserPool(pool));
}

export class PostgresDialect implements SqlDialect {
  readonly engine = 'postgres';
  readonly #parser: ParserInstance;
  readonly #classifier: Classifier;
  readonly #redactor: Redactor;
  readonly #pool: ParserPool;

  /** For {@link loadPostgresDialect}. */
  constructor(parser: ParserInstance, pool: ParserPool) {
    this.#parser = parser;
    this.#pool = pool;
    this.#classifier = new Classifier(parser, limits.maxInlineParseBytes);
    this.#redactor = new Redactor(
      (text, settings) => this.#classifier.classify(text, 0, text.length, settings).parsed,
    );
  }

  /** How often the parser was asked: everything else came from a cache. */
  get parses(): number {
    return this.#classifier.parses;
  }

  /** Parser instances given up because of their input. */
  get brokenParsers(): number {
    return this.#parser.broken;
  }

  split(
    text: Buffer,
    start: number,
    end: number,
    settings: LexicalSettings = defaultLexicalSettings,
  ): StatementSpan[] {
    return split(text, start, end, settings);
  }

  classify(
    text: Buffer,
    start: number,
    end: number,
    settings: LexicalSettings = defaultLexicalSettings,
  ): Classification {
    return this.#classifier.classify(text, start, end, settings);
  }

  async classifyLong(
    text: Buffer,
    start: number,
    end: number,
    settings: LexicalSettings = defaultLexicalSettings,
  ): Promise<Classification> {
    const known = this.#classifier.classify(text, start, end, settings);
    if (known.parsed || !this.#classifier.needsLong(known)) return known;
    // A text whose meaning depends on the session's settings must not be found by others.
    const keeps = settings.standardConformingStrings && isAsciiSafe(settings.clientEncoding);
    const copy = Buffer.from(text.subarray(start, end));
    const classification = await this.#pool.classify(copy, 0, copy.length, settings);
    if (keeps && classification.parsed) this.#classifier.keep(copy, classification);
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
    return this.#redactor.redact(text, start, end, settings);
  }

  fingerprint(text: string): string {
    const bytes = Buffer.from(text);
    return bytes.includes(0) ? '' : (this.#parser.fingerprint(bytes) ?? '');
  }

  isReadOnlyFunction(oid: number): boolean {
    return READ_ONLY_OIDS.has(oid);
  }

  close(): Promise<void> {
    return this.#pool.close();
  }
}
