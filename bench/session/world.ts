/** Everything that a session needs around it, without sockets and disk: links that count, a file that takes everything. */
import { withDefaults } from '../../src/access/recording.ts';
import { systemClock } from '../../src/base/clock.ts';
import { newUidBytes, uidFromBytes } from '../../src/base/ids.ts';
import { Appender } from '../../src/journal/appender.ts';
import type { Authority, EngineName, Permit } from '../../src/model/access.ts';
import type { Link, LinkHandler, Reactor } from '../../src/transport/link.ts';
import { ProxyMetrics } from '../../src/witness/proxy/metrics.ts';
import { Engine, SessionRecorder, Witness } from '../../src/witness/proxy/recorder.ts';
import { SessionRegistry } from '../../src/witness/proxy/registry.ts';
import { TurnScheduler } from '../../src/witness/proxy/turn.ts';

export class CountingLink implements Link {
  readonly peer = { address: '127.0.0.1', port: 1 };
  readonly tls = null;
  readonly closed = false;
  readonly queuedBytes = 0;
  readonly backlogBytes = 0;
  readonly paused = false;
  handler: LinkHandler = { onBytes: (_b, _s, end) => end, onDrain() {}, onEnd() {}, onClose() {} };
  sent = 0;

  send(bytes: Uint8Array, start = 0, end = bytes.length): void {
    this.sent += end - start;
  }
  discardQueued(): void {}
  pause(): void {}
  resume(): void {}
  end(): void {}
  destroy(): void {
    throw new Error('the session ended');
  }
  startServerTls(): Promise<Link> {
    throw new Error('not here');
  }
  startClientTls(): Promise<Link> {
    throw new Error('not here');
  }
}

export const reactor: Reactor = {
  maxChunkBytes: 256 * 1024,
  onTurnEnd: () => true,
  listen: () => Promise.reject(new Error('not here')),
  dial: () => Promise.reject(new Error('not here')),
  adopt: () => {
    throw new Error('not here');
  },
  touch() {},
  retryTurn() {},
  close: () => Promise.resolve(),
};

export const journaled = { bytes: 0 };
const journal = new Appender({
  folder: '/nowhere',
  clock: systemClock,
  makeSegment: (number) => ({
    number,
    cipher: null,
    file: {
      read: () => 0,
      write: (_from, _offset, length) => ((journaled.bytes += length), length),
      size: () => 0,
      datasync() {},
      truncate() {},
      close() {},
    },
  }),
  sealer: {
    wake() {},
    hurry() {},
    durable: 0,
    failure: '',
    onChange() {},
    close: () => Promise.resolve(),
  },
  segmentNumber: 0,
  nextBlock: 0,
  nextSeq: 0,
  segmentBytes: 64 * 1024 * 1024,
  maxUnwrittenBytes: 16 * 1024 * 1024,
  retryMs: 0,
  release() {},
});

const turn = new TurnScheduler(reactor, journal, systemClock);
const authority = { onNotice() {}, reportUsage() {} } as unknown as Authority;
const registry = new SessionRegistry(authority, systemClock);
const uid = (): string => uidFromBytes(newUidBytes(systemClock));
/** A grant without controls for a database of this engine. */
export function permitFor(engine: EngineName): Permit {
  return {
    userUid: uid(),
    userName: 'alice',
    databaseUid: uid(),
    databaseName: 'shop',
    grantUid: uid(),
    controls: [],
    expiresAtUs: systemClock.wallUs() + 3.6e9,
    maxStatements: null,
    maxBytes: null,
    usedStatements: 0,
    usedBytes: 0,
    upstream: {
      serverUid: uid(),
      engine,
      host: '127.0.0.1',
      port: 1,
      databaseName: 'shop',
      username: 'app',
      password: '',
      sslMode: 'disable',
      sslCa: '',
      sslCert: '',
      sslKey: '',
    },
    recording: withDefaults({}),
  };
}

/** Of a session's context, what does not depend on the engine. */
export const context = {
  reactor,
  turn,
  journal,
  authority,
  registry,
  clock: systemClock,
  metrics: new ProxyMetrics(),
  maxStatementBytes: 64 * 1024 * 1024,
  onInternalError: (error: unknown) => {
    throw error as Error;
  },
};

/** What a new session of any engine is made of: its recorder is not opened yet. */
export function sessionParts(permit: Permit) {
  return {
    permit,
    account: registry.ledger.join(permit),
    credentialUid: '',
    recorder: new SessionRecorder(journal, turn, newUidBytes(systemClock)),
    client: new CountingLink(),
    upstream: new CountingLink(),
    cancelUpstream() {},
    onClosed() {},
  };
}

/** The record of the session, in a turn that the session has joined. */
export function recordOpening(recorder: SessionRecorder, permit: Permit): void {
  recorder.open({
    witness: Witness.PROXY,
    engine: permit.upstream.engine === 'postgres' ? Engine.POSTGRES : Engine.MYSQL,
    serverUid: permit.upstream.serverUid,
    backendId: '1',
    backendStartedUs: turn.wallUs,
    userUid: permit.userUid,
    userName: permit.userName,
    databaseUid: permit.databaseUid,
    databaseName: permit.databaseName,
    grantUid: permit.grantUid,
    controls: [],
    clientAddress: '127.0.0.1',
    clientPort: 1,
    tls: '',
    authentication: 'password',
    credentialUid: '',
    applicationName: '',
    clientProtocol: '',
    parameters: {},
    continued: false,
    openedUs: turn.wallUs,
    parentSessionUid: new Uint8Array(0),
    upstreamUser: 'app',
  });
  reactor.onTurnEnd();
}

const arena = Buffer.allocUnsafeSlow(4 * 1024 * 1024);

/** Gives bytes to a link's handler as the reactor does, at `at` of its arena; returns their end. */
export function deliver(link: CountingLink, bytes: Buffer, at: number): number {
  arena.set(bytes, at);
  const end = at + bytes.length;
  if (link.handler.onBytes(arena, at, end) !== end) throw new Error('not consumed');
  return end;
}

/** The two sides of a session. */
export interface Pair {
  readonly client: CountingLink;
  readonly upstream: CountingLink;
}

/** What is measured. */
export interface Conversation {
  readonly open: () => Pair;
  /** Some hundreds of requests that differ as those of real clients do. */
  readonly requests: readonly Buffer[];
  readonly answer: Buffer;
}
