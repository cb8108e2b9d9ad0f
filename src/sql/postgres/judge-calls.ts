/** Function calls, in every notation that PostgreSQL has for them. */
import type { Facts } from './facts.ts';
import { effectOf, type FunctionEffect, SQL_ARGUMENTS } from './functions.ts';
import { foldName, isGuardedSetting } from './settings.ts';
import { arrayOf, constantString, fieldsOf, type JsonObject, namesOf, objectOf } from './tree.ts';

/** A FuncCall's fields. */
export function judgeCall(call: JsonObject, facts: Facts): void {
  const name = foldName(namesOf(call['funcname']).at(-1) ?? '');
  const effect = effectOf(name);
  if (effect === undefined) return;
  const because = `function ${name}`;
  const args = arrayOf(call['args']);
  switch (effect) {
    case 'writes':
    case 'files':
    case 'opaque':
      flagEffect(effect, because, facts);
      if (name === 'lo_import') facts.flag('writes', because);
      break;
    case 'setting': {
      const setting = constantString(args[0]);
      facts.constantsMatter = true;
      if (setting === null || isGuardedSetting(setting)) facts.flag('escapesReadOnly', because);
      break;
    }
    case 'sql':
      // ts_rewrite has a form that takes no SQL.
      if (name === 'ts_rewrite' && args.length === 3) break;
      for (const position of SQL_ARGUMENTS.get(name) ?? []) {
        if (position >= args.length) continue;
        const sql = constantString(args[position]);
        facts.constantsMatter = true;
        if (sql === null) facts.flag('writes', `${because} with SQL that is not a constant`);
        else facts.nested.push(sql);
      }
      break;
  }
}

function flagEffect(effect: FunctionEffect, because: string, facts: Facts): void {
  if (effect === 'files') {
    facts.flag('serverFiles', because);
    facts.flag('copy', because);
    return;
  }
  facts.flag('writes', because);
  if (effect === 'opaque') facts.flag('opaque', because);
}

/** `('seq'::regclass).nextval` calls `nextval('seq')`: a field that is no column is a function of one argument. */
export function judgeIndirection(fields: JsonObject, facts: Facts): void {
  for (const name of namesOf(fields['indirection'])) {
    const folded = foldName(name);
    const effect = effectOf(folded);
    if (effect !== undefined) flagEffect(effect, `function ${folded}`, facts);
  }
}

/**
 * pg_dump sends `SELECT set_config(name, 'view, foreign-table', false) FROM pg_settings WHERE name = 'restrict_…'`: the
 * setting's name is no constant, but the only one that it can be is one. Returns those calls.
 */
export function pinnedSettingCalls(kind: string, fields: JsonObject): JsonObject[] {
  if (kind !== 'SelectStmt') return [];
  const from = arrayOf(fields['fromClause']);
  const table = fieldsOf(from[0], 'RangeVar');
  if (from.length !== 1 || table?.['relname'] !== 'pg_settings') return [];
  if (table['schemaname'] !== undefined && table['schemaname'] !== 'pg_catalog') return [];
  const where = fieldsOf(fields['whereClause'], 'A_Expr');
  if (where?.['kind'] !== 'AEXPR_OP' || namesOf(where['name']).join('.') !== '=') return [];
  const setting = constantString(where['rexpr']);
  if (!isNameColumn(where['lexpr']) || setting === null || isGuardedSetting(setting)) return [];
  const calls: JsonObject[] = [];
  for (const target of arrayOf(fields['targetList'])) {
    const call = fieldsOf(fieldsOf(target, 'ResTarget')?.['val'], 'FuncCall');
    if (call && namesOf(call['funcname']).at(-1) === 'set_config' && isNameColumn(arrayOf(call['args'])[0]))
      calls.push(call);
  }
  return calls;
}

function isNameColumn(node: JsonObject[string] | undefined): boolean {
  const names = namesOf(objectOf(fieldsOf(node, 'ColumnRef'))?.['fields']);
  return names.length === 1 && names[0] === 'name';
}
