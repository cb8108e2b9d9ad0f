/**
 * The relay's process: reactor, journal, proxy, and nothing else on this event loop. Started by the node's process,
 * which hands over the settings and serves its questions over IPC. Ends with it.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { systemClock } from '../../base/clock.ts';
import { AppError, isAppError, messageOf } from '../../base/errors.ts';
import { limits } from '../../base/limits.ts';
import { openJournal } from '../../journal/journal.ts';
import { loadMysqlDialect } from '../../sql/mysql/dialect.ts';
import { loadPostgresDialect } from '../../sql/postgres/dialect.ts';
import type { ServerTlsOptions } from '../../transport/link.ts';
import { createReactor } from '../../transport/reactor.ts';
import { ServerCertificate } from '../../transport/tls.ts';
import { appendBatch } from '../../witness/probe/journal-sink.ts';
import { Proxy, type ProxyOptions } from '../../witness/proxy/proxy.ts';
import { Channel } from '../ipc.ts';
import type { NodeMethods, RelayMethods } from './protocol.ts';
import { RemoteAuthority } from './remote-authority.ts';
import { loadRsaKey } from './rsa-key.ts';
import type { RelaySettings } from './settings.ts';

const LOCK_PATIENCE_MS = 5_000;
/** How long after the start a clock that would drop the whole record is doubted. */
const CLOCK_DOUBT_US = 30 * 60_000_000;
/** Whoever lost the node's process cannot be told of revocations any more: sessions do not outlive it for long. */
const ORPHAN_GRACE_MS = 1_000;

// Ctrl-C reaches the whole process group; the node's process decides when the relay ends.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => undefined);

const channel = new Channel<RelayMethods, NodeMethods>(process, () => void shutdown(ORPHAN_GRACE_MS));
const report = (level: 'info' | 'warn' | 'error', message: string): void =>
  channel.notify('log', { level, message });
let shutdown: (graceMs: number) => Promise<void> = () => Promise.resolve(process.exit(0));
// Nobody is here yet whom a notice could concern.
channel.handle('notice', () => undefined);
const settings = await new Promise<RelaySettings>((resolve) => {
  channel.handle('settings', resolve);
});

async function start(): Promise<void> {
  const reactor = createReactor({
    driver: settings.driver,
    report: (error) => report('warn', error.message),
  });
  const journal = await openPatiently({
    folder: settings.journalFolder,
    node: settings.node,
    version: settings.version,
    clock: systemClock,
    encryptionKey: settings.journalKey ? Buffer.from(settings.journalKey, 'base64') : null,
    reserveBytes: settings.journalReserveBytes,
    cosigner: settings.cosigner,
    onCosigned: (problem) => {
      if (problem !== '') report('warn', `the checkpoint was not cosigned: ${problem}`);
    },
  });
  const sql = await loadPostgresDialect();
  const tls = await serverTls();
  const proxy = new Proxy({
    reactor,
    journal,
    authority: new RemoteAuthority(channel),
    clock: systemClock,
    postgres: {
      sql,
      login: {
        tls: () => offered(tls(), 'postgresql'),
        allowCleartext: settings.allowCleartext,
        requireTls: settings.requireTls,
        certificateLogin: settings.certificateLogin,
      },
    },
    ...(settings.listenMysql && { mysql: await mysqlOptions(tls) }),
    maxStatementBytes: settings.maxStatementBytes,
    report,
  });
  serveAppends(journal, proxy);
  channel.handle('dropSegments', (policy) => {
    // What a clock that is wrong at the start looks like: nothing of the last run would be left. Later it may be right.
    const { lastUs } = journal.recovered;
    if (lastUs > 0 && lastUs < policy.olderThanUs && systemClock.monotonicUs() < CLOCK_DOUBT_US) return null;
    return journal.dropSegments(policy);
  });
  channel.handle('hasSession', (uid) => [...proxy.registry].some((session) => session.uid === uid));
  channel.handle('shutdown', () => void shutdown(limits.shutdownGraceMs));
  shutdown = once(async (graceMs) => {
    await proxy.close(graceMs);
    await journal.close();
    await reactor.close();
    process.exit(0);
  });
  journal.onStatus((status) => {
    if (status.state === 'closed') return;
    report(
      status.state === 'open' ? 'info' : 'error',
      status.state === 'open'
        ? 'the journal takes records again'
        : `the journal cannot be written: ${status.failure}`,
    );
  });
  const listening = [];
  if (settings.listenPostgres) {
    const listener = await named('DBW_LISTEN_PG', proxy.listenPostgres(settings.listenPostgres));
    listening.push({ engine: 'postgres' as const, host: listener.host, port: listener.port });
  }
  if (settings.listenMysql) {
    const listener = await named('DBW_LISTEN_MYSQL', proxy.listenMysql(settings.listenMysql));
    listening.push({ engine: 'mysql' as const, host: listener.host, port: listener.port });
  }
  channel.notify('listening', listening);
  reportRegularly(proxy, journal);
}

/** Whoever cannot start hears which setting to change. */
async function named<T>(setting: string, listening: Promise<T>): Promise<T> {
  try {
    return await listening;
  } catch (cause) {
    if (!isAppError(cause)) throw cause;
    const { kind, code, message, details } = cause;
    throw new AppError(kind, code, `${message}; the setting is ${setting}`, { details, cause });
  }
}

async function mysqlOptions(tls: () => ServerTlsOptions | null): Promise<NonNullable<ProxyOptions['mysql']>> {
  const { methods, proxyProtocolFrom, keyFolder } = settings.mysql;
  return {
    sql: { mysql: loadMysqlDialect('mysql'), mariadb: loadMysqlDialect('mariadb') },
    login: {
      tls,
      requireTls: settings.requireTls,
      methods,
      rsa: await loadRsaKey(keyFolder),
      proxyProtocolFrom,
    },
  };
}

/** What the node's process has to record: changes of the control plane, and what kernel probes saw. */
function serveAppends(journal: Awaited<ReturnType<typeof openJournal>>, proxy: Proxy): void {
  channel.handle('append', (event) => {
    // What fails closed for statements does so for the control plane: nobody waits for a disk that is full.
    const { state, failure } = journal.status;
    if (state !== 'open') throw new AppError('unavailable', 'JOURNAL_UNWRITABLE', failure);
    proxy.turn.touch();
    const seq = journal.appendEncoded(event);
    return new Promise((resolve) => journal.whenDurable(seq + 1, () => resolve({ seq })));
  });
  channel.handle('appendBatch', (batch) => {
    proxy.turn.touch();
    return appendBatch(journal, batch);
  });
}

/** The relay of a run that was killed may still be ending: it gets a moment to let go of the journal. */
async function openPatiently(options: Parameters<typeof openJournal>[0]): ReturnType<typeof openJournal> {
  const until = systemClock.monotonicUs() + LOCK_PATIENCE_MS * 1000;
  for (;;) {
    try {
      return await openJournal(options);
    } catch (error) {
      const locked = isAppError(error) && error.kind === 'conflict';
      if (!locked || systemClock.monotonicUs() > until) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

function reportRegularly(proxy: Proxy, journal: Awaited<ReturnType<typeof openJournal>>): void {
  const delay = monitorEventLoopDelay({ resolution: 20 });
  delay.enable();
  setInterval(() => {
    const { state, failure } = journal.status;
    channel.notify('report', {
      counters: proxy.metrics.snapshot(),
      sessions: proxy.registry.size,
      journal: { state, failure, nextSeq: journal.nextSeq, durable: journal.durable },
      loopDelayMs: delay.max / 1e6,
      rssBytes: process.memoryUsage.rss(),
    });
    delay.reset();
  }, 1_000).unref();
}

/** TLS with the name of an application protocol. */
function offered(tls: ServerTlsOptions | null, protocol: string): ServerTlsOptions | null {
  return tls && { ...tls, alpnProtocols: [protocol] };
}

/** The listeners' TLS, read again when its files change. */
async function serverTls(): Promise<() => ServerTlsOptions | null> {
  const { tls } = settings;
  if (!tls) return () => null;
  const certificate = await ServerCertificate.load({
    ...tls,
    now: () => new Date(systemClock.wallUs() / 1000),
  });
  certificate.watch(
    () => report('info', 'the TLS certificate was read again'),
    (error) => report('warn', error.message),
  );
  return () => ({
    secureContext: certificate.secureContext,
    requestClientCertificate: tls.clientCaFile !== '',
    handshakeTimeoutMs: limits.authenticationTimeoutMs,
  });
}

function once(action: (graceMs: number) => Promise<void>): (graceMs: number) => Promise<void> {
  let running: Promise<void> | null = null;
  return (graceMs) => (running ??= action(graceMs));
}

start().catch((error: unknown) => {
  channel.notify('failed', {
    code: isAppError(error) ? error.code : 'APP_RELAY_START',
    message: messageOf(error),
  });
  setTimeout(() => process.exit(1), 100);
});
