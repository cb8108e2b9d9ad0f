/**
 * A proof of one statement: everything the journal says of it, in one file that anybody can check with the journal's
 * public key alone.
 *
 *   events of the statement ⊂ blocks ── SHA-256 ──▶ entries ── audit paths ──▶ root ◀── signature ── checkpoint
 *
 * The file is JSON in exactly one form (two-space indent, keys in the order below, base64 as Node writes it), and its
 * readable part is derived from the rest: checking makes it again and compares byte for byte, so a change anywhere in
 * it fails. A block is proved whole, so the file holds what other sessions had in the same blocks, too.
 */
import { fromBinary, toJson } from '@bufbuild/protobuf';
import { AppError } from '../base/errors.ts';
import { type Uid, isUid, statementUid, uidFromBytes, uidToBytes } from '../base/ids.ts';
import { type Event, EventSchema, Outcome } from '../model/events.ts';
import { BLOCK_KEY_BYTES, decryptPayload } from './crypt.ts';
import type { Disk } from './disk.ts';
import { decodeEntry, type Entry, sha256 } from './format.ts';
import { layoutOf, partialPath, tilePath } from './layout.ts';
import { decodeBundle } from './log-files.ts';
import { type Checkpoint, isOf, openCheckpoint, parseCheckpoint, parseVerifierKey } from './note.ts';
import { eventSpans, JournalReader, ordinalOf } from './reader.ts';
import { realDisk } from './real-disk.ts';
import { inclusionHolds, inclusionProof, leafHash, subtreesOfTiles, TILE_WIDTH } from './tree.ts';

const FORMAT = 'dbwitness statement proof v1';
const MAX_PROOF_BYTES = 1024 * 1024 * 1024;

/** Which statement, and where its events are when an index knows it (positions, inclusive). */
export interface StatementPlace {
  readonly session: Uid;
  readonly ordinal: number;
  readonly startSeq?: number | null;
  readonly finishSeq?: number | null;
}

export interface ProofOptions {
  /** The journal's encryption key, when it is encrypted. The proof gives away the keys of its blocks only. */
  readonly key?: Uint8Array | null;
  readonly disk?: Disk;
}

export interface ProvedBlock {
  readonly index: number;
  /** The tree's entry, base64. */
  readonly entry: string;
  /** The payload as stored, base64. */
  readonly payload: string;
  /** AES-256-GCM key of this block alone, base64; empty when it is not encrypted. */
  readonly key: string;
  /** RFC 6962 audit path, base64, from the leaf upwards. */
  readonly path: readonly string[];
}

export interface StatementProof {
  readonly format: typeof FORMAT;
  /** `<session uid>-<ordinal>` */
  readonly statement: string;
  /** The signed note with the journal's own signature. */
  readonly checkpoint: string;
  /** Readable: the statement's events in order, as protobuf JSON, with their positions. Derived from the blocks. */
  readonly events: readonly ProvedEvent[];
  readonly blocks: readonly ProvedBlock[];
}

export interface ProvedEvent {
  readonly seq: number;
  readonly event: unknown;
}

export interface ProvedStatement {
  readonly statement: string;
  readonly origin: string;
  /** Size of the signed tree that the statement is in. */
  readonly treeSize: number;
  /** Decoded events: SessionOpened, TextDeclared, StatementStarted, chunks, StatementFinished. */
  readonly events: readonly { readonly seq: number; readonly event: Event }[];
  /** OUTCOME_COMPLETED, …; empty while no outcome is recorded. */
  readonly outcome: string;
}

export type ProofVerdict =
  | { readonly valid: true; readonly proved: ProvedStatement }
  | { readonly valid: false; readonly reason: string };

/** The file's text: what {@link verifyProof} accepts. */
export function formatProof(proof: StatementProof): string {
  return `${JSON.stringify(proof, null, 2)}\n`;
}

/**
 * Makes the proof of one statement from the journal's files. Throws `not-found` when the journal does not have the
 * statement (any more), `unavailable` when it is not under a checkpoint yet, `denied` without the key of an encrypted one.
 */
export function makeProof(folder: string, place: StatementPlace, options: ProofOptions = {}): StatementProof {
  const disk = options.disk ?? realDisk;
  const layout = layoutOf(folder);
  const reader = JournalReader.open(folder, { key: options.key ?? null, disk });
  const uid = statementUid(place.session, place.ordinal);
  const checkpoint = parseCheckpoint(disk.readFile(layout.checkpoint));
  if (typeof checkpoint === 'string')
    throw new AppError('corrupt', 'JOURNAL_CORRUPT', `log/checkpoint is damaged; run \`dbwitness verify\``);
  const found = findBlocks(reader, place, checkpoint.size, uid);
  const readTile = (level: number | 'entries', index: number): Buffer => {
    const full = tilePath(layout, level, index);
    const scale = level === 'entries' ? 1 : TILE_WIDTH ** level;
    const width = Math.floor(checkpoint.size / scale) - index * TILE_WIDTH;
    const partial = partialPath(layout, level, index, width);
    return disk.readFile(width < TILE_WIDTH && disk.exists(partial) ? partial : full);
  };
  const subtree = subtreesOfTiles(readTile);
  const blocks = found.map(({ index, payload, key }): ProvedBlock => {
    const entry = decodeBundle(readTile('entries', Math.floor(index / TILE_WIDTH)))?.[index % TILE_WIDTH];
    if (entry === undefined)
      throw new AppError('corrupt', 'JOURNAL_CORRUPT', 'an entry bundle is damaged; run `dbwitness verify`');
    return {
      index,
      entry: base64(entry),
      payload: base64(payload),
      key: base64(key),
      path: inclusionProof(subtree, index, checkpoint.size).map(base64),
    };
  });
  const verifier = checkpoint.note.signatures.filter((one) => one.name === checkpoint.origin);
  const own = `${checkpoint.note.text}\n${verifier.map((one) => one.line).join('')}`;
  const events = eventsOf(blocks, uid);
  if (typeof events === 'string') throw new AppError('corrupt', 'JOURNAL_CORRUPT', events);
  return { format: FORMAT, statement: uid, checkpoint: own, events: readable(events), blocks };
}

/**
 * Checks a proof file with the journal's public key (vkey). Everything in the file is covered: any changed byte fails.
 * Throws `invalid` only for an unusable public key.
 */
export function verifyProof(file: string | Uint8Array, publicKey: string): ProofVerdict {
  const key = parseVerifierKey(publicKey);
  const refuse = (reason: string): ProofVerdict => ({ valid: false, reason });
  if (file.length > MAX_PROOF_BYTES) return refuse('the file is too long for a proof');
  const text = typeof file === 'string' ? file : Buffer.from(file).toString('utf8');
  if (typeof file !== 'string' && !Buffer.from(text).equals(file)) return refuse('the file is not UTF-8');
  const proof = parseProof(text);
  if (typeof proof === 'string') return refuse(proof);
  const checkpoint = openCheckpoint(Buffer.from(proof.checkpoint), key);
  if (typeof checkpoint === 'string') return refuse(`the checkpoint cannot be trusted: ${checkpoint}`);
  if (checkpoint.note.signatures.length !== 1 || !isOf(checkpoint.note.signatures[0], key))
    return refuse('the checkpoint carries other signatures than the journal’s');
  for (const block of proof.blocks) {
    const problem = blockProblem(block, checkpoint);
    if (problem !== null) return refuse(`block ${block.index}: ${problem}`);
  }
  const events = eventsOf(proof.blocks, proof.statement);
  if (typeof events === 'string') return refuse(events);
  // Written again from what was proved, the file must come out the same.
  const again: StatementProof = {
    format: FORMAT,
    statement: proof.statement,
    checkpoint: proof.checkpoint,
    events: readable(events),
    blocks: proof.blocks.map(({ index, entry, payload, key: blockKey, path }) => ({
      index,
      entry,
      payload,
      key: blockKey,
      path: [...path],
    })),
  };
  if (formatProof(again) !== text)
    return refuse('the readable part does not agree with the proved blocks, or the file was reformatted');
  return {
    valid: true,
    proved: {
      statement: proof.statement,
      origin: checkpoint.origin,
      treeSize: checkpoint.size,
      events,
      outcome: outcomeOf(events),
    },
  };
}

// ---- making ---------------------------------------------------------------------------------------------------

interface FoundBlock {
  readonly index: number;
  readonly payload: Buffer;
  readonly key: Buffer;
}

/** The blocks with events of the statement, its session's opening and its text, in order. */
function findBlocks(
  reader: JournalReader,
  place: StatementPlace,
  signedSize: number,
  uid: string,
): FoundBlock[] {
  const session = uidToBytes(place.session);
  const wanted = new Set<number>();
  let opened = -1;
  let textRef = 0;
  const texts = new Map<number, number>();
  let started = false;
  let finished = false;
  // The opening and the text are declared again in every segment, but not at a known place: they are looked for from
  // the beginning of what is left.
  for (const block of reader.blocks()) {
    if (finished || (place.finishSeq != null && block.firstSeq > place.finishSeq)) break;
    if (!block.payload.includes(session)) continue;
    for (const [start, end] of eventSpans(block.payload, block.count)) {
      const event = fromBinary(EventSchema, block.payload.subarray(start, end));
      if (Buffer.compare(event.sessionUid, session) !== 0) continue;
      const { body } = event;
      if (body.case === 'sessionOpened' && !started) opened = block.index;
      if (body.case === 'textDeclared' && !started) texts.set(body.value.ref, block.index);
      if (ordinalOf(event) !== place.ordinal) continue;
      wanted.add(block.index);
      if (body.case === 'statementStarted') {
        started = true;
        textRef = body.value.textRef;
      }
      if (body.case === 'statementFinished') finished = true;
    }
  }
  if (!started)
    throw new AppError(
      'not-found',
      'JOURNAL_STATEMENT_NOT_FOUND',
      `the journal does not have statement ${uid}, or retention has dropped it`,
    );
  if (opened >= 0) wanted.add(opened);
  const text = textRef > 0 ? texts.get(textRef) : undefined;
  if (text !== undefined) wanted.add(text);
  const indices = [...wanted].sort((a, b) => a - b);
  if ((indices.at(-1) ?? 0) >= signedSize)
    throw new AppError(
      'unavailable',
      'JOURNAL_NOT_SIGNED_YET',
      `statement ${uid} is not under a checkpoint yet; try again in a few seconds`,
    );
  return indices.map((index) => reader.storedBlock(index));
}

// ---- checking -------------------------------------------------------------------------------------------------

function blockProblem(block: ProvedBlock, checkpoint: Checkpoint): string | null {
  const raw = Buffer.from(block.entry, 'base64');
  const entry = decodeEntry(raw);
  if (typeof entry === 'string') return entry;
  if (entry.index !== block.index) return 'its entry is of another block';
  if (!sha256(Buffer.from(block.payload, 'base64')).equals(entry.payloadSha256))
    return 'its payload is not the one that was signed';
  const path = block.path.map((one) => Buffer.from(one, 'base64'));
  if (!inclusionHolds(leafHash(raw), block.index, checkpoint.size, path, checkpoint.root))
    return 'it is not in the signed tree';
  return null;
}

/** The events of the statement that proved blocks hold: its own, and the opening and text it refers to. */
function eventsOf(blocks: readonly ProvedBlock[], uid: string): { seq: number; event: Event }[] | string {
  const session = uid.slice(0, 36);
  const ordinal = Number(uid.slice(37));
  const found: { seq: number; event: Event; block: number }[] = [];
  let previous = -1;
  for (const block of blocks) {
    if (block.index <= previous) return 'the blocks are not in order';
    previous = block.index;
    const entry = decodeEntry(Buffer.from(block.entry, 'base64'));
    if (typeof entry === 'string') return entry;
    const payload = plainPayload(block, entry);
    if (payload === null) return `block ${block.index} does not decrypt with its key`;
    try {
      eventSpans(payload, entry.events).forEach(([start, end], i) => {
        const event = fromBinary(EventSchema, payload.subarray(start, end));
        if (event.sessionUid.length === 16 && uidFromBytes(event.sessionUid) === session)
          found.push({ seq: entry.firstSeq + i, event, block: block.index });
      });
    } catch {
      return `block ${block.index} does not hold the events it says`;
    }
  }
  const start = found.find(
    ({ event }) => event.body.case === 'statementStarted' && ordinalOf(event) === ordinal,
  );
  if (start === undefined || start.event.body.case !== 'statementStarted')
    return 'the blocks do not have the beginning of the statement';
  const { textRef } = start.event.body.value;
  const before = found.filter(({ seq }) => seq < start.seq);
  const opened = before.findLast(({ event }) => event.body.case === 'sessionOpened');
  const text = before.findLast(
    ({ event: { body } }) => textRef > 0 && body.case === 'textDeclared' && body.value.ref === textRef,
  );
  const own = found.filter(({ event }) => ordinalOf(event) === ordinal);
  const chosen = [opened, text, ...own].filter((one) => one !== undefined).sort((a, b) => a.seq - b.seq);
  const used = new Set(chosen.map(({ block }) => block));
  if (blocks.some(({ index }) => !used.has(index))) return 'a block has nothing of the statement';
  return chosen.map(({ seq, event }) => ({ seq, event }));
}

function plainPayload(block: ProvedBlock, entry: Entry): Buffer | null {
  const stored = Buffer.from(block.payload, 'base64');
  if (!entry.encrypted) return block.key === '' ? stored : null;
  const key = Buffer.from(block.key, 'base64');
  if (key.length !== BLOCK_KEY_BYTES) return null;
  return decryptPayload(key, entry.index, Buffer.from(block.entry, 'base64').subarray(0, 48), stored);
}

function outcomeOf(events: readonly { event: Event }[]): string {
  for (const { event } of events)
    if (event.body.case === 'statementFinished') return `OUTCOME_${Outcome[event.body.value.outcome] ?? ''}`;
  return '';
}

function readable(events: readonly { seq: number; event: Event }[]): ProvedEvent[] {
  return events.map(({ seq, event }) => ({ seq, event: toJson(EventSchema, event) }));
}

/** The proof in a text, its shape checked; or what is wrong. Its truth is checked by the caller. */
function parseProof(text: string): StatementProof | string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return 'the file is not JSON';
  }
  const proof = value as Partial<Record<keyof StatementProof, unknown>> | null;
  if (proof === null || typeof proof !== 'object' || proof.format !== FORMAT)
    return `the file is not a "${FORMAT}"`;
  const { statement, checkpoint, blocks } = proof;
  if (
    typeof statement !== 'string' ||
    !isUid(statement.slice(0, 36)) ||
    !/^-[1-9][0-9]{0,9}$/.test(statement.slice(36))
  )
    return 'the statement’s uid is malformed';
  if (typeof checkpoint !== 'string' || !Array.isArray(blocks) || blocks.length === 0)
    return 'the proof is incomplete';
  const parsed: ProvedBlock[] = [];
  for (const one of blocks as (Partial<Record<keyof ProvedBlock, unknown>> | null)[]) {
    const { index, entry, payload, key, path } = one ?? {};
    if (typeof index !== 'number' || !Number.isSafeInteger(index) || index < 0) return 'a block has no index';
    if (!isBase64(entry) || !isBase64(payload) || !isBase64(key)) return `block ${index} is malformed`;
    if (!Array.isArray(path) || path.length > 64 || !path.every(isBase64))
      return `block ${index} has no path`;
    parsed.push({ index, entry, payload, key, path });
  }
  return { format: FORMAT, statement, checkpoint, events: [], blocks: parsed };
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64');
}

/** Base64 in the one form that Node writes. */
function isBase64(value: unknown): value is string {
  return typeof value === 'string' && Buffer.from(value, 'base64').toString('base64') === value;
}
