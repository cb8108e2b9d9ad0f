/**
 * Follows the journal and fills the index. One loop:
 *
 *   follow blocks ─▶ scan events ─▶ batch full, or quiet for a moment? ─▶ translate ─▶ write (while the next is collected)
 *        ▲                                                                               │
 *        └────────────── any failure: forget everything, wait, go on from the cursor ◀───┘
 *
 * That one way out of every failure is what makes it exact: the cursor moves with the rows, so what was not written is
 * read again, and a commit whose answer was lost shows in the cursor.
 *
 * It also notices a journal that is not the one it indexed (cut by a machine's crash behind what the operating system had
 * promised, or replaced): the block before the cursor must look as it did. If not, the index is made anew.
 */
import { crc32 } from 'node:zlib';
import type { Clock } from '../base/clock.ts';
import { AppError, isAppError, messageOf } from '../base/errors.ts';
import type { Courtesy } from './courtesy.ts';
import { isRetryable } from './errors.ts';
import { BODY_JOURNAL_OPENED, type TranslatorCounters, Translator } from './translate.ts';
import { type ScannedEvent, scanBlock } from './event-scan.ts';
import { loadMissing } from './index-loader.ts';
import { StateCache } from './index-state.ts';
import { type BlockMark, type Cursor, ensureCursor, IndexWriter } from './index-writer.ts';
import type { JournalBlock, JournalSource } from './journal-source.ts';
import { MAX_INTERVAL, maintainEmbedded, MIN_INTERVAL } from './maintenance.ts';
import { resetIndex } from './reset-index.ts';
import type { StatementDecoder } from './statement-decoder.ts';
import type { Store } from './store.ts';

export interface IndexerLimits {
  /** Events of one transaction, about; a block is never split for it. */
  readonly maxBatchEvents: number;
  readonly maxBatchBytes: number;
  /** A batch is written at the latest so long after its first event came. */
  readonly maxDelayMs: number;
  /** A batch is written earlier when nothing came for so long. */
  readonly quietMs: number;
  readonly minRetryMs: number;
  readonly maxRetryMs: number;
}

export const INDEXER_LIMITS: IndexerLimits = {
  maxBatchEvents: 16_000,
  maxBatchBytes: 8 * 1024 * 1024,
  maxDelayMs: 200,
  quietMs: 20,
  minRetryMs: 100,
  maxRetryMs: 5_000,
};

export interface IndexerStatus extends Readonly<TranslatorCounters> {
  /** `waiting`: the store is unavailable; `failing`: something else is wrong. Both try again for ever. */
  readonly state: 'running' | 'waiting' | 'failing' | 'stopped';
  /** Code and message of the last failure; empty when running. */
  readonly failure: string;
  /** The next event to index: everything before it can be asked for. */
  readonly nextSeq: number;
  readonly statements: number;
  readonly batches: number;
  readonly restarts: number;
  /** How often the journal was not the indexed one and the index was made anew. */
  readonly resets: number;
}

/**
 * PGlite answers nobody during a batch; log-ins and the API wait for it. So its batches are smaller than PostgreSQL's:
 * tens of milliseconds on a free machine.
 */
const EMBEDDED_BATCH_EVENTS = 2_000;

export interface IndexerOptions {
  readonly store: Store;
  readonly source: JournalSource;
  /** Names the journal in the index; one per node. */
  readonly journalName: string;
  readonly decoder: StatementDecoder;
  readonly clock: Clock;
  /** Ends the run, after what was collected is written. */
  readonly signal: AbortSignal;
  /** Ends the run once everything before this position is indexed. */
  readonly untilSeq?: number;
  readonly limits?: Partial<IndexerLimits>;
  /** Gives way to others who need the machine; without it, the run is as fast as it can be. */
  readonly courtesy?: Courtesy;
  readonly onStatus?: (status: IndexerStatus) => void;
}

/** Runs until the signal aborts. Rejects only for broken invariants; failures are waited out and told by `onStatus`. */
export async function runIndexer(options: IndexerOptions): Promise<void> {
  await new Indexer(options).run();
}

class Indexer {
  readonly #options: IndexerOptions;
  readonly #limits: IndexerLimits;
  readonly #writer: IndexWriter;
  readonly #state = new StateCache();
  readonly #translator: Translator;
  #status: IndexerStatus;
  #events: ScannedEvent[] = [];
  #bytes = 0;
  /** The blocks that the events were in. */
  #blocks: TakenBlock[] = [];
  /** Where the batch that is collected starts, and where it ends. */
  #fromSeq = 0;
  #toSeq = 0;
  /** Time of the last event that was read. */
  #lastUs = 0;
  #writing: Promise<void> | null = null;
  #mustReset = false;
  #maintainAt: number = MIN_INTERVAL;

  constructor(options: IndexerOptions) {
    this.#options = options;
    const embedded = options.store.kind === 'pglite' ? { maxBatchEvents: EMBEDDED_BATCH_EVENTS } : {};
    this.#limits = { ...INDEXER_LIMITS, ...embedded, ...options.limits };
    this.#writer = new IndexWriter(options.store, options.journalName);
    this.#translator = new Translator(options.journalName, options.decoder, this.#state);
    this.#status = {
      state: 'running',
      failure: '',
      nextSeq: 0,
      statements: 0,
      batches: 0,
      restarts: 0,
      resets: 0,
      ...this.#translator.counters,
    };
  }

  async run(): Promise<void> {
    let retryMs = this.#limits.minRetryMs;
    while (!this.#ended()) {
      const before = this.#status.batches;
      try {
        await this.#follow();
      } catch (error) {
        await this.#writing?.catch(() => undefined);
        if (error instanceof JournalReplaced) {
          this.#mustReset = true;
          continue;
        }
        if (!isAppError(error) && !(error instanceof Error && 'code' in error)) throw error;
        this.#report({
          state: isRetryable(error) ? 'waiting' : 'failing',
          failure: `${isAppError(error) ? error.code : 'STORE_ERROR'}: ${messageOf(error)}`,
          restarts: this.#status.restarts + 1,
        });
        if (this.#status.batches > before) retryMs = this.#limits.minRetryMs;
        await pause(retryMs, this.#options.signal);
        retryMs = Math.min(retryMs * 2, this.#limits.maxRetryMs);
      }
    }
    this.#report({ state: 'stopped', failure: '' });
  }

  #ended(): boolean {
    const { signal, untilSeq } = this.#options;
    return signal.aborted || (untilSeq !== undefined && this.#status.nextSeq >= untilSeq);
  }

  /** From the cursor on, until the end or a failure. */
  async #follow(): Promise<void> {
    const cursor = await this.#start();
    this.#report({ state: 'running', failure: '', nextSeq: cursor.nextSeq });
    const end = new AbortController();
    const stop = (): void => end.abort();
    this.#options.signal.addEventListener('abort', stop);
    if (this.#ended()) end.abort();
    const from = cursor.lastBlock?.index ?? cursor.nextBlock;
    const blocks = this.#options.source.follow(from, end.signal)[Symbol.asyncIterator]();
    try {
      await this.#collect(blocks, cursor, end);
      await this.#writing;
    } finally {
      this.#options.signal.removeEventListener('abort', stop);
      end.abort();
      await blocks.return?.();
    }
  }

  /** Forgets everything and finds out where to go on. */
  async #start(): Promise<Cursor> {
    const { store, source, journalName, clock } = this.#options;
    this.#state.clear();
    this.#events = [];
    this.#bytes = 0;
    this.#writing = null;
    const range = await source.range();
    const start = { block: range.firstBlock, seq: range.firstSeq, atUs: clock.wallUs() };
    let cursor = await ensureCursor(store, journalName, start);
    if (this.#mustReset || cursor.nextSeq > range.nextSeq) cursor = await this.#reset();
    this.#fromSeq = cursor.nextSeq;
    this.#toSeq = cursor.nextSeq;
    this.#blocks = [];
    return cursor;
  }

  async #reset(): Promise<Cursor> {
    const { store, source, journalName, clock } = this.#options;
    const range = await source.range();
    await resetIndex(store, journalName, range, clock);
    this.#mustReset = false;
    this.#report({ resets: this.#status.resets + 1 });
    return ensureCursor(store, journalName, {
      block: range.firstBlock,
      seq: range.firstSeq,
      atUs: clock.wallUs(),
    });
  }

  async #collect(blocks: AsyncIterator<JournalBlock>, cursor: Cursor, end: AbortController): Promise<void> {
    let next = nextOf(blocks);
    let firstAt = 0;
    for (;;) {
      const now = performance.now();
      const due = Math.min(firstAt + this.#limits.maxDelayMs, now + this.#limits.quietMs);
      const result = await this.#nextOrDue(next, this.#events.length === 0 ? null : due - now);
      if (result === 'due') await this.#flush();
      else if (result !== 'written') {
        if (result.done === true) break;
        if (this.#events.length === 0) {
          firstAt = performance.now();
          if (this.#writing === null) this.#options.courtesy?.begin();
        }
        this.#take(result.value, cursor);
        next = nextOf(blocks);
        if (this.#full()) await this.#flush();
      }
      if (this.#events.length === 0) await this.#giveWay();
      if (this.#ended()) end.abort();
    }
    await this.#flush();
  }

  /** Called when everything that was read is on its way to the store. */
  async #giveWay(): Promise<void> {
    const { courtesy, clock, signal } = this.#options;
    if (courtesy === undefined || this.#status.state !== 'running') return;
    const pauseMs = courtesy.pauseMs((clock.wallUs() - this.#lastUs) / 1000);
    if (pauseMs >= 1) await pause(pauseMs, signal);
  }

  /** The next block; or `due` when the time is up, `written` when the write that was under way is done. */
  async #nextOrDue(
    next: Promise<IteratorResult<JournalBlock>>,
    waitMs: number | null,
  ): Promise<IteratorResult<JournalBlock> | 'due' | 'written'> {
    const writing = this.#writing;
    let timer: NodeJS.Timeout | undefined;
    const waits: Promise<IteratorResult<JournalBlock> | 'due' | 'written'>[] = [next];
    if (waitMs !== null)
      waits.push(
        new Promise((resolve) => {
          timer = setTimeout(resolve, Math.max(0, waitMs), 'due' as const);
        }),
      );
    if (writing !== null)
      waits.push(
        writing.then(() => {
          if (this.#writing === writing) this.#writing = null;
          return 'written' as const;
        }),
      );
    try {
      return await Promise.race(waits);
    } finally {
      clearTimeout(timer);
    }
  }

  #full(): boolean {
    return this.#events.length >= this.#limits.maxBatchEvents || this.#bytes >= this.#limits.maxBatchBytes;
  }

  #take(block: JournalBlock, cursor: Cursor): void {
    const mark = markOf(block);
    if (block.index === cursor.lastBlock?.index && mark.digest !== cursor.lastBlock.digest)
      throw new JournalReplaced();
    const fromSeq = Math.max(this.#toSeq, block.firstSeq);
    const count = scanBlock(block, fromSeq, (event) => this.#events.push(event));
    const endSeq = block.firstSeq + count;
    if (count !== block.count)
      throw new AppError(
        'corrupt',
        'STORE_BLOCK_COUNT',
        `block ${block.index} holds another number of events`,
      );
    if (endSeq <= this.#toSeq) return;
    this.#bytes += block.payload.length;
    this.#toSeq = endSeq;
    this.#lastUs = block.lastUs;
    this.#blocks.push({ mark, endSeq });
  }

  /** Translates what was collected and starts writing it; waits for the write before that. */
  async #flush(): Promise<void> {
    const events = this.#events;
    if (events.length === 0) return;
    const blocks = this.#blocks;
    const toSeq = this.#toSeq;
    this.#events = [];
    this.#blocks = [];
    this.#bytes = 0;
    for (const part of splitAtOpenings(events)) {
      const last = part.at(-1);
      const endSeq = last === events.at(-1) ? toSeq : last!.seq + 1;
      await this.#writePart(part, endSeq, blocks.find((block) => block.endSeq >= endSeq)!);
    }
  }

  async #writePart(events: ScannedEvent[], toSeq: number, block: TakenBlock): Promise<void> {
    const { clock, store } = this.#options;
    const opening = events[0]?.body === BODY_JOURNAL_OPENED;
    if (opening || this.#state.full) await this.#written();
    if (opening) this.#state.clear();
    else if (this.#state.full) this.#state.trim();
    const missing = this.#translator.missing(events);
    if (missing.sessions.length > 0 || missing.texts.length > 0) {
      // What is on its way to the store must be seen by what is loaded from it.
      await this.#written();
      await loadMissing(store, this.#state, missing);
    }
    const batch = this.#translator.translate(events);
    await this.#written();
    const move = {
      fromSeq: this.#fromSeq,
      toSeq,
      lastBlock: block.mark,
      // A part may end within a block: the rest of it is still to be read.
      nextBlock: block.endSeq === toSeq ? block.mark.index + 1 : block.mark.index,
      atUs: clock.wallUs(),
    };
    this.#fromSeq = toSeq;
    this.#writing = this.#write(batch, move);
    // Its failure is met when it is waited for.
    this.#writing.catch(() => undefined);
  }

  async #write(
    batch: Parameters<IndexWriter['write']>[0],
    move: Parameters<IndexWriter['write']>[1],
  ): Promise<void> {
    const outcome = await this.#writer.write(batch, move);
    if (outcome === 'moved')
      throw new AppError('conflict', 'STORE_BUSY', 'the cursor of the index was moved by somebody else');
    this.#report({
      nextSeq: move.toSeq,
      statements: this.#status.statements + batch.statementCount,
      batches: this.#status.batches + 1,
    });
    await this.#maintain();
  }

  async #maintain(): Promise<void> {
    const { store } = this.#options;
    const { statements } = this.#status;
    if (store.kind !== 'pglite' || statements < this.#maintainAt) return;
    await maintainEmbedded(store);
    this.#maintainAt = statements + Math.min(statements, MAX_INTERVAL);
  }

  async #written(): Promise<void> {
    const writing = this.#writing;
    this.#writing = null;
    await writing;
  }

  #report(change: Partial<IndexerStatus>): void {
    this.#status = { ...this.#status, ...this.#translator.counters, ...change };
    this.#options.onStatus?.(this.#status);
  }
}

/** The next block. Should nobody be waiting any more when it fails, that is no failure of the process. */
function nextOf(blocks: AsyncIterator<JournalBlock>): Promise<IteratorResult<JournalBlock>> {
  const next = blocks.next();
  next.catch(() => undefined);
  return next;
}

interface TakenBlock {
  readonly mark: BlockMark;
  readonly endSeq: number;
}

/** The journal is not the one that was indexed. */
class JournalReplaced extends Error {}

function markOf(block: JournalBlock): BlockMark {
  return { index: block.index, digest: `${block.payload.length}.${crc32(block.payload)}` };
}

/** A JournalOpened starts a part of its own: what was open before it is closed first, in the store. */
function splitAtOpenings(events: ScannedEvent[]): ScannedEvent[][] {
  const parts: ScannedEvent[][] = [];
  let start = 0;
  for (let i = 1; i < events.length; i++) {
    if (events[i]?.body !== BODY_JOURNAL_OPENED) continue;
    parts.push(events.slice(start, i));
    start = i;
  }
  parts.push(start === 0 ? events : events.slice(start));
  return parts;
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done);
    if (signal.aborted) done();
  });
}
