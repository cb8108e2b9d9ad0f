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
import { bounded, type FuzzCounts, mutated, type Numbers, Random } from '../fuzzing.ts';
import { type Framed, Framer, recode } from './streams.ts';
import { frameAll, loadStreams, type Stream } from './traces.ts';

const NUMBERS: Numbers = {
  extremes: [0, 1, 3, 4, 5, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff],
  littleEndian: false,
};

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
        this.#stream(random, stream, mutated(random, stream.bytes, NUMBERS));
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
      const bytes = mutated(
        random,
        sample.subarray(start, start + random.below(sample.length - start + 1)),
        NUMBERS,
      );
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
      server.challenge(mutated(random, Buffer.from('n,,n=user,r=client'), NUMBERS));
      server.verify(mutated(random, Buffer.from(`c=biws,r=clientserver,p=${'A'.repeat(43)}=`), NUMBERS));
    });
    const client = new ScramClient({ mechanism: SCRAM_SHA_256, serverEndPoint: null, nonce: 'client' });
    client.first();
    const key = Buffer.alloc(32);
    try {
      const challenge = mutated(random, Buffer.from('r=clientserver,s=AAAA,i=4096'), NUMBERS);
      await client.proof(challenge, saslprep(random.bytes(20).toString('utf16le')), () =>
        Promise.resolve(key),
      );
      client.finish(mutated(random, Buffer.from(`v=${'A'.repeat(43)}=`), NUMBERS));
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
