/** Drivers and the command line, directly and through dbwitness: the same results, with their types. */
import { spawn } from 'node:child_process';
import mariadb from 'mariadb';
import mysql2, { type RowDataPacket } from 'mysql2/promise';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type Access,
  type Dbwitness,
  isMissing,
  type MysqlServer,
  startDbwitness,
  startMariadb,
  startMysql,
} from '../servers/index.ts';
import type { RawTarget } from './mysql/raw-client.ts';

const SERVERS = [
  ['mariadb', () => startMariadb({ tls: true })],
  ['mariadb-11.8', () => startMariadb({ version: '11.8', tls: true })],
  ['mysql-9.7', () => startMysql({ tls: true })],
  ['mysql-5.6', () => startMysql({ version: '5.6' })],
] as const;

const TYPES = `CREATE TABLE types (id INT UNSIGNED AUTO_INCREMENT PRIMARY KEY, bi BIGINT UNSIGNED, d DOUBLE, dc DECIMAL(20,5),
  b BIT(9), dt DATE, tm TIME(3), dtm DATETIME(6), vc VARCHAR(50), bl BLOB, en ENUM('a','b'), st SET('x','y'), g POINT)`;

/** Anything as text that shows its types. */
function shown(value: unknown): string {
  return JSON.stringify(value, (_key, one: unknown) => (typeof one === 'bigint' ? `${one}n` : one));
}

async function withMysql2(target: RawTarget, changesUser: boolean): Promise<string[]> {
  const { host, port, user, password, database } = target;
  const connection = await mysql2.createConnection({
    host,
    port,
    user,
    password,
    database,
    multipleStatements: true,
    supportBigNumbers: true,
    dateStrings: true,
  });
  const said: string[] = [];
  const note = async (work: Promise<[unknown, unknown]>): Promise<void> => {
    const [rows] = await work.catch((error: { errno: number; sqlState: string; message: string }) => [
      [error.errno, error.sqlState, error.message],
      null,
    ]);
    said.push(shown(rows));
  };
  await connection.query(`DROP TABLE IF EXISTS types; ${TYPES}`);
  const row = [
    2 ** 53 - 1,
    1.5,
    '12345.67891',
    Buffer.from([1, 0xff]),
    '2024-02-29',
    '-12:00:00.125',
    '2024-01-01 00:00:00.000001',
    'grün',
    Buffer.alloc(3000, 0xfe),
    'b',
    'x,y',
  ];
  const insert =
    'INSERT INTO types (bi, d, dc, b, dt, tm, dtm, vc, bl, en, st, g) VALUES (?,?,?,?,?,?,?,?,?,?,?,POINT(1,2))';
  await note(connection.execute(insert, row));
  await note(connection.query(insert, row));
  await note(
    connection.execute(
      insert,
      row.map(() => null),
    ),
  );
  for (let i = 0; i < 3; i++)
    await note(connection.execute<RowDataPacket[]>('SELECT * FROM types WHERE id > ?', [i]));
  await note(connection.query('SELECT * FROM types; SELECT 2; SELECT nothing'));
  await note(connection.query('SELECT 1; DO 2; SELECT 3'));
  await note(connection.execute('SELECT nothing'));
  await note(connection.execute(`SELECT ? AS n, ? AS s, ? AS z`, [1.25, 'x'.repeat(70_000), null]));
  await connection.beginTransaction();
  await note(connection.execute('DELETE FROM types'));
  await connection.rollback();
  await note(connection.query('SELECT COUNT(*) AS n FROM types'));
  // mysql2 cannot do it with a server that has no AuthSwitchRequest for it.
  if (changesUser) await connection.changeUser({ user, password, database });
  await note(connection.query('SELECT DATABASE() AS d, @@autocommit AS a'));
  await connection.ping();
  await connection.end();
  return said;
}

async function withMariadb(target: RawTarget): Promise<string[]> {
  const { host, port, user, password, database } = target;
  const connection = await mariadb.createConnection({
    host,
    port,
    user,
    password,
    database,
    multipleStatements: true,
    dateStrings: true,
    ssl: { rejectUnauthorized: false },
  });
  const said: string[] = [];
  const note = async (work: Promise<unknown>): Promise<void> => {
    said.push(
      shown(
        await work.catch((error: { errno: number; sqlState: string; sqlMessage: string }) => [
          error.errno,
          error.sqlState,
          error.sqlMessage,
        ]),
      ),
    );
  };
  await connection.query(`DROP TABLE IF EXISTS types`);
  await connection.query(TYPES);
  await note(
    connection.batch('INSERT INTO types (vc, d) VALUES (?, ?)', [
      ['one', 1],
      ['two', null],
      ['three', 3.5],
    ]),
  );
  // Several at once: sent without waiting.
  const several = ['SELECT 1 AS a', 'SELECT bad', 'SELECT vc, d FROM types ORDER BY id', 'SELECT 4'];
  for (const one of several.map((sql) => connection.query(sql))) await note(one);
  const executed = [1, 2, 3].map((id) =>
    connection.execute('SELECT id, vc, d, st FROM types WHERE id = ?', [id]),
  );
  for (const one of executed) await note(one);
  await note(connection.execute('SELECT bad FROM types'));
  const result: unknown = await connection.query('SELECT * FROM types');
  said.push(
    shown(
      (result as { meta: { name(): string; type: string; columnLength: number; flags: number }[] }).meta.map(
        (one) => [one.name(), one.type, one.columnLength, one.flags],
      ),
    ),
  );
  await connection.query('DROP PROCEDURE IF EXISTS pr');
  await connection.query('CREATE PROCEDURE pr(IN a INT, OUT b INT) BEGIN SELECT a; SET b = a + 1; END');
  await note(connection.query('CALL pr(1, @b); SELECT @b'));
  await note(connection.execute('CALL pr(?, ?)', [5, null]));
  let streamed = 0;
  for await (const _row of connection.queryStream(
    'SELECT a.id FROM types a, types b, types c, types d, types e, types f',
  ))
    streamed++;
  said.push(String(streamed));
  await connection.end();
  return said;
}

async function withCommandLine(target: RawTarget, sql: string): Promise<string> {
  const args = [
    '--no-defaults',
    `-h${target.host}`,
    `-P${target.port}`,
    `-u${target.user}`,
    `-p${target.password}`,
    '-vvv',
    '-f',
    '--column-type-info',
    target.database,
  ];
  const child = spawn('mariadb', args, { stdio: 'pipe' });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stdin.end(sql);
  await new Promise((done) => child.on('close', done));
  return output.replaceAll(/\(\d+\.\d+ sec\)/g, '(n sec)');
}

const SCRIPT = `SELECT 1, 'two', NULL;
CREATE TABLE cl (a INT PRIMARY KEY, b TEXT);
INSERT INTO cl VALUES (1, 'one'), (2, NULL);
SELECT * FROM cl;
SELECT * FROM missing;
UPDATE cl SET b = 'x';
SHOW WARNINGS;
delimiter //
CREATE PROCEDURE clp() BEGIN SELECT 1; SELECT 2; END //
delimiter ;
CALL clp();
DROP PROCEDURE clp;
DROP TABLE cl;
`;

describe.each(SERVERS)('%s', (need, start) => {
  describe.skipIf(isMissing(need, 'mariadb-client'))('drivers see the same', () => {
    let server: MysqlServer;
    let node: Dbwitness;
    let access: Access;
    let direct: RawTarget;

    beforeAll(async () => {
      [server, node] = await Promise.all([start(), startDbwitness({ mysql: true })]);
      access = await node.grantAccess(server);
      const { host, port, user, password } = server;
      direct = { host, port, user, password, database: 'test' };
    });
    afterAll(async () => {
      await node?.stop();
      await server?.stop();
    });

    it('mysql2', async () => {
      const expected = await withMysql2(direct, need !== 'mysql-5.6');
      expect(expected.length).toBeGreaterThan(10);
      expect(await withMysql2(access, need !== 'mysql-5.6')).toEqual(expected);
    });

    it.skipIf(need === 'mysql-5.6')('mariadb', async () => {
      const expected = await withMariadb(direct);
      expect(expected.at(-1)).toBe('729');
      expect(await withMariadb(access)).toEqual(expected);
    });

    it('the command line', async () => {
      const expected = await withCommandLine(direct, SCRIPT);
      expect(expected).toContain('missing');
      expect(await withCommandLine(access, SCRIPT)).toBe(expected);
    });
  });
});
