/**
 * The Merkle tree of RFC 6962 §2.1, kept as tiles of 256 hashes (C2SP tlog-tiles): a tile of level L holds the roots of
 * 256 neighbouring perfect subtrees of height 8·L. {@link TileTree} grows one and hands out tiles as they fill;
 * the functions below it make and check audit paths over anything that can look a subtree's root up.
 *
 *   leaf = SHA-256(0x00 ‖ entry)      node = SHA-256(0x01 ‖ left ‖ right)      empty tree = SHA-256("")
 */
import { putSha256, sha256 } from './format.ts';

export const HASH_BYTES = 32;
export const TILE_WIDTH = 256;
const TILE_HEIGHT = 8;

const NOTHING = Buffer.alloc(0);
const pair = Buffer.alloc(1 + 2 * HASH_BYTES);
pair[0] = 1;
const leafBuffer = Buffer.alloc(1 + 1024);

export function leafHash(entry: Uint8Array): Buffer {
  const bytes = entry.length <= 1024 ? leafBuffer : Buffer.alloc(1 + entry.length);
  bytes.set(entry, 1);
  return sha256(bytes.subarray(0, 1 + entry.length));
}

export function nodeHash(left: Uint8Array, right: Uint8Array): Buffer {
  pair.set(left, 1);
  pair.set(right, 1 + HASH_BYTES);
  return sha256(pair);
}

export function emptyRoot(): Buffer {
  return sha256(NOTHING);
}

/** The root of `count` (a power of two) hashes that stand one after the other in `hashes` from hash `start` on. */
export function perfectRoot(hashes: Uint8Array, start: number, count: number): Buffer {
  const level = Buffer.from(hashes.subarray(start * HASH_BYTES, (start + count) * HASH_BYTES));
  for (let width = count; width > 1; width /= 2) {
    for (let i = 0; i < width; i += 2) {
      pair.set(level.subarray(i * HASH_BYTES, (i + 2) * HASH_BYTES), 1);
      putSha256(pair, level, (i / 2) * HASH_BYTES);
    }
  }
  return Buffer.from(level.subarray(0, HASH_BYTES));
}

/** Called with each tile that has filled: `hashes` is 8,192 bytes, valid during the call only. */
export type TileSink = (level: number, index: number, hashes: Buffer) => void;

/** A growing tree: its right edge only. */
export class TileTree {
  size = 0;
  readonly #onTile: TileSink;
  /** Per tile level, the hashes of the tile that is filling. */
  readonly #edge: Buffer[] = [];

  constructor(onTile: TileSink) {
    this.#onTile = onTile;
  }

  /**
   * A tree that goes on from `size`, a multiple of 256, whose full tiles can be read back. Only those that are needed
   * for the right edge are read.
   */
  static resume(
    size: number,
    readTile: (level: number, index: number) => Uint8Array,
    onTile: TileSink,
  ): TileTree {
    const tree = new TileTree(onTile);
    tree.size = size;
    let below = size;
    for (let level = 1; below >= TILE_WIDTH; level++) {
      const full = Math.floor(below / TILE_WIDTH);
      const width = full % TILE_WIDTH;
      for (let i = 0; i < width; i++) {
        const tile = readTile(level - 1, full - width + i);
        perfectRoot(tile, 0, TILE_WIDTH).copy(tree.#edgeAt(level), i * HASH_BYTES);
      }
      below = full;
    }
    return tree;
  }

  append(leaf: Uint8Array): void {
    this.#put(0, this.size, leaf);
    this.size++;
  }

  /** The hashes of the tile that is filling at a level, and how many there are. A view, valid until the next append. */
  edge(level: number): { index: number; width: number; hashes: Buffer } {
    const count = Math.floor(this.size / TILE_WIDTH ** level);
    const width = count % TILE_WIDTH;
    return {
      index: Math.floor(count / TILE_WIDTH),
      width,
      hashes: this.#edgeAt(level).subarray(0, width * HASH_BYTES),
    };
  }

  /** Number of tile levels that have a hash: 1 for up to 255 leaves, 2 from 256 on, … */
  get levels(): number {
    let levels = 0;
    for (let count = this.size; count > 0; count = Math.floor(count / TILE_WIDTH)) levels++;
    return levels;
  }

  root(): Buffer {
    let root: Buffer | null = null;
    for (let level = 0; level < this.levels; level++) {
      const { width, hashes } = this.edge(level);
      // The tile's hashes fall into perfect subtrees, one per bit of their number; the smallest is rightmost.
      let end = width;
      for (let bit = 1; bit <= width; bit *= 2) {
        if ((width & bit) === 0) continue;
        const peak = perfectRoot(hashes, end - bit, bit);
        root = root === null ? peak : nodeHash(peak, root);
        end -= bit;
      }
    }
    return root ?? emptyRoot();
  }

  #edgeAt(level: number): Buffer {
    while (this.#edge.length <= level) this.#edge.push(Buffer.alloc(TILE_WIDTH * HASH_BYTES));
    return this.#edge[level];
  }

  #put(level: number, position: number, value: Uint8Array): void {
    const edge = this.#edgeAt(level);
    const slot = position % TILE_WIDTH;
    edge.set(value, slot * HASH_BYTES);
    if (slot < TILE_WIDTH - 1) return;
    const index = Math.floor(position / TILE_WIDTH);
    this.#onTile(level, index, edge);
    this.#put(level + 1, index, perfectRoot(edge, 0, TILE_WIDTH));
  }
}

/** Looks up the root of the perfect subtree of height `height` that covers leaves `index·2^height …`. */
export type SubtreeRoot = (height: number, index: number) => Buffer;

/** Subtree roots from tiles. `readHashes(level, index, count)` gives the first `count` hashes of a tile, or more. */
export function subtreesOfTiles(
  readHashes: (level: number, index: number, count: number) => Uint8Array,
): SubtreeRoot {
  return (height, index) => {
    const level = Math.floor(height / TILE_HEIGHT);
    const span = 2 ** (height % TILE_HEIGHT);
    const first = index * span;
    const tile = Math.floor(first / TILE_WIDTH);
    const slot = first % TILE_WIDTH;
    return perfectRoot(readHashes(level, tile, slot + span), slot, span);
  };
}

/** MTH(D[start:end]) for a range that begins at a multiple of the largest power of two not above its length. */
export function rangeRoot(subtree: SubtreeRoot, start: number, end: number): Buffer {
  const count = end - start;
  if (count === 0) return emptyRoot();
  const split = splitPoint(count);
  if (split === count) return subtree(Math.log2(count), start / count);
  return nodeHash(rangeRoot(subtree, start, start + split), rangeRoot(subtree, start + split, end));
}

/** The audit path of leaf `index` in the tree of `size` leaves (RFC 6962 §2.1.1). */
export function inclusionProof(subtree: SubtreeRoot, index: number, size: number): Buffer[] {
  const path: Buffer[] = [];
  let start = 0;
  let end = size;
  while (end - start > 1) {
    const half = halfPoint(end - start);
    if (index < start + half) {
      path.push(rangeRoot(subtree, start + half, end));
      end = start + half;
    } else {
      path.push(rangeRoot(subtree, start, start + half));
      start += half;
    }
  }
  return path.reverse();
}

/** Proof that the tree of `oldSize` leaves is a prefix of the one of `size` leaves (RFC 6962 §2.1.2). */
export function consistencyProof(subtree: SubtreeRoot, oldSize: number, size: number): Buffer[] {
  if (oldSize === 0 || oldSize === size) return [];
  const proof: Buffer[] = [];
  let start = 0;
  let end = size;
  // `whole`: the old tree's leaves in this range are a subtree whose root the verifier has anyway.
  let whole = true;
  while (oldSize !== end) {
    const half = halfPoint(end - start);
    if (oldSize <= start + half) {
      proof.push(rangeRoot(subtree, start + half, end));
      end = start + half;
    } else {
      proof.push(rangeRoot(subtree, start, start + half));
      start += half;
      whole = false;
    }
  }
  if (!whole) proof.push(rangeRoot(subtree, start, end));
  return proof.reverse();
}

function isHash(bytes: Uint8Array): boolean {
  return bytes.length === HASH_BYTES;
}

/** RFC 9162 §2.1.3.2. */
export function inclusionHolds(
  leaf: Uint8Array,
  index: number,
  size: number,
  path: readonly Uint8Array[],
  root: Uint8Array,
): boolean {
  if (index >= size || !path.every(isHash)) return false;
  let fn = index;
  let sn = size - 1;
  let r: Uint8Array = leaf;
  for (const p of path) {
    if (sn === 0) return false;
    if (fn % 2 === 1 || fn === sn) {
      r = nodeHash(p, r);
      while (fn % 2 === 0 && fn !== 0) {
        fn = Math.floor(fn / 2);
        sn = Math.floor(sn / 2);
      }
    } else {
      r = nodeHash(r, p);
    }
    fn = Math.floor(fn / 2);
    sn = Math.floor(sn / 2);
  }
  return sn === 0 && Buffer.compare(r, root) === 0;
}

/** RFC 9162 §2.1.4.2. */
export function consistencyHolds(
  oldSize: number,
  size: number,
  oldRoot: Uint8Array,
  root: Uint8Array,
  proof: readonly Uint8Array[],
): boolean {
  if (oldSize > size || !proof.every(isHash) || !isHash(oldRoot)) return false;
  if (oldSize === size) return proof.length === 0 && Buffer.compare(oldRoot, root) === 0;
  if (oldSize === 0) return proof.length === 0;
  const path = Number.isInteger(Math.log2(oldSize)) ? [oldRoot, ...proof] : [...proof];
  if (path.length === 0) return false;
  let fn = oldSize - 1;
  let sn = size - 1;
  while (fn % 2 === 1) {
    fn = Math.floor(fn / 2);
    sn = Math.floor(sn / 2);
  }
  let fr = path[0];
  let sr = path[0];
  for (const c of path.slice(1)) {
    if (sn === 0) return false;
    if (fn % 2 === 1 || fn === sn) {
      fr = nodeHash(c, fr);
      sr = nodeHash(c, sr);
      while (fn % 2 === 0 && fn !== 0) {
        fn = Math.floor(fn / 2);
        sn = Math.floor(sn / 2);
      }
    } else {
      sr = nodeHash(sr, c);
    }
    fn = Math.floor(fn / 2);
    sn = Math.floor(sn / 2);
  }
  return sn === 0 && Buffer.compare(fr, oldRoot) === 0 && Buffer.compare(sr, root) === 0;
}

/** The largest power of two not above `count`. */
function splitPoint(count: number): number {
  let power = 1;
  while (power * 2 <= count) power *= 2;
  return power;
}

/** The largest power of two below `count` (RFC 6962's k), for `count` > 1. */
function halfPoint(count: number): number {
  const power = splitPoint(count);
  return power === count ? count / 2 : power;
}
