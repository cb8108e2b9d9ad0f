/** People (and applications) who log in. */
import { sql, type Selectable, type Transaction } from 'kysely';
import { AppError } from '../base/errors.ts';
import { newUid, type Uid } from '../base/ids.ts';
import type { Role } from '../model/access.ts';
import type { StoreSchema, UserTable } from '../store/schema.ts';
import { demand, may, SYSTEM, type Actor } from './actor.ts';
import type { ServiceDeps } from './changes.ts';
import { toPage, type Page, type PageRequest } from './page.ts';
import { checkNewPassword, makeScramKeys, newScramSalt, type PasswordHasher } from './passwords.ts';
import { checkRoles, checkText, checkUsername, invalid } from './validate.ts';

export interface User {
  readonly uid: Uid;
  readonly username: string;
  readonly displayName: string;
  readonly email: string;
  readonly roles: readonly Role[];
  readonly disabled: boolean;
  readonly createdUs: number;
  readonly updatedUs: number;
}

export interface NewUser {
  readonly username: string;
  readonly password: string;
  /** Default: connector alone. */
  readonly roles?: readonly string[] | undefined;
  readonly displayName?: string | undefined;
  readonly email?: string | undefined;
}

/** What is `undefined` stays. */
export interface UserUpdate {
  readonly password?: string | undefined;
  /** Needed by those who change their own password. */
  readonly currentPassword?: string | undefined;
  readonly roles?: readonly string[] | undefined;
  readonly displayName?: string | undefined;
  readonly email?: string | undefined;
  readonly disabled?: boolean | undefined;
}

export interface UserOptions {
  readonly minPasswordCharacters: number;
  readonly scramIterations: number;
}

type Write = (transaction: Transaction<StoreSchema>) => Promise<void>;

export class Users {
  readonly #deps: ServiceDeps;
  readonly #hasher: PasswordHasher;
  readonly #options: UserOptions;

  constructor(deps: ServiceDeps, hasher: PasswordHasher, options: UserOptions) {
    this.#deps = deps;
    this.#hasher = hasher;
    this.#options = options;
  }

  async create(actor: Actor, input: NewUser): Promise<User> {
    demand(actor, 'user.write');
    const { clock } = this.#deps;
    checkNewPassword(input.password, this.#options.minPasswordCharacters);
    const now = clock.wallUs();
    const row: UserTable = {
      uid: newUid(clock),
      username: checkUsername(input.username),
      display_name: checkText('display_name', input.displayName ?? '', 200),
      email: checkText('email', input.email ?? '', 254),
      roles: checkRoles(input.roles ?? ['connector']),
      scram_salt: newScramSalt(),
      scram_iterations: this.#options.scramIterations,
      disabled: false,
      deleted_us: null,
      created_us: now,
      updated_us: now,
    };
    const setPassword = await this.#passwordWrite(actor, row, input.password);
    return this.#deps.changes.exclusive(async () => {
      const taken = await this.#live().where('username', '=', row.username).select('uid').executeTakeFirst();
      if (taken)
        throw new AppError(
          'conflict',
          'ACCESS_NAME_TAKEN',
          `there is already a user named ${row.username}; choose another name`,
        );
      await this.#deps.changes.apply(
        {
          actor,
          action: 'create',
          objectKind: 'user',
          objectUid: row.uid,
          objectName: row.username,
          after: describe(row),
        },
        async (transaction) => {
          await transaction.insertInto('users').values(row).execute();
          await setPassword(transaction);
        },
      );
      return view(row);
    });
  }

  async list(actor: Actor, page: PageRequest): Promise<Page<User>> {
    demand(actor, 'user.read');
    let query = this.#live()
      .selectAll()
      .orderBy('uid')
      .limit(page.limit + 1);
    if (page.after !== null) query = query.where('uid', '>', page.after);
    return toPage(await query.execute(), page.limit, view);
  }

  /** Oneself always; others by role. Whom one may not see does not exist. */
  async get(actor: Actor, uid: Uid): Promise<User> {
    if (actor.uid !== uid && !may(actor, 'user.read')) throw notFound();
    return view(await this.#row(uid));
  }

  /** By name, for the CLI. */
  async find(actor: Actor, username: string): Promise<User> {
    demand(actor, 'user.read');
    const row = await this.#live()
      .where('username', '=', username.normalize('NFC').toLowerCase())
      .selectAll()
      .executeTakeFirst();
    if (!row) throw notFound();
    return view(row);
  }

  async update(actor: Actor, uid: Uid, update: UserUpdate): Promise<User> {
    await this.#authorizeUpdate(actor, uid, update);
    return this.#deps.changes.exclusive(async () => {
      const before = await this.#row(uid);
      const after: Selectable<UserTable> = {
        ...before,
        display_name: checkText('display_name', update.displayName ?? before.display_name, 200),
        email: checkText('email', update.email ?? before.email, 254),
        roles: update.roles === undefined ? before.roles : checkRoles(update.roles),
        disabled: update.disabled ?? before.disabled,
        updated_us: this.#deps.clock.wallUs(),
      };
      if (!isAdmin(after)) await this.#keepAnAdmin(before);
      const { password } = update;
      const setPassword = password === undefined ? null : await this.#passwordWrite(actor, after, password);
      const dropTokens = setPassword !== null || after.disabled;
      await this.#deps.changes.apply(
        {
          actor,
          action: 'update',
          objectKind: 'user',
          objectUid: uid,
          objectName: before.username,
          before: describe(before),
          after: { ...describe(after), ...(setPassword === null ? {} : { password: 'changed' }) },
        },
        async (transaction) => {
          const { display_name, email, roles, disabled, updated_us } = after;
          await transaction
            .updateTable('users')
            .set({ display_name, email, roles, disabled, updated_us })
            .where('uid', '=', uid)
            .execute();
          await setPassword?.(transaction);
          if (dropTokens) await transaction.deleteFrom('tokens').where('user_uid', '=', uid).execute();
        },
        [{ kind: 'user', uid }],
      );
      return view(after);
    });
  }

  /** Revokes all grants, keys and logins of the user, ends their sessions, and frees the name. */
  async delete(actor: Actor, uid: Uid): Promise<void> {
    demand(actor, 'user.write');
    await this.#deps.changes.exclusive(async () => {
      const before = await this.#row(uid);
      await this.#keepAnAdmin(before);
      const now = this.#deps.clock.wallUs();
      const grants = await this.#deps.db
        .selectFrom('grants')
        .where('user_uid', '=', uid)
        .where('revoked_us', 'is', null)
        .select('uid')
        .execute();
      await this.#deps.changes.apply(
        {
          actor,
          action: 'delete',
          objectKind: 'user',
          objectUid: uid,
          objectName: before.username,
          before: describe(before),
          after: { revoked_grants: grants.map((grant) => grant.uid) },
        },
        async (transaction) => {
          await transaction
            .updateTable('grants')
            .set({ revoked_us: now, revoked_by: actor.name })
            .where('user_uid', '=', uid)
            .where('revoked_us', 'is', null)
            .execute();
          await transaction.deleteFrom('credentials').where('user_uid', '=', uid).execute();
          await transaction.deleteFrom('tokens').where('user_uid', '=', uid).execute();
          await transaction
            .updateTable('users')
            .set({ deleted_us: now, updated_us: now, disabled: true })
            .where('uid', '=', uid)
            .execute();
        },
        [{ kind: 'user', uid }],
      );
    });
  }

  /**
   * Makes the first administrator when there is no user at all; otherwise does nothing and returns `null`.
   * @param password the password to give, or to be generated by the caller.
   */
  async createFirstAdmin(username: string, password: string): Promise<User | null> {
    const any = await this.#deps.db.selectFrom('users').select('uid').limit(1).executeTakeFirst();
    if (any) return null;
    return this.create(SYSTEM, { username, password, roles: ['admin', 'connector'] });
  }

  async #authorizeUpdate(actor: Actor, uid: Uid, update: UserUpdate): Promise<void> {
    if (update.password !== undefined) checkNewPassword(update.password, this.#options.minPasswordCharacters);
    const own = actor.uid === uid;
    if (!own || may(actor, 'user.write') || touchesMoreThanPassword(update)) {
      demand(actor, 'user.write');
      return;
    }
    demand(actor, 'password.change_own');
    await this.#checkCurrentPassword(uid, update.currentPassword);
  }

  async #checkCurrentPassword(uid: Uid, current: string | undefined): Promise<void> {
    const credential = await this.#deps.db
      .selectFrom('credentials')
      .where('user_uid', '=', uid)
      .where('kind', '=', 'password')
      .select('hash')
      .executeTakeFirst();
    if (current === undefined || !(await this.#hasher.verify(credential?.hash ?? null, current)))
      throw invalid('current_password', 'give your current password to change it');
  }

  async #keepAnAdmin(before: Selectable<UserTable>): Promise<void> {
    if (!isAdmin(before)) return;
    const other = await this.#live()
      .where('uid', '!=', before.uid)
      .where('disabled', '=', false)
      .where(sql<boolean>`'admin' = any(roles)`)
      .select('uid')
      .limit(1)
      .executeTakeFirst();
    if (!other)
      throw new AppError(
        'conflict',
        'ACCESS_LAST_ADMIN',
        `${before.username} is the last administrator; make another one first`,
      );
  }

  /** Hashes now, off the loop; writes later, inside the change. The password's credential keeps its uid. */
  async #passwordWrite(actor: Actor, user: Selectable<UserTable>, password: string): Promise<Write> {
    const { db, clock, vault, mysql } = this.#deps;
    const existing = await db
      .selectFrom('credentials')
      .where('user_uid', '=', user.uid)
      .where('kind', '=', 'password')
      .select('uid')
      .executeTakeFirst();
    const uid = existing?.uid ?? newUid(clock);
    const [hash, keys] = await Promise.all([
      this.#hasher.hash(password),
      makeScramKeys(password, user.scram_salt, user.scram_iterations),
    ]);
    const secret = {
      hash,
      scram_stored_key: vault.seal(keys.storedKey, uid, 'scram_stored_key'),
      scram_server_key: vault.seal(keys.serverKey, uid, 'scram_server_key'),
      ...mysql.columns(uid, password),
      created_us: clock.wallUs(),
      created_by: actor.name,
    };
    if (existing)
      return async (transaction) => {
        await transaction.updateTable('credentials').set(secret).where('uid', '=', uid).execute();
      };
    const row = { uid, user_uid: user.uid, kind: 'password' as const, name: '', prefix: '', ...secret };
    return async (transaction) => {
      await transaction
        .insertInto('credentials')
        .values({ ...row, expires_us: null, revoked_us: null, last_used_us: null })
        .execute();
    };
  }

  async #row(uid: Uid): Promise<Selectable<UserTable>> {
    const row = await this.#live().where('uid', '=', uid).selectAll().executeTakeFirst();
    if (!row) throw notFound();
    return row;
  }

  #live() {
    return this.#deps.db.selectFrom('users').where('deleted_us', 'is', null);
  }
}

function touchesMoreThanPassword(update: UserUpdate): boolean {
  const { password: _password, currentPassword: _current, ...rest } = update;
  return Object.values(rest).some((value) => value !== undefined);
}

function isAdmin(user: Selectable<UserTable>): boolean {
  return user.roles.includes('admin') && !user.disabled;
}

function notFound(): AppError {
  return new AppError('not-found', 'ACCESS_USER_UNKNOWN', 'there is no such user');
}

function view(row: Selectable<UserTable>): User {
  return {
    uid: row.uid,
    username: row.username,
    displayName: row.display_name,
    email: row.email,
    roles: row.roles as Role[],
    disabled: row.disabled,
    createdUs: row.created_us,
    updatedUs: row.updated_us,
  };
}

/** For the journal: no salt, no hash. */
function describe(row: Selectable<UserTable>): Record<string, unknown> {
  const { username, display_name, email, roles, disabled } = row;
  return { username, display_name, email, roles, disabled };
}
