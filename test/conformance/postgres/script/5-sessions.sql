BEGIN;

INSERT INTO scratch VALUES ('t1', '1');

SAVEPOINT one;

INSERT INTO scratch VALUES ('t2', '2');

SAVEPOINT two;

SELECT 1/0;

SELECT 'refused in a failed transaction';

ROLLBACK TO SAVEPOINT two;

RELEASE SAVEPOINT two;

ROLLBACK TO one;

COMMIT;

SELECT * FROM scratch;

BEGIN; INSERT INTO scratch VALUES ('gone', ''); ROLLBACK;

BEGIN TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE;

INSERT INTO scratch VALUES ('no', 'no');

ROLLBACK AND CHAIN;

SHOW transaction_isolation;

COMMIT AND NO CHAIN;

START TRANSACTION READ WRITE;

SET LOCAL work_mem = '7MB';

SHOW work_mem;

END;

SHOW work_mem;

BEGIN;

BEGIN;

ABORT;

BEGIN; SET CONSTRAINTS ALL DEFERRED; INSERT INTO shop.orders (customer, total) VALUES (4711, 1); SELECT 'not checked yet';

COMMIT;

SELECT 'transaction', pg_current_xact_id_if_assigned() IS NULL, txid_current() > 0;

PREPARE by_id (int) AS SELECT id, name FROM shop.customers WHERE id = $1;

EXECUTE by_id (1);

EXECUTE by_id (2);

EXECUTE by_id ('x');

PREPARE by_id AS SELECT 1;

EXPLAIN (COSTS OFF) EXECUTE by_id (1);

SELECT name, statement, parameter_types FROM pg_prepared_statements WHERE from_sql;

DEALLOCATE by_id;

DEALLOCATE ALL;

PREPARE write AS INSERT INTO scratch VALUES ($1, $2) RETURNING k;

EXECUTE write ('prepared', 'yes');

BEGIN; DECLARE walk SCROLL CURSOR FOR SELECT g FROM generate_series(1, 10) g;

FETCH 3 FROM walk;

FETCH BACKWARD 1 FROM walk;

FETCH LAST FROM walk;

FETCH ABSOLUTE 5 FROM walk;

FETCH ALL FROM walk;

FETCH 1 FROM walk;

MOVE BACKWARD ALL IN walk;

FETCH FORWARD 2 FROM walk;

CLOSE walk;

FETCH 1 FROM walk;

ROLLBACK;

DECLARE held CURSOR WITH HOLD FOR VALUES (1), (2), (3);

FETCH 2 FROM held;

SELECT name, statement, is_holdable FROM pg_cursors WHERE name = 'held';

CLOSE ALL;

BEGIN; DECLARE c CURSOR FOR SELECT id FROM shop.customers ORDER BY id FOR UPDATE; FETCH 1 FROM c; UPDATE shop.customers SET tags = '{cursor}' WHERE CURRENT OF c; COMMIT;

BEGIN; DECLARE b BINARY CURSOR FOR SELECT 1, 'text', 2.5::float8; FETCH ALL FROM b; COMMIT;

SET search_path TO shop, public;

SHOW search_path;

SELECT count(*) FROM customers;

SET SESSION datestyle = 'German, DMY';

SELECT DATE '2024-02-29', TIMESTAMPTZ '2024-02-29 12:00Z';

SET TIME ZONE 'America/New_York';

SELECT TIMESTAMPTZ '2024-07-01 12:00Z';

SET intervalstyle = 'iso_8601';

SELECT INTERVAL '1 day 2 hours';

SET bytea_output = 'escape';

SELECT '\x0041ff'::bytea;

SET extra_float_digits = 0;

SELECT 0.1::float8 + 0.2::float8;

SET client_min_messages = 'debug1';

DO $$ BEGIN RAISE DEBUG 'now visible'; END $$;

SET client_min_messages = error;

DO $$ BEGIN RAISE WARNING 'now hidden'; END $$;

RESET client_min_messages;

SET standard_conforming_strings = off;

SELECT 'a\nb';

SET standard_conforming_strings = on;

SET application_name = 'conformance script';

SET lc_messages = 'C';

RESET ALL;

SHOW datestyle;

SELECT set_config('my.variable', 'value', false), current_setting('my.variable');

SET ROLE conf_reader;

SELECT current_user, session_user;

SELECT * FROM shop.orders;

SELECT id, name FROM shop.customers;

RESET ROLE;

SET SESSION AUTHORIZATION conf_reader;

SELECT current_user, session_user;

RESET SESSION AUTHORIZATION;

SET statement_timeout = '50ms';

SELECT pg_sleep(10);

RESET statement_timeout;

SET lock_timeout = '1s';

RESET lock_timeout;

DISCARD PLANS;

DISCARD TEMP;

DISCARD ALL;

SELECT count(*) FROM pg_prepared_statements;
