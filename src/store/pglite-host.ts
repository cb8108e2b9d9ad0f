/**
 * Keeps PGlite's thread running: starts it, starts it again when it dies, and introduces other threads to it. Lives
 * on one thread of the process (the one that opened the store); everybody else reaches it through a control port.
 */
import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import { AppError } from '../base/errors.ts';
import { unavailable } from './errors.ts';
import { type FolderLock, lockFolder } from './folder-lock.ts';
import type {
  ConnectRequest,
  ConnectResponse,
  HostMessage,
  PgliteWorkerData,
  WorkerMessage,
} from './pglite-messages.ts';
import { moduleUrl } from './threads.ts';

const MIN_RESTART_MS = 100;
const MAX_RESTART_MS = 5_000;

export class PgliteHost {
  readonly #dataDir: string;
  readonly #lock: FolderLock;
  readonly #controls = new Set<MessagePort>();
  #worker: Worker | null = null;
  /** Resolves when the thread serves queries; replaced when it has to be started again. */
  #ready: PromiseWithResolvers<Worker>;
  #restartMs = MIN_RESTART_MS;
  #closing = false;
  #restarts = 0;

  private constructor(dataDir: string, lock: FolderLock) {
    this.#dataDir = dataDir;
    this.#lock = lock;
    this.#ready = freshPromise();
    this.#start();
  }

  /** Data in `<dataDir>/store`. Rejects when another process uses it or PGlite cannot open it. */
  static async open(dataDir: string): Promise<PgliteHost> {
    const folder = join(dataDir, 'store');
    // PGlite makes its files readable and writable for everybody: nobody else may get at them, whatever the data
    // folder's own mode is.
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    chmodSync(folder, 0o700);
    const host = new PgliteHost(folder, lockFolder(join(dataDir, 'store.lock')));
    try {
      await host.#ready.promise;
    } catch (error) {
      await host.close();
      throw error;
    }
    return host;
  }

  /** How often the thread had to be started again. */
  get restarts(): number {
    return this.#restarts;
  }

  /** A port to PGlite's thread; waits while that is being started. Closes when the thread ends. */
  async connect(): Promise<MessagePort> {
    const worker = await this.#ready.promise;
    const { port1, port2 } = new MessageChannel();
    const message: HostMessage = { op: 'connect', port: port1 };
    worker.postMessage(message, [port1]);
    return port2;
  }

  /** A port for another thread's {@link connectThroughControl}; transfer it there. */
  controlPort(): MessagePort {
    const { port1, port2 } = new MessageChannel();
    this.#controls.add(port1);
    port1.on('message', ({ id }: ConnectRequest) => {
      this.connect().then(
        (port) => port1.postMessage({ id, port } satisfies ConnectResponse, [port]),
        () => port1.postMessage({ id, port: null } satisfies ConnectResponse),
      );
    });
    port1.on('close', () => this.#controls.delete(port1));
    port1.unref();
    return port2;
  }

  /** Ends the thread without warning, as a crash of it would. For tests. */
  async crash(): Promise<void> {
    await this.#worker?.terminate();
  }

  async close(): Promise<void> {
    if (this.#closing) return;
    this.#closing = true;
    this.#ready.reject(unavailable('the store is being closed'));
    for (const port of this.#controls) port.close();
    const worker = this.#worker;
    if (worker !== null) {
      const closed = new Promise<void>((resolve) => {
        worker.on('message', (message: WorkerMessage) => message.op === 'closed' && resolve());
        worker.on('exit', () => resolve());
      });
      worker.postMessage({ op: 'close' } satisfies HostMessage, []);
      await closed;
      await worker.terminate();
    }
    this.#lock.release();
  }

  #start(): void {
    const worker = new Worker(moduleUrl('./pglite-worker.ts', import.meta.url), {
      workerData: { dataDir: this.#dataDir } satisfies PgliteWorkerData,
      name: 'dbwitness-store',
    });
    this.#worker = worker;
    let failure = 'its thread ended';
    worker.on('message', (message: WorkerMessage) => {
      if (message.op === 'opened') {
        this.#restartMs = MIN_RESTART_MS;
        this.#ready.resolve(worker);
      } else if (message.op === 'failed') {
        failure = message.message;
        void worker.terminate();
      }
    });
    worker.on('error', (error) => {
      failure = error instanceof Error ? error.message : String(error);
    });
    worker.on('exit', () => this.#ended(worker, failure));
  }

  #ended(worker: Worker, failure: string): void {
    if (this.#worker !== worker) return;
    this.#worker = null;
    if (this.#closing) return;
    this.#ready.reject(
      new AppError(
        'unavailable',
        'STORE_UNAVAILABLE',
        `the embedded store stopped (${failure}) and is started again`,
      ),
    );
    this.#ready = freshPromise();
    this.#restarts++;
    setTimeout(() => {
      if (!this.#closing) this.#start();
    }, this.#restartMs).unref();
    this.#restartMs = Math.min(MAX_RESTART_MS, this.#restartMs * 2);
  }
}

/** The other thread's end of {@link PgliteHost.controlPort}: asks for a port to PGlite's thread. */
export function connectThroughControl(control: MessagePort): () => Promise<MessagePort> {
  const waiting = new Map<number, PromiseWithResolvers<MessagePort>>();
  let lastId = 0;
  let closed = false;
  control.on('message', (response: ConnectResponse) => {
    const waiter = waiting.get(response.id);
    waiting.delete(response.id);
    if (response.port === null) waiter?.reject(unavailable('the embedded store is not running'));
    else if (waiter === undefined) response.port.close();
    else waiter.resolve(response.port);
  });
  control.on('close', () => {
    closed = true;
    for (const waiter of waiting.values()) waiter.reject(unavailable('the store was closed'));
    waiting.clear();
  });
  return () => {
    if (closed) return Promise.reject(unavailable('the store was closed'));
    const waiter = Promise.withResolvers<MessagePort>();
    const id = ++lastId;
    waiting.set(id, waiter);
    control.postMessage({ id } satisfies ConnectRequest, []);
    return waiter.promise;
  };
}

function freshPromise(): PromiseWithResolvers<Worker> {
  const ready = Promise.withResolvers<Worker>();
  // Nobody may be waiting for it when it is rejected.
  ready.promise.catch(() => undefined);
  return ready;
}
