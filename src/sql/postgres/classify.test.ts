import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { limits } from '../../base/limits.ts';
import { defaultLexicalSettings } from '../dialect.ts';
import { loadPostgresDialect, type PostgresDialect } from './dialect.ts';
import { STATEMENTS } from './statements.ts';
import { classifyText, flagsOf, oldStrings } from './testing.ts';

let dialect: PostgresDialect;
beforeAll(async () => {
  dialect = await loadPostgresDialect();
});
afterAll(() => dialect.close());

// text, verb, flags
const CASES: readonly (readonly [string, string, string])[] = [
  ['', '', ''],
  ['-- nothing', '', ''],
  ['select 1', 'select', ''],
  ['values (1)', 'select', ''],
  ['table t', 'select', ''],
  ['(select 1) union all (select 2)', 'select', ''],
  ['insert into t values (1)', 'insert', 'writes'],
  ['update t set a = 1', 'update', 'writes'],
  ['delete from t', 'delete', 'writes'],
  ['merge into t using s on t.a = s.a when matched then delete', 'merge', 'writes'],
  ['with x as (delete from t returning *) select * from x', 'select', 'writes'],
  ['select * from (with x as (insert into t values (1) returning a) select a from x) y', 'select', 'writes'],
  ['select exists (with x as (update t set a = 1 returning 1) select from x)', 'select', 'writes'],
  [
    'with x as (select 1), y as (merge into t using x on true when matched then delete returning *) table y',
    'select',
    'writes',
  ],
  ['select 1 union (with x as (delete from t returning 1) select * from x)', 'select', 'writes'],
  ['select * into u from t', 'select', 'writes ddl'],
  ['select 1 union select 2 into u', 'select', 'writes ddl'],
  ['select 1 from from', '', 'unparsed'],
  ['select 1 into temp u union select 2', 'select', 'writes ddl'],
  ['select * from t for update', 'select', 'writes'],
  ['select * from (select * from t for key share) x', 'select', 'writes'],
  ['copy t to stdout', 'copy', 'copy'],
  ['copy (select 1) to stdout', 'copy', 'copy'],
  ['copy (delete from t returning *) to stdout', 'copy', 'writes copy'],
  ['copy t from stdin', 'copy', 'writes copy'],
  ["copy t to '/tmp/x'", 'copy', 'copy serverFiles'],
  ["copy t from '/tmp/x'", 'copy', 'writes copy serverFiles'],
  ["copy t to program 'cat'", 'copy', 'copy serverFiles opaque'],
  ['explain delete from t', 'explain', ''],
  ['explain analyze delete from t', 'explain', 'writes'],
  ['explain analyse verbose delete from t', 'explain', 'writes'],
  ['explain (analyze) delete from t', 'explain', 'writes'],
  ['explain (analyze on) delete from t', 'explain', 'writes'],
  ['explain (analyze 1) delete from t', 'explain', 'writes'],
  ['explain (analyze 0) delete from t', 'explain', ''],
  ["explain (analyze 'FALSE') delete from t", 'explain', ''],
  ['explain (analyze off, analyze true) delete from t', 'explain', 'writes'],
  ['explain (analyze true, analyze off) delete from t', 'explain', 'writes'],
  ["explain (analyze 'maybe') delete from t", 'explain', 'writes'],
  ['explain analyze select nextval($1)', 'explain', 'writes'],
  ['explain analyze execute p', 'explain', ''],
  ['explain create table u as select 1', 'explain', ''],
  ['explain analyze create table u as select 1', 'explain', 'writes ddl'],
  ['prepare p as select 1', 'prepare', ''],
  ['prepare p as delete from t', 'prepare', 'writes'],
  ['execute p(1)', 'execute', ''],
  ["execute p(nextval('s'))", 'execute', 'writes'],
  ['deallocate all', 'deallocate', ''],
  ['declare c cursor for select 1', 'declare', ''],
  ['declare c cursor for select * from t for update', 'declare', 'writes'],
  ['fetch all from c', 'fetch', ''],
  ['move 5 from c', 'move', ''],
  ['close c', 'close', ''],
  ['do $$ begin end $$', 'do', 'writes opaque'],
  ['call p()', 'call', 'writes'],
  ['truncate t', 'truncate', 'writes'],
  ['lock table t', 'lock', 'writes'],
  ['lock table t in access share mode', 'lock', ''],
  ['lock table t in row share mode', 'lock', 'writes'],
  ['vacuum t', 'vacuum', 'writes'],
  ['analyze t', 'analyze', 'writes'],
  ['cluster t', 'cluster', 'writes'],
  ['reindex table t', 'reindex', 'writes'],
  ['checkpoint', 'checkpoint', 'writes'],
  ['refresh materialized view m', 'refresh', 'writes'],
  ["load 'x'", 'load', 'writes opaque'],
  ['create table t (a int)', 'create', 'writes ddl'],
  ['create temp table t as select 1', 'create', 'writes ddl'],
  ['alter table t add b int', 'alter', 'writes ddl'],
  ['drop table t', 'drop', 'writes ddl'],
  ['grant select on t to r', 'grant', 'writes ddl'],
  ['revoke r from s', 'revoke', 'writes ddl'],
  ["comment on table t is 'x'", 'comment', 'writes ddl'],
  ["security label on table t is 'x'", 'security label', 'writes ddl'],
  ['alter system set work_mem = 1', 'alter system', 'writes ddl escapesReadOnly'],
  ['alter role r set default_transaction_read_only = off', 'alter', 'writes ddl escapesReadOnly'],
  ['alter database d reset all', 'alter', 'writes ddl escapesReadOnly'],
  ['notify c', 'notify', 'writes'],
  ['listen c', 'listen', ''],
  ['unlisten *', 'unlisten', ''],
  ['show all', 'show', ''],
  ["set client_encoding = 'UTF8'", 'set', ''],
  ['set search_path = a, b', 'set', ''],
  ['set local statement_timeout = 0', 'set', ''],
  ["set time zone 'UTC'", 'set', ''],
  ["set names 'UTF8'", 'set', ''],
  ['reset search_path', 'reset', ''],
  ['reset all', 'reset', 'resets'],
  ['discard all', 'discard', 'resets'],
  ['discard plans', 'discard', ''],
  ['set constraints all deferred', 'set', ''],
  ['set role x', 'set', 'escapesReadOnly'],
  ['set role none', 'set', 'escapesReadOnly'],
  ['reset role', 'reset', 'escapesReadOnly'],
  ['set session authorization x', 'set', 'escapesReadOnly'],
  ['set local session authorization default', 'set', 'escapesReadOnly'],
  ['reset session authorization', 'reset', 'escapesReadOnly'],
  ['set session_replication_role = replica', 'set', 'escapesReadOnly'],
  ['set default_transaction_read_only = off', 'set', 'escapesReadOnly'],
  ['set default_transaction_read_only = on', 'set', ''],
  ['set default_transaction_read_only to default', 'set', 'escapesReadOnly'],
  ['set default_transaction_read_only from current', 'set', 'escapesReadOnly'],
  ['set "Default_Transaction_Read_Only" = \'off\'', 'set', 'escapesReadOnly'],
  ['set U&"transaction_re\\0061d_only" = false', 'set', 'escapesReadOnly'],
  ['set transaction_read_only = 1', 'set', ''],
  ['set transaction_read_only = 0', 'set', 'escapesReadOnly'],
  ['reset transaction_read_only', 'reset', 'escapesReadOnly'],
  ['set transaction read only', 'set', ''],
  ['set transaction read write', 'set', 'escapesReadOnly'],
  ['set transaction isolation level serializable, read write', 'set', 'escapesReadOnly'],
  ["set transaction snapshot '0-1'", 'set', ''],
  ['set session characteristics as transaction read only', 'set', ''],
  ['set session characteristics as transaction read write', 'set', 'escapesReadOnly'],
  ['begin', 'begin', ''],
  ['begin isolation level repeatable read, read only, deferrable', 'begin', ''],
  ['begin read write', 'begin', 'escapesReadOnly'],
  ['start transaction read write', 'begin', 'escapesReadOnly'],
  ['end', 'commit', ''],
  ['commit and chain', 'commit', ''],
  ['abort', 'rollback', ''],
  ['savepoint a', 'savepoint', ''],
  ['release a', 'release', ''],
  ['rollback to a', 'rollback to', ''],
  ["prepare transaction 'x'", 'prepare transaction', 'writes'],
  ["commit prepared 'x'", 'commit prepared', 'writes'],
  ["rollback prepared 'x'", 'rollback prepared', 'writes'],
  // functions
  ["select nextval('s')", 'select', 'writes'],
  ["select pg_catalog.nextval('s')", 'select', 'writes'],
  ["select db.pg_catalog.nextval('s')", 'select', 'writes'],
  ['select "nextval"(\'s\')', 'select', 'writes'],
  ["select NeXtVaL('s')", 'select', 'writes'],
  ['select U&"n\\0065xtval"(\'s\')', 'select', 'writes'],
  ["select nextval /* c */ ('s')", 'select', 'writes'],
  ["select ('s'::regclass).nextval", 'select', 'writes'],
  ['select (1234).pg_terminate_backend', 'select', 'writes'],
  ['select (r).x.lo_unlink from r', 'select', 'writes'],
  ["select currval('s'), lastval()", 'select', ''],
  ['select nextval from t', 'select', ''],
  ['select t.nextval from t', 'select', ''],
  ["select * from pg_read_file('x')", 'select', 'copy serverFiles'],
  ["select * from t, lateral (select lo_export(1, '/x')) x", 'select', 'copy serverFiles'],
  ["select lo_import('/x')", 'select', 'writes copy serverFiles'],
  ['select lo_get(1)', 'select', ''],
  ["select 1 from t order by setval('s', 1)", 'select', 'writes'],
  ["select 1 from t group by pg_notify('a', 'b')", 'select', 'writes'],
  [
    'select sum(1) filter (where pg_terminate_backend(1)) over (order by lo_unlink(2)) from t',
    'select',
    'writes',
  ],
  ["select 1 limit (select nextval('s'))", 'select', 'writes'],
  ["values (nextval('s'))", 'select', 'writes'],
  ["select case when true then array[nextval('s')] end", 'select', 'writes'],
  [
    "select * from rows from (generate_series(1, 2), pg_logical_emit_message(true, 'a', 'b')) x",
    'select',
    'writes',
  ],
  ["select * from t tablesample system (nextval('s'))", 'select', 'writes'],
  ["select * from xmltable('/a' passing query_to_xml($1, true, true, '') columns a int)", 'select', 'writes'],
  ["select coalesce(null, greatest(1, nextval('s')))", 'select', 'writes'],
  ["select json_object('a': nextval('s'))", 'select', 'writes'],
  ["select dblink_exec('x', 'drop table t')", 'select', 'writes opaque'],
  ["select * from dblink('x', 'select 1') as t(a int)", 'select', 'writes opaque'],
  ["select set_config('search_path', '', false)", 'select', ''],
  ["select set_config('search_path'::text, '', false)", 'select', ''],
  ["select set_config('default_transaction_read_only', 'off', false)", 'select', 'escapesReadOnly'],
  ["select set_config('Transaction_Read_Only', 'off', false)", 'select', 'escapesReadOnly'],
  ["select set_config('transaction' || '_read_only', 'off', false)", 'select', 'escapesReadOnly'],
  ['select set_config($1, $2, true)', 'select', 'escapesReadOnly'],
  [
    "select set_config(value => 'off', setting_name => 'search_path', is_local => false)",
    'select',
    'escapesReadOnly',
  ],
  ["select set_config(U&'r\\006fle', 'x', false)", 'select', 'escapesReadOnly'],
  ["select set_config(E'r\\x6fle', 'x', false)", 'select', 'escapesReadOnly'],
  ["select query_to_xml('select 1', true, true, '')", 'select', ''],
  ["select query_to_xml('select nextval(''s'')', true, true, '')", 'select', 'writes'],
  [
    "select query_to_xml('select set_config(''role'', ''x'', false)', true, true, '')",
    'select',
    'escapesReadOnly',
  ],
  ["select query_to_xml('delete from', true, true, '')", 'select', 'writes'],
  ["select query_to_xml(q, true, true, '') from t", 'select', 'writes'],
  ["select * from ts_stat('select v from t')", 'select', ''],
  ["select ts_rewrite(a, 'select nextval(''s'')') from t", 'select', 'writes'],
  ['select ts_rewrite(a, b, c) from t', 'select', ''],
  ["select * from crosstab('select 1', $$ select nextval('s') $$) as x(a int)", 'select', 'writes'],
  ['select pg_advisory_lock(1)', 'select', 'writes'],
  ['select pg_advisory_unlock_all()', 'select', ''],
  ['select txid_current()', 'select', ''],
  ['select binary_upgrade_set_next_heap_pg_class_oid(1), 1', 'select', 'writes'],
  ['select pg_stat_reset_shared($1)', 'select', 'writes'],
  // pg_dump's way to set one setting, and what is not quite it
  [
    "select set_config(name, 'view', false) from pg_settings where name = 'restrict_nonsystem_relation_kind'",
    'select',
    '',
  ],
  [
    "select set_config(name, 'off', false) from pg_settings where name = 'default_transaction_read_only'",
    'select',
    'escapesReadOnly',
  ],
  [
    "select set_config(name, 'off', false) from pg_settings where name <> 'work_mem'",
    'select',
    'escapesReadOnly',
  ],
  [
    "select set_config(name, 'off', false) from x.pg_settings where name = 'work_mem'",
    'select',
    'escapesReadOnly',
  ],
  [
    "select set_config(name, 'off', false) from pg_settings, t where name = 'work_mem'",
    'select',
    'escapesReadOnly',
  ],
];

describe('classify', () => {
  it.each(CASES)('%s', (text, verb, flags) => {
    const what = classifyText(dialect, text);
    expect(flagsOf(what)).toBe(flags);
    if (what.parsed) expect(what.verb).toBe(verb);
    if (flags !== '') expect(what.because).not.toBe('');
  });

  it('says why', () => {
    const because = (text: string): string => classifyText(dialect, text).because;
    expect(because('with x as (delete from t returning *) select * from x')).toBe('DELETE inside WITH');
    expect(because("select set_config('role', 'secret', false)")).toBe('function set_config');
    expect(because('begin read write')).toBe('READ WRITE');
    expect(because("copy t from '/secret'")).toBe('COPY with a file of the server');
    expect(because('insert into t values (1)')).toBe('INSERT');
    expect(because("select query_to_xml('delete from t', true, true, '')")).toBe(
      'DELETE, in SQL given as text',
    );
  });

  it('names tables, prepared statements and transaction commands', () => {
    const what = classifyText(
      dialect,
      'with x as (select * from "A"."b c") insert into s.T select * from x, u, pg_class',
    );
    expect(what.tables).toEqual(
      ['A.b c', 's.t', 'u', 'pg_class'].sort((a, b) => what.tables.indexOf(a) - what.tables.indexOf(b)),
    );
    expect(what.tables).toHaveLength(4);
    expect(classifyText(dialect, 'drop table if exists a.b, c').tables).toEqual(['a.b', 'c']);
    expect(classifyText(dialect, 'explain select * from e').tables).toEqual(['e']);
    expect(classifyText(dialect, 'truncate a, b').tables).toEqual(['a', 'b']);
    expect(classifyText(dialect, 'prepare "P q" as select 1').prepares).toBe('P q');
    expect(classifyText(dialect, 'explain analyze execute p(1)').executes).toBe('p');
    expect(classifyText(dialect, 'start transaction').transaction).toBe('begin');
    expect(classifyText(dialect, 'end').transaction).toBe('commit');
    expect(classifyText(dialect, 'select 1').transaction).toBe('none');
    const many = classifyText(
      dialect,
      `select 1 from ${Array.from({ length: 500 }, (_, i) => `t${i}`).join(',')}`,
    );
    expect(many.tables).toHaveLength(100);
  });

  it('merges several statements into the worst of them', () => {
    expect(flagsOf(classifyText(dialect, 'select 1; delete from t'))).toBe('writes');
    expect(flagsOf(classifyText(dialect, 'execute a; execute b'))).toBe('opaque');
  });

  it('reads strings as the session does', () => {
    // With standard_conforming_strings off, the backslash keeps the string open up to the second quote.
    const text = "select '\\', nextval($$s$$) --'";
    expect(flagsOf(classifyText(dialect, text))).toBe('writes');
    expect(flagsOf(classifyText(dialect, text, oldStrings))).toBe('');
    const other = "select '\\'', nextval($$s$$) --'";
    expect(flagsOf(classifyText(dialect, other))).toBe('');
    expect(flagsOf(classifyText(dialect, other, oldStrings))).toBe('writes');
    expect(flagsOf(classifyText(dialect, "select n'\\''", oldStrings))).toBe('unparsed');
    expect(flagsOf(classifyText(dialect, "select'\\'x'", oldStrings))).toBe('');
  });

  it('is not deceived by half characters', () => {
    const sjis = { ...defaultLexicalSettings, clientEncoding: 'SJIS' };
    const text = Buffer.concat([
      Buffer.from("select E'"),
      Buffer.from([0x95, 0x5c]),
      Buffer.from("', nextval($$s$$) --'"),
    ]);
    expect(flagsOf(classifyText(dialect, text, sjis))).toBe('writes');
    expect(flagsOf(classifyText(dialect, text))).toBe('');
  });

  it('takes a Turkish capital I for the letter that a Turkish server makes of it', () => {
    expect(flagsOf(classifyText(dialect, 'select pg_term\u0130nate_backend(1)'))).toBe('writes');
    expect(flagsOf(classifyText(dialect, Buffer.from('select pg_term\u00ddnate_backend(1)', 'latin1')))).toBe(
      'writes',
    );
    expect(flagsOf(classifyText(dialect, 'set transact\u0130on_read_only = off'))).toBe('escapesReadOnly');
  });

  it('refuses to judge zero bytes and texts that are too long for the loop', () => {
    expect(flagsOf(classifyText(dialect, 'select 1\0; delete from t'))).toBe('unparsed');
    const long = `select ${'1,'.repeat(limits.maxInlineParseBytes)}1`;
    const parses = dialect.parses;
    expect(flagsOf(classifyText(dialect, long))).toBe('unparsed');
    expect(dialect.parses).toBe(parses);
  });

  it('knows every kind of statement of the grammar', () => {
    const types = createRequire(import.meta.url).resolve('@pgsql/types/types.d.ts');
    const kinds = [...readFileSync(types, 'utf8').matchAll(/export interface (\w+Stmt) /g)].map(
      (match) => match[1],
    );
    expect(kinds.length).toBeGreaterThan(100);
    expect(kinds.filter((kind) => kind !== 'RawStmt' && !STATEMENTS.has(kind))).toEqual([]);
  });
});
