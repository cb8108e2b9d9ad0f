/** What the store must be told of SQL and wire formats, engine by engine: the indexer's eyes. */
import type { EngineName } from '../model/access.ts';
import { loadMysqlDialect } from '../sql/mysql/dialect.ts';
import { loadPostgresDialect } from '../sql/postgres/dialect.ts';
import type { SqlDialect } from '../sql/dialect.ts';
import type { JsonValue, StatementDecoder, StatementFacts } from '../store/statement-decoder.ts';
import { recordedParameters } from './recorded-values.ts';

const UNKNOWN: StatementFacts = { verb: '', fingerprint: '', tables: [] };
/** Texts beyond this are not parsed for the index: the parse would take longer than all the rest. */
const MAX_PARSED_BYTES = 64 * 1024;

export async function createDecoder(): Promise<StatementDecoder> {
  const dialects: Partial<Record<EngineName, SqlDialect>> = {
    postgres: await loadPostgresDialect(),
    mysql: loadMysqlDialect('mysql'),
    mariadb: loadMysqlDialect('mariadb'),
  };
  return {
    describeStatement: (engine, sql) => {
      const dialect = dialects[engine];
      if (!dialect || sql.length > MAX_PARSED_BYTES) return UNKNOWN;
      const { verb, tables } = dialect.classify(sql, 0, sql.length);
      return { verb, tables, fingerprint: dialect.fingerprint(sql.toString('utf8')) };
    },
    decodeParameters: (engine, recorded, types): readonly JsonValue[] | null => {
      if (recorded.bind === null) return null;
      return recordedParameters(engine, recorded.bind, types);
    },
  };
}
