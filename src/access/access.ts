/**
 * Access: who may do what, and the secrets it takes. The control plane's write side (users, databases, grants, keys),
 * logins, and the {@link Authority} that listeners ask.
 *
 * ```text
 *   REST, CLI ──Actor──▶ users · databases · grants · keys · sessions · logins ──▶ changes ──▶ journal, then store
 *                                                                             └──signals──▶ authority ─notices─▶ relay
 *   listeners ──────────────────────── challenge · proved · permit ──────────────────────▶ authority ◀── store
 *   vault: one master key; upstream secrets and SCRAM verifiers sealed by it · throttle: one for all logins
 * ```
 *
 * Invariants
 * 1. No change without a record: a ControlChange is durable in the journal before the store is touched (`changes.ts`).
 * 2. Every service method takes the {@link Actor} and asks the one table of `actor.ts` before anything else.
 * 3. No secret leaves: views carry none, ControlChanges carry none, errors carry none. Upstream passwords are opened
 *    only into a {@link Permit}.
 * 4. Only this folder makes a Permit.
 * 5. Whom or what one may not see does not exist: the same `not-found` as for what is not there.
 */
import type { Kysely } from 'kysely';
import type { Clock } from '../base/clock.ts';
import { AppError } from '../base/errors.ts';
import type { StoreSchema } from '../store/schema.ts';
import { SYSTEM } from './actor.ts';
import { StoreAuthority } from './authority.ts';
import { Changes, type ControlJournal, type ServiceDeps } from './changes.ts';
import { Databases } from './databases.ts';
import { Grants } from './grants.ts';
import { watchDefaults, type WatchTiming } from './grant-watch.ts';
import { Keys } from './keys.ts';
import { LastUsed } from './last-used.ts';
import { Logins } from './logins.ts';
import { MysqlSecrets, NO_STORED_METHODS, type MysqlMethods } from './mysql-secrets.ts';
import { DEFAULT_SCRAM_ITERATIONS, PasswordHasher, passwordLimits } from './passwords.ts';
import { SessionControl } from './sessions.ts';
import { Throttle } from './throttle.ts';
import { Users } from './users.ts';
import type { Vault } from './vault.ts';

export interface AccessOptions {
  /** How long a REST login lasts. Default 12 hours. */
  readonly tokenLifetimeMs: number;
  /** PBKDF2 iterations of new users' SCRAM verifiers. Default 4096. */
  readonly scramIterations: number;
  /** Default 8. */
  readonly minPasswordCharacters: number;
  readonly watch: WatchTiming;
  /** Between writes of when credentials were last used. Default 5 s. */
  readonly lastUsedMs: number;
  /** MySQL's methods that verify against something stored. Default: none is on. */
  readonly mysqlMethods: MysqlMethods;
}

export const accessDefaults: AccessOptions = {
  tokenLifetimeMs: 12 * 60 * 60_000,
  scramIterations: DEFAULT_SCRAM_ITERATIONS,
  minPasswordCharacters: passwordLimits.minCharacters,
  watch: watchDefaults,
  lastUsedMs: 5_000,
  mysqlMethods: NO_STORED_METHODS,
};

export interface AccessDeps {
  readonly db: Kysely<StoreSchema>;
  readonly clock: Clock;
  readonly vault: Vault;
  readonly journal: ControlJournal;
  readonly options?: Partial<AccessOptions>;
  /** Hears of failures of background work, which is tried again by itself. */
  readonly onBackgroundError: (error: unknown) => void;
}

export interface Access {
  readonly users: Users;
  readonly databases: Databases;
  readonly grants: Grants;
  readonly keys: Keys;
  readonly sessions: SessionControl;
  readonly logins: Logins;
  readonly authority: StoreAuthority;
  readonly throttle: Throttle;
  /** Stops background work; writes what is left to write. */
  close(): Promise<void>;
}

/**
 * Constructs the control plane on an open store. Rejects with `conflict` (ACCESS_KEY_MISMATCH) when the store was
 * sealed by a key that the vault does not hold. After a key rotation it seals everything again first.
 */
export async function createAccess(deps: AccessDeps): Promise<Access> {
  const options = { ...accessDefaults, ...deps.options };
  const { db, clock, vault } = deps;
  const changes = new Changes(db, deps.journal);
  const mysql = new MysqlSecrets(db, vault, options.mysqlMethods);
  const services: ServiceDeps = { db, clock, vault, changes, mysql };
  const hasher = new PasswordHasher();
  const throttle = new Throttle(clock);
  const lastUsed = new LastUsed(db, clock);
  const databases = new Databases(services);
  await adoptKey(services, databases);
  await mysql.eraseSwitchedOff();

  const authority = new StoreAuthority(services, hasher, throttle, lastUsed, options);
  authority.watch.start(options.watch, deps.onBackgroundError);
  const timer = setInterval(() => {
    lastUsed.flush().catch(deps.onBackgroundError);
  }, options.lastUsedMs).unref();
  return {
    users: new Users(services, hasher, options),
    databases,
    grants: new Grants(services),
    keys: new Keys(services),
    sessions: new SessionControl(services),
    logins: new Logins(services, hasher, throttle, lastUsed, options),
    authority,
    throttle,
    close: async () => {
      clearInterval(timer);
      await authority.watch.stop();
      await lastUsed.flush();
    },
  };
}

const KEY_SETTING = 'vault_key_id';

// A lost key must not go unnoticed until the first login fails, nor be replaced by a generated one.
async function adoptKey(services: ServiceDeps, databases: Databases): Promise<void> {
  const { db, vault, changes } = services;
  const setting = await db
    .selectFrom('settings')
    .where('name', '=', KEY_SETTING)
    .select('value')
    .executeTakeFirst();
  if (setting?.value === vault.keyId) return;
  if (setting !== undefined && !vault.holds(setting.value))
    throw new AppError(
      'conflict',
      'ACCESS_KEY_MISMATCH',
      `the store was sealed by key ${setting.value}, but the configured key is ${vault.keyId}; give the right DBW_KEY or DBW_KEYFILE, or the old key as DBW_KEY_PREVIOUS to rotate`,
    );
  if (setting !== undefined) {
    await changes.record({
      actor: SYSTEM,
      action: 'rotate',
      objectKind: 'vault',
      objectUid: vault.keyId,
      objectName: 'master key',
      before: { key_id: setting.value },
      after: { key_id: vault.keyId },
    });
    await databases.reseal();
    await resealVerifiers(services);
  }
  await db
    .insertInto('settings')
    .values({ name: KEY_SETTING, value: vault.keyId })
    .onConflict((conflict) => conflict.column('name').doUpdateSet({ value: vault.keyId }))
    .execute();
}

const SEALED = ['scram_stored_key', 'scram_server_key', 'mysql_native', 'mysql_ed25519'] as const;

async function resealVerifiers({ db, vault }: ServiceDeps): Promise<void> {
  const rows = await db
    .selectFrom('credentials')
    .select(['uid', ...SEALED])
    .execute();
  for (const row of rows) {
    const again: Partial<Record<(typeof SEALED)[number], Buffer>> = {};
    for (const field of SEALED) {
      const sealed = row[field];
      if (sealed !== null && !vault.isCurrent(sealed))
        again[field] = vault.seal(vault.open(sealed, row.uid, field), row.uid, field);
    }
    if (Object.keys(again).length === 0) continue;
    await db.updateTable('credentials').set(again).where('uid', '=', row.uid).execute();
  }
}
