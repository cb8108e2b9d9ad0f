/**
 * Texts too long for the relay's loop are parsed, split and redacted by worker threads, one text per worker at a time,
 * within a time limit. A worker that is late, or dies of its text, is ended and replaced by the next request. The queue of
 * texts to be classified is bounded: what does not fit comes back unparsed at once, as does everything that goes wrong, so
 * no caller has to handle a rejection. Texts to be read (split and redacted) wait with their sessions, which are not read
 * meanwhile: those are bounded by the number of sessions, and hold no memory that their sessions do not hold anyway.
 */
import { Worker } from 'node:worker_threads';
import type { Classification, StatementSpan } from '../model/statement.ts';
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
  readonly task: 'classify' | 'read';
  readonly text: Uint8Array;
  readonly settings: LexicalSettings;
}

/** A text that was split and redacted elsewhere. */
export interface LongText {
  /** Offsets from the text's beginning. */
  readonly spans: readonly StatementSpan[];
  /** Of each span, the text without its secrets; `null`: it has none. */
  readonly redacted: readonly (Uint8Array | null)[];
}

/** A worker's answer, or why there is none. */
type Answer<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly why: Classification };

const TOO_LONG = unparsed('the text is too long to be parsed');
const TOO_MANY = unparsed('too many long texts wait to be parsed; try again');
const LATE = unparsed('parsing the text took too long');
const DIED = unparsed('the parser could not handle this text');
const CLOSED = unparsed('dbwitness is shutting down');

interface Job {
  readonly task: WorkerRequest['task'];
  /** The caller's, or a copy of it where {@link owned}. */
  readonly text: Uint8Array;
  readonly owned: boolean;
  readonly settings: LexicalSettings;
  readonly timeoutMs: number;
  readonly resolve: (answer: Answer<unknown>) => void;
}

/** Longest time to split and redact a text: a second or two is usual for 64 MiB, on a machine that has time for it. */
const READ_TIMEOUT_MS = 60_000;

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
    this.#waitingBytes += length;
    return this.#ask<Classification>('classify', copyOf(text, start, end), true, settings).then((answer) =>
      answer.ok ? answer.value : answer.why,
    );
  }

  /**
   * Splits and redacts a text. The caller keeps the bytes as they are until it resolves.
   * @returns what the worker says (`T`), or in words why it says nothing.
   */
  read<T extends LongText>(
    text: Buffer,
    start: number,
    end: number,
    settings: LexicalSettings,
  ): Promise<T | string> {
    if (this.#closed) return Promise.resolve(CLOSED.because);
    return this.#ask<T>('read', text.subarray(start, end), false, settings).then((answer) =>
      answer.ok ? answer.value : answer.why.because,
    );
  }

  #ask<T>(
    task: WorkerRequest['task'],
    text: Uint8Array,
    owned: boolean,
    settings: LexicalSettings,
  ): Promise<Answer<T>> {
    const timeoutMs = task === 'read' ? READ_TIMEOUT_MS : this.#options.timeoutMs;
    return new Promise<Answer<unknown>>((resolve) => {
      this.#waiting.push({ task, text, owned, settings: { ...settings }, timeoutMs, resolve });
      this.#dispatch();
    }) as Promise<Answer<T>>;
  }

  /** Ends the workers; what waits comes back unparsed. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const job of this.#waiting.splice(0)) job.resolve({ ok: false, why: CLOSED });
    await Promise.all([...this.#all].map((worker) => worker.end(CLOSED)));
  }

  #dispatch(): void {
    while (this.#waiting.length > 0 && !this.#closed) {
      const worker = this.#idle.pop() ?? this.#start();
      if (worker === null) return;
      const job = this.#waiting.shift();
      if (job === undefined) return;
      if (job.owned) this.#waitingBytes -= job.text.length;
      void worker.run(job).then((answer) => {
        if (worker.alive) this.#idle.push(worker);
        else this.#all.delete(worker);
        job.resolve(answer);
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
  #settle: ((answer: Answer<unknown>) => void) | null = null;

  constructor(module: URL, workerData: unknown) {
    this.#worker = new Worker(module, {
      workerData,
      resourceLimits: { maxOldGenerationSizeMb: 2048, stackSizeMb: 4 },
    });
    this.#worker.unref();
    this.#worker.on('message', (value: unknown) => this.#finish({ ok: true, value }));
    // Out of memory, or anything else that ends the thread.
    this.#worker.on('error', () => this.#dies(DIED));
    this.#worker.on('exit', () => this.#dies(DIED));
  }

  run(job: Job): Promise<Answer<unknown>> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => void this.end(LATE), job.timeoutMs);
      this.#settle = (answer) => {
        clearTimeout(timer);
        resolve(answer);
      };
      const text = job.owned ? job.text : copyOf(job.text, 0, job.text.length);
      const request: WorkerRequest = { task: job.task, text, settings: job.settings };
      this.#worker.postMessage(request, [text.buffer as ArrayBuffer]);
    });
  }

  async end(why: Classification): Promise<void> {
    this.#dies(why);
    await this.#worker.terminate();
  }

  #dies(why: Classification): void {
    this.alive = false;
    this.#finish({ ok: false, why });
  }

  #finish(answer: Answer<unknown>): void {
    const settle = this.#settle;
    this.#settle = null;
    settle?.(answer);
  }
}

function copyOf(text: Uint8Array, start: number, end: number): Uint8Array {
  const copy = new Uint8Array(end - start);
  copy.set(text.subarray(start, end));
  return copy;
}
