/**
 * HOSTILE.md 39–41, 43, 55 and 56 through the running product: what may come before a session, and in the place of one. For
 * each: a clear error or the right behaviour, nobody let in, nothing reaches the server.
 */
import mysql2 from 'mysql2/promise';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ByteWriter } from '../../src/base/bytes.ts';
import { encodeChangeUser } from '../../src/wire/mysql/commands.ts';
import { encodeHandshakeResponse } from '../../src/wire/mysql/handshake.ts';
import { Capability as C } from '../../src/wire/mysql/protocol.ts';
import { cachingSha2Response } from '../../src/wire/mysql/scramble.ts';
import { failureOf, packet, queryPayload, RawMysql } from '../conformance/mysql/raw-client.ts';
import {
  type Access,
  type Dbwitness,
  isMissing,
  type MysqlServer,
  startDbwitness,
  startMariadb,
  startMysql,
  waitFor,
} from '../servers/index.ts';
import { AuditedMysql } from './support/mysql-audit.ts';

const SERVERS = [
  ['mariadb', () => startMariadb()],
  ['mysql-9.7', () => startMysql()],
] as const;

/** A HandshakeResponse41 for this connection. */
function response(
  client: RawMysql,
  access: Access,
  change: { password?: string; flags?: number } = {},
): Buffer {
  client.agree({});
  const writer = new ByteWriter(512);
  encodeHandshakeResponse(
    writer,
    {
      capabilities: { flags: (client.capabilities.flags | (change.flags ?? 0)) >>> 0, mariadb: 0 },
      maxPacketBytes: 1 << 24,
      collation: 45,
      user: access.user,
      authResponse: cachingSha2Response(change.password ?? access.password, client.greeting.authData),
      database: access.database,
      authPlugin: 'caching_sha2_password',
      attributes: new Map(),
      zstdLevel: 0,
    },
    1,
  );
  return writer.copy();
}

/** COM_CHANGE_USER without a proof, which is asked for then. */
function changeTo(access: Access, raw: RawMysql, name = 'changed'): Buffer {
  const writer = new ByteWriter(256);
  encodeChangeUser(
    writer,
    {
      user: access.user,
      authResponse: Buffer.alloc(0),
      database: access.database,
      collation: 45,
      authPlugin: 'caching_sha2_password',
      attributes: new Map([['program_name', name]]),
    },
    raw.capabilities,
  );
  return writer.copy();
}

describe.each(SERVERS)('%s', (need, start) => {
  describe.skipIf(isMissing(need))('before a session', () => {
    let server: MysqlServer;
    let node: Dbwitness;
    let writer: Access;
    let reader: Access;

    beforeAll(async () => {
      [server, node] = await Promise.all([
        start(),
        startDbwitness({ mysql: true, env: { DBW_MYSQL_PROXY_PROTOCOL_FROM: '127.0.0.9/32' } }),
      ]);
      writer = await node.grantAccess(server);
      reader = await node.grantAccess(server, { grant: { controls: ['read_only'] } });
      await server.query('CREATE TABLE t (a INT)', [], 'test');
    });
    afterAll(async () => {
      await node?.stop();
      await server?.stop();
    });

    const open = (): Promise<RawMysql> => RawMysql.open(node.host, node.mysqlPort);
    const greeted = async (): Promise<RawMysql> => {
      const client = await open();
      await client.greet();
      return client;
    };
    /** The error that ends the connection. What came before it is passed over. */
    const fatal = async (client: RawMysql): Promise<string> => {
      let one = await client.packet();
      while (one.payload[0] !== 0xff) one = await client.packet();
      await client.untilClosed();
      return failureOf([one]);
    };
    const stillServes = async (): Promise<void> => {
      const client = await RawMysql.connect(writer);
      expect(await client.row('SELECT 42')).toEqual(['42']);
      await client.quit();
    };

    it('the greeting says what the server can, and that it is ours', async () => {
      const client = await greeted();
      expect(client.greeting.serverVersion).toMatch(/-dbwitness$/);
      expect(client.greeting.serverVersion).toContain(need === 'mariadb' ? 'MariaDB' : '9.7');
      expect(client.greeting.capabilities.flags & (C.DEPRECATE_EOF | C.SESSION_TRACK)).not.toBe(0);
      expect(client.greeting.capabilities.flags & C.COMPRESS).toBe(0);
      client.destroy();
    });

    it('39: what follows a request for TLS in clear is never taken for what comes inside', async () => {
      const client = await greeted();
      const head = Buffer.alloc(32);
      head.writeUInt32LE((client.greeting.capabilities.flags & 0xffff_ffff) >>> 0, 0);
      client.send(packet(head, 1), response(client, writer));
      await client.untilClosed();
      await stillServes();
    });

    it('39: a second request for TLS, inside', async () => {
      const client = await greeted();
      const head = Buffer.alloc(32);
      head.writeUInt32LE(client.greeting.capabilities.flags >>> 0, 0);
      client.send(packet(head, 1));
      await client.upgrade();
      client.send(packet(head, 2));
      expect(await fatal(client)).toMatch(/^1043 08S01 /);
    });

    it('40: commands before, during and after a failed authentication run nothing', async () => {
      const before = await greeted();
      before.send(packet(Buffer.from('\x03INSERT INTO t VALUES (1)')));
      expect(await fatal(before)).toMatch(/^(?:1156|1043)/);
      const after = await greeted();
      after.send(
        response(after, writer, { password: 'wrong' }),
        packet(Buffer.from('\x03INSERT INTO t VALUES (2)')),
      );
      expect(await fatal(after)).toMatch(/^1156/);
      const refused = await greeted();
      await expect(refused.logIn({ ...writer, password: 'wrong' })).rejects.toThrow(
        /^1045 28000 Access denied/,
      );
      refused.send(packet(Buffer.from('\x03INSERT INTO t VALUES (3)')));
      await refused.untilClosed();
      expect(await server.query('SELECT * FROM t', [], 'test')).toEqual([]);
    });

    it('40: users and databases that there are not look like a wrong password', async () => {
      const wrong = async (change: Partial<Access>): Promise<string> => {
        const client = await greeted();
        const failed = await client.logIn({ ...writer, ...change }).catch((error: unknown) => String(error));
        return String(failed).replaceAll(/'[^']*'@'[^']*'/g, 'WHO');
      };
      const known = await wrong({ password: 'wrong' });
      expect(known).toContain('1045');
      expect(await wrong({ user: 'nobody', password: 'wrong' })).toBe(known);
      expect(await wrong({ database: 'nothing', password: 'wrong' })).toBe(known);
      expect(await wrong({ database: 'nothing' })).toMatch(/1049 42000/);
      // Somebody else's database looks like none at all.
      expect((await wrong({ database: reader.database })).replaceAll(reader.database, 'X')).toBe(
        (await wrong({ database: 'nothing' })).replaceAll('nothing', 'X'),
      );
    });

    it.each([
      ['an empty response', packet(Buffer.alloc(0), 1)],
      ['a response that ends early', packet(Buffer.from([0x00, 0x02, 0, 0, 1]), 1)],
      ['a response of protocol 3.20', packet(Buffer.from('\x05\x00\x00\x00\x00user\0'), 1)],
      ['a response of another sequence id', packet(Buffer.alloc(40, 2), 3)],
      ['a length of 16 MiB', Buffer.from([0xff, 0xff, 0xff, 1])],
      ['HTTP', Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n')],
      ['a PROXY header from an address that may not', Buffer.from('PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n')],
    ])('41: %s', async (_name, bytes) => {
      const client = await greeted();
      client.send(bytes);
      expect(await fatal(client)).toMatch(/^(?:1043|1156)/);
      await stillServes();
    });

    it('41: a handshake that stops in the middle', async () => {
      const client = await greeted();
      client.send(response(client, writer).subarray(0, 20));
      client.destroy();
      await stillServes();
    });

    it('43: COM_CHANGE_USER proves again, and is another session with the grant of that user', async () => {
      const client = await AuditedMysql.connect(node, writer);
      const { raw } = client;
      await raw.failure('SET @mine = 1');
      const change = (access: Access): Buffer => changeTo(access, raw, client.name);
      // The C clients' native method answers with the nonce they were given before, whatever a switch says.
      raw.send(change(reader));
      const { payload, sequence } = await raw.packet();
      const given = Buffer.from(raw.greeting.authData);
      expect(payload.toString('latin1')).toBe(`\xfecaching_sha2_password\0${given.toString('latin1')}\0`);
      raw.send(packet(cachingSha2Response(reader.password, given), sequence + 1));
      await raw.prove(reader.password, given);
      expect(await raw.row('SELECT @mine')).toEqual(['']);
      expect(await raw.failure('INSERT INTO t VALUES (43)')).toMatch(/^1792 25006/);
      // A wrong password ends it.
      raw.send(change(writer));
      await expect(raw.prove('wrong')).rejects.toThrow(/^1045/);
      await raw.untilClosed();
      expect(await client.recorded()).toHaveLength(1);
      const [first] = await client.sessions();
      const others = await node.api<{ items: { application_name: string; parent_session_uid?: string }[] }>(
        'GET',
        `/sessions?user=${reader.userUid}&limit=500`,
      );
      expect(others.items.some((one) => one.application_name === client.name)).toBe(true);
      expect(first['closed_at']).not.toBeNull();
    });

    it('43: COM_CHANGE_USER, and a statement, behind the end that the server made', async () => {
      const bystander = await RawMysql.connect(writer);
      for (const last of ['COM_CHANGE_USER', 'SELECT 43']) {
        const client = await AuditedMysql.connect(node, writer, { halfOpen: true });
        const { raw } = client;
        const [id] = await raw.row('SELECT CONNECTION_ID()');
        await server.query(`KILL ${id}`);
        await waitFor('the end to arrive', () => raw.ended);
        // Clients that keep connections may not have looked yet: PHP's persistent ones begin with COM_CHANGE_USER.
        if (last === 'COM_CHANGE_USER') raw.send(changeTo(writer, raw));
        else raw.send(packet(queryPayload(raw.capabilities, last)));
        await stillServes();
        expect(await bystander.row('SELECT 42')).toEqual(['42']);
        raw.destroy();
        expect((await client.recorded()).map((one) => one.sql)).toEqual(['SELECT CONNECTION_ID()']);
        const [session] = await client.sessions();
        expect(session).toMatchObject({ close_reason: 'upstream_lost' });
      }
      await bystander.quit();
    });

    it('43: COM_RESET_CONNECTION keeps read-only, and forgets what was prepared', async () => {
      const raw = await RawMysql.connect(reader);
      const prepared = await raw.run(Buffer.from('\x16SELECT 1'), 'prepare');
      expect(failureOf(prepared)).toBe('');
      expect(failureOf(await raw.run(Buffer.from([0x1f]), 'one'))).toBe('');
      const [variable] = need === 'mariadb' ? ['tx_read_only'] : ['transaction_read_only'];
      expect(await raw.row(`SELECT @@${variable}`)).toEqual(['1']);
      const id = prepared[0].payload.subarray(1, 5);
      const run = await raw.run(Buffer.concat([Buffer.from([0x17]), id, Buffer.from([0, 1, 0, 0, 0])]));
      expect(failureOf(run)).toMatch(/^1243/);
      await raw.quit();
    });

    it('55: compression is not offered, and a client that claims it is told so', async () => {
      for (const flags of [C.COMPRESS, C.ZSTD_COMPRESSION_ALGORITHM]) {
        const claims = await greeted();
        claims.send(response(claims, writer, { flags }));
        expect(await fatal(claims)).toMatch(/^1043 08S01 dbwitness does not compress; connect without/);
      }
      await stillServes();
    });

    it('55: a client that compresses all the same is not decompressed', async () => {
      const client = await RawMysql.connect(writer);
      // A compressed frame that claims to hold 16 MiB: as a packet it is one that nobody knows.
      client.send(Buffer.from([10, 0, 0, 0, 0xff, 0xff, 0xff, 1, 2, 3, 4, 5, 6, 7]));
      expect(await fatal(client)).toMatch(/^(?:1156|1835)/);
      await stillServes();
    });

    it('56: PROXY headers of a load balancer: UNKNOWN, TCP4, and what is none', async () => {
      const balanced = (header: string): Promise<RawMysql> =>
        RawMysql.open(node.host, node.mysqlPort, '127.0.0.9', header);
      const unknown = await balanced('PROXY UNKNOWN ffff::1 ffff::2 99999 70000\r\n');
      await unknown.greet();
      await unknown.logIn(writer, { attributes: { program_name: 'behind unknown' } });
      const known = await balanced('PROXY TCP4 203.0.113.7 10.0.0.1 4711 3306\r\n');
      await known.greet();
      await known.logIn(writer, { attributes: { program_name: 'behind TCP4' } });
      const addressOf = (name: string): Promise<unknown> =>
        waitFor(`the session ${name}`, async () => {
          const { items } = await node.api<{ items: Record<string, unknown>[] }>(
            'GET',
            `/sessions?user=${writer.userUid}&limit=500`,
          );
          return items.find((one) => one['application_name'] === name)?.['client_address'];
        });
      expect(await addressOf('behind unknown')).toBe('127.0.0.9');
      expect(await addressOf('behind TCP4')).toBe('203.0.113.7');
      await unknown.quit();
      await known.quit();
      const none = await balanced('\x03\x00\x00\x01abc');
      await none.untilClosed();
      await stillServes();
    });

    it('a connection without a database goes to the only one there is', async () => {
      const connection = await mysql2.createConnection({
        host: node.host,
        port: node.mysqlPort,
        user: writer.user,
        password: writer.password,
      });
      const [rows] = await connection.query('SELECT DATABASE() AS d');
      expect(rows).toEqual([{ d: 'test' }]);
      await connection.end();
    });

    it('API keys are passwords, in clear inside TLS as well', async () => {
      const { key: secret } = await node.api<{ key: string }>('POST', '/keys', {
        name: 'mysql',
        user_id: writer.userUid,
      });
      for (const options of [{}, { tls: true }]) {
        const client = await RawMysql.connect({ ...writer, password: secret }, options);
        expect(await client.row('SELECT 1')).toEqual(['1']);
        await client.quit();
      }
    });
  });
});
