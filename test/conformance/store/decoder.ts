/**
 * A small decoder of real PostgreSQL Bind bodies and SQL, for the store's tests: text parameters, first word as verb,
 * names after FROM, INTO and UPDATE as tables, digits taken out as fingerprint. A module of the form that the indexer's thread loads.
 */
import { createHash } from 'node:crypto';
import type {
  JsonValue,
  RecordedParameters,
  StatementDecoder,
  StatementFacts,
} from '../../../src/store/statement-decoder.ts';

function describeStatement(_engine: string, sql: Buffer): StatementFacts {
  const text = sql.toString('utf8');
  const tables = [...text.matchAll(/\b(?:from|into|update)\s+([a-z_.]+)/gi)].map((match) =>
    match[1].toLowerCase(),
  );
  return {
    verb: /^\s*([a-z]+)/i.exec(text)?.[1]?.toLowerCase() ?? '',
    fingerprint: createHash('sha1')
      .update(text.replaceAll(/[0-9]+/g, '?'))
      .digest('hex')
      .slice(0, 16),
    tables: [...new Set(tables)],
  };
}

/** Int16 number of formats and the formats, Int16 number of values, then Int32 length and the bytes of each. */
function decodeBind(bind: Buffer): JsonValue[] {
  let at = 2 + bind.readInt16BE(0) * 2;
  const count = bind.readInt16BE(at);
  at += 2;
  const values: JsonValue[] = [];
  for (let i = 0; i < count; i++) {
    const length = bind.readInt32BE(at);
    at += 4;
    values.push(length < 0 ? null : bind.toString('utf8', at, at + length));
    at += Math.max(0, length);
  }
  return values;
}

/** The inverse, for text values. */
export function encodeBind(values: readonly (string | null)[]): Buffer {
  const parts: Buffer[] = [Buffer.from([0, 0]), Buffer.from([values.length >> 8, values.length & 255])];
  for (const value of values) {
    const length = Buffer.alloc(4);
    length.writeInt32BE(value === null ? -1 : Buffer.byteLength(value));
    parts.push(length, Buffer.from(value ?? ''));
  }
  return Buffer.concat(parts);
}

function decodeParameters(
  _engine: string,
  recorded: RecordedParameters,
  types: readonly number[],
): JsonValue[] {
  const values =
    recorded.bind === null
      ? recorded.parameters.map((parameter) =>
          parameter.null ? null : Buffer.from(parameter.value).toString('utf8'),
        )
      : decodeBind(recorded.bind);
  // int4 as a number, so that a test sees whether the types of the text arrived.
  return values.map((value, i) => (types[i] === 23 && typeof value === 'string' ? Number(value) : value));
}

export default function createDecoder(): StatementDecoder {
  return { describeStatement, decodeParameters };
}
