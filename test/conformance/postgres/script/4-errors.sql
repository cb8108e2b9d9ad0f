SELEC 1;

SELECT * FROM nowhere;

SELECT nocolumn FROM shop.customers;

SELECT nofunction(1);

SELECT 1/0;

SELECT 'abc'::int;

SELECT '2024-13-45'::date;

SELECT 99999999999999999999::bigint;

SELECT 32768::smallint;

SELECT 'x' || ;

SELECT 1 + 'a';

SELECT * FROM shop.customers WHERE id = ANY ('{1,x}');

INSERT INTO shop.customers (name) VALUES (NULL);

INSERT INTO shop.orders (customer) VALUES (12345);

INSERT INTO shop.customers (id, name) VALUES (1, 'x');

INSERT INTO every_type (v) VALUES ('a text longer than twenty characters');

INSERT INTO every_type (e) VALUES ('angry');

INSERT INTO every_type (dom) VALUES (-1);

INSERT INTO every_type (i2, i4) VALUES (1);

UPDATE shop.rich SET balance = 1 WHERE id = 2;

SELECT (SELECT id FROM shop.customers);

SELECT id, count(*) FROM shop.customers;

SELECT sum(count(*)) FROM shop.customers;

SELECT 'a'::uuid;

SELECT '{bad json'::jsonb;

SELECT '(1,2'::point;

SELECT B'102';

SELECT '\xzz'::bytea;

SELECT ''::inet;

SELECT int4range(5, 1);

SELECT array[1, 'b'];

SELECT ('{1,2}'::int[])['x'];

SELECT substring('x' FROM 1 FOR -1);

SELECT 'x' ~ '(';

SELECT 'x' LIKE 'y\' ESCAPE '\';

SELECT to_date('2024', 'YYYY-XX');

SELECT convert_from('\xff', 'UTF8');

SELECT chr(0);

SELECT sqrt(-1);

SELECT ln(0);

SELECT power(0, -1);

SELECT nextval('shop.customers');

SELECT setval('counter', 1000);

SELECT currval('every_type_id_seq'::text || '_missing');

SELECT pg_read_file('/nonexistent/file');

SELECT lo_get(987654321);

SELECT current_setting('no.such_setting');

SET no_such_setting = 1;

SET work_mem = 'much';

SET TRANSACTION ISOLATION LEVEL SERIALIZABLE;

SELECT * FROM generate_series(1, 3) AS g (a, b);

CREATE FUNCTION bad() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN 1 END $$;

DO $$ BEGIN RAISE EXCEPTION 'custom %', 42 USING ERRCODE = 'ZZ001', DETAIL = 'the detail', HINT = 'the hint', COLUMN = 'c', CONSTRAINT = 'k', DATATYPE = 'd', TABLE = 't', SCHEMA = 's'; END $$;

DO $$ BEGIN RAISE division_by_zero; END $$;

DO $$ BEGIN PERFORM 1/0; EXCEPTION WHEN division_by_zero THEN RAISE WARNING 'caught %', SQLERRM; END $$;

DO $$ BEGIN RAISE DEBUG 'd'; RAISE LOG 'l'; RAISE INFO 'i'; RAISE NOTICE 'n % %', 1, 'ü' USING HINT = 'h'; RAISE WARNING 'w'; END $$;

DO $$ DECLARE r record; BEGIN SELECT * INTO STRICT r FROM shop.customers; END $$;

DO $$ BEGIN ASSERT 1 = 2, 'never'; END $$;

DO LANGUAGE nolanguage 'x';

CALL add(1, 2);

SELECT fill(1);

CREATE ROLE postgres;

CREATE ROLE pg_reserved;

GRANT nobody_here TO conf_reader;

CREATE DATABASE postgres;

DROP DATABASE no_such_database;

LOCK TABLE shop.customers;

SAVEPOINT outside;

ROLLBACK TO SAVEPOINT outside;

FETCH FROM no_cursor;

DEALLOCATE nothing_prepared;

EXECUTE nothing_prepared;

COMMIT;

ROLLBACK;

VACUUM no_such_table;

ANALYZE shop.customers (nocolumn);

EXPLAIN SELECT nocolumn;

LOAD 'no_such_library';

SELECT 'unterminated;

SELECT "unterminated;

SELECT $1;

SELECT $$unterminated;

BEGIN; SELECT 1/0; SELECT 1; COMMIT;

SELECT 'after the errors';
