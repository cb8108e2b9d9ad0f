/**
 * Verifies a journal from its files and the public key alone, and names the first place that is broken.
 *
 *   checkpoint ── signature ──▶ size, root
 *   segments   ── every block: checksum, order, framing ──▶ entries ──▶ leaf hashes ──▶ tiles ──▶ root at that size
 *   compared on the way: every entry bundle, every tile, every partial tile, earlier checkpoints
 *
 * Blocks that retention dropped are represented by their entries; that they may be missing must be said by a signed
 * SegmentsDropped event. What is behind the signed size is checked for form, and reported as the unsigned tail.
 *
 * Runs beside a writer: the checkpoint is read first, and everything it covers was there before it.
 */
import { fromBinary } from '@bufbuild/protobuf';
import { AppError, systemErrorCode } from '../base/errors.ts';
import { EventSchema } from '../model/events.ts';
import type { Disk } from './disk.ts';
import {
  BLOCK_HEADER_BYTES,
  countEvents,
  decodeEntry,
  encodeEntry,
  parseSegmentName,
  SEGMENT_HEADER_BYTES,
} from './format.ts';
import { type Layout, layoutOf, segmentPath, tilePath } from './layout.ts';
import { decodeBundle, parseState } from './log-files.ts';
import {
  type Checkpoint,
  checkSignature,
  isOf,
  openCheckpoint,
  parseSignerKey,
  parseVerifierKey,
  type VerifierKey,
} from './note.ts';
import { realDisk } from './real-disk.ts';
import {
  BlockScanner,
  listSegments,
  openSegment,
  type ReadableSegment,
  type ScanResult,
} from './segments.ts';
import { leafHash, TILE_WIDTH, TileTree } from './tree.ts';
import { Break, type Place, TileFiles } from './verify-tiles.ts';

export interface VerifyOptions {
  /** The journal's public key (vkey), from where its owner keeps it; not from the journal's folder. */
  readonly publicKey: string | VerifierKey;
  /** A checkpoint (signed note) that somebody saved earlier: proves that nothing before it was rewritten. */
  readonly knownCheckpoint?: string;
  /** Keys of cosigners (vkeys). With them, every other signature of a checkpoint must be one of theirs, and valid. */
  readonly witnesses?: readonly string[];
  readonly disk?: Disk;
}

export interface VerifyReport {
  readonly whole: boolean;
  /** The first place that is broken. */
  readonly broken: Place | null;
  readonly origin: string;
  /** Blocks and events under the checkpoint. */
  readonly signedBlocks: number;
  readonly signedEvents: number;
  readonly segments: number;
  /** Blocks that retention dropped, with a signed event that says so. */
  readonly droppedBlocks: number;
  /** Blocks behind the checkpoint, and bytes of them including a block that is not whole. */
  readonly unsignedBlocks: number;
  readonly unsignedBytes: number;
  /** Cosignatures on the newest cosigned checkpoint, and whether they were checked. */
  readonly cosignatures: number;
  readonly cosignaturesChecked: boolean;
  /** Files in the folder that are no part of a journal. */
  readonly unknownFiles: readonly string[];
}

/** Retention took a segment away while it was being verified. */
class Moved extends Error {}

/**
 * Verifies the journal in a folder. Never throws for what it finds; throws `invalid` for a key or a known checkpoint
 * that cannot be used, and `not-found` when there is no journal. Synchronous, and long for long journals.
 */
export function verifyJournal(folder: string, options: VerifyOptions): VerifyReport {
  const disk = options.disk ?? realDisk;
  const key = typeof options.publicKey === 'string' ? parseVerifierKey(options.publicKey) : options.publicKey;
  const witnesses = (options.witnesses ?? []).map(parseVerifierKey);
  const layout = layoutOf(folder);
  if (!disk.exists(layout.checkpoint) && listSegments(disk, layout).length === 0)
    throw new AppError('not-found', 'JOURNAL_NOT_FOUND', `there is no journal in ${folder}`);
  for (let attempt = 1; ; attempt++) {
    const run = new Verification(disk, layout, key, witnesses, knownCheckpoint(options, key));
    try {
      run.all();
      return run.report(null);
    } catch (error) {
      if (error instanceof Break) return run.report(error.place);
      if (!(error instanceof Moved) || attempt === 3) throw error;
    }
  }
}

function knownCheckpoint(options: VerifyOptions, key: VerifierKey): Checkpoint | null {
  if (options.knownCheckpoint === undefined) return null;
  const known = openCheckpoint(Buffer.from(options.knownCheckpoint), key);
  if (typeof known !== 'string') return known;
  throw new AppError(
    'invalid',
    'JOURNAL_CHECKPOINT_INVALID',
    `the saved checkpoint cannot be used: ${known}`,
  );
}

class Verification {
  readonly #disk: Disk;
  readonly #layout: Layout;
  readonly #key: VerifierKey;
  readonly #witnesses: readonly VerifierKey[];
  readonly #known: { checkpoint: Checkpoint; name: string }[] = [];
  readonly #tree: TileTree;
  readonly #bundle: Uint8Array[] = [];
  #tiles: TileFiles | null = null;
  #signed: Checkpoint | null = null;
  #nextSeq = 0;
  #signedEvents = 0;
  #segments = 0;
  #firstBlock = 0;
  #droppedUpTo = -1;
  #unsignedBytes = 0;
  #cosignatures = 0;
  #unknown: string[] = [];

  constructor(
    disk: Disk,
    layout: Layout,
    key: VerifierKey,
    witnesses: readonly VerifierKey[],
    known: Checkpoint | null,
  ) {
    this.#disk = disk;
    this.#layout = layout;
    this.#key = key;
    this.#witnesses = witnesses;
    if (known !== null) this.#known.push({ checkpoint: known, name: 'the saved checkpoint' });
    this.#tree = new TileTree((level, index, hashes) =>
      this.#tiles?.full(level, index, hashes, this.#place()),
    );
  }

  report(broken: Place | null): VerifyReport {
    const size = this.#signed?.size ?? 0;
    return {
      whole: broken === null,
      broken,
      origin: this.#key.name,
      signedBlocks: size,
      signedEvents: this.#signedEvents,
      segments: this.#segments,
      droppedBlocks: this.#firstBlock,
      unsignedBlocks: Math.max(0, this.#tree.size - size),
      unsignedBytes: this.#unsignedBytes,
      cosignatures: this.#cosignatures,
      cosignaturesChecked: this.#witnesses.length > 0,
      unknownFiles: this.#unknown,
    };
  }

  all(): void {
    const signed = this.#readCheckpoint(this.#layout.checkpoint);
    this.#signed = signed;
    this.#known.push({ checkpoint: signed, name: 'log/checkpoint' });
    if (this.#disk.exists(this.#layout.cosigned)) {
      const cosigned = this.#readCheckpoint(this.#layout.cosigned);
      this.#known.push({ checkpoint: cosigned, name: 'log/checkpoint.cosigned' });
    }
    this.#checkRoots();
    const firsts = listSegments(this.#disk, this.#layout);
    this.#tiles = new TileFiles(this.#disk, this.#layout, signed.size);
    this.#unknown = [...this.#tiles.survey(), ...this.#otherFiles(signed)];
    this.#segments = firsts.length;
    this.#firstBlock = firsts[0] ?? 0;
    this.#droppedBlocks(this.#firstBlock);
    let live = true;
    for (let i = 0; i < firsts.length && live; i++) live = this.#segment(firsts[i], i === firsts.length - 1);
    if (this.#tree.size < signed.size)
      throw new Break({
        file: segmentPath(this.#layout, this.#tree.size),
        block: this.#tree.size,
        offset: null,
        what: `the segment that starts with block ${this.#tree.size} is missing; ${signed.size} blocks were signed`,
      });
    if (this.#firstBlock > 0 && this.#droppedUpTo < this.#firstBlock - 1)
      throw new Break({
        file: segmentPath(this.#layout, 0),
        block: this.#droppedUpTo + 1,
        offset: null,
        what: `blocks ${this.#droppedUpTo + 1} to ${this.#firstBlock - 1} are missing, and no signed event says that they were dropped`,
      });
    const { index, width } = this.#tree.edge(0);
    this.#tiles.end(this.#tree, index, this.#bundle.slice(0, width));
  }

  // ---- checkpoints and small files ----------------------------------------------------------------------------

  #readCheckpoint(path: string): Checkpoint {
    const at = (what: string): Break => new Break({ file: path, block: null, offset: null, what });
    if (!this.#disk.exists(path)) throw at('the checkpoint is missing');
    const checkpoint = openCheckpoint(this.#disk.readFile(path), this.#key);
    if (typeof checkpoint === 'string') throw at(`the checkpoint cannot be trusted: ${checkpoint}`);
    const { text, signatures } = checkpoint.note;
    const others = signatures.filter((one) => !isOf(one, this.#key));
    if (signatures.length - others.length !== 1) throw at('the checkpoint is signed more than once');
    for (const one of others) {
      if (this.#witnesses.length === 0) break;
      if (!this.#witnesses.some((witness) => checkSignature(text, one, witness) === 'valid'))
        throw at(`the cosignature of ${one.name} is wrong, or of an unknown key`);
    }
    this.#cosignatures = Math.max(this.#cosignatures, others.length);
    return checkpoint;
  }

  /** Files beside the log and the segments. Returns those that are no part of a journal. */
  #otherFiles(signed: Checkpoint): string[] {
    const unknown: string[] = [];
    const { folder } = this.#layout;
    const known = new Set(['journal.key', 'journal.pub', 'journal.state', 'log', 'segments', 'quarantine']);
    for (const { name } of this.#disk.list(folder))
      if (!known.has(name) && !/^(lock(\.|$)|journal\.(key|pub|state)\.tmp$)/.test(name)) unknown.push(name);
    for (const { name, folder: isFolder } of this.#disk.list(this.#layout.segments))
      if (name !== 'next.tmp' && (isFolder || parseSegmentName(name) < 0))
        throw new Break({
          file: `${this.#layout.segments}/${name}`,
          block: null,
          offset: null,
          what: 'this file does not belong among the segments',
        });
    this.#small(
      this.#layout.publicKey,
      (text) => text === `${this.#key.text}\n`,
      'it is another public key',
      true,
    );
    this.#small(
      this.#layout.privateKey,
      (text) => keyFits(text, this.#key),
      'the private key is damaged or another',
    );
    this.#small(this.#layout.state, (text) => (parseState(text) ?? Infinity) <= signed.size, 'it is damaged');
    return unknown;
  }

  #small(path: string, fits: (text: string) => boolean, what: string, required = false): void {
    let text: string;
    try {
      text = this.#disk.readFile(path).toString('utf8');
    } catch (error) {
      // An auditor may not be allowed to read the private key, or not have been given it.
      const code = systemErrorCode(error);
      if (code === 'EACCES' || (code === 'ENOENT' && !required)) return;
      if (code !== 'ENOENT') throw error;
      throw new Break({ file: path, block: null, offset: null, what: 'the file is missing' });
    }
    if (!fits(text)) throw new Break({ file: path, block: null, offset: null, what });
  }

  // ---- blocks -------------------------------------------------------------------------------------------------

  /** Where the next leaf comes from, for messages about tiles. */
  #place(): number {
    return this.#tree.size;
  }

  /** Blocks that are not there any more: their entries stand for them. */
  #droppedBlocks(count: number): void {
    for (let bundle = 0; bundle * TILE_WIDTH < count; bundle++) {
      const { bytes, path } = this.#tiles?.bundle(bundle) ?? { bytes: Buffer.alloc(0), path: '' };
      const entries = decodeBundle(bytes);
      if (entries === null)
        throw new Break({ file: path, block: null, offset: null, what: 'the entry bundle is damaged' });
      for (const entry of entries) {
        if (this.#tree.size >= count) return;
        const decoded = decodeEntry(entry);
        const fault =
          typeof decoded === 'string'
            ? decoded
            : decoded.index !== this.#tree.size || decoded.firstSeq !== this.#nextSeq
              ? 'the entry does not continue the one before it'
              : null;
        if (fault !== null || typeof decoded === 'string')
          throw new Break({ file: path, block: this.#tree.size, offset: null, what: fault ?? '' });
        this.#take(entry, decoded.events);
      }
      if (this.#tree.size < Math.min(count, (bundle + 1) * TILE_WIDTH))
        throw new Break({
          file: path,
          block: this.#tree.size,
          offset: null,
          what: 'the entry bundle is cut off',
        });
    }
  }

  /** One segment. Returns whether the next one can follow (not behind a torn tail). */
  #segment(firstBlock: number, isLast: boolean): boolean {
    const path = segmentPath(this.#layout, firstBlock);
    const expected = this.#tree.size;
    if (firstBlock !== expected) {
      if (expected >= this.#signedSize) return this.#tail(path, 0);
      const missing = segmentPath(this.#layout, expected);
      const what =
        firstBlock > expected
          ? `the segment that starts with block ${expected} is missing`
          : `block ${expected} was expected next, but this segment starts with ${firstBlock}`;
      throw new Break({ file: firstBlock > expected ? missing : path, block: expected, offset: null, what });
    }
    const segment = this.#open(path, firstBlock);
    if (typeof segment === 'string') {
      if (expected >= this.#signedSize) return this.#tail(path, 0);
      throw new Break({ file: path, block: expected, offset: 0, what: segment });
    }
    try {
      return this.#blocks(segment, path, isLast);
    } finally {
      segment.file.close();
    }
  }

  #open(path: string, firstBlock: number): ReadableSegment | string {
    let segment: ReadableSegment | string;
    try {
      segment = openSegment(this.#disk, this.#layout, firstBlock, 'read');
    } catch (error) {
      if (systemErrorCode(error) === 'ENOENT') throw new Moved(path);
      throw error;
    }
    if (typeof segment === 'string') return segment;
    const { header, file } = segment;
    if (header.origin === this.#key.name && header.firstSeq === this.#nextSeq) return segment;
    file.close();
    return header.origin === this.#key.name
      ? 'the segment does not continue the events of the one before it'
      : `the segment is of the journal ${header.origin}`;
  }

  #blocks(segment: ReadableSegment, path: string, isLast: boolean): boolean {
    const scanner = new BlockScanner(segment.file, SEGMENT_HEADER_BYTES, true);
    for (;;) {
      const block = this.#tree.size;
      const result = scanner.next(segment.file.size());
      const fault = result === 'block' ? this.#blockFault(segment, scanner) : faultOf(result, scanner);
      if (result === 'block' && fault === null) {
        this.#block(segment, scanner, path);
        continue;
      }
      if (result === 'end') return block > segment.firstBlock || this.#empty(path, block, isLast);
      if (block >= this.#signedSize)
        return this.#tail(path, scanner.nextOffset - (result === 'block' ? 1 : 0));
      throw new Break({ file: path, block, offset: scanner.offset, what: fault ?? 'the block is cut off' });
    }
  }

  #empty(path: string, block: number, isLast: boolean): boolean {
    if (isLast && block >= this.#signedSize) return true;
    throw new Break({ file: path, block, offset: SEGMENT_HEADER_BYTES, what: `block ${block} is missing` });
  }

  /** What is wrong with a block that has a right checksum. */
  #blockFault(segment: ReadableSegment, scanner: BlockScanner): string | null {
    const { header } = scanner;
    if (header === null) return 'no block starts here';
    if (header.index !== this.#tree.size)
      return `block ${this.#tree.size} was expected, this is ${header.index}`;
    if (header.firstSeq !== this.#nextSeq)
      return 'the block does not continue the events of the one before it';
    if (header.firstOfSegment !== (header.index === segment.firstBlock)) return 'the block is marked wrongly';
    if (header.encrypted && !segment.header.encrypted) return 'the block is encrypted, its segment is not';
    if (header.encrypted) return null;
    const found = countEvents(scanner.bytes, scanner.at + BLOCK_HEADER_BYTES, scanner.end);
    return found === header.events ? null : 'the block does not hold the events it says';
  }

  #block(segment: ReadableSegment, scanner: BlockScanner, path: string): void {
    const { bytes, at, end, offset, header } = scanner;
    if (header === null) return;
    const block = this.#tree.size;
    const sha256 = header.firstOfSegment ? segment.headerSha256 : null;
    const entry = encodeEntry(bytes, at, end, segment.firstBlock, offset, sha256);
    if (header.retention) this.#retention(bytes.subarray(at + BLOCK_HEADER_BYTES, end), block);
    if (block >= this.#signedSize) this.#unsignedBytes += end - at;
    const stored = this.#tiles?.entry(block);
    if (stored !== null && stored !== undefined && Buffer.compare(stored, entry) !== 0)
      throw new Break({
        file: path,
        block,
        offset,
        what: `the block is not the one that was entered in ${tilePath(this.#layout, 'entries', Math.floor(block / TILE_WIDTH))}`,
      });
    this.#take(entry, header.events);
  }

  #retention(payload: Uint8Array, block: number): void {
    if (block >= this.#signedSize) return;
    const skip = payload[0] < 0x80 ? 1 : 2;
    const { body } = fromBinary(EventSchema, payload.subarray(skip));
    if (body.case === 'segmentsDropped' && body.value.firstBlock === 0n)
      this.#droppedUpTo = Math.max(this.#droppedUpTo, Number(body.value.lastBlock));
  }

  /** Takes an entry into the tree and compares what has become complete by it. */
  #take(entry: Uint8Array, events: number): void {
    const slot = this.#tree.size % TILE_WIDTH;
    this.#bundle[slot] = Buffer.from(entry);
    const index = Math.floor(this.#tree.size / TILE_WIDTH);
    if (slot === TILE_WIDTH - 1) this.#tiles?.fullBundle(index, this.#bundle);
    this.#tree.append(leafHash(entry));
    this.#nextSeq += events;
    if (slot === TILE_WIDTH - 1) this.#bundle.length = 0;
    if (this.#tree.size === this.#signedSize) this.#signedEvents = this.#nextSeq;
    this.#checkRoots();
  }

  #checkRoots(): void {
    for (const { checkpoint, name } of this.#known) {
      if (checkpoint.size > this.#signedSize)
        throw new Break({
          file: this.#layout.checkpoint,
          block: this.#signedSize,
          offset: null,
          what: `${name} covers ${checkpoint.size} blocks, but the journal has only ${this.#signedSize} signed ones: it was rolled back`,
        });
      if (checkpoint.size !== this.#tree.size) continue;
      if (!this.#tree.root().equals(checkpoint.root))
        throw new Break({
          file: this.#layout.checkpoint,
          block: checkpoint.size - 1,
          offset: null,
          what: `the first ${checkpoint.size} blocks are not those under ${name}`,
        });
      if (checkpoint === this.#signed) this.#tiles?.signedEdge(this.#tree, this.#bundle);
    }
  }

  /** The unsigned tail ends here. Its bytes are counted; nothing behind it is looked at. */
  #tail(path: string, offset: number): boolean {
    const file = this.#disk.open(path, 'read');
    this.#unsignedBytes += Math.max(0, file.size() - offset);
    file.close();
    return false;
  }

  get #signedSize(): number {
    return this.#signed?.size ?? 0;
  }
}

function faultOf(result: ScanResult, scanner: BlockScanner): string {
  return result === 'bad' ? scanner.problem : 'the block is cut off';
}

function keyFits(text: string, key: VerifierKey): boolean {
  try {
    const signer = parseSignerKey(text);
    return `${signer.text}\n` === text && signer.verifier.text === key.text;
  } catch {
    return false;
  }
}
