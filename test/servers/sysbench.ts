/** sysbench: the usual load generator for MySQL and MariaDB, with its report as numbers. */
import { requirePath } from './available.ts';
import type { PgTarget } from './pgbench.ts';
import { startProcess } from './processes.ts';

/** Host, port, user, password and database: the same for every engine. */
export type Target = PgTarget;

export interface SysbenchOptions {
  /** A script of sysbench's own. One statement per event, or a transaction of eighteen. */
  readonly script: 'oltp_point_select' | 'oltp_read_write';
  /** Text protocol (COM_QUERY), or statements prepared once per connection (COM_STMT_EXECUTE). */
  readonly protocol: 'text' | 'prepared';
  readonly clients: number;
  readonly seconds: number;
  /** Go on when a connection breaks instead of failing (a chaos run). The report may then be incomplete. */
  readonly tolerant?: boolean;
}

export interface SysbenchReport {
  /** Events per second. */
  readonly tps: number;
  /** Mean latency in microseconds. */
  readonly latencyUs: number;
  readonly transactions: number;
  readonly failed: number;
  readonly output: string;
}

/** Rows of the one table that is read and written. */
const TABLE_ROWS = 100_000;

/** Creates sysbench's table, `sbtest1`. */
export async function sysbenchInit(target: Target): Promise<void> {
  await sysbenchRun(target, ['oltp_point_select', 'prepare'], false);
}

export async function sysbench(target: Target, options: SysbenchOptions): Promise<SysbenchReport> {
  const output = await sysbenchRun(
    target,
    [
      options.script,
      'run',
      `--threads=${options.clients}`,
      `--time=${options.seconds}`,
      `--db-ps-mode=${options.protocol === 'text' ? 'disable' : 'auto'}`,
      '--rand-type=uniform',
      '--percentile=0',
    ],
    options.tolerant === true,
  );
  const number = (pattern: RegExp): number => Number(pattern.exec(output)?.[1] ?? Number.NaN);
  return {
    tps: number(/transactions:\s+\d+\s+\(([\d.]+) per sec\.\)/),
    latencyUs: number(/avg:\s+([\d.]+)/) * 1000,
    transactions: number(/transactions:\s+(\d+)/),
    failed: number(/ignored errors:\s+(\d+)/),
    output,
  };
}

async function sysbenchRun(target: Target, args: readonly string[], tolerant: boolean): Promise<string> {
  const [script, command, ...options] = args;
  const running = startProcess(
    requirePath('sysbench'),
    [
      script,
      '--db-driver=mysql',
      `--mysql-host=${target.host}`,
      `--mysql-port=${target.port}`,
      `--mysql-user=${target.user}`,
      `--mysql-password=${target.password}`,
      `--mysql-db=${target.database}`,
      '--tables=1',
      `--table-size=${TABLE_ROWS}`,
      ...options,
      command,
    ],
    { env: { PATH: process.env['PATH'] } },
  );
  const ended = await running.ended;
  if (ended !== 0 && !tolerant)
    throw new Error(`sysbench ${args.join(' ')} failed (${ended}): ${running.output()}`);
  return running.output();
}
