/**
 * `struct sockaddr`, in and out.
 *
 *   AF_INET   u16 family, u16 port (big-endian), 4 bytes address, 8 bytes zero                        16 bytes
 *   AF_INET6  u16 family, u16 port (big-endian), u32 flow, 16 bytes address, u32 scope                28 bytes
 *   AF_UNIX   u16 family, path with a terminating zero                                         up to 110 bytes
 */
import { AppError } from '../base/errors.ts';
import { type Target, plainAddress } from './address.ts';
import type { PeerAddress } from './link.ts';
import { AF, SO, SOCK, SOL, type Syscalls } from './syscalls.ts';

const MAX_BYTES = 128;
const MAX_UNIX_PATH_BYTES = 107;
const LENGTH_AT = 128;
const VALUE_AT = 136;

export class SockAddr {
  readonly #sys: Syscalls;
  readonly #memory = Buffer.alloc(144);
  readonly #at: number;

  constructor(sys: Syscalls) {
    this.#sys = sys;
    this.#at = sys.addressOf(this.#memory);
  }

  static encode(target: Target): Buffer {
    if (target.family === 'unix') return encodeUnix(target.path);
    const bytes = Buffer.alloc(target.family === 6 ? 28 : 16);
    bytes.writeUInt16LE(target.family === 6 ? AF.inet6 : AF.inet, 0);
    bytes.writeUInt16BE(target.port, 2);
    if (target.family === 6) bytes.set(ipv6Bytes(target.address), 8);
    else bytes.set(target.address.split('.').map(Number), 4);
    return bytes;
  }

  /** Accepts a connection: its descriptor, or −1 with errno. `read` then tells its peer. */
  accept(fd: number): number {
    this.#memory.writeUInt32LE(MAX_BYTES, LENGTH_AT);
    return this.#sys.accept4(fd, this.#at, this.#at + LENGTH_AT, SOCK.nonblock | SOCK.cloexec);
  }

  /** The local address of a socket. */
  ofSocket(fd: number): PeerAddress {
    this.#memory.writeUInt32LE(MAX_BYTES, LENGTH_AT);
    this.#sys.getsockname(fd, this.#at, this.#at + LENGTH_AT);
    return this.read();
  }

  /** SO_ERROR: what became of a connect. 0 is success. */
  pendingError(fd: number): number {
    this.#memory.writeUInt32LE(4, LENGTH_AT);
    const failed = this.#sys.getsockopt(fd, SOL.socket, SO.error, this.#at + VALUE_AT, this.#at + LENGTH_AT);
    return failed === 0 ? this.#memory.readInt32LE(VALUE_AT) : this.#sys.errno();
  }

  read(): PeerAddress {
    const memory = this.#memory;
    const family = memory.readUInt16LE(0);
    const port = memory.readUInt16BE(2);
    if (family === AF.inet) return { address: memory.subarray(4, 8).join('.'), port };
    if (family === AF.inet6) return { address: ipv6Text(memory.subarray(8, 24)), port };
    return { address: '', port: 0 };
  }
}

function encodeUnix(path: string): Buffer {
  const encoded = Buffer.from(path, 'utf8');
  if (encoded.length > MAX_UNIX_PATH_BYTES)
    throw new AppError(
      'invalid',
      'TRANSPORT_UNIX_PATH_TOO_LONG',
      `the Unix socket's path ${path} is longer than ${MAX_UNIX_PATH_BYTES} bytes; use a shorter folder`,
    );
  const bytes = Buffer.alloc(2 + encoded.length + 1);
  bytes.writeUInt16LE(AF.unix, 0);
  bytes.set(encoded, 2);
  return bytes;
}

/** The 16 bytes of an address that `isIP` has accepted. */
export function ipv6Bytes(text: string): Uint8Array {
  const bytes = new Uint8Array(16);
  let plain = text.split('%')[0];
  const dotted = /(?<=:)\d+\.\d+\.\d+\.\d+$/.exec(plain)?.[0];
  if (dotted !== undefined) {
    const [a, b, c, d] = dotted.split('.').map(Number);
    const high = ((a << 8) | b).toString(16);
    const low = ((c << 8) | d).toString(16);
    plain = `${plain.slice(0, -dotted.length)}${high}:${low}`;
  }
  const [head, tail] = plain.split('::');
  const groups = (part: string | undefined): string[] =>
    part === undefined || part === '' ? [] : part.split(':');
  const write = (group: string, at: number): void => {
    const value = Number.parseInt(group, 16);
    bytes[at] = value >> 8;
    bytes[at + 1] = value & 0xff;
  };
  groups(head).forEach((group, i) => write(group, i * 2));
  const last = groups(tail);
  last.forEach((group, i) => write(group, 16 - (last.length - i) * 2));
  return bytes;
}

/** RFC 5952 text of 16 bytes; IPv4 addresses of a dual-stack socket as such. */
export function ipv6Text(bytes: Uint8Array): string {
  const groups = Array.from({ length: 8 }, (_, i) => (bytes[i * 2] << 8) | bytes[i * 2 + 1]);
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff)
    return plainAddress(`::ffff:${bytes.subarray(12, 16).join('.')}`);
  let best = { at: -1, length: 1 };
  for (let at = 0; at < 8; at++) {
    let length = 0;
    while (at + length < 8 && groups[at + length] === 0) length++;
    if (length > best.length) best = { at, length };
  }
  const hex = groups.map((group) => group.toString(16));
  if (best.at === -1) return hex.join(':');
  return `${hex.slice(0, best.at).join(':')}::${hex.slice(best.at + best.length).join(':')}`;
}
