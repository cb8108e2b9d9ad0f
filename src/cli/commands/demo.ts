/** `dbwitness demo`: everything with a sample clinic, nothing to install. */
import { existsSync } from 'node:fs';
import { demoDataDir } from '../../app/demo/demo-settings.ts';
import type { Demo } from '../../app/demo/demo.ts';
import { type Commands, type Context, environmentOf } from '../context.ts';
import { runServer } from './serve.ts';

export function addDemoCommand({ program, action }: Commands): void {
  program
    .command('demo')
    .summary('start dbwitness with a sample PostgreSQL server, to try it out')
    .description(
      'Starts dbwitness and a sample PostgreSQL server with the data of a clinic, creates people and grants, and says how to connect. Runs until Ctrl-C; a second start finds the data of the first.',
    )
    .action(action(runDemo));
}

export async function runDemo(context: Context): Promise<void> {
  const { io } = context;
  await runServer(context, async () => {
    const { startDemo } = await import('../../app/demo/demo.ts');
    const demo = await startDemo(environmentOf(context), (line) => io.note(line));
    io.write(welcome(demo));
    return demo;
  });
}

function welcome(demo: Demo): string {
  const { people, target, apiAddress } = demo;
  const developer = people.find(({ name }) => name === 'developer');
  const analyst = people.find(({ name }) => name === 'analyst');
  const width = Math.max(...people.map(({ name }) => name.length));
  const passwordWidth = Math.max(...people.map(({ password }) => password.length));
  const command = `${commandName()}${demo.dataDir === demoDataDir() ? '' : ` --data-dir ${demo.dataDir}`}`;
  return `
dbwitness demo${target.fresh ? '' : ' (the data of an earlier start)'}

  Connect, as if it were the database:
    psql "${developer?.uri ?? ''}"

  The same, where only reading is allowed:
    psql "${analyst?.uri ?? ''}"

  See what was recorded, with parameters and rows, and prove that nothing is missing:
    ${command} statement ls
    ${command} statement ls --json
    ${command} statement rows STATEMENT
    ${command} verify

  Log-ins
${people.map(({ name, password, about }) => `    ${name.padEnd(width)}  ${password.padEnd(passwordWidth)}  ${about}`).join('\n')}

  REST API       ${apiAddress === null ? 'off' : `${apiAddress}/api/v1   documentation: ${apiAddress}/api/docs`}
  Data           ${demo.dataDir}
  Sample server  127.0.0.1:${target.port}, data in ${target.dataDir}

Ctrl-C stops it; the next start finds this data.
`;
}

/** As people can type it here: the launcher of the clone, or the installed command. */
function commandName(): string {
  return existsSync('bin/dbwitness') ? 'bin/dbwitness' : 'dbwitness';
}
