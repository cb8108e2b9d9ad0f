/** Chooses the reactor of this process. */
import { AppError, messageOf } from '../base/errors.ts';
import { EpollReactor } from './epoll-reactor.ts';
import type { Reactor } from './link.ts';
import { NodeReactor } from './node-reactor.ts';
import { loadSyscalls } from './syscalls.ts';

/**
 * In a virtual machine, waking a core that sleeps takes 20–50 µs, so that an answer comes up to 100 µs after the question:
 * a shorter wait is often just too short. Linux guests poll before they halt for the same 200 µs (haltpoll).
 */
const DEFAULT_SPIN_US = 200;

export const REACTOR_DRIVERS = ['auto', 'uring', 'epoll', 'node'] as const;
export type ReactorDriver = (typeof REACTOR_DRIVERS)[number];

export interface ReactorOptions {
  /**
   * `epoll`: raw sockets, Linux on x86-64 or arm64, main thread only. `uring`: the same, with the outputs of a turn in one
   * system call, where the kernel allows io_uring. `node`: Node's own sockets, everywhere. `auto` (default): the first that
   * works of uring, epoll, node.
   */
  readonly driver?: ReactorDriver;
  /**
   * epoll: how long to look for more after the last activity before going to sleep, in microseconds; it adapts below
   * that by itself. 0: never. Default 200.
   */
  readonly spinUs?: number;
  /** Told of what goes wrong and has no caller: connections that could not be accepted, why epoll or io_uring was not used. */
  readonly report?: (error: AppError) => void;
}

/** A reactor of which each process needs one. @throws AppError `unavailable` when one is asked for and cannot be had. */
export function createReactor(options: ReactorOptions = {}): Reactor {
  const report = options.report ?? (() => undefined);
  const driver = options.driver ?? 'auto';
  if (driver === 'node') return new NodeReactor(report);
  const reactor = tryEpoll(report, options.spinUs ?? DEFAULT_SPIN_US, driver);
  if (typeof reactor !== 'string') return reactor;
  const error = new AppError(
    'unavailable',
    'TRANSPORT_EPOLL_UNAVAILABLE',
    driver === 'auto'
      ? `the epoll driver cannot be used: ${reactor}; the portable one is somewhat slower`
      : `the ${driver} driver cannot be used: ${reactor}; "auto" takes the first that works`,
  );
  if (driver !== 'auto') throw error;
  report(error);
  return new NodeReactor(report);
}

const OUTPUT = { auto: 'auto', uring: 'together', epoll: 'each' } as const;

function tryEpoll(
  report: (error: AppError) => void,
  spinUs: number,
  driver: keyof typeof OUTPUT,
): EpollReactor | string {
  const sys = loadSyscalls();
  if (typeof sys === 'string') return sys;
  try {
    return new EpollReactor(sys, report, spinUs, OUTPUT[driver]);
  } catch (error) {
    return messageOf(error);
  }
}
