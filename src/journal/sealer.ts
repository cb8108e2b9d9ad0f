/**
 * The sealer follows the segment files behind the appender: it syncs them, hashes their blocks into the tree, writes
 * tiles and entry bundles, and signs checkpoints. It runs in a worker thread and shares nothing with the appender but
 * the files; whatever it has made it can make again from them.
 *
 *   segments:  … sealed ─────────▶│ … synced ────▶│ … written ──▶
 *              tree, tiles        │ durable       │ in the page cache
 *   checkpoint ≤ sealed ≤ synced ≤ written
 *
 * Invariants
 *  1. Nothing is hashed before it was synced, so a checkpoint never covers a block that a crash could take back.
 *  2. A checkpoint is written only after every tile and bundle it needs was written. They need not be durable: up to
 *     `tilesSynced` they are, and behind that they are made again from the segments at the next start.
 *  3. After a failed fsync the kernel may have dropped pages and called them clean. The range is then read back,
 *     checked, written again and synced again before anything of it counts as durable. So is, once, what an earlier
 *     process left unsigned, since a failed fsync is told only once.
 *  4. Opening proves that the tree still has the signed root; a journal that lost signed blocks is not opened.
 */
import { AppError, systemErrorCode } from '../base/errors.ts';
import {
  damaged,
  decodeBundle,
  encodeBundle,
  lostSigned,
  pruneTiles,
  readCheckpoint,
  readState,
  stateText,
} from './log-files.ts';
import { type Disk, readFully, replaceFile, syncFile } from './disk.ts';
import { BLOCK_HEADER_BYTES, decodeEntry, encodeEntry, type Entry, SEGMENT_HEADER_BYTES } from './format.ts';
import { type Layout, partialFolder, partialPath, segmentPath, tilePath } from './layout.ts';
import { type Checkpoint, checkpointText, openCheckpoint, type SignerKey, signNote } from './note.ts';
import {
  BlockScanner,
  ChainCursor,
  listSegments,
  openSegment,
  type ReadableSegment,
  type ScanResult,
} from './segments.ts';
import { HASH_BYTES, leafHash, type SubtreeRoot, subtreesOfTiles, TILE_WIDTH, TileTree } from './tree.ts';

type TileLevel = number | 'entries';

export class Sealer {
  readonly #disk: Disk;
  readonly #layout: Layout;
  readonly #signer: SignerKey;
  readonly #tree: TileTree;
  readonly #bundle: Buffer[] = [];
  /** Goes ahead of `#hash`; what is behind it is on stable storage. `null` before the first segment. */
  #synced: ChainCursor | null = null;
  #hash: ChainCursor | null = null;
  #hashEnd = 0; // length of its segment, as last asked for
  /** The block at the hash cursor was read but not taken into the tree yet (writing a tile failed). */
  #held = false;
  /** The last segment that was there before this process; -1 when there was none. */
  readonly #lastInherited: number;
  #segmentNamed = false;
  #syncFailed = false;
  /** The current segment's bytes before this place are on stable storage. */
  #syncedBytes = 0;
  #signed: Checkpoint;
  #tilesSynced: number;
  /** Full tiles written since `tilesSynced`, in two generations: one being synced, one collecting. */
  #syncing: string[] = [];
  #syncingFolders = new Set<string>();
  #syncingTarget: number;
  #collected: string[] = [];
  #persistedTiles: number;

  private constructor(
    disk: Disk,
    layout: Layout,
    signer: SignerKey,
    checkpoint: Checkpoint,
    tilesSynced: number,
  ) {
    this.#disk = disk;
    this.#layout = layout;
    this.#signer = signer;
    this.#signed = checkpoint;
    this.#tilesSynced = tilesSynced;
    this.#syncingTarget = tilesSynced;
    this.#persistedTiles = tilesSynced;
    this.#lastInherited = listSegments(disk, layout).at(-1) ?? -1;
    const sink = (level: number, index: number, hashes: Buffer): void =>
      this.#writeFull(level, index, hashes);
    this.#tree =
      tilesSynced === 0
        ? new TileTree(sink)
        : TileTree.resume(tilesSynced, (level, index) => this.#readTile(level, index), sink);
  }

  /**
   * Opens the log behind recovered segments and brings tiles and bundles up to the checkpoint. Throws `corrupt` when
   * the signed part of the journal is not what was signed.
   */
  static open(disk: Disk, layout: Layout, signer: SignerKey): Sealer {
    const checkpoint = readCheckpoint(disk, layout, signer);
    const first = listSegments(disk, layout)[0] ?? 0;
    const aligned = (size: number): number => size - (size % TILE_WIDTH);
    const mark = Math.min(readState(disk, layout), aligned(checkpoint.size));
    // Where retention has dropped the blocks, their tiles are known durable; the root proves it below.
    const start = mark >= first ? mark : aligned(checkpoint.size);
    let sealer: Sealer;
    try {
      sealer = new Sealer(disk, layout, signer, checkpoint, start);
    } catch (error) {
      if (first > 0 || systemErrorCode(error) !== 'ENOENT') throw error;
      sealer = new Sealer(disk, layout, signer, checkpoint, 0);
    }
    sealer.#catchUp();
    return sealer;
  }

  /** Events before this position are durable. */
  get durable(): number {
    return this.#synced?.nextSeq ?? 0;
  }

  /** Blocks before this index are durable. */
  get durableBlocks(): number {
    return this.#synced?.nextBlock ?? 0;
  }

  get sealed(): number {
    return this.#tree.size;
  }

  get signed(): Checkpoint {
    return this.#signed;
  }

  /** Blocks before this index have all their full tiles and bundles durable, and that is recorded. */
  get tilesSynced(): number {
    return this.#persistedTiles;
  }

  /** Subtree roots of the tree up to the last checkpoint, for proofs. */
  get subtree(): SubtreeRoot {
    return subtreesOfTiles((level, index, count) => {
      const edge = this.#tree.edge(level);
      return edge.index === index && count <= edge.width ? edge.hashes : this.#readTile(level, index);
    });
  }

  /**
   * Syncs what the appender has written. Throws the system's error when that fails; the next call then writes the range
   * again first. Returns whether anything new is durable.
   */
  sync(): boolean {
    const cursor = (this.#synced ??= this.#startSyncing());
    if (cursor === null) return false;
    const before = cursor.nextSeq;
    for (;;) {
      // Asked for before the size: when the successor is there, the appender is done with this segment.
      const last = !cursor.hasSuccessor();
      const size = cursor.segment.file.size();
      if (size > this.#syncedBytes || this.#syncFailed) this.#syncSegment(cursor, size);
      let result: ScanResult = 'block';
      while (result === 'block') result = cursor.next(size);
      if (result === 'bad') throw damaged(this.#layout, cursor, cursor.scanner.problem);
      if (last && !cursor.hasSuccessor()) return cursor.nextSeq > before;
      if (last) continue;
      if (cursor.offset !== size) throw damaged(this.#layout, cursor);
      const problem = cursor.moveOn();
      if (problem !== null) throw damaged(this.#layout, cursor, problem);
      this.#segmentNamed = false;
      this.#syncedBytes = 0;
      this.#syncFailed = cursor.segment.firstBlock <= this.#lastInherited;
    }
  }

  /** Whether something was written that {@link sync} has not seen. */
  behind(): boolean {
    const cursor = this.#synced;
    if (cursor === null) return listSegments(this.#disk, this.#layout).length > 0;
    return cursor.segment.file.size() > this.#syncedBytes || cursor.hasSuccessor();
  }

  /**
   * Takes synced blocks into the tree, about `maxBytes` of them. Returns whether there are more. Throws the system's
   * error when a tile cannot be written; nothing is lost by that.
   */
  seal(maxBytes: number): boolean {
    this.#hash ??= this.#startCursor(true);
    const cursor = this.#hash;
    const synced = this.#synced;
    if (cursor === null || synced === null) return false;
    let budget = maxBytes;
    while (cursor.nextBlock < synced.nextBlock || this.#held) {
      if (budget <= 0) return true;
      budget -= this.#sealNext(cursor);
    }
    return false;
  }

  /** Signs the tree as it is, if it has grown. Throws the system's error when something cannot be written. */
  checkpoint(): boolean {
    if (this.#tree.size === this.#signed.size) return false;
    this.#writePartials();
    const text = checkpointText(this.#signer.verifier.name, this.#tree.size, this.#tree.root());
    const bytes = Buffer.from(signNote(text, this.#signer));
    const checkpoint = openCheckpoint(bytes, this.#signer.verifier);
    if (typeof checkpoint === 'string')
      throw new AppError('corrupt', 'JOURNAL_SIGNING', `the new checkpoint is unusable: ${checkpoint}`);
    replaceFile(this.#disk, this.#layout.checkpoint, bytes);
    this.#signed = checkpoint;
    return true;
  }

  /** Makes up to `count` full tiles durable; when a generation is through, the mark moves. Returns whether more wait. */
  syncTiles(count: number): boolean {
    for (let i = 0; i < count; i++) {
      const path = this.#syncing.at(-1);
      if (path === undefined) {
        this.#finishGeneration();
        if (this.#collected.length === 0) return false;
        this.#syncing = this.#collected;
        this.#collected = [];
        this.#syncingTarget = this.#tree.size - (this.#tree.size % TILE_WIDTH);
        continue;
      }
      syncFile(this.#disk, path);
      for (let folder = path; folder.length > this.#layout.log.length; ) {
        folder = folder.slice(0, folder.lastIndexOf('/'));
        this.#syncingFolders.add(folder);
      }
      this.#syncing.pop();
    }
    return true;
  }

  /** Full tiles that are written and not durable yet. */
  get tilesWaiting(): number {
    return this.#syncing.length + this.#collected.length;
  }

  /** Whether {@link saveState} has something to record. */
  get stateChanged(): boolean {
    return this.#persistedTiles !== this.#tilesSynced;
  }

  /** Records how far tiles are durable, if that has changed. */
  saveState(): void {
    if (!this.stateChanged) return;
    replaceFile(this.#disk, this.#layout.state, Buffer.from(stateText(this.#tilesSynced)));
    this.#persistedTiles = this.#tilesSynced;
  }

  /**
   * Brings everything to its end: synced, sealed, signed, and tiles durable as far as `patient` says so before each of
   * them; what is left of those is made again at the next start.
   */
  finish(patient: () => boolean = () => true): void {
    this.sync();
    while (this.seal(Number.MAX_SAFE_INTEGER));
    this.checkpoint();
    while (patient() && this.syncTiles(1));
    this.saveState();
  }

  close(): void {
    this.#synced?.close();
    this.#hash?.close();
    this.#synced = null;
    this.#hash = null;
  }

  // ---- syncing ----------------------------------------------------------------------------------------------

  /** What an earlier process left unsigned may have seen a failed fsync of which we know nothing: it is written again. */
  #startSyncing(): ChainCursor | null {
    const cursor = this.#startCursor(false);
    this.#syncFailed = cursor !== null && cursor.segment.firstBlock <= this.#lastInherited;
    // With a signed block in the segment, its header and all before the cursor are safe.
    if (cursor !== null && cursor.nextBlock > cursor.segment.firstBlock) this.#syncedBytes = cursor.offset;
    return cursor;
  }

  #syncSegment(cursor: ChainCursor, size: number): void {
    const { file } = cursor.segment;
    if (this.#syncFailed) this.#rewrite(cursor, size);
    this.#syncFailed = true;
    file.datasync();
    if (!this.#segmentNamed) this.#disk.syncFolder(this.#layout.segments);
    this.#segmentNamed = true;
    this.#syncFailed = false;
    this.#syncedBytes = size;
  }

  /** Writes the range that a failed sync may have lost again, after checking that it can still be read. */
  #rewrite(cursor: ChainCursor, size: number): void {
    const { file } = cursor.segment;
    const check = new BlockScanner(file, cursor.offset, true);
    for (;;) {
      const result = check.next(size);
      if (result === 'bad')
        throw damaged(this.#layout, cursor, 'the device lost records that were not synced yet');
      if (result !== 'block') break;
    }
    const chunk = Buffer.allocUnsafe(64 * 1024);
    for (let at = this.#syncedBytes; at < size; ) {
      const count = readFully(file, chunk, Math.min(chunk.length, size - at), at);
      if (count === 0) break;
      for (let done = 0; done < count; ) done += file.write(chunk, done, count - done, at + done);
      at += count;
    }
  }

  // ---- sealing ----------------------------------------------------------------------------------------------

  #sealNext(cursor: ChainCursor): number {
    while (!this.#held) {
      // The file only grows: what it held a while ago is enough until that is used up.
      if (cursor.offset >= this.#hashEnd) this.#hashEnd = cursor.segment.file.size();
      const result = cursor.next(this.#hashEnd);
      if (result === 'block') {
        this.#held = true;
      } else if (result === 'end' && cursor.hasSuccessor()) {
        const problem = cursor.moveOn();
        if (problem !== null) throw damaged(this.#layout, cursor, problem);
        this.#hashEnd = 0;
      } else if (result === 'partial' && cursor.segment.file.size() > this.#hashEnd) {
        this.#hashEnd = cursor.segment.file.size();
      } else {
        throw damaged(this.#layout, cursor, cursor.scanner.problem);
      }
    }
    const { bytes, at, end, offset, header } = cursor.scanner;
    const { segment } = cursor;
    const entry = encodeEntry(
      bytes,
      at,
      end,
      segment.firstBlock,
      offset,
      header?.firstOfSegment === true ? segment.headerSha256 : null,
    );
    // Each step may fail and is then repeated with the same block.
    const slot = this.#tree.size % TILE_WIDTH;
    this.#bundle[slot] = entry;
    if (slot === TILE_WIDTH - 1)
      this.#writeFull('entries', Math.floor(this.#tree.size / TILE_WIDTH), encodeBundle(this.#bundle));
    this.#tree.append(leafHash(entry));
    this.#held = false;
    if (slot === TILE_WIDTH - 1) this.#bundle.length = 0;
    return end - at;
  }

  /** Brings the tree from the durable tiles to the checkpoint and proves the signed root. */
  #catchUp(): void {
    const target = this.#signed.size;
    if (this.#tree.size < target) {
      this.#hash = this.#startCursor(true);
      if (this.#hash === null) throw lostSigned(this.#layout, 'the segments are missing');
      while (this.#tree.size < target) this.#sealNext(this.#hash);
    }
    if (!this.#tree.root().equals(this.#signed.root))
      throw lostSigned(this.#layout, 'its tree has another root');
    this.#repairPartials();
  }

  /** A cursor at the tree's end; `null`: no segment has it yet. */
  #startCursor(checked: boolean): ChainCursor | null {
    const target = this.#tree.size;
    const firstBlock = listSegments(this.#disk, this.#layout).findLast((first) => first <= target);
    if (firstBlock === undefined) return null;
    const mode = checked ? 'read' : 'update';
    const segment = openSegment(this.#disk, this.#layout, firstBlock, mode);
    if (typeof segment === 'string')
      throw lostSigned(this.#layout, `${segmentPath(this.#layout, firstBlock)}: ${segment}`);
    const cursor = new ChainCursor(this.#disk, this.#layout, this.#startPlace(segment), { checked, mode });
    while (cursor.nextBlock < target) {
      const result = cursor.next(cursor.segment.file.size());
      if (result === 'block') continue;
      const problem = result === 'bad' ? cursor.scanner.problem : 'it ends too early';
      const path = segmentPath(this.#layout, firstBlock);
      throw lostSigned(this.#layout, `${path} at ${cursor.offset}: ${problem}`);
    }
    return cursor;
  }

  /** The tree's end where it is known (the other cursor, the last bundle), else the segment's beginning. */
  #startPlace(segment: ReadableSegment): {
    segment: ReadableSegment;
    offset: number;
    nextBlock: number;
    nextSeq: number;
  } {
    const { size } = this.#tree;
    const hash = this.#hash;
    if (
      hash !== null &&
      !this.#held &&
      hash.nextBlock === size &&
      hash.segment.firstBlock === segment.firstBlock
    )
      return { segment, offset: hash.offset, nextBlock: size, nextSeq: hash.nextSeq };
    if (size > segment.firstBlock && size % TILE_WIDTH === 0) {
      const entry = this.#lastEntry(size);
      if (entry !== null && entry.segmentFirstBlock === segment.firstBlock)
        return {
          segment,
          offset: entry.offset + BLOCK_HEADER_BYTES + entry.payloadBytes,
          nextBlock: size,
          nextSeq: entry.firstSeq + entry.events,
        };
    }
    const { firstBlock, firstSeq } = segment.header;
    return { segment, offset: SEGMENT_HEADER_BYTES, nextBlock: firstBlock, nextSeq: firstSeq };
  }

  /** The last entry before `size`, a multiple of 256, if its bundle is in order. */
  #lastEntry(size: number): Entry | null {
    const path = tilePath(this.#layout, 'entries', size / TILE_WIDTH - 1);
    const raw = this.#disk.exists(path) ? decodeBundle(this.#disk.readFile(path))?.at(-1) : undefined;
    const entry = raw === undefined ? '' : decodeEntry(raw);
    return typeof entry === 'string' || entry.index !== size - 1 ? null : entry;
  }

  // ---- tiles ------------------------------------------------------------------------------------------------

  #readTile(level: TileLevel, index: number): Buffer {
    const bytes = this.#disk.readFile(tilePath(this.#layout, level, index));
    if (level !== 'entries' && bytes.length !== TILE_WIDTH * HASH_BYTES)
      throw lostSigned(this.#layout, `${tilePath(this.#layout, level, index)} is cut off`);
    return bytes;
  }

  #writeFull(level: TileLevel, index: number, bytes: Buffer): void {
    const path = tilePath(this.#layout, level, index);
    this.#write(path, bytes);
    // The partial tiles before it have served (tlog-tiles: they may go once the full one is there).
    this.#disk.removeFolder(partialFolder(this.#layout, level, index));
    this.#collected.push(path);
  }

  #writePartials(): void {
    for (const { level, index, width, bytes } of this.#partials())
      this.#write(partialPath(this.#layout, level, index, width), bytes);
  }

  /** The partial tiles that the tree needs as it is. */
  #partials(): { level: TileLevel; index: number; width: number; bytes: Buffer }[] {
    const found: { level: TileLevel; index: number; width: number; bytes: Buffer }[] = [];
    for (let level = 0; level < this.#tree.levels; level++) {
      const { index, width, hashes } = this.#tree.edge(level);
      if (width > 0) found.push({ level, index, width, bytes: hashes });
    }
    const { index, width } = this.#tree.edge(0);
    if (width > 0)
      found.push({ level: 'entries', index, width, bytes: encodeBundle(this.#bundle.slice(0, width)) });
    return found;
  }

  /**
   * A crash may have torn what was not synced: partial tiles of today's tree are written again, as are earlier ones
   * beside them, and everything that goes beyond it, written for a checkpoint that was never signed, is removed.
   */
  #repairPartials(): void {
    for (const { level, index, width, bytes } of this.#partials()) {
      this.#write(partialPath(this.#layout, level, index, width), bytes);
      for (const { name } of this.#disk.list(partialFolder(this.#layout, level, index))) {
        const count = Number(name);
        if (!(count < width)) continue;
        const part =
          level === 'entries'
            ? encodeBundle(this.#bundle.slice(0, count))
            : bytes.subarray(0, count * HASH_BYTES);
        this.#write(`${partialFolder(this.#layout, level, index)}/${name}`, part);
      }
    }
    for (const { name } of this.#disk.list(`${this.#layout.log}/tile`)) {
      const { index, width } = this.#tree.edge(name === 'entries' ? 0 : Number(name));
      pruneTiles(this.#disk, `${this.#layout.log}/tile/${name}`, index, width);
    }
  }

  /** Files of the log appear whole, since others read them at any time. */
  #write(path: string, bytes: Buffer): void {
    const draft = `${path}.tmp`;
    try {
      this.#disk.writeFile(draft, bytes);
    } catch (error) {
      if (systemErrorCode(error) !== 'ENOENT') throw error;
      this.#disk.makeFolder(path.slice(0, path.lastIndexOf('/')));
      this.#disk.writeFile(draft, bytes);
    }
    this.#disk.rename(draft, path);
  }

  #finishGeneration(): void {
    for (const folder of this.#syncingFolders) this.#disk.syncFolder(folder);
    this.#syncingFolders.clear();
    this.#tilesSynced = Math.min(this.#syncingTarget, this.#signed.size - (this.#signed.size % TILE_WIDTH));
  }
}
