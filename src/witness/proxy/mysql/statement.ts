/** What the requests of a session refer to: prepared statements, and statements in flight. */
import type { Classification } from '../../../model/statement.ts';
import type { SecretParameters } from '../../../sql/mysql/dialect.ts';
import type { DeclarableText } from '../recorder.ts';

const NO_TYPES: readonly number[] = [];
/** The text of a prepared statement, as it is recorded: secrets redacted, a copy of its own. */
export class PreparedText implements DeclarableText {
  readonly recorded: Buffer;
  readonly redacted: boolean;
  readonly originalBytes: number;
  /** Empty: MySQL's types come with each execution. */
  readonly parameterTypes = NO_TYPES;
  readonly classification: Classification | null;
  /** `null`: none of its parameters stands where a secret does. */
  readonly secrets: SecretParameters | null;
  ref = 0;
  declaredIn = -1;
  executions = 0;

  constructor(
    recorded: Buffer,
    redacted: boolean,
    originalBytes: number,
    classification: Classification | null,
    secrets: SecretParameters | null,
  ) {
    this.recorded = recorded;
    this.redacted = redacted;
    this.originalBytes = originalBytes;
    this.classification = classification;
    this.secrets = secrets;
  }
}

/** Data of one parameter, sent before the execution: what is recorded of them. */
export class SentData {
  #bytes = Buffer.alloc(0);
  keptBytes = 0;

  /** Keeps a copy. */
  add(bytes: Buffer, start: number, end: number): void {
    const length = this.keptBytes + end - start;
    if (length > this.#bytes.length) {
      // Pieces may be as small as a byte: none of them gets an object of its own.
      const larger = Buffer.allocUnsafeSlow(Math.max(64, length, this.#bytes.length * 2));
      this.#bytes.copy(larger, 0, 0, this.keptBytes);
      this.#bytes = larger;
    }
    bytes.copy(this.#bytes, this.keptBytes, start, end);
    this.keptBytes = length;
  }

  /** A view. */
  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.keptBytes);
  }
}

/** A prepared statement of the protocol. */
export class Prepared {
  readonly text: PreparedText;
  /** −1 until the server has answered. */
  id = -1;
  parameterCount = 0;
  columnCount = 0;
  /** Types as last sent; `null`: none yet. */
  types: Uint16Array | null = null;
  /** The same in the recorded form, made once for all executions with them; `null`: not made. */
  recordedTypes: readonly number[] | null = null;
  /** By parameter number; `null`: none since the last execution or reset. */
  longData: Map<number, SentData> | null = null;
  /** Bytes of long data that are not recorded. */
  unrecordedBytes = 0;
  /** Column definitions of its last result, whole packets: for executions that leave them out, and for cursors. */
  columns: Buffer | null = null;
  /** A part of its long data was dropped: it cannot be executed before a reset. */
  spoiled = false;
  /** Calls a procedure: several results of one execution. */
  readonly calls: boolean;
  /** See {@link InFlight.loads}. */
  readonly loads: string | null;

  constructor(text: PreparedText, calls: boolean, loads: string | null) {
    this.text = text;
    this.calls = calls;
    this.loads = loads;
  }
}

/** One statement on its way: announced in the journal, waiting for its outcome. */
export class InFlight {
  readonly ordinal: number;
  /** Monotonic microseconds. */
  readonly startedUs: number;
  firstRowUs = 0;
  rows = 0;
  /** Bytes of rows, or of a file that was loaded. */
  bytes = 0;
  recordedRows = 0;
  recordedBytes = 0;
  truncated = false;
  finished = false;
  /** A secret was taken out of its text: what the server says about it may quote that. */
  redacted = false;
  /** Ends with an OK or ERR of its own, whatever results come before: CALL. */
  readonly calls: boolean;
  /** The text of a LOAD … LOCAL of the client's own, which may be asked for its file; `null`: it is none. */
  loads: string | null = null;
  /** Its result goes on in a cursor. */
  suspended = false;
  notices: string[] | null = null;

  constructor(ordinal: number, startedUs: number, calls: boolean) {
    this.ordinal = ordinal;
    this.startedUs = startedUs;
    this.calls = calls;
  }
}
