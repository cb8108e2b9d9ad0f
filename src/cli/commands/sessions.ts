/** `dbwitness session`: audited connections. */
import { Option } from 'commander';
import type { Session, SessionEvent } from '../../api/contract/audit.ts';
import { showBytes, showTime } from '../amounts.ts';
import type { Commands, Context } from '../context.ts';
import {
  addLimitOption,
  addTimeOptions,
  addWhoOptions,
  limitOf,
  type ListOptions,
  timeQuery,
} from '../filters.ts';
import type { Column } from '../output.ts';
import { describeEvent } from '../event-text.ts';

const COLUMNS: readonly Column<Session>[] = [
  { title: 'OPENED', value: (session) => showTime(session.opened_at) },
  {
    title: 'CLOSED',
    value: (session) => (session.closed_at === null ? 'open' : showTime(session.closed_at)),
  },
  { title: 'USER', value: (session) => session.user },
  { title: 'DATABASE', value: (session) => session.database },
  { title: 'FROM', value: (session) => addressOf(session) },
  { title: 'STATEMENTS', value: (session) => String(session.statements), align: 'right' },
  { title: 'ERRORS', value: (session) => String(session.errors), align: 'right' },
  { title: 'UID', value: (session) => session.uid },
  { title: 'APPLICATION', value: (session) => session.application_name, flexible: true },
];

const EVENT_COLUMNS: readonly Column<SessionEvent>[] = [
  { title: 'POSITION', value: (event) => String(event.seq), align: 'right' },
  { title: 'AT', value: (event) => event.at },
  { title: 'EVENT', value: (event) => event.kind },
  { title: 'WHAT', value: describeEvent, flexible: true },
];

interface SessionOptions extends ListOptions {
  readonly open?: boolean;
  readonly closed?: boolean;
}

export function addSessionCommands({ program, action }: Commands): void {
  const session = program.command('session').description('audited connections');
  const ls = session.command('ls').description('list sessions, newest first');
  addLimitOption(addTimeOptions(addWhoOptions(ls)))
    .option('--open', 'only running ones')
    .addOption(new Option('--closed', 'only ended ones').conflicts('open'))
    .action(action<SessionOptions>(list));
  session.command('show <uid>').description('show a session').action(action(show));
  session.command('kill <uid>').description('end a running session').action(action(kill));
  addLimitOption(
    session
      .command('events <uid>')
      .description('the events of a session in the order of the journal, for replay'),
  ).action(action<ListOptions>(events));
}

async function list(context: Context, options: SessionOptions): Promise<void> {
  const api = await context.api();
  const open = options.open === true ? true : options.closed === true ? false : undefined;
  const query = { user: options.user, database: options.database, ...timeQuery(context, options), open };
  context.out.list(
    await api.all<Session>('/sessions', query, limitOf(options)),
    COLUMNS,
    'There are no such sessions.',
  );
}

async function show(context: Context, _options: object, uid: string): Promise<void> {
  const session = await (await context.api()).get<Session>(`/sessions/${encodeURIComponent(uid)}`);
  context.out.one(session, [
    ['uid', session.uid],
    ['user', session.user],
    ['database', session.database],
    ['opened', session.opened_at],
    ['closed', session.closed_at ?? 'open'],
    ['reason', [session.close_reason, session.close_detail].filter(Boolean).join(': ')],
    ['from', addressOf(session)],
    ['application', session.application_name],
    ['TLS', session.tls],
    ['log-in', session.authentication],
    ['grant', session.grant_uid],
    ['controls', session.controls.join(', ')],
    ['backend', session.backend_id],
    ['statements', `${session.statements}, ${session.errors} with errors`],
    ['bytes', `${showBytes(session.bytes_in)} from the client, ${showBytes(session.bytes_out)} to it`],
  ]);
}

async function kill(context: Context, _options: object, uid: string): Promise<void> {
  await (await context.api()).post(`/sessions/${encodeURIComponent(uid)}/kill`);
  context.out.done({ uid, killed: true }, `Ended session ${uid}.`);
}

async function events(context: Context, options: ListOptions, uid: string): Promise<void> {
  const api = await context.api();
  const path = `/sessions/${encodeURIComponent(uid)}/events`;
  context.out.list(
    await api.all<SessionEvent>(path, {}, limitOf(options)),
    EVENT_COLUMNS,
    'There are no events of this session.',
  );
}

function addressOf({ client_address: address, client_port: port }: Session): string {
  return port === 0 ? address : address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}
