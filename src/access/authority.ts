/**
 * The {@link Authority}: what the listeners ask before they let anybody in, and what tells them to end a session.
 *
 * ```text
 *   listener            authority                          store
 *      │ challenge ───────▶│ throttle, salt, verifiers ◀─────│ users, credentials
 *      │ (proof checked by the listener)                     │
 *      │ proved ──────────▶│ throttle, last used             │
 *      │ permit ──────────▶│ user, role, grant, quota ◀──────│ grants, databases, grant_usage
 *      │◀─ Permit, with the upstream's secrets opened        │
 *      │ reportUsage ─────▶│ ledger                          │
 *      │◀─ notices ────────│ watch: signals of this node, expiry, a look at the store now and then for other nodes
 * ```
 *
 * Of several grants that would do, the one with the fewest controls is taken, then the one that ends last, then the
 * oldest: the person asked for access and has all of it; which grant it was is in the session's record. Grants whose
 * quota is used up do not count while another one would do.
 */
import { createHmac } from 'node:crypto';
import type { Selectable } from 'kysely';
import type { Uid } from '../base/ids.ts';
import type {
  Authority,
  AuthorityNotice,
  Control,
  EngineName,
  GrantUsage,
  LoginChallenge,
  LoginRefusal,
  Permit,
  PermitResult,
  ScramVerifierMatch,
  ServerAddress,
} from '../model/access.ts';
import type { CredentialTable, DatabaseTable, GrantTable, UserTable } from '../store/schema.ts';
import { mayConnect } from './actor.ts';
import { hashSecret, isApiKey } from './apikeys.ts';
import type { ServiceDeps } from './changes.ts';
import { openTarget } from './databases.ts';
import { GrantWatch } from './grant-watch.ts';
import type { LastUsed } from './last-used.ts';
import { tooManyGuesses } from './logins.ts';
import { SCRAM_SALT_BYTES, type PasswordHasher } from './passwords.ts';
import { parseRecording, withDefaults } from './recording.ts';
import type { Throttle } from './throttle.ts';
import { UsageLedger, usedUp } from './usage.ts';

export interface AuthorityOptions {
  readonly scramIterations: number;
}

/** Databases that a refusal lists. */
const MAX_NAMED = 10;

type UserRow = Selectable<UserTable>;
type GrantRow = Selectable<GrantTable>;
type Usage = { readonly statements: number; readonly bytes: number };

export class StoreAuthority implements Authority {
  readonly #deps: ServiceDeps;
  readonly #hasher: PasswordHasher;
  readonly #throttle: Throttle;
  readonly #lastUsed: LastUsed;
  readonly #options: AuthorityOptions;
  readonly #mockSaltKey: Buffer;
  readonly #ledger = new UsageLedger();
  readonly #listeners: ((notice: AuthorityNotice) => void)[] = [];
  /** Watches the grants that were permitted; `app/` calls its `tick` or `start`. */
  readonly watch: GrantWatch;

  constructor(
    deps: ServiceDeps,
    hasher: PasswordHasher,
    throttle: Throttle,
    lastUsed: LastUsed,
    options: AuthorityOptions,
  ) {
    this.#deps = deps;
    this.#hasher = hasher;
    this.#throttle = throttle;
    this.#lastUsed = lastUsed;
    this.#options = options;
    this.#mockSaltKey = deps.vault.subkey('mock-salt');
    this.watch = new GrantWatch(deps.db, deps.clock, this.#ledger, (notice) => this.#notify(notice));
    deps.changes.onSignal((signal) => {
      if (signal.kind === 'kill')
        this.#notify({ kind: 'kill_session', sessionUid: signal.sessionUid, by: signal.by });
      else this.watch.lookSoon();
      if (signal.kind === 'user') deps.mysql.forgetUser(signal.uid);
      if (signal.kind === 'database') this.#notify({ kind: 'servers_changed' });
    });
  }

  /** Rejects with `exhausted` (ACCESS_THROTTLED) when too many guesses for this user wait at this address. */
  async challenge(login: {
    user: string;
    database: string;
    engine: EngineName;
    clientAddress: string;
  }): Promise<LoginChallenge> {
    const name = normalize(login.user);
    const verdict = this.#throttle.begin(name, login.clientAddress);
    if (verdict.refused) throw tooManyGuesses(verdict.retryAfterMs);
    const { user, credentials } = await this.#secretsOf(name);
    const forMysql = familyOf(login.engine).includes('mysql');
    // Somebody without a usable secret looks like somebody unknown.
    return {
      userUid: user && credentials.length > 0 ? user.uid : null,
      scram: {
        salt: user ? user.scram_salt : this.#mockSalt(name),
        iterations: user ? user.scram_iterations : this.#options.scramIterations,
        verifiers: forMysql ? [] : credentials.map((credential) => this.#verifier(credential)),
      },
      mysql: {
        verifiers: forMysql ? credentials.map((credential) => this.#deps.mysql.verifier(credential)) : [],
      },
      delayMs: verdict.delayMs,
    };
  }

  /** Call after {@link challenge} and its delay, and report the outcome with {@link proved} as for SCRAM. */
  async checkSecret(login: {
    user: string;
    secret: string;
    clientAddress: string;
  }): Promise<ScramVerifierMatch | null> {
    const { user, credentials } = await this.#secretsOf(normalize(login.user));
    if (isApiKey(login.secret)) {
      const hash = hashSecret(login.secret);
      const key = credentials.find((each) => each.kind === 'api_key' && each.hash === hash);
      if (!key || !user) return null;
      await this.#deps.mysql.learn(key, login.secret);
      return { userUid: user.uid, credentialUid: key.uid, kind: 'api_key' };
    }
    const password = credentials.find((each) => each.kind === 'password');
    const matches = await this.#hasher.verify(password?.hash ?? null, login.secret);
    if (!matches || !user || !password) return null;
    this.#deps.mysql.remember(password, login.secret);
    await this.#deps.mysql.learn(password, login.secret);
    return { userUid: user.uid, credentialUid: password.uid, kind: 'password' };
  }

  proved(login: { user: string; clientAddress: string; credentialUid: Uid | null }): void {
    const name = normalize(login.user);
    if (login.credentialUid === null) {
      this.#throttle.failed(name, login.clientAddress);
      return;
    }
    this.#throttle.succeeded(name, login.clientAddress);
    this.#lastUsed.touch(login.credentialUid);
  }

  async permit(login: {
    userUid: Uid;
    database: string;
    engine: EngineName;
    credentialUid: Uid;
  }): Promise<PermitResult> {
    const { db } = this.#deps;
    const user = await db
      .selectFrom('users')
      .where('uid', '=', login.userUid)
      .where('deleted_us', 'is', null)
      .where('disabled', '=', false)
      .selectAll()
      .executeTakeFirst();
    if (!user) return refuse('unknown_user', 'your account was disabled; ask an administrator');
    const credential = (await this.#credentialsOf(user.uid)).find((each) => each.uid === login.credentialUid);
    if (!credential) return refuse('wrong_secret', 'the password or API key was revoked; use another one');
    if (!mayConnect(user.roles))
      return refuse('role_missing', 'connecting needs the role connector; ask an administrator');

    if (login.database === '' && familyOf(login.engine).includes('mysql'))
      return this.#permitOnly(user, credential);
    const database = await db
      .selectFrom('databases')
      .where('name', '=', login.database.normalize('NFC').replaceAll('\0', '?'))
      .where('protocol', 'in', familyOf(login.engine))
      .where('deleted_us', 'is', null)
      .selectAll()
      .executeTakeFirst();
    const grants = database ? await this.#grantsOf(user.uid, database.uid) : [];
    // Whether the database exists is not for those who have no grant for it; the auditor is told.
    if (!database || grants.length === 0)
      return refuse(
        database ? 'no_grant' : 'unknown_database',
        `there is no database "${printable(login.database)}" that you have a grant for; check the name or ask for a grant`,
      );
    return this.#choose(user, credential, database, grants);
  }

  async servers(): Promise<readonly ServerAddress[]> {
    const rows = await this.#deps.db
      .selectFrom('databases')
      .where('protocol', 'in', familyOf('mysql'))
      .where('deleted_us', 'is', null)
      .select(['server_uid', 'protocol', 'host', 'port'])
      .distinct()
      .orderBy('server_uid')
      .execute();
    return rows.map(({ server_uid, protocol, host, port }) => ({
      serverUid: server_uid,
      engine: protocol as EngineName,
      host,
      port,
    }));
  }

  reportUsage(usage: readonly GrantUsage[]): void {
    for (const each of usage) this.#ledger.report(each);
  }

  onNotice(listener: (notice: AuthorityNotice) => void): void {
    this.#listeners.push(listener);
  }

  /** For a client that named no database: there must be exactly one that it can mean. */
  async #permitOnly(user: UserRow, credential: Selectable<CredentialTable>): Promise<PermitResult> {
    const now = this.#deps.clock.wallUs();
    const databases = await this.#deps.db
      .selectFrom('databases')
      .where('protocol', 'in', familyOf('mysql'))
      .where('deleted_us', 'is', null)
      .where('uid', 'in', (grants) =>
        grants
          .selectFrom('grants')
          .where('user_uid', '=', user.uid)
          .where('revoked_us', 'is', null)
          .where('starts_us', '<=', now)
          .where('expires_us', '>', now)
          .select('database_uid'),
      )
      .selectAll()
      .orderBy('name')
      .limit(MAX_NAMED + 1)
      .execute();
    const [database] = databases;
    if (databases.length === 1)
      return this.#choose(user, credential, database, await this.#grantsOf(user.uid, database.uid));
    if (databases.length === 0)
      return refuse('no_database', 'name a database to connect to; you have no grant for one at this time');
    const names = databases.slice(0, MAX_NAMED).map(({ name }) => name);
    const more = databases.length > MAX_NAMED ? ', …' : '';
    return refuse('no_database', `name one of your databases to connect to: ${names.join(', ')}${more}`);
  }

  async #choose(
    user: UserRow,
    credential: Selectable<CredentialTable>,
    database: Selectable<DatabaseTable>,
    grants: readonly GrantRow[],
  ): Promise<PermitResult> {
    const now = this.#deps.clock.wallUs();
    const current = grants.filter(
      (grant) => grant.revoked_us === null && grant.starts_us <= now && grant.expires_us > now,
    );
    if (current.length === 0) return refuseWindow(grants, now);
    const usage = await this.#usageOf(current.map((grant) => grant.uid));
    const usable = current.filter((grant) => usedUp(usage.get(grant.uid)!, quotaOf(grant)) === null);
    if (usable.length === 0) {
      const reason = usedUp(usage.get(current[0].uid)!, quotaOf(current[0])) ?? 'the quota is used up';
      return refuse('quota_used_up', `${reason}; ask for a new grant`);
    }
    const grant = usable.sort(byPreference)[0];
    const permit = this.#permit(user, credential, database, grant, usage.get(grant.uid)!);
    this.watch.add(permit, credential.uid, grant.expires_us);
    return { ok: true, permit };
  }

  #permit(
    user: UserRow,
    credential: Selectable<CredentialTable>,
    database: Selectable<DatabaseTable>,
    grant: GrantRow,
    used: Usage,
  ): Permit {
    return {
      userUid: user.uid,
      userName: user.username,
      databaseUid: database.uid,
      databaseName: database.name,
      grantUid: grant.uid,
      controls: grant.controls as Control[],
      // A session lives no longer than the secret that opened it.
      expiresAtUs: Math.min(grant.expires_us, credential.expires_us ?? Infinity),
      maxStatements: grant.max_query_counts,
      maxBytes: grant.max_bytes_transferred,
      usedStatements: used.statements,
      usedBytes: used.bytes,
      upstream: openTarget(this.#deps.vault, database),
      recording: withDefaults(parseRecording(database.recording, database.uid)),
    };
  }

  /** Asks the store as often for an unknown name as for a known one: the time it takes tells nothing. */
  async #secretsOf(
    name: string,
  ): Promise<{ user: UserRow | undefined; credentials: readonly Selectable<CredentialTable>[] }> {
    const user = await this.#userNamed(name);
    const credentials = await this.#credentialsOf(user?.uid ?? 'nobody');
    return { user, credentials: user?.disabled === false ? credentials : [] };
  }

  #userNamed(name: string): Promise<UserRow | undefined> {
    // The store could not even compare a NUL; such a name is nobody's.
    if (name.includes('\0') || name.length > 255) return Promise.resolve(undefined);
    return this.#deps.db
      .selectFrom('users')
      .where('username', '=', name)
      .where('deleted_us', 'is', null)
      .selectAll()
      .executeTakeFirst();
  }

  #credentialsOf(userUid: Uid): Promise<Selectable<CredentialTable>[]> {
    const now = this.#deps.clock.wallUs();
    return this.#deps.db
      .selectFrom('credentials')
      .where('user_uid', '=', userUid)
      .where('revoked_us', 'is', null)
      .where((where) => where.or([where('expires_us', 'is', null), where('expires_us', '>', now)]))
      .selectAll()
      .orderBy('uid')
      .execute();
  }

  #grantsOf(userUid: Uid, databaseUid: Uid): Promise<GrantRow[]> {
    return this.#deps.db
      .selectFrom('grants')
      .where('user_uid', '=', userUid)
      .where('database_uid', '=', databaseUid)
      .selectAll()
      .execute();
  }

  async #usageOf(grantUids: readonly Uid[]): Promise<Map<Uid, Usage>> {
    const rows = await this.#deps.db
      .selectFrom('grant_usage')
      .where('grant_uid', 'in', grantUids)
      .selectAll()
      .execute();
    const indexed = new Map(rows.map((row) => [row.grant_uid, row]));
    const nothing = { statements: 0, bytes: 0 };
    return new Map(grantUids.map((uid) => [uid, this.#ledger.used(uid, indexed.get(uid) ?? nothing)]));
  }

  #verifier(credential: Selectable<CredentialTable>): LoginChallenge['scram']['verifiers'][number] {
    const { vault } = this.#deps;
    return {
      credentialUid: credential.uid,
      kind: credential.kind,
      storedKey: vault.open(credential.scram_stored_key, credential.uid, 'scram_stored_key'),
      serverKey: vault.open(credential.scram_server_key, credential.uid, 'scram_server_key'),
    };
  }

  /** Stable for a name, so that asking twice does not tell the unknown from the known. */
  #mockSalt(name: string): Buffer {
    return createHmac('sha256', this.#mockSaltKey).update(name).digest().subarray(0, SCRAM_SALT_BYTES);
  }

  #notify(notice: AuthorityNotice): void {
    for (const listener of this.#listeners) listener(notice);
  }
}

/** MySQL's listener speaks for both families, and database names are unique over all protocols. */
function familyOf(engine: EngineName): EngineName[] {
  return engine === 'mysql' || engine === 'mariadb' ? ['mysql', 'mariadb'] : [engine];
}

function normalize(user: string): string {
  return user.normalize('NFC').toLowerCase();
}

function quotaOf(grant: GrantRow): { maxStatements: number | null; maxBytes: number | null } {
  return { maxStatements: grant.max_query_counts, maxBytes: grant.max_bytes_transferred };
}

function byPreference(a: GrantRow, b: GrantRow): number {
  return a.controls.length - b.controls.length || b.expires_us - a.expires_us || (a.uid < b.uid ? -1 : 1);
}

function refuse(refusal: LoginRefusal, message: string): PermitResult {
  return { ok: false, refusal, message };
}

/** No grant is valid now: says when the nearest one will be, or that the last one was. */
function refuseWindow(grants: readonly GrantRow[], now: number): PermitResult {
  const later = grants.filter((grant) => grant.revoked_us === null && grant.starts_us > now);
  if (later.length > 0) {
    const starts = Math.min(...later.map((grant) => grant.starts_us));
    return refuse('grant_not_started', `your grant starts at ${isoSeconds(starts)}; try again then`);
  }
  const ended = Math.max(...grants.map((grant) => Math.min(grant.expires_us, grant.revoked_us ?? Infinity)));
  return refuse('grant_ended', `your grant ended at ${isoSeconds(ended)}; ask for a new one`);
}

function isoSeconds(us: number): string {
  return `${new Date(us / 1000).toISOString().slice(0, 19)}Z`;
}

/** A stranger's text inside a message: no controls, not endless. */
function printable(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '?').slice(0, 63);
}
