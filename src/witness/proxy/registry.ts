/**
 * The running sessions of this node, whatever their engine: found by uid, ended by notice, by time or by quota.
 */
import { type Clock, neverBehind } from '../../base/clock.ts';
import type { Uid } from '../../base/ids.ts';
import type { Authority, AuthorityNotice, Permit } from '../../model/access.ts';
import { type GrantAccount, GrantLedger } from './ledger.ts';

/** Why a session is ended from outside; maps to SessionClosed.Reason. */
export type EndReason = 'grant_ended' | 'quota' | 'killed' | 'shutdown' | 'journal';

export interface ProxySession {
  readonly uid: Uid;
  readonly permit: Permit;
  /** The password, key or certificate that proved the user; empty: a certificate. */
  readonly credentialUid: Uid;
  readonly account: GrantAccount;
  /** A statement is running, or a transaction is open. */
  readonly busy: boolean;
  /** Tells the client why, cancels what runs upstream, records the end, closes both sides. Idempotent. */
  end(reason: EndReason, message: string): void;
  /** Called every {@link TICK_MS}: patience with a failing journal, and the like. */
  tick(): void;
}

/** See {@link SessionRegistry.opening}. */
export interface Opening {
  readonly permit: Permit;
  readonly credentialUid: Uid;
  /** Why it must not become a session any more; empty while it may. */
  endedMessage: string;
}

const TICK_MS = 250;

export class SessionRegistry {
  readonly ledger = new GrantLedger();
  readonly #sessions = new Map<Uid, ProxySession>();
  readonly #openings = new Set<Opening>();
  readonly #authority: Authority;
  readonly #clock: Clock;
  readonly #timer: NodeJS.Timeout;
  #ticks = 0;

  constructor(authority: Authority, clock: Clock) {
    this.#authority = authority;
    this.#clock = neverBehind(clock);
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
    authority.onNotice((notice) => this.#onNotice(notice));
  }

  get size(): number {
    return this.#sessions.size;
  }

  add(session: ProxySession): void {
    this.#sessions.set(session.uid, session);
  }

  remove(session: ProxySession): void {
    if (this.#sessions.delete(session.uid)) this.ledger.leave(session.account);
  }

  [Symbol.iterator](): IterableIterator<ProxySession> {
    return this.#sessions.values();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#report();
  }

  #tick(): void {
    const now = this.#clock.wallUs();
    for (const session of this.#sessions.values()) {
      session.tick();
      const { account } = session;
      if (account.endedMessage) session.end('grant_ended', account.endedMessage);
      else if (now >= account.expiresAtUs) session.end('grant_ended', expiredMessage(session.permit));
    }
    if (++this.#ticks % 2 === 0) this.#report();
  }

  #report(): void {
    const usage = this.ledger.takeUnreported();
    if (usage.length > 0) this.#authority.reportUsage(usage);
  }

  /**
   * A session that is about to be: its permit is held, its upstream not yet reached. A notice that comes in between is
   * kept for it. Pair with {@link opened}.
   */
  opening(permit: Permit, credentialUid: Uid): Opening {
    const opening: Opening = { permit, credentialUid, endedMessage: '' };
    this.#openings.add(opening);
    return opening;
  }

  opened(opening: Opening): void {
    this.#openings.delete(opening);
  }

  /** Sessions, running or about to be. */
  get load(): number {
    return this.#sessions.size + this.#openings.size;
  }

  #onNotice(notice: AuthorityNotice): void {
    if (notice.kind === 'grant_ended') {
      const account = this.ledger.find(notice.grantUid);
      if (account) account.endedMessage = notice.message;
    }
    for (const opening of this.#openings) {
      const message = endedBy(notice, opening);
      if (message !== '') opening.endedMessage = message;
    }
    for (const session of this.#sessions.values()) {
      if (notice.kind === 'kill_session') {
        if (session.uid === notice.sessionUid)
          session.end('killed', `this session was ended by ${notice.by}; ask them before you connect again`);
        continue;
      }
      const message = endedBy(notice, session);
      if (message !== '') session.end('grant_ended', message);
    }
  }
}

/** What a notice means to somebody with this permit; empty: nothing. */
function endedBy(
  notice: AuthorityNotice,
  holder: { readonly permit: Permit; readonly credentialUid: Uid },
): string {
  switch (notice.kind) {
    case 'grant_ended':
      return holder.permit.grantUid === notice.grantUid ? notice.message : '';
    case 'credential_ended':
      return holder.credentialUid === notice.credentialUid ? notice.message : '';
    case 'user_disabled':
      return holder.permit.userUid === notice.userUid
        ? 'your dbwitness user was disabled; ask an administrator'
        : '';
    case 'kill_session':
    case 'servers_changed':
      return '';
  }
}

function expiredMessage(permit: Permit): string {
  const at = new Date(permit.expiresAtUs / 1000).toISOString();
  return `your grant for database "${permit.databaseName}" expired at ${at}; ask for a new one`;
}
