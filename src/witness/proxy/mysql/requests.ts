/** Requests of a session: commands that were passed on, or answered by us, in the order in which they are answered. */
import type { InFlight, Prepared } from './statement.ts';

/** What answers a command. */
export const RequestKind = {
  /** One OK, EOF or ERR. */
  ok: 1,
  /** OK, ERR, a file request, or result sets in text rows. */
  query: 2,
  /** The same in binary rows. */
  execute: 3,
  /** Rows of a cursor. */
  fetch: 4,
  /** PREPARE_OK with its definitions. */
  prepare: 5,
  /** Column definitions up to EOF. */
  fieldList: 6,
  /** One packet of text. */
  statistics: 7,
  /** A query of our own: nothing of its answer goes to the client. */
  internal: 8,
  /** `answer` is all there is: the server does not know of it. */
  local: 9,
} as const;
export type RequestKind = (typeof RequestKind)[keyof typeof RequestKind];

/** What a query of our own brought: the first row's text values, or an error. */
export interface InternalAnswer {
  readonly values: readonly (string | null)[];
  readonly error: { readonly errno: number; readonly message: string } | null;
}

export class Request {
  readonly kind: RequestKind;
  /** The turn in which it was passed on. */
  readonly turn: number;
  /** Sequence id of the first packet of its answer. */
  readonly answerSequence: number;
  statements: InFlight[] | null = null;
  /** Statements that have their outcome. */
  done = 0;
  prepared: Prepared | null = null;
  /** An execution that asked for a cursor. */
  opensCursor = false;
  /** A packet of ours that answers it. */
  answer: Buffer | null = null;
  onAnswer: ((answer: InternalAnswer) => void) | null = null;
  /** Runs when it has succeeded. */
  onSuccess: (() => void) | null = null;
  /** Its packets, valid in its turn only: to be passed on again should the turn be taken back. */
  bytes: Buffer | null = null;
  start = 0;
  end = 0;

  constructor(kind: RequestKind, turn: number, answerSequence = 1) {
    this.kind = kind;
    this.turn = turn;
    this.answerSequence = answerSequence;
  }

  /** The statement that the server works on, if it is one. */
  running(): InFlight | null {
    const { statements } = this;
    return statements !== null && this.done < statements.length ? statements[this.done] : null;
  }
}
