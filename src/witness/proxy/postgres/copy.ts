/**
 * COPY: whose data are on their way, in which direction, and what they leave in the journal. A server sends a message per
 * row; the payloads of a chunk are joined into one event.
 */
import { RequestKind, type RequestQueue } from './requests.ts';
import type { Refusal } from './refusal.ts';
import type { PgSession } from './session.ts';
import type { InFlight } from './statement.ts';

/** Payloads up to this size are joined, into as much as this. */
const JOINED_BYTES = 64 * 1024;

export class CopyState {
  readonly #s: PgSession;
  readonly #queue: RequestQueue;
  readonly #captureBytes: number;
  /** The statement whose COPY is under way, as the server said. */
  #statement: InFlight | null = null;
  #fromClient = false;
  /** Client data came in the current turn. */
  inTurn = false;
  /** Payload that is not in the journal yet: `#joined[0, #joinedBytes)`, of one statement in one direction. */
  #joined: Buffer | null = null;
  #joinedBytes = 0;
  #joinedOrdinal = 0;
  #joinedFromClient = false;

  constructor(session: PgSession) {
    this.#s = session;
    this.#queue = session.queue;
    this.#captureBytes = session.permit.recording.captureCopyBytes;
  }

  begin(statement: InFlight | null, fromClient: boolean): void {
    this.#statement = statement;
    this.#fromClient = fromClient;
    if (fromClient) this.#dropSyncsReadOver();
  }

  /** The statement has its outcome: a COPY of it is over. */
  end(statement: InFlight | null): void {
    if (!this.#statement || (statement && this.#statement !== statement)) return;
    if (this.#fromClient) this.#dropSwallowedSyncs();
    this.#statement = null;
  }

  /** Payload from the client: counts `payloadBytes`, records `bytes[start, end)` of it. */
  received(payloadBytes: number): void {
    if (this.#queue.size > 0) this.#queue.at(this.#queue.size - 1).dataFollows = true;
    const statement = this.#statement ?? this.#newest();
    if (statement) statement.bytes += payloadBytes;
  }

  /** Payload to the client. */
  sent(payloadBytes: number): void {
    const statement = this.#statement ?? this.#s.running(this.#queue.head());
    if (!statement) return;
    if (statement.firstRowUs === 0) statement.firstRowUs = this.#s.turn.monotonicUs;
    statement.bytes += payloadBytes;
  }

  /** Records payload up to the database's limit. */
  record(fromClient: boolean, bytes: Buffer, start: number, end: number): void {
    if (fromClient) this.inTurn = true;
    const ahead = fromClient ? this.#newest() : this.#s.running(this.#queue.head());
    const statement = this.#statement ?? ahead;
    if (!statement || start >= end) return;
    const room = this.#captureBytes - statement.recordedBytes;
    if (end - start > room) statement.truncated = true;
    if (room <= 0) return;
    const cut = Math.min(end, start + room);
    statement.recordedBytes += cut - start;
    this.#join(statement.ordinal, fromClient, bytes, start, cut);
  }

  #join(ordinal: number, fromClient: boolean, bytes: Buffer, start: number, end: number): void {
    const other = ordinal !== this.#joinedOrdinal || fromClient !== this.#joinedFromClient;
    if (other || this.#joinedBytes + end - start > JOINED_BYTES) this.flush();
    if (end - start > JOINED_BYTES) {
      this.#s.recorder.copy(ordinal, fromClient, bytes, start, end);
      return;
    }
    this.#joined ??= Buffer.allocUnsafeSlow(JOINED_BYTES);
    this.#joinedBytes += bytes.copy(this.#joined, this.#joinedBytes, start, end);
    this.#joinedOrdinal = ordinal;
    this.#joinedFromClient = fromClient;
  }

  /** Puts what was joined into the journal: at the end of every chunk, and before an outcome. */
  flush(): void {
    if (this.#joined === null || this.#joinedBytes === 0) return;
    const bytes = this.#joinedBytes;
    this.#joinedBytes = 0;
    this.#s.recorder.copy(this.#joinedOrdinal, this.#joinedFromClient, this.#joined, 0, bytes);
  }

  /** The COPY under way will end with this error instead of the server's. */
  refuse(why: Refusal): void {
    for (let i = this.#queue.size - 1; i >= 0; i--) {
      const request = this.#queue.at(i);
      if (!this.#s.running(request)) continue;
      request.refusal = why;
      return;
    }
  }

  /** A client may send data before it was told that the COPY has begun: they are those of the newest statement. */
  #newest(): InFlight | null {
    for (let i = this.#queue.size - 1; i >= 0; i--) {
      const statement = this.#s.running(this.#queue.at(i));
      if (statement) return statement;
    }
    return null;
  }

  /**
   * The server asks for data: it will read over the Syncs that were passed on behind the statement, before any data (what
   * drivers send that prepare their COPY). Whatever becomes of the COPY, they will not be answered.
   */
  #dropSyncsReadOver(): void {
    const head = this.#queue.head();
    let count = 0;
    for (let last = head; last && !last.dataFollows && count + 1 < this.#queue.size; count++) {
      last = this.#queue.at(count + 1);
      if (last.kind !== RequestKind.sync) break;
    }
    if (count === 0) return;
    this.#queue.filter((_request, index) => index === 0 || index > count);
  }

  /** While the server reads COPY data it reads over Syncs: they will not be answered. */
  #dropSwallowedSyncs(): void {
    let ended = false;
    for (let i = 0; i < this.#queue.size; i++)
      if (this.#queue.at(i).kind === RequestKind.copyEnd) ended = true;
    if (!ended) return;
    let before = true;
    this.#queue.filter((request) => {
      if (request.kind !== RequestKind.copyEnd) return !before || request.kind !== RequestKind.sync;
      const first = before;
      before = false;
      return !first;
    });
  }
}
