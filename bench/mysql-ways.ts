/** The ways to a MariaDB server: direct, HAProxy, dbwitness; and what is run through them. */
import type { Socket } from 'node:net';
import { createConnection } from 'mysql2';
import {
  startDbwitness,
  startHaproxy,
  startMariadb,
  sysbench,
  sysbenchInit,
  type Target,
} from '../test/servers/index.ts';
import type { Load } from './throughput.ts';
import type { Transfer } from './transfer.ts';
import { dbwitnessWay, type Field } from './ways.ts';

/** The table fits into the buffer pool; the disk is not what is compared. */
const SETTINGS = { innodb_buffer_pool_size: '512M' };

/** Starts everything: MariaDB 10.11 and what stands in front of it. */
export async function startMysqlField(): Promise<Field> {
  const server = await startMariadb({ version: '10.11', settings: SETTINGS });
  const haproxy = await startHaproxy(server);
  const node = await startDbwitness({ mysql: true, env: { DBW_INDEX_LAG_SECONDS: undefined } });
  const direct: Target = {
    host: server.host,
    port: server.port,
    user: server.user,
    password: server.password,
    database: 'test',
  };
  await sysbenchInit(direct);
  // Everything recorded, by the defaults; upstream over the Unix socket, as recommended for a server of the same host.
  const access = await node.grantAccess(server, { database: { host: server.socket } });
  return {
    serverPid: server.pid,
    node,
    ways: [
      { name: 'direct', target: direct, pid: null, relayPid: null },
      {
        name: 'haproxy',
        target: { ...direct, port: haproxy.port },
        pid: haproxy.pid,
        relayPid: haproxy.pid,
      },
      dbwitnessWay(node, access),
    ],
    stop: async () => {
      await Promise.all([haproxy.stop(), node.stop()]);
      await server.stop();
    },
  };
}

/** Point selects, by the text protocol and prepared, with 8 connections and with 1. */
export const MYSQL_LOADS: readonly Load[] = (['text', 'prepared'] as const).flatMap((protocol) =>
  [8, 1].map((clients) => ({
    name: `point select, ${protocol}, ${clients} connection${clients === 1 ? '' : 's'}`,
    clients,
    run: (target, seconds) => sysbench(target, { script: 'oltp_point_select', protocol, clients, seconds }),
  })),
);

const ROW_BYTES = 1000;

/** A result by SELECT. */
export function mysqlTransfers(): Transfer[] {
  return [
    {
      kind: 'SELECT',
      isResult: true,
      run: async (target, megabytes, began) => {
        const rows = Math.round((megabytes * 1e6) / ROW_BYTES);
        const socket = await loggedIn(target);
        began();
        const started = performance.now();
        let firstMs = Number.NaN;
        const sql = `SELECT repeat('x', ${ROW_BYTES - 4}) FROM seq_1_to_${rows}`;
        const bytes = await drain(socket, sql, rows, () => {
          firstMs = performance.now() - started;
        });
        const seconds = (performance.now() - started) / 1000;
        socket.destroy();
        return { bytes, seconds, firstMs };
      },
    },
  ];
}

/** A connection whose log-in the driver did; from then on its bytes are ours, as parsing them would be what is measured. */
function loggedIn(target: Target): Promise<Socket> {
  return new Promise((done, fail) => {
    const { host, port, user, password, database } = target;
    const client = createConnection({ host, port, user, password, database });
    client.connect((error) => {
      if (error !== null) {
        fail(error);
        return;
      }
      const { stream } = client as unknown as { stream: Socket };
      stream.removeAllListeners();
      done(stream);
    });
  });
}

const COM_QUERY = 0x03;
/** First byte of the packet that ends a result. No row here begins with it: each begins with the length of its column. */
const END = 0xfe;

/**
 * Sends a query and reads its result of one column to its end, packet headers only. Resolves with the bytes of it.
 * Calls `first` at the first bytes of the first row.
 */
function drain(socket: Socket, sql: string, rows: number, first: () => void): Promise<number> {
  const text = Buffer.from(sql);
  const header = Buffer.from([0, 0, 0, 0, COM_QUERY]);
  header.writeUIntLE(text.length + 1, 0, 3);
  const frames = new PacketSkipper();
  return new Promise((done, fail) => {
    socket.once('error', fail);
    socket.once('close', () => fail(new Error('the connection was closed in the middle of the result')));
    let bytes = 0;
    let seen = false;
    socket.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      frames.skip(chunk);
      if (frames.firstByte === 0xff) fail(new Error(`refused: ${chunk.toString('latin1')}`));
      // Column count and one column definition come before the rows.
      if (!seen && frames.packets > 2) {
        seen = true;
        first();
      }
      if (frames.packets > rows && frames.atEnd && frames.firstByte === END) done(bytes);
    });
    socket.write(Buffer.concat([header, text]));
  });
}

/** Follows packets by their headers: three bytes of length, one of sequence. */
class PacketSkipper {
  /** Packets whose first payload byte was seen. */
  packets = 0;
  /** Of the newest packet. */
  firstByte = -1;
  #header = 0;
  #length = 0;
  #left = 0;

  /** Whether the newest packet is complete. */
  get atEnd(): boolean {
    return this.#left === 0 && this.#header === 0;
  }

  skip(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#left > 0) {
        if (this.#left === this.#length) {
          this.firstByte = chunk[at];
          this.packets++;
        }
        const step = Math.min(this.#left, chunk.length - at);
        this.#left -= step;
        at += step;
        continue;
      }
      if (this.#header === 0) this.#length = 0;
      if (this.#header < 3) this.#length |= chunk[at] << (8 * this.#header);
      at++;
      if (++this.#header < 4) continue;
      this.#left = this.#length;
      this.#header = 0;
    }
  }
}
