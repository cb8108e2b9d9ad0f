/** The journal's folder from outside: what somebody with the disk in their hands sees and does. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Dbwitness, waitFor } from '../../servers/index.ts';

export interface Verified {
  readonly whole: boolean;
  readonly broken: { readonly file: string; readonly block: number | null; readonly what: string } | null;
  readonly signedBlocks: number;
  readonly unsignedBlocks: number;
  readonly droppedBlocks: number;
}

export function segments(dataDir: string): string[] {
  const folder = join(dataDir, 'journal', 'segments');
  return readdirSync(folder)
    .sort()
    .map((name) => join(folder, name));
}

export function newestSegment(dataDir: string): string {
  const newest = segments(dataDir).at(-1);
  if (newest === undefined) throw new Error('the journal has no segment');
  return newest;
}

/** Blocks under the checkpoint that is on disk. */
export function signedBlocks(dataDir: string): number {
  return Number(readFileSync(join(dataDir, 'journal', 'log', 'checkpoint'), 'utf8').split('\n')[1]);
}

export function publicKey(dataDir: string): string {
  return readFileSync(join(dataDir, 'journal', 'journal.pub'), 'utf8').trim();
}

/** Waits until everything that was recorded before this call is under a checkpoint. */
export async function allSigned(node: Dbwitness): Promise<void> {
  await waitFor('everything to be signed', async () => (await verified(node)).unsignedBlocks === 0);
}

/** What `dbwitness verify` says, with its exit code held against it. */
export async function verified(node: Dbwitness, ...args: readonly string[]): Promise<Verified> {
  const result = await node.cli('verify', join(node.dataDir, 'journal'), '--json', ...args);
  if (result.code > 1) throw new Error(`verify: exit ${result.code}: ${result.stderr}`);
  const report = JSON.parse(result.stdout) as Verified;
  if (report.whole !== (result.code === 0)) throw new Error(`exit ${result.code}: ${result.stdout}`);
  return report;
}
