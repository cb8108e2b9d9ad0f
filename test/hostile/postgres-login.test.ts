/**
 * HOSTILE.md 1–14 through the running product: what may come before a session, from clients and from upstreams. For each: a
 * clear error or the right behaviour, nobody let in, nothing reaches the server.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { int32, message as m, RawClient } from '../conformance/postgres/raw-client.ts';
import {
  type Access,
  type Dbwitness,
  isMissing,
  type PgTarget,
  type PostgresServer,
  startDbwitness,
  startPostgres,
  waitFor,
} from '../servers/index.ts';
import {
  BareSocket,
  cancelRequest,
  errorFields,
  GSSENC_REQUEST,
  packet,
  SSL_REQUEST,
  startup,
  typed,
} from './support/bare-socket.ts';
import { AuditedClient } from './support/audit.ts';
import { psql } from './support/psql.ts';

let server: PostgresServer;
let node: Dbwitness;
let reader: Access;
let writer: Access;

beforeAll(async () => {
  [server, node] = await Promise.all([
    startPostgres({
      version: '15',
      settings: { log_statement: 'all', log_connections: 'on' },
      initSql: 'CREATE ROLE other; CREATE TABLE t (a int)',
    }),
    startDbwitness(),
  ]);
  reader = await node.grantAccess(server, { grant: { controls: ['read_only'] } });
  writer = await node.grantAccess(server);
});
afterAll(async () => {
  await node?.stop();
  await server?.stop();
});

const socket = (): Promise<BareSocket> => BareSocket.connect(node.pgPort);
const hello = (access: Access = writer): Buffer => startup({ user: access.user, database: access.database });
const saslInitial = (mechanism: string, data: string): Buffer =>
  typed('p', `${mechanism}\0`, int32(Buffer.byteLength(data)), data);

/** Up to AuthenticationSASL, which must come. */
async function challenged(bare: BareSocket, first: Buffer = hello()): Promise<string> {
  bare.send(first);
  const { type, body } = await bare.message();
  expect([type, body.readInt32BE(0)]).toEqual(['R', 10]);
  return body.subarray(4).toString();
}

/** The product is as well as before: somebody gets in and is served. */
async function stillServes(): Promise<void> {
  const client = await RawClient.connect(writer);
  client.send(m.query('SELECT 42'));
  await client.until('Z');
  expect(client.received.find((one) => one.type === 'D')?.body.toString()).toContain('42');
  await client.end();
}

describe.skipIf(isMissing('postgres', 'psql'))('before login', () => {
  describe('encryption', () => {
    it('1: bytes behind SSLRequest in the same segment are never taken for encrypted ones', async () => {
      const bare = await socket();
      bare.send(SSL_REQUEST, hello());
      const error = await bare.fatal();
      expect(error).toMatchObject({ S: 'FATAL', C: '08P01' });
      expect(error['M']).toMatch(/unencrypted data after SSL request/);
    });

    it('1: nor when they come while the handshake is awaited', async () => {
      const bare = await socket();
      bare.send(SSL_REQUEST);
      expect((await bare.take(1)).toString()).toBe('S');
      bare.send(hello());
      await bare.untilClosed();
      expect(bare.rest.includes('SCRAM')).toBe(false);
    });

    it('2: SSLRequest twice, in clear and inside TLS', async () => {
      const inClear = await socket();
      inClear.send(SSL_REQUEST);
      expect((await inClear.take(1)).toString()).toBe('S');
      inClear.send(SSL_REQUEST);
      await inClear.untilClosed();
      const inside = await socket();
      inside.send(SSL_REQUEST);
      await inside.take(1);
      await inside.upgrade();
      inside.send(SSL_REQUEST);
      expect(await inside.fatal()).toMatchObject({ S: 'FATAL', C: '08P01' });
    });

    it('3: GSSENCRequest is refused, and SSLRequest after it is not; the log-in goes on inside TLS', async () => {
      const bare = await socket();
      bare.send(GSSENC_REQUEST);
      expect((await bare.take(1)).toString()).toBe('N');
      bare.send(SSL_REQUEST);
      expect((await bare.take(1)).toString()).toBe('S');
      await bare.upgrade();
      expect(await challenged(bare)).toContain('SCRAM-SHA-256-PLUS');
      bare.destroy();
      const twice = await socket();
      twice.send(GSSENC_REQUEST);
      await twice.take(1);
      twice.send(GSSENC_REQUEST);
      expect(await twice.fatal()).toMatchObject({ C: '08P01' });
    });

    it('4: direct TLS needs the ALPN protocol "postgresql"', async () => {
      const right = await socket();
      await right.upgrade({ ALPNProtocols: ['postgresql'] });
      expect(await challenged(right)).toContain('SCRAM-SHA-256-PLUS');
      right.destroy();
      const none = await socket();
      await none.upgrade();
      none.send(hello());
      expect((await none.fatal())['M']).toMatch(/ALPN/);
      const wrong = await socket();
      await expect(wrong.upgrade({ ALPNProtocols: ['http/1.1'] })).rejects.toThrow();
    });
  });

  describe('start-up packets', () => {
    it.each([0, 4, 10_005, 2 ** 31, 2 ** 32 - 1])(
      '5: length %i is refused with its fourth byte',
      async (length) => {
        const bare = await socket();
        const head = Buffer.alloc(4);
        head.writeUInt32BE(length);
        bare.send(head);
        expect(await bare.fatal()).toMatchObject({ S: 'FATAL', C: '08P01' });
      },
    );

    it('6: a second StartupMessage in mid-SCRAM', async () => {
      const bare = await socket();
      await challenged(bare);
      bare.send(startup({ user: 'admin', database: 'postgres' }));
      expect(await bare.fatal()).toMatchObject({ S: 'FATAL', C: '08P01' });
      const later = await socket();
      await challenged(later);
      later.send(saslInitial('SCRAM-SHA-256', 'n,,n=,r=abcdefgh'));
      expect((await later.message()).body.readInt32BE(0)).toBe(11);
      later.send(startup({ user: 'admin', database: 'postgres' }));
      expect(await later.fatal()).toMatchObject({ S: 'FATAL', C: '08P01' });
    });

    it('7: a Query before authentication ends never reaches the server', async () => {
      const bare = await socket();
      await challenged(bare);
      bare.send(m.query("SELECT 'before authentication'"));
      expect(await bare.fatal()).toMatchObject({ S: 'FATAL', C: '08P01' });
      const behind = await socket();
      behind.send(
        hello(),
        saslInitial('SCRAM-SHA-256', 'n,,n=,r=abcdefgh'),
        m.query("SELECT 'before authentication'"),
      );
      expect(await behind.fatal()).toMatchObject({ S: 'FATAL', C: '08P01' });
      expect(readFileSync(server.logFile, 'utf8')).not.toContain('before authentication');
    });

    it.each([
      { options: '-c default_transaction_read_only=off' },
      { options: '-c search_path=a -c default_transaction_read_only=off' },
      { options: '-cDefault-Transaction-Read-Only=off' },
      { options: '--default-transaction-read-only=off' },
      { options: '-c role=other' },
      { options: '-c session_authorization=other' },
      { options: '--session_replication_role=replica' },
      // White space to us, a letter to the server: what we would take for "-c" is part of search_path.
      { options: '-csearch_path=\u00a0-c --role=other' },
      { options: '-csearch_path=a\\ -c --role=other' },
      { options: '-f s' },
      { options: '-O' },
      { default_transaction_read_only: 'off' },
      { DEFAULT_TRANSACTION_READ_ONLY: 'off' },
      { role: 'other' },
      { session_authorization: 'other' },
      { standard_conforming_strings: 'off' },
    ])('8: start-up settings that would weaken read_only: %j', async (parameters) => {
      await expect(RawClient.connect(reader, parameters as Record<string, string>)).rejects.toThrow(
        /42501.*not allowed here/,
      );
    });

    it('8: harmless ones work, also under read_only, which stays on', async () => {
      for (const options of [
        '-c search_path=pg_catalog',
        '-c default_transaction_read_only=on',
        '--work-mem=4096',
      ]) {
        const client = await RawClient.connect(reader, { options });
        client.send(m.query('SHOW default_transaction_read_only'), m.query('INSERT INTO t VALUES (1)'));
        await client.until('Z', 2);
        expect(client.received.find((one) => one.type === 'D')?.body.toString()).toContain('on');
        expect(
          errorFields(client.received.find((one) => one.type === 'E')?.body ?? Buffer.alloc(0))['C'],
        ).toBe('25006');
        await client.end();
      }
      // Without controls they are the client's own affair.
      const free = await RawClient.connect(writer, {
        options: '-c default_transaction_read_only=on -c role=other',
      });
      free.send(m.query('SHOW role'));
      await free.until('Z');
      expect(free.received.find((one) => one.type === 'D')?.body.toString()).toContain('other');
      await free.end();
    });

    it('8: a setting that the server refuses is refused in its own words, every time', async () => {
      const answer = async (target: PgTarget, options: string): Promise<unknown> => {
        const { host, port, user, password, database } = target;
        const client = new pg.Client({ host, port, user, password, database, options });
        try {
          await client.connect();
          await client.end();
          return 'let in';
        } catch (error) {
          if (!(error instanceof pg.DatabaseError)) return error;
          const { severity, code, message, detail, hint, file, line, routine } = error;
          return { severity, code, message, detail, hint, file, line, routine };
        }
      };
      const { host, port, user, password } = server;
      for (const options of [
        '-c nope=1',
        '-c work_mem=zz',
        '-c client_encoding=nope',
        '-c max_connections=3',
        'word',
      ]) {
        const direct = await answer({ host, port, user, password, database: 'postgres' }, options);
        expect(direct).toMatchObject({ severity: 'FATAL' });
        expect((direct as pg.DatabaseError).routine).toMatch(/./);
        for (let round = 0; round < 3; round++) expect(await answer(writer, options)).toEqual(direct);
        // Behind AuthenticationOk, as from the server: libpq tries again without TLS if it is refused before.
        await expect(RawClient.connect(writer, { options })).rejects.toThrow(
          'refused behind AuthenticationOk',
        );
      }
    });

    it.each(['database', 'true', 'on', '1'])('9: replication=%s is refused', async (replication) => {
      await expect(RawClient.connect(writer, { replication })).rejects.toThrow(/42501.*replication/);
      await expect(RawClient.connect(reader, { replication })).rejects.toThrow(/42501.*replication/);
    });

    it('9: where it is allowed, a command with several results is one statement, and the session goes on', async () => {
      const access = await node.grantAccess(server, { database: { recording: { allow_replication: true } } });
      const client = await AuditedClient.connect(node, access, { replication: 'database' });
      const backup = "BASE_BACKUP (LABEL 'a;b', CHECKPOINT 'fast', WAL false, MANIFEST 'no')";
      const lines = await client.exchange(m.query(backup));
      // Where it begins, the tablespaces, the archive, where it ends: each a result of its own. N: WAL is not archived.
      const told = lines.filter((line) => line !== 'N');
      const shape = told.filter((line, i) => line !== 'd' || told[i - 1] !== 'd');
      const result = ['T', 'D', 'C SELECT'];
      const expected = [...result, ...result, 'H', 'd', 'c', ...result, 'C BASE_BACKUP', 'Z I'];
      expect(shape).toEqual(expected);
      expect(await client.exchange(m.query('BASE_BACKUP (NONSENSE)'))).toEqual([
        'E 42601 unrecognized base backup option: "nonsense"',
        'Z I',
      ]);
      expect(await client.exchange(m.query('SELECT 1; SELECT 2'))).toEqual([
        'T',
        'D',
        'C SELECT 1',
        'T',
        'D',
        'C SELECT 1',
        'Z I',
      ]);
      const statements = await client.statements();
      expect(statements.map(({ sql, outcome, tag, rows }) => [sql, outcome, tag, rows])).toEqual([
        [backup, 'completed', 'BASE_BACKUP', 3],
        ['BASE_BACKUP (NONSENSE)', 'failed', '', 0],
        ['SELECT 1', 'completed', 'SELECT 1', 1],
        ['SELECT 2', 'completed', 'SELECT 1', 1],
      ]);
      expect(statements[0].bytes).toBeGreaterThan(10_000_000);
    });

    it('10: NUL, URL and DSN metacharacters in names; a missing database', async () => {
      const names = [
        'a\'b"c?d=e&f@g/h:i\\j%00',
        'postgres://x:y@z/w?sslmode=disable host=evil',
        `${writer.database}' host=evil user=postgres`,
        'x'.repeat(4000),
        '\u202e\u0000'.replace('\0', '\u0001'),
        '../../etc/passwd',
      ];
      for (const database of names)
        await expect(RawClient.connect({ ...writer, database })).rejects.toThrow(
          /3D000.*there is no database/,
        );
      // Nobody has such a name, and nothing says so before the proof is wrong.
      for (const user of names)
        await expect(RawClient.connect({ ...writer, user })).rejects.toThrow(/28P01|53300/);
      const noDatabase = await socket();
      await challenged(noDatabase, startup({ user: writer.user }));
      noDatabase.destroy();
      const nul = await socket();
      nul.send(packet(int32(196_608), Buffer.from('user\0a\0b\0\0')));
      expect(await nul.fatal()).toMatchObject({ C: '08P01' });
      const nobody = await socket();
      nobody.send(startup({ database: writer.database }));
      expect((await nobody.fatal())['M']).toMatch(/no user name/);
    });
  });

  describe('11: cancel requests', () => {
    const cancel = async (processId: number, key: Buffer): Promise<void> => {
      const bare = await socket();
      bare.send(cancelRequest(processId, key));
      await bare.untilClosed();
      expect(bare.rest.length).toBe(0);
    };
    const keyOf = (client: RawClient): { processId: number; key: Buffer } => {
      const body = client.received.find((one) => one.type === 'K')?.body ?? Buffer.alloc(8);
      return { processId: body.readInt32BE(0), key: body.subarray(4) };
    };

    it('foreign, reused and 256-byte keys and a flood cancel nothing; the right one cancels its own backend', async () => {
      const old = await RawClient.connect(writer);
      const used = keyOf(old);
      await old.end();
      const [mine, others] = await Promise.all([RawClient.connect(writer), RawClient.connect(writer)]);
      mine.send(m.query('SELECT pg_sleep(60)'));
      others.send(m.query("SELECT pg_sleep(2), 'slept'"));
      const { processId, key } = keyOf(mine);
      const running = (): Promise<boolean> =>
        server
          .query(
            "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(60)%' AND state = 'active'",
          )
          .then((rows) => rows.length === 1);
      await waitFor('the sleep', running);
      await cancel(used.processId, used.key);
      await cancel(processId, randomBytes(4));
      await cancel(processId, used.key);
      await cancel(keyOf(others).processId, key);
      await cancel(processId, randomBytes(256));
      await cancel(processId, Buffer.concat([key, Buffer.alloc(28)]));
      await Promise.all(Array.from({ length: 300 }, async () => cancel(processId, randomBytes(4))));
      expect(await running()).toBe(true);
      await cancel(processId, key);
      await mine.until('Z');
      expect(
        mine.received.filter((one) => one.type === 'E').map((one) => errorFields(one.body)['C']),
      ).toEqual(['57014']);
      await others.until('Z');
      expect(others.received.some((one) => one.type === 'E')).toBe(false);
      await Promise.all([mine.end(), others.end()]);
    });

    it('a malformed one, with a key of no or of too many bytes', async () => {
      for (const key of [Buffer.alloc(0), Buffer.alloc(3), Buffer.alloc(257)]) {
        const bare = await socket();
        bare.send(cancelRequest(1, key));
        await bare.untilClosed();
      }
      await stillServes();
    });
  });

  describe('12: SCRAM', () => {
    const wrong: readonly (readonly [string, string, string])[] = [
      ['a nonce of 60,000 bytes', 'SCRAM-SHA-256', `n,,n=,r=${'x'.repeat(60_000)}`],
      ['a name of 60,000 bytes', 'SCRAM-SHA-256', `n,,n=${'x'.repeat(60_000)},r=x`],
      ['no attributes', 'SCRAM-SHA-256', 'n,,'],
      ['no nonce', 'SCRAM-SHA-256', 'n,,n=x'],
      ['a gs2 flag that does not exist', 'SCRAM-SHA-256', 'z,,n=,r=x'],
      ['channel binding without -PLUS', 'SCRAM-SHA-256', 'p=tls-server-end-point,,n=,r=x'],
      ['-PLUS without TLS', 'SCRAM-SHA-256-PLUS', 'p=tls-server-end-point,,n=,r=x'],
      ['another mechanism', 'PLAIN', '\0user\0password'],
    ];
    it.each(wrong)('%s', async (_, mechanism, data) => {
      const bare = await socket();
      await challenged(bare);
      bare.send(saslInitial(mechanism, data));
      expect(await bare.fatal()).toMatchObject({ S: 'FATAL', C: '08P01' });
    });

    it('lengths that lie, and answers that are too long', async () => {
      for (const message of [
        typed('p', 'SCRAM-SHA-256\0', int32(2 ** 31 - 1), 'n,,n=,r=x'),
        typed('p', 'SCRAM-SHA-256\0', int32(-2), 'n,,n=,r=x'),
        Buffer.concat([Buffer.from('p'), int32(2 ** 30)]),
        Buffer.concat([Buffer.from('p'), int32(3)]),
        typed('p', 'SCRAM-SHA-256'),
      ]) {
        const bare = await socket();
        await challenged(bare);
        bare.send(message);
        expect(await bare.fatal()).toMatchObject({ S: 'FATAL', C: '08P01' });
      }
    });

    it('stripped channel binding: "y" where -PLUS was offered', async () => {
      const bare = await socket();
      bare.send(SSL_REQUEST);
      await bare.take(1);
      await bare.upgrade();
      expect(await challenged(bare)).toContain('SCRAM-SHA-256-PLUS');
      bare.send(saslInitial('SCRAM-SHA-256', 'y,,n=,r=abcdefgh'));
      expect((await bare.fatal())['S']).toBe('FATAL');
    });

    it('a proof for another nonce, or a replayed one, lets nobody in', async () => {
      const bare = await socket();
      await challenged(bare);
      bare.send(saslInitial('SCRAM-SHA-256', 'n,,n=,r=abcdefgh'));
      const first = (await bare.message()).body.subarray(4).toString();
      expect(first).toMatch(/^r=abcdefgh.+,s=.+,i=\d+$/);
      bare.send(typed('p', `c=biws,r=abcdefghWRONG,p=${randomBytes(32).toString('base64')}`));
      expect((await bare.fatal())['C']).toMatch(/^(28P01|08P01)$/);
    });

    it('SCRAM-SHA-256-PLUS with libpq, and its refusal without TLS', async () => {
      const bound = await psql(writer, 'SELECT 41 + 1', {
        PGSSLMODE: 'require',
        PGCHANNELBINDING: 'require',
      });
      expect(bound).toMatchObject({ code: 0, stdout: '42\n' });
      const plain = await psql(writer, 'SELECT 1', { PGSSLMODE: 'disable', PGCHANNELBINDING: 'require' });
      expect(plain.code).toBe(2);
      await waitFor('its record', async () => {
        const path = `/sessions?user=${writer.userUid}&limit=1`;
        const { items } = await node.api<{ items: { tls: string }[] }>('GET', path);
        return items[0].tls.startsWith('TLSv1.3 ');
      });
    });
  });

  it('14: slow strangers are bounded, and others get in meanwhile', async () => {
    const slow = await Promise.all(Array.from({ length: 300 }, socket));
    for (const bare of slow) bare.send(Buffer.from([0]));
    await stillServes();
    for (const bare of slow) bare.send(Buffer.from([0]));
    expect(slow.filter((bare) => bare.closed)).toEqual([]);
    const relay = JSON.parse(readFileSync(`${node.dataDir}/node.json`, 'utf8')) as { relay_pid: number };
    const descriptors = /^Max open files\s+(\d+)/m.exec(
      readFileSync(`/proc/${relay.relay_pid}/limits`, 'utf8'),
    )?.[1];
    if (Number(descriptors) > 2_000) {
      // The limit is 1,000: those beyond it are turned away at once, and cost nothing.
      const more = await Promise.all(Array.from({ length: 800 }, socket));
      await waitFor('the surplus to be closed', () => more.filter((bare) => bare.closed).length >= 100);
      expect(more.filter((bare) => bare.closed).length).toBeLessThanOrEqual(100);
      for (const bare of more) bare.destroy();
    }
    for (const bare of slow) bare.destroy();
    await waitFor('log-ins to go on', async () => {
      await stillServes();
      return true;
    });
  });
});
