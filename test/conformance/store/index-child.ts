/**
 * A process that indexes a seeded workload in small batches, to be killed in the middle of it. Arguments: store options
 * as JSON, seed, number of events. Prints a line per batch and `done` at the end.
 */
import { systemClock } from '../../../src/base/clock.ts';
import { runIndexer } from '../../../src/store/indexer.ts';
import { openStore, type StoreOptions } from '../../../src/store/store.ts';
import createDecoder from './decoder.ts';
import { MemoryJournal } from './journal.ts';
import { Workload } from './workload.ts';

const [options = '{}', seed = '1', count = '1000'] = process.argv.slice(2);
const journal = new MemoryJournal();
new Workload(journal, Number(seed)).run(Number(count));
const store = await openStore(JSON.parse(options) as StoreOptions);
await runIndexer({
  store,
  source: journal,
  journalName: 'node',
  decoder: createDecoder(),
  clock: systemClock,
  signal: new AbortController().signal,
  untilSeq: journal.nextSeq,
  limits: { maxBatchEvents: 40 },
  onStatus: (status) => process.stdout.write(`${status.batches}\n`),
});
await store.close();
process.stdout.write('done\n');
