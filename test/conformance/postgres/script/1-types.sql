SELECT 1::smallint, (-32768)::smallint, 32767::smallint;

SELECT 1::integer AS one, (-2147483648)::integer AS least, 2147483647 AS most;

SELECT 9223372036854775807::bigint, (-9223372036854775808)::bigint;

SELECT 0.1::numeric, '-123456789012345678901234567890.123456789'::numeric, 'NaN'::numeric, 1e-20::numeric, 12345678.90::numeric(12,2);

SELECT 1.5::real, '-Infinity'::real, 'NaN'::real, 3.4028235e38::real, 1e-45::real;

SELECT 0.1::double precision, 'Infinity'::float8, 1.7976931348623157e308::float8, 5e-324::float8;

SELECT true, false, NULL::boolean, 't'::bool, 'off'::bool;

SELECT 'text'::text, ''::text, 'it''s'::text, E'tab\tnew\nline\\'::text, U&'\00e4\+01F600'::text;

SELECT 'abc'::char(5) AS padded, 'abc'::varchar(2) AS cut, 'n'::"char", 'name'::name;

SELECT 'Grüße, 世界, עולם, 🙂'::text AS unicode, length('🙂'), octet_length('🙂');

SELECT '\xdeadbeef'::bytea, ''::bytea, E'\\000\\377'::bytea, decode('AAEC', 'base64');

SELECT DATE '2024-02-29', DATE '0001-01-01', DATE '0044-03-15 BC', 'infinity'::date, '5874897-12-31'::date;

SELECT TIME '23:59:59.999999', TIME '24:00:00', TIMETZ '12:00:00+05:30';

SELECT TIMESTAMP '2024-02-29 12:34:56.789012', TIMESTAMP '-infinity', TIMESTAMP '294276-12-31 23:59:59.999999';

SELECT TIMESTAMPTZ '2024-06-01 12:00:00+02', TIMESTAMPTZ '1970-01-01 00:00:00Z', 'infinity'::timestamptz;

SELECT INTERVAL '1 year 2 months 3 days 04:05:06.789', INTERVAL '-1 day', INTERVAL '0', INTERVAL 'P1Y2M3DT4H5M6S';

SELECT 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid, '00000000-0000-0000-0000-000000000000'::uuid;

SELECT '{"a": [1, 2, {"b": null}], "ü": "🙂"}'::json, '{"b": 1, "a": 1.10}'::jsonb, 'null'::jsonb, '"x"'::json;

SELECT '192.168.0.1/24'::inet, '::1'::inet, '10.0.0.0/8'::cidr, '08:00:2b:01:02:03'::macaddr, '08:00:2b:01:02:03:04:05'::macaddr8;

SELECT '(1,2)'::point, '[(0,0),(1,1)]'::lseg, '((0,0),(1,1))'::box, '<(0,0),5>'::circle, '((0,0),(1,1),(1,0))'::polygon, '[(0,0),(1,1)]'::path, '{1,2,3}'::line;

SELECT B'1010'::bit(4), B'10101'::varbit, ''::varbit;

SELECT '$1,234.56'::money, (-5)::money;

SELECT 'fat & (rat | cat)'::tsquery, to_tsvector('simple', 'a fat cat sat'), 'a:1A b:2'::tsvector;

SELECT '<a b="c">d</a>'::xml, xmlelement(name foo, xmlattributes(1 AS bar), 'x');

SELECT ARRAY[1, 2, NULL], '{}'::int[], ARRAY[['a', 'b'], ['c', NULL]], '[2:3]={x,y}'::text[], ARRAY['a,b', 'c"d', '', 'NULL'];

SELECT int4range(1, 10), 'empty'::int4range, numrange(NULL, 1.5, '(]'), tstzrange('2024-01-01 00:00Z', NULL), daterange('2024-01-01', '2024-12-31', '[]');

SELECT ROW(1, 'two', NULL), ROW(ROW(1), ARRAY[2]), (SELECT t FROM (VALUES (1, 'x')) AS t (a, b));

SELECT 'pg_class'::regclass, 'int4'::regtype, 'now'::regproc, 'postgres'::regrole, 'pg_catalog'::regnamespace, '+(integer,integer)'::regoperator;

SELECT 26::oid, '(0,1)'::tid, '0/16B3748'::pg_lsn, '10'::xid, '10:20:10,14,15'::txid_snapshot;

SELECT NULL, 'unknown literal', pg_typeof('x'), pg_typeof(NULL);

SELECT 1 AS a, 2 AS a, 3 AS "A", 4 AS "with space", 5 AS "", 6 AS "ü";

SELECT jsonb_path_query('{"a":[1,2,3]}', '$.a[*] ? (@ > 1)');

CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');

SELECT 'happy'::mood, 'sad'::mood < 'ok'::mood, enum_range(NULL::mood);

CREATE DOMAIN positive AS integer CHECK (VALUE > 0);

SELECT 5::positive, ARRAY[1, 2]::positive[];

CREATE TYPE complex AS (re double precision, im double precision);

SELECT ROW(1, 2)::complex, (ROW(1, 2)::complex).im, ARRAY[ROW(1, 2)::complex];

CREATE TYPE floatrange AS RANGE (subtype = float8);

SELECT floatrange(1.5, 2.5), floatrange(1, 2) && floatrange(1.5, 3);

CREATE TABLE every_type (id serial PRIMARY KEY, i2 smallint, i4 integer, i8 bigint, n numeric(20,6), f4 real, f8 double precision, b boolean, t text, v varchar(20), c char(6), by bytea, d date, ti time, tz timetz, ts timestamp, tstz timestamptz, iv interval, u uuid, j json, jb jsonb, ip inet, net cidr, mac macaddr, p point, bits varbit, m money, tv tsvector, x xml, ia integer[], ta text[][], r int4range, e mood, dom positive, comp complex, o oid);

INSERT INTO every_type (i2, i4, i8, n, f4, f8, b, t, v, c, by, d, ti, tz, ts, tstz, iv, u, j, jb, ip, net, mac, p, bits, m, tv, x, ia, ta, r, e, dom, comp, o) VALUES (1, 2, 3, 4.5, 5.5, 6.5, true, 'text', 'varchar', 'char', '\x00ff', '2024-01-02', '03:04:05', '06:07:08+09', '2024-01-02 03:04:05.678', '2024-01-02 03:04:05.678+00', '1 day', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"j":1}', '{"jb":[1]}', '10.1.2.3', '10.1.0.0/16', '08:00:2b:01:02:03', '(1,2)', B'101', 12.34, 'a b', '<x/>', '{1,2}', '{{a,b},{c,d}}', '[1,5)', 'ok', 7, ROW(1, 2), 42);

INSERT INTO every_type DEFAULT VALUES;

SELECT * FROM every_type ORDER BY id;

SELECT every_type FROM every_type ORDER BY id;

TABLE every_type;
