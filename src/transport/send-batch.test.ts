/** The output of a turn through io_uring, on real sockets. Where io_uring is forbidden, nothing here can run. */
import { afterEach, describe, expect, test } from 'vitest';
import { Arena } from './arena.ts';
import { SendBatch, STAGE_BYTES, type Sender } from './send-batch.ts';
import { SendRing } from './send-ring.ts';
import { SockAddr } from './sockaddr.ts';
import { AF, ERRNO, loadSyscalls, MSG_DONTWAIT, SOCK, type Syscalls } from './syscalls.ts';

const loaded = loadSyscalls();
const opened = typeof loaded === 'string' ? loaded : SendRing.open(loaded, 1);
if (typeof opened === 'string')
  console.warn(`io_uring cannot be used here (${opened}): its tests are not run`);
else opened.close();

describe.skipIf(typeof opened === 'string')('sends together', () => {
  const sys = loaded as Syscalls;
  const descriptors: number[] = [];

  afterEach(() => {
    for (const fd of descriptors.splice(0)) sys.close(fd);
  });

  const ringOf = (entries: number): SendRing => {
    const ring = SendRing.open(sys, entries);
    if (typeof ring === 'string') throw new Error(ring);
    return ring;
  };

  /** A connected pair of TCP sockets over loopback. */
  const pair = (): { near: number; far: number } => {
    const server = sys.socket(AF.inet, SOCK.stream, 0);
    const near = sys.socket(AF.inet, SOCK.stream, 0);
    const any = SockAddr.encode({ family: 4, address: '127.0.0.1', port: 0 });
    expect(sys.bind(server, any, any.length)).toBe(0);
    expect(sys.listen(server, 1)).toBe(0);
    const { port } = new SockAddr(sys).ofSocket(server);
    const target = SockAddr.encode({ family: 4, address: '127.0.0.1', port });
    expect(sys.connect(near, target, target.length)).toBe(0);
    const far = sys.accept4(server, 0, 0, 0);
    sys.close(server);
    descriptors.push(near, far);
    return { near, far };
  };

  const received = (fd: number): string => {
    const room = Buffer.alloc(1 << 20);
    let text = '';
    for (;;) {
      const count = sys.receive(fd, sys.addressOf(room), room.length, MSG_DONTWAIT);
      if (count <= 0) return text;
      text += room.toString('latin1', 0, count);
    }
  };

  class Recorded implements Sender {
    readonly fd: number;
    readonly short: { text: string; written: number }[] = [];

    constructor(fd: number) {
      this.fd = fd;
    }

    sentShort(bytes: Buffer, start: number, end: number, written: number): void {
      this.short.push({ text: bytes.toString('latin1', start, end), written });
    }
  }

  const put = (arena: Arena, text: string): { start: number; end: number } => {
    const start = arena.used;
    arena.used += arena.bytes.write(text, start, 'latin1');
    return { start, end: arena.used };
  };

  const queue = (batch: SendBatch, sender: Sender, text: string): void => {
    batch.makeRoom(text.length);
    const { stage } = batch;
    const start = stage.used;
    stage.bytes.write(text, start, 'latin1');
    batch.queue(sender, stage, start, start + text.length);
  };

  test('nothing goes out before the flush, then everything, each to its own', () => {
    const batch = new SendBatch(sys, ringOf(8), () => undefined);
    const arena = new Arena(sys, 4096);
    const [one, two] = [pair(), pair()];
    const place = put(arena, 'in place');
    batch.queue(new Recorded(one.near), arena, place.start, place.end);
    queue(batch, new Recorded(two.near), 'gathered');
    queue(batch, new Recorded(one.near), ', and behind it');
    expect(received(one.far) + received(two.far)).toBe('');
    batch.flush();
    expect(received(one.far)).toBe('in place, and behind it');
    expect(received(two.far)).toBe('gathered');
    expect(batch.stage.used).toBe(0);
    batch.flush(); // nothing is queued: nothing happens
    batch.close();
  });

  test('more than the ring and the stage hold, many times around', () => {
    const batch = new SendBatch(sys, ringOf(4), () => undefined);
    const { near, far } = pair();
    const sender = new Recorded(near);
    let sent = '';
    let got = '';
    for (let i = 0; i < 500; i++) {
      const text = `${i}:${'x'.repeat((i * 37) % 9000)};`;
      queue(batch, sender, text);
      sent += text;
      if (i % 7 !== 0) continue;
      batch.flush();
      got += received(far);
    }
    batch.flush();
    got += received(far);
    expect(sender.short).toEqual([]);
    expect(got).toBe(sent);
    expect(STAGE_BYTES).toBeLessThan(sent.length);
    batch.close();
  });

  test('a full socket, a broken one and no socket at all: each is told, the others are served', () => {
    const batch = new SendBatch(sys, ringOf(8), () => undefined);
    const [full, broken, fine] = [pair(), pair(), pair()];
    const filler = Buffer.alloc(1 << 16, 'f');
    while (sys.transmit(full.near, sys.addressOf(filler), filler.length, MSG_DONTWAIT) > 0);
    sys.shutdown(broken.near, 1);
    const senders = [full.near, broken.near, 1 << 20, fine.near].map((fd) => new Recorded(fd));
    for (const sender of senders) queue(batch, sender, `to ${sender.fd}`);
    batch.flush();
    expect(senders.map((sender) => sender.short)).toEqual([
      [{ text: `to ${full.near}`, written: -ERRNO.EAGAIN }],
      [{ text: `to ${broken.near}`, written: -ERRNO.EPIPE }],
      [{ text: `to ${1 << 20}`, written: -ERRNO.EBADF }],
      [],
    ]);
    expect(received(fine.far)).toBe(`to ${fine.near}`);
    batch.close();
  });

  test('the ring fails: what it did not take is given back, and sending goes on without it', () => {
    let failures = 0;
    const ring = ringOf(8);
    const batch = new SendBatch(sys, ring, () => failures++);
    const { near, far } = pair();
    const sender = new Recorded(near);
    queue(batch, sender, 'one');
    ring.close(); // as if the kernel refused every further call
    batch.flush();
    expect(sender.short).toEqual([{ text: 'one', written: -ERRNO.EAGAIN }]);
    expect(failures).toBe(1);
    queue(batch, sender, 'two');
    batch.flush();
    expect(received(far)).toBe('two');
    expect(failures).toBe(1);
  });

  test('what the kernel did not take never goes out later', () => {
    const calls = { enterRing: sys.enterRing };
    const ring = SendRing.open({ ...sys, enterRing: (...args) => calls.enterRing(...args) }, 8);
    if (typeof ring === 'string') throw new Error(ring);
    const { near, far } = pair();
    const arena = new Arena(sys, 64);
    const stale = put(arena, 'stale');
    ring.queue(near, arena.address + stale.start, 5);
    calls.enterRing = () => -1;
    expect(ring.submit()).toBe(false);
    expect(ring.results[0]).toBe(-ERRNO.EAGAIN);
    calls.enterRing = sys.enterRing;
    const fresh = put(arena, 'fresh');
    ring.queue(near, arena.address + fresh.start, 5);
    expect(ring.submit()).toBe(true);
    expect(ring.results[0]).toBe(5);
    expect(received(far)).toBe('fresh');
    ring.close();
  });
});
