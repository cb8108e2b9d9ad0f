/** Where the answer to a command of a replication connection ends: it may have several results. */
import { MessageCursor, nextMessage } from '../../../wire/postgres/framing.ts';
import { Backend as T, upstreamRunning } from '../../../wire/postgres/messages.ts';

/** What a server may say at any time, also between CommandComplete and ReadyForQuery. */
const ASIDE: readonly number[] = [T.NoticeResponse, T.NotificationResponse, T.ParameterStatus];

/**
 * Whether `bytes[at, end)`, which follow a CommandComplete, tell what it was: the last one, with its ReadyForQuery whole,
 * or one of several. While they do not, the tag must not go on: it would be told in a turn before the outcome is recorded.
 */
export function tellsEnd(bytes: Uint8Array, at: number, end: number): boolean {
  const cursor = new MessageCursor();
  for (let next = at; next < end; next = cursor.end) {
    const whole = nextMessage(bytes, next, end, upstreamRunning, cursor);
    if (cursor.type !== T.ReadyForQuery && !ASIDE.includes(cursor.type)) return true;
    if (!whole) return false;
    if (cursor.type === T.ReadyForQuery) return true;
  }
  return false;
}
