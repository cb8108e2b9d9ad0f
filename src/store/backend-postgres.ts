/** PostgreSQL behind DBW_DSN: a bounded pool of node-postgres. Lost connections are replaced at the next use. */
import pg from 'pg';
import {
  copyStatement,
  parseBigint,
  type SqlResult,
  type Step,
  type StoreBackend,
  type StoreClient,
} from './backend.ts';
import { toStoreError } from './errors.ts';

const OID_BYTEA = 17;
const OID_INT8 = 20;
const OID_INT8_ARRAY = 1016;

export interface PostgresBackendOptions {
  readonly dsn: string;
  /** Connections at most. */
  readonly maxConnections: number;
  readonly applicationName: string;
  /** A statement that runs longer is cancelled by the server; 0: never. */
  readonly statementTimeoutMs: number;
  readonly connectTimeoutMs: number;
}

export function openPostgresBackend(options: PostgresBackendOptions): StoreBackend {
  const pool = new pg.Pool({
    connectionString: options.dsn,
    max: options.maxConnections,
    application_name: options.applicationName,
    connectionTimeoutMillis: options.connectTimeoutMs,
    idleTimeoutMillis: 60_000,
    keepAlive: true,
    types: { getTypeParser: typeParser },
    ...(options.statementTimeoutMs === 0 ? {} : { statement_timeout: options.statementTimeoutMs }),
    idle_in_transaction_session_timeout: 60_000,
  });
  // A connection that breaks while nobody waits for it: the pool drops it, and the next query opens another.
  pool.on('error', () => undefined);
  pool.on('connect', (client) => client.on('error', () => undefined));
  return {
    kind: 'postgres',
    connect: async () => {
      try {
        return new PostgresClient(await pool.connect());
      } catch (error) {
        throw toStoreError(error);
      }
    },
    close: () => pool.end(),
  };
}

class PostgresClient implements StoreClient {
  readonly #client: pg.PoolClient;
  #broken = false;

  constructor(client: pg.PoolClient) {
    this.#client = client;
  }

  async query(sql: string, params: readonly unknown[] = []): Promise<SqlResult> {
    try {
      const answer: unknown = await (params.length === 0
        ? this.#client.query(sql)
        : this.#client.query(sql, [...params]));
      const results = (Array.isArray(answer) ? answer : [answer]) as pg.QueryResult<
        Record<string, unknown>
      >[];
      const { command, rowCount, rows } = results.at(-1)!;
      return { command, rowCount: rowCount ?? 0, rows };
    } catch (error) {
      throw this.#failed(error);
    }
  }

  async copyIn(table: string, columns: readonly string[], data: Uint8Array): Promise<number> {
    const copy = new CopyIn(copyStatement(table, columns, 'stdin'), data);
    try {
      this.#client.query(copy as unknown as pg.Submittable);
      return await copy.done;
    } catch (error) {
      throw this.#failed(error);
    }
  }

  async batch(steps: readonly Step[]): Promise<boolean> {
    await this.query('begin');
    try {
      for (const step of steps) {
        if (step.kind === 'copy') {
          await this.copyIn(step.table, step.columns, step.data);
          continue;
        }
        const { rowCount } = await this.query(step.sql, step.params);
        if (step.mustAffect === undefined || step.mustAffect === rowCount) continue;
        await this.query('rollback');
        return false;
      }
      await this.query('commit');
      return true;
    } catch (error) {
      // The first error counts; on a dead connection the rollback has happened by itself.
      await this.query('rollback').catch(() => undefined);
      throw error;
    }
  }

  release(): void {
    // Closed instead of given back when it is inside a transaction: the server rolls that back.
    this.#client.release(this.#broken || this.#client.getTransactionStatus() !== 'I');
  }

  #failed(error: unknown): unknown {
    // An answer of the server leaves the connection usable; anything else does not.
    if (!(error instanceof pg.DatabaseError) || /^(08|57P|25P0[34])/.test(error.code ?? ''))
      this.#broken = true;
    return toStoreError(error);
  }
}

/** The part of node-postgres' Connection that a COPY needs; its own type does not name these. */
interface CopyConnection {
  query(text: string): void;
  sendCopyFromChunk(chunk: Buffer): void;
  endCopyFrom(): void;
}

const CHUNK_BYTES = 256 * 1024;

/** A query object for node-postgres (the interface that pg-copy-streams uses too) that sends one buffer by COPY. */
class CopyIn {
  readonly done: Promise<number>;
  readonly #sql: string;
  readonly #data: Uint8Array;
  readonly #settle: PromiseWithResolvers<number>;
  #rows = 0;

  constructor(sql: string, data: Uint8Array) {
    this.#sql = sql;
    this.#data = data;
    this.#settle = Promise.withResolvers<number>();
    this.done = this.#settle.promise;
  }

  submit(connection: CopyConnection): void {
    connection.query(this.#sql);
  }

  handleCopyInResponse(connection: CopyConnection): void {
    const data = Buffer.from(this.#data.buffer, this.#data.byteOffset, this.#data.byteLength);
    for (let at = 0; at < data.length; at += CHUNK_BYTES)
      connection.sendCopyFromChunk(data.subarray(at, Math.min(at + CHUNK_BYTES, data.length)));
    connection.endCopyFrom();
  }

  handleCommandComplete(message: { text: string }): void {
    this.#rows = Number(message.text.split(' ').at(-1));
  }

  handleReadyForQuery(): void {
    this.#settle.resolve(this.#rows);
  }

  handleError(error: Error): void {
    this.#settle.reject(error);
  }
}

function parseBytes(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text.slice(2), 'hex'));
}

/** `{1,2,3}`; ours are flat and without NULL. */
function parseBigintArray(text: string): number[] {
  return text === '{}' ? [] : text.slice(1, -1).split(',').map(parseBigint);
}

const parserOf = pg.types.getTypeParser as (
  oid: number,
  format?: 'text' | 'binary',
) => (value: string) => unknown;

const typeParser = ((oid: number, format?: 'text' | 'binary') => {
  if (format === 'binary') return parserOf(oid, 'binary');
  if (oid === OID_INT8) return parseBigint;
  if (oid === OID_BYTEA) return parseBytes;
  if (oid === OID_INT8_ARRAY) return parseBigintArray;
  return parserOf(oid, 'text');
}) as typeof pg.types.getTypeParser;
