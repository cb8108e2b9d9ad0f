/** Grants: user × database × controls × time window × quotas. A grant is never deleted, only revoked. */
import { sql, type Selectable } from 'kysely';
import { AppError } from '../base/errors.ts';
import { newUid, type Uid } from '../base/ids.ts';
import type { Control } from '../model/access.ts';
import type { GrantTable } from '../store/schema.ts';
import { demand, may, type Actor } from './actor.ts';
import type { ServiceDeps } from './changes.ts';
import { toPage, type Page, type PageRequest } from './page.ts';
import { checkControls, checkQuota, checkText, checkTime, invalid } from './validate.ts';

export type GrantState = 'pending' | 'active' | 'expired' | 'revoked' | 'used_up';

export interface Grant {
  readonly uid: Uid;
  readonly userUid: Uid;
  readonly userName: string;
  readonly databaseUid: Uid;
  readonly databaseName: string;
  readonly controls: readonly Control[];
  readonly startsUs: number;
  readonly expiresUs: number;
  readonly maxQueryCounts: number | null;
  readonly maxBytesTransferred: number | null;
  readonly reason: string;
  readonly createdUs: number;
  readonly createdBy: string;
  readonly revokedUs: number | null;
  readonly revokedBy: string | null;
  /** As the index knows it: it may be a second behind. */
  readonly usedQueries: number;
  readonly usedBytes: number;
  readonly state: GrantState;
}

export interface NewGrant {
  readonly userUid: Uid;
  readonly databaseUid: Uid;
  readonly controls?: readonly string[] | undefined;
  /** Default: now. */
  readonly startsUs?: number | undefined;
  readonly expiresUs: number;
  readonly maxQueryCounts?: number | null | undefined;
  readonly maxBytesTransferred?: number | null | undefined;
  readonly reason?: string | undefined;
}

/** What is `undefined` stays. Whom and what a grant is for never changes: make another one. */
export type GrantUpdate = {
  readonly [Term in Exclude<keyof NewGrant, 'userUid' | 'databaseUid'>]?: NewGrant[Term] | undefined;
};

export interface GrantFilter {
  readonly userUid?: Uid | undefined;
  readonly databaseUid?: Uid | undefined;
  /** Only those that could be used at this moment (`true`) or could not (`false`), quotas aside. */
  readonly active?: boolean | undefined;
}

export class Grants {
  readonly #deps: ServiceDeps;

  constructor(deps: ServiceDeps) {
    this.#deps = deps;
  }

  async create(actor: Actor, input: NewGrant): Promise<Grant> {
    demand(actor, 'grant.give');
    const { clock, changes } = this.#deps;
    const now = clock.wallUs();
    const row: GrantTable = {
      uid: newUid(clock),
      user_uid: input.userUid,
      database_uid: input.databaseUid,
      ...checkTerms({
        controls: input.controls ?? [],
        starts_us: input.startsUs ?? now,
        expires_us: input.expiresUs,
        max_query_counts: input.maxQueryCounts ?? null,
        max_bytes_transferred: input.maxBytesTransferred ?? null,
        reason: input.reason ?? '',
      }),
      created_us: now,
      created_by: actor.name,
      revoked_us: null,
      revoked_by: null,
    };
    return changes.exclusive(async () => {
      const names = await this.#names(input.userUid, input.databaseUid);
      await changes.apply(
        {
          actor,
          action: 'create',
          objectKind: 'grant',
          objectUid: row.uid,
          objectName: `${names.user_name} → ${names.database_name}`,
          after: describe(row),
        },
        async (transaction) => {
          await transaction.insertInto('grants').values(row).execute();
        },
        [{ kind: 'grant', uid: row.uid }],
      );
      return view({ ...row, ...names, used_statements: null, used_bytes: null }, now);
    });
  }

  /** Everybody's by role, else one's own. */
  async list(actor: Actor, page: PageRequest, filter: GrantFilter = {}): Promise<Page<Grant>> {
    const owner = may(actor, 'grant.read') ? filter.userUid : actor.uid;
    if (filter.userUid !== undefined && filter.userUid !== owner) demand(actor, 'grant.read');
    const now = this.#deps.clock.wallUs();
    let query = this.#rows()
      .orderBy('grants.uid')
      .limit(page.limit + 1);
    if (owner !== undefined) query = query.where('grants.user_uid', '=', owner);
    if (filter.databaseUid !== undefined) query = query.where('grants.database_uid', '=', filter.databaseUid);
    if (filter.active !== undefined) {
      const usable = sql<boolean>`(grants.revoked_us is null and grants.starts_us <= ${now} and grants.expires_us > ${now})`;
      query = query.where(filter.active ? usable : sql<boolean>`not ${usable}`);
    }
    if (page.after !== null) query = query.where('grants.uid', '>', page.after);
    return toPage(await query.execute(), page.limit, (row) => view(row, now));
  }

  async get(actor: Actor, uid: Uid): Promise<Grant> {
    const row = await this.#row(uid);
    if (row.user_uid !== actor.uid && !may(actor, 'grant.read')) throw notFound();
    return view(row, this.#deps.clock.wallUs());
  }

  /** Terms that become tighter end the running sessions of the grant; wider ones count for new sessions. */
  async update(actor: Actor, uid: Uid, update: GrantUpdate): Promise<Grant> {
    demand(actor, 'grant.give');
    return this.#deps.changes.exclusive(async () => {
      const before = await this.#row(uid);
      if (before.revoked_us !== null)
        throw new AppError(
          'conflict',
          'ACCESS_GRANT_REVOKED',
          'a revoked grant cannot be changed; create a new one',
        );
      const terms = checkTerms({
        controls: update.controls ?? before.controls,
        starts_us: update.startsUs ?? before.starts_us,
        expires_us: update.expiresUs ?? before.expires_us,
        max_query_counts:
          update.maxQueryCounts === undefined ? before.max_query_counts : update.maxQueryCounts,
        max_bytes_transferred:
          update.maxBytesTransferred === undefined
            ? before.max_bytes_transferred
            : update.maxBytesTransferred,
        reason: update.reason ?? before.reason,
      });
      await this.#deps.changes.apply(
        {
          actor,
          action: 'update',
          objectKind: 'grant',
          objectUid: uid,
          objectName: objectName(before),
          before: describe(before),
          after: describe({ ...before, ...terms }),
        },
        async (transaction) => {
          await transaction.updateTable('grants').set(terms).where('uid', '=', uid).execute();
        },
        [{ kind: 'grant', uid }],
      );
      return view({ ...before, ...terms }, this.#deps.clock.wallUs());
    });
  }

  /** Ends its sessions within a second. Revoking twice is fine. */
  async revoke(actor: Actor, uid: Uid): Promise<Grant> {
    demand(actor, 'grant.revoke');
    return this.#deps.changes.exclusive(async () => {
      const before = await this.#row(uid);
      const now = this.#deps.clock.wallUs();
      if (before.revoked_us !== null) return view(before, now);
      const revoked = { revoked_us: now, revoked_by: actor.name };
      await this.#deps.changes.apply(
        {
          actor,
          action: 'revoke',
          objectKind: 'grant',
          objectUid: uid,
          objectName: objectName(before),
          before: describe(before),
        },
        async (transaction) => {
          await transaction.updateTable('grants').set(revoked).where('uid', '=', uid).execute();
        },
        [{ kind: 'grant', uid }],
      );
      return view({ ...before, ...revoked }, now);
    });
  }

  async #names(userUid: Uid, databaseUid: Uid): Promise<{ user_name: string; database_name: string }> {
    const { db } = this.#deps;
    const user = await db
      .selectFrom('users')
      .where('uid', '=', userUid)
      .where('deleted_us', 'is', null)
      .select('username')
      .executeTakeFirst();
    if (!user) throw invalid('user_id', 'there is no such user');
    const database = await db
      .selectFrom('databases')
      .where('uid', '=', databaseUid)
      .where('deleted_us', 'is', null)
      .select('name')
      .executeTakeFirst();
    if (!database) throw invalid('database_id', 'there is no such database');
    return { user_name: user.username, database_name: database.name };
  }

  async #row(uid: Uid): Promise<GrantRow> {
    const row = await this.#rows().where('grants.uid', '=', uid).executeTakeFirst();
    if (!row) throw notFound();
    return row;
  }

  #rows() {
    return this.#deps.db
      .selectFrom('grants')
      .innerJoin('users', 'users.uid', 'grants.user_uid')
      .innerJoin('databases', 'databases.uid', 'grants.database_uid')
      .leftJoin('grant_usage', 'grant_usage.grant_uid', 'grants.uid')
      .selectAll('grants')
      .select([
        'users.username as user_name',
        'databases.name as database_name',
        'grant_usage.statements as used_statements',
        'grant_usage.bytes as used_bytes',
      ]);
  }
}

type GrantRow = Selectable<GrantTable> & {
  user_name: string;
  database_name: string;
  used_statements: number | null;
  used_bytes: number | null;
};

type Terms = Pick<
  GrantTable,
  'controls' | 'starts_us' | 'expires_us' | 'max_query_counts' | 'max_bytes_transferred' | 'reason'
>;

function checkTerms(terms: Omit<Terms, 'controls'> & { controls: readonly string[] }): Terms {
  const starts = checkTime('starts_at', terms.starts_us);
  const expires = checkTime('expires_at', terms.expires_us);
  if (expires <= starts) throw invalid('expires_at', 'must be after starts_at');
  return {
    controls: checkControls(terms.controls),
    starts_us: starts,
    expires_us: expires,
    max_query_counts: checkQuota('max_query_counts', terms.max_query_counts),
    max_bytes_transferred: checkQuota('max_bytes_transferred', terms.max_bytes_transferred),
    reason: checkText('reason', terms.reason, 2000),
  };
}

function objectName(row: GrantRow): string {
  return `${row.user_name} → ${row.database_name}`;
}

function notFound(): AppError {
  return new AppError('not-found', 'ACCESS_GRANT_UNKNOWN', 'there is no such grant');
}

function stateOf(row: GrantRow, now: number): GrantState {
  if (row.revoked_us !== null) return 'revoked';
  if (row.expires_us <= now) return 'expired';
  if (row.starts_us > now) return 'pending';
  const queries = row.max_query_counts !== null && (row.used_statements ?? 0) >= row.max_query_counts;
  const bytes = row.max_bytes_transferred !== null && (row.used_bytes ?? 0) >= row.max_bytes_transferred;
  return queries || bytes ? 'used_up' : 'active';
}

function view(row: GrantRow, now: number): Grant {
  return {
    uid: row.uid,
    userUid: row.user_uid,
    userName: row.user_name,
    databaseUid: row.database_uid,
    databaseName: row.database_name,
    controls: row.controls as Control[],
    startsUs: row.starts_us,
    expiresUs: row.expires_us,
    maxQueryCounts: row.max_query_counts,
    maxBytesTransferred: row.max_bytes_transferred,
    reason: row.reason,
    createdUs: row.created_us,
    createdBy: row.created_by,
    revokedUs: row.revoked_us,
    revokedBy: row.revoked_by,
    usedQueries: row.used_statements ?? 0,
    usedBytes: row.used_bytes ?? 0,
    state: stateOf(row, now),
  };
}

function describe(row: Selectable<GrantTable>): Record<string, unknown> {
  const {
    user_uid,
    database_uid,
    controls,
    starts_us,
    expires_us,
    max_query_counts,
    max_bytes_transferred,
    reason,
  } = row;
  return {
    user_uid,
    database_uid,
    controls,
    starts_us,
    expires_us,
    max_query_counts,
    max_bytes_transferred,
    reason,
  };
}
