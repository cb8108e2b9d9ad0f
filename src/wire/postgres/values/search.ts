/** Binary full-text values as the server's own text. */
import { unreadable } from '../../values.ts';

/** A cursor that is bounded by its value. */
class ValueReader {
  readonly #bytes: Buffer;
  readonly #type: string;
  #at = 0;

  constructor(bytes: Buffer, type: string) {
    this.#bytes = bytes;
    this.#type = type;
  }

  take(count: number): number {
    if (count > this.#bytes.length - this.#at) throw unreadable(this.#type);
    const at = this.#at;
    this.#at += count;
    return at;
  }

  uint8(): number {
    return this.#bytes[this.take(1)];
  }

  uint16(): number {
    return this.#bytes.readUInt16BE(this.take(2));
  }

  uint32(): number {
    return this.#bytes.readUInt32BE(this.take(4));
  }

  string(): string {
    const end = this.#bytes.indexOf(0, this.#at);
    if (end < 0) throw unreadable(this.#type);
    const text = this.#bytes.toString('utf8', this.#at, end);
    this.#at = end + 1;
    return text;
  }

  finish(): void {
    if (this.#at !== this.#bytes.length) throw unreadable(this.#type);
  }
}

function quoted(lexeme: string): string {
  return `'${lexeme.replaceAll(/['\\]/g, '$&$&')}'`;
}

/** tsvector: `Int32 n`, n × (`String lexeme, Int16 p`, p × `Int16` weight in 2 bits and position in 14). */
export function tsvectorText(bytes: Buffer): string {
  const reader = new ValueReader(bytes, 'tsvector');
  const count = reader.uint32();
  if (count > bytes.length) throw unreadable('tsvector');
  const lexemes: string[] = [];
  for (let i = 0; i < count; i++) {
    const lexeme = quoted(reader.string());
    const positions: string[] = [];
    for (let left = reader.uint16(); left > 0; left--) {
      const entry = reader.uint16();
      positions.push(`${entry & 0x3fff}${['', 'C', 'B', 'A'][entry >> 14]}`);
    }
    lexemes.push(positions.length === 0 ? lexeme : `${lexeme}:${positions.join(',')}`);
  }
  reader.finish();
  return lexemes.join(' ');
}

const ITEM_LEXEME = 1;
const ITEM_OPERATOR = 2;
const NOT = 1;
const AND = 2;
const OR = 3;
const PHRASE = 4;
/** Stronger operators bind first; the index is the operator's code. */
const PRIORITY = [0, 4, 2, 1, 3];
/** A chain of operators is as deep as it is long. */
const MAX_TSQUERY_DEPTH = 500;

/**
 * tsquery: `Int32 n`, then n items in prefix order, the right operand first. Lexeme: `Byte1 1, Byte1 weights, Byte1
 * prefix, String`. Operator: `Byte1 2, Byte1 operator`, for a phrase `Int16 distance`.
 */
export function tsqueryText(bytes: Buffer): string {
  const reader = new ValueReader(bytes, 'tsquery');
  if (reader.uint32() === 0) {
    reader.finish();
    return '';
  }
  const text = queryText(reader, 0, false, 0);
  reader.finish();
  return text;
}

function queryText(
  reader: ValueReader,
  parentPriority: number,
  rightOfPhrase: boolean,
  depth: number,
): string {
  if (depth > MAX_TSQUERY_DEPTH) throw unreadable('tsquery');
  const item = reader.uint8();
  if (item === ITEM_LEXEME) return lexemeText(reader);
  if (item !== ITEM_OPERATOR) throw unreadable('tsquery');
  const operator = reader.uint8();
  if (operator < NOT || operator > PHRASE) throw unreadable('tsquery');
  const priority = PRIORITY[operator];
  let text: string;
  let parentheses = priority < parentPriority;
  if (operator === NOT) text = `!${queryText(reader, priority, false, depth + 1)}`;
  else {
    const distance = operator === PHRASE ? reader.uint16() : 0;
    // Phrases do not commute, so nested ones keep their parentheses.
    parentheses ||= operator === PHRASE && rightOfPhrase;
    const right = queryText(reader, priority, operator === PHRASE, depth + 1);
    const left = queryText(reader, priority, false, depth + 1);
    const phrase = distance === 1 ? '<->' : `<${distance}>`;
    text = `${left} ${operator === AND ? '&' : operator === OR ? '|' : phrase} ${right}`;
  }
  return parentheses ? `( ${text} )` : text;
}

function lexemeText(reader: ValueReader): string {
  const weights = reader.uint8();
  const prefix = reader.uint8() !== 0;
  const lexeme = quoted(reader.string());
  if (weights === 0 && !prefix) return lexeme;
  const letters = ['D', 'C', 'B', 'A'].filter((_, bit) => (weights & (1 << bit)) !== 0).reverse();
  return `${lexeme}:${prefix ? '*' : ''}${letters.join('')}`;
}
