/**
 * The index of this node: the indexer's thread, and making the index anew. A rebuild ends the thread, empties what the
 * journal can make again, and starts the thread from the journal's beginning; it goes on in the background, and what is
 * recorded meanwhile is indexed after it. Nothing that is recorded waits for it.
 */
import type { Actor } from '../../access/actor.ts';
import type { ControlJournal } from '../../access/changes.ts';
import type { IndexControl, IndexState } from '../../api/deps.ts';
import { systemClock } from '../../base/clock.ts';
import type { JournalReader } from '../../journal/reader.ts';
import type { IndexerStatus } from '../../store/indexer.ts';
import { type IndexerThread, type IndexerThreadOptions, startIndexer } from '../../store/indexer-thread.ts';
import { resetIndex } from '../../store/reset-index.ts';

export class NodeIndex implements IndexControl {
  readonly #options: IndexerThreadOptions;
  readonly #reader: JournalReader;
  readonly #journal: ControlJournal;
  #thread: IndexerThread;
  #resetting: Promise<void> | null = null;

  constructor(options: IndexerThreadOptions, reader: JournalReader, journal: ControlJournal) {
    this.#options = options;
    this.#journal = journal;
    this.#reader = reader;
    this.#thread = startIndexer(options);
  }

  get status(): IndexerStatus {
    return this.#thread.status;
  }

  async state(): Promise<IndexState> {
    const { nextSeq } = await this.#reader.range();
    const { status } = this.#thread;
    return {
      state: status.state,
      failure: status.failure,
      nextSeq: status.nextSeq,
      journalSeq: nextSeq,
    };
  }

  async rebuild(actor: Actor): Promise<IndexState> {
    await this.#journal.append({
      actorUid: actor.uid,
      actorName: actor.name,
      action: 'rebuild_index',
      objectKind: 'index',
      objectUid: '',
      objectName: this.#options.journalName,
      before: '',
      after: '',
      clientAddress: actor.clientAddress,
    });
    this.#resetting ??= this.#reset().finally(() => {
      this.#resetting = null;
    });
    await this.#resetting;
    return this.state();
  }

  async stop(): Promise<void> {
    await this.#resetting?.catch(() => undefined);
    await this.#thread.stop();
  }

  async #reset(): Promise<void> {
    const { store, journalName } = this.#options;
    await this.#thread.stop();
    try {
      await resetIndex(store, journalName, await this.#reader.range(), systemClock);
    } finally {
      this.#thread = startIndexer(this.#options);
    }
  }
}
