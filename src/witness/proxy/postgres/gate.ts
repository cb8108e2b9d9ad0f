/** What a session's grant, its quotas, and the journal allow at this moment; refusals ready to be sent. */
import { decide } from '../../../access/policy.ts';
import { limits } from '../../../base/limits.ts';
import type { Permit } from '../../../model/access.ts';
import type { JournalAppender } from '../../../model/journal.ts';
import type { Classification } from '../../../model/statement.ts';
import type { SqlDialect } from '../../../sql/dialect.ts';
import type { GrantAccount } from '../ledger.ts';
import type { TurnScheduler } from '../turn.ts';
import type { NameView } from './names.ts';
import { refusal, type Refusal, SQLSTATE } from './refusal.ts';

export interface GateParts {
  readonly permit: Permit;
  readonly account: GrantAccount;
  readonly journal: JournalAppender;
  readonly turn: TurnScheduler;
  readonly sql: SqlDialect;
  readonly predicted: NameView;
}

export class Gate {
  readonly #parts: GateParts;

  constructor(parts: GateParts) {
    this.#parts = parts;
  }

  /** What refuses every statement now, whatever it says: an ended grant, a journal that cannot be written. */
  general(): Refusal | null {
    const { account, turn, journal, permit } = this.#parts;
    if (account.endedMessage) return refusal(SQLSTATE.insufficientPrivilege, account.endedMessage);
    if (turn.wallUs >= account.expiresAtUs)
      return refusal(SQLSTATE.insufficientPrivilege, 'your grant has expired', 'Ask for a new one.');
    const { status } = journal;
    if (status.state === 'open' || permit.recording.failOpen) return null;
    return journalRefusal(status.failure);
  }

  /** The same, and the quotas, for `count` more statements. */
  statements(count: number): Refusal | null {
    const { account } = this.#parts;
    if (account.statements + count > account.maxStatements)
      return refusal(
        SQLSTATE.quotaExceeded,
        `your grant allows ${account.maxStatements} statements, and ${account.statements} were used`,
        'Ask for a new grant, or for a larger quota.',
      );
    return this.general();
  }

  /** @param batch what earlier statements of the same Query prepare. */
  decide(
    classification: Classification,
    batch: ReadonlyMap<string, Classification> | null = null,
  ): Refusal | null {
    const { permit, predicted } = this.#parts;
    const decision = decide(classification, permit.controls, {
      readOnlyIsSessionDefault: true, // set at start-up, see parameters.ts
      prepared: (name) =>
        batch?.get(name) ?? predicted.statements.get(protocolName(name))?.classification ?? undefined,
    });
    if (decision.allow) return null;
    const state = decision.control === 'read_only' ? SQLSTATE.readOnly : SQLSTATE.insufficientPrivilege;
    return refusal(state, decision.reason, decision.hint);
  }

  /** One more named statement. */
  prepared(): Refusal | null {
    if (this.#parts.predicted.statements.size < limits.maxPreparedStatements) return null;
    const message = `this session holds ${limits.maxPreparedStatements} prepared statements, the most dbwitness allows`;
    return refusal(SQLSTATE.limitExceeded, message, 'Close statements that are not needed any more.');
  }

  /** A FunctionCall message: known functions that only read, under controls. */
  functionCall(oid: number): Refusal | null {
    const { permit, sql } = this.#parts;
    if (permit.controls.length === 0 || sql.isReadOnlyFunction(oid)) return null;
    return refusal(
      SQLSTATE.insufficientPrivilege,
      `the direct call of function ${oid} is not allowed under this grant, which has controls`,
      'Call the function in a SELECT statement.',
    );
  }
}

/** A name of SQL's (UTF-8) as the protocol's messages spell it in our maps: one character per byte. */
export function protocolName(name: string): string {
  return Buffer.from(name, 'utf8').toString('latin1');
}

export function journalRefusal(failure: string): Refusal {
  return refusal(
    /space|ENOSPC|full/i.test(failure) ? SQLSTATE.diskFull : SQLSTATE.ioError,
    'dbwitness cannot write its journal, so it lets nothing through: the statement was not run',
    'Tell an administrator; statements are accepted again as soon as the journal can be written.',
    failure,
  );
}
