/**
 * The portable reactor, on Node's own sockets. Reads arrive in libuv's poll phase; the turn ends in the check phase that
 * follows (`setImmediate`), so everything that was readable in one round of the event loop is one turn.
 */
import { type Server, Socket, createServer } from 'node:net';
import type { Duplex } from 'node:stream';
import { type AppError, systemErrorCode } from '../base/errors.ts';
import {
  type Target,
  acceptFailed,
  dialInOrder,
  dialTimedOut,
  listenFailed,
  plainAddress,
} from './address.ts';
import type { BaseLink } from './base-link.ts';
import type { DialOptions, Link, ListenOptions, Listener, PeerAddress, Reactor } from './link.ts';
import { Scratch } from './scratch.ts';
import { StreamLink, type StreamShared, tuneSocket } from './stream-link.ts';
import { Turn } from './turn.ts';

export const MAX_CHUNK_BYTES = 256 * 1024;

export class NodeReactor implements Reactor {
  readonly maxChunkBytes = MAX_CHUNK_BYTES;
  readonly #turn: Turn;
  readonly #shared: StreamShared;
  readonly #servers = new Set<Server>();
  readonly #report: (error: AppError) => void;
  #scheduled = false;

  constructor(report: (error: AppError) => void) {
    this.#report = report;
    this.#turn = new Turn(() => this.#wake());
    this.#shared = {
      turn: this.#turn,
      scratch: new Scratch(),
      maxChunkBytes: MAX_CHUNK_BYTES,
      links: new Set<BaseLink>(),
    };
  }

  get onTurnEnd(): () => boolean {
    return this.#turn.onTurnEnd;
  }

  set onTurnEnd(callback: () => boolean) {
    this.#turn.onTurnEnd = callback;
  }

  async listen(options: ListenOptions, accept: (link: Link) => void): Promise<Listener> {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
      tuneSocket(socket);
      accept(new StreamLink(this.#shared, socket, peerOf(socket), null));
    });
    await listening(server, options);
    // libuv itself accepts and closes one connection when descriptors run out, so that the backlog does not spin.
    server.on('error', (error) => this.#report(acceptFailed(systemErrorCode(error) ?? error.message, 0)));
    this.#servers.add(server);
    const bound = server.address();
    return {
      host: typeof bound === 'object' && bound !== null ? bound.address : options.host,
      port: typeof bound === 'object' && bound !== null ? bound.port : options.port,
      close: async () => {
        if (!this.#servers.delete(server)) return;
        server.close(); // links go on, so its callback would wait for them
      },
    };
  }

  async dial(options: DialOptions): Promise<Link> {
    const socket = await dialInOrder(options, (target, timeoutMs) => dialSocket(target, options, timeoutMs));
    return new StreamLink(this.#shared, socket, peerOf(socket, options), null);
  }

  adopt(stream: Duplex, peer: PeerAddress): Link {
    return new StreamLink(this.#shared, stream, peer, null);
  }

  touch(): void {
    this.#turn.touch();
  }

  retryTurn(): void {
    this.#turn.retry();
  }

  async close(): Promise<void> {
    for (const server of this.#servers) server.close();
    this.#servers.clear();
    for (const link of this.#shared.links) link.destroy();
    while (this.#turn.isPending) await new Promise<void>((resolve) => setImmediate(resolve));
  }

  #wake(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(this.#endTurn);
  }

  readonly #endTurn = (): void => {
    this.#scheduled = false;
    this.#turn.end();
  };
}

async function listening(server: Server, options: ListenOptions): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const onError = (error: Error): void =>
    reject(listenFailed(options.host, options.port, systemErrorCode(error) ?? error.message, error));
  server.once('error', onError);
  server.listen(
    {
      ...(options.host === '' ? {} : { host: options.host }),
      port: options.port,
      backlog: options.backlog ?? DEFAULT_BACKLOG,
    },
    resolve,
  );
  try {
    await promise;
  } finally {
    server.off('error', onError);
  }
}

export const DEFAULT_BACKLOG = 511;

/** Connects to one address. Rejects with the system's error, or with the timeout as an AppError. */
async function dialSocket(target: Target, options: DialOptions, timeoutMs: number): Promise<Socket> {
  const socket = new Socket({ allowHalfOpen: true });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const timer = setTimeout(() => reject(dialTimedOut(options)), timeoutMs);
  socket.once('error', reject);
  if (target.family === 'unix') socket.connect({ path: target.path }, resolve);
  else socket.connect({ host: target.address, port: target.port, autoSelectFamily: false }, resolve);
  try {
    await promise;
    return tuneSocket(socket);
  } catch (error) {
    socket.on('error', () => undefined);
    socket.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
    socket.off('error', reject);
  }
}

function peerOf(socket: Socket, dialled?: DialOptions): PeerAddress {
  if (dialled?.host.startsWith('/')) return { address: dialled.host, port: 0 };
  return { address: plainAddress(socket.remoteAddress ?? ''), port: socket.remotePort ?? 0 };
}
