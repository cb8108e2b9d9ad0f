/** `dbwitness proof`, `verify-proof`, `checkpoint`: what can be handed to somebody else. */
import { writeFile } from 'node:fs/promises';
import { AppError, messageOf } from '../../base/errors.ts';
import type { Commands, Context } from '../context.ts';
import { safeJson } from '../safe-text.ts';

interface ProofOptions {
  readonly output?: string;
}

interface Checkpoint {
  readonly note: string;
}

export function addProofCommands({ program, action }: Commands): void {
  program
    .command('proof <statement>')
    .summary('a file that proves one statement with its outcome')
    .description('Makes a file with one statement, its outcome and the proof that they are in the journal.')
    .option('-o, --output <file>', 'write it there (default: standard output)')
    .action(action<ProofOptions>(proof));
  program
    .command('checkpoint')
    .summary('the signed head of the journal')
    .description(
      'Prints the newest signed checkpoint (a C2SP signed note). Keep it elsewhere: "dbwitness verify --checkpoint FILE" then proves that nothing before it was rewritten.',
    )
    .action(action(checkpoint));
}

async function proof(context: Context, options: ProofOptions, uid: string): Promise<void> {
  const content = await (await context.api()).get<object>(`/statements/${encodeURIComponent(uid)}/proof`);
  const text = `${safeJson(content)}\n`;
  if (options.output === undefined) return context.io.write(text);
  await writeFile(options.output, text, { mode: 0o600 }).catch((error: unknown) => {
    throw new AppError('unavailable', 'CLI_NOT_WRITTEN', `the proof was not written: ${messageOf(error)}`, {
      cause: error,
    });
  });
  context.out.done({ file: options.output }, `Wrote ${options.output}.`);
}

async function checkpoint(context: Context): Promise<void> {
  const newest = await (await context.api()).get<Checkpoint>('/journal/checkpoint');
  if (context.out.json) context.out.line(newest);
  else context.io.write(newest.note);
}
