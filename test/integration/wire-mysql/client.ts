/**
 * A MySQL and MariaDB client made of nothing but our own codec and a socket: what the codec's integration tests talk to
 * real servers with. It can hand every byte it sends or receives to a tap, which is how the golden traces were recorded.
 */
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { ByteWriter } from '../../../src/base/bytes.ts';
import * as authentication from '../../../src/wire/mysql/authentication.ts';
import { encodeBareCommand, encodeTextCommand } from '../../../src/wire/mysql/commands.ts';
import {
  type CompressionAlgorithm,
  expandFrame,
  FrameCursor,
  nextFrame,
  writeFrames,
} from '../../../src/wire/mysql/compression.ts';
import { ED25519_NONCE_BYTES, ed25519Response } from '../../../src/wire/mysql/ed25519.ts';
import { joinPayload, nextPacket, PacketCursor, passPacket } from '../../../src/wire/mysql/framing.ts';
import {
  decodeHandshakeV10,
  encodeHandshakeResponse,
  encodeSslRequest,
  type HandshakeV10,
  SCRAMBLE_BYTES,
} from '../../../src/wire/mysql/handshake.ts';
import { encodeQuery, type QueryAttribute } from '../../../src/wire/mysql/parameters.ts';
import {
  type Capabilities,
  Capability,
  Command,
  MariadbCapability,
  Status,
  upstreamRunning,
} from '../../../src/wire/mysql/protocol.ts';
import { decodeErr, decodeOk, eofStatus, OkView, terminatorKind } from '../../../src/wire/mysql/responses.ts';
import {
  decodePrepareOk,
  decodeResultSetHeader,
  PrepareOk,
  ResultSetHeader,
} from '../../../src/wire/mysql/resultset.ts';
import * as scramble from '../../../src/wire/mysql/scramble.ts';

export type Tap = (direction: 'client' | 'upstream', bytes: Buffer) => void;

export interface ConnectOptions {
  readonly port: number;
  readonly user: string;
  readonly password?: string;
  readonly database?: string;
  /** Added to what is always asked for. */
  readonly flags?: number;
  readonly withoutFlags?: number;
  readonly mariadb?: number;
  readonly tls?: boolean;
  readonly tap?: Tap;
  readonly collation?: number;
}

/** Packets of one answer's result set, as an event stores them. */
export interface WireResult {
  /** `Result.description`; empty without rows. */
  readonly description: Buffer;
  /** `Result.rows`. */
  readonly rows: Buffer;
  readonly rowCount: number;
  /** The last OK or EOF of it. */
  readonly status: number;
  readonly ok: OkView | null;
  /** The OK's payload, for its session changes. */
  readonly okPayload: Buffer | null;
  readonly metadataFollows: boolean;
}

export class ServerError extends Error {
  readonly number: number;
  readonly sqlState: string;

  constructor(payload: Buffer) {
    const { number, sqlState, message } = decodeErr(payload, 0, payload.length);
    super(message);
    this.number = number;
    this.sqlState = sqlState;
  }
}

interface Packet {
  readonly payload: Buffer;
  /** With headers. */
  readonly raw: Buffer;
  readonly sequence: number;
}

const ALWAYS =
  Capability.LONG_PASSWORD |
  Capability.LONG_FLAG |
  Capability.PROTOCOL_41 |
  Capability.TRANSACTIONS |
  Capability.SECURE_CONNECTION |
  Capability.MULTI_STATEMENTS |
  Capability.MULTI_RESULTS |
  Capability.PS_MULTI_RESULTS |
  Capability.PLUGIN_AUTH |
  Capability.PLUGIN_AUTH_LENENC_CLIENT_DATA |
  Capability.CONNECT_ATTRS |
  Capability.SESSION_TRACK |
  Capability.DEPRECATE_EOF;

export class WireClient {
  #socket: Socket;
  readonly #tap: Tap;
  #received: Buffer = Buffer.alloc(0);
  #expanded: Buffer = Buffer.alloc(0);
  #closed: Error | null = null;
  #wake: () => void = () => undefined;
  #compression: CompressionAlgorithm | null = null;
  readonly #cursor = new PacketCursor();
  greeting: HandshakeV10 | null = null;
  capabilities: Capabilities = { flags: 0, mariadb: 0 };
  /** Method that let us in. */
  method = '';

  private constructor(socket: Socket, tap: Tap) {
    this.#socket = socket;
    this.#tap = tap;
    this.#listen(socket);
  }

  static async connect(options: ConnectOptions): Promise<WireClient> {
    const client = new WireClient(connect(options.port, '127.0.0.1'), options.tap ?? (() => undefined));
    await client.#logIn(options);
    return client;
  }

  #listen(socket: Socket): void {
    socket.on('data', (chunk: Buffer) => {
      this.#tap('upstream', chunk);
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

  async #logIn(options: ConnectOptions): Promise<void> {
    const first = await this.packet();
    if (first.payload[0] === 0xff) throw new ServerError(first.payload);
    const greeting = decodeHandshakeV10(first.payload, 0, first.payload.length);
    this.greeting = greeting;
    const wanted = (ALWAYS | (options.flags ?? 0)) & ~(options.withoutFlags ?? 0);
    const optional = greeting.capabilities.flags | Capability.LONG_PASSWORD;
    let flags = (wanted & optional) >>> 0;
    if (options.database !== undefined) flags = (flags | Capability.CONNECT_WITH_DB) >>> 0;
    const mariadb = (options.mariadb ?? 0) & greeting.capabilities.mariadb;
    if (mariadb !== 0) flags = (flags & ~Capability.LONG_PASSWORD) >>> 0;
    if (options.tls === true) flags = (flags | Capability.SSL) >>> 0;
    this.capabilities = { flags, mariadb };
    const head = {
      capabilities: this.capabilities,
      maxPacketBytes: 0x40000000,
      collation: options.collation ?? 45,
    };
    let sequence = 1;
    if (options.tls === true) {
      this.send((out) => {
        sequence = encodeSslRequest(out, head, sequence);
      });
      await this.#encrypt();
    }
    const password = options.password ?? '';
    const authResponse = this.#response(
      greeting.authPlugin,
      password,
      greeting.authData,
      options.tls === true,
    );
    this.send((out) => {
      encodeHandshakeResponse(
        out,
        {
          ...head,
          user: options.user,
          authResponse,
          database: options.database ?? '',
          authPlugin: greeting.authPlugin,
          attributes: new Map([['_client_name', 'dbwitness codec tests']]),
          zstdLevel: (flags & Capability.ZSTD_COMPRESSION_ALGORITHM) !== 0 ? 3 : 0,
        },
        sequence,
      );
    });
    await this.#exchange(greeting.authPlugin, greeting.authData, password, options.tls === true);
    if ((flags & Capability.COMPRESS) !== 0) this.#compression = 'zlib';
    else if ((flags & Capability.ZSTD_COMPRESSION_ALGORITHM) !== 0) this.#compression = 'zstd';
  }

  async #encrypt(): Promise<void> {
    const plain = this.#socket;
    plain.removeAllListeners('data');
    const secure = connectTls({ socket: plain, rejectUnauthorized: false });
    await new Promise<void>((resolve, reject) => {
      secure.once('secureConnect', resolve).once('error', reject);
    });
    this.#socket = secure;
    this.#listen(secure);
  }

  #response(plugin: string, password: string, nonce: Uint8Array, tls: boolean): Buffer {
    switch (plugin) {
      case scramble.CACHING_SHA2_PASSWORD:
        return scramble.cachingSha2Response(password, nonce);
      case scramble.MYSQL_NATIVE_PASSWORD:
        return scramble.nativeResponse(password, nonce);
      case scramble.CLIENT_ED25519:
        return ed25519Response(password, nonce);
      case scramble.MYSQL_CLEAR_PASSWORD:
        return scramble.clearResponse(password);
      case scramble.SHA256_PASSWORD:
        return tls
          ? scramble.clearResponse(password)
          : Buffer.from([authentication.REQUEST_PUBLIC_KEY_SHA256]);
      default:
        return Buffer.alloc(0);
    }
  }

  async #exchange(plugin: string, nonce: Uint8Array, password: string, tls: boolean): Promise<void> {
    let method = plugin;
    let current = nonce;
    for (;;) {
      const { payload, sequence } = await this.packet();
      const answer = (data: Uint8Array): void => {
        this.send((out) => {
          authentication.encodeAuthResponse(out, data, sequence + 1);
        });
      };
      if (payload[0] === 0xff) throw new ServerError(payload);
      if (payload[0] === 0) {
        this.method = method;
        return;
      }
      if (payload[0] === authentication.AUTH_SWITCH_REQUEST) {
        const request = authentication.decodeAuthSwitchRequest(payload, 0, payload.length);
        method = request.plugin;
        const bytes = method === scramble.CLIENT_ED25519 ? ED25519_NONCE_BYTES : SCRAMBLE_BYTES;
        current = Buffer.from(authentication.nonceOf(request.data, bytes));
        answer(this.#response(method, password, current, tls));
        continue;
      }
      const data = authentication.decodeAuthMoreData(payload, 0, payload.length);
      if (data[0] === authentication.FAST_AUTH_SUCCESS) continue;
      if (data[0] === authentication.PERFORM_FULL_AUTHENTICATION)
        answer(
          tls ? scramble.clearResponse(password) : Buffer.from([authentication.REQUEST_PUBLIC_KEY_SHA2]),
        );
      else answer(scramble.encryptPassword(password, current, data));
    }
  }

  /** Sends what `write` writes. */
  send(write: (out: ByteWriter) => void): void {
    const out = new ByteWriter(256);
    write(out);
    let bytes = out.copy();
    if (this.#compression !== null) {
      const frames = new ByteWriter(256);
      writeFrames(frames, bytes, 0, bytes.length, 0, this.#compression, 3);
      bytes = frames.copy();
    }
    this.#tap('client', bytes);
    this.#socket.write(bytes);
  }

  /** The next payload of the server, with the packets that carried it. */
  async packet(): Promise<Packet> {
    for (;;) {
      const found = this.#take();
      if (found !== null) return found;
      if (this.#closed !== null) throw this.#closed;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  #take(): Packet | null {
    if (this.#compression !== null) this.#expand(this.#compression);
    const bytes = this.#compression === null ? this.#received : this.#expanded;
    const cursor = this.#cursor;
    cursor.before = 0;
    let at = 0;
    do {
      if (!nextPacket(bytes, at, bytes.length, upstreamRunning, cursor)) return null;
      passPacket(cursor);
      at = cursor.end;
    } while (!cursor.last);
    const raw = Buffer.from(bytes.subarray(0, at));
    if (this.#compression === null) this.#received = bytes.subarray(at);
    else this.#expanded = bytes.subarray(at);
    return { raw, payload: joinPayload(raw, 0, raw.length), sequence: cursor.sequence };
  }

  #expand(algorithm: CompressionAlgorithm): void {
    const frame = new FrameCursor();
    while (nextFrame(this.#received, 0, this.#received.length, frame)) {
      this.#expanded = Buffer.concat([this.#expanded, expandFrame(this.#received, frame, algorithm)]);
      this.#received = this.#received.subarray(frame.end);
    }
  }

  /** Runs a text with one statement or several; rejects with a {@link ServerError}. */
  async query(text: string | Uint8Array, attributes: readonly QueryAttribute[] = []): Promise<WireResult[]> {
    this.send((out) => encodeQuery(out, text, this.capabilities, attributes));
    return this.results(0);
  }

  /** The result sets that answer a command. @param format 0 text, 1 binary rows. */
  async results(format: 0 | 1): Promise<WireResult[]> {
    const results: WireResult[] = [];
    for (;;) {
      const result = await this.#result(format);
      results.push(result);
      if ((result.status & Status.MORE_RESULTS_EXISTS) === 0) return results;
    }
  }

  async #result(format: 0 | 1): Promise<WireResult> {
    const first = await this.packet();
    const { payload } = first;
    if (payload[0] === 0xff) throw new ServerError(payload);
    const header = new ResultSetHeader();
    if (payload[0] === 0) {
      const ok = this.#ok(payload);
      const nothing = { description: Buffer.alloc(0), rows: Buffer.alloc(0), rowCount: 0 };
      return { ...nothing, status: ok.status, ok, okPayload: payload, metadataFollows: true };
    }
    decodeResultSetHeader(payload, 0, payload.length, this.capabilities, header);
    const columns = header.metadataFollows ? await this.#packets(header.columnCount) : [];
    const cached =
      header.metadataFollows || (this.capabilities.mariadb & MariadbCapability.CACHE_METADATA) !== 0;
    if (cached && !this.#deprecateEof) await this.packet();
    const rows: Buffer[] = [];
    for (;;) {
      const packet = await this.packet();
      const kind = terminatorKind(packet.payload[0], packet.raw.length - 4, this.#deprecateEof);
      if (kind === 'err') throw new ServerError(packet.payload);
      if (kind === 'none') {
        rows.push(packet.raw);
        continue;
      }
      const ok = kind === 'ok' ? this.#ok(packet.payload) : null;
      return {
        description: Buffer.concat([Buffer.from([format]), ...columns]),
        rows: Buffer.concat(rows),
        rowCount: rows.length,
        status: ok?.status ?? eofStatus(packet.payload, 0, packet.payload.length),
        ok,
        okPayload: ok === null ? null : packet.payload,
        metadataFollows: header.metadataFollows,
      };
    }
  }

  get #deprecateEof(): boolean {
    return (this.capabilities.flags & Capability.DEPRECATE_EOF) !== 0;
  }

  #ok(payload: Buffer): OkView {
    const ok = new OkView();
    decodeOk(payload, 0, payload.length, this.capabilities, ok);
    return ok;
  }

  async #packets(count: number): Promise<Buffer[]> {
    const packets: Buffer[] = [];
    for (let i = 0; i < count; i++) packets.push((await this.packet()).raw);
    return packets;
  }

  async prepare(text: string): Promise<PrepareOk> {
    this.send((out) => encodeTextCommand(out, Command.STMT_PREPARE, text));
    const { payload } = await this.packet();
    if (payload[0] === 0xff) throw new ServerError(payload);
    const ok = new PrepareOk();
    decodePrepareOk(payload, 0, payload.length, this.capabilities, ok);
    if (!ok.metadataFollows) return ok;
    for (const count of [ok.parameterCount, ok.columnCount]) {
      await this.#packets(count);
      if (count > 0 && !this.#deprecateEof) await this.packet();
    }
    return ok;
  }

  async close(): Promise<void> {
    if (this.#closed !== null) return;
    this.send((out) => encodeBareCommand(out, Command.QUIT));
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      if (this.#closed !== null) resolve();
    });
    this.#socket.destroy();
  }
}
