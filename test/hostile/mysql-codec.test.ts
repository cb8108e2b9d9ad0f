/**
 * HOSTILE.md, the lines of MySQL that a codec alone can answer: 39, 41–44, 49–51, 55–57. Each is refused by an AppError of
 * kind `protocol`, as soon as the bytes that betray it are there, in bounded memory. What the proxy makes of it is tested
 * with the proxy.
 */
import { randomInt } from 'node:crypto';
import { deflateSync, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { ByteWriter } from '../../src/base/bytes.ts';
import { limits } from '../../src/base/limits.ts';
import * as commands from '../../src/wire/mysql/commands.ts';
import {
  COMPRESSED_HEADER_BYTES,
  type CompressionAlgorithm,
  expandFrame,
  FrameCursor,
  nextFrame,
} from '../../src/wire/mysql/compression.ts';
import {
  checkContinuation,
  checkSequence,
  joinPayload,
  nextPacket,
  PacketCursor,
  passPacket,
  skipRows,
} from '../../src/wire/mysql/framing.ts';
import {
  decodeHandshakeResponse,
  decodeHandshakeV10,
  encodeHandshakeResponse,
  encodeSslRequest,
  type HandshakeResponse,
  isSslRequest,
} from '../../src/wire/mysql/handshake.ts';
import {
  BulkExecuteView,
  decodeBulkExecute,
  decodeExecute,
  decodeQuery,
  ExecuteView,
  QueryView,
} from '../../src/wire/mysql/parameters.ts';
import {
  Capability,
  clientAuthenticating,
  clientInfile,
  clientRunning,
  Command,
  MAX_PACKET_BYTES,
  upstreamRunning,
} from '../../src/wire/mysql/protocol.ts';
import { parseProxyHeader } from '../../src/wire/mysql/proxy-protocol.ts';
import { terminatorKind } from '../../src/wire/mysql/responses.ts';
import { decodeLocalInfile, decodeTextRow } from '../../src/wire/mysql/resultset.ts';
import { decodeParameters, decodeRows } from '../../src/wire/mysql/values/decode.ts';
import { writePayload } from '../../src/wire/mysql/writer.ts';
import { Fuzzer } from '../integration/wire-mysql/fuzz.ts';

const running = clientRunning();
const plain = { flags: Capability.PROTOCOL_41, mariadb: 0 };
const withAttributes = { flags: Capability.QUERY_ATTRIBUTES, mariadb: 0 };
const refusal = (code: string): Error =>
  expect.objectContaining({ name: 'AppError', kind: 'protocol', code }) as Error;
const outOfRange = refusal('WIRE_LENGTH_OUT_OF_RANGE');
const malformed = refusal('WIRE_MESSAGE_MALFORMED');

function header(length: number, sequence = 0, ...payload: number[]): Buffer {
  const bytes = Buffer.from([0, 0, 0, sequence, ...payload]);
  bytes.writeUIntLE(length, 0, 3);
  return bytes;
}

const RESPONSE: HandshakeResponse = {
  capabilities: {
    flags:
      Capability.PROTOCOL_41 |
      Capability.LONG_PASSWORD |
      Capability.SECURE_CONNECTION |
      Capability.CONNECT_WITH_DB |
      Capability.PLUGIN_AUTH |
      Capability.CONNECT_ATTRS |
      Capability.PLUGIN_AUTH_LENENC_CLIENT_DATA,
    mariadb: 0,
  },
  maxPacketBytes: 2 ** 24,
  collation: 45,
  user: 'a\'b"c?d=e',
  authResponse: Buffer.alloc(300, 7),
  database: 'db`; drop',
  authPlugin: 'caching_sha2_password',
  attributes: new Map([['_os', 'linux']]),
  zstdLevel: 0,
};

function encoded(write: (out: ByteWriter) => void): Buffer {
  const out = new ByteWriter(64);
  write(out);
  return out.copy();
}

describe('before login', () => {
  it('39: an SSLRequest ends after its 36 bytes; what follows in clear is seen as more than it', () => {
    const request = encoded((out) =>
      encodeSslRequest(out, {
        capabilities: { flags: Capability.PROTOCOL_41 | Capability.SSL, mariadb: 0 },
        maxPacketBytes: 0,
        collation: 45,
      }),
    );
    const bytes = Buffer.concat([request, encoded((out) => encodeHandshakeResponse(out, RESPONSE, 2))]);
    const cursor = new PacketCursor();
    expect(nextPacket(bytes, 0, bytes.length, clientAuthenticating, cursor)).toBe(true);
    expect([isSslRequest(bytes, cursor.payload, cursor.end), cursor.end]).toEqual([true, 36]);
    expect(bytes.length).toBeGreaterThan(cursor.end);
    // A whole response with the flag is none: it does not end where the user's name begins.
    expect(isSslRequest(bytes, 40, bytes.length)).toBe(false);
  });

  it('41: a handshake cut anywhere within what it announces', () => {
    const bytes = encoded((out) => encodeHandshakeResponse(out, RESPONSE)).subarray(4);
    expect(decodeHandshakeResponse(bytes, 0, bytes.length)).toEqual(RESPONSE);
    const nameEnd = 32 + RESPONSE.user.length + 1;
    const authEnd = nameEnd + 3 + 300;
    for (let end = 0; end < authEnd; end++)
      expect(() => decodeHandshakeResponse(bytes, 0, end), String(end)).toThrow(malformed);
    // Behind that, fields that are missing as a whole are empty, as servers read it; half of the attributes is nothing.
    expect(decodeHandshakeResponse(bytes, 0, authEnd)).toMatchObject({ database: '', authPlugin: '' });
    for (let end = bytes.length - 9; end < bytes.length; end++)
      expect(() => decodeHandshakeResponse(bytes, 0, end)).toThrow(malformed);
  });

  it('41: a wrong sequence id', () => {
    const cursor = new PacketCursor();
    const bytes = header(1, 5, Command.PING);
    nextPacket(bytes, 0, bytes.length, running, cursor);
    expect(() => checkSequence(cursor, 0, 'client')).toThrow(refusal('WIRE_SEQUENCE_OUT_OF_ORDER'));
    expect(() => checkSequence(cursor, 5 + 256, 'client')).not.toThrow();
  });

  it('a response of more than attributes may have is refused at its header; 16 MiB too', () => {
    for (const length of [limits.maxAuthMessageBytes + 5000, MAX_PACKET_BYTES])
      expect(() => nextPacket(header(length, 1), 0, 4, clientAuthenticating, new PacketCursor())).toThrow(
        outOfRange,
      );
  });

  it('the protocol from before 4.1, from either side', () => {
    const old = Buffer.from('8524000000726f6f7400', 'hex').fill(0, 0, 2);
    expect(() => decodeHandshakeResponse(old, 0, old.length)).toThrow(refusal('WIRE_PROTOCOL_UNSUPPORTED'));
    const greeting = Buffer.from('\x093.23.58\0aaaaaaaaaaaaa', 'latin1');
    expect(() => decodeHandshakeV10(greeting, 0, greeting.length)).toThrow(
      refusal('WIRE_PROTOCOL_UNSUPPORTED'),
    );
  });

  it('attributes that lie about their length, or are too many', () => {
    const bytes = encoded((out) => encodeHandshakeResponse(out, RESPONSE)).subarray(4);
    const at = bytes.lastIndexOf('_os') - 2;
    for (const length of [0xfb, 0xff, 200, 9]) {
      const bad = Buffer.from(bytes);
      bad[at] = length;
      expect(() => decodeHandshakeResponse(bad, 0, bad.length)).toThrow(malformed);
    }
    const many = new Map(Array.from({ length: 600 }, (_, i) => [String(i), '']));
    const huge = encoded((out) => encodeHandshakeResponse(out, { ...RESPONSE, attributes: many })).subarray(
      4,
    );
    expect(() => decodeHandshakeResponse(huge, 0, huge.length)).toThrow(malformed);
  });

  it('56: PROXY headers: UNKNOWN keeps the peer’s address, whatever follows; lies are refused', () => {
    const unknown = Buffer.from('PROXY UNKNOWN 1.2.3.4 anything at all\r\nrest');
    expect(parseProxyHeader(unknown)).toEqual({ bytes: unknown.length - 4, source: null, destination: null });
    for (const line of [
      'PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n',
      'PROXY TCP4 1.2.3.4 ::1 1 2\r\n',
      'PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n',
      'PROXY TCP4 1.2.3.04 5.6.7.8 1 2\r\n',
      'PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n',
      'PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n',
      'PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n',
      'PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n',
      `PROXY TCP4 ${'1'.repeat(120)}`,
      'GET / HTTP/1.1\r\n',
      'PROXX',
    ])
      expect(() => parseProxyHeader(Buffer.from(line)), line).toThrow(refusal('WIRE_PROXY_HEADER_MALFORMED'));
    const v2 = Buffer.from('0d0a0d0a000d0a515549540a2111ffff', 'hex');
    expect(() => parseProxyHeader(v2)).toThrow(refusal('WIRE_PROXY_HEADER_MALFORMED'));
  });
});

describe('packets', () => {
  it('42: payloads of 16 MiB − 1 and more, with their continuation, even an empty one', () => {
    for (const length of [
      MAX_PACKET_BYTES - 1,
      MAX_PACKET_BYTES,
      MAX_PACKET_BYTES + 1,
      2 * MAX_PACKET_BYTES,
    ]) {
      const payload = Buffer.alloc(length, 'x');
      payload[0] = Command.QUERY;
      const out = new ByteWriter(length + 100);
      const next = writePayload(out, payload, 0);
      const bytes = out.view();
      const cursor = new PacketCursor();
      let packets = 0;
      for (let at = 0; at < bytes.length; at = cursor.end) {
        expect(nextPacket(bytes, at, bytes.length, running, cursor)).toBe(true);
        checkSequence(cursor, packets++, 'client');
        passPacket(cursor);
      }
      expect([packets, cursor.last, cursor.before]).toEqual([
        Math.floor(length / MAX_PACKET_BYTES) + 1,
        true,
        0,
      ]);
      expect(next).toBe(packets);
      expect(joinPayload(bytes, 0, bytes.length).equals(payload)).toBe(true);
    }
  });

  it('42: a statement over its limit is refused at the header of the packet that goes too far', () => {
    const cursor = new PacketCursor();
    cursor.before = 4 * MAX_PACKET_BYTES;
    const bytes = header(MAX_PACKET_BYTES, 4);
    nextPacket(bytes, 0, 4, running, cursor);
    expect(() => checkContinuation(cursor, Command.QUERY, running)).toThrow(outOfRange);
    expect(() => checkContinuation(cursor, Command.STMT_SEND_LONG_DATA, running)).not.toThrow();
    cursor.before = 2 ** 30 - 1;
    expect(() => nextPacket(bytes, 0, 4, running, cursor)).toThrow(outOfRange);
    expect(() => nextPacket(bytes, 0, 4, upstreamRunning, cursor)).toThrow(outOfRange);
  });

  it('a command nobody knows, and one that is empty, with the first byte that shows it', () => {
    const cursor = new PacketCursor();
    expect(() => nextPacket(header(100, 0, 0x99), 0, 5, running, cursor)).toThrow(
      refusal('WIRE_MESSAGE_UNEXPECTED'),
    );
    expect(() => nextPacket(header(0), 0, 4, running, cursor)).toThrow(malformed);
    expect(() => nextPacket(header(70_000, 0, Command.PING), 0, 5, running, cursor)).toThrow(outOfRange);
    // In a file that is loaded, the same bytes are data.
    expect(nextPacket(header(1, 2, 0x99), 0, 5, clientInfile, cursor)).toBe(true);
    expect(nextPacket(header(0, 3), 0, 4, clientInfile, cursor)).toBe(true);
  });

  it('51: rows that begin with 0x00, 0xfb, 0xfe and 0xff', () => {
    expect(terminatorKind(0x00, 9, true)).toBe('none');
    expect(terminatorKind(0xfb, 1, true)).toBe('none');
    expect([5, 8, 9].map((length) => terminatorKind(0xfe, length, false))).toEqual(['eof', 'eof', 'none']);
    expect([5, 9, MAX_PACKET_BYTES - 1, MAX_PACKET_BYTES].map((n) => terminatorKind(0xfe, n, true))).toEqual([
      'ok',
      'ok',
      'ok',
      'none',
    ]);
    expect(terminatorKind(0xff, 9, true)).toBe('err');
    const rows = Buffer.concat([
      header(2, 1, 0xfb, 0xfb),
      header(2, 2, 0x00, 0xfb),
      header(5, 3, 0xfe, 0, 0, 2, 0),
    ]);
    const cursor = new PacketCursor();
    expect([skipRows(rows, 0, rows.length, 1, cursor), cursor.end, cursor.sequence]).toEqual([2, 12, 2]);
    expect(decodeTextRow(rows, 4, 6, 2)).toEqual([null, null]);
    expect(decodeTextRow(rows, 10, 12, 2)).toEqual([Buffer.alloc(0), null]);
    for (const row of ['ff', 'fe0000000000000080', 'fd000001', '0561', 'fc'])
      expect(() => decodeTextRow(Buffer.from(row, 'hex'), 0, row.length / 2, 1)).toThrow(malformed);
    expect(() => decodeTextRow(Buffer.from('01', 'hex'), 0, 1, 65_535)).toThrow(malformed);
  });

  it('a million rows are passed over without allocating', () => {
    const row = (id: number): Buffer => header(2, id, 1, 0x78);
    const bytes = Buffer.concat(Array.from({ length: 256 * 400 }, (_, i) => row(i & 0xff)));
    const cursor = new PacketCursor();
    const pass = (): number => {
      let count = 0;
      for (let i = 0; i < 10; i++) count += skipRows(bytes, 0, bytes.length, 0, cursor);
      return count;
    };
    expect(pass()).toBe(1_024_000);
    const before = process.memoryUsage().heapUsed;
    expect(pass()).toBe(1_024_000);
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(8_000_000);
  });

  const compressors: [CompressionAlgorithm, (bytes: Buffer) => Buffer][] = [
    ['zlib', (bytes) => deflateSync(bytes)],
    ['zstd', (bytes) => zstdCompressSync(bytes)],
  ];
  it.each(compressors)('55: bombs of %s stop at what they announced', (algorithm, compress) => {
    const frame = (contents: Buffer, announced: number): { bytes: Buffer; cursor: FrameCursor } => {
      const bytes = Buffer.concat([Buffer.alloc(COMPRESSED_HEADER_BYTES), contents]);
      bytes.writeUIntLE(contents.length, 0, 3);
      bytes.writeUIntLE(announced, 4, 3);
      const cursor = new FrameCursor();
      expect(nextFrame(bytes, 0, bytes.length, cursor)).toBe(true);
      return { bytes, cursor };
    };
    const bomb = compress(Buffer.alloc(256 * 1024 * 1024));
    const before = process.memoryUsage().arrayBuffers;
    for (const announced of [1, 100, 0xff_ffff]) {
      const { bytes, cursor } = frame(bomb, announced);
      expect(() => expandFrame(bytes, cursor, algorithm)).toThrow(malformed);
    }
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(200 * 1024 * 1024);
    const short = compress(Buffer.from('not as long as it says'));
    const { bytes, cursor } = frame(short, 1000);
    expect(() => expandFrame(bytes, cursor, algorithm)).toThrow(malformed);
    for (const junk of [Buffer.from('junk'), Buffer.alloc(0), short.subarray(0, -3)]) {
      const other = frame(junk, 22);
      expect(() => expandFrame(other.bytes, other.cursor, algorithm)).toThrow(malformed);
    }
    const whole = frame(short, 22);
    expect(expandFrame(whole.bytes, whole.cursor, algorithm).toString()).toBe('not as long as it says');
  });

  it('55: a zstd frame that asks for a window of 128 MiB, for 8 bytes, is not given one', () => {
    // Magic number, no content size, window descriptor 2^(10 + n), one raw block that is the last: RFC 8878.
    const frame = (windowLog: number): { bytes: Buffer; cursor: FrameCursor } => {
      const zstd = [
        0x28,
        0xb5,
        0x2f,
        0xfd,
        0,
        (windowLog - 10) << 3,
        (8 << 3) | 1,
        0,
        0,
        ...Buffer.from('contents'),
      ];
      const cursor = new FrameCursor();
      const bytes = Buffer.from([zstd.length, 0, 0, 0, 8, 0, 0, ...zstd]);
      nextFrame(bytes, 0, bytes.length, cursor);
      return { bytes, cursor };
    };
    const narrow = frame(24);
    expect(expandFrame(narrow.bytes, narrow.cursor, 'zstd').toString()).toBe('contents');
    const wide = frame(27);
    expect(zstdDecompressSync(wide.bytes.subarray(COMPRESSED_HEADER_BYTES)).toString()).toBe('contents');
    expect(() => expandFrame(wide.bytes, wide.cursor, 'zstd')).toThrow(malformed);
  });
});

describe('commands', () => {
  const bytesOf = (...parts: (string | number[])[]): Buffer =>
    Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : Buffer.from(part))));

  it('43, 44, 49: commands of fixed lengths are refused in any other', () => {
    const zeros = Buffer.alloc(64);
    for (let length = 0; length < 64; length++) {
      if (length !== 3) expect(() => commands.decodeSetOption(zeros, 0, length)).toThrow(malformed);
      if (length !== 5) expect(() => commands.decodeId(zeros, 0, length)).toThrow(malformed);
      if (length !== 9)
        expect(() => commands.decodeFetch(zeros, 0, length, new commands.FetchView())).toThrow(malformed);
      if (length < 7)
        expect(() => commands.decodeLongData(zeros, 0, length, new commands.LongDataView())).toThrow(
          malformed,
        );
    }
    const change = bytesOf([Command.CHANGE_USER], 'user\0', [200], 'short');
    const capabilities = { flags: Capability.SECURE_CONNECTION, mariadb: 0 };
    expect(() => commands.decodeChangeUser(change, 0, change.length, capabilities)).toThrow(malformed);
  });

  it.each([
    ['no null bitmap', bytesOf([0x17, 1, 0, 0, 0, 0, 1, 0, 0, 0]), 1],
    ['no types, none known', bytesOf([0x17, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]), 1],
    ['types that are not there', bytesOf([0x17, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 8]), 1],
    ['a value that is not there', bytesOf([0x17, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 8, 0, 1]), 1],
    ['a string longer than the packet', bytesOf([0x17, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0xfd, 0, 9, 65]), 1],
    [
      'a string of 2^63',
      bytesOf([0x17, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0xfd, 0, 0xfe, ...Array<number>(8).fill(127)]),
      1,
    ],
    ['65,535 parameters', bytesOf([0x17, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]), 65_535],
    ['nothing', Buffer.alloc(0), 0],
  ])('49: an execution with %s', (_, body, count) => {
    // With a whole valid packet behind it, which must not be read.
    const stream = Buffer.concat([body, Buffer.alloc(300_000)]);
    expect(() => decodeExecute(stream, 0, body.length, plain, count, null, null, new ExecuteView())).toThrow(
      malformed,
    );
  });

  it('49: bulk executions that are cut, have no parameters, or indicators nobody knows', () => {
    const view = new BulkExecuteView();
    const head = [0xfa, 1, 0, 0, 0, 128, 0];
    for (const [body, count] of [
      [bytesOf(head), 1],
      [bytesOf(head, [8, 0, 0, 1, 2]), 1],
      [bytesOf(head, [8, 0, 4]), 1],
      [bytesOf(head, [8, 0, 1]), 0],
      [bytesOf([0xfa, 1, 0, 0, 0, 0, 0, 1]), 1],
    ] as const)
      expect(() => decodeBulkExecute(body, 0, body.length, count, null, view)).toThrow(malformed);
    const nulls = bytesOf(head, [8, 0], Array<number>(100_000).fill(1));
    decodeBulkExecute(nulls, 0, nulls.length, 1, null, view);
    expect(view.rowCount).toBe(100_000);
  });

  it.each([
    ['2^64 − 1', [3, 0xfe, ...Array<number>(8).fill(0xff), 1]],
    ['more than its bytes', [3, 0xfc, 0xff, 0xff, 1, 0]],
    ['two sets', [3, 1, 2, 0, 1, 3, 0, 0, 1, 0, 0, 0]],
    ['no set', [3, 0, 0]],
    ['without types', [3, 1, 1, 0, 0]],
    ['a name longer than the packet', [3, 1, 1, 0, 1, 3, 0, 200]],
    ['cut', [3, 1]],
    ['nothing', [3]],
  ])('57: query attributes: %s', (_, body) => {
    const bytes = Buffer.from([...body, ...Array<number>(64).fill(0)]);
    expect(() => decodeQuery(bytes, 0, body.length, withAttributes, new QueryView())).toThrow(malformed);
  });

  it('57: what looks like attributes is text where they were not agreed on, and the other way round', () => {
    const bytes = Buffer.from([3, 0, 1, ...Buffer.from('select 1')]);
    const view = new QueryView();
    decodeQuery(bytes, 0, bytes.length, withAttributes, view);
    expect(bytes.toString('latin1', view.textStart)).toBe('select 1');
    decodeQuery(bytes, 0, bytes.length, plain, view);
    expect(bytes.toString('latin1', view.textStart)).toBe('\0\x01select 1');
  });

  it('50: a request for a file names it whole', () => {
    const request = Buffer.from('\xfb/etc/passwd\0x', 'latin1');
    expect(decodeLocalInfile(request, 0, request.length)).toBe('/etc/passwd\0x');
    expect(() => decodeLocalInfile(request, 1, request.length)).toThrow(malformed);
  });

  it('captures of lies are shown as far as they are true', () => {
    expect(decodeParameters(Buffer.alloc(0), [8])).toEqual({ parameters: [], count: 1, truncated: true });
    expect(decodeParameters(Buffer.from([0, 9, 65]), [0xfd])).toMatchObject({
      parameters: [],
      truncated: true,
    });
    expect(decodeRows(Buffer.from([0, 255, 255, 255, 0]), Buffer.alloc(0))).toMatchObject({
      truncated: true,
    });
    expect(decodeRows(Buffer.alloc(0), Buffer.from([1, 0, 0, 0, 0]))).toEqual({
      columns: [],
      rows: [],
      truncated: true,
    });
  });
});

describe('fuzzing', () => {
  it('a few seconds of what `test/simulation/fuzz-mysql.ts` does for ten minutes', () => {
    const first = randomInt(2 ** 31);
    const fuzzer = new Fuzzer();
    for (let seed = first; seed < first + 6000; seed++)
      try {
        fuzzer.round(seed);
      } catch (cause) {
        throw new Error(`repeat with: node test/simulation/fuzz-mysql.ts --seconds 1 --seed ${seed}`, {
          cause,
        });
      }
    expect(fuzzer.counts.messages).toBeGreaterThan(10_000);
    expect(fuzzer.counts.refusals).toBeGreaterThan(1000);
  });
});
