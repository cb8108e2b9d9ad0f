/**
 * One turn of the relay: everything that was received is framed, decided and appended; then the journal is flushed
 * once; then the sessions that took part send what they kept back. See `transport/link.ts` for the reactor's side.
 */
import type { Clock } from '../../base/clock.ts';
import type { JournalAppender } from '../../model/journal.ts';
import type { Reactor } from '../../transport/link.ts';

export interface TurnParticipant {
  /** `recorded`: everything appended in this turn has reached the operating system. */
  endTurn(recorded: boolean): void;
  /** Its end of the turn threw: a bug of ours, which ends this participant and no other. */
  fail(error: unknown): void;
}

export class TurnScheduler {
  /** Counts turns; identifies what belongs to the current one. */
  number = 1;
  /** Wall clock and monotonic clock of the current turn, microseconds. */
  wallUs = 0;
  monotonicUs = 0;
  readonly #clock: Clock;
  readonly #reactor: Reactor;
  readonly #journal: JournalAppender;
  /** The first `#count` take part; the rest is kept memory. */
  readonly #participants: (TurnParticipant | null)[] = [];
  #count = 0;
  readonly #after: (() => void)[] = [];
  readonly #recovered: (() => void)[] = [];

  constructor(reactor: Reactor, journal: JournalAppender, clock: Clock) {
    this.#reactor = reactor;
    this.#journal = journal;
    this.#clock = clock;
    reactor.onTurnEnd = () => this.#end();
  }

  /** Enters a participant into the current turn (once: it remembers the turn's number itself). */
  join(participant: TurnParticipant): void {
    if (this.#count === 0) this.#reactor.touch();
    this.#participants[this.#count++] = participant;
    this.monotonicUs = this.#clock.monotonicUs();
    this.wallUs = this.#clock.wallUsAt(this.monotonicUs);
  }

  /** Makes sure that a turn ends soon, for records appended outside of one. */
  touch(): void {
    this.#reactor.touch();
  }

  /** Runs `action` when this turn's output has been handed to the links (if none is under way: one ends soon). */
  afterTurn(action: () => void): void {
    this.#reactor.touch();
    this.#after.push(action);
  }

  /** Runs `action`, outside a turn, once the journal takes records again. */
  whenRecovered(action: () => void): void {
    this.#recovered.push(action);
  }

  #end(): boolean {
    const recorded = this.#journal.flush();
    const participants = this.#participants;
    // Participants may not join while they are ended: what they do here belongs to this turn.
    for (let i = 0; i < this.#count; i++) {
      const participant = participants[i] as TurnParticipant;
      participants[i] = null;
      try {
        participant.endTurn(recorded);
      } catch (error) {
        participant.fail(error);
      }
    }
    this.#count = 0;
    this.number++;
    if (this.#after.length > 0) for (const action of this.#after.splice(0)) action();
    if (recorded && this.#recovered.length > 0)
      for (const action of this.#recovered.splice(0)) setImmediate(action);
    return true;
  }
}
