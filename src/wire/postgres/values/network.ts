/** Binary network addresses as the server's own text. */
import { unreadable } from '../../values.ts';

const FAMILY_IPV4 = 2;
const FAMILY_IPV6 = 3;

/** inet, cidr: `Byte1 family, Byte1 bits, Byte1 is cidr, Byte1 n, n bytes`. */
export function inetText(bytes: Buffer): string {
  if (bytes.length < 4) throw unreadable('inet');
  const [family, bits, isCidr, count] = bytes;
  const address = bytes.subarray(4);
  const maxBits = family === FAMILY_IPV4 ? 32 : 128;
  if (address.length !== count || count * 8 !== maxBits || bits > maxBits) throw unreadable('inet');
  if (family !== FAMILY_IPV4 && family !== FAMILY_IPV6) throw unreadable('inet');
  const text = family === FAMILY_IPV4 ? address.join('.') : ipv6Text(address);
  return bits === maxBits && isCidr === 0 ? text : `${text}/${bits}`;
}

/** RFC 5952, and like the server's `inet_net_ntop` with a dotted tail for IPv4-mapped and -compatible addresses. */
function ipv6Text(address: Buffer): string {
  const words = Array.from({ length: 8 }, (_, i) => address.readUInt16BE(2 * i));
  let runStart = -1;
  let runLength = 1; // a single zero is not shortened
  for (let i = 0; i < 8; i++) {
    let length = 0;
    while (i + length < 8 && words[i + length] === 0) length++;
    if (length > runLength) {
      runStart = i;
      runLength = length;
    }
  }
  const dotted = runStart === 0 && (runLength === 6 || (runLength === 5 && words[5] === 0xffff));
  const groups = words.map((word) => word.toString(16));
  const tail = dotted ? [address.subarray(12).join('.')] : groups.slice(6);
  const all = [...groups.slice(0, 6), ...tail];
  if (runStart < 0) return all.join(':');
  return `${all.slice(0, runStart).join(':')}::${all.slice(runStart + runLength).join(':')}`;
}

/** macaddr (6 bytes) and macaddr8 (8 bytes). */
export function macaddrText(bytes: Buffer): string {
  if (bytes.length !== 6 && bytes.length !== 8) throw unreadable('macaddr');
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(':');
}

export function uuidText(bytes: Buffer): string {
  if (bytes.length !== 16) throw unreadable('uuid');
  const hex = bytes.toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
