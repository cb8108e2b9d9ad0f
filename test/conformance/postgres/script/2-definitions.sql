CREATE SCHEMA shop;

CREATE SCHEMA IF NOT EXISTS shop;

CREATE TABLE shop.customers (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, email text UNIQUE, born date, balance numeric(12,2) DEFAULT 0 CHECK (balance >= -100), tags text[] DEFAULT '{}', extra jsonb);

CREATE TABLE shop.orders (id bigserial PRIMARY KEY, customer integer NOT NULL REFERENCES shop.customers ON DELETE CASCADE DEFERRABLE, placed timestamptz NOT NULL DEFAULT '2024-01-01', total numeric(12,2), note text);

CREATE TABLE shop.customers (id integer);

CREATE TABLE IF NOT EXISTS shop.customers (id integer);

CREATE UNLOGGED TABLE scratch (k text, v text);

CREATE TEMPORARY TABLE temp_things (a int, b text) ON COMMIT PRESERVE ROWS;

CREATE TABLE measurements (at timestamptz NOT NULL, sensor integer, value float8) PARTITION BY RANGE (at);

CREATE TABLE measurements_2024 PARTITION OF measurements FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');

CREATE TABLE measurements_rest PARTITION OF measurements DEFAULT;

CREATE TABLE people (id int PRIMARY KEY, name text); CREATE TABLE employees (salary int) INHERITS (people);

CREATE TABLE computed (a int, b int GENERATED ALWAYS AS (a * 2) STORED);

CREATE INDEX orders_customer ON shop.orders (customer);

CREATE UNIQUE INDEX customers_name ON shop.customers (lower(name)) WHERE balance > 0;

CREATE INDEX CONCURRENTLY orders_placed ON shop.orders USING brin (placed);

CREATE INDEX customers_extra ON shop.customers USING gin (extra jsonb_path_ops);

REINDEX TABLE shop.orders;

REINDEX INDEX CONCURRENTLY shop.orders_customer;

ALTER TABLE shop.customers ADD COLUMN phone varchar(30), ALTER COLUMN name SET STORAGE EXTERNAL;

ALTER TABLE shop.customers RENAME COLUMN phone TO telephone;

ALTER TABLE shop.customers ALTER COLUMN telephone TYPE text USING telephone || '';

ALTER TABLE shop.orders ADD CONSTRAINT total_positive CHECK (total >= 0) NOT VALID;

ALTER TABLE shop.orders VALIDATE CONSTRAINT total_positive;

ALTER TABLE missing_table ADD COLUMN x int;

ALTER TABLE IF EXISTS missing_table ADD COLUMN x int;

CREATE VIEW shop.rich AS SELECT id, name, balance FROM shop.customers WHERE balance > 1000 WITH CHECK OPTION;

CREATE OR REPLACE VIEW shop.rich AS SELECT id, name, balance FROM shop.customers WHERE balance > 500;

CREATE MATERIALIZED VIEW shop.totals AS SELECT customer, sum(total) AS total FROM shop.orders GROUP BY customer WITH NO DATA;

REFRESH MATERIALIZED VIEW shop.totals;

CREATE SEQUENCE counter START 10 INCREMENT 5 MAXVALUE 30 CYCLE CACHE 1;

SELECT nextval('counter'), nextval('counter'), currval('counter'), lastval();

ALTER SEQUENCE counter RESTART WITH 20;

CREATE FUNCTION add(a int, b int DEFAULT 1) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT a + b';

CREATE OR REPLACE FUNCTION shout(INOUT word text, OUT size int) LANGUAGE plpgsql AS $body$
BEGIN
  word := upper(word) || ';';
  size := length(word);
  RAISE NOTICE 'shouted % (%)', word, size;
END
$body$;

CREATE FUNCTION many(n int) RETURNS TABLE (i int, square int) LANGUAGE sql AS $$ SELECT g, g * g FROM generate_series(1, n) g $$;

CREATE PROCEDURE fill(rows int, INOUT done int DEFAULT 0) LANGUAGE plpgsql AS $$
BEGIN
  FOR i IN 1..rows LOOP
    INSERT INTO scratch VALUES ('p' || i, 'x');
    IF i % 2 = 0 THEN COMMIT; END IF;
    done := done + 1;
  END LOOP;
END $$;

CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.note := coalesce(NEW.note, '') || '!'; RETURN NEW; END $$;

CREATE TRIGGER touch_orders BEFORE INSERT OR UPDATE ON shop.orders FOR EACH ROW EXECUTE FUNCTION touch();

CREATE RULE keep AS ON DELETE TO scratch WHERE old.k = 'keep' DO INSTEAD NOTHING;

CREATE AGGREGATE product (int) (SFUNC = int4mul, STYPE = int, INITCOND = '1');

CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq);

CREATE CAST (complex AS text) WITH INOUT;

CREATE COLLATION plain FROM "C";

CREATE STATISTICS customer_stats (dependencies) ON name, email FROM shop.customers;

CREATE ROLE conf_reader LOGIN PASSWORD 'secret-of-the-script' CONNECTION LIMIT 5 VALID UNTIL '2099-01-01';

ALTER ROLE conf_reader WITH PASSWORD 'another-secret' NOINHERIT;

ALTER ROLE conf_reader SET work_mem = '8MB';

GRANT USAGE ON SCHEMA shop TO conf_reader;

GRANT SELECT, INSERT (name) ON shop.customers TO conf_reader WITH GRANT OPTION;

REVOKE INSERT (name) ON shop.customers FROM conf_reader;

ALTER DEFAULT PRIVILEGES IN SCHEMA shop GRANT SELECT ON TABLES TO conf_reader;

CREATE POLICY own ON shop.customers FOR SELECT TO conf_reader USING (name = current_user);

ALTER TABLE shop.customers ENABLE ROW LEVEL SECURITY;

COMMENT ON TABLE shop.customers IS 'People who buy; "quoted" and ''quoted''';

COMMENT ON COLUMN shop.customers.name IS NULL;

CREATE PUBLICATION everything FOR TABLE shop.customers;

DROP PUBLICATION everything;

CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION missing_function();

SECURITY LABEL ON TABLE shop.customers IS 'x';

CREATE EXTENSION IF NOT EXISTS plpgsql;

CREATE EXTENSION not_an_extension;

CREATE TABLESPACE nowhere LOCATION '/nonexistent';

IMPORT FOREIGN SCHEMA x FROM SERVER missing INTO shop;

CREATE TABLE shop.copy AS SELECT * FROM shop.customers WITH NO DATA;

SELECT id, name INTO shop.selected FROM shop.customers;

DROP TABLE shop.copy, shop.selected;

DROP TABLE shop.customers;

DROP TABLE IF EXISTS shop.never_was, public.never_was_either;

DROP FUNCTION missing(int);
