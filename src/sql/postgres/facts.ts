/** What a walk over a statement's tree gathers. */
import type { Classification } from '../../model/statement.ts';

export type Flag = 'writes' | 'ddl' | 'copy' | 'serverFiles' | 'escapesReadOnly' | 'resets' | 'opaque';

/** Names of tables kept for search; a statement that names more is found by the first ones. */
const MAX_TABLES = 100;

export class Facts {
  verb = '';
  transaction: Classification['transaction'] = 'none';
  prepares = '';
  executes = '';
  /** Statements at top level. */
  statements = 0;
  /** A constant's value decided something, so the answer is not the same for every text of this shape. */
  constantsMatter = false;
  /** Byte offsets of the constants that stand where any other constant of their type could stand. */
  readonly constantsAt: number[] = [];
  /** Constant SQL texts that the statement hands to functions which run them. */
  readonly nested: string[] = [];
  readonly #flags = new Map<Flag, string>();
  readonly #tables = new Set<string>();
  readonly #queries = new Set<string>();

  flag(flag: Flag, because: string): void {
    if (!this.#flags.has(flag)) this.#flags.set(flag, because);
  }

  has(flag: Flag): boolean {
    return this.#flags.has(flag);
  }

  table(name: string): void {
    if (this.#tables.size < MAX_TABLES) this.#tables.add(name);
  }

  /** The name of a WITH query, which is no table. */
  withQuery(name: string): void {
    if (this.#queries.size < MAX_TABLES) this.#queries.add(name);
  }

  /** Takes over what SQL inside this statement may do. Whatever that is, it happens inside this statement. */
  include(inner: Facts): void {
    for (const [flag, because] of inner.#flags) this.flag(flag, `${because}, in SQL given as text`);
    if (inner.executes !== '' || inner.prepares !== '' || inner.transaction !== 'none')
      this.flag('writes', 'session commands in SQL given as text');
  }

  classification(): Classification {
    const flags = this.#flags;
    const because =
      flags.get('escapesReadOnly') ??
      flags.get('opaque') ??
      flags.get('serverFiles') ??
      flags.get('writes') ??
      flags.get('resets') ??
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
      resets: flags.has('resets'),
      opaque: flags.has('opaque'),
      because,
      tables: [...this.#tables].filter((name) => !this.#queries.has(name)),
      prepares: this.prepares,
      executes: this.executes,
      transaction: this.transaction,
    };
  }
}
