/**
 * The sealer in its worker thread, and the appender's end of it. The two share 64 bytes: words that each side sets for
 * the other, so that a flush costs the relay one load and, only when the sealer sleeps, one wake-up.
 *
 *   relay thread                            sealer thread
 *   flush ─ sleeping? ── notify ──────────▶ sync ─ seal ─ checkpoint, then sleep
 *   durable ◀────────── shared word ─────── after each sync
 *   onChange ◀───────── message ─────────── when somebody waits, and when failure changes
 */
import { Worker } from 'node:worker_threads';
import { AppError, ERROR_KINDS, messageOf, type ErrorKind } from '../base/errors.ts';
import type { SealerLink } from './appender.ts';

/** Words of the shared buffer, as 32-bit indices; the counters behind them as 64-bit indices. */
export const WORD = { signal: 0, sleeping: 1, hurry: 2, closing: 3, failing: 4 } as const;
export const COUNTER = { durableSeq: 4, durableBlocks: 5, signedSize: 6, tilesSynced: 7 } as const;
export const SHARED_BYTES = 64;

export interface CosignerOptions {
  /** Submission prefix of the witness: `https://witness.example/` */
  readonly url: string;
  /** vkey of its cosignature key (type 4). */
  readonly key: string;
}

export interface SealerSettings {
  readonly folder: string;
  /** The signer's key file text; handed over in memory only. */
  readonly signer: string;
  readonly batchSyncMs: number;
  readonly checkpointMs: number;
  readonly reserveBytes: number;
  readonly cosigner: CosignerOptions | null;
  /** Shortest time between requests to the cosigner. */
  readonly cosignMs: number;
}

export interface WorkerSetup {
  readonly settings: SealerSettings;
  readonly shared: SharedArrayBuffer;
}

/** What the worker says. */
export type SealerMessage =
  | { readonly type: 'ready' }
  | { readonly type: 'progress' }
  | { readonly type: 'failure'; readonly failure: string }
  | { readonly type: 'cosigned'; readonly problem: string }
  | { readonly type: 'closed'; readonly failure: string }
  | { readonly type: 'refused'; readonly kind: string; readonly code: string; readonly message: string };

export class SealerThread implements SealerLink {
  onChange: () => void = () => {};
  /** Called with what went wrong with the cosigner, empty when a cosignature was taken. */
  onCosigned: (problem: string) => void = () => {};
  /** Called after each progress of any kind. */
  onProgress: () => void = () => {};
  readonly #worker: Worker;
  readonly #words: Int32Array;
  readonly #counters: BigInt64Array;
  #failure = '';
  #closed: Promise<string> | null = null;
  #resolveClosed: (failure: string) => void = () => {};

  private constructor(worker: Worker, shared: SharedArrayBuffer) {
    this.#worker = worker;
    this.#words = new Int32Array(shared);
    this.#counters = new BigInt64Array(shared);
  }

  /** Starts the thread and waits until it has proved the signed part. Rejects with the sealer's own AppError. */
  static async start(settings: SealerSettings): Promise<SealerThread> {
    const shared = new SharedArrayBuffer(SHARED_BYTES);
    // Runs from source (type stripping) and from dist alike.
    const script = new URL(
      `./sealer-worker.${import.meta.url.endsWith('.ts') ? 'ts' : 'js'}`,
      import.meta.url,
    );
    const setup: WorkerSetup = { settings, shared };
    const worker = new Worker(script, { workerData: setup, name: 'journal-sealer' });
    const thread = new SealerThread(worker, shared);
    await new Promise<void>((resolve, reject) => {
      worker.on('message', (message: SealerMessage) => {
        if (message.type === 'ready') resolve();
        else if (message.type === 'refused') reject(revive(message));
        else thread.#receive(message);
      });
      worker.on('error', (error: unknown) => {
        reject(new AppError('unavailable', 'JOURNAL_SEALER', messageOf(error), { cause: error }));
        thread.#died(messageOf(error));
      });
      worker.on('exit', () => {
        reject(new AppError('unavailable', 'JOURNAL_SEALER', 'the journal’s sealer thread did not start'));
        thread.#died('it ended unexpectedly');
      });
    });
    return thread;
  }

  wake(): void {
    if (Atomics.load(this.#words, WORD.sleeping) === 1) this.#notify();
  }

  hurry(): void {
    Atomics.store(this.#words, WORD.hurry, 1);
    this.#notify();
  }

  get durable(): number {
    return this.#counter(COUNTER.durableSeq);
  }

  get durableBlocks(): number {
    return this.#counter(COUNTER.durableBlocks);
  }

  /** Size of the newest signed tree. */
  get signedSize(): number {
    return this.#counter(COUNTER.signedSize);
  }

  get tilesSynced(): number {
    return this.#counter(COUNTER.tilesSynced);
  }

  get failure(): string {
    return this.#failure;
  }

  async close(): Promise<void> {
    this.#closed ??= new Promise((resolve) => {
      this.#resolveClosed = resolve;
      Atomics.store(this.#words, WORD.closing, 1);
      this.hurry();
    });
    const failure = await this.#closed;
    await this.#worker.terminate();
    if (failure !== '')
      throw new AppError(
        'unavailable',
        'JOURNAL_CLOSED_UNSIGNED',
        `the journal could not be finished: ${failure}. What is missing is made up for at the next start`,
      );
  }

  #counter(index: number): number {
    return Number(Atomics.load(this.#counters, index));
  }

  #notify(): void {
    Atomics.store(this.#words, WORD.sleeping, 0);
    Atomics.add(this.#words, WORD.signal, 1);
    Atomics.notify(this.#words, WORD.signal);
  }

  #receive(message: SealerMessage): void {
    if (message.type === 'failure') {
      this.#failure = message.failure;
      this.onChange();
    } else if (message.type === 'progress') {
      this.onProgress();
      this.onChange();
    } else if (message.type === 'cosigned') {
      this.onCosigned(message.problem);
    } else if (message.type === 'closed') {
      this.#resolveClosed(message.failure);
    }
  }

  #died(why: string): void {
    if (this.#closed !== null) {
      this.#resolveClosed(`the sealer thread failed: ${why}`);
      return;
    }
    this.#failure = `the journal’s sealer thread failed (${why}); restart dbwitness`;
    this.onChange();
  }
}

function revive(message: { kind: string; code: string; message: string }): AppError {
  const kind: ErrorKind = ERROR_KINDS.find((one) => one === message.kind) ?? 'unavailable';
  return new AppError(kind, message.code, message.message);
}
