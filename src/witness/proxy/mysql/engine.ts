/**
 * The MySQL and MariaDB engine of the proxy: from an accepted link to a running session.
 *
 *   listener ─▶ greeting (announce.ts) ─▶ logIn (login.ts) ─▶ connectUpstream (upstream.ts) ─▶ SessionOpened ─▶ MysqlSession
 *                                            ▲                                                                    │
 *                                            └───────────────────── COM_CHANGE_USER ──────────────────────────────┘
 *        any failure ─▶ LoginFailed in the journal, ERR to the client, both sides closed
 */
import { ByteWriter } from '../../../base/bytes.ts';
import { isAppError, messageOf } from '../../../base/errors.ts';
import { newUidBytes, uidToBytes } from '../../../base/ids.ts';
import { limits } from '../../../base/limits.ts';
import { NO_BYTES } from '../../../journal/encode.ts';
import type { Link } from '../../../transport/link.ts';
import { Capability as C } from '../../../wire/mysql/protocol.ts';
import { encodeErr, encodeOk, plainOk } from '../../../wire/mysql/responses.ts';
import { withTimeout } from '../handshake.ts';
import { recordFailedLogin } from '../login-failed.ts';
import { Engine, SessionRecorder, Witness } from '../recorder.ts';
import { Announcement } from './announce.ts';
import { type Connection, ConnectionIds } from './connections.ts';
import type { MysqlContext } from './context.ts';
import {
  applicationName,
  type Login,
  LoginError,
  type LoginProgress,
  Logins,
  type MysqlLoginSettings,
} from './login.ts';
import { CODES, errPacket, journalRefusal, refusal, type Refusal } from './refusal.ts';
import { MysqlSession } from './session.ts';
import { type ClientWishes, connectUpstream, runAlone, type UpstreamConnection } from './upstream.ts';

const KILL_TIMEOUT_MS = 10_000;
/** KILLs of ours on their way, over all sessions: beyond, the server finds out by itself. */
const MAX_KILLS = 100;

export class MysqlEngine {
  readonly #context: MysqlContext;
  readonly #logins: Logins;
  readonly #announcement: Announcement;
  readonly #connections = new ConnectionIds();
  readonly #onError: (message: string) => void;
  #loggingIn = 0;
  #kills = 0;
  #accepting = true;

  constructor(context: MysqlContext, settings: MysqlLoginSettings, onError: (message: string) => void) {
    this.#context = context;
    this.#logins = new Logins(context, settings, this.#connections);
    this.#announcement = new Announcement(context.reactor, context.authority, () =>
      context.clock.monotonicUs(),
    );
    this.#onError = onError;
  }

  /** Gets to know the servers, so that the first client is greeted right. Never rejects. */
  prepare(): Promise<void> {
    return this.#announcement.refresh();
  }

  /** Stops taking new sessions; running ones go on. */
  drain(): void {
    this.#accepting = false;
  }

  /** Takes over a freshly accepted link. */
  accept(link: Link): void {
    if (this.#loggingIn >= limits.maxUnauthenticatedConnections) {
      link.handler = SILENT;
      link.destroy();
      return;
    }
    const connection = this.#connections.issue();
    const progress = progressOf(link);
    const login = this.#logins.logIn(progress, this.#announcement.offer, connection.id);
    this.#run(progress, connection, login, null);
  }

  /** From a log-in under way to a session, or to its failure. */
  #run(
    progress: LoginProgress,
    connection: Connection,
    login: Promise<Login>,
    parent: MysqlSession | null,
  ): void {
    this.#loggingIn++;
    withTimeout(login, limits.authenticationTimeoutMs, 'the log-in')
      .finally(() => this.#loggingIn--)
      .then((result) => {
        if (!this.#accepting)
          throw new LoginError(CODES.shutdown, 'dbwitness is shutting down; try again soon', 'shutting down');
        if (this.#context.registry.load >= limits.maxSessions)
          throw new LoginError(
            CODES.tooManyConnections,
            `dbwitness holds ${limits.maxSessions} sessions, its limit; try again later`,
            'session limit',
          );
        return this.#open(result, connection, parent);
      })
      .catch((error: unknown) => {
        this.#connections.release(connection);
        this.#failed(progress, error);
      });
  }

  async #open(login: Login, connection: Connection, parent: MysqlSession | null): Promise<void> {
    const { registry, journal, reactor } = this.#context;
    const { permit, wire } = login;
    const { status } = journal;
    if (status.state !== 'open' && !permit.recording.failOpen) {
      const why = journalRefusal(status.failure);
      throw new LoginError(why, why.message, why.detail);
    }
    const opening = registry.opening(permit, login.credentialUid);
    try {
      const wishes = labelled(login);
      const upstream = await connectUpstream(reactor, permit, wishes, (greeting) =>
        this.#announcement.learn(permit.upstream.serverUid, greeting),
      );
      if (wire.link.closed || opening.endedMessage !== '') upstream.link.destroy();
      if (opening.endedMessage !== '')
        throw new LoginError(CODES.databaseDenied, opening.endedMessage, 'the grant ended during the log-in');
      if (wire.link.closed) this.#connections.release(connection);
      else this.#start(login, upstream, connection, parent);
    } finally {
      registry.opened(opening);
    }
  }

  #start(
    login: Login,
    upstream: UpstreamConnection,
    connection: Connection,
    parent: MysqlSession | null,
  ): void {
    const context = this.#context;
    const { permit, wire } = login;
    const { link } = wire;
    const recorder = new SessionRecorder(context.journal, context.turn, newUidBytes(context.clock));
    const account = context.registry.ledger.join(permit);
    let handedOver = false;
    const session: MysqlSession = new MysqlSession({
      context,
      permit,
      account,
      credentialUid: login.credentialUid,
      recorder,
      client: link,
      upstream: upstream.link,
      clientCapabilities: login.wishes.capabilities,
      upstreamCapabilities: upstream.capabilities,
      start: upstream.start,
      connection,
      connections: this.#connections,
      cancelUpstream: () => this.#kill(permit, upstream.connectionId),
      changeUser: (payload) => {
        if (link.closed) {
          this.#connections.release(connection);
          return;
        }
        const progress = progressOf(link);
        progress.peer = login.peer;
        progress.speaks41 = true;
        this.#run(progress, connection, this.#logins.changeUser(progress, login, payload), session);
      },
      onClosed: () => {
        handedOver = session.detached;
        connection.upstreamId = 0;
        if (!handedOver) this.#connections.release(connection);
        context.registry.remove(session);
      },
    });
    connection.killsOnly = login.killsOnly;
    this.#connections.opened(connection, permit, upstream.connectionId, () => session.queue.size > 0);
    context.registry.add(session);
    context.metrics.sessionsOpened.inc();
    session.joinTurn();
    recorder.open(openedEvent(login, upstream, context.turn.wallUs, parent));
    const greeting = loginOk(login, upstream);
    session.outcomeInTurn = true; // the greeting waits for the record of the session
    session.toClient.push(greeting, 0, greeting.length);
    // Both may have sent more already; it is presented now.
    link.resume();
    upstream.link.resume();
  }

  /** Ends what a session left running. */
  #kill(permit: Login['permit'], upstreamId: number): void {
    if (this.#kills >= MAX_KILLS) return;
    this.#kills++;
    runAlone(this.#context.reactor, permit, `KILL ${upstreamId}`, KILL_TIMEOUT_MS)
      .catch((error: unknown) => {
        if (isAppError(error) && error.details['errno'] === ER_NO_SUCH_THREAD) return; // it has come to its end by itself
        this.#onError(`KILL of a session that ended: ${messageOf(error)}`);
      })
      .finally(() => this.#kills--);
  }

  #failed(progress: LoginProgress, error: unknown): void {
    const { link, wire } = progress;
    const context = this.#context;
    const why = loginRefusal(error);
    if (why === null) context.onInternalError(error);
    recordFailedLogin(context, Engine.MYSQL, progress, progress.peer, error);
    if (link.closed) return;
    const said = why ?? refusal(CODES.internal, 'dbwitness failed inside; its log tells more');
    link.send(progress.speaks41 ? errPacket(said, wire?.sequence ?? 0) : earlyErr(said, wire?.sequence ?? 0));
    link.end();
    // A client that does not read its error must not keep the link.
    setTimeout(() => link.destroy(), 5_000).unref();
  }
}

const ER_NO_SUCH_THREAD = 1094;

const SILENT = {
  onBytes: (_bytes: Buffer, _start: number, end: number) => end,
  onDrain: () => undefined,
  onEnd: () => undefined,
  onClose: () => undefined,
};

function progressOf(link: Link): LoginProgress {
  return { link, peer: link.peer, user: '', database: '', applicationName: '', wire: null, speaks41: false };
}

/** Before a client has said that it speaks protocol 4.1, errors have no SQLSTATE. */
function earlyErr(why: Refusal, sequence: number): Buffer {
  const writer = new ByteWriter(512);
  encodeErr(writer, { number: why.errno, sqlState: '', message: why.message }, sequence);
  return writer.copy();
}

function loginRefusal(error: unknown): Refusal | null {
  if (error instanceof LoginError) return refusal(error, error.message);
  if (!isAppError(error)) return null;
  if (error.kind === 'protocol')
    return refusal(
      error.code === 'WIRE_SEQUENCE_OUT_OF_ORDER' ? CODES.outOfOrder : CODES.handshake,
      error.message,
    );
  const { errno, sqlstate } = error.details;
  return typeof errno === 'number' && typeof sqlstate === 'string'
    ? refusal({ errno, sqlstate }, error.message)
    : refusal(CODES.cannotConnect, error.message);
}

function labelled(login: Login): ClientWishes {
  const { permit, wishes, user } = login;
  if (!permit.recording.labelApplicationName) return wishes;
  const program = wishes.attributes.get('program_name');
  const label = program === undefined ? `${user}@dbwitness` : `${user}@dbwitness ${program}`;
  return { ...wishes, attributes: new Map([...wishes.attributes, ['program_name', label.slice(0, 512)]]) };
}

/** What the record of a session begins with. */
function openedEvent(
  login: Login,
  upstream: UpstreamConnection,
  nowUs: number,
  parent: MysqlSession | null,
): Parameters<SessionRecorder['open']>[0] {
  const { permit } = login;
  const { tls } = login.wire.link;
  return {
    witness: Witness.PROXY,
    engine: upstream.family === 'mariadb' ? Engine.MARIADB : Engine.MYSQL,
    serverUid: permit.upstream.serverUid,
    backendId: String(upstream.connectionId),
    backendStartedUs: nowUs,
    userUid: permit.userUid,
    userName: permit.userName,
    databaseUid: permit.databaseUid,
    databaseName: permit.databaseName,
    grantUid: permit.grantUid,
    controls: permit.controls,
    clientAddress: login.peer.address,
    clientPort: login.peer.port,
    tls: tls ? `${tls.version} ${tls.cipher}` : '',
    authentication: login.authentication,
    credentialUid: login.credentialUid,
    applicationName: applicationName(login.wishes.attributes).slice(0, 256),
    clientProtocol: '10',
    parameters: Object.fromEntries(login.wishes.attributes),
    continued: false,
    openedUs: nowUs,
    parentSessionUid: parent ? uidToBytes(parent.uid) : NO_BYTES,
    upstreamUser: permit.upstream.username,
  };
}

/** The OK of the log-in: the server's own where the client can read it, else one that says the same. */
function loginOk(login: Login, upstream: UpstreamConnection): Buffer {
  const { capabilities } = login.wishes;
  const { sequence } = login.wire;
  const same = ((capabilities.flags ^ upstream.capabilities.flags) & C.SESSION_TRACK) === 0;
  if (same && upstream.start.setUp.length === 0) {
    const { length } = upstream.ok;
    const header = Buffer.from([length, length >>> 8, length >>> 16, sequence]);
    return Buffer.concat([header, upstream.ok]);
  }
  const writer = new ByteWriter(64);
  encodeOk(writer, plainOk(upstream.start.status & ~0x4000), capabilities, sequence);
  return writer.copy();
}
