/** What the tests of this folder share: a real store in memory's place, a journal that remembers and can fail. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AppError } from '../base/errors.ts';
import { ManualClock } from '../base/clock.ts';
import { openStore, type Store } from '../store/store.ts';
import { createAccess, type Access, type AccessOptions } from './access.ts';
import type { Actor } from './actor.ts';
import type { ControlChangeRecord, ControlJournal } from './changes.ts';
import { Vault } from './vault.ts';

/** Remembers what was appended; rejects while `failing`. */
export class RecordingJournal implements ControlJournal {
  readonly changes: ControlChangeRecord[] = [];
  failing = false;

  append(change: ControlChangeRecord): Promise<void> {
    if (this.failing)
      return Promise.reject(new AppError('unavailable', 'JOURNAL_FAILING', 'no space left on device'));
    this.changes.push(change);
    return Promise.resolve();
  }

  /** `action kind name` of each change. */
  get actions(): string[] {
    return this.changes.map((change) => `${change.action} ${change.objectKind} ${change.objectName}`);
  }
}

export interface AccessBench {
  readonly store: Store;
  readonly clock: ManualClock;
  readonly journal: RecordingJournal;
  readonly vault: Vault;
  readonly access: Access;
  readonly errors: unknown[];
  close(): Promise<void>;
}

/** An own store per test file: opening one takes seconds. {@link emptyStore} between tests. */
export async function openTestStore(): Promise<{ store: Store; close: () => Promise<void> }> {
  const dataDir = await mkdtemp(join(tmpdir(), 'dbw-access-'));
  const store = await openStore({ dataDir });
  return {
    store,
    close: async () => {
      await store.close();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

export async function emptyStore(store: Store): Promise<void> {
  await store.transaction((client) =>
    client.query(
      'truncate users, credentials, tokens, servers, databases, grants, settings, idx_sessions, idx_statements, idx_events, idx_usage cascade',
    ),
  );
}

/** The control plane on a store, with a clock that moves when told and timers that do not run. */
export async function openAccess(store: Store, options: Partial<AccessOptions> = {}): Promise<AccessBench> {
  const clock = new ManualClock();
  const journal = new RecordingJournal();
  const vault = new Vault(Buffer.alloc(32, 7));
  const errors: unknown[] = [];
  const never = 2 ** 31 - 1;
  const access = await createAccess({
    db: store.db,
    clock,
    vault,
    journal,
    options: { watch: { expiryMs: never, storeMs: never }, lastUsedMs: never, ...options },
    onBackgroundError: (error) => errors.push(error),
  });
  return { store, clock, journal, vault, access, errors, close: () => access.close() };
}

/** Somebody with these roles, without a login. */
export function actorOf(
  uid: string,
  name: string,
  roles: Actor['roles'],
  via: Actor['via'] = 'token',
): Actor {
  return { uid, name, roles, via, credentialUid: null, clientAddress: '192.0.2.1' };
}
