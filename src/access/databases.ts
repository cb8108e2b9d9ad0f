/** Named access targets, with the upstream credentials that people never see. */
import type { Selectable, Transaction } from 'kysely';
import { AppError } from '../base/errors.ts';
import { newUid, type Uid } from '../base/ids.ts';
import type { EngineName, RecordingOptions, SslMode, UpstreamTarget } from '../model/access.ts';
import type { DatabaseTable, StoreSchema } from '../store/schema.ts';
import { demand, may, type Actor } from './actor.ts';
import type { ServiceDeps } from './changes.ts';
import { toPage, type Page, type PageRequest } from './page.ts';
import {
  checkRecording,
  formatRecording,
  parseRecording,
  withDefaults,
  type RecordingSettings,
} from './recording.ts';
import { checkHost, checkName, checkPort, checkText, checkUpstreamName, invalid } from './validate.ts';
import type { Vault } from './vault.ts';

/** How the upstream is reached; without any secret. */
export interface Connection {
  readonly serverUid: Uid;
  readonly host: string;
  readonly port: number;
  readonly databaseName: string;
  readonly username: string;
  readonly hasPassword: boolean;
  readonly sslMode: SslMode;
  readonly sslCa: string;
  readonly sslCert: string;
  readonly hasSslKey: boolean;
  readonly recording: RecordingOptions;
}

export interface Database {
  readonly uid: Uid;
  readonly name: string;
  readonly description: string;
  readonly protocol: EngineName;
  readonly createdUs: number;
  readonly updatedUs: number;
  /** `null` for those who may only connect. */
  readonly connection: Connection | null;
}

export interface DatabaseFields {
  readonly name?: string | undefined;
  readonly description?: string | undefined;
  readonly protocol?: EngineName | undefined;
  readonly host?: string | undefined;
  readonly port?: number | undefined;
  readonly databaseName?: string | undefined;
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  readonly sslMode?: SslMode | undefined;
  readonly sslCa?: string | undefined;
  readonly sslCert?: string | undefined;
  readonly sslKey?: string | undefined;
  readonly recording?: RecordingSettings | undefined;
}

export type NewDatabase = DatabaseFields & {
  readonly name: string;
  readonly host: string;
  readonly databaseName: string;
  readonly username: string;
};

type Row = Selectable<DatabaseTable>;

const DEFAULT_PORTS: Readonly<Record<EngineName, number>> = {
  postgres: 5432,
  mysql: 3306,
  mariadb: 3306,
  oracle: 1521,
};

const MAX_PEM_BYTES = 256 * 1024;

export class Databases {
  readonly #deps: ServiceDeps;

  constructor(deps: ServiceDeps) {
    this.#deps = deps;
  }

  async create(actor: Actor, input: NewDatabase): Promise<Database> {
    demand(actor, 'database.write');
    const { clock, vault, changes } = this.#deps;
    const now = clock.wallUs();
    const uid = newUid(clock);
    const protocol = input.protocol ?? 'postgres';
    const blank: Row = {
      uid,
      name: '',
      description: '',
      protocol,
      server_uid: '',
      host: '',
      port: DEFAULT_PORTS[protocol],
      database_name: '',
      username: '',
      password_sealed: vault.seal('', uid, 'password'),
      ssl_mode: 'prefer',
      ssl_ca: '',
      ssl_cert: '',
      ssl_key_sealed: vault.seal('', uid, 'ssl_key'),
      recording: '{}',
      deleted_us: null,
      created_us: now,
      updated_us: now,
    };
    const row = this.#merge(blank, input, now);
    return changes.exclusive(async () => {
      await this.#checkNameFree(row.name, uid);
      const saved = { ...row, ...(await this.#serverOf(row)) };
      await changes.apply(
        {
          actor,
          action: 'create',
          objectKind: 'database',
          objectUid: uid,
          objectName: row.name,
          after: describe(saved),
        },
        async (transaction) => {
          await this.#saveServer(transaction, saved);
          await transaction.insertInto('databases').values(saved).execute();
        },
        [{ kind: 'database', uid }],
      );
      return this.#view(saved, true);
    });
  }

  /** All by role; for connectors those they have a grant for, now or later, without how they are reached. */
  async list(actor: Actor, page: PageRequest): Promise<Page<Database>> {
    const all = may(actor, 'database.read');
    let query = this.#live()
      .selectAll()
      .orderBy('uid')
      .limit(page.limit + 1);
    if (!all) query = query.where('uid', 'in', this.#granted(actor));
    if (page.after !== null) query = query.where('uid', '>', page.after);
    return toPage(await query.execute(), page.limit, (row) => this.#view(row, all));
  }

  async get(actor: Actor, uid: Uid): Promise<Database> {
    const all = may(actor, 'database.read');
    let query = this.#live().where('uid', '=', uid).selectAll();
    if (!all) query = query.where('uid', 'in', this.#granted(actor));
    const row = await query.executeTakeFirst();
    if (!row) throw notFound();
    return this.#view(row, all);
  }

  /** By name, for the CLI. */
  async find(actor: Actor, name: string): Promise<Database> {
    demand(actor, 'database.read');
    const row = await this.#live().where('name', '=', name.normalize('NFC')).selectAll().executeTakeFirst();
    if (!row) throw notFound();
    return this.#view(row, true);
  }

  /** Counts for sessions that are opened from now on. */
  async update(actor: Actor, uid: Uid, update: DatabaseFields): Promise<Database> {
    demand(actor, 'database.write');
    return this.#deps.changes.exclusive(async () => {
      const before = await this.#live().where('uid', '=', uid).selectAll().executeTakeFirst();
      if (!before) throw notFound();
      const merged = this.#merge(before, update, this.#deps.clock.wallUs());
      this.#refuseRedirectByKey(actor, before, merged, update);
      await this.#checkNameFree(merged.name, uid);
      const after = { ...merged, ...(await this.#serverOf(merged)) };
      const secrets = [
        ...(update.password === undefined ? [] : ['password']),
        ...(update.sslKey === undefined ? [] : ['ssl_key']),
      ];
      await this.#deps.changes.apply(
        {
          actor,
          action: 'update',
          objectKind: 'database',
          objectUid: uid,
          objectName: before.name,
          before: describe(before),
          after: { ...describe(after), changed_secrets: secrets },
        },
        async (transaction) => {
          await this.#saveServer(transaction, after);
          const { uid: _uid, created_us: _created, ...fields } = after;
          await transaction.updateTable('databases').set(fields).where('uid', '=', uid).execute();
        },
        [{ kind: 'database', uid }],
      );
      return this.#view(after, true);
    });
  }

  /** Refused while a grant for it could still be used: revoke first. */
  async delete(actor: Actor, uid: Uid): Promise<void> {
    demand(actor, 'database.write');
    await this.#deps.changes.exclusive(async () => {
      const before = await this.#live().where('uid', '=', uid).selectAll().executeTakeFirst();
      if (!before) throw notFound();
      const now = this.#deps.clock.wallUs();
      const grants = await this.#deps.db
        .selectFrom('grants')
        .where('database_uid', '=', uid)
        .where('revoked_us', 'is', null)
        .where('expires_us', '>', now)
        .select((count) => count.fn.countAll<number>().as('active'))
        .executeTakeFirstOrThrow();
      const { active } = grants;
      if (active > 0)
        throw new AppError(
          'conflict',
          'ACCESS_DATABASE_GRANTED',
          `${before.name} has ${active} active grant${active === 1 ? '' : 's'}; revoke ${active === 1 ? 'it' : 'them'} first`,
          { details: { active_grants: active } },
        );
      await this.#deps.changes.apply(
        {
          actor,
          action: 'delete',
          objectKind: 'database',
          objectUid: uid,
          objectName: before.name,
          before: describe(before),
        },
        async (transaction) => {
          // The secrets go now; the row stays so that old grants and sessions keep a name.
          const gone = new Uint8Array(0);
          await transaction
            .updateTable('databases')
            .set({ deleted_us: now, updated_us: now, password_sealed: gone, ssl_key_sealed: gone })
            .where('uid', '=', uid)
            .execute();
        },
        [{ kind: 'database', uid }],
      );
    });
  }

  /** Seals again what an older key sealed. @returns how many databases were touched. */
  async reseal(): Promise<number> {
    const { db, vault } = this.#deps;
    const rows = await this.#live().selectAll().execute();
    let count = 0;
    for (const row of rows) {
      if (vault.isCurrent(row.password_sealed) && vault.isCurrent(row.ssl_key_sealed)) continue;
      const password_sealed = vault.seal(
        vault.open(row.password_sealed, row.uid, 'password'),
        row.uid,
        'password',
      );
      const ssl_key_sealed = vault.seal(
        vault.open(row.ssl_key_sealed, row.uid, 'ssl_key'),
        row.uid,
        'ssl_key',
      );
      await db
        .updateTable('databases')
        .set({ password_sealed, ssl_key_sealed })
        .where('uid', '=', row.uid)
        .execute();
      count++;
    }
    return count;
  }

  /** Fields of `update` over those of `row`, all checked. */
  #merge(row: Row, update: DatabaseFields, now: number): Row {
    const { vault } = this.#deps;
    const { uid } = row;
    const password = update.password === undefined ? null : checkSecretText('password', update.password);
    const sslKey = update.sslKey === undefined ? null : checkPem('ssl_key', update.sslKey);
    const settings = {
      ...parseRecording(row.recording, uid),
      ...checkRecording(update.recording ?? {}),
    };
    return {
      ...row,
      name: checkName('name', update.name ?? row.name),
      description: checkText('description', update.description ?? row.description, 2000),
      protocol: update.protocol ?? row.protocol,
      host: checkHost(update.host ?? row.host),
      port: checkPort(update.port ?? row.port),
      database_name: checkUpstreamName('database_name', update.databaseName ?? row.database_name),
      username: checkUpstreamName('username', update.username ?? row.username),
      password_sealed: password === null ? row.password_sealed : vault.seal(password, uid, 'password'),
      ssl_mode: update.sslMode ?? row.ssl_mode,
      ssl_ca: checkPem('ssl_ca', update.sslCa ?? row.ssl_ca),
      ssl_cert: checkPem('ssl_cert', update.sslCert ?? row.ssl_cert),
      ssl_key_sealed: sslKey === null ? row.ssl_key_sealed : vault.seal(sslKey, uid, 'ssl_key'),
      recording: formatRecording(settings),
      updated_us: now,
    };
  }

  // Pointing a database elsewhere sends its stored password there. A leaked key must not be able to fetch it that way.
  #refuseRedirectByKey(actor: Actor, before: Row, after: Row, update: DatabaseFields): void {
    if (actor.via !== 'api_key' || update.password !== undefined) return;
    const fields = ['host', 'port', 'protocol', 'ssl_mode', 'ssl_ca'] as const;
    if (fields.some((field) => before[field] !== after[field]))
      throw new AppError(
        'denied',
        'ACCESS_API_KEY_LIMITED',
        'an API key cannot point stored credentials at another server; give the password in the same request',
      );
  }

  async #checkNameFree(name: string, uid: Uid): Promise<void> {
    const taken = await this.#live()
      .where('name', '=', name)
      .where('uid', '!=', uid)
      .select('uid')
      .executeTakeFirst();
    if (taken)
      throw new AppError(
        'conflict',
        'ACCESS_NAME_TAKEN',
        `there is already a database named ${name}; choose another name`,
      );
  }

  /** The server at that address: a known one, or a new uid for {@link #saveServer}. */
  async #serverOf(row: Row): Promise<{ server_uid: Uid }> {
    const known = await this.#deps.db
      .selectFrom('servers')
      .where('engine', '=', row.protocol)
      .where('host', '=', row.host.toLowerCase())
      .where('port', '=', row.port)
      .select('uid')
      .executeTakeFirst();
    return { server_uid: known?.uid ?? newUid(this.#deps.clock) };
  }

  async #saveServer(transaction: Transaction<StoreSchema>, row: Row): Promise<void> {
    await transaction
      .insertInto('servers')
      .values({
        uid: row.server_uid,
        engine: row.protocol,
        host: row.host.toLowerCase(),
        port: row.port,
        created_us: row.updated_us,
      })
      .onConflict((conflict) => conflict.column('uid').doNothing())
      .execute();
  }

  #granted(actor: Actor) {
    return this.#deps.db
      .selectFrom('grants')
      .where('user_uid', '=', actor.uid)
      .where('revoked_us', 'is', null)
      .where('expires_us', '>', this.#deps.clock.wallUs())
      .select('database_uid');
  }

  #live() {
    return this.#deps.db.selectFrom('databases').where('deleted_us', 'is', null);
  }

  #view(row: Row, all: boolean): Database {
    const { uid, name, description } = row;
    const connection = all ? this.#connection(row) : null;
    const protocol = row.protocol as EngineName;
    return {
      uid,
      name,
      description,
      protocol,
      createdUs: row.created_us,
      updatedUs: row.updated_us,
      connection,
    };
  }

  #connection(row: Row): Connection {
    const { vault } = this.#deps;
    return {
      serverUid: row.server_uid,
      host: row.host,
      port: row.port,
      databaseName: row.database_name,
      username: row.username,
      hasPassword: vault.sealedBytes(row.password_sealed) > 0,
      sslMode: row.ssl_mode as SslMode,
      sslCa: row.ssl_ca,
      sslCert: row.ssl_cert,
      hasSslKey: vault.sealedBytes(row.ssl_key_sealed) > 0,
      recording: withDefaults(parseRecording(row.recording, row.uid)),
    };
  }
}

/** For the authority alone: the upstream with its secrets opened. */
export function openTarget(vault: Vault, row: Row): UpstreamTarget {
  return {
    serverUid: row.server_uid,
    engine: row.protocol as EngineName,
    host: row.host,
    port: row.port,
    databaseName: row.database_name,
    username: row.username,
    password: vault.open(row.password_sealed, row.uid, 'password').toString(),
    sslMode: row.ssl_mode as SslMode,
    sslCa: row.ssl_ca,
    sslCert: row.ssl_cert,
    sslKey: vault.open(row.ssl_key_sealed, row.uid, 'ssl_key').toString(),
  };
}

function checkSecretText(field: string, text: string): string {
  if (Buffer.byteLength(text) > 1024 || text.includes('\0'))
    throw invalid(field, 'at most 1024 bytes, without the character NUL');
  return text;
}

function checkPem(field: string, given: string): string {
  const text = given.replace(/\0+$/, ''); // MySQL writes one behind the key in its public_key.pem
  if (text !== '' && !/^\s*-----BEGIN [A-Z0-9 ]+-----/.test(text))
    throw invalid(field, 'must be PEM, beginning with "-----BEGIN"');
  return checkText(field, text, MAX_PEM_BYTES);
}

function notFound(): AppError {
  return new AppError('not-found', 'ACCESS_DATABASE_UNKNOWN', 'there is no such database');
}

/** For the journal: how it is reached, without secrets. */
function describe(row: Row): Record<string, unknown> {
  const { name, description, protocol, host, port, database_name, username, ssl_mode, ssl_ca, ssl_cert } =
    row;
  return {
    name,
    description,
    protocol,
    host,
    port,
    database_name,
    username,
    ssl_mode,
    ssl_ca,
    ssl_cert,
    recording: parseRecording(row.recording, row.uid),
  };
}
