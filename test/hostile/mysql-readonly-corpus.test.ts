/**
 * The read-only corpus through the running product, on real servers: HOSTILE.md 43–57 for the controls of grants.
 *
 * Every entry is sent as a text and as a prepared statement under each control. What is refused ends with an error that
 * says why, is recorded as refused, and never reaches the server, as its general log shows. What is allowed gives packet
 * for packet what the server gives without dbwitness. And after it all the server is as it was: tables, definitions,
 * accounts, variables, files, locks, rows that InnoDB counted, and the binary log to the byte.
 */
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import mysql, { type Connection } from 'mysql2/promise';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Control } from '../../src/model/access.ts';
import { Capability as C } from '../../src/wire/mysql/protocol.ts';
import {
  failureOf,
  packet,
  type Packet,
  RawMysql,
  type RawTarget,
  uint32,
} from '../conformance/mysql/raw-client.ts';
import { type CorpusEntry, corpusFor, FIXTURE, FOLDER, MARIADB_FIXTURE } from '../corpus/mysql-read-only.ts';
import {
  type Access,
  type ApiObject,
  type Dbwitness,
  isMissing,
  type MysqlServer,
  startDbwitness,
  startMariadb,
  startMysql,
  waitFor,
} from '../servers/index.ts';

const SETTINGS = {
  secure_file_priv: '',
  log_bin: 'corpus',
  server_id: '7',
  log_bin_trust_function_creators: '1',
};
const MYSQL56 = { ...SETTINGS, binlog_format: 'ROW' };

const SERVERS = [
  ['mariadb', () => startMariadb({ settings: SETTINGS, logStatements: true })],
  ['mariadb-11.8', () => startMariadb({ version: '11.8', settings: SETTINGS, logStatements: true })],
  ['mysql-9.7', () => startMysql({ settings: SETTINGS, logStatements: true })],
  ['mysql-5.6', () => startMysql({ version: '5.6', settings: MYSQL56, logStatements: true })],
] as const;

/** Sessions at a time: what is allowed changes nothing, so that they do not get in each other's way. */
const AT_ONCE = 8;
/** Rows of these are never twice the same. Their definitions are. */
const VARIES =
  /UUID|BENCHMARK|now\(\)|CONNECTION_ID|PROCESSLIST|INNODB STATUS|TABLE STATUS|BINARY LOGS|^EXPLAIN|^ANALYZE|(?:REPLICA|SLAVE) STATUS/i;
/** Refused by us: no server uses these words. */
const OURS =
  /^(?:1792|1227|1044) .*(?:is refused under|this grant|this session is for|dbwitness|prepared here)/s;
const REFUSED = /^(?:1792 25006|1227 42000) .{40}/;

interface Statement {
  readonly session_uid: string;
  readonly ordinal: number;
  readonly kind: string;
  readonly sql: string;
  readonly outcome: string;
  readonly decision: string;
}
interface Page<Item> {
  readonly items: readonly Item[];
  readonly next_cursor: string | null;
}

let node: Dbwitness;

beforeAll(async () => {
  node = await startDbwitness({ mysql: true });
});
afterAll(async () => node?.stop());

async function pages<Item>(path: string): Promise<Item[]> {
  const found: Item[] = [];
  for (let cursor: string | null = ''; cursor !== null; ) {
    const more = cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`;
    const page: Page<Item> = await node.api('GET', `${path}&limit=500${more}`);
    found.push(...page.items);
    cursor = page.next_cursor;
  }
  return found;
}

const prepareOf = (sql: string | Buffer): Buffer =>
  Buffer.concat([Buffer.from([0x16]), Buffer.from(sql as string)]);
const executeOf = (prepared: readonly Packet[]): Buffer =>
  Buffer.concat([Buffer.from([0x17]), prepared[0].payload.subarray(1, 5), Buffer.from([0]), uint32(1)]);

/** What a session was answered, comparable with another's. */
class Transcript {
  readonly lines: string[] = [];

  add(packets: readonly Packet[], varies: boolean): void {
    const first = packets[0].payload;
    const isResult = first[0] !== 0x00 && first[0] !== 0xff && first[0] !== 0xfb;
    // MariaDB leaves the definitions out where the client has them.
    const definitions = first.length > 1 && first[1] === 0 ? 0 : first[0];
    const kept = varies && isResult ? packets.slice(0, 1 + definitions) : packets;
    this.lines.push(failureOf(packets) || kept.map(({ payload }) => payload.toString('latin1')).join('|'));
  }
}

async function inChunks<T>(all: readonly T[], size: number, work: (chunk: readonly T[]) => Promise<void>) {
  for (let at = 0; at < all.length; at += size) await work(all.slice(at, at + size));
}

describe.each(SERVERS)('%s', (need, start) => {
  describe.skipIf(isMissing(need))('behind dbwitness', () => {
    let server: MysqlServer;
    let probe: Connection;
    let folder: string;
    let direct: RawTarget;
    const access = new Map<Control, Access>();
    /** What both ends speak, without the reports that dbwitness asks the server for. */
    let wanted = 0;
    let mariadb = 0;
    const flavour = need.startsWith('mariadb') ? 'mariadb' : 'mysql';
    const corpus = corpusFor(flavour);

    beforeAll(async () => {
      folder = mkdtempSync(join(tmpdir(), 'dbw-corpus-'));
      chmodSync(folder, 0o777);
      server = await start();
      probe = await mysql.createConnection({ ...server.admin(), multipleStatements: true });
      await reset();
      for (const control of ['read_only', 'block_ddl', 'block_copy'] as const)
        access.set(
          control,
          await node.grantAccess(server, {
            database: { database_name: 'corpus' },
            grant: { controls: [control] },
          }),
        );
      direct = { ...server, database: 'corpus' };
      const greeter = await RawMysql.open(node.host, node.mysqlPort);
      const { capabilities } = await greeter.greet();
      greeter.destroy();
      wanted = (capabilities.flags & ~(C.SESSION_TRACK | C.NO_SCHEMA)) >>> 0;
      mariadb = capabilities.mariadb;
    });
    afterAll(async () => {
      await probe?.end();
      await server?.stop();
      if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
    });

    async function reset(): Promise<void> {
      for (const name of readdirSync(folder)) rmSync(join(folder, name));
      writeFileSync(join(folder, 'rows'), '5\n6\n', { mode: 0o644 });
      const own = flavour === 'mariadb' ? MARIADB_FIXTURE : [];
      for (const sql of [...FIXTURE, ...own, 'SET GLOBAL max_connections = 151']) {
        // MySQL 5.6 has no IF EXISTS for accounts.
        if (need === 'mysql-5.6' && sql.startsWith('DROP USER')) {
          for (const name of ['corpus_user', 'corpus_x'])
            await probe.query(`DROP USER ${name}`).catch(() => undefined);
        } else await probe.query(sql);
      }
    }

    const OWN = "IN ('corpus', 'elsewhere', 'n')";
    const counters =
      "VARIABLE_NAME IN ('INNODB_ROWS_INSERTED', 'INNODB_ROWS_UPDATED', 'INNODB_ROWS_DELETED', 'HANDLER_DELETE')";
    const FACTS: Readonly<Record<string, string>> = {
      tables: `SELECT table_schema, table_name, table_type FROM information_schema.tables WHERE table_schema ${OWN} ORDER BY 1, 2`,
      columns: `SELECT table_schema, table_name, column_name, column_type FROM information_schema.columns WHERE table_schema ${OWN} ORDER BY 1, 2, 3`,
      indexes: `SELECT table_name, index_name FROM information_schema.statistics WHERE table_schema ${OWN} ORDER BY 1, 2`,
      databases: 'SHOW DATABASES',
      routines: `SELECT routine_name FROM information_schema.routines WHERE routine_schema ${OWN} ORDER BY 1`,
      triggers: `SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema ${OWN}`,
      events: `SELECT event_name FROM information_schema.events WHERE event_schema ${OWN}`,
      accounts:
        'CHECKSUM TABLE mysql.global_priv, mysql.user, mysql.db, mysql.tables_priv, mysql.func, mysql.plugin',
      rows: 'CHECKSUM TABLE corpus.t, corpus.u, corpus.m, elsewhere.t',
      variables: 'SHOW GLOBAL VARIABLES',
      lock: "SELECT IS_USED_LOCK('corpus')",
      counters: `SHOW GLOBAL STATUS WHERE ${counters}`,
      // Its length: what any transaction left there.
      binlog: 'SHOW BINARY LOGS',
      transactions: 'XA RECOVER',
      ...(flavour === 'mariadb' ? { sequence: 'SELECT next_not_cached_value FROM corpus.s' } : {}),
    };
    /** Not settings: what of the server's state is shown among them. */
    const STATE = /^(?:gtid_|timestamp|innodb_buffer_pool_load|last_insert|.*_pos$)/;

    async function snapshot(): Promise<Record<string, string>> {
      const [found] = await probe.query<mysql.RowDataPacket[][]>(Object.values(FACTS).join('; '));
      const facts: Record<string, string> = { folder: readdirSync(folder).sort().join(' ') };
      for (const [i, name] of Object.keys(FACTS).entries()) {
        const rows =
          name === 'variables'
            ? found[i].filter((row) => !STATE.test(String(row['Variable_name'])))
            : found[i];
        facts[name] = JSON.stringify(rows);
      }
      return facts;
    }

    async function changedSince(before: Readonly<Record<string, string>>): Promise<string[]> {
      const after = await snapshot();
      return Object.keys(after)
        .filter((name) => after[name] !== before[name])
        .map((name) => `${name}: ${after[name].slice(0, 300)}`);
    }

    const textOf = (entry: CorpusEntry): string => entry.sql.replaceAll(FOLDER, folder);
    const accessOf = (control: Control): Access => {
      const found = access.get(control);
      if (!found) throw new Error(`no grant with ${control}`);
      return found;
    };
    const isRefused = (entry: CorpusEntry, control: Control): boolean =>
      control === 'read_only' ? entry.decision === 'refuse' : entry.alsoRefusedBy.includes(control);

    async function open(target: RawTarget, name: string, control: Control | null): Promise<RawMysql> {
      const session = await RawMysql.connect(target, { wanted, mariadb, attributes: { program_name: name } });
      if (control === 'read_only') await session.query('SET SESSION TRANSACTION READ ONLY');
      return session;
    }

    /** An entry's statements, as a text and as a prepared statement. */
    async function transcript(session: RawMysql, entry: CorpusEntry): Promise<Transcript> {
      const said = new Transcript();
      const sql = textOf(entry);
      const varies = VARIES.test(sql);
      for (const before of entry.setup ?? []) said.add(await session.query(before), false);
      said.add(await session.query(sql), varies);
      // Known by us alone: the name of the database may be ours, so USE is not prepared.
      if (!sql.startsWith('USE')) {
        const prepared = await session.run(prepareOf(sql), 'prepare');
        said.lines.push(failureOf(prepared) || `prepared ${prepared.length}`);
        if (prepared[0].payload[0] === 0) said.add(await session.run(executeOf(prepared)), varies);
      }
      // What is open counts as done.
      await session.query('COMMIT');
      await session.quit();
      return said;
    }

    const log = (from: number): string => readFileSync(server.generalLog).toString('utf8', from);

    /** Refused twice, each with its reason, and the server has seen nothing of it. */
    async function refuse(entry: CorpusEntry, control: Control, name: string): Promise<string[]> {
      const wrong: string[] = [];
      const session = await open(accessOf(control), name, null);
      for (const sql of entry.setup ?? []) {
        const failed = await session.failure(sql);
        if (failed !== '') wrong.push(`set-up ${sql}: ${failed}`);
      }
      const sql = textOf(entry);
      const size = statSync(server.generalLog).size;
      const asText = await session.failure(sql);
      const asPrepared = failureOf(await session.run(prepareOf(sql), 'prepare'));
      // The server reports sql_mode: what is sent now is read as it stands. What is prepared may be read again later.
      const known = entry.byDoubtAlone === true;
      if (known && REFUSED.test(asText)) wrong.push(`${sql}: ${asText}`);
      for (const failed of known ? [asPrepared] : [asText, asPrepared])
        if (!REFUSED.test(failed)) wrong.push(`${sql}: answered with ${failed || 'success'}`);
      await session.query('COMMIT');
      await session.quit();
      if (!known && log(size).includes(sql)) wrong.push(`${sql}: the server got it`);
      return wrong;
    }

    /** What was recorded of the sessions with such names, by name. */
    async function recorded(control: Control, names: readonly string[]): Promise<Map<string, Statement[]>> {
      const { userUid } = accessOf(control);
      const sessions = await waitFor('the ends of all sessions in the index', async () => {
        const all = await pages<ApiObject>(`/sessions?user=${userUid}`);
        const ended = new Set(
          all.filter((one) => one['closed_at'] !== null).map((one) => one['application_name']),
        );
        return names.every((name) => ended.has(name)) ? all : null;
      });
      const nameOf = new Map(sessions.map((one) => [one.uid, String(one['application_name'])]));
      const byName = new Map<string, Statement[]>();
      for (const statement of await pages<Statement>(`/statements?user=${userUid}`)) {
        const name = nameOf.get(statement.session_uid) ?? '';
        byName.set(name, [...(byName.get(name) ?? []), statement]);
      }
      return byName;
    }

    describe.each(['read_only', 'block_ddl', 'block_copy'] as const)('under %s', (control) => {
      it('everything that is to be refused is refused, told, recorded, and changes nothing', async () => {
        const entries = corpus.filter((entry) => isRefused(entry, control));
        expect(entries.length).toBeGreaterThan({ read_only: 130, block_ddl: 50, block_copy: 40 }[control]);
        const wrong: string[] = [];
        const names: string[] = [];
        await inChunks(entries, AT_ONCE, async (chunk) => {
          const before = await snapshot();
          const answers = chunk.map(async (entry, i) => {
            const name = `refused ${names.length + i}`;
            wrong.push(...(await refuse(entry, control, name)));
          });
          for (let i = 0; i < chunk.length; i++) names.push(`refused ${names.length}`);
          await Promise.all(answers);
          const changed = await changedSince(before);
          if (changed.length > 0) wrong.push(...chunk.map(({ sql }) => `one of: ${sql}`), ...changed);
        });
        expect(wrong).toEqual([]);
        const byName = await recorded(control, names);
        for (const [i, entry] of entries.entries()) {
          const own = byName.get(names[i]) ?? [];
          const refused = own.filter(({ outcome }) => outcome === 'refused');
          expect(refused.map(({ kind }) => kind).sort(), entry.sql).toEqual(
            entry.byDoubtAlone ? ['prepare'] : ['prepare', 'simple'],
          );
          expect(
            own.every(({ decision, outcome }) => outcome !== 'refused' || decision !== ''),
            entry.sql,
          ).toBe(true);
        }
      });

      it('everything else that reads is answered as the server answers it', async () => {
        const entries = corpus.filter(
          (entry) => entry.decision === 'allow' && (control === 'read_only' || !entry.wouldWrite),
        );
        expect(entries.length).toBeGreaterThan(90);
        const wrong: string[] = [];
        let done = 0;
        await inChunks(entries, AT_ONCE, async (chunk) => {
          const before = await snapshot();
          await Promise.all(
            chunk.map(async (entry) => {
              const name = `allowed ${done++}`;
              const ours = await transcript(await open(accessOf(control), name, null), entry);
              const theirs = await transcript(await open(direct, name, control), entry);
              if (ours.lines.join('\n') !== theirs.lines.join('\n'))
                wrong.push(`${entry.sql}: ${JSON.stringify(ours.lines)} for ${JSON.stringify(theirs.lines)}`);
            }),
          );
          const changed = await changedSince(before);
          if (changed.length > 0) wrong.push(...chunk.map(({ sql }) => `one of: ${sql}`), ...changed);
        });
        expect(wrong).toEqual([]);
        const byName = await recorded(
          control,
          [...entries.keys()].map((i) => `allowed ${i}`),
        );
        for (const [i, entry] of entries.entries())
          expect(
            (byName.get(`allowed ${i}`) ?? []).filter(({ outcome }) => outcome === 'refused'),
            entry.sql,
          ).toEqual([]);
      });
    });

    describe('under read_only, several statements of a session', () => {
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

      /** Runs the steps, looks whether anything has changed while the session is open, and ends it. */
      async function trick(
        steps: readonly Step[],
        options: { readonly collation?: number; readonly wanted?: number } = {},
      ): Promise<void> {
        const before = await snapshot();
        const session = await RawMysql.connect(accessOf('read_only'), {
          wanted: (wanted | C.SESSION_TRACK) >>> 0,
          mariadb,
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
          expect(await changedSince(before), said).toEqual([]);
          await session.query('COMMIT');
          expect(await changedSince(before), said).toEqual([]);
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
          ...(flavour === 'mariadb' ? [[`EXECUTE IMMEDIATE ${quoted}`]] : []),
        ];
      };

      it('sql_mode, set in every way, and then quotes that mean something else', async () => {
        for (const minimal of [false, true]) {
          const options = minimal ? { wanted: (wanted & ~(C.SESSION_TRACK | C.DEPRECATE_EOF)) >>> 0 } : {};
          for (const steps of setters('ANSI_QUOTES'))
            await trick([ANSI, ...steps, `!${ANSI}`, refusesPrepare(ANSI)], options);
          for (const steps of setters('NO_BACKSLASH_ESCAPES'))
            await trick([PLAIN, ...steps, `!${PLAIN}`, refusesPrepare(PLAIN)], options);
        }
        await trick(["SET sql_mode = 'ANSI_QUOTES'", `!${ANSI}`, "SET sql_mode = ''", ANSI]);
        await trick(["SET sql_mode = 'NO_BACKSLASH_ESCAPES'", `!${PLAIN}`, 'SET sql_mode = DEFAULT', PLAIN]);
        if (need !== 'mysql-5.6') await trick(["SET sql_mode = 'ANSI_QUOTES'", reset, ANSI, PLAIN]);
        if (flavour === 'mariadb') await trick(["SET STATEMENT sql_mode = 'ANSI_QUOTES' FOR SELECT 1", ANSI]);
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

      it.skipIf(need !== 'mysql-9.7')('which MySQL does: it takes the lock', async () => {
        const session = await RawMysql.connect(direct, { wanted });
        await session.query('SET SESSION TRANSACTION READ ONLY');
        const answer = await session.run(
          prepareOf(`SELECT a AS "\\", GET_LOCK('corpus', 0) FROM elsewhere.t -- " FROM elsewhere.t`),
          'prepare',
        );
        await session.query("SET sql_mode = 'ANSI_QUOTES'");
        await probe.query('INSERT INTO elsewhere.t VALUES (1)');
        await probe.query('ALTER TABLE elsewhere.t COMMENT = "changed"');
        await session.run(executeOf(answer));
        const [rows] = await probe.query<mysql.RowDataPacket[]>("SELECT IS_USED_LOCK('corpus') AS held");
        expect(rows[0]['held']).not.toBeNull();
        await session.quit();
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
        if (flavour === 'mariadb')
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
            const { user, password, database } = accessOf('read_only');
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
        const [{ v }] = await server.query<{ v: string }>('SELECT VERSION() AS v');
        const [major, minor, patch] = v.split(/[.-]/).map(Number);
        const own = major * 10_000 + minor * 100 + patch;
        const versions = ['', ...[own - 1, own, own + 1, 50_699, 50_700, 99_999, 100_000].map(String)];
        const steps = versions.flatMap((version) =>
          ['!', ...(flavour === 'mariadb' ? ['M!'] : []), ...(version.length === 5 ? ['!0'] : [])].flatMap(
            (mark) => [
              `!/*${mark}${version} DELETE FROM t */`,
              `!SELECT 1 /*${mark}${version} INTO OUTFILE '${folder}/v' */`,
              `!SELECT 1 /*${mark}${version} , GET_LOCK('corpus', 0) */`,
              `!SELECT 1 /*${mark}${version} */; DELETE FROM t`,
              `!START TRANSACTION /*${mark}${version} READ WRITE */`,
            ],
          ),
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
});
