/** The journal as the API reads it: by position, from the files, beside the relay that writes them. */
import { toJson } from '@bufbuild/protobuf';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { JournalReads, RecordedRows } from '../../api/deps.ts';
import type { JournalReader } from '../../journal/reader.ts';
import { EventSchema } from '../../model/events.ts';
import type { SessionEvent, SessionRecord, StatementRecord } from '../../store/queries.ts';
import { statementEvents } from '../../store/replay.ts';
import { type RecordedPiece, recordedResultSets } from '../recorded-values.ts';
import { Proofs } from './proofs.ts';

/** The engine of a session by its uid, as the index has it; '' when it is not known. */
export type EngineOfSession = (sessionUid: string) => Promise<string>;

export class NodeJournalReads implements JournalReads {
  readonly #reader: JournalReader;
  readonly #folder: string;
  readonly #proofs: Proofs;
  readonly #engineOf: EngineOfSession;

  /** `key`: of encrypted segments, 32 bytes. */
  constructor(reader: JournalReader, folder: string, key: Uint8Array, engineOf: EngineOfSession) {
    this.#reader = reader;
    this.#folder = folder;
    this.#engineOf = engineOf;
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
    const pieces: RecordedPiece[] = [];
    for await (const { event } of statementEvents(this.#reader, statement)) {
      const { body } = event;
      const result =
        body.case === 'resultChunk' || body.case === 'statementFinished' ? body.value.result : undefined;
      if (result) pieces.push(result);
    }
    const sets = recordedResultSets(await this.#engineOf(statement.session_uid), pieces);
    const [first = { columns: [], rows: [] }, ...others] = sets;
    return {
      columns: first.columns,
      rows: first.rows,
      truncated: statement.truncated || sets.some(({ truncated }) => truncated),
      more: others.map(({ columns, rows }) => ({ columns, rows })),
    };
  }

  async bodies(_session: SessionRecord, events: readonly SessionEvent[]): Promise<readonly unknown[]> {
    return events.map(({ seq }) => {
      const event = this.#reader.readEvent(seq);
      return event === null ? null : toJson(EventSchema, event);
    });
  }
}
