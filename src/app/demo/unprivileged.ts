/**
 * Database servers refuse to run as root. Started by root they run as the system's `postgres` account, or `nobody`;
 * started by anybody else, as that user. They end with the process that started them (setpriv's parent-death signal),
 * so that even a SIGKILL of ours leaves no server behind.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants, readFileSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { AppError } from '../../base/errors.ts';

export interface ServerIdentity {
  readonly uid: number;
  readonly gid: number;
  /** We are root and must step down to `uid`. */
  readonly stepsDown: boolean;
}

/** Who a server runs as. A data folder that exists already keeps its owner. */
export function serverIdentity(existingDataDir: string | null = null): ServerIdentity {
  const uid = process.getuid?.() ?? -1;
  const gid = process.getgid?.() ?? -1;
  if (uid !== 0) return { uid, gid, stepsDown: false };
  if (existingDataDir !== null) {
    const owner = statSync(existingDataDir, { throwIfNoEntry: false });
    if (owner !== undefined && owner.uid !== 0) return { uid: owner.uid, gid: owner.gid, stepsDown: true };
  }
  const accounts = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'));
  for (const name of ['postgres', 'nobody']) {
    const account = accounts.find(([candidate]) => candidate === name);
    if (account !== undefined) return { uid: Number(account[2]), gid: Number(account[3]), stepsDown: true };
  }
  throw new AppError(
    'unavailable',
    'DEMO_NO_ACCOUNT',
    'A database server does not run as root, and this system has neither a "postgres" nor a "nobody" account. Start as another user.',
  );
}

/** Whether `identity` may go through every folder above `path`, and read (and enter) `path` itself, or only enter it. */
export function canReach(identity: ServerIdentity, path: string, want: 'read' | 'enter' = 'read'): boolean {
  if (!identity.stepsDown) {
    try {
      accessSync(path, want === 'read' ? constants.R_OK : constants.X_OK);
      return true;
    } catch {
      return false;
    }
  }
  let at = path;
  for (;;) {
    const facts = statSync(at, { throwIfNoEntry: false });
    if (facts === undefined) return false;
    const shift = facts.uid === identity.uid ? 6 : facts.gid === identity.gid ? 3 : 0;
    const granted = (facts.mode >> shift) & 7;
    const atPath = facts.isDirectory() ? (want === 'read' ? 5 : 1) : 4;
    const needed = at === path ? atPath : 1;
    if ((granted & needed) !== needed) return false;
    const parent = dirname(at);
    if (parent === at) return true;
    at = parent;
  }
}

export interface SpawnOptions {
  readonly identity: ServerIdentity;
  readonly cwd: string;
  /** File descriptors or 'ignore'/'pipe' as in `child_process.spawn`. */
  readonly stdio: readonly ('ignore' | 'pipe' | number)[];
  readonly env?: Readonly<Record<string, string>>;
}

/**
 * Starts `program` as `identity`, in a session of its own (a Ctrl-C at our terminal does not reach it), with none of
 * our environment but PATH.
 */
export function spawnServer(program: string, args: readonly string[], options: SpawnOptions): ChildProcess {
  const env = { PATH: process.env['PATH'] ?? '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC', ...options.env };
  const stdio = [...options.stdio];
  const { identity, cwd } = options;
  if (process.platform === 'linux') {
    const down = identity.stepsDown
      ? [`--reuid=${identity.uid}`, `--regid=${identity.gid}`, '--clear-groups']
      : [];
    return spawn('setpriv', [...down, '--pdeathsig=INT', '--', program, ...args], {
      cwd,
      env,
      stdio,
      detached: true,
    });
  }
  const as = identity.stepsDown ? { uid: identity.uid, gid: identity.gid } : {};
  return spawn(program, [...args], { cwd, env, stdio, detached: true, ...as });
}
