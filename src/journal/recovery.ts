/**
 * What opening does before anything is appended: finds the end of the last whole block and cuts what is behind it.
 *
 *   ├── signed ──────────────┤── whole blocks ──┤ torn │ … later segments that do not follow any more
 *   missing or damaged here: │  kept            │ cut: moved to quarantine/, recorded as a gap
 *   refused as corrupt       │
 *
 * A crash of the machine may lose any part of what was not synced, so the tail may have holes and even a later segment
 * may have survived an earlier one's end: everything behind the first hole goes. What was signed was synced before, so a
 * hole there is not a crash but damage, and nothing is cut.
 */
import { systemErrorCode } from '../base/errors.ts';
import { type Disk, readFully, syncFile } from './disk.ts';
import { SEGMENT_HEADER_BYTES } from './format.ts';
import { type Layout, segmentPath } from './layout.ts';
import { lostSigned } from './log-files.ts';
import { BlockScanner, listSegments, openSegment } from './segments.ts';

export interface Recovered {
  /** Number, first block and first event of the segment to make next. */
  readonly segmentNumber: number;
  readonly nextBlock: number;
  readonly nextSeq: number;
  /** Time of the last event that is there; 0 when there is none. */
  readonly lastUs: number;
  /** Bytes that were cut off, and where they are kept; 0 when the tail was whole. */
  readonly lostBytes: number;
  readonly quarantined: readonly string[];
  /** There were records before. */
  readonly existed: boolean;
}

interface Tail {
  segmentNumber: number;
  nextBlock: number;
  nextSeq: number;
  lastUs: number;
}

/** Cuts the journal's tail behind its last whole block. Throws `corrupt` when a block below `signedSize` is not there. */
export function recover(disk: Disk, layout: Layout, signedSize: number, nowUs: number): Recovered {
  if (disk.exists(layout.draftSegment)) disk.remove(layout.draftSegment);
  const segments = listSegments(disk, layout);
  const tail: Tail = { segmentNumber: 0, nextBlock: 0, nextSeq: 0, lastUs: 0 };
  const quarantine = new Quarantine(disk, layout, nowUs);
  const start = Math.max(
    0,
    segments.findLastIndex((first) => first < signedSize),
  );
  const existed = segments.length > 0;
  if (signedSize > 0 && (segments.length === 0 || segments[start] >= signedSize))
    throw lostSigned(layout, `the segment with block ${signedSize - 1} is missing`);

  let cutAt = -1;
  for (let i = start; i < segments.length; i++) {
    if (cutAt >= 0) {
      quarantine.whole(segmentPath(layout, segments[i]));
      continue;
    }
    const problem = scan(disk, layout, segments[i], i === start, tail, quarantine, signedSize);
    if (problem) cutAt = i;
  }
  if (tail.nextBlock < signedSize)
    throw lostSigned(layout, `block ${tail.nextBlock} of ${signedSize} signed ones is missing`);
  quarantine.settle();
  return {
    ...tail,
    lostBytes: quarantine.bytes,
    quarantined: quarantine.names,
    existed,
  };
}

/** Advances `tail` over one segment; cuts it at the first thing that is no block and returns whether it did. */
function scan(
  disk: Disk,
  layout: Layout,
  firstBlock: number,
  isStart: boolean,
  tail: Tail,
  quarantine: Quarantine,
  signedSize: number,
): boolean {
  const path = segmentPath(layout, firstBlock);
  const segment = openSegment(disk, layout, firstBlock, 'read');
  const continues =
    typeof segment !== 'string' &&
    (isStart ||
      (segment.firstBlock === tail.nextBlock &&
        segment.header.firstSeq === tail.nextSeq &&
        segment.header.number === tail.segmentNumber));
  if (typeof segment === 'string' || !continues) {
    if (typeof segment !== 'string') segment.file.close();
    const problem = typeof segment === 'string' ? segment : 'it does not continue the segment before it';
    const expected = isStart ? firstBlock : tail.nextBlock;
    if (expected < signedSize) throw lostSigned(layout, `${path}: ${problem}`);
    quarantine.whole(path);
    if (isStart) Object.assign(tail, { nextBlock: firstBlock });
    return true;
  }
  const { file, header } = segment;
  const size = file.size();
  const scanner = new BlockScanner(file, SEGMENT_HEADER_BYTES, true);
  let block = header.firstBlock;
  let seq = header.firstSeq;
  let offset = SEGMENT_HEADER_BYTES;
  while (
    scanner.next(size) === 'block' &&
    scanner.header?.index === block &&
    scanner.header.firstSeq === seq
  ) {
    block++;
    seq += scanner.header.events;
    tail.lastUs = scanner.header.lastUs;
    offset = scanner.nextOffset;
  }
  file.close();
  if (offset < size && block < signedSize)
    throw lostSigned(
      layout,
      `${path} at ${offset}: block ${block} is damaged (${scanner.problem || 'cut off'})`,
    );
  const empty = block === header.firstBlock;
  // A segment without a block is made again; its number and name are free.
  if (empty) quarantine.whole(path);
  else if (offset < size) quarantine.tail(path, offset, size);
  tail.nextBlock = block;
  tail.nextSeq = seq;
  tail.segmentNumber = empty ? header.number : header.number + 1;
  return empty || offset < size;
}

/** Keeps what is cut, before it is cut. */
class Quarantine {
  bytes = 0;
  readonly names: string[] = [];
  readonly #disk: Disk;
  readonly #layout: Layout;
  readonly #prefix: string;
  readonly #cuts: (() => void)[] = [];

  constructor(disk: Disk, layout: Layout, nowUs: number) {
    this.#disk = disk;
    this.#layout = layout;
    this.#prefix = new Date(nowUs / 1000).toISOString().replaceAll(/[-:]/g, '').slice(0, 15);
  }

  /** Removes a segment file; its blocks, if it has any bytes of them, are kept. */
  whole(path: string): void {
    const size = this.#sizeOf(path);
    if (size > SEGMENT_HEADER_BYTES) this.#keep(path, 0, size);
    this.bytes += Math.max(0, size - SEGMENT_HEADER_BYTES);
    this.#cuts.push(() => this.#disk.remove(path));
  }

  tail(path: string, offset: number, size: number): void {
    this.#keep(path, offset, size);
    this.bytes += size - offset;
    this.#cuts.push(() => {
      const file = this.#disk.open(path, 'update');
      file.truncate(offset);
      file.datasync();
      file.close();
    });
  }

  /** Cuts, the last file first, so that a crash in between leaves a tail that the next recovery cuts the same way. */
  settle(): void {
    if (this.#cuts.length === 0) return;
    if (this.names.length > 0) this.#disk.syncFolder(this.#layout.quarantine);
    for (const cut of this.#cuts.reverse()) cut();
    this.#disk.syncFolder(this.#layout.segments);
  }

  #keep(path: string, offset: number, size: number): void {
    const file = this.#disk.open(path, 'read');
    const bytes = Buffer.alloc(size - offset);
    readFully(file, bytes, bytes.length, offset);
    file.close();
    this.#disk.makeFolder(this.#layout.quarantine);
    const name = `${this.#prefix}-${path.slice(path.lastIndexOf('/') + 1)}-${offset}`;
    const kept = `${this.#layout.quarantine}/${name}`;
    this.#disk.writeFile(kept, bytes);
    syncFile(this.#disk, kept);
    this.names.push(name);
  }

  #sizeOf(path: string): number {
    try {
      const file = this.#disk.open(path, 'read');
      const size = file.size();
      file.close();
      return size;
    } catch (error) {
      if (systemErrorCode(error) === 'ENOENT') return 0;
      throw error;
    }
  }
}
