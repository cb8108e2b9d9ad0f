/** What the benchmarks of the proxy share: their options, their run, their verdicts. */
import { readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { fixed } from './statistics.ts';
import { type Load, type LoadResult, throughput } from './throughput.ts';
import { type Transfer, transfers, transferVerdicts } from './transfer.ts';
import type { Field } from './ways.ts';

export interface Verdict {
  readonly what: string;
  readonly value: number;
  readonly bar: number;
  readonly held: boolean;
}

export interface Benchmark<F extends Field> {
  start(quick: boolean): Promise<F>;
  readonly loads: readonly Load[];
  transfers(field: F): readonly Transfer[];
  verdicts(results: readonly LoadResult[]): Verdict[];
}

/**
 * Runs a benchmark as the command line says: `[--quick] [--rounds N] [--seconds N] [--megabytes N]
 * [--only throughput|transfer] [--json FILE] [--assert]`. Returns the exit code.
 */
export async function runBenchmark<F extends Field>(benchmark: Benchmark<F>): Promise<number> {
  const { values } = parseArgs({
    options: {
      quick: { type: 'boolean', default: false },
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      megabytes: { type: 'string' },
      only: { type: 'string' },
      json: { type: 'string' },
      assert: { type: 'boolean', default: false },
    },
  });
  const rounds = Number(values.rounds ?? (values.quick ? 1 : 5));
  const seconds = Number(values.seconds ?? (values.quick ? 1 : 5));
  const megabytes = Number(values.megabytes ?? (values.quick ? 50 : 1000));
  console.log(
    `${machine()}; ${rounds} rounds of ${seconds} s, ${megabytes} MB; fsync off; everything recorded`,
  );
  const field = await benchmark.start(values.quick);
  try {
    const { loads } = benchmark;
    const runs = values.only === 'transfer' ? [] : await throughput(field, { rounds, seconds, loads });
    const kinds = values.only === 'throughput' ? [] : benchmark.transfers(field);
    const moved = await transfers(field, kinds, megabytes, Math.min(rounds, 3));
    const found = [...benchmark.verdicts(runs), ...transferVerdicts(moved)];
    console.log(`\n${found.map(sentence).join('\n')}`);
    if (values.json !== undefined)
      writeFileSync(values.json, `${JSON.stringify({ machine: machine(), runs, moved, found }, null, 2)}\n`);
    return values.assert && found.some((one) => !one.held) ? 1 : 0;
  } finally {
    await field.stop();
  }
}

function sentence({ what, value, bar, held }: Verdict): string {
  return `${held ? 'held  ' : 'MISSED'}  ${what}: ${fixed(value, Math.abs(value) < 10 ? 3 : 0)} (bar ${bar})`;
}

/** What the numbers were measured on. */
function machine(): string {
  const cpu =
    /^model name\s*: (.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? 'unknown processor';
  return `${cpu}, ${navigator.hardwareConcurrency} cores, Node ${process.version}`;
}
