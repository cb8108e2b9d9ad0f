/** Statements whose verb and flags depend on what they say. */
import type { Facts, Flag } from './facts.ts';
import { foldName, isGuardedSetting } from './settings.ts';
import type { StatementKind } from './statements.ts';
import {
  arrayOf,
  constantInteger,
  constantString,
  fieldsOf,
  type Json,
  type JsonArray,
  type JsonObject,
  namesOf,
  stringOf,
} from './tree.ts';

const FLAGS: Readonly<Record<string, readonly Flag[]>> = {
  w: ['writes'],
  d: ['ddl', 'writes'],
  e: ['escapesReadOnly'],
  o: ['opaque'],
  c: ['copy'],
};

const ACCESS_SHARE_LOCK = 1;

type Judge = (fields: JsonObject, facts: Facts, first: boolean) => void;

/**
 * Judges one statement node. Returns whether its inside is to be walked as well; where not, `onlyTables` has been
 * called with it.
 */
export function judgeStatement(
  key: string,
  kind: StatementKind,
  fields: JsonObject,
  facts: Facts,
  onlyTables: (inner: Json) => void,
): boolean {
  const first = facts.verb === '';
  if (first) facts.verb = kind.verb;
  const because = kind.verb.toUpperCase();
  for (const letter of kind.flags) for (const flag of FLAGS[letter]) facts.flag(flag, because);
  if (key === 'ExplainStmt') {
    if (runs(arrayOf(fields['options']), facts)) return true;
    onlyTables(fields['query'] ?? null);
    return false;
  }
  JUDGES[key]?.(fields, facts, first);
  return true;
}

const JUDGES: Readonly<Record<string, Judge>> = {
  CopyStmt: (fields, facts) => {
    if (fields['is_from'] === true) facts.flag('writes', 'COPY FROM');
    if (fields['is_program'] === true) {
      facts.flag('serverFiles', 'COPY with PROGRAM');
      facts.flag('opaque', 'COPY with PROGRAM');
    } else if (stringOf(fields['filename']) !== '')
      facts.flag('serverFiles', 'COPY with a file of the server');
  },
  VariableSetStmt: (fields, facts, first) => {
    const kind = stringOf(fields['kind']);
    const name = foldName(stringOf(fields['name']));
    if (first && kind.startsWith('VAR_RESET')) facts.verb = 'reset';
    if (kind === 'VAR_RESET_ALL') facts.flag('resets', 'RESET ALL');
    else if (kind === 'VAR_SET_MULTI') judgeTransactionModes(arrayOf(fields['args']), facts);
    else if (isGuardedSetting(name) && !turnsReadOnlyOn(kind, name, arrayOf(fields['args'])))
      facts.flag('escapesReadOnly', `${kind.startsWith('VAR_RESET') ? 'RESET' : 'SET'} ${name}`);
    facts.constantsMatter = true;
  },
  DiscardStmt: (fields, facts) => {
    if (fields['target'] === 'DISCARD_ALL') facts.flag('resets', 'DISCARD ALL');
  },
  TransactionStmt: (fields, facts, first) => {
    const kind = stringOf(fields['kind']).replace('TRANS_STMT_', '');
    judgeTransactionModes(arrayOf(fields['options']), facts);
    if (kind.includes('PREPARE'))
      facts.flag('writes', kind.replace('_', ' ').replace(/^PREPARE$/, 'PREPARE TRANSACTION'));
    if (!first) return;
    [facts.verb, facts.transaction] = TRANSACTIONS[kind] ?? ['unknown', 'other'];
  },
  LockStmt: (fields, facts) => {
    if (fields['mode'] !== ACCESS_SHARE_LOCK) facts.flag('writes', 'LOCK in a mode other than ACCESS SHARE');
  },
  PrepareStmt: (fields, facts) => {
    facts.prepares = stringOf(fields['name']);
  },
  ExecuteStmt: (fields, facts) => {
    if (facts.executes !== '') facts.flag('opaque', 'several EXECUTE in one statement');
    facts.executes = stringOf(fields['name']);
  },
  FetchStmt: (fields, facts, first) => {
    if (first && fields['ismove'] === true) facts.verb = 'move';
  },
  GrantStmt: (fields, facts, first) => revokes(fields, facts, first),
  GrantRoleStmt: (fields, facts, first) => revokes(fields, facts, first),
  VacuumStmt: (fields, facts, first) => {
    if (first && fields['is_vacuumcmd'] !== true) facts.verb = 'analyze';
  },
  DropStmt: (fields, facts) => {
    if (!TABLE_LIKE.has(stringOf(fields['removeType']))) return;
    for (const object of arrayOf(fields['objects']))
      facts.table(namesOf(fieldsOf(object, 'List')?.['items']).join('.'));
  },
};

const TABLE_LIKE: ReadonlySet<string> = new Set([
  'OBJECT_TABLE',
  'OBJECT_VIEW',
  'OBJECT_MATVIEW',
  'OBJECT_FOREIGN_TABLE',
  'OBJECT_SEQUENCE',
  'OBJECT_INDEX',
]);

const TRANSACTIONS: Readonly<Record<string, readonly [string, Facts['transaction']]>> = {
  BEGIN: ['begin', 'begin'],
  START: ['begin', 'begin'],
  COMMIT: ['commit', 'commit'],
  ROLLBACK: ['rollback', 'rollback'],
  SAVEPOINT: ['savepoint', 'other'],
  RELEASE: ['release', 'other'],
  ROLLBACK_TO: ['rollback to', 'other'],
  PREPARE: ['prepare transaction', 'other'],
  COMMIT_PREPARED: ['commit prepared', 'other'],
  ROLLBACK_PREPARED: ['rollback prepared', 'other'],
};

function revokes(fields: JsonObject, facts: Facts, first: boolean): void {
  if (first && fields['is_grant'] !== true) facts.verb = 'revoke';
}

/** READ WRITE in any form. READ ONLY is written as the integer 1. */
function judgeTransactionModes(modes: JsonArray, facts: Facts): void {
  for (const mode of modes) {
    const element = fieldsOf(mode, 'DefElem');
    if (element?.['defname'] === 'transaction_read_only' && constantInteger(element['arg']) !== 1)
      facts.flag('escapesReadOnly', 'READ WRITE');
  }
}

/** `SET transaction_read_only = on` and its like. Anything but a plain constant is not. */
function turnsReadOnlyOn(kind: string, name: string, args: JsonArray): boolean {
  if (kind !== 'VAR_SET_VALUE' || !name.endsWith('transaction_read_only') || args.length !== 1) return false;
  const value = constantString(args[0])?.toLowerCase();
  return value === 'on' || value === 'true' || value === 'yes' || constantInteger(args[0]) === 1;
}

/** Whether EXPLAIN runs its statement. Only what is surely off counts as off (defGetBoolean's own words). */
function runs(options: JsonArray, facts: Facts): boolean {
  let analyze = false;
  for (const option of options) {
    const element = fieldsOf(option, 'DefElem');
    if (stringOf(element?.['defname']).toLowerCase() !== 'analyze') continue;
    const argument = element?.['arg'];
    facts.constantsMatter = true;
    const word = stringOf(fieldsOf(argument, 'String')?.['sval']).toLowerCase();
    const integer = fieldsOf(argument, 'Integer');
    const off = word === 'off' || word === 'false' || (integer !== null && (integer['ival'] ?? 0) === 0);
    if (!off) analyze = true;
  }
  return analyze;
}
