/**
 * `npm run bench:pg`: what dbwitness costs on the way to PostgreSQL, beside HAProxy and pgbouncer, in one alternating
 * run. See README.md for how to read it and for its options.
 */
import { PG_LOADS, pgTransfers, startPgField } from './pg-ways.ts';
import { runBenchmark, type Verdict } from './report.ts';
import { median } from './statistics.ts';
import { added, type LoadResult, tpsRatio } from './throughput.ts';

/** The bars that the project sets itself. */
function verdict(result: LoadResult): Verdict {
  if (result.clients === 1) {
    const value = median(added(result, 'dbwitness')) / median(added(result, 'pgbouncer'));
    return { what: `${result.name}: added latency × pgbouncer's`, value, bar: 1.3, held: value <= 1.3 };
  }
  const value = tpsRatio(result, 'dbwitness', 'pgbouncer');
  return { what: `${result.name}: TPS × pgbouncer`, value, bar: 0.9, held: value >= 0.9 };
}

process.exitCode = await runBenchmark({
  start: (quick) => startPgField(quick ? 1 : 10),
  loads: PG_LOADS,
  transfers: pgTransfers,
  verdicts: (results) => results.filter(({ name }) => name.startsWith('select-only')).map(verdict),
});
