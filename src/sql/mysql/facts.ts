/** What reading a statement gathers. */
import type { Classification } from '../../model/statement.ts';
import { unparsed } from '../unparsed.ts';

/** What MySQL and MariaDB add to a Classification, for their engine. */
export interface MysqlClassification extends Classification {
  /** The database that USE goes to; '' without one. */
  readonly database: string;
  /** Databases by which tables and routines are named. A name without one belongs to the session's current database. */
  readonly schemas: readonly string[];
  /** Calls something that is not known to be built in: a stored function or a UDF. See `functions.ts`. */
  readonly unknownFunctions: boolean;
  /** The server commits the open transaction before it runs the statement: what follows is in no READ ONLY transaction. */
  readonly implicitCommit: boolean;
  /** Changes sql_mode or the character set of the client, so that later texts mean something else. */
  readonly changesReading: boolean;
}

export type Flag = 'writes' | 'ddl' | 'copy' | 'serverFiles' | 'escapesReadOnly' | 'opaque';

/** Names of tables kept for search; a statement that names more is found by the first ones. */
const MAX_TABLES = 100;

export class Facts {
  verb = '';
  transaction: Classification['transaction'] = 'none';
  prepares = '';
  executes = '';
  database = '';
  unknownFunctions = false;
  implicitCommit = false;
  changesReading = false;
  /** Complete statements. */
  statements = 0;
  /** Why nothing else holds; '' as long as it does. */
  obscurity = '';
  readonly #flags = new Map<Flag, string>();
  readonly #tables = new Set<string>();
  readonly #schemas = new Set<string>();

  flag(flag: Flag, because: string): void {
    if (!this.#flags.has(flag)) this.#flags.set(flag, because);
  }

  has(flag: Flag): boolean {
    return this.#flags.has(flag);
  }

  obscure(why: string): void {
    if (this.obscurity === '') this.obscurity = why;
  }

  table(schema: string, name: string): void {
    if (schema !== '') this.schema(schema);
    if (this.#tables.size < MAX_TABLES) this.#tables.add(schema === '' ? name : `${schema}.${name}`);
  }

  schema(name: string): void {
    if (this.#schemas.size < MAX_TABLES) this.#schemas.add(name);
  }

  /** What another reading of the same text may do, too. */
  merge(other: Facts): void {
    if (other.obscurity !== '') this.obscure(other.obscurity);
    if (other.statements === 0) return;
    this.#take(other, '');
    const same =
      this.statements === 0 ||
      (this.prepares === other.prepares &&
        this.executes === other.executes &&
        this.transaction === other.transaction &&
        this.database === other.database);
    if (!same) this.obscure('the sql_mode, or the version of the server, decides what this text does');
    if (this.statements > 0) return;
    this.verb = other.verb;
    this.prepares = other.prepares;
    this.executes = other.executes;
    this.transaction = other.transaction;
    this.database = other.database;
    this.statements = other.statements;
  }

  /** The next statement of the same text. What several of them do is put together; what they prepare cannot be. */
  append(next: Facts): void {
    if (next.obscurity !== '') this.obscure(next.obscurity);
    this.#take(next, '');
    const isFirst = this.statements === 0;
    this.statements += next.statements;
    if (!isFirst) {
      if (`${this.prepares}${this.executes}${next.prepares}${next.executes}` !== '')
        this.obscure('PREPARE or EXECUTE among several statements');
      if (next.transaction !== 'none') this.transaction = 'other';
      if (next.database !== '') this.database = next.database;
      return;
    }
    this.verb = next.verb;
    this.prepares = next.prepares;
    this.executes = next.executes;
    this.transaction = next.transaction;
    this.database = next.database;
  }

  /** SQL given as text, that this statement runs or prepares. */
  include(inner: Facts): void {
    if (inner.obscurity !== '' || inner.statements !== 1 || inner.executes !== '' || inner.prepares !== '')
      this.flag('opaque', 'SQL given as text that cannot be understood');
    this.#take(inner, ', in SQL given as text');
  }

  #take(other: Facts, suffix: string): void {
    for (const [flag, because] of other.#flags) this.flag(flag, `${because}${suffix}`);
    for (const name of other.#tables) if (this.#tables.size < MAX_TABLES) this.#tables.add(name);
    for (const name of other.#schemas) this.schema(name);
    this.unknownFunctions ||= other.unknownFunctions;
    this.implicitCommit ||= other.implicitCommit;
    this.changesReading ||= other.changesReading;
  }

  classification(): MysqlClassification {
    if (this.obscurity !== '') return unread(this.obscurity);
    const flags = this.#flags;
    const because =
      flags.get('escapesReadOnly') ??
      flags.get('opaque') ??
      flags.get('serverFiles') ??
      flags.get('writes') ??
      flags.get('ddl') ??
      flags.get('copy') ??
      '';
    return {
      parsed: true,
      verb: this.verb,
      writes: flags.has('writes'),
      ddl: flags.has('ddl'),
      copy: flags.has('copy'),
      serverFiles: flags.has('serverFiles'),
      escapesReadOnly: flags.has('escapesReadOnly'),
      resets: false,
      opaque: flags.has('opaque'),
      because,
      tables: [...this.#tables],
      prepares: this.prepares,
      executes: this.executes,
      transaction: this.transaction,
      database: this.database,
      schemas: [...this.#schemas],
      unknownFunctions: this.unknownFunctions,
      implicitCommit: this.implicitCommit,
      changesReading: this.changesReading,
    };
  }
}

export function unread(because: string): MysqlClassification {
  return {
    ...unparsed(because),
    database: '',
    schemas: [],
    // Nothing is known of it, so the careful answer.
    unknownFunctions: true,
    implicitCommit: true,
    changesReading: true,
  };
}
