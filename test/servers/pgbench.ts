/** pgbench: PostgreSQL's own load generator, with its report as numbers. */
import { requirePath } from './available.ts';
import { startProcess } from './processes.ts';

export interface PgTarget {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
}

export interface PgbenchOptions {
  /** `select-only` (-S) or `tpcb-like`, or a script file. */
  readonly script: 'select-only' | 'tpcb-like' | { readonly file: string };
  readonly protocol: 'simple' | 'extended' | 'prepared';
  readonly clients: number;
  readonly threads?: number;
  /** How long; or how many transactions of each client. One of the two. */
  readonly seconds?: number;
  readonly transactions?: number;
  /** Transactions per second, over all clients; absent: as many as possible. */
  readonly rate?: number;
  /** Go on when a connection breaks instead of failing (a chaos run). The report may then be incomplete. */
  readonly tolerant?: boolean;
}

export interface PgbenchReport {
  /** Transactions per second, without the time to connect. */
  readonly tps: number;
  /** Mean latency in microseconds. */
  readonly latencyUs: number;
  readonly transactions: number;
  readonly failed: number;
  readonly output: string;
}

/** Creates pgbench's tables: 100,000 accounts per unit of scale. */
export async function pgbenchInit(target: PgTarget, scale: number): Promise<void> {
  await pgbenchRun(target, ['-i', '-q', '-s', String(scale)]);
}

export async function pgbench(target: PgTarget, options: PgbenchOptions): Promise<PgbenchReport> {
  const script = typeof options.script === 'string' ? ['-b', options.script] : ['-f', options.script.file];
  const threads = Math.min(options.threads ?? 1, options.clients);
  const output = await pgbenchRun(
    target,
    [
      '-n',
      ...script,
      `--protocol=${options.protocol}`,
      `--client=${options.clients}`,
      `--jobs=${threads}`,
      options.transactions === undefined
        ? `--time=${options.seconds ?? 1}`
        : `--transactions=${options.transactions}`,
      ...(options.rate === undefined ? [] : [`--rate=${options.rate}`]),
    ],
    options.tolerant === true,
  );
  const number = (pattern: RegExp): number => Number(pattern.exec(output)?.[1] ?? Number.NaN);
  return {
    tps: number(/tps = ([\d.]+) \(without initial connection time\)/),
    latencyUs: number(/latency average = ([\d.]+) ms/) * 1000,
    transactions: number(/transactions actually processed: (\d+)/),
    failed: number(/number of failed transactions: (\d+)/),
    output,
  };
}

async function pgbenchRun(target: PgTarget, args: readonly string[], tolerant = false): Promise<string> {
  const running = startProcess(requirePath('pgbench'), args, {
    env: {
      PATH: process.env['PATH'],
      PGHOST: target.host,
      PGPORT: String(target.port),
      PGUSER: target.user,
      PGPASSWORD: target.password,
      PGDATABASE: target.database,
      PGSSLMODE: 'disable',
      PGGSSENCMODE: 'disable',
    },
  });
  const ended = await running.ended;
  if (ended !== 0 && !tolerant)
    throw new Error(`pgbench ${args.join(' ')} failed (${ended}): ${running.output()}`);
  return running.output();
}
