/**
 * Grants, quotas and the journal under MySQL's protocol: what ends a session, what refuses a statement, each with an error
 * that the client understands, and nothing left running at the server.
 */
import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { failureOf, packet, queryPayload, RawMysql, uint32 } from '../conformance/mysql/raw-client.ts';
import {
  type Access,
  type Dbwitness,
  isMissing,
  type MysqlServer,
  startDbwitness,
  startMariadb,
  waitFor,
} from '../servers/index.ts';
import { AuditedMysql } from './support/mysql-audit.ts';

const isRoot = process.getuid?.() === 0;

describe.skipIf(isMissing('mariadb'))('a grant for MariaDB', () => {
  let server: MysqlServer;
  let node: Dbwitness;
  let dataDir: string;

  const filler = (): string => join(dataDir, 'journal', 'filler');
  /** Nothing more fits on the journal's disk. */
  const fillDisk = (): void => {
    const file = openSync(filler(), 'w');
    try {
      for (;;) writeSync(file, Buffer.alloc(4096));
    } catch {
      closeSync(file); // ENOSPC: that is the point
    }
  };

  beforeAll(async () => {
    dataDir = mkdtempSync(join(tmpdir(), 'dbw-mysql-grants-'));
    if (isRoot) {
      mkdirSync(join(dataDir, 'journal'));
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64m', 'tmpfs', join(dataDir, 'journal')]);
    }
    [server, node] = await Promise.all([
      startMariadb({ logStatements: true }),
      startDbwitness({ mysql: true, dataDir }),
    ]);
    await server.query('CREATE TABLE t (a INT PRIMARY KEY)', [], 'test');
  });
  afterAll(async () => {
    await node?.stop();
    await server?.stop();
    if (isRoot && dataDir !== undefined) execFileSync('umount', ['-l', join(dataDir, 'journal')]);
    if (dataDir !== undefined) rmSync(dataDir, { recursive: true, force: true });
  });

  const running = async (what: string): Promise<boolean> =>
    (await server.query<{ Info: string | null }>('SHOW PROCESSLIST')).some(({ Info }) =>
      Info?.includes(what),
    );

  /** The last error that a client is told before its connection ends. */
  async function ended(client: RawMysql): Promise<string> {
    const one = await client.packet();
    await client.untilClosed();
    return failureOf([one]);
  }

  async function bothEnd(access: Access, act: () => Promise<unknown>, message: RegExp): Promise<void> {
    const idle = await RawMysql.connect(access);
    const busy = await RawMysql.connect(access);
    const sleep = `SELECT SLEEP(600), '${access.grantUid}'`;
    busy.send(packet(queryPayload(busy.capabilities, sleep)));
    await waitFor('the statement to run', () => running(access.grantUid));
    await act();
    expect(await ended(idle)).toMatch(message);
    expect(await ended(busy)).toMatch(message);
    await waitFor('the statement to be killed', async () => !(await running(access.grantUid)));
  }

  it('that expires ends its sessions, idle and busy, and what they run', async () => {
    const access = await node.grantAccess(server, {
      grant: { expires_at: new Date(Date.now() + 5_000).toISOString() },
    });
    await bothEnd(access, async () => {}, /^1317 70100 .*expired/);
    await expect(RawMysql.connect(access)).rejects.toThrow(/1044 42000/);
  });

  it('that is revoked does so at once', async () => {
    const access = await node.grantAccess(server);
    await bothEnd(
      access,
      async () => node.call('DELETE', `/grants/${access.grantUid}`),
      /^1317 70100 .*revoked/,
    );
  });

  it('of statements counts each of a text and each execution, and runs none of a text that is too many', async () => {
    const access = await node.grantAccess(server, { grant: { max_query_counts: 4 } });
    const client = await AuditedMysql.connect(node, access);
    const { raw } = client;
    expect(await raw.failure('SELECT 1; SELECT 2')).toBe('');
    expect(await raw.failure("SELECT 'too'; SELECT 'many'; SELECT 3")).toMatch(/^1226 42000 .*allows 4/);
    expect(readFileSync(server.generalLog, 'latin1')).not.toContain("'too'");
    const prepared = await raw.run(Buffer.from('\x16SELECT 5'), 'prepare');
    const execute = Buffer.concat([
      Buffer.from([0x17]),
      prepared[0].payload.subarray(1, 5),
      Buffer.from([0]),
      uint32(1),
    ]);
    expect(failureOf(await raw.run(execute))).toBe('');
    expect(failureOf(await raw.run(execute))).toBe('');
    expect(failureOf(await raw.run(execute))).toMatch(/^1226/);
    expect((await client.statements()).filter(({ outcome }) => outcome === 'completed')).toHaveLength(4);
  });

  it('of bytes ends the session in the middle of a result', async () => {
    const access = await node.grantAccess(server, { grant: { max_bytes_transferred: 200_000 } });
    const client = await AuditedMysql.connect(node, access);
    client.pipeline("SELECT REPEAT('q', 100) FROM seq_1_to_1000000");
    await client.raw.untilClosed();
    const [statement] = await client.recorded();
    expect(statement.outcome).toBe('unknown');
    expect(statement.rows).toBeLessThan(1_000_000);
  });

  it('with sync durability answers the same, pipelined as well', async () => {
    const access = await node.grantAccess(server, { database: { recording: { durability: 'sync' } } });
    const client = await AuditedMysql.connect(node, access);
    client.pipeline('SELECT 1', 'SELEKT 2', 'SELECT 3', 'USE mysql', 'SELECT 5');
    const failures: string[] = [];
    for (let i = 0; i < 5; i++) failures.push(failureOf(await client.raw.answer()).slice(0, 4));
    expect(failures).toEqual(['', '1064', '', '1044', '']);
    expect((await client.statements()).map(({ outcome }) => outcome)).toEqual([
      'completed',
      'failed',
      'completed',
      'refused',
      'completed',
    ]);
  });

  it('with statement comments carries the statement into the server, and the record shows the client’s text', async () => {
    const access = await node.grantAccess(server, { database: { recording: { statement_comment: true } } });
    const client = await AuditedMysql.connect(node, access);
    expect(await client.raw.row("SELECT 'commented'")).toEqual(['commented']);
    const prepared = await client.raw.run(Buffer.from("\x16SELECT 'prepared'"), 'prepare');
    expect(failureOf(prepared)).toBe('');
    const [session] = await waitFor('the session', async () => {
      const found = await client.sessions();
      return found.length > 0 ? found : null;
    });
    const log = readFileSync(server.generalLog, 'latin1');
    expect(log).toContain(`/* dbw:${session.uid}:1 */ SELECT 'commented'`);
    expect(log).toContain(`/* dbw:${session.uid} */ SELECT 'prepared'`);
    expect((await client.statements())[0].sql).toBe("SELECT 'commented'");
  });

  it.skipIf(!isRoot)(
    '67: a full disk refuses statements, and nothing of a refused turn reaches the server',
    async () => {
      const access = await node.grantAccess(server);
      const client = await AuditedMysql.connect(node, access);
      const { raw } = client;
      const prepared = await raw.run(Buffer.from('\x16SELECT ?'), 'prepare');
      const id = prepared[0].payload.subarray(1, 5);
      fillDisk();
      const big = `SELECT '${'f'.repeat(60_000)}'`;
      await waitFor('the disk to be full', async () => (await raw.failure(big)).startsWith('1021'));
      // Announced and refused in one turn: statements, an execution with long data, a close; what needs no record goes on.
      const execute = Buffer.concat([
        Buffer.from([0x17]),
        id,
        Buffer.from([0]),
        uint32(1),
        Buffer.from([0, 1, 0xfd, 0, 1, 0x78]),
      ]);
      raw.send(
        packet(queryPayload(raw.capabilities, 'INSERT INTO t VALUES (67)')),
        packet(Buffer.from([0x0e])),
        packet(execute),
      );
      expect(failureOf(await raw.answer())).toMatch(/^1021 HY000 .*journal/);
      expect(failureOf(await raw.answer('one'))).toBe('');
      expect(failureOf(await raw.answer())).toMatch(/^1021/);
      await expect(RawMysql.connect(access)).rejects.toThrow(/1021/);
      expect(await server.query('SELECT * FROM t', [], 'test')).toEqual([]);
      rmSync(filler());
      await waitFor('statements to run again', async () => (await raw.failure('SELECT 1')) === '');
      const again = Buffer.concat([
        Buffer.from([0x17]),
        id,
        Buffer.from([0]),
        uint32(1),
        Buffer.from([0, 1, 0xfd, 0, 1, 0x79]),
      ]);
      expect(failureOf(await raw.run(again))).toBe('');
      expect(
        (await client.statements()).some(
          ({ sql, outcome }) => sql.startsWith('INSERT') && outcome !== 'refused',
        ),
      ).toBe(false);
      const verified = await node.cli('verify', join(dataDir, 'journal'));
      expect(verified.code, verified.stdout + verified.stderr).toBe(0);
    },
  );
});
