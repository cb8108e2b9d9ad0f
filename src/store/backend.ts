/**
 * The port between the store and its two back ends. A back end hands out clients; a client is one logical connection
 * with PostgreSQL's transaction semantics. All errors are AppErrors where `errors.ts` knows them.
 *
 * Session state must not be relied on (`SET`, session advisory locks, temporary tables that outlive a transaction,
 * LISTEN): PGlite has one connection, which all clients share between transactions. `SET LOCAL`, transaction-scoped advisory
 * locks and `ON COMMIT DROP` are fine.
 */
export type BackendKind = 'pglite' | 'postgres';
export type SqlValue = string | number | boolean | null | Uint8Array | readonly string[] | readonly number[];
export type Row = Record<string, unknown>;

export interface SqlResult {
  /** First word of the command tag: SELECT, INSERT, … */
  readonly command: string;
  /** Rows returned or affected. */
  readonly rowCount: number;
  readonly rows: Row[];
}

/** A piece of a {@link StoreClient.batch}. */
export type Step =
  | {
      readonly kind: 'query';
      readonly sql: string;
      readonly params: readonly unknown[];
      /** Everything is rolled back unless so many rows are returned or affected. */
      readonly mustAffect?: number;
    }
  | {
      readonly kind: 'copy';
      readonly table: string;
      readonly columns: readonly string[];
      readonly data: Uint8Array;
    };

export interface StoreClient {
  /** One statement when there are parameters; several are allowed without. */
  query(sql: string, params?: readonly unknown[]): Promise<SqlResult>;
  /**
   * COPY … FROM in binary format (PostgreSQL documentation, "COPY", binary format), header and trailer included. `data`
   * is only read. Resolves with the number of rows.
   */
  copyIn(table: string, columns: readonly string[], data: Uint8Array): Promise<number>;
  /**
   * One transaction of steps that are all known beforehand. `false`: a step affected another number of rows than it had
   * to, and nothing has happened. On PGlite it runs in one go: however slow the calling thread is, nobody else waits
   * for it. And it is for bulk work: questions of others go first, up to a bound (`pglite-worker.ts`).
   */
  batch(steps: readonly Step[]): Promise<boolean>;
  /** Gives the client back; an open transaction is rolled back. The client must not be used afterwards. */
  release(): void;
}

export interface StoreBackend {
  readonly kind: BackendKind;
  connect(): Promise<StoreClient>;
  close(): Promise<void>;
}

/** Runs `work` in one transaction on a client of its own; commits when it resolves, rolls back when it rejects. */
export async function inTransaction<T>(
  backend: StoreBackend,
  work: (client: StoreClient) => Promise<T>,
): Promise<T> {
  const client = await backend.connect();
  try {
    await client.query('begin');
    const result = await work(client);
    await client.query('commit');
    return result;
  } catch (error) {
    // The first error counts; on a dead connection the rollback has happened by itself.
    await client.query('rollback').catch(() => undefined);
    throw error;
  } finally {
    client.release();
  }
}

export function copyStatement(
  table: string,
  columns: readonly string[],
  source: 'stdin' | `'/dev/blob'`,
): string {
  return `copy ${table} (${columns.join(', ')}) from ${source} with (format binary)`;
}

/** A `bigint` of PostgreSQL as a number. All our values are below 2^53; a sum beyond that would be a bug. */
export function parseBigint(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new RangeError('a bigint of the store is not a safe integer');
  return value;
}
