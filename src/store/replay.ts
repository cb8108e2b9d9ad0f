/**
 * A statement's own events out of the journal: its start, the pieces of its result or COPY data, its end. The index
 * knows the block it starts in and the position it ends at; between them the journal is read through, other
 * sessions' events passed over.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { fromBinary } from '@bufbuild/protobuf';
import { AppError } from '../base/errors.ts';
import { uidToBytes } from '../base/ids.ts';
import { type Event, EventSchema } from '../model/events.ts';
import { BODY, type ScannedEvent, scanBlock } from './event-scan.ts';
import type { JournalBlock } from './journal-source.ts';
import type { StatementIndexTable } from './schema.ts';

/** Other work of the thread gets a turn at least this often. */
const YIELD_BYTES = 1024 * 1024;

export interface StatementEvent {
  readonly seq: number;
  readonly event: Event;
}

export type StatementPosition = Pick<
  StatementIndexTable,
  'session_uid' | 'ordinal' | 'start_seq' | 'start_block' | 'finish_seq'
>;

/** What is read of `JournalReader`. */
export interface BlockReader {
  /** The blocks from an index on, or from the oldest that is there, to the present end. */
  blocks(fromBlock: number): Iterable<JournalBlock>;
}

/**
 * StatementStarted, then ResultChunk and CopyChunk, then StatementFinished, in order, with their positions; of a
 * statement that has no end yet, what there is up to the journal's present end. Stop iterating to stop reading. Rejects with
 * `not-found` when retention has dropped its beginning from the journal.
 */
export async function* statementEvents(
  reader: BlockReader,
  statement: StatementPosition,
): AsyncGenerator<StatementEvent> {
  const { start_seq, start_block, finish_seq, ordinal } = statement;
  const session = Buffer.from(uidToBytes(statement.session_uid)).toString('latin1');
  let unyielded = 0;
  for (const block of reader.blocks(start_block)) {
    if (unyielded === 0 && block.firstSeq > start_seq) throw dropped();
    const found: StatementEvent[] = [];
    scanBlock(block, start_seq, (scanned) => {
      if (scanned.session !== session || (finish_seq !== null && scanned.seq > finish_seq)) return;
      const event = eventOf(scanned, ordinal);
      if (event !== null) found.push({ seq: scanned.seq, event });
    });
    yield* found;
    if (finish_seq !== null && block.firstSeq + block.count > finish_seq) return;
    unyielded += block.payload.length;
    if (unyielded < YIELD_BYTES) continue;
    unyielded = 1;
    await nextTurn();
  }
}

function eventOf(scanned: ScannedEvent, ordinal: number): Event | null {
  const { body } = scanned;
  if (body === BODY.statementStarted && scanned.started?.ordinal !== ordinal) return null;
  if (body === BODY.statementFinished && scanned.finished?.ordinal !== ordinal) return null;
  const chunk = body === BODY.resultChunk || body === BODY.copyChunk;
  if (!chunk && body !== BODY.statementStarted && body !== BODY.statementFinished) return null;
  const event = fromBinary(EventSchema, scanned.bytes);
  if (event.body.case === 'resultChunk' || event.body.case === 'copyChunk')
    return event.body.value.ordinal === ordinal ? event : null;
  return event;
}

function dropped(): AppError {
  return new AppError(
    'not-found',
    'STORE_STATEMENT_DROPPED',
    'the journal no longer has this statement; its retention dropped it, and only the index row is left',
  );
}
