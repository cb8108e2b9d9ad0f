/** What /proc says of a process. Everything may vanish between two looks: then the answer is `null` or empty. proc(5). */
import { closeSync, openSync, readFileSync, readlinkSync, readSync } from 'node:fs';
import { basename } from 'node:path';
import type { ElfFile } from './elf.ts';

/** Kernel clock ticks per second in /proc: 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

export interface ProcessFacts {
  readonly pid: number;
  readonly parent: number;
  /** As `ps` shows it; of a program that was started through a loader, the program's own name. */
  readonly name: string;
  readonly uid: number;
  /** Microseconds since 1970, to 10 ms. */
  readonly startedUs: number;
}

export function processFacts(pid: number): ProcessFacts | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The name, in parentheses, may hold anything: fields are counted from the last parenthesis on.
    const close = stat.lastIndexOf(')');
    const fields = stat.slice(close + 2).split(' ');
    const name = stat.slice(stat.indexOf('(') + 1, close);
    const uid = /^Uid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1];
    return {
      pid,
      parent: Number(fields[1]),
      name: name.startsWith('ld-') ? (loadedProgram(pid) ?? name) : name,
      uid: Number(uid ?? -1),
      startedUs: bootUs() + (Number(fields[19]) / TICKS_PER_SECOND) * 1e6,
    };
  } catch {
    return null;
  }
}

/** The name of the program that the dynamic loader was told to run (`ld-linux.so … /path/mysqld`). */
function loadedProgram(pid: number): string | null {
  const path = mappedProgram(pid, /\/(?:postgres|mysqld|mariadbd)$/);
  return path === null ? null : basename(path);
}

/** The first mapped executable file whose path matches, as the process sees it. */
export function mappedProgram(pid: number, pattern: RegExp): string | null {
  try {
    for (const line of readFileSync(`/proc/${pid}/maps`, 'utf8').split('\n')) {
      const path = line.slice(73).trimStart();
      if (path.startsWith('/') && pattern.test(path)) return path;
    }
  } catch {
    // It ended.
  }
  return null;
}

export function linkOf(path: string): string | null {
  try {
    return readlinkSync(path);
  } catch {
    return null;
  }
}

let bootAtUs: number | null = null;
function bootUs(): number {
  bootAtUs ??= Number(/^btime (\d+)/m.exec(readFileSync('/proc/stat', 'latin1'))?.[1] ?? 0) * 1e6;
  return bootAtUs;
}

/** The part of a control group's path that names a container (docker, podman, Kubernetes, LXC), or ''. */
export function containerOf(pid: number): string {
  try {
    const groups = readFileSync(`/proc/${pid}/cgroup`, 'utf8');
    return (
      /(?:docker|libpod|cri-containerd|crio|containerd)[-/:]([0-9a-f]{12,64})/.exec(groups)?.[1] ??
      /\/([0-9a-f]{64})(?:$|[./])/m.exec(groups)?.[1] ??
      /\/lxc(?:\.payload)?[./]([^/\n]+)/.exec(groups)?.[1] ??
      ''
    );
  } catch {
    return '';
  }
}

/** Reads another process's memory. Needs CAP_SYS_PTRACE, or the same user. */
export class ProcessMemory {
  readonly #fd: number;

  constructor(pid: number) {
    this.#fd = openSync(`/proc/${pid}/mem`, 'r');
  }

  /** What could be read, maybe nothing. */
  read(address: bigint, bytes: number): Buffer {
    const buffer = Buffer.alloc(bytes);
    try {
      return buffer.subarray(0, readSync(this.#fd, buffer, 0, bytes, address));
    } catch {
      return buffer.subarray(0, 0);
    }
  }

  pointer(address: bigint): bigint {
    const bytes = this.read(address, 8);
    return bytes.length === 8 ? bytes.readBigUInt64LE() : 0n;
  }

  /** A NUL-terminated string of at most 255 bytes, or `null`. */
  string(address: bigint): string | null {
    if (address < 0x10000n || address >= 0x8000_0000_0000n) return null;
    // The string may lie at the end of what is mapped: read up to the page's end first.
    const here = Number(0x1000n - (address & 0xfffn));
    let bytes = this.read(address, Math.min(256, here));
    if (bytes.length > 0 && !bytes.includes(0) && here < 256)
      bytes = Buffer.concat([bytes, this.read(address + BigInt(here), 256 - here)]);
    const end = bytes.indexOf(0);
    return end < 0 ? null : bytes.toString('utf8', 0, end);
  }

  close(): void {
    closeSync(this.#fd);
  }
}

/** What to add to a linked address of the binary to get its address in the process; `null` when it is not mapped. */
export function loadBias(pid: number, elf: ElfFile): bigint | null {
  for (const line of readFileSync(`/proc/${pid}/maps`, 'utf8').split('\n')) {
    const match = /^([0-9a-f]+)-[0-9a-f]+ \S+ ([0-9a-f]+) \S+ (\d+)/.exec(line);
    if (match === null || BigInt(match[3] ?? 0) !== elf.inode) continue;
    const linked = elf.addressAt(Number.parseInt(match[2] ?? '0', 16));
    if (linked !== null) return BigInt(`0x${match[1]}`) - BigInt(linked);
  }
  return null;
}
