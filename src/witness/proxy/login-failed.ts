/** A log-in that came to nothing, counted and recorded: who said they were whom, from where, and why they were refused. */
import type { Clock } from '../../base/clock.ts';
import { AppError, messageOf } from '../../base/errors.ts';
import { appendEvent } from '../../journal/encode.ts';
import { type Engine, Witness } from '../../model/events.ts';
import type { JournalAppender } from '../../model/journal.ts';
import type { PeerAddress } from '../../transport/link.ts';
import type { ProxyMetrics } from './metrics.ts';
import type { TurnScheduler } from './turn.ts';

/** Of each name that a client gave, in characters. */
const MAX_NAME_CHARS = 256;

/** A log-in that did not succeed: what to tell the client (the message), what to tell the auditor. */
export class LoginRefused extends AppError {
  readonly auditReason: string;

  constructor(message: string, auditReason: string) {
    super('denied', 'PROXY_LOGIN_REFUSED', message);
    this.auditReason = auditReason;
  }
}

/** How far a log-in came. */
export interface FailedLogin {
  /** Empty: it did not say. */
  readonly user: string;
  readonly database: string;
  readonly applicationName: string;
}

interface Context {
  readonly journal: JournalAppender;
  readonly turn: TurnScheduler;
  readonly clock: Clock;
  readonly metrics: ProxyMetrics;
}

/** Somebody who never said a name and broke no rule (a port scan, a health check) is counted only. */
export function recordFailedLogin(
  context: Context,
  engine: Engine,
  login: FailedLogin,
  peer: PeerAddress,
  error: unknown,
): void {
  context.metrics.loginsFailed.inc();
  if (login.user === '' && !(error instanceof LoginRefused)) return;
  context.turn.touch();
  appendEvent(context.journal, {
    atUs: BigInt(context.clock.wallUs()),
    origin: { witness: Witness.PROXY, engine },
    body: {
      case: 'loginFailed',
      value: {
        userName: login.user.slice(0, MAX_NAME_CHARS),
        databaseName: login.database.slice(0, MAX_NAME_CHARS),
        clientAddress: peer.address,
        clientPort: peer.port,
        reason: error instanceof LoginRefused ? error.auditReason : messageOf(error),
        applicationName: login.applicationName.slice(0, MAX_NAME_CHARS),
      },
    },
  });
}
