/** A turn whose statements could not be recorded: they are taken back, and refusals stand in their place. */
import { revertNames } from './names.ts';
import { COPY_FAIL, type Refusal, SYNC, UNPARSABLE_PARSE, UNPARSABLE_QUERY } from './refusal.ts';
import { Request, RequestKind } from './requests.ts';
import type { PgSession } from './session.ts';

export function takeBack(s: PgSession, why: Refusal): void {
  const { queue, turn } = s;
  let count = 0;
  while (count < queue.size && queue.at(queue.size - 1 - count).turn === turn.number) count++;
  const taken = queue.dropNewest(count);
  s.toUpstream.discard();
  if (s.copy.inTurn) refuseCopy(s, why, taken);
  let refused = false;
  for (const request of taken) {
    for (const statement of request.statements ?? []) s.finishRefused(statement, why);
    if (request.kind === RequestKind.query || request.kind === RequestKind.functionCall) {
      substitute(s, RequestKind.query, why, UNPARSABLE_QUERY);
    } else if (request.kind === RequestKind.sync) {
      queue.push(request);
      s.toUpstream.push(SYNC, 0, SYNC.length);
      refused = false;
    } else if (request.kind === RequestKind.xidProbe) s.xid.takenBack();
    else if (request.kind !== RequestKind.copyEnd && !refused) {
      substitute(s, RequestKind.parse, why, UNPARSABLE_PARSE);
      refused = true;
    }
  }
  revertNames(s.predicted, s.actual, taken, queue);
}

function substitute(s: PgSession, kind: RequestKind, why: Refusal, bytes: Buffer): void {
  const request = new Request(kind, '', s.turn.number);
  request.refusal = why;
  if (kind === RequestKind.query) request.statements = [];
  s.queue.push(request);
  s.toUpstream.push(bytes, 0, bytes.length);
}

function refuseCopy(s: PgSession, why: Refusal, taken: readonly Request[]): void {
  s.copy.refuse(why);
  s.queue.push(new Request(RequestKind.copyEnd, '', s.turn.number));
  s.toUpstream.push(COPY_FAIL, 0, COPY_FAIL.length);
  if (!taken.some((request) => request.kind === RequestKind.copyEnd)) s.frontend.copyWasRefused();
}
