/**
 * HOSTILE.md 42–54 and 57 through the running product, on both families: what an authenticated client may send. For each:
 * the right behaviour or a clear error, a record per statement, and nothing at the server that the grant does not allow.
 */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Capability as C } from '../../src/wire/mysql/protocol.ts';
import { failureOf, packet, RawMysql, uint32 } from '../conformance/mysql/raw-client.ts';
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
import { outcomes } from './support/audit.ts';
import { AuditedMysql } from './support/mysql-audit.ts';

const SERVERS = [
  ['mariadb', () => startMariadb({ logStatements: true, settings: { max_allowed_packet: '64M' } })],
  ['mysql-9.7', () => startMysql({ logStatements: true, settings: { max_allowed_packet: '64M' } })],
  [
    'mysql-5.6',
    () => startMysql({ version: '5.6', logStatements: true, settings: { max_allowed_packet: '64M' } }),
  ],
] as const;

const command = (byte: number, ...rest: readonly (Buffer | string)[]): Buffer =>
  Buffer.concat([
    Buffer.from([byte]),
    ...rest.map((part) => (typeof part === 'string' ? Buffer.from(part) : part)),
  ]);

describe.each(SERVERS)('%s', (need, start) => {
  describe.skipIf(isMissing(need))('an authenticated client', () => {
    let server: MysqlServer;
    let node: Dbwitness;
    let writer: Access;
    let reader: Access;

    beforeAll(async () => {
      [server, node] = await Promise.all([start(), startDbwitness({ mysql: true })]);
      writer = await node.grantAccess(server);
      reader = await node.grantAccess(server, { grant: { controls: ['read_only'] } });
      await server.query(
        'CREATE TABLE IF NOT EXISTS t (a INT PRIMARY KEY, v LONGBLOB) ENGINE=InnoDB',
        [],
        'test',
      );
      // MySQL 5.6 keeps a tenth of its small redo log for a value of InnoDB's.
      await server.query('CREATE TABLE IF NOT EXISTS big (a INT, v LONGBLOB) ENGINE=MyISAM', [], 'test');
      await server.query('CREATE DATABASE IF NOT EXISTS other');
    });
    afterAll(async () => {
      await node?.stop();
      await server?.stop();
    });

    const log = (): string => readFileSync(server.generalLog, 'latin1');
    const connect = (access: Access = writer): Promise<RawMysql> => RawMysql.connect(access);
    const count = async (): Promise<number> => {
      const [row] = await server.query<{ n: number }>('SELECT COUNT(*) AS n FROM t', [], 'test');
      return row.n;
    };

    it('42: statements, parameters, long data and rows of 16 MiB and more, and exactly at the border', async () => {
      const client = await AuditedMysql.connect(node, writer);
      const { raw } = client;
      for (const size of [0xff_ffff - 40, 0xff_fffe, 0xff_ffff, 0x100_0000, 20_000_000]) {
        // COM_QUERY with a text such that the payload has exactly `size` bytes.
        const head = "SELECT LENGTH('";
        const fixed = (raw.capabilities.flags & C.QUERY_ATTRIBUTES) === 0 ? 1 : 3;
        const text = `${head}${'x'.repeat(size - fixed - head.length - 2)}')`;
        expect(await raw.row(text)).toEqual([String(size - fixed - head.length - 2)]);
      }
      const prepared = await raw.run(command(0x16, 'INSERT INTO big VALUES (42, ?)'), 'prepare');
      const id = prepared[0].payload.readUInt32LE(1);
      const big = Buffer.alloc(17_000_000, 'p');
      raw.send(packet(command(0x18, uint32(id), Buffer.from([0, 0]), big)));
      const named = (raw.capabilities.flags & C.QUERY_ATTRIBUTES) === 0 ? [[], []] : [[1], [0]];
      const tail = Buffer.from([...named[0], 0, 1, 252, 0, ...named[1]]);
      expect(failureOf(await raw.run(command(0x17, uint32(id), Buffer.from([0]), uint32(1), tail)))).toBe('');
      const rows = await raw.query('SELECT v FROM big WHERE a = 42');
      const bytes = rows.reduce((sum, one) => sum + one.payload.length, 0);
      expect(bytes).toBeGreaterThan(big.length);
      expect(await raw.row('SELECT LENGTH(v) FROM big WHERE a = 42')).toEqual([String(big.length)]);
      expect(failureOf(await raw.query('DELETE FROM big'))).toBe('');
      const recorded = await client.statements();
      expect(recorded.map(({ outcome }) => outcome)).toEqual(recorded.map(() => 'completed'));
      expect(recorded.filter(({ sql }) => sql.startsWith('SELECT LENGTH(')).length).toBeGreaterThanOrEqual(5);
      expect(recorded.find(({ sql }) => sql.startsWith('SELECT v'))?.truncated).toBe(true);
    });

    it('42: a payload that goes on in a packet out of order ends the session', async () => {
      const raw = await connect();
      const first = packet(Buffer.alloc(0xff_ffff, 3)).subarray(0, 4 + 0xff_ffff);
      raw.send(first, packet(Buffer.from('tail'), 7));
      const { payload } = await raw.packet();
      expect(failureOf([{ payload, sequence: 0, whole: payload }])).toMatch(/^1156 08S01/);
      await raw.untilClosed();
    });

    it('42: longer than we pass on is refused, and the session goes on', async () => {
      const client = await AuditedMysql.connect(node, writer);
      const packets = await client.raw.query(`SELECT '${'y'.repeat(65 * 1024 * 1024)}'`);
      expect(failureOf(packets)).toMatch(/^1153 08S01 .*at most/);
      expect(await client.raw.row('SELECT 1')).toEqual(['1']);
      expect(outcomes(await client.statements()).at(-2)).toMatch(/refused 08S01$/);
    });

    it('44: COM_SET_OPTION turns several statements on; under controls nothing of a refused text runs', async () => {
      const wanted = 0xffff_ffff & ~C.MULTI_STATEMENTS;
      const raw = await RawMysql.connect(reader, { wanted });
      expect(await raw.failure('SELECT 1; SELECT 2')).toMatch(/^1064/);
      expect(failureOf(await raw.run(command(0x1b, Buffer.from([0, 0])), 'one'))).toBe('');
      expect(await raw.failure('SELECT 1; SELECT 2')).toBe('');
      expect(await raw.failure("SELECT 'of the refused text'; DELETE FROM t; SELECT 3")).toMatch(
        /^1792 25006/,
      );
      expect(log()).not.toContain('of the refused text');
      await raw.quit();
    });

    it('45: code in versioned comments is code', async () => {
      const raw = await connect(reader);
      for (const sql of [
        '/*!50000 DROP TABLE t */',
        '/*! DELETE FROM t */',
        'SELECT 1 /*!; DELETE FROM t */',
        '/*!99999 SELECT 1 */ /*!50000 DELETE FROM t */',
        '/*M! DELETE FROM t */ DELETE FROM t',
        'SELECT /*!50000 1 INTO OUTFILE "/tmp/dbw45" */',
      ])
        expect(await raw.failure(sql), sql).toMatch(/^(?:1792 25006|1227 42000)/);
      expect(await raw.row('SELECT /*!50000 7 */ AS n')).toEqual(['7']);
      await raw.quit();
    });

    it('46: files of the server', async () => {
      const raw = await connect(reader);
      for (const sql of [
        "SELECT 1 INTO/**/OUTFILE '/tmp/dbw46'",
        "SELECT 1 INTO\nDUMPFILE '/tmp/dbw46'",
        "SELECT LOAD_FILE('/etc/passwd')",
        "SELECT load_file /* */ ('/etc/passwd')",
        "LOAD DATA INFILE '/etc/passwd' INTO TABLE t",
      ])
        expect(await raw.failure(sql), sql).toMatch(/^(?:1792 25006|1227 42000)/);
      await raw.quit();
    });

    it('47: comments and quotes as the session reads them', async () => {
      const raw = await connect(reader);
      expect(await raw.row('SELECT 1 # ; DELETE FROM t')).toEqual(['1']);
      expect(await raw.row('SELECT 1 -- ; DELETE FROM t')).toEqual(['1']);
      expect(await raw.failure('SELECT 1 --1; DELETE FROM t')).toMatch(/^1792/);
      // As a string in backslash mode, and as code without it.
      const two = "SELECT 'a\\'; DELETE FROM t; -- '";
      await raw.failure("SET SESSION sql_mode = 'NO_BACKSLASH_ESCAPES'");
      expect(await raw.failure(two)).toMatch(/^(?:1792 25006|1227 42000)/);
      await raw.failure("SET SESSION sql_mode = 'ANSI_QUOTES'");
      expect(await raw.failure('SELECT "; DELETE FROM t; -- "')).toMatch(/1792|1227|1054/);
      await raw.failure('SET SESSION sql_mode = DEFAULT');
      await raw.failure('SET NAMES gbk');
      const gbk = Buffer.concat([
        Buffer.from("SELECT '"),
        Buffer.from([0xbf, 0x5c]),
        Buffer.from("'; DELETE FROM t; -- "),
      ]);
      expect(await raw.failure(gbk)).toMatch(/1792|1227|1064/);
      // From the greeting on: gbk_chinese_ci.
      const chinese = await RawMysql.connect(reader, { collation: 28 });
      expect(await chinese.failure(gbk)).toMatch(/1792|1227/);
      expect(await count()).toBe(0);
      await chinese.quit();
      await raw.quit();
    });

    it('47: settings changed and used in one breath', async () => {
      await server.query('INSERT IGNORE INTO t VALUES (1, NULL)', [], 'test');
      const client = await AuditedMysql.connect(node, reader);
      client.pipeline(
        'SET NAMES gbk, @x = 1',
        "SET SESSION sql_mode = 'NO_BACKSLASH_ESCAPES'",
        "SELECT 'a\\'; DELETE FROM t; -- '",
      );
      await client.raw.answer();
      await client.raw.answer();
      expect(failureOf(await client.raw.answer())).toMatch(/^(?:1792|1227)/);
      expect(await count()).toBe(1);
      await client.raw.quit();
      await server.query('DELETE FROM t', [], 'test');
    });

    it('48: PREPARE FROM @v, EXECUTE IMMEDIATE, and what was prepared under one name', async () => {
      const raw = await connect(reader);
      await raw.failure("SET @v = 'DELETE FROM t'");
      for (const sql of ['PREPARE p FROM @v', 'EXECUTE p', "PREPARE p FROM 'DELETE FROM t'"])
        expect(await raw.failure(sql), sql).toMatch(/^(?:1792 25006|1227 42000)/);
      if (server.family === 'mariadb')
        for (const sql of [
          "EXECUTE IMMEDIATE 'DELETE FROM t'",
          'EXECUTE IMMEDIATE @v',
          'BEGIN NOT ATOMIC DELETE FROM t; END',
        ])
          expect(await raw.failure(sql), sql).toMatch(/^(?:1792 25006|1227 42000)/);
      expect(await raw.failure("PREPARE p FROM 'SELECT ? + 1'")).toBe('');
      expect(await raw.failure('SET @n = 4')).toBe('');
      expect(await raw.failure('EXECUTE p USING @n')).toBe('');
      await raw.quit();
    });

    it('49: prepared statements of the protocol are judged like texts', async () => {
      const client = await AuditedMysql.connect(node, reader);
      const { raw } = client;
      const refused = await raw.run(command(0x16, 'DELETE FROM t WHERE a = ?'), 'prepare');
      expect(failureOf(refused)).toMatch(/^1792 25006/);
      for (const id of [1, 0xffff_ffff, 77]) {
        const run = await raw.run(
          command(0x17, uint32(id), Buffer.from([0]), uint32(1), Buffer.from([1, 0, 1, 3, 0])),
        );
        expect(failureOf(run)).toMatch(/^1243 HY000/);
        // Long data for it is answered by nothing, and does nothing.
        raw.send(packet(command(0x18, uint32(id), Buffer.from([0, 0]), 'DROP')));
        expect(failureOf(await raw.run(command(0x1c, uint32(id), uint32(1)), 'one'))).toMatch(/^1243/);
      }
      expect(failureOf(await raw.run(command(0xfa, uint32(9), Buffer.from([128, 0])), 'one'))).toMatch(
        /^1243/,
      );
      expect(await raw.row('SELECT 1')).toEqual(['1']);
      const recorded = await client.statements();
      expect(recorded.every(({ outcome, sql }) => outcome === 'refused' || sql === 'SELECT 1')).toBe(true);
      expect(recorded[0]).toMatchObject({
        kind: 'prepare',
        sql: 'DELETE FROM t WHERE a = ?',
        outcome: 'refused',
      });
    });

    it('51: rows that begin like packets that end them', async () => {
      const client = await AuditedMysql.connect(node, writer);
      const { raw } = client;
      const rows = [
        "SELECT '' AS a, 1", // 0x00
        'SELECT NULL, 1', // 0xfb
        'SELECT REPEAT(0xfe, 8)',
        'SELECT REPEAT(0xff, 250), 2',
        'SELECT NULL UNION ALL SELECT NULL UNION ALL SELECT 1',
      ];
      for (const sql of rows) expect(failureOf(await raw.query(sql)), sql).toBe('');
      // A first value of 16 MiB: its row begins with 0xfe.
      const packets = await raw.query('SELECT REPEAT("z", 16777300) AS big, 1');
      expect(packets.reduce((sum, { payload }) => sum + payload.length, 0)).toBeGreaterThan(16_777_300);
      expect(await raw.row('SELECT 51')).toEqual(['51']);
      const recorded = await client.statements();
      expect(recorded.map(({ rows: n }) => n)).toEqual([1, 1, 1, 1, 3, 1, 1]);
    });

    it('52: what writes or locks without looking so', async () => {
      const raw = await connect(reader);
      for (const sql of [
        'HANDLER t OPEN',
        "SELECT GET_LOCK('dbw', 1)",
        'RENAME TABLE t TO u',
        'CALL p()',
        'WITH x AS (SELECT 1) DELETE FROM t',
        'REPLACE INTO t VALUES (1, 1)',
        'SELECT * FROM t FOR UPDATE',
        'LOCK TABLES t WRITE',
        'FLUSH TABLES',
        'SET GLOBAL max_connections = 5',
        'SET SESSION TRANSACTION READ WRITE',
        'SET TRANSACTION READ WRITE',
        'START TRANSACTION READ WRITE',
        'SET @@session.tx_read_only = 0',
        'SET SESSION transaction_read_only = OFF',
        "SET SESSION session_track_system_variables = ''",
        'CREATE TEMPORARY TABLE tt (a INT)',
        'GRANT ALL ON *.* TO me',
      ])
        expect(await raw.failure(sql), sql).toMatch(/^(?:1792 25006|1227 42000|1064)/);
      expect(await raw.failure('SELECT COUNT(*) FROM t')).toBe('');
      expect(await raw.failure('START TRANSACTION')).toBe('');
      expect(await raw.failure('SELECT COUNT(*) FROM t')).toBe('');
      expect(await raw.failure('COMMIT')).toBe('');
      expect(await raw.failure('SET autocommit = 0')).toBe('');
      expect(await raw.failure('SELECT COUNT(*) FROM t')).toBe('');
      await raw.quit();
    });

    it('52: the server itself refuses what no classification sees', async () => {
      await server.query('DROP FUNCTION IF EXISTS writes_unseen', [], 'test');
      await server.query(
        'CREATE FUNCTION writes_unseen() RETURNS INT NO SQL BEGIN INSERT INTO t VALUES (52, NULL); RETURN 1; END',
        [],
        'test',
      );
      const raw = await connect(reader);
      expect(await raw.failure('SELECT writes_unseen()')).toMatch(/1792 25006/);
      expect(await count()).toBe(0);
      // And after everything was reset.
      const reset = await raw.run(command(0x1f), 'one');
      if (failureOf(reset) === '') {
        expect(await raw.failure('SELECT writes_unseen()')).toMatch(/1792 25006/);
        expect(await count()).toBe(0);
      }
      await raw.quit();
    });

    it('53: USE and COM_INIT_DB stay in the granted database, by either of its names', async () => {
      const client = await AuditedMysql.connect(node, writer);
      const { raw } = client;
      for (const sql of [
        'USE other',
        'USE `other`',
        'use/**/other',
        '/*!50000 USE other */',
        'SELECT 1; USE other',
        'USE mysql',
      ])
        expect(await raw.failure(sql), sql).toMatch(/^(?:1044 42000|1227)/);
      expect(failureOf(await raw.run(command(0x02, 'other'), 'one'))).toMatch(/^1044 42000/);
      expect(failureOf(await raw.run(command(0x16, 'USE other'), 'prepare'))).toMatch(/^1295/);
      for (const name of ['test', writer.database]) {
        expect(await raw.failure(`USE ${name}`)).toBe('');
        expect(await raw.failure(`USE \`${name}\` `)).toBe('');
        expect(failureOf(await raw.run(command(0x02, name), 'one'))).toBe('');
        expect(await raw.row('SELECT DATABASE()')).toEqual(['test']);
      }
      const recorded = await client.statements();
      expect(recorded.filter(({ outcome }) => outcome === 'refused')).toHaveLength(8);
      expect(recorded.find(({ kind }) => kind === 'command')?.sql).toContain('COM_INIT_DB');
    });

    it('54: replication, shutdown and other people’s connections', async () => {
      const client = await AuditedMysql.connect(node, writer);
      const { raw } = client;
      for (const byte of [
        0x05, 0x06, 0x07, 0x08, 0x0b, 0x0d, 0x0f, 0x10, 0x12, 0x13, 0x14, 0x15, 0x1d, 0x1e, 0x20, 0x21,
      ])
        expect(failureOf(await raw.run(command(byte, Buffer.alloc(10)), 'one')), `command ${byte}`).toMatch(
          /^1047 08S01/,
        );
      const own = await RawMysql.connect(writer);
      const others = await RawMysql.connect(reader);
      const [ownId] = await own.row('SELECT CONNECTION_ID()');
      const [othersId] = await others.row('SELECT CONNECTION_ID()');
      for (const sql of [
        `KILL ${othersId}`,
        `KILL QUERY ${others.greeting.connectionId}`,
        `/*!50000 KILL ${othersId} */`,
        `SELECT 1; KILL ${othersId}`,
        'KILL (SELECT 5)',
        'KILL @x',
        ...(server.family === 'mariadb' ? ['KILL USER root', 'KILL HARD QUERY ID 5'] : []),
      ])
        expect(await raw.failure(sql), sql).toMatch(/^(?:1094|1095)/);
      expect(failureOf(await raw.run(command(0x0c, uint32(Number(othersId))), 'one'))).toMatch(/^1094/);
      expect(failureOf(await raw.run(command(0x16, `KILL ${othersId}`), 'prepare'))).toMatch(/^1295/);
      expect(await others.row('SELECT 54')).toEqual(['54']);
      // One's own, by the number that the client was told, while it is at work.
      own.send(
        packet(
          command(
            3,
            ...((own.capabilities.flags & C.QUERY_ATTRIBUTES) === 0 ? [] : [Buffer.from([0, 1])]),
            'SELECT SLEEP(30)',
          ),
        ),
      );
      await waitFor('the statement to run', async () =>
        (await server.query<{ Info: string | null }>('SHOW PROCESSLIST')).some(({ Info }) =>
          Info?.includes('SLEEP(30)'),
        ),
      );
      expect(await raw.failure(`KILL QUERY ${own.greeting.connectionId}`)).toBe('');
      await own.answer();
      expect(await own.row('SELECT 1')).toEqual(['1']);
      expect(await raw.failure(`KILL CONNECTION ${ownId}`)).toBe('');
      await own.untilClosed();
      await others.quit();
      expect(await raw.failure('KILL CONNECTION_ID()')).toMatch(/^1317|^1927|^$/);
      raw.destroy();
    });

    it.skipIf(need !== 'mysql-9.7')(
      '57: query attributes in front of a text hide nothing of it',
      async () => {
        const client = await AuditedMysql.connect(node, reader);
        const { raw } = client;
        expect(raw.capabilities.flags & C.QUERY_ATTRIBUTES).not.toBe(0);
        const attribute = Buffer.concat([
          Buffer.from([3, 1, 1, 0, 1, 0xfd, 0, 4]),
          Buffer.from('name'),
          Buffer.from([8]),
          Buffer.from('SELECT 1'),
        ]);
        expect(failureOf(await raw.run(Buffer.concat([attribute, Buffer.from('DELETE FROM t')])))).toMatch(
          /^1792/,
        );
        expect(failureOf(await raw.run(Buffer.concat([attribute, Buffer.from('SELECT 57')])))).toBe('');
        // Attributes that do not fit: we must not guess where the text begins.
        const lies = Buffer.concat([Buffer.from([3, 200, 1, 0, 1]), Buffer.from('DELETE FROM t')]);
        expect(failureOf(await raw.run(lies, 'one'))).toMatch(/^1835/);
        const recorded = await client.statements();
        expect(recorded.map(({ sql, outcome }) => [sql, outcome])).toMatchObject([
          ['DELETE FROM t', 'refused'],
          ['SELECT 57', 'completed'],
          [expect.stringContaining('malformed'), 'refused'],
        ]);
      },
    );
  });
});
