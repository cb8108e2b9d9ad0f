/**
 * The Linux reactor: raw sockets and one epoll instance, on the thread of libuv's loop and inside it.
 *
 *   libuv polls ──our epoll fd is readable──▶ immediate: epoll_wait(0) ─▶ reads ─▶ turn end ─┐
 *        ▲                                          ▲────────── again, until nothing is ready ◀┘
 *        └── nothing for a while, or `MAX_STAY_MS` has passed: timers, IPC, promises, Node's own streams
 *
 * The epoll descriptor is nested in libuv's (`uv_poll`). Its callback is none of ours: an immediate that is always armed
 * but does not keep the loop from sleeping (`unref`) runs after each poll phase, so handlers run as ordinary JavaScript
 * of Node's, with microtasks and uncaught exceptions as everywhere. Node's own streams (TLS, SSH) were read in the same
 * poll phase and belong to the same turn.
 */
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import type { Duplex } from 'node:stream';
import { AppError, systemErrorCode } from '../base/errors.ts';
import { type Target, acceptFailed, dialFailed, dialInOrder, dialTimedOut, listenFailed } from './address.ts';
import { Arena } from './arena.ts';
import type { BaseLink } from './base-link.ts';
import { type EpollHost, EpollLink, readRoom } from './epoll-link.ts';
import type { DialOptions, Link, ListenOptions, Listener, PeerAddress, Reactor } from './link.ts';
import { DEFAULT_BACKLOG, MAX_CHUNK_BYTES } from './node-reactor.ts';
import { Scratch } from './scratch.ts';
import { SendBatch } from './send-batch.ts';
import { SendRing } from './send-ring.ts';
import { SockAddr } from './sockaddr.ts';
import { Spinner } from './spinner.ts';
import { KEEPALIVE_DELAY_MS, StreamLink, type StreamShared } from './stream-link.ts';
import {
  AF,
  EPOLL,
  EPOLL_CLOEXEC,
  EPOLL_CTL,
  EPOLL_DATA_WORD,
  EPOLL_EVENT_WORDS,
  ERRNO,
  IPV6_V6ONLY,
  SO,
  SOCK,
  SOL,
  type Syscalls,
  TCP,
  errnoName,
} from './syscalls.ts';
import { Turn } from './turn.ts';

const MAX_EVENTS = 512;
const ARENA_BYTES = 4 * 1024 * 1024;
/** Outputs that one turn hands over together; more go in several portions. */
const RING_ENTRIES = 256;
const READ_BYTES = 128 * 1024;
/** Turns in a row before libuv gets a round. It bounds how late timers, IPC and promises are. */
const MAX_STAY_MS = 1;
/** Connections accepted in one turn, so that a flood of them does not starve the links. */
const MAX_ACCEPTS_PER_TURN = 64;
/** Time slice asked for; the kernel's shortest. */
const SLICE_US = 100;
const ACCEPT_PAUSE_MS = 100;
/** A Unix socket whose backlog is full says EAGAIN instead of waiting. */
const UNIX_RETRY_MS = 10;

/** Anything that has a descriptor in our epoll. */
interface Watched {
  onEvents(events: number): void;
}

export class EpollReactor implements Reactor {
  readonly maxChunkBytes = MAX_CHUNK_BYTES;
  readonly #sys: Syscalls;
  readonly #report: (error: AppError) => void;
  readonly #turn: Turn;
  readonly #host: EpollHost;
  readonly #streams: StreamShared;
  readonly #epoll: number;
  readonly #events: Int32Array;
  readonly #eventsAddress: number;
  readonly #event: Int32Array;
  readonly #eventAddress: number;
  readonly #address: SockAddr;
  readonly #watched: (Watched | undefined)[] = [];
  readonly #arena: Arena;
  readonly #output: SendBatch;
  readonly #spinner: Spinner;
  readonly #stopWaking: () => void;
  readonly #listeners = new Set<Listener>();
  #ready: EpollLink[] = [];
  #immediate: NodeJS.Immediate;
  #immediateIsRef = false;
  #working = false;
  #closed = false;

  /**
   * @param output `together`: the outputs of a turn with one system call (io_uring), which must work; `each`: one by
   *   one; `auto`: together where it works
   * @throws Error when epoll or the nesting does not work here, or io_uring is asked for and does not.
   */
  constructor(
    sys: Syscalls,
    report: (error: AppError) => void,
    spinUs: number,
    output: 'auto' | 'together' | 'each',
  ) {
    this.#sys = sys;
    this.#report = report;
    const ring = output === 'each' ? 'not wanted' : SendRing.open(sys, RING_ENTRIES);
    if (output === 'together' && typeof ring === 'string') throw new Error(`io_uring: ${ring}`);
    if (output === 'auto' && typeof ring === 'string') report(ringUnavailable(ring));
    this.#output = new SendBatch(sys, typeof ring === 'string' ? null : ring, () => report(ringFailed()));
    this.#turn = new Turn(
      () => this.#wake(),
      () => this.#output.flush(),
    );
    this.#arena = new Arena(sys, ARENA_BYTES);
    const events = Buffer.allocUnsafeSlow(MAX_EVENTS * EPOLL_EVENT_WORDS * 4);
    this.#events = new Int32Array(events.buffer, events.byteOffset, MAX_EVENTS * EPOLL_EVENT_WORDS);
    this.#eventsAddress = sys.addressOf(events);
    const event = Buffer.alloc(16);
    this.#event = new Int32Array(event.buffer, event.byteOffset, 4);
    this.#eventAddress = sys.addressOf(event);
    this.#address = new SockAddr(sys);
    this.#spinner = new Spinner({ now: () => performance.now(), yieldCore: sys.schedYield }, spinUs);
    this.#streams = {
      turn: this.#turn,
      scratch: new Scratch(),
      maxChunkBytes: MAX_CHUNK_BYTES,
      links: new Set<BaseLink>(),
    };
    this.#host = {
      sys,
      turn: this.#turn,
      streams: this.#streams,
      maxChunkBytes: MAX_CHUNK_BYTES,
      readBytes: READ_BYTES,
      arena: this.#arena,
      output: this.#output,
      addReady: (link) => {
        this.#ready.push(link);
        this.#wake();
      },
      register: (fd, link) => this.#watch(fd, EpollLink.initialEvents, link),
      modify: (fd, wanted) => this.#control(EPOLL_CTL.mod, fd, wanted),
      unregister: (fd) => this.#unwatch(fd),
    };
    this.#epoll = sys.epollCreate(EPOLL_CLOEXEC);
    if (this.#epoll < 0) throw new Error(`epoll_create1: ${errnoName(sys.errno())}`);
    try {
      this.#stopWaking = sys.wakeLoopWhenReadable(this.#epoll);
    } catch (error) {
      sys.close(this.#epoll);
      throw error;
    }
    sys.setSlice(SLICE_US); // where the kernel does not know it, we run as ever
    this.#immediate = setImmediate(this.#work);
    this.#immediate.unref();
  }

  get onTurnEnd(): () => boolean {
    return this.#turn.onTurnEnd;
  }

  set onTurnEnd(callback: () => boolean) {
    this.#turn.onTurnEnd = callback;
  }

  async listen(options: ListenOptions, accept: (link: Link) => void): Promise<Listener> {
    const fd = await this.#bind(options);
    let resuming: NodeJS.Timeout | null = null;
    const pauseAccepting = (errno: number): void => {
      this.#report(acceptFailed(errnoName(errno), ACCEPT_PAUSE_MS));
      this.#control(EPOLL_CTL.mod, fd, 0);
      resuming = setTimeout(() => this.#control(EPOLL_CTL.mod, fd, EPOLL.in), ACCEPT_PAUSE_MS);
    };
    this.#watch(fd, EPOLL.in, { onEvents: () => this.#acceptAll(fd, accept, pauseAccepting) });
    const bound = this.#address.ofSocket(fd);
    const listener: Listener = {
      host: bound.address,
      port: bound.port,
      close: async () => {
        if (!this.#listeners.delete(listener)) return;
        if (resuming !== null) clearTimeout(resuming);
        this.#unwatch(fd);
        this.#sys.close(fd);
      },
    };
    this.#listeners.add(listener);
    return listener;
  }

  async dial(options: DialOptions): Promise<Link> {
    return dialInOrder(options, (target, timeoutMs) => this.#connect(target, options, timeoutMs));
  }

  adopt(stream: Duplex, peer: PeerAddress): Link {
    return new StreamLink(this.#streams, stream, peer, null);
  }

  touch(): void {
    this.#turn.touch();
  }

  retryTurn(): void {
    this.#turn.retry();
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    for (const listener of this.#listeners) await listener.close();
    for (const link of this.#streams.links) link.destroy();
    for (const watched of this.#watched) if (watched instanceof EpollLink) watched.destroy();
    while (this.#turn.isPending) await new Promise<void>((resolve) => setImmediate(resolve));
    this.#closed = true;
    this.#stopWaking();
    clearImmediate(this.#immediate);
    this.#output.close();
    this.#sys.close(this.#epoll);
  }

  /** One visit: turns until nothing is ready any more or libuv has waited long enough. */
  readonly #work = (): void => {
    if (this.#closed) return;
    this.#immediate = setImmediate(this.#work);
    this.#immediate.unref();
    this.#immediateIsRef = false;
    this.#working = true;
    try {
      this.#takeTurns();
    } finally {
      this.#working = false;
    }
    if (this.#ready.length > 0 || this.#turn.isPending) this.#wake();
  };

  #takeTurns(): void {
    const sys = this.#sys;
    const spinner = this.#spinner;
    const entered = performance.now();
    spinner.enter();
    for (;;) {
      if (this.#ready.length > 0) this.#readReady();
      const count = sys.epollWait(this.#epoll, this.#eventsAddress, MAX_EVENTS, 0);
      for (let i = 0; i < count; i++) this.#dispatch(i * EPOLL_EVENT_WORDS);
      this.#endTurn();
      const now = performance.now();
      if (count > 0) spinner.worked(now);
      else if (this.#ready.length === 0 && !this.#turn.isPending && !spinner.wait(now)) return;
      if (now - entered > MAX_STAY_MS) return;
    }
  }

  #dispatch(at: number): void {
    const watched = this.#watched[this.#events[at + EPOLL_DATA_WORD]];
    if (watched === undefined) return; // closed by an earlier event of this batch
    if (this.#arena.room < readRoom(this.#host)) this.#endTurn();
    watched.onEvents(this.#events[at]);
  }

  #readReady(): void {
    const links = this.#ready;
    this.#ready = [];
    for (const link of links) {
      if (this.#arena.room < readRoom(this.#host)) this.#endTurn();
      link.onReady();
    }
  }

  #endTurn(): void {
    this.#turn.end();
    this.#arena.used = 0;
  }

  #wake(): void {
    // While turns are taken, whoever adds something is seen before libuv goes to sleep.
    if (this.#working || this.#immediateIsRef || this.#closed) return;
    this.#immediateIsRef = true;
    this.#immediate.ref();
  }

  #watch(fd: number, events: number, watched: Watched): void {
    this.#watched[fd] = watched;
    this.#control(EPOLL_CTL.add, fd, events);
  }

  #unwatch(fd: number): void {
    this.#watched[fd] = undefined;
    this.#control(EPOLL_CTL.del, fd, 0);
  }

  #control(operation: number, fd: number, events: number): void {
    this.#event[0] = events;
    this.#event[EPOLL_DATA_WORD] = fd;
    this.#event[EPOLL_DATA_WORD + 1] = 0;
    if (this.#sys.epollCtl(this.#epoll, operation, fd, this.#eventAddress) === 0) return;
    throw new AppError('unavailable', 'TRANSPORT_EPOLL', `epoll_ctl: ${errnoName(this.#sys.errno())}`);
  }

  #acceptAll(fd: number, accept: (link: Link) => void, pauseAccepting: (errno: number) => void): void {
    for (let i = 0; i < MAX_ACCEPTS_PER_TURN; i++) {
      const accepted = this.#address.accept(fd);
      if (accepted < 0) {
        const errno = this.#sys.errno();
        if (errno === ERRNO.EAGAIN) return;
        if (errno === ERRNO.EINTR || errno === ERRNO.ECONNABORTED) continue;
        pauseAccepting(errno);
        return;
      }
      this.#tune(accepted);
      accept(new EpollLink(this.#host, accepted, this.#address.read()));
    }
  }

  /** NODELAY and keep-alive as on every link. On Unix sockets the first has no meaning and is refused. */
  #tune(fd: number): void {
    setOption(this.#sys, fd, SOL.tcp, TCP.noDelay, 1);
    setOption(this.#sys, fd, SOL.socket, SO.keepAlive, 1);
    setOption(this.#sys, fd, SOL.tcp, TCP.keepIdle, KEEPALIVE_DELAY_MS / 1000);
  }

  async #bind(options: ListenOptions): Promise<number> {
    const { host, port } = options;
    const all = host === '' || host === '::';
    let address = all ? '::' : host;
    if (!all && isIP(host) === 0) address = (await this.#resolve(host, port)).address;
    const first = this.#tryBind(address, options);
    if (first >= 0) return first;
    // A host without IPv6 still listens on all its addresses.
    if (host === '' && (first === -ERRNO.EAFNOSUPPORT || first === -ERRNO.EADDRNOTAVAIL)) {
      const second = this.#tryBind('0.0.0.0', options);
      if (second >= 0) return second;
      throw listenFailed(host, port, errnoName(-second));
    }
    throw listenFailed(host, port, errnoName(-first));
  }

  async #resolve(host: string, port: number): Promise<{ address: string }> {
    try {
      return await lookup(host, { order: 'verbatim' });
    } catch (error) {
      throw listenFailed(host, port, systemErrorCode(error) ?? 'ENOTFOUND', error);
    }
  }

  /** A listening socket, or the negated errno. */
  #tryBind(address: string, options: ListenOptions): number {
    const sys = this.#sys;
    const family = isIP(address) === 6 ? AF.inet6 : AF.inet;
    const fd = sys.socket(family, SOCK.stream | SOCK.nonblock | SOCK.cloexec, 0);
    if (fd < 0) return -sys.errno();
    setOption(sys, fd, SOL.socket, SO.reuseAddr, 1);
    if (family === AF.inet6) setOption(sys, fd, SOL.ipv6, IPV6_V6ONLY, 0);
    const encoded = SockAddr.encode({
      family: family === AF.inet6 ? 6 : 4,
      address,
      port: options.port,
    });
    if (
      sys.bind(fd, encoded, encoded.length) === 0 &&
      sys.listen(fd, options.backlog ?? DEFAULT_BACKLOG) === 0
    )
      return fd;
    const errno = sys.errno();
    sys.close(fd);
    return -errno;
  }

  async #connect(target: Target, options: DialOptions, timeoutMs: number): Promise<Link> {
    const deadline = performance.now() + timeoutMs;
    const fd = this.#open(target, options);
    try {
      const encoded = SockAddr.encode(target);
      while (this.#sys.connect(fd, encoded, encoded.length) !== 0) {
        const errno = this.#sys.errno();
        if (errno === ERRNO.EINPROGRESS) {
          await this.#connected(fd, options, deadline - performance.now());
          break;
        }
        if (errno === ERRNO.EINTR) continue;
        if (errno !== ERRNO.EAGAIN) throw dialFailed(options, errnoName(errno));
        if (performance.now() > deadline) throw dialTimedOut(options);
        await new Promise((resolve) => setTimeout(resolve, UNIX_RETRY_MS));
      }
    } catch (error) {
      this.#sys.close(fd);
      throw error;
    }
    this.#tune(fd);
    const peer =
      target.family === 'unix'
        ? { address: target.path, port: 0 }
        : { address: target.address, port: target.port };
    return new EpollLink(this.#host, fd, peer);
  }

  #open(target: Target, options: DialOptions): number {
    const family = target.family === 'unix' ? AF.unix : target.family === 6 ? AF.inet6 : AF.inet;
    const fd = this.#sys.socket(family, SOCK.stream | SOCK.nonblock | SOCK.cloexec, 0);
    if (fd < 0) throw dialFailed(options, errnoName(this.#sys.errno()));
    return fd;
  }

  /** Waits for a connect in progress. */
  async #connected(fd: number, options: DialOptions, timeoutMs: number): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const timer = setTimeout(() => reject(dialTimedOut(options)), Math.max(1, timeoutMs));
    this.#watch(fd, EPOLL.out | EPOLL.et, {
      onEvents: () => {
        const errno = this.#address.pendingError(fd);
        if (errno === 0) resolve();
        else reject(dialFailed(options, errnoName(errno)));
      },
    });
    try {
      await promise;
    } finally {
      clearTimeout(timer);
      this.#unwatch(fd);
    }
  }
}

function ringUnavailable(why: string): AppError {
  return new AppError(
    'unavailable',
    'TRANSPORT_RING_UNAVAILABLE',
    `io_uring cannot be used (${why}); output goes on without it, somewhat slower`,
  );
}

function ringFailed(): AppError {
  return new AppError(
    'unavailable',
    'TRANSPORT_RING_FAILED',
    'io_uring stopped taking requests; output goes on without it, somewhat slower',
  );
}

function setOption(sys: Syscalls, fd: number, level: number, name: number, value: number): void {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value, 0);
  sys.setsockopt(fd, level, name, bytes, 4);
}
