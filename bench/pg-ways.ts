/** The ways to a PostgreSQL server: direct, HAProxy, pgbouncer, dbwitness; and what is run through them. */
import { message, RawClient } from '../test/conformance/postgres/raw-client.ts';
import {
  pgbench,
  pgbenchInit,
  startDbwitness,
  startHaproxy,
  startPgbouncer,
  startPostgres,
  type Target,
} from '../test/servers/index.ts';
import type { Load } from './throughput.ts';
import type { Transfer } from './transfer.ts';
import { dbwitnessWay, type Field } from './ways.ts';

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

export type PgField = Field & { readonly server: Awaited<ReturnType<typeof startPostgres>> };

/** Starts everything. `scale` is pgbench's: 100,000 accounts each. */
export async function startPgField(scale: number): Promise<PgField> {
  const server = await startPostgres({ version: '15', settings: SETTINGS });
  const haproxy = await startHaproxy(server);
  const pgbouncer = await startPgbouncer(server);
  const node = await startDbwitness({ env: { DBW_INDEX_LAG_SECONDS: undefined } });
  const direct: Target = {
    host: server.host,
    port: server.port,
    user: server.user,
    password: server.password,
    database: 'postgres',
  };
  await pgbenchInit(direct, scale);
  await server.query('CREATE UNLOGGED TABLE bench_in (line text)');
  // Everything recorded, by the defaults; upstream over the Unix socket, as pgbouncer's.
  const access = await node.grantAccess(server, { database: { host: server.socketDir } });
  const by = (name: 'haproxy' | 'pgbouncer', { port, pid }: { port: number; pid: number }) => ({
    name,
    target: { ...direct, port },
    pid,
    relayPid: pid,
  });
  return {
    server,
    serverPid: server.pid,
    node,
    ways: [
      { name: 'direct', target: direct, pid: null, relayPid: null },
      by('haproxy', haproxy),
      by('pgbouncer', pgbouncer),
      dbwitnessWay(node, access),
    ],
    stop: async () => {
      await Promise.all([haproxy.stop(), pgbouncer.stop(), node.stop()]);
      await server.stop();
    },
  };
}

/** pgbench's own scripts, prepared and simple, with 8 clients and with 1. */
export const PG_LOADS: readonly Load[] = (['select-only', 'tpcb-like'] as const).flatMap((script) =>
  (['prepared', 'simple'] as const).flatMap((protocol) =>
    [8, 1].map((clients) => ({
      name: `${script}, ${protocol}, ${clients} client${clients === 1 ? '' : 's'}`,
      clients,
      run: (target, seconds) => pgbench(target, { script, protocol, clients, seconds }),
    })),
  ),
);

const ROW_BYTES = 1000;

/** A result by COPY, a result by SELECT, a COPY in. */
export function pgTransfers(field: PgField): Transfer[] {
  const out = (kind: string, sql: (select: string) => string): Transfer => ({
    kind,
    isResult: true,
    run: async (target, megabytes, began) => {
      const rows = Math.round((megabytes * 1e6) / ROW_BYTES);
      const client = await RawClient.connect(target);
      began();
      const started = performance.now();
      client.send(
        message.query(sql(`SELECT repeat('x', ${ROW_BYTES - 1}) FROM generate_series(1, ${rows})`)),
      );
      const bytes = await client.drain();
      const seconds = (performance.now() - started) / 1000;
      await client.end();
      return { bytes, seconds };
    },
  });
  return [
    out('COPY out', (select) => `COPY (${select}) TO STDOUT`),
    out('SELECT', (select) => select),
    {
      kind: 'COPY in',
      isResult: false,
      run: async (target, megabytes, began) => {
        const client = await RawClient.connect(target);
        began();
        const started = performance.now();
        const bytes = await copyIn(client, Math.round((megabytes * 1e6) / ROW_BYTES));
        const seconds = (performance.now() - started) / 1000;
        await client.end();
        await field.server.query('TRUNCATE bench_in');
        return { bytes, seconds };
      },
    },
  ];
}

async function copyIn(client: RawClient, rows: number): Promise<number> {
  client.send(message.query('COPY bench_in FROM STDIN'));
  await client.until('G');
  const rowsPerMessage = 64;
  const data = message.copyData(`${'y'.repeat(ROW_BYTES - 1)}\n`.repeat(rowsPerMessage));
  let bytes = 0;
  for (let sent = 0; sent < rows; sent += rowsPerMessage) {
    await client.write(data);
    bytes += ROW_BYTES * rowsPerMessage;
  }
  client.send(message.copyDone());
  await client.until('Z');
  return bytes;
}
