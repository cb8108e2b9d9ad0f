/**
 * The dialect of MySQL and MariaDB against real servers: HOSTILE.md 43–57, as far as they are about SQL.
 *
 * Every entry of the corpus gets the decision that stands with it. Every one that is allowed is run by root, in a session
 * that may write, and must leave the server as it was; those of which the corpus says that only the server's read-only
 * mode stops them, in a session with that mode. Every one that is said to write does so, which shows that we would see it.
 */
import { chmodSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import mysql, { type Connection } from 'mysql2/promise';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decide } from '../../src/access/policy.ts';
import { type Control, CONTROLS } from '../../src/model/access.ts';
import type { Classification } from '../../src/model/statement.ts';
import { loadMysqlDialect } from '../../src/sql/mysql/dialect.ts';
import { type CorpusEntry, corpusFor, FIXTURE, FOLDER, MARIADB_FIXTURE } from '../corpus/mysql-read-only.ts';
import { isMissing, type MysqlServer, startMariadb, startMysql } from '../servers/index.ts';

type Flavour = 'mysql' | 'mariadb';

/** Whether a session under this control may send the text: each of its statements, and what it prepares. */
function isAllowed(flavour: Flavour, texts: readonly string[], control: Control): boolean {
  const dialect = loadMysqlDialect(flavour);
  const prepared = new Map<string, Classification>();
  for (const sql of texts) {
    const text = Buffer.from(sql);
    for (const span of dialect.split(text, 0, text.length)) {
      const what = dialect.classify(text, span.start, span.end);
      if (!decide(what, [control], { prepared: (name) => prepared.get(name) }).allow) return false;
      if (what.prepares !== '') prepared.set(what.prepares, what);
    }
  }
  return true;
}

describe.each(['mysql', 'mariadb'] as const)('the corpus for %s', (flavour) => {
  const entries = corpusFor(flavour);

  it('is large', () => {
    expect(entries.filter((entry) => entry.decision === 'allow').length).toBeGreaterThan(90);
    expect(entries.filter((entry) => entry.decision === 'refuse').length).toBeGreaterThan(130);
    expect(entries.filter((entry) => entry.wouldWrite).length).toBeGreaterThan(60);
  });

  it.each(entries)('[$number] $decision: $sql', (entry) => {
    const setup = entry.setup ?? [];
    for (const control of CONTROLS) {
      expect(isAllowed(flavour, setup, control), `set-up under ${control}`).toBe(true);
      const refused =
        control === 'read_only' ? entry.decision === 'refuse' : entry.alsoRefusedBy.includes(control);
      expect(isAllowed(flavour, [...setup, entry.sql], control), control).toBe(!refused);
    }
  });
});

const SERVERS = [
  { flavour: 'mysql', need: 'mysql-9.7', start: startMysql },
  { flavour: 'mariadb', need: 'mariadb', start: startMariadb },
] as const;

const SETTINGS = {
  secure_file_priv: '',
  log_bin: 'corpus',
  server_id: '7',
  log_bin_trust_function_creators: '1',
};

describe.each(SERVERS)('$flavour itself', ({ flavour, need, start }) => {
  const missing = isMissing(need);
  let server: MysqlServer;
  let probe: Connection;
  let folder: string;
  let baseline: Record<string, string>;

  beforeAll(async () => {
    if (missing) return;
    folder = mkdtempSync(join(tmpdir(), 'dbw-corpus-'));
    chmodSync(folder, 0o777);
    server = await start({ settings: SETTINGS });
    probe = await mysql.createConnection(server.admin());
    await reset();
    baseline = await snapshot();
  });
  afterAll(async () => {
    await probe?.end();
    await server?.stop();
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  });

  async function reset(): Promise<void> {
    for (const name of readdirSync(folder)) rmSync(join(folder, name));
    writeFileSync(join(folder, 'rows'), '5\n6\n', { mode: 0o644 });
    const mariadb = flavour === 'mariadb' ? MARIADB_FIXTURE : [];
    for (const sql of [...FIXTURE, ...mariadb, 'SET GLOBAL max_connections = 151']) await probe.query(sql);
  }

  async function rows(sql: string): Promise<string> {
    const [found] = await probe.query(sql);
    return JSON.stringify(found);
  }

  async function snapshot(): Promise<Record<string, string>> {
    const own = "IN ('corpus', 'elsewhere', 'n')";
    const facts: Record<string, string> = {
      tables: await rows(
        `SELECT table_schema, table_name, table_type FROM information_schema.tables WHERE table_schema ${own} ORDER BY 1, 2`,
      ),
      columns: await rows(
        `SELECT table_schema, table_name, column_name FROM information_schema.columns WHERE table_schema ${own} ORDER BY 1, 2, 3`,
      ),
      indexes: await rows(
        `SELECT table_name, index_name FROM information_schema.statistics WHERE table_schema ${own} ORDER BY 1, 2`,
      ),
      databases: await rows('SHOW DATABASES'),
      routines: await rows(
        `SELECT routine_name FROM information_schema.routines WHERE routine_schema ${own} ORDER BY 1`,
      ),
      triggers: await rows('SELECT trigger_name FROM information_schema.triggers ORDER BY 1'),
      events: await rows('SELECT event_name FROM information_schema.events ORDER BY 1'),
      accounts: await rows(
        "SELECT user, authentication_string FROM mysql.user WHERE user LIKE 'corpus%' ORDER BY 1",
      ),
      grants: await rows("SELECT user, db FROM mysql.db WHERE user LIKE 'corpus%' ORDER BY 1, 2"),
      variables: await rows('SELECT @@global.max_connections'),
      folder: readdirSync(folder).sort().join(' '),
    };
    for (const table of ['corpus.t', 'corpus.u', 'corpus.m', 'elsewhere.t'])
      facts[table] = await rows(`CHECKSUM TABLE ${table}`);
    if (flavour === 'mariadb')
      facts['corpus.s'] = await rows('SELECT next_not_cached_value FROM corpus.s').catch(String);
    return facts;
  }

  /** Runs the entry in a session of its own, and tells what it left behind. */
  async function run(entry: CorpusEntry, readOnly: boolean): Promise<Record<string, string>> {
    const session = await mysql.createConnection(server.admin('corpus'));
    let locks = '';
    try {
      if (readOnly) await session.query('SET SESSION TRANSACTION READ ONLY');
      for (const sql of entry.setup ?? []) await session.query(sql);
      await session.query(entry.sql.replaceAll(FOLDER, folder)).catch(() => undefined);
      locks = await rows("SELECT IS_USED_LOCK('corpus') IS NULL AS free");
      // What is open counts as done: a proxy cannot know that it will be taken back.
      await session.query('COMMIT').catch(() => undefined);
    } finally {
      session.destroy();
    }
    return { ...(await snapshot()), locks };
  }

  async function changes(entry: CorpusEntry, readOnly: boolean): Promise<string[]> {
    const before: Record<string, string> = { ...baseline, locks: '[{"free":1}]' };
    const after = await run(entry, readOnly);
    const changed = Object.keys(after).filter((name) => after[name] !== before[name]);
    if (changed.length > 0) {
      await reset();
      baseline = await snapshot();
    }
    return changed;
  }

  it.skipIf(missing).each(corpusFor(flavour).filter((entry) => entry.decision === 'allow'))(
    '[$number] is not changed by: $sql',
    async (entry) => {
      expect(await changes(entry, entry.wouldWrite)).toEqual([]);
    },
  );

  it.skipIf(missing).each(corpusFor(flavour).filter((entry) => entry.wouldWrite))(
    '[$number] would be changed by: $sql',
    async (entry) => {
      expect(await changes(entry, false)).not.toEqual([]);
    },
  );
});

const MODES = ['', 'ANSI_QUOTES', 'NO_BACKSLASH_ESCAPES'] as const;

describe.each(SERVERS)('what $flavour reads in a text', ({ flavour, need, start }) => {
  const missing = isMissing(need);
  const dialect = loadMysqlDialect(flavour);
  let server: MysqlServer;
  let session: Connection;
  const numRuns = Number(process.env['DBW_FUZZ_RUNS'] ?? 3000);

  beforeAll(async () => {
    if (missing) return;
    server = await start();
    session = await mysql.createConnection(server.admin());
  });
  afterAll(async () => {
    await session?.end();
    await server?.stop();
  });

  const PIECES = [
    'select 1',
    "select 'a",
    "b'",
    'select "a',
    'b"',
    'select `a',
    '`',
    "''",
    '""',
    '\\',
    "\\'",
    '\\"',
    "'",
    '"',
    ';',
    ';',
    ';',
    '-- ',
    '--',
    '#',
    '\n',
    '/*',
    '*/',
    '/*!',
    '/*!50000',
    '/*!50699 ',
    '/*!50700',
    '/*!99999',
    '/*!101100 ',
    '/*M!',
    '/*M!100100 ',
    ' as x',
    ',',
    '(',
    ')',
    '1',
    '1e1',
    '.5',
    '0x4',
    ' + ',
    'set @a = 1',
    'do 1',
    'begin',
    'commit',
    'é',
    "x'41'",
    "N'n'",
    '@a',
    '@`a',
    '$$',
    '$a$',
    'create procedure if not exists p() begin',
    'create procedure if not exists q() select 1',
    ' end',
    'if 1 then',
    ' end if',
    ' case 1 when 1 then 2 end',
    'begin not atomic',
  ];
  // With what the dialect splits nothing at, since servers differ or nobody can tell.
  const LOCKS = [
    '/*!500001',
    '/*+',
    "select get_lock('fuzz', 0)",
    " + get_lock('fuzz', 0)",
    "do `get_lock`('fuzz', 0)",
  ];
  const texts = (pieces: readonly string[]): fc.Arbitrary<string> =>
    fc
      .array(fc.constantFrom(...pieces), { minLength: 1, maxLength: 14 })
      .chain((parts) => fc.constantFrom(parts.join(''), parts.join(' ')));

  it.skipIf(missing)('is what the dialect splits it into', async () => {
    let accepted = 0;
    await fc.assert(
      fc.asyncProperty(texts(PIECES), fc.constantFrom(...MODES), async (sql, sqlMode) => {
        await session.query(`SET sql_mode = '${sqlMode}', autocommit = 1`);
        const results = await session.query(sql).then(
          // Of several statements, a list of what a single one has.
          ([, fields]) =>
            Array.isArray(fields) && fields.some((each) => each === undefined || Array.isArray(each))
              ? fields.length
              : 1,
          () => 0,
        );
        if (results === 0) return;
        accepted++;
        const text = Buffer.from(sql);
        const settings = { standardConformingStrings: true, clientEncoding: 'utf8mb4', sqlMode };
        const spans = dialect.split(text, 0, text.length, settings);
        // `/* x */;` is answered, the semicolon being cut off before the text is read.
        if (results > 1 || spans.length > 0) expect(spans, sql).toHaveLength(results);
      }),
      { numRuns },
    );
    expect(accepted).toBeGreaterThan(numRuns / 50);
  });

  it.skipIf(missing)('holds no call that the classification has missed, whatever the mode', async () => {
    let locked = 0;
    await fc.assert(
      fc.asyncProperty(
        texts([...PIECES, ...LOCKS, ...LOCKS]),
        fc.constantFrom(...MODES),
        async (sql, sqlMode) => {
          await session.query(`SET sql_mode = '${sqlMode}', autocommit = 1`);
          await session.query(sql).catch(() => undefined);
          await session.query('ROLLBACK');
          const [[row]] = await session.query<mysql.RowDataPacket[]>('SELECT RELEASE_ALL_LOCKS() AS held');
          if (Number(row['held']) === 0) return;
          locked++;
          const text = Buffer.from(sql);
          const answers = dialect
            .split(text, 0, text.length)
            .map((span) => dialect.classify(text, span.start, span.end));
          expect(
            answers.some((what) => !what.parsed || what.writes),
            sql,
          ).toBe(true);
        },
      ),
      { numRuns },
    );
    expect(locked).toBeGreaterThan(numRuns / 300);
  });
});
