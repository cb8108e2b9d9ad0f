/**
 * SET in all its forms: `SET [scope] variable = value, …`, SET TRANSACTION, SET NAMES, SET PASSWORD, SET ROLE, MariaDB's
 * SET STATEMENT … FOR. A session's own variables may be set under any control, but for the guarded ones below.
 */
import { charsetKind } from './charset.ts';
import type { Judge } from './judge.ts';
import { judgeAccessMode, nameAt, symbolAt, wordAt } from './judge-verbs.ts';
import { Token } from './lexer.ts';

const COMMA = 0x2c;
const OPEN = 0x28;
const CLOSE = 0x29;
const DOT = 0x2e;
const EQUALS = 0x3d;
const COLON = 0x3a;

/** Variables that switch the session's read-only mode, when they are not set to `on`. */
const READ_ONLY_MODE: ReadonlySet<string> = new Set(['transaction_read_only', 'tx_read_only']);

/**
 * Variables that decide what is written, where it is logged and as whom; most of them need privileges. The session
 * trackers are what the proxy learns the session's state from.
 */
const GUARDED: ReadonlySet<string> = new Set(
  `read_only super_read_only sql_log_bin sql_log_off general_log slow_query_log log_output init_connect proxy_user external_user
   gtid_next gtid_next_list gtid_domain_id gtid_seq_no server_id binlog_format binlog_row_image binlog_row_value_options
   binlog_direct_non_transactional_updates binlog_skip_flush_commands binlog_ddl_skip_rewrite skip_replication
   skip_parallel_replication pseudo_slave_mode pseudo_replica_mode pseudo_thread_id rbr_exec_mode rbr_exec_mode_options
   original_commit_timestamp original_server_version immediate_server_version require_row_format wsrep_on wsrep_osu_method
   wsrep_trx_fragment_size debug debug_dbug debug_sync debug_no_sync session_track_system_variables
   session_track_transaction_info session_track_state_change resultset_metadata xa_detach_on_prepare
   restrict_fk_on_non_standard_key secure_timestamp`
    .trim()
    .split(/\s+/),
);

/** Trackers that may be switched on, not off. */
const TRACKERS: ReadonlySet<string> = new Set(['session_track_schema', 'session_track_gtids']);

const GLOBAL_SCOPES: ReadonlySet<string> = new Set(['global', 'persist', 'persist_only']);
const SESSION_SCOPES: ReadonlySet<string> = new Set(['session', 'local']);

export function judgeSet(judge: Judge, from: number): void {
  if (judge.overflowed) {
    judge.facts.obscure('a SET this long');
    return;
  }
  assignments(judge, from, judge.head.length);
}

/** `SET STATEMENT a = 1, b = 2 FOR …`: where the statement begins; -1 where there is none. */
export function judgeSetStatement(judge: Judge, from: number): number {
  let depth = 0;
  for (let at = from; at < judge.head.length; at++) {
    const symbol = symbolAt(judge, at);
    if (symbol === OPEN) depth++;
    else if (symbol === CLOSE) depth--;
    if (depth > 0 || wordAt(judge, at) !== 'for') continue;
    assignments(judge, from, at);
    for (at++; symbolAt(judge, at) === OPEN; ) at++;
    return at;
  }
  judge.facts.obscure('SET STATEMENT without a statement');
  return -1;
}

function assignments(judge: Judge, from: number, to: number): void {
  let depth = 0;
  let start = from;
  for (let at = from; at <= to; at++) {
    const symbol = at < to ? symbolAt(judge, at) : COMMA;
    if (symbol === OPEN) depth++;
    else if (symbol === CLOSE) depth--;
    else if (symbol === COMMA && (depth <= 0 || at === to)) {
      assignment(judge, start, at);
      start = at + 1;
    }
  }
}

function assignment(judge: Judge, from: number, to: number): void {
  const { facts, head } = judge;
  if (from >= to) return;
  const { kind } = head[from];
  if (kind === Token.userVariable || symbolAt(judge, from) === 0x40) return; // @v, @'v'
  let at = from;
  const isSystem = kind === Token.systemVariable;
  if (isSystem) at++;
  const scope = wordAt(judge, at);
  const isScope = isSystem ? symbolAt(judge, at + 1) === DOT : symbolAt(judge, at + 1) !== EQUALS;
  if (isScope && GLOBAL_SCOPES.has(scope)) {
    facts.flag('escapesReadOnly', `SET ${scope.toUpperCase()}`);
    facts.flag('writes', `SET ${scope.toUpperCase()}`);
    at += isSystem ? 2 : 1;
  } else if (isScope && SESSION_SCOPES.has(scope)) at += isSystem ? 2 : 1;
  const word = wordAt(judge, at);
  if (!isSystem && judgeAccount(judge, at)) return;
  if (!isSystem && !isAssigned(judge, at + 1, to)) {
    if (word === 'transaction' || word === 'isolation' || word === 'read') {
      // Further characteristics follow behind commas; the next ones are looked at as well.
      facts.transaction = 'other';
      judgeAccessMode(judge, at, 'SET TRANSACTION READ WRITE');
      return;
    }
    if (word === 'names' || word === 'charset') {
      charset(judge, at + 1, to);
      return;
    }
    if ((word === 'character' || word === 'char') && wordAt(judge, at + 1) === 'set') {
      charset(judge, at + 2, to);
      return;
    }
  }
  variable(judge, at, to);
}

/** What looks like an assignment and concerns accounts. MariaDB takes these anywhere in the list. */
function judgeAccount(judge: Judge, at: number): boolean {
  const { facts } = judge;
  const word = wordAt(judge, at);
  const next = wordAt(judge, at + 1);
  if (word === 'role' && symbolAt(judge, at + 1) !== EQUALS) facts.flag('escapesReadOnly', 'SET ROLE');
  else if (word === 'password' || (word === 'default' && next === 'role')) {
    facts.flag('ddl', word === 'password' ? 'SET PASSWORD' : 'SET DEFAULT ROLE');
    facts.flag('writes', word === 'password' ? 'SET PASSWORD' : 'SET DEFAULT ROLE');
  } else if (word === 'resource' && next === 'group') facts.flag('writes', 'SET RESOURCE GROUP');
  else return false;
  return true;
}

function isAssigned(judge: Judge, at: number, to: number): boolean {
  const symbol = at < to ? symbolAt(judge, at) : 0;
  return symbol === EQUALS || symbol === COLON || symbol === DOT;
}

function variable(judge: Judge, at: number, to: number): void {
  const { facts } = judge;
  let name = nameAt(judge, at).toLowerCase();
  while (symbolAt(judge, at + 1) === DOT && at + 2 < to) {
    check(judge, name, -1, to);
    at += 2;
    name = nameAt(judge, at).toLowerCase();
  }
  if (name === '') {
    facts.obscure('a SET that cannot be understood');
    return;
  }
  let value = at + 1;
  if (symbolAt(judge, value) === COLON) value++;
  if (symbolAt(judge, value) !== EQUALS) value = to;
  check(judge, name, value + 1, to);
}

/** `value`: index of the first token of the value; it reaches to `to`. */
function check(judge: Judge, name: string, value: number, to: number): void {
  const { facts } = judge;
  // MySQL finds variables without regard to accents.
  if (/[^\0-\x7f]/.test(name))
    facts.flag('escapesReadOnly', 'SET of a variable with letters beyond ASCII in its name');
  else if (READ_ONLY_MODE.has(name) || TRACKERS.has(name)) {
    if (!isOn(judge, value, to)) facts.flag('escapesReadOnly', `SET ${name}`);
  } else if (GUARDED.has(name)) facts.flag('escapesReadOnly', `SET ${name}`);
  else if (name === 'sql_mode') facts.changesReading = true;
  else if (name === 'character_set_client') charset(judge, value, to);
  else if (name === 'autocommit') facts.transaction = 'other';
}

function isOn(judge: Judge, value: number, to: number): boolean {
  if (value < 0 || to !== value + 1) return false;
  const { text } = judge.context;
  const token = judge.head[value];
  if (token.kind !== Token.word && token.kind !== Token.number) return false;
  return /^(?:1|on|true)$/i.test(text.toString('latin1', token.start, token.end));
}

/** What `SET NAMES` or `character_set_client` is set to: a name, a string, DEFAULT. */
function charset(judge: Judge, value: number, to: number): void {
  const { facts, head, context } = judge;
  facts.changesReading = true;
  if (value < 0 || value >= to) return;
  if (symbolAt(judge, value) === EQUALS) value++;
  const token = head[value];
  if (token.word === 'default') return;
  const isText = token.kind === Token.string || token.kind === Token.doubleQuoted;
  const name = isText
    ? context.text.toString('latin1', token.innerStart, token.innerEnd)
    : nameAt(judge, value);
  const kind = charsetKind(name);
  if (kind === 'utf8' || kind === 'safe') return;
  const what =
    kind === 'hazardous' ? `the character set ${name.toLowerCase()}` : 'a character set that is not known';
  facts.flag('opaque', `SET of ${what}, in which later texts read differently,`);
}
