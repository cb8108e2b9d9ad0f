/** Statement texts described once: by their bytes, least recently used forgotten first, bounded in bytes. */
import type { EngineName } from '../model/access.ts';
import { encodeFields } from './copy-writer.ts';
import type { TextState } from './index-state.ts';
import { storableBytes, storableText } from './sql-text.ts';
import type { StatementDecoder, StatementFacts } from './statement-decoder.ts';

const MAX_CACHED_TEXT_BYTES = 16 * 1024;
const MAX_CACHE_BYTES = 32 * 1024 * 1024;
const MAX_TABLES = 64;
const MAX_NAME_BYTES = 1024;
const UNKNOWN: StatementFacts = { verb: '', fingerprint: '', tables: [] };
const NO_TYPES: readonly number[] = [];

export class TextCache {
  readonly #decoder: StatementDecoder;
  /** In order of use: a Map iterates in order of insertion, and what is used is inserted again. */
  readonly #texts = new Map<string, TextState>();
  #bytes = 0;

  constructor(decoder: StatementDecoder) {
    this.#decoder = decoder;
  }

  /** A text without parameter types that nobody redacted: the form that is cached. */
  describe(engine: EngineName, sql: Buffer): TextState {
    if (sql.length > MAX_CACHED_TEXT_BYTES) return this.#describeAnew(engine, sql);
    const key = engine + sql.toString('latin1');
    let text = this.#texts.get(key);
    if (text === undefined) {
      text = this.#describeAnew(engine, sql);
      this.#bytes += key.length * 2 + text.encoded.length + 200;
      this.#evict();
    } else this.#texts.delete(key);
    this.#texts.set(key, text);
    return text;
  }

  #describeAnew(engine: EngineName, sql: Buffer): TextState {
    // No engine: the session's beginning is not in the journal any more.
    const facts = engine.length === 0 ? UNKNOWN : this.#decoder.describeStatement(engine, sql);
    return textState(storableBytes(sql).toString('utf8'), storableFacts(facts), false, NO_TYPES);
  }

  #evict(): void {
    for (const [key, text] of this.#texts) {
      if (this.#bytes <= MAX_CACHE_BYTES) return;
      this.#texts.delete(key);
      this.#bytes -= key.length * 2 + text.encoded.length + 200;
    }
  }
}

/** `sql` and `facts` must be storable. */
export function textState(
  sql: string,
  facts: StatementFacts,
  redacted: boolean,
  parameterTypes: readonly number[],
): TextState {
  const encoded = encodeFields((out) => {
    out.text(facts.verb);
    out.text(sql);
    out.text(facts.fingerprint);
    out.textArray(facts.tables);
  });
  return { sql, facts, encoded, redacted, parameterTypes };
}

function storableFacts(facts: StatementFacts): StatementFacts {
  return {
    verb: storableText(facts.verb, MAX_NAME_BYTES),
    fingerprint: storableText(facts.fingerprint, MAX_NAME_BYTES),
    tables: facts.tables.slice(0, MAX_TABLES).map((table) => storableText(table, MAX_NAME_BYTES)),
  };
}
