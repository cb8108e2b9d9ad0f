import { createHash } from 'node:crypto';
import { expect, test, vi } from 'vitest';
import {
  consistencyHolds,
  consistencyProof,
  inclusionHolds,
  inclusionProof,
  leafHash,
  rangeRoot,
  subtreesOfTiles,
  TileTree,
} from './tree.ts';

// Machines may be busy; nothing here measures time.
vi.setConfig({ testTimeout: 120_000 });

/** RFC 6962 §2.1, word by word. */
function mth(leaves: readonly Buffer[]): Buffer {
  const sha = (...parts: Buffer[]): Buffer => createHash('sha256').update(Buffer.concat(parts)).digest();
  if (leaves.length === 0) return sha();
  if (leaves.length === 1) return sha(Buffer.from([0]), leaves[0]);
  let k = 1;
  while (k * 2 < leaves.length) k *= 2;
  return sha(Buffer.from([1]), mth(leaves.slice(0, k)), mth(leaves.slice(k)));
}

function grow(count: number): { tree: TileTree; leaves: Buffer[]; read: (l: number, i: number) => Buffer } {
  const tiles = new Map<string, Buffer>();
  const tree = new TileTree((level, index, hashes) => tiles.set(`${level}/${index}`, Buffer.from(hashes)));
  const leaves = Array.from({ length: count }, (_, i) => Buffer.from(`entry ${i}`));
  for (const leaf of leaves) tree.append(leafHash(leaf));
  const read = (level: number, index: number): Buffer => {
    const full = tiles.get(`${level}/${index}`);
    if (full !== undefined) return full;
    const edge = tree.edge(level);
    expect(edge.index).toBe(index);
    return edge.hashes;
  };
  return { tree, leaves, read };
}

test('known roots (RFC 6962 test vectors of Certificate Transparency)', () => {
  const inputs = [
    '',
    '00',
    '10',
    '2021',
    '3031',
    '40414243',
    '5051525354555657',
    '606162636465666768696a6b6c6d6e6f',
  ];
  const roots = [
    '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
    'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
    'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
    'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
    '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
    '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
    'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
    '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
  ];
  const tree = new TileTree(() => {});
  expect(tree.root().toString('hex')).toBe(
    'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  );
  inputs.forEach((input, i) => {
    tree.append(leafHash(Buffer.from(input, 'hex')));
    expect(tree.root().toString('hex')).toBe(roots[i]);
  });
});

test('roots, resumed trees and every proof agree with the definition', () => {
  for (const size of [1, 2, 3, 7, 8, 31, 255, 256, 257, 511, 512, 700]) {
    const { tree, leaves, read } = grow(size);
    const root = mth(leaves);
    expect(tree.root()).toEqual(root);
    const subtree = subtreesOfTiles(read);
    expect(rangeRoot(subtree, 0, size)).toEqual(root);
    const sample = size < 40 ? leaves.map((_, i) => i) : [0, 1, 127, 254, 255, 256, 300, size - 1];
    for (const i of sample.filter((index) => index < size)) {
      const path = inclusionProof(subtree, i, size);
      expect(inclusionHolds(leafHash(leaves[i]), i, size, path, root)).toBe(true);
      expect(inclusionHolds(leafHash(leaves[i]), i + 1, size, path, root)).toBe(false);
      expect(inclusionHolds(leafHash(Buffer.from('x')), i, size, path, root)).toBe(false);
      expect(inclusionHolds(leafHash(leaves[i]), i, size, [...path, root], root)).toBe(false);
      if (path.length > 0)
        expect(inclusionHolds(leafHash(leaves[i]), i, size, path.slice(1), root)).toBe(false);
      const old = i + 1;
      const oldRoot = mth(leaves.slice(0, old));
      const proof = consistencyProof(subtree, old, size);
      expect(consistencyHolds(old, size, oldRoot, root, proof)).toBe(true);
      expect(consistencyHolds(old, size, mth([Buffer.from('y')]), root, proof)).toBe(false);
      if (proof.length > 0) expect(consistencyHolds(old, size, oldRoot, root, proof.slice(1))).toBe(false);
    }
    const resumed = TileTree.resume(Math.floor(size / 256) * 256, read, () => {});
    for (const leaf of leaves.slice(resumed.size)) resumed.append(leafHash(leaf));
    expect(resumed.root()).toEqual(root);
  }
});

test('a tree of three levels resumes', () => {
  const { tree, read } = grow(256 * 256 + 256 + 3);
  expect(tree.levels).toBe(3);
  expect([tree.edge(0).width, tree.edge(1).width, tree.edge(2).width]).toEqual([3, 1, 1]);
  const resumed = TileTree.resume(256 * 256 + 256, read, () => {});
  for (const i of [0, 1, 2]) resumed.append(leafHash(Buffer.from(`entry ${256 * 256 + 256 + i}`)));
  expect(resumed.root()).toEqual(tree.root());
});
