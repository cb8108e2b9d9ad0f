/**
 * What is said between the greeting and the OK. A client's packets here are raw bytes of its method (`scramble.ts`,
 * `ed25519.ts`); only a server's have a frame of their own.
 */
import type { ByteWriter } from '../../base/bytes.ts';
import { malformed, PayloadReader } from './reader.ts';
import { beginPacket, endPacket, writeNulString, writePayload } from './writer.ts';

/** First payload bytes of a server during authentication; OK and ERR are in `responses.ts`. */
export const AUTH_MORE_DATA = 0x01;
export const AUTH_NEXT_FACTOR = 0x02;
export const AUTH_SWITCH_REQUEST = 0xfe;

/** Second byte of caching_sha2_password's AuthMoreData. */
export const FAST_AUTH_SUCCESS = 0x03;
export const PERFORM_FULL_AUTHENTICATION = 0x04;
/** What a client sends to ask for the RSA key. */
export const REQUEST_PUBLIC_KEY_SHA2 = 0x02;
export const REQUEST_PUBLIC_KEY_SHA256 = 0x01;

export interface AuthSwitchRequest {
  readonly plugin: string;
  /** The nonce as sent; most methods' ends with a NUL, which is not part of it ({@link nonceOf}). A view. */
  readonly data: Uint8Array;
}

/** AuthSwitchRequest: `int<1> 0xfe, string<NUL> plugin, string<EOF> data`. Without a plugin (before 5.5) it is refused. */
export function decodeAuthSwitchRequest(bytes: Buffer, start: number, end: number): AuthSwitchRequest {
  const reader = new PayloadReader().over(bytes, start, end, 'AuthSwitchRequest');
  expectFirst(reader, AUTH_SWITCH_REQUEST);
  if (reader.remaining === 0)
    throw malformed('AuthSwitchRequest', 'it asks for the password hash of MySQL 3.23');
  const plugin = reader.nulString();
  return { plugin, data: reader.restView() };
}

export function encodeAuthSwitchRequest(
  out: ByteWriter,
  request: AuthSwitchRequest,
  sequence: number,
): number {
  const mark = beginPacket(out);
  out.u8(AUTH_SWITCH_REQUEST);
  writeNulString(out, request.plugin);
  out.raw(request.data);
  return endPacket(out, mark, sequence);
}

/** AuthNextFactor: the same with 0x02, for a second and third factor. */
export function decodeAuthNextFactor(bytes: Buffer, start: number, end: number): AuthSwitchRequest {
  const reader = new PayloadReader().over(bytes, start, end, 'AuthNextFactor');
  expectFirst(reader, AUTH_NEXT_FACTOR);
  const plugin = reader.nulString();
  return { plugin, data: reader.restView() };
}

export function encodeAuthNextFactor(out: ByteWriter, request: AuthSwitchRequest, sequence: number): number {
  const mark = beginPacket(out);
  out.u8(AUTH_NEXT_FACTOR);
  writeNulString(out, request.plugin);
  out.raw(request.data);
  return endPacket(out, mark, sequence);
}

/** AuthMoreData: `int<1> 0x01, string<EOF> data`. A view. */
export function decodeAuthMoreData(bytes: Buffer, start: number, end: number): Buffer {
  const reader = new PayloadReader().over(bytes, start, end, 'AuthMoreData');
  expectFirst(reader, AUTH_MORE_DATA);
  return reader.restView();
}

export function encodeAuthMoreData(out: ByteWriter, data: Uint8Array, sequence: number): number {
  const mark = beginPacket(out);
  out.u8(AUTH_MORE_DATA);
  out.raw(data);
  return endPacket(out, mark, sequence);
}

/** A client's answer: the payload is the data, so there is nothing to decode. */
export function encodeAuthResponse(out: ByteWriter, data: Uint8Array, sequence: number): number {
  return writePayload(out, data, sequence);
}

/** The nonce in a request's data: without the NUL behind it, where it has `nonceBytes` and one more. */
export function nonceOf(data: Uint8Array, nonceBytes: number): Uint8Array {
  return data.length === nonceBytes + 1 && data[nonceBytes] === 0 ? data.subarray(0, nonceBytes) : data;
}

function expectFirst(reader: PayloadReader, first: number): void {
  if (reader.uint8() !== first) throw malformed(reader.message, 'its first byte is another packet’s');
}
