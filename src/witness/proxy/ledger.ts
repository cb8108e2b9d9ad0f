/**
 * The running use of grants: one account per grant, shared by all its sessions on this node, so that quotas count
 * across parallel sessions. Other nodes' use arrives with each new permit.
 */
import type { Uid } from '../../base/ids.ts';
import type { GrantUsage, Permit } from '../../model/access.ts';

export class GrantAccount {
  readonly grantUid: Uid;
  statements: number;
  bytes: number;
  maxStatements: number;
  maxBytes: number;
  expiresAtUs: number;
  /** Why the grant ended before its time; empty while it has not. */
  endedMessage = '';
  sessions = 0;
  #reportedStatements: number;
  #reportedBytes: number;

  constructor(permit: Permit) {
    this.grantUid = permit.grantUid;
    this.statements = this.#reportedStatements = permit.usedStatements;
    this.bytes = this.#reportedBytes = permit.usedBytes;
    this.maxStatements = permit.maxStatements ?? Infinity;
    this.maxBytes = permit.maxBytes ?? Infinity;
    this.expiresAtUs = permit.expiresAtUs;
  }

  /** Takes in a newer permit of the same grant: what others used, and limits that may have been changed. */
  refresh(permit: Permit): void {
    this.statements = Math.max(this.statements, permit.usedStatements);
    this.bytes = Math.max(this.bytes, permit.usedBytes);
    this.maxStatements = permit.maxStatements ?? Infinity;
    this.maxBytes = permit.maxBytes ?? Infinity;
    this.expiresAtUs = permit.expiresAtUs;
    // The permit is newer than what ended the grant for others: tightened controls, say.
    this.endedMessage = '';
  }

  /** What was used since the last call, or `null` when nothing was. */
  takeUnreported(): GrantUsage | null {
    const statements = this.statements - this.#reportedStatements;
    const bytes = this.bytes - this.#reportedBytes;
    if (statements === 0 && bytes === 0) return null;
    this.#reportedStatements = this.statements;
    this.#reportedBytes = this.bytes;
    return { grantUid: this.grantUid, statements, bytes };
  }
}

export class GrantLedger {
  readonly #accounts = new Map<Uid, GrantAccount>();

  /** Opens (or joins) the account of a permit's grant; pair with {@link leave}. */
  join(permit: Permit): GrantAccount {
    let account = this.#accounts.get(permit.grantUid);
    if (account) account.refresh(permit);
    else {
      account = new GrantAccount(permit);
      this.#accounts.set(permit.grantUid, account);
    }
    account.sessions++;
    return account;
  }

  leave(account: GrantAccount): void {
    account.sessions--;
  }

  find(grantUid: Uid): GrantAccount | undefined {
    return this.#accounts.get(grantUid);
  }

  /** Everything used since the last call; forgets accounts that nobody uses any more. */
  takeUnreported(): GrantUsage[] {
    const usage: GrantUsage[] = [];
    for (const account of this.#accounts.values()) {
      const unreported = account.takeUnreported();
      if (unreported) usage.push(unreported);
      if (account.sessions === 0) this.#accounts.delete(account.grantUid);
    }
    return usage;
  }
}
