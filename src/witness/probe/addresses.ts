/** Socket addresses as the kernel lays them out (struct sockaddr_in, sockaddr_in6, sockaddr_un). */
import { readFileSync, readlinkSync } from 'node:fs';

export interface PeerAddress {
  /** "192.0.2.1", "2001:db8::1", "[local]" for a Unix socket, "" when there is none. */
  readonly address: string;
  readonly port: number;
}

const AF_UNIX = 1;
const AF_INET = 2;
const AF_INET6 = 10;

export function peerAddress(data: Buffer, at: number): PeerAddress {
  const family = data.readUInt16LE(at);
  if (family === AF_UNIX) return { address: '[local]', port: 0 };
  const port = data.readUInt16BE(at + 2);
  if (family === AF_INET) return { address: [...data.subarray(at + 4, at + 8)].join('.'), port };
  return family === AF_INET6 ? { address: ipv6(data, at + 8), port } : { address: '', port: 0 };
}

/** The server's own end of a connection; nothing for a Unix socket. */
export function serverEnd(data: Buffer, at: number): { serverAddress: string; serverPort: number } {
  const { address, port } = peerAddress(data, at);
  return { serverAddress: address === '[local]' ? '' : address, serverPort: port };
}

/**
 * The server's end of the TCP connection that a process of it has with a client: looked up in the process's own network
 * namespace. `null` when there is none (a Unix socket, or the client is gone).
 */
export function serverEndOf(
  pid: number,
  client: string,
  clientPort: number,
): { serverAddress: string; serverPort: number } | null {
  const wanted = clientPort.toString(16).toUpperCase().padStart(4, '0');
  for (const table of ['tcp', 'tcp6']) {
    for (const line of readLines(`/proc/${pid}/net/${table}`)) {
      const match = /^\s*\d+: ([0-9A-F]+):([0-9A-F]{4}) ([0-9A-F]+):([0-9A-F]{4}) /.exec(line);
      if (match === null || match[4] !== wanted || hexAddress(match[3] ?? '') !== client) continue;
      return { serverAddress: hexAddress(match[1] ?? ''), serverPort: Number.parseInt(match[2] ?? '0', 16) };
    }
  }
  return null;
}

/**
 * Both ends of the TCP connection that is descriptor `fd` of a process. `null` when that is no such thing (any more), or
 * its other end is not `client`: the descriptor was used again.
 */
export function connectionOf(
  pid: number,
  fd: number,
  client: string,
): { port: number; serverAddress: string; serverPort: number } | null {
  const inode = /^socket:\[(\d+)\]$/.exec(linkOf(`/proc/${pid}/fd/${fd}`))?.[1];
  if (inode === undefined) return null;
  for (const table of ['tcp', 'tcp6']) {
    for (const line of readLines(`/proc/${pid}/net/${table}`)) {
      const fields = line.trim().split(/\s+/);
      if (fields[9] !== inode) continue;
      const [address, port] = endOf(fields[1] ?? '');
      const [peer, peerPort] = endOf(fields[2] ?? '');
      return peer === client ? { port: peerPort, serverAddress: address, serverPort: port } : null;
    }
  }
  return null;
}

function endOf(field: string): [address: string, port: number] {
  const [address = '', port = ''] = field.split(':');
  return [hexAddress(address), Number.parseInt(port, 16)];
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

/** An address of /proc/net/tcp: 32-bit words in the host's byte order. */
function hexAddress(hex: string): string {
  const bytes = Buffer.from(hex, 'hex').swap32();
  return bytes.length === 4 ? [...bytes].join('.') : ipv6(bytes, 0);
}

function readLines(path: string): string[] {
  try {
    return readFileSync(path, 'latin1').split('\n');
  } catch {
    return [];
  }
}

/** RFC 5952; addresses of IPv4 clients on an IPv6 socket as IPv4. */
function ipv6(data: Buffer, at: number): string {
  const groups = Array.from({ length: 8 }, (_, i) => data.readUInt16BE(at + 2 * i));
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff)
    return [...data.subarray(at + 12, at + 16)].join('.');
  let best = { start: -1, length: 1 };
  for (let start = 0; start < 8; start++) {
    let length = 0;
    while (start + length < 8 && groups[start + length] === 0) length++;
    if (length > best.length) best = { start, length };
  }
  const hex = groups.map((group) => group.toString(16));
  if (best.start < 0) return hex.join(':');
  return `${hex.slice(0, best.start).join(':')}::${hex.slice(best.start + best.length).join(':')}`;
}
