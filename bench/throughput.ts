/** pgbench through every way, alternating: medians, ratios of the same round, CPU per transaction. */
import { cpuSeconds, pgbench, type PgbenchOptions } from '../test/servers/index.ts';
import { fixed, median, medianRatio, table } from './statistics.ts';
import { type CatchUp, type Field, indexerIdle, type Way, type WayName } from './ways.ts';

export interface Plan {
  readonly rounds: number;
  readonly seconds: number;
  readonly cases: readonly Pick<PgbenchOptions, 'script' | 'protocol' | 'clients'>[];
}

interface Sample {
  readonly tps: number;
  readonly latencyUs: number;
  /** CPU per transaction, µs: the server; what carries the bytes; and everything in between. */
  readonly serverUs: number;
  readonly relayUs: number;
  readonly betweenUs: number;
}

export interface CaseResult {
  readonly name: string;
  readonly clients: number;
  readonly samples: Readonly<Record<WayName, readonly Sample[]>>;
  readonly catchUps: readonly CatchUp[];
}

/** Runs the plan; prints each case as it is done. */
export async function throughput(field: Field, plan: Plan): Promise<CaseResult[]> {
  for (const way of field.ways)
    await pgbench(way.target, { script: 'select-only', protocol: 'simple', clients: 2, seconds: 1 });
  const results: CaseResult[] = [];
  for (const one of plan.cases) {
    const result = await runCase(field, plan, one);
    results.push(result);
    console.log(`\n${describe(result)}`);
  }
  return results;
}

async function runCase(field: Field, plan: Plan, one: Plan['cases'][number]): Promise<CaseResult> {
  const samples: Record<WayName, Sample[]> = { direct: [], haproxy: [], pgbouncer: [], dbwitness: [] };
  const catchUps: CatchUp[] = [];
  for (let round = 0; round < plan.rounds; round++) {
    // Each round begins with another way, so that none always runs after the same one.
    const shift = round % field.ways.length;
    for (const way of [...field.ways.slice(shift), ...field.ways.slice(0, shift)]) {
      samples[way.name].push(await measure(field, way, { ...one, seconds: plan.seconds }));
      if (way.name === 'dbwitness') catchUps.push(await indexerIdle(field.node));
    }
  }
  const script = typeof one.script === 'string' ? one.script : one.script.file;
  const name = `${script}, ${one.protocol}, ${one.clients} client${one.clients === 1 ? '' : 's'}`;
  return { name, clients: one.clients, samples, catchUps };
}

async function measure(field: Field, way: Way, options: PgbenchOptions): Promise<Sample> {
  const cpu = (): readonly number[] =>
    [field.server.pid, way.relayPid, way.pid].map((pid) => (pid === null ? 0 : cpuSeconds(pid)));
  const before = cpu();
  const report = await pgbench(way.target, options);
  const after = cpu();
  if (report.failed !== 0 || !(report.tps > 0)) throw new Error(`${way.name}: ${report.output}`);
  const perTransaction = (i: number): number => ((after[i] - before[i]) / report.transactions) * 1e6;
  return {
    tps: report.tps,
    latencyUs: report.latencyUs,
    serverUs: perTransaction(0),
    relayUs: perTransaction(1),
    betweenUs: perTransaction(2),
  };
}

/** Microseconds that a way adds to a transaction, in each round. */
function added(result: CaseResult, way: WayName): number[] {
  return result.samples[way].map((sample, i) => 1e6 / sample.tps - 1e6 / result.samples.direct[i].tps);
}

function describe(result: CaseResult): string {
  const tps = (way: WayName): number[] => result.samples[way].map((sample) => sample.tps);
  const ratio = (way: WayName, of: WayName): string => fixed(medianRatio(tps(way), tps(of)), 3);
  const rows = (Object.keys(result.samples) as WayName[]).map((way) => [
    way,
    fixed(median(tps(way)), 0),
    ratio(way, 'direct'),
    ratio(way, 'haproxy'),
    ratio(way, 'pgbouncer'),
    ...(result.clients === 1
      ? [
          fixed(median(result.samples[way].map((one) => 1e6 / one.tps)), 1),
          fixed(median(added(result, way)), 1),
        ]
      : []),
    fixed(median(result.samples[way].map((one) => one.serverUs)), 1),
    fixed(median(result.samples[way].map((one) => one.relayUs)), 1),
    fixed(median(result.samples[way].map((one) => one.betweenUs)), 1),
  ]);
  const head = [
    result.name,
    'TPS',
    '× direct',
    '× haproxy',
    '× pgbouncer',
    ...(result.clients === 1 ? ['latency µs', 'added µs'] : []),
    'server CPU µs',
    'relay CPU',
    'all own CPU',
  ];
  const lag = median(result.catchUps.map((one) => one.lagEvents));
  const took = median(result.catchUps.map((one) => one.tookMs));
  return `${table(head, rows)}\nindexer after a run of dbwitness: ${fixed(lag, 0)} events behind, idle after ${fixed(took / 1000, 1)} s`;
}

export interface Verdict {
  readonly what: string;
  readonly value: number;
  readonly bar: number;
  readonly held: boolean;
}

/** The bars that the project sets itself. */
export function verdicts(results: readonly CaseResult[]): Verdict[] {
  return results
    .filter((result) => result.name.startsWith('select-only'))
    .map((result): Verdict => {
      const tps = (way: WayName): number[] => result.samples[way].map((sample) => sample.tps);
      if (result.clients === 1) {
        const value = median(added(result, 'dbwitness')) / median(added(result, 'pgbouncer'));
        return { what: `${result.name}: added latency × pgbouncer's`, value, bar: 1.3, held: value <= 1.3 };
      }
      const value = medianRatio(tps('dbwitness'), tps('pgbouncer'));
      return { what: `${result.name}: TPS × pgbouncer`, value, bar: 0.9, held: value >= 0.9 };
    });
}
