/** The small files of the log: entry bundles and the state file, and the error of a log that does not hold together. */
import { crc32 } from 'node:zlib';
import { AppError } from '../base/errors.ts';
import type { Disk } from './disk.ts';
import { type Layout, segmentPath, tileNumber } from './layout.ts';
import { type Checkpoint, openCheckpoint, type SignerKey } from './note.ts';
import type { ChainCursor } from './segments.ts';
import { TILE_WIDTH } from './tree.ts';

/** Entry bundle: each entry behind its length, two bytes big-endian. */
export function encodeBundle(entries: readonly Uint8Array[]): Buffer {
  const parts: Uint8Array[] = [];
  for (const entry of entries) parts.push(Buffer.of(entry.length >>> 8, entry.length & 0xff), entry);
  return Buffer.concat(parts);
}

/** The entries of a bundle; `null` when it is not one. */
export function decodeBundle(bytes: Uint8Array): Uint8Array[] | null {
  const entries: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; ) {
    if (at + 2 > bytes.length) return null;
    const size = bytes[at] * 256 + bytes[at + 1];
    if (at + 2 + size > bytes.length) return null;
    entries.push(bytes.subarray(at + 2, at + 2 + size));
    at += 2 + size;
  }
  return entries;
}

/** The state file: how far full tiles and bundles are durable. An optimisation; without it they are made again. */
export function stateText(tilesSynced: number): string {
  const text = `tiles-synced ${tilesSynced}\n`;
  return `${text}${crc32(text).toString(16).padStart(8, '0')}\n`;
}

/** `tiles-synced` of a state file, or `null` when it is damaged. */
export function parseState(text: string): number | null {
  const found = /^tiles-synced (0|[1-9][0-9]{0,15})\n([0-9a-f]{8})\n$/.exec(text);
  if (found === null) return null;
  return stateText(Number(found[1])) === text ? Number(found[1]) : null;
}

/**
 * Removes tiles that a tree does not have: full ones from index `edge` on, and partial ones there that are wider than
 * `width`. Looks only into folders that can hold such.
 */
export function pruneTiles(disk: Disk, folder: string, edge: number, width: number): void {
  pruneFolder(disk, folder, tileNumber(edge).split('/'), edge, width, 0);
}

/** @param base index of the folder among those of its depth; `rest`: the edge's path from here on. */
function pruneFolder(
  disk: Disk,
  folder: string,
  rest: readonly string[],
  edge: number,
  width: number,
  base: number,
): void {
  for (const { name } of disk.list(folder)) {
    const path = `${folder}/${name}`;
    const index = base * 1000 + Number(/[0-9]{3}/.exec(name)?.[0] ?? 0);
    if (name.startsWith('x')) {
      // Numbers have as many digits as the edge's or more; what sorts before it at the same depth is smaller.
      if (rest.length > 1 && name < rest[0]) continue;
      pruneFolder(disk, path, rest.length > 1 && name === rest[0] ? rest.slice(1) : [], edge, width, index);
    } else if (!name.endsWith('.p')) {
      if (index >= edge) disk.remove(path);
    } else if (index > edge) {
      disk.removeFolder(path);
    } else if (index === edge) {
      for (const partial of disk.list(path))
        if (Number(partial.name) > width) disk.remove(`${path}/${partial.name}`);
    }
  }
}

/** The error of a journal whose signed part is not there: what to do is to look, not to go on. */
export function lostSigned(layout: Layout, what: string): AppError {
  return new AppError(
    'corrupt',
    'JOURNAL_CORRUPT',
    `the journal in ${layout.folder} does not hold what was signed: ${what}. It is not opened, so that nothing is ` +
      'overwritten. Run `dbwitness verify` to see where it is broken, then restore the folder from a backup, or move ' +
      'it away (and keep it) to start a new journal',
  );
}

/** The error of a running journal whose files were damaged behind its back. */
export function damaged(layout: Layout, cursor: ChainCursor, problem = 'it ends within a block'): AppError {
  return new AppError(
    'corrupt',
    'JOURNAL_CORRUPT',
    `${segmentPath(layout, cursor.segment.firstBlock)} is damaged at ${cursor.offset} (block ${cursor.nextBlock}): ` +
      `${problem}. Restart dbwitness: it recovers what can be recovered and records the gap`,
  );
}

/** How far tiles are known durable: a multiple of 256, 0 when nothing is known. */
export function readState(disk: Disk, layout: Layout): number {
  if (!disk.exists(layout.state)) return 0;
  const mark = parseState(disk.readFile(layout.state).toString('latin1')) ?? 0;
  return mark - (mark % TILE_WIDTH);
}

/** The signed head, its signature checked. */
export function readCheckpoint(disk: Disk, layout: Layout, signer: SignerKey): Checkpoint {
  if (!disk.exists(layout.checkpoint)) throw lostSigned(layout, `${layout.checkpoint} is missing`);
  const checkpoint = openCheckpoint(disk.readFile(layout.checkpoint), signer.verifier);
  if (typeof checkpoint === 'string') throw lostSigned(layout, `${layout.checkpoint}: ${checkpoint}`);
  return checkpoint;
}
