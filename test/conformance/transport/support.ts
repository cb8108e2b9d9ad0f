/** What the transport's conformance tests share: drivers, a recording handler, and ways to wait for a condition. */
import { readdirSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { once } from 'node:events';
import { duplexPair } from 'node:stream';
import type { Link, LinkHandler, Listener, Reactor } from '../../../src/transport/link.ts';
import { createReactor } from '../../../src/transport/reactor.ts';
import { SendRing } from '../../../src/transport/send-ring.ts';
import { loadSyscalls } from '../../../src/transport/syscalls.ts';
import { type AppError, isAppError } from '../../../src/base/errors.ts';

export type Driver = 'uring' | 'epoll' | 'node';

/**
 * Epoll exists on Linux only and must work there; a fallback would hide a failure. io_uring may be forbidden (seccomp,
 * `kernel.io_uring_disabled`), which is said.
 */
export const DRIVERS: readonly Driver[] =
  process.platform === 'linux'
    ? [...(ringIsAllowed() ? (['uring'] as const) : []), 'epoll', 'node']
    : ['node'];

function ringIsAllowed(): boolean {
  const sys = loadSyscalls();
  const ring = typeof sys === 'string' ? sys : SendRing.open(sys, 1);
  if (typeof ring !== 'string') ring.close();
  else console.warn(`io_uring cannot be used here (${ring}): its tests are not run`);
  return typeof ring !== 'string';
}

export class Bench {
  readonly reactor: Reactor;
  readonly reports: AppError[] = [];
  readonly sockets: Socket[] = [];

  constructor(driver: Driver) {
    this.reactor = createReactor({ driver, report: (error) => this.reports.push(error) });
  }

  async listen(accept: (link: Link) => void, host = '127.0.0.1'): Promise<Listener> {
    return this.reactor.listen({ host, port: 0 }, accept);
  }

  /** A plain client that the reactor knows nothing of. */
  async client(port: number, host = '127.0.0.1'): Promise<Socket> {
    const socket = connect({ port, host, allowHalfOpen: true, noDelay: true });
    this.sockets.push(socket);
    socket.on('error', () => undefined);
    await once(socket, 'connect');
    return socket;
  }

  /** One accepted link with its client at the other end. */
  async pair(handler: (link: Link) => LinkHandler): Promise<{ link: Link; socket: Socket }> {
    const { promise, resolve } = Promise.withResolvers<Link>();
    const listener = await this.listen((link) => {
      link.handler = handler(link);
      resolve(link);
    });
    const socket = await this.client(listener.port);
    const link = await promise;
    await listener.close();
    return { link, socket };
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await this.reactor.close();
  }
}

/** Remembers everything that it was told. `consume` decides; by default everything is taken. */
export class Recorder implements LinkHandler {
  readonly chunks: Buffer[] = [];
  readonly calls: string[] = [];
  drains = 0;
  ended = false;
  closedWith: Error | null | undefined;
  consume: (bytes: Buffer, start: number, end: number) => number = (_bytes, _start, end) => end;

  onBytes(bytes: Buffer, start: number, end: number): number {
    this.calls.push('bytes');
    const consumed = this.consume(bytes, start, end);
    if (consumed > start) this.chunks.push(Buffer.from(bytes.subarray(start, consumed)));
    return consumed;
  }

  onDrain(): void {
    this.calls.push('drain');
    this.drains++;
  }

  onEnd(): void {
    this.calls.push('end');
    this.ended = true;
  }

  onClose(error: Error | null): void {
    this.calls.push('close');
    this.closedWith = error;
  }

  get closed(): boolean {
    return this.closedWith !== undefined;
  }

  get bytes(): Buffer {
    return Buffer.concat(this.chunks);
  }
}

/** Forwards everything to another link, with back-pressure, as a relay does. */
export class Forwarder implements LinkHandler {
  readonly #to: () => Link;
  readonly #from: Link;
  readonly #maxBacklogBytes: number;
  highestBacklog = 0;

  constructor(from: Link, to: () => Link, maxBacklogBytes = 1024 * 1024) {
    this.#from = from;
    this.#to = to;
    this.#maxBacklogBytes = maxBacklogBytes;
  }

  onBytes(bytes: Buffer, start: number, end: number): number {
    const to = this.#to();
    to.send(bytes, start, end);
    this.highestBacklog = Math.max(this.highestBacklog, to.backlogBytes + to.queuedBytes);
    if (to.backlogBytes > this.#maxBacklogBytes) this.#from.pause();
    return end;
  }

  onDrain(): void {
    this.#to().resume();
  }

  onEnd(): void {
    this.#to().end();
  }

  onClose(): void {
    this.#to().destroy();
  }
}

const WAIT_LIMIT_MS = 20_000;

/** Waits for a condition. The limit only turns a hang into a message. */
export async function until(condition: () => boolean, what = 'the condition'): Promise<void> {
  const deadline = performance.now() + WAIT_LIMIT_MS;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`gave up waiting for ${what}`);
    await new Promise<void>((resolve) => setTimeout(resolve, 1));
  }
}

/** Everything a socket receives from now on. */
export function collect(socket: NodeJS.ReadableStream): { bytes: () => Buffer; ended: () => boolean } {
  const chunks: Buffer[] = [];
  let ended = false;
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.on('end', () => {
    ended = true;
  });
  return { bytes: () => Buffer.concat(chunks), ended: () => ended };
}

/** A small seeded generator (mulberry32); the seed is printed when a test fails, by being in its name or message. */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function randomBytes(next: () => number, count: number): Buffer {
  const bytes = Buffer.alloc(count);
  for (let i = 0; i < count; i++) bytes[i] = Math.floor(next() * 256);
  return bytes;
}

/** Open descriptors that are sockets or event polls: what a leak of ours would be. */
export function openSockets(): number {
  return readdirSync('/proc/self/fd').length;
}

/** Frames of a 4-byte length and a body, consumed whole only. */
export function frameConsumer(onFrame: (bytes: Buffer, start: number, end: number) => void) {
  return (bytes: Buffer, start: number, end: number): number => {
    let at = start;
    while (end - at >= 4) {
      const next = at + 4 + bytes.readUInt32BE(at);
      if (next > end) break;
      onFrame(bytes, at, next);
      at = next;
    }
    return at;
  };
}

export function frame(body: Buffer): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt32BE(body.length);
  return Buffer.concat([head, body]);
}

/** Echoes whole frames as slices of what it was given. */
export function echoFrames(link: Link, recorder = new Recorder()): Recorder {
  recorder.consume = frameConsumer((bytes, start, end) => link.send(bytes, start, end));
  return recorder;
}

/** A full round trip on a fresh link: whatever was on its way before has happened when it is done. */
export async function echoOnAnotherLink(bench: Bench): Promise<void> {
  const { onTurnEnd } = bench.reactor;
  bench.reactor.onTurnEnd = () => true;
  const [ours, theirs] = duplexPair();
  const link = bench.reactor.adopt(ours, { address: 'probe', port: 0 });
  link.handler = new Forwarder(link, () => link);
  for (let i = 0; i < 3; i++) {
    theirs.write('?');
    await new Promise((resolve) => theirs.once('data', resolve));
  }
  link.destroy();
  bench.reactor.onTurnEnd = onTurnEnd;
}

/** For `toSatisfy`: an AppError of this kind whose message has this text. */
export function failsWith(kind: string, text: string): (error: unknown) => boolean {
  return (error) => isAppError(error) && error.kind === kind && error.message.includes(text);
}
