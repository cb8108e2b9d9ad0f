/**
 * A PostgreSQL client made of nothing but our own codec and a socket: what the codec's integration tests talk to real
 * servers with. It can hand every byte it sends or receives to a tap, which is how the golden traces were recorded.
 */
import { connect, type Socket } from 'node:net';
import { promisify } from 'node:util';
import { pbkdf2 } from 'node:crypto';
import { ByteWriter } from '../../../src/base/bytes.ts';
import { AppError } from '../../../src/base/errors.ts';
import * as authentication from '../../../src/wire/postgres/authentication.ts';
import { decodeErrorFields } from '../../../src/wire/postgres/backend.ts';
import {
  encodeBind,
  encodeDescribe,
  encodeExecute,
  encodeParse,
  encodeSync,
  encodeTerminate,
  TARGET_PORTAL,
} from '../../../src/wire/postgres/frontend.ts';
import { MessageCursor, nextMessage } from '../../../src/wire/postgres/framing.ts';
import { Backend, upstreamAuthenticating, upstreamRunning } from '../../../src/wire/postgres/messages.ts';
import {
  chooseScramMechanism,
  type DeriveKey,
  md5Response,
  ScramClient,
} from '../../../src/wire/postgres/scram.ts';
import {
  type BackendKeyData,
  decodeBackendKeyData,
  decodeNegotiateProtocolVersion,
  encodeStartupMessage,
  type NegotiateProtocolVersion,
  PROTOCOL_3_0,
} from '../../../src/wire/postgres/startup.ts';

export const deriveKey: DeriveKey = async (password, salt, iterations) =>
  promisify(pbkdf2)(password, salt, iterations, 32, 'sha256');

export type Tap = (direction: 'client' | 'upstream', bytes: Buffer) => void;

export interface WireMessage {
  readonly type: string;
  readonly body: Buffer;
}

export interface ExtendedResult {
  /** RowDescription body; empty without rows. */
  readonly description: Buffer;
  /** Whole DataRow messages. */
  readonly rows: Buffer;
}

export interface ConnectOptions {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password?: string;
  readonly database?: string;
  readonly protocol?: number;
  readonly parameters?: Readonly<Record<string, string>>;
  readonly tap?: Tap;
}

export class WireClient {
  readonly #socket: Socket;
  readonly #tap: Tap;
  readonly #cursor = new MessageCursor();
  #received: Buffer = Buffer.alloc(0);
  #closed: Error | null = null;
  #wake: () => void = () => undefined;
  #limits = upstreamAuthenticating;
  #key: BackendKeyData | null = null;
  #negotiated: NegotiateProtocolVersion | null = null;

  private constructor(socket: Socket, tap: Tap) {
    this.#socket = socket;
    this.#tap = tap;
    socket.on('data', (chunk: Buffer) => {
      tap('upstream', chunk);
      this.#received = Buffer.concat([this.#received, chunk]);
      this.#wake();
    });
    socket.on('error', (error) => this.#end(error));
    socket.on('close', () => this.#end(new Error('the server closed the connection')));
  }

  #end(error: Error): void {
    this.#closed ??= error;
    this.#wake();
  }

  static async connect(options: ConnectOptions): Promise<WireClient> {
    const socket = options.host.startsWith('/')
      ? connect(`${options.host}/.s.PGSQL.${options.port}`)
      : connect(options.port, options.host);
    const client = new WireClient(socket, options.tap ?? (() => undefined));
    await client.#logIn(options);
    client.#limits = upstreamRunning;
    return client;
  }

  /** What a CancelRequest for this connection must carry. */
  get key(): BackendKeyData {
    if (this.#key === null) throw new Error('the server has sent no BackendKeyData');
    return this.#key;
  }

  /** `null`: the server speaks what was asked for. */
  get negotiated(): NegotiateProtocolVersion | null {
    return this.#negotiated;
  }

  /** Writes messages. */
  send(write: (out: ByteWriter) => void): void {
    const out = new ByteWriter(1024);
    write(out);
    const bytes = out.copy();
    this.#tap('client', bytes);
    this.#socket.write(bytes);
  }

  /** The next message of the server, of whatever type. */
  async next(): Promise<WireMessage> {
    for (;;) {
      const bytes = this.#received;
      if (nextMessage(bytes, 0, bytes.length, this.#limits, this.#cursor)) {
        const { type, body, end } = this.#cursor;
        this.#received = bytes.subarray(end);
        return { type: String.fromCharCode(type), body: bytes.subarray(body, end) };
      }
      if (this.#closed !== null) throw this.#closed;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** Messages up to and including the next ReadyForQuery. */
  async untilReady(): Promise<WireMessage[]> {
    const messages: WireMessage[] = [];
    for (;;) {
      const message = await this.next();
      messages.push(message);
      if (message.type === 'Z') return messages;
    }
  }

  /** One statement by the extended protocol, results all text (0) or all binary (1). @throws the server's error. */
  async extended(
    text: string,
    resultFormat: 0 | 1,
    parameters: readonly (Uint8Array | null)[] = [],
    types: readonly number[] = [],
    parameterFormats: readonly number[] = [],
  ): Promise<ExtendedResult> {
    this.send((out) => {
      encodeParse(out, { name: '', text, types });
      encodeBind(out, {
        portal: '',
        statement: '',
        formats: parameterFormats,
        parameters,
        resultFormats: [resultFormat],
      });
      encodeDescribe(out, TARGET_PORTAL, '');
      encodeExecute(out, '');
      encodeSync(out);
    });
    let description: Buffer = Buffer.alloc(0);
    const rows: Buffer[] = [];
    for (const { type, body } of await this.untilReady()) {
      if (type === 'T') description = body;
      if (type === 'D') {
        const header = Buffer.from([Backend.DataRow, 0, 0, 0, 0]);
        header.writeUInt32BE(body.length + 4, 1);
        rows.push(header, body);
      }
      if (type === 'E') throw serverError(body);
    }
    return { description, rows: Buffer.concat(rows) };
  }

  async close(): Promise<void> {
    this.send(encodeTerminate);
    this.#socket.end();
    while (this.#closed === null)
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
  }

  async #logIn(options: ConnectOptions): Promise<void> {
    const { user, password = '' } = options;
    const parameters = new Map([
      ['user', user],
      ['database', options.database ?? 'postgres'],
      ...Object.entries(options.parameters ?? {}),
    ]);
    this.send((out) => encodeStartupMessage(out, { protocol: options.protocol ?? PROTOCOL_3_0, parameters }));
    let scram: ScramClient | null = null;
    for (;;) {
      const { type, body } = await this.next();
      if (type === 'E') throw serverError(body);
      if (type === 'Z') return;
      if (type === 'K') this.#key = decodeBackendKeyData(body, 0, body.length);
      if (type === 'v') this.#negotiated = decodeNegotiateProtocolVersion(body, 0, body.length);
      if (type !== 'R') continue;
      const message = authentication.decodeAuthentication(body, 0, body.length);
      switch (message.kind) {
        case 'cleartext':
          this.send((out) => authentication.encodePassword(out, password));
          break;
        case 'md5':
          this.send((out) => authentication.encodePassword(out, md5Response(user, password, message.salt)));
          break;
        case 'sasl': {
          const mechanism = chooseScramMechanism(message.mechanisms, null);
          if (mechanism === null) throw new Error(`no common mechanism: ${message.mechanisms.join()}`);
          const started = new ScramClient({ mechanism, serverEndPoint: null });
          scram = started;
          this.send((out) =>
            authentication.encodeSaslInitialResponse(out, { mechanism, data: started.first() }),
          );
          break;
        }
        case 'sasl-continue': {
          const proof = await scram?.proof(message.data, password, deriveKey);
          if (proof !== undefined) this.send((out) => authentication.encodeSaslResponse(out, proof));
          break;
        }
        case 'sasl-final':
          scram?.finish(message.data);
          break;
        case 'ok':
          break;
        case 'kerberos5':
        case 'gss':
        case 'gss-continue':
        case 'sspi':
        case 'unknown':
          throw new Error(`this client does not know authentication ${message.kind}`);
      }
    }
  }
}

function serverError(body: Buffer): AppError {
  const fields = decodeErrorFields(body, 0, body.length);
  return new AppError('invalid', fields.get('C') ?? '', fields.get('M') ?? '');
}
