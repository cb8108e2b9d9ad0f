/** `dbwitness event`: failed logins, changes of the control plane, gaps. */
import type { AuditEvent } from '../../api/contract/audit.ts';
import { showTime } from '../amounts.ts';
import type { Commands, Context } from '../context.ts';
import { addLimitOption, addTimeOptions, limitOf, type ListOptions, timeQuery } from '../filters.ts';
import type { Column } from '../output.ts';

const COLUMNS: readonly Column<AuditEvent>[] = [
  { title: 'AT', value: (event) => showTime(event.at) },
  { title: 'EVENT', value: (event) => event.kind },
  { title: 'BY', value: (event) => event.actor },
  { title: 'ABOUT', value: (event) => event.subject },
  { title: 'POSITION', value: (event) => String(event.seq), align: 'right' },
  { title: 'WHAT', value: (event) => event.summary, flexible: true },
];

interface EventOptions extends ListOptions {
  readonly kind?: string;
  readonly actor?: string;
}

export function addEventCommands({ program, action }: Commands): void {
  const event = program
    .command('event')
    .description('what else was recorded: failed logins, changes of the control plane, gaps');
  addLimitOption(addTimeOptions(event.command('ls').description('list events, newest first')))
    .option('--kind <kind>', 'of this kind')
    .option('--actor <name>', 'by this user')
    .action(action<EventOptions>(list));
}

async function list(context: Context, options: EventOptions): Promise<void> {
  const api = await context.api();
  const query = { kind: options.kind, actor: options.actor, ...timeQuery(context, options) };
  context.out.list(
    await api.all<AuditEvent>('/events', query, limitOf(options)),
    COLUMNS,
    'There are no such events.',
  );
}
