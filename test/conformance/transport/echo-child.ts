/** For `limits.test.ts`: an echo server on a reactor, in a process with few descriptors. Says on stdout what it is told. */
import { createReactor, type ReactorDriver } from '../../../src/transport/reactor.ts';
import { Forwarder } from './support.ts';

const reactor = createReactor({
  driver: process.argv[2] as ReactorDriver,
  report: (error) => console.log(`${error.code} ${error.message}`),
});
const listener = await reactor.listen({ host: '127.0.0.1', port: 0 }, (link) => {
  link.handler = new Forwarder(link, () => link);
});
console.log(`port ${listener.port}`);
