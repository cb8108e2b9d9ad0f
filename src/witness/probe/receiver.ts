/**
 * The receiving end of probes: a Unix socket for the one on this host, mutual TLS for others. Batches of one run are taken
 * in order and once; each is checked before anybody sees it. See handover.ts for the bytes.
 */
import { chmodSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { AppError, messageOf, systemErrorCode } from '../../base/errors.ts';
import {
  ACK_BYTES,
  answer,
  BATCH_HEADER_BYTES,
  checkBatch,
  GREETING_BYTES,
  MAX_BATCH_BYTES,
  readGreeting,
} from './handover.ts';

export interface ReceiverOptions {
  /** Records a batch; resolves when it is on stable storage, rejects to have it sent again later. Called in order. */
  readonly append: (batch: Buffer) => Promise<void>;
  readonly report: (level: 'info' | 'warn', message: string) => void;
}

export interface MutualTls {
  /** PEM. */
  readonly cert: string;
  readonly key: string;
  /** Authorities that the other side's certificate must be from. */
  readonly ca: string;
}

const MAX_CONNECTIONS = 1_000;
/** Runs whose last batch is remembered; a run that is forgotten may record its unacknowledged batches twice. */
const MAX_RUNS = 10_000;
const GREETING_TIMEOUT_MS = 10_000;
/** Received and not recorded yet, of one connection; beyond, it is not read. */
const MAX_QUEUED_BYTES = 64 * 1024 * 1024;

export class ProbeReceiver {
  readonly #options: ReceiverOptions;
  readonly #servers: Server[] = [];
  readonly #sockets = new Set<Socket>();
  /** The last batch of each run that was recorded, or is being recorded. */
  readonly #runs = new Map<string, number>();

  constructor(options: ReceiverOptions) {
    this.#options = options;
  }

  /** Whoever can open the socket (this user, and root) may record observations. */
  async listenLocal(path: string): Promise<void> {
    rmSync(path, { force: true });
    const server = createServer((socket) => this.#serve(socket, 'the probe of this host'));
    await this.#listen(server, path);
    chmodSync(path, 0o600);
  }

  /** Returns the port. Certificates of probes must be from `tls.ca`. */
  async listenRemote(host: string, port: number, tls: MutualTls): Promise<number> {
    const server = createTlsServer(
      { ...tls, requestCert: true, rejectUnauthorized: true, minVersion: 'TLSv1.2' },
      (socket: TLSSocket) => {
        const { subject } = socket.getPeerCertificate();
        const names: string | string[] | undefined = subject?.CN;
        this.#serve(socket, `probe ${String(names ?? '')} at ${socket.remoteAddress ?? ''}`);
      },
    );
    server.on('tlsClientError', (error) =>
      this.#options.report('warn', `a probe was turned away: ${error.message}`),
    );
    await this.#listen(server, port, host === '' ? undefined : host);
    const address = server.address();
    return typeof address === 'object' && address !== null ? address.port : port;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all(this.#servers.map((server) => new Promise<void>((done) => server.close(() => done()))));
  }

  #listen(server: Server, where: string | number, host?: string): Promise<void> {
    server.maxConnections = MAX_CONNECTIONS;
    this.#servers.push(server);
    return new Promise((resolve, reject) => {
      server.once('error', (cause) => {
        const code = systemErrorCode(cause) ?? messageOf(cause);
        reject(
          new AppError('unavailable', 'PROBE_LISTEN', `cannot listen for probes at ${where}: ${code}`, {
            cause,
          }),
        );
      });
      if (typeof where === 'string') server.listen(where, resolve);
      else server.listen(where, host, resolve);
    });
  }

  #serve(socket: Socket, name: string): void {
    this.#sockets.add(socket);
    const greetingTimer = setTimeout(() => socket.destroy(), GREETING_TIMEOUT_MS);
    const connection = new Connection(socket, this.#options, this.#runs, () => clearTimeout(greetingTimer));
    socket.on('data', (chunk: Buffer) => {
      try {
        connection.receive(chunk);
      } catch (error) {
        this.#options.report('warn', `${name}: ${messageOf(error)}`);
        socket.destroy();
      }
    });
    socket.on('error', (error) => this.#options.report('warn', `${name}: ${error.message}`));
    socket.on('close', () => {
      clearTimeout(greetingTimer);
      this.#sockets.delete(socket);
      connection.close();
    });
    while (this.#runs.size > MAX_RUNS) this.#runs.delete(this.#runs.keys().next().value ?? '');
  }
}

class Connection {
  readonly #socket: Socket;
  readonly #options: ReceiverOptions;
  readonly #runs: Map<string, number>;
  readonly #greeted: () => void;
  #run: string | null = null;
  #chunks: Buffer[] = [];
  #bytes = 0;
  #queued = 0;
  #work: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(socket: Socket, options: ReceiverOptions, runs: Map<string, number>, greeted: () => void) {
    this.#socket = socket;
    this.#options = options;
    this.#runs = runs;
    this.#greeted = greeted;
  }

  close(): void {
    this.#closed = true;
  }

  /** @throws AppError `protocol` */
  receive(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    if (this.#run === null) {
      const bytes = this.#take(GREETING_BYTES);
      if (bytes === null) return;
      this.#run = readGreeting(bytes);
      this.#greeted();
      this.#socket.write(answer(this.#runs.get(this.#run) ?? 0));
    }
    for (let batch = this.#batch(); batch !== null; batch = this.#batch()) this.#record(batch);
  }

  #batch(): { number: number; bytes: Buffer } | null {
    const header = this.#peek(BATCH_HEADER_BYTES);
    if (header === null) return null;
    const bytes = header.readUInt32LE(4);
    if (bytes > MAX_BATCH_BYTES)
      throw new AppError(
        'protocol',
        'PROBE_HANDOVER',
        `a batch of ${bytes} bytes is more than ${MAX_BATCH_BYTES}`,
      );
    const whole = this.#take(BATCH_HEADER_BYTES + bytes);
    if (whole === null) return null;
    return { number: header.readUInt32LE(0), bytes: whole.subarray(BATCH_HEADER_BYTES) };
  }

  #record({ number, bytes }: { number: number; bytes: Buffer }): void {
    const run = this.#run ?? '';
    // A run that is not known began with another receiver, or with one that was started again: it goes on from here.
    const last = this.#runs.get(run) ?? number - 1;
    if (number <= last) return this.#acknowledge(number);
    if (number !== last + 1)
      throw new AppError('protocol', 'PROBE_HANDOVER', `batch ${number} came behind batch ${last}`);
    checkBatch(bytes);
    this.#runs.set(run, number);
    this.#queued += bytes.length;
    if (this.#queued > MAX_QUEUED_BYTES) this.#socket.pause();
    this.#work = this.#work
      .then(() => this.#options.append(bytes))
      .then(
        () => {
          this.#queued -= bytes.length;
          if (this.#queued <= MAX_QUEUED_BYTES / 2) this.#socket.resume();
          this.#acknowledge(number);
        },
        (error: unknown) => {
          // What was not recorded is sent again over a new connection, from here on.
          if ((this.#runs.get(run) ?? 0) >= number) this.#runs.set(run, number - 1);
          this.#options.report('warn', `observations could not be recorded: ${messageOf(error)}`);
          this.#socket.destroy();
          throw error;
        },
      );
    this.#work.catch(() => undefined);
  }

  #acknowledge(number: number): void {
    if (this.#closed) return;
    const bytes = Buffer.alloc(ACK_BYTES);
    bytes.writeUInt32LE(number);
    this.#socket.write(bytes);
  }

  #joined(): Buffer {
    if (this.#chunks.length > 1) this.#chunks = [Buffer.concat(this.#chunks)];
    return this.#chunks[0] ?? Buffer.alloc(0);
  }

  #peek(bytes: number): Buffer | null {
    return this.#bytes < bytes ? null : this.#joined().subarray(0, bytes);
  }

  #take(bytes: number): Buffer | null {
    if (this.#bytes < bytes) return null;
    const joined = this.#joined();
    this.#chunks = [joined.subarray(bytes)];
    this.#bytes -= bytes;
    return joined.subarray(0, bytes);
  }
}
