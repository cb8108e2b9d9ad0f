/**
 * After an error in the extended protocol the server reads over everything up to the next Sync, and answers none of it.
 * Those requests are not queued: a pipeline may be longer than what we hold in flight, and no answer would ever make the
 * queue shorter. Their statements are recorded as skipped at once; only the names they gave are kept, to be taken back.
 *
 *   [ Bind failed ] Execute Bind Execute … │ arrived before the error: taken out of the queue
 *                   … Bind Execute         │ arrived after it: never queued
 *                   Sync                   │ queued; its ReadyForQuery ends the skipping
 */
import { limits } from '../../../base/limits.ts';
import { Outcome } from '../recorder.ts';
import { type Request, RequestKind } from './requests.ts';
import type { PgSession } from './session.ts';

/** Their ReadyForQuery follows at once, also behind an error; nothing is skipped. */
const ANSWERED_ANYWAY: ReadonlySet<RequestKind> = new Set<RequestKind>([
  RequestKind.query,
  RequestKind.functionCall,
  RequestKind.sync,
]);

export class SkippedRequests {
  readonly #s: PgSession;
  /** One for each name that was given or taken away, since that is all that taking back needs. */
  readonly #names = new Map<string, Request>();
  /** The server skips what is passed on now. */
  active = false;

  constructor(session: PgSession) {
    this.#s = session;
  }

  /** The request at the head of the queue failed; one of this kind. */
  begin(kind: RequestKind): void {
    const { queue } = this.#s;
    if (ANSWERED_ANYWAY.has(kind)) return;
    for (let i = 1; i < queue.size; i++) if (queue.at(i).kind === RequestKind.sync) return;
    this.active = true;
    for (const request of queue.dropNewest(queue.size - 1)) this.add(request);
    this.#s.requestAnswered();
  }

  add(request: Request): void {
    this.conclude(request);
    if (request.kind === RequestKind.xidProbe) this.#s.xid.skipped();
    const portal = request.kind === RequestKind.bind || request.kind === RequestKind.closePortal;
    const statement = request.kind === RequestKind.parse || request.kind === RequestKind.closeStatement;
    if (!portal && !statement) return;
    this.#names.set(`${portal ? 'P' : 'S'}${request.name}`, request);
    if (this.#names.size > limits.maxPreparedStatements)
      this.#s.lostTrack(`more than ${limits.maxPreparedStatements} names behind an error`);
  }

  /** What is known to be skipped; the ReadyForQuery of the Sync behind it has come. */
  take(): Request[] {
    if (this.#names.size === 0) return [];
    const requests = [...this.#names.values()];
    this.#names.clear();
    return requests;
  }

  /** Statements of a request that have no outcome will have none. */
  conclude(request: Request): void {
    for (const statement of request.statements ?? [])
      if (!statement.finished) this.#s.records.finishUnanswered(statement, Outcome.SKIPPED);
  }
}
