/** Verbs whose properties depend on what follows them. */
import type { Facts } from './facts.ts';
import type { HeadToken, Judge } from './judge.ts';
import { judgeSet, judgeSetStatement } from './judge-set.ts';
import { literalBytes } from './literal.ts';
import { Token } from './lexer.ts';
import { VERBS } from './verbs.ts';

const OPEN = 0x28;

/** `plan`: under EXPLAIN the statement is only planned. Functions may run all the same, to plan it. */
export type Mode = 'run' | 'plan';

export function judgeVerb(judge: Judge): void {
  let at = 0;
  while (symbolAt(judge, at) === OPEN) at++;
  judgeAt(judge, at, 'run');
}

/** Judges the statement whose verb is at `head[at]`. */
export function judgeAt(judge: Judge, at: number, mode: Mode): void {
  const { facts } = judge;
  const verb = wordAt(judge, at);
  const flags = verb === '' ? undefined : VERBS.get(verb);
  if (flags === undefined) {
    facts.obscure('it begins with a word that is no statement we know');
    return;
  }
  facts.verb = verb;
  // DROP PREPARE forgets a prepared statement.
  if (verb === 'drop' && wordAt(judge, at + 1) === 'prepare') return;
  // MariaDB's ANALYZE [FORMAT=JSON] SELECT … runs the statement it explains.
  if (verb === 'analyze' && !isTableMaintenance(judge, at + 1)) {
    judgeExplained(judge, at + 1, 'run');
    return;
  }
  if (mode === 'run') apply(facts, flags, verb.toUpperCase());
  if (flags.includes('i')) facts.implicitCommit = true;
  SPECIAL[verb]?.(judge, at, mode);
  if (READS.has(verb)) judgeReading(judge, mode);
  if (verb === 'create' || verb === 'alter')
    if (judge.dynamic) facts.flag('opaque', 'dynamic SQL in a stored program');
}

function isTableMaintenance(judge: Judge, at: number): boolean {
  const word = wordAt(judge, at);
  return word === 'table' || word === 'tables' || word === 'local' || word === 'no_write_to_binlog';
}

/** Statements that may hold expressions and queries, and must not change data. */
const READS: ReadonlySet<string> = new Set([
  'select',
  'table',
  'values',
  'with',
  'do',
  'set',
  'show',
  'help',
]);

function judgeReading({ facts, dataChange, lockingRead }: Judge, mode: Mode): void {
  if (mode === 'plan') return;
  if (lockingRead !== '') facts.flag('writes', lockingRead);
  if (dataChange !== '' && !facts.has('writes')) facts.flag('writes', `${dataChange} in a query`);
}

function apply(facts: Facts, flags: string, because: string): void {
  for (const flag of flags) {
    if (flag === 'w') facts.flag('writes', because);
    else if (flag === 'd') facts.flag('ddl', because);
    else if (flag === 'e') facts.flag('escapesReadOnly', because);
    else if (flag === 'o') facts.flag('opaque', because);
    else if (flag === 'c') facts.flag('copy', because);
    else if (flag === 'f') facts.flag('serverFiles', because);
  }
}

type Special = (judge: Judge, at: number, mode: Mode) => void;

const SPECIAL: Readonly<Record<string, Special>> = {
  with: judgeWith,
  explain: judgeExplain,
  describe: judgeExplain,
  desc: judgeExplain,
  set: (judge, at, mode) => {
    if (wordAt(judge, at + 1) !== 'statement') judgeSet(judge, at + 1);
    else {
      const inner = judgeSetStatement(judge, at + 2);
      if (inner >= 0) judgeAt(judge, inner, mode);
    }
  },
  do: ({ facts, unknownCall }) => {
    if (unknownCall !== '') facts.flag('opaque', `DO with ${unknownCall}`);
  },
  use: (judge, at) => {
    judge.facts.database = nameAt(judge, at + 1);
  },
  begin: (judge, at) => {
    const next = wordAt(judge, at + 1);
    judge.facts.transaction = 'begin';
    judge.facts.implicitCommit = true;
    if (judge.head.length === at + 1 || next === 'work') return;
    judge.facts.transaction = 'other';
    judge.facts.flag('writes', 'a compound statement');
    judge.facts.flag('opaque', 'a compound statement');
  },
  start: (judge, at) => {
    if (wordAt(judge, at + 1) === 'transaction') {
      judge.facts.transaction = 'begin';
      judge.facts.implicitCommit = true;
      judgeAccessMode(judge, at + 2, 'START TRANSACTION READ WRITE');
    } else judge.facts.flag('writes', 'START of replication');
  },
  commit: ({ facts }) => {
    facts.transaction = 'commit';
  },
  rollback: (judge, at) => {
    const next = wordAt(judge, at + 1) === 'work' ? wordAt(judge, at + 2) : wordAt(judge, at + 1);
    judge.facts.transaction = next === 'to' ? 'other' : 'rollback';
  },
  savepoint: ({ facts }) => {
    facts.transaction = 'other';
  },
  release: ({ facts }) => {
    facts.transaction = 'other';
  },
  xa: (judge, at) => {
    judge.facts.transaction = 'other';
    if (wordAt(judge, at + 1) !== 'recover') judge.facts.flag('writes', 'a distributed transaction (XA)');
  },
  load: (judge, at, mode) => {
    const isFile = judge.head.slice(at + 1, at + 5).some((token) => token.word === 'infile');
    const isLocal = judge.head.slice(at + 1, at + 5).some((token) => token.word === 'local');
    if (isFile && !isLocal && mode === 'run') judge.facts.flag('serverFiles', 'LOAD DATA of a server’s file');
    const what = wordAt(judge, at + 1);
    if (what === 'data' || what === 'xml') judge.facts.flag('copy', `LOAD ${what.toUpperCase()}`);
  },
  prepare: judgePrepare,
  execute: judgeExecute,
};

/** WITH queries in front of a statement: MySQL has them before SELECT, UPDATE and DELETE. */
function judgeWith(judge: Judge, _at: number, mode: Mode): void {
  const { facts, afterWith } = judge;
  const verb = afterWith >= 0 ? wordAt(judge, afterWith) : 'select';
  const flags = VERBS.get(verb) ?? 'w';
  facts.verb = verb;
  if (mode === 'run') apply(facts, flags, verb.toUpperCase());
}

/** EXPLAIN, DESCRIBE and DESC: a table's columns, another connection's plan, or a statement's. */
function judgeExplain(judge: Judge, at: number): void {
  const next = wordAt(judge, at + 1);
  const isStatement =
    symbolAt(judge, at + 1) === OPEN ||
    next === 'analyze' ||
    next === 'format' ||
    next === 'extended' ||
    next === 'partitions' ||
    next === 'for' ||
    next === 'into' ||
    (next !== '' && VERBS.has(next));
  if (isStatement) judgeExplained(judge, at + 1, 'plan');
  judge.facts.verb = 'explain';
}

/** `[ANALYZE] [EXTENDED | PARTITIONS | FORMAT = x] [INTO @v] [FOR CONNECTION n | FOR SCHEMA s] statement` */
function judgeExplained(judge: Judge, at: number, mode: Mode): void {
  const { head, facts } = judge;
  for (; at < head.length; at++) {
    const word = wordAt(judge, at);
    if (word === 'analyze') {
      mode = 'run';
      continue;
    }
    if (word === 'for' && wordAt(judge, at + 1) === 'connection') return;
    if (word === 'format') {
      at += 2; // = and its value
      continue;
    }
    if (word === 'for' && (wordAt(judge, at + 1) === 'schema' || wordAt(judge, at + 1) === 'database')) {
      at += 2;
      continue;
    }
    if (symbolAt(judge, at) === OPEN) continue;
    if (VERBS.has(word)) break;
  }
  if (at < head.length) judgeAt(judge, at, mode);
  facts.verb = 'explain';
}

/** `READ WRITE` among the characteristics of a transaction. */
export function judgeAccessMode(judge: Judge, from: number, because: string): void {
  for (let at = from; at < judge.head.length; at++)
    if (wordAt(judge, at) === 'write') judge.facts.flag('escapesReadOnly', because);
}

function judgePrepare(judge: Judge, at: number): void {
  const { facts, head } = judge;
  facts.prepares = nameAt(judge, at + 1).toLowerCase();
  if (wordAt(judge, at + 2) === 'from' && head.length === at + 4 && judgeLiteral(judge, at + 3)) return;
  facts.flag('opaque', 'PREPARE of a text that is no constant');
}

function judgeExecute(judge: Judge, at: number): void {
  const { facts, head } = judge;
  if (wordAt(judge, at + 1) !== 'immediate') {
    facts.executes = nameAt(judge, at + 1).toLowerCase();
    if (facts.executes === '') facts.obscure('an EXECUTE without a name');
  } else if (head.length !== at + 3 || !judgeLiteral(judge, at + 2))
    facts.flag('opaque', 'EXECUTE IMMEDIATE of a text that is no constant');
}

/** Judges the SQL in a literal; `false` where there is no plain literal. */
function judgeLiteral(judge: Judge, at: number): boolean {
  const { context, facts, head } = judge;
  const sql = literalBytes(context.text, head[at], context.escapes(head[at].kind));
  if (sql === null) return false;
  const inner = context.nested(sql);
  facts.include(inner);
  // The engine decides on these by their text, and must see it.
  if (inner.verb === 'kill' || inner.verb === 'use')
    facts.flag('opaque', `${inner.verb.toUpperCase()} in a text that is prepared`);
  return true;
}

export function wordAt(judge: Judge, at: number): string {
  return judge.head[at]?.word ?? '';
}

export function symbolAt(judge: Judge, at: number): number {
  const token = judge.head[at] as HeadToken | undefined;
  return token?.kind === Token.symbol ? judge.context.text[token.start] : 0;
}

/** The name at this place, quoted or not, as written; '' where there is none. */
export function nameAt(judge: Judge, at: number): string {
  const token = judge.head[at] as HeadToken | undefined;
  if (token === undefined) return '';
  const { text } = judge.context;
  if (token.kind === Token.word) return text.toString('utf8', token.start, token.end);
  if (token.kind !== Token.quotedIdentifier && token.kind !== Token.doubleQuoted) return '';
  const inner = text.toString('utf8', token.innerStart, token.innerEnd);
  return token.kind === Token.quotedIdentifier ? inner.replaceAll('``', '`') : inner;
}
