/**
 * The read-only corpus: statements with what `read_only` has to say of them. Numbers are those of HOSTILE.md; `0` are
 * reads of every kind, so that the control stays usable.
 *
 * Fixture: `FIXTURE` below, in PostgreSQL 15.
 */
export interface Entry {
  /** Of HOSTILE.md; 0: none. */
  readonly number: number;
  readonly sql: string;
  readonly allow: boolean;
  /** An allowed statement that the server refuses all the same. */
  readonly fails?: RegExp;
}

export const FIXTURE = `
  CREATE TABLE t (a int PRIMARY KEY, b text);
  INSERT INTO t SELECT i, 'row ' || i FROM generate_series(1, 20) i;
  CREATE TABLE docs (id int, v tsvector, x xml, j jsonb);
  INSERT INTO docs VALUES (1, 'a fat cat', '<a><b>1</b></a>', '{"a": [1, 2]}');
  CREATE TABLE parts (k int, v int) PARTITION BY RANGE (k);
  CREATE TABLE parts1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
  CREATE SEQUENCE s;
  CREATE VIEW v AS SELECT * FROM t;
  CREATE MATERIALIZED VIEW mv AS SELECT * FROM t;
  CREATE INDEX tb ON t (b);
  CREATE TYPE pair AS (a int, b int);
  CREATE TYPE mood AS ENUM ('sad', 'ok');
  CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 2 * $1';
  CREATE FUNCTION sneaky() RETURNS int LANGUAGE plpgsql SECURITY DEFINER AS
    'BEGIN INSERT INTO t VALUES (1000, ''sneaky''); RETURN 1; END';
  CREATE PROCEDURE proc() LANGUAGE sql AS 'INSERT INTO t VALUES (1001, ''proc'')';
  CREATE ROLE somebody;
  CREATE SCHEMA other;
  SELECT lo_from_bytea(4711, 'large');
`;

const entries = (number: number, allow: boolean, statements: readonly string[]): Entry[] =>
  statements.map((sql) => ({ number, sql, allow }));

const READS = entries(0, true, [
  'SELECT 1',
  'SELECT * FROM t',
  'TABLE t',
  "VALUES (1, 'a'), (2, 'b')",
  'SELECT count(*), b FROM t GROUP BY b HAVING count(*) > 0 ORDER BY 1 LIMIT 5 OFFSET 0',
  'SELECT t.*, row_number() OVER (PARTITION BY b ORDER BY a) FROM t',
  'WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT * FROM r',
  'SELECT a FROM t INTERSECT SELECT a FROM v EXCEPT SELECT a FROM mv',
  "SELECT j->'a', j @> '{}', jsonb_path_query(j, '$.a[*]') FROM docs",
  "SELECT xpath('/a/b', x), xmlelement(name foo, x) FROM docs",
  "SELECT * FROM docs, XMLTABLE('/a' PASSING x COLUMNS b int PATH 'b')",
  "SELECT ts_headline('a fat cat', 'cat'::tsquery), ts_rank(v, 'cat') FROM docs WHERE v @@ to_tsquery('cat')",
  "SELECT word FROM ts_stat('SELECT v FROM docs')",
  "SELECT ts_rewrite('a & b'::tsquery, 'a'::tsquery, 'c'::tsquery)",
  "SELECT query_to_xml('SELECT a FROM t', true, false, '')",
  "SELECT table_to_xml('t', true, false, ''), schema_to_xmlschema('other', true, false, '')",
  'SELECT twice(a), (ROW(1, 2)::pair).b FROM t',
  'SELECT * FROM t TABLESAMPLE SYSTEM (50) REPEATABLE (1)',
  'SELECT * FROM ROWS FROM (generate_series(1, 3), unnest(ARRAY[1, 2])) AS x(a, b)',
  'SELECT a, (SELECT max(a) FROM t u WHERE u.a < t.a) FROM t WHERE EXISTS (SELECT FROM v WHERE v.a = t.a)',
  "SELECT E'it''s \\'quoted\\'', U&'\\0041', $$dollar; DROP TABLE t$$, B'01', X'1F'",
  'SELECT \'DELETE FROM t\' AS "DROP TABLE t; --" /* DELETE FROM t */ -- DROP TABLE t',
  'SELECT random(), clock_timestamp(), gen_random_uuid(), now(), current_user, version()',
  'SELECT txid_current(), pg_current_xact_id_if_assigned(), txid_current_snapshot()',
  'SELECT lo_get(4711)',
  "BEGIN; SELECT lo_open(4711, x'40000'::int); SELECT loread(0, 10); SELECT lo_close(0); COMMIT",
  'SELECT pg_size_pretty(pg_total_relation_size($$t$$)), pg_relation_filepath($$t$$)',
  'SELECT pg_advisory_unlock_all()',
  'SELECT pg_sleep(0), setseed(0.5), pg_backend_pid(), pg_is_in_recovery()',
  'SELECT pg_export_snapshot()',
  'COPY t TO STDOUT',
  "COPY (SELECT * FROM t WHERE a < 3) TO STDOUT WITH (FORMAT csv, HEADER, DELIMITER ';')",
  'EXPLAIN SELECT * FROM t',
  'EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT * FROM t',
  'EXPLAIN INSERT INTO t VALUES (1)',
  'EXPLAIN (ANALYZE off, VERBOSE) DELETE FROM t',
  'EXPLAIN UPDATE t SET a = 1',
  'PREPARE p AS SELECT * FROM t WHERE a = $1; EXECUTE p(3); EXPLAIN ANALYZE EXECUTE p(4); DEALLOCATE p',
  'BEGIN; DECLARE c CURSOR FOR SELECT * FROM t; FETCH 2 FROM c; MOVE 1 IN c; FETCH ALL FROM c; CLOSE c; END',
  'BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE; SELECT 1; COMMIT AND CHAIN; ROLLBACK',
  'START TRANSACTION READ ONLY; SAVEPOINT a; SELECT 1; ROLLBACK TO a; RELEASE a; ABORT',
  'BEGIN; SET TRANSACTION READ ONLY; LOCK TABLE t IN ACCESS SHARE MODE; SELECT 1; END',
  'SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY',
  'SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ',
  'SET default_transaction_read_only = on',
  'SET default_transaction_isolation TO serializable',
  'LISTEN channel; UNLISTEN channel; UNLISTEN *',
  'SHOW ALL',
  'SHOW default_transaction_read_only',
  'DISCARD PLANS; DISCARD SEQUENCES; DISCARD TEMP',
  'DEALLOCATE ALL',
  'SET CONSTRAINTS ALL DEFERRED',
  // What drivers and tools set
  "SET client_encoding = 'UTF8'",
  "SET NAMES 'UTF8'",
  "SET DateStyle = ISO; SET IntervalStyle = 'postgres'",
  "SET TIME ZONE 'UTC'; SET TimeZone TO 'Europe/Vienna'; RESET TimeZone",
  'SET extra_float_digits = 3',
  "SET application_name = 'DBeaver 24.0 - Main'",
  'SET search_path = public, other; SET SCHEMA $$public$$',
  'SET statement_timeout = 0; SET LOCAL lock_timeout = 0; SET idle_in_transaction_session_timeout = 0',
  'SET jit = off; SET enable_seqscan = off; SET work_mem = $$8MB$$; RESET work_mem',
  'SET bytea_output = hex; SET row_security = off; SET synchronize_seqscans TO off; SET quote_all_identifiers = true',
  'SET client_min_messages TO warning; SET standard_conforming_strings = on; SET check_function_bodies = false',
  'SET my.own_setting = 1; SELECT current_setting($$my.own_setting$$)',
  "SELECT set_config('search_path', '', false)",
  "SELECT pg_catalog.set_config('application_name', 'x', true), set_config('my.tenant', '7', false)",
  "SELECT set_config(name, 'view', false) FROM pg_settings WHERE name = 'my.kind'",
]);

const INTROSPECTION = entries(0, true, [
  // PostgreSQL JDBC
  'SET extra_float_digits = 3',
  "SELECT NULL AS TABLE_CAT, n.nspname AS TABLE_SCHEM, c.relname AS TABLE_NAME, CASE n.nspname ~ '^pg_' OR n.nspname = 'information_schema' WHEN true THEN CASE WHEN n.nspname = 'pg_catalog' THEN CASE c.relkind WHEN 'r' THEN 'SYSTEM TABLE' ELSE NULL END ELSE NULL END WHEN false THEN CASE c.relkind WHEN 'r' THEN 'TABLE' WHEN 'v' THEN 'VIEW' ELSE NULL END ELSE NULL END AS TABLE_TYPE, d.description AS REMARKS FROM pg_catalog.pg_namespace n, pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_description d ON (c.oid = d.objoid AND d.objsubid = 0 AND d.classoid = 'pg_class'::regclass) WHERE c.relnamespace = n.oid AND (false OR (c.relkind = 'r' AND n.nspname !~ '^pg_')) ORDER BY TABLE_TYPE,TABLE_SCHEM,TABLE_NAME",
  'SELECT n.nspname = ANY(current_schemas(true)), n.nspname, t.typname FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON t.typnamespace = n.oid WHERE t.oid = 23',
  "SELECT typinput='pg_catalog.array_in'::regproc as is_array, typtype, typname, pg_type.oid FROM pg_catalog.pg_type LEFT JOIN (select ns.oid as nspoid, ns.nspname, r.r from pg_namespace as ns join (select s.r, (current_schemas(false))[s.r] as nspname from generate_series(1, array_upper(current_schemas(false), 1)) as s(r)) as r using (nspname)) as sp ON sp.nspoid = typnamespace WHERE typname = 'int4' ORDER BY sp.r, pg_type.oid DESC",
  'SELECT c.oid, a.attnum, a.attname, c.relname, n.nspname, a.attnotnull OR (t.typtype = $$d$$ AND t.typnotnull), a.attidentity != $$$$ OR pg_catalog.pg_get_expr(d.adbin, d.adrelid) LIKE $$%nextval(%$$ FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON (c.relnamespace = n.oid) JOIN pg_catalog.pg_attribute a ON (c.oid = a.attrelid) JOIN pg_catalog.pg_type t ON (a.atttypid = t.oid) LEFT JOIN pg_catalog.pg_attrdef d ON (d.adrelid = a.attrelid AND d.adnum = a.attnum)',
  // DBeaver
  "SELECT n.oid,n.*,d.description FROM pg_catalog.pg_namespace n LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid=n.oid AND d.objsubid=0 AND d.classoid='pg_namespace'::regclass ORDER BY nspname",
  "SELECT c.oid,c.*,d.description,pg_catalog.pg_get_expr(c.relpartbound, c.oid) as partition_expr, pg_catalog.pg_get_partkeydef(c.oid) as partition_key FROM pg_catalog.pg_class c LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid=c.oid AND d.objsubid=0 AND d.classoid='pg_class'::regclass WHERE c.relnamespace=2200 AND c.relkind not in ('i','I','c')",
  'SELECT current_schema(),session_user',
  'SELECT db.oid,db.* FROM pg_catalog.pg_database db WHERE datallowconn AND NOT datistemplate OR db.datname =current_database() ORDER BY db.datname',
  "SELECT pg_catalog.pg_get_viewdef('v'::regclass, true), pg_get_functiondef('twice'::regproc), pg_get_indexdef('tb'::regclass), pg_get_constraintdef(c.oid) FROM pg_constraint c",
  "select * from pg_catalog.pg_settings where name='standard_conforming_strings'",
  'SELECT s.*, pg_catalog.pg_blocking_pids(s.pid) FROM pg_catalog.pg_stat_activity s',
  // IntelliJ and DataGrip
  'select case when pg_catalog.pg_is_in_recovery() then null else (pg_catalog.txid_current() % 4294967296)::varchar::bigint end as current_txid',
  'select L.transactionid::varchar::bigint as transaction_id from pg_catalog.pg_locks L where L.transactionid is not null order by pg_catalog.age(L.transactionid) desc limit 1',
  // npgsql
  "SELECT version();\n\nSELECT ns.nspname, t.oid, t.typname, t.typtype, t.typnotnull, t.elemtypoid FROM (SELECT typ.oid, typ.typnamespace, typ.typname, typ.typtype, typ.typrelid, typ.typnotnull, elemtyp.oid AS elemtypoid, CASE WHEN elemproc.proname='array_recv' THEN 'a' ELSE elemtyp.typtype END AS elemtyptype FROM (SELECT typ.oid, typnamespace, typname, typrelid, typnotnull, CASE WHEN proc.proname='array_recv' THEN 'a' ELSE typ.typtype END AS typtype, typelem AS elemoid FROM pg_type AS typ LEFT JOIN pg_proc AS proc ON proc.oid = typ.typreceive) AS typ LEFT JOIN pg_type AS elemtyp ON elemtyp.oid = elemoid LEFT JOIN pg_proc AS elemproc ON elemproc.oid = elemtyp.typreceive) AS t JOIN pg_namespace AS ns ON (ns.oid = typnamespace);\n\nSELECT pg_type.oid, enumlabel FROM pg_enum JOIN pg_type ON pg_type.oid=enumtypid ORDER BY oid, enumsortorder;",
  // pgx, asyncpg, psycopg, SQLAlchemy
  "select t.oid, t.typname, t.typbasetype from pg_type t join pg_type base_type on t.typbasetype=base_type.oid where t.typtype = 'd' and base_type.typtype = 'b'",
  "WITH RECURSIVE typeinfo_tree(oid, ns, name, kind, basetype, elemtype, depth) AS (SELECT t.oid, ns.nspname, t.typname, t.typtype, t.typbasetype, t.typelem, 0 FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace ns ON ns.oid = t.typnamespace WHERE t.oid = any('{23}'::oid[]) UNION ALL SELECT t.oid, ns.nspname, t.typname, t.typtype, t.typbasetype, t.typelem, tt.depth + 1 FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace ns ON ns.oid = t.typnamespace, typeinfo_tree tt WHERE tt.elemtype != 0 AND t.oid = tt.elemtype) SELECT DISTINCT *, basetype::regtype::text AS basetype_name FROM typeinfo_tree ORDER BY depth DESC",
  'SELECT typname AS name, oid, typarray AS array_oid, typdelim AS delimiter FROM pg_type t WHERE t.oid = to_regtype($$hstore$$) ORDER BY t.oid',
  'select pg_catalog.version(); select current_schema(); show standard_conforming_strings',
  'show transaction isolation level',
  "SELECT table_schema, table_name, column_name, data_type, is_nullable FROM information_schema.columns WHERE table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2, ordinal_position",
  // Monitoring
  'SELECT * FROM pg_stat_database; SELECT * FROM pg_stat_user_tables; SELECT * FROM pg_statio_user_indexes; SELECT * FROM pg_stat_wal; SELECT * FROM pg_stat_replication',
  'SELECT * FROM pg_locks l JOIN pg_stat_activity a USING (pid); SELECT count(*) FROM pg_ls_waldir()',
  'SELECT pg_current_wal_lsn(), pg_wal_lsn_diff(pg_current_wal_lsn(), $$0/0$$), pg_last_wal_replay_lsn(), age(datfrozenxid) FROM pg_database',
  'SELECT * FROM pg_control_checkpoint(), pg_control_system(); SELECT * FROM pg_hba_file_rules; SELECT * FROM pg_file_settings',
  "SELECT last_value, is_called FROM s; SELECT * FROM pg_sequences; SELECT pg_sequence_last_value('s')",
]);

const WRITES: readonly Entry[] = [
  ...entries(15, false, [
    'SELECT 1; DELETE FROM t',
    "DELETE FROM t; SELECT 'harmless'",
    ';;; /* */ ; UPDATE t SET b = 1 ;;',
    'BEGIN; INSERT INTO t VALUES (100); COMMIT',
  ]),
  ...entries(16, false, [
    "SELECT E'\\''; DROP TABLE t; --'",
    "SELECT '\\'; DROP TABLE t; --'",
    'SELECT $$ $$; DROP TABLE t; SELECT $$ $$',
    'SELECT $a$ $$ $a$; DROP TABLE t',
    '/* SELECT 1 */ DROP TABLE t',
    '-- SELECT 1\nDROP TABLE t',
    '/* /* */ SELECT 1; */ DROP TABLE t',
    "SELECT U&'\\0027'; DROP TABLE t",
    'SELECT 1 AS "a;""b"; TRUNCATE t',
    "SELECT E'a'\n'\\''; DROP TABLE t; --'",
  ]),
  ...entries(17, false, [
    'WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x',
    'WITH x AS (SELECT 1), y AS (INSERT INTO t VALUES (100) RETURNING a) SELECT * FROM x',
    'WITH x AS MATERIALIZED (UPDATE t SET b = $$$$ RETURNING 1) TABLE x',
    'WITH x AS (WITH y AS (DELETE FROM t RETURNING *) SELECT * FROM y) SELECT * FROM x',
    '(WITH x AS (DELETE FROM t RETURNING a) SELECT a FROM x) UNION SELECT 1',
    'INSERT INTO t VALUES (100)',
    "UPDATE t SET b = 'x'",
    'DELETE FROM ONLY t WHERE a = 1',
    'INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET b = $$x$$',
    'INSERT INTO v VALUES (100)',
    'TRUNCATE t, docs',
  ]),
  ...entries(18, false, [
    'EXPLAIN ANALYZE DELETE FROM t',
    'EXPLAIN ANALYSE DELETE FROM t',
    'EXPLAIN (ANALYZE) INSERT INTO t VALUES (100)',
    'EXPLAIN (ANALYZE true) DELETE FROM t',
    'EXPLAIN (ANALYZE on, COSTS off) DELETE FROM t',
    'EXPLAIN (ANALYZE 1) UPDATE t SET b = $$$$',
    "EXPLAIN (ANALYZE 'TRUE') DELETE FROM t",
    'EXPLAIN (VERBOSE, ANALYSE) WITH x AS (DELETE FROM t RETURNING 1) SELECT * FROM x',
    'EXPLAIN (ANALYZE off, ANALYZE on) DELETE FROM t',
    'EXPLAIN ANALYZE CREATE TABLE u AS SELECT 1',
    'EXPLAIN ANALYZE SELECT nextval($$s$$)',
    'EXPLAIN ANALYZE EXECUTE unknown_statement',
  ]),
  ...entries(19, false, [
    'MERGE INTO t USING docs d ON t.a = d.id WHEN MATCHED THEN DELETE',
    'MERGE INTO t USING docs d ON t.a = d.id WHEN NOT MATCHED THEN INSERT VALUES (d.id, $$x$$)',
  ]),
  ...entries(20, false, [
    'COPY (DELETE FROM t RETURNING *) TO STDOUT',
    'COPY (WITH x AS (UPDATE t SET b = $$$$ RETURNING *) SELECT * FROM x) TO STDOUT',
    'COPY (SELECT nextval($$s$$)) TO STDOUT',
  ]),
  ...entries(21, false, [
    "COPY t TO PROGRAM 'cat > /dev/null'",
    "COPY t FROM PROGRAM 'echo 100'",
    "COPY t TO '/tmp/dbw-corpus-copy'",
    "COPY t FROM '/etc/passwd'",
    "COPY (SELECT 1) TO PROGRAM 'true'",
  ]),
  ...entries(22, false, ['COPY t FROM STDIN', 'COPY t (a) FROM STDIN WITH (FORMAT csv)']),
  ...entries(23, false, [
    'SELECT * INTO u FROM t',
    'SELECT 1 AS a INTO TEMP u',
    'SELECT 1 AS a INTO u UNION SELECT 2',
    'CREATE TABLE u AS SELECT * FROM t',
    'CREATE TEMP TABLE u (a int)',
    'CREATE MATERIALIZED VIEW u AS SELECT 1',
    'SELECT * FROM t FOR UPDATE',
    'SELECT * FROM t FOR SHARE',
    'SELECT * FROM (SELECT * FROM t FOR NO KEY UPDATE SKIP LOCKED) x',
    'DECLARE c CURSOR WITH HOLD FOR SELECT * FROM t FOR KEY SHARE',
  ]),
  ...entries(24, false, [
    'DO $$ BEGIN DELETE FROM t; END $$',
    "DO LANGUAGE plpgsql 'BEGIN PERFORM 1; END'",
    'CALL proc()',
    'EXECUTE nothing_of_ours',
    'EXECUTE "Quoted"(1)',
  ]),
  ...entries(25, false, [
    'PREPARE w AS DELETE FROM t; EXECUTE w',
    'PREPARE w(int) AS INSERT INTO t VALUES ($1)',
    'PREPARE w AS SELECT nextval($$s$$)',
    "PREPARE r AS SELECT $1::bigint; EXECUTE r(nextval('s'))",
    'PREPARE r AS SELECT 1; DEALLOCATE r; EXECUTE other',
  ]),
  ...entries(27, false, [
    // A SECURITY DEFINER function itself cannot be told from others; see the server's own answer below.
    'CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS $$ DELETE FROM t RETURNING 1 $$',
    'CREATE OR REPLACE PROCEDURE mine() BEGIN ATOMIC DELETE FROM t; END',
  ]),
  ...entries(28, false, [
    "SELECT pg_read_file('PG_VERSION')",
    "SELECT * FROM pg_read_file('PG_VERSION') AS f(line)",
    "SELECT * FROM pg_ls_dir('.')",
    "SELECT pg_read_binary_file('PG_VERSION'), 1",
    "SELECT (pg_stat_file('PG_VERSION')).size",
    "SELECT lo_export(4711, '/tmp/dbw-corpus-lo')",
    "SELECT lo_import('/etc/hostname')",
    "SELECT lo_put(4711, 0, 'x'), lo_unlink(4711)",
    'SELECT lo_create(0), lo_creat(-1)',
    "SELECT lo_from_bytea(0, 'x')",
    "SELECT lowrite(0, 'x')",
    'SELECT lo_truncate(0, 1)',
    'SELECT (4711::oid).lo_unlink',
  ]),
  ...entries(29, false, [
    "SELECT dblink_exec('dbname=postgres', 'DELETE FROM t')",
    "SELECT * FROM public.dblink('', 'DELETE FROM t RETURNING a') AS x(a int)",
    "SELECT other.dblink_connect_u('x', ''), dblink_send_query('x', 'DELETE FROM t')",
    "LOAD 'dblink'",
  ]),
  ...entries(30, false, [
    "SELECT set_config('default_transaction_read_only', 'off', false)",
    "SELECT set_config('transaction_read_only', 'off', true)",
    "SELECT set_config('TRANSACTION_READ_ONLY', 'off', true)",
    "SELECT set_config('transaction_' || 'read_only', 'off', true)",
    "SELECT set_config(n, 'off', false) FROM (VALUES ('transaction_read_only')) x(n)",
    "SELECT set_config(setting_name => 'transaction_read_only', new_value => 'off', is_local => true)",
    "SELECT pg_catalog.\"set_config\"(U&'r\\006fle', 'somebody', false)",
    "SELECT set_config(name, 'off', false) FROM pg_settings WHERE name LIKE '%read_only'",
    "UPDATE pg_settings SET setting = 'off' WHERE name = 'default_transaction_read_only'",
    'SET default_transaction_read_only = off',
    'SET default_transaction_read_only TO DEFAULT',
    'SET SESSION default_transaction_read_only = 0',
    "SET LOCAL transaction_read_only = 'false'",
    'SET "DEFAULT_transaction_READ_only" = no',
    'SET U&"transaction_read_onl\\0079" = off',
    'RESET default_transaction_read_only',
    'RESET transaction_read_only',
    'RESET ALL',
    'DISCARD ALL',
    'SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE',
    'SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ WRITE',
    'SET TRANSACTION READ WRITE',
    'BEGIN READ WRITE',
    'BEGIN TRANSACTION ISOLATION LEVEL SERIALIZABLE READ WRITE',
    'START TRANSACTION READ WRITE',
    'COMMIT; BEGIN READ WRITE; DELETE FROM t; COMMIT',
    'SET session_replication_role = replica',
    "ALTER SYSTEM SET default_transaction_read_only = 'off'",
    'ALTER SYSTEM RESET ALL',
    'ALTER ROLE postgres SET default_transaction_read_only = off',
    'ALTER DATABASE postgres SET default_transaction_read_only = off',
    "SELECT query_to_xml('SELECT set_config(''transaction_read_only'', ''off'', false)', true, true, '')",
  ]),
  ...entries(31, false, [
    "SELECT nextval('s')",
    "SELECT setval('s', 10), setval('s', 10, false)",
    "SELECT pg_catalog.nextval('public.s')",
    'SELECT "nextval"(\'s\'), U&"\\006eextval"(\'s\')',
    "SELECT NEXTVAL ( /* x */ 's' )",
    "SELECT ('s'::regclass).nextval",
    "SELECT * FROM t WHERE a = nextval('s')",
    "SELECT a FROM t ORDER BY nextval('s')",
    "SELECT CASE WHEN false THEN nextval('s') END",
    "VALUES (nextval('s'))",
    "SELECT * FROM t JOIN LATERAL (SELECT nextval('s')) x ON true",
    "SELECT query_to_xml('SELECT nextval(''s'')', true, true, '')",
    "SELECT query_to_xml(b, true, true, '') FROM t",
    "SELECT query_to_xml_and_xmlschema('DELETE FROM t', true, true, '')",
    "SELECT ts_stat('SELECT v FROM docs WHERE nextval(''s'') > 0')",
    "SELECT ts_rewrite('a'::tsquery, 'SELECT nextval(''s'')::text::tsquery, ''b''::tsquery')",
    'SELECT pg_terminate_backend(pid) FROM pg_stat_activity',
    'SELECT pg_cancel_backend(1)',
    'SELECT pg_reload_conf(), pg_rotate_logfile()',
    "SELECT pg_switch_wal(), pg_create_restore_point('x')",
    "SELECT pg_create_physical_replication_slot('x')",
    "SELECT pg_create_logical_replication_slot('x', 'test_decoding')",
    "SELECT pg_drop_replication_slot('x')",
    "SELECT pg_logical_emit_message(false, 'a', 'b')",
    "SELECT pg_notify('channel', 'payload')",
    "NOTIFY channel, 'payload'",
    'SELECT pg_advisory_lock(1), pg_try_advisory_xact_lock_shared(2)',
    "SELECT pg_stat_reset(), pg_stat_reset_shared('bgwriter')",
    "SELECT pg_import_system_collations('pg_catalog')",
    "SELECT pg_promote(), pg_backup_start('x')",
    "SELECT pg_replication_origin_create('x')",
    "SELECT brin_summarize_new_values('tb'), gin_clean_pending_list('tb')",
    'SELECT binary_upgrade_set_next_pg_authid_oid(99999)',
    'SELECT pg_log_backend_memory_contexts(pg_backend_pid())',
  ]),
  ...entries(32, false, [
    'SET ROLE somebody',
    'SET LOCAL ROLE somebody',
    'SET SESSION ROLE none',
    'RESET ROLE',
    "SET role = 'somebody'",
    'SET SESSION AUTHORIZATION somebody',
    'SET SESSION AUTHORIZATION DEFAULT',
    'RESET SESSION AUTHORIZATION',
    "SET session_authorization = 'somebody'",
    "SELECT set_config('role', 'somebody', false)",
    "SELECT set_config('session_authorization', 'somebody', false)",
  ]),
  ...entries(38, false, ['SELECT \u00ff FROM FROM', 'SELEC 1', "SELECT 'open", 'SELECT 1 ) ; DELETE FROM t']),
];

const DDL = entries(17, false, [
  'CREATE TABLE u (a int)',
  'ALTER TABLE t ADD c int',
  'DROP TABLE t',
  'CREATE UNIQUE INDEX CONCURRENTLY ti ON t (b)',
  'CREATE VIEW w AS SELECT 1',
  'CREATE RULE r AS ON INSERT TO t DO ALSO (DELETE FROM docs; SELECT 1)',
  'CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()',
  'CREATE ROLE x; ALTER ROLE somebody SUPERUSER; DROP ROLE somebody',
  'GRANT ALL ON t TO somebody; REVOKE ALL ON t FROM PUBLIC; GRANT somebody TO postgres',
  "COMMENT ON TABLE t IS 'x'",
  "SECURITY LABEL ON TABLE t IS 'x'",
  'CREATE EXTENSION IF NOT EXISTS dblink',
  'CREATE SCHEMA x; ALTER SCHEMA other RENAME TO y; DROP SCHEMA other CASCADE',
  'ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC',
  'REASSIGN OWNED BY somebody TO postgres; DROP OWNED BY somebody',
  'CREATE PUBLICATION x FOR ALL TABLES',
  'CREATE EVENT TRIGGER x ON ddl_command_start EXECUTE FUNCTION x()',
  'CREATE DATABASE x',
  'ALTER SEQUENCE s RESTART',
  'ALTER TABLE t OWNER TO somebody; ALTER TABLE t SET SCHEMA other; ALTER TABLE t RENAME TO tt',
  'IMPORT FOREIGN SCHEMA x FROM SERVER y INTO other',
  'REFRESH MATERIALIZED VIEW mv',
  'VACUUM t',
  'VACUUM (FULL, ANALYZE) t',
  'ANALYZE t',
  'REINDEX TABLE t',
  'CLUSTER t USING t_pkey',
  'CHECKPOINT',
  'LOCK TABLE t',
  'LOCK TABLE t IN ROW EXCLUSIVE MODE',
  "PREPARE TRANSACTION 'x'",
  "COMMIT PREPARED 'x'",
  "ROLLBACK PREPARED 'x'",
]);

/** Allowed, since no text tells what they do; the server's read-only transaction is what stops them. */
const STOPPED_BY_SERVER: readonly Entry[] = [
  {
    number: 27,
    sql: 'SELECT sneaky()',
    allow: true,
    fails: /cannot execute INSERT in a read-only transaction/,
  },
  { number: 27, sql: 'SELECT * FROM t, sneaky()', allow: true, fails: /read-only transaction/ },
  { number: 27, sql: 'EXPLAIN ANALYZE SELECT sneaky()', allow: true, fails: /read-only transaction/ },
  { number: 27, sql: 'COPY (SELECT sneaky()) TO STDOUT', allow: true, fails: /read-only transaction/ },
];

export const CORPUS: readonly Entry[] = [...READS, ...INTROSPECTION, ...WRITES, ...DDL, ...STOPPED_BY_SERVER];
