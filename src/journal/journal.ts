/**
 * The journal: the append-only, tamper-evident log that everything else is made from.
 *
 * A transparency log in public formats. Events are appended in blocks, one block per flush; each block's header and hash
 * is an entry of a Merkle tree (RFC 6962), stored as tiles (c2sp.org/tlog-tiles), whose head is signed as a checkpoint
 * (c2sp.org/tlog-checkpoint). `docs/journal-format.md` has every byte.
 *
 *   witness ─ encode ─▶ appender ─ one write per flush ─▶ segments/*.dbwj ──▶ reader ─▶ indexer, rows by position
 *            (relay's thread)                                  │ follows
 *                                                              ▼
 *                              sealer (worker thread): fsync ─ hash ─ tiles ─ sign ─▶ log/checkpoint ─▶ cosigner
 *
 *   verify, proof: files and the public key, nothing else
 *
 * | file | purpose |
 * |---|---|
 * | `format` `layout` `segments` | bytes, names, scanning |
 * | `appender` `encode` | the hot path |
 * | `recovery` | the end of the last run |
 * | `tree` `note` `sealer` `sealer-thread` `cosign` | the proof |
 * | `reader` | following and random access, from any process |
 * | `retention` `verify` `proof` | dropping, checking, proving |
 * | `disk` `real-disk` `simulated-disk` | the file system as a port |
 *
 * Invariants
 *  1. What `flush` returned `true` for survives the process; what is `durable` survives the machine; what is under a
 *     checkpoint cannot change without `verify` naming the place.
 *  2. A segment is written by one run of one process. Each opening starts a new one.
 *  3. Signed blocks are never cut. An opening that cannot find them is refused.
 *  4. Segments go only after a signed event says so.
 */
import { randomBytes } from 'node:crypto';
import type { Clock } from '../base/clock.ts';
import { AppError, systemErrorCode } from '../base/errors.ts';
import { newUid } from '../base/ids.ts';
import { limits } from '../base/limits.ts';
import { Gap_Reason, Witness } from '../model/events.ts';
import type { JournalAppender } from '../model/journal.ts';
import { Appender, type SealerLink, type SegmentMaker } from './appender.ts';
import { blockCipher, checkMasterKey, masterKeyId, segmentKey } from './crypt.ts';
import { type Disk, type DiskFile, explain, replaceFile } from './disk.ts';
import { appendEvent } from './encode.ts';
import { encodeSegmentHeader } from './format.ts';
import { type Layout, layoutOf, segmentPath } from './layout.ts';
import {
  checkpointText,
  generateKey,
  openCheckpoint,
  parseSignerKey,
  type SignerKey,
  signNote,
} from './note.ts';
import { realDisk } from './real-disk.ts';
import { type Recovered, recover } from './recovery.ts';
import { type Dropped, dropOldSegments, type RetentionPolicy } from './retention.ts';
import { lostSigned } from './log-files.ts';
import { type CosignerOptions, SealerThread } from './sealer-thread.ts';
import { listSegments } from './segments.ts';
import { emptyRoot } from './tree.ts';

export interface JournalOptions {
  /** Made if it is not there. */
  readonly folder: string;
  /** Name of this node, for JournalOpened. */
  readonly node: string;
  /** Version of dbwitness, for JournalOpened. */
  readonly version: string;
  readonly clock: Clock;
  /** 32 bytes: new segments are encrypted (AES-256-GCM). `null`: they are not. */
  readonly encryptionKey: Uint8Array | null;
  /**
   * Origin of a new journal: the name under which its checkpoints are signed. ASCII without spaces and plus signs.
   * Default `dbwitness/<new uid>`. An existing journal keeps its own.
   */
  readonly origin?: string;
  readonly segmentBytes?: number;
  readonly maxUnwrittenBytes?: number;
  readonly batchSyncMs?: number;
  readonly checkpointMs?: number;
  /**
   * Free bytes below which nothing is recorded (and so nothing forwarded) any more, so that checkpoints, recovery and
   * a clean end still find room. 0 (default): the disk is used to its end.
   */
  readonly reserveBytes?: number;
  /** A C2SP witness that cosigns checkpoints. */
  readonly cosigner?: CosignerOptions | null;
  /** Shortest time between requests to the cosigner. Default 10 s. */
  readonly cosignMs?: number;
  /** Called after each request to the cosigner: what went wrong, or an empty text. */
  readonly onCosigned?: (problem: string) => void;
}

export interface Journal extends JournalAppender {
  /** The checkpoints' origin: this journal's name, unique. */
  readonly origin: string;
  /** The vkey that verifies it: what people keep elsewhere. */
  readonly publicKey: string;
  /** What opening found. */
  readonly recovered: Recovered;
  /** Blocks under the newest checkpoint. */
  readonly signedBlocks: number;
  /**
   * Drops the oldest segments by the policy, after a signed event says so. The newest segment always stays. Resolves when
   * the files are gone.
   */
  dropSegments(policy: RetentionPolicy): Promise<Dropped>;
}

/** Everything of an opened journal but its sealer, which tests run in their own way. */
export interface Prepared {
  readonly disk: Disk;
  readonly layout: Layout;
  readonly signer: SignerKey;
  readonly recovered: Recovered;
  /** The last run closed it. */
  readonly clean: boolean;
  readonly release: () => void;
}

/**
 * Opens or makes the journal in a folder, recovers what the last run left, and records that. Rejects with `conflict`
 * when another process has it open, `corrupt` when signed records are missing or damaged, `unavailable` when the folder
 * cannot be written.
 */
export async function openJournal(options: JournalOptions): Promise<Journal> {
  const prepared = guarded(options.folder, () => prepare(realDisk, options));
  let thread: SealerThread;
  try {
    thread = await SealerThread.start({
      folder: options.folder,
      signer: prepared.signer.text,
      batchSyncMs: options.batchSyncMs ?? limits.batchSyncMs,
      checkpointMs: options.checkpointMs ?? limits.checkpointMs,
      reserveBytes: options.reserveBytes ?? 0,
      cosigner: options.cosigner ?? null,
      cosignMs: options.cosignMs ?? 10_000,
    });
  } catch (error) {
    prepared.release();
    throw error;
  }
  thread.onCosigned = options.onCosigned ?? thread.onCosigned;
  try {
    const appender = guarded(options.folder, () => startAppender(prepared, options, thread, 100));
    return Object.defineProperties(appender, {
      origin: { value: prepared.signer.verifier.name },
      publicKey: { value: prepared.signer.verifier.text },
      recovered: { value: prepared.recovered },
      signedBlocks: { get: () => thread.signedSize },
      dropSegments: {
        value: (policy: RetentionPolicy) =>
          dropOldSegments(prepared.disk, prepared.layout, thread, appender, options.clock, policy),
      },
    }) as Appender & Journal;
  } catch (error) {
    await thread.close().catch(() => {});
    prepared.release();
    throw error;
  }
}

/** Lock, keys, first checkpoint, recovery: all that comes before the sealer starts. */
export function prepare(disk: Disk, options: JournalOptions): Prepared {
  if (options.encryptionKey !== null) checkMasterKey(options.encryptionKey);
  const layout = layoutOf(options.folder);
  disk.makeFolder(layout.segments);
  disk.makeFolder(layout.log);
  const lock = disk.lock(layout.lock);
  try {
    const signer = loadSigner(disk, layout, options);
    const checkpoint = openCheckpoint(disk.readFile(layout.checkpoint), signer.verifier);
    if (typeof checkpoint === 'string') throw lostSigned(layout, `${layout.checkpoint}: ${checkpoint}`);
    const recovered = recover(disk, layout, checkpoint.size, options.clock.wallUs());
    const clean = !lock.stale && recovered.lostBytes === 0 && recovered.nextBlock === checkpoint.size;
    return { disk, layout, signer, recovered, clean, release: () => lock.release() };
  } catch (error) {
    lock.release();
    throw error;
  }
}

/** The appender over a prepared journal, with the events of its opening appended and flushed. */
export function startAppender(
  prepared: Prepared,
  options: JournalOptions,
  sealer: SealerLink,
  retryMs: number,
): Appender {
  const { disk, layout, recovered, signer } = prepared;
  const appender = new Appender({
    folder: options.folder,
    clock: options.clock,
    makeSegment: segmentMaker(disk, layout, signer.verifier.name, options),
    sealer,
    segmentNumber: recovered.segmentNumber,
    nextBlock: recovered.nextBlock,
    nextSeq: recovered.nextSeq,
    segmentBytes: options.segmentBytes ?? limits.segmentBytes,
    maxUnwrittenBytes: options.maxUnwrittenBytes ?? limits.maxUnwrittenBytes,
    retryMs,
    release: prepared.release,
  });
  recordOpening(appender, prepared, options);
  if (!appender.flush()) {
    const { failure } = appender.status;
    throw new AppError('unavailable', 'JOURNAL_UNWRITABLE', `the journal cannot be written: ${failure}`);
  }
  return appender;
}

function recordOpening(appender: Appender, prepared: Prepared, options: JournalOptions): void {
  const { recovered, clean } = prepared;
  const nowUs = BigInt(options.clock.wallUs());
  const origin = { witness: Witness.CONTROL };
  if (recovered.lostBytes > 0)
    appendEvent(appender, {
      atUs: nowUs,
      origin,
      body: {
        case: 'gap',
        value: {
          witness: Witness.CONTROL,
          reason: Gap_Reason.TORN_TAIL,
          fromUs: BigInt(recovered.lastUs),
          untilUs: nowUs,
          lostBytes: BigInt(recovered.lostBytes),
          detail: `kept in quarantine/: ${recovered.quarantined.join(', ')}`,
        },
      },
    });
  appendEvent(appender, {
    atUs: nowUs,
    origin,
    body: {
      case: 'journalOpened',
      value: {
        version: options.version,
        node: options.node,
        previousEvents: BigInt(recovered.nextSeq),
        clean: clean || !recovered.existed,
      },
    },
  });
}

/** Makes segments so that they appear under their name only with a whole header. */
function segmentMaker(disk: Disk, layout: Layout, origin: string, options: JournalOptions): SegmentMaker {
  const master = options.encryptionKey;
  const keyId = master === null ? new Uint8Array(8) : masterKeyId(master);
  return (number, firstBlock, firstSeq) => {
    const salt = master === null ? new Uint8Array(16) : randomBytes(16);
    const header = encodeSegmentHeader({
      encrypted: master !== null,
      number,
      firstBlock,
      firstSeq,
      createdUs: options.clock.wallUs(),
      keyId,
      salt,
      origin,
    });
    if (disk.exists(layout.draftSegment)) disk.remove(layout.draftSegment);
    const file = disk.open(layout.draftSegment, 'create');
    try {
      writeHeader(file, header);
      disk.rename(layout.draftSegment, segmentPath(layout, firstBlock));
    } catch (error) {
      file.close();
      throw error;
    }
    const cipher = master === null ? null : blockCipher(segmentKey(master, salt, origin));
    return { file, number, cipher };
  };
}

function writeHeader(file: DiskFile, header: Buffer): void {
  for (let at = 0; at < header.length; ) at += file.write(header, at, header.length - at, at);
}

/** The signing key; for a new journal, a new one, with a checkpoint of the empty tree. */
function loadSigner(disk: Disk, layout: Layout, options: JournalOptions): SignerKey {
  const isNew = !disk.exists(layout.checkpoint);
  if (isNew && listSegments(disk, layout).length > 0)
    throw lostSigned(layout, `${layout.checkpoint} is missing`);
  if (!isNew && !disk.exists(layout.privateKey))
    throw lostSigned(layout, `the signing key ${layout.privateKey} is missing`);
  const signer = disk.exists(layout.privateKey)
    ? parseSignerKey(disk.readFile(layout.privateKey).toString('utf8'))
    : generateKey(options.origin ?? `dbwitness/${newUid(options.clock)}`);
  if (!isNew) return signer;
  replaceFile(disk, layout.privateKey, Buffer.from(`${signer.text}\n`), 0o600);
  replaceFile(disk, layout.publicKey, Buffer.from(`${signer.verifier.text}\n`));
  const empty = signNote(checkpointText(signer.verifier.name, 0, emptyRoot()), signer);
  replaceFile(disk, layout.checkpoint, Buffer.from(empty));
  return signer;
}

/** System errors of opening become an AppError that says what to do. */
function guarded<T>(folder: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    if (systemErrorCode(error) === undefined || error instanceof AppError) throw error;
    throw new AppError(
      'unavailable',
      'JOURNAL_UNWRITABLE',
      `the journal cannot be opened: ${explain(error, folder)}`,
      {
        cause: error,
      },
    );
  }
}
