/**
 * What the probe sees, live, for programs of others: a WebSocket server. Each binary message is one protobuf message of
 * proto/dbwitness/v1: `/events` sends Event (events.proto), `/captured` the shorter LogEntry (stream.proto).
 *
 * A consumer that does not keep up is disconnected: it must not hold up the record, and it knows that it missed something.
 */
import { createServer as createHttpServer, type IncomingMessage, type Server } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { TLSSocket } from 'node:tls';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { type WebSocket, WebSocketServer } from 'ws';
import type { Clock } from '../../base/clock.ts';
import { AppError, messageOf } from '../../base/errors.ts';
import { newUid } from '../../base/ids.ts';
import { type Event, EventSchema, LogEntrySchema, LogType } from '../../model/events.ts';
import { eventsOf } from './event-writer.ts';
import type { MutualTls } from './receiver.ts';

const HEARTBEAT_MS = 10_000;
/** Waiting to be sent to one consumer; beyond, it is disconnected (WebSocket close code 1013, "try again later"). */
const MAX_BUFFERED_BYTES = 16 * 1024 * 1024;
const TRY_AGAIN_LATER = 1013;
const MAX_CONSUMERS = 100;

export interface StreamOptions {
  readonly host: string;
  readonly port: number;
  /** With it, consumers need a certificate; without, only addresses of this host may be listened on. */
  readonly tls: MutualTls | null;
  readonly clock: Clock;
}

type Form = 'events' | 'captured';

export class ProbeStream {
  readonly #clock: Clock;
  readonly #server: Server;
  readonly #sockets: WebSocketServer;
  readonly #consumers = new Map<WebSocket, Form>();
  readonly #heartbeat: NodeJS.Timeout;
  #beats = 0;

  private constructor(clock: Clock, server: Server) {
    this.#clock = clock;
    this.#server = server;
    this.#sockets = new WebSocketServer({
      server,
      maxPayload: 1024,
      verifyClient: ({ req }: { req: IncomingMessage }) =>
        formOf(req) !== null && this.#consumers.size < MAX_CONSUMERS,
    });
    this.#sockets.on('connection', (socket, request) => this.#welcome(socket, request));
    this.#heartbeat = setInterval(() => this.#beat(), HEARTBEAT_MS);
    this.#heartbeat.unref();
  }

  /** @throws AppError `invalid` when it would be open to the network without certificates, `unavailable` when it cannot listen. */
  static async start({ host, port, tls, clock }: StreamOptions): Promise<ProbeStream> {
    if (tls === null && !isLoopback(host))
      throw new AppError(
        'invalid',
        'PROBE_STREAM_OPEN',
        `the stream shows statements of everybody: without certificates (--tls-cert, --tls-key, --tls-ca) it is offered on this host only, not on ${host}`,
      );
    const server: Server =
      tls === null
        ? createHttpServer()
        : createHttpsServer({ ...tls, requestCert: true, rejectUnauthorized: true, minVersion: 'TLSv1.2' });
    server.on('request', (_request, response) => response.writeHead(426).end('WebSocket only\n'));
    await new Promise<void>((resolve, reject) => {
      server.once('error', (cause) =>
        reject(
          new AppError(
            'unavailable',
            'PROBE_STREAM',
            `cannot stream at ${host}:${port}: ${messageOf(cause)}`,
            { cause },
          ),
        ),
      );
      server.listen(port, host, resolve);
    });
    return new ProbeStream(clock, server);
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }

  get consumers(): number {
    return this.#consumers.size;
  }

  /** Sends the events of a batch to whoever listens. */
  publish(batch: Uint8Array): void {
    if (this.#consumers.size === 0) return;
    const forms = new Set(this.#consumers.values());
    for (const bytes of eventsOf(batch)) {
      const captured = forms.has('captured') ? this.#captured(fromBinary(EventSchema, bytes)) : null;
      for (const [socket, form] of this.#consumers) {
        if (form === 'events') this.#send(socket, bytes);
        else if (captured !== null) this.#send(socket, captured);
      }
    }
  }

  async close(): Promise<void> {
    clearInterval(this.#heartbeat);
    for (const socket of this.#consumers.keys()) socket.close(1001);
    this.#sockets.close();
    this.#server.closeAllConnections();
    await new Promise<void>((done) => this.#server.close(() => done()));
  }

  #welcome(socket: WebSocket, request: IncomingMessage): void {
    this.#consumers.set(socket, formOf(request) ?? 'events');
    const leave = (): void => void this.#consumers.delete(socket);
    socket.on('close', leave);
    socket.on('error', leave);
  }

  #send(socket: WebSocket, bytes: Uint8Array): void {
    if (socket.readyState !== socket.OPEN) return;
    if (socket.bufferedAmount > MAX_BUFFERED_BYTES) {
      this.#consumers.delete(socket);
      socket.close(TRY_AGAIN_LATER, 'the consumer does not keep up');
      return;
    }
    socket.send(bytes);
  }

  #captured(event: Event): Uint8Array | null {
    if (event.body.case !== 'observation') return null;
    const {
      startedUs,
      clientAddress,
      clientPort,
      serverAddress,
      serverPort,
      pid,
      processName,
      sqlBytes,
      sql,
    } = event.body.value;
    return toBinary(
      LogEntrySchema,
      create(LogEntrySchema, {
        logType: LogType.EVENT,
        payload: {
          case: 'eventPayload',
          value: {
            timestamp: startedUs / 1000n,
            uuid: newUid(this.#clock),
            srcIp: clientAddress === '[local]' ? '' : clientAddress,
            srcPort: clientPort,
            dstIp: serverAddress,
            dstPort: serverPort,
            pid: BigInt(pid),
            pname: processName,
            type: event.origin?.engine ?? 0,
            length: Number(sqlBytes),
            payload: sql,
          },
        },
      }),
    );
  }

  #beat(): void {
    const bytes = toBinary(
      LogEntrySchema,
      create(LogEntrySchema, {
        logType: LogType.HEARTBEAT,
        payload: {
          case: 'heartbeatPayload',
          value: {
            timestamp: BigInt(Math.round(this.#clock.wallUs() / 1000)),
            count: BigInt(++this.#beats),
            message: 'dbwitness probe',
          },
        },
      }),
    );
    for (const [socket, form] of this.#consumers) if (form === 'captured') this.#send(socket, bytes);
  }
}

/** The form that a request's path asks for. A browser's page of another origin gets nothing. */
function formOf(request: IncomingMessage): Form | null {
  const { host, origin } = request.headers;
  const scheme = 'encrypted' in request.socket && (request.socket as TLSSocket).encrypted ? 'https' : 'http';
  if (origin !== undefined && origin !== `${scheme}://${host}`) return null;
  const path = (request.url ?? '').split('?', 1)[0];
  return path === '/events' ? 'events' : path === '/captured' ? 'captured' : null;
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.');
}
