/**
 * A PostgreSQL client that hides nothing: it sends the messages it is told to send, and keeps every message that comes
 * back, byte for byte, in order. It shares no code with the product, on purpose.
 *
 * https://www.postgresql.org/docs/current/protocol-message-formats.html
 */
import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import type { PgTarget } from '../../servers/index.ts';

export interface BackendMessage {
  /** One ASCII character. */
  readonly type: string;
  /** Without type and length. */
  readonly body: Buffer;
}

const REPLY_TIMEOUT_MS = 60_000;
/** ReadyForQuery, idle. */
const READY = Buffer.from('Z\0\0\0\x05I', 'latin1');

/** Frontend messages, by the protocol's names. */
export const message = {
  query: (sql: string | Buffer): Buffer => frame('Q', bytesOf(sql), NUL),
  parse: (name: string, sql: string, types: readonly number[] = []): Buffer =>
    frame('P', cstring(name), cstring(sql), int16(types.length), ...types.map(int32)),
  bind: (
    portal: string,
    statement: string,
    values: readonly (string | Buffer | null)[] = [],
    formats: readonly number[] = [],
    results: readonly number[] = [],
  ): Buffer =>
    frame(
      'B',
      cstring(portal),
      cstring(statement),
      int16(formats.length),
      ...formats.map(int16),
      int16(values.length),
      ...values.flatMap((value) => (value === null ? [int32(-1)] : sized(bytesOf(value)))),
      int16(results.length),
      ...results.map(int16),
    ),
  describe: (kind: 'S' | 'P', name = ''): Buffer => frame('D', Buffer.from(kind), cstring(name)),
  execute: (portal = '', maxRows = 0): Buffer => frame('E', cstring(portal), int32(maxRows)),
  close: (kind: 'S' | 'P', name = ''): Buffer => frame('C', Buffer.from(kind), cstring(name)),
  sync: (): Buffer => frame('S'),
  flush: (): Buffer => frame('H'),
  copyData: (data: string | Buffer): Buffer => frame('d', bytesOf(data)),
  copyDone: (): Buffer => frame('c'),
  copyFail: (reason: string): Buffer => frame('f', cstring(reason)),
  functionCall: (
    oid: number,
    values: readonly (string | Buffer | null)[],
    formats: readonly number[] = [],
    result = 0,
  ): Buffer =>
    frame(
      'F',
      int32(oid),
      int16(formats.length),
      ...formats.map(int16),
      int16(values.length),
      ...values.flatMap((value) => (value === null ? [int32(-1)] : sized(bytesOf(value)))),
      int16(result),
    ),
  terminate: (): Buffer => frame('X'),
};

const NUL = Buffer.alloc(1);

export function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeInt16BE(value);
  return bytes;
}

export function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}

function bytesOf(value: string | Buffer): Buffer {
  return typeof value === 'string' ? Buffer.from(value) : value;
}

function sized(bytes: Buffer): Buffer[] {
  return [int32(bytes.length), bytes];
}

function cstring(text: string): Buffer {
  return Buffer.from(`${text}\0`);
}

function frame(type: string, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  return Buffer.concat([Buffer.from(type), int32(body.length + 4), body]);
}

export class RawClient {
  readonly target: PgTarget;
  /** Everything that came after authentication. */
  readonly received: BackendMessage[] = [];
  readonly #socket: Socket;
  #pending: Buffer[] = [];
  #pendingBytes = 0;
  #closed: Error | 'end' | null = null;
  #wake: () => void = () => {};
  #key: Buffer = Buffer.alloc(0);

  private constructor(target: PgTarget, socket: Socket) {
    this.target = target;
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.#pending.push(chunk);
      this.#pendingBytes += chunk.length;
      this.#parse();
      this.#wake();
    });
    socket.on('error', (error) => {
      this.#closed = error;
      this.#wake();
    });
    socket.on('close', () => {
      this.#closed ??= 'end';
      this.#wake();
    });
  }

  /** Connects and authenticates (trust, cleartext or SCRAM-SHA-256); returns after the first ReadyForQuery. */
  static async connect(
    target: PgTarget,
    parameters: Readonly<Record<string, string>> = {},
  ): Promise<RawClient> {
    const socket = connect({ host: target.host, port: target.port, noDelay: true });
    await new Promise<void>((done, fail) => {
      socket.once('connect', done);
      socket.once('error', fail);
    });
    const client = new RawClient(target, socket);
    const all = { user: target.user, database: target.database, ...parameters };
    const body = Object.entries(all).flatMap(([name, value]) => [cstring(name), cstring(value)]);
    const startup = Buffer.concat([int32(196_608), ...body, NUL]);
    socket.write(Buffer.concat([int32(startup.length + 4), startup]));
    await client.#authenticate();
    await client.#wait('an answer', () => client.received.some(({ type }) => type === 'Z' || type === 'E'));
    const error = client.received.find(({ type }) => type === 'E');
    if (error)
      throw new Error(`refused behind AuthenticationOk: ${error.body.toString().replaceAll('\0', ' ')}`);
    await client.until('Z');
    return client;
  }

  send(...messages: readonly Buffer[]): void {
    this.#socket.write(Buffer.concat(messages));
  }

  /** Waits until `count` more messages of that type have come (after those of earlier calls). */
  async until(type: string, count = 1): Promise<void> {
    const wanted = (this.#waitedFor.get(type) ?? 0) + count;
    this.#waitedFor.set(type, wanted);
    await this.#wait(
      `${count} × ${type}`,
      () => this.received.filter((one) => one.type === type).length >= wanted,
    );
  }

  /** Takes nothing more, and does not see the end either: the connection stays open on this side. */
  stopReading(): void {
    this.#socket.pause();
  }

  /** Ends the connection from this side at once. */
  abort(): void {
    this.#socket.destroy();
  }

  readonly #waitedFor = new Map<string, number>();

  async untilClosed(): Promise<void> {
    await this.#wait('the end of the connection', () => this.#closed !== null);
  }

  /** Sends more, and waits while the peer does not take it. */
  async write(bytes: Buffer): Promise<void> {
    if (this.#socket.write(bytes)) return;
    await new Promise<void>((done, fail) => {
      const ended = (): void => fail(new Error('the connection ended'));
      this.#socket.once('close', ended);
      this.#socket.once('drain', () => {
        this.#socket.off('close', ended);
        done();
      });
    });
  }

  /**
   * Takes everything up to the next idle ReadyForQuery without looking at it, for speed; returns how many bytes came. To
   * be called right after a query whose rows cannot look like a ReadyForQuery.
   */
  async drain(): Promise<number> {
    let bytes = 0;
    let tail: Buffer = Buffer.alloc(0);
    this.#socket.removeAllListeners('data');
    await new Promise<void>((done, fail) => {
      this.#socket.once('close', () => fail(new Error('the connection ended')));
      this.#socket.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        tail = chunk.length >= READY.length ? chunk : Buffer.concat([tail, chunk]);
        if (tail.subarray(-READY.length).equals(READY)) done();
      });
    });
    return bytes;
  }

  /** A CancelRequest on a connection of its own; resolves when the server has closed that. */
  async cancel(): Promise<void> {
    const { host, port } = this.target;
    const socket = connect({ host, port });
    await new Promise<void>((done, fail) => {
      socket.once('error', fail);
      socket.once('close', () => done());
      socket.resume();
      const body = Buffer.concat([int32(80_877_102), this.#key]);
      socket.end(Buffer.concat([int32(body.length + 4), body]));
    });
  }

  /** Sends Terminate and waits for the end. */
  async end(): Promise<void> {
    if (this.#closed === null) this.send(message.terminate());
    await this.untilClosed();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  async #wait(what: string, condition: () => boolean): Promise<void> {
    const timer = setTimeout(() => {
      this.#closed = new Error(
        `no ${what} within ${REPLY_TIMEOUT_MS} ms; got ${this.received.map((one) => one.type).join('')}`,
      );
      this.#wake();
    }, REPLY_TIMEOUT_MS);
    try {
      while (!condition()) {
        if (this.#closed !== null)
          throw this.#closed === 'end'
            ? new Error(
                `closed while waiting for ${what}; got ${this.received.map((one) => one.type).join('')}`,
              )
            : this.#closed;
        await new Promise<void>((done) => {
          this.#wake = done;
        });
      }
    } finally {
      clearTimeout(timer);
    }
  }

  #parse(): void {
    if (this.#pendingBytes < 5) return;
    let bytes = this.#pending[0];
    if (bytes.length < 5 || this.#pendingBytes > bytes.length) {
      // Joined only when the next message is complete: a long one does not become quadratic.
      const head = bytes.length >= 5 ? bytes : Buffer.concat(this.#pending);
      if (this.#pendingBytes < 1 + head.readInt32BE(1)) return;
      bytes = Buffer.concat(this.#pending);
    }
    let at = 0;
    while (bytes.length - at >= 5) {
      const end = at + 1 + bytes.readInt32BE(at + 1);
      if (end > bytes.length) break;
      const type = String.fromCharCode(bytes[at]);
      const body = Buffer.from(bytes.subarray(at + 5, end));
      if (type === 'K') this.#key = body;
      this.received.push({ type, body });
      at = end;
    }
    this.#pending = at === bytes.length ? [] : [bytes.subarray(at)];
    this.#pendingBytes = bytes.length - at;
  }

  async #authenticate(): Promise<void> {
    const nonce = randomBytes(18).toString('base64');
    for (let at = 0; ; at++) {
      await this.#wait('an authentication message', () => this.received.length > at);
      const { type, body } = this.received[at];
      if (type === 'E') throw new Error(`refused: ${body.toString().replaceAll('\0', ' ')}`);
      if (type !== 'R') throw new Error(`not an authentication message: ${type}`);
      const step = body.readInt32BE(0);
      if (step === 0) break;
      if (step === 3) this.send(frame('p', cstring(this.target.password)));
      else if (step === 10) this.send(saslInitial(nonce));
      else if (step === 11)
        this.send(frame('p', Buffer.from(scramProof(this.target.password, nonce, body.subarray(4)))));
      else if (step !== 12) throw new Error(`authentication method ${step} is not one of this client's`);
    }
    // Nonces and proofs differ every time: authentication is left out of what is compared.
    while (this.received[0]?.type === 'R') this.received.shift();
  }
}

function saslInitial(nonce: string): Buffer {
  const first = Buffer.from(`n,,n=,r=${nonce}`);
  return frame('p', cstring('SCRAM-SHA-256'), int32(first.length), first);
}

/** The client-final-message of RFC 5802 §3, without channel binding. */
function scramProof(password: string, nonce: string, serverFirst: Buffer): string {
  const text = serverFirst.toString();
  const fields = new Map(text.split(',').map((field) => [field[0], field.slice(2)]));
  const salted = pbkdf2Sync(
    password,
    Buffer.from(fields.get('s') ?? '', 'base64'),
    Number(fields.get('i')),
    32,
    'sha256',
  );
  const hmac = (key: Buffer, data: string): Buffer => createHmac('sha256', key).update(data).digest();
  const clientKey = hmac(salted, 'Client Key');
  const storedKey = createHash('sha256').update(clientKey).digest();
  const withoutProof = `c=biws,r=${fields.get('r')}`;
  const signature = hmac(storedKey, `n=,r=${nonce},${text},${withoutProof}`);
  const proof = Buffer.from(clientKey.map((byte, i) => byte ^ signature[i]));
  return `${withoutProof},p=${proof.toString('base64')}`;
}
