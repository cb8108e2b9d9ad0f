/**
 * Logins of the REST API: a password becomes a token; a token or an API key becomes an {@link Actor}. Logins, failed
 * ones too, are in the journal; guessing backs off together with the databases' listeners.
 */
import { randomBytes } from 'node:crypto';
import type { Selectable } from 'kysely';
import { AppError } from '../base/errors.ts';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Role } from '../model/access.ts';
import type { UserTable } from '../store/schema.ts';
import type { Actor } from './actor.ts';
import { hashSecret, isApiKey, looksLikeApiKey } from './apikeys.ts';
import type { ServiceDeps } from './changes.ts';
import type { LastUsed } from './last-used.ts';
import type { PasswordHasher } from './passwords.ts';
import type { Throttle } from './throttle.ts';

export interface LoginOptions {
  readonly tokenLifetimeMs: number;
}

export interface LoginResult {
  /** Shown once; only its SHA-256 is kept. */
  readonly token: string;
  readonly expiresUs: number;
  readonly actor: Actor;
}

const TOKEN_MARK = 'dbwt_';
const TOKEN_FORM = /^dbwt_[0-9A-Za-z_-]{43}$/;
/** Tokens of one user; the oldest goes when there is one more. */
const MAX_TOKENS_PER_USER = 100;

export class Logins {
  readonly #deps: ServiceDeps;
  readonly #hasher: PasswordHasher;
  readonly #throttle: Throttle;
  readonly #lastUsed: LastUsed;
  readonly #options: LoginOptions;

  constructor(
    deps: ServiceDeps,
    hasher: PasswordHasher,
    throttle: Throttle,
    lastUsed: LastUsed,
    options: LoginOptions,
  ) {
    this.#deps = deps;
    this.#hasher = hasher;
    this.#throttle = throttle;
    this.#lastUsed = lastUsed;
    this.#options = options;
  }

  /**
   * Rejects with `denied` and the code ACCESS_LOGIN_WRONG for a wrong name or password alike (both take as long), with
   * `exhausted` when too many guesses wait.
   */
  async login(input: { username: string; password: string; clientAddress: string }): Promise<LoginResult> {
    const { clientAddress } = input;
    // The store could not even compare a NUL; such a name is nobody's.
    const username = input.username.normalize('NFC').toLowerCase().replaceAll('\0', '?');
    const verdict = this.#throttle.begin(username, clientAddress);
    if (verdict.refused) throw tooManyGuesses(verdict.retryAfterMs);
    if (verdict.delayMs > 0) await sleep(verdict.delayMs);

    const found = await this.#deps.db
      .selectFrom('users')
      .innerJoin('credentials', 'credentials.user_uid', 'users.uid')
      .where('users.username', '=', username)
      .where('users.deleted_us', 'is', null)
      .where('credentials.kind', '=', 'password')
      .where('credentials.revoked_us', 'is', null)
      .selectAll('users')
      .select(['credentials.hash', 'credentials.uid as credential_uid'])
      .select(['credentials.mysql_native', 'credentials.mysql_ed25519'])
      .executeTakeFirst();
    const matches = await this.#hasher.verify(found?.hash ?? null, input.password);
    if (!found || !matches || found.disabled) {
      this.#throttle.failed(username, clientAddress);
      await this.#recordFailure(username, clientAddress);
      throw new AppError('denied', 'ACCESS_LOGIN_WRONG', 'wrong username or password');
    }
    this.#throttle.succeeded(username, clientAddress);
    this.#lastUsed.touch(found.credential_uid);
    await this.#deps.mysql.learn({ ...found, uid: found.credential_uid }, input.password);
    const actor = toActor(found, 'token', null, clientAddress);
    return { ...(await this.#issue(actor)), actor };
  }

  /** The actor behind `Authorization: Bearer …`, or `null` when it is nobody (any more). */
  async authenticate(bearer: string, clientAddress: string): Promise<Actor | null> {
    if (looksLikeApiKey(bearer)) return this.#byApiKey(bearer, clientAddress);
    if (!TOKEN_FORM.test(bearer)) return null;
    const user = await this.#deps.db
      .selectFrom('tokens')
      .innerJoin('users', 'users.uid', 'tokens.user_uid')
      .where('tokens.hash', '=', hashSecret(bearer))
      .where('tokens.expires_us', '>', this.#deps.clock.wallUs())
      .where('users.disabled', '=', false)
      .where('users.deleted_us', 'is', null)
      .selectAll('users')
      .executeTakeFirst();
    return user ? toActor(user, 'token', null, clientAddress) : null;
  }

  /** Ends one token at once. */
  async logout(actor: Actor, bearer: string): Promise<void> {
    if (actor.via !== 'token') return;
    await this.#deps.changes.apply(
      { actor, action: 'logout', objectKind: 'login', objectUid: actor.uid, objectName: actor.name },
      async (transaction) => {
        await transaction.deleteFrom('tokens').where('hash', '=', hashSecret(bearer)).execute();
      },
    );
  }

  async #byApiKey(key: string, clientAddress: string): Promise<Actor | null> {
    if (!isApiKey(key)) return null;
    const now = this.#deps.clock.wallUs();
    const user = await this.#deps.db
      .selectFrom('credentials')
      .innerJoin('users', 'users.uid', 'credentials.user_uid')
      .where('credentials.hash', '=', hashSecret(key))
      .where('credentials.kind', '=', 'api_key')
      .where('credentials.revoked_us', 'is', null)
      .where((where) =>
        where.or([where('credentials.expires_us', 'is', null), where('credentials.expires_us', '>', now)]),
      )
      .where('users.disabled', '=', false)
      .where('users.deleted_us', 'is', null)
      .selectAll('users')
      .select(['credentials.hash', 'credentials.uid as credential_uid'])
      .select(['credentials.mysql_native', 'credentials.mysql_ed25519'])
      .executeTakeFirst();
    if (!user) return null;
    this.#lastUsed.touch(user.credential_uid);
    await this.#deps.mysql.learn({ ...user, uid: user.credential_uid }, key);
    return toActor(user, 'api_key', user.credential_uid, clientAddress);
  }

  async #issue(actor: Actor): Promise<{ token: string; expiresUs: number }> {
    const now = this.#deps.clock.wallUs();
    const expiresUs = now + this.#options.tokenLifetimeMs * 1000;
    const token = TOKEN_MARK + randomBytes(32).toString('base64url');
    await this.#deps.changes.apply(
      {
        actor,
        action: 'login',
        objectKind: 'login',
        objectUid: actor.uid,
        objectName: actor.name,
        after: { expires_us: expiresUs },
      },
      async (transaction) => {
        await transaction.deleteFrom('tokens').where('expires_us', '<=', now).execute();
        const surplus = await transaction
          .selectFrom('tokens')
          .where('user_uid', '=', actor.uid)
          .orderBy('created_us', 'desc')
          .offset(MAX_TOKENS_PER_USER - 1)
          .select('hash')
          .execute();
        for (const { hash } of surplus)
          await transaction.deleteFrom('tokens').where('hash', '=', hash).execute();
        await transaction
          .insertInto('tokens')
          .values({
            hash: hashSecret(token),
            user_uid: actor.uid,
            created_us: now,
            expires_us: expiresUs,
          })
          .execute();
      },
    );
    return { token, expiresUs };
  }

  async #recordFailure(username: string, clientAddress: string): Promise<void> {
    const actor: Actor = {
      uid: '',
      name: username.slice(0, 200),
      roles: [],
      via: 'token',
      credentialUid: null,
      clientAddress,
    };
    await this.#deps.changes.record({
      actor,
      action: 'login_failed',
      objectKind: 'login',
      objectUid: '',
      objectName: actor.name,
    });
  }
}

export function tooManyGuesses(retryAfterMs: number): AppError {
  return new AppError(
    'exhausted',
    'ACCESS_THROTTLED',
    `too many failed logins from this address; wait ${Math.ceil(retryAfterMs / 1000)} s and try again`,
    { details: { retry_after_ms: retryAfterMs } },
  );
}

function toActor(
  user: Selectable<UserTable>,
  via: Actor['via'],
  credentialUid: string | null,
  clientAddress: string,
): Actor {
  return {
    uid: user.uid,
    name: user.username,
    roles: user.roles as Role[],
    via,
    credentialUid,
    clientAddress,
  };
}
