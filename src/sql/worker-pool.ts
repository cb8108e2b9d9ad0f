/**
 * Texts too long for the relay's loop are parsed by worker threads, one text per worker at a time, within a time limit.
 * A worker that is late, or dies of its text, is ended and replaced by the next request. The queue is bounded: what does
 * not fit comes back unparsed at once, as does everything that goes wrong, so no caller has to handle a rejection.
 */
import { Worker } from 'node:worker_threads';
import type { Classification } from '../model/statement.ts';
import type { LexicalSettings } from './dialect.ts';
import { unparsed } from './unparsed.ts';

export interface WorkerPoolOptions {
  readonly workers: number;
  /** Longest time that one text may take, in the worker. */
  readonly timeoutMs: number;
  /** Texts waiting, over all workers. */
  readonly maxWaiting: number;
  /** Their bytes. */
  readonly maxWaitingBytes: number;
  /** Longest text that is tried. A tree takes a few hundred times the memory of its text. */
  readonly maxTextBytes: number;
}

export const defaultWorkerPoolOptions: WorkerPoolOptions = {
  workers: 1,
  timeoutMs: 5_000,
  maxWaiting: 256,
  maxWaitingBytes: 64 * 1024 * 1024,
  maxTextBytes: 8 * 1024 * 1024,
};

/** Main thread → worker. */
export interface WorkerRequest {
  readonly text: Uint8Array;
  readonly settings: LexicalSettings;
}

const TOO_LONG = unparsed('the text is too long to be parsed');
const TOO_MANY = unparsed('too many long texts wait to be parsed; try again');
const LATE = unparsed('parsing the text took too long');
const DIED = unparsed('the parser could not handle this text');
const CLOSED = unparsed('dbwitness is shutting down');

interface Job {
  readonly request: WorkerRequest;
  readonly resolve: (classification: Classification) => void;
}

export class WorkerPool {
  readonly #worker: URL;
  readonly #workerData: unknown;
  readonly #options: WorkerPoolOptions;
  readonly #idle: PooledWorker[] = [];
  readonly #all = new Set<PooledWorker>();
  readonly #waiting: Job[] = [];
  #waitingBytes = 0;
  #closed = false;

  /** `worker`: the module of the threads, which answers each {@link WorkerRequest} with a Classification. */
  constructor(worker: URL, workerData: unknown, options: Partial<WorkerPoolOptions> = {}) {
    this.#worker = worker;
    this.#workerData = workerData;
    this.#options = { ...defaultWorkerPoolOptions, ...options };
  }

  /** Copies the text. Never rejects. */
  classify(text: Buffer, start: number, end: number, settings: LexicalSettings): Promise<Classification> {
    const { maxTextBytes, maxWaiting, maxWaitingBytes } = this.#options;
    const length = end - start;
    if (this.#closed) return Promise.resolve(CLOSED);
    if (length > maxTextBytes) return Promise.resolve(TOO_LONG);
    if (this.#waiting.length >= maxWaiting || this.#waitingBytes + length > maxWaitingBytes)
      return Promise.resolve(TOO_MANY);
    const copy = new Uint8Array(length);
    copy.set(text.subarray(start, end));
    const request = { text: copy, settings: { ...settings } };
    return new Promise((resolve) => {
      this.#waiting.push({ request, resolve });
      this.#waitingBytes += length;
      this.#dispatch();
    });
  }

  /** Ends the workers; what waits comes back unparsed. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const job of this.#waiting.splice(0)) job.resolve(CLOSED);
    await Promise.all([...this.#all].map((worker) => worker.end(CLOSED)));
  }

  #dispatch(): void {
    while (this.#waiting.length > 0 && !this.#closed) {
      const worker = this.#idle.pop() ?? this.#start();
      if (worker === null) return;
      const job = this.#waiting.shift();
      if (job === undefined) return;
      this.#waitingBytes -= job.request.text.length;
      void worker.run(job.request, this.#options.timeoutMs).then((classification) => {
        if (worker.alive) this.#idle.push(worker);
        else this.#all.delete(worker);
        job.resolve(classification);
        this.#dispatch();
      });
    }
  }

  #start(): PooledWorker | null {
    if (this.#all.size >= this.#options.workers) return null;
    const worker = new PooledWorker(this.#worker, this.#workerData);
    this.#all.add(worker);
    return worker;
  }
}

class PooledWorker {
  alive = true;
  readonly #worker: Worker;
  #settle: ((classification: Classification) => void) | null = null;

  constructor(module: URL, workerData: unknown) {
    this.#worker = new Worker(module, {
      workerData,
      resourceLimits: { maxOldGenerationSizeMb: 2048, stackSizeMb: 4 },
    });
    this.#worker.unref();
    this.#worker.on('message', (classification: Classification) => this.#finish(classification));
    // Out of memory, or anything else that ends the thread.
    this.#worker.on('error', () => this.#dies(DIED));
    this.#worker.on('exit', () => this.#dies(DIED));
  }

  run(request: WorkerRequest, timeoutMs: number): Promise<Classification> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => void this.end(LATE), timeoutMs);
      this.#settle = (classification) => {
        clearTimeout(timer);
        resolve(classification);
      };
      this.#worker.postMessage(request, [request.text.buffer as ArrayBuffer]);
    });
  }

  async end(answer: Classification): Promise<void> {
    this.#dies(answer);
    await this.#worker.terminate();
  }

  #dies(answer: Classification): void {
    this.alive = false;
    this.#finish(answer);
  }

  #finish(classification: Classification): void {
    const settle = this.#settle;
    this.#settle = null;
    settle?.(classification);
  }
}
