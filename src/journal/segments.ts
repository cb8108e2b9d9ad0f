/**
 * Reading segment files block by block: one scanner for everybody who does (sealer, recovery, reader, verify), with the
 * same idea of what a whole block is.
 */
import { systemErrorCode } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import { type Disk, type DiskFile, readFully } from './disk.ts';
import {
  BLOCK_HEADER_BYTES,
  type BlockHeader,
  blockChecksumHolds,
  decodeBlockHeader,
  decodeSegmentHeader,
  parseSegmentName,
  SEGMENT_HEADER_BYTES,
  type SegmentHeader,
  sha256,
} from './format.ts';
import { type Layout, segmentPath } from './layout.ts';

const CHUNK_BYTES = 256 * 1024;
/** No block is longer; a length above is damage, and nobody waits for its bytes. */
export const MAX_PAYLOAD_BYTES: number = limits.maxBlockBytes + 64 * 1024;

/** First block indices of the segment files, ascending. Files with other names are not segments. */
export function listSegments(disk: Disk, layout: Layout): number[] {
  return disk
    .list(layout.segments)
    .map((entry) => parseSegmentName(entry.name))
    .filter((first) => first >= 0)
    .sort((a, b) => a - b);
}

/**
 * - `block`: {@link BlockScanner.header}, `bytes[at, end)` and `offset` describe it until the next call.
 * - `end`: the file ends exactly behind the last block.
 * - `partial`: the file ends within a block; it may grow.
 * - `bad`: what is there is no block; see {@link BlockScanner.problem}.
 */
export type ScanResult = 'block' | 'end' | 'partial' | 'bad';

export class BlockScanner {
  /** The chunk that holds the current block. Reused by the next call. */
  bytes: Buffer = Buffer.alloc(0);
  at = 0;
  end = 0;
  /** Where the current block starts in the file. */
  offset: number;
  header: BlockHeader | null = null;
  problem = '';
  readonly #file: DiskFile;
  readonly #checked: boolean;
  #next: number;
  /** The chunk's place in the file. */
  #chunkStart = 0;
  #chunkLength = 0;

  /** @param checked whether checksums are verified. */
  constructor(file: DiskFile, offset: number, checked: boolean) {
    this.#file = file;
    this.#checked = checked;
    this.offset = offset;
    this.#next = offset;
  }

  /** Where the next block starts. */
  get nextOffset(): number {
    return this.#next;
  }

  /** Looks at the next block, which must end at or before `fileEnd`. */
  next(fileEnd: number): ScanResult {
    const start = this.#next;
    if (start >= fileEnd) return start === fileEnd ? 'end' : 'partial';
    if (start + BLOCK_HEADER_BYTES > fileEnd) return 'partial';
    if (!this.#load(start, BLOCK_HEADER_BYTES, fileEnd)) return 'partial';
    const at = start - this.#chunkStart;
    const header = decodeBlockHeader(this.bytes, at);
    if (typeof header === 'string') return this.#bad(start, header);
    if (header.payloadBytes > MAX_PAYLOAD_BYTES || header.payloadBytes === 0 || header.events === 0)
      return this.#bad(start, 'the block header has an impossible length');
    const size = BLOCK_HEADER_BYTES + header.payloadBytes;
    if (start + size > fileEnd) return 'partial';
    if (!this.#load(start, size, fileEnd)) return 'partial';
    this.at = start - this.#chunkStart;
    this.end = this.at + size;
    this.offset = start;
    this.header = header;
    if (this.#checked && !blockChecksumHolds(this.bytes, this.at, this.end))
      return this.#bad(start, 'the block has a wrong checksum');
    this.#next = start + size;
    return 'block';
  }

  /** Forgets what was read ahead, for a file that may have changed behind the last block. */
  forget(): void {
    this.#chunkLength = 0;
  }

  #bad(offset: number, problem: string): ScanResult {
    this.offset = offset;
    this.problem = problem;
    return 'bad';
  }

  /** Makes `size` bytes from `start` available in the chunk. */
  #load(start: number, size: number, fileEnd: number): boolean {
    if (start >= this.#chunkStart && start + size <= this.#chunkStart + this.#chunkLength) return true;
    const wanted = Math.min(Math.max(size, CHUNK_BYTES), fileEnd - start);
    if (this.bytes.length < wanted) this.bytes = Buffer.allocUnsafeSlow(2 ** Math.ceil(Math.log2(wanted)));
    this.#chunkStart = start;
    this.#chunkLength = readFully(this.#file, this.bytes, wanted, start);
    return this.#chunkLength >= size;
  }
}

/** An open segment file and its header. */
export interface ReadableSegment {
  readonly firstBlock: number;
  readonly file: DiskFile;
  readonly header: SegmentHeader;
  /** SHA-256 of the header page. */
  readonly headerSha256: Buffer;
}

/** Opens a segment; a string says what is wrong with its header. Throws `ENOENT` when it is not there. */
export function openSegment(
  disk: Disk,
  layout: Layout,
  firstBlock: number,
  mode: 'read' | 'update',
): ReadableSegment | string {
  const file = disk.open(segmentPath(layout, firstBlock), mode);
  const page = Buffer.alloc(SEGMENT_HEADER_BYTES);
  const count = readFully(file, page, SEGMENT_HEADER_BYTES, 0);
  const header = decodeSegmentHeader(page.subarray(0, count));
  if (typeof header !== 'string' && header.firstBlock === firstBlock)
    return { firstBlock, file, header, headerSha256: sha256(page) };
  file.close();
  return typeof header === 'string' ? header : 'the segment header names another first block than the file';
}

/** Follows the chain of segments block by block from a given place. */
export class ChainCursor {
  readonly #disk: Disk;
  readonly #layout: Layout;
  readonly #checked: boolean;
  readonly #mode: 'read' | 'update';
  segment: ReadableSegment;
  scanner: BlockScanner;
  /** Index and first event of the block that comes next. */
  nextBlock: number;
  nextSeq: number;

  /** @param nextBlock index of the block at `offset`; `nextSeq` its first event. */
  constructor(
    disk: Disk,
    layout: Layout,
    place: { segment: ReadableSegment; offset: number; nextBlock: number; nextSeq: number },
    options: { checked: boolean; mode: 'read' | 'update' },
  ) {
    this.#disk = disk;
    this.#layout = layout;
    this.#checked = options.checked;
    this.#mode = options.mode;
    this.segment = place.segment;
    this.scanner = new BlockScanner(place.segment.file, place.offset, options.checked);
    this.nextBlock = place.nextBlock;
    this.nextSeq = place.nextSeq;
  }

  /** As {@link BlockScanner.next}; a block that does not continue the chain is `bad`. */
  next(fileEnd: number): ScanResult {
    const result = this.scanner.next(fileEnd);
    if (result !== 'block') return result;
    const { header } = this.scanner;
    if (header === null || header.index !== this.nextBlock || header.firstSeq !== this.nextSeq) {
      this.scanner.problem = 'the block does not continue the one before it';
      return 'bad';
    }
    this.nextBlock++;
    this.nextSeq += header.events;
    return 'block';
  }

  get offset(): number {
    return this.scanner.nextOffset;
  }

  /** Whether the segment that continues this one is there. */
  hasSuccessor(): boolean {
    return (
      this.nextBlock > this.segment.firstBlock && this.#disk.exists(segmentPath(this.#layout, this.nextBlock))
    );
  }

  /** Moves to the segment that starts with the next block; a string says why not. */
  moveOn(): string | null {
    let next: ReadableSegment | string;
    try {
      next = openSegment(this.#disk, this.#layout, this.nextBlock, this.#mode);
    } catch (error) {
      if (systemErrorCode(error) !== 'ENOENT') throw error;
      next = 'it is gone';
    }
    if (typeof next === 'string') return next;
    if (next.header.firstSeq !== this.nextSeq) {
      next.file.close();
      return 'the segment does not continue the events of the one before it';
    }
    this.segment.file.close();
    this.segment = next;
    this.scanner = new BlockScanner(next.file, SEGMENT_HEADER_BYTES, this.#checked);
    return null;
  }

  close(): void {
    this.segment.file.close();
  }
}
