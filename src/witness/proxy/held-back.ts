/**
 * What becomes of a turn whose records are not safe yet: the journal could not be written, or the database asks for
 * `sync` durability. The engine says how a turn's statements are taken back; this is when.
 *
 * Journal failed:
 *   statements announced in this turn    taken back, refused (the server never saw them)
 *   … but in the middle of a message     wait, with everything behind them
 *   results of recorded statements       wait, with everything behind them
 *   answers to refusals alone            go out: there is nothing in them that needs a record
 */
import { limits } from '../../base/limits.ts';
import type { Clock } from '../../base/clock.ts';
import type { Permit } from '../../model/access.ts';
import type { JournalAppender } from '../../model/journal.ts';
import { type FlowControl, PAUSE } from './flow-control.ts';
import type { Outbox } from './outbox.ts';
import type { EndReason } from './registry.ts';
import type { TurnScheduler } from './turn.ts';

/** What of a session is held back, and what it does about it. */
export interface HoldableSession {
  readonly permit: Permit;
  readonly flow: FlowControl;
  readonly toUpstream: Outbox;
  readonly toClient: Outbox;
  readonly turn: TurnScheduler;
  readonly clock: Clock;
  readonly journal: JournalAppender;
  readonly closing: boolean;
  /** In the current turn: a statement was announced; something of the server's was recorded. */
  readonly announcedInTurn: boolean;
  readonly outcomeInTurn: boolean;
  /** What goes upstream in this turn cannot be taken back: it began, or ends, in the middle of a message. */
  readonly midMessage: boolean;
  /** Takes what this turn announced back, if it did, and answers it with refusals; what needs no record may stay. */
  takeBack(): void;
  joinTurn(): void;
  end(reason: EndReason, message: string): void;
  /** A bug of ours, which ends this session and no other. */
  fail(error: unknown): void;
}

export class HeldBackTurns {
  readonly #s: HoldableSession;
  readonly #sync: boolean;
  #beganMidMessage = false;
  #waiting = false;
  #waitingSinceUs = 0;
  #gates = 0;
  readonly #released: (() => void)[] = [];

  constructor(session: HoldableSession) {
    this.#s = session;
    this.#sync = session.permit.recording.durability === 'sync';
  }

  /** Turns do not end in the ordinary way at the moment. */
  get active(): boolean {
    return this.#sync || this.#waiting || this.#gates > 0;
  }

  beginTurn(): void {
    this.#beganMidMessage = this.#s.midMessage;
  }

  endTurn(recorded: boolean): void {
    const s = this.#s;
    if (recorded) {
      this.#recovered();
      if (this.#sync) this.#gate();
      else this.#send();
    } else if (s.permit.recording.failOpen) this.#send();
    else this.#holdUnrecorded();
  }

  #send(): void {
    this.#s.toUpstream.send();
    this.#s.toClient.send();
  }

  #holdUnrecorded(): void {
    const s = this.#s;
    const waits = this.#waiting || this.#gates > 0;
    if (!waits && !this.#beganMidMessage && !s.midMessage) {
      s.takeBack();
      s.toUpstream.send();
    } else if (s.toUpstream.queuedBytes > 0) this.#wait();
    if (s.toClient.queuedBytes > 0) {
      if (s.outcomeInTurn) this.#wait();
      else if (!this.#waiting) s.toClient.send();
    }
    if (this.#waiting) {
      s.toUpstream.hold();
      s.toClient.hold();
    }
  }

  #wait(): void {
    if (this.#waiting) return;
    this.#waiting = true;
    this.#waitingSinceUs = this.#s.clock.monotonicUs();
    this.#s.flow.pauseBoth(PAUSE.journal);
    this.#s.turn.whenRecovered(() => {
      if (!this.#s.closing) this.#s.joinTurn();
    });
  }

  #recovered(): void {
    if (!this.#waiting) return;
    this.#waiting = false;
    const s = this.#s;
    s.toUpstream.releaseTo(s.toUpstream.heldMark);
    s.toClient.releaseTo(s.toClient.heldMark);
    s.flow.resumeBoth(PAUSE.journal);
  }

  /** `sync` durability: what this turn sends waits until its records are on stable storage. */
  #gate(): void {
    const s = this.#s;
    if (this.#gates === 0 && !s.announcedInTurn && !s.outcomeInTurn) {
      this.#send();
      return;
    }
    s.toUpstream.hold();
    s.toClient.hold();
    const up = s.toUpstream.heldMark;
    const down = s.toClient.heldMark;
    this.#gates++;
    s.journal.whenDurable(s.journal.nextSeq, () => {
      this.#gates--;
      try {
        s.toUpstream.releaseTo(up);
        s.toClient.releaseTo(down);
      } catch (error) {
        s.fail(error);
      }
      if (this.#gates === 0) for (const action of this.#released.splice(0)) action();
    });
  }

  /** Runs `action` when nothing waits for an fsync any more (at once if nothing does). */
  whenReleased(action: () => void): void {
    if (this.#gates === 0) action();
    else this.#released.push(action);
  }

  /** Ends the session when its patience with the journal is over. */
  tick(): void {
    if (!this.#waiting) return;
    const waitedMs = (this.#s.clock.monotonicUs() - this.#waitingSinceUs) / 1000;
    if (waitedMs > limits.journalPatienceMs)
      this.#s.end(
        'journal',
        'the journal of dbwitness could not be written for too long; tell an administrator',
      );
  }

  /** The session ends: what waited is not sent. */
  abandon(): void {
    this.#waiting = false;
  }
}
