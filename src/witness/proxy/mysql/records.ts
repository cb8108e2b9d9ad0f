/** MySQL's statements as journal records: what the recorder needs to be told of texts, parameters, rows and errors. */
import { ByteWriter } from '../../../base/bytes.ts';
import { Status } from '../../../wire/mysql/protocol.ts';
import type { ErrPacket, OkView } from '../../../wire/mysql/responses.ts';
import { Decision, Outcome, type StatementErrorFields, StatementKind } from '../recorder.ts';
import { StatementRecords } from '../statement-records.ts';
import type { Refusal } from './refusal.ts';
import type { InFlight, Prepared } from './statement.ts';

/** Text of a recorded error message, at most. */
const MAX_MESSAGE_CHARS = 8 * 1024;
/** First byte of a recorded description. */
const TEXT_ROWS = 0;
const BINARY_ROWS = 1;
const TRANSACTION_OPEN = 0x54;
const TRANSACTION_NONE = 0x49;

/** Parameters of an execution in the recorded form. */
export interface BoundParameters {
  readonly bytes: Buffer;
  readonly end: number;
  readonly types: readonly number[];
  /** Full length when `bytes` was cut, else 0. */
  readonly fullBytes: number;
}

export class MysqlRecords extends StatementRecords {
  /** The description of the result that is being received, to be recorded with its first rows. */
  readonly #description = new ByteWriter(4096);
  #described = true;

  announceExecution(
    statement: InFlight,
    prepared: Prepared,
    bound: BoundParameters | null,
    status: number,
    why: Refusal | null,
  ): void {
    const record = this.recorder.started;
    record.ordinal = statement.ordinal;
    record.kind = StatementKind.EXECUTE;
    this.recorder.putText(prepared.text);
    if (bound) {
      record.bind = bound.bytes;
      record.bindEnd = bound.end;
      record.parameterBytes = bound.fullBytes;
      record.parameterTypes = bound.types;
    }
    record.preparedName = prepared.id < 0 ? '' : String(prepared.id);
    record.transactionStatus = transactionStatus(status);
    if (why) {
      record.decision = Decision.DENIED;
      record.decisionReason = why.message;
    }
    this.recorder.start();
  }

  /** A text that stands for itself: a statement of COM_QUERY, a command, a refused one. */
  announceText(
    ordinal: number,
    kind: StatementKind,
    text: Buffer,
    start: number,
    end: number,
    originalBytes: number,
    redacted: boolean,
    status: number,
    why: Refusal | null,
    attributes: BoundParameters | null = null,
  ): void {
    const record = this.recorder.started;
    record.ordinal = ordinal;
    record.kind = kind;
    this.recorder.putOnce(text, start, end, originalBytes, redacted);
    if (attributes) {
      record.bind = attributes.bytes;
      record.bindEnd = attributes.end;
      record.parameterBytes = attributes.fullBytes;
      record.parameterTypes = attributes.types;
    }
    record.transactionStatus = transactionStatus(status);
    if (why) {
      record.decision = Decision.DENIED;
      record.decisionReason = why.message;
    }
    this.recorder.start();
  }

  /** The outcome of a statement that dbwitness refused. */
  finishRefused(ordinal: number, why: Refusal): void {
    this.recorder.settle();
    const record = this.recorder.finished;
    record.ordinal = ordinal;
    record.outcome = Outcome.REFUSED;
    record.error = {
      severity: 'ERROR',
      code: why.sqlstate,
      message: why.message,
      detail: why.detail,
      hint: why.hint,
      position: 0,
      number: why.errno,
      fields: {},
    };
    this.recorder.finish();
    this.recorder.settle();
  }

  /**
   * An outcome of the server's. What is borrowed (rows, put in by {@link inlineRows}) must stay valid until the recorder
   * settles, at the latest when the chunk ends.
   * @param ok with its bytes, or `null` for an EOF or an error.
   */
  finish(
    statement: InFlight,
    status: number,
    warnings: number,
    ok: OkView | null,
    bytes: Buffer,
    error: ErrPacket | null,
  ): void {
    const record = this.answered(statement);
    record.warnings = warnings;
    record.suspended = statement.suspended;
    if (ok) {
      record.affectedRows = ok.affectedRows;
      record.lastInsertId = ok.lastInsertId;
      if (ok.infoEnd > ok.infoStart) {
        record.tag = bytes;
        // Without session tracking the message has its length in front all the same.
        const counted = bytes[ok.infoStart] === ok.infoEnd - ok.infoStart - 1;
        record.tagStart = counted ? ok.infoStart + 1 : ok.infoStart;
        record.tagEnd = ok.infoEnd;
      }
      if (statement.rows === 0) record.rows = ok.affectedRows;
    }
    if (error) {
      record.outcome = Outcome.FAILED;
      record.error = errorRecord(error, statement.redacted);
    } else record.transactionStatus = transactionStatus(status);
    if (statement.notices) record.notices = statement.notices;
    if (!this.#described) this.#describeOutcome();
    this.recorder.finish();
  }

  // --- results ----------------------------------------------------------------------------------------------------

  /** Starts the description of a result set. */
  beginDescription(binary: boolean): void {
    this.recorder.settle(); // an outcome that is kept open may still show the last one
    this.#description.reset();
    this.#description.u8(binary ? BINARY_ROWS : TEXT_ROWS);
    this.#described = false;
  }

  /** Whole column definition packets. */
  addDescription(bytes: Buffer, start: number, end: number): void {
    this.#description.raw(bytes, start, end);
  }

  get descriptionBytes(): number {
    return this.#description.length;
  }

  /** Column definitions so far, a copy. */
  copyColumns(): Buffer {
    return Buffer.from(this.#description.bytes.subarray(1, this.#description.length));
  }

  /** Nothing of the current result's description is to be recorded. */
  dropDescription(): void {
    this.#described = true;
  }

  #describeOutcome(): void {
    this.#described = true;
    const record = this.recorder.finished;
    record.description = this.#description.bytes;
    record.descriptionEnd = this.#description.length;
  }

  /** Rows of a statement that is still running. */
  rows(statement: InFlight, rows: Buffer, start: number, end: number, count: number): void {
    const described = this.#described;
    this.#described = true;
    this.recorder.rows(
      statement.ordinal,
      described ? null : this.#description.bytes,
      0,
      described ? 0 : this.#description.length,
      rows,
      start,
      end,
      count,
    );
  }

  /** A result set of a statement that has more of them, without rows: its description alone. */
  describeEmpty(statement: InFlight): void {
    if (!this.#described) this.rows(statement, EMPTY, 0, 0, 0);
  }
}

const EMPTY = Buffer.alloc(0);

export function transactionStatus(status: number): number {
  return (status & Status.IN_TRANS) !== 0 ? TRANSACTION_OPEN : TRANSACTION_NONE;
}

const MENTION = /pass|pwd|secret|cred|identified|:\/\//i;

function errorRecord(error: ErrPacket, redacted: boolean): StatementErrorFields {
  return {
    severity: 'ERROR',
    code: error.sqlState,
    message: withoutSecrets(error.message, redacted).slice(0, MAX_MESSAGE_CHARS),
    detail: '',
    hint: '',
    position: 0,
    number: error.number,
    fields: {},
  };
}

/**
 * What the server says, without what it quotes where that may be a secret: `near 'IDENTIFIED BY 'hunter2'' at line 1`.
 * @param redacted a secret was taken out of the statement that this is about.
 */
export function withoutSecrets(text: string, redacted: boolean): string {
  if (!redacted && !MENTION.test(text)) return text;
  // MySQL does not double the quotes of what it quotes: everything between the first and the last of them may be it.
  return text.replace(/'[^]*'|"[^]*"|`[^]*`/, "'***'");
}
