/**
 * `npm run bench:mysql`: what dbwitness costs on the way to MariaDB, beside HAProxy, in one alternating run. See
 * README.md for how to read it and for its options.
 */
import { MYSQL_LOADS, mysqlTransfers, startMysqlField } from './mysql-ways.ts';
import { runBenchmark, type Verdict } from './report.ts';
import { type LoadResult, tpsRatio } from './throughput.ts';

const MIN_TPS = 0.95;

/** The bar that the project sets itself: with 8 connections, beside a proxy that records nothing. */
function verdict(result: LoadResult): Verdict {
  const value = tpsRatio(result, 'dbwitness', 'haproxy');
  return { what: `${result.name}: TPS × haproxy`, value, bar: MIN_TPS, held: value >= MIN_TPS };
}

process.exitCode = await runBenchmark({
  start: startMysqlField,
  loads: MYSQL_LOADS,
  transfers: mysqlTransfers,
  verdicts: (results) => results.filter(({ clients }) => clients === 8).map(verdict),
});
