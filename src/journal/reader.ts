/**
 * The read side: following the journal block by block, and random access by event position. Works on the files alone,
 * from any thread or process, while the writer writes: a block that is not whole yet is waited for, a segment that
 * retention dropped is skipped, a tail that recovery cut is read again as it is then.
 *
 * Where a block is is looked up in the entry bundles; behind the last full bundle the segment is scanned. A place found
 * is believed only when the block there has the right index, and a block only when its checksum holds.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { fromBinary } from '@bufbuild/protobuf';
import { AppError, systemErrorCode } from '../base/errors.ts';
import { type Uid, uidToBytes } from '../base/ids.ts';
import { type Event, EventSchema } from '../model/events.ts';
import { checkMasterKey, blockKey, decryptPayload, openSegmentKey } from './crypt.ts';
import type { Disk } from './disk.ts';
import {
  BLOCK_HEADER_BYTES,
  type BlockHeader,
  decodeEntry,
  type Entry,
  SEGMENT_HEADER_BYTES,
} from './format.ts';
import { type Layout, layoutOf, segmentPath, tilePath } from './layout.ts';
import { decodeBundle } from './log-files.ts';
import { parseCheckpoint } from './note.ts';
import { realDisk } from './real-disk.ts';
import { ChainCursor, listSegments, openSegment, type ReadableSegment } from './segments.ts';
import { TILE_WIDTH } from './tree.ts';

/**
 * Longest wait for something new. Looking costs two system calls; watching the folder instead costs more, since a busy
 * writer fires the watch for every flush, and making one for each wait takes the kernel milliseconds.
 */
const POLL_MAX_MS = 50;
/** The event loop gets a turn at least this often while there is much to read. */
const YIELD_BYTES = 1024 * 1024;
const CACHED_BLOCKS = 16;

export interface ReaderOptions {
  /** The journal's encryption key, 32 bytes, when it is encrypted. */
  readonly key?: Uint8Array | null;
  readonly disk?: Disk;
}

/** A block, decrypted and checked. `payload` is (varint length, Event)*, the caller's to keep. */
export interface JournalBlock {
  readonly index: number;
  readonly firstSeq: number;
  readonly count: number;
  /** Times of its first and last event, µs since 1970. */
  readonly firstUs: number;
  readonly lastUs: number;
  readonly payload: Buffer;
}

export interface JournalRange {
  /** The oldest block that is still there, and its first event. */
  readonly firstBlock: number;
  readonly firstSeq: number;
  /** What comes after the newest block that can be read now. */
  readonly nextBlock: number;
  readonly nextSeq: number;
}

export interface JournalEvent {
  readonly seq: number;
  readonly event: Event;
}

export class JournalReader {
  readonly #disk: Disk;
  readonly #layout: Layout;
  readonly #key: Uint8Array | null;
  readonly #segmentKeys = new Map<number, Buffer>();
  readonly #cache = new Map<number, JournalBlock>();
  /** Follows the end for {@link range}. */
  #tail: ChainCursor | null = null;

  private constructor(disk: Disk, layout: Layout, key: Uint8Array | null) {
    this.#disk = disk;
    this.#layout = layout;
    this.#key = key;
  }

  /** Opens a journal for reading; throws `not-found` when the folder holds none. */
  static open(folder: string, options: ReaderOptions = {}): JournalReader {
    const disk = options.disk ?? realDisk;
    const layout = layoutOf(folder);
    if (!disk.exists(layout.checkpoint))
      throw new AppError('not-found', 'JOURNAL_NOT_FOUND', `there is no journal in ${folder}`);
    if (options.key) checkMasterKey(options.key);
    return new JournalReader(disk, layout, options.key ?? null);
  }

  /** The journal's origin: its unique name. */
  get origin(): string {
    const checkpoint = parseCheckpoint(this.#disk.readFile(this.#layout.checkpoint));
    if (typeof checkpoint === 'string') throw this.#damaged(`${this.#layout.checkpoint}: ${checkpoint}`);
    return checkpoint.origin;
  }

  /** The newest checkpoint as it is stored, a signed note. */
  checkpoint(): string {
    return this.#disk.readFile(this.#layout.checkpoint).toString('utf8');
  }

  async range(): Promise<JournalRange> {
    const first = listSegments(this.#disk, this.#layout)[0];
    if (first === undefined) return { firstBlock: 0, firstSeq: 0, nextBlock: 0, nextSeq: 0 };
    const firstSegment = this.#open(first);
    firstSegment.file.close();
    const { firstSeq } = firstSegment.header;
    const tail = (this.#tail ??= this.#cursor(listSegments(this.#disk, this.#layout).at(-1) ?? first, null));
    while (this.#advance(tail) !== null);
    return { firstBlock: first, firstSeq, nextBlock: tail.nextBlock, nextSeq: tail.nextSeq };
  }

  /** The blocks from index `fromBlock`, or from the oldest that is there, to the present end. */
  *blocks(fromBlock = 0): Generator<JournalBlock> {
    const cursor = this.#cursorAt(fromBlock);
    if (cursor === null) return;
    try {
      for (;;) {
        const header = this.#advance(cursor);
        if (header === null) return;
        if (header.index >= fromBlock) yield this.#take(cursor, header);
      }
    } finally {
      cursor.close();
    }
  }

  /** The events from position `fromSeq`, or from the oldest that is there, to the present end. */
  *events(fromSeq = 0): Generator<JournalEvent> {
    for (const block of this.blocksFrom(fromSeq))
      for (const one of decodeBlock(block)) if (one.seq >= fromSeq) yield one;
  }

  /** The blocks from the one that holds position `fromSeq`, or from the oldest that is there, to the present end. */
  *blocksFrom(fromSeq: number): Generator<JournalBlock> {
    const first = listSegments(this.#disk, this.#layout)[0];
    if (first === undefined) return;
    let fromBlock = first;
    const place = this.#seek(fromSeq);
    if (place !== null) {
      fromBlock = place.header.index;
      place.cursor.close();
    }
    yield* this.blocks(fromBlock);
  }

  /**
   * The events of one statement in order: StatementStarted, chunks, StatementFinished. `fromSeq` to `toSeq` (inclusive) bound the search.
   */
  *statementEvents(session: Uid, ordinal: number, fromSeq: number, toSeq: number): Generator<JournalEvent> {
    const place = this.#seek(fromSeq);
    if (place === null) return;
    const fromBlock = place.header.index;
    place.cursor.close();
    const uid = uidToBytes(session);
    for (const block of this.blocks(fromBlock)) {
      if (block.firstSeq > toSeq) return;
      // A look for the session's bytes is far cheaper than decoding everybody else's events.
      if (!block.payload.includes(uid)) continue;
      for (const one of decodeBlock(block)) {
        if (one.seq < fromSeq || one.seq > toSeq || Buffer.compare(one.event.sessionUid, uid) !== 0) continue;
        const of = ordinalOf(one.event);
        if (of === ordinal) yield one;
        if (of === ordinal && one.event.body.case === 'statementFinished') return;
      }
    }
  }

  /**
   * Blocks in order from index `fromBlock` on, or from the oldest that is there; waits for more at the end until
   * `signal` aborts, and then ends. Throws `corrupt` when a signed block is damaged, `denied` without the right key.
   */
  async *follow(fromBlock: number, signal: AbortSignal): AsyncGenerator<JournalBlock> {
    let cursor: ChainCursor | null = null;
    let unyielded = 0;
    let idleMs = 0;
    try {
      while (!signal.aborted) {
        cursor ??= this.#startCursor(fromBlock);
        const header = cursor === null ? null : this.#advance(cursor);
        if (cursor !== null && header !== null) {
          idleMs = 0;
          if (header.index < fromBlock) continue;
          yield this.#take(cursor, header);
          unyielded += header.payloadBytes;
          if (unyielded < YIELD_BYTES) continue;
          unyielded = 0;
          await nextTurn();
          continue;
        }
        if (cursor !== null && this.#dropped(cursor)) {
          fromBlock = Math.max(fromBlock, cursor.nextBlock);
          cursor.close();
          cursor = null;
          continue;
        }
        idleMs = Math.min(POLL_MAX_MS, idleMs * 2 + 1);
        await this.#wait(idleMs, signal);
      }
    } finally {
      cursor?.close();
    }
  }

  /** One event by its position; `null` when it was dropped by retention or does not exist yet. */
  readEvent(seq: number): Event | null {
    for (const block of this.#cache.values())
      if (seq >= block.firstSeq && seq < block.firstSeq + block.count)
        return decodeBlock(block)[seq - block.firstSeq].event;
    const place = this.#seek(seq);
    if (place === null) return null;
    const block = this.#take(place.cursor, place.header);
    place.cursor.close();
    this.#cache.set(block.index, block);
    if (this.#cache.size > CACHED_BLOCKS) this.#cache.delete(this.#cache.keys().next().value ?? -1);
    return decodeBlock(block)[seq - block.firstSeq].event;
  }

  /** One block by its index; `null` when it was dropped by retention or does not exist yet. */
  readBlock(index: number): JournalBlock | null {
    const cursor = this.#cursorAt(index);
    if (cursor === null) return null;
    try {
      for (;;) {
        const header = this.#advance(cursor);
        if (header === null || header.index > index) return null;
        if (header.index === index) return this.#take(cursor, header);
      }
    } finally {
      cursor.close();
    }
  }

  /** One block as it is stored, with the key that decrypts it alone (empty when it is not encrypted). */
  storedBlock(index: number): { index: number; payload: Buffer; key: Buffer } {
    const cursor = this.#cursorAt(index);
    try {
      for (;;) {
        const header = cursor === null ? null : this.#advance(cursor);
        if (cursor === null || header === null || header.index > index) break;
        if (header.index < index) continue;
        const { bytes, at, end } = cursor.scanner;
        const key = header.encrypted ? blockKey(this.#segmentKey(cursor.segment), index) : Buffer.alloc(0);
        return { index, payload: Buffer.from(bytes.subarray(at + BLOCK_HEADER_BYTES, end)), key };
      }
    } finally {
      cursor?.close();
    }
    throw new AppError(
      'not-found',
      'JOURNAL_NOT_FOUND',
      `the journal does not have block ${index} (any more)`,
    );
  }

  async close(): Promise<void> {
    this.#tail?.close();
    this.#tail = null;
    this.#cache.clear();
  }

  /** The next block's header, or `null` when there is none yet. */
  #advance(cursor: ChainCursor): BlockHeader | null {
    for (;;) {
      // Asked before reading: with a successor there, this segment does not grow any more.
      const last = !cursor.hasSuccessor();
      const result = cursor.next(cursor.segment.file.size());
      if (result === 'block') return cursor.scanner.header;
      cursor.scanner.forget();
      if (result === 'bad' && cursor.nextBlock < this.#signedSize())
        throw this.#damaged(
          `${segmentPath(this.#layout, cursor.segment.firstBlock)} at ${cursor.offset}: ${cursor.scanner.problem}`,
        );
      if (last || result === 'bad') return null;
      const problem = cursor.moveOn();
      if (problem !== null) return null;
    }
  }

  #take(cursor: ChainCursor, header: BlockHeader): JournalBlock {
    const { bytes, at, end } = cursor.scanner;
    const { index, firstSeq, events, firstUs, lastUs } = header;
    const stored = bytes.subarray(at + BLOCK_HEADER_BYTES, end);
    let payload: Buffer | null;
    if (header.encrypted) {
      const key = blockKey(this.#segmentKey(cursor.segment), index);
      payload = decryptPayload(key, index, bytes.subarray(at + 8, at + BLOCK_HEADER_BYTES), stored);
    } else {
      payload = Buffer.from(stored);
    }
    if (payload === null) throw this.#damaged(`block ${index} does not decrypt`);
    return { index, firstSeq, count: events, firstUs, lastUs, payload };
  }

  #segmentKey(segment: ReadableSegment): Buffer {
    const known = this.#segmentKeys.get(segment.firstBlock);
    if (known !== undefined) return known;
    const key = openSegmentKey(segment.header, this.#key);
    this.#segmentKeys.set(segment.firstBlock, key);
    return key;
  }

  /** Neither this segment nor its successor is there any more, but later ones are. */
  #dropped(cursor: ChainCursor): boolean {
    const firsts = listSegments(this.#disk, this.#layout);
    return firsts.length > 0 && firsts[0] > cursor.nextBlock;
  }

  #signedSize(): number {
    const checkpoint = parseCheckpoint(this.#disk.readFile(this.#layout.checkpoint));
    return typeof checkpoint === 'string' ? 0 : checkpoint.size;
  }

  // ---- finding ----------------------------------------------------------------------------------------------

  /** As `#cursorAt`, when retention may take the segment away in between. */
  #startCursor(index: number): ChainCursor | null {
    try {
      return this.#cursorAt(index);
    } catch (error) {
      if (systemErrorCode(error) === 'ENOENT') return null;
      throw error;
    }
  }

  /** A cursor at or before a block, in the segment that has it or would have it; `null` without segments. */
  #cursorAt(index: number): ChainCursor | null {
    const firsts = listSegments(this.#disk, this.#layout);
    const first = firsts.findLast((one) => one <= index) ?? firsts[0];
    if (first === undefined) return null;
    const entry = this.#entryBefore(index);
    return this.#cursor(first, entry !== null && entry.segmentFirstBlock === first ? entry : null);
  }

  /** The block with an event, just read by the cursor; `null` when it was dropped or does not exist yet. */
  #seek(seq: number): { cursor: ChainCursor; header: BlockHeader } | null {
    const firsts = listSegments(this.#disk, this.#layout);
    let low = 0;
    let high = firsts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const segment = this.#open(firsts[middle]);
      segment.file.close();
      if (segment.header.firstSeq <= seq) low = middle + 1;
      else high = middle;
    }
    if (low === 0) return null;
    const first = firsts[low - 1];
    const cursor = this.#cursor(first, this.#lastEntryAt(first, firsts[low] ?? Infinity, seq));
    // From the nearest bundle on it is a short walk.
    for (;;) {
      const header = this.#advance(cursor);
      if (header !== null && header.firstSeq + header.events <= seq) continue;
      if (header !== null && header.firstSeq <= seq) return { cursor, header };
      cursor.close();
      return null;
    }
  }

  /** The last entry of the last full bundle before `index`. */
  #entryBefore(index: number): Entry | null {
    const bundle = Math.floor(Math.min(index, this.#signedSize()) / TILE_WIDTH) - 1;
    return bundle < 0 ? null : this.#bundleEntry(bundle, TILE_WIDTH - 1);
  }

  /** Within a segment's blocks, the last bundle-closing entry whose events all come before `seq`. */
  #lastEntryAt(firstBlock: number, nextFirst: number, seq: number): Entry | null {
    const end = Math.min(nextFirst, this.#signedSize());
    let low = Math.floor(firstBlock / TILE_WIDTH);
    let high = Math.floor(end / TILE_WIDTH);
    let found: Entry | null = null;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const entry = this.#bundleEntry(middle, TILE_WIDTH - 1);
      if (entry === null) return found;
      if (entry.firstSeq + entry.events <= seq) {
        if (entry.segmentFirstBlock === firstBlock) found = entry;
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return found;
  }

  #bundleEntry(bundle: number, slot: number): Entry | null {
    try {
      const raw = decodeBundle(this.#disk.readFile(tilePath(this.#layout, 'entries', bundle)))?.[slot];
      const entry = raw === undefined ? '' : decodeEntry(raw);
      return typeof entry === 'string' ? null : entry;
    } catch (error) {
      if (systemErrorCode(error) === 'ENOENT') return null;
      throw error;
    }
  }

  /** A cursor behind `entry`'s block, or at the segment's first block. */
  #cursor(firstBlock: number, entry: Entry | null): ChainCursor {
    const segment = this.#open(firstBlock);
    const place =
      entry === null
        ? { offset: SEGMENT_HEADER_BYTES, nextBlock: firstBlock, nextSeq: segment.header.firstSeq }
        : {
            offset: entry.offset + BLOCK_HEADER_BYTES + entry.payloadBytes,
            nextBlock: entry.index + 1,
            nextSeq: entry.firstSeq + entry.events,
          };
    return new ChainCursor(this.#disk, this.#layout, { segment, ...place }, { checked: true, mode: 'read' });
  }

  #open(firstBlock: number): ReadableSegment {
    const segment = openSegment(this.#disk, this.#layout, firstBlock, 'read');
    if (typeof segment === 'string')
      throw this.#damaged(`${segmentPath(this.#layout, firstBlock)}: ${segment}`);
    return segment;
  }

  async #wait(ms: number, signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => done(), ms);
      const done = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', done);
        resolve();
      };
      signal.addEventListener('abort', done);
    });
  }

  #damaged(what: string): AppError {
    return new AppError(
      'corrupt',
      'JOURNAL_CORRUPT',
      `the journal in ${this.#layout.folder} is damaged: ${what}; run \`dbwitness verify\``,
    );
  }
}

/** The ordinal of the statement that an event belongs to; 0 when it belongs to none. */
export function ordinalOf(event: Event): number {
  const { body } = event;
  if (body.case === 'statementStarted' || body.case === 'statementFinished') return body.value.ordinal;
  if (body.case === 'resultChunk' || body.case === 'copyChunk') return body.value.ordinal;
  return 0;
}

/** The events of a block, decoded. Throws `corrupt` when they are not what the block's header says. */
export function decodeBlock(block: JournalBlock): JournalEvent[] {
  const events: JournalEvent[] = [];
  for (const [start, end] of eventSpans(block.payload, block.count))
    events.push({
      seq: block.firstSeq + events.length,
      event: fromBinary(EventSchema, block.payload.subarray(start, end)),
    });
  return events;
}

/** Where the events of a payload start and end. */
export function eventSpans(payload: Uint8Array, count: number): [number, number][] {
  const spans: [number, number][] = [];
  let at = 0;
  while (at < payload.length) {
    let size = 0;
    let scale = 1;
    let byte: number;
    do {
      byte = payload[at++];
      size += (byte & 0x7f) * scale;
      scale *= 128;
    } while (byte >= 0x80 && at < payload.length);
    spans.push([at, at + size]);
    at += size;
  }
  if (at !== payload.length || spans.length !== count)
    throw new AppError(
      'corrupt',
      'JOURNAL_CORRUPT',
      'a block of the journal does not hold the events it says; run `dbwitness verify`',
    );
  return spans;
}
