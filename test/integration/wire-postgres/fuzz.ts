/**
 * One round of fuzzing of the PostgreSQL codec, made of nothing but a seed: a golden trace is mutated, cut into pieces,
 * framed, and everything found in it decoded. Only `AppError` may come out; what was decoded and encoded again must stay
 * the same when that is done once more. `test/simulation/fuzz-postgres.ts` runs it for hours, the hostile tests for seconds.
 */
import { isAppError } from '../../../src/base/errors.ts';
import { assert } from '../../../src/base/assert.ts';
import { HEADER_BYTES } from '../../../src/wire/postgres/messages.ts';
import { saslprep } from '../../../src/base/saslprep.ts';
import { SCRAM_SHA_256, ScramClient, ScramServer } from '../../../src/wire/postgres/scram.ts';
import { decodeParameters, decodeRows } from '../../../src/wire/postgres/values/decode.ts';
import { decodeValue } from '../../../src/wire/postgres/values/value.ts';
import { type Framed, Framer, recode } from './streams.ts';
import { frameAll, loadStreams, type Stream } from './traces.ts';

/** mulberry32: small, fast, the same everywhere. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0;
  }

  uint32(): number {
    this.#state = (this.#state + 0x6d2b_79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return (t ^ (t >>> 14)) >>> 0;
  }

  /** From 0 to `limit` − 1; 0 when there is no room. */
  below(limit: number): number {
    return limit <= 0 ? 0 : this.uint32() % limit;
  }

  bytes(count: number): Buffer {
    return Buffer.from(Array.from({ length: count }, () => this.below(256)));
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)];
  }
}

export interface FuzzCounts {
  messages: number;
  values: number;
  refusals: number;
}

const EXTREMES = [
  0, 1, 3, 4, 5, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff,
];

export class Fuzzer {
  readonly #streams = loadStreams();
  /** Values that servers really sent in binary, to mutate. */
  readonly #samples: Buffer[];
  readonly counts: FuzzCounts = { messages: 0, values: 0, refusals: 0 };

  constructor() {
    this.#samples = this.#streams.flatMap((stream) => messageBodies(stream));
  }

  /** @throws whatever is not an AppError: a finding. */
  async round(seed: number): Promise<void> {
    const random = new Random(seed);
    switch (random.below(8)) {
      case 0:
        this.#stream(random, this.#streams[0], random.bytes(random.below(400)));
        break;
      case 1:
        this.#value(random);
        break;
      case 2:
        await this.#logIn(random);
        break;
      default: {
        const stream = random.pick(this.#streams);
        this.#stream(random, stream, mutated(random, stream.bytes));
      }
    }
  }

  #stream(random: Random, stream: Stream, bytes: Buffer): void {
    const framer = new Framer(stream.direction, stream.encryptionReplies);
    this.#only(() => {
      for (let end = 0; end < bytes.length; ) {
        end = Math.min(bytes.length, end + 1 + random.below(random.below(4) === 0 ? 8 : 4096));
        const before = framer.consumed;
        framer.feed(bytes, end);
        assert(framer.consumed >= before && framer.consumed <= end, 'framing went backwards, or too far');
      }
    });
    let at = 0;
    for (const message of framer.messages) {
      assert(message.start === at && message.end > at, 'messages do not follow each other');
      at = message.end;
      this.#message(random, stream, message, bytes);
    }
  }

  #message(random: Random, stream: Stream, message: Framed, bytes: Buffer): void {
    this.counts.messages++;
    const password = random.pick(['password', 'sasl-initial', 'sasl-response'] as const);
    this.#only(() => {
      const once = recode(stream.direction, message, bytes, password);
      const header = message.kind === 'startup' ? 8 : message.kind === 'byte' ? 0 : HEADER_BYTES;
      const framed: Framed = { ...message, start: 0, body: header, end: once.length };
      const twice = recode(stream.direction, framed, once, password);
      assert(
        twice.equals(once),
        `encoding is not stable: ${once.toString('hex')} became ${twice.toString('hex')}`,
      );
    });
    const body = bytes.subarray(message.body, message.end);
    if (random.below(8) !== 0) return;
    // Never throw, whatever they are given.
    this.counts.values++;
    const oid = random.below(6300);
    bounded(decodeParameters(body, [oid, random.below(6300)]), body.length);
    bounded(decodeRows(random.pick(this.#samples), bytes.subarray(message.start), 100), bytes.length);
  }

  #value(random: Random): void {
    for (let i = 0; i < 20; i++) {
      this.counts.values++;
      const sample = random.below(3) === 0 ? random.bytes(random.below(60)) : random.pick(this.#samples);
      const start = random.below(sample.length);
      const bytes = mutated(random, sample.subarray(start, start + random.below(sample.length - start + 1)));
      bounded(decodeValue(bytes, random.below(6300), random.below(3)), bytes.length);
    }
  }

  async #logIn(random: Random): Promise<void> {
    const zero = { storedKey: Buffer.alloc(32), serverKey: Buffer.alloc(32) };
    const server = new ScramServer({
      mechanism: SCRAM_SHA_256,
      serverEndPoint: random.below(2) === 0 ? null : Buffer.alloc(32),
      salt: Buffer.alloc(16),
      iterations: 1,
      verifiers: [zero],
      nonce: 'server',
    });
    this.#only(() => {
      server.challenge(mutated(random, Buffer.from('n,,n=user,r=client')));
      server.verify(mutated(random, Buffer.from(`c=biws,r=clientserver,p=${'A'.repeat(43)}=`)));
    });
    const client = new ScramClient({ mechanism: SCRAM_SHA_256, serverEndPoint: null, nonce: 'client' });
    client.first();
    const key = Buffer.alloc(32);
    try {
      const challenge = mutated(random, Buffer.from('r=clientserver,s=AAAA,i=4096'));
      await client.proof(challenge, saslprep(random.bytes(20).toString('utf16le')), () =>
        Promise.resolve(key),
      );
      client.finish(mutated(random, Buffer.from(`v=${'A'.repeat(43)}=`)));
    } catch (error) {
      if (!isAppError(error)) throw error;
      this.counts.refusals++;
    }
  }

  #only(run: () => void): void {
    try {
      run();
    } catch (error) {
      if (!isAppError(error)) throw error;
      this.counts.refusals++;
    }
  }
}

function messageBodies(stream: Stream): Buffer[] {
  return frameAll(stream).map(({ body, end }) => stream.bytes.subarray(body, end));
}

/** What is shown of some bytes is in proportion to them. */
function bounded(value: unknown, bytes: number): void {
  const chars = JSON.stringify(value).length;
  assert(chars < 20_000 + 400 * bytes, `${chars} characters of ${bytes} bytes`);
}

function mutated(random: Random, source: Uint8Array): Buffer {
  let bytes = Buffer.from(source);
  for (let left = 1 + random.below(4); left > 0; left--) {
    const at = random.below(bytes.length);
    switch (random.below(7)) {
      case 0: // a bit
        if (bytes.length > 0) bytes[at] ^= 1 << random.below(8);
        break;
      case 1: // a byte
        if (bytes.length > 0) bytes[at] = random.below(256);
        break;
      case 2: // a count
        if (at + 2 <= bytes.length) bytes.writeUInt16BE(random.pick(EXTREMES) & 0xffff, at);
        break;
      case 3: // a length
        if (at + 4 <= bytes.length) bytes.writeUInt32BE(random.pick(EXTREMES), at);
        break;
      case 4: // something goes
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + random.below(20))]);
        break;
      case 5: // something comes
        bytes = Buffer.concat([
          bytes.subarray(0, at),
          random.bytes(1 + random.below(10)),
          bytes.subarray(at),
        ]);
        break;
      default: // something comes twice
        bytes = Buffer.concat([bytes.subarray(0, at + random.below(100)), bytes.subarray(at)]);
    }
  }
  return bytes;
}
