/** docs/cli.md says what the program says. `DBW_TEST_UPDATE_DOCS=1 npm test -- src/cli/reference` writes it anew. */
import { readFileSync, writeFileSync } from 'node:fs';
import type { Command, Option } from 'commander';
import { expect, it } from 'vitest';
import { systemClock } from '../base/clock.ts';
import { ERROR_KINDS, type ErrorKind } from '../base/errors.ts';
import { EXIT_BUG, EXIT_BY_KIND } from './exit-codes.ts';
import { buildProgram } from './program.ts';

const PAGE = new URL('../../docs/cli.md', import.meta.url);

const MEANING: Readonly<Record<ErrorKind, string>> = {
  corrupt:
    'the server found damage, or failed; `verify`: broken; `up`, `demo`: did not start, for whatever reason',
  invalid: 'the command line, a setting or a value is not valid; `verify`: could not be verified',
  denied: 'not allowed, or not logged in',
  'not-found': 'there is no such thing',
  conflict: 'in conflict with what is there: a name is taken, a session has ended',
  unavailable: 'nothing runs there, or it cannot be reached, or it is not ready',
  exhausted: 'a limit was reached; try again later',
  protocol: 'the answer is not one of dbwitness',
};

/** Markdown: the table of exit codes. */
function exitCodes(): string {
  const rows = ERROR_KINDS.map((kind) => [EXIT_BY_KIND[kind], MEANING[kind]] as const);
  const all = [[0, 'done'] as const, ...rows, [EXIT_BUG, 'a bug of dbwitness'] as const];
  const lines = all.toSorted(([a], [b]) => a - b).map(([code, meaning]) => `| ${code} | ${meaning} |`);
  return ['| code | meaning |', '|---|---|', ...lines].join('\n');
}

/** Markdown: every command with its options. */
function commandReference(program: Command): string {
  return sections(program, 'dbwitness').join('\n\n');
}

function sections(command: Command, path: string): string[] {
  return command.commands.flatMap((each) => {
    const name = `${path} ${each.name()}`;
    return each.commands.length > 0 ? sections(each, name) : [section(each, name)];
  });
}

function section(command: Command, name: string): string {
  const args = command.registeredArguments.map((argument) =>
    argument.required ? ` <${argument.name()}>` : ` [${argument.name()}]`,
  );
  const options = command.options.map(
    (option) => `| \`${option.flags.replaceAll('|', String.raw`\|`)}\` | ${describe(option)} |`,
  );
  const table = options.length === 0 ? [] : ['', '| option | |', '|---|---|', ...options];
  return [`### \`${name}${args.join('')}\``, '', sentence(command.description()), ...table].join('\n');
}

function describe(option: Option): string {
  const choices = option.argChoices === undefined ? '' : `: ${option.argChoices.join(', ')}`;
  const fallback = option.defaultValue === undefined ? '' : ` (default: ${String(option.defaultValue)})`;
  const required = option.mandatory ? ' (required)' : '';
  return `${option.description}${choices}${fallback}${required}`;
}

function sentence(text: string): string {
  const first = text.charAt(0).toUpperCase() + text.slice(1);
  return first.endsWith('.') ? first : `${first}.`;
}

function program(): Command {
  return buildProgram({
    env: {},
    clock: systemClock,
    width: null,
    write: () => undefined,
    note: () => undefined,
    readSecret: () => Promise.resolve(''),
  }).command;
}

function replacePart(page: string, name: string, content: string): string {
  const [begin, end] = [`<!-- ${name}: made from the program -->`, `<!-- end of ${name} -->`];
  const [from, to] = [page.indexOf(begin), page.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`docs/cli.md has no part "${name}"`);
  return `${page.slice(0, from)}${begin}\n\n${content}\n\n${page.slice(to)}`;
}

it('docs/cli.md has every command, option and exit code as they are', () => {
  const page = readFileSync(PAGE, 'utf8');
  const made = replacePart(
    replacePart(page, 'exit codes', exitCodes()),
    'commands',
    commandReference(program()),
  );
  if (process.env['DBW_TEST_UPDATE_DOCS'] === '1') writeFileSync(PAGE, made);
  else expect(page).toBe(made);
});
