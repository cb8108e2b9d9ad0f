/** The probe on real MySQL and MariaDB servers: a script with its ground truth, lengths, many connections, counts. */
import mysql, { type Connection, type RowDataPacket } from 'mysql2/promise';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Engine, ObservedSession_Kind } from '../../src/model/events.ts';
import { ElfFile } from '../../src/witness/probe/elf.ts';
import { findBinaries } from '../../src/witness/probe/finder.ts';
import { placeOf } from '../../src/witness/probe/inspected.ts';
import {
  isMissing,
  LAUNCHER,
  type MysqlServer,
  startMariadb,
  startMysql,
  startProcess,
  waitFor,
} from '../servers/index.ts';
import { cannotProbe, Recorder, type Seen } from './support.ts';

const SERVERS = [
  { name: 'MariaDB 10.11', need: 'mariadb', engine: Engine.MARIADB, start: () => startMariadb() },
  {
    name: 'MariaDB 11.8',
    need: 'mariadb-11.8',
    engine: Engine.MARIADB,
    start: () => startMariadb({ version: '11.8' }),
  },
  { name: 'MySQL 9.7', need: 'mysql-9.7', engine: Engine.MYSQL, start: () => startMysql() },
  { name: 'MySQL 5.6', need: 'mysql-5.6', engine: Engine.MYSQL, start: () => startMysql({ version: '5.6' }) },
] as const;
const impossible = cannotProbe();

interface Expected {
  readonly sql: string | RegExp;
  readonly command?: string;
  readonly rows?: number;
  readonly affected?: number;
  readonly error?: number;
  readonly sqlstate?: string;
  readonly place?: number;
  readonly insertId?: number;
}

describe.each(SERVERS)('$name', ({ name, need, engine, start }) => {
  const skip = impossible || isMissing(need);
  let server: MysqlServer;
  let recorder: Recorder;
  let early: Connection;

  beforeAll(async () => {
    if (skip) return;
    server = await start();
    early = await connect();
    const binary = [...findBinaries(null).values()].find(({ pids }) => pids.includes(server.pid));
    recorder = await Recorder.start({ path: binary?.path ?? '', pid: server.pid, parameters: true });
  });

  afterAll(async () => {
    await early?.end();
    await recorder?.stop();
    await server?.stop();
  });

  const connect = (more: mysql.ConnectionOptions = {}): Promise<Connection> =>
    mysql.createConnection({
      host: '127.0.0.1',
      port: server.port,
      user: server.user,
      password: server.password,
      database: 'test',
      multipleStatements: true,
      ...more,
    });

  const idOf = async (client: Connection): Promise<string> => {
    const [rows] = await client.query<RowDataPacket[]>('SELECT CONNECTION_ID() AS id');
    return String(rows[0]['id']);
  };

  const of = (backend: string): Seen[] => recorder.seen(({ event }) => event.origin?.backendId === backend);

  it.skipIf(skip)(
    'sees a script of statements of every kind, each with every field right, and nothing else',
    async () => {
      const client = await connect({ connectAttributes: { program_name: 'the script' } });
      const id = await idOf(client);
      const expected: Expected[] = [{ sql: /^SET |^SELECT CONNECTION_ID/, rows: 1 }];
      const run = async (sql: string, ...parts: Omit<Expected, 'sql'>[]): Promise<void> => {
        await client.query(sql).catch(() => undefined);
        const texts = parts.length > 1 ? sql.split(/;\s*/) : [sql];
        expected.push(...parts.map((part, place) => ({ sql: texts[place], place, ...part })));
      };
      await run(
        'CREATE TABLE things (id int PRIMARY KEY AUTO_INCREMENT, name varchar(50)) ENGINE=InnoDB',
        {},
      );
      await run("INSERT INTO things (name) VALUES ('a'), ('b'), ('c')", { affected: 3, insertId: 1 });
      await run(
        "SELECT 1; SELECT 2 UNION SELECT 3; UPDATE things SET name = 'x' WHERE id < 3",
        { rows: 1 },
        { rows: 2 },
        { affected: 2 },
      );
      await run('SELEC', { error: 1064, sqlstate: '42000' });
      await run('SELECT * FROM nowhere', { error: 1146, sqlstate: '42S02' });
      await run("INSERT INTO things VALUES (1, 'again')", { error: 1062, sqlstate: '23000' });
      await client.query('SELECT 7; SELECT nope; SELECT 8').catch(() => undefined);
      expected.push(
        { sql: 'SELECT 7', rows: 1 },
        { sql: /^SELECT nope/, error: 1054, sqlstate: '42S22', place: 1 },
      );
      await run('BEGIN', {});
      await run('DELETE FROM things WHERE id = 3', { affected: 1 });
      await run('ROLLBACK', {});
      await run('SELECT id FROM things', { rows: 3 });
      await run(
        'CREATE PROCEDURE two() BEGIN SELECT 1; SELECT 2; INSERT INTO things (name) VALUES (7); END',
        {},
      );
      await run('CALL two()', { rows: 2, affected: 1 });
      await run('DROP PROCEDURE two', {});
      await run("PREPARE p FROM 'SELECT 40 + 2'", {});
      await run('EXECUTE p', { rows: 1 });
      // The server's own text of it is the prepared one.
      expected[expected.length - 1] = { sql: /^(?:EXECUTE p|SELECT 40 \+ 2)$/, rows: 1 };
      await run('USE mysql', {});
      await run('USE test', {});
      await run("SELECT 'ünïcødé 漢字'", { rows: 1 });
      await client.execute('SELECT id FROM things WHERE id > ?', [1]);
      expected.push(
        { sql: 'SELECT id FROM things WHERE id > ?', command: 'stmt_prepare' },
        { sql: /^SELECT id FROM things WHERE id > /, command: 'stmt_execute', rows: 3 },
      );
      await client.execute('UPDATE things SET name = ? WHERE id = ?', ['q', 2]);
      expected.push(
        { sql: 'UPDATE things SET name = ? WHERE id = ?', command: 'stmt_prepare' },
        {
          sql: /^UPDATE things SET name = (?:\?|'q') WHERE id = (?:\?|2)$/,
          command: 'stmt_execute',
          affected: 1,
        },
      );
      await client.execute('INSERT INTO things VALUES (?, ?)', [1, 'again']).catch(() => undefined);
      expected.push(
        { sql: 'INSERT INTO things VALUES (?, ?)', command: 'stmt_prepare' },
        { sql: /^INSERT INTO things VALUES \(/, command: 'stmt_execute', error: 1062, sqlstate: '23000' },
      );
      // Executed again, with types that are the same, or changed; a value longer than what is kept of one.
      for (const given of [
        [1, 'ünïcødé', null, new Date(0)],
        [2, 'x'.repeat(5_000), null, null],
        [3, '', '', new Date(0)],
      ]) {
        await client.execute("SELECT ?, ?, '?', ?, ? /* ? */", given);
        if (given[0] === 1) expected.push({ sql: "SELECT ?, ?, '?', ?, ? /* ? */", command: 'stmt_prepare' });
        expected.push({ sql: /^SELECT .*, '\?', /, command: 'stmt_execute', rows: 1 });
      }
      await client.prepare('SELECT nope FROM nowhere').catch(() => undefined);
      expected.push({
        sql: 'SELECT nope FROM nowhere',
        command: 'stmt_prepare',
        error: 1146,
        sqlstate: '42S02',
      });
      await run("SELECT 'last of the script'", { rows: 1 });
      const [peer] = await client.query<RowDataPacket[]>(
        'SELECT SUBSTRING_INDEX(host, ":", -1) AS port FROM information_schema.processlist WHERE id = CONNECTION_ID()',
      );
      await client.end();
      await recorder.until("SELECT 'last of the script'");
      await waitFor('the last statement', () => of(id).length > expected.length);
      const seen = of(id).slice(0, -1);
      const shown = seen.map(({ sql, observation: o }, i) => ({
        sql:
          expected[i] !== undefined && expected[i].sql instanceof RegExp && expected[i].sql.test(sql)
            ? expected[i].sql
            : sql,
        command: o.command,
        rows: Number(o.rows),
        affected: Number(o.affectedRows),
        error: o.error?.number ?? 0,
        sqlstate: o.error?.code ?? '',
        place: o.place,
      }));
      expect(shown).toEqual(
        expected.map(
          ({ sql, command = 'query', rows = 0, affected = 0, error = 0, sqlstate = '', place = 0 }) => ({
            sql,
            command,
            rows,
            affected,
            error,
            sqlstate,
            place,
          }),
        ),
      );
      // The values of executions: in the text where the server puts them, else as parameters.
      const values = seen
        .filter(({ observation }) => observation.command === 'stmt_execute')
        .map(({ sql, observation: { parameters } }) => ({
          expanded: !/(?:[(,=>]|SELECT) \?|\(\?/.test(sql),
          values: parameters.map(({ value, null: isNull }) =>
            isNull ? null : Buffer.from(value).toString(),
          ),
        }));
      expect(values).toEqual(
        [
          ['1'],
          ['q', '2'],
          ['1', 'again'],
          ['1', 'ünïcødé', null, '1970-01-01 00:00:00.000000'],
          ['2', 'x'.repeat(256), null, null],
          ['3', '', '', '1970-01-01 00:00:00.000000'],
        ].map((each) =>
          name === 'MySQL 9.7' ? { expanded: true, values: [] } : { expanded: false, values: each },
        ),
      );
      const inserted = seen.find(({ sql }) => sql.startsWith('INSERT INTO things (name)'));
      expect(inserted?.observation.lastInsertId).toBe(1n);
      for (const { event, observation } of seen) {
        expect(observation).toMatchObject({
          userName: 'root',
          applicationName: 'the script',
          clientAddress: '127.0.0.1',
          clientPort: Number(peer[0]['port']),
          pid: server.pid,
          returnValue: 0,
          cut: false,
        });
        expect(observation.databaseName).toBe(
          observation.sql.toString() === Buffer.from('USE mysql').toString()
            ? 'mysql'
            : observation.databaseName,
        );
        expect(event.origin?.engine).toBe(engine);
      }
      expect(
        seen
          .filter(({ sql }) => sql.startsWith('SELECT id'))
          .every(({ observation }) => observation.databaseName === 'test'),
      ).toBe(true);
      // What the change stream says of a transaction is the query id of one of its statements: they grow.
      const ids = seen
        .filter(({ observation }) => observation.command !== 'stmt_prepare')
        .map(({ observation }) => Number(observation.queryId));
      expect(ids).toEqual(ids.toSorted((a, b) => a - b));
      expect(ids[0]).toBeGreaterThan(0);
    },
  );

  it.skipIf(skip)(
    'knows sessions: those that were there, those that come, log-ins that fail, and their ends',
    async () => {
      await early.query("SELECT 'was there before'");
      const [found] = (await recorder.until("SELECT 'was there before'")).filter(({ sql }) =>
        sql.includes('was there before'),
      );
      const [own] = await early.query<RowDataPacket[]>(
        'SELECT SUBSTRING_INDEX(host, ":", -1) AS port FROM information_schema.processlist WHERE id = CONNECTION_ID()',
      );
      expect(found.observation).toMatchObject({
        userName: 'root',
        databaseName: 'test',
        clientAddress: '127.0.0.1',
        clientPort: Number(own[0]['port']),
        serverAddress: '127.0.0.1',
        serverPort: server.port,
      });
      const identified = name === 'MySQL 9.7' ? 'IDENTIFIED WITH caching_sha2_password BY' : 'IDENTIFIED BY';
      await server.query(`CREATE USER joe ${identified} 'geheim'`);
      await server.query('GRANT ALL ON *.* TO joe');
      // Attributes of more than a page, and those that come inside of TLS where the server has it by itself.
      const secure = name === 'MySQL 9.7' || name === 'MariaDB 11.8';
      const client = await connect({
        user: 'joe',
        password: 'geheim',
        connectAttributes: { long: 'x'.repeat(3_000), program_name: 'tool of joe' },
        ...(secure ? { ssl: { rejectUnauthorized: false } } : {}),
      });
      const id = await idOf(client);
      await expect(
        connect({
          user: 'joe',
          password: 'falsch',
          connectAttributes: { program_name: 'wrong tool' },
        }),
      ).rejects.toThrow(/Access denied/);
      await client.end();
      const kinds = (): string[] =>
        recorder
          .bodies('observedSession')
          .filter(({ event }) => event.origin?.backendId === id)
          .map(
            ({ value }) =>
              `${ObservedSession_Kind[value.kind]} ${value.userName} ${value.clientAddress} ${value.clientPort > 0} ${value.applicationName}`,
          );
      await waitFor('the session to end', () => kinds().length === 2);
      expect(kinds()).toEqual([
        'OPENED joe 127.0.0.1 true tool of joe',
        'CLOSED joe 127.0.0.1 true tool of joe',
      ]);
      await waitFor('the failure', () => recorder.bodies('loginFailed').length > 0);
      expect(
        recorder
          .bodies('loginFailed')
          .map(({ value }) => `${value.userName} ${value.clientAddress} ${value.applicationName}`),
      ).toEqual(['joe 127.0.0.1 wrong tool']);
      const everything = JSON.stringify(recorder.events, (_, value: unknown) =>
        value instanceof Uint8Array
          ? Buffer.from(value).toString('latin1')
          : typeof value === 'bigint'
            ? String(value)
            : value,
      );
      expect(everything).not.toContain('geheim');
    },
  );

  it.skipIf(skip)(
    'keeps texts of every length exactly, and says how long those are that it cuts',
    async () => {
      const client = await connect();
      const id = await idOf(client);
      const lengths = [191, 192, 193, 255, 256, 257, 1887, 1888, 1889, 4096, 5984, 5985, 65_536, 1_000_000];
      const texts = lengths.map((length) =>
        `SELECT ${length} -- é${'x'.repeat(length)}`.slice(0, length - 1),
      );
      for (const text of texts) await client.query(text);
      const long = `SELECT 'too long' -- ${'x'.repeat(3_000_000)}`;
      await client.query(long);
      await client.query("SELECT 'last of lengths'");
      await client.end();
      await recorder.until("SELECT 'last of lengths'");
      const seen = of(id).slice(1);
      expect(seen.slice(0, -2).map(({ sql }) => sql)).toEqual(texts);
      const { observation, sql } = seen.at(-2) ?? { observation: null, sql: '' };
      expect(observation).toMatchObject({ cut: true, sqlBytes: BigInt(long.length) });
      expect(sql.length).toBe(1_048_576);
      expect(long.startsWith(sql)).toBe(true);
    },
  );

  it.skipIf(skip)('attributes nothing to another connection, with 64 of them at once', async () => {
    const clients = await Promise.all(Array.from({ length: 64 }, () => connect()));
    const ids = await Promise.all(
      clients.map(async (client, i) => {
        const id = await idOf(client);
        for (let n = 0; n < 50; n++) {
          await client.query(`SELECT ${n} -- of ${i}`);
          if (n % 10 === 0) await client.query(`SELECT nope -- of ${i}`).catch(() => undefined);
        }
        return id;
      }),
    );
    await Promise.all(clients.map((client) => client.end()));
    const mine = (): Seen[] => recorder.seen(({ sql }) => sql.includes(' -- of '));
    await waitFor('all of them', () => mine().length >= 64 * 55);
    expect(mine()).toHaveLength(64 * 55);
    const wrong = mine().filter(({ sql, observation, event }) => {
      const i = Number(/of (\d+)$/.exec(sql)?.[1]);
      return (
        event.origin?.backendId !== ids[i] ||
        (observation.error?.number ?? 0) !== (sql.includes('nope') ? 1054 : 0)
      );
    });
    expect(wrong).toEqual([]);
  });

  it.skipIf(skip)('counts statements as the server does (Com_*)', async () => {
    const client = await connect();
    await client.query('CREATE TABLE counted (n int PRIMARY KEY) ENGINE=InnoDB');
    const kinds = ['select', 'insert', 'update', 'delete', 'begin', 'commit'] as const;
    const counters = async (): Promise<Record<string, number>> => {
      const [rows] = await early.query<RowDataPacket[]>("SHOW GLOBAL STATUS LIKE 'Com_%'");
      return Object.fromEntries(
        kinds.map((kind) => [
          kind,
          Number(rows.find((row) => row['Variable_name'] === `Com_${kind}`)?.['Value']),
        ]),
      );
    };
    const clients = await Promise.all(Array.from({ length: 8 }, () => connect()));
    const before = await counters();
    const from = recorder.events.length;
    await Promise.all(
      clients.map(async (one, i) => {
        for (let n = 0; n < 200; n++) {
          await one.query('BEGIN');
          await one.query(`INSERT INTO counted VALUES (${i * 1000 + n})`);
          await one.execute('SELECT count(*) FROM counted WHERE n = ?', [n]);
          await one.query(`UPDATE counted SET n = n WHERE n = ${i * 1000 + n}`);
          await one.query('COMMIT');
          if (n % 10 === 0) await one.query(`DELETE FROM counted WHERE n = ${i * 1000 + n}`);
        }
      }),
    );
    const after = await counters();
    await client.query("SELECT 'last of counted'");
    await Promise.all([client, ...clients].map((each) => each.end()));
    await recorder.until("SELECT 'last of counted'");
    const mine = Object.fromEntries(kinds.map((kind) => [kind, 0]));
    for (const event of recorder.events.slice(from)) {
      if (event.body.case !== 'observation' || event.body.value.command === 'stmt_prepare') continue;
      const verb = Buffer.from(event.body.value.sql).toString().split(' ', 1)[0].toLowerCase();
      if (verb in mine) mine[verb]++;
    }
    mine['select']--; // the marker came after the second look
    expect(mine).toEqual(Object.fromEntries(kinds.map((kind) => [kind, after[kind] - before[kind]])));
    expect(mine['insert']).toBe(1600);
  });

  it.skipIf(skip)(
    'prints the line form, for a function that is found and for one that is named by its offset',
    async () => {
      const binary = [...findBinaries(null).values()].find(({ pids }) => pids.includes(server.pid));
      const path = binary?.path ?? '';
      const elf = new ElfFile(path);
      const symbol = [...elf.exported.keys()].find((each) => each.startsWith('_Z16dispatch_command')) ?? '';
      const offset = placeOf(elf, symbol)?.fileOffset ?? 0;
      elf.close();
      const ways = [[], ['--offset', `0x${offset.toString(16)}`]].map((more) =>
        startProcess(LAUNCHER, ['probe', 'mysqld', '-m', path, '--pid', String(server.pid), ...more]),
      );
      try {
        await waitFor('them to attach', () => ways.every((each) => each.stderr().includes('attached to')));
        await early.query('SELECT 42');
        for (const running of ways) {
          await waitFor('the line', () => running.stdout().includes('SELECT 42'));
          expect(running.stdout().trim().split('\n').at(-1)).toMatch(
            new RegExp(
              `^PID:${server.pid}, Comm:(?:mysqld|mariadbd), Time:\\d{13}, length:\\(9/9\\), return:DISPATCH_COMMAND_SUCCESS, Line:SELECT 42$`,
            ),
          );
        }
      } finally {
        await Promise.all(ways.map((running) => running.stop()));
      }
    },
  );

  it.skipIf(skip)('lost nothing of all this', async () => {
    expect(recorder.bodies('gap')).toEqual([]);
    expect(recorder.probe.status).toMatchObject({
      lostStatements: 0,
      lostTexts: 0,
      lostOthers: 0,
      unreadable: 0,
    });
  });
});
