/**
 * `node bench/session-cost.ts [--seconds N] [--sessions N] [--per-turn N] [--protocol prepared|simple]`: what a statement
 * costs in our own JavaScript, without sockets and disk: real PostgreSQL sessions between links that only count, and a
 * journal whose file takes everything. Where a whole run is too noisy to show what a change is worth, and for
 * `node --cpu-prof`.
 */
import { parseArgs } from 'node:util';
import { withDefaults } from '../src/access/recording.ts';
import { systemClock } from '../src/base/clock.ts';
import { newUidBytes, uidFromBytes } from '../src/base/ids.ts';
import { Appender } from '../src/journal/appender.ts';
import type { Authority, Permit } from '../src/model/access.ts';
import { loadPostgresDialect } from '../src/sql/postgres/dialect.ts';
import type { Link, LinkHandler, Reactor } from '../src/transport/link.ts';
import { PgSession } from '../src/witness/proxy/postgres/session.ts';
import { ProxyMetrics } from '../src/witness/proxy/metrics.ts';
import { Engine, SessionRecorder, Witness } from '../src/witness/proxy/recorder.ts';
import { SessionRegistry } from '../src/witness/proxy/registry.ts';
import { TurnScheduler } from '../src/witness/proxy/turn.ts';
import { message as m } from '../test/conformance/postgres/raw-client.ts';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '3' },
    sessions: { type: 'string', default: '8' },
    'per-turn': { type: 'string', default: '2' },
    protocol: { type: 'string', default: 'prepared' },
  },
});

class CountingLink implements Link {
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

const reactor: Reactor = {
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

let written = 0;
const journal = new Appender({
  folder: '/nowhere',
  clock: systemClock,
  makeSegment: (number) => ({
    number,
    cipher: null,
    file: {
      read: () => 0,
      write: (_from, _offset, length) => ((written += length), length),
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

const sql = await loadPostgresDialect();
const turn = new TurnScheduler(reactor, journal, systemClock);
const authority = { onNotice() {}, reportUsage() {} } as unknown as Authority;
const registry = new SessionRegistry(authority, systemClock);
const uid = (): string => uidFromBytes(newUidBytes(systemClock));
const permit: Permit = {
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
    engine: 'postgres',
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
const context = {
  reactor,
  turn,
  journal,
  authority,
  registry,
  sql,
  clock: systemClock,
  metrics: new ProxyMetrics(),
  maxStatementBytes: 64 * 1024 * 1024,
  onInternalError: (error: unknown) => {
    throw error as Error;
  },
};

interface Pair {
  readonly client: CountingLink;
  readonly upstream: CountingLink;
}

function open(): Pair {
  const client = new CountingLink();
  const upstream = new CountingLink();
  const uidBytes = newUidBytes(systemClock);
  const recorder = new SessionRecorder(journal, turn, uidBytes);
  const session = new PgSession({
    context,
    permit,
    account: registry.ledger.join(permit),
    credentialUid: '',
    recorder,
    client,
    upstream,
    standardConformingStrings: true,
    clientEncoding: 'UTF8',
    cancelUpstream() {},
    onClosed() {},
  });
  registry.add(session);
  session.joinTurn();
  recorder.open({
    witness: Witness.PROXY,
    engine: Engine.POSTGRES,
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
    clientProtocol: '3.0',
    parameters: {},
    continued: false,
    openedUs: turn.wallUs,
    parentSessionUid: new Uint8Array(0),
    upstreamUser: 'app',
  });
  reactor.onTurnEnd();
  return { client, upstream };
}

const frame = (type: string, ...parts: (string | Buffer)[]): Buffer => {
  const body = Buffer.concat(parts.map((part) => Buffer.from(part as string)));
  const head = Buffer.alloc(5);
  head.write(type);
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
};
const int16 = (value: number): Buffer => Buffer.from([value >> 8, value & 255]);
const int32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
};
const TEXT = 'SELECT abalance FROM pgbench_accounts WHERE aid = ';
const columns = frame(
  'T',
  int16(1),
  'abalance\0',
  int32(16_384),
  int16(3),
  int32(23),
  int16(4),
  int32(-1),
  int16(0),
);
const row = frame('D', int16(1), int32(1), '0');
const done = [columns, row, frame('C', 'SELECT 1\0'), frame('Z', 'I')];
const prepared = values.protocol === 'prepared';
const answer = Buffer.concat(prepared ? [frame('2'), ...done] : done);
const requests = Array.from({ length: 1000 }, (_, i) => {
  const aid = String(Math.floor(((i * 7919) % 1000) * 97.3) + 1);
  return prepared
    ? Buffer.concat([m.bind('', 'P_0', [aid]), m.describe('P'), m.execute(), m.sync()])
    : m.query(`${TEXT}${aid};`);
});
const arena = Buffer.allocUnsafeSlow(4 * 1024 * 1024);

function deliver(link: CountingLink, bytes: Buffer, at: number): number {
  arena.set(bytes, at);
  const end = at + bytes.length;
  if (link.handler.onBytes(arena, at, end) !== end) throw new Error('not consumed');
  return end;
}

const pairs = Array.from({ length: Number(values.sessions) }, open);
if (prepared)
  for (const { client, upstream } of pairs) {
    deliver(client, Buffer.concat([m.parse('P_0', `${TEXT}$1;`), m.sync()]), 0);
    reactor.onTurnEnd();
    deliver(upstream, Buffer.concat([frame('1'), frame('Z', 'I')]), 0);
    reactor.onTurnEnd();
  }

const perTurn = Number(values['per-turn']);
let next = 0;
function run(statements: number): void {
  for (let i = 0; i < statements; i += perTurn) {
    let at = 0;
    for (let k = 0; k < perTurn; k++)
      at = deliver(pairs[(i + k) % pairs.length].client, requests[next++ % 1000], at);
    reactor.onTurnEnd();
    at = 0;
    for (let k = 0; k < perTurn; k++) at = deliver(pairs[(i + k) % pairs.length].upstream, answer, at);
    reactor.onTurnEnd();
  }
}

run(200_000);
let total = 0;
const best: number[] = [];
const until = performance.now() + Number(values.seconds) * 1000;
while (performance.now() < until) {
  const before = process.cpuUsage();
  run(20_000);
  const { user, system } = process.cpuUsage(before);
  best.push((user + system) / 20_000);
  total += 20_000;
}
best.sort((a, b) => a - b);
console.log(
  `${values.protocol}: ${best[best.length >> 1].toFixed(2)} µs per statement (median; least ${best[0].toFixed(2)}), ${(written / (total + 200_000)).toFixed(0)} bytes of journal each`,
);
process.exit(0);
