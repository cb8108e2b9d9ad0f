/**
 * What people are shown of parameters and rows, against real servers: every type in both protocols, every character set,
 * every parameter that a driver can send.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ByteWriter } from '../../../src/base/bytes.ts';
import { encodeLongData } from '../../../src/wire/mysql/commands.ts';
import {
  BULK,
  BULK_SEND_TYPES,
  BulkExecuteView,
  ColumnType,
  decodeBulkExecute,
  decodeExecute,
  encodeBulkExecute,
  encodeExecute,
  ExecuteView,
  INDICATOR_NULL,
  type QueryAttribute,
  recordedType,
  UNSIGNED,
  writeBind,
} from '../../../src/wire/mysql/parameters.ts';
import { Capability, HEADER_BYTES, MariadbCapability } from '../../../src/wire/mysql/protocol.ts';
import { decodeParameters, decodeRows } from '../../../src/wire/mysql/values/decode.ts';
import { isMissing, type MysqlServer, startMariadb, startMysql } from '../../servers/index.ts';
import { WireClient, type WireResult } from './client.ts';
import { VALUES, type ValueCase } from './values.ts';

const SERVERS = [
  { name: 'MariaDB 10.11', key: 'mariadb', version: '10.11', start: () => startMariadb() },
  {
    name: 'MariaDB 11.8',
    key: 'mariadb-11.8',
    version: '11.8',
    start: () => startMariadb({ version: '11.8' }),
  },
  { name: 'MySQL 9.7', key: 'mysql-9.7', version: '9.7', start: () => startMysql() },
  { name: 'MySQL 5.6', key: 'mysql-5.6', version: '5.6', start: () => startMysql({ version: '5.6' }) },
] as const;

function applies({ family, versions }: ValueCase, server: { key: string; version: string }): boolean {
  return (
    (family === undefined || server.key.startsWith(family)) &&
    (versions === undefined || versions.includes(server.version))
  );
}

function shown({ description, rows }: WireResult): ReturnType<typeof decodeRows> {
  return decodeRows(description, rows);
}

describe.each(SERVERS)('values of $name', ({ key, version, start }) => {
  const missing = isMissing(key);
  let server: MysqlServer;
  let client: WireClient;

  beforeAll(async () => {
    if (missing) return;
    server = await start();
    client = await WireClient.connect({
      port: server.port,
      user: server.user,
      password: server.password,
      database: 'test',
      collation: 45,
    });
    await client.query("set names utf8mb4; set sql_mode = ''; set time_zone = '+00:00'");
    // Values in the character set of their column, as a client with other needs may ask for.
    await client.query('set character_set_results = null');
  });
  afterAll(async () => {
    await client?.close();
    await server?.stop();
  });

  const cases = VALUES.filter((each) => applies(each, { key, version }));

  it.skipIf(missing).each(cases)('$column', async ({ column, values, type = column }) => {
    await client.query(`create table v (n int primary key auto_increment, v ${column})`);
    try {
      for (const [literal] of values) await client.query(`insert into v (v) values (${literal})`);
      const expected = values.map(([, value]) => [value]);
      const [text] = await client.query('select v from v order by n');
      expect(shown(text)).toEqual({ columns: [{ name: 'v', type }], rows: expected, truncated: false });
      const { statementId } = await client.prepare('select v from v order by n');
      client.send((out) =>
        encodeExecute(out, { statementId, flags: 0, parameters: [], newTypes: true }, client.capabilities),
      );
      const [binary] = await client.results(1);
      expect(shown(binary)).toEqual({ columns: [{ name: 'v', type }], rows: expected, truncated: false });
    } finally {
      await client.query('drop table v');
    }
  });

  it.skipIf(missing || !key.startsWith('mariadb')).each(cases.filter((each) => each.extended !== undefined))(
    '$column with extended metadata: $extended',
    async ({ column, values, extended }) => {
      const other = await WireClient.connect({
        port: server.port,
        user: server.user,
        password: server.password,
        database: 'test',
        collation: 45,
        mariadb: MariadbCapability.EXTENDED_METADATA,
      });
      await other.query(`create table x (v ${column}); insert into x values (${values[0][0]})`);
      const [result] = await other.query('select v from x');
      expect(shown(result)).toEqual({
        columns: [{ name: 'v', type: extended }],
        rows: [[values[0][1]]],
        truncated: false,
      });
      await other.query('drop table x');
      await other.close();
    },
  );

  it.skipIf(missing)('parameters: what is recorded is what the server took', async () => {
    const parameters: readonly (readonly [type: number, value: Buffer | null, shown: unknown])[] = [
      [ColumnType.TINY, Buffer.from([0xff]), -1],
      [ColumnType.TINY | UNSIGNED, Buffer.from([0xff]), 255],
      [ColumnType.SHORT, Buffer.from([0x00, 0x80]), -32_768],
      [ColumnType.LONG, Buffer.from([1, 0, 0, 0]), 1],
      [ColumnType.LONGLONG | UNSIGNED, Buffer.alloc(8, 0xff), '18446744073709551615'],
      [ColumnType.DOUBLE, doubleBytes(1.5), 1.5],
      [ColumnType.VAR_STRING, lenenc('é'), 'é'],
      [ColumnType.NEWDECIMAL, lenenc('12.50'), '12.50'],
      [ColumnType.DATETIME, Buffer.from([7, 0xe8, 7, 2, 29, 13, 14, 15]), '2024-02-29 13:14:15'],
      [ColumnType.TIME, Buffer.from([8, 1, 1, 0, 0, 0, 2, 3, 4]), '-26:03:04'],
      [ColumnType.NULL, null, null],
      [ColumnType.VAR_STRING, null, null],
    ];
    const marks = parameters.map(() => '?').join(', ');
    const ok = await client.prepare(`select ${marks}`);
    expect(ok.parameterCount).toBe(parameters.length);
    const sent: QueryAttribute[] = parameters.map(([type, value]) => ({ name: '', type, value }));
    const out = new ByteWriter(256);
    encodeExecute(
      out,
      { statementId: ok.statementId, flags: 0, parameters: sent, newTypes: true },
      client.capabilities,
    );
    const command = out.copy();
    client.send((to) => to.raw(command));
    const [result] = await client.results(1);
    // The server's echo, in its own types: only NULL and texts are the same for sure.
    expect(shown(result).rows[0].slice(-2)).toEqual([null, null]);
    expect(shown(result).rows[0][6]).toBe('é');

    const view = new ExecuteView();
    decodeExecute(
      command,
      HEADER_BYTES,
      command.length,
      client.capabilities,
      ok.parameterCount,
      null,
      null,
      view,
    );
    const bind = new ByteWriter(64);
    writeBind(bind, command, view, null);
    const types = parameters.map((_, i) => recordedType(view, i, null));
    const decoded = decodeParameters(bind.view(), types);
    expect(decoded).toMatchObject({ truncated: false, count: parameters.length });
    expect(decoded.parameters.map(({ value }) => value)).toEqual(parameters.map(([, , value]) => value));
  });

  it.skipIf(missing)('a parameter that came as long data', async () => {
    const ok = await client.prepare('select ?, length(?)');
    client.send((out) => {
      encodeLongData(out, ok.statementId, 1, Buffer.from('long '));
      encodeLongData(out, ok.statementId, 1, Buffer.from('data'));
    });
    const out = new ByteWriter(256);
    // Its place in the values is empty, so it is written by hand: type 252, no value.
    const parameters = [
      { name: '', type: ColumnType.LONG, value: Buffer.from([7, 0, 0, 0]) },
      { name: '', type: ColumnType.BLOB, value: Buffer.alloc(0) },
    ];
    encodeExecute(
      out,
      { statementId: ok.statementId, flags: 0, parameters, newTypes: true },
      client.capabilities,
    );
    const command = out.copy();
    client.send((to) => to.raw(command));
    const [result] = await client.results(1);
    expect(shown(result).rows).toEqual([[7, 9]]);

    const view = new ExecuteView();
    const came = new Map([[1, Buffer.from('long data')]]);
    decodeExecute(command, 4, command.length, client.capabilities, 2, null, new Set(came.keys()), view);
    const bind = new ByteWriter(64);
    writeBind(bind, command, view, came);
    const types = [0, 1].map((i) => recordedType(view, i, came));
    expect(decodeParameters(bind.view(), types).parameters.map(({ value }) => value)).toEqual([
      7,
      'long data',
    ]);
  });
});

describe.skipIf(isMissing('mysql-9.7'))('MySQL 9.7', () => {
  let server: MysqlServer;
  beforeAll(async () => {
    server = await startMysql({ logStatements: true });
  });
  afterAll(() => server?.stop());

  const attribute: QueryAttribute = { name: 'trace', type: ColumnType.VAR_STRING, value: lenenc('id-7') };

  it.each([0, 8])('attributes of an execution stand behind its parameters (flags %i)', async (flags) => {
    const client = await WireClient.connect({
      port: server.port,
      user: server.user,
      password: server.password,
      flags: Capability.QUERY_ATTRIBUTES,
    });
    const ok = await client.prepare('select ? + 1');
    const five = { name: '', type: ColumnType.LONG, value: Buffer.from([5, 0, 0, 0]) };
    const parameters = flags === 0 ? [five] : [five, attribute];
    const out = new ByteWriter(256);
    encodeExecute(
      out,
      { statementId: ok.statementId, flags, parameters, newTypes: true },
      client.capabilities,
    );
    const command = out.copy();
    client.send((to) => to.raw(command));
    expect(shown((await client.results(1))[0]).rows).toEqual([[6]]);
    const view = new ExecuteView();
    decodeExecute(command, 4, command.length, client.capabilities, 1, null, null, view);
    expect(view.parameterCount).toBe(parameters.length);
    expect(view.valuesEnd).toBe(command.length);
    // And again without types: the server still has those of the parameters (of attributes it does not).
    const again = new ByteWriter(256);
    encodeExecute(
      again,
      { statementId: ok.statementId, flags, parameters: [five], newTypes: false },
      client.capabilities,
    );
    client.send((to) => to.raw(again.copy()));
    expect(shown((await client.results(1))[0]).rows).toEqual([[6]]);
    decodeExecute(again.copy(), 4, again.length, client.capabilities, 1, view.types.slice(), null, view);
    expect(view.valuesEnd).toBe(again.length);
    await client.close();
  });

  it('attributes of a query are not part of its text', async () => {
    const client = await WireClient.connect({
      port: server.port,
      user: server.user,
      password: server.password,
      flags: Capability.QUERY_ATTRIBUTES,
    });
    const [result] = await client.query("select 'the text'", [
      attribute,
      { ...attribute, name: 'n', value: null },
    ]);
    expect(shown(result).rows).toEqual([['the text']]);
    await client.close();
  });

  it('without metadata: the header says so, and the rows are there', async () => {
    const client = await WireClient.connect({
      port: server.port,
      user: server.user,
      password: server.password,
      flags: Capability.OPTIONAL_RESULTSET_METADATA,
    });
    await client.query('set resultset_metadata = none');
    const [result] = await client.query('select 1, 2');
    expect(result).toMatchObject({ metadataFollows: false, rowCount: 1 });
    expect(shown(result)).toEqual({ columns: [], rows: [], truncated: true });
    await client.close();
  });
});

describe.skipIf(isMissing('mariadb-11.8'))('MariaDB 11.8', () => {
  it('bulk execution: rows of parameters, NULL and default among them', async () => {
    const server = await startMariadb({ version: '11.8' });
    const client = await WireClient.connect({
      port: server.port,
      user: server.user,
      password: server.password,
      database: 'test',
      mariadb: MariadbCapability.STMT_BULK_OPERATIONS | MariadbCapability.CACHE_METADATA,
    });
    try {
      await client.query("create table b (id int, name varchar(20) default 'd')");
      const ok = await client.prepare('insert into b values (?, ?)');
      const out = new ByteWriter(256);
      const int = (n: number): Buffer => Buffer.from([n, 0, 0, 0]);
      encodeBulkExecute(out, {
        statementId: ok.statementId,
        flags: BULK_SEND_TYPES,
        types: [ColumnType.LONG, ColumnType.VAR_STRING],
        rows: [
          [int(1), lenenc('one')],
          [int(2), INDICATOR_NULL],
          [int(3), 2],
        ],
      });
      const command = out.copy();
      client.send((to) => to.raw(command));
      const [done] = await client.results(0);
      expect(done.ok?.affectedRows).toBe(3);
      const [rows] = await client.query('select * from b order by id');
      expect(shown(rows).rows).toEqual([
        [1, 'one'],
        [2, null],
        [3, 'd'],
      ]);
      const view = new BulkExecuteView();
      decodeBulkExecute(command, 4, command.length, 2, null, view);
      expect(view.rowCount).toBe(3);
      const types = [0, 1].map((i) => view.types[i] | BULK);
      const decoded = decodeParameters(command.subarray(view.rowsStart, view.rowsEnd), types);
      expect(decoded.parameters).toEqual([
        { type: 'int', value: [1, 2, 3] },
        { type: 'varchar', value: ['one', null, { indicator: 'default' }] },
      ]);
    } finally {
      await client.close();
      await server.stop();
    }
  });
});

function lenenc(text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([Buffer.from([bytes.length]), bytes]);
}

function doubleBytes(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleLE(value);
  return bytes;
}
