import { describe, expect, it } from 'vitest';
import { ByteWriter } from '../../base/bytes.ts';
import { nextPacket, PacketCursor, passPacket, skipRows } from './framing.ts';
import { clientRunning, Command, commandName, upstreamRunning } from './protocol.ts';
import { PayloadReader } from './reader.ts';
import { beginPacket, endPacket, writeLenenc, writePayload } from './writer.ts';

const running = clientRunning();

describe('framing', () => {
  it('reports what is known of a packet that is not whole', () => {
    // COM_QUERY "select 1"
    const bytes = Buffer.from('090000000373656c6563742031', 'hex');
    const cursor = new PacketCursor();
    for (let end = 0; end < bytes.length; end++) {
      expect(nextPacket(bytes, 0, end, running, cursor)).toBe(false);
      expect(cursor.end).toBe(end < 4 ? -1 : bytes.length);
    }
    expect(nextPacket(bytes, 0, bytes.length, running, cursor)).toBe(true);
    expect(cursor).toEqual(
      Object.assign(new PacketCursor(), {
        start: 0,
        payload: 4,
        end: 13,
        sequence: 0,
        length: 9,
        before: 0,
        last: true,
      }),
    );
  });

  it('counts the packets of a payload until its last one', () => {
    const out = new ByteWriter(64);
    writePayload(out, Buffer.alloc(0xff_ffff), 254);
    const cursor = new PacketCursor();
    expect(nextPacket(out.bytes, 0, out.length, upstreamRunning, cursor)).toBe(true);
    expect([cursor.last, cursor.sequence]).toEqual([false, 254]);
    passPacket(cursor);
    expect(cursor.before).toBe(0xff_ffff);
    expect(nextPacket(out.bytes, cursor.end, out.length, upstreamRunning, cursor)).toBe(true);
    expect([cursor.last, cursor.sequence, cursor.length]).toEqual([true, 255, 0]);
    passPacket(cursor);
    expect(cursor.before).toBe(0);
  });

  it('a packet that grew beyond one is cut when it ends', () => {
    const out = new ByteWriter(64);
    out.u8(9); // something in front
    const mark = beginPacket(out);
    out.raw(Buffer.alloc(0xff_ffff + 2, 7));
    expect(endPacket(out, mark, 255)).toBe(1);
    expect(out.bytes.subarray(1, 6)).toEqual(Buffer.from([0xff, 0xff, 0xff, 255, 7]));
    expect(out.bytes.subarray(1 + 4 + 0xff_ffff, out.length)).toEqual(Buffer.from([2, 0, 0, 0, 7, 7]));
  });

  it('rows stop in front of what is out of order', () => {
    const bytes = Buffer.from('010000010001000002000100000400', 'hex');
    const cursor = new PacketCursor();
    expect([skipRows(bytes, 0, bytes.length, 1, cursor), cursor.end]).toEqual([2, 10]);
    expect([skipRows(bytes, 10, bytes.length, 3, cursor), cursor.end]).toEqual([0, 10]);
  });

  it('length-encoded integers at the edges of their forms', () => {
    for (const value of [0, 250, 251, 252, 0xffff, 0x1_0000, 0xff_ffff, 0x100_0000, 2 ** 32, 2 ** 53 - 1]) {
      const out = new ByteWriter(16);
      writeLenenc(out, value);
      const reader = new PayloadReader().over(out.bytes, 0, out.length, 'test');
      expect(reader.lenenc()).toBe(value);
      reader.finish();
      for (let end = 0; end < out.length; end++)
        expect(() => new PayloadReader().over(out.bytes, 0, end, 'test').lenenc()).toThrow('it ends early');
    }
  });

  it('names commands', () => {
    expect([commandName(Command.STMT_EXECUTE), commandName(0x99)]).toEqual([
      'COM_STMT_EXECUTE',
      'command 0x99',
    ]);
  });
});
