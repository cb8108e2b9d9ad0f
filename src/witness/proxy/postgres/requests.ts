/**
 * The requests of one session that the server has not answered yet, in the order in which they were forwarded. The
 * server answers in that order, so the head of this queue is what the next message from upstream belongs to.
 *
 *   forwarded ──push──▶ [ Parse │ Bind │ Execute │ Sync │ Query … ] ──head──▶ answered by the server's messages
 */
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

/** A queue with constant-time push and shift that keeps its memory. */
export class RequestQueue {
  #items: (Request | undefined)[] = Array.from({ length: 16 });
  #head = 0;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  push(request: Request): void {
    if (this.#size === this.#items.length) this.#grow();
    this.#items[(this.#head + this.#size) & (this.#items.length - 1)] = request;
    this.#size++;
  }

  /** The oldest request that the server answers; end marks of COPYs that are over are dropped on the way. */
  head(): Request | null {
    while (this.#size > 0) {
      const request = this.#items[this.#head] as Request;
      if (request.kind !== RequestKind.copyEnd) return request;
      this.shift();
    }
    return null;
  }

  at(index: number): Request {
    return this.#items[(this.#head + index) & (this.#items.length - 1)] as Request;
  }

  shift(): Request {
    const request = this.#items[this.#head] as Request;
    this.#items[this.#head] = undefined;
    this.#head = (this.#head + 1) & (this.#items.length - 1);
    this.#size--;
    return request;
  }

  /** Keeps only the requests that pass: rare (Syncs that a COPY swallowed). */
  filter(keep: (request: Request) => boolean): void {
    const kept: Request[] = [];
    for (let i = 0; i < this.#size; i++) if (keep(this.at(i))) kept.push(this.at(i));
    this.#reload(kept);
  }

  /** Drops the newest `count` requests and returns them, oldest first. */
  dropNewest(count: number): Request[] {
    const dropped: Request[] = [];
    const kept: Request[] = [];
    for (let i = 0; i < this.#size; i++) (i < this.#size - count ? kept : dropped).push(this.at(i));
    this.#reload(kept);
    return dropped;
  }

  #reload(requests: Request[]): void {
    this.#items.fill(undefined);
    this.#head = 0;
    this.#size = 0;
    for (const request of requests) this.push(request);
  }

  #grow(): void {
    const grown: (Request | undefined)[] = Array.from({ length: this.#items.length * 2 });
    for (let i = 0; i < this.#size; i++) grown[i] = this.at(i);
    this.#items = grown;
    this.#head = 0;
  }
}
