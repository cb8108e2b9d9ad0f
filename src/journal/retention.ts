/**
 * Retention: whole segments go, oldest first, after a signed event says which. Their entries and tiles stay, so
 * everything left still verifies, and what is gone is known by its hashes.
 *
 * The event counts from the journal's beginning ("blocks 0 to n are gone"), so the newest one speaks for all before it,
 * whose own segments may be dropped in their turn. Its block is never encrypted: `verify` reads it without a key.
 */
import { create, toBinary } from '@bufbuild/protobuf';
import type { Clock } from '../base/clock.ts';
import { AppError } from '../base/errors.ts';
import { EventSchema, Witness } from '../model/events.ts';
import type { Appender } from './appender.ts';
import type { Disk } from './disk.ts';
import { decodeEntry, type Entry, FLAG_RETENTION } from './format.ts';
import { type Layout, segmentPath, tilePath } from './layout.ts';
import { decodeBundle } from './log-files.ts';
import { listSegments } from './segments.ts';
import { TILE_WIDTH } from './tree.ts';

export interface RetentionPolicy {
  /** Segments whose newest event is older than this are dropped: µs since 1970. */
  readonly olderThanUs?: number;
  /** The oldest segments are dropped until the segment files have no more than this. */
  readonly maxBytes?: number;
}

export interface Dropped {
  readonly segments: number;
  readonly bytes: number;
}

/** What retention needs of the sealer. */
export interface SealedState {
  /** Blocks under the newest checkpoint. */
  readonly signedSize: number;
  /** Blocks whose tiles and bundles are durable. */
  readonly tilesSynced: number;
  hurry(): void;
}

interface Candidate {
  readonly firstBlock: number;
  readonly lastBlock: number;
  readonly bytes: number;
  readonly lastEntry: Entry;
}

const POLL_MS = 20;
const SIGN_MS = 60_000;

export async function dropOldSegments(
  disk: Disk,
  layout: Layout,
  sealer: SealedState,
  appender: Appender,
  clock: Clock,
  policy: RetentionPolicy,
): Promise<Dropped> {
  const doomed = choose(disk, layout, sealer, policy);
  const last = doomed.at(-1);
  if (last === undefined) return { segments: 0, bytes: 0 };
  const event = create(EventSchema, {
    atUs: BigInt(clock.wallUs()),
    origin: { witness: Witness.CONTROL },
    body: {
      case: 'segmentsDropped',
      value: {
        firstBlock: 0n,
        lastBlock: BigInt(last.lastBlock),
        firstEvent: 0n,
        lastEvent: BigInt(last.lastEntry.firstSeq + last.lastEntry.events - 1),
        untilUs: BigInt(last.lastEntry.lastUs),
        policy: describe(policy),
      },
    },
  });
  appender.appendOpenly(toBinary(EventSchema, event), FLAG_RETENTION);
  const block = appender.nextBlock - 1;
  if (!appender.flush())
    throw new AppError(
      'unavailable',
      'JOURNAL_RETENTION',
      `nothing was dropped, because the journal cannot be written: ${appender.status.failure}`,
    );
  await signed(sealer, block);
  for (const { firstBlock } of doomed) disk.remove(segmentPath(layout, firstBlock));
  disk.syncFolder(layout.segments);
  return { segments: doomed.length, bytes: doomed.reduce((sum, one) => sum + one.bytes, 0) };
}

/** The segments that go: a first part of those whose proof is complete and durable. The newest never goes. */
function choose(disk: Disk, layout: Layout, sealer: SealedState, policy: RetentionPolicy): Candidate[] {
  const firsts = listSegments(disk, layout);
  const proven = Math.min(sealer.signedSize, sealer.tilesSynced);
  const candidates: Candidate[] = [];
  const sizes = firsts.map((first) => sizeOf(disk, segmentPath(layout, first)));
  let total = sizes.reduce((sum, size) => sum + size, 0);
  for (let i = 0; i + 1 < firsts.length && firsts[i + 1] <= proven; i++) {
    const lastBlock = firsts[i + 1] - 1;
    const lastEntry = readEntry(disk, layout, lastBlock);
    const old = policy.olderThanUs !== undefined && lastEntry.lastUs < policy.olderThanUs;
    const tooMuch = policy.maxBytes !== undefined && total > policy.maxBytes;
    if (!old && !tooMuch) break;
    total -= sizes[i];
    candidates.push({ firstBlock: firsts[i], lastBlock, bytes: sizes[i], lastEntry });
  }
  return candidates;
}

/** An entry from its full bundle. Throws `corrupt` when that is damaged. */
export function readEntry(disk: Disk, layout: Layout, index: number): Entry {
  const path = tilePath(layout, 'entries', Math.floor(index / TILE_WIDTH));
  const raw = decodeBundle(disk.readFile(path))?.[index % TILE_WIDTH];
  const entry = raw === undefined ? 'it has no such entry' : decodeEntry(raw);
  if (typeof entry === 'string' || entry.index !== index)
    throw new AppError(
      'corrupt',
      'JOURNAL_CORRUPT',
      `${path} is damaged; run \`dbwitness verify\` to see where the journal is broken`,
    );
  return entry;
}

function sizeOf(disk: Disk, path: string): number {
  const file = disk.open(path, 'read');
  try {
    return file.size();
  } finally {
    file.close();
  }
}

function describe(policy: RetentionPolicy): string {
  const parts: string[] = [];
  if (policy.olderThanUs !== undefined)
    parts.push(`older than ${new Date(policy.olderThanUs / 1000).toISOString()}`);
  if (policy.maxBytes !== undefined) parts.push(`beyond ${policy.maxBytes} bytes`);
  return parts.join(', ');
}

async function signed(sealer: SealedState, block: number): Promise<void> {
  const until = performance.now() + SIGN_MS;
  for (;;) {
    sealer.hurry();
    if (sealer.signedSize > block) return;
    if (performance.now() > until)
      throw new AppError(
        'unavailable',
        'JOURNAL_RETENTION',
        'nothing was dropped, because the journal could not sign the event that says so; see its status',
      );
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
