/**
 * The file system as the journal sees it: a small synchronous port, so that the same code runs on real files and on a
 * simulated disk that tears, loses and fills (`simulated-disk.ts`). Operations throw the system's errors (`code` is
 * `ENOSPC`, `EIO`, `ENOENT`, …) and never retry.
 *
 * What a caller may rely on after a machine crash:
 *  - bytes written before a successful `datasync` of their file are there;
 *  - a name created or renamed before a successful `syncFolder` of its folder is there;
 *  - `rename` replaces atomically;
 *  - everything else may be there, or not, or in part.
 */
import { messageOf, systemErrorCode } from '../base/errors.ts';

export interface DiskFile {
  /** Reads up to `length` bytes at `position`; returns how many there were (0 at the end). */
  read(into: Uint8Array, offset: number, length: number, position: number): number;
  /** Writes at `position`; may write less than `length`, returns how much. */
  write(from: Uint8Array, offset: number, length: number, position: number): number;
  size(): number;
  /** Makes the file's bytes and its length durable. */
  datasync(): void;
  truncate(length: number): void;
  close(): void;
}

export interface DiskEntry {
  readonly name: string;
  readonly folder: boolean;
}

export interface DiskLock {
  /** A previous owner died without releasing it. */
  readonly stale: boolean;
  release(): void;
}

export interface Disk {
  /** `read`: existing, for reading. `update`: existing, for both. `create`: new (fails on an existing one), for both. */
  open(path: string, mode: 'read' | 'update' | 'create'): DiskFile;
  readFile(path: string): Buffer;
  /** Replaces the whole file without any promise about a crash in between; see {@link replaceFile}. */
  writeFile(path: string, bytes: Uint8Array, mode?: number): void;
  exists(path: string): boolean;
  /** Entries of a folder sorted by name; an absent folder has none. */
  list(path: string): DiskEntry[];
  makeFolder(path: string): void;
  rename(from: string, to: string): void;
  remove(path: string): void;
  /** Removes a folder and the files in it; nothing when it is not there. */
  removeFolder(path: string): void;
  /** Makes names created in, renamed into or removed from the folder durable. */
  syncFolder(path: string): void;
  /** Bytes that are still free to us on the folder's file system. */
  freeBytes(path: string): number;
  /** Takes the one lock of a folder, or throws a `conflict` AppError naming the owner. */
  lock(path: string): DiskLock;
}

/** Writes a small file so that after a crash either the old or the new one is there, never a mixture. */
export function replaceFile(disk: Disk, path: string, bytes: Uint8Array, mode?: number): void {
  const folder = path.slice(0, path.lastIndexOf('/'));
  const draft = `${path}.tmp`;
  disk.writeFile(draft, bytes, mode);
  syncFile(disk, draft);
  disk.rename(draft, path);
  disk.syncFolder(folder);
}

export function syncFile(disk: Disk, path: string): void {
  const file = disk.open(path, 'update');
  try {
    file.datasync();
  } finally {
    file.close();
  }
}

/** Reads `length` bytes at `position`, fewer only at the end of the file. */
export function readFully(file: DiskFile, into: Uint8Array, length: number, position: number): number {
  let total = 0;
  while (total < length) {
    const count = file.read(into, total, length - total, position + total);
    if (count === 0) break;
    total += count;
  }
  return total;
}

/** Writes all of it or throws. */
export function writeFully(file: DiskFile, from: Uint8Array, position: number): void {
  let total = 0;
  while (total < from.length) total += file.write(from, total, from.length - total, position + total);
}

/** What a failed write means to the person who has to mend it. */
export function explain(error: unknown, folder: string): string {
  const code = systemErrorCode(error);
  if (code === 'ENOSPC' || code === 'EDQUOT') return `no space left on ${folder}`;
  if (code === 'EFBIG') return `the file size limit of this process is reached in ${folder}`;
  if (code === 'EIO') return `the device under ${folder} reports an I/O error`;
  if (code === 'EROFS') return `the file system of ${folder} is read-only`;
  return `cannot write to ${folder}: ${messageOf(error)}`;
}
