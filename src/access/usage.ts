/**
 * What a grant has used. Two sources say it, neither alone is enough: the index (`grant_usage`, from the journal of
 * every node, complete but a little behind) and the reports of this node's running sessions (at once, but only since
 * this process began). Used = the greater of the index now, and the index when we first looked plus what was reported
 * since. Both only grow, and both count the same statements, so adding them would count twice.
 */
import type { Uid } from '../base/ids.ts';
import type { GrantUsage } from '../model/access.ts';

interface Count {
  statements: number;
  bytes: number;
}

interface Entry {
  readonly base: Count;
  readonly reported: Count;
}

export interface Quota {
  readonly maxStatements: number | null;
  readonly maxBytes: number | null;
}

export class UsageLedger {
  readonly #entries = new Map<Uid, Entry>();

  /** @param indexed what the index says now. @returns what is used, as far as anybody knows. */
  used(grantUid: Uid, indexed: Count): Count {
    const entry = this.#entries.get(grantUid) ?? { base: indexed, reported: { statements: 0, bytes: 0 } };
    this.#entries.set(grantUid, entry);
    return {
      statements: Math.max(indexed.statements, entry.base.statements + entry.reported.statements),
      bytes: Math.max(indexed.bytes, entry.base.bytes + entry.reported.bytes),
    };
  }

  /** Adds what sessions report. A grant that was never asked for has no session here. */
  report(usage: GrantUsage): void {
    const entry = this.#entries.get(usage.grantUid);
    if (entry === undefined) return;
    entry.reported.statements += usage.statements;
    entry.reported.bytes += usage.bytes;
  }
}

/** Which quota is used up, for people; `null`: none. */
export function usedUp(used: Count, quota: Quota): string | null {
  if (quota.maxStatements !== null && used.statements >= quota.maxStatements)
    return `the grant's ${quota.maxStatements} statements are used up`;
  if (quota.maxBytes !== null && used.bytes >= quota.maxBytes)
    return `the grant's ${quota.maxBytes} bytes are used up`;
  return null;
}
