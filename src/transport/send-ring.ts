/**
 * Several `send`s with one system call, through io_uring(7), with their results at once.
 *
 * Each request says MSG_DONTWAIT, so the kernel never keeps one: it is done, or refused with EAGAIN, before
 * `io_uring_enter` returns. What that saves is not the calls (they cost as much either way) but what happens between
 * them: whoever a plain `send` wakes on this core runs as soon as the call returns, and all other output of the turn
 * waits for that (docs/adr/0006).
 *
 *   queue ─▶ submission entries ──submit──▶ io_uring_enter ──▶ completion entries ─▶ results[slot]
 */
import { COMPLETION_WORDS, ENTRY_WORDS, type RingMemory } from './ring-memory.ts';
import { ERRNO, errnoName, MSG_DONTWAIT, MSG_NOSIGNAL, type Syscalls } from './syscalls.ts';

const OP_SEND = 26;
const ENTER_GETEVENTS = 1;
/** Calls for one submission, while the kernel has no memory for it. */
const MAX_CALLS = 8;
const TWO_TO_32 = 2 ** 32;
/** No errno: the request has no answer yet. */
const UNANSWERED = -0x8000_0000;

export class SendRing {
  /** After {@link submit}: bytes sent per slot, or a negated errno. */
  readonly results: Int32Array;
  readonly #sys: Syscalls;
  readonly #ring: RingMemory;
  #tail: number;
  #queued = 0;
  #closed = false;

  private constructor(sys: Syscalls, ring: RingMemory) {
    this.#sys = sys;
    this.#ring = ring;
    this.#tail = Atomics.load(ring.words, ring.submissionTail);
    this.results = new Int32Array(ring.entryCount);
  }

  /** A ring that was seen to work; a string says why there is none (an old kernel, a seccomp filter, a sysctl). */
  static open(sys: Syscalls, entries: number): SendRing | string {
    const memory = sys.openRing(entries);
    if (typeof memory === 'string') return memory;
    const ring = new SendRing(sys, memory);
    // A send on no descriptor tells whether the kernel knows the operation and answers at once.
    ring.queue(-1, 0, 0);
    const works = ring.submit();
    const answer = ring.results[0];
    if (works && answer === -ERRNO.EBADF) return ring;
    ring.close();
    return works ? `IORING_OP_SEND: ${errnoName(-answer)}` : 'a request was not answered';
  }

  /** Requests that wait for {@link submit}. */
  get queued(): number {
    return this.#queued;
  }

  get isFull(): boolean {
    return this.#queued === this.#ring.entryCount;
  }

  /**
   * Adds a send and returns its slot; the ring must not be full. The bytes must stay as they are, where they are, until
   * {@link submit} returns.
   */
  queue(fd: number, address: number, length: number): number {
    const { entries, entryCount } = this.#ring;
    const at = (this.#tail & (entryCount - 1)) * ENTRY_WORDS;
    entries[at] = OP_SEND; // and no flags, no priority
    entries[at + 1] = fd;
    entries[at + 2] = 0;
    entries[at + 3] = 0;
    entries[at + 4] = address % TWO_TO_32;
    entries[at + 5] = address / TWO_TO_32;
    entries[at + 6] = length;
    entries[at + 7] = MSG_NOSIGNAL | MSG_DONTWAIT;
    entries[at + 8] = this.#queued; // user_data, 64 bits
    entries[at + 9] = 0;
    entries[at + 10] = 0;
    entries[at + 11] = 0;
    this.#tail = (this.#tail + 1) | 0;
    return this.#queued++;
  }

  /**
   * Sends everything queued. `false`: not all of it was taken or answered, and this ring is not to be used again. What
   * the kernel has not taken then has the result −EAGAIN; what it took and did not answer has −EIO.
   */
  submit(): boolean {
    const { words, fd, submissionHead, submissionTail } = this.#ring;
    const { results } = this;
    const count = this.#queued;
    this.#queued = 0;
    results.fill(UNANSWERED, 0, count);
    Atomics.store(words, submissionTail, this.#tail);
    let taken = 0;
    let answered = 0;
    for (let call = 0; call < MAX_CALLS && answered < count; call++) {
      // With all of it taken and an answer still out, wait: it cannot be long, nothing here may block.
      const result =
        taken < count
          ? this.#sys.enterRing(fd, count - taken, 0, 0)
          : this.#sys.enterRing(fd, 0, count - answered, ENTER_GETEVENTS);
      if (result > 0) taken += result;
      answered += this.#takeAnswers();
    }
    if (answered === count) return true;
    // What the kernel has not looked at must never go out later, behind newer bytes.
    this.#tail = Atomics.load(words, submissionHead);
    Atomics.store(words, submissionTail, this.#tail);
    for (let slot = 0; slot < count; slot++)
      if (results[slot] === UNANSWERED) results[slot] = slot < taken ? -ERRNO.EIO : -ERRNO.EAGAIN;
    return false;
  }

  /** Gives the descriptor back. The mappings stay as long as the process: nothing may be unmapped under a view. */
  close(): void {
    if (!this.#closed) this.#sys.close(this.#ring.fd);
    this.#closed = true;
  }

  #takeAnswers(): number {
    const { words, completionHead, completionTail, completionCount, completions } = this.#ring;
    const tail = Atomics.load(words, completionTail);
    let head = words[completionHead];
    let taken = 0;
    for (; head !== tail; head = (head + 1) | 0) {
      const at = completions + (head & (completionCount - 1)) * COMPLETION_WORDS;
      this.results[words[at]] = words[at + 2];
      taken++;
    }
    Atomics.store(words, completionHead, head);
    return taken;
  }
}
