/**
 * `read_only` against what takes several statements of a session: each step is refused or harmless, and after it all the
 * server is as it was. Locks stand for what the server's own read-only mode would let through. HOSTILE.md 43, 45, 47–49,
 * 52 and 53.
 */
import type mysql from 'mysql2/promise';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Capability as C } from '../../src/wire/mysql/protocol.ts';
import { failureOf, packet, RawMysql } from '../conformance/mysql/raw-client.ts';
import { type Dbwitness, isMissing, startDbwitness } from '../servers/index.ts';
import {
  CORPUS_SERVERS,
  CorpusServer,
  type CorpusServerName,
  executeOf,
  prepareOf,
} from './support/mysql-corpus.ts';

const REFUSED = /^(?:1792 25006|1227 42000) .{40}/;
/** Refused by us: no server uses these words. */
const OURS =
  /^(?:1792|1227|1044|1295) .*(?:is refused under|this grant|this session is for|dbwitness|prepared here)/s;

const SERVERS = Object.keys(CORPUS_SERVERS) as CorpusServerName[];
let node: Dbwitness;
const started = new Map<CorpusServerName, CorpusServer>();

beforeAll(async () => {
  node = await startDbwitness({ mysql: true });
  const present = SERVERS.filter((name) => !isMissing(name));
  await Promise.all(
    present.map(async (name) => started.set(name, await CorpusServer.start(name, node, ['read_only']))),
  );
});
afterAll(async () => {
  await node?.stop();
  await Promise.all([...started.values()].map((one) => one.stop()));
});

describe.each(SERVERS)('%s', (name) => {
  describe.skipIf(isMissing(name))('behind dbwitness, under read_only', () => {
    let corpus: CorpusServer;
    const isMariadb = name.startsWith('mariadb');

    beforeAll(() => {
      const found = started.get(name);
      if (!found) throw new Error(`${name} was not started`);
      corpus = found;
    });

    /** A text, with `!` in front when it must be refused; bytes as a text; or something else to be done. */
    type Step = string | Buffer | ((session: RawMysql) => Promise<unknown>);
    const bytesOf = (...parts: readonly (string | readonly number[])[]): Buffer =>
      Buffer.concat(parts.map((part) => Buffer.from(part as string)));
    const reset = async (session: RawMysql): Promise<void> => {
      await session.run(Buffer.from([0x1f]), 'one');
    };
    /** COM_STMT_PREPARE and COM_STMT_EXECUTE, as far as they get. */
    const prepared =
      (sql: string) =>
      async (session: RawMysql): Promise<void> => {
        const answer = await session.run(prepareOf(sql), 'prepare');
        expect(failureOf(answer)).not.toMatch(REFUSED);
        if (answer[0].payload[0] === 0) await session.run(executeOf(answer));
      };
    const refusesPrepare =
      (sql: string | Buffer) =>
      async (session: RawMysql): Promise<void> => {
        expect(failureOf(await session.run(prepareOf(sql), 'prepare')), String(sql)).toMatch(OURS);
      };
    const refusesBytes =
      (sql: Buffer) =>
      async (session: RawMysql): Promise<void> => {
        expect(await session.failure(sql), sql.toString('latin1')).toMatch(OURS);
      };

    /** How everything was before the first session, and has to be after each. */
    let before: Record<string, string> | undefined;

    /** Runs the steps, looks whether anything has changed while the session is open, and ends it. */
    async function trick(
      steps: readonly Step[],
      options: { readonly collation?: number; readonly wanted?: number } = {},
    ): Promise<void> {
      before ??= await corpus.snapshot();
      const session = await RawMysql.connect(corpus.accessOf('read_only'), {
        wanted: (corpus.wanted | C.SESSION_TRACK) >>> 0,
        mariadb: corpus.mariadb,
        ...options,
      });
      const said = steps
        .map((step) => (typeof step === 'function' ? '…' : step.toString('latin1')))
        .join('\n');
      try {
        for (const step of steps) {
          if (typeof step === 'function') await step(session);
          else if (typeof step === 'string' && step.startsWith('!'))
            expect(await session.failure(step.slice(1)), said).toMatch(OURS);
          else expect(await session.failure(step), said).not.toMatch(OURS);
        }
        await session.query('COMMIT');
        expect(await corpus.changedSince(before), said).toEqual([]);
        await session.quit();
      } finally {
        session.destroy();
      }
    }

    const ANSI = `SELECT 1 AS "\\", GET_LOCK('corpus', 0) -- "`;
    const PLAIN = `SELECT '\\', GET_LOCK('corpus', 0) -- '`;
    const setters = (mode: string): readonly (readonly Step[])[] => {
      const quoted = `'SET sql_mode = ''${mode}'''`;
      return [
        [`SET sql_mode = '${mode}'`],
        [`SET SESSION sql_mode = '${mode}', @x = 1`],
        [`/*!40101 SET @@session.sql_mode = '${mode}' */`],
        [`/* x */ /*!40101 SET SQL_MODE='${mode}' */;`],
        [`SET @m = '${mode}'`, 'SET sql_mode = @m'],
        [`PREPARE s FROM ${quoted}`, 'SELECT "x"', 'EXECUTE s'],
        [`PREPARE s FROM ${quoted}`, 'SELECT "x"', '/*!50000 EXECUTE s */'],
        [prepared(`SET sql_mode = '${mode}'`)],
        [`SET /* ${'x'.repeat(5000)} */ sql_mode = '${mode}'`],
        [`SELECT 1; SET sql_mode = '${mode}'; SELECT 2`],
        ...(isMariadb ? [[`EXECUTE IMMEDIATE ${quoted}`]] : []),
      ];
    };

    it('sql_mode, set in every way, and then quotes that mean something else', async () => {
      const minimal = { wanted: (corpus.wanted & ~(C.SESSION_TRACK | C.DEPRECATE_EOF)) >>> 0 };
      for (const [i, steps] of setters('ANSI_QUOTES').entries())
        await trick([ANSI, ...steps, `!${ANSI}`, refusesPrepare(ANSI)], i % 2 === 0 ? {} : minimal);
      for (const [i, steps] of setters('NO_BACKSLASH_ESCAPES').entries())
        await trick([PLAIN, ...steps, `!${PLAIN}`, refusesPrepare(PLAIN)], i % 2 === 0 ? minimal : {});
      await trick(["SET sql_mode = 'ANSI_QUOTES'", `!${ANSI}`, "SET sql_mode = ''", ANSI]);
      await trick(["SET sql_mode = 'NO_BACKSLASH_ESCAPES'", `!${PLAIN}`, 'SET sql_mode = DEFAULT', PLAIN]);
      if (name !== 'mysql-5.6') await trick(["SET sql_mode = 'ANSI_QUOTES'", reset, ANSI, PLAIN]);
    });

    it('sql_mode for the time of one statement, and then quotes that mean what they meant before', async () => {
      const forOne = isMariadb
        ? "SET STATEMENT sql_mode = 'ANSI_QUOTES' FOR SELECT 1"
        : "SELECT /*+ SET_VAR(sql_mode = 'ANSI_QUOTES') */ 1";
      const quoted = forOne.replaceAll("'", "''");
      const harmless = ANSI;
      const harmful = `SELECT "\\" , ", GET_LOCK('corpus', 0) -- "`;
      for (const steps of [
        [forOne],
        [`SELECT 1; ${forOne}`],
        [prepared(forOne)],
        [`PREPARE p FROM '${quoted}'`, 'EXECUTE p'],
        [`/* ${'x'.repeat(5000)} */ ${forOne}`],
        [`/*!50000 ${forOne} */`],
      ]) {
        await trick([...steps, `!${harmful}`]);
        await trick([...steps, harmless]);
      }
    });

    it('what is prepared now, and read again by the server in another mode', async () => {
      const sql = `SELECT a AS "\\", GET_LOCK('corpus', 0) FROM t -- " FROM t`;
      const quoted = sql.replaceAll('\\', '\\\\').replaceAll("'", "''");
      await trick([
        refusesPrepare(sql),
        `!PREPARE p FROM '${quoted}'`,
        "SET sql_mode = 'ANSI_QUOTES'",
        '!EXECUTE p',
      ]);
      await trick([prepared("SELECT * FROM t WHERE b LIKE 'o\\_e' OR b = 'it\\'s'")]);
    });

    it.skipIf(name !== 'mysql-9.7')('which MySQL does: it takes the lock', async () => {
      const session = await RawMysql.connect(corpus.direct, { wanted: corpus.wanted });
      await session.query('SET SESSION TRANSACTION READ ONLY');
      const answer = await session.run(
        prepareOf(`SELECT a AS "\\", GET_LOCK('corpus', 0) FROM elsewhere.t -- " FROM elsewhere.t`),
        'prepare',
      );
      await session.query("SET sql_mode = 'ANSI_QUOTES'");
      await corpus.probe.query('INSERT INTO elsewhere.t VALUES (1)');
      await corpus.probe.query('ALTER TABLE elsewhere.t COMMENT = "changed"');
      await session.run(executeOf(answer));
      const [rows] = await corpus.probe.query<mysql.RowDataPacket[]>("SELECT IS_USED_LOCK('corpus') AS held");
      expect(rows[0]['held']).not.toBeNull();
      await session.quit();
      before = undefined;
    });

    it('character sets in which half a character looks like a backslash', async () => {
      const hides = bytesOf("SELECT '", [0xbf, 0x5c], "', GET_LOCK('corpus', 0) -- '");
      const shows = bytesOf("SELECT '", [0xbf, 0x5c], "' AS x, ', GET_LOCK(0x636f72707573, 0) -- '");
      await trick([
        '!SET NAMES gbk',
        "!SET character_set_client = 'gbk'",
        '!/*!40101 SET NAMES sjis */',
        refusesPrepare('SET NAMES big5'),
        hides,
        refusesBytes(shows),
      ]);
      // A log-in in GBK: collation 28.
      await trick(
        [refusesBytes(hides), shows, refusesPrepare(shows), 'SET NAMES utf8', refusesBytes(shows)],
        {
          collation: 28,
        },
      );
    });

    it('SQL made of variables, prepared or run at once', async () => {
      await trick(["SET @v = 'DELETE FROM t'", '!PREPARE p FROM @v', '!EXECUTE p']);
      await trick([
        "PREPARE p FROM 'SELECT 1'",
        "SET @v = 'DELETE FROM t'",
        '!PREPARE p FROM @v',
        'EXECUTE p',
      ]);
      await trick([
        "PREPARE p FROM 'SELECT ?'",
        "SET @v = 'DELETE FROM t'",
        'EXECUTE p USING @v',
        "!PREPARE q FROM 'DELETE FROM t WHERE a = ?'",
        '!EXECUTE q USING @v',
      ]);
      await trick([
        refusesPrepare('DELETE FROM t WHERE a = ?'),
        refusesPrepare("PREPARE p FROM 'DELETE FROM t'"),
        refusesPrepare('SET SESSION TRANSACTION READ WRITE'),
        refusesPrepare('EXECUTE p'),
      ]);
      if (isMariadb)
        await trick([
          "SET @v = 'DELETE FROM t'",
          '!EXECUTE IMMEDIATE @v',
          "!EXECUTE IMMEDIATE 'DELETE FROM t'",
          "!EXECUTE IMMEDIATE 'EXECUTE IMMEDIATE ''DELETE FROM t'''",
        ]);
    });

    it('transactions, resets and other log-ins: the session stays read-only', async () => {
      const sneaky = async (session: RawMysql): Promise<void> => {
        expect(await session.failure('SELECT sneaky()')).toMatch(/^1792 25006/);
      };
      for (const steps of [
        ['BEGIN'],
        ['START TRANSACTION'],
        ['START TRANSACTION WITH CONSISTENT SNAPSHOT'],
        ['BEGIN', 'COMMIT AND CHAIN'],
        ['BEGIN', 'ROLLBACK AND CHAIN'],
        ['SET autocommit = 0', 'SELECT * FROM t'],
        ['SET completion_type = 1', 'BEGIN', 'COMMIT'],
        ['SET TRANSACTION ISOLATION LEVEL READ COMMITTED', 'BEGIN'],
        ['SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE', 'BEGIN'],
        ['SET TRANSACTION READ ONLY', 'BEGIN', 'COMMIT'],
        ['SET SESSION TRANSACTION READ ONLY', 'BEGIN', 'COMMIT'],
        [
          '!SET SESSION TRANSACTION READ WRITE',
          '!SET TRANSACTION READ WRITE',
          '!START TRANSACTION READ WRITE',
        ],
        ['BEGIN', '!COMMIT; START TRANSACTION READ WRITE', '!COMMIT; SET @@tx_read_only = 0'],
        ['!START TRANSACTION /*!50000 READ WRITE */', '!START /*!99999 x */ TRANSACTION READ/**/WRITE'],
      ])
        await trick([...steps, sneaky]);
      await trick([sneaky, '!DELETE FROM t', 'BEGIN', reset, sneaky, '!DELETE FROM t']);
      await trick([
        async (session) => {
          const { user, password, database } = corpus.accessOf('read_only');
          const attributes = (session.capabilities.flags & C.CONNECT_ATTRS) === 0 ? [] : [0];
          const names = [`${user}\0`, [0], `${database}\0`, [45, 0], 'caching_sha2_password\0'] as const;
          session.send(packet(bytesOf([0x11], ...names, attributes)));
          await session.prove(password);
        },
        sneaky,
        '!DELETE FROM t',
        '!SET SESSION TRANSACTION READ WRITE',
      ]);
    });

    it('other databases, by every command that goes to one', async () => {
      await trick([
        '!USE elsewhere',
        async (session) => {
          expect(failureOf(await session.run(bytesOf([2], 'elsewhere'), 'one'))).toMatch(/^1044 42000/);
        },
        refusesPrepare('/*!50000 USE elsewhere */'),
        'SELECT 1',
        '!DELETE FROM elsewhere.t',
        '!INSERT INTO elsewhere.t VALUES (1)',
      ]);
    });

    it('several statements in a text, and comments that hide where one begins', async () => {
      await trick([
        '!SELECT 1; # x\nDELETE FROM t',
        '!SELECT 1 /*! ; DELETE FROM t */',
        '!SELECT 1 /*!50000 */; /*!50000 DELETE */ FROM t',
        '!SELECT 1;;DELETE FROM t',
        '!SELECT 1; -- \nDELETE FROM t',
        '!SELECT 1 --x\n; DELETE FROM t',
        '!SELECT 1 /*/ */; DELETE FROM t -- */',
        '!SELECT 1 /**/; DELETE FROM t',
        "!SELECT ';'; DELETE FROM t",
        '!(SELECT 1); DELETE FROM t',
        '!SELECT 1;\0DELETE FROM t',
        '!BEGIN; DELETE FROM t; COMMIT',
      ]);
    });

    it('versioned comments at the server’s own version', async () => {
      const [{ v }] = await corpus.server.query<{ v: string }>('SELECT VERSION() AS v');
      const [major, minor, patch] = v.split(/[.-]/).map(Number);
      const own = major * 10_000 + minor * 100 + patch;
      const versions = ['', ...[own - 1, own, own + 1, 50_699, 50_700, 99_999, 100_000].map(String)];
      const steps = versions.flatMap((version) =>
        ['!', ...(isMariadb ? ['M!'] : []), ...(version.length === 5 ? ['!0'] : [])].flatMap((mark) => [
          `!/*${mark}${version} DELETE FROM t */`,
          `!SELECT 1 /*${mark}${version} INTO OUTFILE '${corpus.folder}/v' */`,
          `!SELECT 1 /*${mark}${version} , GET_LOCK('corpus', 0) */`,
          `!SELECT 1 /*${mark}${version} */; DELETE FROM t`,
          `!START TRANSACTION /*${mark}${version} READ WRITE */`,
        ]),
      );
      await trick(steps);
    });

    it('temporary tables', async () => {
      await trick([
        '!CREATE TEMPORARY TABLE tt (a INT)',
        '!CREATE TEMPORARY TABLE tt LIKE t',
        '!CREATE TEMPORARY TABLE tt SELECT * FROM t',
        refusesPrepare('CREATE TEMPORARY TABLE tt (a INT)'),
        '!INSERT INTO tt VALUES (1)',
        '!DROP TEMPORARY TABLE t',
        '!ALTER TABLE tt ADD b INT',
      ]);
    });
  });
});
