/**
 * A connection that sends any bytes, at any moment, in clear or inside TLS: for what no client would ever do. It knows
 * just enough of PostgreSQL's protocol to build start-up packets and to read what comes back.
 */
import { connect, type Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { waitFor } from '../../servers/index.ts';
import { type BackendMessage, int32 } from '../../conformance/postgres/raw-client.ts';

export const SSL_REQUEST: Buffer = Buffer.concat([int32(8), int32(80_877_103)]);
export const GSSENC_REQUEST: Buffer = Buffer.concat([int32(8), int32(80_877_104)]);

/** A StartupMessage of protocol 3.`minor`. */
export function startup(parameters: Readonly<Record<string, string>>, minor = 0): Buffer {
  const strings = Object.entries(parameters).flatMap(([name, value]) => [`${name}\0`, `${value}\0`]);
  return packet(int32(0x0003_0000 | minor), Buffer.from(`${strings.join('')}\0`));
}

export function cancelRequest(processId: number, key: Buffer): Buffer {
  return packet(int32(80_877_102), int32(processId), key);
}

/** A start-up packet with an honest length in front. */
export function packet(...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  return Buffer.concat([int32(body.length + 4), body]);
}

/** A message with a type byte. */
export function typed(type: string, ...parts: readonly (Buffer | string)[]): Buffer {
  const body = Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : part)));
  return Buffer.concat([Buffer.from(type), int32(body.length + 4), body]);
}

export class BareSocket {
  #socket: Socket | TLSSocket;
  #received: Buffer = Buffer.alloc(0);
  #taken = 0;
  #closed = false;

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.#listen();
  }

  static async connect(port: number): Promise<BareSocket> {
    const socket = connect({ host: '127.0.0.1', port, noDelay: true });
    await new Promise<void>((done, fail) => {
      socket.once('connect', done);
      socket.once('error', fail);
    });
    return new BareSocket(socket);
  }

  #listen(): void {
    this.#socket.on('data', (chunk: Buffer) => {
      this.#received = Buffer.concat([this.#received, chunk]);
    });
    // A reset is how some of these connections end.
    this.#socket.on('error', () => undefined);
    this.#socket.on('close', () => {
      this.#closed = true;
    });
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Everything that came and was not taken. */
  get rest(): Buffer {
    return this.#received.subarray(this.#taken);
  }

  send(...parts: readonly Buffer[]): void {
    this.#socket.write(Buffer.concat(parts));
  }

  /** The next bytes. */
  async take(count: number): Promise<Buffer> {
    await waitFor(`${count} bytes`, () => {
      if (this.rest.length < count && this.#closed) throw new Error(`closed; had ${this.rest.toString()}`);
      return this.rest.length >= count;
    });
    this.#taken += count;
    return this.#received.subarray(this.#taken - count, this.#taken);
  }

  /** The next message. */
  async message(): Promise<BackendMessage> {
    const head = await this.take(5);
    return { type: String.fromCharCode(head[0]), body: await this.take(head.readInt32BE(1) - 4) };
  }

  async untilClosed(): Promise<void> {
    await waitFor('the end of the connection', () => this.#closed);
  }

  /** The error that ends the connection. What came before it is passed over. */
  async fatal(): Promise<Record<string, string>> {
    for (;;) {
      const { type, body } = await this.message();
      if (type !== 'E') continue;
      await this.untilClosed();
      return errorFields(body);
    }
  }

  /** TLS on this connection from here on. Rejects when the handshake fails. */
  async upgrade(options: ConnectionOptions = {}): Promise<TLSSocket> {
    const plain = this.#socket;
    plain.removeAllListeners('data');
    plain.removeAllListeners('close');
    const secure = connectTls({ socket: plain, rejectUnauthorized: false, ...options });
    await new Promise<void>((done, fail) => {
      secure.once('secureConnect', done);
      secure.once('error', fail);
      secure.once('close', () => fail(new Error('closed during the handshake')));
    });
    this.#socket = secure;
    this.#received = Buffer.alloc(0);
    this.#taken = 0;
    this.#listen();
    return secure;
  }

  destroy(): void {
    this.#socket.destroy();
  }
}

/** An ErrorResponse's fields by their letters. */
export function errorFields(body: Buffer): Record<string, string> {
  const fields: Record<string, string> = {};
  for (const field of body.toString().split('\0')) if (field !== '') fields[field[0]] = field.slice(1);
  return fields;
}
