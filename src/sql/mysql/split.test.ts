import { describe, expect, it } from 'vitest';
import { defaultLexicalSettings } from '../dialect.ts';
import { splitText } from '../postgres/testing.ts';
import { loadMysqlDialect } from './dialect.ts';

const mysql = loadMysqlDialect('mysql');
const mariadb = loadMysqlDialect('mariadb');

const BODY =
  "begin declare continue handler for not found begin set @x = 1; end; if a then select 1; elseif b then select 2; else select 3; end if; case a when 1 then select 1; else begin end; end case; x: loop leave x; end loop x; while a do set @a = if(b, 1, 2); end while; repeat set a = case when b then 1 else 2 end; until a end repeat; select 'a;b', (select 1) end, repeat('x', 3); end";

const CASES: readonly (readonly [string, readonly string[]])[] = [
  ['', []],
  [' ; ;; ', []],
  ['-- only\n', ['-- only']],
  ['/* only */', ['/* only */']],
  ['select 1; # x', ['select 1', '# x']],
  ['/* only */;', []],
  ['select 1', ['select 1']],
  ['select 1;', ['select 1']],
  [' select 1 ; select 2 ', ['select 1', 'select 2']],
  ['select \';\'; select ";"; select `;`', ["select ';'", 'select ";"', 'select `;`']],
  ['select 1 -- ;\n, 2; select 3', ['select 1 -- ;\n, 2', 'select 3']],
  ['select 1 # ;\n, 2; select 3', ['select 1 # ;\n, 2', 'select 3']],
  ['select 1 --;select 2', ['select 1 --', 'select 2']],
  ['select 1 /* ; */; select 2', ['select 1 /* ; */', 'select 2']],
  ['select 1 /* /* ; */; select 2', ['select 1 /* /* ; */', 'select 2']],
  ["select 'a''; b'; select 2", ["select 'a''; b'", 'select 2']],
  [`create procedure p() ${BODY}; select 1`, [`create procedure p() ${BODY}`, 'select 1']],
  [
    `create definer = \`root\`@'%' procedure if not exists p(in a int) comment 'x' ${BODY}; select 1`,
    [`create definer = \`root\`@'%' procedure if not exists p(in a int) comment 'x' ${BODY}`, 'select 1'],
  ],
  ['create procedure p() select 1; select 2', ['create procedure p() select 1', 'select 2']],
  [
    'create function f() returns int return 1; select 2',
    ['create function f() returns int return 1', 'select 2'],
  ],
  [
    'create trigger g before insert on t for each row if new.a then set new.a = 1; end if; select 2',
    ['create trigger g before insert on t for each row if new.a then set new.a = 1; end if', 'select 2'],
  ],
  [
    'create event e on schedule every 1 day do begin select 1; end; select 2',
    ['create event e on schedule every 1 day do begin select 1; end', 'select 2'],
  ],
  ['alter event e do begin select 1; end; select 2', ['alter event e do begin select 1; end', 'select 2']],
  ['create table begin (a int); select 1', ['create table begin (a int)', 'select 1']],
  [
    'create or replace view v as select case when 1 then 2 end; select 1',
    ['create or replace view v as select case when 1 then 2 end', 'select 1'],
  ],
  ['begin; select 1; commit', ['begin', 'select 1', 'commit']],
  ["select 'open; select 2", ["select 'open; select 2"]],
  ['select 1; select /* open; select 2', ['select 1', 'select /* open; select 2']],
];

describe('split', () => {
  it.each(CASES)('%s', (text, pieces) => {
    expect(splitText(mysql, text)).toEqual(pieces);
    expect(splitText(mariadb, text)).toEqual(pieces);
  });

  it.each([
    'begin not atomic select 1; if a then select 2; end if; end',
    'if 1 then select 1; end if',
    'case 1 when 1 then select 1; end case',
    'loop select 1; end loop',
    'while 1 do select 1; end while',
    'repeat select 1; until 1 end repeat',
    'for i in 1..2 do select 1; end for',
  ])('MariaDB: %s', (text) => {
    expect(splitText(mariadb, `${text}; select 3`)).toEqual([text, 'select 3']);
  });

  it('goes into versioned comments as the server would', () => {
    expect(splitText(mysql, '/*!50001 select 1 */; select 2')).toEqual(['/*!50001 select 1 */', 'select 2']);
    // Two statements where the comment is code, one where it is not.
    const text = 'select 1 /*!50001 ; select 2 */';
    expect(splitText(mysql, text)).toEqual([text]);
  });

  const utf8 = { ...defaultLexicalSettings, clientEncoding: 'utf8mb4' };

  it('does not split where the mode decides, unless it is known', () => {
    const text = "select '\\'; select '; select 2 -- '";
    expect(splitText(mysql, text)).toEqual([text]);
    expect(splitText(mysql, text, { ...utf8, sqlMode: '' })).toEqual([
      "select '\\'; select '",
      "select 2 -- '",
    ]);
    expect(splitText(mysql, text, { ...utf8, sqlMode: 'NO_BACKSLASH_ESCAPES' })).toEqual([
      "select '\\'",
      "select '; select 2 -- '",
    ]);
    // Read without escapes, the first statement has no end, and nothing is run.
    expect(splitText(mysql, "select 'it\\'s'; select 2")).toEqual(["select 'it\\'s'", 'select 2']);
  });

  it('does not compare readings of a long text', () => {
    const long = `select '${'x'.repeat(200_000)}'; select 'it\\'s'`;
    expect(splitText(mysql, long)).toEqual([long]);
    expect(splitText(mysql, long, { ...utf8, sqlMode: '' })).toHaveLength(2);
  });

  it('does not split behind a change of mode or character set, where that matters', () => {
    const modes = "set sql_mode = 'x'; select 'a\\\\'; select 2";
    expect(splitText(mysql, modes, { ...utf8, sqlMode: '' })).toEqual([modes]);
    const plain = "set sql_mode = 'x'; select 'a'; select 2";
    expect(splitText(mysql, plain, { ...utf8, sqlMode: '' })).toHaveLength(3);
    expect(splitText(mysql, "set names utf8mb4; select 'é'; select 2", utf8)).toHaveLength(3);
    const names = 'set names latin1; select é; select 2';
    expect(splitText(mysql, names, utf8)).toEqual([names]);
    expect(splitText(mysql, 'select é; set names latin1', utf8)).toHaveLength(2);
  });
});
