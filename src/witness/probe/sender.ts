/**
 * A probe's end of the handover: sends batches in order, keeps each until it is acknowledged, connects again for as long
 * as it takes. What it may keep is bounded by whoever gives it batches: their promises wait.
 */
import { randomBytes } from 'node:crypto';
import { connect as connectSocket, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { messageOf } from '../../base/errors.ts';
import { ACK_BYTES, ANSWER_BYTES, batchHeader, greeting, readAnswer } from './handover.ts';
import type { MutualTls } from './receiver.ts';

export type Destination =
  | { readonly kind: 'local'; readonly path: string }
  | { readonly kind: 'remote'; readonly host: string; readonly port: number; readonly tls: MutualTls };

interface Kept {
  readonly number: number;
  readonly batch: Uint8Array;
  readonly taken: () => void;
}

const FIRST_RETRY_MS = 100;
const LONGEST_RETRY_MS = 5_000;
const CONNECT_TIMEOUT_MS = 10_000;

export class BatchSender {
  readonly #destination: Destination;
  readonly #report: (level: 'info' | 'warn', message: string) => void;
  readonly #run = randomBytes(16);
  /** Not acknowledged yet, in order. */
  readonly #kept: Kept[] = [];
  #socket: Socket | null = null;
  #ready = false;
  #next = 1;
  #retryMs = FIRST_RETRY_MS;
  #timer: NodeJS.Timeout | null = null;
  #closed = false;
  #complained = false;
  #onEmpty: (() => void) | null = null;

  constructor(destination: Destination, report: (level: 'info' | 'warn', message: string) => void) {
    this.#destination = destination;
    this.#report = report;
    this.#connect();
  }

  /** Whether somebody takes what is sent now. */
  get connected(): boolean {
    return this.#ready;
  }

  /** Batches that nobody has acknowledged. */
  get waiting(): number {
    return this.#kept.length;
  }

  /** Resolves when the batch is on the receiver's stable storage. Never rejects; order is kept. */
  send(batch: Uint8Array): Promise<void> {
    return new Promise((taken) => {
      const kept = { number: this.#next++, batch, taken };
      this.#kept.push(kept);
      if (this.#ready) this.#write(kept);
    });
  }

  /** Waits for acknowledgements for at most `graceMs`; returns how many batches nobody took. */
  async close(graceMs: number): Promise<number> {
    if (this.#kept.length > 0)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, graceMs);
        this.#onEmpty = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#socket?.destroy();
    return this.#kept.length;
  }

  #connect(): void {
    this.#timer = null;
    const socket = this.#dial();
    this.#socket = socket;
    let received: Buffer = Buffer.alloc(0);
    let answered = false;
    socket.setTimeout(CONNECT_TIMEOUT_MS, () => {
      if (!answered) socket.destroy(new Error('no answer'));
    });
    const event = this.#destination.kind === 'remote' ? 'secureConnect' : 'connect';
    socket.once(event, () => socket.write(greeting(this.#run)));
    socket.on('data', (chunk: Buffer) => {
      received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
      try {
        if (!answered && received.length >= ANSWER_BYTES) {
          answered = true;
          this.#welcomed(readAnswer(received));
          received = received.subarray(ANSWER_BYTES);
        }
        if (!answered) return;
        for (; received.length >= ACK_BYTES; received = received.subarray(ACK_BYTES))
          this.#acknowledged(received.readUInt32LE(0));
      } catch (error) {
        socket.destroy(error instanceof Error ? error : new Error(messageOf(error)));
      }
    });
    let why = 'the connection was closed';
    socket.on('error', (error) => {
      why = error.message;
    });
    socket.on('close', () => this.#lost(why));
  }

  #dial(): Socket {
    const to = this.#destination;
    if (to.kind === 'local') return connectSocket(to.path);
    return connectTls({
      host: to.host,
      port: to.port,
      servername: to.host,
      ...to.tls,
      minVersion: 'TLSv1.2',
    });
  }

  #welcomed(last: number): void {
    this.#acknowledged(last);
    this.#ready = true;
    this.#retryMs = FIRST_RETRY_MS;
    this.#complained = false;
    this.#report('info', 'observations are being taken');
    for (const kept of this.#kept) this.#write(kept);
  }

  #write({ number, batch }: Kept): void {
    this.#socket?.write(batchHeader(number, batch.length));
    this.#socket?.write(batch);
  }

  #acknowledged(number: number): void {
    while (this.#kept[0] !== undefined && this.#kept[0].number <= number) this.#kept.shift()?.taken();
    if (this.#kept.length === 0) this.#onEmpty?.();
  }

  #lost(why: string): void {
    this.#ready = false;
    this.#socket = null;
    if (this.#closed) return;
    if (!this.#complained)
      this.#report('warn', `nobody takes the observations (${why}); they are kept, up to a limit`);
    this.#complained = true;
    this.#timer = setTimeout(() => this.#connect(), this.#retryMs);
    this.#retryMs = Math.min(this.#retryMs * 2, LONGEST_RETRY_MS);
  }
}
