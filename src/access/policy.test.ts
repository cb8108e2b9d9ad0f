import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Control, CONTROLS } from '../model/access.ts';
import type { Classification } from '../model/statement.ts';
import { loadPostgresDialect, type PostgresDialect } from '../sql/postgres/dialect.ts';
import { decide, type PolicyContext } from './policy.ts';

let dialect: PostgresDialect;
beforeAll(async () => {
  dialect = await loadPostgresDialect();
});
afterAll(() => dialect.close());

function classify(sql: string): Classification {
  const text = Buffer.from(sql);
  return dialect.classify(text, 0, text.length);
}

function refusedBy(sql: string, controls: readonly Control[] = CONTROLS, context?: PolicyContext): Control[] {
  return controls.filter((control) => !decide(classify(sql), [control], context).allow);
}

describe('decide', () => {
  it.each<[string, readonly Control[]]>([
    ['select 1', []],
    ['', []],
    ['begin', []],
    ["set search_path = 'a'", []],
    ['insert into t values (1)', ['read_only']],
    ['with x as (delete from t returning 1) table x', ['read_only']],
    ['truncate t', ['read_only']],
    ['vacuum t', ['read_only']],
    ['call p()', ['read_only']],
    ['create table t (a int)', ['read_only', 'block_ddl']],
    ['select 1 into t', ['read_only', 'block_ddl']],
    ['grant select on t to r', ['read_only', 'block_ddl']],
    ['copy t to stdout', ['block_copy']],
    ['copy (select 1) to stdout', ['block_copy']],
    ['copy t from stdin', ['read_only', 'block_copy']],
    ["copy t to '/tmp/x'", ['read_only', 'block_copy']],
    ["copy t to program 'x'", ['read_only', 'block_copy', 'block_ddl']],
    ["select pg_read_file('x')", ['read_only', 'block_copy']],
    ['select lo_get(1)', []],
    ['do $$ begin end $$', ['read_only', 'block_copy', 'block_ddl']],
    ["select dblink_exec('a', 'b')", ['read_only', 'block_copy', 'block_ddl']],
    ['set role x', ['read_only']],
    ['begin read write', ['read_only']],
    ['reset all', ['read_only']],
    ['discard all', ['read_only']],
    ['prepare p as delete from t', ['read_only']],
    ['selec 1', ['read_only', 'block_copy', 'block_ddl']],
  ])('%s', (sql, controls) => {
    expect(refusedBy(sql)).toEqual(controls);
    expect(decide(classify(sql), []).allow).toBe(true);
    expect(decide(classify(sql), CONTROLS).allow).toBe(controls.length === 0);
  });

  it('says what is refused, why, and what to do', () => {
    expect(
      decide(classify('with x as (delete from t returning 1) table x'), ['block_copy', 'read_only']),
    ).toEqual({
      allow: false,
      control: 'read_only',
      reason: 'DELETE inside WITH may change data; this grant allows reading only',
      hint: 'Ask for a grant without read_only if you need to change data.',
    });
    const unparsed = decide(classify('selec 1'), ['block_ddl']);
    expect(unparsed).toMatchObject({ control: 'block_ddl', hint: 'Check its syntax, or shorten it.' });
    for (const sql of [
      "copy t to '/tmp/hunter2'",
      "set role 'hunter2'",
      "select set_config('role', 'hunter2', true)",
    ])
      expect(JSON.stringify(decide(classify(sql), CONTROLS))).not.toContain('hunter2');
  });

  it('lets a pool reset its session where read-only mode is what it resets to', () => {
    const context = { readOnlyIsSessionDefault: true };
    expect(refusedBy('reset all', CONTROLS, context)).toEqual([]);
    expect(refusedBy('discard all', CONTROLS, context)).toEqual([]);
    // These name the setting itself.
    expect(refusedBy('reset default_transaction_read_only', CONTROLS, context)).toEqual(['read_only']);
    expect(refusedBy('set default_transaction_read_only to default', CONTROLS, context)).toEqual([
      'read_only',
    ]);
  });

  it('judges EXECUTE by what this session prepared', () => {
    const prepared = new Map([
      ['reads', classify('prepare reads as select 1')],
      ['writes', classify('delete from t')],
      ['defines', classify('create table t (a int)')],
      ['again', classify('execute reads')],
    ]);
    const context = { prepared: (name: string) => prepared.get(name) };
    expect(refusedBy('execute reads', CONTROLS, context)).toEqual([]);
    expect(refusedBy('explain analyze execute reads', CONTROLS, context)).toEqual([]);
    expect(refusedBy('execute writes', CONTROLS, context)).toEqual(['read_only']);
    expect(refusedBy('execute defines', CONTROLS, context)).toEqual(['read_only', 'block_ddl']);
    expect(refusedBy('execute other', CONTROLS, context)).toEqual(['read_only', 'block_copy', 'block_ddl']);
    expect(refusedBy('execute again', CONTROLS, context)).toEqual(['read_only', 'block_copy', 'block_ddl']);
    expect(refusedBy("execute reads(nextval('s'))", CONTROLS, context)).toEqual(['read_only']);
    expect(refusedBy('execute reads')).toEqual(['read_only', 'block_copy', 'block_ddl']);
    expect(decide(classify('execute other'), [], context).allow).toBe(true);
  });
});
