/**
 * The one packet of a server's that may be changed on its way: an OK of an upstream that tracks the session for our sake
 * (read_only, lexing), to a client that did not agree to CLIENT_SESSION_TRACK and would misread it.
 */
import { Status } from '../../../wire/mysql/protocol.ts';
import type { OkView } from '../../../wire/mysql/responses.ts';

/** The OK at `bytes[start, …)`, decoded in `ok`, as a whole packet without session state. */
export function okWithoutState(bytes: Buffer, start: number, ok: OkView, sequence: number): Buffer {
  let at = start + 1;
  at += lenencBytes(bytes[at]);
  at += lenencBytes(bytes[at]);
  const headBytes = at + 4 - start;
  // Servers write the message with its length in either case, and leave an empty one out where nothing follows it.
  const infoStart = ok.infoEnd > ok.infoStart ? at + 4 : ok.infoEnd;
  const infoBytes = ok.infoEnd - infoStart;
  const packet = Buffer.allocUnsafe(4 + headBytes + infoBytes);
  packet.writeUIntLE(headBytes + infoBytes, 0, 3);
  packet[3] = sequence;
  bytes.copy(packet, 4, start, start + headBytes);
  packet.writeUInt16LE(ok.status & ~Status.SESSION_STATE_CHANGED, 4 + at - start);
  bytes.copy(packet, 4 + headBytes, infoStart, ok.infoEnd);
  return packet;
}

function lenencBytes(first: number): number {
  if (first < 0xfb) return 1;
  return first === 0xfc ? 3 : first === 0xfd ? 4 : 9;
}
