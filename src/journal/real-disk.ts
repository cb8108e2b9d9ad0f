/** The {@link Disk} port over `node:fs`. */
import {
  closeSync,
  existsSync,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statfsSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { threadId } from 'node:worker_threads';
import { AppError, systemErrorCode } from '../base/errors.ts';
import type { Disk, DiskEntry, DiskFile, DiskLock } from './disk.ts';
import { positionedWrite } from './positioned-write.ts';

const FLAGS = { read: 'r', update: 'r+', create: 'wx+' } as const;

class RealFile implements DiskFile {
  readonly #fd: number;

  constructor(fd: number) {
    this.#fd = fd;
  }

  read(into: Uint8Array, offset: number, length: number, position: number): number {
    return readSync(this.#fd, into, offset, length, position);
  }

  write(from: Uint8Array, offset: number, length: number, position: number): number {
    const count = positionedWrite(this.#fd, from, offset, length, position);
    return count >= 0 ? count : writeSync(this.#fd, from, offset, length, position);
  }

  size(): number {
    return fstatSync(this.#fd).size;
  }

  datasync(): void {
    fdatasyncSync(this.#fd);
  }

  truncate(length: number): void {
    ftruncateSync(this.#fd, length);
  }

  close(): void {
    closeSync(this.#fd);
  }
}

export const realDisk: Disk = {
  open(path, mode) {
    return new RealFile(openSync(path, FLAGS[mode], 0o640));
  },
  readFile(path) {
    return readFileSync(path);
  },
  writeFile(path, bytes, mode) {
    writeFileSync(path, bytes, { mode: mode ?? 0o640 });
  },
  exists(path) {
    return existsSync(path);
  },
  list(path): DiskEntry[] {
    try {
      return readdirSync(path, { withFileTypes: true })
        .map((entry) => ({ name: entry.name, folder: entry.isDirectory() }))
        .sort((a, b) => (a.name < b.name ? -1 : 1));
    } catch (error) {
      if (systemErrorCode(error) === 'ENOENT') return [];
      throw error;
    }
  },
  makeFolder(path) {
    mkdirSync(path, { recursive: true, mode: 0o750 });
  },
  rename(from, to) {
    renameSync(from, to);
  },
  remove(path) {
    rmSync(path);
  },
  removeFolder(path) {
    rmSync(path, { recursive: true, force: true });
  },
  syncFolder(path) {
    const fd = openSync(path, 'r');
    try {
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  },
  freeBytes(path) {
    const { bavail, bsize } = statfsSync(path);
    return bavail * bsize;
  },
  lock(path) {
    return takeLock(path);
  },
};

/**
 * A lock file names its owner's process by id and start time, so that a process id used again does not keep a dead
 * owner's lock. Whoever finds a dead owner renames the file away first: of several only one succeeds with each file.
 */
function takeLock(path: string): DiskLock {
  const draft = `${path}.new.${process.pid}.${threadId}`;
  writeFileSync(draft, `${process.pid} ${startOf(process.pid)}\n`, { mode: 0o640 });
  try {
    return takeLockWith(path, draft);
  } finally {
    rmSync(draft, { force: true });
  }
}

function takeLockWith(path: string, draft: string): DiskLock {
  let stale = false;
  for (let attempt = 0; attempt < 10; attempt++) {
    try {
      // A link appears with its content, so nobody ever sees a lock without an owner.
      linkSync(draft, path);
      return { stale, release: () => rmSync(path, { force: true }) };
    } catch (error) {
      if (systemErrorCode(error) !== 'EEXIST') throw error;
    }
    const owner = ownerOf(path);
    if (owner !== null && isAlive(owner)) throw heldBy(path, owner.pid);
    const aside = `${path}.old.${process.pid}.${threadId}`;
    try {
      renameSync(path, aside);
    } catch (error) {
      if (systemErrorCode(error) === 'ENOENT') continue;
      throw error;
    }
    const taken = ownerOf(aside);
    if (taken !== null && isAlive(taken)) {
      // Somebody else was faster, and this is the lock of a living owner: give it back.
      renameSync(aside, path);
      throw heldBy(path, taken.pid);
    }
    rmSync(aside, { force: true });
    stale = true;
  }
  throw new AppError(
    'conflict',
    'JOURNAL_LOCKED',
    `several processes are fighting for ${path}; start only one`,
  );
}

interface Owner {
  readonly pid: number;
  readonly start: string;
}

function ownerOf(path: string): Owner | null {
  try {
    const found = /^([0-9]+) (\S*)\n$/.exec(readFileSync(path, 'latin1'));
    return found === null ? null : { pid: Number(found[1]), start: found[2] };
  } catch {
    return null;
  }
}

function isAlive(owner: Owner): boolean {
  try {
    process.kill(owner.pid, 0);
  } catch (error) {
    if (systemErrorCode(error) !== 'EPERM') return false;
  }
  return startOf(owner.pid) === owner.start;
}

/** When a process started, in clock ticks since boot, with the boot's id; `-` where the system does not tell. */
function startOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    // A zombie has ended; that nobody has waited for it yet must not keep the journal closed.
    if (fields[0] === 'Z' || fields[0] === 'X') return 'ended';
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').slice(0, 8);
    return `${fields[19]}@${boot}`;
  } catch {
    return '-';
  }
}

function heldBy(path: string, pid: number): AppError {
  return new AppError(
    'conflict',
    'JOURNAL_LOCKED',
    `the journal is in use by process ${pid}; stop that dbwitness first (lock file: ${path})`,
    { details: { pid } },
  );
}
