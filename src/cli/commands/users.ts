/** `dbwitness user`: who may log in, and as what. */
import { Option } from 'commander';
import type { User } from '../../api/contract/users.ts';
import { showTime, usage } from '../amounts.ts';
import type { Commands, Context } from '../context.ts';
import { findUser } from '../names.ts';
import type { Column } from '../output.ts';
import { generatePassword, readPassword, type SecretOptions } from '../secrets.ts';

const COLUMNS: readonly Column<User>[] = [
  { title: 'USER', value: (user) => user.username },
  { title: 'ROLES', value: (user) => user.roles.join(', ') },
  { title: 'STATE', value: (user) => (user.disabled ? 'disabled' : 'active') },
  { title: 'NAME', value: (user) => user.display_name },
  { title: 'E-MAIL', value: (user) => user.email },
  { title: 'CREATED', value: (user) => showTime(user.created_at) },
  { title: 'UID', value: (user) => user.uid, flexible: true },
];

interface Fields {
  readonly role?: readonly string[];
  readonly displayName?: string;
  readonly email?: string;
}

interface SetOptions extends Fields, SecretOptions {
  readonly generatePassword?: boolean;
  readonly disable?: boolean;
  readonly enable?: boolean;
}

export function addUserCommands({ program, action }: Commands): void {
  const user = program.command('user').description('people and programs that may log in');
  const role = (): Option =>
    new Option('--role <role...>', 'what they may do').choices(['admin', 'viewer', 'connector']);

  user.command('ls').description('list users').action(action(list));
  user.command('show <user>').description('show a user, by name or uid').action(action(show));
  user
    .command('add <name>')
    .description('create a user; without a password option one is generated and shown once')
    .addOption(role())
    .option('--password-stdin', 'read the password from standard input (without echo on a terminal)')
    .option('--password-file <file>', 'read the password from the first line of a file')
    .option('--display-name <text>', 'full name')
    .option('--email <address>', 'e-mail address')
    .action(action<Fields & SecretOptions>(add));
  user
    .command('set <user>')
    .description('change a user')
    .addOption(role())
    .option('--password-stdin', 'read a new password from standard input (without echo on a terminal)')
    .option('--password-file <file>', 'read a new password from the first line of a file')
    .addOption(
      new Option('--generate-password', 'make a new password and show it once').conflicts([
        'passwordStdin',
        'passwordFile',
      ]),
    )
    .option('--display-name <text>', 'full name')
    .option('--email <address>', 'e-mail address')
    .option('--disable', 'no log-in any more; running sessions end')
    .addOption(new Option('--enable', 'log-ins again').conflicts('disable'))
    .action(action<SetOptions>(set));
  user
    .command('rm <user>')
    .description('delete a user: revokes their grants, keys and logins and ends their sessions')
    .action(action(remove));
}

async function list(context: Context): Promise<void> {
  const api = await context.api();
  context.out.list(await api.all<User>('/users'), COLUMNS, 'There are no users.');
}

async function show(context: Context, _options: object, name: string): Promise<void> {
  display(context, await findUser(await context.api(), name));
}

async function add(context: Context, options: Fields & SecretOptions, name: string): Promise<void> {
  const given = await readPassword(context.io, options, `Password of ${name}: `);
  const password = given ?? generatePassword();
  const api = await context.api();
  const user = await api.post<User>('/users', { username: name, password, ...fields(options) });
  const shown = given === null ? { password } : {};
  context.out.done(
    { ...user, ...shown },
    `Created ${user.username} (${user.roles.join(', ')}).${given === null ? ` The password, shown this once: ${password}` : ''}`,
  );
}

async function set(context: Context, options: SetOptions, name: string): Promise<void> {
  const given = await readPassword(context.io, options, `New password of ${name}: `);
  const password = given ?? (options.generatePassword === true ? generatePassword() : undefined);
  const disabled = options.disable === true ? true : options.enable === true ? false : undefined;
  const body = {
    ...fields(options),
    ...(password === undefined ? {} : { password }),
    ...(disabled === undefined ? {} : { disabled }),
  };
  if (Object.keys(body).length === 0) throw usage('say what to change; see "dbwitness user set --help"');
  const api = await context.api();
  const user = await api.patch<User>(`/users/${(await findUser(api, name)).uid}`, body);
  const generated = options.generatePassword === true && password !== undefined;
  context.out.done(
    { ...user, ...(generated ? { password } : {}) },
    `Changed ${user.username}.${generated ? ` The password, shown this once: ${password}` : ''}`,
  );
}

async function remove(context: Context, _options: object, name: string): Promise<void> {
  const api = await context.api();
  const user = await findUser(api, name);
  await api.delete(`/users/${user.uid}`);
  context.out.done({ uid: user.uid, username: user.username, deleted: true }, `Deleted ${user.username}.`);
}

function fields({ role, displayName, email }: Fields): object {
  return {
    ...(role === undefined ? {} : { roles: role }),
    ...(displayName === undefined ? {} : { display_name: displayName }),
    ...(email === undefined ? {} : { email }),
  };
}

function display(context: Context, user: User): void {
  context.out.one(user, [
    ['user', user.username],
    ['uid', user.uid],
    ['roles', user.roles.join(', ')],
    ['state', user.disabled ? 'disabled' : 'active'],
    ['name', user.display_name],
    ['e-mail', user.email],
    ['created', showTime(user.created_at)],
    ['changed', showTime(user.updated_at)],
  ]);
}
