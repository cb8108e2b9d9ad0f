/** What all MySQL and MariaDB sessions of a node share. */
import type { Clock } from '../../../base/clock.ts';
import type { Authority } from '../../../model/access.ts';
import type { JournalAppender } from '../../../model/journal.ts';
import type { MysqlDialect } from '../../../sql/mysql/dialect.ts';
import type { Reactor } from '../../../transport/link.ts';
import type { ProxyMetrics } from '../metrics.ts';
import type { SessionRegistry } from '../registry.ts';
import type { TurnScheduler } from '../turn.ts';

export type Family = 'mysql' | 'mariadb';

export interface MysqlContext {
  readonly reactor: Reactor;
  readonly turn: TurnScheduler;
  readonly journal: JournalAppender;
  readonly authority: Authority;
  readonly registry: SessionRegistry;
  readonly sql: Readonly<Record<Family, MysqlDialect>>;
  readonly clock: Clock;
  readonly metrics: ProxyMetrics;
  readonly maxStatementBytes: number;
  /** A bug of ours that ended a session. */
  onInternalError(error: unknown): void;
}
