/**
 * Every statement that MySQL 5.6 to 9.7 and MariaDB 10.5 to 12 begin with this word, and what it may do. Those whose
 * properties depend on what follows are judged further in `judge-verbs.ts`. A word that is not listed is not understood.
 *
 * Flags: w writes, d changes schema objects, accounts or privileges (and so writes), e leaves read-only mode or changes
 * what holds for other sessions, o opaque, c copies, f files of the server, i commits implicitly.
 */
const verbs = (flags: string, words: string): [string, string][] =>
  words
    .trim()
    .split(/\s+/)
    .map((word) => [word, flags]);

export const VERBS: ReadonlyMap<string, string> = new Map([
  ...verbs(
    '',
    'select table values with show explain describe desc help use set do checksum signal resignal get',
  ),
  ...verbs('', 'begin start commit rollback savepoint release xa prepare execute deallocate'),
  ...verbs('w', 'insert update delete replace'),
  // Data, but with the commit that goes with definitions.
  ...verbs('wi', 'truncate'),
  ...verbs('wdi', 'create alter drop rename grant revoke'),
  ...verbs('wdoi', 'install uninstall'),
  ...verbs('wdcfi', 'import'),
  // They rewrite tables, their statistics or caches.
  ...verbs('wi', 'analyze optimize repair check cache flush reset'),
  ...verbs('i', 'unlock'),
  ...verbs('wi', 'lock'),
  ...verbs('w', 'load'),
  ...verbs('w', 'purge backup stop'),
  // The engine decides whose sessions may be ended.
  ...verbs('', 'kill'),
  ...verbs('we', 'shutdown restart'),
  // What a replica is told to run, and a server's data replaced by another's.
  ...verbs('wo', 'change binlog'),
  ...verbs('wocf', 'clone'),
  ...verbs('wo', 'call'),
  // Reads tables beside the SQL layer, holding them open.
  ...verbs('o', 'handler'),
  // MariaDB's compound statements outside of stored programs; DECLARE begins a block in ORACLE mode.
  ...verbs('wo', 'if case loop while repeat for declare'),
]);
