/** The contract of `src/transport/link.ts` over plain streams: output, back-pressure, ends, connections. Each driver. */
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { duplexPair } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  Bench,
  DRIVERS,
  Forwarder,
  Recorder,
  collect,
  echoFrames,
  echoOnAnotherLink,
  failsWith,
  frame,
  openSockets,
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

  describe('output', () => {
    test('many slices from many buffers arrive in order', async () => {
      const next = random(11);
      const { link, socket } = await bench.pair(() => new Recorder());
      const received = createHash('sha256');
      let count = 0;
      socket.on('data', (chunk: Buffer) => {
        received.update(chunk);
        count += chunk.length;
      });
      const sent = createHash('sha256');
      let total = 0;
      for (let i = 0; i < 2_000; i++) {
        const bytes = randomBytes(next, Math.floor(next() * (i % 100 === 0 ? 300_000 : 300)));
        const start = Math.floor(next() * bytes.length);
        link.send(bytes, start);
        sent.update(bytes.subarray(start));
        total += bytes.length - start;
      }
      expect(link.queuedBytes).toBe(total);
      await until(() => count === total, 'all bytes');
      expect(received.digest('hex')).toBe(sent.digest('hex'));
    });

    test('a slow reader makes a bounded backlog, and everything arrives when it reads', async () => {
      const total = 48 * 1024 * 1024;
      const limit = 512 * 1024;
      const server = createServer({ allowHalfOpen: true });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      const address = server.address();
      const port = typeof address === 'object' && address !== null ? address.port : 0;
      let sent = 0;
      server.on('connection', (socket) => {
        bench.sockets.push(socket);
        const piece = Buffer.alloc(1024 * 1024, 'z');
        const write = (): void => {
          if (sent >= total) return void socket.end();
          sent += piece.length;
          socket.write(piece, () => write());
        };
        write();
      });
      const forwarders: Forwarder[] = [];
      const listener = await bench.listen((client) => {
        client.pause();
        void bench.reactor.dial({ host: '127.0.0.1', port, timeoutMs: 5_000 }).then((upstream) => {
          const forwarder = new Forwarder(upstream, () => client, limit);
          forwarders.push(forwarder);
          upstream.handler = forwarder;
          client.handler = new Forwarder(client, () => upstream, limit);
          client.resume();
        });
      });
      const reader = await bench.client(listener.port);
      // Nobody reads: the relay must stop, and with it the sender.
      let last = -1;
      await until(() => {
        const still = sent > 0 && sent === last;
        last = sent;
        return still && forwarders.length > 0 && forwarders[0].highestBacklog > limit;
      }, 'the standstill');
      await echoOnAnotherLink(bench);
      expect(sent).toBeLessThan(total);
      expect(forwarders[0].highestBacklog).toBeLessThan(limit + 2 * bench.reactor.maxChunkBytes);
      const received = { count: 0, ended: false };
      reader.on('data', (chunk: Buffer) => {
        received.count += chunk.length;
      });
      reader.on('end', () => {
        received.ended = true;
      });
      await until(() => received.ended, 'the end of the stream');
      expect(received.count).toBe(total);
      server.close();
    });

    test('onDrain comes once the backlog is empty, and only after there was one', async () => {
      const recorder = new Recorder();
      const { link, socket } = await bench.pair(() => recorder);
      link.send(Buffer.from('small'));
      await new Promise((resolve) => socket.once('data', resolve));
      expect(recorder.drains).toBe(0);
      socket.pause();
      link.send(Buffer.alloc(32 * 1024 * 1024));
      await until(() => link.backlogBytes > 0);
      expect(recorder.drains).toBe(0);
      socket.resume();
      await until(() => recorder.drains === 1);
      expect(link.backlogBytes).toBe(0);
    });
  });

  describe('ends', () => {
    test('half-close: the client ends, still receives, then both are gone', async () => {
      const recorder = new Recorder();
      const { link, socket } = await bench.pair(() => recorder);
      const received = collect(socket);
      socket.end('last words');
      await until(() => recorder.ended);
      expect(recorder.bytes.toString()).toBe('last words');
      expect(link.closed).toBe(false);
      link.send(Buffer.from('answer'));
      link.end();
      await until(() => received.ended());
      expect(received.bytes().toString()).toBe('answer');
      await until(() => recorder.closed);
      expect(recorder.closedWith).toBeNull();
      expect(recorder.calls.filter((call) => call === 'close').length).toBe(1);
    });

    test('half-close: we end, still receive', async () => {
      const recorder = new Recorder();
      const { link, socket } = await bench.pair(() => recorder);
      const received = collect(socket);
      link.send(Buffer.from('bye'));
      link.end();
      await until(() => received.ended());
      expect(received.bytes().toString()).toBe('bye');
      socket.end('and you');
      await until(() => recorder.closed);
      expect(recorder.bytes.toString()).toBe('and you');
    });

    test('end writes the backlog first', async () => {
      const recorder = new Recorder();
      const { link, socket } = await bench.pair(() => recorder);
      socket.pause();
      link.send(Buffer.alloc(16 * 1024 * 1024, 'e'));
      link.end();
      await until(() => link.backlogBytes > 0);
      const received = { count: 0, ended: false };
      socket.on('data', (chunk: Buffer) => {
        received.count += chunk.length;
      });
      socket.on('end', () => {
        received.ended = true;
      });
      socket.resume();
      await until(() => received.ended);
      expect(received.count).toBe(16 * 1024 * 1024);
    });

    test('an end without output of a turn that was refused is sent', async () => {
      bench.reactor.onTurnEnd = () => false;
      const { link, socket } = await bench.pair(() => new Recorder());
      const received = collect(socket);
      link.end();
      await until(() => received.ended());
    });

    test('a reset is told once, with an error, and no call follows', async () => {
      const recorder = new Recorder();
      const { link, socket } = await bench.pair(() => recorder);
      socket.resetAndDestroy();
      await until(() => recorder.closed);
      expect(recorder.closedWith).toBeInstanceOf(Error);
      expect(link.closed).toBe(true);
      link.send(Buffer.from('into the void'));
      link.destroy();
      await echoOnAnotherLink(bench);
      expect(recorder.calls.filter((call) => call === 'close').length).toBe(1);
      expect(recorder.calls.at(-1)).toBe('close');
    });

    test('destroy tells the handler, with the reason, and drops what was queued', async () => {
      const recorder = new Recorder();
      const { link, socket } = await bench.pair(() => recorder);
      const received = collect(socket);
      link.send(Buffer.from('never'));
      link.destroy(new Error('revoked'));
      await until(() => recorder.closed);
      expect(recorder.closedWith?.message).toBe('revoked');
      await until(() => socket.closed || received.ended());
      expect(received.bytes().length).toBe(0);
    });

    test('destroy within onBytes: nothing more is presented', async () => {
      const recorder = new Recorder();
      const { socket } = await bench.pair((link) => {
        recorder.consume = (_bytes, start) => {
          link.destroy();
          return start + 1;
        };
        return recorder;
      });
      socket.write('abc');
      await until(() => recorder.closed);
      expect(recorder.calls).toEqual(['bytes', 'close']);
    });
  });

  describe('connections', () => {
    test('a thousand at once, and no descriptor is left behind', async () => {
      const before = openSockets();
      let open = 0;
      const listener = await bench.listen((link) => {
        open++;
        const recorder = echoFrames(link);
        recorder.onEnd = () => link.end();
        recorder.onClose = () => open--;
        link.handler = recorder;
      });
      const jobs = Array.from({ length: 1_000 }, async (_, i) => {
        const link = await bench.reactor.dial({ host: '127.0.0.1', port: listener.port, timeoutMs: 20_000 });
        const recorder = new Recorder();
        link.handler = recorder;
        link.send(frame(Buffer.from(`hello ${i}`)));
        await until(() => recorder.bytes.length > 4, `the echo of ${i}`);
        expect(recorder.bytes.subarray(4).toString()).toBe(`hello ${i}`);
        return { link, recorder };
      });
      const links = await Promise.all(jobs);
      expect(open).toBe(1_000);
      for (const { link } of links) link.end();
      await until(() => links.every(({ recorder }) => recorder.closed), 'all closes');
      await until(() => open === 0, 'the other sides');
      await listener.close();
      await until(() => openSockets() <= before, 'descriptors to be given back');
    });

    test('a Unix socket is dialled by its path', async () => {
      const folder = mkdtempSync(join(tmpdir(), 'link-'));
      const path = join(folder, '.s.PGSQL.5432');
      const server = createServer((socket) => socket.pipe(socket));
      await new Promise<void>((resolve) => server.listen(path, resolve));
      const link = await bench.reactor.dial({ host: path, port: 0, timeoutMs: 5_000 });
      const recorder = new Recorder();
      link.handler = recorder;
      expect(link.peer).toEqual({ address: path, port: 0 });
      link.send(Buffer.from('over the socket'));
      await until(() => recorder.bytes.length === 15);
      link.end();
      await until(() => recorder.closed);
      server.close();
      rmSync(folder, { recursive: true });
    });

    test('both families reach one listener; peers are told as plain addresses', async () => {
      const peers: string[] = [];
      const listener = await bench.listen((link) => {
        peers.push(link.peer.address);
        expect(link.peer.port).toBeGreaterThan(0);
        link.handler = new Recorder();
      }, '');
      expect(listener.port).toBeGreaterThan(0);
      await bench.client(listener.port, '127.0.0.1');
      await bench.client(listener.port, '::1');
      await until(() => peers.length === 2);
      expect(peers.sort()).toEqual(['127.0.0.1', '::1']);
    });

    test('host names are resolved, and every address is tried', async () => {
      const listener = await bench.listen((link) => {
        link.handler = echoFrames(link);
      });
      // localhost is ::1 first on most machines, where nobody listens.
      const link = await bench.reactor.dial({ host: 'localhost', port: listener.port, timeoutMs: 5_000 });
      expect(link.peer.address).toBe('127.0.0.1');
      link.handler = new Recorder();
      link.destroy();
    });

    test('a dial that nobody answers says so', async () => {
      const listener = await bench.listen(() => undefined);
      await listener.close();
      const { reactor } = bench;
      await expect(
        reactor.dial({ host: '127.0.0.1', port: listener.port, timeoutMs: 5_000 }),
      ).rejects.toMatchObject({ kind: 'unavailable', code: 'TRANSPORT_REFUSED' });
      await expect(
        reactor.dial({ host: '/nowhere/.s.PGSQL.1', port: 0, timeoutMs: 5_000 }),
      ).rejects.toSatisfy(failsWith('unavailable', 'ENOENT'));
      await expect(
        reactor.dial({ host: 'no-such-host.invalid', port: 1, timeoutMs: 5_000 }),
      ).rejects.toMatchObject({ code: 'TRANSPORT_HOST_UNKNOWN' });
    });

    test('a port in use says so', async () => {
      const listener = await bench.listen(() => undefined);
      await expect(
        bench.reactor.listen({ host: '127.0.0.1', port: listener.port }, () => undefined),
      ).rejects.toSatisfy(failsWith('conflict', 'another program'));
    });

    test('a stream is adopted as a link in the same turns', async () => {
      const [ours, theirs] = duplexPair();
      let ends = 0;
      bench.reactor.onTurnEnd = () => {
        ends++;
        return true;
      };
      const link = bench.reactor.adopt(ours, { address: 'ssh', port: 22 });
      link.handler = echoFrames(link);
      const received = collect(theirs);
      theirs.write(frame(Buffer.from('through a channel')));
      await until(() => received.bytes().length === 21);
      expect(ends).toBeGreaterThan(0);
      expect(link.peer.address).toBe('ssh');
      link.destroy();
    });
  });
});
