/** What a session's grant, its quotas, and the journal allow at this moment; refusals ready to be sent. */
import { decide } from '../../../access/policy.ts';
import { limits } from '../../../base/limits.ts';
import type { Permit } from '../../../model/access.ts';
import type { JournalAppender } from '../../../model/journal.ts';
import type { Classification } from '../../../model/statement.ts';
import type { GrantAccount } from '../ledger.ts';
import type { TurnScheduler } from '../turn.ts';
import { CODES, journalRefusal, refusal, type Refusal } from './refusal.ts';

export class Gate {
  readonly #permit: Permit;
  readonly #account: GrantAccount;
  readonly #journal: JournalAppender;
  readonly #turn: TurnScheduler;
  /**
   * What SQL's own PREPARE made, by lower-cased name. It may hold more than the server does (one that failed there), and
   * nothing that the controls would not let run.
   */
  readonly #prepared = new Map<string, Classification>();

  constructor(permit: Permit, account: GrantAccount, journal: JournalAppender, turn: TurnScheduler) {
    this.#permit = permit;
    this.#account = account;
    this.#journal = journal;
    this.#turn = turn;
  }

  /** What refuses every statement now, whatever it says: an ended grant, a journal that cannot be written. */
  general(): Refusal | null {
    const account = this.#account;
    if (account.endedMessage) return refusal(CODES.notAllowed, account.endedMessage);
    if (this.#turn.wallUs >= account.expiresAtUs)
      return refusal(CODES.notAllowed, 'your grant has expired', 'Ask for a new one.');
    const { status } = this.#journal;
    if (status.state === 'open' || this.#permit.recording.failOpen) return null;
    return journalRefusal(status.failure);
  }

  /** The same, and the quotas, for `count` more statements. */
  statements(count: number): Refusal | null {
    const account = this.#account;
    if (account.statements + count > account.maxStatements)
      return refusal(
        CODES.quota,
        `your grant allows ${account.maxStatements} statements, and ${account.statements} were used`,
        'Ask for a new grant, or for a larger quota.',
      );
    return this.general();
  }

  /** @param batch what earlier statements of the same text prepare. */
  decide(
    classification: Classification,
    batch: ReadonlyMap<string, Classification> | null = null,
  ): Refusal | null {
    const decision = decide(classification, this.#permit.controls, {
      prepared: (name) => batch?.get(name.toLowerCase()) ?? this.#prepared.get(name.toLowerCase()),
    });
    if (decision.allow) return null;
    const code = decision.control === 'read_only' ? CODES.readOnly : CODES.notAllowed;
    return refusal(code, decision.reason, decision.hint);
  }

  /** SQL's PREPARE was let through. */
  remember(name: string, classification: Classification): void {
    if (this.#prepared.size >= limits.maxPreparedStatements) this.#prepared.clear();
    this.#prepared.set(name.toLowerCase(), classification);
  }

  /** The session was reset: the server holds no prepared statements any more. */
  forgetPrepared(): void {
    this.#prepared.clear();
  }
}
