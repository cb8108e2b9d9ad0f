/**
 * A link over a Node stream: `net.Socket`, `tls.TLSSocket`, or any duplex (an SSH channel).
 *
 * Chunks that the stream emits are fresh buffers that nobody writes again, so they are presented without a copy. Output
 * is gathered into the reactor's scratch memory: the stream may keep what the kernel did not take, and the slices that
 * were given to `send` change after the turn.
 */
import type { Duplex } from 'node:stream';
import { Socket } from 'node:net';
import { AppError } from '../base/errors.ts';
import { BaseLink } from './base-link.ts';
import { secureClient, secureServer, tlsFacts } from './handshake.ts';
import { InputWindow } from './input-window.ts';
import type { ClientTlsOptions, Link, LinkHandler, PeerAddress, ServerTlsOptions, TlsFacts } from './link.ts';
import type { Scratch } from './scratch.ts';
import type { Turn } from './turn.ts';

/** What links of one reactor share. */
export interface StreamShared {
  readonly turn: Turn;
  readonly scratch: Scratch;
  readonly maxChunkBytes: number;
  readonly links: Set<BaseLink>;
}

const callOnEnd = (handler: LinkHandler): void => handler.onEnd();

export class StreamLink extends BaseLink {
  readonly #stream: Duplex;
  readonly #shared: StreamShared;
  readonly #input = new InputWindow();
  #backlogged = false;
  /** The stream has ended; the handler may still have bytes to see before it is told. */
  #inputEnded = false;
  #readEnded = false;
  #finSent = false;
  #error: Error | null = null;

  constructor(shared: StreamShared, stream: Duplex, peer: PeerAddress, tls: TlsFacts | null) {
    super(shared.turn, peer, tls);
    this.#shared = shared;
    this.#stream = stream;
    shared.links.add(this);
    stream.pause();
    stream.on('data', this.#onData);
    stream.pause(); // adding a data listener must not start the flow before there is a handler
    stream.on('end', this.#onEnd);
    stream.on('error', this.#onError);
    stream.on('close', this.#onClose);
    if (stream.destroyed) queueMicrotask(this.#onClose);
  }

  override get backlogBytes(): number {
    return this.#backlogged ? this.#stream.writableLength : 0;
  }

  override async startServerTls(options: ServerTlsOptions, head?: Uint8Array): Promise<Link> {
    const stream = await this.#detach();
    if (head !== undefined && head.length > 0) stream.unshift(Buffer.from(head));
    const secured = await secureServer(stream, options);
    return new StreamLink(this.#shared, secured, this.peer, tlsFacts(secured, 'server'));
  }

  override async startClientTls(options: ClientTlsOptions): Promise<Link> {
    const stream = await this.#detach();
    const secured = await secureClient(stream, options);
    return new StreamLink(this.#shared, secured, this.peer, tlsFacts(secured, 'client'));
  }

  protected override startReading(): void {
    // Later, not now: `resume` may be called from within onBytes, and presenting is not re-entrant.
    if (this.#input.length > 0 || this.#inputEnded) setImmediate(this.#represent);
    this.#stream.resume();
  }

  protected override stopReading(): void {
    this.#stream.pause();
  }

  protected override writeSlices(total: number): void {
    const { scratch } = this.#shared;
    const target = scratch.reserve(total);
    const at = scratch.position;
    this.gather(target, at);
    const stream = this.#stream;
    stream.write(target.subarray(at, at + total), this.#onWritten);
    if (stream.writableLength > 0) {
      scratch.keep(total);
      this.#backlogged = true;
    }
  }

  protected override sendFin(): void {
    if (this.#finSent) return;
    this.#finSent = true;
    this.#stream.end();
  }

  protected override release(): void {
    this.#shared.links.delete(this);
    this.#stream.destroy();
  }

  readonly #onWritten = (): void => {
    if (!this.#backlogged || this.closed || this.#stream.writableLength > 0) return;
    this.#backlogged = false;
    this.drained();
  };

  readonly #onData = (chunk: Buffer): void => {
    this.#input.append(chunk);
    if (this.paused) return;
    this.#represent();
    this.#shared.turn.countRead(chunk.length);
  };

  readonly #represent = (): void => {
    const { maxChunkBytes } = this.#shared;
    const input = this.#input;
    while (input.length > 0 && !this.paused && !this.closed) {
      const end = Math.min(input.end, input.start + maxChunkBytes);
      const consumed = this.present(input.bytes, input.start, end);
      const stuck = consumed === input.start;
      if (stuck && end - consumed >= maxChunkBytes) return this.close(chunkNotConsumed(maxChunkBytes));
      input.start = consumed;
      if (stuck) break;
    }
    if (this.#inputEnded) this.#tellEnd();
  };

  readonly #onEnd = (): void => {
    this.#inputEnded = true;
    if (this.#input.length === 0) this.#tellEnd();
    else this.#represent(); // what was left before a pause comes first
  };

  #tellEnd(): void {
    if (this.#readEnded || this.closed || this.paused) return;
    this.#readEnded = true;
    this.tell(callOnEnd);
  }

  readonly #onError = (error: Error): void => {
    this.#error ??= error;
  };

  readonly #onClose = (): void => {
    this.close(this.#error);
  };

  /** Waits until everything queued was written, then gives the stream away. */
  async #detach(): Promise<Duplex> {
    this.pause();
    const stream = this.#stream;
    stream.pause();
    stream.off('data', this.#onData);
    stream.off('end', this.#onEnd);
    try {
      await this.whenWritten();
    } finally {
      this.#shared.links.delete(this);
      stream.off('error', this.#onError);
      stream.off('close', this.#onClose);
    }
    this.abandon();
    return stream;
  }
}

export function chunkNotConsumed(maxChunkBytes: number): AppError {
  return new AppError(
    'protocol',
    'TRANSPORT_CHUNK_NOT_CONSUMED',
    `nothing of ${maxChunkBytes} buffered bytes could be used; the message is too long`,
  );
}

/** Options every socket of ours gets. */
export function tuneSocket(socket: Socket): Socket {
  socket.setNoDelay(true);
  socket.setKeepAlive(true, KEEPALIVE_DELAY_MS);
  return socket;
}

/** Idle time before the first probe; dead peers are noticed within minutes rather than the system's two hours. */
export const KEEPALIVE_DELAY_MS = 60_000;
