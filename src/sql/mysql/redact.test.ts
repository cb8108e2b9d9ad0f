import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { defaultLexicalSettings } from '../dialect.ts';
import { redactText } from '../postgres/testing.ts';
import { loadMysqlDialect } from './dialect.ts';
import { mayHoldSecret } from './secret-scan.ts';

const dialect = loadMysqlDialect('mysql');

/** The secret in every case is hunter2, in some spelling; the second text is what must be left. */
const REDACTED: readonly (readonly [string, string])[] = [
  ["CREATE USER bob IDENTIFIED BY 'hunter2'", "CREATE USER bob IDENTIFIED BY '***'"],
  [
    "create user 'bob'@'%' identified by'hunter2' require ssl comment 'x'",
    "create user 'bob'@'%' identified by'***' require ssl comment 'x'",
  ],
  ['CREATE USER bob IDENTIFIED BY "hunter2"', "CREATE USER bob IDENTIFIED BY '***'"],
  [
    "CREATE USER IF NOT EXISTS 'bob'@'%' IDENTIFIED WITH 'caching_sha2_password' BY 'hunter2', 'eve' IDENTIFIED BY 'hunter2'",
    "CREATE USER IF NOT EXISTS 'bob'@'%' IDENTIFIED WITH 'caching_sha2_password' BY '***', 'eve' IDENTIFIED BY '***'",
  ],
  [
    "ALTER USER bob IDENTIFIED WITH mysql_native_password AS '*hunter2'",
    "ALTER USER bob IDENTIFIED WITH mysql_native_password AS '***'",
  ],
  ['ALTER USER bob IDENTIFIED WITH x AS 0x68756e746572', "ALTER USER bob IDENTIFIED WITH x AS '***'"],
  [
    "ALTER USER USER() IDENTIFIED BY 'hunter2' REPLACE 'hunter2' RETAIN CURRENT PASSWORD",
    "ALTER USER USER() IDENTIFIED BY '***' REPLACE '***' RETAIN CURRENT PASSWORD",
  ],
  [
    "ALTER USER bob ADD 2 FACTOR IDENTIFIED WITH x BY 'hunter2'",
    "ALTER USER bob ADD 2 FACTOR IDENTIFIED WITH x BY '***'",
  ],
  [
    "CREATE USER bob IDENTIFIED VIA mysql_native_password USING PASSWORD('hunter2') OR unix_socket",
    "CREATE USER bob IDENTIFIED VIA mysql_native_password USING PASSWORD('***') OR unix_socket",
  ],
  [
    "CREATE OR REPLACE USER bob IDENTIFIED VIA ed25519 USING 'hunter2'",
    "CREATE OR REPLACE USER bob IDENTIFIED VIA ed25519 USING '***'",
  ],
  [
    "GRANT ALL ON *.* TO 'bob'@'%' IDENTIFIED BY PASSWORD '*hunter2'",
    "GRANT ALL ON *.* TO 'bob'@'%' IDENTIFIED BY PASSWORD '***'",
  ],
  ["SET PASSWORD = 'hunter2'", "SET PASSWORD = '***'"],
  ["SET PASSWORD FOR 'bob'@'%' = PASSWORD('hunter2')", "SET PASSWORD FOR 'bob'@'%' = PASSWORD('***')"],
  ["SET PASSWORD FOR bob = 'hunter2' REPLACE 'hunter2'", "SET PASSWORD FOR bob = '***' REPLACE '***'"],
  [
    "CHANGE MASTER TO MASTER_HOST='h', MASTER_PASSWORD='hunter2', MASTER_PORT=1",
    "CHANGE MASTER TO MASTER_HOST='h', MASTER_PASSWORD='***', MASTER_PORT=1",
  ],
  [
    "CHANGE REPLICATION SOURCE TO SOURCE_USER = 'u', SOURCE_PASSWORD = 'hunter2'",
    "CHANGE REPLICATION SOURCE TO SOURCE_USER = 'u', SOURCE_PASSWORD = '***'",
  ],
  [
    "START GROUP_REPLICATION USER='u', PASSWORD='hunter2'",
    "START GROUP_REPLICATION USER='u', PASSWORD='***'",
  ],
  ["START REPLICA USER='u' PASSWORD='hunter2'", "START REPLICA USER='u' PASSWORD='***'"],
  [
    "CREATE SERVER s FOREIGN DATA WRAPPER mysql OPTIONS (USER 'u', PASSWORD 'hunter2', HOST 'h')",
    "CREATE SERVER s FOREIGN DATA WRAPPER mysql OPTIONS (USER 'u', PASSWORD '***', HOST 'h')",
  ],
  [
    "CLONE INSTANCE FROM 'u'@'h':3306 IDENTIFIED BY 'hunter2'",
    "CLONE INSTANCE FROM 'u'@'h':3306 IDENTIFIED BY '***'",
  ],
  [
    "CREATE TABLE f (a INT) ENGINE=FEDERATED CONNECTION='mysql://u:hunter2@h/db/t'",
    "CREATE TABLE f (a INT) ENGINE=FEDERATED CONNECTION='***'",
  ],
  [
    'CREATE TABLE f (a INT) ENGINE=SPIDER COMMENT=\'user "u", password "hunter2"\'',
    "CREATE TABLE f (a INT) ENGINE=SPIDER COMMENT='user \"u\", password ''***'''",
  ],
  [
    "SELECT OLD_PASSWORD('hunter2'), ENCRYPT('hunter2', 'ab'), 'x'",
    "SELECT OLD_PASSWORD('***'), ENCRYPT('***', '***'), 'x'",
  ],
  [
    "UPDATE u SET password = 'hunter2' WHERE name = 'bob'",
    "UPDATE u SET password = '***' WHERE name = 'bob'",
  ],
  ["SELECT * FROM u WHERE `api_key` = 'hunter2'", "SELECT * FROM u WHERE `api_key` = '***'"],
  [
    "SELECT * FROM u WHERE pwd <> 'hunter2' OR pwd != 'hunter2'",
    "SELECT * FROM u WHERE pwd <> '***' OR pwd != '***'",
  ],
  ["SET @secret := 'hunter2', @other = 'x'", "SET @secret := '***', @other = 'x'"],
  // Comments, code or not.
  ["CREATE USER bob /*!50000 IDENTIFIED BY 'hunter2' */", "CREATE USER bob /*!50000 IDENTIFIED BY '***' */"],
  ["/*!50000 CREATE USER bob IDENTIFIED BY 'hunter2' */", "/*!50000 CREATE USER bob IDENTIFIED BY '***' */"],
  ["CREATE USER bob IDENTIFIED /*!50000 BY */ 'hunter2'", "CREATE USER bob IDENTIFIED /*!50000 BY */ '***'"],
  ["CREATE USER bob IDENTIFIED BY /*!99999 x */ 'hunter2'", "CREATE USER bob IDENTIFIED BY /*!99999 '***'"],
  ["CREATE USER bob IDENTIFIED BY /* new */ 'hunter2'", "CREATE USER bob IDENTIFIED BY /* new */ '***'"],
  [
    "SELECT 1 /* CREATE USER bob IDENTIFIED BY 'hunter2' */",
    "SELECT 1 /* CREATE USER bob IDENTIFIED BY '***' */",
  ],
  ["SELECT 1 -- IDENTIFIED BY 'hunter2'", "SELECT 1 -- IDENTIFIED BY '***'"],
  // SQL within SQL
  [
    "PREPARE p FROM 'CREATE USER bob IDENTIFIED BY ''hunter2'''",
    "PREPARE p FROM 'CREATE USER bob IDENTIFIED BY ''***'''",
  ],
  [
    'PREPARE p FROM "CREATE USER bob IDENTIFIED BY \'hunter2\'"',
    'PREPARE p FROM "CREATE USER bob IDENTIFIED BY \'***\'"',
  ],
  ["SET @s = 'SET PASSWORD = \\'hunter2\\''", "SET @s = '***'"],
  ["SET @s = CONCAT('CREATE USER bob IDENTIFIED BY ''', 'hunter2', '''')", "SET @s = CONCAT('***'"],
  [
    "CREATE PROCEDURE p() BEGIN SET PASSWORD = 'hunter2'; END",
    "CREATE PROCEDURE p() BEGIN SET PASSWORD = '***'; END",
  ],
  [
    "SELECT 'x'; CREATE USER bob IDENTIFIED BY 'hunter2'; SELECT 'y'",
    "SELECT 'x'; CREATE USER bob IDENTIFIED BY '***'; SELECT 'y'",
  ],
  // What cannot be understood
  ["CREATE USER bob IDENTIFED BY 'hunter2'", "CREATE USER bob IDENTIFED BY '***'"],
  ["CREATE USER bob PASSWORD 'hunter2'", "CREATE USER bob PASSWORD '***'"],
  ["ALTER USER 'bob'@'%' SET 'hunter2'", "ALTER USER 'bob'@'%' SET '***'"],
  ['CREATE USER bob IDENTIFIED BY hunter2', "CREATE USER bob IDENTIFIED BY '***'"],
  ['CREATE USER bob IDENTIFIED BY `hunter2` REQUIRE SSL', "CREATE USER bob IDENTIFIED BY '***'"],
  ['SET PASSWORD = hunter2', "SET PASSWORD = '***'"],
  ["CREATE USER bob IDENTIFIED BY 'hunter2", "CREATE USER bob IDENTIFIED BY '***'"],
  ["CREATE USER bob IDENTIFIED BY 'hun'ter2' REQUIRE SSL", "CREATE USER bob IDENTIFIED BY '***'"],
];

const UNTOUCHED: readonly string[] = [
  'select 1',
  "select 'a' from t where b = 'c'",
  "SELECT passenger, 'x' FROM flights WHERE class = 'pass'",
  "select 'the password is wrong' as message",
  "SET NAMES 'utf8mb4'",
  "SET sql_mode = 'ANSI_QUOTES'",
  "CREATE TABLE t (a INT COMMENT 'x', b VARCHAR(5) DEFAULT 'y')",
  "ALTER TABLE t MODIFY a INT COMMENT 'password of nobody'",
  "ALTER USER bob ACCOUNT LOCK COMMENT 'gone'",
  "GRANT SELECT ON a.* TO 'bob'@'%'",
  "CREATE USER 'bob'@'%', 'eve'@'localhost' REQUIRE SUBJECT 'x'",
  "CREATE USER bob IDENTIFIED WITH 'auth_socket'",
  'ALTER USER bob IDENTIFIED BY RANDOM PASSWORD',
  "select 'https://example.org/path?x=y'",
  "insert into docs values ('it\\'s', 'a passing cloud')",
];

describe('redactSecrets', () => {
  it.each(REDACTED)('%s', (text, left) => {
    expect(redactText(dialect, text)).toBe(left);
    expect(left).not.toMatch(/hun|ter2/);
  });

  it.each(UNTOUCHED)('leaves alone: %s', (text) => {
    expect(redactText(dialect, text)).toBe(text);
  });

  it('gives back a view where there is nothing to hide, and never changes the text', () => {
    const bytes = Buffer.from("xx select 'a' yy SET PASSWORD = 'hunter2' zz");
    const before = bytes.toString();
    const plain = dialect.redactSecrets(bytes, 3, 13);
    expect(plain.redacted).toBe(false);
    expect(plain.text.buffer).toBe(bytes.buffer);
    expect(plain.text.toString()).toBe("select 'a'");
    expect(dialect.redactSecrets(bytes, 17, bytes.length - 3).text.toString()).toBe("SET PASSWORD = '***'");
    expect(bytes.toString()).toBe(before);
  });

  it('reads quotes in every way that is possible', () => {
    const text = "SET PASSWORD = 'hun\\'ter2'";
    expect(redactText(dialect, text)).not.toMatch(/hun|ter2/);
    const known = { ...defaultLexicalSettings, sqlMode: 'STRICT_TRANS_TABLES' };
    expect(redactText(dialect, text, known)).toBe("SET PASSWORD = '***'");
    const trailing = "SET PASSWORD = 'hunter2\\', @x = 'y'";
    expect(redactText(dialect, trailing, { ...known, sqlMode: 'NO_BACKSLASH_ESCAPES' })).toBe(
      "SET PASSWORD = '***', @x = '***'",
    );
    expect(redactText(dialect, trailing)).not.toMatch(/hun|ter2/);
  });

  it('finds literals between half characters', () => {
    const settings = { ...defaultLexicalSettings, clientEncoding: 'sjis' };
    const text = Buffer.from("CREATE USER '\x95\\' IDENTIFIED BY '\x95\\'", 'latin1');
    const redaction = dialect.redactSecrets(text, 0, text.length, settings);
    expect(redaction.text.toString('latin1')).toBe("CREATE USER '\x95\\' IDENTIFIED BY '***'");
  });

  it('keeps long texts but for their secrets', () => {
    const rows = Array.from({ length: 20_000 }, (_, i) => `('row ${i}')`).join(',');
    expect(redactText(dialect, `insert into t values ${rows}, ('pass')`)).toContain("'row 19999'");
    const user = `CREATE USER bob IDENTIFIED BY 'hunter2'; insert into t values ${rows}`;
    expect(redactText(dialect, user)).toBe(user.replace('hunter2', '***'));
  });

  it('hides the password wherever it is put', () => {
    const secret = fc.stringMatching(/^[a-zA-Z0-9 ]{4,12}$/).map((text) => `q${text}q7`);
    const quoted = fc.constantFrom(
      (s: string) => `'${s}'`,
      (s: string) => `"${s}"`,
      (s: string) => ` '${s}' `,
    );
    const statement = fc.constantFrom(
      (q: string) => `CREATE USER 'bob'@'%' IDENTIFIED BY ${q} REQUIRE SSL`,
      (q: string) => `alter user bob identified with x as${q}`,
      (q: string) => `set password for bob@localhost = password(${q})`,
      (q: string) => `CHANGE MASTER TO MASTER_PASSWORD=${q}, MASTER_USER='u'`,
      (q: string) => `create server s foreign data wrapper mysql options (password ${q})`,
      (q: string) => `grant all on *.* to bob identified by ${q}`,
    );
    const layer = fc.constantFrom(
      (sql: string) => sql,
      (sql: string) => `select 'x'; ${sql}; select 2`,
      (sql: string) => `/*!50000 ${sql} */`,
      (sql: string) => `/*!99999 ${sql} */ select 1`,
      (sql: string) => `/* ${sql} */ select 1`,
      (sql: string) => `PREPARE p FROM '${sql.replaceAll("'", "''")}'`,
      (sql: string) => `SET @x = '${sql.replaceAll("'", "\\'").replaceAll('"', '\\"')}'`,
      (sql: string) => `CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO BEGIN ${sql}; END`,
      (sql: string) => `select 1 from from ${sql}`,
      (sql: string) => `# it's\n${sql}`,
    );
    fc.assert(
      fc.property(secret, quoted, statement, layer, (s, quote, make, wrap) => {
        expect(redactText(dialect, wrap(make(quote(s))))).not.toContain(s);
      }),
      { numRuns: 3000 },
    );
  });
});

describe('redactPrepared', () => {
  const secrets = (sql: string): unknown => {
    const bytes = Buffer.from(sql);
    const found = dialect.redactPrepared(bytes, 0, bytes.length, defaultLexicalSettings).secrets;
    return found === null || found.numbers === 'all'
      ? (found?.numbers ?? null)
      : [...found.numbers].toSorted((a, b) => a - b);
  };

  it.each([
    ['SET PASSWORD = PASSWORD(?)', [0]],
    ['SET PASSWORD FOR ?@? = ?', [2]],
    ['ALTER USER ?@? IDENTIFIED BY ?', [2]],
    ['CREATE USER bob IDENTIFIED WITH x AS ? REQUIRE SUBJECT ?', [0]],
    ['UPDATE u SET name = ?, password = ?, note = ? WHERE id = ?', [1]],
    ['SELECT * FROM u WHERE `api_key` = ? AND id = ?', [0]],
    ["SELECT '?' /* ? */, ? FROM u WHERE pwd = ?", [1]],
    ['SELECT OLD_PASSWORD(?), ENCRYPT(?, ?), ?', [0, 1, 2]],
    ['SELECT 1 /*!99999 , ? */ FROM u WHERE pwd = ?', [0, 1]],
    ["SELECT CONCAT('CREATE USER bob IDENTIFIED BY ''', ?, '''')", 'all'],
    ["UPDATE u SET password = 'hun'ter2, a = ?", 'all'],
    ['INSERT INTO u (name, password) VALUES (?, ?)', null],
    ['SELECT passenger FROM flights WHERE id = ?', null],
    ['SELECT ?', null],
  ])('%s', (sql, expected) => {
    expect(secrets(sql)).toEqual(expected);
  });

  it('hides what is given for them at once', () => {
    expect(redactText(dialect, "EXECUTE IMMEDIATE 'ALTER USER b IDENTIFIED BY ?' USING 'hunter2', @x")).toBe(
      "EXECUTE IMMEDIATE 'ALTER USER b IDENTIFIED BY ?' USING '***', @x",
    );
    const plain = "EXECUTE IMMEDIATE 'SELECT passenger, ?' USING 'x'";
    expect(redactText(dialect, plain)).toBe(plain);
  });
});

describe('readLong', () => {
  it('says the same as reading at once', async () => {
    const sql = "SELECT 1; SET PASSWORD = 'hunter2'; -- pass\nSELECT 'x'";
    const text = Buffer.from(`xx${sql}yy`);
    const long = await dialect.readLong(text, 2, text.length - 2, defaultLexicalSettings);
    if (typeof long === 'string') throw new Error(long);
    expect(long.spans).toEqual(dialect.split(Buffer.from(sql), 0, sql.length));
    expect(long.redacted.map((one) => one && Buffer.from(one).toString())).toEqual([
      null,
      "SET PASSWORD = '***'",
      null,
    ]);
    const prepared = { ...defaultLexicalSettings, prepared: true };
    const question = Buffer.from("UPDATE u SET pwd = ?, a = 'b'");
    expect(await dialect.readLong(question, 0, question.length, prepared)).toEqual({
      spans: [{ start: 0, end: question.length }],
      redacted: [null],
      secrets: { numbers: new Set([0]), counts: [1] },
    });
  });

  it('says why it could not', async () => {
    const closed = loadMysqlDialect('mysql');
    await closed.close();
    expect(await closed.readLong(Buffer.from('x'), 0, 1, defaultLexicalSettings)).toMatch(/shutting down/);
  });
});

describe('mayHoldSecret', () => {
  it.each([
    'pAsSword',
    'PWD',
    'x secret',
    'ENCRYPT(',
    'credential',
    'identiFied',
    '://',
    'api_Key',
    '\nSET x',
    'Alter',
    '/**/ create',
    '-- x\nset a',
    '/*!50000 create',
    '/*M! grant',
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
