/**
 * Asks a witness to cosign checkpoints (c2sp.org/tlog-witness, `add-checkpoint`): it checks that each one extends the
 * last it saw, so a journal rolled back or rewritten, even by whoever holds its key, can no longer get a cosignature.
 *
 *   POST <url>/add-checkpoint      200  cosignature lines, appended to log/checkpoint and log/checkpoint.cosigned
 *   old <size>                     409  the witness is at another size: asked again from there
 *   <consistency proof, base64>    else a problem, reported; asked again with the next checkpoint
 *
 *   <checkpoint>
 */
import { messageOf } from '../base/errors.ts';
import { type Disk, replaceFile } from './disk.ts';
import type { Layout } from './layout.ts';
import {
  type Checkpoint,
  checkSignature,
  parseCheckpoint,
  parseNote,
  parseVerifierKey,
  type VerifierKey,
} from './note.ts';
import type { CosignerOptions } from './sealer-thread.ts';
import { consistencyProof, type SubtreeRoot } from './tree.ts';

const REQUEST_MS = 10_000;
const MAX_RESPONSE_BYTES = 64 * 1024;

interface Answer {
  readonly status: number;
  readonly body: string;
}

export class Cosigner {
  readonly #disk: Disk;
  readonly #layout: Layout;
  readonly #url: string;
  readonly #key: VerifierKey;
  readonly #report: (problem: string) => void;
  #knownSize: number;
  #cosignedSize: number;
  #inFlight: Promise<void> | null = null;
  #askedAt = -Infinity;
  #offered = 0;

  /** @param report called after each request with what went wrong, or with an empty text. */
  constructor(disk: Disk, layout: Layout, options: CosignerOptions, report: (problem: string) => void) {
    this.#disk = disk;
    this.#layout = layout;
    this.#url = `${options.url.replace(/\/+$/, '')}/add-checkpoint`;
    this.#key = parseVerifierKey(options.key);
    this.#report = report;
    this.#cosignedSize = this.#storedSize();
    this.#knownSize = this.#cosignedSize;
  }

  /** A request is under way. */
  get asking(): boolean {
    return this.#inFlight !== null;
  }

  /** The newest checkpoint offered has no cosignature yet. */
  get wanting(): boolean {
    return this.#offered > this.#cosignedSize;
  }

  /** Asks for a cosignature unless one is being asked for or the last request was less than `everyMs` ago. */
  offer(checkpoint: Checkpoint, subtree: SubtreeRoot, everyMs: number): void {
    this.#offered = checkpoint.size;
    const now = performance.now();
    if (this.#inFlight !== null || now < this.#askedAt + everyMs || !this.wanting) return;
    this.#askedAt = now;
    this.#inFlight = this.#ask(checkpoint, subtree)
      .catch((error: unknown) => `the cosigner at ${this.#url} cannot be reached: ${messageOf(error)}`)
      .then((problem) => {
        this.#inFlight = null;
        this.#report(problem);
      });
  }

  /** Lets the request go on for a while. */
  async pause(ms: number): Promise<void> {
    await Promise.race([this.settle(), new Promise((resolve) => setTimeout(resolve, ms))]);
  }

  async settle(): Promise<void> {
    await this.#inFlight;
  }

  async #ask(checkpoint: Checkpoint, subtree: SubtreeRoot): Promise<string> {
    // The second attempt is for a witness that told us where it is.
    for (let attempt = 0; attempt < 2; attempt++) {
      const old = this.#knownSize;
      if (old > checkpoint.size) return this.#rolledBack(old, checkpoint.size);
      const answer = await this.#post(
        requestBody(checkpoint, old, consistencyProof(subtree, old, checkpoint.size)),
      );
      if (answer.status === 200) return this.#take(checkpoint, answer.body);
      if (answer.status !== 409) return `the cosigner refused: ${answer.status} ${firstLine(answer.body)}`;
      const size = Number(firstLine(answer.body));
      if (!/^[0-9]+$/.test(firstLine(answer.body)) || !Number.isSafeInteger(size))
        return 'the cosigner answered 409 without its size';
      if (size === old) return 'the cosigner has seen another tree of the same size: this journal was forked';
      this.#knownSize = size;
    }
    return 'the cosigner moves on while it is asked; is another journal using the same key?';
  }

  #rolledBack(witness: number, ours: number): string {
    return `the cosigner has seen ${witness} blocks of this journal, but only ${ours} are here: it was rolled back`;
  }

  async #post(body: string): Promise<Answer> {
    const response = await fetch(this.#url, {
      method: 'POST',
      body,
      redirect: 'error',
      signal: AbortSignal.timeout(REQUEST_MS),
    });
    const chunks: Uint8Array[] = [];
    let total = 0;
    for await (const chunk of response.body ?? []) {
      const bytes = chunk as Uint8Array;
      total += bytes.length;
      if (total > MAX_RESPONSE_BYTES) throw new Error('its answer is too long');
      chunks.push(bytes);
    }
    return { status: response.status, body: Buffer.concat(chunks).toString('utf8') };
  }

  #take(checkpoint: Checkpoint, lines: string): string {
    const signed = Buffer.from(`${checkpoint.note.text}\n${lines}`);
    const note = parseNote(signed);
    if (typeof note === 'string') return `the cosigner’s answer is malformed: ${note}`;
    const valid = note.signatures.filter((one) => checkSignature(note.text, one, this.#key) === 'valid');
    if (valid.length === 0) return 'the cosigner’s answer has no valid signature of its key';
    const own = checkpoint.note.signatures.map((one) => one.line).join('');
    const whole = Buffer.from(`${note.text}\n${own}${valid.map((one) => one.line).join('')}`);
    replaceFile(this.#disk, this.#layout.cosigned, whole);
    const current = parseCheckpoint(this.#disk.readFile(this.#layout.checkpoint));
    if (typeof current !== 'string' && current.size === checkpoint.size)
      replaceFile(this.#disk, this.#layout.checkpoint, whole);
    this.#knownSize = checkpoint.size;
    this.#cosignedSize = checkpoint.size;
    return '';
  }

  #storedSize(): number {
    if (!this.#disk.exists(this.#layout.cosigned)) return 0;
    const stored = parseCheckpoint(this.#disk.readFile(this.#layout.cosigned));
    return typeof stored === 'string' ? 0 : stored.size;
  }
}

function requestBody(checkpoint: Checkpoint, old: number, proof: readonly Buffer[]): string {
  const lines = proof.map((hash) => `${hash.toString('base64')}\n`).join('');
  const signatures = checkpoint.note.signatures.map((one) => one.line).join('');
  return `old ${old}\n${lines}\n${checkpoint.note.text}\n${signatures}`;
}

function firstLine(text: string): string {
  return text.slice(0, 200).split('\n')[0];
}
