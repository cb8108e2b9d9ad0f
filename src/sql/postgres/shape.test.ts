import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { limits } from '../../base/limits.ts';
import { defaultLexicalSettings } from '../dialect.ts';
import { ByteCache, hashBytes } from '../cache.ts';
import { Classifier } from './classifier.ts';
import { loadPostgresDialect, type PostgresDialect } from './dialect.ts';
import { ParserInstance } from './instance.ts';
import { ShapeReader } from './shape.ts';
import { classifyText, flagsOf } from './testing.ts';

const MARKS = ['', '①', '②', '③', '④', '⑤'];

function shapeOf(text: string): string | null {
  const reader = new ShapeReader(8192);
  const bytes = Buffer.from(`'"${text}'"`);
  if (!reader.read(bytes, 2, bytes.length - 2)) return null;
  const pieces: Buffer[] = [];
  for (const byte of reader.bytes.subarray(0, reader.length))
    pieces.push(byte > 0 && byte < MARKS.length ? Buffer.from(MARKS[byte]) : Buffer.of(byte));
  return Buffer.concat(pieces).toString();
}

describe('the shape of a text', () => {
  it.each([
    ['SELECT a FROM t WHERE id = 42', 'SELECT a FROM t WHERE id = ①'],
    ["select 'a', 'b''c', ''", 'select ③, ③, ③'],
    ['select 1.50, 2147483647, 2147483648, 99999999999', 'select ②, ①, ⑤, ⑤'],
    ['select a1, $12, -3, b-4', 'select a1, $12, -①, b-①'],
    ['select "it\'s 5", é7', 'select "it\'s 5", é7'],
    ['/* trace 17 */ select 2/3', '④ select ①/①'],
    ["select 'é'\n'x'", 'select ③\n③'],
    ['begin', 'begin'],
  ])('%s', (text, shape) => {
    expect(shapeOf(text)).toBe(shape);
  });

  it.each([
    "select E'a'",
    "select N'a'",
    "select U&'a'",
    'select U&"a"',
    "select '\\'",
    "select 'a",
    'select "a',
    'select 1 -- x',
    'select $$a$$',
    'select $a$a$a$',
    'select $1a',
    'select 1; select 2',
    'select 1e5',
    'select 0x1f',
    'select 1_000',
    'select 1.',
    'select .5',
    'select 1.2.3',
    'select 1..2',
    'select 00000000001',
    'select /* /* */ 1',
    'select /* 1',
    'select 1\0',
    "select '\0'",
    'select \u0001',
    "date'2020-01-01'",
  ])('none: %j', (text) => {
    expect(shapeOf(text)).toBeNull();
  });
});

// Texts with holes: # an integer, % a string, @ a decimal. Everything that could depend on a constant's value.
const TEMPLATES = [
  'select a from t where id = # and n = % and x > @',
  'insert into t values (#, %, -#), (#, %, - #)',
  'update t set a = a - #, b = % where c in (#, #, %)',
  'delete from t where a between # and # or b like % escape %',
  'select * from t order by # limit # offset #',
  'select a::numeric(#, #), b::varchar(#), float(#) % from t',
  'select cast(a as float(#)) from t',
  'select interval % second(#), interval(#) %, % ::interval, time(#) % from t',
  'select # # from t',
  'select a # from t',
  'select %\n% from t',
  'select % % from t',
  'select set_config(%, %, false)',
  "select set_config('a.b', %, false)",
  'select query_to_xml(%, true, true, %)',
  'select * from ts_stat(%)',
  'select nextval(%), pg_read_file(%)',
  'select set_config(name, %, false) from pg_settings where name = %',
  'explain (analyze #) delete from t',
  'explain (analyze %) delete from t',
  'set default_transaction_read_only = %',
  'set default_transaction_read_only = #',
  'set statement_timeout = #',
  'set session characteristics as transaction isolation level %',
  'select * from t fetch first # rows only',
  'select extract(% from a), overlay(% placing % from # for #)',
  'select a[#], a[#:#], (b).c from t',
  'select x.* from json_table(%, % columns (a int path %)) x',
  'select json_value(%, % returning int)',
  'merge into t using s on t.a = # when matched and s.b = % then delete',
  'with x as (delete from t where a = # returning %) select #, % from x',
  'select /* # % */ #',
  'select * from t tablesample system (#) repeatable (#)',
  'copy t to %',
  'select xmlparse(document %), xmlserialize(content % as text)',
  'declare c cursor for select #',
  'fetch # from c',
  'execute p(#, %)',
  'select sum(#) over (order by # rows # preceding), grouping(#) from t group by cube (#, %)',
  'select % collate "C", bit(#) %, char(#) %, national character(#) % from t',
];

const integers = fc.oneof(
  fc.nat(20),
  fc.integer({ min: 0, max: 2_147_483_647 }),
  fc.bigInt({ min: 2_147_483_648n, max: 10n ** 20n }),
);
const strings = fc.oneof(
  fc.constantFrom(
    'default_transaction_read_only',
    'role',
    'work_mem',
    'off',
    'on',
    'false',
    'true',
    '0',
    '1',
    'maybe',
    'delete from t',
    "select nextval(''s'')",
    'select 1',
    '',
    "''",
    '--',
    '/*',
    ';',
    '$',
    '$$',
    'year',
    '1 day',
  ),
  fc.string({ maxLength: 12 }).map((text) => text.replaceAll(/['\\\0]/g, '')),
);

describe('a classification that serves a shape', () => {
  let dialect: PostgresDialect;
  let parser: ParserInstance;
  beforeAll(async () => {
    dialect = await loadPostgresDialect();
    parser = await ParserInstance.load();
  });
  afterAll(() => dialect.close());

  it('is that of every text of the shape', () => {
    const filled = fc
      .record({
        template: fc.constantFrom(...TEMPLATES),
        integers: fc.array(integers, { minLength: 8, maxLength: 8 }),
        strings: fc.array(strings, { minLength: 8, maxLength: 8 }),
        decimal: fc.nat(1000).map((n) => (n / 10).toFixed(2)),
      })
      .map(({ template, integers, strings, decimal }) => {
        let i = 0;
        let s = 0;
        return template.replaceAll(/[#%@]/g, (hole) =>
          hole === '#' ? String(integers[i++ % 8]) : hole === '%' ? `'${strings[s++ % 8]}'` : decimal,
        );
      });
    fc.assert(
      fc.property(filled, (text) => {
        // One remembers thousands of shapes by now, the other has never seen a text.
        const fresh = new Classifier(parser, limits.maxInlineParseBytes);
        const bytes = Buffer.from(text);
        expect(classifyText(dialect, text)).toEqual(
          fresh.classify(bytes, 0, bytes.length, defaultLexicalSettings),
        );
      }),
      { numRuns: 6000 },
    );
  });

  it('spares the parser', () => {
    for (const template of [
      'select abalance from accounts where aid = #',
      "insert into h values (#, -#, '#', now())",
    ]) {
      const text = (i: number): string => template.replaceAll('#', String(i));
      classifyText(dialect, text(0));
      const { parses } = dialect;
      for (let i = 1; i < 100; i++) expect(flagsOf(classifyText(dialect, text(i)))).not.toBe('unparsed');
      expect(dialect.parses).toBe(parses);
    }
    // Not here: the constant decides.
    expect(flagsOf(classifyText(dialect, "select set_config('work_mem', '1', true)"))).toBe('');
    expect(flagsOf(classifyText(dialect, "select set_config('role', '1', true)"))).toBe('escapesReadOnly');
    expect(flagsOf(classifyText(dialect, 'select float(53) %'.replace('%', "'1'")))).toBe('');
    expect(flagsOf(classifyText(dialect, 'select float(54) %'.replace('%', "'1'")))).toBe('unparsed');
  });
});

describe('ByteCache', () => {
  const bytes = (text: string): Buffer => Buffer.from(text);
  const put = (cache: ByteCache<string>, text: string, hash = hashBytes(bytes(text), 0, text.length)): void =>
    cache.set(hash, bytes(text), 0, text.length, text);
  const take = (
    cache: ByteCache<string>,
    text: string,
    hash = hashBytes(bytes(text), 0, text.length),
  ): string | undefined => cache.get(hash, bytes(text), 0, text.length);

  it('tells texts of one hash apart, and searches only a few of them', () => {
    const cache = new ByteCache<string>(1000, 1_000_000);
    for (let i = 0; i < 20; i++) put(cache, `text ${i}`, 7);
    expect(take(cache, 'text 19', 7)).toBe('text 19');
    expect(take(cache, 'text 13', 7)).toBe('text 13');
    expect(take(cache, 'text 0', 7)).toBeUndefined();
    expect(take(cache, 'text', 7)).toBeUndefined();
  });

  it('copies its keys', () => {
    const cache = new ByteCache<string>(10, 10_000);
    const key = bytes('abc');
    cache.set(1, key, 0, 3, 'value');
    key.fill(0x78);
    expect(cache.get(1, bytes('abc'), 0, 3)).toBe('value');
    expect(cache.get(1, key, 0, 3)).toBeUndefined();
  });

  it('stays within its entries and bytes, and keeps what is used', () => {
    const cache = new ByteCache<string>(100, 1_000_000);
    put(cache, 'kept');
    for (let i = 0; i < 1000; i++) {
      put(cache, `text ${i}`);
      expect(take(cache, 'kept')).toBe('kept');
      expect(cache.size).toBeLessThanOrEqual(100);
    }
    expect(take(cache, 'text 0')).toBeUndefined();
    expect(take(cache, 'text 999')).toBe('text 999');
    const small = new ByteCache<string>(1_000_000, 10_000);
    for (let i = 0; i < 1000; i++) put(small, `text ${i} ${'x'.repeat(100)}`);
    expect(small.size).toBeLessThan(40);
    put(small, 'x'.repeat(20_000));
    expect(take(small, 'x'.repeat(20_000))).toBeUndefined();
  });
});
