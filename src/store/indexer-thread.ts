/**
 * The indexer in a thread of its own, nice 10, so that it gives way to the relay. The thread's module belongs to the
 * application, because it brings the decoder, which the store may not import:
 *
 *   // src/app/indexer-worker.ts
 *   await serveIndexer(decoder);                                            in the thread
 *   const indexer = startIndexer({ module: new URL(…), store, … });         where the store was opened
 *
 * A thread that dies is started again; the index loses nothing by it.
 */
import { type MessagePort, parentPort, Worker, workerData } from 'node:worker_threads';
import { assert } from '../base/assert.ts';
import { systemClock } from '../base/clock.ts';
import { messageOf } from '../base/errors.ts';
import { Courtesy } from './courtesy.ts';
import { JournalReader } from '../journal/reader.ts';
import { type IndexerStatus, runIndexer } from './indexer.ts';
import type { StatementDecoder } from './statement-decoder.ts';
import { connectStore, type Store, type StoreHandle, transferOf } from './store.ts';
import { lowerThreadPriority } from './threads.ts';

const NICE = 10;
const STATUS_MS = 100;
const MIN_RESTART_MS = 200;
const MAX_RESTART_MS = 10_000;

/** The journal to follow, in the thread by itself. */
export interface JournalLocation {
  readonly dir: string;
  /** 32 bytes when it is encrypted, else `null`. */
  readonly key: Uint8Array | null;
}

interface ThreadData {
  readonly handle: StoreHandle;
  readonly journal: JournalLocation;
  readonly journalName: string;
  readonly maxLagMs: number;
}

type ThreadMessage = IndexerStatus;

/** Runs the indexer in the calling worker thread until it is told to stop. For the module given to {@link startIndexer}. */
export async function serveIndexer(decoder: StatementDecoder): Promise<void> {
  const port = parentPort;
  assert(port !== null, 'the indexer is served from a worker thread');
  lowerThreadPriority(NICE);
  const { handle, journal, journalName, maxLagMs } = workerData as ThreadData;
  const stop = new AbortController();
  port.once('message', () => stop.abort());
  const store = connectStore(handle);
  const source = JournalReader.open(journal.dir, { key: journal.key });
  const tell = statusTeller(port);
  try {
    await runIndexer({
      store,
      source,
      journalName,
      decoder,
      clock: systemClock,
      courtesy: new Courtesy(maxLagMs),
      signal: stop.signal,
      onStatus: (status) => tell.changed(status),
    });
  } finally {
    tell.flush();
    await source.close();
    await store.close();
    port.close();
  }
}

/** Tells every change of state at once, progress at most every {@link STATUS_MS}. */
function statusTeller(port: MessagePort): { changed(status: IndexerStatus): void; flush(): void } {
  let last: IndexerStatus | null = null;
  let told: IndexerStatus | null = null;
  let timer: NodeJS.Timeout | null = null;
  const flush = (): void => {
    if (timer) clearTimeout(timer);
    timer = null;
    if (last !== null && last !== told) port.postMessage(last satisfies ThreadMessage, []);
    told = last;
  };
  const changed = (status: IndexerStatus): void => {
    last = status;
    if (status.state !== told?.state) flush();
    else timer ??= setTimeout(flush, STATUS_MS);
  };
  return { changed, flush };
}

export interface IndexerThreadOptions {
  /** The application's module that calls {@link serveIndexer}. */
  readonly module: URL;
  readonly store: Store;
  readonly journal: JournalLocation;
  readonly journalName: string;
  /** How far the index may fall behind while others need the machine; 0: it never gives way. */
  readonly maxLagMs: number;
  readonly onStatus?: (status: IndexerStatus) => void;
}

export interface IndexerThread {
  /** As last reported, at most {@link STATUS_MS} ago. */
  readonly status: IndexerStatus;
  /** Writes what was collected and ends the thread. */
  stop(): Promise<void>;
}

const NOT_STARTED: IndexerStatus = {
  state: 'waiting',
  failure: '',
  nextSeq: 0,
  statements: 0,
  batches: 0,
  restarts: 0,
  resets: 0,
  orphans: 0,
  undecodable: 0,
  decoderFailures: 0,
};

export function startIndexer(options: IndexerThreadOptions): IndexerThread {
  const { module, store, journal, journalName, maxLagMs, onStatus } = options;
  let status = NOT_STARTED;
  let worker: Worker | null = null;
  let restartMs = MIN_RESTART_MS;
  let stopping = false;
  let restart: NodeJS.Timeout | null = null;

  const report = (next: IndexerStatus): void => {
    status = next;
    onStatus?.(next);
  };
  const start = (): void => {
    const handle = store.share();
    const started = new Worker(module, {
      workerData: { handle, journal, journalName, maxLagMs } satisfies ThreadData,
      transferList: transferOf(handle),
      name: 'dbwitness-indexer',
    });
    worker = started;
    let failure = 'the thread of the indexer ended';
    started.on('message', (next: ThreadMessage) => {
      if (next.state === 'running') restartMs = MIN_RESTART_MS;
      report(next);
    });
    started.on('error', (error) => {
      failure = messageOf(error);
    });
    started.on('exit', () => {
      worker = null;
      if (stopping) return;
      report({ ...status, state: 'failing', failure: `INDEXER_THREAD: ${failure}` });
      restart = setTimeout(start, restartMs);
      restartMs = Math.min(restartMs * 2, MAX_RESTART_MS);
    });
  };
  start();
  return {
    get status() {
      return status;
    },
    stop: async () => {
      stopping = true;
      if (restart) clearTimeout(restart);
      const running = worker;
      if (running === null) return;
      const ended = new Promise((resolve) => running.once('exit', resolve));
      running.postMessage('stop', []);
      await ended;
    },
  };
}
