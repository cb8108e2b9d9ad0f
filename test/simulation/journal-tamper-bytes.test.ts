/**
 * Changes every byte of every file of a journal, one at a time, and expects `verify` to find it and, in a segment, to
 * name the file and the block. The larger journal, with a full tile, is sampled unless DBW_EXHAUSTIVE is set.
 */
import { expect, test } from 'vitest';
import { blockOffsets, makeSpecimen } from './journal-tamper.ts';

function changeBytes(blocks: number, segmentBytes: number, stride: number): number {
  const specimen = makeSpecimen(blocks, segmentBytes);
  expect(specimen.verify()).toMatchObject({ whole: true, signedBlocks: blocks, unsignedBytes: 0 });
  expect(specimen.segments.length).toBeGreaterThanOrEqual(2);
  let position = 0;
  let tried = 0;
  for (const [path, bytes] of specimen.files) {
    const inSegment = path.includes('/segments/');
    const offsets = inSegment ? blockOffsets(bytes) : [];
    const first = inSegment ? Number(/(\d{20})/.exec(path)?.[1]) : 0;
    let block = first - 1;
    for (let at = 0; at < bytes.length; at++) {
      if (at === offsets[block - first + 1]) block++;
      if (position++ % stride !== 0) continue;
      const before = bytes[at];
      // Another pattern for each place: single bits, all bits, and what is left in between.
      bytes[at] = before ^ [0x01, 0x80, 0xff, 0x20, 0x5a][at % 5];
      const { whole, broken } = specimen.verify();
      bytes[at] = before;
      tried++;
      if (whole || broken === null) throw new Error(`unnoticed: ${path} at ${at}`);
      if (inSegment && broken.file !== path) throw new Error(`${path} at ${at}: ${broken.file} was named`);
      if (inSegment && broken.block !== Math.max(block, first))
        throw new Error(`${path} at ${at}, block ${block}: block ${broken.block} was named (${broken.what})`);
    }
  }
  expect(specimen.verify().whole).toBe(true);
  return tried;
}

test('every single-byte change of every file is found', { timeout: 300_000 }, () => {
  expect(changeBytes(64, 2_600, 1)).toBeGreaterThan(15_000);
});

const stride = process.env['DBW_EXHAUSTIVE'] ? 1 : 17;

test(`with full tiles as well (every ${stride}. byte)`, { timeout: 1_200_000 }, () => {
  expect(changeBytes(300, 12_000, stride)).toBeGreaterThan(60_000 / stride - 1);
});
