/**
 * What comes before the first message with a type byte: StartupMessage and the three special requests that share its
 * place. Their frame:
 *
 *   offset 0  Int32  length, counting itself: 8 to 10,004
 *   offset 4  Int32  protocol version (major << 16 | minor) or request code
 *   offset 8         body
 *
 * https://www.postgresql.org/docs/current/protocol-message-formats.html#PROTOCOL-MESSAGE-FORMATS-STARTUPMESSAGE
 */
import type { ByteWriter } from '../../base/bytes.ts';
import { AppError } from '../../base/errors.ts';
import { limits } from '../../base/limits.ts';
import type { MessageCursor } from './framing.ts';
import { int32At, malformed, MessageReader, uint32At, utf8OrUndefined } from './reader.ts';
import { beginMessage, beginPacket, endMessage, writeString } from './writer.ts';
import { Backend } from './messages.ts';

export const SSL_REQUEST_CODE = 80_877_103;
export const GSSENC_REQUEST_CODE = 80_877_104;
export const CANCEL_REQUEST_CODE = 80_877_102;

export const PROTOCOL_3_0 = 0x0003_0000;
export const PROTOCOL_3_2 = 0x0003_0002;
/** The newest minor version that we speak. */
export const NEWEST_MINOR = 2;

/** A cancel key has 4 bytes in protocol 3.0 and up to 256 since 3.2. */
export const MIN_KEY_BYTES = 4;
export const MAX_KEY_BYTES = 256;

/** First byte of a TLS record with a ClientHello: direct TLS, without an SSLRequest. */
export const TLS_HANDSHAKE_BYTE = 0x16;

/** The one-byte answers to SSLRequest and GSSENCRequest; they have no frame. */
export const ENCRYPTION_ACCEPTED = { ssl: 0x53, gss: 0x47 } as const; // S, G
export const ENCRYPTION_REFUSED = 0x4e; // N

export type StartupKind = 'ssl' | 'gssenc' | 'cancel' | 'startup';

/**
 * Looks at the start-up packet at `at`; like `nextMessage`, with `cursor.type` the protocol version or request code.
 * @throws AppError `protocol` WIRE_LENGTH_OUT_OF_RANGE as soon as the length is there.
 */
export function nextStartupPacket(
  bytes: Uint8Array,
  at: number,
  end: number,
  cursor: MessageCursor,
): boolean {
  cursor.start = at;
  cursor.body = at + 8;
  cursor.end = -1;
  if (end - at < 4) return false;
  const length = int32At(bytes, at);
  if (length < 8 || length > limits.maxStartupBytes + 4)
    throw new AppError(
      'protocol',
      'WIRE_LENGTH_OUT_OF_RANGE',
      `The connection began with a start-up packet of length ${length >>> 0}; accepted are 8 to ${
        limits.maxStartupBytes + 4
      }. Check that the client speaks PostgreSQL's protocol to this port.`,
      { details: { length: length >>> 0, maxLength: limits.maxStartupBytes + 4 } },
    );
  cursor.end = at + length;
  if (end - at < 8) return false;
  cursor.type = uint32At(bytes, at + 4);
  return cursor.end <= end;
}

/**
 * What a whole start-up packet is.
 * @throws AppError `protocol`: WIRE_PROTOCOL_UNSUPPORTED for another major version; WIRE_MESSAGE_MALFORMED for a
 * request that is longer than it may be (bytes smuggled behind it).
 */
export function startupKind(cursor: MessageCursor): StartupKind {
  const bodyBytes = cursor.end - cursor.body;
  switch (cursor.type) {
    case SSL_REQUEST_CODE:
    case GSSENC_REQUEST_CODE: {
      const ssl = cursor.type === SSL_REQUEST_CODE;
      if (bodyBytes !== 0) throw malformed(ssl ? 'SSLRequest' : 'GSSENCRequest', 'it is longer than 8 bytes');
      return ssl ? 'ssl' : 'gssenc';
    }
    case CANCEL_REQUEST_CODE:
      return 'cancel';
    default: {
      const major = cursor.type >>> 16;
      if (major === 3) return 'startup';
      throw new AppError(
        'protocol',
        'WIRE_PROTOCOL_UNSUPPORTED',
        `The client asked for protocol ${major}.${cursor.type & 0xffff}; this server speaks 3.0 to 3.${NEWEST_MINOR}. Use a client of PostgreSQL 7.4 or newer.`,
        { details: { major, minor: cursor.type & 0xffff } },
      );
    }
  }
}

export interface StartupMessage {
  /** `major << 16 | minor`; the major version is 3. */
  readonly protocol: number;
  /** Every parameter, `_pq_.` ones too, in the order sent; of a repeated name the last value, as in the server. */
  readonly parameters: ReadonlyMap<string, string>;
}

/** @param at offset of the packet's length. @throws AppError `protocol` for a broken layout or text that is not UTF-8. */
export function decodeStartupMessage(bytes: Buffer, at: number, end: number): StartupMessage {
  const reader = new MessageReader(bytes, at + 4, end, 'StartupMessage');
  const protocol = reader.uint32();
  const parameters = new Map<string, string>();
  for (;;) {
    if (reader.remaining === 0) throw malformed('StartupMessage', 'the final terminator is missing');
    const name = startupString(reader);
    if (name === '') break;
    const value = startupString(reader);
    // Deleting first keeps the order of the last occurrence.
    parameters.delete(name);
    parameters.set(name, value);
  }
  reader.finish();
  return { protocol, parameters };
}

// One text must have one reading: if bytes that are not UTF-8 became U+FFFD, two different user names would be one.
function startupString(reader: MessageReader): string {
  const start = reader.at;
  reader.latin1();
  const text = utf8OrUndefined(reader.bytes.subarray(start, reader.at - 1));
  if (text === undefined) throw malformed('StartupMessage', 'a parameter is not UTF-8');
  return text;
}

export function encodeStartupMessage(out: ByteWriter, message: StartupMessage): void {
  const mark = beginPacket(out);
  out.u32be(message.protocol);
  for (const [name, value] of message.parameters) {
    if (name === '') continue; // would end the list
    writeString(out, name);
    writeString(out, value);
  }
  out.u8(0);
  endMessage(out, mark);
}

/** SSLRequest or GSSENCRequest. */
export function encodeEncryptionRequest(out: ByteWriter, kind: 'ssl' | 'gssenc'): void {
  out.u32be(8);
  out.u32be(kind === 'ssl' ? SSL_REQUEST_CODE : GSSENC_REQUEST_CODE);
}

export interface CancelRequest {
  readonly processId: number;
  /** 4 to 256 bytes. A view of the packet when decoded. */
  readonly key: Uint8Array;
}

export function decodeCancelRequest(bytes: Buffer, at: number, end: number): CancelRequest {
  const reader = new MessageReader(bytes, at + 8, end, 'CancelRequest');
  const processId = reader.uint32();
  return { processId, key: cancelKey(reader) };
}

export function encodeCancelRequest(out: ByteWriter, message: CancelRequest): void {
  const mark = beginPacket(out);
  out.u32be(CANCEL_REQUEST_CODE);
  out.u32be(message.processId);
  out.raw(message.key);
  endMessage(out, mark);
}

export interface BackendKeyData {
  readonly processId: number;
  /** 4 bytes in protocol 3.0, 4 to 256 since 3.2. A view of the message when decoded. */
  readonly key: Uint8Array;
}

/** @param start offset of the body. */
export function decodeBackendKeyData(bytes: Buffer, start: number, end: number): BackendKeyData {
  const reader = new MessageReader(bytes, start, end, 'BackendKeyData');
  const processId = reader.uint32();
  return { processId, key: cancelKey(reader) };
}

export function encodeBackendKeyData(out: ByteWriter, message: BackendKeyData): void {
  const mark = beginMessage(out, Backend.BackendKeyData);
  out.u32be(message.processId);
  out.raw(message.key);
  endMessage(out, mark);
}

function cancelKey(reader: MessageReader): Buffer {
  const count = reader.remaining;
  if (count < MIN_KEY_BYTES || count > MAX_KEY_BYTES)
    throw malformed(reader.message, `a key of ${count} bytes, where 4 to 256 are allowed`);
  return reader.view(count);
}

export interface NegotiateProtocolVersion {
  /** The newest version that the server speaks, `major << 16 | minor`. */
  readonly protocol: number;
  /** Protocol options (`_pq_.…`) that the server does not know. */
  readonly unrecognized: readonly string[];
}

/** What to do with the version and the `_pq_.` options that a client asked for. */
export interface Negotiation {
  /** The minor version that both speak. */
  readonly minor: number;
  /** The message to send before authentication, or `null` when the client gets what it asked for. */
  readonly answer: NegotiateProtocolVersion | null;
}

/** No `_pq_.` option is known to us, so each is answered as unrecognized; a newer minor version is turned down to 3.2. */
export function negotiateProtocol(startup: StartupMessage): Negotiation {
  const asked = startup.protocol & 0xffff;
  const minor = Math.min(asked, NEWEST_MINOR);
  const unrecognized = [...startup.parameters.keys()].filter((name) => name.startsWith('_pq_.'));
  if (minor === asked && unrecognized.length === 0) return { minor, answer: null };
  return { minor, answer: { protocol: 0x0003_0000 | minor, unrecognized } };
}

/** @param start offset of the body. */
export function decodeNegotiateProtocolVersion(
  bytes: Buffer,
  start: number,
  end: number,
): NegotiateProtocolVersion {
  const reader = new MessageReader(bytes, start, end, 'NegotiateProtocolVersion');
  const protocol = reader.uint32();
  const count = reader.uint32();
  if (count > reader.remaining) throw malformed(reader.message, 'a count greater than its contents');
  const unrecognized: string[] = [];
  for (let i = 0; i < count; i++) unrecognized.push(reader.string());
  reader.finish();
  return { protocol, unrecognized };
}

export function encodeNegotiateProtocolVersion(out: ByteWriter, message: NegotiateProtocolVersion): void {
  const mark = beginMessage(out, Backend.NegotiateProtocolVersion);
  out.u32be(message.protocol);
  out.u32be(message.unrecognized.length);
  for (const name of message.unrecognized) writeString(out, name);
  endMessage(out, mark);
}
