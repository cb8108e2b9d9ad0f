/**
 * `npm run bench:probe`: what the kernel probe costs a server, and whether it keeps up. Rounds with and without the probe
 * alternate, each with the same load; reported are medians of the differences within a round. See README.md.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import pg from 'pg';
import { defaultProbeOptions } from '../src/witness/probe/options.ts';
import { Probe } from '../src/witness/probe/probe.ts';
import {
  cpuSeconds,
  pgbench,
  type PgbenchOptions,
  pgbenchInit,
  type PgTarget,
  startPostgres,
  startProcess,
} from '../test/servers/index.ts';
import { privatePostgres } from '../test/servers/private-postgres.ts';
import { fixed, median, table } from './statistics.ts';

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '6' },
    seconds: { type: 'string', default: '5' },
    'load-seconds': { type: 'string', default: '60' },
    'load-rate': { type: 'string', default: '100000' },
    quick: { type: 'boolean', default: false },
    only: { type: 'string' },
    match: { type: 'string', default: '' },
    assert: { type: 'boolean', default: false },
  },
});
const rounds = options.quick ? 2 : Number(options.rounds);
const seconds = options.quick ? 2 : Number(options.seconds);
const loadSeconds = options.quick ? 5 : Number(options['load-seconds']);
const bars: { what: string; value: number; bar: number; held: boolean; unit: string }[] = [];

function bar(what: string, value: number, limit: number, unit: string): void {
  bars.push({ what, value, bar: limit, held: value <= limit, unit });
}

interface Counted {
  readonly probe: Probe;
  events: number;
}

async function startProbe(path: string): Promise<Counted> {
  const counted: { probe: Probe | null; events: number } = { probe: null, events: 0 };
  counted.probe = await Probe.start(
    { ...defaultProbeOptions, path },
    {
      onBatch: (_batch, events) => {
        counted.events += events;
      },
      onFailure: (error) => {
        throw error;
      },
    },
  );
  return counted as Counted;
}

interface Sample {
  readonly tps: number;
  /** Of the server, per transaction, microseconds. */
  readonly cpuUs: number;
}

async function vacuum(target: PgTarget): Promise<void> {
  const client = new pg.Client({ ...target });
  await client.connect();
  try {
    for (const table of ['branches', 'tellers', 'accounts', 'history'])
      await client.query(`VACUUM pgbench_${table}`);
    await client.query('CHECKPOINT');
  } finally {
    await client.end();
  }
}

async function measure(serverPid: number, target: PgTarget, load: PgbenchOptions): Promise<Sample> {
  // What the run before left of its updates would slow down whichever comes second.
  await vacuum(target);
  const before = cpuSeconds(serverPid);
  const report = await pgbench(target, load);
  // Backends that ended are in the postmaster's own times once it has waited for them.
  const used = cpuSeconds(serverPid) - before;
  return { tps: report.tps, cpuUs: (used * 1e6) / report.transactions };
}

/** Server CPU per statement and TPS, with and without the probe. */
async function cost(program: string, serverPid: number, target: PgTarget): Promise<void> {
  const loads: { name: string; load: PgbenchOptions; statements: number }[] = [
    {
      name: 'select-only prepared, 5,000/s',
      load: { script: 'select-only', protocol: 'prepared', clients: 4, seconds, rate: 5_000 },
      statements: 1,
    },
    {
      name: 'select-only prepared, saturated',
      load: { script: 'select-only', protocol: 'prepared', clients: 4, seconds },
      statements: 1,
    },
    {
      name: 'select-only simple, saturated',
      load: { script: 'select-only', protocol: 'simple', clients: 4, seconds },
      statements: 1,
    },
    {
      name: 'tpcb-like simple, saturated',
      load: { script: 'tpcb-like', protocol: 'simple', clients: 4, seconds },
      statements: 7,
    },
  ];
  const rows: string[][] = [];
  for (const { name, load, statements } of loads.filter(({ name }) => name.includes(options.match))) {
    const without: Sample[] = [];
    const withProbe: Sample[] = [];
    for (let round = 0; round < rounds; round++) {
      const plain = async (): Promise<unknown> => without.push(await measure(serverPid, target, load));
      const probed = async (): Promise<void> => {
        const { probe } = await startProbe(program);
        withProbe.push(await measure(serverPid, target, load));
        const { lostStatements } = await probe.stop();
        if (lostStatements > 0) console.log(`${name}: ${lostStatements} statements lost`);
      };
      for (const run of round % 2 === 0 ? [plain, probed] : [probed, plain]) await run();
    }
    const added = median(withProbe.map(({ cpuUs }, i) => (cpuUs - without[i].cpuUs) / statements));
    const loss = median(withProbe.map(({ tps }, i) => (1 - tps / without[i].tps) * 100));
    rows.push([
      name,
      fixed(median(without.map(({ tps }) => tps)), 0),
      fixed(median(withProbe.map(({ tps }) => tps)), 0),
      `${fixed(loss, 1)} %`,
      `${fixed(added, 2)} µs`,
    ]);
    bar(`server CPU added per statement, ${name}`, added, 3, 'µs');
    const each = withProbe.map(({ cpuUs }, i) => fixed((cpuUs - without[i].cpuUs) / statements, 2));
    console.log(`${name}: ${fixed(added, 2)} µs added per statement (rounds: ${each.join(', ')})`);
    if (name.includes('5,000')) bar('TPS lost at 5,000 statements/s', loss, 2, '%');
  }
  console.log(table(['load', 'TPS without', 'TPS with', 'TPS lost', 'server CPU added per statement'], rows));
}

/** A program that runs statements faster than a server of this machine could: is every one seen? */
async function keepUp(folder: string): Promise<void> {
  const program = join(folder, 'postgres');
  execFileSync('clang', ['-O1', '-rdynamic', join(import.meta.dirname, 'probe/load.c'), '-o', program]);
  const counted = await startProbe(program);
  const cpu = process.cpuUsage();
  const load = startProcess(program, [options['load-rate'], String(loadSeconds)]);
  await load.ended;
  const used = process.cpuUsage(cpu);
  const ran = Number(load.stdout());
  const status = await counted.probe.stop();
  const missing = ran - status.records;
  const core = ((used.user + used.system) / 1e6 / loadSeconds) * 100;
  console.log(
    `${ran} statements in ${loadSeconds} s: ${status.records} records, ${status.lostStatements} counted as lost, ${counted.events} events; the reader took ${fixed(core, 0)} % of a core`,
  );
  bar(
    `statements lost at ${options['load-rate']}/s for ${loadSeconds} s`,
    Math.abs(missing) + status.lostStatements,
    0,
    '',
  );
}

/** Nothing runs: what the reader takes. */
async function idle(program: string): Promise<void> {
  const { probe } = await startProbe(program);
  const cpu = process.cpuUsage();
  const from = performance.now();
  await new Promise<void>((done) => setTimeout(done, 10_000));
  const { user, system } = process.cpuUsage(cpu);
  const core = ((user + system) / 1000 / (performance.now() - from)) * 100;
  await probe.stop();
  console.log(`idle reader: ${fixed(core, 2)} % of a core`);
  bar('idle reader', core, 2, '% of a core');
}

const folder = mkdtempSync(join(tmpdir(), 'dbw-bench-probe-'));
const binary = await privatePostgres('15');
const server = await startPostgres({ version: '15', binDir: binary.binDir, settings: { autovacuum: 'off' } });
try {
  const target = {
    host: server.socketDir,
    port: server.port,
    user: 'postgres',
    password: server.password,
    database: 'postgres',
  };
  await pgbenchInit(target, 2);
  const wanted = (part: string): boolean => options.only === undefined || options.only === part;
  if (wanted('idle')) await idle(binary.program);
  if (wanted('load')) await keepUp(folder);
  if (wanted('cost')) await cost(binary.program, server.pid, target);
  for (const { what, value, bar: limit, held, unit } of bars)
    console.log(`${held ? 'held  ' : 'MISSED'} ${what}: ${fixed(value, 2)} ${unit} (bar ${limit})`);
  if (options.assert && bars.some(({ held }) => !held)) process.exitCode = 1;
} finally {
  await server.stop();
  binary.remove();
  rmSync(folder, { recursive: true, force: true });
}
