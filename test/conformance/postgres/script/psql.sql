\set ON_ERROR_STOP 0
\pset pager off
CREATE TABLE things (id int PRIMARY KEY, name text, price numeric(8,2), made date);
COPY things FROM STDIN;
1	one	1.50	2024-01-01
2	two	\N	2024-02-29
3	tab\there	3.25	\N
\.
COPY things (id, name) FROM STDIN WITH (FORMAT csv, HEADER true);
id,name
4,"quoted, with ""quotes"""
5,Grüße 🙂
\.
COPY things FROM STDIN;
6	bad	number	2024-01-01
\.
COPY things FROM STDIN (FORMAT csv);
1,duplicate,1,2024-01-01
\.
COPY things TO STDOUT;
COPY things TO STDOUT WITH (FORMAT csv, HEADER true, FORCE_QUOTE *);
COPY (SELECT id, name FROM things ORDER BY id DESC) TO STDOUT (DELIMITER '|', NULL 'nothing');
COPY things TO STDOUT (FORMAT binary);
\copy (SELECT g, repeat('z', g % 50) FROM generate_series(1, 3000) g) TO '/tmp/dbw-conformance-copy.txt'
CREATE TABLE copied (n int, z text);
\copy copied FROM '/tmp/dbw-conformance-copy.txt'
SELECT count(*), sum(n), sum(length(z)) FROM copied;
\copy copied TO '/tmp/dbw-conformance-copy.bin' WITH (FORMAT binary)
\copy copied FROM '/tmp/dbw-conformance-copy.bin' WITH (FORMAT binary)
SELECT count(*) FROM copied;
\copy missing FROM '/tmp/dbw-conformance-copy.txt'
SELECT 1 \; SELECT 2 \; SELECT 3;
SELECT 'multi' \; INSERT INTO things VALUES (1) \; SELECT 'never';
SELECT 1 AS a, 'x' AS b \gdesc
SELECT 42 AS answer, 'text' AS word \gset
\echo :answer :word
SELECT * FROM things ORDER BY id \gx
SELECT id % 2 AS r, made IS NULL AS c, count(*) FROM things GROUP BY 1, 2 ORDER BY 1, 2 \crosstabview
SELECT format('SELECT %s AS generated', g) FROM generate_series(1, 3) g \gexec
\d things
\d+ things
\dt
\di
\df pg_catalog.abs
\dT+ int4
\dn
\l postgres
\du postgres
\z things
\sf pg_catalog.abs(integer)
\set FETCH_COUNT 7
SELECT g, g * g FROM generate_series(1, 30) g;
\set FETCH_COUNT 0
\set AUTOCOMMIT off
INSERT INTO things VALUES (100, 'uncommitted');
SELECT count(*) FROM things;
ROLLBACK;
SELECT count(*) FROM things;
COMMIT;
\set AUTOCOMMIT on
\set ON_ERROR_ROLLBACK on
BEGIN;
INSERT INTO things VALUES (101, 'kept');
INSERT INTO things VALUES (101, 'duplicate');
INSERT INTO things VALUES (102, 'kept too');
COMMIT;
SELECT id, name FROM things WHERE id > 100 ORDER BY id;
\lo_import '/tmp/dbw-conformance-copy.txt' 'a comment'
\echo :LASTOID
\lo_list
\lo_export :LASTOID '/tmp/dbw-conformance-export.txt'
\! cmp /tmp/dbw-conformance-copy.txt /tmp/dbw-conformance-export.txt && echo same
\lo_unlink :LASTOID
\encoding LATIN1
SELECT name, length(name) FROM things WHERE id = 1;
SELECT 'no such character: 🙂' WHERE false;
SELECT name FROM things WHERE id = 5;
\encoding UTF8
\encoding
LISTEN psql_channel;
NOTIFY psql_channel;
SELECT 1/0;
\errverbose
DO $$ BEGIN RAISE NOTICE 'from psql'; END $$;
\if :{?answer}
SELECT 'the variable is set';
\else
SELECT 'never';
\endif
\x on
SELECT 1 AS one, NULL AS nothing;
\x off
\t on
SELECT 'tuples only';
\t off
\pset null '(null)'
SELECT NULL;
SELECT repeat('0123456789', 1000) AS long;
DROP TABLE things, copied;
\echo the end
