/**
 * Looks after the grants that sessions were opened under, and says when one has ended: it expired, was revoked or
 * tightened, its user was disabled or lost the role, its key was revoked, its database was deleted, its quota was used
 * up by all nodes together. Changes of this node are looked at immediately; those of other nodes, which share the
 * store, within `storeMs`. Expiry needs no store.
 *
 * What is watched is bounded by the number of grants: an entry goes when its grant has ended.
 */
import type { Kysely } from 'kysely';
import type { Clock } from '../base/clock.ts';
import type { Uid } from '../base/ids.ts';
import type { AuthorityNotice, Permit } from '../model/access.ts';
import type { StoreSchema } from '../store/schema.ts';
import { mayConnect } from './actor.ts';
import { usedUp, type UsageLedger } from './usage.ts';

interface Watched {
  readonly grantUid: Uid;
  readonly userUid: Uid;
  readonly controls: ReadonlySet<string>;
  expiresUs: number;
  /** With which secrets its sessions were opened. */
  readonly credentialUids: Set<Uid>;
}

interface GrantNow {
  readonly uid: Uid;
  readonly controls: readonly string[];
  readonly starts_us: number;
  readonly expires_us: number;
  readonly revoked_us: number | null;
  readonly max_query_counts: number | null;
  readonly max_bytes_transferred: number | null;
  readonly database_deleted_us: number | null;
  readonly user_deleted_us: number | null;
  readonly disabled: boolean;
  readonly roles: readonly string[];
  readonly used_statements: number | null;
  readonly used_bytes: number | null;
}

export interface WatchTiming {
  /** Between looks at the clock for expiry. */
  readonly expiryMs: number;
  /** Between looks at the store for other nodes' changes. */
  readonly storeMs: number;
}

export const watchDefaults: WatchTiming = { expiryMs: 200, storeMs: 500 };

/** Parameters of one query. */
const CHUNK = 1000;

export class GrantWatch {
  readonly #db: Kysely<StoreSchema>;
  readonly #clock: Clock;
  readonly #ledger: UsageLedger;
  readonly #notify: (notice: AuthorityNotice) => void;
  readonly #watched = new Map<Uid, Watched>();
  #looking: Promise<void> | null = null;
  #lookAgain = false;
  #timers: NodeJS.Timeout[] = [];
  #onError: (error: unknown) => void = () => undefined;

  constructor(
    db: Kysely<StoreSchema>,
    clock: Clock,
    ledger: UsageLedger,
    notify: (notice: AuthorityNotice) => void,
  ) {
    this.#db = db;
    this.#clock = clock;
    this.#ledger = ledger;
    this.#notify = notify;
  }

  /** Grants watched at this moment. */
  get size(): number {
    return this.#watched.size;
  }

  /** @param grantExpiresUs of the grant itself; a permit may end earlier, with its API key. */
  add(permit: Permit, credentialUid: Uid, grantExpiresUs: number): void {
    const known = this.#watched.get(permit.grantUid);
    this.#watched.set(permit.grantUid, {
      grantUid: permit.grantUid,
      userUid: permit.userUid,
      // Sessions under earlier terms may still run: the loosest of them decides what counts as tightened.
      controls: known ? intersection(known.controls, permit.controls) : new Set(permit.controls),
      expiresUs: grantExpiresUs,
      credentialUids: (known?.credentialUids ?? new Set()).add(credentialUid),
    });
  }

  /** Starts the timers. They do not keep the process alive. @param onError hears when the store cannot be asked. */
  start(timing: WatchTiming, onError: (error: unknown) => void): void {
    this.#onError = onError;
    this.#timers = [
      setInterval(() => this.expire(), timing.expiryMs),
      setInterval(() => this.lookSoon(), timing.storeMs),
    ];
    for (const timer of this.#timers) timer.unref();
  }

  /** Stops the timers and waits for what is still to be looked at. */
  async stop(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    this.#timers = [];
    while (this.#looking !== null) await this.#looking;
  }

  /** Ends what the clock says is over, without the store. */
  expire(): void {
    const now = this.#clock.wallUs();
    for (const watched of this.#watched.values())
      if (watched.expiresUs <= now) this.#end(watched, 'the grant has expired; ask for a new one');
  }

  /** Looks at the store as soon as no other look is under way. */
  lookSoon(): void {
    if (this.#watched.size === 0) return;
    if (this.#looking !== null) {
      this.#lookAgain = true;
      return;
    }
    this.#looking = this.look()
      .catch((error: unknown) => this.#onError(error))
      .finally(() => {
        this.#looking = null;
        if (!this.#lookAgain) return;
        this.#lookAgain = false;
        this.lookSoon();
      });
  }

  /** Compares everything that is watched with the store. Rejects when the store cannot be asked. */
  async look(): Promise<void> {
    const uids = [...this.#watched.keys()];
    for (let at = 0; at < uids.length; at += CHUNK) await this.#lookAt(uids.slice(at, at + CHUNK));
  }

  async #lookAt(uids: readonly Uid[]): Promise<void> {
    const rows = await this.#read(uids);
    const byUid = new Map(rows.map((row) => [row.uid, row]));
    const now = this.#clock.wallUs();
    for (const uid of uids) {
      const watched = this.#watched.get(uid);
      if (watched === undefined) continue;
      const row = byUid.get(uid);
      if (row !== undefined && userIsOut(row)) {
        this.#drop(watched);
        this.#notify({ kind: 'user_disabled', userUid: watched.userUid });
        continue;
      }
      const reason = row === undefined ? 'the grant is gone' : this.#reasonToEnd(watched, row, now);
      if (reason !== null) this.#end(watched, reason);
      else if (row !== undefined) watched.expiresUs = row.expires_us;
    }
    await this.#lookAtCredentials(uids);
  }

  #reasonToEnd(watched: Watched, row: GrantNow, now: number): string | null {
    if (row.revoked_us !== null) return 'the grant was revoked';
    if (row.expires_us <= now) return 'the grant has expired; ask for a new one';
    if (row.starts_us > now) return 'the grant was moved to a later time';
    if (row.database_deleted_us !== null) return 'the database was removed from dbwitness';
    if (row.controls.some((control) => !watched.controls.has(control)))
      return 'the controls of the grant were tightened; connect again';
    const indexed = { statements: row.used_statements ?? 0, bytes: row.used_bytes ?? 0 };
    const quota = { maxStatements: row.max_query_counts, maxBytes: row.max_bytes_transferred };
    return usedUp(this.#ledger.used(row.uid, indexed), quota);
  }

  async #lookAtCredentials(grantUids: readonly Uid[]): Promise<void> {
    const credentials = new Set<Uid>();
    for (const uid of grantUids)
      for (const credential of this.#watched.get(uid)?.credentialUids ?? []) credentials.add(credential);
    const uids = [...credentials];
    for (let at = 0; at < uids.length; at += CHUNK) {
      const revoked = await this.#db
        .selectFrom('credentials')
        .where('uid', 'in', uids.slice(at, at + CHUNK))
        .where('revoked_us', 'is not', null)
        .select('uid')
        .execute();
      for (const { uid } of revoked) this.#endCredential(uid);
    }
  }

  #endCredential(credentialUid: Uid): void {
    for (const watched of this.#watched.values()) watched.credentialUids.delete(credentialUid);
    this.#notify({
      kind: 'credential_ended',
      credentialUid,
      message: 'the API key of this session was revoked',
    });
  }

  #end(watched: Watched, message: string): void {
    this.#drop(watched);
    this.#notify({ kind: 'grant_ended', grantUid: watched.grantUid, message });
  }

  #drop(watched: Watched): void {
    this.#watched.delete(watched.grantUid);
  }

  #read(uids: readonly Uid[]): Promise<GrantNow[]> {
    return this.#db
      .selectFrom('grants')
      .innerJoin('users', 'users.uid', 'grants.user_uid')
      .innerJoin('databases', 'databases.uid', 'grants.database_uid')
      .leftJoin('grant_usage', 'grant_usage.grant_uid', 'grants.uid')
      .where('grants.uid', 'in', uids)
      .select([
        'grants.uid',
        'grants.controls',
        'grants.starts_us',
        'grants.expires_us',
        'grants.revoked_us',
        'grants.max_query_counts',
        'grants.max_bytes_transferred',
        'databases.deleted_us as database_deleted_us',
        'users.deleted_us as user_deleted_us',
        'users.disabled',
        'users.roles',
        'grant_usage.statements as used_statements',
        'grant_usage.bytes as used_bytes',
      ])
      .execute();
  }
}

function userIsOut(row: GrantNow): boolean {
  return row.disabled || row.user_deleted_us !== null || !mayConnect(row.roles);
}

function intersection(a: ReadonlySet<string>, b: readonly string[]): ReadonlySet<string> {
  return new Set(b.filter((control) => a.has(control)));
}
