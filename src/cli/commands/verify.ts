/** `dbwitness verify`: files and a public key, nothing else. 0: whole, 1: broken, 2: it could not be verified. */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { AppError, isAppError } from '../../base/errors.ts';
import type { VerifyReport } from '../../journal/verify.ts';
import { showBytes } from '../amounts.ts';
import type { Commands, Context } from '../context.ts';
import { findDataDir, journalFolder } from '../locate.ts';
import { readText } from '../secrets.ts';

interface VerifyOptions {
  readonly key?: string;
  readonly checkpoint?: string;
  readonly witness?: readonly string[];
}

export const EXIT_BROKEN = 1;

export function addVerifyCommand({ program, action }: Commands): void {
  program
    .command('verify [dir]')
    .summary('is the journal whole?')
    .description(
      'Checks every record of a journal against its signed checkpoint, with the public key and the files alone. Exit code 0: whole; 1: broken, and the first broken place is named; 2: it could not be verified.',
    )
    .option(
      '--key <file|vkey>',
      'the public key, from where you keep it (default: journal.pub beside the journal)',
    )
    .option(
      '--checkpoint <file>',
      'a checkpoint that you saved earlier: nothing before it may have been rewritten',
    )
    .option('--witness <vkey...>', 'keys of the C2SP witnesses that cosign the checkpoints')
    .action(action<VerifyOptions>(verify));
}

async function verify(context: Context, options: VerifyOptions, dir?: string): Promise<void> {
  const report = await run(context, options, dir).catch(asUsage);
  if (!report.whole) context.exitCode = EXIT_BROKEN;
  if (context.out.json) return context.out.line(report);
  for (const line of report.broken === null ? whole(report) : broken(report)) context.out.done({}, line);
}

/** "Broken" must mean broken: whatever else went wrong has another exit code. */
export function asUsage(error: unknown): never {
  if (!isAppError(error)) throw error;
  throw new AppError('invalid', error.code, error.message, { details: error.details, cause: error });
}

async function run(context: Context, options: VerifyOptions, dir: string | undefined): Promise<VerifyReport> {
  const folder = journalFolder(
    dir === undefined ? await findDataDir(context.io.env, context.dataDir) : resolve(dir),
  );
  if (!existsSync(folder))
    throw new AppError(
      'not-found',
      'CLI_NO_JOURNAL',
      `there is no journal in ${dir ?? folder}; name the folder of a journal, or a data folder`,
    );
  const publicKey = await publicKeyOf(context, options.key, folder);
  const { verifyJournal } = await import('../../journal/verify.ts');
  return verifyJournal(folder, {
    publicKey,
    ...(options.checkpoint === undefined ? {} : { knownCheckpoint: await readText(options.checkpoint) }),
    ...(options.witness === undefined ? {} : { witnesses: options.witness }),
  });
}

/** The key as text: named, from a file that was named, or the one that lies beside the journal. */
export async function publicKeyOf(
  context: Context,
  named: string | undefined,
  folder: string | null,
): Promise<string> {
  if (named !== undefined)
    return existsSync(named) || !named.includes('+') ? firstLine(await readText(named)) : named;
  const file = folder === null ? null : join(folder, 'journal.pub');
  if (file === null || !existsSync(file))
    throw new AppError(
      'invalid',
      'CLI_NO_KEY',
      'there is no public key here; name it with --key (a file, or the key itself)',
    );
  context.io.note(
    `using ${file}: whoever can change the journal can change that too; keep a copy elsewhere and name it with --key`,
  );
  return firstLine(await readText(file));
}

function firstLine(text: string): string {
  return text.split(/\r?\n/, 1)[0]?.trim() ?? '';
}

function whole(report: VerifyReport): string[] {
  const lines = [
    `The journal is whole: ${report.signedEvents} events in ${report.signedBlocks} blocks, signed as ${report.origin}.`,
  ];
  if (report.droppedBlocks > 0)
    lines.push(
      `${report.droppedBlocks} blocks were dropped by retention; their hashes are still in the proof.`,
    );
  if (report.unsignedBlocks > 0 || report.unsignedBytes > 0)
    lines.push(
      `Behind the checkpoint: ${report.unsignedBlocks} blocks, ${showBytes(report.unsignedBytes)}, not signed yet.`,
    );
  if (report.cosignatures > 0)
    lines.push(
      `${report.cosignatures} cosignature${report.cosignatures === 1 ? '' : 's'}${report.cosignaturesChecked ? ', checked' : ', not checked: name the witnesses with --witness'}.`,
    );
  for (const file of report.unknownFiles) lines.push(`Not part of a journal: ${file}`);
  return lines;
}

function broken(report: VerifyReport): string[] {
  const { broken: place } = report;
  if (place === null) return [];
  const where = [
    place.file,
    place.block === null ? '' : `block ${place.block}`,
    place.offset === null ? '' : `byte ${place.offset}`,
  ].filter((part) => part !== '');
  return [`The journal is BROKEN at ${where.join(', ')}: ${place.what}`];
}
