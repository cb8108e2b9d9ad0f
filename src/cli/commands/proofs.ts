/** `dbwitness proof`, `verify-proof`, `checkpoint`: what can be handed to somebody else. */
import { writeFile } from 'node:fs/promises';
import { AppError, isAppError, messageOf } from '../../base/errors.ts';
import type { ProofVerdict, StatementProof } from '../../journal/proof.ts';
import type { Event } from '../../model/events.ts';
import type { ApiClient } from '../client.ts';
import type { Commands, Context } from '../context.ts';
import { describeEventBody } from '../event-text.ts';
import { findDataDir, journalFolder } from '../locate.ts';
import { readText } from '../secrets.ts';
import { asUsage, EXIT_BROKEN, publicKeyOf } from './verify.ts';

const SIGNING_ATTEMPTS = 40;
const SIGNING_POLL_MS = 250;

interface ProofOptions {
  readonly output?: string;
}

interface VerifyProofOptions {
  readonly key?: string;
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
    .command('verify-proof <file>')
    .summary('does such a file hold?')
    .description(
      'Checks a file that "dbwitness proof" made, with the public key alone. Exit code 0: it holds; 1: it does not; 2: it could not be checked.',
    )
    .option(
      '--key <file|vkey>',
      'the public key, from where you keep it (default: journal.pub of this data folder)',
    )
    .action(action<VerifyProofOptions>(verifyProofFile));
  program
    .command('checkpoint')
    .summary('the signed head of the journal')
    .description(
      'Prints the newest signed checkpoint (a C2SP signed note). Keep it elsewhere: "dbwitness verify --checkpoint FILE" then proves that nothing before it was rewritten.',
    )
    .action(action(checkpoint));
}

async function proof(context: Context, options: ProofOptions, uid: string): Promise<void> {
  const { formatProof } = await import('../../journal/proof.ts');
  const text = formatProof(await signedProof(await context.api(), uid));
  if (options.output === undefined) return context.io.write(text);
  await writeFile(options.output, text, { mode: 0o600 }).catch((error: unknown) => {
    throw new AppError('unavailable', 'CLI_NOT_WRITTEN', `the proof was not written: ${messageOf(error)}`, {
      cause: error,
    });
  });
  context.out.done({ file: options.output }, `Wrote ${options.output}.`);
}

/** The newest statements are signed within a second or so: worth a moment's waiting. */
async function signedProof(api: ApiClient, uid: string): Promise<StatementProof> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await api.get<StatementProof>(`/statements/${encodeURIComponent(uid)}/proof`);
    } catch (error) {
      const early = isAppError(error) && error.code === 'JOURNAL_NOT_SIGNED_YET';
      if (!early || attempt === SIGNING_ATTEMPTS) throw error;
      await new Promise((resolve) => setTimeout(resolve, SIGNING_POLL_MS));
    }
  }
}

/** 0: it holds, 1: it does not, 2: it could not be checked. */
async function verifyProofFile(context: Context, options: VerifyProofOptions, file: string): Promise<void> {
  const verdict = await check(context, options, file).catch(asUsage);
  const { out } = context;
  if (!verdict.valid) {
    context.exitCode = EXIT_BROKEN;
    return out.done({ valid: false, reason: verdict.reason }, `The proof does NOT hold: ${verdict.reason}`);
  }
  const { statement, origin, treeSize, outcome, events } = verdict.proved;
  const readable = await toReadable(events);
  if (out.json)
    return out.line({ valid: true, statement, origin, tree_size: treeSize, outcome, events: readable });
  out.done(
    {},
    `The proof holds: statement ${statement} is in the journal ${origin}, under its checkpoint of ${treeSize} blocks.`,
  );
  for (const { seq, event } of readable) out.done({}, `  ${seq}  ${describeEventBody(event)}`);
}

async function toReadable(
  events: readonly { readonly seq: number; readonly event: Event }[],
): Promise<{ seq: number; event: unknown }[]> {
  const [{ toJson }, { EventSchema }] = await Promise.all([
    import('@bufbuild/protobuf'),
    import('../../model/events.ts'),
  ]);
  return events.map(({ seq, event }) => ({ seq, event: toJson(EventSchema, event) }));
}

async function check(context: Context, options: VerifyProofOptions, file: string): Promise<ProofVerdict> {
  const text = await readText(file);
  const folder = journalFolder(await findDataDir(context.io.env, context.dataDir));
  const key = await publicKeyOf(context, options.key, folder);
  const { verifyProof } = await import('../../journal/proof.ts');
  return verifyProof(text, key);
}

async function checkpoint(context: Context): Promise<void> {
  const newest = await (await context.api()).get<Checkpoint>('/journal/checkpoint');
  if (context.out.json) context.out.line(newest);
  else context.io.write(newest.note);
}
