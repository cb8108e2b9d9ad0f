import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { defaultLexicalSettings } from '../dialect.ts';
import { loadPostgresDialect, type PostgresDialect } from './dialect.ts';
import { mayHoldSecret } from './secret-scan.ts';
import { oldStrings, redactText } from './testing.ts';

let dialect: PostgresDialect;
beforeAll(async () => {
  dialect = await loadPostgresDialect();
});
afterAll(() => dialect.close());

/** The secret in every case is hunter2, in some spelling; the second text is what must be left. */
const REDACTED: readonly (readonly [string, string])[] = [
  ["ALTER ROLE bob PASSWORD 'hunter2'", "ALTER ROLE bob PASSWORD '***'"],
  [
    "alter user bob with encrypted password'hunter2' valid until '2030-01-01'",
    "alter user bob with encrypted password'***' valid until '2030-01-01'",
  ],
  ["CREATE ROLE bob LOGIN PASSWORD E'hun\\'ter2' CREATEDB", "CREATE ROLE bob LOGIN PASSWORD '***' CREATEDB"],
  ["CREATE USER bob PASSWORD U&'hunter\\0032'", "CREATE USER bob PASSWORD '***'"],
  ['CREATE USER bob PASSWORD $$hunter2$$', "CREATE USER bob PASSWORD '***'"],
  ['CREATE USER bob PASSWORD $x$hunter2$x$', "CREATE USER bob PASSWORD '***'"],
  ["ALTER ROLE bob PASSWORD /* new */ 'hunter2'", "ALTER ROLE bob PASSWORD /* new */ '***'"],
  ["ALTER ROLE bob PASSWORD 'hun'\n'ter2'", "ALTER ROLE bob PASSWORD '***'"],
  [
    "ALTER USER bob PASSWORD 'SCRAM-SHA-256$4096:c2FsdA==$aGFzaA==:aGFzaA=='",
    "ALTER USER bob PASSWORD '***'",
  ],
  [
    "select 1; ALTER ROLE bob PASSWORD 'hunter2'; select 'x'",
    "select 1; ALTER ROLE bob PASSWORD '***'; select 'x'",
  ],
  [
    "CREATE USER MAPPING FOR bob SERVER s OPTIONS (user 'bob', password 'hunter2')",
    "CREATE USER MAPPING FOR bob SERVER s OPTIONS (user 'bob', password '***')",
  ],
  [
    "ALTER USER MAPPING FOR bob SERVER s OPTIONS (SET password 'hunter2', ADD \"sslpassword\" 'hunter2')",
    "ALTER USER MAPPING FOR bob SERVER s OPTIONS (SET password '***', ADD \"sslpassword\" '***')",
  ],
  [
    "CREATE SERVER s FOREIGN DATA WRAPPER w OPTIONS (host 'h', secret_access_key 'hunter2')",
    "CREATE SERVER s FOREIGN DATA WRAPPER w OPTIONS (host 'h', secret_access_key '***')",
  ],
  [
    "CREATE SUBSCRIPTION s CONNECTION 'host=h password=hunter2' PUBLICATION p",
    "CREATE SUBSCRIPTION s CONNECTION '***' PUBLICATION p",
  ],
  [
    "CREATE SUBSCRIPTION s CONNECTION 'host=h password = ''hunter2 x''' PUBLICATION p",
    "CREATE SUBSCRIPTION s CONNECTION '***' PUBLICATION p",
  ],
  ["ALTER SUBSCRIPTION s CONNECTION 'postgres://bob:hunter2@h/db'", "ALTER SUBSCRIPTION s CONNECTION '***'"],
  [
    "SELECT * FROM dblink('host=h user=bob password=hunter2', 'select 1') AS t(a int)",
    "SELECT * FROM dblink('***', 'select 1') AS t(a int)",
  ],
  ["SELECT dblink_connect('c', $$ user=bob  PASSWORD=hunter2 $$)", "SELECT dblink_connect('c', '***')"],
  [
    "ALTER SYSTEM SET primary_conninfo = 'host=h password=hunter2'",
    "ALTER SYSTEM SET primary_conninfo = '***'",
  ],
  ["SET app.api_key = 'hunter2'", "SET app.api_key = '***'"],
  ["SET app.secret.value TO 'hunter2'", "SET app.secret.value TO '***'"],
  ["SET LOCAL app.access_token TO E'hunter2'", "SET LOCAL app.access_token TO '***'"],
  ["/* x */ SET app.token = 'hunter2'", "/* x */ SET app.token = '***'"],
  [
    "SELECT set_config('app.jwt_secret', 'hunter2', true)",
    "SELECT set_config('app.jwt_secret', '***', true)",
  ],
  [
    "SELECT set_config('app.access_token', 'hunter2', true)",
    "SELECT set_config('app.access_token', '***', true)",
  ],
  [
    "SELECT pgp_sym_encrypt(data, 'hunter2') FROM t WHERE a = 'b'",
    "SELECT pgp_sym_encrypt(data, '***') FROM t WHERE a = 'b'",
  ],
  [
    "SELECT 1 FROM u WHERE name = 'bob' AND hash = crypt('hunter2', hash)",
    "SELECT 1 FROM u WHERE name = 'bob' AND hash = crypt('***', hash)",
  ],
  ["UPDATE u SET password = 'hunter2' WHERE id = 1", "UPDATE u SET password = '***' WHERE id = 1"],
  ["SELECT f(password => 'hunter2', x => 'y')", "SELECT f(password => '***', x => 'y')"],
  // SQL within SQL
  [
    "DO $$ BEGIN ALTER ROLE bob PASSWORD 'hunter2'; END $$",
    "DO $$ BEGIN ALTER ROLE bob PASSWORD '***'; END $$",
  ],
  [
    "DO $$ BEGIN EXECUTE 'ALTER ROLE bob PASSWORD ''hunter2'''; END $$",
    "DO $$ BEGIN EXECUTE 'ALTER ROLE bob PASSWORD ''***'''; END $$",
  ],
  ["DO 'BEGIN ALTER ROLE bob PASSWORD ''hunter2''; END'", "DO 'BEGIN ALTER ROLE bob PASSWORD ''***''; END'"],
  ["DO E'BEGIN ALTER ROLE bob PASSWORD \\'hunter2\\'; END'", "DO '***'"],
  [
    "DO $a$ BEGIN EXECUTE $b$ ALTER ROLE bob PASSWORD 'hunter2' $b$; END $a$",
    "DO $a$ BEGIN EXECUTE $b$ ALTER ROLE bob PASSWORD '***' $b$; END $a$",
  ],
  [
    "DO $$ BEGIN EXECUTE format('ALTER ROLE %I PASSWORD %L', 'bob', 'hunter2'); END $$",
    "DO $$ BEGIN EXECUTE format('ALTER ROLE %I PASSWORD %L', '***', '***'); END $$",
  ],
  [
    "DO $$ BEGIN EXECUTE 'ALTER ROLE bob PASSWORD ' || quote_literal('hunter2'); END $$",
    "DO $$ BEGIN EXECUTE 'ALTER ROLE bob PASSWORD ' || quote_literal('***'); END $$",
  ],
  [
    "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $$ ALTER ROLE bob PASSWORD 'hunter2' $$",
    "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $$ ALTER ROLE bob PASSWORD '***' $$",
  ],
  ["PREPARE p AS SELECT dblink('password=hunter2', $1)", "PREPARE p AS SELECT dblink('***', $1)"],
  ["SELECT 1 /* ALTER ROLE bob PASSWORD 'hunter2' */", "SELECT 1 /* ALTER ROLE bob PASSWORD '***' */"],
  ["SELECT 1 -- PASSWORD 'hunter2'", "SELECT 1 -- PASSWORD '***'"],
  // What cannot be understood
  ["ALTER ROLE bob PASWORD 'hunter2'", "ALTER ROLE bob PASWORD '***'"],
  ["/* c */ create user bob wiht 'hunter2' x $$hunter2$$", "/* c */ create user bob wiht '***' x '***'"],
  ["ALTER ROLE bob PASSWORD IS 'hunter2'", "ALTER ROLE bob PASSWORD IS '***'"],
  ["ALTER ROLE bob PASSWORD 'hunter2", "ALTER ROLE bob PASSWORD '***'"],
  ['ALTER ROLE bob PASSWORD hunter2', "ALTER ROLE bob PASSWORD '***'"],
  ['ALTER ROLE bob PASSWORD "hunter2" CREATEDB', "ALTER ROLE bob PASSWORD '***'"],
  ["ALTER ROLE bob PASSWORD = hunter2 VALID UNTIL 'infinity'", "ALTER ROLE bob PASSWORD = '***'"],
  ["selct 'a', 'password hunter2', E'hunter2'", "selct '***', '***', '***'"],
  ["ALTER ROLE bob PASSWORD 'hun'ter2' VALID UNTIL 'infinity'", "ALTER ROLE bob PASSWORD '***'"],
  ["ALTER ROLE bob PASSWORD 'a'hunter2'b'", "ALTER ROLE bob PASSWORD '***'"],
  ['ALTER ROLE bob PASSWORD$$hunter2$$', "ALTER ROLE bob '***'"],
  ["ALTER ROLE bob PASSWORD 'hunter2' 'hunter2'", "ALTER ROLE bob PASSWORD '***' '***'"],
];

const UNTOUCHED: readonly string[] = [
  'select 1',
  "select 'a' from t where b = 'c'",
  "SELECT passenger, 'x' FROM flights WHERE class = 'pass'",
  "select 'the password is wrong' as message",
  'ALTER ROLE bob PASSWORD NULL',
  "ALTER ROLE bob VALID UNTIL '2030-01-01'",
  'CREATE ROLE bob LOGIN',
  "alter table t alter column a set default 'x'",
  "create table secrets (a text default 'x')",
  "SET client_encoding = 'UTF8'",
  "SELECT set_config('search_path', 'a', false)",
  "select encode(digest('x', 'sha256'), 'hex')",
  "select 'https://example.org/path?x=y'",
  'insert into docs values (\'{"a": "scrambled"}\')',
  "DO $$ BEGIN RAISE NOTICE 'no password'; END $$",
  'PREPARE p AS SELECT $1',
  "CREATE SUBSCRIPTION s CONNECTION 'host=h user=bob' PUBLICATION p",
  "comment on column u.password is 'hash'",
];

describe('redactSecrets', () => {
  it.each(REDACTED)('%s', (text, left) => {
    expect(redactText(dialect, text)).toBe(left);
    expect(left).not.toMatch(/hun|ter2/);
  });

  it.each(UNTOUCHED)('leaves alone: %s', (text) => {
    expect(redactText(dialect, text)).toBe(text);
  });

  it('gives back a view of the text where there is nothing to hide, and never changes the text', () => {
    const bytes = Buffer.from("xx select 'a' yy ALTER ROLE b PASSWORD 'hunter2' zz");
    const before = bytes.toString();
    const plain = dialect.redactSecrets(bytes, 3, 13);
    expect(plain.redacted).toBe(false);
    expect(plain.text.buffer).toBe(bytes.buffer);
    expect(plain.text.toString()).toBe("select 'a'");
    expect(dialect.redactSecrets(bytes, 17, bytes.length - 3).text.toString()).toBe(
      "ALTER ROLE b PASSWORD '***'",
    );
    expect(bytes.toString()).toBe(before);
  });

  it('reads strings as the session does', () => {
    const text = "ALTER ROLE bob PASSWORD 'hun\\'ter2'";
    expect(redactText(dialect, text, oldStrings)).toBe("ALTER ROLE bob PASSWORD '***'");
    // Read the other way, the text has no end: all that is left of it is hidden.
    expect(redactText(dialect, text)).toBe("ALTER ROLE bob PASSWORD '***'");
  });

  it('finds literals between half characters', () => {
    const settings = { ...defaultLexicalSettings, clientEncoding: 'SJIS' };
    const name = Buffer.from([0x95, 0x5c]);
    const text = Buffer.concat([
      Buffer.from('ALTER ROLE "'),
      name,
      Buffer.from('" PASSWORD E\''),
      name,
      Buffer.from("'"),
    ]);
    const redaction = dialect.redactSecrets(text, 0, text.length, settings);
    expect(redaction.text).toEqual(
      Buffer.concat([Buffer.from('ALTER ROLE "'), name, Buffer.from("\" PASSWORD '***'")]),
    );
  });

  it('keeps texts too long to be parsed, but for their secrets', () => {
    const rows = Array.from({ length: 2000 }, (_, i) => `('row ${i}')`).join(',');
    expect(redactText(dialect, `insert into t values ${rows}, ('pass')`)).toContain("'row 1999'");
    const role = `ALTER ROLE bob PASSWORD 'hunter2'; insert into t values ${rows}`;
    expect(redactText(dialect, role)).toBe(role.replace('hunter2', '***'));
  });

  it('hides the password wherever it is put', () => {
    // A quoting of a secret, in a statement, in a layer of SQL.
    const secret = fc.stringMatching(/^[a-zA-Z0-9 ]{4,12}$/).map((text) => `q${text}q7`);
    const quoted = fc.constantFrom(
      (s: string) => `'${s}'`,
      (s: string) => `E'${s}'`,
      (s: string) => `$$${s}$$`,
      (s: string) => `$tag$${s}$tag$`,
      (s: string) => `U&'${s}'`,
    );
    const statement = fc.constantFrom(
      (q: string) => `ALTER ROLE bob WITH ENCRYPTED PASSWORD ${q} VALID UNTIL 'infinity'`,
      (q: string) => `create user mapping for bob server s options (password ${q})`,
      (q: string) => `CREATE GROUP g PASSWORD${q}`,
      (q: string) => `set my.password to ${q}`,
    );
    const layer = fc.constantFrom(
      (sql: string) => sql,
      (sql: string) => `select 'x'; ${sql}; select 2`,
      (sql: string) => `DO $body$ begin ${sql}; end $body$`,
      (sql: string) => `DO $body$ begin execute $q$${sql}$q$; end $body$`,
      (sql: string) => `DO '${sql.replaceAll("'", "''")}'`,
      (sql: string) => `DO $body$ begin execute '${sql.replaceAll("'", "''")}'; end $body$`,
      (sql: string) => `/* ${sql} */ select 1`,
      (sql: string) => `select 1 from from ${sql}`,
    );
    fc.assert(
      fc.property(secret, quoted, statement, layer, (s, quote, make, wrap) => {
        expect(redactText(dialect, wrap(make(quote(s))))).not.toContain(s);
      }),
      { numRuns: 3000 },
    );
  });
});

describe('mayHoldSecret', () => {
  it.each([
    'pAsSword',
    'PWD',
    'x secret',
    'CRYPT(',
    'Scram',
    'credential',
    'hmac',
    '://',
    'set_Config',
    '\nSET x',
    'Alter',
    '/**/ create',
    '-- x\nset a',
  ])('%s', (text) => {
    expect(mayHoldSecret(Buffer.from(text), 0, text.length)).toBe(true);
    // Only within the message.
    const around = Buffer.from(`${text} select ${text}`);
    expect(mayHoldSecret(around, text.length, text.length + 8)).toBe(false);
  });

  it.each(['select a from t', 'pa ss', 'process', 'begin', 'offset', '/* comment */ select 1', ''])(
    'not: %s',
    (text) => {
      expect(mayHoldSecret(Buffer.from(text), 0, text.length)).toBe(false);
    },
  );
});
