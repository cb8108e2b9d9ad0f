/**
 * Holes that a hostile client found in the front door for MySQL and MariaDB, so that they stay closed: other people's
 * connections killed by statements that do not look like KILL, guessing that is not counted, texts and data that cost more
 * than they should.
 */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ByteWriter } from '../../src/base/bytes.ts';
import { encodeHandshakeResponse } from '../../src/wire/mysql/handshake.ts';
import {
  BULK_SEND_TYPES,
  encodeBulkExecute,
  encodeExecute,
  INDICATOR_NULL,
  type QueryAttribute,
} from '../../src/wire/mysql/parameters.ts';
import { cachingSha2Response } from '../../src/wire/mysql/scramble.ts';
import { failureOf, packet, queryPayload, RawMysql, uint32 } from '../conformance/mysql/raw-client.ts';
import {
  type Access,
  type Dbwitness,
  isMissing,
  type MysqlServer,
  startDbwitness,
  startMariadb,
  startMysql,
} from '../servers/index.ts';
import { AuditedMysql } from './support/mysql-audit.ts';
import { executeOf, prepareOf } from './support/mysql-corpus.ts';

const VAR_STRING = 0xfd;
const LATIN1_SWEDISH_CI = 8;
const FAST_AUTH_SUCCESS = 3;
const PERFORM_FULL_AUTHENTICATION = 4;

const FAMILIES = [
  ['mariadb', 'mariadb', startMariadb],
  ['mysql', 'mysql-9.7', () => startMysql({ version: '9.7' })],
] as const;

describe.each(FAMILIES)('%s behind its front door', (family, needed, start) => {
  describe.skipIf(isMissing(needed))('attacked', () => {
    let server: MysqlServer;
    let node: Dbwitness;

    beforeAll(async () => {
      [server, node] = await Promise.all([start(), startDbwitness({ mysql: true })]);
    });
    afterAll(async () => {
      await node?.stop();
      await server?.stop();
    });

    /** A connection of somebody else, straight to the server, and the id by which it can be killed. */
    async function victim(): Promise<{ raw: RawMysql; id: number }> {
      const { host, port, password } = server;
      const raw = await RawMysql.connect({ host, port, user: 'root', password, database: 'test' });
      return { raw, id: Number((await raw.row('SELECT CONNECTION_ID()'))[0]) };
    }

    async function survives(
      access: Access,
      collation: number,
      kill: (id: number, own: string) => Buffer,
    ): Promise<void> {
      const other = await victim();
      const client = await RawMysql.connect(access, { collation });
      const [own] = await client.row('SELECT CONNECTION_ID()');
      const text = kill(other.id, own);
      expect(await client.failure(text), text.toString('latin1')).toMatch(/^(1095|1227|1792|1064|1094) /);
      expect(await other.raw.row('SELECT 1'), text.toString('latin1')).toEqual(['1']);
      client.destroy();
      other.raw.destroy();
    }

    it('54: KILL of others, behind comments, other white space, versions and SET STATEMENT', async () => {
      const free = await node.grantAccess(server);
      const limited = await node.grantAccess(server, { grant: { controls: ['read_only'] } });
      for (const access of [free, limited]) {
        await survives(access, 45, (id, own) => Buffer.from(`KILL /*a*/ ${id} -- */ ${own}`));
        await survives(access, 45, (id, own) => Buffer.from(`KILL /**/ ${id} # */ ${own}`));
        await survives(access, LATIN1_SWEDISH_CI, (id) => Buffer.from(`\xa0KILL ${id}`, 'latin1'));
        await survives(access, LATIN1_SWEDISH_CI, (id) => Buffer.from(`KILL\xa0${id}`, 'latin1'));
        await survives(access, 45, (id) => Buffer.from(`/*!50000 KILL */ ${id}`));
        await survives(access, 45, (id) => Buffer.from(`/*!50000 */ /*!50000 KILL */ ${id}`));
        await survives(access, 45, (id) => Buffer.from(`/*M!50000 KILL */ ${id}`));
        await survives(access, 45, (id) => Buffer.from(`/*!999999 SELECT 1 -- */\nKILL ${id}`));
        await survives(access, 45, (id) => Buffer.from(`SET STATEMENT lock_wait_timeout=10 FOR KILL ${id}`));
        await survives(access, 45, (id) =>
          Buffer.from(`SET/**/STATEMENT lock_wait_timeout=10 FOR/**/KILL ${id}`),
        );
      }
    });

    it('54: under controls, KILL and USE in a text that is prepared', async () => {
      const access = await node.grantAccess(server, { grant: { controls: ['read_only'] } });
      const other = await victim();
      const client = await RawMysql.connect(access);
      expect(await client.failure(`PREPARE k FROM 'KILL ${other.id}'`)).toMatch(/^1792 .*KILL/);
      expect(await client.failure('EXECUTE k')).toMatch(/^(1792|1243) /);
      if (family === 'mariadb')
        expect(await client.failure(`EXECUTE IMMEDIATE 'KILL ${other.id}'`)).toMatch(/^1792 /);
      expect(await other.raw.row('SELECT 1')).toEqual(['1']);
      client.destroy();
      other.raw.destroy();
    });

    it('53: USE of another database, behind comments and white space that only we would see', async () => {
      const client = await RawMysql.connect(await node.grantAccess(server), { wanted: 0xff7f_ffff });
      for (const text of ['USE /*a*/ mysql -- */ test', 'USE test\u00a0', 'USE ` test `'])
        expect(await client.failure(text), text).toMatch(/^1044 /);
      expect(await client.row('SELECT DATABASE()')).toEqual(['test']);
      await client.quit();
    });

    it('a KILL among many comments costs others no time', async () => {
      const access = await node.grantAccess(server);
      const [client, other] = await Promise.all([RawMysql.connect(access), RawMysql.connect(access)]);
      client.send(packet(queryPayload(client.capabilities, `KILL ${'/*aa*/'.repeat(60)}x`)));
      // It was of the order of 2^60 steps.
      expect(failureOf(await client.answer())).toMatch(/^1095 /);
      expect(await other.row('SELECT 1')).toEqual(['1']);
      client.destroy();
      other.destroy();
    });

    it('75b: a long text that speaks of passwords costs others no time, and is recorded without them', async () => {
      const access = await node.grantAccess(server);
      const client = await AuditedMysql.connect(node, access);
      const other = await RawMysql.connect(access);
      const comment = `/* ${"'a passing one', ".repeat(500_000)} */`;
      const text = (value: string): string =>
        `SELECT 'kept' FROM (SELECT 'x' AS password) t WHERE password <> ${value} ${comment}`;
      client.pipeline(text("'hunter2'"));
      const state = { answered: false };
      const answered = client.raw.answer().then((packets) => {
        state.answered = true;
        expect(failureOf(packets)).toBe('');
      });
      // Reading it takes seconds. On the relay's own loop that would be one answer to the others, or two.
      let answers = 0;
      for (; !state.answered; answers++) expect(await other.row('SELECT 1')).toEqual(['1']);
      await answered;
      expect(answers).toBeGreaterThan(10);
      const [head] = await client.raw.run(Buffer.from(`\x16${text('?')}`), 'prepare');
      const id = head.payload.readUInt32LE(1);
      expect(failureOf(await client.raw.run(execution(client.raw, id, ['hunter2'])))).toBe('');
      const [asText, prepared] = await client.statements();
      expect(asText.sql).toMatch(
        /^SELECT 'kept' FROM \(SELECT 'x' AS password\) t WHERE password <> '\*\*\*' \/\*/,
      );
      expect(prepared.params).toEqual(['***']);
      other.destroy();
    });

    it('75b: parameters in the places of passwords are recorded as ***, and the server gets them', async () => {
      await server.query('CREATE TABLE accounts (name VARCHAR(20), password VARCHAR(40))');
      const client = await AuditedMysql.connect(node, await node.grantAccess(server));
      const { raw } = client;
      const [head] = await raw.run(
        Buffer.from('\x16INSERT INTO accounts SET name = ?, password = ?'),
        'prepare',
      );
      const id = head.payload.readUInt32LE(1);
      expect(failureOf(await raw.run(execution(raw, id, ['ann', 'hunter2'])))).toBe('');
      expect(failureOf(await raw.run(execution(raw, id, ['bob', null])))).toBe('');
      raw.send(packet(Buffer.concat([Buffer.from([0x18]), uint32(id), Buffer.from('\x01\0hunter2')])));
      expect(failureOf(await raw.run(execution(raw, id, ['eve', '']), 'one'))).toBe('');
      const expected: unknown[] = [
        ['ann', '***'],
        ['bob', null],
        ['eve', '***'],
      ];
      if (family === 'mariadb') {
        expect(
          failureOf(
            await raw.run(
              bulk(id, [
                ['fay', 'hunter2'],
                ['gus', null],
              ]),
            ),
          ),
        ).toBe('');
        const immediate = "EXECUTE IMMEDIATE 'INSERT INTO accounts SET password = ?' USING 'hunter2'";
        expect(await raw.failure(immediate)).toBe('');
      }
      const records = await client.statements();
      expect(JSON.stringify(records)).not.toContain('hunter2');
      expect(records.slice(0, 3).map(({ params }) => params)).toEqual(expected);
      if (family === 'mariadb') expect(JSON.stringify(records[3].params)).toContain('"***"');
      const [row] = await server.query("SELECT COUNT(*) AS n FROM accounts WHERE password = 'hunter2'");
      expect(row).toEqual({ n: family === 'mariadb' ? 4 : 2 });
    });

    it('prepared KILL, and USE of another database, are refused in a way after which drivers send them as text', async () => {
      const access = await node.grantAccess(server);
      const raw = await RawMysql.connect(access);
      const [id] = await raw.row('SELECT CONNECTION_ID()');
      for (const sql of [
        'USE mysql',
        'USE mysql;',
        `USE ${access.database}; KILL 1`,
        `USE ${access.database} /*! x */`,
        `/*! KILL 1 */ USE ${access.database}`,
        'KILL 1',
        `KILL ${id}`,
      ])
        expect(failureOf(await raw.run(prepareOf(sql), 'prepare')), sql).toMatch(/^1295 HY000 .*as text/);
      raw.destroy();
    });

    it('a prepared USE of the granted database, by either of its names, is what the server makes of it', async () => {
      const commented = { recording: { statement_comment: true } };
      for (const database of [{}, commented]) {
        const access = await node.grantAccess(server, { database });
        const client = await AuditedMysql.connect(node, access);
        const { raw } = client;
        for (const sql of [`USE ${access.database}`, `/* here */ use \`${access.database}\` ;`, 'USE test']) {
          const prepared = await raw.run(prepareOf(sql), 'prepare');
          // MySQL prepares none.
          expect(failureOf(prepared), sql).toMatch(family === 'mariadb' ? /^$/ : /^1295 HY000 (?!.*as text)/);
          if (family === 'mariadb') expect(failureOf(await raw.run(executeOf(prepared), 'one'))).toBe('');
          expect(await raw.row('SELECT DATABASE()')).toEqual(['test']);
        }
        const executed = (await client.statements()).filter(({ sql }) => /use/i.test(sql));
        expect(executed.map(({ sql, outcome }) => [sql, outcome])).toEqual([
          [`USE ${access.database}`, family === 'mariadb' ? 'completed' : 'failed'],
          [`/* here */ use \`${access.database}\` ;`, family === 'mariadb' ? 'completed' : 'failed'],
          ['USE test', family === 'mariadb' ? 'completed' : 'failed'],
        ]);
        raw.destroy();
      }
    });

    /** One guess by the fast path; the connection ends before the password is asked for. */
    async function guess(access: Access, password: string): Promise<number> {
      const client = await RawMysql.open(access.host, access.port);
      await client.greet();
      client.agree({});
      const writer = new ByteWriter(512);
      const { authData, authPlugin } = client.greeting;
      encodeHandshakeResponse(
        writer,
        {
          capabilities: client.capabilities,
          maxPacketBytes: 1 << 24,
          collation: 45,
          user: access.user,
          authResponse: cachingSha2Response(password, authData),
          database: access.database,
          authPlugin,
          attributes: new Map(),
          zstdLevel: 0,
        },
        1,
      );
      client.send(writer.copy());
      const { payload } = await client.packet();
      client.destroy();
      return payload[1];
    }

    it('40: guesses that leave before the password is asked for are counted', async () => {
      const access = await node.grantAccess(server);
      (await RawMysql.connect(access)).destroy();
      expect(await guess(access, access.password)).toBe(FAST_AUTH_SUCCESS);
      const began = performance.now();
      for (let i = 0; i < 6; i++) expect(await guess(access, `guess ${i}`)).toBe(PERFORM_FULL_AUTHENTICATION);
      // Three are free; the others wait 250, 500 and 1000 ms.
      expect(performance.now() - began).toBeGreaterThan(1500);
    });

    it('42: a statement of seven packets of 16 MiB is refused, and the session goes on', async () => {
      const client = await RawMysql.connect(await node.grantAccess(server));
      const text = Buffer.alloc(0xff_ffff * 6 + 100, 0x78);
      text.write("SELECT '");
      expect(await client.failure(text)).toMatch(/^1153 /);
      expect(await client.row('SELECT 1')).toEqual(['1']);
      await client.quit();
    });

    it('49: long data are kept for the record up to its limit, for all parameters together', async () => {
      const access = await node.grantAccess(server);
      const client = await AuditedMysql.connect(node, access);
      const { raw } = client;
      const [head] = await raw.run(Buffer.from('\x16SELECT LENGTH(?), LENGTH(?)'), 'prepare');
      const id = head.payload.subarray(1, 5);
      const longData = (parameter: number, data: Buffer): Buffer =>
        packet(Buffer.concat([Buffer.from([0x18]), id, Buffer.from([parameter, parameter >> 8]), data]));
      const piece = Buffer.alloc(700_000, 0x61);
      raw.send(longData(0, piece), longData(1, piece));
      const execute = Buffer.concat([
        Buffer.from([0x17]),
        id,
        Buffer.from([0]),
        uint32(1),
        (raw.capabilities.flags & 0x0800_0000) !== 0
          ? Buffer.from([2, 0, 1, 0xfc, 0, 0, 0xfc, 0, 0])
          : Buffer.from([0, 1, 0xfc, 0, 0xfc, 0]),
      ]);
      const before = memoryOf(node);
      expect(failureOf(await raw.run(execute))).toBe('');
      // 300 MB for parameters that there are not.
      for (let i = 0; i < 430; i++) raw.send(longData(2 + i, piece));
      expect(await raw.row('SELECT 1')).toEqual(['1']);
      expect(memoryOf(node) - before).toBeLessThan(150);
      const [statement] = await client.statements();
      expect(statement.outcome).toBe('completed');
    });
  });
});

/** A text parameter; '' for one whose value was sent before. */
function parameter(value: string | null): QueryAttribute {
  const bytes = Buffer.from(value ?? '');
  return {
    name: '',
    type: VAR_STRING,
    value: value === null ? null : value === '' ? bytes : Buffer.concat([Buffer.from([bytes.length]), bytes]),
  };
}

/** COM_STMT_EXECUTE, without its header. */
function execution(raw: RawMysql, statementId: number, values: readonly (string | null)[]): Buffer {
  const writer = new ByteWriter(512);
  const message = { statementId, flags: 0, parameters: values.map(parameter), newTypes: true };
  encodeExecute(writer, message, raw.capabilities);
  return writer.copy().subarray(4);
}

/** COM_STMT_BULK_EXECUTE, without its header. */
function bulk(statementId: number, rows: readonly (readonly (string | null)[])[]): Buffer {
  const writer = new ByteWriter(512);
  encodeBulkExecute(writer, {
    statementId,
    flags: BULK_SEND_TYPES,
    types: rows[0].map(() => VAR_STRING),
    rows: rows.map((row) => row.map((value) => parameter(value).value ?? INDICATOR_NULL)),
  });
  return writer.copy().subarray(4);
}

describe.skipIf(isMissing('mysql-9.7'))('57: query attributes whose end MySQL sees elsewhere', () => {
  let server: MysqlServer;
  let node: Dbwitness;

  beforeAll(async () => {
    [server, node] = await Promise.all([startMysql({ version: '9.7' }), startDbwitness({ mysql: true })]);
  });
  afterAll(async () => {
    await node?.stop();
    await server?.stop();
  });

  it('hide no statement in a comment of our reading', async () => {
    const access = await node.grantAccess(server, { grant: { controls: ['read_only'] } });
    const client = await AuditedMysql.connect(node, access);
    const hidden = Buffer.from('SET GLOBAL max_connect_errors = 4242');
    // Behind its fixed length, to us a comment up to the end of the line; to the server the rest of a value of 35 bytes.
    for (const [type, fixed] of [
      [0x0006, ''],
      [0x0101, '#'],
      [0x000d, '#x'],
      [0x0009, '#xxx'],
    ] as const) {
      const attribute = Buffer.from([3, 1, 1, 0, 1, type & 0xff, type >> 8, 1, 0x61]);
      const value = Buffer.from(`${fixed}#`.padEnd(36, 'x'));
      const run = client.raw.run(Buffer.concat([attribute, value, hidden]));
      expect(failureOf(await run), `type ${type}`).toMatch(/^1835 HY000 .*attribute/);
    }
    const temporal = Buffer.concat([
      Buffer.from([3, 1, 1, 0, 1, 12, 0, 1, 0x61, 0xfc, 1, 0]),
      Buffer.alloc(300, 0x20),
    ]);
    expect(failureOf(await client.raw.run(Buffer.concat([temporal, hidden])))).toMatch(/^1835 /);
    const statements = await client.statements();
    expect(statements.map(({ outcome }) => outcome)).toEqual(Array(5).fill('refused'));
    expect(await server.query('SELECT @@global.max_connect_errors AS n')).not.toEqual([{ n: 4242 }]);
  });
});

/** Megabytes of all processes of a node. */
function memoryOf(node: Dbwitness): number {
  let kilobytes = 0;
  for (const pid of node.processes())
    kilobytes += Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0);
  return kilobytes / 1024;
}
