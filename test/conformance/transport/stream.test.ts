/** The contract of `src/transport/link.ts` over plain streams: bytes, turns, back-pressure, ends. Each driver. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Link } from '../../../src/transport/link.ts';
import {
  Bench,
  DRIVERS,
  Forwarder,
  Recorder,
  collect,
  echoFrames,
  echoOnAnotherLink,
  frame,
  frameConsumer,
  random,
  randomBytes,
  until,
} from './support.ts';

describe.each(DRIVERS)('%s', (driver) => {
  let bench: Bench;

  beforeEach(() => {
    bench = new Bench(driver);
  });

  afterEach(async () => {
    await bench.close();
  });

  describe('input', () => {
    test('every split point of a stream gives the same frames', async () => {
      const stream = Buffer.concat([
        frame(Buffer.from('one')),
        frame(Buffer.alloc(0)),
        frame(Buffer.from('three')),
      ]);
      for (let split = 1; split < stream.length; split++) {
        const { socket } = await bench.pair((link) => echoFrames(link));
        const received = collect(socket);
        socket.write(stream.subarray(0, split));
        const whole = frameLengthsUpTo(stream, split);
        await until(() => received.bytes().length >= whole, `the frames before split ${split}`);
        socket.write(stream.subarray(split));
        await until(() => received.bytes().length >= stream.length, `the frames after split ${split}`);
        expect(received.bytes().equals(stream), `split ${split}`).toBe(true);
        socket.destroy();
      }
    });

    test.each([1, 2, 3])(
      'frames of all sizes on many links at once come back unchanged, seed %i',
      async (seed) => {
        const next = random(seed);
        const jobs = Array.from({ length: 8 }, async () => {
          const frames = Array.from({ length: 40 }, () => {
            const longest = [10, 100, 9_000, 70_000, 200_000][Math.floor(next() * 5)];
            return frame(randomBytes(next, Math.floor(next() * longest)));
          });
          const stream = Buffer.concat(frames);
          const { socket } = await bench.pair((link) => echoFrames(link));
          const received = collect(socket);
          for (let at = 0; at < stream.length; ) {
            const count = 1 + Math.floor(next() * 60_000);
            socket.write(stream.subarray(at, at + count));
            at += count;
            if (next() < 0.3) await new Promise((resolve) => setImmediate(resolve));
          }
          await until(() => received.bytes().length >= stream.length, 'the echo');
          expect(received.bytes().equals(stream)).toBe(true);
        });
        await Promise.all(jobs);
      },
    );

    test('a long message in small pieces is presented contiguously', async () => {
      const body = randomBytes(random(7), 200_000);
      const recorder = new Recorder();
      const { socket } = await bench.pair((link) => echoFrames(link, recorder));
      const received = collect(socket);
      const stream = frame(body);
      let seen = 0;
      const consume = recorder.consume;
      recorder.consume = (bytes, start, end) => {
        seen = Math.max(seen, end - start);
        return consume(bytes, start, end);
      };
      for (let at = 0; at < stream.length; at += 1_000) {
        socket.write(stream.subarray(at, at + 1_000));
        const sent = Math.min(stream.length, at + 1_000);
        await until(() => seen >= sent, 'the piece');
      }
      await until(() => received.bytes().length === stream.length, 'the echo');
      expect(received.bytes().equals(stream)).toBe(true);
    });

    test('never more than maxChunkBytes; a handler that takes none of them is closed', async () => {
      const recorder = new Recorder();
      let longest = 0;
      recorder.consume = (_bytes, start, end) => {
        longest = Math.max(longest, end - start);
        return start;
      };
      const { socket, link } = await bench.pair(() => recorder);
      socket.write(Buffer.alloc(4 * bench.reactor.maxChunkBytes));
      await until(() => recorder.closed);
      expect(longest).toBe(bench.reactor.maxChunkBytes);
      expect(recorder.closedWith).toMatchObject({ code: 'TRANSPORT_CHUNK_NOT_CONSUMED' });
      expect(link.closed).toBe(true);
    });

    test('nothing is presented while paused; resume presents what was left without waiting for more', async () => {
      const recorder = new Recorder();
      let take = 3;
      const { socket, link } = await bench.pair((link) => {
        recorder.consume = (_bytes, start, end) => {
          link.pause();
          return Math.min(end, start + take);
        };
        return recorder;
      });
      socket.write('abcdef');
      await until(() => recorder.bytes.length > 0);
      expect(recorder.bytes.toString()).toBe('abc');
      socket.write('ghi');
      await echoOnAnotherLink(bench);
      expect(recorder.bytes.toString()).toBe('abc');
      take = 100;
      recorder.consume = (_bytes, _start, end) => end;
      link.resume();
      await until(() => recorder.bytes.length === 9);
      expect(recorder.bytes.toString()).toBe('abcdefghi');
    });

    test('what was left before a pause is presented before the end, also when each byte pauses again', async () => {
      const recorder = new Recorder();
      const { socket, link } = await bench.pair((link) => {
        recorder.consume = (_bytes, start) => {
          link.pause();
          return start + 1;
        };
        return recorder;
      });
      socket.end('abcdef');
      await until(() => recorder.bytes.length === 1);
      await echoOnAnotherLink(bench);
      for (let seen = 2; seen <= 6; seen++) {
        link.resume();
        await until(() => recorder.bytes.length === seen);
        expect(recorder.ended).toBe(false);
      }
      link.resume();
      await until(() => recorder.ended);
      expect(recorder.bytes.toString()).toBe('abcdef');
      expect(recorder.calls.filter((call) => call === 'end')).toHaveLength(1);
    });

    test('a link is not read before it has a handler', async () => {
      const { promise, resolve } = Promise.withResolvers<Link>();
      const listener = await bench.listen(resolve);
      const socket = await bench.client(listener.port);
      socket.write('early');
      const link = await promise;
      await echoOnAnotherLink(bench);
      const recorder = new Recorder();
      link.handler = recorder;
      await until(() => recorder.bytes.length > 0);
      expect(recorder.bytes.toString()).toBe('early');
    });

    test('a handler that throws ends its own link and nothing else', async () => {
      const recorder = new Recorder();
      recorder.consume = () => {
        throw new Error('a bug');
      };
      const { socket } = await bench.pair(() => recorder);
      const other = await bench.pair((link) => echoFrames(link));
      socket.write('x');
      await until(() => recorder.closed);
      expect(recorder.closedWith?.message).toBe('a bug');
      const received = collect(other.socket);
      other.socket.write(frame(Buffer.from('still here')));
      await until(() => received.bytes().length === 14);
    });
  });

  describe('turns', () => {
    test('output is written after onTurnEnd, never before', async () => {
      let flushed = 0;
      let appended = 0;
      bench.reactor.onTurnEnd = () => {
        flushed = appended;
        return true;
      };
      const jobs = Array.from({ length: 4 }, async () => {
        const { socket } = await bench.pair((link) => {
          const recorder = new Recorder();
          recorder.consume = frameConsumer(() => {
            appended++;
            const reply = Buffer.alloc(4);
            reply.writeUInt32BE(appended);
            link.send(reply);
          });
          return recorder;
        });
        let early = 0;
        let received = 0;
        socket.on('data', (chunk: Buffer) => {
          for (let at = 0; at + 4 <= chunk.length; at += 4) {
            if (chunk.readUInt32BE(at) > flushed) early++;
            received++;
          }
        });
        for (let i = 0; i < 200; i++) socket.write(frame(Buffer.from([i])));
        await until(() => received === 200);
        expect(early).toBe(0);
      });
      await Promise.all(jobs);
    });

    test('a refused turn keeps its output, in order, until it is retried', async () => {
      let grant = false;
      let ends = 0;
      bench.reactor.onTurnEnd = () => {
        ends++;
        return grant;
      };
      const scratch = Buffer.from('held ');
      const { link, socket } = await bench.pair(() => new Recorder());
      const other = await bench.pair(() => new Recorder());
      const received = collect(socket);
      const otherReceived = collect(other.socket);
      link.send(scratch);
      await until(() => ends === 1);
      scratch.fill('X'); // the slice may change after the turn, refused or not
      expect(link.queuedBytes).toBe(5);

      grant = true;
      link.send(Buffer.from('behind'));
      other.link.send(Buffer.from('free'));
      await until(() => otherReceived.bytes().length === 4);
      await echoOnAnotherLink(bench);
      expect(received.bytes().length).toBe(0);
      expect(link.queuedBytes).toBe(11);

      grant = false;
      bench.reactor.retryTurn();
      const before = ends;
      await until(() => ends > before);
      expect(received.bytes().length).toBe(0);

      grant = true;
      bench.reactor.retryTurn();
      await until(() => received.bytes().length === 11);
      expect(received.bytes().toString()).toBe('held behind');
      expect(link.queuedBytes).toBe(0);
    });

    test('discardQueued takes back what the turn queued, and what a refused turn holds', async () => {
      let grant = true;
      let ends = 0;
      bench.reactor.onTurnEnd = () => {
        ends++;
        return grant;
      };
      const { link, socket } = await bench.pair(() => new Recorder());
      const received = collect(socket);
      link.send(Buffer.from('no'));
      expect(link.queuedBytes).toBe(2);
      link.discardQueued();
      expect(link.queuedBytes).toBe(0);
      link.send(Buffer.from('yes'));
      await until(() => received.bytes().length > 0);
      grant = false;
      const before = ends;
      link.send(Buffer.from('held'));
      await until(() => ends > before);
      link.discardQueued();
      grant = true;
      bench.reactor.retryTurn();
      link.send(Buffer.from('!'));
      await until(() => received.bytes().length >= 4);
      expect(received.bytes().toString()).toBe('yes!');
    });

    test('what onTurnEnd sends and discards belongs to the turn', async () => {
      const { link, socket } = await bench.pair(() => new Recorder());
      const received = collect(socket);
      bench.reactor.onTurnEnd = () => {
        if (link.queuedBytes > 0) {
          link.discardQueued();
          link.send(Buffer.from('refused'));
        }
        return true;
      };
      link.send(Buffer.from('forwarded'));
      await until(() => received.bytes().length > 0);
      expect(received.bytes().toString()).toBe('refused');
    });

    test('touch ends a turn without output', async () => {
      let ends = 0;
      bench.reactor.onTurnEnd = () => {
        ends++;
        return true;
      };
      bench.reactor.touch();
      await until(() => ends === 1);
    });

    test('touch within onTurnEnd asks for another turn', async () => {
      let ends = 0;
      bench.reactor.onTurnEnd = () => {
        ends++;
        if (ends < 3) bench.reactor.touch();
        return true;
      };
      bench.reactor.touch();
      await until(() => ends === 3);
      await echoOnAnotherLink(bench);
      expect(ends).toBe(3);
    });

    test('timers, immediates and promises go on while links never rest', async () => {
      // Two links inside the reactor that answer each other for ever: there is always something ready.
      const listener = await bench.listen((link) => {
        link.handler = new Forwarder(link, () => link);
      });
      let rounds = 0;
      const dialled = await Promise.all(
        Array.from({ length: 4 }, async () => {
          const link = await bench.reactor.dial({ host: '127.0.0.1', port: listener.port, timeoutMs: 5_000 });
          const recorder = new Recorder();
          recorder.consume = (bytes, start, end) => {
            rounds++;
            link.send(bytes, start, end);
            return end;
          };
          link.handler = recorder;
          link.send(Buffer.from('ball'));
          return link;
        }),
      );
      const before = rounds;
      for (let i = 0; i < 20; i++) {
        await new Promise<void>((resolve) => {
          const timer = setInterval(() => {
            clearInterval(timer);
            resolve();
          }, 1);
        });
        await new Promise((resolve) => setImmediate(resolve));
        await new Promise<void>((resolve) => queueMicrotask(resolve));
      }
      expect(rounds).toBeGreaterThan(before);
      expect(dialled.every((link) => !link.closed)).toBe(true);
    });

    test('promises queued by a handler run', async () => {
      const steps: string[] = [];
      const { socket } = await bench.pair((link) => {
        const recorder = new Recorder();
        recorder.consume = (_bytes, _start, end) => {
          void Promise.resolve()
            .then(() => steps.push('promise'))
            .then(() => process.nextTick(() => link.send(Buffer.from('later'))));
          return end;
        };
        return recorder;
      });
      const received = collect(socket);
      socket.write('x');
      await until(() => received.bytes().length === 5);
      expect(steps).toEqual(['promise']);
    });
  });
});

/** Length of the whole frames within the first `count` bytes. */
function frameLengthsUpTo(stream: Buffer, count: number): number {
  let at = 0;
  while (at + 4 <= count && at + 4 + stream.readUInt32BE(at) <= count) at += 4 + stream.readUInt32BE(at);
  return at;
}
