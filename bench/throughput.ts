/** A load through every way, alternating: medians, ratios of the same round, CPU per transaction. */
import { cpuSeconds, type Target } from '../test/servers/index.ts';
import { fixed, median, medianRatio, table } from './statistics.ts';
import { type ByWay, type CatchUp, type Field, indexerIdle, type Way, type WayName } from './ways.ts';

export interface LoadReport {
  readonly tps: number;
  readonly latencyUs: number;
  readonly transactions: number;
  readonly failed: number;
  readonly output: string;
}

/** What a load generator does with one way. */
export interface Load {
  readonly name: string;
  readonly clients: number;
  run(target: Target, seconds: number): Promise<LoadReport>;
}

export interface Plan {
  readonly rounds: number;
  readonly seconds: number;
  readonly loads: readonly Load[];
}

interface Sample {
  readonly tps: number;
  readonly latencyUs: number;
  /** CPU per transaction, µs: the server; what carries the bytes; and everything in between. */
  readonly serverUs: number;
  readonly relayUs: number;
  readonly betweenUs: number;
}

export interface LoadResult {
  readonly name: string;
  readonly clients: number;
  readonly samples: ByWay<Sample>;
  readonly catchUps: readonly CatchUp[];
}

/** Runs the plan; prints each load's result as it is done. */
export async function throughput(field: Field, plan: Plan): Promise<LoadResult[]> {
  for (const way of field.ways) await plan.loads[0]?.run(way.target, 1);
  const results: LoadResult[] = [];
  for (const load of plan.loads) {
    const result = await runLoad(field, plan, load);
    results.push(result);
    console.log(`\n${describe(result)}`);
  }
  return results;
}

async function runLoad(field: Field, plan: Plan, load: Load): Promise<LoadResult> {
  const samples: Record<string, Sample[]> = Object.fromEntries(field.ways.map((way) => [way.name, []]));
  const catchUps: CatchUp[] = [];
  for (let round = 0; round < plan.rounds; round++) {
    // Each round begins with another way, so that none always runs after the same one.
    const shift = round % field.ways.length;
    for (const way of [...field.ways.slice(shift), ...field.ways.slice(0, shift)]) {
      samples[way.name].push(await measure(field, way, load, plan.seconds));
      if (way.name === 'dbwitness') catchUps.push(await indexerIdle(field.node));
    }
  }
  return { name: load.name, clients: load.clients, samples, catchUps };
}

async function measure(field: Field, way: Way, load: Load, seconds: number): Promise<Sample> {
  const cpu = (): readonly number[] =>
    [field.serverPid, way.relayPid, way.pid].map((pid) => (pid === null ? 0 : cpuSeconds(pid)));
  const before = cpu();
  const report = await load.run(way.target, seconds);
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
export function added(result: LoadResult, way: WayName): number[] {
  return result.samples[way].map((sample, i) => 1e6 / sample.tps - 1e6 / result.samples['direct'][i].tps);
}

/** The median of one way's transactions per second over another's, of the same round. */
export function tpsRatio(result: LoadResult, way: WayName, of: WayName): number {
  return medianRatio(tpsOf(result, way), tpsOf(result, of));
}

function tpsOf(result: LoadResult, way: string): number[] {
  return result.samples[way].map((sample) => sample.tps);
}

function describe(result: LoadResult): string {
  const names = Object.keys(result.samples) as WayName[];
  const peers = names.filter((name) => name !== 'dbwitness');
  const rows = names.map((way) => [
    way,
    fixed(median(tpsOf(result, way)), 0),
    ...peers.map((peer) => fixed(tpsRatio(result, way, peer), 3)),
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
    ...peers.map((peer) => `× ${peer}`),
    ...(result.clients === 1 ? ['latency µs', 'added µs'] : []),
    'server CPU µs',
    'relay CPU',
    'all own CPU',
  ];
  const lag = median(result.catchUps.map((one) => one.lagEvents));
  const took = median(result.catchUps.map((one) => one.tookMs));
  return `${table(head, rows)}\nindexer after a run of dbwitness: ${fixed(lag, 0)} events behind, idle after ${fixed(took / 1000, 1)} s`;
}
