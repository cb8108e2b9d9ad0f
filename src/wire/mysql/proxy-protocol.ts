/**
 * The PROXY protocol, versions 1 and 2: a line or header in front of a connection with which a load balancer says who is
 * behind it. Only for connections from addresses that the configuration trusts.
 *
 * https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt
 */
import { AppError } from '../../base/errors.ts';

export interface ProxyAddress {
  readonly address: string;
  readonly port: number;
}

export interface ProxyHeader {
  /** Bytes of the header: the protocol begins behind them. */
  readonly bytes: number;
  /** `null`: UNKNOWN, LOCAL or not IP: the connection is the peer's own. */
  readonly source: ProxyAddress | null;
  readonly destination: ProxyAddress | null;
}

/** `PROXY TCP6 …` with two full addresses and both ports, and its CR LF. */
const MAX_V1_BYTES = 107;
const V1_START = Buffer.from('PROXY ');
const V2_START = Buffer.from([0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]);
const V2_HEADER_BYTES = 16;
/** Addresses, and TLVs (TLS, unique id, authority) that we do not read. */
const MAX_V2_BYTES = 4096;

/**
 * The header at the start of `bytes`, or `null` when it is not there as a whole yet: then `bytes` are its beginning.
 * @throws AppError `protocol`: WIRE_PROXY_HEADER_MALFORMED, as soon as the bytes are not one.
 */
export function parseProxyHeader(bytes: Buffer): ProxyHeader | null {
  if (bytes.length === 0) return null;
  if (startsLike(bytes, V1_START)) return bytes.length < V1_START.length ? null : parseV1(bytes);
  if (startsLike(bytes, V2_START)) return bytes.length < V2_HEADER_BYTES ? null : parseV2(bytes);
  throw bad('the connection does not begin with one');
}

function startsLike(bytes: Buffer, start: Buffer): boolean {
  const count = Math.min(bytes.length, start.length);
  return bytes.compare(start, 0, count, 0, count) === 0;
}

function parseV1(bytes: Buffer): ProxyHeader | null {
  const head = bytes.subarray(0, MAX_V1_BYTES);
  const end = head.indexOf('\r\n');
  if (end < 0) {
    if (head.length === MAX_V1_BYTES) throw bad('its line is too long');
    return null;
  }
  const length = end + 2;
  const [, family, source, destination, sourcePort, destinationPort, ...rest] = head
    .toString('latin1', 0, end)
    .split(' ');
  // What follows UNKNOWN is to be ignored.
  if (family === 'UNKNOWN') return { bytes: length, source: null, destination: null };
  const valid = family === 'TCP4' ? isIPv4 : family === 'TCP6' ? isIPv6 : null;
  if (valid === null) throw bad('its family is none of TCP4, TCP6, UNKNOWN');
  if (rest.length > 0 || destinationPort === undefined) throw bad('it has not five fields');
  if (!valid(source) || !valid(destination)) throw bad('an address is not one of its family');
  return {
    bytes: length,
    source: { address: source, port: portOf(sourcePort) },
    destination: { address: destination, port: portOf(destinationPort) },
  };
}

const IPV4 = /^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}$/;

function isIPv4(text: string): boolean {
  return IPV4.test(text);
}

/** Without a zone, which the protocol does not know. */
function isIPv6(text: string): boolean {
  const halves = text.split('::');
  if (halves.length > 2) return false;
  let groups = 0;
  for (const [i, half] of halves.entries()) {
    if (half === '') continue;
    const parts = half.split(':');
    for (const [j, part] of parts.entries()) {
      const ends = i === halves.length - 1 && j === parts.length - 1;
      if (/^[0-9a-f]{1,4}$/i.test(part)) groups += 1;
      else if (ends && isIPv4(part)) groups += 2;
      else return false;
    }
  }
  return halves.length === 2 ? groups < 8 : groups === 8;
}

function portOf(text: string): number {
  const port = /^(?:0|[1-9][0-9]{0,4})$/.test(text) ? Number(text) : -1;
  if (port < 0 || port > 65_535) throw bad('a port is none');
  return port;
}

const LOCAL = 0x20;
const PROXY = 0x21;
const INET = 1;
const INET6 = 2;

function parseV2(bytes: Buffer): ProxyHeader | null {
  const command = bytes[12];
  if (command !== LOCAL && command !== PROXY) throw bad('its version or command is unknown');
  const length = bytes.readUInt16BE(14);
  if (length > MAX_V2_BYTES) throw bad('it is too long');
  const end = V2_HEADER_BYTES + length;
  if (bytes.length < end) return null;
  const family = bytes[13] >>> 4;
  const addressBytes = family === INET ? 4 : family === INET6 ? 16 : 0;
  if (command === LOCAL || addressBytes === 0) return { bytes: end, source: null, destination: null };
  if (length < 2 * addressBytes + 4) throw bad('its addresses are not all there');
  const at = V2_HEADER_BYTES;
  const ports = at + 2 * addressBytes;
  return {
    bytes: end,
    source: { address: addressText(bytes.subarray(at, at + addressBytes)), port: bytes.readUInt16BE(ports) },
    destination: {
      address: addressText(bytes.subarray(at + addressBytes, ports)),
      port: bytes.readUInt16BE(ports + 2),
    },
  };
}

/** IPv6 in the form of RFC 5952. */
function addressText(bytes: Buffer): string {
  if (bytes.length === 4) return bytes.join('.');
  const groups: string[] = [];
  for (let i = 0; i < 16; i += 2) groups.push(bytes.readUInt16BE(i).toString(16));
  let best = { at: -1, count: 1 };
  for (let i = 0; i < 8; ) {
    let count = 0;
    while (i + count < 8 && groups[i + count] === '0') count++;
    if (count > best.count) best = { at: i, count };
    i += Math.max(1, count);
  }
  if (best.at < 0) return groups.join(':');
  return `${groups.slice(0, best.at).join(':')}::${groups.slice(best.at + best.count).join(':')}`;
}

function bad(problem: string): AppError {
  return new AppError(
    'protocol',
    'WIRE_PROXY_HEADER_MALFORMED',
    `A PROXY protocol header is malformed: ${problem}. Let the load balancer send version 1 or 2, or take its address out of the trusted ones.`,
    { details: { problem } },
  );
}
