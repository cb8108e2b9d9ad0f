/**
 * PGlite's own thread. PGlite is one PostgreSQL backend with one connection; this makes it look like several by
 * running one request at a time, and by keeping everybody else waiting while a client is inside a transaction.
 *
 * Invariants
 *  1. A request of client B never runs between the BEGIN and the COMMIT of client A.
 *  2. A client that is gone (released, port closed), or that sits in a transaction without a request for
 *     {@link IDLE_IN_TRANSACTION_MS}, is rolled back; so nobody waits for ever.
 *  3. Requests are served in the order in which they came, but for those of the client in a transaction, which go first,
 *     and for batches (the index), which come last: a log-in asks half a dozen questions one after the other, and
 *     must not wait for a batch behind each. A batch waits for others no longer than {@link MAX_YIELD_MS}.
 */
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { PGlite } from '@electric-sql/pglite';
import { assert } from '../base/assert.ts';
import { messageOf } from '../base/errors.ts';
import { parseBigint, type SqlResult } from './backend.ts';
import type {
  BatchStep,
  HostMessage,
  PgliteWorkerData,
  Request,
  Response,
  SqlFailure,
  WorkerMessage,
} from './pglite-messages.ts';

const IDLE_IN_TRANSACTION_MS = 60_000;
const MAX_WAITING_REQUESTS = 10_000;
/** After an answer, a batch is not begun for so long: the next question of the same log-in or API call may follow. */
const LINGER_MS = 5;
const MAX_YIELD_MS = 1_000;

interface Client {
  readonly port: MessagePort;
  /** Rolled back behind its back: every request fails until it is released. */
  aborted: boolean;
  gone: boolean;
}

interface Waiting {
  readonly client: Client;
  readonly request: Exclude<Request, { op: 'release' }>;
  readonly sinceMs: number;
}

class Server {
  readonly #db: PGlite;
  readonly #clients = new Map<MessagePort, Map<number, Client>>();
  #waiting: Waiting[] = [];
  #owner: Client | null = null;
  #running = false;
  #idleTimer: NodeJS.Timeout | null = null;
  /** When something other than a batch was answered, and when a batch. */
  #answeredMs = 0;
  #batchedMs = 0;
  #lingering: NodeJS.Timeout | null = null;

  constructor(db: PGlite) {
    this.#db = db;
  }

  attach(port: MessagePort): void {
    this.#clients.set(port, new Map());
    port.on('message', (request: Request) => this.#receive(port, request));
    port.on('close', () => {
      for (const client of this.#clients.get(port)?.values() ?? []) client.gone = true;
      this.#clients.delete(port);
      void this.#pump();
    });
  }

  /** Waits for the request that runs; the others fail when the thread ends. */
  async close(): Promise<void> {
    this.#waiting = [];
    if (this.#idleTimer) clearTimeout(this.#idleTimer);
    if (this.#lingering) clearTimeout(this.#lingering);
    await this.#db.close();
  }

  #receive(port: MessagePort, request: Request): void {
    const clients = this.#clients.get(port);
    if (clients === undefined) return;
    let client = clients.get(request.client);
    if (request.op === 'release') {
      clients.delete(request.client);
      if (client) client.gone = true;
    } else {
      if (client === undefined) {
        client = { port, aborted: false, gone: false };
        clients.set(request.client, client);
      }
      if (this.#waiting.length >= MAX_WAITING_REQUESTS)
        answer(client, {
          id: request.id,
          failure: { code: '53300', message: 'too many requests are waiting', constraint: null },
        });
      else this.#waiting.push({ client, request, sinceMs: performance.now() });
    }
    void this.#pump();
  }

  async #pump(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    try {
      for (;;) {
        if (this.#owner?.gone === true) await this.#rollback();
        const next = this.#takeNext();
        if (next === null) break;
        await this.#run(next);
      }
    } finally {
      this.#running = false;
      this.#watchIdleOwner();
    }
  }

  #takeNext(): Waiting | null {
    this.#waiting = this.#waiting.filter(({ client }) => !client.gone);
    const at =
      this.#owner === null ? this.#nextAt() : this.#waiting.findIndex(({ client }) => client === this.#owner);
    return at < 0 ? null : (this.#waiting.splice(at, 1)[0] ?? null);
  }

  /** Whose turn it is when nobody is inside a transaction; −1: nobody's, or not yet. */
  #nextAt(): number {
    const batch = this.#waiting.findIndex(({ request }) => request.op === 'batch');
    const other = this.#waiting.findIndex(({ request }) => request.op !== 'batch');
    if (batch < 0) return other;
    const now = performance.now();
    const dueIn = Math.max(this.#waiting[batch].sinceMs, this.#batchedMs) + MAX_YIELD_MS - now;
    if (dueIn <= 0) return batch;
    if (other >= 0) return other;
    const quietIn = this.#answeredMs + LINGER_MS - now;
    if (quietIn <= 0) return batch;
    this.#lingering ??= setTimeout(
      () => {
        this.#lingering = null;
        void this.#pump();
      },
      Math.ceil(Math.min(dueIn, quietIn)),
    );
    return -1;
  }

  async #run({ client, request }: Waiting): Promise<void> {
    if (client.aborted) {
      const failure = { code: '25P03', message: 'the transaction was idle for too long', constraint: null };
      answer(client, { id: request.id, failure });
      return;
    }
    let response: Response;
    try {
      response = { id: request.id, result: await this.#execute(request) };
    } catch (error) {
      response = { id: request.id, failure: failureOf(error) };
    }
    this.#owner = this.#db.isInTransaction() ? client : null;
    if (request.op === 'batch') this.#batchedMs = performance.now();
    else this.#answeredMs = performance.now();
    answer(client, response);
  }

  async #execute(request: Waiting['request'] | BatchStep): Promise<SqlResult> {
    if (request.op === 'batch') return this.#batch(request.steps);
    if (request.op === 'copy') {
      const blob = new Blob([request.data as Uint8Array<ArrayBuffer>]);
      const { affectedRows } = await this.#db.query(request.sql, [], { blob });
      return { command: 'COPY', rowCount: affectedRows ?? 0, rows: [] };
    }
    const { sql, params } = request;
    const result =
      params.length === 0
        ? (await this.#db.exec(sql)).at(-1)
        : await this.#db.query<Record<string, unknown>>(sql, [...params]);
    assert(result !== undefined, 'PGlite answered nothing');
    const { command, rowCount, rows } = result as typeof result & { command?: string; rowCount?: number };
    return { command: command ?? '', rowCount: rowCount ?? rows.length, rows };
  }

  async #batch(steps: readonly BatchStep[]): Promise<SqlResult> {
    const end = async (command: 'COMMIT' | 'ROLLBACK'): Promise<SqlResult> => {
      await this.#db.exec(command);
      return { command, rowCount: 0, rows: [] };
    };
    await this.#db.exec('BEGIN');
    try {
      for (const step of steps) {
        const { rowCount } = await this.#execute(step);
        if (step.op === 'query' && step.mustAffect !== null && step.mustAffect !== rowCount)
          return await end('ROLLBACK');
      }
      return await end('COMMIT');
    } catch (error) {
      if (this.#db.isInTransaction()) await this.#db.exec('ROLLBACK');
      throw error;
    }
  }

  async #rollback(): Promise<void> {
    this.#owner = null;
    if (this.#db.isInTransaction()) await this.#db.exec('rollback');
  }

  #watchIdleOwner(): void {
    if (this.#idleTimer) clearTimeout(this.#idleTimer);
    this.#idleTimer = null;
    const owner = this.#owner;
    if (owner === null) return;
    this.#idleTimer = setTimeout(() => {
      if (this.#owner !== owner || this.#running) return;
      owner.aborted = true;
      void this.#rollback().then(() => this.#pump());
    }, IDLE_IN_TRANSACTION_MS);
  }
}

function answer(client: Client, response: Response): void {
  if (!client.gone) client.port.postMessage(response, []);
}

function failureOf(error: unknown): SqlFailure {
  const text = (name: string): string | null => {
    const value: unknown =
      error instanceof Error ? (error as unknown as Record<string, unknown>)[name] : null;
    return typeof value === 'string' ? value : null;
  };
  return { code: text('code'), message: messageOf(error), constraint: text('constraint') };
}

function tellHost(message: WorkerMessage): void {
  parentPort!.postMessage(message, []);
}

async function main(): Promise<void> {
  assert(parentPort !== null, 'pglite-worker runs in a worker thread');
  const { dataDir } = workerData as PgliteWorkerData;
  const db = await PGlite.create(dataDir, {
    parsers: {
      17: (text: string) => new Uint8Array(Buffer.from(text.slice(2), 'hex')),
      20: parseBigint,
    },
  });
  const server = new Server(db);
  parentPort.on('message', (message: HostMessage) => {
    if (message.op === 'connect') server.attach(message.port);
    else
      void server.close().then(
        () => tellHost({ op: 'closed' }),
        () => tellHost({ op: 'closed' }),
      );
  });
  tellHost({ op: 'opened' });
}

main().catch((error: unknown) => tellHost({ op: 'failed', message: messageOf(error) }));
