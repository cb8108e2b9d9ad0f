/** PGlite as seen from any thread: requests over a data port, which is opened when needed and again when it was lost. */
import type { MessagePort } from 'node:worker_threads';
import { copyStatement, type SqlResult, type Step, type StoreBackend, type StoreClient } from './backend.ts';
import { toStoreError, unavailable } from './errors.ts';
import type { BatchStep, Request, Response, SqlFailure } from './pglite-messages.ts';

const CONNECT_TIMEOUT_MS = 15_000;

/** `openPort` gives a new port to PGlite's thread; see `pglite-host.ts`. `onClose` runs when the back end is closed. */
export function openPgliteBackend(
  openPort: () => Promise<MessagePort>,
  onClose: () => Promise<void>,
): StoreBackend {
  let current: Promise<Connection> | null = null;
  let lastClient = 0;
  let closed = false;

  const connection = async (): Promise<Connection> => {
    if (closed) throw unavailable('the store is closed');
    current ??= open();
    const attempt = current;
    try {
      return await within(CONNECT_TIMEOUT_MS, attempt);
    } catch (error) {
      if (current === attempt) current = null;
      throw error;
    }
  };

  const open = (): Promise<Connection> => {
    const attempt: Promise<Connection> = openPort().then((port) => {
      const opened = new Connection(port, () => {
        if (current === attempt) current = null;
      });
      // Given up in the meantime: nobody would ever close it.
      if (current !== attempt) opened.close();
      return opened;
    });
    return attempt;
  };

  return {
    kind: 'pglite',
    connect: async () => new PgliteClient(await connection(), ++lastClient),
    close: async () => {
      closed = true;
      const last = current;
      if (last !== null) await last.then((opened) => opened.close()).catch(() => undefined);
      await onClose();
    },
  };
}

/** One data port with its open requests. */
class Connection {
  readonly #port: MessagePort;
  readonly #open = new Map<number, PromiseWithResolvers<SqlResult>>();
  #lastId = 0;
  #lost = false;

  constructor(port: MessagePort, onLost: () => void) {
    this.#port = port;
    port.on('message', (response: Response) => this.#receive(response));
    port.on('close', () => {
      this.#lost = true;
      onLost();
      for (const request of this.#open.values())
        request.reject(unavailable("the embedded store's thread ended"));
      this.#open.clear();
    });
  }

  request(build: (id: number) => Request, transfer: ArrayBuffer[] = []): Promise<SqlResult> {
    if (this.#lost) return Promise.reject(unavailable("the embedded store's thread ended"));
    const waiter = Promise.withResolvers<SqlResult>();
    const id = ++this.#lastId;
    this.#port.postMessage(build(id), transfer);
    this.#open.set(id, waiter);
    return waiter.promise;
  }

  tell(request: Request): void {
    if (!this.#lost) this.#port.postMessage(request, []);
  }

  close(): void {
    this.#port.close();
  }

  #receive(response: Response): void {
    const waiter = this.#open.get(response.id);
    this.#open.delete(response.id);
    if ('result' in response) waiter?.resolve(response.result);
    else waiter?.reject(toStoreError(failureError(response.failure)));
  }
}

class PgliteClient implements StoreClient {
  readonly #connection: Connection;
  readonly #client: number;

  constructor(connection: Connection, client: number) {
    this.#connection = connection;
    this.#client = client;
  }

  query(sql: string, params: readonly unknown[] = []): Promise<SqlResult> {
    return this.#connection.request((id) => ({ op: 'query', id, client: this.#client, sql, params }));
  }

  async copyIn(table: string, columns: readonly string[], data: Uint8Array): Promise<number> {
    // Copied once more, and that copy is handed over: the caller may need its own again for another attempt.
    const copy = new Uint8Array(data);
    const sql = copyStatement(table, columns, `'/dev/blob'`);
    const { rowCount } = await this.#connection.request(
      (id) => ({ op: 'copy', id, client: this.#client, sql, data: copy }),
      [copy.buffer],
    );
    return rowCount;
  }

  async batch(steps: readonly Step[]): Promise<boolean> {
    const copies: ArrayBuffer[] = [];
    const sent = steps.map((step): BatchStep => {
      if (step.kind === 'query')
        return { op: 'query', sql: step.sql, params: step.params, mustAffect: step.mustAffect ?? null };
      const data = new Uint8Array(step.data);
      copies.push(data.buffer);
      return { op: 'copy', sql: copyStatement(step.table, step.columns, `'/dev/blob'`), data };
    });
    const { command } = await this.#connection.request(
      (id) => ({ op: 'batch', id, client: this.#client, steps: sent }),
      copies,
    );
    return command === 'COMMIT';
  }

  release(): void {
    this.#connection.tell({ op: 'release', client: this.#client });
  }
}

function failureError(failure: SqlFailure): Error {
  return Object.assign(new Error(failure.message), { code: failure.code, constraint: failure.constraint });
}

async function within<T>(timeoutMs: number, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  try {
    return await Promise.race([
      promise,
      new Promise<never>((_resolve, reject) => {
        timer = setTimeout(() => reject(unavailable('the embedded store does not start')), timeoutMs);
      }),
    ]);
  } finally {
    clearTimeout(timer);
  }
}
