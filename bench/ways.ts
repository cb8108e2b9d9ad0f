/** The ways to one PostgreSQL server that are compared: direct, HAProxy, pgbouncer, dbwitness. */
import { readFileSync } from 'node:fs';
import {
  type Dbwitness,
  type PgTarget,
  type PostgresServer,
  pgbenchInit,
  processTree,
  startDbwitness,
  startHaproxy,
  startPgbouncer,
  startPostgres,
  waitFor,
} from '../test/servers/index.ts';

export const WAY_NAMES = ['direct', 'haproxy', 'pgbouncer', 'dbwitness'] as const;
export type WayName = (typeof WAY_NAMES)[number];

export interface Way {
  readonly name: WayName;
  readonly target: PgTarget;
  /** Root of the process tree in between; `null`: there is none. */
  readonly pid: number | null;
  /** The process that carries the bytes. */
  readonly relayPid: number | null;
}

export interface Field {
  readonly server: PostgresServer;
  readonly node: Dbwitness;
  readonly ways: readonly Way[];
  stop(): Promise<void>;
}

/**
 * fsync is off: the disk is not what is compared. autovacuum is off: it would strike one way and not another. Enough
 * WAL that no checkpoint falls into a run.
 */
const SETTINGS = {
  shared_buffers: '512MB',
  max_wal_size: '8GB',
  checkpoint_timeout: '1h',
  autovacuum: 'off',
};

/** Starts everything. `scale` is pgbench's: 100,000 accounts each. */
export async function startField(scale: number): Promise<Field> {
  const server = await startPostgres({ version: '15', settings: SETTINGS });
  const haproxy = await startHaproxy(server);
  const pgbouncer = await startPgbouncer(server);
  const node = await startDbwitness();
  const direct: PgTarget = {
    host: server.host,
    port: server.port,
    user: server.user,
    password: server.password,
    database: 'postgres',
  };
  await pgbenchInit(direct, scale);
  // Everything recorded, by the defaults; upstream over the Unix socket, as pgbouncer's.
  const access = await node.grantAccess(server, { database: { host: server.socketDir } });
  const tree = processTree(node.pid);
  const relay = tree.find((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('/relay/main.'));
  if (relay === undefined) throw new Error('the relay process was not found under dbwitness');
  return {
    server,
    node,
    ways: [
      { name: 'direct', target: direct, pid: null, relayPid: null },
      { name: 'haproxy', target: { ...direct, port: haproxy.port }, pid: haproxy.pid, relayPid: haproxy.pid },
      {
        name: 'pgbouncer',
        target: { ...direct, port: pgbouncer.port },
        pid: pgbouncer.pid,
        relayPid: pgbouncer.pid,
      },
      { name: 'dbwitness', target: access, pid: node.pid, relayPid: relay },
    ],
    stop: async () => {
      await Promise.all([haproxy.stop(), pgbouncer.stop(), node.stop()]);
      await server.stop();
    },
  };
}

export interface CatchUp {
  /** Events that the index did not know yet when the run ended. */
  readonly lagEvents: number;
  readonly tookMs: number;
}

/** Waits until dbwitness's index knows everything, so that its catching up does not burden the next run. */
export async function indexerIdle(node: Dbwitness): Promise<CatchUp> {
  const started = performance.now();
  let first = -1;
  await waitFor(
    "dbwitness's indexer to be idle",
    async () => {
      const lag = await indexLag(node);
      if (first === -1) first = lag;
      return lag === 0;
    },
    { timeoutMs: 600_000, everyMs: 50 },
  );
  return { lagEvents: first, tookMs: performance.now() - started };
}

async function indexLag(node: Dbwitness): Promise<number> {
  const text = await (await fetch(node.url('/metrics'))).text();
  const match = /^dbwitness_index_lag_events (\S+)$/m.exec(text);
  if (match === null) throw new Error('there is no dbwitness_index_lag_events among the metrics');
  return Number(match[1]);
}
