/** A TCP relay that keeps what it carries: how golden traces are recorded. */
import { type AddressInfo, connect, createServer, type Server } from 'node:net';

export class Tap {
  readonly #server: Server;
  readonly connections: { client: Buffer[]; upstream: Buffer[] }[] = [];

  constructor(port: number) {
    this.#server = createServer((client) => {
      const record: { client: Buffer[]; upstream: Buffer[] } = { client: [], upstream: [] };
      this.connections.push(record);
      const upstream = connect(port, '127.0.0.1');
      client.on('data', (chunk: Buffer) => {
        record.client.push(chunk);
        upstream.write(chunk);
      });
      upstream.on('data', (chunk: Buffer) => {
        record.upstream.push(chunk);
        client.write(chunk);
      });
      client.on('close', () => upstream.destroy()).on('error', () => upstream.destroy());
      upstream.on('close', () => client.end()).on('error', () => client.destroy());
    });
  }

  async listen(): Promise<number> {
    await new Promise<void>((resolve) => {
      this.#server.listen(0, '127.0.0.1', resolve);
    });
    return (this.#server.address() as AddressInfo).port;
  }

  close(): void {
    this.#server.close();
  }
}
