import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { systemClock } from '../base/clock.ts';
import { appendEvent } from './encode.ts';
import { openJournal, type Journal, type JournalOptions } from './journal.ts';
import { decodeBlock, JournalReader } from './reader.ts';

// Machines may be busy; nothing here measures time.
vi.setConfig({ testTimeout: 120_000 });

let folder: string;
const open: { close(): Promise<void> }[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'dbw-journal-'));
});

afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close();
  rmSync(folder, { recursive: true, force: true });
});

async function start(options: Partial<JournalOptions> = {}): Promise<Journal> {
  const journal = await openJournal({
    folder,
    node: 'test',
    version: '0',
    clock: systemClock,
    encryptionKey: null,
    ...options,
  });
  open.push(journal);
  return journal;
}

function read(key?: Uint8Array): JournalReader {
  const reader = JournalReader.open(folder, { key: key ?? null });
  open.push(reader);
  return reader;
}

/** Appends events with their position as text, `perBlock` to a block. */
function say(journal: Journal, count: number, perBlock = 1): void {
  for (let i = 0; i < count; i++) {
    appendEvent(journal, {
      atUs: 1n,
      body: { case: 'serverMessage', value: { text: String(journal.nextSeq) } },
    });
    if ((i + 1) % perBlock === 0 || i === count - 1) expect(journal.flush()).toBe(true);
  }
}

const textAt = (reader: JournalReader, seq: number): string | undefined => {
  const event = reader.readEvent(seq);
  return event?.body.case === 'serverMessage' ? event.body.value.text : event?.body.case;
};

const durable = (journal: Journal): Promise<void> =>
  new Promise((resolve) => journal.whenDurable(journal.nextSeq, resolve));

for (const key of [null, Buffer.alloc(32, 7)])
  test(`reads by position, by block and in order, over several segments${key === null ? '' : ', encrypted'}`, async () => {
    const journal = await start({ segmentBytes: 20_000, encryptionKey: key });
    say(journal, 1500, 2);
    await durable(journal);
    const reader = read(key ?? undefined);
    expect(reader.origin).toBe(journal.origin);
    const range = await reader.range();
    expect(range).toMatchObject({ firstBlock: 0, firstSeq: 0, nextSeq: 1501, nextBlock: 751 });
    for (const seq of [1, 2, 3, 256, 511, 512, 513, 777, 1499, 1500])
      expect(textAt(reader, seq)).toBe(String(seq));
    expect(textAt(reader, 0)).toBe('journalOpened');
    expect(reader.readEvent(1501)).toBeNull();
    for (const index of [0, 255, 256, 300, 511, 512, 600, 750])
      expect(reader.readBlock(index)?.index).toBe(index);
    expect(reader.readBlock(751)).toBeNull();
    expect([...reader.blocks()].map((block) => block.index)).toEqual(
      Array.from({ length: 751 }, (_, i) => i),
    );
    for (const from of [0, 1, 700, 1500])
      expect([...reader.events(from)].map((one) => one.seq)).toEqual(
        Array.from({ length: 1501 - from }, (_, i) => i + from),
      );
    say(journal, 1);
    expect((await reader.range()).nextSeq).toBe(1502);
    expect(textAt(reader, 1501)).toBe('1501');
  });

test('an encrypted journal is not read without its key, and its files do not hold the text', async () => {
  const journal = await start({ encryptionKey: Buffer.alloc(32, 1) });
  appendEvent(journal, { atUs: 1n, body: { case: 'serverMessage', value: { text: 'confidential' } } });
  say(journal, 3);
  await journal.close();
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' }))
    if (statSync(join(folder, name)).isFile())
      expect(readFileSync(join(folder, name)).includes('confidential'), name).toBe(false);
  expect(() => read().readEvent(1)).toThrow(expect.objectContaining({ code: 'JOURNAL_ENCRYPTED' }));
  expect(() => read(Buffer.alloc(32, 2)).readEvent(1)).toThrow(
    expect.objectContaining({ code: 'JOURNAL_WRONG_KEY' }),
  );
});

test('follows a journal that grows, over segment borders and a reopening', async () => {
  let journal = await start({ segmentBytes: 2_000 });
  const reader = read();
  const stop = new AbortController();
  const seen: string[] = [];
  const arrived = new Map<number, () => void>();
  const until = (count: number): Promise<void> =>
    seen.length >= count ? Promise.resolve() : new Promise((resolve) => arrived.set(count, resolve));
  const following = (async () => {
    for await (const block of reader.follow(1, stop.signal))
      for (const { event } of decodeBlock(block)) {
        seen.push(event.body.case === 'serverMessage' ? event.body.value.text : (event.body.case ?? ''));
        arrived.get(seen.length)?.();
      }
  })();
  say(journal, 50);
  await until(50);
  say(journal, 1);
  await until(51);
  await journal.close();
  journal = await start({ segmentBytes: 2_000 });
  say(journal, 30);
  await until(82);
  stop.abort();
  await following;
  const numbers = Array.from({ length: 51 }, (_, i) => String(i + 1));
  expect(seen).toEqual([
    ...numbers,
    'journalOpened',
    ...Array.from({ length: 30 }, (_, i) => String(i + 53)),
  ]);
});

test('a reader far behind goes on after what retention dropped', async () => {
  const journal = await start({ segmentBytes: 20_000, checkpointMs: 20 });
  const reader = read();
  const stop = new AbortController();
  const blocks = reader.follow(0, stop.signal);
  say(journal, 10);
  const first = await blocks.next();
  expect(first.done === true ? -1 : first.value.index).toBe(0);
  say(journal, 1990);
  const dropped = await untilDropped(journal, 50_000);
  expect(dropped).toBeGreaterThan(0);
  const range = await reader.range();
  expect(range.firstBlock).toBeGreaterThan(100);
  expect(reader.readEvent(5)).toBeNull();
  const indices: number[] = [];
  for await (const block of blocks) {
    indices.push(block.index);
    if (block.index === range.nextBlock - 1) stop.abort();
  }
  // What was already open is read to its end, then the oldest that is left follows.
  const jump = indices.findIndex((index, i) => i > 0 && index !== indices[i - 1] + 1);
  expect(indices[0]).toBe(1);
  expect(indices[jump]).toBe(range.firstBlock);
  expect(indices.length - jump).toBe(range.nextBlock - range.firstBlock);
});

/** Drops as soon as tiles are durable enough for it. */
async function untilDropped(journal: Journal, maxBytes: number): Promise<number> {
  return vi.waitFor(
    async () => {
      const { segments } = await journal.dropSegments({ maxBytes });
      expect(segments).toBeGreaterThan(0);
      return segments;
    },
    { interval: 20, timeout: 60_000 },
  );
}
