/** Values of every type: a column type, literals for it, and what a person is to see. */
import type { MysqlFamily } from '../../servers/index.ts';

export interface ValueCase {
  /** What a column is declared as. */
  readonly column: string;
  /** Literals, in SQL, with what their decoded value is. */
  readonly values: readonly (readonly [literal: string, shown: unknown])[];
  /** The type's name that is shown; by default that of the column. */
  readonly type?: string;
  /** The same where the server sends extended metadata. */
  readonly extended?: string;
  readonly family?: MysqlFamily;
  /** Only these versions have it. */
  readonly versions?: readonly string[];
}

/** A text that a character set has, and most others do not. */
const SAMPLES: Readonly<Record<string, string>> = {
  cp1251: 'Привет ё',
  gbk: '汉字 a',
  gb2312: '汉字 a',
  sjis: '日本語 ｱ',
  cp932: '①日本語',
  ujis: '日本語',
  big5: '漢字',
  euckr: '한글',
  ucs2: 'é日本',
  utf16: 'é日本😀',
  utf16le: 'é😀',
  utf32: 'é😀',
  latin1: 'é€',
  latin2: 'ąęł',
  latin5: 'ğış',
  latin7: 'ąčę',
  greek: 'αβγ',
  hebrew: 'שלום',
  koi8r: 'Привет',
  koi8u: 'Привіт',
  tis620: 'ไทย',
  cp1250: 'žščř',
  cp1257: 'ąčę',
  cp866: 'Привет',
  macroman: 'éü',
};

const MODERN = ['9.7', '10.11', '11.8'];

export const VALUES: readonly ValueCase[] = [
  {
    column: 'tinyint',
    values: [
      ['-128', -128],
      ['127', 127],
      ['null', null],
    ],
  },
  {
    column: 'tinyint unsigned',
    values: [
      ['0', 0],
      ['255', 255],
    ],
  },
  {
    column: 'smallint',
    values: [
      ['-32768', -32_768],
      ['32767', 32_767],
    ],
  },
  { column: 'smallint unsigned', values: [['65535', 65_535]] },
  {
    column: 'mediumint',
    values: [
      ['-8388608', -8_388_608],
      ['8388607', 8_388_607],
    ],
  },
  { column: 'mediumint unsigned', values: [['16777215', 16_777_215]] },
  {
    column: 'int',
    values: [
      ['-2147483648', -2_147_483_648],
      ['2147483647', 2_147_483_647],
    ],
  },
  { column: 'int unsigned', values: [['4294967295', 4_294_967_295]] },
  {
    column: 'bigint',
    values: [
      ['-9223372036854775808', '-9223372036854775808'],
      ['9007199254740991', 9_007_199_254_740_991],
      ['9007199254740993', '9007199254740993'],
    ],
  },
  {
    column: 'bigint unsigned',
    values: [
      ['18446744073709551615', '18446744073709551615'],
      ['7', 7],
    ],
  },
  { column: 'int(6) zerofill', type: 'int unsigned', values: [['42', 42]] },
  {
    column: 'decimal(30,10)',
    type: 'decimal',
    values: [
      ['-12345678901234567890.0123456789', '-12345678901234567890.0123456789'],
      ['0', '0.0000000000'],
    ],
  },
  {
    column: 'float',
    values: [
      ['1.1', 1.1],
      ['-2.5', -2.5],
      ['0.25', 0.25],
    ],
  },
  {
    column: 'float(7,2)',
    type: 'float',
    values: [
      ['1.1', 1.1],
      ['12345.67', 12_345.67],
    ],
  },
  {
    column: 'double',
    values: [
      ['1.1', 1.1],
      ['-1e300', -1e300],
      ['3', 3],
    ],
  },
  {
    column: 'bit(1)',
    type: 'bit',
    values: [
      ["b'1'", '1'],
      ["b'0'", '0'],
    ],
  },
  { column: 'bit(12)', type: 'bit', values: [["b'101'", '000000000101']] },
  { column: 'bit(64)', type: 'bit', values: [['18446744073709551615', '1'.repeat(64)]] },
  {
    column: 'year',
    values: [
      ['1901', 1901],
      ['2155', 2155],
      ['0', 0],
    ],
  },
  {
    column: 'date',
    values: [
      ["'2024-02-29'", '2024-02-29'],
      ["'0000-00-00'", '0000-00-00'],
      ["'9999-12-31'", '9999-12-31'],
    ],
  },
  {
    column: 'datetime',
    values: [
      ["'2024-02-29 13:14:15'", '2024-02-29 13:14:15'],
      ["'0000-00-00'", '0000-00-00 00:00:00'],
      ["'2024-02-29'", '2024-02-29 00:00:00'],
    ],
  },
  {
    column: 'datetime(3)',
    type: 'datetime',
    values: [
      ["'2024-02-29 13:14:15.678'", '2024-02-29 13:14:15.678'],
      ["'2024-02-29 13:14:15'", '2024-02-29 13:14:15.000'],
      ["'2024-02-29'", '2024-02-29 00:00:00.000'],
    ],
  },
  {
    column: 'timestamp(6)',
    type: 'timestamp',
    values: [["'2024-02-29 13:14:15.000001'", '2024-02-29 13:14:15.000001']],
  },
  {
    column: 'time',
    values: [
      ["'-838:59:59'", '-838:59:59'],
      ["'838:59:59'", '838:59:59'],
      ["'00:00:00'", '00:00:00'],
      ["'-00:00:01'", '-00:00:01'],
    ],
  },
  {
    column: 'time(2)',
    type: 'time',
    values: [
      ["'-12:13:14.56'", '-12:13:14.56'],
      ["'00:00:00'", '00:00:00.00'],
    ],
  },
  {
    column: 'char(10) character set utf8mb4',
    type: 'char',
    values: [
      ["'a é 😀'", 'a é 😀'],
      ["''", ''],
    ],
  },
  { column: 'varchar(70000)', type: 'text', values: [["repeat('ab', 150)", 'ab'.repeat(150)]] },
  {
    column: 'varchar(300)',
    type: 'varchar',
    values: [
      ["repeat('x', 251)", 'x'.repeat(251)],
      ["'ü'", 'ü'],
    ],
  },
  {
    column: 'text',
    values: [
      ["'text'", 'text'],
      ["repeat('y', 60000)", 'y'.repeat(60_000)],
    ],
  },
  { column: 'binary(4)', type: 'binary', values: [["x'00ff'", '\\x00ff0000']] },
  {
    column: 'varbinary(9)',
    type: 'varbinary',
    values: [
      ["x'feff'", '\\xfeff'],
      ["''", '\\x'],
    ],
  },
  { column: 'blob', values: [["x'fb00fe'", '\\xfb00fe']] },
  {
    column: "enum('a','b c','é')",
    type: 'enum',
    values: [
      ["'b c'", 'b c'],
      ["'é'", 'é'],
    ],
  },
  {
    column: "set('x','y','z')",
    type: 'set',
    values: [
      ["'z,x'", 'x,z'],
      ["''", ''],
    ],
  },
  {
    column: 'json',
    family: 'mysql',
    versions: ['9.7'],
    values: [[`'{"a": [1, "é", null]}'`, '{"a": [1, "é", null]}']],
  },
  {
    column: 'json',
    family: 'mariadb',
    type: 'text',
    extended: 'json',
    values: [[`'{"a": [1, "é"]}'`, '{"a": [1, "é"]}']],
  },
  {
    column: 'geometry',
    type: 'geometry',
    values: [
      ["st_geomfromtext('POINT(1 2.5)')", 'POINT(1 2.5)'],
      ["st_geomfromtext('LINESTRING(0 0,1 1,2 -3)')", 'LINESTRING(0 0,1 1,2 -3)'],
      [
        "st_geomfromtext('POLYGON((0 0,4 0,4 4,0 0),(1 1,2 1,2 2,1 1))')",
        'POLYGON((0 0,4 0,4 4,0 0),(1 1,2 1,2 2,1 1))',
      ],
      ["st_geomfromtext('MULTIPOINT(1 2,3 4)')", 'MULTIPOINT((1 2),(3 4))'],
      ["st_geomfromtext('MULTIPOLYGON(((0 0,4 0,4 4,0 0)))')", 'MULTIPOLYGON(((0 0,4 0,4 4,0 0)))'],
      [
        "st_geomfromtext('GEOMETRYCOLLECTION(POINT(1 2),LINESTRING(0 0,1 1))')",
        'GEOMETRYCOLLECTION(POINT(1 2),LINESTRING(0 0,1 1))',
      ],
      ["st_geomfromtext('POINT(1 2)', 4326)", 'SRID=4326;POINT(2 1)'],
    ],
    versions: ['9.7'],
  },
  {
    column: 'point',
    type: 'geometry',
    extended: 'point',
    family: 'mariadb',
    values: [['point(1, 2)', 'POINT(1 2)']],
  },
  {
    column: 'vector(3)',
    type: 'vector',
    family: 'mysql',
    versions: ['9.7'],
    values: [["string_to_vector('[1, -2.5, 0.1]')", '[1,-2.5,0.1]']],
  },
  {
    column: 'vector(3)',
    // Nothing in the protocol tells it from bytes.
    type: 'varbinary',
    family: 'mariadb',
    versions: ['11.8'],
    values: [["vec_fromtext('[1, -2.5, 0.1]')", '\\x0000803f000020c0cdcccc3d']],
  },
  {
    column: 'uuid',
    type: 'char',
    extended: 'uuid',
    family: 'mariadb',
    values: [["'123e4567-e89b-12d3-a456-426655440000'", '123e4567-e89b-12d3-a456-426655440000']],
  },
  {
    column: 'inet6',
    type: 'char',
    extended: 'inet6',
    family: 'mariadb',
    values: [["'2001:db8::ff00:42:8329'", '2001:db8::ff00:42:8329']],
  },
  {
    column: 'inet4',
    type: 'char',
    extended: 'inet4',
    family: 'mariadb',
    values: [["'192.0.2.1'", '192.0.2.1']],
  },
  ...[
    'cp1251',
    'gbk',
    'sjis',
    'big5',
    'euckr',
    'ujis',
    'ucs2',
    'utf16',
    'utf16le',
    'utf32',
    'latin2',
    'greek',
    'hebrew',
    'koi8r',
    'tis620',
    'cp1250',
    'latin1',
    'latin5',
    'cp866',
    'macroman',
    'gb2312',
    'cp932',
    'koi8u',
    'cp1257',
    'latin7',
  ].map(
    (charset): ValueCase => ({
      column: `varchar(20) character set ${charset}`,
      type: 'varchar',
      ...(charset === 'utf16le' ? { versions: MODERN } : {}),
      values: [[`'${SAMPLES[charset] ?? 'abc'}'`, SAMPLES[charset] ?? 'abc']],
    }),
  ),
];
