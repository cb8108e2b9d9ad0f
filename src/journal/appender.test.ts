import { expect, test, vi } from 'vitest';
import { FOLDER, note, openSimulated } from './simulated-journal.ts';
import { limits } from '../base/limits.ts';
import { Gap_Reason } from '../model/events.ts';
import { MAX_EVENT_BYTES } from './appender.ts';
import { JournalReader } from './reader.ts';
import { SimulatedDisk } from './simulated-disk.ts';
import { verifyJournal } from './verify.ts';

// Machines may be busy; nothing here measures time.
vi.setConfig({ testTimeout: 120_000 });

const textsOf = (disk: SimulatedDisk, key: Uint8Array | null = null): string[] =>
  [...JournalReader.open(FOLDER, { disk, key }).events()].map(({ event: { body } }) =>
    body.case === 'serverMessage' ? body.value.text : (body.case ?? ''),
  );

const segmentsOf = (disk: SimulatedDisk): Buffer[] =>
  [...disk.files()].filter(([path]) => path.includes('/segments/')).map(([, bytes]) => bytes);

for (const key of [null, Buffer.alloc(32, 8)])
  test(`what could not be written is kept and written at the same place, the same bytes${key === null ? '' : ', encrypted'}`, () => {
    const disk = new SimulatedDisk(3);
    const { appender } = openSimulated(disk, { encryptionKey: key });
    const start = segmentsOf(disk)[0].length;
    note(appender, 'first '.repeat(50));
    disk.faults.capacity = [...disk.files().values()].reduce((sum, one) => sum + one.length, 0) + 100;
    expect(appender.flush()).toBe(false);
    expect(appender.status).toEqual({ state: 'failing', failure: `no space left on ${FOLDER}` });
    const torn = Buffer.from(segmentsOf(disk)[0].subarray(start));
    expect(torn.length).toBe(100);
    note(appender, 'second');
    expect(appender.flush()).toBe(false);
    disk.faults.capacity = Infinity;
    expect(appender.flush()).toBe(true);
    expect(appender.status).toEqual({ state: 'open', failure: '' });
    expect(
      segmentsOf(disk)[0]
        .subarray(start, start + 100)
        .equals(torn),
    ).toBe(true);
    expect(textsOf(disk, key)).toEqual(['journalOpened', 'first '.repeat(50), 'second']);
  });

test('while failing, records are kept up to a bound and the rest is counted into a gap', () => {
  const disk = new SimulatedDisk();
  const { appender } = openSimulated(disk, { maxUnwrittenBytes: 5_000 });
  const states: string[] = [];
  appender.onStatus(({ state }) => states.push(state));
  disk.faults.writeError = 1;
  let kept = 0;
  while (appender.hasRoom) {
    note(appender, 'x'.repeat(500));
    kept++;
    expect(appender.flush()).toBe(false);
    expect(kept).toBeLessThan(20);
  }
  expect(appender.pendingBytes).toBeGreaterThanOrEqual(5_000);
  appender.countLost(2);
  appender.countLost(5);
  disk.faults.writeError = 0;
  expect(appender.flush()).toBe(true);
  expect(states).toEqual(['failing', 'open']);
  expect(appender.hasRoom).toBe(true);
  const last = [...JournalReader.open(FOLDER, { disk }).events()].at(-1)?.event.body;
  expect(last).toMatchObject({ case: 'gap', value: { reason: Gap_Reason.JOURNAL_FAILED, lostEvents: 7n } });
  expect(textsOf(disk).length).toBe(kept + 2);
});

test('a failed fsync stops the journal until the range was written and synced again', () => {
  const disk = new SimulatedDisk();
  const { appender, link } = openSimulated(disk);
  note(appender, 'a');
  expect(appender.flush()).toBe(true);
  disk.faults.syncError = 1;
  link.step((sealer) => void sealer.sync());
  let called = false;
  appender.whenDurable(appender.nextSeq, () => (called = true));
  note(appender, 'b');
  expect([appender.status.state, appender.flush(), appender.durable]).toEqual(['failing', false, 0]);
  disk.faults.syncError = 0;
  link.step((sealer) => void sealer.sync());
  expect(called).toBe(true);
  // The record kept meanwhile went out by itself.
  expect([appender.status.state, appender.pendingBytes]).toEqual(['open', 0]);
  link.step((sealer) => void sealer.sync());
  expect(appender.durable).toBe(appender.nextSeq);
  disk.crashMachine();
  openSimulated(disk);
  expect(textsOf(disk)).toEqual(['journalOpened', 'a', 'b', 'journalOpened']);
});

test('the segment changes only in a flush, and one that cannot be made is made later', () => {
  const disk = new SimulatedDisk();
  const { appender, link, prepared } = openSimulated(disk, { segmentBytes: 1_000 });
  note(appender, 'x'.repeat(1_200));
  expect(appender.segment).toBe(0);
  disk.faults.capacity = [...disk.files().values()].reduce((sum, one) => sum + one.length, 0) + 1_300;
  expect(appender.flush()).toBe(true);
  expect(appender.segment).toBe(0); // no room for the next one's header
  disk.faults.capacity = Infinity;
  note(appender, 'still in the first');
  expect(appender.segment).toBe(0);
  expect(appender.flush()).toBe(true);
  expect(appender.segment).toBe(1);
  note(appender, 'in the second');
  appender.flush();
  expect(segmentsOf(disk)).toHaveLength(2);
  link.sealer.finish();
  const report = verifyJournal(FOLDER, { publicKey: prepared.signer.verifier.text, disk });
  expect(report).toMatchObject({ whole: true, signedEvents: 4, segments: 2 });
});

test('a turn of many megabytes becomes several blocks, in bounded memory', () => {
  const disk = new SimulatedDisk();
  const { appender } = openSimulated(disk);
  const big = 'z'.repeat(limits.maxEventBytes);
  let most = 0;
  for (let i = 0; i < 20; i++) {
    note(appender, big);
    most = Math.max(most, appender.pendingBytes);
  }
  expect(most).toBeLessThan(14 * 1024 * 1024);
  expect(appender.flush()).toBe(true);
  const blocks = [...JournalReader.open(FOLDER, { disk }).blocks()];
  expect(blocks.length).toBeGreaterThan(5);
  for (const block of blocks) expect(block.payload.length).toBeLessThanOrEqual(limits.maxBlockBytes);
  expect(textsOf(disk).filter((text) => text === big)).toHaveLength(20);
});

test('an event that is too long is refused and leaves nothing behind', () => {
  const disk = new SimulatedDisk();
  const { appender } = openSimulated(disk);
  const before = appender.nextSeq;
  expect(() => note(appender, 'x'.repeat(MAX_EVENT_BYTES + 1))).toThrow(
    expect.objectContaining({ code: 'JOURNAL_EVENT_TOO_LONG' }),
  );
  expect(appender.nextSeq).toBe(before);
  note(appender, 'fits');
  expect(appender.flush()).toBe(true);
  expect(textsOf(disk)).toEqual(['journalOpened', 'fits']);
});

test('waiters are called once, in order, when what they wait for is durable', () => {
  const disk = new SimulatedDisk();
  const { appender, link } = openSimulated(disk);
  const called: number[] = [];
  const seqs = [note(appender, 'a'), note(appender, 'b'), note(appender, 'c')];
  for (const seq of [seqs[2], seqs[0], seqs[1]]) appender.whenDurable(seq + 1, () => called.push(seq));
  link.step((sealer) => void sealer.sync());
  expect(called).toEqual([]);
  appender.flush();
  expect(called).toEqual([]);
  link.step((sealer) => void sealer.sync());
  link.step((sealer) => void sealer.sync());
  expect(called).toEqual(seqs);
  appender.whenDurable(seqs[0], () => called.push(-1));
  expect(called.at(-1)).toBe(-1);
});
