/** Processes that tests start: ended with us, output kept for the error message, CPU and memory read from /proc. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

export interface RunningProcess {
  readonly child: ChildProcess;
  readonly pid: number;
  /** Both outputs so far, the last 64 KiB of each unless told otherwise. */
  output(): string;
  stdout(): string;
  stderr(): string;
  /** SIGTERM, then SIGKILL after 10 s; waits until it is gone. */
  stop(): Promise<void>;
  /** Resolves with exit code or signal. */
  readonly ended: Promise<number | string>;
}

const live = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of live) child.kill('SIGKILL');
});

export interface StartOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly uid?: number;
  readonly gid?: number;
  /** How much of each output is kept, the newest. Default 64 KiB. */
  readonly keepOutputBytes?: number;
}

/** The end of a stream. */
class Tail {
  readonly #keepBytes: number;
  #chunks: Buffer[] = [];
  #bytes = 0;

  constructor(keepBytes: number) {
    this.#keepBytes = keepBytes;
  }

  add(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    while (this.#bytes - this.#chunks[0].length >= this.#keepBytes)
      this.#bytes -= this.#chunks.shift()?.length ?? 0;
  }

  toString(): string {
    return Buffer.concat(this.#chunks).subarray(-this.#keepBytes).toString();
  }
}

/** Starts a program in a process group of its own. It ends with us, whatever way we end (Linux). */
export function startProcess(
  program: string,
  args: readonly string[],
  options: StartOptions = {},
): RunningProcess {
  const down =
    options.uid === undefined || process.getuid?.() !== 0
      ? []
      : [`--reuid=${options.uid}`, `--regid=${options.gid ?? options.uid}`, '--clear-groups'];
  const child = spawn('setpriv', [...down, '--pdeathsig=KILL', '--', program, ...args], {
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: options.env ?? process.env,
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  live.add(child);
  const stdout = new Tail(options.keepOutputBytes ?? 64 * 1024);
  const stderr = new Tail(options.keepOutputBytes ?? 64 * 1024);
  child.stdout.on('data', (chunk: Buffer) => stdout.add(chunk));
  child.stderr.on('data', (chunk: Buffer) => stderr.add(chunk));
  const ended = new Promise<number | string>((done) => {
    child.once('error', (error) => {
      stderr.add(Buffer.from(error.message));
      live.delete(child);
      done('error');
    });
    child.once('close', (code, signal) => {
      live.delete(child);
      done(code ?? signal ?? 'unknown');
    });
  });
  return {
    child,
    pid: child.pid ?? 0,
    output: () => `${stdout.toString()}${stderr.toString()}`,
    stdout: () => stdout.toString(),
    stderr: () => stderr.toString(),
    ended,
    stop: async () => {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
      const slow = setTimeout(() => child.kill('SIGKILL'), 10_000);
      await ended;
      clearTimeout(slow);
    },
  };
}

/** The process and everything under it, parents first. */
export function processTree(pid: number): number[] {
  const children = new Map<number, number[]>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const stat = readStat(Number(name));
    if (stat !== null) children.set(stat.parent, [...(children.get(stat.parent) ?? []), Number(name)]);
  }
  const tree: number[] = [];
  const queue = [pid];
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    tree.push(next);
    queue.push(...(children.get(next) ?? []));
  }
  return tree;
}

/** Whether a process is there and has not ended: a zombie has. */
export function isRunning(pid: number): boolean {
  const stat = readStat(pid);
  return stat !== null && stat.state !== 'Z' && stat.state !== 'X';
}

/** SIGKILL to the whole tree, the parent first so that it cannot start anything again. */
export function killTree(pid: number): void {
  for (const one of processTree(pid)) {
    try {
      process.kill(one, 'SIGKILL');
    } catch {
      // It ended by itself in between.
    }
  }
}

// Kernel clock ticks per second in /proc: 100 on every Linux that Node runs on.
const TICKS_PER_SECOND = 100;

/**
 * CPU seconds (user and system) used by the process and everything under it. Children that ended and were waited for
 * are counted by their parent.
 */
export function cpuSeconds(pid: number): number {
  let ticks = 0;
  for (const one of processTree(pid)) ticks += readStat(one)?.ticks ?? 0;
  return ticks / TICKS_PER_SECOND;
}

/** Resident bytes of one process now (`VmRSS`), or its highest so far (`VmHWM`). */
export function residentBytes(pid: number, which: 'VmRSS' | 'VmHWM' = 'VmRSS'): number {
  const match = new RegExp(`^${which}:\\s+(\\d+) kB`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(match?.[1] ?? 0) * 1024;
}

function readStat(pid: number): { state: string; parent: number; ticks: number } | null {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return null; // gone
  }
  // The name, in parentheses, may hold anything: fields are counted from the last one on. proc(5).
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const ticks = Number(fields[11]) + Number(fields[12]) + Number(fields[13]) + Number(fields[14]);
  return { state: fields[0], parent: Number(fields[1]), ticks };
}
