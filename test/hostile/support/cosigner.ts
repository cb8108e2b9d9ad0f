/** An independent witness (c2sp.org/tlog-witness) that keeps what it cosigned and signs only what extends it. */
import { generateKeyPairSync } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  cosignatureLine,
  cosignatureVerifier,
  openCheckpoint,
  parseVerifierKey,
} from '../../../src/journal/note.ts';
import { consistencyHolds } from '../../../src/journal/tree.ts';

const NAME = 'witness.example/hostile';

export class IndependentWitness {
  readonly #key = generateKeyPairSync('ed25519').privateKey;
  readonly verifier: string = cosignatureVerifier(NAME, this.#key).text;
  /** The newest tree that it has signed. */
  size = 0;
  /** Statuses of its answers, in order. */
  readonly answers: number[] = [];
  #root: Buffer = Buffer.alloc(0);
  #logKey = '';
  readonly #server: Server;
  url = '';

  constructor() {
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const [status, body] = this.#answer(Buffer.concat(chunks).toString());
        this.answers.push(status);
        response.writeHead(status).end(body);
      });
    });
  }

  async listen(): Promise<void> {
    await new Promise<void>((done) => this.#server.listen(0, '127.0.0.1', done));
    this.url = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Whose checkpoints it signs, by their vkey; before this it knows no log. */
  know(publicKey: string): void {
    this.#logKey = publicKey;
  }

  close(): void {
    this.#server.close();
  }

  #answer(body: string): [number, string] {
    if (this.#logKey === '') return [404, 'unknown log'];
    const split = body.indexOf('\n\n');
    const [oldLine, ...proof] = body.slice(0, split).split('\n');
    const checkpoint = openCheckpoint(Buffer.from(body.slice(split + 2)), parseVerifierKey(this.#logKey));
    if (typeof checkpoint === 'string') return [403, checkpoint];
    const old = Number(oldLine.replace('old ', ''));
    if (old !== this.size) return [409, `${this.size}\n`];
    const hashes = proof.map((line) => Buffer.from(line, 'base64'));
    if (old > 0 && !consistencyHolds(old, checkpoint.size, this.#root, checkpoint.root, hashes))
      return [422, 'this does not extend what I signed'];
    this.size = checkpoint.size;
    this.#root = checkpoint.root;
    return [200, cosignatureLine(checkpoint.note.text, NAME, this.#key, 1_700_000_000)];
  }
}
