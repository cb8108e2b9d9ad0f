/**
 * When the index gives way. Recording must keep up with the traffic; the index need not: it can be made from the journal
 * at any time. So while others use more than half of the machine, the indexer takes a small share of a core only, and
 * falls behind; when it is as far behind as it may be, it works as fast as it can, since search must not wait for ever.
 *
 * A low priority alone does not do it: where each session or service is a scheduling group of its own (autogroup,
 * cgroups), the kernel weighs groups first, and a thread that is alone in its group gets the group's whole share.
 */
import { cpus } from 'node:os';

/** Share of one core that this process takes for it while others need the machine. */
const SHARE = 0.04;
const MAX_PAUSE_MS = 10_000;
/** The load is looked at over at least this long. */
const LOOK_MS = 50;

/** Processor time since the machine's start, in milliseconds, over all cores. */
export interface ProcessorTimes {
  readonly idleMs: number;
  readonly totalMs: number;
  readonly cores: number;
}

export interface CourtesySources {
  /** Monotonic milliseconds. */
  now(): number;
  machine(): ProcessorTimes;
  /** Processor time of this whole process, milliseconds: the indexer's thread, and the embedded store's. */
  ownMs(): number;
}

export const systemSources: CourtesySources = {
  now: () => performance.now(),
  machine: () => {
    let idleMs = 0;
    let totalMs = 0;
    const all = cpus();
    for (const { times } of all) {
      idleMs += times.idle;
      totalMs += times.idle + times.user + times.nice + times.sys + times.irq;
    }
    return { idleMs, totalMs, cores: all.length };
  },
  ownMs: () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1000;
  },
};

export class Courtesy {
  readonly #maxLagMs: number;
  readonly #sources: CourtesySources;
  #lookedAt: number;
  #machine: ProcessorTimes;
  #ownMs: number;
  /** The same as of the last pause, or of the beginning of the work. */
  #paidMs: number;
  #busy = false;

  /** @param maxLagMs an index further behind than this is caught up at full speed. */
  constructor(maxLagMs: number, sources: CourtesySources = systemSources) {
    this.#maxLagMs = maxLagMs;
    this.#sources = sources;
    this.#lookedAt = sources.now();
    this.#machine = sources.machine();
    this.#ownMs = sources.ownMs();
    this.#paidMs = this.#ownMs;
  }

  /** Work comes after there was none: what this process did meanwhile was for others, and is not waited for. */
  begin(): void {
    this.#paidMs = this.#sources.ownMs();
  }

  /**
   * How long to wait before the next piece of work, in milliseconds.
   *
   * @param lagMs age of the oldest event that is not indexed.
   */
  pauseMs(lagMs: number): number {
    this.#look();
    const own = this.#sources.ownMs();
    const worked = own - this.#paidMs;
    this.#paidMs = own;
    if (!this.#busy || lagMs >= this.#maxLagMs) return 0;
    return Math.min(MAX_PAUSE_MS, worked * (1 / SHARE - 1));
  }

  /** What others left of the machine since the last look: what was idle, and what we ourselves used. */
  #look(): void {
    const now = this.#sources.now();
    if (now - this.#lookedAt < LOOK_MS) return;
    const machine = this.#sources.machine();
    const own = this.#sources.ownMs();
    const total = machine.totalMs - this.#machine.totalMs;
    const room = machine.idleMs - this.#machine.idleMs + (own - this.#ownMs);
    // Half of the machine, or two cores of a large one.
    if (total > 0) this.#busy = room / total < Math.min(0.5, 2 / machine.cores);
    this.#lookedAt = now;
    this.#machine = machine;
    this.#ownMs = own;
  }
}
