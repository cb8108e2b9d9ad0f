/**
 * Result rows on their way into the journal. Rows that arrive whole are a range of the chunk, recorded without a copy
 * when the chunk ends or their statement does; a row longer than a chunk flows through and is collected beside, if it
 * fits the limits at all.
 */
import type { RecordingOptions } from '../../model/access.ts';
import { MAX_ROW_BYTES } from './recorder.ts';

/** A statement in flight, as far as its rows are concerned. */
export interface CapturedStatement {
  recordedRows: number;
  recordedBytes: number;
  /** Rows of it are not recorded. */
  truncated: boolean;
}

/** Where the rows go: an engine's records. */
export interface RowRecords<S> {
  /** Rows of a statement that is still running. */
  rows(statement: S, rows: Buffer, start: number, end: number, count: number): void;
  /** Rows of the statement whose outcome is being written. */
  inlineRows(rows: Buffer, start: number, end: number, count: number): void;
}

export class RowCapture<S extends CapturedStatement> {
  readonly #records: RowRecords<S>;
  readonly #recording: RecordingOptions;
  /** Rows of `#statement` that are not recorded yet: `#rows[#start, #end)`. */
  #statement: S | null = null;
  #rows: Buffer | null = null;
  #start = 0;
  #end = 0;
  #count = 0;
  /** A long row in flow. */
  #long: Buffer | null = null;
  #longOf: S | null = null;
  #longBytes = 0;

  constructor(records: RowRecords<S>, recording: RecordingOptions) {
    this.#records = records;
    this.#recording = recording;
  }

  /** Whether a row that would bring the statement's captured part to these totals may still be recorded. */
  fits(statement: S, rows: number, bytes: number): boolean {
    return (
      statement.recordedRows + rows <= this.#recording.captureRows &&
      statement.recordedBytes + bytes <= this.#recording.captureBytes
    );
  }

  /** Takes whole rows `bytes[start, end)`; borrowed until the chunk ends. */
  take(statement: S, bytes: Buffer, start: number, end: number, rows: number): void {
    if (this.#statement === statement && this.#rows === bytes && this.#end === start) {
      this.#end = end;
      this.#count += rows;
    } else {
      this.flush();
      this.#statement = statement;
      this.#rows = bytes;
      this.#start = start;
      this.#end = end;
      this.#count = rows;
    }
    statement.recordedRows += rows;
    statement.recordedBytes += end - start;
  }

  /** Records what was taken, of a statement that goes on. */
  flush(): void {
    const statement = this.#statement;
    if (!statement || !this.#rows) return;
    this.#statement = null;
    this.#records.rows(statement, this.#rows, this.#start, this.#end, this.#count);
  }

  /** Puts what was taken of this statement into its outcome; call between `finish` and the next event. */
  intoOutcome(statement: S): void {
    if (this.#statement !== statement || !this.#rows) return;
    this.#statement = null;
    this.#records.inlineRows(this.#rows, this.#start, this.#end, this.#count);
  }

  /** What is waiting belongs to another statement and must be recorded before this one's outcome. */
  flushOthers(statement: S): void {
    if (this.#statement !== statement) this.flush();
  }

  /** A row of `totalBytes` of which `bytes[at, end)` is there. */
  beginLong(statement: S, bytes: Buffer, at: number, end: number, totalBytes: number): void {
    this.flush();
    if (statement.truncated || totalBytes > MAX_ROW_BYTES || !this.fits(statement, 1, totalBytes)) {
      statement.truncated = true;
      return;
    }
    this.#longOf = statement;
    this.#long = Buffer.allocUnsafeSlow(totalBytes);
    this.#longBytes = bytes.copy(this.#long, 0, at, end);
  }

  /** More of the long row; records it when it is whole. */
  goOn(bytes: Buffer, at: number, end: number): void {
    const row = this.#long;
    const statement = this.#longOf;
    if (!row || !statement) return;
    this.#longBytes += bytes.copy(row, this.#longBytes, at, end);
    if (this.#longBytes < row.length) return;
    this.#long = null;
    statement.recordedRows++;
    statement.recordedBytes += row.length;
    this.#records.rows(statement, row, 0, row.length, 1);
  }
}
