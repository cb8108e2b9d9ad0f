INSERT INTO shop.customers (name, email, born, balance, tags, extra) VALUES ('Ann', 'ann@shop.example', '1980-05-05', 10.50, '{vip,new}', '{"level": 3}'), ('Bob', 'bob@shop.example', NULL, 2000, DEFAULT, NULL), ('Çelik', 'celik@shop.example', '1999-12-31', -5, '{}', '[1,2]');

INSERT INTO shop.customers (name) VALUES ('Dora') RETURNING id, name, balance, tags;

INSERT INTO shop.customers (name, email) VALUES ('Eve', 'ann@shop.example');

INSERT INTO shop.customers (name, email) VALUES ('Ann B.', 'ann@shop.example') ON CONFLICT (email) DO UPDATE SET name = EXCLUDED.name || ' (was ' || customers.name || ')' RETURNING *;

INSERT INTO shop.customers (name, email) VALUES ('Bob 2', 'bob@shop.example') ON CONFLICT DO NOTHING;

INSERT INTO shop.orders (customer, total) SELECT id, id * 10 FROM shop.customers ORDER BY id RETURNING id, customer, total, note;

INSERT INTO shop.orders (customer, total, note) SELECT 1, g, 'order ' || g FROM generate_series(1, 500) g;

INSERT INTO measurements SELECT '2024-01-01'::timestamptz + g * interval '1 hour', g % 3, g / 7.0 FROM generate_series(0, 300) g;

INSERT INTO measurements VALUES ('2030-01-01', 1, 1), ('1999-01-01', 2, 2);

INSERT INTO computed (a) VALUES (1), (2) RETURNING b;

INSERT INTO computed (a, b) VALUES (1, 1);

INSERT INTO employees VALUES (1, 'Zoe', 100), (2, 'Yan', 200);

UPDATE shop.customers SET balance = balance + 1 WHERE name LIKE 'A%';

UPDATE shop.customers SET balance = balance * 2, extra = jsonb_set(coalesce(extra, '{}'), '{touched}', 'true') WHERE id = 2 RETURNING id, balance, extra;

UPDATE shop.orders o SET note = c.name FROM shop.customers c WHERE c.id = o.customer AND o.id <= 3 RETURNING o.id, o.note, c.name;

UPDATE shop.customers SET balance = -1000 WHERE id = 1;

UPDATE measurements SET at = '2024-06-01' WHERE at = '2030-01-01';

UPDATE shop.customers SET nothing = 1;

UPDATE shop.customers SET name = name WHERE false;

DELETE FROM shop.orders WHERE id > 490 RETURNING id;

DELETE FROM shop.orders USING shop.customers c WHERE c.id = customer AND c.name = 'nobody';

DELETE FROM ONLY people;

WITH gone AS (DELETE FROM shop.orders WHERE id BETWEEN 400 AND 410 RETURNING *), kept AS (INSERT INTO scratch SELECT id::text, total::text FROM gone RETURNING k) SELECT count(*), min(k), max(k) FROM kept;

WITH RECURSIVE tree (n, path) AS (SELECT 1, ARRAY[1] UNION ALL SELECT n + 1, path || (n + 1) FROM tree WHERE n < 5) SELECT * FROM tree;

SELECT c.name, count(o.id) AS orders, sum(o.total) FROM shop.customers c LEFT JOIN shop.orders o ON o.customer = c.id GROUP BY c.id ORDER BY c.id;

SELECT sensor, value, rank() OVER (PARTITION BY sensor ORDER BY value DESC), lag(value) OVER w FROM measurements WHERE at < '2024-01-01 06:00Z' WINDOW w AS (ORDER BY at) ORDER BY at;

SELECT sensor, count(*), round(avg(value)::numeric, 3) FROM measurements GROUP BY ROLLUP (sensor) ORDER BY sensor;

SELECT * FROM shop.customers c, LATERAL (SELECT total FROM shop.orders o WHERE o.customer = c.id ORDER BY total DESC LIMIT 1) t ORDER BY c.id;

SELECT DISTINCT ON (customer) customer, total FROM shop.orders ORDER BY customer, total DESC;

SELECT id FROM shop.orders ORDER BY id OFFSET 2 ROWS FETCH FIRST 3 ROWS WITH TIES;

SELECT name FROM shop.customers UNION ALL SELECT name FROM people EXCEPT SELECT 'Bob' ORDER BY 1;

VALUES (1, 'one'), (2, 'two'), (NULL, NULL);

SELECT;

SELECT FROM generate_series(1, 3);

SELECT * FROM shop.customers WHERE false;

SELECT add(1, 2), add(5), shout('hey'), product(x) FROM (VALUES (2), (3), (4)) v (x);

SELECT * FROM many(5);

SELECT * FROM shout('again');

SELECT many(3), generate_series(1, 2);

SELECT 1 === 1, 1 OPERATOR(pg_catalog.+) 2;

SELECT /* a comment /* nested */ */ 1 -- and another
  + 1;

/* only a comment */

;

SELECT 'dollar', $$ quote ' inside $$, $tag$ $$ nested $$ $tag$;

SELECT 1; SELECT 2 AS two; SELECT 'three';

INSERT INTO scratch VALUES ('m1', '1'); SELECT count(*) FROM scratch WHERE k = 'm1'; DELETE FROM scratch WHERE k = 'm1';

INSERT INTO scratch VALUES ('m2', '2'); SELECT 1/0; INSERT INTO scratch VALUES ('m3', '3');

SELECT count(*) FROM scratch WHERE k IN ('m2', 'm3');

SELECT k FROM scratch FOR UPDATE SKIP LOCKED;

SELECT xmlagg(xmlelement(name k, k) ORDER BY k) FROM scratch;

SELECT json_agg(c ORDER BY id) FROM (SELECT id, name FROM shop.customers) c;

SELECT string_agg(name, '; ' ORDER BY name DESC) FILTER (WHERE balance > 0) FROM shop.customers;

SELECT repeat('x', 100000) AS wide, length(repeat('é', 50000));

SELECT g, repeat(g::text, 10) FROM generate_series(1, 2000) g;

SELECT array_agg(g) FROM generate_series(1, 5000) g;

CALL fill(5);

SELECT count(*) FROM scratch WHERE k LIKE 'p%';

TRUNCATE scratch, temp_things RESTART IDENTITY;

DELETE FROM scratch WHERE k = 'keep';

MERGE INTO shop.customers c USING (VALUES (1, 'merged'), (99, 'new')) v (id, name) ON v.id = c.id WHEN MATCHED THEN UPDATE SET name = v.name WHEN NOT MATCHED THEN INSERT (name) VALUES (v.name);

SELECT id, name FROM shop.customers ORDER BY id;
