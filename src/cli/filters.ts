/** Options that several lists share, and what they become in the API's queries. */
import type { Command } from 'commander';
import { parseCount, parsePoint } from './amounts.ts';
import type { Context } from './context.ts';

export interface ListOptions {
  readonly user?: string;
  readonly database?: string;
  readonly from?: string;
  readonly until?: string;
  readonly limit?: string;
}

export function addTimeOptions(command: Command): Command {
  return command
    .option('--from <time>', 'not before: a time, a date, or a span before now (2h, 7d)')
    .option('--until <time>', 'before: a time, a date, or a span before now');
}

export function addWhoOptions(command: Command): Command {
  return command
    .option('--user <user>', 'of this user, by name or uid')
    .option('--database <database>', 'on this database, by name or uid');
}

export function addLimitOption(command: Command): Command {
  return command.option('--limit <count>', 'how many at most, or all', '50');
}

export function timeQuery({ io }: Context, options: ListOptions): { from?: string; until?: string } {
  const point = (option: '--from' | '--until', text: string | undefined): string | undefined =>
    text === undefined ? undefined : parsePoint(option, text, 'ago', io.clock);
  const from = point('--from', options.from);
  const until = point('--until', options.until);
  return { ...(from === undefined ? {} : { from }), ...(until === undefined ? {} : { until }) };
}

export function limitOf(options: ListOptions): number {
  const { limit = '50' } = options;
  return limit === 'all' ? Infinity : parseCount('--limit', limit, 1);
}
