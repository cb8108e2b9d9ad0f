/**
 * bpf(2), perf_event_open(2), ioctl(2) and mmap(2) through koffi: all that is needed to load programs and attach them.
 * Linux on x86-64. Works in any thread. Buffers are passed by address and are only used during the call, except maps of
 * memory, which live as long as the process.
 */
import { createRequire } from 'node:module';
import { AppError, messageOf } from '../../base/errors.ts';

type Koffi = typeof import('koffi');

/** System call numbers of x86-64. */
const NR = { ioctl: 16, perfEventOpen: 298, bpf: 321 } as const;
const PROT_READ = 1;
const PROT_WRITE = 2;
const MAP_SHARED = 1;

export interface Syscalls {
  /** Returns the command's result, or −errno. `attributes` is `union bpf_attr`. */
  readonly bpf: (command: number, attributes: Buffer) => number;
  /** A descriptor, or −errno. For all CPUs when `pid` names a process, else `cpu`. */
  readonly perfEventOpen: (attributes: Buffer, pid: number, cpu: number) => number;
  readonly ioctl: (fd: number, request: number, argument: number) => number;
  /** Maps `fd` from `offset`, shared. @throws AppError `unavailable` */
  readonly map: (fd: number, bytes: number, offset: number, writable: boolean) => ArrayBuffer;
  readonly addressOf: (bytes: Uint8Array) => bigint;
  readonly close: (fd: number) => void;
}

let loaded: Syscalls | null = null;

/** @throws AppError `unavailable` when this is not Linux on x86-64 or koffi cannot be loaded. */
export function loadSyscalls(): Syscalls {
  return (loaded ??= bind(loadKoffi()));
}

/** Why the probe can never run here, or `null`. */
export function unsupportedPlatform(
  platform: string = process.platform,
  arch: string = process.arch,
): string | null {
  if (platform === 'linux' && arch === 'x64') return null;
  return `the kernel probe needs Linux on x86-64; this is ${platform} on ${arch}`;
}

function loadKoffi(): Koffi {
  const unsupported = unsupportedPlatform();
  if (unsupported !== null) throw new AppError('unavailable', 'PROBE_PLATFORM', unsupported);
  try {
    return createRequire(import.meta.url)('koffi') as Koffi;
  } catch (cause) {
    throw new AppError(
      'unavailable',
      'PROBE_KOFFI',
      `koffi cannot be loaded: ${messageOf(cause)}; run npm install`,
      {
        cause,
      },
    );
  }
}

function bind(koffi: Koffi): Syscalls {
  const library = koffi.load(null);
  const call = library.func('long syscall(long, long, void *, long, long, long, long)') as (
    number: number,
    a: number,
    b: Uint8Array,
    c: number,
    d: number,
    e: number,
    f: number,
  ) => number | bigint;
  const callFirst = library.func('long syscall(long, void *, long, long, long, long, long)') as (
    number: number,
    a: Uint8Array,
    b: number,
    c: number,
    d: number,
    e: number,
    f: number,
  ) => number | bigint;
  const ioctl = library.func('int ioctl(int, unsigned long, unsigned long)') as Syscalls['ioctl'];
  const mmap = library.func('void *mmap(void *, size_t, int, int, int, int64_t)') as (
    address: null,
    bytes: number,
    protection: number,
    flags: number,
    fd: number,
    offset: number,
  ) => unknown;
  const close = library.func('int close(int)') as (fd: number) => number;
  const result = (value: number | bigint): number => (Number(value) < 0 ? -koffi.errno() : Number(value));
  return {
    bpf: (command, attributes) => result(call(NR.bpf, command, attributes, attributes.length, 0, 0, 0)),
    perfEventOpen: (attributes, pid, cpu) =>
      result(callFirst(NR.perfEventOpen, attributes, pid, cpu, -1, PERF_FLAG_FD_CLOEXEC, 0)),
    ioctl: (fd, request, argument) => result(ioctl(fd, request, argument)),
    map: (fd, bytes, offset, writable) => {
      const protection = PROT_READ | (writable ? PROT_WRITE : 0);
      const address = mmap(null, bytes, protection, MAP_SHARED, fd, offset);
      if (address === null || BigInt.asIntN(64, koffi.address(address)) === -1n)
        throw new AppError(
          'unavailable',
          'PROBE_MMAP',
          `mmap of a BPF map failed: ${errnoName(koffi.errno())}`,
        );
      return koffi.view(address, bytes);
    },
    addressOf: (bytes) => koffi.address(bytes),
    close: (fd) => void close(fd),
  };
}

const PERF_FLAG_FD_CLOEXEC = 8;

const ERRNO_NAMES: Readonly<Record<number, string>> = {
  1: 'EPERM',
  2: 'ENOENT',
  7: 'E2BIG',
  12: 'ENOMEM',
  13: 'EACCES',
  16: 'EBUSY',
  19: 'ENODEV',
  22: 'EINVAL',
  24: 'EMFILE',
  28: 'ENOSPC',
  38: 'ENOSYS',
  95: 'EOPNOTSUPP',
  524: 'ENOTSUPP',
};

export function errnoName(errno: number): string {
  return ERRNO_NAMES[errno] ?? `errno ${errno}`;
}
