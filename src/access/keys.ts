/** API keys: further secrets of a user, for programs. Each one also works as a database password (one salt per user). */
import type { Selectable } from 'kysely';
import { AppError } from '../base/errors.ts';
import { newUid, type Uid } from '../base/ids.ts';
import type { CredentialTable } from '../store/schema.ts';
import { demand, may, type Actor } from './actor.ts';
import { generateApiKey } from './apikeys.ts';
import type { ServiceDeps } from './changes.ts';
import { toPage, type Page, type PageRequest } from './page.ts';
import { makeScramKeys } from './passwords.ts';
import { checkText, checkTime, invalid } from './validate.ts';

export interface ApiKey {
  readonly uid: Uid;
  readonly userUid: Uid;
  readonly userName: string;
  readonly name: string;
  readonly prefix: string;
  readonly expiresUs: number | null;
  readonly revokedUs: number | null;
  readonly lastUsedUs: number | null;
  readonly createdUs: number;
  readonly createdBy: string;
}

export interface NewApiKey {
  /** `undefined`: the actor's own. */
  readonly userUid?: Uid | undefined;
  readonly name?: string | undefined;
  readonly expiresUs?: number | null | undefined;
}

/** A login tries every key of a user against the proof, so there are only so many. */
const MAX_KEYS_PER_USER = 50;

export class Keys {
  readonly #deps: ServiceDeps;

  constructor(deps: ServiceDeps) {
    this.#deps = deps;
  }

  /** @returns the key and its secret, which is never shown again. */
  async create(actor: Actor, input: NewApiKey): Promise<{ key: ApiKey; secret: string }> {
    const userUid = input.userUid ?? actor.uid;
    demand(actor, userUid === actor.uid ? 'key.create_own' : 'key.create_for_others');
    if (userUid === '') throw invalid('user_id', 'the local administrator has no keys; name the user');
    const { clock, db, vault, changes, mysql } = this.#deps;
    const now = clock.wallUs();
    const expires = input.expiresUs ?? null;
    if (expires !== null && checkTime('expires_at', expires) <= now)
      throw invalid('expires_at', 'must be in the future');
    const name = checkText('name', input.name ?? '', 100);
    return changes.exclusive(async () => {
      const user = await db
        .selectFrom('users')
        .where('uid', '=', userUid)
        .where('deleted_us', 'is', null)
        .selectAll()
        .executeTakeFirst();
      if (!user) throw invalid('user_id', 'there is no such user');
      await this.#checkCount(userUid, now);
      const secret = generateApiKey();
      const keys = await makeScramKeys(secret.key, user.scram_salt, user.scram_iterations);
      const uid = newUid(clock);
      const row: CredentialTable = {
        uid,
        user_uid: userUid,
        kind: 'api_key',
        name,
        prefix: secret.prefix,
        hash: secret.hash,
        scram_stored_key: vault.seal(keys.storedKey, uid, 'scram_stored_key'),
        scram_server_key: vault.seal(keys.serverKey, uid, 'scram_server_key'),
        ...mysql.columns(uid, secret.key),
        expires_us: expires,
        revoked_us: null,
        last_used_us: null,
        created_us: now,
        created_by: actor.name,
      };
      await changes.apply(
        {
          actor,
          action: 'create',
          objectKind: 'key',
          objectUid: uid,
          objectName: name,
          after: { user_id: userUid, username: user.username, prefix: secret.prefix, expires_us: expires },
        },
        async (transaction) => {
          await transaction.insertInto('credentials').values(row).execute();
        },
      );
      return { key: view({ ...row, user_name: user.username }), secret: secret.key };
    });
  }

  /** One's own, or by role everybody's (`userUid` narrows it down). */
  async list(actor: Actor, page: PageRequest, userUid?: Uid): Promise<Page<ApiKey>> {
    const owner = may(actor, 'key.read') ? userUid : actor.uid;
    if (userUid !== undefined && userUid !== owner) demand(actor, 'key.read');
    let query = this.#rows()
      .orderBy('credentials.uid')
      .limit(page.limit + 1);
    if (owner !== undefined) query = query.where('credentials.user_uid', '=', owner);
    if (page.after !== null) query = query.where('credentials.uid', '>', page.after);
    return toPage(await query.execute(), page.limit, view);
  }

  async get(actor: Actor, uid: Uid): Promise<ApiKey> {
    const row = await this.#rows().where('credentials.uid', '=', uid).executeTakeFirst();
    if (!row || (row.user_uid !== actor.uid && !may(actor, 'key.read'))) throw notFound();
    return view(row);
  }

  /** Revoking twice is fine. Ends the sessions that were opened with it. */
  async revoke(actor: Actor, uid: Uid): Promise<void> {
    await this.#deps.changes.exclusive(async () => {
      const key = await this.get(actor, uid);
      if (key.userUid !== actor.uid) demand(actor, 'key.revoke');
      if (key.revokedUs !== null) return;
      const now = this.#deps.clock.wallUs();
      await this.#deps.changes.apply(
        {
          actor,
          action: 'revoke',
          objectKind: 'key',
          objectUid: uid,
          objectName: key.name,
          before: { user_id: key.userUid, username: key.userName, prefix: key.prefix },
        },
        async (transaction) => {
          await transaction
            .updateTable('credentials')
            .set({ revoked_us: now })
            .where('uid', '=', uid)
            .execute();
        },
        [{ kind: 'credential', uid }],
      );
    });
  }

  async #checkCount(userUid: Uid, now: number): Promise<void> {
    const live = await this.#deps.db
      .selectFrom('credentials')
      .where('user_uid', '=', userUid)
      .where('kind', '=', 'api_key')
      .where('revoked_us', 'is', null)
      .where((where) => where.or([where('expires_us', 'is', null), where('expires_us', '>', now)]))
      .select('uid')
      .limit(MAX_KEYS_PER_USER)
      .execute();
    if (live.length >= MAX_KEYS_PER_USER)
      throw new AppError(
        'conflict',
        'ACCESS_TOO_MANY_KEYS',
        `a user may have ${MAX_KEYS_PER_USER} API keys at a time; revoke one first`,
      );
  }

  #rows() {
    return this.#deps.db
      .selectFrom('credentials')
      .innerJoin('users', 'users.uid', 'credentials.user_uid')
      .where('credentials.kind', '=', 'api_key')
      .selectAll('credentials')
      .select('users.username as user_name');
  }
}

function notFound(): AppError {
  return new AppError('not-found', 'ACCESS_KEY_UNKNOWN', 'there is no such API key');
}

function view(row: Selectable<CredentialTable> & { user_name: string }): ApiKey {
  return {
    uid: row.uid,
    userUid: row.user_uid,
    userName: row.user_name,
    name: row.name,
    prefix: row.prefix,
    expiresUs: row.expires_us,
    revokedUs: row.revoked_us,
    lastUsedUs: row.last_used_us,
    createdUs: row.created_us,
    createdBy: row.created_by,
  };
}
