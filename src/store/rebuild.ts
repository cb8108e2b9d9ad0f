/**
 * `dbwitness index rebuild`: the index made again from the journal alone. What retention dropped from the journal is
 * kept as it is (`reset-index.ts` says exactly what). An indexer that runs meanwhile notices that its cursor was
 * moved and goes on from wherever this one is; between them nothing is written twice.
 */
import type { Clock } from '../base/clock.ts';
import { type IndexerStatus, runIndexer } from './indexer.ts';
import type { JournalSource } from './journal-source.ts';
import { resetIndex } from './reset-index.ts';
import type { StatementDecoder } from './statement-decoder.ts';
import type { Store } from './store.ts';

export interface RebuildOptions {
  readonly store: Store;
  readonly source: JournalSource;
  readonly journalName: string;
  readonly decoder: StatementDecoder;
  readonly clock: Clock;
  /** Aborting leaves a part of the index; the indexer goes on from there. */
  readonly signal?: AbortSignal;
  readonly onStatus?: (status: IndexerStatus) => void;
}

export interface RebuildResult {
  readonly statements: number;
  /** The journal was indexed up to here. */
  readonly nextSeq: number;
}

/** Resolves when everything that was in the journal at the start of the call is indexed. */
export async function rebuildIndex(options: RebuildOptions): Promise<RebuildResult> {
  const { store, source, journalName, decoder, clock } = options;
  const range = await source.range();
  await resetIndex(store, journalName, range, clock);
  let last: IndexerStatus | null = null;
  await runIndexer({
    store,
    source,
    journalName,
    decoder,
    clock,
    signal: options.signal ?? new AbortController().signal,
    untilSeq: range.nextSeq,
    onStatus: (status) => {
      last = status;
      options.onStatus?.(status);
    },
  });
  const { statements, nextSeq } = (last as IndexerStatus | null) ?? {
    statements: 0,
    nextSeq: range.firstSeq,
  };
  return { statements, nextSeq };
}
