/**
 * The system calls of the epoll driver, through koffi, and the two places where libuv is told of it.
 *
 * Memory is passed as addresses: numbers, computed once per long-lived buffer, since that is the cheapest call koffi
 * offers (100–150 ns above the bare system call). Such a buffer must be kept referenced as long as its address is used.
 *
 * Linux on x86-64 and arm64 only. Constants are those of the kernel's generic ABI, which both share.
 */
import { createRequire } from 'node:module';
import { isMainThread } from 'node:worker_threads';
import { messageOf } from '../base/errors.ts';
import { openRing, type RingCalls, type RingMemory, SYS_IO_URING_ENTER } from './ring-memory.ts';

type Koffi = typeof import('koffi');

/** A number of the kernel's: a descriptor, a count, or −1 with {@link Syscalls.errno}. */
type Result = number;

export interface Syscalls {
  readonly socket: (domain: number, type: number, protocol: number) => Result;
  readonly bind: (fd: number, address: Uint8Array, length: number) => Result;
  readonly listen: (fd: number, backlog: number) => Result;
  readonly accept4: (fd: number, address: number, length: number, flags: number) => Result;
  readonly connect: (fd: number, address: Uint8Array, length: number) => Result;
  readonly getsockname: (fd: number, address: number, length: number) => Result;
  readonly setsockopt: (fd: number, level: number, name: number, value: Uint8Array, length: number) => Result;
  readonly getsockopt: (fd: number, level: number, name: number, value: number, length: number) => Result;
  readonly shutdown: (fd: number, how: number) => Result;
  readonly close: (fd: number) => Result;
  /** `recv`: a hair cheaper than `read`. */
  readonly receive: (fd: number, address: number, count: number, flags: number) => Result;
  /** `send`. */
  readonly transmit: (fd: number, address: number, count: number, flags: number) => Result;
  readonly epollCreate: (flags: number) => Result;
  readonly epollCtl: (epoll: number, operation: number, fd: number, event: number) => Result;
  readonly epollWait: (epoll: number, events: number, max: number, timeoutMs: number) => Result;
  readonly schedYield: () => Result;
  /** A new io_uring with its memory mapped; a string says why there is none. */
  readonly openRing: (entries: number) => RingMemory | string;
  /** `io_uring_enter`: how many requests were taken. */
  readonly enterRing: (ring: number, submit: number, wait: number, flags: number) => Result;
  readonly errno: () => number;
  /**
   * Asks the scheduler for short time slices on the calling thread: it runs sooner when it has something to do, and
   * gives away less when it yields (`sched_runtime` of a normal task, Linux 6.12; ignored before). Needs no privilege.
   * Returns whether the kernel took it.
   */
  readonly setSlice: (microseconds: number) => boolean;
  /** Address of a buffer's first byte. */
  readonly addressOf: (bytes: Uint8Array) => number;
  /**
   * Makes libuv's loop wake up whenever `fd` is readable. Nothing of ours runs in that callback: an immediate, which
   * the loop runs after it has polled, looks at what is there. Returns a function that stops it.
   */
  readonly wakeLoopWhenReadable: (fd: number) => () => void;
}

export const AF = { unix: 1, inet: 2, inet6: 10 } as const;
export const SOCK = { stream: 1, nonblock: 0o4000, cloexec: 0o2000000 } as const;
export const SOL = { socket: 1, tcp: 6, ipv6: 41 } as const;
export const SO = { reuseAddr: 2, error: 4, keepAlive: 9 } as const;
export const TCP = { noDelay: 1, keepIdle: 4 } as const;
export const IPV6_V6ONLY = 26;
export const EPOLL = { in: 1, out: 4, err: 8, hup: 0x10, rdhup: 0x2000, et: 0x80000000 } as const;
export const EPOLL_CTL = { add: 1, del: 2, mod: 3 } as const;
export const MSG_DONTWAIT = 0x40;
export const MSG_NOSIGNAL = 0x4000;
export const SHUT_WR = 1;
export const EPOLL_CLOEXEC = 0o2000000;
/** `struct epoll_event` is packed on x86-64: {u32 events, u64 data}. Elsewhere `data` is aligned to 8. */
export const EPOLL_EVENT_WORDS = process.arch === 'x64' ? 3 : 4;
export const EPOLL_DATA_WORD = process.arch === 'x64' ? 1 : 2;

export const ERRNO = {
  EINTR: 4,
  EIO: 5,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  ENFILE: 23,
  EMFILE: 24,
  EPIPE: 32,
  EAFNOSUPPORT: 97,
  EADDRNOTAVAIL: 99,
  ECONNABORTED: 103,
  ECONNRESET: 104,
  ENOBUFS: 105,
  EINPROGRESS: 115,
} as const;

const ERRNO_NAMES: Readonly<Record<number, string>> = {
  1: 'EPERM',
  2: 'ENOENT',
  13: 'EACCES',
  22: 'EINVAL',
  38: 'ENOSYS',
  98: 'EADDRINUSE',
  101: 'ENETUNREACH',
  110: 'ETIMEDOUT',
  111: 'ECONNREFUSED',
  113: 'EHOSTUNREACH',
  ...Object.fromEntries(Object.entries(ERRNO).map(([name, value]) => [value, name])),
};

export function errnoName(errno: number): string {
  return ERRNO_NAMES[errno] ?? `errno ${errno}`;
}

/** `uv_poll_t` has 160 bytes in libuv 1.x on 64-bit Linux; room is left for more. */
const UV_HANDLE_BYTES = 1024;
const UV_READABLE = 1;

/** Loads everything, or says why it cannot be had here. */
export function loadSyscalls(): Syscalls | string {
  if (process.platform !== 'linux') return `the platform is ${process.platform}`;
  if (process.arch !== 'x64' && process.arch !== 'arm64') return `the architecture is ${process.arch}`;
  if (!isMainThread) return 'this is not the main thread';
  try {
    return bindSyscalls(createRequire(import.meta.url)('koffi') as Koffi);
  } catch (error) {
    return messageOf(error);
  }
}

function bindSyscalls(koffi: Koffi): Syscalls {
  const library = koffi.load(null);
  const call = (definition: string): never => library.func(definition) as never;
  const addressOf = (bytes: Uint8Array): number => Number(koffi.address(bytes));
  const close: (fd: number) => Result = call('int close(int)');
  const enter: (
    number: number,
    fd: number,
    submit: number,
    wait: number,
    flags: number,
    mask: number,
    maskBytes: number,
  ) => Result = call('int syscall(int, int, int, int, int, uintptr_t, size_t)');
  return {
    socket: call('int socket(int, int, int)'),
    bind: call('int bind(int, void *, uint32_t)'),
    listen: call('int listen(int, int)'),
    accept4: call('int accept4(int, uintptr_t, uintptr_t, int)'),
    connect: call('int connect(int, void *, uint32_t)'),
    getsockname: call('int getsockname(int, uintptr_t, uintptr_t)'),
    setsockopt: call('int setsockopt(int, int, int, void *, uint32_t)'),
    getsockopt: call('int getsockopt(int, int, int, uintptr_t, uintptr_t)'),
    shutdown: call('int shutdown(int, int)'),
    close,
    // Counts stay far below 2^31, so that `int` spares a conversion.
    receive: call('int recv(int, uintptr_t, size_t, int)'),
    transmit: call('int send(int, uintptr_t, size_t, int)'),
    epollCreate: call('int epoll_create1(int)'),
    epollCtl: call('int epoll_ctl(int, int, int, uintptr_t)'),
    epollWait: call('int epoll_wait(int, uintptr_t, int, int)'),
    schedYield: call('int sched_yield()'),
    openRing: (entries) => openRing(ringCalls(koffi, call, addressOf, close), entries),
    enterRing: (ring, submit, wait, flags) => enter(SYS_IO_URING_ENTER, ring, submit, wait, flags, 0, 0),
    errno: () => koffi.errno(),
    setSlice: (microseconds) => setSlice(call, addressOf, microseconds),
    addressOf,
    wakeLoopWhenReadable: bindLoop(koffi, library),
  };
}

/**
 * struct sched_attr (sched_setattr(2)): u32 size, u32 policy, u64 flags, i32 nice, u32 priority, u64 runtime (ns), …
 * The C library has no wrapper for these two before glibc 2.41.
 */
const SCHED_ATTR_BYTES = 48;
const SCHED_RUNTIME_AT = 24;
const SYS_SCHED_SETATTR = process.arch === 'x64' ? 314 : 274;
const SYS_SCHED_GETATTR = process.arch === 'x64' ? 315 : 275;
const SCHED_OTHER = 0;

function setSlice(
  call: (definition: string) => never,
  addressOf: (bytes: Uint8Array) => number,
  microseconds: number,
): boolean {
  const syscall: (number: number, pid: number, attr: number, a: number, b: number) => number = call(
    'int64_t syscall(int64_t, int64_t, uintptr_t, int64_t, int64_t)',
  );
  const attr = Buffer.alloc(SCHED_ATTR_BYTES);
  const address = addressOf(attr);
  attr.writeUInt32LE(SCHED_ATTR_BYTES, 0);
  if (syscall(SYS_SCHED_GETATTR, 0, address, SCHED_ATTR_BYTES, 0) !== 0) return false;
  if (attr.readUInt32LE(4) !== SCHED_OTHER) return false; // somebody has chosen another policy
  attr.writeBigUInt64LE(BigInt(microseconds) * 1000n, SCHED_RUNTIME_AT);
  return syscall(SYS_SCHED_SETATTR, 0, address, 0, 0) === 0;
}

const MAP_FAILED = -1;

function ringCalls(
  koffi: Koffi,
  call: (definition: string) => never,
  addressOf: (bytes: Uint8Array) => number,
  close: (fd: number) => Result,
): RingCalls {
  const mmap: (
    address: number,
    length: number,
    protection: number,
    flags: number,
    fd: number,
    offset: number,
  ) => number = call('intptr_t mmap(uintptr_t, size_t, int, int, int, int64_t)');
  return {
    syscall: call('int syscall(int, int, uintptr_t, int)'),
    map(fd, offset, length, protection, flags) {
      const address = mmap(0, length, protection, flags, fd, offset);
      return address === MAP_FAILED ? null : koffi.view(BigInt(address), length);
    },
    addressOf,
    close,
    problem: () => errnoName(koffi.errno()),
  };
}

function bindLoop(koffi: Koffi, library: ReturnType<Koffi['load']>): (fd: number) => () => void {
  const call = (definition: string): never => library.func(definition) as never;
  const defaultLoop: () => number = call('uintptr_t uv_default_loop()');
  const pollInit: (loop: number, handle: number, fd: number) => number = call(
    'int uv_poll_init(uintptr_t, uintptr_t, int)',
  );
  const pollStart: (handle: number, events: number, callback: number) => number = call(
    'int uv_poll_start(uintptr_t, int, uintptr_t)',
  );
  const closeHandle: (handle: number, callback: number) => void = call('void uv_close(uintptr_t, uintptr_t)');
  // libuv calls it with (handle, status, events), which a function without parameters does not look at.
  const nothing = Number(koffi.address(library.symbol('getpid')));
  return (fd) => {
    const handle = Buffer.alloc(UV_HANDLE_BYTES);
    const address = Number(koffi.address(handle));
    const failure = pollInit(defaultLoop(), address, fd) || pollStart(address, UV_READABLE, nothing);
    if (failure !== 0) throw new Error(`uv_poll cannot be used (${failure})`);
    keptHandles.add(handle);
    return () => {
      closeHandle(address, 0);
      // libuv lets go of the memory in the closing phase of this round; two immediates later that has passed.
      setImmediate(() => setImmediate(() => keptHandles.delete(handle)));
    };
  };
}

/** Handles that libuv points to. */
const keptHandles = new Set<Buffer>();
