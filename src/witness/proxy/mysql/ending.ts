/**
 * How a session ends: by the client, by the server, from outside (a grant, a quota, an administrator, a shutdown), or
 * because something went wrong. Whatever it is, it is told to the client where that is possible, what is open is recorded,
 * and both sides are closed.
 */
import { isAppError, messageOf } from '../../../base/errors.ts';
import type { Link } from '../../../transport/link.ts';
import type { HeldBackTurns } from '../held-back.ts';
import { CloseReason, Outcome } from '../recorder.ts';
import type { EndReason } from '../registry.ts';
import { CODES, errPacket, refusal, type Refusal } from './refusal.ts';
import type { MysqlSession, MysqlSessionParts } from './session.ts';

const END_REASONS: Record<EndReason, CloseReason> = {
  grant_ended: CloseReason.GRANT_ENDED,
  quota: CloseReason.QUOTA,
  killed: CloseReason.KILLED,
  shutdown: CloseReason.SHUTDOWN,
  journal: CloseReason.INTERNAL,
};
const END_CODES = {
  grant_ended: CODES.killed,
  quota: CODES.quota,
  killed: CODES.killed,
  shutdown: CODES.shutdown,
  journal: CODES.journal,
} as const;

/** COM_QUIT. */
const QUIT = Buffer.from([1, 0, 0, 0, 1]);

export class Ending {
  readonly #s: MysqlSession;
  readonly #parts: MysqlSessionParts;
  readonly #heldBack: HeldBackTurns;
  #closeReason: CloseReason = CloseReason.CLIENT_LOST;
  #closeDetail = '';
  #finalized = false;
  #openLinks = 2;

  constructor(session: MysqlSession, parts: MysqlSessionParts, heldBack: HeldBackTurns) {
    this.#s = session;
    this.#parts = parts;
    this.#heldBack = heldBack;
  }

  /** COM_QUIT. */
  clientQuit(bytes: Buffer, at: number, next: number): void {
    this.#closeReason = CloseReason.CLIENT_QUIT;
    this.#closeDetail = '';
    this.#s.toUpstream.push(bytes, at, next);
    this.afterTurn(() => this.#s.toUpstream.end());
  }

  /** COM_CHANGE_USER, with nothing in flight: this session is over, and the client link goes to the next one. */
  changeUser(payload: Buffer): void {
    this.#closeReason = CloseReason.CLIENT_QUIT;
    this.#closeDetail = 'COM_CHANGE_USER';
    this.#s.detached = true;
    this.#s.closing = true;
    this.#finalize();
    this.#s.toUpstream.push(QUIT, 0, QUIT.length);
    this.afterTurn(() => {
      this.#s.toUpstream.end();
      this.#parts.changeUser(payload);
    });
  }

  end(reason: EndReason, message: string): void {
    this.endWith(END_REASONS[reason], refusal(END_CODES[reason], message));
  }

  /** Our own failure, or a peer that does not keep to the protocol. */
  fail(error: unknown): void {
    if (isAppError(error) && error.kind === 'protocol') {
      const code = error.code === 'WIRE_SEQUENCE_OUT_OF_ORDER' ? CODES.outOfOrder : CODES.malformed;
      this.endWith(CloseReason.PROTOCOL_ERROR, refusal(code, error.message));
    } else {
      this.#s.context.onInternalError(error);
      const message = 'dbwitness failed inside; the session ends. The log of dbwitness tells more';
      this.endWith(CloseReason.INTERNAL, refusal(CODES.internal, message), messageOf(error));
    }
  }

  /** We do not know any more which answer belongs to which statement. */
  lostTrack(detail: string): void {
    const message = `dbwitness cannot follow this session any more: ${detail}`;
    this.endWith(CloseReason.PROTOCOL_ERROR, refusal(CODES.internal, message));
  }

  endWith(reason: CloseReason, why: Refusal, detail = why.message): void {
    if (this.#s.closing) return;
    this.#s.joinTurn();
    this.#s.closing = true;
    if (!this.#s.backend.midMessage && this.#s.toClient.heldBytes === 0) {
      // An idle client takes it as the answer to its next command.
      const last = errPacket(why, this.#s.queue.size > 0 ? this.#s.backend.nextSequence : 1);
      this.#s.toClient.push(last, 0, last.length);
    }
    if (this.#s.queue.size > 0) this.#parts.killUpstream();
    this.#closeReason = reason;
    this.#closeDetail = detail;
    this.#finalize();
    this.#heldBack.abandon();
    this.#s.toUpstream.discard();
    this.afterTurn(() => {
      this.#s.toClient.end();
      this.#parts.upstream.destroy();
    });
  }

  upstreamEnded(): void {
    if (this.#s.closing) return;
    this.#s.joinTurn();
    if (this.#closeReason === CloseReason.CLIENT_LOST) {
      this.#closeReason = CloseReason.UPSTREAM_LOST;
      this.#closeDetail = 'the server closed the connection';
    }
    this.#finalize();
    this.afterTurn(() => this.#s.toClient.end());
  }

  /** Runs `action` behind everything that was sent so far. */
  afterTurn(action: () => void): void {
    this.#s.turn.afterTurn(() => this.#heldBack.whenReleased(action));
  }

  linkClosed(other: Link, reason: CloseReason, detail: string): void {
    this.#openLinks--;
    if (!this.#finalized) {
      this.#s.joinTurn();
      if (this.#closeReason === CloseReason.CLIENT_LOST) {
        this.#closeReason = reason;
        this.#closeDetail = detail;
      }
      if (reason === CloseReason.CLIENT_LOST && this.#s.queue.size > 0) this.#parts.killUpstream();
      this.#finalize();
    }
    this.#s.closing = true;
    if (this.#openLinks > 0 && !this.#s.detached)
      this.afterTurn(() => (other === this.#parts.client ? this.#s.toClient : this.#s.toUpstream).end());
  }

  /** Records what is left open and the end of the session; once. */
  #finalize(): void {
    if (this.#finalized) return;
    this.#finalized = true;
    for (let i = 0; i < this.#s.queue.size; i++)
      for (const statement of this.#s.queue.at(i).statements ?? [])
        if (!statement.finished) this.#s.records.finishUnanswered(statement, Outcome.UNKNOWN);
    this.#s.recorder.close(this.#closeReason, this.#closeDetail, this.#s.bytesIn, this.#s.bytesOut);
    this.#parts.onClosed();
  }
}
