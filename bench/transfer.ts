/** Large transfers through every way: a result by COPY, a result by SELECT, a COPY in; speed and peak memory. */
import { readFileSync, writeFileSync } from 'node:fs';
import { message, RawClient } from '../test/conformance/postgres/raw-client.ts';
import { residentBytes } from '../test/servers/index.ts';
import { fixed, median, medianRatio, table } from './statistics.ts';
import type { Verdict } from './throughput.ts';
import { type Field, indexerIdle, type Way, type WayName } from './ways.ts';

const ROW_BYTES = 1000;
const KINDS = ['COPY out', 'SELECT', 'COPY in'] as const;
type Kind = (typeof KINDS)[number];

interface Sample {
  readonly mbPerSecond: number;
  /** Highest resident memory of the process that carries the bytes, during the transfer; 0 for direct. */
  readonly peakMb: number;
}

export interface TransferResult {
  readonly kind: Kind;
  readonly megabytes: number;
  readonly samples: Readonly<Record<WayName, readonly Sample[]>>;
}

export async function transfers(field: Field, megabytes: number, rounds: number): Promise<TransferResult[]> {
  await field.server.query('CREATE UNLOGGED TABLE bench_in (line text)');
  const results: TransferResult[] = [];
  for (const kind of KINDS) {
    const samples: Record<WayName, Sample[]> = { direct: [], haproxy: [], pgbouncer: [], dbwitness: [] };
    for (let round = 0; round < rounds; round++)
      for (const way of field.ways) {
        samples[way.name].push(await transfer(way, kind, megabytes));
        await field.server.query('TRUNCATE bench_in');
        if (way.name === 'dbwitness') await indexerIdle(field.node);
      }
    const result = { kind, megabytes, samples };
    results.push(result);
    console.log(`\n${describe(result)}`);
  }
  return results;
}

async function transfer(way: Way, kind: Kind, megabytes: number): Promise<Sample> {
  const rows = Math.round((megabytes * 1e6) / ROW_BYTES);
  const client = await RawClient.connect(way.target);
  if (way.relayPid !== null) writeFileSync(`/proc/${way.relayPid}/clear_refs`, '5'); // resets VmHWM, proc(5)
  const started = performance.now();
  let bytes: number;
  if (kind === 'COPY in') {
    bytes = await copyIn(client, rows);
  } else {
    const select = `SELECT repeat('x', ${ROW_BYTES - 1}) FROM generate_series(1, ${rows})`;
    client.send(message.query(kind === 'SELECT' ? select : `COPY (${select}) TO STDOUT`));
    bytes = await client.drain();
  }
  const seconds = (performance.now() - started) / 1000;
  const peakMb = way.relayPid === null ? 0 : residentBytes(way.relayPid, 'VmHWM') / 1e6;
  await client.end();
  if (bytes < megabytes * 1e6) throw new Error(`${way.name}: ${kind} moved only ${bytes} bytes`);
  return { mbPerSecond: bytes / 1e6 / seconds, peakMb };
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

function describe(result: TransferResult): string {
  const speed = (way: WayName): number[] => result.samples[way].map((sample) => sample.mbPerSecond);
  const rows = (Object.keys(result.samples) as WayName[]).map((way) => [
    way,
    fixed(median(speed(way)), 0),
    fixed(medianRatio(speed(way), speed('direct')), 3),
    way === 'direct' ? '–' : fixed(Math.max(...result.samples[way].map((sample) => sample.peakMb)), 0),
  ]);
  return table([`${result.kind}, ${result.megabytes} MB`, 'MB/s', '× direct', 'peak memory MB'], rows);
}

export function transferVerdicts(results: readonly TransferResult[]): Verdict[] {
  return results.flatMap(({ kind, megabytes, samples }): Verdict[] => {
    const speed = (way: WayName): number[] => samples[way].map((sample) => sample.mbPerSecond);
    const ratio = medianRatio(speed('dbwitness'), speed('direct'));
    const peak = Math.max(...samples.dbwitness.map((sample) => sample.peakMb));
    return [
      ...(kind === 'COPY in'
        ? []
        : [{ what: `${kind}, ${megabytes} MB: speed × direct`, value: ratio, bar: 0.7, held: ratio >= 0.7 }]),
      {
        what: `${kind}, ${megabytes} MB: peak memory of the relay, MB`,
        value: peak,
        bar: 250,
        held: peak <= 250,
      },
    ];
  });
}

/** What the numbers were measured on. */
export function machine(): string {
  const cpu =
    /^model name\s*: (.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? 'unknown processor';
  return `${cpu}, ${navigator.hardwareConcurrency} cores, Node ${process.version}`;
}
