import { describe, expect, it } from 'vitest';
import { ByteWriter } from '../base/bytes.ts';
import { encodeColumnDefinition, encodeTextRow } from '../wire/mysql/resultset.ts';
import { encodeDataRow, encodeRowDescription } from '../wire/postgres/rows.ts';
import { createDecoder } from './decoder.ts';
import { recordedResultSets } from './recorded-values.ts';

const NOTHING = new Uint8Array();

function mysqlColumn(name: string): Buffer {
  const out = new ByteWriter(64);
  out.u8(0);
  encodeColumnDefinition(
    out,
    {
      schema: '',
      table: '',
      originalTable: '',
      name,
      originalName: '',
      collation: 63,
      length: 11,
      type: 3,
      flags: 0,
      decimals: 0,
      extended: null,
    },
    1,
  );
  return out.copy();
}

function mysqlRow(text: string): Buffer {
  const out = new ByteWriter(64);
  encodeTextRow(out, [Buffer.from(text)], 2);
  return out.copy();
}

describe('recorded values', () => {
  it.each(['mysql', 'mariadb'])('%s: a result in pieces, then another of the same procedure', (engine) => {
    const pieces = [
      { description: mysqlColumn('a'), rows: mysqlRow('1') },
      { description: NOTHING, rows: mysqlRow('2') },
      { description: mysqlColumn('b'), rows: NOTHING },
      { description: mysqlColumn('c'), rows: mysqlRow('3') },
    ];
    const set = (name: string, ...rows: number[][]): object => ({
      columns: [{ name, type: 'int' }],
      rows,
      truncated: false,
    });
    expect(recordedResultSets(engine, pieces)).toEqual([set('a', [1], [2]), set('b'), set('c', [3])]);
  });

  it('PostgreSQL: its own form; an engine nobody knows: nothing, and says so', () => {
    const description = new ByteWriter(64);
    encodeRowDescription(description, [
      { name: 'n', tableOid: 0, columnNumber: 0, typeOid: 23, typeBytes: 4, typeModifier: -1, format: 0 },
    ]);
    const row = new ByteWriter(64);
    encodeDataRow(row, [Buffer.from('7')]);
    const pieces = [{ description: description.copy().subarray(5), rows: row.copy() }];
    const read = { columns: [{ name: 'n', type: 'int4' }], rows: [[7]], truncated: false };
    expect(recordedResultSets('postgres', pieces)).toEqual([read]);
    expect(recordedResultSets('', pieces)).toEqual([{ columns: [], rows: [], truncated: true }]);
    expect(recordedResultSets('mysql', [])).toEqual([]);
  });

  it('parameters by engine, for the index', async () => {
    const decoder = await createDecoder();
    const recorded = { bind: Buffer.from([0b10, 5, 0, 0, 0]), parameters: [] };
    expect(decoder.decodeParameters('mariadb', recorded, [3, 0xfd])).toEqual([5, null]);
    expect(decoder.decodeParameters('oracle', recorded, [3, 0xfd])).toBeNull();
    expect(decoder.decodeParameters('mysql', { bind: null, parameters: [] }, [])).toBeNull();
  });
});
