/**
 * witness/proxy: the place that knows the person. It stands between clients and servers, speaks each engine's own wire
 * protocol, and records every statement with its parameters, outcome and rows before anything is passed on.
 *
 *   clients ─▶ listener ─▶ engine (postgres/, mysql/): log-in, permit, upstream ─▶ session
 *                                                                           │ frames, decides, announces
 *                          TurnScheduler: journal.flush(), then forward ◀───┘
 *
 * Invariants
 *  1. Journal before forward: a session sends only in `endTurn`, after the turn's records reached the operating system.
 *  2. Fail closed: while the journal fails, statements are refused in the client's own protocol, and results wait.
 *  3. Original bytes are relayed; records are views of them. What is refused is answered by the server itself (see
 *     `postgres/refusal.ts`), so order and transaction state are right by construction.
 *  4. One record per statement, attributed in the server's order, not in the client's (see `postgres/names.ts`).
 *  5. A bug of ours ends the session that it happened in, and no other: while it reads, at the end of a turn, behind it.
 *  6. Engines never import each other; what they share is here: registry, ledger, recorder, outbox, turn.
 */
import type { Clock } from '../../base/clock.ts';
import { AppError } from '../../base/errors.ts';
import type { Authority } from '../../model/access.ts';
import type { JournalAppender } from '../../model/journal.ts';
import type { SqlDialect } from '../../sql/dialect.ts';
import type { MysqlDialect } from '../../sql/mysql/dialect.ts';
import type { Link, Listener, ListenOptions, Reactor } from '../../transport/link.ts';
import { withTimeout } from './handshake.ts';
import { ProxyMetrics } from './metrics.ts';
import { MysqlEngine } from './mysql/engine.ts';
import type { MysqlLoginSettings } from './mysql/login.ts';
import { PgEngine } from './postgres/engine.ts';
import type { LoginSettings } from './postgres/login.ts';
import { SessionRegistry } from './registry.ts';
import { TurnScheduler } from './turn.ts';

export interface ProxyOptions {
  readonly reactor: Reactor;
  readonly journal: JournalAppender;
  readonly authority: Authority;
  readonly clock: Clock;
  readonly postgres: { readonly sql: SqlDialect; readonly login: LoginSettings };
  /** Absent: the relay does not serve MySQL and MariaDB. */
  readonly mysql?: {
    readonly sql: { readonly mysql: MysqlDialect; readonly mariadb: MysqlDialect };
    readonly login: MysqlLoginSettings;
  };
  readonly maxStatementBytes: number;
  /** Something went wrong that no client can be told: for the log. Never contains SQL or secrets. */
  readonly report: (level: 'warn' | 'error', message: string) => void;
}

/** How often a failing journal is tried again while nobody sends anything. */
const RETRY_MS = 100;
/** How long a start waits to get to know the servers of MySQL and MariaDB. */
const GREETINGS_MS = 2_000;

export class Proxy {
  readonly metrics = new ProxyMetrics();
  readonly registry: SessionRegistry;
  readonly turn: TurnScheduler;
  readonly #options: ProxyOptions;
  readonly #postgres: PgEngine;
  readonly #mysql: MysqlEngine | null;
  readonly #listeners: Listener[] = [];
  readonly #retry: NodeJS.Timeout;

  constructor(options: ProxyOptions) {
    const { reactor, journal, authority, clock, report } = options;
    this.#options = options;
    this.registry = new SessionRegistry(authority, clock);
    this.turn = new TurnScheduler(reactor, journal, clock);
    const shared = {
      reactor,
      turn: this.turn,
      journal,
      authority,
      registry: this.registry,
      clock,
      metrics: this.metrics,
      maxStatementBytes: options.maxStatementBytes,
      onInternalError: (error: unknown) =>
        report(
          'error',
          `internal error: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
        ),
    };
    const onError = (message: string): void => report('warn', message);
    this.#postgres = new PgEngine({ ...shared, sql: options.postgres.sql }, options.postgres.login, onError);
    this.#mysql = options.mysql
      ? new MysqlEngine({ ...shared, sql: options.mysql.sql }, options.mysql.login, onError)
      : null;
    this.#retry = setInterval(() => {
      if (journal.status.state === 'failing') reactor.touch();
    }, RETRY_MS);
  }

  listenPostgres(options: ListenOptions): Promise<Listener> {
    return this.#listen(options, (link) => this.#postgres.accept(link));
  }

  /** MySQL and MariaDB. Rejects when the options had no `mysql`. */
  async listenMysql(options: ListenOptions): Promise<Listener> {
    const engine = this.#mysql;
    if (!engine) throw new AppError('invalid', 'PROXY_NO_ENGINE', 'this relay was not set up for MySQL');
    // A control plane or a server that does not answer holds up nobody: what is not known is not promised.
    await withTimeout(engine.prepare(), GREETINGS_MS, 'the greetings of the servers').catch(() => undefined);
    return this.#listen(options, (link) => engine.accept(link));
  }

  async #listen(options: ListenOptions, accept: (link: Link) => void): Promise<Listener> {
    const listener = await this.#options.reactor.listen(options, accept);
    this.#listeners.push(listener);
    return listener;
  }

  /**
   * Ends gracefully: no new sessions; idle ones end at once, busy ones when their statement or transaction is done, at
   * the latest after `graceMs`. Resolves when all are closed and recorded.
   */
  async close(graceMs: number): Promise<void> {
    this.#postgres.drain();
    this.#mysql?.drain();
    await Promise.all(this.#listeners.map((listener) => listener.close()));
    const { clock } = this.#options;
    const deadline = clock.monotonicUs() + graceMs * 1000;
    while (this.registry.size > 0) {
      const late = clock.monotonicUs() >= deadline;
      for (const session of this.registry)
        if (late || !session.busy) session.end('shutdown', 'dbwitness is shutting down; connect again soon');
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    this.registry.stop();
    clearInterval(this.#retry);
  }
}
