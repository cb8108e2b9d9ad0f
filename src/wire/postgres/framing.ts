/**
 * Framing in place: finds messages in a buffer, copies nothing, allocates nothing.
 *
 * The caller owns one {@link MessageCursor} per direction and calls {@link nextMessage} from the end of one message to
 * the next. A message that is not whole yet is reported with what is known of it, so that a long one (a 1 GB row) can
 * be streamed through while the rest is on its way.
 */
import { AppError } from '../../base/errors.ts';
import { HEADER_BYTES, type LengthLimits, typeName } from './messages.ts';

/** Where a message is. Written by {@link nextMessage}; reuse one object for a whole connection. */
export class MessageCursor {
  /** Type byte. Valid from the first byte of the message on. */
  type = 0;
  /** Offset of the type byte. */
  start = 0;
  /** Offset of the body. */
  body = 0;
  /** Offset behind the message, which may lie behind the bytes that are there; −1 while the header is incomplete. */
  end = -1;
}

/**
 * Looks at the message that starts at `at` in `bytes[at, end)`. Returns whether it is there as a whole. When it is
 * not, `cursor.end` is −1 (header incomplete) or the offset at which it will end.
 * @throws AppError `protocol`: WIRE_LENGTH_OUT_OF_RANGE, WIRE_MESSAGE_UNEXPECTED, before any byte of the body is needed.
 */
export function nextMessage(
  bytes: Uint8Array,
  at: number,
  end: number,
  limits: LengthLimits,
  cursor: MessageCursor,
): boolean {
  cursor.start = at;
  cursor.body = at + HEADER_BYTES;
  if (end - at < HEADER_BYTES) {
    cursor.end = -1;
    if (end > at) {
      cursor.type = bytes[at];
      if (limits.maxLengthByType[cursor.type] === 0) throw refused(cursor.type, 0, limits);
    }
    return false;
  }
  const type = bytes[at];
  const length = (bytes[at + 1] << 24) | (bytes[at + 2] << 16) | (bytes[at + 3] << 8) | bytes[at + 4];
  // 2^31 and more are negative here, and so out of range as well.
  if (length < 4 || length > limits.maxLengthByType[type]) throw refused(type, length >>> 0, limits);
  cursor.type = type;
  cursor.end = at + 1 + length;
  return cursor.end <= end;
}

/**
 * Passes over the messages of type `type` that follow each other from `at` on and are there as a whole: the inner loop
 * of a result set (DataRow) or a COPY (CopyData). Returns their number; `cursor.end` is the offset behind the last one
 * (`at` if there was none), and what lies there is for {@link nextMessage}, which also judges a bad length.
 */
export function skipRun(
  bytes: Uint8Array,
  at: number,
  end: number,
  type: number,
  limits: LengthLimits,
  cursor: MessageCursor,
): number {
  const maxLength = limits.maxLengthByType[type];
  const lastHeader = end - HEADER_BYTES;
  let count = 0;
  let offset = at;
  while (offset <= lastHeader && bytes[offset] === type) {
    const length =
      (bytes[offset + 1] << 24) | (bytes[offset + 2] << 16) | (bytes[offset + 3] << 8) | bytes[offset + 4];
    if (length < 4 || length > maxLength) break;
    const next = offset + 1 + length;
    if (next > end) break;
    offset = next;
    count++;
  }
  cursor.end = offset;
  return count;
}

function refused(type: number, length: number, limits: LengthLimits): AppError {
  const sender = limits.direction === 'client' ? 'client' : 'server';
  const maxLength = limits.maxLengthByType[type];
  if (maxLength === 0)
    return new AppError(
      'protocol',
      'WIRE_MESSAGE_UNEXPECTED',
      `The ${sender} sent a message of type ${typeName(type)}, which ${
        limits.phase === 'running' ? 'the protocol does not know' : 'may not come before authentication ends'
      }. Check that it speaks PostgreSQL's protocol 3.`,
      { details: { type, direction: limits.direction, phase: limits.phase } },
    );
  return new AppError(
    'protocol',
    'WIRE_LENGTH_OUT_OF_RANGE',
    `The ${sender} announced a message of type ${typeName(type)} with length ${length}; accepted are 4 to ${maxLength}. ${
      length < 4 ? 'The stream is damaged.' : 'Send it in smaller pieces, or raise the limit.'
    }`,
    { details: { type, length, maxLength, direction: limits.direction, phase: limits.phase } },
  );
}
