/**
 * What becomes of a turn whose records are not safe yet: the journal could not be written, or the database asks for
 * `sync` durability.
 *
 * Journal failed:
 *   statements announced in this turn    taken back, refused (the server never saw them)
 *   … but in the middle of a message     wait, with everything behind them
 *   results of recorded statements       wait, with everything behind them
 *   answers to refusals alone            go out: there is nothing in them that needs a record
 */
import { limits } from '../../../base/limits.ts';
import { revertNames } from './names.ts';
import { COPY_FAIL, type Refusal, SYNC, UNPARSABLE_PARSE, UNPARSABLE_QUERY } from './refusal.ts';
import { Request, RequestKind } from './requests.ts';
import { PAUSE } from '../flow-control.ts';
import { journalRefusal } from './gate.ts';
import type { PgSession } from './session.ts';

export class HeldBack {
  readonly #s: PgSession;
  readonly #sync: boolean;
  #midMessage = false;
  #waiting = false;
  #waitingSinceUs = 0;
  #gates = 0;
  readonly #released: (() => void)[] = [];

  constructor(session: PgSession) {
    this.#s = session;
    this.#sync = session.permit.recording.durability === 'sync';
  }

  /** Turns do not end in the ordinary way at the moment. */
  get active(): boolean {
    return this.#sync || this.#waiting || this.#gates > 0;
  }

  beginTurn(): void {
    this.#midMessage = this.#s.frontend.midMessage;
  }

  endTurn(recorded: boolean): void {
    const s = this.#s;
    if (recorded) {
      this.#recovered();
      if (this.#sync) this.#gate();
      else {
        s.toUpstream.send();
        s.toClient.send();
      }
      return;
    }
    if (s.permit.recording.failOpen) {
      s.toUpstream.send();
      s.toClient.send();
      return;
    }
    this.#holdUnrecorded();
  }

  #holdUnrecorded(): void {
    const s = this.#s;
    const waits = this.#waiting || this.#gates > 0;
    if (!waits && !this.#midMessage && !s.frontend.midMessage) {
      if (s.announcedInTurn || s.copy.inTurn)
        this.#refuseTurn(journalRefusal(s.recorder.journal.status.failure));
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
    this.#waitingSinceUs = this.#s.context.clock.monotonicUs();
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
      s.toUpstream.send();
      s.toClient.send();
      return;
    }
    s.toUpstream.hold();
    s.toClient.hold();
    const up = s.toUpstream.heldMark;
    const down = s.toClient.heldMark;
    this.#gates++;
    s.recorder.journal.whenDurable(s.recorder.journal.nextSeq, () => {
      this.#gates--;
      s.toUpstream.releaseTo(up);
      s.toClient.releaseTo(down);
      if (this.#gates === 0) for (const action of this.#released.splice(0)) action();
    });
  }

  /** Takes this turn's requests back and puts refusals in their place. */
  #refuseTurn(why: Refusal): void {
    const s = this.#s;
    const { queue, turn } = s;
    let count = 0;
    while (count < queue.size && queue.at(queue.size - 1 - count).turn === turn.number) count++;
    const taken = queue.dropNewest(count);
    s.toUpstream.discard();
    if (s.copy.inTurn) this.#refuseCopy(why, taken);
    let refused = false;
    for (const request of taken) {
      for (const statement of request.statements ?? []) s.finishRefused(statement, why);
      if (request.kind === RequestKind.query || request.kind === RequestKind.functionCall) {
        this.#substitute(RequestKind.query, why, UNPARSABLE_QUERY);
      } else if (request.kind === RequestKind.sync) {
        queue.push(request);
        s.toUpstream.push(SYNC, 0, SYNC.length);
        refused = false;
      } else if (request.kind === RequestKind.xidProbe) s.xid.takenBack();
      else if (request.kind !== RequestKind.copyEnd && !refused) {
        this.#substitute(RequestKind.parse, why, UNPARSABLE_PARSE);
        refused = true;
      }
    }
    revertNames(s.predicted, s.actual, taken, queue);
  }

  #substitute(kind: RequestKind, why: Refusal, bytes: Buffer): void {
    const s = this.#s;
    const request = new Request(kind, '', s.turn.number);
    request.refusal = why;
    if (kind === RequestKind.query) request.statements = [];
    s.queue.push(request);
    s.toUpstream.push(bytes, 0, bytes.length);
  }

  #refuseCopy(why: Refusal, taken: readonly Request[]): void {
    const s = this.#s;
    s.copy.refuse(why);
    s.queue.push(new Request(RequestKind.copyEnd, '', s.turn.number));
    s.toUpstream.push(COPY_FAIL, 0, COPY_FAIL.length);
    if (!taken.some((request) => request.kind === RequestKind.copyEnd)) s.frontend.copyWasRefused();
  }

  /** Runs `action` when nothing waits for an fsync any more (at once if nothing does). */
  whenReleased(action: () => void): void {
    if (this.#gates === 0) action();
    else this.#released.push(action);
  }

  /** Ends the session when its patience with the journal is over. */
  tick(): void {
    if (!this.#waiting) return;
    const waitedMs = (this.#s.context.clock.monotonicUs() - this.#waitingSinceUs) / 1000;
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
