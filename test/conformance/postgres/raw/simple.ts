/** The simple query protocol. */
import { message as m, RawClient } from '../raw-client.ts';
import { exchange, query, type Scenario, sequence } from './scenario.ts';

export const simple: readonly Scenario[] = [
  { name: 'one statement', run: query('SELECT 1 AS one') },
  { name: 'several statements', run: query("SELECT 1; SELECT 'a', NULL; SELECT FROM generate_series(1, 2)") },
  { name: 'an empty query', run: sequence(query(''), query(' ; ; '), query('-- only a comment')) },
  {
    name: 'an error ends the rest of the query',
    run: sequence(
      query('CREATE TABLE z (n int); INSERT INTO z VALUES (1); SELECT 1/0; SELECT 2'),
      query('SELECT * FROM z'),
    ),
  },
  {
    name: 'transactions inside one query',
    run: sequence(
      query(
        "CREATE TABLE tq (n int); BEGIN; INSERT INTO tq VALUES (1); COMMIT; INSERT INTO tq VALUES (2); SELECT 'x'::int",
      ),
      query('SELECT * FROM tq'),
      query('BEGIN; INSERT INTO tq VALUES (3); SELECT nothing'),
      query('SELECT 1'),
      query('COMMIT'),
      query('DROP TABLE tq'),
    ),
  },
  { name: 'a NUL inside the text', run: query(Buffer.from('SELECT 1\0 SELECT 2')) },
  { name: 'a long text', run: query(`SELECT '${'long '.repeat(300_000)}'`) },
  { name: 'one very wide row', run: query("SELECT repeat('w', 20000000)") },
  { name: 'many rows', run: query('SELECT g, md5(g::text) FROM generate_series(1, 50000) g') },
  { name: 'many columns', run: query(`SELECT ${Array.from({ length: 1600 }, (_, i) => i).join(', ')}`) },
  { name: 'a thousand statements in one query', run: query('SELECT 1;'.repeat(1000)) },
  {
    name: 'queries sent without waiting',
    run: exchange(...Array.from({ length: 200 }, (_, i) => m.query(`SELECT ${i} / ${i % 20}`))),
  },
  {
    name: 'notices at every level, in order with rows',
    run: sequence(
      query(
        "CREATE FUNCTION noisy(i int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'row %', i; RETURN i; END $$",
      ),
      query('SELECT noisy(g) FROM generate_series(1, 5) g'),
      query("SET client_min_messages = 'debug2'; DO $$ BEGIN RAISE DEBUG 'x'; END $$"),
      query('RESET client_min_messages; DROP FUNCTION noisy'),
    ),
  },
  {
    name: 'parameter reports',
    run: sequence(
      query("SET DateStyle = 'SQL, DMY'; SET TimeZone = 'Asia/Tokyo'; SET client_encoding = 'LATIN1'"),
      query('SET LOCAL search_path = pg_catalog'),
      query("BEGIN; SET LOCAL TimeZone = 'Europe/Berlin'; SELECT 1; ROLLBACK"),
      query('SET default_transaction_read_only = on'),
      query('RESET ALL'),
    ),
  },
  {
    name: 'encodings',
    run: sequence(
      query("SELECT 'Grüße 🙂'"),
      query("SET client_encoding = 'LATIN1'"),
      query(Buffer.from("SELECT 'Gr\xfc\xdfe', U&'\\0416'", 'latin1')),
      query(Buffer.from("SELECT 'Gr\xfc\xdfe'", 'latin1')),
      query("SET client_encoding = 'SJIS'"),
      query(Buffer.from("SELECT '\x83\x5c'", 'latin1')),
      query("SET client_encoding = 'SQL_ASCII'"),
      query(Buffer.from("SELECT '\xc3\xa9'", 'latin1')),
      query("SET client_encoding = 'UTF8'"),
      query(Buffer.from("SELECT '\xff\xfe'", 'latin1')),
      query(Buffer.from("SELECT '\xc3'", 'latin1')),
    ),
  },
  {
    name: 'notifications to oneself',
    run: sequence(query('LISTEN a; LISTEN "Ü"'), query(`NOTIFY a, 'one'; NOTIFY "Ü"`), query('UNLISTEN *')),
  },
  {
    name: 'a notification from another session',
    run: async (client, target) => {
      await query('LISTEN shared')(client, target);
      const other = await RawClient.connect(target);
      await query("NOTIFY shared, 'from afar'")(other, target);
      await client.until('A');
      await other.end();
      await query('SELECT 1')(client, target);
    },
  },
];
