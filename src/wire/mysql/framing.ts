/**
 * Framing in place: finds packets in a buffer, copies nothing, allocates nothing.
 *
 * The caller owns one {@link PacketCursor} per direction and calls {@link nextPacket} from the end of one packet to the
 * next, and {@link passPacket} once for each that was whole. A packet that is not whole yet is reported with what is known
 * of it, so that a long one can be streamed through while the rest is on its way.
 *
 * A payload of 2^24−1 bytes or more comes in several packets: all but the last have exactly 2^24−1 bytes, and the last
 * may be empty. `before` and `last` tell them apart; {@link joinPayload} puts them together where somebody must read them.
 */
import { AppError } from '../../base/errors.ts';
import { commandName, HEADER_BYTES, MAX_PACKET_BYTES, type PayloadLimits } from './protocol.ts';
import { malformed, uint24At } from './reader.ts';

/** Where a packet is. Written by {@link nextPacket}; reuse one object for a whole connection and direction. */
export class PacketCursor {
  /** Offset of the header. */
  start = 0;
  /** Offset of the payload's bytes. */
  payload = 0;
  /** Offset behind the packet, which may lie behind the bytes that are there; −1 while the header is incomplete. */
  end = -1;
  sequence = 0;
  /** Payload bytes in this packet. */
  length = 0;
  /** Bytes of the same payload in the packets before this one; 0: a payload begins here. */
  before = 0;
  /** Whether the payload ends with this packet. */
  last = true;
}

/**
 * Looks at the packet that starts at `at` in `bytes[at, end)`. Returns whether it is there as a whole. When it is not,
 * `cursor.end` is −1 (header incomplete) or the offset at which it will end.
 * @throws AppError `protocol`: WIRE_LENGTH_OUT_OF_RANGE, WIRE_MESSAGE_UNEXPECTED (no such command), WIRE_MESSAGE_MALFORMED
 * (an empty command), as soon as the bytes that betray it are there.
 */
export function nextPacket(
  bytes: Uint8Array,
  at: number,
  end: number,
  limits: PayloadLimits,
  cursor: PacketCursor,
): boolean {
  cursor.start = at;
  cursor.payload = at + HEADER_BYTES;
  if (end - at < HEADER_BYTES) {
    cursor.end = -1;
    return false;
  }
  const length = bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16);
  cursor.length = length;
  cursor.sequence = bytes[at + 3];
  cursor.last = length < MAX_PACKET_BYTES;
  cursor.end = at + HEADER_BYTES + length;
  if (cursor.before + length > limits.maxPayloadBytes)
    throw tooLong(cursor.before + length, limits.maxPayloadBytes, limits, -1);
  if (limits.maxPayloadByCommand !== null && cursor.before === 0)
    checkCommand(bytes, end, limits, limits.maxPayloadByCommand, cursor);
  return cursor.end <= end;
}

function checkCommand(
  bytes: Uint8Array,
  end: number,
  limits: PayloadLimits,
  table: Int32Array,
  cursor: PacketCursor,
): void {
  if (cursor.length === 0) throw malformed('command', 'it is empty');
  if (end <= cursor.payload) return;
  const command = bytes[cursor.payload];
  const maxBytes = table[command];
  if (maxBytes === 0)
    throw new AppError(
      'protocol',
      'WIRE_MESSAGE_UNEXPECTED',
      `The client sent ${commandName(command)}, which the protocol does not know. Check that it speaks MySQL's or MariaDB's protocol.`,
      { details: { command, direction: limits.direction, phase: limits.phase } },
    );
  if (cursor.length > maxBytes) throw tooLong(cursor.length, maxBytes, limits, command);
}

/**
 * The limit of a command whose payload has several packets: call it for each packet behind the first, with the command
 * that the first one had.
 * @throws AppError `protocol`: WIRE_LENGTH_OUT_OF_RANGE.
 */
export function checkContinuation(cursor: PacketCursor, command: number, limits: PayloadLimits): void {
  const maxBytes = limits.maxPayloadByCommand?.[command] ?? limits.maxPayloadBytes;
  if (cursor.before + cursor.length > maxBytes)
    throw tooLong(cursor.before + cursor.length, maxBytes, limits, command);
}

/** Counts a whole packet, so that the cursor knows whether the next one begins a payload or goes on with this one. */
export function passPacket(cursor: PacketCursor): void {
  cursor.before = cursor.last ? 0 : cursor.before + cursor.length;
}

/** @throws AppError `protocol`: WIRE_SEQUENCE_OUT_OF_ORDER. @param expected modulo 256. */
export function checkSequence(
  cursor: PacketCursor,
  expected: number,
  direction: 'client' | 'upstream',
): void {
  if (cursor.sequence === (expected & 0xff)) return;
  throw new AppError(
    'protocol',
    'WIRE_SEQUENCE_OUT_OF_ORDER',
    `Got packets out of order: the ${
      direction === 'client' ? 'client' : 'server'
    } sent sequence id ${cursor.sequence} where ${expected & 0xff} comes. Check the driver, or what stands between it and dbwitness.`,
    { details: { sequence: cursor.sequence, expected: expected & 0xff, direction } },
  );
}

/**
 * Passes over the rows that follow each other from `at` on and are there as a whole, each in one packet: the inner loop of
 * a result set. It stops in front of whatever ends the rows (OK, EOF, ERR), of a row of several packets, and of a packet
 * that is out of order; those are for {@link nextPacket}. Returns the number of rows; `cursor.end` is the offset behind
 * the last one (`at` if there was none) and `cursor.sequence` its sequence id (unchanged if there was none).
 * @param sequence the sequence id that comes.
 */
export function skipRows(
  bytes: Uint8Array,
  at: number,
  end: number,
  sequence: number,
  cursor: PacketCursor,
): number {
  const lastHeader = end - HEADER_BYTES - 1; // and the first byte of the payload
  let count = 0;
  let offset = at;
  let id = sequence & 0xff;
  while (offset <= lastHeader) {
    const length = bytes[offset] | (bytes[offset + 1] << 8) | (bytes[offset + 2] << 16);
    if (length === MAX_PACKET_BYTES || length === 0 || bytes[offset + 3] !== id) break;
    const next = offset + HEADER_BYTES + length;
    // 0xfe and 0xff begin no row but one of 16 MiB and more.
    if (next > end || bytes[offset + HEADER_BYTES] >= 0xfe) break;
    offset = next;
    cursor.sequence = id;
    id = (id + 1) & 0xff;
    count++;
  }
  cursor.end = offset;
  return count;
}

/**
 * The payload of the packets in `bytes[start, end)`, which are whole and belong together: a view when it is one packet,
 * a copy otherwise.
 */
export function joinPayload(bytes: Buffer, start: number, end: number): Buffer {
  const first = uint24At(bytes, start);
  if (first < MAX_PACKET_BYTES) return bytes.subarray(start + HEADER_BYTES, start + HEADER_BYTES + first);
  const pieces: Buffer[] = [];
  for (let at = start; at + HEADER_BYTES <= end; ) {
    const length = uint24At(bytes, at);
    const next = at + HEADER_BYTES + length;
    if (next > end) throw malformed('continued', 'its packets are not whole');
    pieces.push(bytes.subarray(at + HEADER_BYTES, next));
    if (length < MAX_PACKET_BYTES) return Buffer.concat(pieces);
    at = next;
  }
  throw malformed('continued', 'its last packet is missing');
}

function tooLong(length: number, maxLength: number, limits: PayloadLimits, command: number): AppError {
  const sender = limits.direction === 'client' ? 'client' : 'server';
  const what = command < 0 ? 'a payload' : commandName(command);
  return new AppError(
    'protocol',
    'WIRE_LENGTH_OUT_OF_RANGE',
    `The ${sender} announced ${what} of ${length} bytes; accepted are up to ${maxLength}. Send it in smaller pieces, or raise the limit.`,
    { details: { length, maxLength, command, direction: limits.direction, phase: limits.phase } },
  );
}
