/**
 * The output of one turn, gathered: links say what they send where, and it goes out with one system call where the
 * kernel has io_uring, with one each where it has not. In both cases a link is told, before the turn is over, how much
 * the kernel took.
 */
import { Arena } from './arena.ts';
import type { SendRing } from './send-ring.ts';
import { MSG_NOSIGNAL, type Syscalls } from './syscalls.ts';

export interface Sender {
  readonly fd: number;
  /** The kernel took less than all of `bytes[start, end)`: `written` bytes, or a negated errno. May close the link. */
  sentShort(bytes: Buffer, start: number, end: number, written: number): void;
}

/** Output of several slices is gathered here; what is longer goes slice by slice. */
export const STAGE_BYTES = 64 * 1024;
/** Longer output is not worth waiting with. */
const MAX_QUEUED_BYTES = 16 * 1024;

export class SendBatch {
  readonly stage: Arena;
  readonly #sys: Syscalls;
  #ring: SendRing | null;
  readonly #ringFailed: () => void;
  /** What waits in the ring, by slot: parallel arrays, `ring.queued` of them in use. */
  readonly #senders: (Sender | null)[] = [];
  readonly #bytes: Buffer[] = [];
  readonly #start: number[] = [];
  readonly #end: number[] = [];

  /** @param ringFailed told once, when the kernel stopped taking requests; plain sends go on. */
  constructor(sys: Syscalls, ring: SendRing | null, ringFailed: () => void) {
    this.#sys = sys;
    this.#ring = ring;
    this.#ringFailed = ringFailed;
    this.stage = new Arena(sys, STAGE_BYTES);
  }

  /** Makes room in the stage; `length` is at most {@link STAGE_BYTES}. */
  makeRoom(length: number): void {
    if (length > this.stage.room) this.flush();
  }

  /** Sends `arena.bytes[start, end)` now. */
  send(sender: Sender, arena: Arena, start: number, end: number): void {
    const { bytes, address } = arena;
    const total = end - start;
    const written = this.#sys.transmit(sender.fd, address + start, total, MSG_NOSIGNAL);
    if (written !== total) sender.sentShort(bytes, start, end, written < 0 ? -this.#sys.errno() : written);
  }

  /** Sends `arena.bytes[start, end)` at the next {@link flush}; until then the bytes stay as they are. */
  queue(sender: Sender, arena: Arena, start: number, end: number): void {
    const ring = this.#ring;
    if (ring === null || end - start > MAX_QUEUED_BYTES) {
      this.send(sender, arena, start, end);
      return;
    }
    if (ring.isFull) this.flush();
    const slot = ring.queue(sender.fd, arena.address + start, end - start);
    this.#senders[slot] = sender;
    this.#bytes[slot] = arena.bytes;
    this.#start[slot] = start;
    this.#end[slot] = end;
    if (arena === this.stage) arena.used = end;
  }

  /** Sends what is queued. Cheap when nothing is. */
  flush(): void {
    const ring = this.#ring;
    if (ring === null || ring.queued === 0) return;
    const count = ring.queued;
    const whole = ring.submit();
    this.stage.used = 0;
    for (let slot = 0; slot < count; slot++) {
      const sender = this.#senders[slot] as Sender;
      this.#senders[slot] = null;
      const written = ring.results[slot];
      const start = this.#start[slot];
      const end = this.#end[slot];
      if (written !== end - start) sender.sentShort(this.#bytes[slot], start, end, written);
    }
    if (whole) return;
    this.close();
    this.#ringFailed();
  }

  close(): void {
    this.#ring?.close();
    this.#ring = null;
  }
}
