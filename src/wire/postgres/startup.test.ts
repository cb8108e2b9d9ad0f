import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ByteWriter } from '../../base/bytes.ts';
import { MessageCursor } from './framing.ts';
import {
  CANCEL_REQUEST_CODE,
  decodeCancelRequest,
  decodeStartupMessage,
  encodeCancelRequest,
  encodeEncryptionRequest,
  encodeStartupMessage,
  negotiateProtocol,
  nextStartupPacket,
  PROTOCOL_3_0,
  PROTOCOL_3_2,
  startupKind,
} from './startup.ts';

function framed(write: (out: ByteWriter) => void): { bytes: Buffer; cursor: MessageCursor } {
  const out = new ByteWriter(16);
  out.u8(0xee);
  write(out);
  out.u8(0xee);
  const bytes = out.copy();
  const cursor = new MessageCursor();
  for (let end = 1; end < bytes.length - 1; end++)
    expect(nextStartupPacket(bytes, 1, end, cursor)).toBe(false);
  expect(nextStartupPacket(bytes, 1, bytes.length, cursor)).toBe(true);
  expect(cursor.end).toBe(bytes.length - 1);
  return { bytes, cursor };
}

function packet(length: number, code: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt32BE(length, 0);
  bytes.writeUInt32BE(code, 4);
  return bytes;
}

const text = fc.string({ unit: 'binary', maxLength: 60 }).map((value) => value.replaceAll('\0', ''));

describe('start-up packets', () => {
  it('StartupMessage round trip', () => {
    const name = text.filter((value) => value !== '');
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 0xffff }), fc.array(fc.tuple(name, text)), (minor, entries) => {
        const message = { protocol: PROTOCOL_3_0 | minor, parameters: new Map(entries) };
        const { bytes, cursor } = framed((out) => encodeStartupMessage(out, message));
        expect(startupKind(cursor)).toBe('startup');
        expect(decodeStartupMessage(bytes, cursor.start, cursor.end)).toEqual(message);
      }),
    );
  });

  it('CancelRequest round trip, keys of 4 to 256 bytes', () => {
    for (const keyBytes of [4, 5, 32, 256]) {
      const message = { processId: 0xffff_fffe, key: Buffer.alloc(keyBytes, 7) };
      const { bytes, cursor } = framed((out) => encodeCancelRequest(out, message));
      expect(startupKind(cursor)).toBe('cancel');
      expect(decodeCancelRequest(bytes, cursor.start, cursor.end)).toEqual(message);
    }
    for (const keyBytes of [0, 3, 257]) {
      const { bytes, cursor } = framed((out) =>
        encodeCancelRequest(out, { processId: 1, key: Buffer.alloc(keyBytes) }),
      );
      expect(() => decodeCancelRequest(bytes, cursor.start, cursor.end)).toThrow(
        expect.objectContaining({ code: 'WIRE_MESSAGE_MALFORMED' }),
      );
    }
  });

  it('SSLRequest and GSSENCRequest', () => {
    for (const kind of ['ssl', 'gssenc'] as const)
      expect(startupKind(framed((out) => encodeEncryptionRequest(out, kind)).cursor)).toBe(kind);
  });

  it.each([80_877_103, 80_877_104])('request %i with something smuggled inside is refused', (code) => {
    const bytes = Buffer.concat([packet(12, code), Buffer.alloc(4)]);
    const cursor = new MessageCursor();
    expect(nextStartupPacket(bytes, 0, bytes.length, cursor)).toBe(true);
    expect(() => startupKind(cursor)).toThrow(/longer than 8 bytes/);
  });

  it.each([0, 4, 7, 10_005, 0x8000_0000, 0xffff_ffff])(
    'length %i is refused with its fourth byte',
    (length) => {
      const bytes = packet(length, PROTOCOL_3_0);
      const cursor = new MessageCursor();
      expect(nextStartupPacket(bytes, 0, 3, cursor)).toBe(false);
      expect(() => nextStartupPacket(bytes, 0, 4, cursor)).toThrow(
        expect.objectContaining({ kind: 'protocol', code: 'WIRE_LENGTH_OUT_OF_RANGE' }),
      );
    },
  );

  it('takes the longest packet that PostgreSQL takes', () => {
    const cursor = new MessageCursor();
    expect(nextStartupPacket(packet(10_004, PROTOCOL_3_0), 0, 8, cursor)).toBe(false);
    expect(cursor.end).toBe(10_004);
  });

  it.each([0x0002_0000, 0x0004_0000, 0, 0x1603_0100])('protocol %i is not ours', (code) => {
    const cursor = new MessageCursor();
    expect(nextStartupPacket(packet(8, code), 0, 8, cursor)).toBe(true);
    expect(() => startupKind(cursor)).toThrow(expect.objectContaining({ code: 'WIRE_PROTOCOL_UNSUPPORTED' }));
  });

  it.each([
    ['no final terminator', 'user\0me\0'],
    ['a name without a value', 'user\0'],
    ['an unterminated value', 'user\0me'],
    ['bytes behind the terminator', 'user\0me\0\0x'],
    ['empty', ''],
  ])('%s is malformed', (_, body) => {
    const bytes = Buffer.concat([packet(8 + body.length, PROTOCOL_3_0), Buffer.from(body)]);
    expect(() => decodeStartupMessage(bytes, 0, bytes.length)).toThrow(
      expect.objectContaining({ code: 'WIRE_MESSAGE_MALFORMED' }),
    );
  });

  it('two user names that differ in bytes that are no UTF-8 do not become one', () => {
    const bytes = Buffer.concat([packet(16, PROTOCOL_3_0), Buffer.from('user\0\xff\0\0', 'latin1')]);
    expect(() => decodeStartupMessage(bytes, 0, bytes.length)).toThrow(/not UTF-8/);
  });

  it('of a repeated parameter the last counts, as in the server', () => {
    const body = Buffer.from('user\0a\0database\0d\0user\0b\0\0');
    const bytes = Buffer.concat([packet(8 + body.length, PROTOCOL_3_0), body]);
    expect([...decodeStartupMessage(bytes, 0, bytes.length).parameters]).toEqual([
      ['database', 'd'],
      ['user', 'b'],
    ]);
  });

  it('the code of a CancelRequest is not taken for a version', () => {
    expect(CANCEL_REQUEST_CODE >>> 16).toBe(1234);
  });
});

describe('negotiation', () => {
  const ask = (minor: number, ...names: string[]) =>
    negotiateProtocol({
      protocol: PROTOCOL_3_0 | minor,
      parameters: new Map([['user', 'u'], ...names.map((name): [string, string] => [name, 'x'])]),
    });

  it('says nothing when the client gets what it asks for', () => {
    expect(ask(0)).toEqual({ minor: 0, answer: null });
    expect(ask(2)).toEqual({ minor: 2, answer: null });
  });

  it('turns a newer minor version down to 3.2', () => {
    expect(ask(9999)).toEqual({ minor: 2, answer: { protocol: PROTOCOL_3_2, unrecognized: [] } });
  });

  it('names the protocol options that it does not know', () => {
    expect(ask(0, '_pq_.a', 'a_pq_.', '_pq_.b')).toEqual({
      minor: 0,
      answer: { protocol: PROTOCOL_3_0, unrecognized: ['_pq_.a', '_pq_.b'] },
    });
  });
});
