/** The journal as the API reads it: by position, from the files, beside the relay that writes them. */
import { toJson } from '@bufbuild/protobuf';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { JournalReads, RecordedRows } from '../../api/deps.ts';
import type { JournalReader } from '../../journal/reader.ts';
import { EventSchema } from '../../model/events.ts';
import type { SessionEvent, SessionRecord, StatementRecord } from '../../store/queries.ts';
import { statementEvents } from '../../store/replay.ts';
import { decodeRows } from '../../wire/postgres/values/decode.ts';
import { Proofs } from './proofs.ts';

export class NodeJournalReads implements JournalReads {
  readonly #reader: JournalReader;
  readonly #folder: string;
  readonly #proofs: Proofs;

  /** `key`: of encrypted segments, 32 bytes. */
  constructor(reader: JournalReader, folder: string, key: Uint8Array) {
    this.#reader = reader;
    this.#folder = folder;
    this.#proofs = new Proofs(folder, key);
  }

  async checkpoint(): ReturnType<JournalReads['checkpoint']> {
    const note = this.#reader.checkpoint();
    if (note === '') return null;
    const verifierKey = (await readFile(join(this.#folder, 'journal.pub'), 'utf8')).trim();
    return { note, verifierKey };
  }

  async proof(statement: StatementRecord): Promise<object> {
    return this.#proofs.make({
      session: statement.session_uid,
      ordinal: statement.ordinal,
      startSeq: statement.start_seq,
      finishSeq: statement.finish_seq,
    });
  }

  async rows(statement: StatementRecord): Promise<RecordedRows> {
    const descriptions: Uint8Array[] = [];
    const pieces: Uint8Array[] = [];
    for await (const { event } of statementEvents(this.#reader, statement)) {
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

  async bodies(_session: SessionRecord, events: readonly SessionEvent[]): Promise<readonly unknown[]> {
    return events.map(({ seq }) => {
      const event = this.#reader.readEvent(seq);
      return event === null ? null : toJson(EventSchema, event);
    });
  }
}
