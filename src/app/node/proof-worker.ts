/**
 * Makes one proof in a thread of its own: it reads through the journal from its beginning, and log-ins must not wait for
 * that.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { assert } from '../../base/assert.ts';
import { isAppError, messageOf } from '../../base/errors.ts';
import { makeProof, type StatementPlace } from '../../journal/proof.ts';
import type { ProofAnswer } from './proofs.ts';

const port = parentPort;
assert(port !== null, 'proofs are made in a worker thread');
const { folder, place, key } = workerData as { folder: string; place: StatementPlace; key: Uint8Array };
port.postMessage(answer(), []);

function answer(): ProofAnswer {
  try {
    return { proof: makeProof(folder, place, { key }) };
  } catch (error) {
    const { kind, code } = isAppError(error) ? error : { kind: 'corrupt' as const, code: 'APP_PROOF_FAILED' };
    return { error: { kind, code, message: messageOf(error) } };
  }
}
