/**
 * From a text to its Classification: by shape, by text, else by reading it in every way that a server may (`readings.ts`) and
 * putting together what any of these readings does. A statement that a reading cannot end (an open quote) is refused by
 * a server that reads it so, along with what follows; so it adds nothing, unless no reading gets further.
 */
import { limits } from '../../base/limits.ts';
import { ByteCache, hashBytes } from '../cache.ts';
import type { LexicalSettings } from '../dialect.ts';
import { Boundaries } from './boundaries.ts';
import { charsetKind, maskMultibyte } from './charset.ts';
import { Facts, type MysqlClassification, unread } from './facts.ts';
import { Judge, type JudgeContext } from './judge.ts';
import { Lexer, type Reading, Token, versionedComments } from './lexer.ts';
import { ShapeReader } from './shape.ts';
import { charsetOf, type Flavour, preparedSettings, quotingIndex, readingsOf } from './readings.ts';

const CACHE_ENTRIES = 8192;
const CACHE_BYTES = 8 * 1024 * 1024;
/** Longest text that is kept, and so copied and compared. */
const MAX_CACHED_BYTES = 64 * 1024;
/** SQL in SQL in SQL. */
const MAX_NESTING = 3;

/** Of these, constants decide nothing. */
const VERBS_WITH_SHAPE: ReadonlySet<string> = new Set(['select', 'insert', 'update', 'delete', 'replace']);

const TOO_LONG = unread('the text is too long to be judged at once');
const BROKEN = unread('a quote, a name or a comment in it does not end');
const NO_CHARACTERS = unread('bytes in it are no characters of the client’s character set');
const TOO_MANY_READINGS =
  'what it means depends on the version of the server, or on the client’s character set';

export class Classifier {
  readonly #flavour: Flavour;
  readonly #maxBytes: number;
  readonly #caches = new Map<number, ByteCache<MysqlClassification>>();
  readonly #shape: ShapeReader;
  /** Of simple texts, which every session reads alike. */
  readonly #byShape = new ByteCache<MysqlClassification>(CACHE_ENTRIES, CACHE_BYTES);
  /** How often a text had to be read. For tests and metrics. */
  reads = 0;

  /** `maxBytes`: longer texts come back unparsed. */
  constructor(flavour: Flavour, maxBytes: number) {
    this.#flavour = flavour;
    this.#maxBytes = maxBytes;
    this.#shape = new ShapeReader(Math.min(maxBytes, limits.maxInlineParseBytes));
  }

  classify(text: Buffer, start: number, end: number, given: LexicalSettings): MysqlClassification {
    const settings = given.prepared === true ? preparedSettings(given) : given;
    const length = end - start;
    const shape = this.#shape;
    // In hazardous character sets, half a character may look like the end of a string.
    const simple = charsetKind(charsetOf(settings)) !== 'hazardous' && shape.read(text, start, end);
    if (simple) {
      const same = this.#byShape.get(shape.hash, shape.bytes, 0, shape.length);
      if (same) return same;
    }
    const cache = this.#cacheFor(text, start, end, settings);
    const hash = cache === null ? 0 : hashBytes(text, start, end);
    const known = cache?.get(hash, text, start, end);
    if (known) return known;
    if (length > this.#maxBytes) return TOO_LONG;
    this.reads++;
    const answer = this.#read(text, start, end, settings);
    if (simple && answer.parsed && VERBS_WITH_SHAPE.has(answer.verb))
      this.#byShape.set(shape.hash, shape.bytes, 0, shape.length, answer);
    else cache?.set(hash, text, start, end, answer);
    return answer;
  }

  /** Whether this answer only says that the text was not tried. */
  needsLong(answer: MysqlClassification): boolean {
    return answer === TOO_LONG;
  }

  /** Keeps an answer that was found elsewhere (in a worker). */
  keep(text: Buffer, given: LexicalSettings, classification: MysqlClassification): void {
    const settings = given.prepared === true ? preparedSettings(given) : given;
    const cache = this.#cacheFor(text, 0, text.length, settings);
    cache?.set(hashBytes(text, 0, text.length), text, 0, text.length, classification);
  }

  /** Texts of sessions that read them alike share a cache. `null`: not to be kept. */
  #cacheFor(
    text: Buffer,
    start: number,
    end: number,
    settings: LexicalSettings,
  ): ByteCache<MysqlClassification> | null {
    const kind = charsetKind(charsetOf(settings));
    if (kind === 'hazardous' || end - start > MAX_CACHED_BYTES) return null;
    // The version of the session's own server decides what the verb is.
    if (settings.serverVersion !== undefined && versionedComments(text, start, end, 0).size > 0) return null;
    const key = quotingIndex(settings.sqlMode) * 4 + (kind === 'utf8' ? 0 : kind === 'safe' ? 1 : 2);
    let cache = this.#caches.get(key);
    if (cache === undefined) this.#caches.set(key, (cache = new ByteCache(CACHE_ENTRIES, CACHE_BYTES)));
    return cache;
  }

  #read(text: Buffer, start: number, end: number, settings: LexicalSettings): MysqlClassification {
    if (charsetKind(charsetOf(settings)) === 'hazardous') {
      const masked = maskMultibyte(text, start, end, charsetOf(settings));
      if (masked === null) return NO_CHARACTERS;
      return this.#readAll(masked, 0, masked.length, settings);
    }
    return this.#readAll(text, start, end, settings);
  }

  #readAll(text: Buffer, start: number, end: number, settings: LexicalSettings): MysqlClassification {
    const result = this.#judgeAll(text, start, end, settings, 0);
    return result === null ? BROKEN : result.classification();
  }

  /** `null`: no reading gets to the end of a statement. */
  #judgeAll(
    text: Buffer,
    start: number,
    end: number,
    settings: LexicalSettings,
    depth: number,
  ): Facts | null {
    for (const unsure of [false, true]) {
      const facts = new Facts();
      const readings = readingsOf(text, start, end, this.#flavour, settings, unsure);
      if (readings === null) {
        facts.obscure(TOO_MANY_READINGS);
        return facts;
      }
      let broken = false;
      let changed = false;
      for (const reading of readings) {
        const one = this.#judgeOne(text, start, end, settings, reading, depth);
        broken ||= one.broken;
        changed ||= one.changed;
        facts.merge(one.facts);
      }
      // What follows such a statement is read as it says, so all readings are possible.
      if (changed && !unsure) continue;
      return broken && facts.statements === 0 && facts.obscurity === '' ? null : facts;
    }
    return null;
  }

  #judgeOne(
    text: Buffer,
    start: number,
    end: number,
    settings: LexicalSettings,
    reading: Reading,
    depth: number,
  ): { readonly facts: Facts; readonly broken: boolean; readonly changed: boolean } {
    const context: JudgeContext = {
      text,
      flavour: this.#flavour,
      escapes: (kind) => (kind === Token.string ? reading.singleEscapes : reading.doubleEscapes),
      nested: (sql) => this.#nested(sql, settings, depth),
    };
    const all = new Facts();
    const lexer = new Lexer(text, start, end, reading);
    const boundaries = new Boundaries(text, this.#flavour === 'mariadb');
    let judge: Judge | null = null;
    let changed = false;
    for (;;) {
      const kind = lexer.next();
      if (kind === Token.broken) return { facts: all, broken: true, changed };
      if (kind === Token.obscure) {
        all.obscure(lexer.obscurity);
        return { facts: all, broken: false, changed };
      }
      const ends = kind === Token.end || boundaries.ends(kind, lexer);
      if (!ends) {
        judge ??= new Judge(new Facts(), context);
        judge.token(kind, lexer);
        continue;
      }
      if (judge !== null) {
        if (all.changesReading) changed = true;
        judge.finish();
        all.append(judge.facts);
        judge = null;
      }
      if (kind === Token.end) return { facts: all, broken: false, changed };
      lexer.nextStatement();
    }
  }

  /** Of PREPARE and EXECUTE IMMEDIATE. */
  #nested(sql: Buffer, outer: LexicalSettings, depth: number): Facts {
    const settings = preparedSettings(outer);
    const facts = depth >= MAX_NESTING ? null : this.#judgeAll(sql, 0, sql.length, settings, depth + 1);
    if (facts !== null) return facts;
    const unknown = new Facts();
    unknown.obscure('SQL given as text that cannot be understood');
    return unknown;
  }
}
