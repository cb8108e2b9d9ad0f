/**
 * The log's files for `verify`: each tile and entry bundle, full or partial, against the tree that is being rebuilt.
 * Only partial files and full ones behind the signed size are remembered; the rest is expected to be there anyway.
 */
import { systemErrorCode } from '../base/errors.ts';
import type { Disk } from './disk.ts';
import { type Layout, partialPath, tileNumber, tilePath } from './layout.ts';
import { decodeBundle, encodeBundle } from './log-files.ts';
import { HASH_BYTES, TILE_WIDTH, type TileTree } from './tree.ts';

/** A place that is broken. */
export interface Place {
  readonly file: string;
  readonly block: number | null;
  /** Bytes from the start of the file. */
  readonly offset: number | null;
  readonly what: string;
}

export class Break extends Error {
  readonly place: Place;

  constructor(place: Place) {
    super(place.what);
    this.place = place;
  }
}

type Level = number | 'entries';

interface Found {
  readonly level: Level;
  readonly index: number;
  full: boolean;
  readonly widths: number[];
}

export class TileFiles {
  readonly #disk: Disk;
  readonly #layout: Layout;
  readonly #signedSize: number;
  /** Partial files, and full ones that the signed size does not call for. */
  readonly #found = new Map<string, Found>();
  #bundleIndex = -1;
  #bundleEntries: Uint8Array[] = [];

  constructor(disk: Disk, layout: Layout, signedSize: number) {
    this.#disk = disk;
    this.#layout = layout;
    this.#signedSize = signedSize;
  }

  /** Looks at the names of all files of the log. A name that no log has is a break. */
  survey(): string[] {
    const unknown: string[] = [];
    for (const { name } of this.#disk.list(this.#layout.log))
      if (!/^(checkpoint(\.cosigned)?(\.tmp)?|tile)$/.test(name))
        throw this.#foreign(`${this.#layout.log}/${name}`);
    for (const { name } of this.#disk.list(`${this.#layout.log}/tile`)) {
      const level = name === 'entries' ? name : Number(name);
      if (level !== 'entries' && String(level) !== name)
        throw this.#foreign(`${this.#layout.log}/tile/${name}`);
      this.#surveyFolder(level, `${this.#layout.log}/tile/${name}`, '', 0);
    }
    return unknown;
  }

  /** The stored entry of a block, when its bundle is there in full or is the signed partial one. */
  entry(block: number): Uint8Array | null {
    const bundle = Math.floor(block / TILE_WIDTH);
    if (bundle !== this.#bundleIndex) {
      this.#bundleIndex = bundle;
      const end = Math.min((bundle + 1) * TILE_WIDTH, this.#signedSize);
      this.#bundleEntries = end > bundle * TILE_WIDTH ? this.#entriesOf(bundle) : [];
    }
    return this.#bundleEntries[block % TILE_WIDTH] ?? null;
  }

  /** The bytes of a bundle that the signed size calls for, partial or full. */
  bundle(index: number): { bytes: Buffer; path: string } {
    const width = Math.min(TILE_WIDTH, this.#signedSize - index * TILE_WIDTH);
    return this.#required('entries', index, width);
  }

  /** A tile of hashes has filled. `block` is the leaf that filled it. */
  full(level: number, index: number, hashes: Buffer, block: number): void {
    this.#compare(level, index, hashes, block, (width) => hashes.subarray(0, width * HASH_BYTES));
  }

  fullBundle(index: number, entries: readonly Uint8Array[]): void {
    const bytes = encodeBundle(entries);
    const block = index * TILE_WIDTH + TILE_WIDTH - 1;
    this.#compare('entries', index, bytes, block, (width) => encodeBundle(entries.slice(0, width)));
  }

  /** The tree has reached the signed size: the partial files that this size calls for must be there. */
  signedEdge(tree: TileTree, bundle: readonly Uint8Array[]): void {
    for (let level = 0; level < tree.levels; level++) {
      const { index, width, hashes } = tree.edge(level);
      if (width > 0) this.#edge(level, index, width, hashes);
    }
    const { index, width } = tree.edge(0);
    if (width > 0) this.#edge('entries', index, width, encodeBundle(bundle.slice(0, width)));
  }

  /** The end of everything: what is still remembered must be of the tiles that are filling. */
  end(tree: TileTree, bundleIndex: number, bundle: readonly Uint8Array[]): void {
    for (const { level, index, full, widths } of this.#found.values()) {
      const edge =
        level === 'entries'
          ? { index: bundleIndex, width: bundle.length, hashes: Buffer.alloc(0) }
          : tree.edge(level);
      if (full && this.#disk.exists(tilePath(this.#layout, level, index)))
        throw this.#at(
          tilePath(this.#layout, level, index),
          'the tile is full, but the journal does not have its blocks',
        );
      for (const width of widths) {
        const path = partialPath(this.#layout, level, index, width);
        if (index !== edge.index || width > edge.width)
          throw this.#at(path, 'the partial tile covers blocks that the journal does not have');
        const expected =
          level === 'entries'
            ? encodeBundle(bundle.slice(0, width))
            : edge.hashes.subarray(0, width * HASH_BYTES);
        this.#same(path, expected, null);
      }
    }
  }

  #surveyFolder(level: Level, path: string, prefix: string, base: number): void {
    for (const { name, folder } of this.#disk.list(path)) {
      if (isDraft(name, folder)) continue;
      const found = /^(x?)([0-9]{3})(\.p)?$/.exec(name);
      const index = base * 1000 + Number(found?.[2] ?? NaN);
      const here = `${prefix}${name}`;
      if (found === null || folder === (found[1] === '' && found[3] === undefined))
        throw this.#foreign(`${path}/${name}`);
      if (found[1] !== '') {
        this.#surveyFolder(level, `${path}/${name}`, `${here}/`, index);
        continue;
      }
      if (here.replace(/\.p$/, '') !== tileNumber(index)) throw this.#foreign(`${path}/${name}`);
      if (folder) this.#surveyPartials(level, index, `${path}/${name}`);
      else if (index >= this.#signedFull(level)) this.#remember(level, index).full = true;
    }
  }

  #surveyPartials(level: Level, index: number, path: string): void {
    for (const { name, folder } of this.#disk.list(path)) {
      if (isDraft(name, folder)) continue;
      const width = Number(name);
      if (folder || !(width >= 1 && width < TILE_WIDTH) || String(width) !== name)
        throw this.#foreign(`${path}/${name}`);
      this.#remember(level, index).widths.push(width);
    }
  }

  #remember(level: Level, index: number): Found {
    const key = `${level}/${index}`;
    let found = this.#found.get(key);
    if (found === undefined) {
      found = { level, index, full: false, widths: [] };
      this.#found.set(key, found);
    }
    return found;
  }

  /** Full tiles of a level under the signed size. */
  #signedFull(level: Level): number {
    return Math.floor(this.#signedSize / TILE_WIDTH ** ((level === 'entries' ? 0 : level) + 1));
  }

  #compare(level: Level, index: number, bytes: Buffer, block: number, part: (width: number) => Buffer): void {
    const path = tilePath(this.#layout, level, index);
    const key = `${level}/${index}`;
    const found = this.#found.get(key);
    if (index < this.#signedFull(level) || found?.full === true) this.#same(path, bytes, block);
    // Partial files of a full tile may be left over from a crash, or go while this runs; wrong they must not be.
    for (const width of found?.widths ?? [])
      this.#same(partialPath(this.#layout, level, index, width), part(width), block, true);
    this.#found.delete(key);
  }

  #edge(level: Level, index: number, width: number, expected: Buffer): void {
    const { bytes, path } = this.#required(level, index, width);
    const prefix = bytes.subarray(0, expected.length);
    const isPartial = path === partialPath(this.#layout, level, index, width);
    if (!prefix.equals(expected) || (isPartial && bytes.length !== expected.length))
      throw this.#at(path, 'the tile is not the one of these blocks');
  }

  /** A partial file of the signed size, or the full one that has taken its place since. */
  #required(level: Level, index: number, width: number): { bytes: Buffer; path: string } {
    const full = tilePath(this.#layout, level, index);
    const paths = width === TILE_WIDTH ? [full] : [partialPath(this.#layout, level, index, width), full];
    for (const path of paths) {
      const bytes = this.#read(path);
      if (bytes !== null) return { bytes, path };
    }
    throw this.#at(paths[0], 'the file is missing');
  }

  #entriesOf(bundle: number): Uint8Array[] {
    const { bytes, path } = this.bundle(bundle);
    const entries = decodeBundle(bytes);
    if (entries === null) throw this.#at(path, 'the entry bundle is damaged');
    return entries;
  }

  #same(path: string, expected: Buffer, block: number | null, mayBeGone = false): void {
    const bytes = this.#read(path);
    if (bytes === null) {
      if (mayBeGone) return;
      throw this.#at(path, 'the file is missing');
    }
    if (bytes.equals(expected)) return;
    let offset = 0;
    while (offset < bytes.length && bytes[offset] === expected[offset]) offset++;
    throw new Break({ file: path, block, offset, what: 'the tile is not the one of these blocks' });
  }

  #read(path: string): Buffer | null {
    try {
      return this.#disk.readFile(path);
    } catch (error) {
      if (systemErrorCode(error) === 'ENOENT') return null;
      throw error;
    }
  }

  #foreign(file: string): Break {
    return this.#at(file, 'this file does not belong in the log');
  }

  #at(file: string, what: string): Break {
    return new Break({ file, block: null, offset: null, what });
  }
}

/** What a writer has not finished, or a crash has left of that. Nobody reads it. */
function isDraft(name: string, folder: boolean): boolean {
  return !folder && name.endsWith('.tmp');
}
