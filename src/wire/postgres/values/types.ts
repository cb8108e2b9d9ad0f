/**
 * The built-in types by oid: their names, how a binary value becomes the server's text, and what that text is in JSON.
 * Built-in oids never change: https://github.com/postgres/postgres/blob/master/src/include/catalog/pg_type.dat
 */
import { arrayText, multirangeText, rangeText, recordText, vectorText } from './containers.ts';
import { dateText, intervalText, timestamptzText, timestampText, timetzText, timeText } from './datetime.ts';
import { float4Text, float8Text } from './float.ts';
import { boxText, circleText, lineText, lsegText, pathText, pointText, polygonText } from './geometric.ts';
import { inetText, macaddrText, uuidText } from './network.ts';
import {
  bitText,
  int2Text,
  int4Text,
  int8Text,
  lsnText,
  moneyText,
  numericText,
  snapshotText,
  tidText,
  uint4Text,
  uint8Text,
} from './numbers.ts';
import { tsqueryText, tsvectorText } from './search.ts';
import { expectBytes, hexText, unreadable } from '../../values.ts';
import { utf8OrUndefined } from '../reader.ts';

/** What the text of a value becomes in JSON. */
export type JsonForm = 'string' | 'boolean' | 'number';

export interface ValueType {
  readonly name: string;
  readonly json: JsonForm;
  /** Binary to the server's text. @throws AppError WIRE_VALUE_MALFORMED. */
  readonly text: (bytes: Buffer, depth: number) => string;
}

const types = new Map<number, ValueType>();

/** `undefined` for a type of an extension or a user: enum, domain over one, composite. */
export function typeOf(oid: number): ValueType | undefined {
  return types.get(oid);
}

/** The server's name of a type, or `oid 16999`. 0 is a parameter whose type was left to the server. */
export function typeNameOf(oid: number): string {
  return types.get(oid)?.name ?? (oid === 0 ? 'unknown' : `oid ${oid}`);
}

function elementText(oid: number, bytes: Buffer, depth: number): string {
  return types.get(oid)?.text(bytes, depth) ?? hexText(bytes);
}

function boolText(bytes: Buffer): string {
  expectBytes(bytes, 1, 'bool');
  return bytes[0] === 0 ? 'f' : 't';
}

function plainText(bytes: Buffer): string {
  const text = utf8OrUndefined(bytes);
  if (text === undefined) throw unreadable('text');
  return text;
}

/** jsonb and jsonpath: a version byte in front of the text. */
function versionedText(bytes: Buffer): string {
  if (bytes[0] !== 1) throw unreadable('jsonb');
  return plainText(bytes.subarray(1));
}

/** "char": one byte, beyond ASCII in octal. */
function charText(bytes: Buffer): string {
  expectBytes(bytes, 1, '"char"');
  if (bytes[0] === 0) return '';
  return bytes[0] < 0x80 ? String.fromCharCode(bytes[0]) : `\\${bytes[0].toString(8)}`;
}

function voidText(): string {
  return '';
}

type Row = [oid: number, arrayOid: number, name: string, text: ValueType['text'], json?: JsonForm];

// In the order of pg_type.dat.
const SCALARS: readonly Row[] = [
  [16, 1000, 'bool', boolText, 'boolean'],
  [17, 1001, 'bytea', hexText],
  [18, 1002, 'char', charText],
  [19, 1003, 'name', plainText],
  [20, 1016, 'int8', int8Text, 'number'],
  [21, 1005, 'int2', int2Text, 'number'],
  [23, 1007, 'int4', int4Text, 'number'],
  [24, 1008, 'regproc', uint4Text],
  [25, 1009, 'text', plainText],
  [26, 1028, 'oid', uint4Text, 'number'],
  [27, 1010, 'tid', tidText],
  [28, 1011, 'xid', uint4Text, 'number'],
  [29, 1012, 'cid', uint4Text, 'number'],
  [114, 199, 'json', plainText],
  [142, 143, 'xml', plainText],
  [194, 0, 'pg_node_tree', plainText],
  [600, 1017, 'point', pointText],
  [601, 1018, 'lseg', lsegText],
  [602, 1019, 'path', pathText],
  [603, 1020, 'box', boxText],
  [604, 1027, 'polygon', polygonText],
  [628, 629, 'line', lineText],
  [650, 651, 'cidr', inetText],
  [700, 1021, 'float4', float4Text, 'number'],
  [701, 1022, 'float8', float8Text, 'number'],
  [705, 0, 'unknown', plainText],
  [718, 719, 'circle', circleText],
  [774, 775, 'macaddr8', macaddrText],
  [790, 791, 'money', moneyText],
  [829, 1040, 'macaddr', macaddrText],
  [869, 1041, 'inet', inetText],
  [1042, 1014, 'bpchar', plainText],
  [1043, 1015, 'varchar', plainText],
  [1082, 1182, 'date', dateText],
  [1083, 1183, 'time', timeText],
  [1114, 1115, 'timestamp', timestampText],
  [1184, 1185, 'timestamptz', timestamptzText],
  [1186, 1187, 'interval', intervalText],
  [1266, 1270, 'timetz', timetzText],
  [1560, 1561, 'bit', bitText],
  [1562, 1563, 'varbit', bitText],
  [1700, 1231, 'numeric', numericText],
  [1790, 2201, 'refcursor', plainText],
  [2202, 2207, 'regprocedure', uint4Text],
  [2203, 2208, 'regoper', uint4Text],
  [2204, 2209, 'regoperator', uint4Text],
  [2205, 2210, 'regclass', uint4Text],
  [2206, 2211, 'regtype', uint4Text],
  [2275, 1263, 'cstring', plainText],
  [2278, 0, 'void', voidText],
  [2950, 2951, 'uuid', uuidText],
  [2970, 2949, 'txid_snapshot', snapshotText],
  [3220, 3221, 'pg_lsn', lsnText],
  [3614, 3643, 'tsvector', tsvectorText],
  [3615, 3645, 'tsquery', tsqueryText],
  [3734, 3735, 'regconfig', uint4Text],
  [3769, 3770, 'regdictionary', uint4Text],
  [3802, 3807, 'jsonb', versionedText],
  [4072, 4073, 'jsonpath', versionedText],
  [4089, 4090, 'regnamespace', uint4Text],
  [4096, 4097, 'regrole', uint4Text],
  [4191, 4192, 'regcollation', uint4Text],
  [5038, 5039, 'pg_snapshot', snapshotText],
  [5069, 271, 'xid8', uint8Text, 'number'],
];

type RangeRow = [
  oid: number,
  arrayOid: number,
  name: string,
  boundOid: number,
  multirangeOid: number,
  multirangeArrayOid: number,
];

const RANGES: readonly RangeRow[] = [
  [3904, 3905, 'int4', 23, 4451, 6150],
  [3906, 3907, 'num', 1700, 4532, 6151],
  [3908, 3909, 'ts', 1114, 4533, 6152],
  [3910, 3911, 'tstz', 1184, 4534, 6153],
  [3912, 3913, 'date', 1082, 4535, 6155],
  [3926, 3927, 'int8', 20, 4536, 6157],
];

function define(oid: number, arrayOid: number, name: string, text: ValueType['text'], json: JsonForm): void {
  types.set(oid, { name, json, text });
  if (arrayOid !== 0)
    types.set(arrayOid, {
      name: `${name}[]`,
      json: 'string',
      text: (bytes, depth) => arrayText(bytes, elementText, depth),
    });
}

for (const [oid, arrayOid, name, text, json = 'string'] of SCALARS) define(oid, arrayOid, name, text, json);
for (const [oid, arrayOid, name, boundOid, multirangeOid, multirangeArrayOid] of RANGES) {
  const range: ValueType['text'] = (bytes, depth) => rangeText(bytes, boundOid, elementText, depth);
  const multirange: ValueType['text'] = (bytes, depth) => multirangeText(bytes, boundOid, elementText, depth);
  define(oid, arrayOid, `${name}range`, range, 'string');
  define(multirangeOid, multirangeArrayOid, `${name}multirange`, multirange, 'string');
}
const vector: ValueType['text'] = (bytes, depth) => vectorText(bytes, elementText, depth);
define(22, 1006, 'int2vector', vector, 'string');
define(30, 1013, 'oidvector', vector, 'string');
define(2249, 2287, 'record', (bytes, depth) => recordText(bytes, elementText, depth), 'string');
