/** What the journal is told of a statement's outcome in the same way by every engine. */
import type { StatementFinishedRecord } from '../../journal/encode.ts';
import { Outcome, type SessionRecorder } from './recorder.ts';
import type { TurnScheduler } from './turn.ts';

/** What an engine counts of each statement on its way. */
export interface CountedStatement {
  /** Its number in the session. */
  readonly ordinal: number;
  readonly rows: number;
  readonly bytes: number;
  /** Not all of its rows were captured. */
  readonly truncated: boolean;
  /** Monotonic, microseconds. */
  readonly startedUs: number;
  /** 0: there was none. */
  readonly firstRowUs: number;
  finished: boolean;
}

export class StatementRecords {
  readonly recorder: SessionRecorder;
  readonly #turn: TurnScheduler;

  constructor(recorder: SessionRecorder, turn: TurnScheduler) {
    this.recorder = recorder;
    this.#turn = turn;
  }

  /** Outcomes without an answer of their own: skipped by the server, or unknown because the connection ended. */
  finishUnanswered(statement: CountedStatement, outcome: Outcome): void {
    const record = this.#counted(statement);
    record.outcome = outcome;
    if (outcome === Outcome.UNKNOWN) record.durationUs = this.#since(statement);
    this.recorder.finish();
    this.recorder.settle();
  }

  /** Rows that end in the same chunk as their statement go into its outcome; call right after the engine's `finish`. */
  inlineRows(rows: Buffer, start: number, end: number, count: number): void {
    const record = this.recorder.finished;
    record.resultRows = rows;
    record.resultRowsStart = start;
    record.resultRowsEnd = end;
    record.resultRowCount = count;
  }

  /** The record of an outcome of the server's, with the counts and times in it. What was kept open is settled. */
  protected answered(statement: CountedStatement): StatementFinishedRecord {
    const record = this.#counted(statement);
    record.durationUs = this.#since(statement);
    if (statement.firstRowUs > 0)
      record.firstRowUs = Math.max(1, Math.round(statement.firstRowUs - statement.startedUs));
    return record;
  }

  #counted(statement: CountedStatement): StatementFinishedRecord {
    this.recorder.settle();
    statement.finished = true;
    const record = this.recorder.finished;
    record.ordinal = statement.ordinal;
    record.rows = statement.rows;
    record.bytes = statement.bytes;
    record.truncated = statement.truncated;
    return record;
  }

  #since(statement: CountedStatement): number {
    return Math.max(1, Math.round(this.#turn.monotonicUs - statement.startedUs));
  }
}
