/** The command tree. Each file of `commands/` adds one noun. */
import { Command, type OutputConfiguration } from 'commander';
import { packageVersion } from '../app/config.ts';
import { addDatabaseCommands } from './commands/databases.ts';
import { addDemoCommand } from './commands/demo.ts';
import { addEventCommands } from './commands/events.ts';
import { addGrantCommands } from './commands/grants.ts';
import { addIndexCommands } from './commands/index.ts';
import { addKeyCommands } from './commands/keys.ts';
import { addProbeCommands } from './commands/probe.ts';
import { addProofCommands } from './commands/proofs.ts';
import { addSessionCommands } from './commands/sessions.ts';
import { addStatementCommands } from './commands/statements.ts';
import { addUpCommand } from './commands/up.ts';
import { addUserCommands } from './commands/users.ts';
import { addVerifyCommand } from './commands/verify.ts';
import { type Commands, Context, type GlobalOptions } from './context.ts';
import type { Io } from './io.ts';

export interface Program {
  readonly command: Command;
  /** Of the command that ran, when it did not throw. */
  exitCode(): number;
}

export function buildProgram(io: Io): Program {
  let context: Context | null = null;
  const program = new Command('dbwitness')
    .description(
      'Every path into a database, watched; one audit trail; proof that nothing is missing from it.',
    )
    .version(packageVersion())
    .option('--json', 'print one JSON object per line')
    .option('--data-dir <dir>', 'data folder of the node this is for (default: see "dbwitness help")')
    .helpOption('-h, --help', 'show help')
    .helpCommand('help [command]', 'show help of a command')
    .showHelpAfterError('(add --help for help)')
    .configureHelp({ showGlobalOptions: true })
    .configureOutput(outputOf(io))
    .exitOverride()
    .addHelpText('after', WHERE);
  const commands: Commands = {
    program,
    action:
      (work) =>
      async (...parameters) => {
        const command = parameters.at(-1) as Command;
        const options = command.optsWithGlobals<GlobalOptions>();
        context = new Context(io, options);
        await work(context, options as never, ...command.args);
      },
  };
  addUpCommand(commands);
  addDemoCommand(commands);
  addUserCommands(commands);
  addDatabaseCommands(commands);
  addGrantCommands(commands);
  addKeyCommands(commands);
  addSessionCommands(commands);
  addStatementCommands(commands);
  addEventCommands(commands);
  addVerifyCommand(commands);
  addProofCommands(commands);
  addProbeCommands(commands);
  addIndexCommands(commands);
  return { command: program, exitCode: () => context?.exitCode ?? 0 };
}

const WHERE = `
Which node a command is for: --data-dir, else DBW_URL with DBW_API_KEY (over the network), else DBW_DATA_DIR, else the
default data folder or the demo's, whichever runs. Settings of "dbwitness up": dbwitness up --help`;

function outputOf(io: Io): OutputConfiguration {
  return {
    writeOut: (text) => io.write(text),
    writeErr: (text) => io.note(text.trimEnd()),
    getOutHelpWidth: () => io.width ?? 100,
    getErrHelpWidth: () => io.width ?? 100,
  };
}
