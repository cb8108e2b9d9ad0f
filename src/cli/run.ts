/** One run of the command line: parses, runs, and turns whatever was thrown into a message and an exit code. */
import { CommanderError } from 'commander';
import { isAppError, messageOf } from '../base/errors.ts';
import { EXIT_BUG, EXIT_BY_KIND } from './exit-codes.ts';
import type { Io } from './io.ts';
import { buildProgram } from './program.ts';
import { safeLine } from './safe-text.ts';

const EXIT_USAGE = EXIT_BY_KIND.invalid;

/** Never rejects. `args` are those after the program's name. */
export async function runCli(args: readonly string[], io: Io): Promise<number> {
  const program = buildProgram(io);
  try {
    await program.command.parseAsync([...args], { from: 'user' });
    return program.exitCode();
  } catch (error) {
    // Commander has printed its own message, or the help that was asked for.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_USAGE;
    if (isAppError(error)) {
      io.note(`dbwitness: ${safeLine(error.message)}`);
      return EXIT_BY_KIND[error.kind];
    }
    io.note(`dbwitness: ${safeLine(messageOf(error))}`);
    io.note('This is a bug of dbwitness; please report it with the line above.');
    return EXIT_BUG;
  }
}
