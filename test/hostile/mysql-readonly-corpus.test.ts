/**
 * The read-only corpus through the running product, on real servers: HOSTILE.md 43–57 for the controls of grants.
 *
 * Every entry is sent as a text and as a prepared statement under each control. What is refused ends with an error that
 * says why, is recorded as refused, and never reaches the server, as its general log shows. What is allowed gives packet
 * for packet what the server gives without dbwitness. And after it all the server is as it was: tables, definitions,
 * accounts, variables, files, locks, rows that InnoDB counted, and the binary log to the byte.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Control } from '../../src/model/access.ts';
import { failureOf, type Packet, RawMysql, type RawTarget } from '../conformance/mysql/raw-client.ts';
import { type CorpusEntry, corpusFor, FOLDER } from '../corpus/mysql-read-only.ts';
import { type ApiObject, type Dbwitness, isMissing, startDbwitness, waitFor } from '../servers/index.ts';
import { CorpusServer, type CorpusServerName, executeOf, prepareOf } from './support/mysql-corpus.ts';

/** Sessions at a time: what is allowed changes nothing, so that they do not get in each other's way. */
const AT_ONCE = 12;
/** Rows of these are never twice the same. Their definitions are. */
const VARIES =
  /UUID|BENCHMARK|now\(\)|CONNECTION_ID|PROCESSLIST|INNODB STATUS|TABLE STATUS|BINARY LOGS|GROUP BY b|^EXPLAIN|^ANALYZE|(?:REPLICA|SLAVE) STATUS/i;
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

/** All of it on one server of each family, read_only alone on the oldest and the newest. */
const SERVERS: readonly (readonly [CorpusServerName, readonly Control[]])[] = [
  ['mariadb', ['read_only', 'block_ddl', 'block_copy']],
  ['mysql-9.7', ['read_only', 'block_ddl', 'block_copy']],
  ['mariadb-11.8', ['read_only']],
  ['mysql-5.6', ['read_only']],
];

let node: Dbwitness;
const started = new Map<CorpusServerName, CorpusServer>();

beforeAll(async () => {
  node = await startDbwitness({ mysql: true });
  const present = SERVERS.filter(([name]) => !isMissing(name));
  await Promise.all(
    present.map(async ([name, controls]) =>
      started.set(name, await CorpusServer.start(name, node, controls)),
    ),
  );
});
afterAll(async () => {
  await node?.stop();
  await Promise.all([...started.values()].map((one) => one.stop()));
});

describe.each(SERVERS)('%s', (need, controls) => {
  describe.skipIf(isMissing(need))('behind dbwitness', () => {
    let target: CorpusServer;
    const corpus = corpusFor(need.startsWith('mariadb') ? 'mariadb' : 'mysql');

    beforeAll(() => {
      const found = started.get(need);
      if (!found) throw new Error(`${need} was not started`);
      target = found;
    });

    /** How everything was before the first entry, and has to be after each. */
    let before: Record<string, string> | undefined;
    const textOf = (entry: CorpusEntry): string => entry.sql.replaceAll(FOLDER, target.folder);
    const isRefused = (entry: CorpusEntry, control: Control): boolean =>
      control === 'read_only' ? entry.decision === 'refuse' : entry.alsoRefusedBy.includes(control);

    /** @param like whose capabilities are wanted: what dbwitness offers depends on the servers it has met so far. */
    async function open(
      where: RawTarget,
      name: string,
      control: Control | null,
      like?: RawMysql,
    ): Promise<RawMysql> {
      const session = await RawMysql.connect(where, {
        wanted: like?.capabilities.flags ?? target.wanted,
        mariadb: like?.capabilities.mariadb ?? target.mariadb,
        attributes: { program_name: name },
      });
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

    /** Refused twice, each with its reason, and the server has seen nothing of it. */
    async function refuse(entry: CorpusEntry, control: Control, name: string): Promise<string[]> {
      const wrong: string[] = [];
      const session = await open(target.accessOf(control), name, null);
      for (const sql of entry.setup ?? []) {
        const failed = await session.failure(sql);
        if (failed !== '') wrong.push(`set-up ${sql}: ${failed}`);
      }
      const sql = textOf(entry);
      const size = target.logged;
      const asText = await session.failure(sql);
      const asPrepared = failureOf(await session.run(prepareOf(sql), 'prepare'));
      // The server reports sql_mode: what is sent now is read as it stands. What is prepared may be read again later.
      const known = entry.byDoubtAlone?.includes(control) === true;
      if (known && REFUSED.test(asText)) wrong.push(`${sql}: ${asText}`);
      for (const failed of known ? [asPrepared] : [asText, asPrepared])
        if (!REFUSED.test(failed)) wrong.push(`${sql}: answered with ${failed || 'success'}`);
      await session.query('COMMIT');
      await session.quit();
      if (!known && target.log(size).includes(sql)) wrong.push(`${sql}: the server got it`);
      return wrong;
    }

    /** What was recorded of the sessions with such names, by name. */
    async function recorded(control: Control, names: readonly string[]): Promise<Map<string, Statement[]>> {
      const { userUid } = target.accessOf(control);
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

    describe.each(controls)('under %s', (control) => {
      it('everything that is to be refused is refused, told, recorded, and changes nothing', async () => {
        const entries = corpus.filter((entry) => isRefused(entry, control));
        expect(entries.length).toBeGreaterThan({ read_only: 130, block_ddl: 50, block_copy: 40 }[control]);
        const wrong: string[] = [];
        const names: string[] = [];
        await inChunks(entries, AT_ONCE, async (chunk) => {
          before ??= await target.snapshot();
          const answers = chunk.map(async (entry, i) => {
            const name = `refused ${names.length + i}`;
            wrong.push(...(await refuse(entry, control, name)));
          });
          for (let i = 0; i < chunk.length; i++) names.push(`refused ${names.length}`);
          await Promise.all(answers);
          const changed = await target.changedSince(before);
          if (changed.length === 0) return;
          wrong.push(...chunk.map(({ sql }) => `one of: ${sql}`), ...changed);
          before = undefined;
        });
        expect(wrong).toEqual([]);
        const byName = await recorded(control, names);
        for (const [i, entry] of entries.entries()) {
          const own = byName.get(names[i]) ?? [];
          const refused = own.filter(({ outcome }) => outcome === 'refused');
          expect(refused.map(({ kind }) => kind).sort(), entry.sql).toEqual(
            entry.byDoubtAlone?.includes(control) ? ['prepare'] : ['prepare', 'simple'],
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
          before ??= await target.snapshot();
          await Promise.all(
            chunk.map(async (entry) => {
              const name = `allowed ${done++}`;
              const session = await open(target.accessOf(control), name, null);
              const ours = await transcript(session, entry);
              const theirs = await transcript(await open(target.direct, name, control, session), entry);
              if (ours.lines.join('\n') !== theirs.lines.join('\n'))
                wrong.push(`${entry.sql}: ${JSON.stringify(ours.lines)} for ${JSON.stringify(theirs.lines)}`);
            }),
          );
          const changed = await target.changedSince(before);
          if (changed.length === 0) return;
          wrong.push(...chunk.map(({ sql }) => `one of: ${sql}`), ...changed);
          before = undefined;
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
  });
});
