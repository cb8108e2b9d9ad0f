import { expect, test, vi } from 'vitest';
import { crc32 } from 'node:zlib';
import { generateKey, signNote } from '../../src/journal/note.ts';
import { verifyJournal } from '../../src/journal/verify.ts';
import { FOLDER, note, openSimulated } from '../../src/journal/simulated-journal.ts';
import { SimulatedDisk } from '../../src/journal/simulated-disk.ts';
import { blockOffsets, makeSpecimen, type Specimen } from './journal-tamper.ts';

// Machines may be busy; nothing here measures time.
vi.setConfig({ testTimeout: 120_000 });

/** Replaces a file's content for one verification. */
function withFile(specimen: Specimen, path: string, content: Buffer | null): ReturnType<Specimen['verify']> {
  const before = specimen.disk.files().get(path);
  if (content === null) specimen.disk.delete(path);
  else specimen.disk.set(path, content);
  const report = specimen.verify();
  if (before !== undefined) specimen.disk.set(path, before);
  else specimen.disk.delete(path);
  return report;
}

/** Makes a block's checksum right again, as an attacker would. */
function fixChecksum(segment: Buffer, at: number): void {
  const end = at + 56 + segment.readUInt32BE(at + 12);
  segment.writeUInt32BE(crc32(segment.subarray(at + 8, end)), at + 4);
}

const specimen = makeSpecimen(270, 10_800);

test('the specimen is whole', () => {
  expect(specimen.verify()).toMatchObject({
    whole: true,
    broken: null,
    signedBlocks: 270,
    signedEvents: 270,
    segments: 2,
    unsignedBlocks: 0,
    unknownFiles: [],
  });
});

test('every truncation at a block border, and many others, of every file is found', () => {
  for (const [path, bytes] of specimen.files) {
    const lengths = new Set<number>(path.includes('/segments/') ? blockOffsets(bytes).slice(0, -1) : []);
    for (let length = 0; length < bytes.length; length += 1 + Math.floor(bytes.length / 12))
      lengths.add(length);
    lengths.add(bytes.length - 1);
    for (const length of lengths) {
      const report = withFile(specimen, path, Buffer.from(bytes.subarray(0, length)));
      expect(report.whole, `${path} cut to ${length}`).toBe(false);
    }
  }
});

test('every file that is missing is found', () => {
  for (const path of specimen.files.keys()) {
    // Without it, tiles are made again from the mark 0 at the next start; nothing is lost.
    if (path.endsWith('/journal.state')) continue;
    const report = withFile(specimen, path, null);
    // Of a partial tile of an earlier checkpoint nothing depends any more.
    const old = /\.p\/(\d+)$/.exec(path);
    expect(report.whole, path).toBe(old !== null && !['1', '14'].includes(old[1]));
  }
});

test('every removed block, and every two that changed places, are found even with right checksums', () => {
  for (const path of specimen.segments) {
    const bytes = specimen.files.get(path) ?? Buffer.alloc(0);
    const offsets = blockOffsets(bytes);
    for (let i = 0; i + 1 < offsets.length; i++) {
      const [start, end] = [offsets[i], offsets[i + 1]];
      const removed = Buffer.concat([bytes.subarray(0, start), bytes.subarray(end)]);
      expect(withFile(specimen, path, removed).whole).toBe(false);
      // The following blocks renumbered, so that only the tree can tell.
      for (let at = start; at < removed.length; at += 56 + removed.readUInt32BE(at + 12)) {
        removed.writeBigUInt64BE(removed.readBigUInt64BE(at + 16) - 1n, at + 16);
        removed.writeBigUInt64BE(removed.readBigUInt64BE(at + 24) - 1n, at + 24);
        fixChecksum(removed, at);
      }
      expect(withFile(specimen, path, removed).whole).toBe(false);
      if (i + 2 >= offsets.length) continue;
      const next = offsets[i + 2];
      const swapped = Buffer.concat([
        bytes.subarray(0, start),
        bytes.subarray(end, next),
        bytes.subarray(start, end),
        bytes.subarray(next),
      ]);
      expect(withFile(specimen, path, swapped).whole).toBe(false);
      // Only the payloads change places; headers and checksums are made to fit.
      if (
        next - end !== end - start ||
        bytes.subarray(start + 56, end).equals(bytes.subarray(end + 56, next))
      )
        continue;
      const forged = Buffer.from(bytes);
      bytes.copy(forged, start + 56, end + 56, next);
      bytes.copy(forged, end + 56, start + 56, end);
      fixChecksum(forged, start);
      fixChecksum(forged, end);
      const report = withFile(specimen, path, forged);
      expect(report.broken).toMatchObject({ file: path, offset: start });
    }
  }
});

test('a forged block with a right checksum, and with a right entry too, is found and named', () => {
  const path = specimen.segments[1];
  const bytes = Buffer.from(specimen.files.get(path) ?? Buffer.alloc(0));
  const at = blockOffsets(bytes)[7];
  const block = Number(bytes.readBigUInt64BE(at + 16));
  bytes[at + 56 + bytes.readUInt32BE(at + 12) - 1] ^= 1;
  fixChecksum(bytes, at);
  expect(withFile(specimen, path, bytes).broken).toMatchObject({ file: path, block, offset: at });
});

test('a file too many is found in the log and among the segments, and reported elsewhere', () => {
  const content = Buffer.from('x');
  for (const name of [
    'segments/00000000000000009999.dbwj',
    'segments/note.txt',
    'log/tile/0/001',
    'log/tile/0/007',
    'log/tile/1/000',
    'log/tile/2/000.p/1',
    'log/tile/0/001.p/200',
    'log/tile/0/x000/000',
    'log/tile/entries/001',
    'log/other',
  ]) {
    const path = `${FOLDER}/${name}`;
    const report = withFile(specimen, path, content);
    if (name.startsWith('segments/0')) expect(report).toMatchObject({ whole: true, unsignedBytes: 1 });
    else expect(report.broken?.file, name).toBe(path);
  }
  expect(withFile(specimen, `${FOLDER}/readme.txt`, content)).toMatchObject({
    whole: true,
    unknownFiles: ['readme.txt'],
  });
});

test('a checkpoint of another key, or signed twice, is refused; a private key must fit', () => {
  const path = `${FOLDER}/log/checkpoint`;
  const text = (specimen.files.get(path) ?? '').toString().split('\n\n')[0];
  const other = generateKey('dbwitness/simulated');
  expect(withFile(specimen, path, Buffer.from(signNote(`${text}\n`, other))).broken?.file).toBe(path);
  const doubled = `${(specimen.files.get(path) ?? '').toString()}${(specimen.files.get(path) ?? '').toString().split('\n\n')[1]}`;
  expect(withFile(specimen, path, Buffer.from(doubled)).whole).toBe(false);
  const keyPath = `${FOLDER}/journal.key`;
  expect(withFile(specimen, keyPath, Buffer.from(`${other.text}\n`)).broken?.file).toBe(keyPath);
  expect(() => verifyJournal(FOLDER, { publicKey: 'x', disk: specimen.disk })).toThrow(
    expect.objectContaining({ kind: 'invalid' }),
  );
});

/** The journal's key holder writes another history of the same length. */
function fork(): {
  first: string;
  forked: Specimen;
  publicKey: string;
  rolledBack: SimulatedDisk;
  later: string;
} {
  const disk = new SimulatedDisk();
  const { appender, link, prepared } = openSimulated(disk);
  const sign = (): string => {
    appender.flush();
    link.sealer.finish();
    return disk.readFile(`${FOLDER}/log/checkpoint`).toString();
  };
  for (let i = 0; i < 5; i++) note(appender, `honest ${i}`);
  const first = sign();
  const early = disk.snapshot();
  for (let i = 0; i < 5; i++) {
    note(appender, `later ${i}`);
    appender.flush();
  }
  const later = sign();
  const again = new SimulatedDisk();
  again.makeFolder(`${FOLDER}/segments`);
  again.set(`${FOLDER}/journal.key`, Buffer.from(`${prepared.signer.text}\n`));
  const rewritten = openSimulated(again);
  for (let i = 0; i < 12; i++) {
    note(rewritten.appender, `forged ${i}`);
    rewritten.appender.flush();
  }
  rewritten.link.sealer.finish();
  const publicKey = prepared.signer.verifier.text;
  const verify = (): ReturnType<Specimen['verify']> => verifyJournal(FOLDER, { publicKey, disk: again });
  return {
    first,
    later,
    publicKey,
    rolledBack: early,
    forked: { disk: again, publicKey, files: again.files(), segments: [], verify },
  };
}

test('a saved checkpoint reveals a rewritten and a rolled-back journal, even one signed with the right key', () => {
  const { first, later, forked, publicKey, rolledBack } = fork();
  expect(forked.verify().whole).toBe(true);
  expect(verifyJournal(FOLDER, { publicKey, disk: forked.disk, knownCheckpoint: first })).toMatchObject({
    whole: false,
    broken: { what: expect.stringContaining('not those under the saved checkpoint') as string },
  });
  expect(verifyJournal(FOLDER, { publicKey, disk: rolledBack, knownCheckpoint: first }).whole).toBe(true);
  expect(
    verifyJournal(FOLDER, { publicKey, disk: rolledBack, knownCheckpoint: later }).broken?.what,
  ).toContain('rolled back');
  expect(() =>
    verifyJournal(FOLDER, { publicKey, disk: rolledBack, knownCheckpoint: first.replace('\n2\n', '\n3\n') }),
  ).toThrow(expect.objectContaining({ code: 'JOURNAL_CHECKPOINT_INVALID' }));
});

test('an encrypted journal verifies without its key, and its changes are found', () => {
  const sealed = makeSpecimen(40, 3_000, Buffer.alloc(32, 9));
  expect(sealed.verify()).toMatchObject({ whole: true, signedBlocks: 40 });
  for (const [path, bytes] of sealed.files)
    for (let at = 0; at < bytes.length; at += 13) {
      bytes[at] ^= 4;
      expect(sealed.verify().whole, `${path} at ${at}`).toBe(false);
      bytes[at] ^= 4;
    }
});
