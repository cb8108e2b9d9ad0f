import { describe, expect, test } from 'vitest';
import { plainAddress } from './address.ts';
import { ipv6Bytes, ipv6Text, SockAddr } from './sockaddr.ts';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

describe('addresses', () => {
  // RFC 5952 §4 and §5.
  test.each([
    ['::', '00000000000000000000000000000000', '::'],
    ['::1', '00000000000000000000000000000001', '::1'],
    ['1::', '00010000000000000000000000000000', '1::'],
    ['2001:db8:0:0:1:0:0:1', '20010db8000000000001000000000001', '2001:db8::1:0:0:1'],
    ['2001:DB8::A:0:0:B', '20010db800000000000a00000000000b', '2001:db8::a:0:0:b'],
    ['2001:db8:0:1:1:1:1:1', '20010db8000000010001000100010001', '2001:db8:0:1:1:1:1:1'],
    ['fe80::1%eth0', 'fe800000000000000000000000000001', 'fe80::1'],
    ['::ffff:192.0.2.33', '00000000000000000000ffffc0000221', '192.0.2.33'],
  ])('%s', (text, bytes, canonical) => {
    expect(hex(ipv6Bytes(text))).toBe(bytes);
    expect(ipv6Text(ipv6Bytes(text))).toBe(canonical);
  });

  test('as the kernel lays them out', () => {
    expect(hex(SockAddr.encode({ family: 4, address: '127.0.0.1', port: 5434 }))).toBe(
      '0200153a7f0000010000000000000000',
    );
    expect(hex(SockAddr.encode({ family: 6, address: '::1', port: 5434 }))).toBe(
      '0a00153a000000000000000000000000000000000000000100000000',
    );
    expect(hex(SockAddr.encode({ family: 'unix', path: '/a' }))).toBe('01002f6100');
    expect(() => SockAddr.encode({ family: 'unix', path: `/${'x'.repeat(107)}` })).toThrow('shorter folder');
  });

  test('an IPv4 address keeps its form', () => {
    expect(plainAddress('::FFFF:10.0.0.1')).toBe('10.0.0.1');
    expect(plainAddress('10.0.0.1')).toBe('10.0.0.1');
    expect(plainAddress('fe80::1%lo')).toBe('fe80::1');
  });
});
