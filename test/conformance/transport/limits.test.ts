/** What happens at the machine's limits, and when nothing happens. Each driver. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test } from 'vitest';
import { SockAddr } from '../../../src/transport/sockaddr.ts';
import { loadSyscalls } from '../../../src/transport/syscalls.ts';
import { Bench, collect, DRIVERS, failsWith, Recorder, until } from './support.ts';

describe.each(DRIVERS)('%s', (driver) => {
  const cleanups: (() => unknown)[] = [];

  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
  });

  /** The echo server in a process that may open few descriptors. */
  async function startChild(descriptors: number): Promise<{ port: number; pid: number; said: () => string }> {
    const script = fileURLToPath(new URL('echo-child.ts', import.meta.url));
    const command = `ulimit -n ${descriptors}; exec "${process.execPath}" "${script}" ${driver}`;
    const child = spawn('sh', ['-c', command], { stdio: ['ignore', 'pipe', 'inherit'] });
    cleanups.push(() => child.kill('SIGKILL'));
    const said = collect(child.stdout);
    await until(() => /port \d+/.test(said.bytes().toString()), 'the child to listen');
    const port = Number(/port (\d+)/.exec(said.bytes().toString())?.[1]);
    return { port, pid: child.pid ?? 0, said: () => said.bytes().toString() };
  }

  /** Whether a new connection gets back what it sends; `false` when it is turned away. */
  async function echoes(port: number): Promise<boolean> {
    const socket = connect({ port, host: '127.0.0.1' });
    cleanups.push(() => socket.destroy());
    let refused = false;
    socket.on('error', () => (refused = true)).on('close', () => (refused = true));
    const received = collect(socket);
    socket.write('still there?');
    await until(() => refused || received.bytes().length === 12, 'the echo after the shortage');
    return !refused;
  }

  test.skipIf(process.platform !== 'linux')('out of descriptors: it says so, and recovers', async () => {
    const child = await startChild(60);
    const sockets = Array.from({ length: 80 }, () => {
      const socket = connect({ port: child.port, host: '127.0.0.1' });
      socket.on('error', () => undefined);
      socket.resume();
      return socket;
    });
    if (driver !== 'node') {
      await until(() => child.said().includes('TRANSPORT_ACCEPT_FAILED'), 'the report');
      expect(child.said()).toContain('ulimit -n');
    } else {
      // libuv takes and closes what it has no descriptor for, and tells nobody.
      await until(() => sockets.some((socket) => socket.closed), 'a connection to be turned away');
    }
    for (const socket of sockets) socket.destroy();
    // The first ones may still be turned away: the child has not yet seen all the others go.
    let echoed = false;
    for (let i = 0; i < 200 && !echoed; i++) echoed = await echoes(child.port);
    expect(echoed).toBe(true);
  });

  test.skipIf(process.platform !== 'linux')('a server that never answers: the dial times out', async () => {
    const sys = loadSyscalls();
    if (typeof sys === 'string') throw new Error(sys);
    const fd = sys.socket(2, 1, 0);
    cleanups.push(() => sys.close(fd));
    const any = SockAddr.encode({ family: 4, address: '127.0.0.1', port: 0 });
    expect(sys.bind(fd, any, any.length)).toBe(0);
    expect(sys.listen(fd, 0)).toBe(0);
    const { port } = new SockAddr(sys).ofSocket(fd);
    // Nobody accepts; when its queue is full, the kernel does not answer any more.
    for (let i = 0; i < 2; i++) {
      const filler = connect({ port, host: '127.0.0.1' });
      filler.on('error', () => undefined);
      cleanups.push(() => filler.destroy());
      if (i === 0) await once(filler, 'connect');
    }
    const bench = new Bench(driver);
    cleanups.push(() => bench.close());
    const { reactor } = bench;
    await expect(reactor.dial({ host: '127.0.0.1', port, timeoutMs: 150 })).rejects.toSatisfy(
      failsWith('unavailable', 'within 150 ms'),
    );
  });

  test('a reactor that was closed leaves nothing open, and refuses nothing it should not', async () => {
    const bench = new Bench(driver);
    const recorder = new Recorder();
    const { socket } = await bench.pair(() => recorder);
    await bench.close();
    expect(recorder.closed).toBe(true);
    await until(() => socket.closed);
  });
});
