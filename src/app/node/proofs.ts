/** Proofs of statements, a few at a time, each in a thread (`proof-worker.ts`). */
import { Worker } from 'node:worker_threads';
import { AppError, type ErrorKind, messageOf } from '../../base/errors.ts';
import type { StatementPlace, StatementProof } from '../../journal/proof.ts';

export type ProofAnswer =
  | { readonly proof: StatementProof }
  | { readonly error: { readonly kind: ErrorKind; readonly code: string; readonly message: string } };

/** Each reads through the journal. */
const MAX_AT_ONCE = 2;

export class Proofs {
  readonly #folder: string;
  readonly #key: Uint8Array;
  #running = 0;

  /** `key`: of encrypted segments, 32 bytes. */
  constructor(folder: string, key: Uint8Array) {
    this.#folder = folder;
    this.#key = key;
  }

  /** Rejects as `makeProof` throws, and with `exhausted` when others are being made. */
  async make(place: StatementPlace): Promise<StatementProof> {
    if (this.#running >= MAX_AT_ONCE)
      throw new AppError(
        'exhausted',
        'APP_PROOFS_BUSY',
        'other proofs are being made; try again in a moment',
      );
    this.#running++;
    try {
      const answer = await this.#inThread(place);
      if ('proof' in answer) return answer.proof;
      const { kind, code, message } = answer.error;
      throw new AppError(kind, code, message);
    } finally {
      this.#running--;
    }
  }

  #inThread(place: StatementPlace): Promise<ProofAnswer> {
    const module = new URL(
      `./proof-worker${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`,
      import.meta.url,
    );
    return new Promise((resolve, reject) => {
      const worker = new Worker(module, {
        workerData: { folder: this.#folder, place, key: this.#key },
        name: 'dbwitness-proof',
      });
      worker.once('message', resolve);
      worker.once('error', (error) =>
        reject(new AppError('corrupt', 'APP_PROOF_FAILED', messageOf(error), { cause: error })),
      );
    });
  }
}
