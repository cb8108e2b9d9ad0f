/**
 * A link on a raw non-blocking socket. The descriptor is registered once, edge-triggered, for input; output is asked
 * for only while there is a backlog.
 *
 * `readable` remembers an edge until a read has emptied the socket: one read per turn, so that no link starves the
 * others, and none while paused.
 */
import { Socket } from 'node:net';
import { AppError } from '../base/errors.ts';
import type { Arena } from './arena.ts';
import { BaseLink } from './base-link.ts';
import { Carry, SMALL_BYTES } from './carry.ts';
import { secureClient, secureServer, tlsFacts } from './handshake.ts';
import type { ClientTlsOptions, Link, LinkHandler, PeerAddress, ServerTlsOptions } from './link.ts';
import { type SendBatch, STAGE_BYTES } from './send-batch.ts';
import { StreamLink, type StreamShared, chunkNotConsumed } from './stream-link.ts';
import { EPOLL, ERRNO, MSG_NOSIGNAL, SHUT_WR, type Syscalls, errnoName } from './syscalls.ts';
import type { Turn } from './turn.ts';

/** The reactor, as its links see it. */
export interface EpollHost {
  readonly sys: Syscalls;
  readonly turn: Turn;
  readonly streams: StreamShared;
  readonly maxChunkBytes: number;
  /** Bytes asked for by one read. */
  readonly readBytes: number;
  readonly arena: Arena;
  /** The output of this turn. */
  readonly output: SendBatch;
  /** Reads this link in this or the next turn. */
  addReady(link: EpollLink): void;
  register(fd: number, link: EpollLink): void;
  modify(fd: number, events: number): void;
  unregister(fd: number): void;
}

const callOnEnd = (handler: LinkHandler): void => handler.onEnd();

const WATCH_INPUT = EPOLL.in | EPOLL.rdhup | EPOLL.et;
const WATCH_BOTH = WATCH_INPUT | EPOLL.out;

export class EpollLink extends BaseLink {
  readonly fd: number;
  readonly #host: EpollHost;
  readonly #carry = new Carry();
  #backlog: Buffer[] = [];
  #backlogBytes = 0;
  /** The socket may have input: an edge came, or the last read was full. */
  #readable = false;
  /** The peer's end, or an error, is behind the input. */
  #hangup = false;
  /** The remainder is to be presented without waiting for more, and before anything else is said about the stream. */
  #representing = false;
  /** What reading failed with, while a remainder is still to be presented: the kernel says it only once. */
  #readFailure: AppError | null = null;
  #isReady = false;
  #readEnded = false;
  #finSent = false;

  constructor(host: EpollHost, fd: number, peer: PeerAddress) {
    super(host.turn, peer, null);
    this.#host = host;
    this.fd = fd;
    host.register(fd, this);
  }

  static readonly initialEvents = WATCH_INPUT;

  override get backlogBytes(): number {
    return this.#backlogBytes;
  }

  /** What epoll reported. Output first: it may make room. */
  onEvents(events: number): void {
    if ((events & EPOLL.out) !== 0 && this.#backlogBytes > 0) this.#writeBacklog();
    if ((events & ~EPOLL.out) === 0) return;
    this.#readable = true;
    if ((events & (EPOLL.rdhup | EPOLL.hup | EPOLL.err)) !== 0) this.#hangup = true;
    this.readOnce();
  }

  /** Called by the reactor for a link that was put on its list. */
  onReady(): void {
    this.#isReady = false;
    this.readOnce();
  }

  /** One read, if there is something to read and somebody to give it to. */
  readOnce(): void {
    if (this.paused || this.closed || this.isUnowned || this.#readEnded) return;
    if (this.#readable) this.#read();
    else if (this.#representing) this.#represent();
  }

  override async startServerTls(options: ServerTlsOptions, head?: Uint8Array): Promise<Link> {
    const socket = await this.#detach();
    if (head !== undefined && head.length > 0) socket.unshift(Buffer.from(head));
    const secured = await secureServer(socket, options);
    return new StreamLink(this.#host.streams, secured, this.peer, tlsFacts(secured, 'server'));
  }

  override async startClientTls(options: ClientTlsOptions): Promise<Link> {
    const socket = await this.#detach();
    const secured = await secureClient(socket, options);
    return new StreamLink(this.#host.streams, secured, this.peer, tlsFacts(secured, 'client'));
  }

  protected override startReading(): void {
    if (this.#carry.length > 0) this.#representing = true;
    if (this.#readable || this.#representing) this.#addReady();
  }

  protected override stopReading(): void {
    // Nothing to tell the kernel: an edge that comes now is remembered.
  }

  protected override writeSlices(total: number): void {
    const { arena, output, turn } = this.#host;
    if (this.#backlogBytes > 0) {
      this.#keepSlices(total);
      return;
    }
    const inPlace = this.sliceCount === 1 && this.sliceBytes[0] === arena.bytes;
    if (!inPlace && total > STAGE_BYTES) {
      this.#writeLong();
      return;
    }
    let source = arena;
    let start = this.sliceStart[0];
    if (!inPlace) {
      output.makeRoom(total);
      source = output.stage;
      start = source.used;
      this.gather(source.bytes, start);
    }
    // What ends must know at once whether all of it went out.
    if (turn.isBatch && !this.ending) output.queue(this, source, start, start + total);
    else output.send(this, source, start, start + total);
  }

  sentShort(bytes: Buffer, start: number, end: number, written: number): void {
    if (this.closed) return;
    if (written < 0 && written !== -ERRNO.EAGAIN && written !== -ERRNO.EINTR) {
      this.close(this.#failure(-written, 'writing to'));
      return;
    }
    this.#keep(Buffer.from(bytes.subarray(start + Math.max(0, written), end)));
  }

  protected override sendFin(): void {
    if (this.#finSent) return;
    this.#finSent = true;
    this.#host.sys.shutdown(this.fd, SHUT_WR);
    if (this.#readEnded) this.close(null);
  }

  protected override release(): void {
    this.#backlog = [];
    this.#backlogBytes = 0;
    this.#host.unregister(this.fd);
    this.#host.sys.close(this.fd);
  }

  #addReady(): void {
    if (this.#isReady) return;
    this.#isReady = true;
    this.#host.addReady(this);
  }

  #read(): void {
    const { sys, arena, readBytes, maxChunkBytes } = this.#host;
    const carry = this.#carry;
    let bytes = arena.bytes;
    let address = arena.address;
    let start = arena.used;
    let at = start;
    let room = readBytes;
    if (carry.large !== null) {
      bytes = carry.ensureTail(maxChunkBytes);
      address = sys.addressOf(bytes);
      start = carry.start;
      at = carry.end;
      room = Math.min(readBytes, bytes.length - at, maxChunkBytes - carry.length);
    } else if (carry.end > 0) {
      carry.copyTo(bytes, start);
      at = start + carry.end;
    }
    const count = sys.receive(this.fd, address + at, room, 0);
    if (count <= 0) {
      this.#afterEmptyRead(count);
      return;
    }
    if (bytes === arena.bytes) arena.used = at + count;
    this.#readable = count === room || this.#hangup;
    this.#give(bytes, start, at + count);
    if (this.#readable) this.#addReady();
  }

  #give(bytes: Buffer, start: number, end: number): void {
    this.#representing = false;
    const consumed = this.present(bytes, start, end);
    if (this.closed) return;
    if (consumed === end) {
      if (this.#carry.end > 0) this.#carry.clear();
      return;
    }
    if (end - consumed >= this.#host.maxChunkBytes) {
      this.close(chunkNotConsumed(this.#host.maxChunkBytes));
      return;
    }
    this.#carry.keep(bytes, consumed, end);
  }

  /** Presents the remainder again, after a pause, without new bytes. */
  #represent(): void {
    this.#representing = false;
    const carry = this.#carry;
    const { arena } = this.#host;
    if (carry.length === 0) return;
    if (carry.large !== null) {
      this.#give(carry.large, carry.start, carry.end);
      return;
    }
    const start = arena.used;
    carry.copyTo(arena.bytes, start);
    arena.used = start + carry.end;
    this.#give(arena.bytes, start, arena.used);
  }

  #afterEmptyRead(count: number): void {
    const errno = count === 0 ? 0 : this.#host.sys.errno();
    if (errno === ERRNO.EINTR) {
      this.#addReady();
      return;
    }
    if (errno === ERRNO.EAGAIN) this.#readable = false;
    else if (errno !== 0) this.#readFailure = this.#failure(errno, 'reading from');
    // What was left before a pause comes first; if the handler pauses again, the end waits as well.
    if (this.#representing) this.#represent();
    if (errno === ERRNO.EAGAIN || this.closed || this.paused) return;
    if (this.#readFailure !== null) {
      this.close(this.#readFailure);
      return;
    }
    this.#readable = false;
    this.#readEnded = true;
    this.tell(callOnEnd);
    if (this.#finSent) this.close(null);
  }

  /** More than the staging memory holds: slice by slice, in pieces of it. */
  #writeLong(): void {
    const { arena, output } = this.#host;
    output.makeRoom(STAGE_BYTES);
    const { stage } = output;
    for (let i = 0; i < this.sliceCount && !this.closed; i++) {
      const bytes = this.sliceBytes[i];
      const end = this.sliceEnd[i];
      for (let at = this.sliceStart[i]; at < end && !this.closed; ) {
        if (this.#backlogBytes > 0) {
          this.#keep(Buffer.from(bytes.subarray(at, end)));
          break;
        }
        const direct = bytes === arena.bytes;
        const count = direct ? end - at : Math.min(end - at, STAGE_BYTES);
        if (!direct) stage.bytes.set(bytes.subarray(at, at + count), 0);
        const from = direct ? at : 0;
        output.send(this, direct ? arena : stage, from, from + count);
        at += count;
      }
    }
  }

  #keepSlices(total: number): void {
    const copy = Buffer.allocUnsafeSlow(total);
    this.gather(copy, 0);
    this.#keep(copy);
  }

  #keep(bytes: Buffer): void {
    if (this.#backlogBytes === 0) this.#host.modify(this.fd, WATCH_BOTH);
    this.#backlog.push(bytes);
    this.#backlogBytes += bytes.length;
  }

  #writeBacklog(): void {
    const { sys } = this.#host;
    while (this.#backlog.length > 0) {
      const bytes = this.#backlog[0];
      const written = sys.transmit(this.fd, sys.addressOf(bytes), bytes.length, MSG_NOSIGNAL);
      if (written < 0) {
        const errno = sys.errno();
        if (errno !== ERRNO.EAGAIN && errno !== ERRNO.EINTR) this.close(this.#failure(errno, 'writing to'));
        return;
      }
      this.#backlogBytes -= written;
      if (written < bytes.length) {
        this.#backlog[0] = bytes.subarray(written);
        return;
      }
      this.#backlog.shift();
    }
    this.#host.modify(this.fd, WATCH_INPUT);
    this.drained();
  }

  #failure(errno: number, what: string): AppError {
    const code = errnoName(errno);
    return new AppError(
      'unavailable',
      errno === ERRNO.EPIPE || errno === ERRNO.ECONNRESET ? 'TRANSPORT_RESET' : 'TRANSPORT_IO',
      `${what} ${this.peer.address} failed: ${code}`,
      { details: { code } },
    );
  }

  /** Waits until everything queued was written, then gives the descriptor to a Node socket. */
  async #detach(): Promise<Socket> {
    this.pause();
    await this.whenWritten();
    this.abandon();
    this.#host.unregister(this.fd);
    return new Socket({ fd: this.fd, readable: true, writable: true, allowHalfOpen: true });
  }
}

/** Room that one read needs in the arena. */
export function readRoom(host: EpollHost): number {
  return host.readBytes + SMALL_BYTES;
}
