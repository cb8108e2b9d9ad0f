/**
 * One process per embedded store: two PostgreSQL backends on one data folder destroy it. The lock is a file with the pid and
 * the start time of its holder (pids are used again), so that a killed process leaves no lock behind that counts.
 */
import { closeSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { AppError, systemErrorCode } from '../base/errors.ts';

export interface FolderLock {
  release(): void;
}

/** Rejects with `conflict` when a living process (this one included) holds the lock. */
export function lockFolder(file: string): FolderLock {
  const mine = `${process.pid} ${startTime(process.pid)}`;
  for (let attempt = 0; attempt < 3; attempt++) {
    try {
      const fd = openSync(file, 'wx', 0o600);
      writeSync(fd, mine);
      closeSync(fd);
      return { release: () => rmSync(file, { force: true }) };
    } catch (error) {
      if (systemErrorCode(error) !== 'EEXIST') throw error;
    }
    const [pid = '', start = ''] = readHolder(file).split(' ');
    if (pid !== '' && startTime(Number(pid)) === start)
      throw new AppError(
        'conflict',
        'STORE_IN_USE',
        `the store is in use by process ${pid}; end it first, or use another data folder (DBW_DATA_DIR)`,
        { details: { pid: Number(pid) } },
      );
    rmSync(file, { force: true });
  }
  throw new AppError(
    'conflict',
    'STORE_IN_USE',
    'several processes are opening the store at once; try again',
  );
}

function readHolder(file: string): string {
  try {
    return readFileSync(file, 'latin1');
  } catch {
    return '';
  }
}

/** Field 22 of /proc/<pid>/stat (proc(5)): clock ticks from boot to the start of the process; "gone" without one. */
function startTime(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? 'gone';
  } catch {
    return 'gone';
  }
}
