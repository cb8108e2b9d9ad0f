/**
 * Walks a whole parse tree and gathers what the statement may do. Every object of the tree is visited, whatever field
 * it hangs from, so a write is found wherever the grammar lets one stand: in WITH, in a subquery, in COPY, in a cursor,
 * in EXPLAIN ANALYZE. The walk keeps its own stack: trees may be as deep as their text is long.
 */
import { Facts } from './facts.ts';
import { judgeCall, judgeIndirection, pinnedSettingCalls } from './judge-calls.ts';
import { judgeStatement } from './judge-statements.ts';
import { STATEMENTS, unknownStatement } from './statements.ts';
import { arrayOf, type Json, type JsonArray, type JsonObject, objectOf, stringOf } from './tree.ts';

const DATA_CHANGING: Readonly<Record<string, string>> = {
  InsertStmt: 'INSERT',
  UpdateStmt: 'UPDATE',
  DeleteStmt: 'DELETE',
  MergeStmt: 'MERGE',
};

/** `tree` is the parser's answer: `{ version, stmts: [{ stmt }] }`. */
export function judge(tree: JsonObject): Facts {
  const facts = new Facts();
  const statements = arrayOf(tree['stmts']);
  facts.statements = statements.length;
  for (const raw of statements) walk(objectOf(raw)?.['stmt'] ?? null, facts);
  return facts;
}

function walk(root: Json, facts: Facts): void {
  const pending: Json[] = [root];
  const trusted = new Set<Json>();
  for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
    if (typeof node !== 'object' || node === null) continue;
    if (Array.isArray(node)) pushReversed(pending, node as JsonArray);
    else visit(node as JsonObject, facts, pending, trusted);
  }
}

function visit(node: JsonObject, facts: Facts, pending: Json[], trusted: Set<Json>): void {
  const mark = pending.length;
  for (const key in node) {
    const child = node[key];
    if (typeof child !== 'object' || child === null) continue;
    if (isStatement(key) && !visitStatement(key, child as JsonObject, facts, trusted)) continue;
    if (key === 'A_Const') noteConstant(child as JsonObject, facts);
    else pending.push(child);
    if (key === 'CommonTableExpr') noteWithQuery(child as JsonObject, facts);
    else if (key === 'A_Indirection') judgeIndirection(child as JsonObject, facts);
    else if (key === 'intoClause') {
      facts.flag('writes', 'SELECT INTO');
      facts.flag('ddl', 'SELECT INTO');
    } else if (key === 'lockingClause') facts.flag('writes', 'SELECT FOR UPDATE or FOR SHARE');
  }
  reverseFrom(pending, mark);
  // These two kinds of node also hang, without their name, from fields of their type.
  if (typeof node['relname'] === 'string') noteTable(node, facts);
  if (node['funcname'] !== undefined && !trusted.has(node)) judgeCall(node, facts);
}

/** Names of nodes begin with a capital letter; those of fields (`selectStmt`) do not. */
function isStatement(key: string): boolean {
  return key.charCodeAt(0) < 0x61 && key.endsWith('Stmt');
}

/** Whether to walk on into the statement. */
function visitStatement(key: string, fields: JsonObject, facts: Facts, trusted: Set<Json>): boolean {
  const kind = STATEMENTS.get(key) ?? unknownStatement;
  for (const call of pinnedSettingCalls(key, fields)) {
    trusted.add(call);
    facts.constantsMatter = true;
  }
  return judgeStatement(key, kind, fields, facts, (inner) => tablesOf(inner, facts));
}

/** A statement that does not run (EXPLAIN without ANALYZE): only the tables it names are of interest. */
function tablesOf(root: Json, facts: Facts): void {
  const pending: Json[] = [root];
  for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
    if (typeof node !== 'object' || node === null) continue;
    if (Array.isArray(node)) {
      pushReversed(pending, node as JsonArray);
      continue;
    }
    const fields = node as JsonObject;
    if (typeof fields['relname'] === 'string') noteTable(fields, facts);
    const withQuery = objectOf(fields['CommonTableExpr']);
    if (withQuery) facts.withQuery(stringOf(withQuery['ctename']));
    pushReversed(pending, Object.values(fields));
  }
}

function noteTable(fields: JsonObject, facts: Facts): void {
  const schema = stringOf(fields['schemaname']);
  const name = stringOf(fields['relname']);
  facts.table(schema === '' ? name : `${schema}.${name}`);
}

function noteWithQuery(fields: JsonObject, facts: Facts): void {
  facts.withQuery(stringOf(fields['ctename']));
  for (const kind in objectOf(fields['ctequery']) ?? {}) {
    const verb = DATA_CHANGING[kind];
    if (verb) facts.flag('writes', `${verb} inside WITH`);
  }
}

function noteConstant(fields: JsonObject, facts: Facts): void {
  if (fields['ival'] === undefined && fields['fval'] === undefined && fields['sval'] === undefined) return;
  facts.constantsAt.push(typeof fields['location'] === 'number' ? fields['location'] : 0);
}

function pushReversed(pending: Json[], items: JsonArray): void {
  for (let i = items.length - 1; i >= 0; i--) pending.push(items[i]);
}

/** Children were pushed in the order of the text; what is popped first is the last one. */
function reverseFrom(pending: Json[], mark: number): void {
  for (let low = mark, high = pending.length - 1; low < high; low++, high--) {
    const held = pending[low];
    pending[low] = pending[high];
    pending[high] = held;
  }
}
