EXPLAIN (COSTS OFF) SELECT * FROM shop.customers WHERE id = 1;

EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF) SELECT 1;

EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF, FORMAT JSON) DELETE FROM scratch WHERE k = 'explained';

EXPLAIN (COSTS OFF, FORMAT YAML) VALUES (1);

VACUUM;

VACUUM (ANALYZE) shop.customers;

VACUUM FULL scratch;

ANALYZE;

CLUSTER shop.orders USING orders_pkey;

CHECKPOINT;

BEGIN; VACUUM;

ROLLBACK;

LISTEN news;

NOTIFY news;

NOTIFY news, 'with a payload: ü';

SELECT pg_notify('news', 'from a function');

BEGIN; NOTIFY news, 'in a transaction'; NOTIFY news, 'in a transaction'; SELECT 'before the commit'; COMMIT;

BEGIN; NOTIFY news, 'rolled back'; ROLLBACK;

SELECT pg_listening_channels();

UNLISTEN news;

UNLISTEN *;

NOTIFY news, 'unheard';

SELECT lo_create(4200001);

SELECT lo_put(4200001, 0, 'large object'), lo_get(4200001);

BEGIN; SELECT lo_open(4200001, 393216); SELECT lowrite(0, 'WRITTEN'), lo_lseek(0, 0, 0); SELECT loread(0, 100); SELECT lo_close(0); COMMIT;

SELECT encode(lo_get(4200001, 2, 5), 'escape');

SELECT lo_from_bytea(4200002, '\x00010203');

SELECT lo_unlink(4200001), lo_unlink(4200002);

SELECT pg_advisory_lock(1), pg_try_advisory_lock(2), pg_advisory_unlock(1), pg_advisory_unlock(3);

SELECT pg_advisory_unlock_all();

SELECT pg_cancel_backend(pg_backend_pid());

LOCK TABLE shop.customers IN ACCESS SHARE MODE NOWAIT;

BEGIN; LOCK TABLE scratch IN EXCLUSIVE MODE; SELECT mode, granted FROM pg_locks WHERE relation = 'scratch'::regclass AND pid = pg_backend_pid(); ROLLBACK;

COPY (SELECT id, name FROM shop.customers ORDER BY id) TO '/nonexistent/file';

COPY scratch FROM '/nonexistent/file';

COPY nowhere TO STDOUT;

COPY scratch (nocolumn) FROM STDIN;

COPY scratch TO PROGRAM 'exit 3';

SELECT datname FROM pg_database WHERE datname = current_database() AND datname IS NULL;

SELECT count(*) > 100 FROM pg_catalog.pg_class;

SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = 'shop' AND table_name IN ('customers', 'orders', 'rich') ORDER BY table_name, ordinal_position;

SELECT pg_get_viewdef('shop.rich'::regclass), pg_get_functiondef('add'::regproc);

SELECT obj_description('shop.customers'::regclass), pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'total_positive';

SELECT has_table_privilege('conf_reader', 'shop.customers', 'SELECT'), has_schema_privilege('conf_reader', 'public', 'CREATE');

SELECT rolname, rolconfig FROM pg_roles WHERE rolname = 'conf_reader';

SHOW ALL_is_not_a_setting;

SHOW server_encoding;

SHOW is_superuser;

SELECT name, setting FROM pg_settings WHERE name IN ('DateStyle', 'TimeZone', 'client_encoding', 'search_path') ORDER BY name;

SELECT version() LIKE 'PostgreSQL%', current_database() IS NOT NULL, inet_server_addr();

ALTER SYSTEM SET work_mem = '5MB';

ALTER SYSTEM RESET ALL;

SELECT pg_reload_conf();

BEGIN; PREPARE TRANSACTION 'two phases';

ROLLBACK;

REASSIGN OWNED BY conf_reader TO postgres;

DROP OWNED BY conf_reader;

DROP ROLE conf_reader;

DROP SCHEMA shop RESTRICT;

DROP SCHEMA shop CASCADE;

DROP TABLE every_type, scratch, measurements, people, employees, computed CASCADE;

DROP TYPE mood, complex, floatrange CASCADE;

DROP DOMAIN positive;

DROP SEQUENCE counter; DROP FUNCTION add, shout, many, touch CASCADE; DROP PROCEDURE fill; DROP AGGREGATE product (int); DROP OPERATOR === (int, int); DROP COLLATION plain;

SELECT 'the end';
