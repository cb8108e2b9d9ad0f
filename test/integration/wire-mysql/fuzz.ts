/**
 * One round of fuzzing of the MySQL codec, made of nothing but a seed: a golden trace is mutated, cut into pieces, framed,
 * expanded, and everything found in it decoded. Only `AppError` may come out; what was decoded and encoded again must stay
 * the same when that is done once more. `test/simulation/fuzz-mysql.ts` runs it for hours, the hostile tests for seconds.
 */
import { assert } from '../../../src/base/assert.ts';
import { ByteWriter } from '../../../src/base/bytes.ts';
import { isAppError } from '../../../src/base/errors.ts';
import { expandFrame, FrameCursor, nextFrame, writeFrames } from '../../../src/wire/mysql/compression.ts';
import { checkEd25519 } from '../../../src/wire/mysql/ed25519.ts';
import {
  joinPayload,
  nextPacket,
  PacketCursor,
  passPacket,
  skipRows,
} from '../../../src/wire/mysql/framing.ts';
import { decodeHandshakeV10 } from '../../../src/wire/mysql/handshake.ts';
import {
  clientRunning,
  HEADER_BYTES,
  type PayloadLimits,
  upstreamRunning,
} from '../../../src/wire/mysql/protocol.ts';
import { parseProxyHeader } from '../../../src/wire/mysql/proxy-protocol.ts';
import { checkCachingSha2, checkNative, decodeClearResponse } from '../../../src/wire/mysql/scramble.ts';
import { decodeParameters, decodeRows } from '../../../src/wire/mysql/values/decode.ts';
import { bounded, type FuzzCounts, mutated, type Numbers, Random } from '../fuzzing.ts';
import { recode, type Said } from './conversation.ts';
import { loadRecordings, packetsOf } from './traces.ts';

const NUMBERS: Numbers = {
  extremes: [0, 1, 3, 4, 5, 0x7f, 0xfa, 0xfb, 0xfc, 0xfe, 0xff, 0xffff, 0xff_ffff, 0x7fff_ffff, 0xffff_ffff],
  littleEndian: true,
};
const running = clientRunning();

export class Fuzzer {
  readonly #recordings = loadRecordings();
  readonly #packets: readonly Said[];
  readonly #descriptions: readonly Buffer[];
  readonly counts: FuzzCounts = { messages: 0, values: 0, refusals: 0 };

  constructor() {
    this.#packets = this.#recordings.flatMap(packetsOf);
    const columns = this.#packets.filter(({ kind }) => kind === 'column').map(({ raw }) => raw);
    this.#descriptions = [0, 1].flatMap((format) =>
      columns.map((_, i) => Buffer.concat([Buffer.from([format]), ...columns.slice(i, i + 3)])),
    );
  }

  /** @throws whatever is not an AppError: a finding. */
  round(seed: number): void {
    const random = new Random(seed);
    switch (random.below(8)) {
      case 0:
        return this.#stream(random, random.bytes(random.below(400)));
      case 1:
        return this.#values(random);
      case 2:
        return this.#compressed(random);
      case 3:
        return this.#beginning(random);
      case 4: {
        const recording = random.pick(this.#recordings);
        return this.#stream(
          random,
          mutated(random, random.below(2) === 0 ? recording.client : recording.upstream, NUMBERS),
        );
      }
      default:
        for (let i = 0; i < 8; i++) this.#packet(random);
    }
  }

  #packet(random: Random): void {
    const said = random.pick(this.#packets);
    // Something follows that is not the packet's.
    const payload = mutated(random, said.payload, NUMBERS);
    const other = random.below(4) === 0 ? random.pick(this.#packets).kind : said.kind;
    this.counts.messages++;
    this.#only(() => {
      const first: Said = { ...said, kind: other, payload, direction: said.direction };
      const once = recode(first);
      const again: Said = { ...first, raw: once, payload: joinPayload(once, 0, once.length) };
      const twice = recode(again);
      assert(
        twice.equals(once),
        `encoding is not stable: ${once.toString('hex')} became ${twice.toString('hex')}`,
      );
    });
  }

  #stream(random: Random, bytes: Buffer): void {
    const limits: PayloadLimits = random.below(2) === 0 ? running : upstreamRunning;
    const cursor = new PacketCursor();
    let at = 0;
    this.#only(() => {
      for (let end = 0; end < bytes.length; ) {
        end = Math.min(bytes.length, end + 1 + random.below(random.below(4) === 0 ? 8 : 4096));
        while (nextPacket(bytes, at, end, limits, cursor)) {
          assert(cursor.end >= at + HEADER_BYTES && cursor.end <= end, 'framing went backwards, or too far');
          passPacket(cursor);
          at = cursor.end;
          this.counts.messages++;
        }
        const rows = new PacketCursor();
        const count = skipRows(bytes, at, end, random.below(256), rows);
        assert(rows.end >= at && rows.end <= end && count >= 0, 'rows beyond the bytes');
      }
    });
  }

  #values(random: Random): void {
    for (let i = 0; i < 20; i++) {
      this.counts.values++;
      const sample =
        random.below(3) === 0 ? random.bytes(random.below(60)) : random.pick(this.#packets).payload;
      const bytes = mutated(random, sample, NUMBERS);
      const types = Array.from({ length: random.below(12) }, () => random.below(0x1_0000));
      bounded(decodeParameters(bytes, types), bytes.length + 20 * types.length);
      const description = random.pick(this.#descriptions);
      const shown = random.below(2) === 0 ? mutated(random, description, NUMBERS) : description;
      const rows =
        random.below(2) === 0 ? mutated(random, random.pick(this.#packets).raw, NUMBERS) : framed(bytes);
      bounded(decodeRows(shown, rows, 100), shown.length + rows.length);
    }
  }

  #compressed(random: Random): void {
    const algorithm = random.pick(['zlib', 'zstd'] as const);
    const source = random.pick(this.#packets).raw;
    const out = new ByteWriter(256);
    writeFrames(out, source, 0, source.length, random.below(256), algorithm, 3);
    const bytes = random.below(4) === 0 ? out.copy() : mutated(random, out.copy(), NUMBERS);
    const cursor = new FrameCursor();
    this.#only(() => {
      for (let at = 0; nextFrame(bytes, at, bytes.length, cursor); at = cursor.end) {
        this.counts.messages++;
        const expanded = expandFrame(bytes, cursor, random.pick(['zlib', algorithm] as const));
        assert(expanded.length < 2 ** 24, 'a frame of more than it can announce');
      }
    });
  }

  /** What comes before anybody has proved anything. */
  #beginning(random: Random): void {
    this.counts.messages++;
    const v2 = Buffer.from('0d0a0d0a000d0a515549540a2111000c7f0000017f00000204d204d3', 'hex');
    const line = Buffer.from('PROXY TCP6 2001:db8::1 ::ffff:1.2.3.4 65535 443\r\n');
    this.#only(() => {
      const bytes = mutated(random, random.below(2) === 0 ? v2 : line, NUMBERS);
      for (let end = 0; end <= bytes.length; end++) {
        const header = parseProxyHeader(bytes.subarray(0, end));
        assert(header === null || header.bytes <= end, 'a header longer than its bytes');
      }
    });
    this.#only(() => {
      const greeting = random.pick(this.#packets.filter(({ kind }) => kind === 'greeting')).payload;
      const bytes = mutated(random, greeting, NUMBERS);
      decodeHandshakeV10(bytes, 0, bytes.length);
    });
    const answer = random.bytes(random.pick([0, 1, 20, 32, 64, 65]));
    const nonce = random.bytes(random.pick([20, 32]));
    const verifier = random.bytes(random.pick([20, 32]));
    assert(!checkNative(answer, nonce, verifier) && !checkCachingSha2(answer, nonce, verifier), 'let in');
    assert(!checkEd25519(answer, nonce, verifier), 'let in');
    this.#only(() => decodeClearResponse(random.bytes(random.below(50))));
  }

  #only(run: () => void): void {
    try {
      run();
    } catch (error) {
      if (!isAppError(error) || error.kind === 'corrupt') throw error;
      this.counts.refusals++;
    }
  }
}

function framed(payload: Buffer): Buffer {
  const head = Buffer.alloc(HEADER_BYTES);
  head.writeUIntLE(payload.length, 0, 3);
  return Buffer.concat([head, payload]);
}
