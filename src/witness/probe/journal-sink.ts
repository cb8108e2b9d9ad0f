/** A probe's batches into a journal of this process. */
import { AppError } from '../../base/errors.ts';
import type { JournalAppender } from '../../model/journal.ts';
import { eventsOf } from './event-writer.ts';

/**
 * Appends the events of a batch; resolves when they are on stable storage. The caller flushes the journal at the end of
 * its turn, as always. Rejects with `unavailable` when the journal cannot be written: then none of them was appended, and the batch may be
 * given again.
 */
export function appendBatch(journal: JournalAppender, batch: Uint8Array): Promise<void> {
  const { state, failure } = journal.status;
  if (state !== 'open' || !journal.hasRoom)
    return Promise.reject(
      new AppError('unavailable', 'JOURNAL_UNWRITABLE', failure || 'the journal cannot take records now'),
    );
  let last = -1;
  for (const event of eventsOf(batch)) last = journal.appendEncoded(event);
  if (last < 0) return Promise.resolve();
  return new Promise((resolve) => journal.whenDurable(last + 1, resolve));
}
