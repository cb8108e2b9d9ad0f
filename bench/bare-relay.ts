/**
 * A relay that does nothing but forward, on one of our reactors: the floor under everything the proxy adds.
 * `node bench/bare-relay.ts <driver> <listen port> <upstream host or socket path> <upstream port>`
 * Prints one line of JSON when it listens, and one with its CPU seconds for each line on stdin.
 */
import type { Link, LinkHandler } from '../src/transport/link.ts';
import { createReactor, type ReactorDriver } from '../src/transport/reactor.ts';

const MAX_BACKLOG_BYTES = 1024 * 1024;

class Forwarder implements LinkHandler {
  readonly #from: Link;
  readonly #to: Link;

  constructor(from: Link, to: Link) {
    this.#from = from;
    this.#to = to;
  }

  onBytes(bytes: Buffer, start: number, end: number): number {
    this.#to.send(bytes, start, end);
    if (this.#to.backlogBytes > MAX_BACKLOG_BYTES) this.#from.pause();
    return end;
  }

  onDrain(): void {
    this.#to.resume();
  }

  onEnd(): void {
    this.#to.end();
  }

  onClose(): void {
    this.#to.destroy();
  }
}

const [driver, port, upstreamHost, upstreamPort] = process.argv.slice(2);
const reactor = createReactor({
  ...(process.env['SPIN_US'] === undefined ? {} : { spinUs: Number(process.env['SPIN_US']) }),
  driver: driver as ReactorDriver,
  report: (error) => console.error(error.message),
});
const listener = await reactor.listen({ host: '127.0.0.1', port: Number(port) }, (client) => {
  client.pause();
  const dialling = reactor.dial({ host: upstreamHost, port: Number(upstreamPort), timeoutMs: 10_000 });
  dialling.then(
    (upstream) => {
      upstream.handler = new Forwarder(upstream, client);
      client.handler = new Forwarder(client, upstream);
      client.resume();
    },
    (error: unknown) => client.destroy(error as Error),
  );
});
console.log(JSON.stringify({ port: listener.port }));
process.stdin.on('data', () => {
  const { user, system } = process.cpuUsage();
  console.log(JSON.stringify({ user: user / 1e6, system: system / 1e6, rss: process.memoryUsage.rss() }));
});
process.stdin.on('end', () => process.exit(0));
