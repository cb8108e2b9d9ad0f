/** The ways to one server that a benchmark compares, and what it must know of each of them. */
import { readFileSync } from 'node:fs';
import { type Dbwitness, processTree, type Target, waitFor } from '../test/servers/index.ts';

export type WayName = 'direct' | 'haproxy' | 'pgbouncer' | 'dbwitness';

export interface Way {
  readonly name: WayName;
  readonly target: Target;
  /** Root of the process tree in between; `null`: there is none. */
  readonly pid: number | null;
  /** The process that carries the bytes. */
  readonly relayPid: number | null;
}

export interface Field {
  readonly serverPid: number;
  readonly node: Dbwitness;
  /** `direct` is the first of them. */
  readonly ways: readonly Way[];
  stop(): Promise<void>;
}

/** One list of samples per way of a field, by its name. */
export type ByWay<Sample> = Readonly<Record<string, readonly Sample[]>>;

/** The way through dbwitness. */
export function dbwitnessWay(node: Dbwitness, target: Target): Way {
  const tree = processTree(node.pid);
  const relay = tree.find((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('/relay/main.'));
  if (relay === undefined) throw new Error('the relay process was not found under dbwitness');
  return { name: 'dbwitness', target, pid: node.pid, relayPid: relay };
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
