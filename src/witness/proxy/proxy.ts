/**
 * witness/proxy: the place that knows the person. It stands between clients and servers, speaks each engine's own wire
 * protocol, and records every statement with its parameters, outcome and rows before anything is passed on.
 *
 *   clients ─▶ listener ─▶ engine (postgres/ …): log-in, permit, upstream ─▶ session
 *                                                                           │ frames, decides, announces
 *                          TurnScheduler: journal.flush(), then forward ◀───┘
 *
 * Invariants
 *  1. Journal before forward: a session sends only in `endTurn`, after the turn's records reached the operating system.
 *  2. Fail closed: while the journal fails, statements are refused in the client's own protocol, and results wait.
 *  3. Original bytes are relayed; records are views of them. What is refused is answered by the server itself (see
 *     `postgres/refusal.ts`), so order and transaction state are right by construction.
 *  4. One record per statement, attributed in the server's order, not in the client's (see `postgres/names.ts`).
 *  5. Engines never import each other; what they share is here: registry, ledger, recorder, outbox, turn.
 */
import type { Clock } from '../../base/clock.ts';
import type { Authority } from '../../model/access.ts';
import type { JournalAppender } from '../../model/journal.ts';
import type { SqlDialect } from '../../sql/dialect.ts';
import type { Listener, ListenOptions, Reactor } from '../../transport/link.ts';
import { ProxyMetrics } from './metrics.ts';
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
  readonly maxStatementBytes: number;
  /** Something went wrong that no client can be told: for the log. Never contains SQL or secrets. */
  readonly report: (level: 'warn' | 'error', message: string) => void;
}

/** How often a failing journal is tried again while nobody sends anything. */
const RETRY_MS = 100;

export class Proxy {
  readonly metrics = new ProxyMetrics();
  readonly registry: SessionRegistry;
  readonly turn: TurnScheduler;
  readonly #options: ProxyOptions;
  readonly #postgres: PgEngine;
  readonly #listeners: Listener[] = [];
  readonly #retry: NodeJS.Timeout;

  constructor(options: ProxyOptions) {
    const { reactor, journal, authority, clock, report } = options;
    this.#options = options;
    this.registry = new SessionRegistry(authority, clock);
    this.turn = new TurnScheduler(reactor, journal, clock);
    this.#postgres = new PgEngine(
      {
        reactor,
        turn: this.turn,
        journal,
        authority,
        registry: this.registry,
        sql: options.postgres.sql,
        clock,
        metrics: this.metrics,
        maxStatementBytes: options.maxStatementBytes,
        onInternalError: (error) =>
          report(
            'error',
            `internal error: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
          ),
      },
      options.postgres.login,
      (message) => report('warn', message),
    );
    this.#retry = setInterval(() => {
      if (journal.status.state === 'failing') reactor.touch();
    }, RETRY_MS);
  }

  async listenPostgres(options: ListenOptions): Promise<Listener> {
    const listener = await this.#options.reactor.listen(options, (link) => this.#postgres.accept(link));
    this.#listeners.push(listener);
    return listener;
  }

  /**
   * Ends gracefully: no new sessions; idle ones end at once, busy ones when their statement or transaction is done, at
   * the latest after `graceMs`. Resolves when all are closed and recorded.
   */
  async close(graceMs: number): Promise<void> {
    this.#postgres.drain();
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
