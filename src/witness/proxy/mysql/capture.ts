/**
 * Result rows on their way into the journal. Rows that arrive whole are a range of the chunk, recorded without a copy when
 * the chunk ends or their statement does; a row longer than a chunk flows through and is collected beside, if it fits the
 * limits at all.
 */
import type { RecordingOptions } from '../../../model/access.ts';
import { MAX_ROW_BYTES } from '../recorder.ts';
import type { MysqlRecords } from './records.ts';
import type { InFlight } from './statement.ts';

export class RowCapture {
  readonly #records: MysqlRecords;
  readonly #recording: RecordingOptions;
  /** Rows of `#statement` that are not recorded yet: `#rows[#start, #end)`. */
  #statement: InFlight | null = null;
  #rows: Buffer | null = null;
  #start = 0;
  #end = 0;
  #count = 0;
  /** A long row in flow. */
  #long: Buffer | null = null;
  #longOf: InFlight | null = null;
  #longBytes = 0;

  constructor(records: MysqlRecords, recording: RecordingOptions) {
    this.#records = records;
    this.#recording = recording;
  }

  /** Whether this many rows and bytes more may still be recorded of the statement. */
  fits(statement: InFlight, rows: number, bytes: number): boolean {
    return (
      statement.recordedRows + rows <= this.#recording.captureRows &&
      statement.recordedBytes + bytes <= this.#recording.captureBytes
    );
  }

  /** How many more rows may be recorded of the statement. */
  roomRows(statement: InFlight): number {
    return this.#recording.captureRows - statement.recordedRows;
  }

  /** Takes whole rows `bytes[start, end)`; borrowed until the chunk ends. */
  take(statement: InFlight, bytes: Buffer, start: number, end: number, rows: number): void {
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
  intoOutcome(statement: InFlight): void {
    if (this.#statement !== statement || !this.#rows) return;
    this.#statement = null;
    this.#records.inlineRows(this.#rows, this.#start, this.#end, this.#count);
  }

  /** A row of `totalBytes` of which `bytes[at, end)` is there. */
  beginLong(statement: InFlight, bytes: Buffer, at: number, end: number, totalBytes: number): void {
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
