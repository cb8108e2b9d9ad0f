/**
 * HOSTILE.md 50, and other things that a server may try: a small server of our own that says what no server should. Its
 * clients get an error and keep their files; it gets no password that it should not have.
 */
import { createServer, type Server, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ByteWriter } from '../../src/base/bytes.ts';
import { encodeHandshakeV10 } from '../../src/wire/mysql/handshake.ts';
import { Capability as C } from '../../src/wire/mysql/protocol.ts';
import { failureOf, packet, RawMysql } from '../conformance/mysql/raw-client.ts';
import { type Access, type Dbwitness, startDbwitness, waitFor } from '../servers/index.ts';
import { AuditedMysql } from './support/mysql-audit.ts';

const FLAGS =
  C.PROTOCOL_41 |
  C.SECURE_CONNECTION |
  C.PLUGIN_AUTH |
  C.CONNECT_WITH_DB |
  C.LOCAL_FILES |
  C.LONG_PASSWORD |
  C.TRANSACTIONS |
  C.MULTI_RESULTS |
  C.MULTI_STATEMENTS;
const OK = Buffer.from([0, 0, 0, 2, 0, 0, 0]);
const fileRequest = (name: string): Buffer => Buffer.concat([Buffer.from([0xfb]), Buffer.from(name)]);

/** Says `answers` one after the other to whatever comes, from the log-in on. `null`: nothing. */
class FakeServer {
  readonly heard: Buffer[] = [];
  answers: (Buffer | null)[] = [];
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  constructor(authPlugin = 'mysql_native_password') {
    this.#server = createServer((socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => undefined);
      const writer = new ByteWriter(256);
      encodeHandshakeV10(writer, {
        serverVersion: '8.0.30',
        connectionId: 7,
        authData: Buffer.alloc(20, 0x61),
        capabilities: { flags: FLAGS >>> 0, mariadb: 0 },
        collation: 45,
        status: 2,
        authPlugin,
      });
      socket.write(writer.copy());
      socket.on('data', (bytes: Buffer) => {
        this.heard.push(Buffer.from(bytes));
        const answer = this.answers.shift();
        if (answer) socket.write(answer);
      });
    });
  }

  async listen(): Promise<number> {
    await new Promise<void>((done) => {
      this.#server.listen(0, '127.0.0.1', done);
    });
    const address = this.#server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }

  said(): string {
    return Buffer.concat(this.heard).toString('latin1');
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }
}

describe('a hostile server', () => {
  let node: Dbwitness;
  const servers: FakeServer[] = [];

  beforeAll(async () => {
    node = await startDbwitness({ mysql: true });
  });
  afterAll(async () => {
    for (const server of servers) server.close();
    await node?.stop();
  });

  async function behind(
    answers: (Buffer | null)[],
    database: Readonly<Record<string, unknown>> = {},
    plugin?: string,
  ): Promise<{ fake: FakeServer; access: Access }> {
    const fake = new FakeServer(plugin);
    servers.push(fake);
    const port = await fake.listen();
    const user = await node.createUser();
    const name = `fake${servers.length}`;
    const made = await node.api<{ uid: string }>('POST', '/databases', {
      name,
      description: '',
      protocol: 'mysql',
      host: '127.0.0.1',
      port,
      database_name: 'test',
      username: 'app',
      password: 'stored-secret',
      ssl_mode: 'disable',
      ...database,
    });
    const grant = await node.createGrant(user.uid, made.uid);
    fake.answers = answers;
    const access = {
      host: node.host,
      port: node.mysqlPort,
      user: user.username,
      password: user.password,
      database: name,
      userUid: user.uid,
      databaseUid: made.uid,
      grantUid: grant.uid,
    };
    // Its greeting was read when the database was made; that is over before anybody comes.
    fake.heard.length = 0;
    return { fake, access };
  }

  const LOGGED_IN = packet(OK, 2);
  const allowed = { recording: { allow_local_infile: true } };

  it('50: a file that no statement asked for', async () => {
    for (const database of [{}, allowed]) {
      const { fake, access } = await behind([LOGGED_IN, packet(fileRequest('/etc/passwd'), 1)], database);
      const client = await AuditedMysql.connect(node, access);
      const answer = await client.raw.query('SELECT 1');
      expect(answer[0].payload[0]).toBe(0xff);
      expect(failureOf(answer)).toMatch(/asked for a file/);
      await client.raw.untilClosed();
      expect(fake.said()).not.toContain('root:');
      const [statement] = await client.recorded();
      expect(statement).toMatchObject({ sql: 'SELECT 1', outcome: 'unknown' });
    }
  });

  it('50: another file than the statement names, and one where LOCAL is not allowed', async () => {
    const load = "LOAD DATA LOCAL INFILE '/tmp/mine.csv' INTO TABLE t";
    const other = await behind([LOGGED_IN, packet(fileRequest('/etc/passwd'), 1)], allowed);
    const one = await RawMysql.connect(other.access);
    expect(failureOf(await one.query(load))).toMatch(/asked for a file/);
    await one.untilClosed();
    const forbidden = await behind([LOGGED_IN, packet(fileRequest('/tmp/mine.csv'), 1)]);
    const two = await RawMysql.connect(forbidden.access);
    expect(failureOf(await two.query(load))).toMatch(/asked for a file/);
    await two.untilClosed();
  });

  const MINE = "LOAD DATA LOCAL INFILE '/tmp/mine.csv' INTO TABLE t";

  it.each([MINE, `/*!50000 ${MINE} */`, `SET STATEMENT max_statement_time=9 FOR ${MINE}`])(
    '50: the file that the statement names is sent, and recorded: %s',
    async (load) => {
      const { fake, access } = await behind(
        [LOGGED_IN, packet(fileRequest('/tmp/mine.csv'), 1), packet(Buffer.from([0, 1, 0, 2, 0, 0, 0]), 4)],
        allowed,
      );
      const client = await AuditedMysql.connect(node, access);
      const asked = await client.raw.query(load);
      expect(asked[0].payload.toString('latin1', 1)).toBe('/tmp/mine.csv');
      client.raw.send(packet(Buffer.from('1,one\n'), 2), packet(Buffer.alloc(0), 3));
      expect(failureOf(await client.raw.answer())).toBe('');
      await waitFor('the file to arrive', () => fake.said().includes('1,one'));
      const [statement] = await client.statements();
      expect(statement).toMatchObject({ outcome: 'completed', bytes: 6 });
    },
  );

  it('50: each LOAD of one text is asked for its own file, and no other statement', async () => {
    const more = packet(Buffer.from([0, 1, 0, 0x0a, 0, 0, 0]), 4);
    const { access } = await behind(
      [
        LOGGED_IN,
        packet(fileRequest('/tmp/mine.csv'), 1),
        Buffer.concat([more, packet(fileRequest('/tmp/its.csv'), 5)]),
        Buffer.concat([
          packet(Buffer.from([0, 1, 0, 0x0a, 0, 0, 0]), 8),
          packet(fileRequest('/tmp/its.csv'), 9),
        ]),
      ],
      allowed,
    );
    const client = await AuditedMysql.connect(node, access);
    const { raw } = client;
    await raw.query(`${MINE}; LOAD DATA LOCAL INFILE '/tmp/its.csv' INTO TABLE t; SELECT '/tmp/its.csv'`);
    raw.send(packet(Buffer.from('1,one\n'), 2), packet(Buffer.alloc(0), 3));
    const next = (await raw.answer()).at(-1);
    expect(next?.payload.toString('latin1', 1)).toBe('/tmp/its.csv');
    raw.send(packet(Buffer.from('2,two!\n'), 6), packet(Buffer.alloc(0), 7));
    expect(failureOf(await raw.answer())).toMatch(/asked for a file/);
    await raw.untilClosed();
    const [first, second, third] = await client.recorded();
    expect(first).toMatchObject({ outcome: 'completed', bytes: 6 });
    expect(second).toMatchObject({ outcome: 'completed', bytes: 7 });
    expect(third).toMatchObject({ outcome: 'unknown' });
  });

  it('50: the file that a prepared LOAD names is sent, and recorded', async () => {
    const prepared = packet(Buffer.from([0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), 1);
    const { access } = await behind(
      [
        LOGGED_IN,
        prepared,
        packet(fileRequest('/tmp/mine.csv'), 1),
        packet(Buffer.from([0, 1, 0, 2, 0, 0, 0]), 4),
      ],
      allowed,
    );
    const client = await AuditedMysql.connect(node, access);
    const { raw } = client;
    expect(failureOf(await raw.run(Buffer.from(`\x16${MINE}`), 'prepare'))).toBe('');
    const asked = await raw.run(Buffer.from([0x17, 1, 0, 0, 0, 0, 1, 0, 0, 0]));
    expect(asked[0].payload.toString('latin1', 1)).toBe('/tmp/mine.csv');
    raw.send(packet(Buffer.from('1,one\n'), 2), packet(Buffer.alloc(0), 3));
    expect(failureOf(await raw.answer())).toBe('');
    const [statement] = await client.statements();
    expect(statement).toMatchObject({ outcome: 'completed', bytes: 6 });
  });

  it('50: commands sent where the file must come are no file', async () => {
    const { fake, access } = await behind([LOGGED_IN, packet(fileRequest('/tmp/mine.csv'), 1)], allowed);
    const client = await AuditedMysql.connect(node, access);
    client.pipeline("LOAD DATA LOCAL INFILE '/tmp/mine.csv' INTO TABLE t", 'SELECT 2');
    await client.raw.untilClosed();
    expect(fake.said()).toContain('mine.csv');
  });

  it.each([
    ['an answer out of order', packet(OK, 9)],
    ['an empty packet', packet(Buffer.alloc(0), 1)],
    ['a column count of nothing', packet(Buffer.from([0xfd, 0, 0, 0]), 1)],
    ['an OK that ends early', packet(Buffer.from([0, 0xfe, 1]), 1)],
    ['two answers', Buffer.concat([packet(OK, 1), packet(OK, 1)])],
    [
      'a definition that is none',
      Buffer.concat([
        packet(Buffer.from([1]), 1),
        packet(Buffer.from([0xfe, 0, 0, 2, 0]), 2),
        packet(OK, 3),
        packet(OK, 9),
      ]),
    ],
    ['more results that never come', packet(Buffer.from([0, 0, 0, 0x0a, 0, 0, 0]), 1)],
  ])('%s', async (name, bytes) => {
    const { access } = await behind([LOGGED_IN, bytes]);
    const client = await AuditedMysql.connect(node, access);
    client.pipeline('SELECT 1');
    if (name === 'more results that never come') {
      await client.raw.packet();
      client.raw.destroy();
    } else await client.raw.untilClosed();
    const recorded = await client.recorded();
    expect(recorded).toHaveLength(1);
  });

  it.each([
    ['the password in clear', 'mysql_clear_password', Buffer.alloc(0)],
    ['a method that we do not have', 'dialog', Buffer.from('Password: ')],
    ['the password of MySQL 3.23', 'mysql_old_password', Buffer.alloc(9)],
  ])('asks for %s', async (_name, plugin, data) => {
    const request = Buffer.concat([Buffer.from([0xfe]), Buffer.from(`${plugin}\0`), data]);
    const { fake, access } = await behind([packet(request, 2)]);
    await expect(RawMysql.connect(access)).rejects.toThrow(/1429|refused|ssl_mode|method/);
    expect(fake.said()).not.toContain('stored-secret');
  });

  it('sends an RSA key of its own unasked, or where TLS is required', async () => {
    const { fake, access } = await behind(
      [packet(Buffer.from('\x01-----BEGIN PUBLIC KEY-----'), 2)],
      {},
      'caching_sha2_password',
    );
    await expect(RawMysql.connect(access)).rejects.toThrow(/1429/);
    expect(fake.said()).not.toContain('stored-secret');
    const tls = await behind(
      [packet(Buffer.from([1, 4]), 2)],
      { ssl_mode: 'require' },
      'caching_sha2_password',
    );
    await expect(RawMysql.connect(tls.access)).rejects.toThrow(/does not offer TLS/);
    expect(tls.fake.said()).toBe('');
  });

  it('says nothing', async () => {
    const { access } = await behind([LOGGED_IN, null]);
    const client = await AuditedMysql.connect(node, access);
    client.pipeline('SELECT 1');
    await waitFor('the session', async () => (await client.sessions()).length > 0);
    await node.api('POST', `/grants/${access.grantUid}/revoke`, {}).catch(() => undefined);
    client.raw.destroy();
    expect(await client.recorded()).toMatchObject([{ outcome: 'unknown' }]);
  });
});
