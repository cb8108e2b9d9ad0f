/** `dbwitness statement`: what was run, and what came of it. */
import { Option } from 'commander';
import type { ResultRows, Statement } from '../../api/contract/audit.ts';
import { demandSpan, showBytes, showDuration, showTime, usage } from '../amounts.ts';
import type { Query } from '../client.ts';
import type { Commands, Context } from '../context.ts';
import {
  addLimitOption,
  addTimeOptions,
  addWhoOptions,
  limitOf,
  type ListOptions,
  timeQuery,
} from '../filters.ts';
import { follow } from '../follow.ts';
import { type Column, table } from '../output.ts';
import { safeSql } from '../safe-text.ts';

const COLUMNS: readonly Column<Statement>[] = [
  { title: 'STARTED', value: (statement) => showTime(statement.started_at) },
  { title: 'USER', value: (statement) => statement.user },
  { title: 'DATABASE', value: (statement) => statement.database },
  { title: 'OUTCOME', value: outcomeOf },
  { title: 'ROWS', value: (statement) => String(statement.rows), align: 'right' },
  { title: 'TOOK', value: (statement) => showDuration(statement.duration_us), align: 'right' },
  { title: 'UID', value: (statement) => statement.uid },
  { title: 'SQL', value: (statement) => safeSql(statement.sql), flexible: true },
];

interface StatementOptions extends ListOptions {
  readonly session?: string;
  readonly text?: string;
  readonly table?: string;
  readonly verb?: string;
  readonly kind?: string;
  readonly outcome?: string;
  readonly errors?: boolean;
  readonly errorCode?: string;
  readonly slower?: string;
  readonly faster?: string;
  readonly follow?: boolean;
}

export function addStatementCommands({ program, action }: Commands): void {
  const statement = program.command('statement').description('what was run, and what came of it');
  const ls = statement.command('ls').description('list statements, newest first');
  addLimitOption(addTimeOptions(addWhoOptions(ls)))
    .option('--session <uid>', 'of this session')
    .option('--text <text>', 'with this text in the SQL, in any case')
    .option('--table <table>', 'that name this table')
    .option('--verb <verb>', 'select, insert, copy, create, …')
    .addOption(
      new Option('--kind <kind>', 'how it came').choices([
        'simple',
        'execute',
        'function_call',
        'prepare',
        'command',
      ]),
    )
    .addOption(
      new Option('--outcome <outcome>', 'what came of it').choices([
        'running',
        'completed',
        'failed',
        'refused',
        'skipped',
        'unknown',
      ]),
    )
    .option('--errors', 'only those with an error')
    .option('--error-code <code>', 'with this SQLSTATE')
    .option('--slower <span>', 'that took at least this long (in ms, s, m: 250ms)')
    .option('--faster <span>', 'that took at most this long')
    .addOption(
      new Option('--follow', 'then print further ones as they end, oldest first').conflicts([
        'until',
        'outcome',
      ]),
    )
    .action(action<StatementOptions>(list));
  statement.command('show <uid>').description('show a statement').action(action(show));
  statement.command('rows <uid>').description('the result rows that were recorded').action(action(rows));
}

async function list(context: Context, options: StatementOptions): Promise<void> {
  const api = await context.api();
  const query: Query = {
    user: options.user,
    database: options.database,
    ...timeQuery(context, options),
    session_uid: options.session,
    q: options.text,
    table: options.table,
    verb: options.verb,
    kind: options.kind,
    outcome: options.outcome,
    error: options.errors,
    error_code: options.errorCode,
    min_duration_us: options.slower === undefined ? undefined : duration('--slower', options.slower),
    max_duration_us: options.faster === undefined ? undefined : duration('--faster', options.faster),
  };
  if (options.follow === true) return follow(context, api, query, limitOf(options), COLUMNS);
  if (context.out.json) {
    for await (const page of api.pages<Statement>('/statements', query, limitOf(options)))
      for (const statement of page) context.out.line(statement);
    return;
  }
  const found = await api.all<Statement>('/statements', query, limitOf(options));
  context.out.list(found, COLUMNS, 'There are no such statements.');
}

async function show(context: Context, _options: object, uid: string): Promise<void> {
  const statement = await (await context.api()).get<Statement>(`/statements/${encodeURIComponent(uid)}`);
  const { error } = statement;
  context.out.one(statement, [
    ['uid', statement.uid],
    ['session', statement.session_uid],
    ['user', statement.user],
    ['database', statement.database],
    ['started', statement.started_at],
    ['took', took(statement)],
    ['outcome', `${outcomeOf(statement)}${statement.tag === '' ? '' : ` (${statement.tag})`}`],
    ['error', error === null ? '' : `${error.code} ${error.message}`],
    [
      'rows',
      `${statement.rows}, ${showBytes(statement.bytes)}${statement.truncated ? ', not recorded in full' : ''}`,
    ],
    [
      'transaction',
      [statement.transaction_status, statement.xid]
        .filter((each) => each !== null && each !== '')
        .join(', xid '),
    ],
    ['tables', statement.tables.join(', ')],
    ['parameters', parameters(statement)],
    [statement.redacted ? 'SQL (a secret was taken out)' : 'SQL', statement.sql],
  ]);
}

async function rows(context: Context, _options: object, uid: string): Promise<void> {
  const result = await (await context.api()).get<ResultRows>(`/statements/${encodeURIComponent(uid)}/rows`);
  // A procedure that was called may have given several results.
  const sets: ResultSet[] = [result, ...result.more];
  const count = sets.reduce((sum, set) => sum + set.rows.length, 0);
  if (context.out.json) rowLines(context, sets, result.truncated ? count : 0);
  else for (const set of sets) rowTable(context, set);
  const recorded = `${count} row${count === 1 ? '' : 's'} recorded`;
  context.io.note(result.truncated ? `${recorded}; more came, beyond what is recorded` : recorded);
}

type ResultSet = Pick<ResultRows, 'columns' | 'rows'>;

/** @param truncatedAt number of the row behind which others are missing; 0: none are. */
function rowLines(context: Context, sets: readonly ResultSet[], truncatedAt: number): void {
  let row = 0;
  for (const [result, { columns, rows: values }] of sets.entries())
    for (const each of values) {
      row++;
      context.out.line({
        row,
        columns: columns.map((column) => column.name),
        values: each,
        ...(sets.length > 1 ? { result: result + 1 } : {}),
        ...(row === truncatedAt ? { truncated: true } : {}),
      });
    }
}

function rowTable(context: Context, { columns, rows: values }: ResultSet): void {
  if (columns.length === 0) return;
  const shown = columns.map(({ name: title }, i) => ({
    title,
    value: (row: readonly unknown[]) => cell(row[i]),
    align: typeof values[0]?.[i] === 'number' ? ('right' as const) : ('left' as const),
  }));
  context.io.write(table(values, shown, null));
}

function cell(value: unknown): string {
  if (value === null) return 'NULL';
  return typeof value === 'string' ? value : JSON.stringify(value);
}

function parameters({ params }: Statement): string {
  return params === null ? '' : params.map((value, i) => `$${i + 1} = ${cell(value)}`).join('\n');
}

function took({ duration_us: total, first_row_us: first }: Statement): string {
  return first === null
    ? showDuration(total)
    : `${showDuration(total)}, first row after ${showDuration(first)}`;
}

function outcomeOf({ outcome, error }: Statement): string {
  return error === null || error.code === '' ? outcome : `${outcome} ${error.code}`;
}

function duration(option: string, text: string): number {
  const match = /^(\d{1,12})(us|ms)$/.exec(text);
  if (match !== null) return Number(match[1]) * (match[2] === 'ms' ? 1_000 : 1);
  if (/^\d/.test(text)) return demandSpan(option, text);
  throw usage(`${option}: "${text}" is not a span of time; write 250ms, 2s or 5m`);
}
