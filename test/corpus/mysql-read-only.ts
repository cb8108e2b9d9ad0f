/**
 * The read-only corpus of MySQL and MariaDB: statements with what each control has to say of them, and whether a server
 * would change something if it got them. Numbers are those of HOSTILE.md; `0` are reads of every kind, so that the
 * control stays usable. `test/conformance/mysql-sql.test.ts` holds it against the dialect and against real servers.
 *
 * Fixture: {@link FIXTURE}, in database `corpus`; {@link MARIADB_FIXTURE} on top in MariaDB. Statements run as root.
 */
import type { Control } from '../../src/model/access.ts';

export type CorpusFlavour = 'mysql' | 'mariadb' | 'both';

export interface CorpusEntry {
  /** Of HOSTILE.md; 0: none. */
  readonly number: number;
  readonly sql: string;
  readonly flavour: CorpusFlavour;
  /** Run before it, in the same session, one after the other. Under controls they are sent as well, and allowed. */
  readonly setup?: readonly string[];
  readonly decision: 'allow' | 'refuse';
  /** Further controls that refuse it. */
  readonly alsoRefusedBy: readonly Control[];
  /**
   * Sent directly, in a session that may write, it changes something that a snapshot of the server shows. With `decision`
   * 'allow' the server's own read-only mode stops it (stored functions).
   */
  readonly wouldWrite: boolean;
  /** By these it is refused only where sql_mode is not known, or may be another by the time that the text is read. */
  readonly byDoubtAlone?: readonly Control[];
}

/** Where INTO OUTFILE writes to; a test puts a folder's path in its place. */
export const FOLDER = '@FOLDER@';

export const FIXTURE: readonly string[] = [
  'DROP DATABASE IF EXISTS corpus',
  'DROP DATABASE IF EXISTS elsewhere',
  'DROP USER IF EXISTS corpus_user, corpus_x',
  'DROP DATABASE IF EXISTS n',
  "CREATE USER corpus_user IDENTIFIED BY 'Secret-123'",
  'CREATE DATABASE corpus',
  'CREATE DATABASE elsewhere',
  'USE corpus',
  'CREATE TABLE t (a INT PRIMARY KEY, b VARCHAR(50), j TEXT)',
  "INSERT INTO t VALUES (1, 'one', '{\"a\": [1, 2]}'), (2, 'two', NULL), (3, 'it''s', NULL)",
  'CREATE TABLE u (a INT AUTO_INCREMENT PRIMARY KEY, password VARCHAR(50))',
  "INSERT INTO u (password) VALUES ('x'), ('y')",
  'CREATE TABLE m (a INT) ENGINE=MyISAM',
  'INSERT INTO m VALUES (1)',
  'CREATE TABLE elsewhere.t (a INT)',
  'CREATE VIEW v AS SELECT a, b FROM t',
  "CREATE FUNCTION sneaky() RETURNS INT MODIFIES SQL DATA BEGIN INSERT INTO u (password) VALUES ('sneaky'); RETURN 1; END",
  'CREATE FUNCTION twice(n INT) RETURNS INT DETERMINISTIC RETURN 2 * n',
  "CREATE PROCEDURE proc() INSERT INTO u (password) VALUES ('proc')",
];
export const MARIADB_FIXTURE: readonly string[] = ['CREATE SEQUENCE s'];

type Options = Partial<
  Pick<CorpusEntry, 'flavour' | 'setup' | 'alsoRefusedBy' | 'wouldWrite' | 'byDoubtAlone'>
>;

const entries = (
  number: number,
  decision: CorpusEntry['decision'],
  statements: readonly string[],
  options: Options = {},
): CorpusEntry[] =>
  statements.map((sql) => ({
    number,
    sql,
    decision,
    flavour: 'both',
    alsoRefusedBy: [],
    wouldWrite: false,
    ...options,
  }));

const COPY: readonly Control[] = ['block_copy'];
const DDL: readonly Control[] = ['block_ddl'];
const BOTH: readonly Control[] = ['block_copy', 'block_ddl'];

const READS = [
  ...entries(0, 'allow', [
    'SELECT 1',
    'SELECT * FROM t',
    '(SELECT 1) UNION (SELECT 2)',
    'SELECT count(*), b FROM t GROUP BY b HAVING count(*) > 0 ORDER BY 1 LIMIT 5 OFFSET 0',
    'SELECT t.*, row_number() OVER (PARTITION BY b ORDER BY a) FROM t',
    'WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT * FROM r',
    'SELECT a, (SELECT max(a) FROM t x WHERE x.a < t.a) FROM t WHERE EXISTS (SELECT 1 FROM v WHERE v.a = t.a)',
    "SELECT 'it''s', 'it\\'s', \"DELETE FROM t\", `a` FROM t -- DROP TABLE t",
    "SELECT 'DELETE FROM t; DROP TABLE t' /* DELETE FROM t */ # DROP TABLE t",
    "SELECT INSERT('abc', 1, 1, 'x'), REPLACE('abc', 'a', 'b'), TRUNCATE(1.23, 1), LEFT('abc', 1)",
    "SELECT JSON_EXTRACT('[1, 2]', '$[0]'), EXTRACT(YEAR FROM now()), SUBSTRING('abc' FROM 2 FOR 1)",
    'SELECT CAST(a AS CHAR(10)), CONVERT(b USING utf8mb4), _utf8mb4 \'x\' COLLATE utf8mb4_bin FROM t',
    "SELECT @@version, @@session.sql_mode, @@global.max_connections, @x := 5, @'y', @`z`",
    'SELECT SQL_NO_CACHE STRAIGHT_JOIN * FROM t FORCE INDEX (PRIMARY) IGNORE INDEX FOR ORDER BY (PRIMARY)',
    'SELECT /*+ MAX_EXECUTION_TIME(1000) */ * FROM t',
    'SELECT /*!40001 SQL_NO_CACHE */ * FROM `t`',
    'SELECT /*!50000 1 + */ 1',
    'SELECT a INTO @a FROM t WHERE a = 1',
    'SELECT LAST_INSERT_ID(), LAST_INSERT_ID(5), FOUND_ROWS(), ROW_COUNT(), CONNECTION_ID(), USER(), DATABASE()',
    "SELECT UUID(), RAND(), SLEEP(0), BENCHMARK(1, 1), IS_FREE_LOCK('x'), RELEASE_LOCK('x')",
    'SELECT twice(a) FROM t',
    'SELECT corpus.twice(2)',
    'SELECT x\'4142\', b\'01\', 0x41, 0b1, 1.5e3, .5, N\'n\', TRUE, NULL',
    'SELECT {d \'2020-01-01\'}, {fn now()}',
    'SELECT 1 FROM dual WHERE 1 IN (1, 2) AND NOT EXISTS (SELECT 1 FROM u WHERE a > 100)',
    'SELECT * FROM t AS x JOIN u AS y USING (a) LEFT JOIN elsewhere.t z ON z.a = x.a, v',
    'SELECT a AS "x y", b `update` FROM t ORDER BY a DESC',
    'EXPLAIN SELECT * FROM t',
    'EXPLAIN DELETE FROM t',
    'EXPLAIN UPDATE t SET b = 1',
    'EXPLAIN FORMAT=JSON SELECT * FROM t',
    'DESCRIBE t',
    'DESC t a',
    'SHOW TABLES',
    'SHOW FULL COLUMNS FROM t LIKE \'a%\'',
    "SHOW VARIABLES WHERE Variable_name IN ('sql_mode')",
    'SHOW CREATE TABLE t',
    'SHOW FULL PROCESSLIST',
    'SHOW GRANTS',
    'SHOW ENGINE INNODB STATUS',
    'SHOW WARNINGS',
    'SHOW INDEX FROM t',
    'SHOW TABLE STATUS',
    'SHOW BINARY LOGS',
    'HELP \'select\'',
    'CHECKSUM TABLE t',
    'USE corpus',
    'DO 1',
    'DO SLEEP(0)',
    'SET @a = 1, @b = (SELECT max(a) FROM t)',
    'SET NAMES utf8mb4',
    'SET NAMES \'latin1\'',
    'SET CHARACTER SET utf8mb4',
    "SET SESSION sql_mode = 'ANSI_QUOTES'",
    "/*!40101 SET @@SQL_MODE := '' */",
    'SET autocommit = 0',
    'SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED',
    'SET SESSION TRANSACTION READ ONLY',
    'SET TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY',
    "SET time_zone = '+00:00', character_set_results = NULL, foreign_key_checks = 0",
    'BEGIN',
    'BEGIN WORK',
    'START TRANSACTION',
    'START TRANSACTION READ ONLY',
    'START TRANSACTION /*!40100 WITH CONSISTENT SNAPSHOT */',
    'COMMIT',
    'ROLLBACK',
    'COMMIT AND CHAIN',
    'SIGNAL SQLSTATE \'45000\'',
    'GET DIAGNOSTICS @n = NUMBER',
    'UNLOCK TABLES',
    'XA RECOVER',
    'BEGIN; SELECT 1; COMMIT',
    'SELECT 1; SELECT 2;',
    '/* nothing */ SELECT 1',
    '# comment\nSELECT 1',
    '-- comment\nSELECT 1',
    '-- \nSELECT 1',
    '/**/SELECT/**/1',
  ]),
  ...entries(0, 'allow', ['SAVEPOINT x', 'ROLLBACK TO SAVEPOINT x', 'RELEASE SAVEPOINT x'], {
    setup: ['BEGIN', 'SAVEPOINT x'],
  }),
  ...entries(0, 'allow', ['EXECUTE p', 'DEALLOCATE PREPARE p', 'DROP PREPARE p', "PREPARE p FROM 'SELECT 2'"], {
    setup: ["PREPARE p FROM 'SELECT 1'"],
  }),
  ...entries(0, 'allow', ['EXECUTE p USING @a'], { setup: ["PREPARE p FROM 'SELECT * FROM t WHERE a = ?'", 'SET @a = 1'] }),
  ...entries(
    0,
    'allow',
    [
      'TABLE t',
      'TABLE t ORDER BY a LIMIT 1',
      'VALUES ROW(1, 2), ROW(3, 4)',
      'SELECT * FROM t, LATERAL (SELECT t.a) x',
      'SELECT * FROM JSON_TABLE(\'[1]\', \'$[*]\' COLUMNS (a INT PATH \'$\')) x',
      'EXPLAIN ANALYZE SELECT * FROM t',
      'EXPLAIN FORMAT=TREE SELECT * FROM t',
      'SELECT /*+ SET_VAR(sort_buffer_size = 16M) INDEX(t `PRIMARY`) */ * FROM t',
      'SHOW REPLICA STATUS',
      'SET SESSION transaction_read_only = 1',
    ],
    { flavour: 'mysql' },
  ),
  ...entries(
    0,
    'allow',
    [
      'VALUES (1, 2), (3, 4)',
      'ANALYZE SELECT * FROM t',
      'ANALYZE FORMAT=JSON SELECT * FROM t',
      'SELECT LASTVAL(s), PREVIOUS VALUE FOR s',
      'SELECT * FROM s',
      "EXECUTE IMMEDIATE 'SELECT 1'",
      'SET STATEMENT max_statement_time = 10 FOR SELECT * FROM t',
      'SELECT /*M!100100 1 + */ 1',
      'SELECT 1 /*!50701 + 1 */',
      'SET tx_read_only = ON',
      'SHOW SLAVE STATUS',
    ],
    { flavour: 'mariadb' },
  ),
  // The server's read-only mode is what stops these.
  ...entries(52, 'allow', ['SELECT sneaky()', 'SELECT corpus.sneaky() FROM t LIMIT 1', 'SELECT `sneaky`()'], {
    wouldWrite: true,
  }),
];

const WRITES = [
  ...entries(
    52,
    'refuse',
    [
      "INSERT INTO t VALUES (9, 'x', NULL)",
      "INSERT t SET a = 9, b = 'x'",
      "REPLACE INTO t VALUES (1, 'x', NULL)",
      "UPDATE t SET b = 'changed'",
      'UPDATE t, u SET t.b = 7 WHERE t.a = u.a',
      'DELETE FROM t',
      'DELETE t FROM t JOIN u ON t.a = u.a',
      'INSERT INTO m SELECT 5',
      'TRUNCATE TABLE m',
      'TRUNCATE t',
      'SELECT 1; DELETE FROM t',
      "SELECT 'x;y'; DELETE FROM t",
      'DELETE FROM elsewhere.t WHERE 1 OR 1; DELETE FROM corpus.t',
    ],
    { wouldWrite: true },
  ),
  ...entries(
    52,
    'refuse',
    [
      'WITH x AS (SELECT 1 AS n) DELETE FROM t WHERE a IN (SELECT n FROM x)',
      "WITH x AS (SELECT 1 AS n) UPDATE t, x SET t.b = 'w' WHERE t.a = x.n",
    ],
    { wouldWrite: true, flavour: 'mysql' },
  ),
  ...entries(
    52,
    'refuse',
    [
      'CREATE TABLE n (a INT)',
      'CREATE TABLE n AS SELECT * FROM t',
      'DROP TABLE t',
      'ALTER TABLE t ADD c INT',
      'RENAME TABLE t TO n',
      'CREATE INDEX i ON t (b)',
      'CREATE VIEW w AS SELECT 1',
      'DROP VIEW v',
      'CREATE DATABASE n',
      'DROP DATABASE elsewhere',
      'CREATE PROCEDURE q() BEGIN SELECT 1; DELETE FROM t; END',
      'CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET NEW.b = 1',
      'CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO DELETE FROM t',
      'DROP FUNCTION twice',
      "CREATE USER corpus_x IDENTIFIED BY 'Secret-123'",
      'GRANT SELECT ON corpus.* TO corpus_user',
      "BEGIN; SELECT 1; CREATE TABLE n (a INT)",
    ],
    { wouldWrite: true, alsoRefusedBy: DDL },
  ),
  ...entries(52, 'refuse', ['CREATE TEMPORARY TABLE n (a INT)', 'DROP TEMPORARY TABLE IF EXISTS n'], {
    alsoRefusedBy: DDL,
  }),
  ...entries(52, 'refuse', ['CALL proc()', 'CALL corpus.proc'], { wouldWrite: true, alsoRefusedBy: BOTH }),
  ...entries(52, 'refuse', ['HANDLER t OPEN', 'DO sneaky_unknown()'], { alsoRefusedBy: BOTH }),
  ...entries(52, 'refuse', ['DO sneaky()'], { alsoRefusedBy: BOTH, wouldWrite: true }),
  ...entries(52, 'refuse', ["SELECT GET_LOCK('corpus', 0)", "DO GET_LOCK('corpus', 0)", "SELECT `get_lock`('corpus', 0)"], {
    wouldWrite: true,
  }),
  ...entries(
    52,
    'refuse',
    [
      'SELECT * FROM t FOR UPDATE',
      'SELECT * FROM t LOCK IN SHARE MODE',
      '(SELECT * FROM t FOR UPDATE) UNION SELECT 1, 2, 3',
      'LOCK TABLES t READ',
      'LOCK TABLES t WRITE, u READ LOCAL',
      'FLUSH TABLES',
      'FLUSH TABLES WITH READ LOCK',
      'ANALYZE TABLE t',
      'OPTIMIZE TABLE t',
      'REPAIR TABLE m',
      'CHECK TABLE t',
      'CACHE INDEX m IN DEFAULT',
      'LOAD INDEX INTO CACHE m',
      'XA START \'x\'',
      'SELECT 1e1FOR UPDATE',
      'SET RESOURCE GROUP x',
    ],
  ),
  ...entries(52, 'refuse', ['SELECT * FROM t FOR SHARE', 'SELECT * FROM t FOR UPDATE OF t SKIP LOCKED', 'LOCK INSTANCE FOR BACKUP'], { flavour: 'mysql' }),
  ...entries(52, 'refuse', ['EXPLAIN ANALYZE DELETE t FROM t JOIN u ON t.a = u.a', 'EXPLAIN ANALYZE INSERT INTO t VALUES (9, 9, 9)'], { flavour: 'mysql' }),
  ...entries(52, 'refuse', ['ANALYZE DELETE FROM t', "ANALYZE FORMAT=JSON UPDATE t SET b = 'x'", 'SET STATEMENT max_statement_time = 10 FOR DELETE FROM t', 'SELECT NEXTVAL(s)', 'SELECT NEXT VALUE FOR s', 'SELECT SETVAL(s, 500)', "SET sql_mode = 'ORACLE'; SELECT s.nextval"], {
    flavour: 'mariadb',
    wouldWrite: true,
  }),
  ...entries(52, 'refuse', ['BEGIN NOT ATOMIC DELETE FROM t; END', 'IF 1 THEN DELETE FROM t; END IF', 'WHILE (SELECT count(*) FROM t) > 0 DO DELETE FROM t; END WHILE', 'FOR i IN 1..2 DO DELETE FROM t; END FOR', "SET sql_mode = 'ORACLE'; BEGIN DELETE FROM t; END"], {
    flavour: 'mariadb',
    wouldWrite: true,
    alsoRefusedBy: BOTH,
  }),
  ...entries(52, 'refuse', ['BACKUP STAGE START'], { flavour: 'mariadb' }),
  ...entries(
    54,
    'refuse',
    ['PURGE BINARY LOGS TO \'x\'', 'STOP REPLICA', 'START REPLICA'],
    { flavour: 'both' },
  ),
  ...entries(54, 'refuse', ["BINLOG 'x'", "CHANGE REPLICATION SOURCE TO SOURCE_HOST = 'h'", "CHANGE MASTER TO MASTER_HOST = ''"], {
    alsoRefusedBy: BOTH,
  }),
  ...entries(52, 'refuse', ["CLONE LOCAL DATA DIRECTORY = '/tmp/x'", "INSTALL PLUGIN x SONAME 'x.so'", 'UNINSTALL PLUGIN x'], {
    alsoRefusedBy: BOTH,
  }),
];

const ESCAPES = [
  ...entries(43, 'refuse', [
    'SET SESSION TRANSACTION READ WRITE',
    'SET TRANSACTION READ WRITE',
    'SET LOCAL TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ WRITE',
    'START TRANSACTION READ WRITE',
    'START TRANSACTION WITH CONSISTENT SNAPSHOT, READ WRITE',
    'SET tx_read_only = 0',
    'SET transaction_read_only = 0',
    'SET @@session.transaction_read_only = OFF',
    'SET @@transaction_read_only := DEFAULT',
    'SET SESSION `transaction_read_only` = FALSE',
    'SET @x = 1, @@local.tx_read_only = 0',
    'SET @@/**/session/**/./**/tx_read_only = 0',
    '/*!50000 SET SESSION TRANSACTION READ WRITE */',
    'SET sql_log_bin = 0',
    'SET SESSION session_track_system_variables = \'\'',
    'SET gtid_next = \'AUTOMATIC\'',
    'SET ROLE NONE',
    'SET pseudo_thread_id = 1',
  ]),
  ...entries(43, 'refuse', ['SET SESSION tränsaction_read_only = 0', 'SET @@session.transâction_read_only = 0'], { flavour: 'mysql' }),
  ...entries(43, 'refuse', ['SET STATEMENT tx_read_only = 0 FOR DELETE FROM t'], { flavour: 'mariadb' }),
  ...entries(43, 'refuse', ['SET GLOBAL max_connections = 77', 'SET @@global.max_connections = 78', 'SET SESSION sort_buffer_size = 100000, GLOBAL max_connections = 79'], {
    wouldWrite: true,
  }),
  ...entries(43, 'refuse', ['SET PERSIST max_connections = 80'], { flavour: 'mysql', wouldWrite: true }),
  ...entries(47, 'refuse', ['SET NAMES gbk', "SET character_set_client = 'sjis'", 'SET CHARACTER SET big5', 'SET character_set_client = @x'], {
    alsoRefusedBy: BOTH,
  }),
  ...entries(52, 'refuse', ["SET PASSWORD FOR corpus_user = 'Other-456'"], { flavour: 'mysql', wouldWrite: true, alsoRefusedBy: DDL }),
  ...entries(52, 'refuse', ["SET PASSWORD FOR corpus_user = PASSWORD('Other-456')"], { flavour: 'mariadb', wouldWrite: true, alsoRefusedBy: DDL }),
];

const FILES = [
  ...entries(
    46,
    'refuse',
    [
      `SELECT * FROM t INTO OUTFILE '${FOLDER}/a'`,
      `SELECT 1 INTO DUMPFILE '${FOLDER}/b'`,
      `SELECT 1 INTO/**/OUTFILE '${FOLDER}/c'`,
      `SELECT 1 INTO\n-- x\nOUTFILE '${FOLDER}/d'`,
      `SELECT 1 /*!50000 INTO OUTFILE '${FOLDER}/e' */`,
      `SELECT 1 /*!INTO*/ /*!OUTFILE*/ '${FOLDER}/f'`,
      `SELECT 1.5INTO OUTFILE '${FOLDER}/h'`,
    ],
    { alsoRefusedBy: COPY, wouldWrite: true },
  ),
  ...entries(46, 'refuse', [`TABLE t INTO OUTFILE '${FOLDER}/i'`, `(SELECT 1 INTO OUTFILE '${FOLDER}/g')`], { flavour: 'mysql', alsoRefusedBy: COPY, wouldWrite: true }),
  ...entries(46, 'refuse', ["SELECT LOAD_FILE('/etc/passwd')", 'SELECT load_file /* x */ (0x2f)', 'SELECT `LOAD_FILE`(\'/etc/passwd\')', "SET @x = LOAD_FILE('/etc/passwd')", "EXPLAIN SELECT LOAD_FILE('/etc/passwd')"], {
    alsoRefusedBy: COPY,
  }),
  ...entries(46, 'refuse', [`LOAD DATA INFILE '${FOLDER}/rows' INTO TABLE m`], { alsoRefusedBy: COPY, wouldWrite: true }),
  ...entries(50, 'refuse', ["LOAD DATA LOCAL INFILE 'x' INTO TABLE t", "LOAD XML LOCAL INFILE 'x' INTO TABLE t"], { alsoRefusedBy: COPY }),
];

const LEXING = [
  ...entries(
    45,
    'refuse',
    [
      '/*!50000 DROP TABLE t */',
      '/*! DROP TABLE t */',
      'SELECT 1; /*!50000 DROP TABLE t */',
      'DROP/*!99999 x*/ TABLE t',
      '/*!50000DROP TABLE t*/',
    ],
    { wouldWrite: true, alsoRefusedBy: DDL },
  ),
  ...entries(45, 'refuse', ['/*M! DROP TABLE t */', '/*M!100100 DROP TABLE t */', 'SELECT 1 /*!50700 */; DROP TABLE t'], {
    flavour: 'mariadb',
    wouldWrite: true,
    alsoRefusedBy: DDL,
  }),
  ...entries(45, 'refuse', ['/*!50700 DROP TABLE t */', '/*!090000 DROP TABLE t */'], { flavour: 'mysql', wouldWrite: true, alsoRefusedBy: DDL }),
  ...entries(45, 'refuse', ['SELECT 1 /*!99998 INTO OUTFILE \'x\' */'], { alsoRefusedBy: COPY }),
  ...entries(
    47,
    'refuse',
    [
      'SELECT 1 # \\\n; DELETE FROM t',
      'SELECT 1 -- \r\n; DELETE FROM t',
      'SELECT "a\'b"; DELETE FROM t -- \'',
      'SELECT `a\'b` FROM (SELECT 1 AS `a\'b`) x; DELETE FROM t',
      "SELECT '\\'' ; DELETE FROM t",
      'SELECT /* /* */ 1; DELETE FROM t; -- */',
    ],
    { wouldWrite: true },
  ),
  // Harmless with the default quoting only.
  ...entries(47, 'refuse', ["SELECT '\\'; DELETE FROM t; -- '", 'SELECT "\\"; DELETE FROM t; -- "'], { byDoubtAlone: ['read_only'] }),
  ...entries(47, 'refuse', ["SET sql_mode = 'NO_BACKSLASH_ESCAPES'; SELECT '\\'; DELETE FROM t; -- '", "SET sql_mode = 'ANSI_QUOTES'; SELECT 'a' AS \"\\\"; DELETE FROM t; -- \""], { wouldWrite: true }),
  ...entries(
    48,
    'refuse',
    ['PREPARE p FROM @v'],
    { alsoRefusedBy: BOTH },
  ),
  ...entries(48, 'refuse', ["PREPARE p FROM 'DELETE FROM t'", "PREPARE p FROM 'SELECT 1 FROM t FOR UPDATE'", 'PREPARE p FROM "DELETE FROM t"']),
  ...entries(48, 'refuse', ["SET @v = 'DELETE FROM t'; PREPARE p FROM @v; EXECUTE p"], { wouldWrite: true, alsoRefusedBy: BOTH }),
  ...entries(48, 'refuse', ['EXECUTE never_prepared'], { alsoRefusedBy: BOTH }),
  ...entries(48, 'refuse', ["EXECUTE IMMEDIATE CONCAT('DELETE FROM ', 't')", "SET @v = 'DELETE FROM t'; EXECUTE IMMEDIATE @v"], {
    flavour: 'mariadb',
    wouldWrite: true,
    alsoRefusedBy: BOTH,
  }),
  ...entries(48, 'refuse', ["EXECUTE IMMEDIATE 'DELETE FROM t'"], { flavour: 'mariadb', wouldWrite: true }),
  ...entries(47, 'refuse', ['SELECT /*+ QB_NAME(`*/`) */ 1; DELETE FROM t; -- `'], { flavour: 'mysql', alsoRefusedBy: BOTH }),
  ...entries(47, 'refuse', ['x: LOOP DELETE FROM t; LEAVE x; END LOOP', 'DELIMITER ;;', 'selec 1', "SELECT 'open", 'SELECT /* open', '\\G', 'SELECT 1 /*!1000000 + 1 */'], { alsoRefusedBy: BOTH }),
];

/** What is left of it on an older server begins with no verb: not understood, so refused under any control. */
const HALVES = [
  ...entries(45, 'refuse', ['/*!40000 DROP */ /*!40000 TABLE */ t'], { wouldWrite: true, alsoRefusedBy: BOTH }),
  ...entries(48, 'refuse', ["PREPARE p FROM 'DEL\\ETE FROM t'"], { alsoRefusedBy: BOTH, byDoubtAlone: BOTH }),
  ...entries(47, 'refuse', ["SELECT 'a\\' UNION SELECT LOAD_FILE(0x2f) -- '"], {
    alsoRefusedBy: COPY,
    byDoubtAlone: ['read_only', 'block_copy'],
  }),
];

export const CORPUS: readonly CorpusEntry[] = [...READS, ...WRITES, ...ESCAPES, ...FILES, ...LEXING, ...HALVES];

export function corpusFor(flavour: 'mysql' | 'mariadb'): CorpusEntry[] {
  return CORPUS.filter((entry) => entry.flavour === 'both' || entry.flavour === flavour);
}
