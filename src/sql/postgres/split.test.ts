import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { defaultLexicalSettings } from '../dialect.ts';
import { loadPostgresDialect, type PostgresDialect } from './dialect.ts';
import { ParserInstance } from './instance.ts';
import { oldStrings, splitText } from './testing.ts';

let dialect: PostgresDialect;
beforeAll(async () => {
  dialect = await loadPostgresDialect();
});
afterAll(() => dialect.close());

const CASES: readonly (readonly [string, readonly string[]])[] = [
  ['', []],
  ['   \n\t', []],
  [';', []],
  [' ; ; ', []],
  ['-- only a comment', []],
  ['/* a /* nested */ comment */', []],
  ['/* a */ ; -- b', []],
  ['select 1', ['select 1']],
  ['  select 1 ; ', ['select 1']],
  ['select 1;;;', ['select 1']],
  ['select 1; select 2', ['select 1', 'select 2']],
  [';select 1;;select 2;', ['select 1', 'select 2']],
  ['select 1; -- done', ['select 1']],
  ['select 1 -- ; select 2', ['select 1 -- ; select 2']],
  ['select 1 -- ;', ['select 1 -- ;']],
  ['select 1 -- x\n; select 2', ['select 1 -- x', 'select 2']],
  ['/* lead */ select 1; select /* ; */ 2', ['/* lead */ select 1', 'select /* ; */ 2']],
  ['select /* /* ; */ ; */ 1; select 2', ['select /* /* ; */ ; */ 1', 'select 2']],
  ["select ';'; select 2", ["select ';'", 'select 2']],
  ["select 'it''s; '; select 2", ["select 'it''s; '", 'select 2']],
  ["select '\\'; select 2; --'", ["select '\\'", 'select 2']],
  ["select E'\\'; select 2; --'", ["select E'\\'; select 2; --'"]],
  ["select e'a\\\\'; select 2", ["select e'a\\\\'", 'select 2']],
  ["select E'a'\n'\\'; x'; select 2", ["select E'a'\n'\\'; x'", 'select 2']],
  ["select E'a' -- c\n  '\\'; x'; select 2", ["select E'a' -- c\n  '\\'; x'", 'select 2']],
  ["select E'a' '\\'; select 2", ["select E'a' '\\'", 'select 2']],
  ["select E'a'/*c*/\n'\\'; select 2", ["select E'a'/*c*/\n'\\'", 'select 2']],
  ["select U&'\\0041;'; select 2", ["select U&'\\0041;'", 'select 2']],
  ["select U&'\\'; select 2", ["select U&'\\'", 'select 2']],
  ["select B'01;', x'1f'; select n'a;'", ["select B'01;', x'1f'", "select n'a;'"]],
  ['select 1 as ";"; select 2', ['select 1 as ";"', 'select 2']],
  ['select 1 as "a"";"; select 2', ['select 1 as "a"";"', 'select 2']],
  ['select 1 as U&"\\0041;"; select 2', ['select 1 as U&"\\0041;"', 'select 2']],
  ['select $$;$$; select $a$ $$; $b$ $a$; select 3', ['select $$;$$', 'select $a$ $$; $b$ $a$', 'select 3']],
  ['select $$$$; select 2', ['select $$$$', 'select 2']],
  ['select a$b$; select c$b$', ['select a$b$', 'select c$b$']],
  ['select $1; select $2', ['select $1', 'select $2']],
  ['select $1$a$;$a$; select 2', ['select $1$a$;$a$', 'select 2']],
  ['select $é$;$é$; select 2', ['select $é$;$é$', 'select 2']],
  ['select 1-- /* \n; select 2 /* -- */', ['select 1-- /*', 'select 2 /* -- */']],
  ['select 1 +-- ;\n 2; select 3', ['select 1 +-- ;\n 2', 'select 3']],
  ['select 2 */* ; */ 3; select 4', ['select 2 */* ; */ 3', 'select 4']],
  ['select "end" from t; select 2', ['select "end" from t', 'select 2']],
  ['begin; select 1; end', ['begin', 'select 1', 'end']],
  [
    'create rule r as on insert to t do also (insert into l values (1); select 1); select 2',
    ['create rule r as on insert to t do also (insert into l values (1); select 1)', 'select 2'],
  ],
  [
    'create function f() returns int begin atomic select 1; select case when true then 2 end; end; select 3',
    [
      'create function f() returns int begin atomic select 1; select case when true then 2 end; end',
      'select 3',
    ],
  ],
  [
    'CREATE OR REPLACE PROCEDURE p() SET a TO begin BEGIN ATOMIC INSERT INTO t VALUES (1); END; select 1',
    ['CREATE OR REPLACE PROCEDURE p() SET a TO begin BEGIN ATOMIC INSERT INTO t VALUES (1); END', 'select 1'],
  ],
  // A column called `begin` with a label `atomic` is no body; nor is `end` a body's end where it is a label.
  ['select begin atomic from t; select 2', ['select begin atomic from t', 'select 2']],
  [
    'create function f() returns int begin atomic select 1 as end; select 2 end; end; select 3',
    ['create function f() returns int begin atomic select 1 as end; select 2 end; end', 'select 3'],
  ],
  [
    'create function f() returns int begin atomic end; select 3',
    ['create function f() returns int begin atomic end', 'select 3'],
  ],
  [
    'create function f() returns int language sql as $$ select 1; select 2 $$; select 3',
    ['create function f() returns int language sql as $$ select 1; select 2 $$', 'select 3'],
  ],
  [
    'create table function (begin int); select atomic',
    ['create table function (begin int)', 'select atomic'],
  ],
];

describe('split', () => {
  it.each(CASES)('%j', (text, pieces) => {
    expect(splitText(dialect, text)).toEqual(pieces);
  });

  it('follows standard_conforming_strings', () => {
    const text = "select '\\'; select 2; --'";
    expect(splitText(dialect, text)).toHaveLength(2);
    expect(splitText(dialect, text, oldStrings)).toEqual([text]);
    // A bit string has no escapes, but what follows its closing quote is a string of its own, which has.
    const bits = "select b'1''\\'; select 2; --'";
    expect(splitText(dialect, bits)).toHaveLength(2);
    expect(splitText(dialect, bits, oldStrings)).toEqual([bits]);
  });

  it('does not let half a character hide a quote', () => {
    // 表 is 0x95 0x5c in SJIS: the second byte is a backslash to whoever does not know.
    const text = Buffer.concat([
      Buffer.from("select E'"),
      Buffer.from([0x95, 0x5c]),
      Buffer.from("'; select 2"),
    ]);
    const pieces = (clientEncoding: string): number =>
      dialect.split(text, 0, text.length, { ...defaultLexicalSettings, clientEncoding }).length;
    expect(pieces('SJIS')).toBe(2);
    expect(pieces('shift_jis_2004')).toBe(2);
    expect(pieces('GBK')).toBe(2);
    expect(pieces('LATIN1')).toBe(1);
  });

  it('cuts texts that no server accepts somewhere, and loses none of them', () => {
    for (const text of [
      "select 'x; select 2",
      'select "x; select 2',
      '/* x; select 2',
      'select $a$; select 2',
    ]) {
      expect(splitText(dialect, text)).toEqual([text]);
    }
    expect(splitText(dialect, 'select (1; select 2')).toEqual(['select (1; select 2']);
    expect(splitText(dialect, 'select 1); select 2')).toEqual(['select 1)', 'select 2']);
  });

  it('agrees with the parser on how many statements there are', async () => {
    const parser = await ParserInstance.load();
    let parsed = 0;
    for (const [text] of CASES) {
      const bytes = Buffer.from(text);
      const tree = parser.parse(bytes, 0, bytes.length);
      if (tree === null) continue;
      parsed++;
      expect(splitText(dialect, text), text).toHaveLength(
        (JSON.parse(tree) as { stmts: unknown[] }).stmts.length,
      );
    }
    expect(parsed).toBeGreaterThan(CASES.length * 0.8);
  });
});
