/** `dbwitness key`: API keys, which are database passwords too. */
import type { ApiKey } from '../../api/contract/keys.ts';
import { demandSpan, showTime } from '../amounts.ts';
import type { Commands, Context } from '../context.ts';
import { findUser } from '../names.ts';
import type { Column } from '../output.ts';

const COLUMNS: readonly Column<ApiKey>[] = [
  { title: 'USER', value: (key) => key.user },
  { title: 'NAME', value: (key) => key.name },
  { title: 'BEGINS', value: (key) => key.prefix },
  { title: 'CREATED', value: (key) => showTime(key.created_at) },
  { title: 'EXPIRES', value: (key) => showTime(key.expires_at) },
  { title: 'REVOKED', value: (key) => showTime(key.revoked_at) },
  { title: 'LAST USED', value: (key) => showTime(key.last_used_at) },
  { title: 'UID', value: (key) => key.uid, flexible: true },
];

interface AddOptions {
  readonly user?: string;
  readonly name?: string;
  readonly for?: string;
}

export function addKeyCommands({ program, action }: Commands): void {
  const key = program.command('key').description('API keys; each is a database password of its owner too');
  key
    .command('ls')
    .description('list API keys')
    .option('--user <user>', 'of this user, by name or uid')
    .action(action<Pick<AddOptions, 'user'>>(list));
  key
    .command('add')
    .description('create an API key; it is shown once')
    .requiredOption('--user <user>', 'whose, by name or uid')
    .option('--name <text>', 'what it is for')
    .option('--for <span>', 'how long it holds: 30d, 12h, … (default: until it is revoked)')
    .action(action<AddOptions>(add));
  key
    .command('revoke <uid>')
    .description('revoke an API key; sessions that were opened with it end')
    .action(action(revoke));
}

async function list(context: Context, options: Pick<AddOptions, 'user'>): Promise<void> {
  const api = await context.api();
  const query = { user_id: options.user === undefined ? undefined : (await findUser(api, options.user)).uid };
  context.out.list(await api.all<ApiKey>('/keys', query), COLUMNS, 'There are no API keys.');
}

async function add(context: Context, options: AddOptions): Promise<void> {
  const api = await context.api();
  const user = await findUser(api, options.user ?? '');
  const expiresUs =
    options.for === undefined ? null : context.io.clock.wallUs() + demandSpan('--for', options.for);
  const key = await api.post<ApiKey & { key: string }>('/keys', {
    user_id: user.uid,
    ...(options.name === undefined ? {} : { name: options.name }),
    ...(expiresUs === null ? {} : { expires_at: new Date(expiresUs / 1000).toISOString() }),
  });
  context.out.done(key, `Created a key for ${key.user}. It is shown this once: ${key.key}`);
}

async function revoke(context: Context, _options: object, uid: string): Promise<void> {
  await (await context.api()).delete(`/keys/${encodeURIComponent(uid)}`);
  context.out.done({ uid, revoked: true }, `Revoked key ${uid}.`);
}
