/**
 * Making an io_uring and mapping its memory. Sources: include/uapi/linux/io_uring.h of the kernel, io_uring_setup(2).
 * The layout below is the same on all architectures; system call numbers from 424 on are too.
 */

/** The ring's memory as the kernel laid it out. Places are indices into `words`. */
export interface RingMemory {
  readonly fd: number;
  /** Both rings, in one mapping. */
  readonly words: Int32Array;
  /** Submission entries, {@link ENTRY_WORDS} each. */
  readonly entries: Int32Array;
  readonly entryCount: number;
  readonly submissionHead: number;
  readonly submissionTail: number;
  readonly completionHead: number;
  readonly completionTail: number;
  readonly completionCount: number;
  /** Completion entries, {@link COMPLETION_WORDS} each. */
  readonly completions: number;
}

export const ENTRY_WORDS = 16;
export const COMPLETION_WORDS = 4;

const SYS_IO_URING_SETUP = 425;
export const SYS_IO_URING_ENTER = 426;

/** `struct io_uring_params`: ten words, then the places of the two rings, ten words each. */
const PARAMS_BYTES = 120;
const FEATURES_AT = 20;
const SUBMISSION_AT = 40;
const COMPLETION_AT = 80;
const FEATURE_SINGLE_MMAP = 1;

const PROT_READ_WRITE = 3;
const MAP_SHARED_POPULATE = 0x8001;
const RINGS_OFFSET = 0;
const ENTRIES_OFFSET = 0x1000_0000;

/** The calls that making a ring needs. */
export interface RingCalls {
  /** `syscall(2)` with up to three arguments. */
  readonly syscall: (number: number, a: number, b: number, c: number) => number;
  /** Maps `length` bytes of a descriptor; `null` when that fails. */
  readonly map: (
    fd: number,
    offset: number,
    length: number,
    protection: number,
    flags: number,
  ) => ArrayBuffer | null;
  readonly addressOf: (bytes: Uint8Array) => number;
  readonly close: (fd: number) => number;
  /** Name of the last call's error. */
  readonly problem: () => string;
}

/** A new ring of at least `entries` requests; a string says why there is none. */
export function openRing(calls: RingCalls, entries: number): RingMemory | string {
  const params = Buffer.alloc(PARAMS_BYTES);
  const fd = calls.syscall(SYS_IO_URING_SETUP, entries, calls.addressOf(params), 0);
  if (fd < 0) return `io_uring_setup: ${calls.problem()}`;
  const memory = mapRing(calls, fd, params);
  if (typeof memory === 'string') calls.close(fd);
  return memory;
}

function mapRing(calls: RingCalls, fd: number, params: Buffer): RingMemory | string {
  const word = (at: number): number => params.readUInt32LE(at);
  if ((word(FEATURES_AT) & FEATURE_SINGLE_MMAP) === 0) return 'the kernel is older than 5.4';
  const entryCount = word(0);
  const completionCount = word(4);
  const array = word(SUBMISSION_AT + 24);
  const completions = word(COMPLETION_AT + 20);
  const ringBytes = Math.max(array + entryCount * 4, completions + completionCount * COMPLETION_WORDS * 4);
  const map = (offset: number, length: number): ArrayBuffer | null =>
    calls.map(fd, offset, length, PROT_READ_WRITE, MAP_SHARED_POPULATE);
  const rings = map(RINGS_OFFSET, ringBytes);
  const entries = map(ENTRIES_OFFSET, entryCount * ENTRY_WORDS * 4);
  if (rings === null || entries === null) return `mmap: ${calls.problem()}`;
  const words = new Int32Array(rings);
  // Entries are used in their order, so this array of indices never changes.
  for (let i = 0; i < entryCount; i++) words[array / 4 + i] = i;
  return {
    fd,
    words,
    entries: new Int32Array(entries),
    entryCount,
    submissionHead: word(SUBMISSION_AT) / 4,
    submissionTail: word(SUBMISSION_AT + 4) / 4,
    completionHead: word(COMPLETION_AT) / 4,
    completionTail: word(COMPLETION_AT + 4) / 4,
    completionCount,
    completions: completions / 4,
  };
}
