/** Large transfers through every way: speed, time to the first of it, and peak memory of what carries the bytes. */
import { writeFileSync } from 'node:fs';
import { residentBytes, type Target } from '../test/servers/index.ts';
import type { Verdict } from './report.ts';
import { fixed, median, medianRatio, table } from './statistics.ts';
import { type ByWay, type Field, indexerIdle, type Way, type WayName } from './ways.ts';

export interface Transfer {
  readonly kind: string;
  /** From the server to the client: held to the bar of speed. */
  readonly isResult: boolean;
  /**
   * Moves that much over a connection of its own; calls `began` when the connection stands. `firstMs`: from the command
   * to the first bytes of its first row, where that is measured.
   */
  run(
    target: Target,
    megabytes: number,
    began: () => void,
  ): Promise<{ readonly bytes: number; readonly seconds: number; readonly firstMs?: number }>;
}

interface Sample {
  readonly mbPerSecond: number;
  /** Highest resident memory of the process that carries the bytes, during the transfer; 0 for direct. */
  readonly peakMb: number;
  /** Not a number: not measured. */
  readonly firstMs: number;
}

export interface TransferResult {
  readonly kind: string;
  readonly isResult: boolean;
  readonly megabytes: number;
  readonly samples: ByWay<Sample>;
}

export async function transfers(
  field: Field,
  kinds: readonly Transfer[],
  megabytes: number,
  rounds: number,
): Promise<TransferResult[]> {
  const results: TransferResult[] = [];
  for (const kind of kinds) {
    const samples: Record<string, Sample[]> = Object.fromEntries(field.ways.map((way) => [way.name, []]));
    for (let round = 0; round < rounds; round++)
      for (const way of field.ways) {
        samples[way.name].push(await measure(way, kind, megabytes));
        if (way.name === 'dbwitness') await indexerIdle(field.node);
      }
    const result = { kind: kind.kind, isResult: kind.isResult, megabytes, samples };
    results.push(result);
    console.log(`\n${describe(result)}`);
  }
  return results;
}

async function measure(way: Way, transfer: Transfer, megabytes: number): Promise<Sample> {
  const began = (): void => {
    if (way.relayPid !== null) writeFileSync(`/proc/${way.relayPid}/clear_refs`, '5'); // resets VmHWM, proc(5)
  };
  const { bytes, seconds, firstMs } = await transfer.run(way.target, megabytes, began);
  const peakMb = way.relayPid === null ? 0 : residentBytes(way.relayPid, 'VmHWM') / 1e6;
  if (bytes < megabytes * 1e6) throw new Error(`${way.name}: ${transfer.kind} moved only ${bytes} bytes`);
  return { mbPerSecond: bytes / 1e6 / seconds, peakMb, firstMs: firstMs ?? Number.NaN };
}

function describe(result: TransferResult): string {
  const { samples } = result;
  const speed = (way: WayName): number[] => samples[way].map((sample) => sample.mbPerSecond);
  const rows = (Object.keys(samples) as WayName[]).map((way) => [
    way,
    fixed(median(speed(way)), 0),
    fixed(medianRatio(speed(way), speed('direct')), 3),
    way === 'direct' ? '–' : fixed(Math.max(...samples[way].map((sample) => sample.peakMb)), 0),
    fixed(median(samples[way].map((sample) => sample.firstMs)), 1),
  ]);
  const head = [
    `${result.kind}, ${result.megabytes} MB`,
    'MB/s',
    '× direct',
    'peak memory MB',
    'first row ms',
  ];
  return table(head, rows);
}

const MIN_SPEED = 0.7;
const MAX_PEAK_MB = 250;
const MAX_FIRST_ROW_MS = 20;

/** The bars that the project sets itself: of speed for results, of memory, of the first row where it was measured. */
export function transferVerdicts(results: readonly TransferResult[]): Verdict[] {
  return results.flatMap(({ kind, isResult, megabytes, samples }): Verdict[] => {
    const name = `${kind}, ${megabytes} MB`;
    const { direct, dbwitness } = samples;
    const speed = (one: readonly Sample[]): number[] => one.map((sample) => sample.mbPerSecond);
    const ratio = medianRatio(speed(dbwitness), speed(direct));
    const peak = Math.max(...dbwitness.map((sample) => sample.peakMb));
    const later = median(dbwitness.map((sample, i) => sample.firstMs - direct[i].firstMs));
    return [
      ...(isResult
        ? [{ what: `${name}: speed × direct`, value: ratio, bar: MIN_SPEED, held: ratio >= MIN_SPEED }]
        : []),
      {
        what: `${name}: peak memory of the relay, MB`,
        value: peak,
        bar: MAX_PEAK_MB,
        held: peak <= MAX_PEAK_MB,
      },
      ...(Number.isNaN(later)
        ? []
        : [
            {
              what: `${name}: first row later than direct, ms`,
              value: later,
              bar: MAX_FIRST_ROW_MS,
              held: later <= MAX_FIRST_ROW_MS,
            },
          ]),
    ];
  });
}
