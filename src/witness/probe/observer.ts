/** What an engine's observer is given, and what it does: records of one binary in, events out. */
import type { Dialects } from './redaction.ts';
import type { ElfFile } from './elf.ts';
import type { EventWriter } from './event-writer.ts';
import type { ProcessFacts } from './processes.ts';
import type { KernelTimes } from './times.ts';

export interface ObserverContext {
  readonly out: EventWriter;
  readonly times: KernelTimes;
  readonly dialects: Dialects;
  /** Of the binary, for reading processes' memory. */
  readonly elf: ElfFile;
  /** The server (its uid in the events) that a process belongs to, by its pid. */
  readonly serverUidOf: (pid: number) => string;
  /** Whether what this process does is wanted (`--pid`, `--uid`). */
  readonly wants: (process: ProcessFacts) => boolean;
}

/**
 * Recorded of one text, after redaction: what the kernel side captures at most. Redacting may make a text longer, and an
 * event of the journal has a limit.
 */
export const MAX_RECORDED_BYTES = 1024 * 1024 + 32 * 1024;

export interface Observer {
  /** A record of the ring buffer, whose header names this binary. Only valid during the call. */
  handle(type: number, data: Buffer, at: number): void;
  /** Processes that run this binary now: sessions that were there before are announced, dead ones closed. */
  processes(pids: readonly number[]): void;
  /** Everything that waits for something is written. */
  flush(): void;
}

/** Sessions of connections that ended without saying so are looked for at each scan; none may pile up in between. */
export const MAX_SESSIONS = 65_536;
