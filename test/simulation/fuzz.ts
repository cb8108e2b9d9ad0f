/**
 * Runs a fuzzer from the command line, for as long as is asked for. Every round has a seed of its own, one higher than the
 * round's before. A finding prints the command that repeats it in its first round, and exits 1.
 */
import { randomInt } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import type { FuzzCounts } from '../integration/fuzzing.ts';

export interface RunnableFuzzer {
  readonly counts: FuzzCounts;
  /** Throws what it finds. */
  round(seed: number): void | Promise<void>;
}

const MAX_RESIDENT_BYTES = 512 * 1024 * 1024;

/** @returns the exit code. */
export async function fuzzCommand(script: string, fuzzer: RunnableFuzzer): Promise<number> {
  const { values } = parseArgs({ options: { seconds: { type: 'string' }, seed: { type: 'string' } } });
  const seconds = Number(values.seconds ?? 600);
  const first = Number(values.seed ?? randomInt(2 ** 31));
  if (!(seconds > 0) || !Number.isSafeInteger(first)) {
    process.stderr.write(`usage: node ${script} --seconds 600 [--seed N]\n`);
    return 2;
  }
  process.stdout.write(`seed ${first}, ${seconds} s\n`);
  const end = performance.now() + seconds * 1000;
  let mostResident = 0;
  let seed = first;
  for (; performance.now() < end; seed++) {
    const started = performance.now();
    try {
      await fuzzer.round(seed);
      // What zlib's streams hold is given back between turns of the loop.
      if (seed % 256 === 0) await nextTurn();
      if (seed % 256 === 0) mostResident = Math.max(mostResident, process.memoryUsage.rss());
      if (mostResident > MAX_RESIDENT_BYTES) throw new Error(`${mostResident} bytes resident`);
      const tookMs = performance.now() - started;
      if (tookMs > 5000) throw new Error(`the round took ${Math.round(tookMs)} ms`);
    } catch (error) {
      const repeat = `node ${script} --seconds 1 --seed ${seed}`;
      process.stderr.write(
        `${error instanceof Error ? error.stack : String(error)}\nrepeat with: ${repeat}\n`,
      );
      return 1;
    }
  }
  const { messages, values: decoded, refusals } = fuzzer.counts;
  const resident = Math.round(mostResident / 1024 / 1024);
  process.stdout.write(
    `${seed - first} rounds, ${messages} messages, ${decoded} values, ${refusals} refusals, at most ${resident} MiB resident: nothing found\n`,
  );
  return 0;
}
