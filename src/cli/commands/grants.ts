/** `dbwitness grant`: who may use which database, how, and until when. */
import { Option } from 'commander';
import type { Grant } from '../../api/contract/grants.ts';
import { CONTROLS } from '../../model/access.ts';
import { demandSpan, parseCount, parsePoint, parseSize, showTime, usage } from '../amounts.ts';
import type { Commands, Context } from '../context.ts';
import { findDatabase, findUser } from '../names.ts';
import type { Column } from '../output.ts';

const COLUMNS: readonly Column<Grant>[] = [
  { title: 'USER', value: (grant) => grant.user },
  { title: 'DATABASE', value: (grant) => grant.database },
  { title: 'CONTROLS', value: (grant) => grant.controls.join(', ') },
  { title: 'STATE', value: (grant) => grant.state },
  { title: 'FROM', value: (grant) => showTime(grant.starts_at) },
  { title: 'UNTIL', value: (grant) => showTime(grant.expires_at) },
  { title: 'STATEMENTS', value: (grant) => used(grant.used_queries, grant.max_query_counts), align: 'right' },
  { title: 'BYTES', value: (grant) => used(grant.used_bytes, grant.max_bytes_transferred), align: 'right' },
  { title: 'UID', value: (grant) => grant.uid, flexible: true },
];

interface Terms {
  readonly control?: readonly string[];
  readonly from?: string;
  readonly for?: string;
  readonly until?: string;
  readonly maxQueries?: string;
  readonly maxBytes?: string;
  readonly reason?: string;
}

interface AddOptions extends Terms {
  readonly user: string;
  readonly database: string;
}

interface ListOptions {
  readonly user?: string;
  readonly database?: string;
  readonly active?: boolean;
}

export function addGrantCommands({ program, action }: Commands): void {
  const grant = program.command('grant').description('who may use which database, how, and until when');
  grant
    .command('ls')
    .description('list grants')
    .option('--user <user>', 'of this user, by name or uid')
    .option('--database <database>', 'for this database, by name or uid')
    .option('--active', 'only those that can be used now')
    .action(action<ListOptions>(list));
  grant.command('show <uid>').description('show a grant').action(action(show));
  grant
    .command('add')
    .description('create a grant')
    .requiredOption('--user <user>', 'who, by name or uid')
    .requiredOption('--database <database>', 'for which database, by name or uid')
    .addOption(new Option('--control <control...>', 'what it does not allow').choices(CONTROLS))
    .option('--from <time>', 'when it starts: a time, or a span from now (default: now)')
    .option('--for <span>', 'how long it lasts: 8h, 7d, …')
    .addOption(new Option('--until <time>', 'when it ends: a time, or a span from now').conflicts('for'))
    .option('--max-queries <count>', 'statements at most')
    .option('--max-bytes <size>', 'bytes transferred at most')
    .option('--reason <text>', 'why')
    .action(action<AddOptions>(add));
  grant
    .command('set <uid>')
    .description('change the terms of a grant; tighter terms end its running sessions')
    .addOption(
      new Option('--control <control...>', 'what it does not allow, or none').choices([...CONTROLS, 'none']),
    )
    .option('--from <time>', 'when it starts: a time, or a span from now')
    .option('--for <span>', 'how long it lasts from now on: 8h, 7d, …')
    .addOption(new Option('--until <time>', 'when it ends: a time, or a span from now').conflicts('for'))
    .option('--max-queries <count>', 'statements at most, or none')
    .option('--max-bytes <size>', 'bytes transferred at most, or none')
    .option('--reason <text>', 'why')
    .action(action<Terms>(set));
  grant
    .command('revoke <uid>')
    .description('end a grant; its sessions end within a second')
    .action(action(revoke));
}

async function list(context: Context, options: ListOptions): Promise<void> {
  const api = await context.api();
  const query = {
    user_id: options.user === undefined ? undefined : (await findUser(api, options.user)).uid,
    database_id: options.database === undefined ? undefined : (await findDatabase(api, options.database)).uid,
    active: options.active,
  };
  context.out.list(await api.all<Grant>('/grants', query), COLUMNS, 'There are no such grants.');
}

async function show(context: Context, _options: object, uid: string): Promise<void> {
  const grant = await (await context.api()).get<Grant>(`/grants/${encodeURIComponent(uid)}`);
  context.out.one(grant, [
    ['uid', grant.uid],
    ['user', grant.user],
    ['database', grant.database],
    ['controls', grant.controls.join(', ')],
    ['state', grant.state],
    ['from', showTime(grant.starts_at)],
    ['until', showTime(grant.expires_at)],
    ['statements', used(grant.used_queries, grant.max_query_counts)],
    ['bytes', used(grant.used_bytes, grant.max_bytes_transferred)],
    ['reason', grant.reason],
    ['created', `${showTime(grant.created_at)} by ${grant.created_by}`],
    [
      'revoked',
      grant.revoked_at === null ? '' : `${showTime(grant.revoked_at)} by ${grant.revoked_by ?? ''}`,
    ],
  ]);
}

async function add(context: Context, options: AddOptions): Promise<void> {
  if (options.for === undefined && options.until === undefined)
    throw usage('say how long it lasts: --for 8h, or --until 2026-01-31T18:00:00Z');
  const api = await context.api();
  const user = await findUser(api, options.user);
  const database = await findDatabase(api, options.database);
  const grant = await api.post<Grant>('/grants', {
    user_id: user.uid,
    database_id: database.uid,
    ...terms(context, options),
  });
  context.out.done(
    grant,
    `${grant.user} may use ${grant.database}${grant.controls.length > 0 ? ` (${grant.controls.join(', ')})` : ''} until ${showTime(grant.expires_at)}. Grant ${grant.uid}`,
  );
}

async function set(context: Context, options: Terms, uid: string): Promise<void> {
  const body = terms(context, options);
  if (Object.keys(body).length === 0) throw usage('say what to change; see "dbwitness grant set --help"');
  const grant = await (await context.api()).patch<Grant>(`/grants/${encodeURIComponent(uid)}`, body);
  context.out.done(grant, `Changed grant ${grant.uid} of ${grant.user} for ${grant.database}.`);
}

async function revoke(context: Context, _options: object, uid: string): Promise<void> {
  await (await context.api()).delete(`/grants/${encodeURIComponent(uid)}`);
  context.out.done({ uid, revoked: true }, `Revoked grant ${uid}.`);
}

function terms({ io }: Context, options: Terms): Record<string, unknown> {
  const starts =
    options.from === undefined ? undefined : parsePoint('--from', options.from, 'ahead', io.clock);
  const expires =
    options.for === undefined
      ? options.until === undefined
        ? undefined
        : parsePoint('--until', options.until, 'ahead', io.clock)
      : endOf(
          demandSpan('--for', options.for),
          starts === undefined ? io.clock.wallUs() : Date.parse(starts) * 1000,
        );
  const fields = {
    controls: options.control?.filter((control) => control !== 'none'),
    starts_at: starts,
    expires_at: expires,
    max_query_counts: quota(options.maxQueries, (text) => parseCount('--max-queries', text, 1)),
    max_bytes_transferred: quota(options.maxBytes, (text) => parseSize('--max-bytes', text)),
    reason: options.reason,
  };
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

function endOf(spanUs: number, fromUs: number): string {
  return new Date((fromUs + spanUs) / 1000).toISOString();
}

function quota(text: string | undefined, parse: (text: string) => number): number | null | undefined {
  if (text === undefined) return undefined;
  return text === 'none' ? null : parse(text);
}

function used(count: number, max: number | null): string {
  return max === null ? String(count) : `${count} of ${max}`;
}
