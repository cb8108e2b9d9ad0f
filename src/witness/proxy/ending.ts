/**
 * How a session ends: by the client, by the server, from outside (a grant, a quota, an administrator, a shutdown), or
 * because something went wrong. Whatever it is, it is told to the client where that is possible, what is open is recorded,
 * and both sides are closed. The engine brings the words of its protocol.
 */
import { isAppError, messageOf } from '../../base/errors.ts';
import { limits } from '../../base/limits.ts';
import type { Link, LinkHandler } from '../../transport/link.ts';
import type { HeldBackTurns } from './held-back.ts';
import type { Outbox } from './outbox.ts';
import { CloseReason, type SessionRecorder } from './recorder.ts';
import type { EndReason } from './registry.ts';
import type { Traffic } from './traffic.ts';
import type { TurnScheduler } from './turn.ts';

const END_REASONS: Record<EndReason, CloseReason> = {
  grant_ended: CloseReason.GRANT_ENDED,
  quota: CloseReason.QUOTA,
  killed: CloseReason.KILLED,
  shutdown: CloseReason.SHUTDOWN,
  journal: CloseReason.INTERNAL,
};

/** Why a session is ended by us, as engines have codes for it. */
export type EndKind = EndReason | 'protocol' | 'internal';

/** @template Why the engine's refusals. */
export interface EndableSession<Why extends { readonly message: string }> {
  readonly turn: TurnScheduler;
  readonly recorder: SessionRecorder;
  readonly toUpstream: Outbox;
  readonly toClient: Outbox;
  readonly traffic: Traffic;
  /** Nothing more is taken from either side. */
  closing: boolean;
  /** The client went on to another session of its own: its link is not ours to close any more. */
  readonly detached: boolean;
  /** The server has not answered everything. */
  readonly awaitsAnswers: boolean;
  /** What the client has of an answer ends in the middle of a message. */
  readonly answersPartly: boolean;
  joinTurn(): void;
  /** @param error what went wrong, for `protocol` and `internal`. */
  refusalAtEnd(kind: EndKind, message: string, error?: unknown): Why;
  /** The last message that the client gets. */
  farewell(why: Why): Buffer;
  /** Records the statements that will get no answer. */
  recordUnanswered(): void;
}

export interface EndingParts {
  readonly client: Link;
  readonly upstream: Link;
  /** Ends what runs upstream. */
  readonly cancelUpstream: () => void;
  /** Called once when both sides are done with. */
  readonly onClosed: () => void;
  /** A bug of ours. */
  readonly onInternalError: (error: unknown) => void;
}

/** Reads one side of a session. A failure ends the session, and nothing is read behind its end. */
export function guarded(
  session: { readonly closing: boolean; fail(error: unknown): void },
  reader: { onBytes(bytes: Buffer, start: number, end: number): number },
): LinkHandler['onBytes'] {
  return (bytes, start, end) => {
    if (session.closing) return end;
    try {
      return reader.onBytes(bytes, start, end);
    } catch (error) {
      session.fail(error);
      return end;
    }
  };
}

export class SessionEnding<Why extends { readonly message: string }> {
  readonly #s: EndableSession<Why>;
  readonly #parts: EndingParts;
  readonly #heldBack: HeldBackTurns;
  #closeReason: CloseReason = CloseReason.CLIENT_LOST;
  #closeDetail = '';
  #finalized = false;
  #openLinks = 2;

  constructor(session: EndableSession<Why>, parts: EndingParts, heldBack: HeldBackTurns) {
    this.#s = session;
    this.#parts = parts;
    this.#heldBack = heldBack;
  }

  /** The client has said goodbye. */
  clientQuits(detail = ''): void {
    this.#closeReason = CloseReason.CLIENT_QUIT;
    this.#closeDetail = detail;
  }

  end(reason: EndReason, message: string): void {
    this.endWith(END_REASONS[reason], this.#s.refusalAtEnd(reason, message));
  }

  /** Our own failure, or a peer that does not keep to the protocol. Ends this session, whatever state it is in, and no other. */
  fail(error: unknown): void {
    if (isAppError(error) && error.kind === 'protocol') {
      this.endWith(CloseReason.PROTOCOL_ERROR, this.#s.refusalAtEnd('protocol', error.message, error));
      return;
    }
    this.#parts.onInternalError(error);
    if (this.#s.closing) {
      // It failed at saying goodbye.
      if (!this.#s.detached) this.#parts.client.destroy();
      this.#parts.upstream.destroy();
      return;
    }
    const message = 'dbwitness failed inside; the session ends. The log of dbwitness tells more.';
    this.endWith(CloseReason.INTERNAL, this.#s.refusalAtEnd('internal', message, error), messageOf(error));
  }

  /** We do not know any more which answer belongs to which statement. */
  lostTrack(detail: string): void {
    const message = `dbwitness cannot follow this session any more: ${detail}`;
    this.endWith(CloseReason.PROTOCOL_ERROR, this.#s.refusalAtEnd('protocol', message));
  }

  endWith(reason: CloseReason, why: Why, detail = why.message): void {
    const s = this.#s;
    if (s.closing) return;
    s.joinTurn();
    s.closing = true;
    if (!s.answersPartly && s.toClient.heldBytes === 0) {
      const last = s.farewell(why);
      s.toClient.push(last, 0, last.length);
    }
    if (s.awaitsAnswers) this.#parts.cancelUpstream();
    this.#closeReason = reason;
    this.#closeDetail = detail;
    this.finalize();
    this.#heldBack.abandon();
    s.toUpstream.discard();
    this.afterTurn(() => {
      endLink(s.toClient);
      this.#parts.upstream.destroy();
    });
  }

  /** The server says nothing more: nothing more is taken from the client either, which may not know it yet. */
  upstreamEnded(): void {
    const s = this.#s;
    if (s.closing) return;
    s.joinTurn();
    s.closing = true;
    if (this.#closeReason === CloseReason.CLIENT_LOST) {
      this.#closeReason = CloseReason.UPSTREAM_LOST;
      this.#closeDetail = 'the server closed the connection';
    }
    this.finalize();
    this.afterTurn(() => {
      endLink(s.toClient);
      this.#parts.upstream.destroy();
    });
  }

  /** Runs `action` behind everything that was sent so far. */
  afterTurn(action: () => void): void {
    const guardedAction = (): void => {
      try {
        action();
      } catch (error) {
        this.fail(error);
      }
    };
    this.#s.turn.afterTurn(() => this.#heldBack.whenReleased(guardedAction));
  }

  clientClosed(): void {
    this.#linkClosed(this.#s.toUpstream, CloseReason.CLIENT_LOST, 'the client went away');
  }

  upstreamClosed(): void {
    this.#linkClosed(this.#s.toClient, CloseReason.UPSTREAM_LOST, 'the server closed the connection');
  }

  #linkClosed(other: Outbox, reason: CloseReason, detail: string): void {
    const s = this.#s;
    this.#openLinks--;
    if (!this.#finalized) {
      s.joinTurn();
      if (this.#closeReason === CloseReason.CLIENT_LOST) {
        this.#closeReason = reason;
        this.#closeDetail = detail;
      }
      if (reason === CloseReason.CLIENT_LOST && s.awaitsAnswers) this.#parts.cancelUpstream();
      this.finalize();
    }
    s.closing = true;
    if (this.#openLinks > 0 && !s.detached) this.afterTurn(() => endLink(other));
  }

  /** Records what is left open and the end of the session; once. */
  finalize(): void {
    if (this.#finalized) return;
    this.#finalized = true;
    const s = this.#s;
    s.recordUnanswered();
    s.recorder.close(this.#closeReason, this.#closeDetail, s.traffic.in, s.traffic.out);
    this.#parts.onClosed();
  }
}

/** Looks in a row at a link whose peer takes nothing of what is there for it. */
const MAX_STALLED_LOOKS = 6;

/**
 * What was said still goes out. A peer that does not close its side then, or does not take what is there for it, is not
 * waited for endlessly: its link counts for nobody's session.
 */
function endLink(outbox: Outbox): void {
  outbox.end();
  const { link } = outbox;
  let before = 0;
  let stalled = 0;
  const timer = setInterval(() => {
    const left = link.backlogBytes;
    stalled = left === before ? stalled + 1 : 0;
    before = left;
    if (!link.closed && left > 0 && stalled < MAX_STALLED_LOOKS) return;
    clearInterval(timer);
    link.destroy();
  }, limits.lingerMs);
  timer.unref();
}
