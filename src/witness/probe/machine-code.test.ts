/** Bytes of real functions: PostgreSQL 15 (Debian), MySQL 5.6 and 9.7, MariaDB 10.11 and 11.8. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  accessorPath,
  callsTo,
  entrySkip,
  firstAddressTaken,
  firstCleared,
  firstComparedToNull,
  firstLoadedPointer,
  globalRead,
  lastArgumentMember,
  localArgument,
  memberBehindPointer,
  setsFirstArgument,
  setterOffset,
} from './machine-code.ts';

const code = (hex: string): Buffer =>
  Buffer.concat([Buffer.from(hex.replaceAll(/\s/g, ''), 'hex'), Buffer.alloc(16, 0x90)]);

describe('machine code', () => {
  it.each([
    ['mov 0x6a31ba(%rip),%eax', '8b05ba316a00 c3', 0x1e2e00, 0x885fc0],
    ['mov 0x6a2d99(%rip),%rax', '488b05992d6a00 c3', 0x1e3050, 0x885df0],
    ['cmpq $0,0x89d6de(%rip), as in 16 and later', '48833dded6890000 7519', 0x178eda, 0xa165c0],
    ['behind endbr64', 'f30f1efa 488b0510000000 c3', 0x1000, 0x101b],
  ])('of a getter says where its variable lies: %s', (_what, hex, address, expected) => {
    expect(globalRead(code(hex), address)).toBe(expected);
  });

  it.each([
    ['mov disp32(%rdi),%rax', '488b87183f0000 c3', [0x3f18]],
    ['push, then the load, as in 5.6', '55 488b87701b0000 4889e5 c9 c3', [0x1b70]],
    ['a 32-bit load behind endbr64', 'f30f1efa 8b87d0250000 c3', [0x25d0]],
    ['lea disp8', '488d4768 c3', [0x68]],
    ['through a pointer, with a check for NULL', '488b87f8250000 4885c0 7404 488b4008 c3', [0x25f8, 8]],
    ['through a pointer to its first member', '488b87f8250000 4885c0 7403 488b00 c3', [0x25f8, 0]],
  ])('of an accessor says the way: %s', (_what, hex, expected) => {
    expect(accessorPath(code(hex))).toEqual(expected);
  });

  it('of PostgresMain says where it calls what, and with which variable', () => {
    const [address, put, end] = [0x473d3f, 0x34d600, 0x46eef0];
    // mov $0x73,%edi; call pq_putemptymessage
    const suspended = code('bf73000000 e8b798edff e9d1feffff');
    expect(callsTo(suspended, address, put)).toEqual([5]);
    expect(callsTo(suspended, address, end)).toEqual([]);
    expect(setsFirstArgument(suspended, 5, 0x73)).toBe(true);
    expect(setsFirstArgument(suspended, 5, 0x74)).toBe(false);
    // lea -0x250(%rbp),%rdi; xor %edx,%edx; mov %r12d,%esi; call EndCommand
    const ends = code('488dbdb0fdffff 31d2 4489e6 e83db4ffff');
    expect(callsTo(ends, 0x473aa2, end - 2)).toEqual([]);
    expect(callsTo(ends, 0x473aa2, end)).toEqual([12]);
    expect(localArgument(ends, 12)).toEqual({ base: 'rbp', displacement: -0x250 });
    expect(localArgument(code('488dbc24f8000000 31d2 4489e6 e8'), 13)).toEqual({
      base: 'rsp',
      displacement: 0xf8,
    });
    expect(localArgument(code('488d7c2410 4489e6 e8'), 8)).toEqual({ base: 'rsp', displacement: 0x10 });
    expect(localArgument(code('488d7df0 31d2 e8'), 6)).toEqual({ base: 'rbp', displacement: -16 });
    expect(localArgument(code('488db424f8000000 31d2 e8'), 10)).toBeNull(); // %rsi
    expect(localArgument(code('4889df 31d2 e8'), 5)).toBeNull();
  });

  it('of longer functions says what is looked for', () => {
    expect(setterOffset(code('4889b7983b0000 488bbf503c0000'))).toBe(0x3b98);
    expect(setterOffset(code('f30f1efa 4801b7c83c0000 4889b7c03c0000'))).toBe(0x3cc0);
    expect(firstAddressTaken(code('55 4889e5 4157 4c8dad70feffff 4989fc 488d9fa00f0000'))).toBe(0xfa0);
    expect(firstLoadedPointer(code('4885f6 7417 488b8700180000 488906'))).toBe(0x1800);
    expect(firstCleared(code('e8c8a4d3ff 48c7835805000000000000'))).toBe(0x558);
    expect(firstCleared(code('49c784248000000000000000'))).toBe(0x80);
    expect(lastArgumentMember(code('31c0 ffb7a8250000 ffb7c8250000'))).toBe(0x25a8);
    expect(lastArgumentMember(code('4c8b8f401b0000'))).toBe(0x1b40);
    expect(firstComparedToNull(code('488d95befdffff 4883bec002000000 0f84'))).toBe(0x2c0);
    expect(firstComparedToNull(code('4883bf1802000000 747f'))).toBe(0x218);
    expect(firstComparedToNull(code('4883bf1802000001 747f'))).toBeNull();
    expect(memberBehindPointer(code('f30f1efa 488b4718 4805b81e0000 c3'))).toBe(0x1eb8);
    expect(memberBehindPointer(code('488b4718 c3'))).toBeNull();
    expect(entrySkip(code('f30f1efa55'))).toBe(4);
    expect(entrySkip(code('554889e5'))).toBe(0);
  });

  it('that is something else says nothing, and never throws', () => {
    expect(globalRead(code('e800000000'), 0)).toBeNull();
    expect(accessorPath(code('e800000000'))).toBeNull();
    expect(setterOffset(code('e800000000'))).toBeNull();
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        const any = Buffer.concat([bytes, Buffer.alloc(16)]);
        for (const read of [
          accessorPath,
          setterOffset,
          firstAddressTaken,
          firstLoadedPointer,
          firstCleared,
          firstComparedToNull,
          memberBehindPointer,
          lastArgumentMember,
          entrySkip,
        ])
          read(any);
        globalRead(any, 0);
        callsTo(any, 0, 16);
        localArgument(any, any.length);
        setsFirstArgument(any, any.length, 0x73);
      }),
    );
  });
});
