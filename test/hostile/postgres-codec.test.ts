/**
 * HOSTILE.md, the lines that a codec alone can answer: 5, 8, 10–13, 35, 37, 38, 38c. Each is refused by an AppError of
 * kind `protocol`, as soon as the bytes that betray it are there, in bounded memory. What the proxy makes of it is tested
 * with the proxy.
 */
import { randomInt } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { ByteWriter } from '../../src/base/bytes.ts';
import { limits } from '../../src/base/limits.ts';
import { decodeErrorFields, encodeErrorResponse } from '../../src/wire/postgres/backend.ts';
import { MessageCursor, nextMessage, skipRun } from '../../src/wire/postgres/framing.ts';
import {
  BindView,
  decodeBind,
  decodeParse,
  decodeQuery,
  encodeBind,
  encodeQuery,
  encodeSync,
  ParseView,
} from '../../src/wire/postgres/frontend.ts';
import {
  Backend,
  clientAuthenticating,
  clientRunning,
  Frontend,
  upstreamRunning,
} from '../../src/wire/postgres/messages.ts';
import {
  makeVerifier,
  SCRAM_SHA_256,
  SCRAM_SHA_256_PLUS,
  ScramClient,
  ScramServer,
} from '../../src/wire/postgres/scram.ts';
import {
  decodeCancelRequest,
  decodeStartupMessage,
  encodeStartupMessage,
  nextStartupPacket,
  PROTOCOL_3_0,
  startupKind,
} from '../../src/wire/postgres/startup.ts';
import { decodeParameters } from '../../src/wire/postgres/values/decode.ts';
import { Fuzzer } from '../integration/wire-postgres/fuzz.ts';
import { decodeValue } from '../../src/wire/postgres/values/value.ts';

const running = clientRunning();
const refusal = (code: string): Error =>
  expect.objectContaining({ name: 'AppError', kind: 'protocol', code }) as Error;
const outOfRange = refusal('WIRE_LENGTH_OUT_OF_RANGE');
const malformed = refusal('WIRE_MESSAGE_MALFORMED');

function startupHeader(length: number, code = PROTOCOL_3_0): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt32BE(length, 0);
  bytes.writeUInt32BE(code, 4);
  return bytes;
}

function header(type: number, length: number): Buffer {
  const bytes = Buffer.alloc(5);
  bytes[0] = type;
  bytes.writeUInt32BE(length, 1);
  return bytes;
}

function startupMessage(body: string): Buffer {
  return Buffer.concat([startupHeader(8 + Buffer.byteLength(body, 'latin1')), Buffer.from(body, 'latin1')]);
}

describe('before login', () => {
  it('1, 3: a request for encryption ends after its 8 bytes; what follows is not its body', () => {
    const bytes = Buffer.concat([startupHeader(8, 80_877_103), startupHeader(8, 80_877_104)]);
    const cursor = new MessageCursor();
    expect(nextStartupPacket(bytes, 0, bytes.length, cursor)).toBe(true);
    expect([startupKind(cursor), cursor.end]).toEqual(['ssl', 8]);
    expect(nextStartupPacket(bytes, 8, bytes.length, cursor)).toBe(true);
    expect(startupKind(cursor)).toBe('gssenc');
  });

  it.each([0, 4, 10_005, 2 ** 31, 2 ** 32 - 1])('5: start-up length %i, with the fourth byte', (length) => {
    expect(() => nextStartupPacket(startupHeader(length), 0, 4, new MessageCursor())).toThrow(outOfRange);
  });

  it('6, 7: nothing but a proof may come before authentication ends', () => {
    for (const type of [Frontend.Query, Frontend.Parse, Frontend.Terminate, Frontend.CopyData, 0])
      expect(() => nextMessage(Buffer.from([type]), 0, 1, clientAuthenticating, new MessageCursor())).toThrow(
        refusal('WIRE_MESSAGE_UNEXPECTED'),
      );
    // A second StartupMessage begins with the high byte of its length, which is no type.
    expect(() =>
      nextMessage(startupMessage('user\0x\0\0'), 0, 8, clientAuthenticating, new MessageCursor()),
    ).toThrow(refusal('WIRE_MESSAGE_UNEXPECTED'));
    // And after authentication there is no proof any more.
    expect(() => nextMessage(Buffer.from('p'), 0, 1, running, new MessageCursor())).toThrow(
      refusal('WIRE_MESSAGE_UNEXPECTED'),
    );
  });

  it('8, 9, 10: parameters arrive as they were sent: nothing is unescaped, joined or lost', () => {
    const parameters = new Map([
      ['user', 'a\'b"c?d=e&f@g/h:i\\j%00'],
      ['database', 'postgres://x:y@z/w?sslmode=disable host=evil'],
      ['options', '-c default_transaction_read_only=off -c search_path=a\\ b'],
      ['replication', 'database'],
    ]);
    const out = new ByteWriter(64);
    encodeStartupMessage(out, { protocol: PROTOCOL_3_0, parameters });
    expect(decodeStartupMessage(out.copy(), 0, out.length).parameters).toEqual(parameters);
  });

  it('10: a NUL cannot get into a name, neither way; a missing database is missing', () => {
    const bytes = startupMessage('user\0a\0b\0\0');
    // The NUL ends the name: "b" is the next one, and has an empty value that ends nothing.
    expect(() => decodeStartupMessage(bytes, 0, bytes.length)).toThrow(malformed);
    const parameters = new Map([['user', 'a\0database\0b']]);
    expect(() => encodeStartupMessage(new ByteWriter(64), { protocol: PROTOCOL_3_0, parameters })).toThrow(
      expect.objectContaining({ kind: 'invalid', code: 'WIRE_NUL_IN_STRING' }) as Error,
    );
    const lone = startupMessage('user\0a\0\0');
    expect(decodeStartupMessage(lone, 0, lone.length).parameters.get('database')).toBeUndefined();
  });

  it('11: a CancelRequest has a key of 4 to 256 bytes', () => {
    const request = (keyBytes: number): Buffer =>
      Buffer.concat([startupHeader(12 + keyBytes, 80_877_102), Buffer.alloc(4 + keyBytes, 1)]);
    for (const keyBytes of [4, 32, 256])
      expect(decodeCancelRequest(request(keyBytes), 0, 12 + keyBytes).key).toHaveLength(keyBytes);
    for (const keyBytes of [0, 3, 257, 9000])
      expect(() => decodeCancelRequest(request(keyBytes), 0, 12 + keyBytes)).toThrow(malformed);
    expect(() => decodeCancelRequest(startupHeader(8, 80_877_102), 0, 8)).toThrow(malformed);
  });
});

describe('SCRAM', () => {
  const salt = Buffer.alloc(16, 1);
  const verifiers = [makeVerifier('pencil', salt, 4096)];
  const start = (mechanism: typeof SCRAM_SHA_256 | typeof SCRAM_SHA_256_PLUS = SCRAM_SHA_256) =>
    new ScramServer({ mechanism, serverEndPoint: Buffer.alloc(32), salt, iterations: 4096, verifiers });

  it('12: a proof is no more than 64 KiB, and is not waited for', () => {
    const tooLong = header(Frontend.Password, limits.maxAuthMessageBytes + 1);
    expect(() => nextMessage(tooLong, 0, 5, clientAuthenticating, new MessageCursor())).toThrow(outOfRange);
  });

  it.each([
    ['a huge nonce', `n,,n=,r=${'x'.repeat(60_000)}`],
    ['a huge name', `n,,n=${'x'.repeat(60_000)},r=x`],
    ['60,000 commas', `n,,${','.repeat(60_000)}`],
    ['no attributes', 'n,,'],
    ['no nonce', 'n,,n=x'],
    ['a flag that does not exist', 'z,,n=,r=x'],
    ['binding without -PLUS', 'p=tls-server-end-point,,n=,r=x'],
  ])('12: %s', (_, message) => {
    expect(() => start().challenge(Buffer.from(message))).toThrow(refusal('SCRAM_MALFORMED'));
  });

  it('12: stripped channel binding', () => {
    expect(() => start().challenge(Buffer.from('y,,n=,r=x'))).toThrow(
      expect.objectContaining({ kind: 'denied', code: 'SCRAM_BINDING_STRIPPED' }) as Error,
    );
    expect(() => start(SCRAM_SHA_256_PLUS).challenge(Buffer.from('n,,n=,r=x'))).toThrow(
      refusal('SCRAM_MALFORMED'),
    );
  });

  it.each([
    ['2^31 iterations', (nonce: string) => `r=${nonce}x,s=AAAA,i=2147483648`],
    ['a nonce of 3,000', (nonce: string) => `r=${nonce}${'x'.repeat(3000)},s=AAAA,i=4096`],
    ['a nonce of its own', () => 'r=x,s=AAAA,i=4096'],
  ])('13: an upstream with %s', async (_, message) => {
    const client = new ScramClient({ mechanism: SCRAM_SHA_256, serverEndPoint: null, nonce: 'abc' });
    client.first();
    await expect(
      client.proof(Buffer.from(message('abc')), 'x', () => Promise.reject(new Error('derived'))),
    ).rejects.toThrow(refusal('SCRAM_MALFORMED'));
  });

  it('13: an ErrorResponse without a SQLSTATE', () => {
    const out = new ByteWriter(64);
    encodeErrorResponse(out, new Map([['M', 'sorry']]));
    const fields = decodeErrorFields(out.copy(), 5, out.length);
    expect([fields.get('C'), fields.get('M')]).toEqual([undefined, 'sorry']);
    expect(() => decodeErrorFields(Buffer.from('Msorry'), 0, 6)).toThrow(malformed);
  });
});

describe('statements', () => {
  const bind = (...parts: (string | number[])[]): Buffer =>
    Buffer.concat([Buffer.from('\0s\0'), ...parts.map((part) => Buffer.from(part as string))]);
  const view = new BindView();

  it.each([
    [
      'two formats for three parameters',
      bind([0, 2, 0, 0, 0, 0], [0, 3, ...Array<number>(12).fill(255)], [0, 0]),
    ],
    ['two formats for none', bind([0, 2, 0, 0, 0, 0], [0, 0], [0, 0])],
  ])('35: %s', (_, body) => {
    expect(() => decodeBind(body, 0, body.length, view)).toThrow(refusal('WIRE_BIND_COUNT_MISMATCH'));
  });

  it.each([
    ['length −2', bind([0, 0], [0, 1, 255, 255, 255, 254], [0, 0])],
    ['length 2^31−1', bind([0, 0], [0, 1, 127, 255, 255, 255], [0, 0])],
    ['a value beyond the message', bind([0, 0], [0, 1, 0, 0, 0, 9, 1], [0, 0])],
    ['65,535 parameters that are not there', bind([0, 0], [255, 255], [0, 0])],
    ['65,535 formats that are not there', bind([255, 255], [0, 0], [0, 0])],
    ['result formats that are not there', bind([0, 0], [0, 0], [0, 7])],
    ['bytes left over', bind([0, 0], [0, 0], [0, 0], [1])],
    ['no result formats', bind([0, 0], [0, 0])],
    ['nothing', Buffer.alloc(0)],
  ])('35: %s', (_, body) => {
    // With a whole valid message behind it, which must not be read.
    const stream = Buffer.concat([body, Buffer.alloc(300_000)]);
    expect(() => decodeBind(stream, 0, body.length, view)).toThrow(malformed);
  });

  it('35: a refused Bind does not change the view', () => {
    const out = new ByteWriter(64);
    encodeBind(out, { portal: 'p', statement: 's', formats: [], parameters: [null], resultFormats: [] });
    decodeBind(out.copy(), 5, out.length, view);
    const before = JSON.stringify(view);
    const bad = bind([0, 0], [0, 1, 255, 255, 255, 254], [0, 0]);
    expect(() => decodeBind(bad, 0, bad.length, view)).toThrow(malformed);
    expect(JSON.stringify(view)).toBe(before);
  });

  it('37: 10,000 messages in one buffer are found without recursion', () => {
    const out = new ByteWriter(1024);
    for (let i = 0; i < 10_000; i++) encodeSync(out);
    const bytes = out.copy();
    const cursor = new MessageCursor();
    let count = 0;
    for (let at = 0; nextMessage(bytes, at, bytes.length, running, cursor); at = cursor.end) count++;
    expect(count).toBe(10_000);
  });

  it('38: invalid UTF-8 and other encodings: the bytes are kept, and marked where they are shown', () => {
    const latin = Buffer.from('select \xe9', 'latin1');
    const out = new ByteWriter(64);
    encodeQuery(out, latin);
    const message = out.copy();
    expect(message.subarray(5, decodeQuery(message, 5, message.length))).toEqual(latin);
    expect(decodeValue(Buffer.from('\xe9', 'latin1'), 25, 0)).toEqual({ hex: '\\xe9', problem: 'not UTF-8' });
    const names = ['\xe9', '\xe8'].map((name) => {
      const parse = new ParseView();
      const body = Buffer.from(`${name}\0select 1\0\0\0`, 'latin1');
      decodeParse(body, 0, body.length, parse);
      return parse.name;
    });
    expect(names).toEqual(['\xe9', '\xe8']);
  });

  it('38c: a statement of 1 GB is refused at its header; a row of 1 GB is not', () => {
    const cursor = new MessageCursor();
    for (const type of [Frontend.Query, Frontend.Parse])
      expect(() => nextMessage(header(type, 2 ** 30), 0, 5, running, cursor)).toThrow(outOfRange);
    expect(nextMessage(header(Backend.DataRow, 2 ** 30), 0, 5, upstreamRunning, cursor)).toBe(false);
    expect(cursor.end).toBe(2 ** 30 + 1);
    expect(() => nextMessage(header(Backend.DataRow, 2 ** 31), 0, 5, upstreamRunning, cursor)).toThrow(
      outOfRange,
    );
  });

  it('38c: a million rows are passed over without allocating', () => {
    const row = Buffer.from([Backend.DataRow, 0, 0, 0, 11, 0, 1, 0, 0, 0, 1, 0x78]);
    const bytes = Buffer.alloc(row.length * 100_000, row);
    const cursor = new MessageCursor();
    const pass = (): number => {
      let count = 0;
      for (let i = 0; i < 10; i++)
        count += skipRun(bytes, 0, bytes.length, Backend.DataRow, upstreamRunning, cursor);
      return count;
    };
    expect(pass()).toBe(1_000_000);
    const before = process.memoryUsage().heapUsed;
    expect(pass()).toBe(1_000_000);
    // A single object of 16 bytes per row would be 16 MB.
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(8_000_000);
  });

  it('a capture of lies: 65,535 parameters announced in two bytes', () => {
    expect(decodeParameters(Buffer.from([0, 0, 255, 255]), [])).toEqual({
      parameters: [],
      count: 65_535,
      truncated: true,
    });
  });
});

describe('fuzzing', () => {
  it('a few seconds of what `test/simulation/fuzz-postgres.ts` does for ten minutes', async () => {
    const first = randomInt(2 ** 31);
    const fuzzer = new Fuzzer();
    for (let seed = first; seed < first + 4000; seed++)
      await fuzzer.round(seed).catch((error: unknown) => {
        throw new Error(`repeat with: node test/simulation/fuzz-postgres.ts --seconds 1 --seed ${seed}`, {
          cause: error,
        });
      });
    expect(fuzzer.counts.messages).toBeGreaterThan(10_000);
    expect(fuzzer.counts.refusals).toBeGreaterThan(1000);
  });
});
