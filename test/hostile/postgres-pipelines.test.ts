/**
 * HOSTILE.md 34–38c through the running product: pipelines, errors in their middle, messages that contradict themselves,
 * encodings, and sizes. Every statement has its own record with its own outcome; memory stays bounded.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { JournalReader } from '../../src/journal/reader.ts';
import { int16, int32, message as m } from '../conformance/postgres/raw-client.ts';
import {
  type Access,
  type Dbwitness,
  isMissing,
  type PostgresServer,
  residentBytes,
  startDbwitness,
  startPostgres,
} from '../servers/index.ts';
import { AuditedClient, outcomes } from './support/audit.ts';
import { typed } from './support/bare-socket.ts';

const MB = 1024 * 1024;

let server: PostgresServer;
let node: Dbwitness;
let reader: Access;
let writer: Access;

beforeAll(async () => {
  [server, node] = await Promise.all([
    startPostgres({
      version: '15',
      initSql: 'CREATE TABLE t (a int PRIMARY KEY, b text); CREATE ROLE other',
    }),
    startDbwitness(),
  ]);
  reader = await node.grantAccess(server, { grant: { controls: ['read_only'] } });
  writer = await node.grantAccess(server);
});
afterAll(async () => {
  await node?.stop();
  await server?.stop();
});

const run = (sql: string, values: readonly (string | null)[] = []): Buffer[] => [
  m.parse('', sql),
  m.bind('', '', values),
  m.execute(),
];

/** How far the relay's resident memory rises while `action` runs. */
async function relayGrows(action: () => Promise<unknown>): Promise<number> {
  const { relay_pid: pid } = JSON.parse(readFileSync(join(node.dataDir, 'node.json'), 'utf8')) as {
    relay_pid: number;
  };
  writeFileSync(`/proc/${pid}/clear_refs`, '5'); // the peak is forgotten: proc(5)
  const before = residentBytes(pid);
  await action();
  return residentBytes(pid, 'VmHWM') - before;
}

const empty = () => ({ events: 0, data: [] as Buffer[], ended: false });

describe.skipIf(isMissing('postgres'))('pipelines', () => {
  it('34: many Executes before one Sync, an error in the middle', async () => {
    const client = await AuditedClient.connect(node, writer);
    const values = ['1', '2', '3', '2', '4', '5'];
    const lines = await client.exchange(
      m.parse('s', 'INSERT INTO t VALUES ($1)', [23]),
      ...values.flatMap((value) => [m.bind('', 's', [value]), m.execute()]),
      m.sync(),
    );
    const ok = ['2', 'C INSERT 0 1'];
    expect(lines).toEqual([
      '1',
      ...ok,
      ...ok,
      ...ok,
      '2',
      'E 23505 duplicate key value violates unique constraint "t_pkey"',
      'Z I',
    ]);
    const statements = await client.statements();
    expect(statements.map(({ params, outcome }) => [params, outcome])).toEqual([
      [[1], 'completed'],
      [[2], 'completed'],
      [[3], 'completed'],
      [[2], 'failed'],
      [[4], 'skipped'],
      [[5], 'skipped'],
    ]);
    expect(await server.query('SELECT * FROM t')).toEqual([]);
  });

  it.each([
    [
      'too many formats',
      typed('B', '\0s\0', int16(2), int16(0), int16(0), int16(1), int32(1), '1', int16(0)),
    ],
    ['too few values', m.bind('', 's', [])],
    ['length −2', typed('B', '\0s\0', int16(0), int16(1), int32(-2), int16(0))],
    ['length beyond the message', typed('B', '\0s\0', int16(0), int16(1), int32(2 ** 30), '1', int16(0))],
    ['65,535 values that are not there', typed('B', '\0s\0', int16(0), Buffer.from([0xff, 0xff]), int16(0))],
    ['nothing at all', typed('B')],
  ])('35: Bind with %s', async (_, bind) => {
    for (const access of [writer, reader]) {
      const client = await AuditedClient.connect(node, access);
      const lines = await client.exchange(
        m.parse('s', 'SELECT $1::int', [23]),
        m.sync(),
        bind,
        m.execute(),
        m.sync(),
        m.query("SELECT 'alive'"),
      );
      expect(lines.slice(0, 2)).toEqual(['1', 'Z I']);
      expect(lines[2]).toMatch(/^E 08P01 /);
      expect(lines.slice(3)).toEqual(['Z I', 'T', 'D', 'C SELECT 1', 'Z I']);
      const statements = await client.statements();
      expect(statements.at(-1)).toMatchObject({ sql: "SELECT 'alive'", outcome: 'completed' });
      expect(statements.slice(0, -1).every(({ outcome }) => outcome !== 'completed')).toBe(true);
      expect(statements.length).toBeGreaterThan(1);
    }
  });

  it('36: Execute after Close, of the portal and of its statement', async () => {
    const client = await AuditedClient.connect(node, writer);
    expect(
      await client.exchange(
        m.parse('s', "SELECT 'closed'"),
        m.bind('p', 's'),
        m.close('P', 'p'),
        m.execute('p'),
        m.sync(),
      ),
    ).toEqual(['1', '2', '3', 'E 34000 portal "p" does not exist', 'Z I']);
    // A portal outlives its statement's name: it closes with it, as in the server.
    const direct = await client.exchange(m.bind('p', 's'), m.close('S', 's'), m.execute('p'), m.sync());
    expect(direct[0]).toBe(direct[0].startsWith('E') ? 'E 26000 prepared statement "s" does not exist' : '2');
    await client.exchange(m.close('S', 'nothing'), m.close('P', 'nothing'), m.sync());
    const statements = await client.statements();
    expect(statements.filter((one) => one.outcome === 'failed').length).toBeGreaterThan(0);
    expect(statements[0].error?.code).toBe('34000');
  });

  it('37: 10,000 messages in one pipeline, each Execute with its record', async () => {
    const client = await AuditedClient.connect(node, writer);
    const messages = Array.from({ length: 3_333 }, (_, i) => [
      m.parse('', 'SELECT $1', [23]),
      m.bind('', '', [String(i)]),
      m.execute(),
    ]).flat();
    const lines = await client.exchange(...messages, m.sync());
    expect(lines.filter((line) => line === 'C SELECT 1')).toHaveLength(3_333);
    const statements = await client.statements();
    expect(statements.map((one) => one.params?.[0])).toEqual(Array.from({ length: 3_333 }, (_, i) => i));
    expect(statements.every((one) => one.outcome === 'completed')).toBe(true);
  });

  it('37: more than are held in flight, behind an error: skipped, and the session goes on', async () => {
    const client = await AuditedClient.connect(node, writer);
    const rest = Array.from({ length: 20_000 }, () => [m.bind('', ''), m.describe('P'), m.execute()]).flat();
    const lines = await client.exchange(
      ...run('SELECT 1 / generate_series(0, 0)'),
      ...rest,
      m.sync(),
      m.query("SELECT 'alive'"),
    );
    expect(lines).toEqual(['1', '2', 'E 22012 division by zero', 'Z I', 'T', 'D', 'C SELECT 1', 'Z I']);
    const statements = await client.statements();
    expect(statements).toHaveLength(20_002);
    expect(statements[0].outcome).toBe('failed');
    expect(statements.slice(1, -1).every((one) => one.outcome === 'skipped')).toBe(true);
    expect(statements.at(-1)?.outcome).toBe('completed');
  });

  it('37: 5,000 queries in one segment, answered and recorded in order', async () => {
    const client = await AuditedClient.connect(node, writer);
    const lines = await client.exchange(...Array.from({ length: 5_000 }, (_, i) => m.query(`SELECT ${i}`)));
    expect(lines.filter((line) => line === 'Z I')).toHaveLength(5_000);
    const statements = await client.statements();
    expect(statements.map((one) => one.sql)).toEqual(Array.from({ length: 5_000 }, (_, i) => `SELECT ${i}`));
  });

  it('37: Flush without Sync gives the answers so far; the transaction stays open until the Sync', async () => {
    const client = await AuditedClient.connect(node, writer);
    client.raw.send(...run('INSERT INTO t VALUES (77)'), m.flush());
    await client.raw.until('C');
    expect(client.lines()).toEqual(['1', '2', 'C INSERT 0 1']);
    expect(await server.query('SELECT a FROM t')).toEqual([]);
    client.raw.send(...run('SELECT 1/0'), m.flush());
    await client.raw.until('E');
    expect(await client.exchange(m.sync())).toContain('Z I');
    expect(await server.query('SELECT a FROM t')).toEqual([]);
    expect(outcomes(await client.statements())).toEqual([
      'INSERT INTO t VALUES (77) → completed',
      'SELECT 1/0 → failed 22012',
    ]);
  });
});

describe.skipIf(isMissing('postgres'))('38: encodings', () => {
  const hidden = (text: string): Buffer =>
    Buffer.concat(
      text
        .split('§')
        .flatMap((part, i) => (i === 0 ? [] : [Buffer.from([0x95, 0x5c])]).concat(Buffer.from(part))),
    );

  it('invalid UTF-8 is the server’s to judge, and is recorded', async () => {
    const client = await AuditedClient.connect(node, writer);
    const lines = await client.exchange(
      m.query(Buffer.from("SELECT '\xff\xfe'", 'latin1')),
      m.query('SELECT 1'),
    );
    expect(lines[0]).toMatch(/^E 22021 invalid byte sequence/);
    expect(lines.slice(1)).toEqual(['Z I', 'T', 'D', 'C SELECT 1', 'Z I']);
    expect((await client.statements()).map((one) => one.outcome)).toEqual(['failed', 'completed']);
    const controlled = await AuditedClient.connect(node, reader);
    expect((await controlled.exchange(m.query(Buffer.from("SELECT '\xff\xfe'", 'latin1'))))[0]).toMatch(
      /^E (25006|22021)/,
    );
    await controlled.raw.end();
  });

  it('client_encoding switched in the session: what is read is what the server reads', async () => {
    const client = await AuditedClient.connect(node, reader);
    await client.exchange(m.query("SET client_encoding = 'SJIS'"));
    // In SJIS the backslash is the second half of a character: the string ends, and a DROP follows.
    expect((await client.exchange(m.query(hidden("SELECT E'§'; DROP TABLE t; --'"))))[0]).toMatch(/^E 25006/);
    expect(await client.exchange(m.query(hidden("SELECT E'§'")))).toEqual(['T', 'D', 'C SELECT 1', 'Z I']);
    await client.exchange(m.query("SET client_encoding = 'UTF8'"));
    expect(await client.exchange(m.query("SELECT E'\\'; DROP TABLE t; --'"))).toEqual([
      'T',
      'D',
      'C SELECT 1',
      'Z I',
    ]);
    await client.raw.end();
  });

  /** Leaves read-only mode and writes, if the server takes the string to end where we do not. */
  const SMUGGLED =
    "'; SET default_transaction_read_only = off; COMMIT; INSERT INTO t VALUES (666); COMMIT; --'";
  const smuggled = async (): Promise<boolean> =>
    (await server.query('SELECT 1 FROM t WHERE a = 666')).length > 0;

  it.each([
    ['by SET', "SET client_encoding = 'SJIS'"],
    ['by SET NAMES', "SET NAMES 'SJIS'"],
    ['by a quoted name', 'SET U&"client\\005fencoding" = \'SJIS\''],
    ['by set_config', "SELECT set_config('client_encoding', 'SJIS', false)"],
  ])('switched %s, with a text behind it that means something else then', async (_, first) => {
    const client = await AuditedClient.connect(node, reader);
    client.raw.send(m.query(first), m.query(hidden(`SELECT E'§${SMUGGLED}`)), m.query('SELECT 1'));
    await client.raw.until('Z', 3).catch(() => undefined);
    expect(await smuggled()).toBe(false);
    expect(client.lines().filter((line) => line.startsWith('E 25006'))).toHaveLength(1);
    client.raw.destroy();
  });

  it('switched in a batch that has no Sync yet', async () => {
    const client = await AuditedClient.connect(node, reader);
    client.raw.send(...run("SET client_encoding = 'SJIS'"), m.flush());
    await client.raw.until('C');
    client.raw.send(m.query(hidden(`SELECT E'§${SMUGGLED}`)));
    await client.raw.until('Z');
    expect(await smuggled()).toBe(false);
    client.raw.destroy();
    const called = await AuditedClient.connect(node, reader);
    called.raw.send(
      ...run("SET client_encoding = 'SJIS'"),
      ...run(hidden("SELECT E'§', pg_notify('x', 'y') --'").toString('latin1')),
      m.sync(),
    );
    await called.raw.until('Z');
    called.raw.destroy();
  });

  it('switched back by a rollback', async () => {
    const client = await AuditedClient.connect(node, reader);
    await client.exchange(m.query('BEGIN'), m.query("SET client_encoding = 'SJIS'"));
    // SJIS now; UTF-8 again as soon as the transaction is rolled back.
    client.raw.send(m.query('ROLLBACK'), m.query(hidden(`SELECT E'§\\${SMUGGLED}`)));
    await client.raw.until('Z', 2).catch(() => undefined);
    expect(await smuggled()).toBe(false);
    client.raw.destroy();
  });

  it('standard_conforming_strings switched likewise', async () => {
    const client = await AuditedClient.connect(node, reader);
    await client.exchange(m.query('SET standard_conforming_strings = off'));
    client.raw.send(m.query('SET standard_conforming_strings = on'), m.query(`SELECT '\\${SMUGGLED}`));
    await client.raw.until('Z', 2).catch(() => undefined);
    expect(await smuggled()).toBe(false);
    client.raw.destroy();
  });
});

describe.skipIf(isMissing('postgres'))('portals and sizes', () => {
  it('38b: a suspended portal fetched in pieces: one record each, with its own rows', async () => {
    const client = await AuditedClient.connect(node, writer);
    const lines = await client.exchange(
      m.parse('', 'SELECT generate_series(1, 10)'),
      m.bind('p', ''),
      m.describe('P', 'p'),
      m.execute('p', 4),
      m.execute('p', 4),
      m.execute('p', 4),
      m.execute('p', 4),
      m.sync(),
    );
    const row = (count: number): string[] => Array.from({ length: count }, () => 'D');
    expect(lines).toEqual([
      '1',
      '2',
      'T',
      ...row(4),
      's',
      ...row(4),
      's',
      ...row(2),
      'C SELECT 2',
      'C SELECT 0',
      'Z I',
    ]);
    const statements = await client.statements();
    expect(statements.map(({ sql, rows, tag }) => [sql, rows, tag])).toEqual([
      ['SELECT generate_series(1, 10)', 4, ''],
      ['SELECT generate_series(1, 10)', 4, ''],
      ['SELECT generate_series(1, 10)', 2, 'SELECT 2'],
      ['SELECT generate_series(1, 10)', 0, 'SELECT 0'],
    ]);
    const second = await node.api<{ rows: unknown[][] }>('GET', `/statements/${statements[1].uid}/rows`);
    expect(second.rows).toEqual([[5], [6], [7], [8]]);
  });

  it('38c: a statement longer than allowed is refused without being kept', async () => {
    const client = await AuditedClient.connect(node, writer);
    const chunk = Buffer.alloc(8 * MB, 'x');
    const grown = await relayGrows(async () => {
      for (const type of ['Q', 'F']) {
        client.raw.send(Buffer.concat([Buffer.from(type), int32(4 + 20 * chunk.length)]));
        for (let i = 0; i < 20; i++) await client.raw.write(chunk);
        await client.raw.until('Z');
        expect(client.lines().filter((line) => line !== 'N')).toEqual([
          expect.stringMatching(/^E 54000 .*at most/),
          'Z I',
        ]);
      }
    });
    expect(grown).toBeLessThan(60 * MB);
    expect(await client.exchange(m.query('SELECT 1'))).toContain('C SELECT 1');
    expect((await client.statements()).map((one) => one.outcome)).toEqual([
      'refused',
      'refused',
      'completed',
    ]);
  });

  it('38c: a length that no message may have ends the session', async () => {
    const client = await AuditedClient.connect(node, writer);
    client.raw.send(Buffer.concat([Buffer.from('Q'), int32(2 ** 31 - 1)]));
    await client.raw.untilClosed();
    expect(client.lines()).toEqual([expect.stringMatching(/^E 08P01 /)]);
    expect((await client.closed())['close_reason']).toBe('protocol_error');
  });

  it('38c: a statement of 60 MB is recorded whole', async () => {
    const client = await AuditedClient.connect(node, writer);
    const filler = Buffer.alloc(60 * MB, 'abcdefghij');
    const lines = await client.exchange(
      m.query(Buffer.concat([Buffer.from("SELECT length('"), filler, Buffer.from("')")])),
    );
    expect(lines).toEqual(['T', 'D', 'C SELECT 1', 'Z I']);
    const [statement] = await client.statements();
    expect(statement).toMatchObject({ outcome: 'completed', rows: 1 });
    const session = await client.session();
    const journal = JournalReader.open(join(node.dataDir, 'journal'));
    const pieces: Buffer[] = [];
    for (const { event } of journal.events())
      if (event.body.case === 'textDeclared' && hex(event.sessionUid) === session.uid.replaceAll('-', ''))
        pieces.push(Buffer.from(event.body.value.sql));
    await journal.close();
    const text = Buffer.concat(pieces);
    expect(text.length).toBe(60 * MB + "SELECT length('')".length);
    expect(text.subarray(15, -2).equals(filler)).toBe(true);
  });

  it('the rows of a COPY are recorded joined, whole, and before its outcome', async () => {
    const rows = Array.from({ length: 5_000 }, (_, i) => `${i}\trow ${i}\n`);
    const client = await AuditedClient.connect(node, writer);
    await client.exchange(m.query('CREATE TEMPORARY TABLE copied (a int, b text)'));
    const copyIn = [m.query('COPY copied FROM STDIN'), ...rows.map((row) => m.copyData(row)), m.copyDone()];
    expect((await client.exchange(...copyIn)).slice(-2)).toEqual(['C COPY 5000', 'Z I']);
    const lines = await client.exchange(m.query('COPY copied TO STDOUT'));
    expect(lines.filter((line) => line === 'd')).toHaveLength(5_000);
    await client.statements();
    const session = await client.session();
    const journal = JournalReader.open(join(node.dataDir, 'journal'));
    const recorded: Record<string, { events: number; data: Buffer[]; ended: boolean }> = {};
    for (const { event } of journal.events()) {
      if (hex(event.sessionUid) !== session.uid.replaceAll('-', '')) continue;
      const { body } = event;
      if (body.case === 'statementFinished') (recorded[body.value.ordinal] ??= empty()).ended = true;
      if (body.case !== 'copyChunk') continue;
      const copied = (recorded[body.value.ordinal] ??= empty());
      expect([copied.ended, body.value.fromClient]).toEqual([false, body.value.ordinal === 2]);
      copied.events++;
      copied.data.push(Buffer.from(body.value.data));
    }
    await journal.close();
    for (const ordinal of [2, 3]) {
      const { events, data, ended } = recorded[ordinal];
      expect([Buffer.concat(data).toString(), ended]).toEqual([rows.join(''), true]);
      expect(events).toBeLessThan(500); // a chunk at a time, not a row
    }
  });

  it('38c: a row of 120 MB and three million rows stream through', async () => {
    const client = await AuditedClient.connect(node, writer);
    const grown = await relayGrows(async () => {
      client.raw.send(m.query("SELECT repeat('x', 120000000)"));
      expect(await client.raw.drain()).toBeGreaterThan(120_000_000);
      client.raw.send(m.query("SELECT 'a row' FROM generate_series(1, 3000000)"));
      expect(await client.raw.drain()).toBeGreaterThan(3_000_000 * 16);
    });
    expect(grown).toBeLessThan(100 * MB);
    client.raw.destroy();
    const statements = await client.recorded();
    expect(statements.map(({ rows, bytes, truncated }) => [rows, bytes > 16 * rows, truncated])).toEqual([
      [1, true, true],
      [3_000_000, false, true],
    ]);
  });
});

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
