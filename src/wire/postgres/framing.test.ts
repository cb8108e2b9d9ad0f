import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ByteWriter } from '../../base/bytes.ts';
import { limits } from '../../base/limits.ts';
import { MessageCursor, nextMessage, skipRun } from './framing.ts';
import {
  Backend,
  clientAuthenticating,
  clientRunning,
  Frontend,
  type LengthLimits,
  upstreamAuthenticating,
  upstreamRunning,
} from './messages.ts';
import { encodeDataRow } from './rows.ts';

const running = clientRunning();

function header(type: string, length: number): Buffer {
  const bytes = Buffer.alloc(5);
  bytes.write(type, 'latin1');
  bytes.writeUInt32BE(length, 1);
  return bytes;
}

function look(bytes: Buffer, table: LengthLimits): { whole: boolean; cursor: MessageCursor } {
  const cursor = new MessageCursor();
  return { whole: nextMessage(bytes, 0, bytes.length, table, cursor), cursor };
}

describe('nextMessage', () => {
  it('finds a whole message in the middle of a buffer', () => {
    const bytes = Buffer.concat([Buffer.from('xx'), header('Q', 6), Buffer.from('a\0yy')]);
    const cursor = new MessageCursor();
    expect(nextMessage(bytes, 2, bytes.length, running, cursor)).toBe(true);
    expect(cursor).toEqual({ type: Frontend.Query, start: 2, body: 7, end: 9 });
  });

  it('says where a message will end once its header is there, and −1 before', () => {
    const bytes = Buffer.concat([header('Q', 1000), Buffer.from('select')]);
    for (let end = 0; end < 5; end++) {
      const cursor = new MessageCursor();
      expect(nextMessage(bytes, 0, end, running, cursor)).toBe(false);
      expect(cursor.end).toBe(-1);
    }
    expect(look(bytes, running)).toMatchObject({ whole: false, cursor: { type: Frontend.Query, end: 1001 } });
  });

  it('does not look behind `end`, whatever is there', () => {
    const bytes = Buffer.concat([header('Q', 6), Buffer.from('a\0')]);
    expect(nextMessage(bytes, 0, 6, running, new MessageCursor())).toBe(false);
  });

  it.each([0, 1, 3, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff])('refuses length %i at its header', (length) => {
    expect(() => look(header('Q', length), running)).toThrow(
      expect.objectContaining({ kind: 'protocol', code: 'WIRE_LENGTH_OUT_OF_RANGE' }),
    );
  });

  it.each([
    ['Q', running, limits.maxStatementBytes + 10_000],
    ['Q', clientRunning(1000), 11_000],
    ['B', running, 0x3fff_fffe],
    ['S', running, 10_000],
    ['p', clientAuthenticating, limits.maxAuthMessageBytes],
    ['D', upstreamRunning, 0x4000_0003],
    ['Z', upstreamRunning, 65_536],
    ['R', upstreamAuthenticating, limits.maxAuthMessageBytes],
    ['?', upstreamRunning, 1024 * 1024],
  ] as const)('takes %s up to its own limit', (type, table, maxLength) => {
    expect(look(header(type, maxLength), table).cursor.end).toBe(1 + maxLength);
    expect(() => look(header(type, maxLength + 1), table)).toThrow(
      expect.objectContaining({
        code: 'WIRE_LENGTH_OUT_OF_RANGE',
        details: expect.objectContaining({ maxLength }) as unknown,
      }),
    );
  });

  it.each([
    ['Q', clientAuthenticating],
    ['p', running],
    ['?', running],
    ['\0', running],
    ['D', upstreamAuthenticating],
  ] as const)('refuses type %j at its first byte where it may not come', (type, table) => {
    expect(() => look(Buffer.from(type, 'latin1'), table)).toThrow(
      expect.objectContaining({ kind: 'protocol', code: 'WIRE_MESSAGE_UNEXPECTED' }),
    );
    expect(() => look(header(type, 4), table)).toThrow(
      expect.objectContaining({ code: 'WIRE_MESSAGE_UNEXPECTED' }),
    );
  });

  it('has a limit for every message of the protocol', () => {
    for (const type of Object.values(Frontend))
      if (type !== Frontend.Password) expect(running.maxLengthByType[type]).toBeGreaterThan(0);
    for (const type of Object.values(Backend))
      expect(upstreamRunning.maxLengthByType[type]).toBeGreaterThan(0);
  });
});

describe('skipRun', () => {
  it('finds what nextMessage finds, at every end of the buffer', () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(fc.option(fc.uint8Array({ maxLength: 6 })), { maxLength: 3 }), { maxLength: 6 }),
        fc.uint8Array({ maxLength: 12 }),
        (rows, tail) => {
          const out = new ByteWriter(64);
          for (const row of rows) encodeDataRow(out, row);
          out.raw(tail);
          const bytes = out.copy();
          for (let end = 0; end <= bytes.length; end++) {
            const expected = runByMessages(bytes, end);
            const cursor = new MessageCursor();
            expect(skipRun(bytes, 0, end, Backend.DataRow, upstreamRunning, cursor)).toBe(expected.count);
            expect(cursor.end).toBe(expected.at);
          }
        },
      ),
    );
  });

  it('leaves a bad length to nextMessage', () => {
    const bytes = Buffer.concat([header('D', 4), header('D', 3)]);
    const cursor = new MessageCursor();
    expect(skipRun(bytes, 0, bytes.length, Backend.DataRow, upstreamRunning, cursor)).toBe(1);
    expect(() => nextMessage(bytes, cursor.end, bytes.length, upstreamRunning, cursor)).toThrow(
      expect.objectContaining({ code: 'WIRE_LENGTH_OUT_OF_RANGE' }),
    );
  });
});

function runByMessages(bytes: Buffer, end: number): { count: number; at: number } {
  const cursor = new MessageCursor();
  let at = 0;
  let count = 0;
  try {
    while (nextMessage(bytes, at, end, upstreamRunning, cursor) && cursor.type === Backend.DataRow) {
      at = cursor.end;
      count++;
    }
  } catch {
    // a bad length behind the run
  }
  return { count, at };
}
