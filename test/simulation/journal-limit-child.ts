/** A process whose files may not grow: appends until that is noticed, says so, and goes on when the limit is lifted. */
import { systemClock } from '../../src/base/clock.ts';
import { appendEvent } from '../../src/journal/encode.ts';
import { openJournal } from '../../src/journal/journal.ts';

const journal = await openJournal({
  folder: process.argv[2] ?? '',
  node: 'child',
  version: '0',
  clock: systemClock,
  encryptionKey: null,
});
journal.onStatus(({ state, failure }) => {
  if (state !== 'closed') console.log(`${state} ${failure}`);
  if (state === 'open')
    void journal.close().then(() => console.log(`closed ${journal.nextSeq} ${journal.publicKey}`));
});
do {
  appendEvent(journal, { atUs: 1n, body: { case: 'serverMessage', value: { text: 'x'.repeat(3_000) } } });
} while (journal.flush());
