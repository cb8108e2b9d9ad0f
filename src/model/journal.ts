/**
 * The journal's append side, as witnesses see it.
 *
 * An appender lives on one thread and has one owner. Events are encoded straight into the current block; nothing is
 * on its way to the disk before {@link JournalAppender.flush}. The rule of the hot path (journal before forward) is:
 * append everything of the turn, `flush()`, and only if it returned `true` forward the turn's bytes.
 *
 *   beginEvent → write fields → endEvent → … → flush() ──true──▶ forward
 *                                                   └─false──▶ refuse; the records stay in memory and are retried
 */
import type { ByteWriter } from '../base/bytes.ts';

/** Position of an event in the journal: counts all events ever appended, from 0. */
export type EventSeq = number;

export type JournalState =
  /** Records reach the operating system. */
  | 'open'
  /** The last write failed; every further flush tries again. Nothing may be forwarded. */
  | 'failing'
  | 'closed';

export interface JournalStatus {
  readonly state: JournalState;
  /** Why it is failing, for people: "no space left on /data/journal". Empty while open. */
  readonly failure: string;
}

export interface JournalAppender {
  /**
   * Starts an event: writes `at_us` and `session_uid` (16 bytes; `null` when there is none) and returns the buffer to
   * write the body field into with protobuf field numbers of `Event`. Exactly one `endEvent` must follow in the same
   * turn; events do not nest. An event must not exceed `limits.maxEventBytes` + 64 KiB.
   */
  beginEvent(atUs: number, sessionUid: Uint8Array | null): ByteWriter;
  /** Ends the event and returns its position. */
  endEvent(): EventSeq;
  /** Appends an event encoded elsewhere (a whole `Event` message, without a length). */
  appendEncoded(event: Uint8Array): EventSeq;

  /**
   * Hands everything appended so far to the operating system with one write. `true`: it is there, a killed process
   * does not lose it (a killed machine may: see {@link durable}). `false`: the write failed; the records are kept, in
   * order, up to `limits.maxUnwrittenBytes`, and the next flush tries again. Never throws for an I/O error.
   */
  flush(): boolean;
  /** Bytes appended and not yet flushed. */
  readonly pendingBytes: number;
  /**
   * Whether there is room to keep another record while failing. When `false`, statements are refused without a record
   * of their own and {@link countLost} is called instead; a gap event with the count follows at recovery.
   */
  readonly hasRoom: boolean;
  countLost(events: number): void;

  /** The position after the last appended event. */
  readonly nextSeq: EventSeq;
  /** Events before this position are on stable storage (fsynced). */
  readonly durable: EventSeq;
  /** Calls back once when `durable` ≥ `seq`; starts an fsync if none is under way (group commit). */
  whenDurable(seq: EventSeq, callback: () => void): void;

  /**
   * The number of the segment that the next event goes into, from 0. It changes only inside `flush` (between turns). What
   * a segment's events refer to (SessionOpened, TextDeclared) must be declared in that segment: compare and repeat.
   */
  readonly segment: number;

  readonly status: JournalStatus;
  onStatus(listener: (status: JournalStatus) => void): void;
  /** Flushes, fsyncs, writes a final checkpoint, releases the folder's lock. */
  close(): Promise<void>;
}
