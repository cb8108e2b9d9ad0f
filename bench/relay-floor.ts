/**
 * `node bench/relay-floor.ts`: what a relay costs that does nothing but forward, on each of our reactors, beside
 * pgbouncer and HAProxy: the floor under everything that the proxy adds. pgbench -S, alternating, medians, ratios.
 *
 *   node bench/relay-floor.ts [--rounds N] [--seconds N] [--clients 8,1] [--protocols prepared,simple] [--spin 0,200]
 *
 * The tables are small (scale 1): pgbouncer keeps its server processes from run to run, and with large tables their
 * warm page tables would be measured instead of pgbouncer.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import {
  cpuSeconds,
  type PgTarget,
  type PostgresServer,
  pgbench,
  pgbenchInit,
  startHaproxy,
  startPgbouncer,
  startPostgres,
} from '../test/servers/index.ts';
import { fixed, median, medianRatio, table } from './statistics.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '7' },
    seconds: { type: 'string', default: '3' },
    clients: { type: 'string', default: '8,1' },
    protocols: { type: 'string', default: 'prepared,simple' },
    spin: { type: 'string', default: '0,200' },
  },
});

interface Way {
  readonly name: string;
  readonly target: PgTarget;
  readonly pid: number | null;
  stop(): Promise<void>;
}

interface Sample {
  readonly tps: number;
  readonly cpuUs: number;
}

/** `bare-relay.ts` in a process of its own. */
async function startRelay(
  name: string,
  driver: string,
  spinUs: string,
  server: PostgresServer,
  direct: PgTarget,
) {
  const socket = `${server.socketDir}/.s.PGSQL.${server.port}`;
  const script = new URL('bare-relay.ts', import.meta.url).pathname;
  const child = spawn(process.execPath, [script, driver, '0', socket, '0'], {
    stdio: ['pipe', 'pipe', 'inherit'],
    detached: true, // a scheduling group of its own, as the daemons have
    env: { ...process.env, SPIN_US: spinUs },
  });
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
  const { port } = JSON.parse(line) as { port: number };
  const stop = async (): Promise<void> => {
    child.stdin.end();
    await once(child, 'exit');
  };
  return { name, target: { ...direct, port }, pid: child.pid ?? null, stop };
}

async function startWays(server: PostgresServer): Promise<Way[]> {
  const { host, port, user, password } = server;
  const direct: PgTarget = { host, port, user, password, database: 'postgres' };
  await pgbenchInit(direct, 1);
  const haproxy = await startHaproxy(server);
  const pgbouncer = await startPgbouncer(server);
  const spins = values.spin.split(',');
  const relays = [
    ...spins.map((spin) => startRelay(`uring, spin ${spin}`, 'uring', spin, server, direct)),
    startRelay('epoll', 'epoll', '200', server, direct),
    startRelay('node', 'node', '0', server, direct),
  ];
  return [
    { name: 'direct', target: direct, pid: null, stop: () => server.stop() },
    { ...pgbouncer, name: 'pgbouncer', target: { ...direct, port: pgbouncer.port } },
    { ...haproxy, name: 'haproxy', target: { ...direct, port: haproxy.port } },
    ...(await Promise.all(relays)),
  ];
}

async function measure(way: Way, protocol: 'prepared' | 'simple', clients: number): Promise<Sample> {
  const cpu = (): number => (way.pid === null ? 0 : cpuSeconds(way.pid));
  const before = cpu();
  const seconds = Number(values.seconds);
  const report = await pgbench(way.target, { script: 'select-only', protocol, clients, seconds });
  return { tps: report.tps, cpuUs: ((cpu() - before) / report.transactions) * 1e6 };
}

async function compare(
  ways: readonly Way[],
  protocol: 'prepared' | 'simple',
  clients: number,
): Promise<void> {
  const samples = ways.map((): Sample[] => []);
  for (let round = 0; round < Number(values.rounds); round++)
    for (let i = 0; i < ways.length; i++) {
      const at = (i + round) % ways.length;
      samples[at].push(await measure(ways[at], protocol, clients));
    }
  const tps = samples.map((some) => some.map((one) => one.tps));
  const latency = tps.map((some) => some.map((one) => (clients * 1e6) / one));
  const added = latency.map((some) => some.map((one, round) => one - latency[0][round]));
  const rows = ways.map((way, i) => [
    way.name,
    fixed(median(tps[i]), 0),
    fixed(medianRatio(tps[i], tps[0]), 3),
    fixed(medianRatio(tps[i], tps[1]), 3),
    fixed(median(latency[i]), 1),
    fixed(median(added[i]), 1),
    fixed(median(samples[i].map((one) => one.cpuUs)), 1),
  ]);
  const title = `${protocol}, ${clients}`;
  const head = [title, 'TPS', '× direct', '× pgbouncer', 'latency µs', 'added µs', 'CPU µs/tx'];
  console.log(`\n${table(head, rows)}`);
}

const server = await startPostgres({ version: '15', settings: { autovacuum: 'off' } });
const ways = await startWays(server);
try {
  for (const protocol of values.protocols.split(',') as ('prepared' | 'simple')[])
    for (const clients of values.clients.split(',').map(Number)) await compare(ways, protocol, clients);
} finally {
  for (const way of ways.toReversed()) await way.stop();
}
