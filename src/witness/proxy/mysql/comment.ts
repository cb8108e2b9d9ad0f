/**
 * The statement comment: a comment `dbw:<session>:<ordinal>` in front of a text, which the server keeps in the binary log's
 * rows_query and annotate events. Off by default, and the one case in which a client's bytes are added to.
 */
import { HEADER_BYTES, MAX_PACKET_BYTES } from '../../../wire/mysql/protocol.ts';
import type { WholeCommand } from './frontend.ts';

/** The command with the comment before `textStart`, or `null` where it would no longer fit into one packet. */
export function withComment(whole: WholeCommand, textStart: number, id: string): Buffer | null {
  const comment = Buffer.from(`/* dbw:${id} */ `);
  const length = whole.end - whole.start + comment.length;
  if (length >= MAX_PACKET_BYTES) return null;
  const packet = Buffer.allocUnsafe(HEADER_BYTES + length);
  packet.writeUIntLE(length, 0, 3);
  packet[3] = 0;
  let at = HEADER_BYTES + whole.payload.copy(packet, HEADER_BYTES, whole.start, textStart);
  at += comment.copy(packet, at);
  whole.payload.copy(packet, at, textStart, whole.end);
  return packet;
}
