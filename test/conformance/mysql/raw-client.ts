/**
 * A client that speaks MySQL's protocol packet by packet, for what drivers hide or would never do. It frames by itself;
 * of the product it uses only what computes passwords and packs a HandshakeResponse.
 */
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { ByteWriter } from '../../../src/base/bytes.ts';
import {
  decodeHandshakeV10,
  encodeHandshakeResponse,
  encodeSslRequest,
  type HandshakeV10,
} from '../../../src/wire/mysql/handshake.ts';
import { type Capabilities, Capability as C } from '../../../src/wire/mysql/protocol.ts';
import {
  cachingSha2Response,
  clearResponse,
  encryptPassword,
  nativeResponse,
} from '../../../src/wire/mysql/scramble.ts';
import { waitFor } from '../../servers/index.ts';

export interface RawTarget {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
}

export interface RawOptions {
  /** Wanted of what the server offers; default all but compression and TLS. */
  readonly wanted?: number;
  readonly mariadb?: number;
  readonly tls?: boolean;
  readonly attributes?: Readonly<Record<string, string>>;
  readonly collation?: number;
  /** Goes on to send when the other side has ended. Default: ends as well. */
  readonly halfOpen?: boolean;
}

export interface Packet {
  readonly sequence: number;
  readonly payload: Buffer;
  /** Header and payload. */
  readonly whole: Buffer;
}

const NEVER =
  C.COMPRESS | C.SSL | C.ZSTD_COMPRESSION_ALGORITHM | C.MULTI_FACTOR_AUTHENTICATION | C.REMEMBER_OPTIONS;
const PUBLIC_KEY = 0x02;

export class RawMysql {
  greeting!: HandshakeV10;
  capabilities: Capabilities = { flags: 0, mariadb: 0 };
  #socket: Socket;
  #received = Buffer.alloc(0);
  #closed = false;
  #ended = false;

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.#listen();
  }

  /** Only the connection: nothing is read, and nothing is said but `first`. */
  static async open(
    host: string,
    port: number,
    localAddress?: string,
    first = '',
    halfOpen = false,
  ): Promise<RawMysql> {
    const socket = connect({
      host,
      port,
      noDelay: true,
      allowHalfOpen: halfOpen,
      ...(localAddress === undefined ? {} : { localAddress }),
    });
    await new Promise<void>((done, fail) => {
      socket.once('connect', done);
      socket.once('error', fail);
    });
    const client = new RawMysql(socket);
    if (first !== '') client.send(Buffer.from(first));
    return client;
  }

  /** A session. Rejects with the server's error. */
  static async connect(target: RawTarget, options: RawOptions = {}): Promise<RawMysql> {
    const client = await RawMysql.open(target.host, target.port, undefined, '', options.halfOpen);
    await client.greet();
    await client.logIn(target, options);
    return client;
  }

  #listen(): void {
    this.#socket.on('data', (chunk: Buffer) => {
      this.#received = Buffer.concat([this.#received, chunk]);
    });
    this.#socket.on('end', () => {
      this.#ended = true;
    });
    this.#socket.on('error', () => undefined); // a reset is how some of these connections end
    this.#socket.on('close', () => {
      this.#closed = true;
    });
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** The other side says nothing more. */
  get ended(): boolean {
    return this.#ended;
  }

  async greet(): Promise<HandshakeV10> {
    const { payload } = await this.packet();
    if (payload[0] === 0xff) throw errorOf(payload);
    this.greeting = decodeHandshakeV10(payload, 0, payload.length);
    return this.greeting;
  }

  /** What we would speak with this server. */
  agree(options: RawOptions): void {
    const { flags, mariadb } = this.greeting.capabilities;
    const own = C.PROTOCOL_41 | C.SECURE_CONNECTION | C.PLUGIN_AUTH;
    this.capabilities = {
      flags: ((flags & (options.wanted ?? 0xffff_ffff) & ~NEVER) | own | (options.tls ? C.SSL : 0)) >>> 0,
      mariadb: mariadb & (options.mariadb ?? 0xffff_ffff),
    };
  }

  async logIn(target: RawTarget, options: RawOptions = {}): Promise<void> {
    this.agree(options);
    const writer = new ByteWriter(512);
    const head = {
      capabilities: this.capabilities,
      maxPacketBytes: 1 << 30,
      collation: options.collation ?? 45,
    };
    let sequence = 1;
    if (options.tls) {
      sequence = encodeSslRequest(writer, head, sequence);
      this.send(writer.copy());
      writer.reset();
      await this.upgrade();
    }
    const { authPlugin, authData } = this.greeting;
    encodeHandshakeResponse(
      writer,
      {
        ...head,
        user: target.user,
        authResponse: answer(authPlugin, target.password, authData),
        database: target.database,
        authPlugin,
        attributes: new Map(Object.entries({ _client_name: 'raw', ...options.attributes })),
        zstdLevel: 0,
      },
      sequence,
    );
    this.send(writer.copy());
    await this.#authenticate(target.password, authPlugin, authData, options.tls === true);
  }

  /** Answers the server's requests for a proof until it says yes. Rejects with its error. */
  prove(password: string, nonce: Uint8Array = Buffer.alloc(20)): Promise<void> {
    return this.#authenticate(password, 'caching_sha2_password', nonce, false);
  }

  async #authenticate(
    password: string,
    plugin: string,
    nonce: Uint8Array,
    insideTls: boolean,
  ): Promise<void> {
    for (;;) {
      const { payload, sequence } = await this.packet();
      const say = (data: Buffer): void => this.send(packet(data, sequence + 1));
      if (payload[0] === 0x00) return;
      if (payload[0] === 0xff) throw errorOf(payload);
      if (payload[0] === 0xfe) {
        const end = payload.indexOf(0, 1);
        plugin = payload.toString('latin1', 1, end);
        nonce = payload.subarray(end + 1, end + 21);
        say(answer(plugin, password, nonce));
      } else if (payload.length > 2) say(encryptPassword(password, nonce, payload.subarray(1)));
      else if (payload[1] === 0x04) say(insideTls ? clearResponse(password) : Buffer.from([PUBLIC_KEY]));
    }
  }

  /** TLS from here on. */
  async upgrade(): Promise<void> {
    const plain = this.#socket;
    plain.removeAllListeners('data');
    plain.removeAllListeners('close');
    const secure = connectTls({ socket: plain, rejectUnauthorized: false });
    await new Promise<void>((done, fail) => {
      secure.once('secureConnect', done);
      secure.once('error', fail);
      secure.once('close', () => fail(new Error('closed during the handshake')));
    });
    this.#socket = secure;
    this.#received = Buffer.alloc(0);
    this.#listen();
  }

  send(...bytes: readonly Buffer[]): void {
    this.#socket.write(Buffer.concat(bytes));
  }

  /** The next packet. Rejects when the connection ends first. */
  async packet(): Promise<Packet> {
    await waitFor('a packet', () => {
      const there =
        this.#received.length >= 4 && this.#received.length >= 4 + this.#received.readUIntLE(0, 3);
      if (!there && this.#closed) throw new Error('the connection was closed');
      return there;
    });
    const end = 4 + this.#received.readUIntLE(0, 3);
    const whole = this.#received.subarray(0, end);
    this.#received = this.#received.subarray(end);
    return { sequence: whole[3], payload: whole.subarray(4), whole };
  }

  /** The packets of the answer to a command whose first answer packet is already known or not. */
  async answer(
    kind: 'query' | 'cursor' | 'prepare' | 'one' | 'fieldList' | 'fetch' = 'query',
  ): Promise<Packet[]> {
    const packets: Packet[] = [];
    const next = async (): Promise<Packet> => {
      let one = await this.packet();
      packets.push(one);
      // MariaDB's progress reports look like errors, with the number 65535.
      for (; one.payload.length > 3 && one.payload.readUIntLE(0, 3) === 0xff_ffff; packets.push(one))
        one = await this.packet();
      return one;
    };
    const deprecateEof = (this.capabilities.flags & C.DEPRECATE_EOF) !== 0;
    const definitions = async (count: number): Promise<number> => {
      if (count === 0) return 0;
      for (let i = 0; i < count; i++) await next();
      return deprecateEof ? 0 : statusOf((await next()).payload, false);
    };
    const ends = (payload: Buffer): boolean =>
      payload[0] === 0xff || (payload[0] === 0xfe && payload.length < (deprecateEof ? 0xff_ffff : 9));
    if (kind === 'fieldList' || kind === 'fetch') {
      while (!ends((await next()).payload));
      return packets;
    }
    for (;;) {
      const { payload } = await next();
      const first = payload[0];
      if (kind === 'one' || first === 0xff || first === 0xfb) return packets;
      if (kind === 'prepare') {
        await definitions(payload.readUInt16LE(7));
        await definitions(payload.readUInt16LE(5));
        return packets;
      }
      let status: number;
      if (first === 0x00 || (first === 0xfe && payload.length < 9))
        status = statusOf(payload, first === 0x00);
      else {
        // Column counts of these tests fit into a byte; behind it may stand whether definitions follow.
        const left = payload.length > 1 && payload[1] === 0;
        if (!left) status = await definitions(first);
        else status = deprecateEof ? 0 : statusOf((await next()).payload, false);
        // A cursor's rows come with fetches. Results of procedures may have the flag, too, and another result behind them.
        if (kind !== 'cursor' || (status & 0x48) !== 0x40) {
          let row = await next();
          while (!ends(row.payload)) row = await next();
          if (row.payload[0] === 0xff) return packets;
          // In front of the values of OUT parameters, and there only, MySQL says that more follows.
          const before = (status & 0x1000) === 0 ? 0 : status & 0x08;
          status = statusOf(row.payload, deprecateEof) | before;
        }
      }
      if ((status & 0x08) === 0) return packets;
    }
  }

  /** Sends a command and reads its whole answer. */
  async run(command: Buffer, kind?: Parameters<RawMysql['answer']>[0]): Promise<Packet[]> {
    this.send(packet(command));
    return this.answer(kind);
  }

  query(sql: string | Buffer): Promise<Packet[]> {
    return this.run(queryPayload(this.capabilities, sql));
  }

  /** The error that a statement ends with, as `errno sqlstate message`; '' when it has none. */
  async failure(sql: string | Buffer): Promise<string> {
    return failureOf(await this.query(sql));
  }

  /** Text values of the first row. */
  async row(sql: string): Promise<string[]> {
    const packets = await this.query(sql);
    const failed = failureOf(packets);
    if (failed !== '') throw new Error(failed);
    const deprecateEof = (this.capabilities.flags & C.DEPRECATE_EOF) !== 0;
    const { payload } = packets[1 + packets[0].payload[0] + (deprecateEof ? 0 : 1)];
    const values: string[] = [];
    for (let at = 0; at < payload.length; ) {
      const length = payload[at] === 0xfb ? 0 : payload[at];
      values.push(payload.toString('utf8', at + 1, at + 1 + length));
      at += 1 + length;
    }
    return values;
  }

  async untilClosed(): Promise<void> {
    await waitFor('the end of the connection', () => this.#closed);
  }

  /** COM_QUIT. */
  async quit(): Promise<void> {
    if (!this.#closed) this.send(packet(Buffer.from([1])));
    await this.untilClosed();
  }

  destroy(): void {
    this.#socket.destroy();
  }
}

/** COM_QUERY's payload as these capabilities have it. */
export function queryPayload(capabilities: Capabilities, sql: string | Buffer): Buffer {
  const attributes = (capabilities.flags & C.QUERY_ATTRIBUTES) !== 0 ? [0, 1] : [];
  return Buffer.concat([Buffer.from([3, ...attributes]), Buffer.from(sql)]);
}

/** A payload in as many packets as it needs. */
export function packet(payload: Buffer, sequence = 0): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; ; at += 0xff_ffff) {
    const piece = payload.subarray(at, at + 0xff_ffff);
    const head = Buffer.alloc(4);
    head.writeUIntLE(piece.length, 0, 3);
    head[3] = sequence++;
    parts.push(head, piece);
    if (piece.length < 0xff_ffff) return Buffer.concat(parts);
  }
}

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function answer(plugin: string, password: string, nonce: Uint8Array): Buffer {
  if (plugin === 'mysql_native_password') return nativeResponse(password, nonce);
  if (plugin === 'mysql_clear_password') return clearResponse(password);
  return cachingSha2Response(password, nonce);
}

/** Status of an OK, or of an EOF. */
function statusOf(payload: Buffer, ok: boolean): number {
  if (!ok && payload.length < 9) return payload.readUInt16LE(3);
  let at = 1;
  for (let i = 0; i < 2; i++)
    at += payload[at] < 0xfb ? 1 : payload[at] === 0xfc ? 3 : payload[at] === 0xfd ? 4 : 9;
  return payload.readUInt16LE(at);
}

export function failureOf(packets: readonly Packet[]): string {
  const last = packets.at(-1)?.payload;
  return last?.[0] === 0xff ? errorOf(last).message : '';
}

function errorOf(payload: Buffer): Error {
  const marked = payload[3] === 0x23;
  const state = marked ? `${payload.toString('latin1', 4, 9)} ` : '';
  return new Error(`${payload.readUInt16LE(1)} ${state}${payload.toString('utf8', marked ? 9 : 3)}`);
}
