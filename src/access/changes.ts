/**
 * How the control plane changes. Every change is first a ControlChange in the journal, durable, and only then in the
 * store; if the journal refuses it, it does not happen. Changes of one node come one after the other, so what was
 * checked before a change still holds when it is made; between nodes the store's unique indexes decide.
 *
 * ```text
 *   check ──▶ journal.append(ControlChange) ──durable──▶ store transaction ──▶ signal to running sessions
 *                      │ rejected                              │ failed
 *                      └─▶ refused, nothing happened           └─▶ ControlChange "<action>_failed", error
 * ```
 */
import type { Kysely, Transaction } from 'kysely';
import type { Clock } from '../base/clock.ts';
import { AppError, messageOf } from '../base/errors.ts';
import type { Uid } from '../base/ids.ts';
import { isDuplicate } from '../store/errors.ts';
import type { StoreSchema } from '../store/schema.ts';
import type { Actor } from './actor.ts';
import type { MysqlSecrets } from './mysql-secrets.ts';
import type { Vault } from './vault.ts';

/** The fields of the journal's ControlChange, in its own names; `before` and `after` are JSON without secrets. */
export interface ControlChangeRecord {
  readonly actorUid: string;
  readonly actorName: string;
  readonly action: string;
  readonly objectKind: string;
  readonly objectUid: string;
  readonly objectName: string;
  readonly before: string;
  readonly after: string;
  readonly clientAddress: string;
}

/** The journal, as the control plane needs it. */
export interface ControlJournal {
  /** Resolves when the change is on stable storage. Rejects when it cannot be: then the change must not happen. */
  append(change: ControlChangeRecord): Promise<void>;
}

/** What running sessions may need to know. */
export type AccessSignal =
  | { readonly kind: 'grant'; readonly uid: Uid }
  | { readonly kind: 'user'; readonly uid: Uid }
  | { readonly kind: 'database'; readonly uid: Uid }
  | { readonly kind: 'credential'; readonly uid: Uid }
  | { readonly kind: 'kill'; readonly sessionUid: Uid; readonly by: string };

export interface ChangeDescription {
  readonly actor: Actor;
  readonly action: string;
  readonly objectKind: 'user' | 'database' | 'grant' | 'key' | 'session' | 'login' | 'vault';
  readonly objectUid: string;
  readonly objectName: string;
  readonly before?: unknown;
  readonly after?: unknown;
}

/** What all services share. */
export interface ServiceDeps {
  readonly db: Kysely<StoreSchema>;
  readonly clock: Clock;
  readonly vault: Vault;
  readonly changes: Changes;
  readonly mysql: MysqlSecrets;
}

/** Changes waiting for their turn; more are refused. */
const MAX_WAITING = 256;

export class Changes {
  readonly #db: Kysely<StoreSchema>;
  readonly #journal: ControlJournal;
  readonly #listeners: ((signal: AccessSignal) => void)[] = [];
  #turn: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  constructor(db: Kysely<StoreSchema>, journal: ControlJournal) {
    this.#db = db;
    this.#journal = journal;
  }

  onSignal(listener: (signal: AccessSignal) => void): void {
    this.#listeners.push(listener);
  }

  /** Runs a check together with its change; no other change of this node comes in between. Does not nest. */
  async exclusive<T>(task: () => Promise<T>): Promise<T> {
    if (this.#waiting >= MAX_WAITING)
      throw new AppError('exhausted', 'ACCESS_CHANGES_BUSY', 'too many changes are waiting; try again', {
        details: { retry_after_ms: 1_000 },
      });
    this.#waiting++;
    const mine = this.#turn.then(task);
    this.#turn = mine.then(
      () => undefined,
      () => undefined,
    );
    try {
      return await mine;
    } finally {
      this.#waiting--;
    }
  }

  /** Journals, then applies. Call inside {@link exclusive} when the change rests on something that was checked. */
  async apply<T>(
    change: ChangeDescription,
    write: (transaction: Transaction<StoreSchema>) => Promise<T>,
    signals: readonly AccessSignal[] = [],
  ): Promise<T> {
    await this.record(change);
    let result: T;
    try {
      result = await this.#db.transaction().execute(write);
    } catch (cause) {
      // The journal already says that it happened; it must also say that it did not.
      await this.record({
        ...change,
        action: `${change.action}_failed`,
        after: { reason: messageOf(cause) },
      });
      throw storeError(cause, change);
    }
    for (const signal of signals) this.signal(signal);
    return result;
  }

  /** Journals something that changes nothing in the store: a login, a kill. */
  async record(change: ChangeDescription): Promise<void> {
    try {
      await this.#journal.append(toRecord(change));
    } catch (cause) {
      throw new AppError(
        'unavailable',
        'ACCESS_JOURNAL_REFUSED',
        `the journal cannot be written, so nothing was changed: ${messageOf(cause)}; make room or mend the disk and try again`,
        { cause },
      );
    }
  }

  signal(signal: AccessSignal): void {
    for (const listener of this.#listeners) listener(signal);
  }
}

function toRecord(change: ChangeDescription): ControlChangeRecord {
  return {
    actorUid: change.actor.uid,
    actorName: change.actor.name,
    action: change.action,
    objectKind: change.objectKind,
    objectUid: change.objectUid,
    objectName: change.objectName,
    before: change.before === undefined ? '' : JSON.stringify(change.before),
    after: change.after === undefined ? '' : JSON.stringify(change.after),
    clientAddress: change.actor.clientAddress,
  };
}

function storeError(cause: unknown, change: ChangeDescription): unknown {
  if (!isDuplicate(cause)) return cause;
  return new AppError(
    'conflict',
    'ACCESS_NAME_TAKEN',
    `there is already a ${change.objectKind} named ${change.objectName}; choose another name`,
    { cause },
  );
}
