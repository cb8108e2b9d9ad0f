/** The decoded binary value of every type equals the text that a real PostgreSQL writes itself. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decodeRows } from '../../../src/wire/postgres/values/decode.ts';
import { isMissing, startPostgres, type PostgresServer } from '../../servers/index.ts';
import { WireClient } from './client.ts';
import { VALUES } from './values.ts';

describe.skipIf(isMissing('postgres')).each(['15', '18'] as const)('values of PostgreSQL %s', (version) => {
  let server: PostgresServer;
  let client: WireClient;

  beforeAll(async () => {
    server = await startPostgres({ version });
    client = await WireClient.connect({
      host: server.socketDir,
      port: server.port,
      user: server.user,
      parameters: {
        DateStyle: 'ISO, MDY',
        TimeZone: 'UTC',
        IntervalStyle: 'postgres',
        bytea_output: 'hex',
        extra_float_digits: '1',
      },
    });
    await client.extended("create type mood as enum ('sad', 'ok', 'happy ☺')", 0);
  });
  afterAll(async () => {
    await client?.close();
    await server?.stop();
  });

  it.each(Object.entries(VALUES))('%s', async (type, literals) => {
    // One row per literal: an error names its value, and a type's values are one round trip.
    const sql = literals.map((literal) => `select (${literal})::${type}`).join(' union all ');
    const text = await client.extended(sql, 0);
    const binary = await client.extended(sql, 1);
    const decoded = decodeRows(binary.description, binary.rows);
    expect(decoded).toMatchObject({ truncated: false, columns: [{ format: 'binary' }] });
    expect(decoded.rows).toHaveLength(literals.length);
    const expected = decodeRows(text.description, text.rows);
    expect(expected.columns[0].oid).toBe(decoded.columns[0].oid);
    expect(decoded.rows).toEqual(expected.rows.map((row) => row.map(adapt[type] ?? ((value) => value))));
  });

  it.runIf(version === '18')('infinite intervals, new in 17', async () => {
    const sql = "select 'infinity'::interval, '-infinity'::interval";
    const { description, rows } = await client.extended(sql, 1);
    expect(decodeRows(description, rows).rows).toEqual([['infinity', '-infinity']]);
  });

  it('every float4 power of two and its neighbours', async () => {
    const words: number[] = [];
    for (let exponent = 0; exponent < 255; exponent++)
      for (const nearby of [-1, 0, 1]) words.push(Math.max(0, (exponent << 23) + nearby));
    const floats = Buffer.alloc(20 + 8 * words.length);
    floats.writeUInt32BE(1, 0);
    floats.writeUInt32BE(700, 8);
    floats.writeUInt32BE(words.length, 12);
    floats.writeUInt32BE(1, 16);
    for (const [i, word] of words.entries()) {
      floats.writeUInt32BE(4, 20 + 8 * i);
      floats.writeUInt32BE(word, 24 + 8 * i);
    }
    const sql = 'select $1::float4[]';
    const text = await client.extended(sql, 0, [floats], [1021], [1]);
    const binary = await client.extended(sql, 1, [floats], [1021], [1]);
    expect(decodeRows(binary.description, binary.rows).rows).toEqual(
      decodeRows(text.description, text.rows).rows,
    );
  });

  it('random doubles, and doubles beside short decimals', async () => {
    // As an array: its text is compared digit by digit, where a single one would become the same number anyway.
    const sql = `select array_agg(x::float8) from (
      select (random() - 0.5) * 10 ^ (random() * 60 - 30) as x from generate_series(1, 2000)
      union all select floor(random() * 1e9) * 10 ^ floor(random() * 20) from generate_series(1, 2000)
      union all select 2.0::float8 ^ n from generate_series(-1000, 1000) n
      union all select 5e-324::float8 * n from generate_series(1, 200) n) s`;
    await client.extended('begin', 0);
    await client.extended('create temp table doubles as ' + sql, 0);
    const text = await client.extended('select * from doubles', 0);
    const binary = await client.extended('select * from doubles', 1);
    await client.extended('rollback', 0);
    expect(decodeRows(binary.description, binary.rows).rows).toEqual(
      decodeRows(text.description, text.rows).rows,
    );
  });

  it('every day around the calendar’s corners, and some of every year', async () => {
    const sql = `select d::date, d::timestamp, d::timestamptz from (
      select '4713-01-01 BC'::timestamp + n * interval '1003 days 7 hours 11.000013 seconds' d from generate_series(0, 5000) n
      union all select '1899-12-20'::timestamp + n * interval '1 day' from generate_series(0, 800) n
      union all select '0002-12-20 BC'::timestamp + n * interval '1 day' from generate_series(0, 800) n) s`;
    const text = await client.extended(sql, 0);
    const binary = await client.extended(sql, 1);
    expect(decodeRows(binary.description, binary.rows)).toMatchObject({
      truncated: false,
      rows: decodeRows(text.description, text.rows).rows,
    });
  });

  it('an enum, and a composite of a table, are not built in: text in text, hex in binary', async () => {
    const sql = "select 'happy ☺'::mood";
    const text = await client.extended(sql, 0);
    const binary = await client.extended(sql, 1);
    expect(decodeRows(text.description, text.rows).rows).toEqual([['happy ☺']]);
    expect(decodeRows(binary.description, binary.rows).rows).toEqual([['\\x686170707920e298ba']]);
    expect(decodeRows(binary.description, binary.rows).columns[0].type).toMatch(/^oid 1\d{4}$/);
  });

  it('columns of the same name stay apart', async () => {
    const { description, rows } = await client.extended('select 1 as a, 2 as a, null as a', 1);
    expect(decodeRows(description, rows)).toEqual({
      columns: [
        { name: 'a', type: 'int4', oid: 23, format: 'binary' },
        { name: 'a', type: 'int4', oid: 23, format: 'binary' },
        { name: 'a', type: 'text', oid: 25, format: 'binary' },
      ],
      rows: [[1, 2, null]],
      truncated: false,
    });
  });
});

/** What the server's text has and the wire has not. */
const adapt: Readonly<Record<string, (value: unknown) => unknown>> = {
  money: (value) => (typeof value === 'string' ? value.replaceAll(/[$,]/g, '') : value),
  'money[]': (value) => (typeof value === 'string' ? value.replaceAll(/[$"]|,(?=\d{3}\b)/g, '') : value),
};
