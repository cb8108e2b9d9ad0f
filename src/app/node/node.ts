/**
 * A node: the one place that constructs things. Two processes:
 *
 *   node process (this one)                             relay process (relay/main.ts)
 *     vault ─ store (PGlite thread | PostgreSQL)           reactor ─ proxy ─ journal ─ sealer thread
 *     access ◀── IPC: log-ins, permits, notices ──────────▶
 *     indexer thread ◀── follows the journal's files ────── segments/
 *     API on TCP, and on the control socket (mode 0600) for the machine's administrator
 *
 * Start: vault, relay (journal first: without it nothing is let through), store, access, API. A store that is not there
 * yet (PostgreSQL down) does not stop the relay from starting; log-ins wait for it.
 */
import { chmod, mkdir, rm, writeFile } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { dirname } from 'node:path';
import type { FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import { type Access, createAccess } from '../../access/access.ts';
import { LOCAL_ADMIN } from '../../access/actor.ts';
import { openVault, type Vault } from '../../access/vault.ts';
import { createApi } from '../../api/api.ts';
import { neverAhead, neverBehind, systemClock } from '../../base/clock.ts';
import { AppError, messageOf, systemErrorCode } from '../../base/errors.ts';
import { JournalReader } from '../../journal/reader.ts';
import { applyRetention } from '../../store/partitions.ts';
import { getSession } from '../../store/queries.ts';
import { openStore, type Store } from '../../store/store.ts';
import { ed25519PublicKey } from '../../wire/mysql/ed25519.ts';
import { type Config, packageVersion } from '../config.ts';
import type { ListenerAddress } from '../relay/protocol.ts';
import { NodeJournalReads } from './journal-reads.ts';
import { createMetrics } from './metrics.ts';
import { NodeIndex } from './node-index.ts';
import { type NodePaths, pathsOf } from './paths.ts';
import { receiveProbes } from './probe-receiver.ts';
import { RelayProcess } from './relay-process.ts';

const RETENTION_INTERVAL_MS = 3_600_000;

export interface Node {
  readonly access: Access;
  readonly listening: readonly ListenerAddress[];
  /** `null` when the TCP listener is off. */
  readonly apiAddress: string | null;
  /** Sessions may finish their statements, then everything is closed. */
  stop(): Promise<void>;
  /** Ends the relay without waiting for anybody, for a process that is about to end. Loses no record. */
  abandon(): void;
}

export interface NodeEvents {
  /**
   * At the first start, when no password was given: the one of `admin`, to be shown now and never again. Told as soon
   * as it holds, so that a start that fails later does not lose it.
   */
  readonly onGeneratedAdminPassword?: (password: string) => void;
}

/** Purpose of the vault's subkey that encrypts the journal. */
export const JOURNAL_KEY_PURPOSE = 'journal';

/** Starts everything; rejects with an AppError that says what is wrong, with nothing left running. */
export async function startNode(config: Config, logger: Logger, events: NodeEvents = {}): Promise<Node> {
  const started: (() => Promise<unknown>)[] = [];
  const stop = async (): Promise<void> => {
    for (const end of started.splice(0).reverse())
      await end().catch((error: unknown) => logger.error(messageOf(error)));
  };
  try {
    return await construct(config, logger, events, started, stop);
  } catch (error) {
    await stop();
    throw error;
  }
}

async function construct(
  config: Config,
  logger: Logger,
  events: NodeEvents,
  started: (() => Promise<unknown>)[],
  stop: () => Promise<void>,
): Promise<Node> {
  const paths = pathsOf(config.dataDir);
  checkSocketPath(paths.socket);
  await mkdir(config.dataDir, { recursive: true, mode: 0o700 });
  const vault = await openVault({ ...config, dataDir: config.dataDir });
  const relay = new RelayProcess({
    clock: systemClock,
    settings: relaySettings(config, vault),
    log: (level, message) => logger[level]({ part: 'relay' }, message),
  });
  await relay.start();
  started.push(() => relay.stop());
  started.push(await receiveProbes(config, paths, relay, logger));

  const store = await openStore({ dsn: config.dsn, dataDir: config.dataDir });
  started.push(() => store.close());
  const access = await createAccess({
    db: store.db,
    // What has expired here stays expired, whatever the host's clock is set to.
    clock: neverBehind(systemClock),
    vault,
    journal: relay,
    options: {
      mysqlMethods: {
        native: config.mysqlAuth.includes('mysql_native_password'),
        ed25519PublicKey: config.mysqlAuth.includes('client_ed25519') ? ed25519PublicKey : null,
      },
    },
    onBackgroundError: (error) => logger.warn({ part: 'access' }, messageOf(error)),
  });
  started.push(() => access.close());
  relay.serve(access.authority);
  await firstAdmin(access, config, events);

  // For reading, always: segments of a time when encryption was on stay encrypted.
  const journalKey = vault.subkey(JOURNAL_KEY_PURPOSE);
  const reader = JournalReader.open(paths.journal, { key: journalKey });
  started.push(() => reader.close());
  const module = new URL(
    `./indexer-worker${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`,
    import.meta.url,
  );
  const journal = { dir: paths.journal, key: journalKey };
  const index = new NodeIndex(
    { module, store, journal, journalName: reader.origin, maxLagMs: config.indexLagSeconds * 1000 },
    reader,
    relay,
  );
  started.push(() => index.stop());
  retainRegularly(config, relay, store, logger, started);
  const parts = { config, logger, store, access, relay, index, reader, journalKey, paths, started };
  const apis = await serveApi(parts);
  await writeState(config, paths.state, apis.address, relay);
  started.push(() => rm(paths.state, { force: true }));
  return { access, listening: relay.listening, apiAddress: apis.address, stop, abandon: () => relay.kill() };
}

function relaySettings(
  config: Config,
  vault: Vault,
): ConstructorParameters<typeof RelayProcess>[0]['settings'] {
  const paths = pathsOf(config.dataDir);
  return {
    node: config.node,
    version: packageVersion(),
    journalFolder: paths.journal,
    journalKey: config.journalEncryption
      ? Buffer.from(vault.subkey(JOURNAL_KEY_PURPOSE)).toString('base64')
      : '',
    journalReserveBytes: config.journalReserveBytes,
    cosigner: config.cosignerUrl === '' ? null : { url: config.cosignerUrl, key: config.cosignerKey },
    driver: config.reactor,
    listenPostgres: config.listenPostgres,
    listenMysql: config.listenMysql,
    mysql: {
      methods: config.mysqlAuth,
      proxyProtocolFrom: config.mysqlProxyProtocolFrom,
      keyFolder: paths.tls,
    },
    maxStatementBytes: config.maxStatementBytes,
    allowCleartext: config.cleartextPasswords,
    requireTls: config.tls === 'required',
    certificateLogin: config.clientCertificateLogin,
    tls:
      config.tls === 'off'
        ? null
        : {
            certFile: config.tlsCertFile,
            keyFile: config.tlsKeyFile,
            folder: paths.tls,
            clientCaFile: config.tlsClientCaFile,
          },
  };
}

/** At the first start there is nobody: makes `admin`. */
async function firstAdmin(access: Access, config: Config, events: NodeEvents): Promise<void> {
  const { items } = await access.users.list(LOCAL_ADMIN, { limit: 1, after: null });
  if (items.length > 0) return;
  const password = config.adminPassword || randomBytes(15).toString('base64url');
  await access.users.create(LOCAL_ADMIN, { username: 'admin', password, roles: ['admin'] });
  if (config.adminPassword === '') events.onGeneratedAdminPassword?.(password);
}

interface ApiParts {
  readonly config: Config;
  readonly logger: Logger;
  readonly store: Store;
  readonly access: Access;
  readonly relay: RelayProcess;
  readonly index: NodeIndex;
  readonly reader: JournalReader;
  readonly journalKey: Uint8Array;
  readonly paths: NodePaths;
  readonly started: (() => Promise<unknown>)[];
}

async function serveApi(parts: ApiParts): Promise<{ address: string | null }> {
  const { config, logger, store, access, relay, index, reader, journalKey, paths, started } = parts;
  const deps = {
    access,
    db: store.db,
    journal: new NodeJournalReads(
      reader,
      paths.journal,
      journalKey,
      async (uid) => (await getSession(store.db, uid))?.engine ?? '',
    ),
    ready: async () => readiness(store, relay, index),
    metrics: createMetrics({ relay, indexer: () => index.status }),
    index,
    version: packageVersion(),
    logger: logger.child({ part: 'api' }),
  };
  const local = await createApi({ ...deps, options: { localAdmin: true } });
  started.push(() => local.close());
  await listenOnSocket(local, paths.socket);
  if (!config.listenApi) return { address: null };
  const api = await createApi({ ...deps, options: { trustedProxies: config.trustedProxies } });
  started.push(() => api.close());
  const { host, port } = config.listenApi;
  await bound(api.listen({ host: host === '' ? '::' : host, port }), `${host}:${port}`, 'DBW_LISTEN_API');
  const address = api.addresses()[0];
  const shown =
    host === '' || host === '::' || host === '0.0.0.0'
      ? 'localhost'
      : host.includes(':')
        ? `[${host}]`
        : host;
  return { address: `http://${shown}:${typeof address === 'object' ? address.port : port}` };
}

/** Turns the failure to listen into words. */
async function bound(listening: Promise<unknown>, where: string, setting: string): Promise<void> {
  try {
    await listening;
  } catch (error) {
    const code = systemErrorCode(error) ?? '';
    const why =
      code === 'EADDRINUSE'
        ? 'another program listens there; stop it or choose another port'
        : code === 'EACCES'
          ? 'not allowed; choose a port above 1023 or give the right'
          : messageOf(error);
    throw new AppError(
      'unavailable',
      'APP_LISTEN',
      `cannot listen on ${where}: ${code} (${why}; the setting is ${setting})`,
      { cause: error },
    );
  }
}

/** sun_path of unix(7), without its NUL. */
const MAX_SOCKET_PATH_BYTES = 107;

function checkSocketPath(path: string): void {
  if (Buffer.byteLength(path) > MAX_SOCKET_PATH_BYTES)
    throw new AppError(
      'invalid',
      'APP_DATA_DIR_TOO_LONG',
      `the control socket ${path} has a path of more than ${MAX_SOCKET_PATH_BYTES} bytes; choose a shorter DBW_DATA_DIR`,
    );
}

async function listenOnSocket(api: FastifyInstance, path: string): Promise<void> {
  await rm(path, { force: true }); // left by a run that was killed; the journal's lock has told us that it is gone
  // Nobody else may reach it, not even for the moment between bind and chmod.
  const umask = process.umask(0o177);
  try {
    await mkdir(dirname(path), { recursive: true });
    await bound(api.listen({ path }), path, 'DBW_DATA_DIR');
  } finally {
    process.umask(umask);
  }
  await chmod(path, 0o600);
}

async function readiness(
  store: Store,
  relay: RelayProcess,
  index: NodeIndex,
): Promise<{ ready: boolean; checks: Record<string, string> }> {
  const { report } = relay;
  const journal =
    report === null
      ? 'the relay is not running'
      : report.journal.state === 'open'
        ? 'ok'
        : report.journal.failure;
  const storeState = await store.db
    .selectFrom('settings')
    .select('name')
    .limit(1)
    .execute()
    .then(
      () => 'ok',
      (error: unknown) => messageOf(error),
    );
  const { state, failure } = index.status;
  return {
    // A slow or absent index delays nobody, so it does not make the node unready.
    ready: journal === 'ok' && storeState === 'ok',
    checks: { journal, store: storeState, index: state === 'failing' ? failure : state },
  };
}

function retainRegularly(
  config: Config,
  relay: RelayProcess,
  store: Store,
  logger: Logger,
  started: (() => Promise<unknown>)[],
): void {
  const { retentionDays } = config;
  if (retentionDays === null) return;
  const clock = neverAhead(systemClock);
  const retain = async (): Promise<void> => {
    const beforeUs = clock.wallUs() - retentionDays * 86_400_000_000;
    if (await relay.dropSegments(beforeUs)) return void (await applyRetention(store, beforeUs));
    const message = `nothing of the last run is younger than ${retentionDays} days: the clock may be wrong, so retention waits for an hour`;
    logger.warn({ part: 'retention' }, message);
  };
  const run = (): void =>
    void retain().catch((error: unknown) => logger.warn({ part: 'retention' }, messageOf(error)));
  run();
  const timer = setInterval(run, RETENTION_INTERVAL_MS);
  started.push(async () => clearInterval(timer));
}

/** What the command line needs to find this node; no secrets. */
async function writeState(
  config: Config,
  path: string,
  api: string | null,
  relay: RelayProcess,
): Promise<void> {
  const state = {
    pid: process.pid,
    relay_pid: relay.pid,
    node: config.node,
    api,
    listening: relay.listening,
  };
  await writeFile(path, `${JSON.stringify(state)}\n`, { mode: 0o600 });
}
