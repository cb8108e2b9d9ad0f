/** Secrets out of what the probe saw, before anything leaves its process: texts by the dialect, messages by their quotes. */
import { loadMysqlDialect } from '../../sql/mysql/dialect.ts';
import { loadPostgresDialect } from '../../sql/postgres/dialect.ts';
import type { SqlDialect } from '../../sql/dialect.ts';

const MENTION = /pass|pwd|secret|cred|scram|identified|:\/\//i;

/**
 * An error message without what it quotes, where that may be a secret: `syntax error at or near "'hunter2'"`.
 *
 * @param redacted a secret was taken out of the statement that the message is about.
 */
export function withoutQuotes(message: string, redacted: boolean): string {
  if (!redacted && !MENTION.test(message)) return message;
  const literals = message
    .replaceAll(/'(?:[^']|'')*'?/g, "'***'")
    .replaceAll(/\$(\w*)\$[^]*?(?:\$\1\$|$)/g, "'***'");
  return redacted ? literals.replace(/".*"?/s, '"***"') : literals;
}

export interface Dialects {
  readonly postgres: SqlDialect;
  readonly mysql: SqlDialect;
  readonly mariadb: SqlDialect;
}

export async function loadDialects(): Promise<Dialects> {
  return {
    postgres: await loadPostgresDialect(),
    mysql: loadMysqlDialect('mysql'),
    mariadb: loadMysqlDialect('mariadb'),
  };
}

export async function closeDialects(dialects: Dialects): Promise<void> {
  await Promise.all([dialects.postgres.close(), dialects.mysql.close(), dialects.mariadb.close()]);
}
