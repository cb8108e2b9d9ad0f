/** The journal as the API reads it: by position, from the files, beside the relay that writes them. */
import { toJson } from '@bufbuild/protobuf';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { JournalReads, RecordedRows } from '../../api/deps.ts';
import { AppError } from '../../base/errors.ts';
import { makeProof } from '../../journal/proof.ts';
import type { JournalBlock, JournalReader } from '../../journal/reader.ts';
import { EventSchema } from '../../model/events.ts';
import type { SessionEvent, SessionRecord, StatementRecord } from '../../store/queries.ts';
import { type BlockReader, statementEvents } from '../../store/replay.ts';
import { decodeRows } from '../../wire/postgres/values/decode.ts';

export class NodeJournalReads implements JournalReads {
  readonly #reader: JournalReader;
  readonly #folder: string;

  constructor(reader: JournalReader, folder: string) {
    this.#reader = reader;
    this.#folder = folder;
  }

  async checkpoint(): ReturnType<JournalReads['checkpoint']> {
    const note = this.#reader.checkpoint();
    if (note === '') return null;
    const verifierKey = (await readFile(join(this.#folder, 'journal.pub'), 'utf8')).trim();
    return { note, verifierKey };
  }

  async proof(statement: StatementRecord): Promise<object> {
    return makeProof(this.#folder, {
      session: statement.session_uid,
      ordinal: statement.ordinal,
      startSeq: statement.start_seq,
      finishSeq: statement.finish_seq,
    });
  }

  async rows(statement: StatementRecord): Promise<RecordedRows> {
    const range = await this.#reader.range();
    if (statement.start_seq < range.firstSeq)
      throw new AppError(
        'not-found',
        'APP_ROWS_DROPPED',
        'the rows of this statement were dropped by retention',
      );
    const descriptions: Uint8Array[] = [];
    const pieces: Uint8Array[] = [];
    for await (const { event } of statementEvents(this.#blocks, statement, range.nextSeq)) {
      const result =
        event.body.case === 'resultChunk' || event.body.case === 'statementFinished'
          ? event.body.value.result
          : undefined;
      if (!result) continue;
      if (result.description.length > 0) descriptions.push(result.description);
      pieces.push(result.rows);
    }
    const decoded = decodeRows(descriptions[0] ?? new Uint8Array(), Buffer.concat(pieces));
    return {
      columns: decoded.columns.map(({ name, type }) => ({ name, type })),
      rows: decoded.rows,
      truncated: statement.truncated || decoded.truncated,
    };
  }

  readonly #blocks: BlockReader = {
    blocksOf: (fromSeq, lastSeq) => this.#blocksOf(fromSeq, lastSeq),
  };

  async *#blocksOf(fromSeq: number, lastSeq: number): AsyncGenerator<JournalBlock> {
    let read = 0;
    for (const block of this.#reader.blocksFrom(fromSeq)) {
      if (block.firstSeq > lastSeq) return;
      yield block;
      // A long statement must not hold up the API.
      if (++read % 64 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async bodies(_session: SessionRecord, events: readonly SessionEvent[]): Promise<readonly unknown[]> {
    return events.map(({ seq }) => {
      const event = this.#reader.readEvent(seq);
      return event === null ? null : toJson(EventSchema, event);
    });
  }
}
