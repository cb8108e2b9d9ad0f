import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ByteWriter } from '../../../base/bytes.ts';
import { BindView, decodeBind, encodeBind } from '../frontend.ts';
import { encodeDataRow, encodeRowDescription } from '../rows.ts';
import { decodeParameters, decodeRows } from './decode.ts';
import { decodeValue } from './value.ts';
import { typeNameOf } from './types.ts';

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');

function bindBody(parameters: (Buffer | null)[], formats: number[]): Buffer {
  const out = new ByteWriter(64);
  encodeBind(out, { portal: 'p', statement: 's', formats, parameters, resultFormats: [1] });
  const bytes = out.copy();
  const view = new BindView();
  decodeBind(bytes, 5, bytes.length, view);
  return bytes.subarray(view.formatsStart, view.resultFormatsStart);
}

const columns = (...formats: number[]): Buffer => {
  const out = new ByteWriter(64);
  encodeRowDescription(
    out,
    formats.map((format, i) => ({
      name: i < 2 ? 'same' : `c${i}`,
      tableOid: 0,
      columnNumber: 0,
      typeOid: [23, 25, 16][i % 3],
      typeBytes: -1,
      typeModifier: -1,
      format,
    })),
  );
  return out.copy().subarray(5);
};

const rowsOf = (...rows: (Buffer | null)[][]): Buffer => {
  const out = new ByteWriter(64);
  for (const row of rows) encodeDataRow(out, row);
  return out.copy();
};

describe('values', () => {
  it.each([
    ['NULL', null, 23, 1, null],
    ['text by an unknown type', Buffer.from('é'), 0, 0, 'é'],
    ['binary by an unknown type', hex('00ff'), 99_999, 1, '\\x00ff'],
    ['bool in text', Buffer.from('t'), 16, 0, true],
    ['bool in binary', hex('00'), 16, 1, false],
    ['int8 beyond 2^53 in text', Buffer.from('9007199254740993'), 20, 0, '9007199254740993'],
    ['int8 beyond 2^53 in binary', hex('0020000000000001'), 20, 1, '9007199254740993'],
    ['int8 within', hex('ffffffffffffffff'), 20, 1, -1],
    ['numeric stays exact', Buffer.from('1.10'), 1700, 0, '1.10'],
    ['float8 NaN', hex('7ff8000000000000'), 701, 1, 'NaN'],
    ['float8 −0', hex('8000000000000000'), 701, 1, '-0'],
    ['float8', hex('3fb999999999999a'), 701, 1, 0.1],
    ['float4 is not widened', hex('3dcccccd'), 700, 1, 0.1],
    ['an empty text', Buffer.alloc(0), 25, 0, ''],
    ['an empty number is no zero', Buffer.alloc(0), 23, 0, ''],
    ['no UTF-8 in text', hex('e9'), 25, 0, { hex: '\\xe9', problem: 'not UTF-8' }],
    ['no UTF-8 in binary', hex('e9'), 25, 1, { hex: '\\xe9', problem: 'not a binary text' }],
    ['an int4 of three bytes', hex('000001'), 23, 1, { hex: '\\x000001', problem: 'not a binary int4' }],
    ['format 2', hex('01'), 23, 2, { hex: '\\x01', problem: 'unknown format code 2' }],
  ])('%s', (_, bytes, oid, format, expected) => {
    expect(decodeValue(bytes, oid, format)).toEqual(expected);
    // The same when it is a slice of something larger.
    if (bytes !== null) {
      const inside = Buffer.concat([Buffer.from('xx'), bytes, Buffer.from('xx')]);
      expect(decodeValue(inside.subarray(2, 2 + bytes.length), oid, format)).toEqual(expected);
    }
  });

  it('a numeric of ten bytes does not become 131,072 digits', () => {
    expect(decodeValue(hex('0001 7fff 0000 0000 0001'), 1700, 1)).toBe('1e+131068');
    expect(decodeValue(hex('0001 8000 4000 3fff 04d2'), 1700, 1)).toBe('-1.234e-131069');
    expect(decodeValue(hex('0000 0000 0000 3fff'), 1700, 1)).toBe('0');
    expect(decodeValue(hex('0002 00c7 0000 0000 0001 0005'), 1700, 1)).toBe(`10005${'0'.repeat(792)}`);
  });

  it.each([
    ['2^31 elements', '00000001 00000000 00000017 7fffffff 00000001'],
    ['six dimensions of 2^10', `00000006 00000000 00000017 ${'00000400 00000001 '.repeat(6)}`],
    ['seven dimensions', `00000007 00000000 00000017 ${'00000001 00000001 '.repeat(7)} 00000004 00000001`],
    ['a negative length', '00000001 00000000 00000017 ffffffff 00000001'],
    ['bytes left over', '00000000 00000000 00000017 00'],
  ])('an array that announces %s', (_, bytes) => {
    expect(decodeValue(hex(bytes), 1007, 1)).toMatchObject({ problem: 'not a binary int4[]' });
  });

  it('records in records end somewhere: quoting doubles with each level', () => {
    let record = hex('00000001 00000019 00000001 22');
    for (let depth = 0; depth < 20; depth++) {
      const header = Buffer.alloc(12);
      header.writeUInt32BE(1, 0);
      header.writeUInt32BE(2249, 4);
      header.writeUInt32BE(record.length, 8);
      record = Buffer.concat([header, record]);
    }
    expect(decodeValue(record, 2249, 1)).toMatchObject({ problem: 'not a binary record' });
  });

  it('a tsquery of 100,000 operators does not exhaust the stack', () => {
    const query = Buffer.alloc(4 + 200_000, hex('0201'));
    query.writeUInt32BE(100_000, 0);
    expect(decodeValue(query, 3615, 1)).toMatchObject({ problem: 'not a binary tsquery' });
  });

  it('random bytes of every type: a value, never an exception, never much longer than its bytes', () => {
    const oids = Array.from({ length: 6200 }, (_, oid) => oid).filter(
      (oid) => !typeNameOf(oid).startsWith('oid '),
    );
    expect(oids.length).toBeGreaterThan(130);
    fc.assert(
      fc.property(
        fc.constantFrom(...oids),
        fc.oneof(
          fc.uint8Array({ maxLength: 80 }),
          // Mostly zeros: small counts and lengths get further.
          fc.array(fc.constantFrom(0, 0, 0, 0, 1, 2, 4, 23, 255), { maxLength: 80 }),
        ),
        (oid, bytes) => {
          const value = decodeValue(Buffer.from(bytes), oid, 1);
          expect(JSON.stringify(value).length).toBeLessThan(3000 + 64 * bytes.length);
        },
      ),
      { numRuns: 20_000 },
    );
  });
});

describe('decodeParameters', () => {
  const parameters = [hex('00000007'), null, Buffer.from('é'), Buffer.from('t')];

  it('by type and format', () => {
    expect(decodeParameters(bindBody(parameters, [1, 1, 0, 0]), [23, 25, 25, 16])).toEqual({
      parameters: [
        { type: 'int4', oid: 23, format: 'binary', value: 7 },
        { type: 'text', oid: 25, format: 'binary', value: null },
        { type: 'text', oid: 25, format: 'text', value: 'é' },
        { type: 'bool', oid: 16, format: 'text', value: true },
      ],
      count: 4,
      truncated: false,
    });
  });

  it('one format for all, none: text; types that are not known', () => {
    const values = (formats: number[], types: number[]): unknown[] =>
      decodeParameters(bindBody([hex('0001'), hex('31')], formats), types).parameters.map(
        ({ value }) => value,
      );
    expect(values([1], [21])).toEqual([1, '\\x31']);
    expect(values([], [])).toEqual(['\0\u0001', '1']);
  });

  it('a capture that is cut anywhere gives the whole ones and says so', () => {
    const whole = bindBody(parameters, [1, 1, 0, 0]);
    const all = decodeParameters(whole, [23, 25, 25, 16]).parameters;
    let most = -1;
    for (let end = 0; end < whole.length; end++) {
      const cut = decodeParameters(whole.subarray(0, end), [23, 25, 25, 16]);
      expect(cut.truncated).toBe(true);
      expect(cut.parameters).toEqual(all.slice(0, cut.parameters.length));
      expect(cut.parameters.length).toBeGreaterThanOrEqual(Math.max(0, most));
      most = cut.parameters.length;
    }
    expect(most).toBe(3);
  });
});

describe('decodeRows', () => {
  const rows: (Buffer | null)[][] = [
    [Buffer.from('1'), hex('c3a9'), hex('01')],
    [null, null, null],
  ];

  it('columns of one name stay apart, by position', () => {
    expect(decodeRows(columns(0, 1, 1), rowsOf(...rows))).toEqual({
      columns: [
        { name: 'same', type: 'int4', oid: 23, format: 'text' },
        { name: 'same', type: 'text', oid: 25, format: 'binary' },
        { name: 'c2', type: 'bool', oid: 16, format: 'binary' },
      ],
      rows: [
        [1, 'é', true],
        [null, null, null],
      ],
      truncated: false,
    });
  });

  it('rows that are cut anywhere give the whole ones and say so', () => {
    const whole = rowsOf(...rows);
    const first = rowsOf(rows[0]).length;
    for (let end = 1; end < whole.length; end++) {
      const cut = decodeRows(columns(0, 1, 1), whole.subarray(0, end));
      expect(cut.rows).toHaveLength(end < first ? 0 : 1);
      expect(cut.truncated).toBe(end !== first);
    }
  });

  it('a description that is cut gives the columns that are whole', () => {
    const whole = columns(0, 1, 1);
    for (let end = 1; end < whole.length; end++)
      expect(decodeRows(whole.subarray(0, end), Buffer.alloc(0))).toMatchObject({ truncated: true });
    expect(decodeRows(whole.subarray(0, whole.length - 1), rowsOf(rows[0]))).toMatchObject({
      columns: [{ name: 'same' }, { name: 'same' }],
      rows: [[1, 'é', '\u0001']],
    });
  });

  it('without a description values are shown as text', () => {
    expect(decodeRows(Buffer.alloc(0), rowsOf([Buffer.from('a'), hex('ff')]))).toEqual({
      columns: [],
      rows: [['a', { hex: '\\xff', problem: 'not UTF-8' }]],
      truncated: false,
    });
  });

  it('stops at what is no DataRow', () => {
    const bytes = Buffer.concat([rowsOf([Buffer.from('a')]), Buffer.from('Z\0\0\0\u0005I')]);
    expect(decodeRows(columns(0), bytes)).toMatchObject({ rows: [['a']], truncated: true });
  });

  it('decodes no more rows than asked for', () => {
    expect(decodeRows(columns(0, 1, 1), rowsOf(...rows), 1)).toMatchObject({
      rows: [[1, 'é', true]],
      truncated: false,
    });
  });
});
