/**
 * The requests of one session that the server has not answered yet, in the order in which they were forwarded. The
 * server answers in that order, so the head of this queue is what the next message from upstream belongs to.
 *
 *   forwarded ──push──▶ [ Parse │ Bind │ Execute │ Sync │ Query … ] ──head──▶ answered by the server's messages
 */
import { Fifo } from '../fifo.ts';
import type { InFlight, Portal, StatementText } from './statement.ts';
import type { Refusal } from './refusal.ts';

export const RequestKind = {
  query: 0,
  parse: 1,
  bind: 2,
  describeStatement: 3,
  describePortal: 4,
  execute: 5,
  closeStatement: 6,
  closePortal: 7,
  sync: 8,
  functionCall: 9,
  /** CopyDone or CopyFail: answers nothing by itself, marks where the client ended a COPY. */
  copyEnd: 10,
  /** The probe for the transaction id that we put behind a batch; its answers are ours. */
  xidProbe: 11,
} as const;
export type RequestKind = (typeof RequestKind)[keyof typeof RequestKind];

export class Request {
  readonly kind: RequestKind;
  /** Statement or portal name. */
  readonly name: string;
  /** parse: the text; close: null. */
  text: StatementText | null = null;
  portal: Portal | null = null;
  /** query: its statements in order; execute, functionCall: one. */
  statements: InFlight[] | null = null;
  /** query: how many of its statements have an outcome. */
  done = 0;
  /** query of a replication connection: the tag of its newest result, of which there may be several; see `PgSession.replication`. */
  tag: Buffer | null = null;
  /** We put something in its place that the server will answer with an error; tell the client this instead. */
  refusal: Refusal | null = null;
  /** The turn in which it was pushed. */
  readonly turn: number;
  /** COPY data of the client were passed on right behind it. */
  dataFollows = false;
  /** The server has answered it (an error was sent for it): only ReadyForQuery is awaited. */
  failed = false;
  /** Statements that SQL itself prepares (PREPARE name AS …), once the request succeeds. */
  declares: [name: string, text: StatementText][] | null = null;

  constructor(kind: RequestKind, name: string, turn: number) {
    this.kind = kind;
    this.name = name;
    this.turn = turn;
  }
}

export class RequestQueue extends Fifo<Request> {
  /** The oldest request that the server answers; end marks of COPYs that are over are dropped on the way. */
  override head(): Request | null {
    for (;;) {
      const request = super.head();
      if (request === null || request.kind !== RequestKind.copyEnd) return request;
      this.shift();
    }
  }
}
