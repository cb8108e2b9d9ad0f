/** The read side of the journal as the indexer needs it; `src/journal`'s reader implements it, tests have one in memory. */

/** One block of events, decrypted and checked: `payload` is (varint length, Event)*, `count` of them from `firstSeq` on. */
export interface JournalBlock {
  readonly index: number;
  readonly firstSeq: number;
  readonly count: number;
  /** Time of its last event, wall-clock microseconds. */
  readonly lastUs: number;
  readonly payload: Uint8Array;
}

export interface JournalRange {
  /** The oldest block that is still there, and its first event. */
  readonly firstBlock: number;
  readonly firstSeq: number;
  /** The position after the newest event that can be read now. */
  readonly nextSeq: number;
}

export interface JournalSource {
  range(): Promise<JournalRange>;
  /**
   * Blocks in order from index `fromBlock` on, or from the oldest that is there if that was dropped. At the end it waits for more
   * until `signal` aborts; then it ends, without an error. A payload stays valid until it is garbage.
   */
  follow(fromBlock: number, signal: AbortSignal): AsyncIterable<JournalBlock>;
  close(): Promise<void>;
}
