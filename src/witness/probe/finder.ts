/**
 * Database servers that run on this host, whatever container they are in: every process whose executable has a server's
 * name, or that was started through a loader which mapped one. They are grouped by the file itself (device, inode), so
 * that what shares a binary is one thing, and reached through /proc/PID, which works for files of other mount namespaces
 * and for files that were replaced meanwhile.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { linkOf, mappedProgram } from './processes.ts';

export interface FoundBinary {
  /** Device and inode. */
  readonly key: string;
  /** Through which it can be opened while one of `pids` runs: /proc/PID/exe or below /proc/PID/root. */
  readonly path: string;
  /** As its own processes see it. */
  readonly program: string;
  readonly pids: number[];
}

const SERVER =
  /(?:^|\/)(?:postgres|postmaster|edb-postgres|mysqld(?:[-_][\w.-]+)?|mariadbd)(?: \(deleted\))?$/;
const LOADER = /\/ld-(?:linux|musl)[^/]*$|\/ld[-.][\d.]*so[\d.]*$/;

/** One look at all processes. `only`: the key of the one binary that is wanted, whatever its name. */
export function findBinaries(only: string | null): Map<string, FoundBinary> {
  const found = new Map<string, FoundBinary>();
  for (const name of readdirSync('/proc')) {
    const first = name.charCodeAt(0);
    if (first < 0x30 || first > 0x39) continue;
    const pid = Number(name);
    const place = programOf(pid, only !== null);
    if (place === null) continue;
    const key = fileKey(place.path);
    if (key === null || (only !== null && key !== only)) continue;
    const known = found.get(key);
    if (known === undefined) found.set(key, { key, ...place, pids: [pid] });
    else known.pids.push(pid);
  }
  return found;
}

/** The file and its content: another one may get the same inode later. `''` when it cannot be looked at. */
export function contentKey(path: string): string {
  try {
    const { dev, ino, size, mtimeNs } = statSync(path, { bigint: true });
    return `${dev}:${ino}:${size}:${mtimeNs}`;
  } catch {
    return '';
  }
}

/** Device and inode of a file, or `null` when it cannot be looked at. */
export function fileKey(path: string): string | null {
  try {
    const { dev, ino } = statSync(path, { bigint: true });
    return `${dev}:${ino}`;
  } catch {
    return null;
  }
}

function programOf(pid: number, anyName: boolean): { path: string; program: string } | null {
  const exe = linkOf(`/proc/${pid}/exe`);
  if (exe === null) return null;
  if (LOADER.test(exe)) {
    const program = mappedProgram(pid, SERVER);
    return program === null ? null : { path: `/proc/${pid}/root${program}`, program };
  }
  return anyName || SERVER.test(exe) ? { path: `/proc/${pid}/exe`, program: exe } : null;
}

/** Whether a process is there, and no zombie. */
export function isAlive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return !/^[ZX]/.test(stat.slice(stat.lastIndexOf(')') + 2));
  } catch {
    return false;
  }
}
