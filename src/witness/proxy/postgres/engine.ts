/**
 * The PostgreSQL engine of the proxy: from an accepted link to a running session.
 *
 *   listener ─▶ logIn (login.ts) ─▶ connectUpstream (upstream.ts) ─▶ SessionOpened ─▶ PgSession
 *        any failure ─▶ LoginFailed in the journal, ErrorResponse to the client, both sides closed
 */
import { ByteWriter } from '../../../base/bytes.ts';
import { isAppError } from '../../../base/errors.ts';
import { newUidBytes } from '../../../base/ids.ts';
import { limits } from '../../../base/limits.ts';
import { NO_BYTES } from '../../../journal/encode.ts';
import type { Link } from '../../../transport/link.ts';
import { encodeParameterStatus, encodeReadyForQuery } from '../../../wire/postgres/backend.ts';
import { encodeBackendKeyData } from '../../../wire/postgres/startup.ts';
import { withTimeout } from '../handshake.ts';
import { recordFailedLogin } from '../login-failed.ts';
import { Engine, SessionRecorder, Witness } from '../recorder.ts';
import { CancelRegistry, type CancelTarget } from './cancel.ts';
import type { PgContext } from './context.ts';
import { type Login, LoginError, type LoginProgress, type LoginSettings, logIn } from './login.ts';
import { upstreamParameters } from './parameters.ts';
import { errorResponse, refusal, type Refusal, SQLSTATE } from './refusal.ts';
import { journalRefusal } from './gate.ts';
import { PgSession } from './session.ts';
import { connectUpstream, SettingRefused, type UpstreamConnection } from './upstream.ts';

const KEY_BYTES_3_0 = 4;
const KEY_BYTES_3_2 = 32;

export class PgEngine {
  readonly #context: PgContext;
  readonly #settings: LoginSettings;
  readonly #cancels: CancelRegistry;
  #loggingIn = 0;
  #accepting = true;

  constructor(context: PgContext, settings: LoginSettings, onError: (message: string) => void) {
    this.#context = context;
    this.#settings = settings;
    this.#cancels = new CancelRegistry(context.reactor, onError);
  }

  /** Stops taking new sessions; running ones go on. */
  drain(): void {
    this.#accepting = false;
  }

  /** Takes over a freshly accepted link. */
  accept(link: Link): void {
    const { registry } = this.#context;
    if (this.#loggingIn >= limits.maxUnauthenticatedConnections) {
      link.handler = SILENT;
      link.destroy();
      return;
    }
    const progress: LoginProgress = { link, user: '', database: '', applicationName: '' };
    this.#loggingIn++;
    const login = withTimeout(
      logIn(this.#context, this.#settings, progress, (request) =>
        this.#cancels.request(request.processId, request.key),
      ),
      limits.authenticationTimeoutMs,
      'the log-in',
    );
    login
      .finally(() => this.#loggingIn--)
      .then((result) => {
        if (result === null) {
          progress.link.end();
          return undefined;
        }
        if (!this.#accepting)
          throw new LoginError('57P03', 'dbwitness is shutting down; try again soon', 'shutting down');
        if (registry.load >= limits.maxSessions)
          throw new LoginError(
            SQLSTATE.tooManyConnections,
            `dbwitness holds ${limits.maxSessions} sessions, its limit; try again later`,
            'session limit',
          );
        return this.#open(result);
      })
      .catch((error: unknown) => this.#failed(progress, error));
  }

  async #open(login: Login): Promise<void> {
    const { context } = this;
    const { permit } = login;
    const parameters = upstreamParameters(
      login.startup.parameters,
      login.user,
      permit.controls,
      permit.recording,
    );
    if (!parameters.ok)
      throw new LoginError(
        parameters.refusal.sqlstate,
        parameters.refusal.message,
        parameters.refusal.message,
      );
    const { status } = context.journal;
    if (status.state !== 'open' && !permit.recording.failOpen) {
      const why = journalRefusal(status.failure);
      throw new LoginError(why.sqlstate, why.message, why.detail);
    }
    const opening = context.registry.opening(permit, login.credentialUid);
    try {
      const upstream = await connectUpstream(context.reactor, permit.upstream, parameters.value.parameters);
      if (login.link.closed || opening.endedMessage !== '') upstream.link.destroy();
      if (opening.endedMessage !== '')
        throw new LoginError(
          SQLSTATE.invalidAuthorization,
          opening.endedMessage,
          'the grant ended during the log-in',
        );
      if (!login.link.closed)
        this.#start(login, upstream, parameters.value.parameters, parameters.value.applicationName);
    } finally {
      context.registry.opened(opening);
    }
  }

  get context(): PgContext {
    return this.#context;
  }

  #start(
    login: Login,
    upstream: UpstreamConnection,
    parameters: ReadonlyMap<string, string>,
    applicationName: string,
  ): void {
    const { context } = this;
    const { permit, link } = login;
    const target: CancelTarget = {
      upstream: permit.upstream,
      processId: upstream.processId,
      key: upstream.key,
      encrypted: upstream.encrypted,
    };
    const cancel = this.#cancels.issue(target, login.minor >= 2 ? KEY_BYTES_3_2 : KEY_BYTES_3_0);
    const recorder = new SessionRecorder(context.journal, context.turn, newUidBytes(context.clock));
    const account = context.registry.ledger.join(permit);
    const session: PgSession = new PgSession({
      context,
      permit,
      account,
      credentialUid: login.credentialUid,
      recorder,
      client: link,
      upstream: upstream.link,
      standardConformingStrings: upstream.parameters.get('standard_conforming_strings') !== 'off',
      clientEncoding: upstream.parameters.get('client_encoding') ?? 'UTF8',
      replication: parameters.has('replication'),
      cancelUpstream: () => void this.#cancels.send(target),
      onClosed: () => {
        cancel.revoke();
        context.registry.remove(session);
      },
    });
    context.registry.add(session);
    context.metrics.sessionsOpened.inc();
    session.joinTurn();
    recorder.open({
      witness: Witness.PROXY,
      engine: Engine.POSTGRES,
      serverUid: permit.upstream.serverUid,
      backendId: String(upstream.processId),
      backendStartedUs: context.turn.wallUs,
      userUid: permit.userUid,
      userName: permit.userName,
      databaseUid: permit.databaseUid,
      databaseName: permit.databaseName,
      grantUid: permit.grantUid,
      controls: permit.controls,
      clientAddress: link.peer.address,
      clientPort: link.peer.port,
      tls: link.tls ? `${link.tls.version} ${link.tls.cipher}` : '',
      authentication: login.authentication,
      credentialUid: login.credentialUid,
      applicationName,
      clientProtocol: `3.${login.minor}`,
      parameters: Object.fromEntries(parameters),
      continued: false,
      openedUs: context.turn.wallUs,
      parentSessionUid: NO_BYTES,
      upstreamUser: permit.upstream.username,
    });
    const greeting = greet(upstream, cancel.key, login.startup.parameters.get('application_name'));
    session.outcomeInTurn = true; // the greeting waits for the record of the session
    session.toClient.push(greeting, 0, greeting.length);
    // Both may have sent more already; it is presented now.
    link.resume();
    upstream.link.resume();
  }

  #failed(progress: LoginProgress, error: unknown): void {
    const { link } = progress;
    const { context } = this;
    const why = loginRefusal(error);
    if (why === null) context.onInternalError(error);
    recordFailedLogin(context, Engine.POSTGRES, progress, link.peer, error);
    if (link.closed) return;
    link.send(
      error instanceof SettingRefused
        ? error.response
        : errorResponse(
            'FATAL',
            why ?? refusal(SQLSTATE.internal, 'dbwitness failed inside; its log tells more'),
          ),
    );
    link.end();
    // A client that does not read its error must not keep the link.
    setTimeout(() => link.destroy(), 5_000).unref();
  }
}

const SILENT = {
  onBytes: (_bytes: Buffer, _start: number, end: number) => end,
  onDrain: () => undefined,
  onEnd: () => undefined,
  onClose: () => undefined,
};

function loginRefusal(error: unknown): Refusal | null {
  if (error instanceof LoginError) return refusal(error.sqlstate, error.message);
  if (!isAppError(error)) return null;
  if (error.kind === 'protocol') return refusal(SQLSTATE.protocolViolation, error.message);
  const state = error.details['sqlstate'];
  return refusal(
    typeof state === 'string' && state.length === 5 ? state : SQLSTATE.cannotConnect,
    error.message,
  );
}

/** What is between AuthenticationOk and ReadyForQuery, and that one, as the upstream reported itself, with a cancel key of ours. */
function greet(upstream: UpstreamConnection, key: Buffer, applicationName: string | undefined): Buffer {
  const writer = new ByteWriter(1024);
  for (const notice of upstream.notices) writer.raw(notice);
  for (const [name, value] of upstream.parameters)
    encodeParameterStatus(writer, {
      name,
      value: name === 'application_name' ? (applicationName ?? '') : value,
    });
  encodeBackendKeyData(writer, { processId: upstream.processId, key });
  encodeReadyForQuery(writer, upstream.transactionStatus);
  return writer.copy();
}
