/** `dbwitness database`: named targets, with upstream credentials that nobody sees. */
import { type Command, Option } from 'commander';
import type { Database } from '../../api/contract/databases.ts';
import { parseCount, parseSize, showTime, usage } from '../amounts.ts';
import type { Commands, Context } from '../context.ts';
import { findDatabase } from '../names.ts';
import type { Column } from '../output.ts';
import { readPassword, readText, type SecretOptions } from '../secrets.ts';

const HOST = 'host name, address, or a Unix socket: its folder (PostgreSQL) or itself (MySQL, MariaDB)';

const COLUMNS: readonly Column<Database>[] = [
  { title: 'DATABASE', value: (database) => database.name },
  { title: 'PROTOCOL', value: (database) => database.protocol },
  { title: 'SERVER', value: (database) => serverOf(database) },
  { title: 'NAME THERE', value: (database) => database.database_name ?? '' },
  { title: 'LOGIN THERE', value: (database) => database.username ?? '' },
  { title: 'TLS', value: (database) => database.ssl_mode ?? '' },
  { title: 'UID', value: (database) => database.uid },
  { title: 'DESCRIPTION', value: (database) => database.description, flexible: true },
];

interface Fields extends SecretOptions {
  readonly name?: string;
  readonly description?: string;
  readonly protocol?: string;
  readonly host?: string;
  readonly port?: string;
  readonly dbname?: string;
  readonly username?: string;
  readonly sslMode?: string;
  readonly sslCa?: string;
  readonly sslCert?: string;
  readonly sslKey?: string;
  readonly durability?: string;
  readonly captureRows?: string;
  readonly captureBytes?: string;
  readonly captureCopyBytes?: string;
  readonly captureParameterBytes?: string;
  readonly xidProbe?: string;
  readonly failOpen?: string;
  readonly replication?: string;
  readonly labelApplicationName?: string;
  readonly localInfile?: string;
  readonly statementComment?: string;
}

export function addDatabaseCommands({ program, action }: Commands): void {
  const database = program.command('database').description('what people connect to, and where it really is');
  database.command('ls').description('list databases').action(action(list));
  database
    .command('show <database>')
    .description('show a database, by name or uid; its password is never shown')
    .action(action(show));
  const add = database
    .command('add <name>')
    .description('create a database: the name people connect to, and the server and account behind it')
    .requiredOption('--host <host>', HOST)
    .requiredOption('--dbname <name>', 'name of the database on the server')
    .requiredOption('--username <name>', 'account on the server');
  options(add).action(action<Fields>(create));
  const set = database
    .command('set <database>')
    .description('change a database; counts for new sessions')
    .option('--name <name>', 'another name to connect to')
    .option('--host <host>', HOST)
    .option('--dbname <name>', 'name of the database on the server')
    .option('--username <name>', 'account on the server');
  options(set).action(action<Fields>(update));
  database
    .command('rm <database>')
    .description('delete a database that nobody has an active grant for')
    .action(action(remove));
}

function options(command: Command): Command {
  const choice = (flags: string, text: string, choices: readonly string[]): Option =>
    new Option(flags, text).choices(choices);
  const onOff = (flags: string, text: string): Option => choice(flags, text, ['on', 'off']);
  return command
    .option('--port <port>', 'port (default: 5432 for postgres, 3306 for mysql and mariadb)')
    .option(
      '--password-stdin',
      'read the account’s password from standard input (without echo on a terminal)',
    )
    .option('--password-file <file>', 'read the account’s password from the first line of a file')
    .option('--description <text>', 'what it is for')
    .addOption(choice('--protocol <protocol>', 'what the server speaks', ['postgres', 'mysql', 'mariadb']))
    .addOption(
      choice('--ssl-mode <mode>', 'TLS to the server', [
        'disable',
        'prefer',
        'require',
        'verify-ca',
        'verify-full',
      ]),
    )
    .option('--ssl-ca <file>', 'PEM file of the authorities to trust')
    .option('--ssl-cert <file>', 'PEM file of a client certificate')
    .option('--ssl-key <file>', 'PEM file of its key')
    .addOption(choice('--durability <mode>', 'sync: on stable storage before forwarding', ['batch', 'sync']))
    .option('--capture-rows <count>', 'result rows recorded per statement')
    .option('--capture-bytes <size>', 'result bytes recorded per statement')
    .option('--capture-copy-bytes <size>', 'COPY data recorded per statement')
    .option('--capture-parameter-bytes <size>', 'parameters recorded per execution')
    .addOption(onOff('--xid-probe <on|off>', 'PostgreSQL: ask for the transaction id behind writes'))
    .addOption(onOff('--fail-open <on|off>', 'forward even when the journal fails'))
    .addOption(onOff('--replication <on|off>', 'PostgreSQL: allow replication connections'))
    .addOption(
      onOff('--label-application-name <on|off>', 'PostgreSQL: put the person’s name into application_name'),
    )
    .addOption(onOff('--local-infile <on|off>', 'MySQL: let LOAD DATA LOCAL through, its data recorded'))
    .addOption(
      onOff('--statement-comment <on|off>', 'MySQL: name each statement in a comment, for the binary log'),
    );
}

async function list(context: Context): Promise<void> {
  const api = await context.api();
  context.out.list(
    await api.all<Database>('/databases'),
    COLUMNS,
    'There are no databases; see "dbwitness database add --help".',
  );
}

async function show(context: Context, _options: object, name: string): Promise<void> {
  const database = await findDatabase(await context.api(), name);
  context.out.one(database, [
    ['database', database.name],
    ['uid', database.uid],
    ['description', database.description],
    ['protocol', database.protocol],
    ['server', serverOf(database)],
    ['name there', database.database_name ?? ''],
    ['login there', database.username ?? ''],
    ['password', database.has_password === true ? 'set' : 'none'],
    ['TLS', database.ssl_mode ?? ''],
    ...Object.entries(database.recording ?? {}).map(([name, value]): [string, string] => [
      name.replaceAll('_', ' '),
      String(value),
    ]),
    ['created', showTime(database.created_at)],
    ['changed', showTime(database.updated_at)],
  ]);
}

async function create(context: Context, options: Fields, name: string): Promise<void> {
  const body = { ...(await bodyOf(context, options)), name };
  const database = await (await context.api()).post<Database>('/databases', body);
  context.out.done(
    database,
    `Created ${database.name}, which is ${database.database_name} on ${serverOf(database)}.`,
  );
}

async function update(context: Context, options: Fields, name: string): Promise<void> {
  const body = await bodyOf(context, options);
  if (Object.keys(body).length === 0) throw usage('say what to change; see "dbwitness database set --help"');
  const api = await context.api();
  const { uid } = await findDatabase(api, name);
  const database = await api.patch<Database>(`/databases/${uid}`, body);
  context.out.done(database, `Changed ${database.name}.`);
}

async function remove(context: Context, _options: object, name: string): Promise<void> {
  const api = await context.api();
  const database = await findDatabase(api, name);
  await api.delete(`/databases/${database.uid}`);
  context.out.done({ uid: database.uid, name: database.name, deleted: true }, `Deleted ${database.name}.`);
}

async function bodyOf(context: Context, options: Fields): Promise<Record<string, unknown>> {
  const password = await readPassword(context.io, options, 'Password of the account: ');
  const file = async (path: string | undefined): Promise<string | undefined> =>
    path === undefined ? undefined : path === '' ? '' : readText(path);
  const recording = known({
    durability: options.durability,
    capture_rows: optional(options.captureRows, (text) => parseCount('--capture-rows', text)),
    capture_bytes: optional(options.captureBytes, (text) => parseSize('--capture-bytes', text)),
    capture_copy_bytes: optional(options.captureCopyBytes, (text) => parseSize('--capture-copy-bytes', text)),
    capture_parameter_bytes: optional(options.captureParameterBytes, (text) =>
      parseSize('--capture-parameter-bytes', text),
    ),
    xid_probe: onOff(options.xidProbe),
    fail_open: onOff(options.failOpen),
    allow_replication: onOff(options.replication),
    label_application_name: onOff(options.labelApplicationName),
    allow_local_infile: onOff(options.localInfile),
    statement_comment: onOff(options.statementComment),
  });
  return known({
    name: options.name,
    description: options.description,
    protocol: options.protocol,
    host: options.host,
    port: optional(options.port, (text) => parseCount('--port', text, 1)),
    database_name: options.dbname,
    username: options.username,
    password: password ?? undefined,
    ssl_mode: options.sslMode,
    ssl_ca: await file(options.sslCa),
    ssl_cert: await file(options.sslCert),
    ssl_key: await file(options.sslKey),
    recording: Object.keys(recording).length === 0 ? undefined : recording,
  });
}

/** What was given; the rest keeps its value. */
function known(fields: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

function optional<T>(text: string | undefined, parse: (text: string) => T): T | undefined {
  return text === undefined ? undefined : parse(text);
}

function onOff(text: string | undefined): boolean | undefined {
  return text === undefined ? undefined : text === 'on';
}

function serverOf({ host, port }: Database): string {
  return host === undefined ? '' : `${host}:${port ?? ''}`;
}
