/** Replication connections, with a server whose last bytes take their time. */
import { connect, createServer, type Server, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { message as m } from '../conformance/postgres/raw-client.ts';
import {
  type Dbwitness,
  isMissing,
  type PostgresServer,
  startDbwitness,
  startPostgres,
  waitFor,
} from '../servers/index.ts';
import { AuditedClient } from './support/audit.ts';

/** ReadyForQuery: type, length, status. */
const READY_BYTES = 6;

/** Carries everything to the server and back, but holds the last ReadyForQuery of an answer while it is told to. */
class SlowReady {
  hold = false;
  readonly #server: Server;
  readonly #sockets: Socket[] = [];
  #held: (() => void)[] = [];

  private constructor(port: number) {
    this.#server = createServer((client) => {
      const upstream = connect(port, '127.0.0.1');
      this.#sockets.push(client, upstream);
      for (const socket of [client, upstream]) socket.on('error', () => undefined).setNoDelay(true);
      client.pipe(upstream);
      upstream.on('data', (bytes: Buffer) => {
        const ready = bytes.length - READY_BYTES;
        const cut = this.hold && bytes.toString('latin1', ready, ready + 5) === 'Z\0\0\0\x05';
        client.write(cut ? bytes.subarray(0, ready) : bytes);
        if (cut) this.#held.push(() => client.write(bytes.subarray(ready)));
      });
      upstream.on('close', () => client.destroy());
      client.on('close', () => upstream.destroy());
    });
  }

  static async before(port: number): Promise<SlowReady> {
    const cable = new SlowReady(port);
    await new Promise<void>((done) => cable.#server.listen(0, '127.0.0.1', done));
    return cable;
  }

  get port(): number {
    return (this.#server.address() as { port: number }).port;
  }

  get holds(): boolean {
    return this.#held.length > 0;
  }

  /** Sends what is held, and holds nothing more. */
  release(): void {
    this.hold = false;
    for (const send of this.#held.splice(0)) send();
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}

describe.skipIf(isMissing('postgres'))('a replication connection', () => {
  let server: PostgresServer;
  let cable: SlowReady;
  let node: Dbwitness;

  beforeAll(async () => {
    server = await startPostgres({ version: '15' });
    cable = await SlowReady.before(server.port);
    node = await startDbwitness();
  });
  afterAll(async () => {
    await node?.stop();
    cable?.close();
    await server?.stop();
  });

  it('is not told that a command is done before its outcome is recorded', async () => {
    const access = await node.grantAccess(server, {
      database: { host: '127.0.0.1', port: cable.port, recording: { allow_replication: true } },
    });
    const client = await AuditedClient.connect(node, access, { replication: 'database' });
    const other = await AuditedClient.connect(node, await node.grantAccess(server));
    // The server says CommandComplete at once; the second command also has something to say behind it.
    const commands: [string, string[], string[]][] = [
      ['IDENTIFY_SYSTEM', ['T', 'D'], ['C IDENTIFY_SYSTEM', 'Z I']],
      ['SET default_transaction_read_only = on', [], ['C SET', 'S', 'Z I']],
    ];
    for (const [sql, early, late] of commands) {
      cable.hold = true;
      client.raw.send(m.query(sql));
      await waitFor('the answer to come but for its end', () => cable.holds);
      // Turns of the relay have passed when somebody else has been answered.
      for (let i = 0; i < 10; i++) await other.exchange(m.query('SELECT 3'));
      expect(client.lines()).toEqual(early);
      cable.release();
      await client.raw.until('Z');
      expect(client.lines()).toEqual(late);
    }
    expect(await client.exchange(m.query('SELECT 1'))).toEqual(['T', 'D', 'C SELECT 1', 'Z I']);
    const statements = await client.statements();
    expect(statements.map(({ sql, outcome, tag }) => [sql, outcome, tag])).toEqual([
      [commands[0][0], 'completed', 'IDENTIFY_SYSTEM'],
      [commands[1][0], 'completed', 'SET'],
      ['SELECT 1', 'completed', 'SELECT 1'],
    ]);
  });
});
