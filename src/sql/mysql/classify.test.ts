import { describe, expect, it } from 'vitest';
import { limits } from '../../base/limits.ts';
import { defaultLexicalSettings, type LexicalSettings } from '../dialect.ts';
import { flagsOf } from '../postgres/testing.ts';
import { loadMysqlDialect, type MysqlDialect } from './dialect.ts';
import { BUILT_IN, HARMFUL } from './functions.ts';
import { VERBS } from './verbs.ts';
import { WORDS } from './words.ts';

const mysql = loadMysqlDialect('mysql');
const mariadb = loadMysqlDialect('mariadb');

const classify = (dialect: MysqlDialect, text: string | Buffer, settings?: LexicalSettings) => {
  // Surrounded by bytes that a reader beyond its message would trip over.
  const bytes = Buffer.concat([Buffer.from("'; "), Buffer.from(text), Buffer.from(" */;'")]);
  return dialect.classify(bytes, 3, bytes.length - 5, settings);
};
const flags = (text: string | Buffer, settings?: LexicalSettings): string => {
  const one = flagsOf(classify(mysql, text, settings));
  expect(flagsOf(classify(mariadb, text, settings)), 'MariaDB').toBe(one);
  return one;
};

// What the corpus (test/corpus) does not say: which flags, and of which part.
const CASES: readonly (readonly [string, string, string])[] = [
  ['', '', ''],
  ['/* nothing */ -- at all', '', ''],
  ['select 1', 'select', ''],
  ['((select 1))', 'select', ''],
  ['with x as (select 1), y (a) as (select 2) select * from x, y', 'select', ''],
  ['with x as (select 1) update t set a = 1', 'update', 'writes'],
  ['with x as (select 1) delete from t', 'delete', 'writes'],
  ['truncate table t', 'truncate', 'writes'],
  ['select truncate(a, 2) from t', 'select', ''],
  ['create table t (a int)', 'create', 'writes ddl'],
  ['create function f returns int soname "x.so"', 'create', 'writes ddl'],
  ["create procedure p() begin prepare x from 'select 1'; end", 'create', 'writes ddl opaque'],
  [
    "create event e on schedule every 1 day do select 1 into outfile '/x'",
    'create',
    'writes ddl copy serverFiles',
  ],
  ['drop prepare p', 'drop', ''],
  ['load data infile "x" into table t', 'load', 'writes copy serverFiles'],
  ['load data low_priority local infile "x" into table t', 'load', 'writes copy'],
  ['load index into cache t', 'load', 'writes'],
  ['explain insert into t values (1)', 'explain', ''],
  ['explain analyze insert into t values (1)', 'explain', 'writes'],
  ["explain format = json select get_lock('a', 1)", 'explain', 'writes'],
  ['explain for connection 5', 'explain', ''],
  ['explain t', 'explain', ''],
  ['desc `delete`', 'explain', ''],
  ['analyze table t', 'analyze', 'writes'],
  ['analyze local table t', 'analyze', 'writes'],
  ['call p', 'call', 'writes opaque'],
  ['set role all', 'set', 'escapesReadOnly'],
  ['set default role all to bob', 'set', 'writes ddl'],
  ['set global a = 1', 'set', 'writes escapesReadOnly'],
  ['set persist_only a = 1', 'set', 'writes escapesReadOnly'],
  ['set @@global.a = 1', 'set', 'writes escapesReadOnly'],
  ['set session a = 1, b = (select 1)', 'set', ''],
  ['set @a = (select max(a) from t for update)', 'set', 'writes'],
  ['set transaction read only', 'set', ''],
  ['set transaction_read_only = on', 'set', ''],
  ['set transaction_read_only = on + 0', 'set', 'escapesReadOnly'],
  ['set session_track_schema = on', 'set', ''],
  ['set session_track_schema = off', 'set', 'escapesReadOnly'],
  ['set names default', 'set', ''],
  ['set names gb18030', 'set', 'opaque'],
  ['kill 5', 'kill', ''],
  ["kill load_file('x')", 'kill', 'copy serverFiles'],
  ['shutdown', 'shutdown', 'writes escapesReadOnly'],
  ['clone local data directory = "/x"', 'clone', 'writes copy serverFiles opaque'],
  ['import table from "x.sdi"', 'import', 'writes ddl copy serverFiles'],
  ['install component "file://x"', 'install', 'writes ddl opaque'],
  ['xa commit "x"', 'xa', 'writes'],
  ["select sys_exec('x')", 'select', 'opaque'],
  ["select keyring_key_remove('x')", 'select', 'writes'],
  ['select a from t order by a desc, b', 'select', ''],
  ['select * from t where a in (select replace(b, 1, 2) from u)', 'select', ''],
  ['select (delete from t)', 'select', 'writes'],
  ['select `update`.`delete`, x.insert from `update`, x', 'select', ''],
  ['insert into t select load_file("x")', 'insert', 'writes copy serverFiles'],
  ['prepare p from "delete from t"', 'prepare', 'writes'],
  ["prepare p from 'prepare q from @x'", 'prepare', 'opaque'],
  ["prepare p from 'select 1; delete from t'", 'prepare', 'writes opaque'],
  ["prepare p from 'select load_file(''x'')'", 'prepare', 'copy serverFiles'],
  ["prepare p from x'41'", 'prepare', 'opaque'],
  ["prepare p from 'a' 'b'", 'prepare', 'opaque'],
  ['select $$ a $$', 'select', 'opaque'],
  ['select 1; call p()', 'select', 'writes opaque'],
  ['frobnicate t', '', 'unparsed'],
  ["select 'open", '', 'unparsed'],
  ['select "open', '', 'unparsed'],
  ['select `open', '', 'unparsed'],
  ['select 1 /* open', '', 'unparsed'],
  ['select 1 /*! open', '', 'unparsed'],
  ['select 1 \0', '', 'unparsed'],
  ['select $a$ open', '', 'unparsed'],
  ["select x'4z'", '', 'unparsed'],
  ['select /*+ QB_NAME(`*/', '', 'unparsed'],
  ['select 1 /*!1234567 + 1 */', '', 'unparsed'],
  ['/*!1 */ /*!50001 */ /*!50002 */ /*!50003 */ /*!50004 */ select 1', '', 'unparsed'],
];

describe('classify', () => {
  it.each(CASES)('%s', (text, verb, expected) => {
    expect(flags(text)).toBe(expected);
    expect(classify(mysql, text).verb).toBe(verb);
  });

  it('knows every word it asks for', () => {
    for (const word of [...VERBS.keys(), ...HARMFUL.keys(), ...BUILT_IN])
      expect(WORDS.has(word), word).toBe(true);
    expect(WORDS.has('frobnicate')).toBe(false);
    for (const name of HARMFUL.keys()) expect(BUILT_IN.has(name), name).toBe(false);
  });

  it('tells prepared statements, transactions and databases', () => {
    expect(classify(mysql, "prepare `P` from 'select 1'")).toMatchObject({ prepares: 'p', executes: '' });
    expect(classify(mysql, 'execute P using @a')).toMatchObject({ prepares: '', executes: 'p' });
    expect(classify(mysql, "prepare p from 'select 1'; execute p").parsed).toBe(false);
    expect(classify(mysql, 'use `Other`').database).toBe('Other');
    const kinds = [
      'begin',
      'start transaction',
      'commit',
      'rollback',
      'rollback to x',
      'savepoint x',
      'select 1',
    ];
    expect(kinds.map((sql) => classify(mysql, sql).transaction)).toEqual([
      'begin',
      'begin',
      'commit',
      'rollback',
      'other',
      'other',
      'none',
    ]);
    expect(classify(mysql, 'create table t (a int)').implicitCommit).toBe(true);
    expect(classify(mysql, 'begin').implicitCommit).toBe(true);
    expect(classify(mysql, 'select 1').implicitCommit).toBe(false);
    for (const sql of [
      'set names latin1',
      "set sql_mode = ''",
      '/*!40101 SET sql_mode = 1 */',
      "prepare p from 'set names utf8'",
    ])
      expect(classify(mysql, sql).changesReading, sql).toBe(true);
    expect(classify(mysql, 'set a = 1').changesReading).toBe(false);
  });

  it('tells calls of what is not built in', () => {
    const unknown = (sql: string): boolean => classify(mysql, sql).unknownFunctions;
    for (const sql of ['select f()', 'select db.sum(1)', 'select `f` (1)', 'select "f"(1)', 'set @a = f(1)'])
      expect(unknown(sql), sql).toBe(true);
    for (const sql of [
      'select sum(a), `count`(1), cast(a as decimal(10, 2)) from t',
      'insert into t (a) values (1)',
      'with x (a) as (select 1) select 1',
    ])
      expect(unknown(sql), sql).toBe(false);
    expect(classify(mysql, 'do f()').because).toBe('DO with function f');
  });

  it('names tables', () => {
    const tables = (sql: string): readonly string[] => classify(mysql, sql).tables;
    expect(tables('select * from A as x, b.`C d` y join e using (i), (select 1 from f) z')).toEqual([
      'a',
      'b.C d',
      'e',
      'f',
    ]);
    expect(tables('select extract(year from d), trim(both from x) from t')).toEqual(['t']);
    expect(tables('with x as (select * from t) select * from x')).toEqual(['t']);
    expect(tables('update low_priority a join b set a.x = 1')).toEqual(['a', 'b']);
    expect(tables('insert into db.t (a) select * from s on duplicate key update a = 1')).toEqual([
      'db.t',
      's',
    ]);
    expect(tables('drop table if exists a, b.c')).toEqual(['a', 'b.c']);
    expect(tables('truncate t')).toEqual(['t']);
    expect(tables('lock tables a read, b write')).toEqual(['a', 'b']);
    expect(tables("prepare p from 'select * from t'")).toEqual(['t']);
    expect(classify(mysql, 'select * from a.b, c').schemas).toEqual(['a']);
  });

  it('reads by the mode it is told, and by every mode else', () => {
    const utf8 = { ...defaultLexicalSettings, clientEncoding: 'utf8mb4' };
    const text = "select '\\' into outfile 0x2f -- '";
    expect(flags(text, utf8)).toBe('copy serverFiles');
    expect(flags(text, { ...utf8, sqlMode: 'STRICT_TRANS_TABLES' })).toBe('');
    expect(flags(text, { ...utf8, sqlMode: 'NO_BACKSLASH_ESCAPES' })).toBe('copy serverFiles');
    const ansi = 'select "\\" into outfile 0x2f -- "';
    expect(flags(ansi, { ...utf8, sqlMode: '' })).toBe('');
    expect(flags(ansi, { ...utf8, sqlMode: 'REAL_AS_FLOAT,ANSI_QUOTES' })).toBe('copy serverFiles');
    // A mode that changes on the way is not the one we were told.
    const change = `set sql_mode = ''; ${text}`;
    expect(flags(change, { ...utf8, sqlMode: '' })).toBe('copy serverFiles');
  });

  it('what is prepared counts in every mode: the server may read it again in another', () => {
    const utf8 = { ...defaultLexicalSettings, clientEncoding: 'utf8mb4' };
    const text = "SELECT 'a\\' UNION SELECT LOAD_FILE(0x2f) -- '";
    expect(flags(text, { ...utf8, sqlMode: '' })).toBe('');
    expect(flags(text, { ...utf8, sqlMode: '', prepared: true })).toBe('copy serverFiles');
    expect(flags(text, { ...utf8, sqlMode: '' })).toBe('');
    const inner = `PREPARE p FROM '${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;
    expect(flags(inner, { ...utf8, sqlMode: '' })).toBe('copy serverFiles');
    const gbk = { ...utf8, clientEncoding: 'gbk', sqlMode: '' };
    const halves = Buffer.from("SELECT '\xbf\\' AS x, ', LOAD_FILE(0x2f) -- '", 'latin1');
    for (const dialect of [mysql, mariadb]) {
      expect(dialect.classify(halves, 0, halves.length, gbk).parsed).toBe(true);
      expect(dialect.classify(halves, 0, halves.length, { ...gbk, prepared: true }).parsed).toBe(false);
    }
  });

  it('reads multi-byte characters as the server does', () => {
    const sjis = { ...defaultLexicalSettings, clientEncoding: 'sjis' };
    // 0x95 0x5c is one character; its second half is no backslash.
    const hidden = Buffer.from("select '\x95\\' into outfile 0x2f -- '", 'latin1');
    expect(flags(hidden, sjis)).toBe('copy serverFiles');
    expect(flags(Buffer.from("select '\x95\\', 'b'", 'latin1'), sjis)).toBe('');
    expect(flags(Buffer.from("select '\x95 '", 'latin1'), sjis)).toBe('unparsed');
    for (const clientEncoding of ['gbk', 'big5', 'gb18030', 'cp932', 'SJIS'])
      expect(
        flags(Buffer.from("select '\xa1\\' into outfile 0x2f -- '", 'latin1'), { ...sjis, clientEncoding }),
        clientEncoding,
      ).toMatch(/^copy serverFiles$|^unparsed$|^$/);
    // latin1's 0xa0 is white space to the server, and nobody knows the others.
    const space = Buffer.from("select 1\xa0into\xa0outfile 'x'", 'latin1');
    expect(flags(space, { ...sjis, clientEncoding: 'latin1' })).toBe('unparsed');
    expect(flags(space, { ...sjis, clientEncoding: '' })).toBe('unparsed');
    expect(flags("select 'é' from t", { ...sjis, clientEncoding: 'latin1' })).toBe('');
    expect(flags('select é from tablé', { ...sjis, clientEncoding: 'utf8mb4' })).toBe('');
    expect(flags(Buffer.concat([Buffer.from('set names latin1; '), space]), sjis)).toBe('unparsed');
    expect(flags(Buffer.concat([Buffer.from('set names latin1; '), space]))).toBe('unparsed');
  });

  it('answers from its cache, exactly', () => {
    const fresh = loadMysqlDialect('mysql');
    const ask = (text: string, settings?: LexicalSettings) => classify(fresh, text, settings);
    const one = ask('select a from t where b = 1');
    expect(ask('select a from t where b = 1')).toBe(one);
    expect(fresh.reads).toBe(1);
    // Of one shape.
    expect(ask('select a from t where b = 2')).toBe(one);
    expect(ask("select a from t where b = 'x'")).not.toBe(one);
    expect(fresh.reads).toBe(2);
    const prepare = (sql: string) => flagsOf(ask(`prepare p from '${sql}'`));
    expect([prepare('select 1'), prepare('delete from t'), prepare('select 1')]).toEqual(['', 'writes', '']);
    expect(flagsOf(ask('set transaction_read_only = 1'))).toBe('');
    expect(flagsOf(ask('set transaction_read_only = 0'))).toBe('escapesReadOnly');
    const text = "select '\\' into outfile 0x2f -- '";
    expect(flagsOf(ask(text, { ...defaultLexicalSettings, sqlMode: '' }))).toBe('');
    expect(flagsOf(ask(text))).toBe('copy serverFiles');
    expect(flagsOf(ask(text, { ...defaultLexicalSettings, sqlMode: '' }))).toBe('');
  });

  it('gives long texts to a thread', async () => {
    const dialect = loadMysqlDialect('mariadb', { timeoutMs: 20_000 });
    const text = Buffer.from(
      `select 1 from t where a in (${'1,'.repeat(limits.maxInlineParseBytes)}1) for update`,
    );
    expect(dialect.classify(text, 0, text.length).parsed).toBe(false);
    expect(flagsOf(await dialect.classifyLong(text, 0, text.length))).toBe('writes');
    expect(flagsOf(dialect.classify(text, 0, text.length))).toBe('writes');
    const set = Buffer.from(`set @a = 1${', @b = 2'.repeat(2000)}`);
    expect((await dialect.classifyLong(set, 0, set.length)).parsed).toBe(false);
    await dialect.close();
    const other = Buffer.from(`select '${'x'.repeat(10_000)}'`);
    expect((await dialect.classifyLong(other, 0, other.length)).parsed).toBe(false);
  });
});

describe('fingerprint', () => {
  const print = (text: string): string => mysql.fingerprint(text);
  it('is what texts have in common that differ in constants', () => {
    const one = print('select a from t where b = 1');
    expect(one).toMatch(/^[0-9a-f]{16}$/);
    for (const text of [
      "SELECT a FROM t\nWHERE b = 'x'",
      'select /* c */ a from `t` where b = 0x41 -- d',
      'select a from t where b=1.5e3',
    ])
      expect(print(text), text).toBe(one);
    for (const text of ['select a from t where c = 1', 'select a from t where b = a', 'select a from t'])
      expect(print(text), text).not.toBe(one);
  });

  it('folds lists', () => {
    const one = print('insert into t values (1, 2)');
    expect(print("insert into t values (1, 'x', 3)")).toBe(one);
    expect(print("insert into t values (1, 'x'), (3, 4), (5, 6)")).toBe(one);
    expect(print('insert into t values (1, 2), (a, 4)')).not.toBe(one);
    expect(print('select f(1), 2')).not.toBe(print('select f(1, 2)'));
    expect(print('select 1 in (1)')).toBe(print('select 1 in (1, 2, 3)'));
  });

  it('is empty for what no server can lex', () => {
    for (const text of ["select '", 'select `', '/*', '', '-- x']) expect(print(text), text).toBe('');
  });
});
