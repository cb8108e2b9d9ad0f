/**
 * The packets that open a connection: the server's greeting (Protocol::HandshakeV10), SSLRequest, HandshakeResponse41.
 *
 * MySQL and MariaDB differ in the reserved bytes: a MariaDB server leaves CLIENT_LONG_PASSWORD (there: CLIENT_MYSQL) out of
 * its capabilities and puts its own into the last four of the ten reserved bytes of the greeting; a client does the same
 * in the last four of its 23. Versions of MariaDB before 11 begin with `5.5.5-`, for replicas that knew no other.
 */
import type { ByteWriter } from '../../base/bytes.ts';
import { AppError } from '../../base/errors.ts';
import { type Capabilities, Capability } from './protocol.ts';
import { malformed, PayloadReader, uint16At, uint32At } from './reader.ts';
import {
  beginPacket,
  endPacket,
  writeLenenc,
  writeLenencBytes,
  writeLenencString,
  writeNulString,
  writeU16,
  writeU32,
  writeZeros,
} from './writer.ts';

const PROTOCOL_VERSION = 10;
/** In front of the version of a MariaDB server before 11. */
export const MARIADB_VERSION_PREFIX = '5.5.5-';
/** Bytes of a scramble (nonce) of every method but client_ed25519. */
export const SCRAMBLE_BYTES = 20;
/** Connection attributes of one client. */
const MAX_ATTRIBUTES = 512;

export interface HandshakeV10 {
  /** As sent, with the prefix: {@link MARIADB_VERSION_PREFIX}. */
  readonly serverVersion: string;
  readonly connectionId: number;
  /** The nonce, without its terminator: 20 bytes. A copy. */
  readonly authData: Uint8Array;
  readonly capabilities: Capabilities;
  /** The low byte of the server's collation id. */
  readonly collation: number;
  readonly status: number;
  /** Method of the nonce; '' from a server without CLIENT_PLUGIN_AUTH. */
  readonly authPlugin: string;
}

/** Whether a greeting is MariaDB's. A proxy in between may hide either sign. */
export function isMariadb(greeting: Pick<HandshakeV10, 'serverVersion' | 'capabilities'>): boolean {
  return (
    (greeting.capabilities.flags & Capability.LONG_PASSWORD) === 0 ||
    /mariadb/i.test(greeting.serverVersion) ||
    greeting.serverVersion.startsWith(MARIADB_VERSION_PREFIX)
  );
}

/** The version without MariaDB's prefix: `10.11.6-MariaDB`. */
export function plainVersion(serverVersion: string): string {
  return serverVersion.startsWith(MARIADB_VERSION_PREFIX)
    ? serverVersion.slice(MARIADB_VERSION_PREFIX.length)
    : serverVersion;
}

/**
 * A greeting. A payload that begins with 0xff is an ERR packet (too many connections, a blocked host) and not for this.
 * @throws AppError `protocol`: WIRE_MESSAGE_MALFORMED; WIRE_PROTOCOL_UNSUPPORTED for a server before MySQL 4.1.
 */
export function decodeHandshakeV10(bytes: Buffer, start: number, end: number): HandshakeV10 {
  const reader = new PayloadReader().over(bytes, start, end, 'Handshake');
  const version = reader.uint8();
  if (version !== PROTOCOL_VERSION) throw unsupported('server', `protocol version ${version}`);
  const serverVersion = reader.nulString();
  const connectionId = reader.uint32();
  const firstPart = reader.view(8);
  reader.take(1);
  let flags = reader.uint16();
  if (reader.remaining === 0) throw unsupported('server', 'no protocol 4.1');
  const collation = reader.uint8();
  const status = reader.uint16();
  flags = (flags | (reader.uint16() << 16)) >>> 0;
  if ((flags & Capability.PROTOCOL_41) === 0) throw unsupported('server', 'no protocol 4.1');
  const authDataLength = reader.uint8();
  const reserved = reader.take(10);
  const mariadb = (flags & Capability.LONG_PASSWORD) === 0 ? uint32At(bytes, reserved + 6) : 0;
  let authData = Buffer.from(firstPart);
  if ((flags & Capability.SECURE_CONNECTION) !== 0) {
    // The count is one of servers with CLIENT_PLUGIN_AUTH; the nonce of others has 20 bytes.
    const counted = (flags & Capability.PLUGIN_AUTH) !== 0 ? authDataLength - 8 : 0;
    const second = reader.view(Math.min(reader.remaining, Math.max(13, counted)));
    if (second.length < 12) throw malformed('Handshake', 'its nonce is too short');
    // Its last byte is a terminator, which old servers leave out.
    authData = Buffer.concat([firstPart, second.subarray(0, Math.max(12, second.length - 1))]);
  }
  const authPlugin = (flags & Capability.PLUGIN_AUTH) !== 0 ? reader.nulOrRestString() : '';
  const capabilities = { flags, mariadb };
  return { serverVersion, connectionId, authData, capabilities, collation, status, authPlugin };
}

/** @returns the sequence id of what comes next. */
export function encodeHandshakeV10(out: ByteWriter, greeting: HandshakeV10, sequence = 0): number {
  const { flags, mariadb } = greeting.capabilities;
  const { authData } = greeting;
  const mark = beginPacket(out);
  out.u8(PROTOCOL_VERSION);
  writeNulString(out, greeting.serverVersion);
  writeU32(out, greeting.connectionId);
  out.raw(authData, 0, 8);
  out.u8(0);
  writeU16(out, flags);
  out.u8(greeting.collation);
  writeU16(out, greeting.status);
  writeU16(out, flags >>> 16);
  out.u8((flags & Capability.PLUGIN_AUTH) !== 0 ? authData.length + 1 : 0);
  writeZeros(out, 6);
  writeU32(out, (flags & Capability.LONG_PASSWORD) === 0 ? mariadb : 0);
  if ((flags & Capability.SECURE_CONNECTION) !== 0) {
    out.raw(authData, 8, authData.length);
    writeZeros(out, Math.max(1, SCRAMBLE_BYTES + 1 - authData.length));
  }
  if ((flags & Capability.PLUGIN_AUTH) !== 0) writeNulString(out, greeting.authPlugin);
  return endPacket(out, mark, sequence);
}

/** Bytes that SSLRequest and HandshakeResponse41 begin with. */
const RESPONSE_HEAD_BYTES = 32;

export interface SslRequest {
  readonly capabilities: Capabilities;
  readonly maxPacketBytes: number;
  readonly collation: number;
}

/** Whether a client's first payload is an SSLRequest: it asks for TLS and ends where the user's name would come. */
export function isSslRequest(bytes: Uint8Array, start: number, end: number): boolean {
  return end - start === RESPONSE_HEAD_BYTES && (uint32At(bytes, start) & Capability.SSL) !== 0;
}

/** @throws AppError `protocol`: WIRE_MESSAGE_MALFORMED, WIRE_PROTOCOL_UNSUPPORTED. */
export function decodeSslRequest(bytes: Buffer, start: number, end: number): SslRequest {
  const reader = new PayloadReader().over(bytes, start, end, 'SSLRequest');
  const head = readHead(reader);
  reader.finish();
  return head;
}

export function encodeSslRequest(out: ByteWriter, request: SslRequest, sequence = 1): number {
  const mark = beginPacket(out);
  writeHead(out, request);
  return endPacket(out, mark, sequence);
}

export interface HandshakeResponse extends SslRequest {
  readonly user: string;
  /** What the method computed; a copy. */
  readonly authResponse: Uint8Array;
  /** '': none. */
  readonly database: string;
  /** '': the server's own. */
  readonly authPlugin: string;
  /** In the order sent. */
  readonly attributes: ReadonlyMap<string, string>;
  /** With CLIENT_ZSTD_COMPRESSION_ALGORITHM, 1 to 22; else 0. */
  readonly zstdLevel: number;
}

/**
 * HandshakeResponse41. Fields that its capabilities announce and that are missing at its end are read as empty, as
 * servers do.
 * @throws AppError `protocol`: WIRE_MESSAGE_MALFORMED; WIRE_PROTOCOL_UNSUPPORTED for HandshakeResponse320.
 */
export function decodeHandshakeResponse(bytes: Buffer, start: number, end: number): HandshakeResponse {
  const reader = new PayloadReader().over(bytes, start, end, 'HandshakeResponse');
  const head = readHead(reader);
  const { flags } = head.capabilities;
  const user = reader.nulString();
  const authResponse = Buffer.from(readAuthResponse(reader, flags));
  const has = (flag: number): boolean => (flags & flag) !== 0 && reader.remaining > 0;
  const database = has(Capability.CONNECT_WITH_DB) ? reader.nulOrRestString() : '';
  const authPlugin = has(Capability.PLUGIN_AUTH) ? reader.nulOrRestString() : '';
  const attributes = has(Capability.CONNECT_ATTRS) ? readAttributes(reader) : new Map<string, string>();
  const zstdLevel = has(Capability.ZSTD_COMPRESSION_ALGORITHM) ? reader.uint8() : 0;
  return { ...head, user, authResponse, database, authPlugin, attributes, zstdLevel };
}

export function encodeHandshakeResponse(out: ByteWriter, response: HandshakeResponse, sequence = 1): number {
  const { flags } = response.capabilities;
  const mark = beginPacket(out);
  writeHead(out, response);
  writeNulString(out, response.user);
  writeAuthResponse(out, response.authResponse, flags);
  if ((flags & Capability.CONNECT_WITH_DB) !== 0) writeNulString(out, response.database);
  if ((flags & Capability.PLUGIN_AUTH) !== 0) writeNulString(out, response.authPlugin);
  if ((flags & Capability.CONNECT_ATTRS) !== 0) writeAttributes(out, response.attributes);
  if ((flags & Capability.ZSTD_COMPRESSION_ALGORITHM) !== 0) out.u8(response.zstdLevel);
  return endPacket(out, mark, sequence);
}

function readHead(reader: PayloadReader): SslRequest {
  const { bytes, at } = reader;
  if (reader.remaining >= 2 && (uint16At(bytes, at) & Capability.PROTOCOL_41) === 0)
    throw unsupported('client', 'the protocol from before MySQL 4.1');
  const flags = reader.uint32();
  const maxPacketBytes = reader.uint32();
  const collation = reader.uint8();
  const reserved = reader.take(23);
  const mariadb = (flags & Capability.LONG_PASSWORD) === 0 ? uint32At(bytes, reserved + 19) : 0;
  return { capabilities: { flags, mariadb }, maxPacketBytes, collation };
}

function writeHead(out: ByteWriter, head: SslRequest): void {
  const { flags, mariadb } = head.capabilities;
  writeU32(out, flags);
  writeU32(out, head.maxPacketBytes);
  out.u8(head.collation);
  writeZeros(out, 19);
  writeU32(out, (flags & Capability.LONG_PASSWORD) === 0 ? mariadb : 0);
}

function readAuthResponse(reader: PayloadReader, flags: number): Buffer {
  if ((flags & Capability.PLUGIN_AUTH_LENENC_CLIENT_DATA) !== 0) return reader.lenencView();
  if ((flags & Capability.SECURE_CONNECTION) !== 0) return reader.view(reader.uint8());
  const from = reader.nulBytes();
  return reader.bytes.subarray(from, reader.at - 1);
}

function writeAuthResponse(out: ByteWriter, response: Uint8Array, flags: number): void {
  if ((flags & Capability.PLUGIN_AUTH_LENENC_CLIENT_DATA) !== 0) writeLenencBytes(out, response);
  else if ((flags & Capability.SECURE_CONNECTION) !== 0) {
    if (response.length > 0xff)
      throw new AppError(
        'invalid',
        'WIRE_AUTH_RESPONSE_TOO_LONG',
        `Without CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA an authentication response has at most 255 bytes, not ${response.length}.`,
      );
    out.u8(response.length);
    out.raw(response);
  } else {
    out.raw(response);
    out.u8(0);
  }
}

/** `int<lenenc> bytes, n × (string<lenenc> name, string<lenenc> value)`: also at the end of COM_CHANGE_USER. */
export function readAttributes(reader: PayloadReader): Map<string, string> {
  const attributes = new Map<string, string>();
  const length = reader.lenenc();
  const stop = reader.at + length;
  if (length > reader.remaining) throw malformed(reader.message, 'its attributes are longer than itself');
  while (reader.at < stop) {
    if (attributes.size === MAX_ATTRIBUTES) throw malformed(reader.message, 'too many attributes');
    const name = reader.lenencString();
    attributes.set(name, reader.lenencString());
  }
  if (reader.at !== stop) throw malformed(reader.message, 'its attributes are longer than they say');
  return attributes;
}

export function writeAttributes(out: ByteWriter, attributes: ReadonlyMap<string, string>): void {
  let length = 0;
  for (const [name, value] of attributes) length += lenencStringBytes(name) + lenencStringBytes(value);
  writeLenenc(out, length);
  for (const [name, value] of attributes) {
    writeLenencString(out, name);
    writeLenencString(out, value);
  }
}

function lenencStringBytes(text: string): number {
  const length = Buffer.byteLength(text);
  return length + (length < 0xfb ? 1 : length <= 0xffff ? 3 : length <= 0xff_ffff ? 4 : 9);
}

function unsupported(sender: 'client' | 'server', what: string): AppError {
  return new AppError(
    'protocol',
    'WIRE_PROTOCOL_UNSUPPORTED',
    `The ${sender} speaks ${what}, which is not supported. Use ${
      sender === 'client' ? 'a driver' : 'a server'
    } of MySQL 4.1 or later.`,
    { details: { sender } },
  );
}
