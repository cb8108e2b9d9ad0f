/**
 * HOSTILE.md 67 and 68 through the running product, under load: the disk of the journal fills, the store goes away. Nothing is
 * forwarded that is not recorded, nothing is lost, sessions survive, and all goes on without a restart.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { message as m, RawClient } from '../conformance/postgres/raw-client.ts';
import {
  type Access,
  type Dbwitness,
  isMissing,
  type PostgresServer,
  startDbwitness,
  startPostgres,
  waitFor,
} from '../servers/index.ts';
import { notIn } from '../simulation/chaos.ts';
import { recordedForm } from '../simulation/chaos-postgres.ts';
import { JournalFollower } from '../simulation/journal-statements.ts';
import { LOG_SETTINGS, ServerLog } from '../simulation/server-log.ts';
import { AuditedClient } from './support/audit.ts';
import { Load } from './support/load.ts';

/** The store's connections go through here, so that it can be taken away. */
class Cable {
  readonly #port: number;
  readonly #sockets = new Set<Socket>();
  #server: Server;
  port = 0;

  constructor(port: number) {
    this.#port = port;
    this.#server = createServer((socket) => this.#join(socket));
  }

  #join(socket: Socket): void {
    const other = connect(this.#port, '127.0.0.1');
    for (const one of [socket, other]) {
      this.#sockets.add(one);
      one.on('error', () => undefined);
      one.on('close', () => {
        this.#sockets.delete(one);
        socket.destroy();
        other.destroy();
      });
    }
    socket.pipe(other).pipe(socket);
  }

  async plug(): Promise<void> {
    this.#server = createServer((socket) => this.#join(socket));
    await new Promise<void>((done, fail) => {
      this.#server.once('error', fail);
      this.#server.listen(this.port, '127.0.0.1', () => done());
    });
    this.port = (this.#server.address() as { port: number }).port;
  }

  unplug(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}

const isRoot = process.getuid?.() === 0;
const WITNESSED = 'witnessed';

let server: PostgresServer;
let cable: Cable;
let node: Dbwitness;
let access: Access;
let dataDir: string;
let serverLog: ServerLog;
let journal: JournalFollower;

const sizeOfJournalDisk = (megabytes: number): void => {
  const at = join(dataDir, 'journal');
  execFileSync('mount', ['-o', `remount,size=${megabytes}m`, at]);
};

beforeAll(async () => {
  server = await startPostgres({
    version: '15',
    settings: LOG_SETTINGS,
    initSql: `CREATE ROLE ${WITNESSED} SUPERUSER LOGIN PASSWORD 'witnessed'`,
  });
  await server.query('CREATE DATABASE store');
  dataDir = mkdtempSync(join(tmpdir(), 'dbw-recorder-'));
  if (isRoot) {
    mkdirSync(join(dataDir, 'journal'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64m', 'tmpfs', join(dataDir, 'journal')]);
  }
  cable = new Cable(server.port);
  await cable.plug();
  const dsn = `postgres://${server.user}:${server.password}@127.0.0.1:${cable.port}/store`;
  node = await startDbwitness({ dataDir, env: { DBW_DSN: dsn } });
  access = await node.grantAccess(server, { database: { username: WITNESSED, password: 'witnessed' } });
  serverLog = new ServerLog(server);
  journal = new JournalFollower(join(dataDir, 'journal'), recordedForm);
});
afterAll(async () => {
  await node?.stop();
  cable?.unplug();
  await server?.stop();
  if (isRoot && dataDir !== undefined) execFileSync('umount', ['-l', join(dataDir, 'journal')]);
  if (dataDir !== undefined) rmSync(dataDir, { recursive: true, force: true });
});

/** Everything that the server ran since the last call is in the journal; gives how much. */
async function allRecorded(): Promise<number> {
  await waitFor('the backends to end', async () => {
    const left = await server.query('SELECT 1 FROM pg_stat_activity WHERE usename = $1', [WITNESSED]);
    return left.length === 0;
  });
  const ran = await serverLog.statementsSince(WITNESSED);
  const recorded = await journal.statementsSince();
  expect(notIn(ran, recorded).slice(0, 3)).toEqual([]);
  return ran.length;
}

async function whole(): Promise<void> {
  const verified = await node.cli('verify', join(dataDir, 'journal'));
  expect(verified.code, verified.stdout + verified.stderr).toBe(0);
}

async function indexed(): Promise<number> {
  const sql = 'SELECT count(*)::int AS n FROM idx_statements WHERE user_uid = $1';
  const [{ n }] = await server.query<{ n: number }>(sql, [access.userUid], 'store');
  return n;
}

const readiness = async (): Promise<{ status: number; body: string }> => {
  const answer = await fetch(node.url('/readyz'));
  return { status: answer.status, body: await answer.text() };
};

describe.skipIf(isMissing('postgres'))('the recorder', () => {
  it.skipIf(!isRoot)(
    '67: a full disk refuses statements and nothing else; room again, and it goes on',
    async () => {
      const pid = node.pid;
      const idle = await AuditedClient.connect(node, access);
      const inTransaction = await AuditedClient.connect(node, access);
      await inTransaction.exchange(m.query('BEGIN'), m.query('CREATE TEMP TABLE mine (a int)'));
      const load = await Load.start(access, 4, 2_000);
      // Who has a statement running when the disk fills waits for its answer. Those who come later are refused.
      const later = await Load.connect(access, 2);
      await waitFor('the load to run', () => load.count.done > 100);
      sizeOfJournalDisk(4);
      await waitFor('the disk to be full', async () => (await readiness()).body.includes('no space left'));
      later.begin(2_000);
      await waitFor('refusals', () => (later.count.failures.get('53100') ?? 0) > 20);
      expect(later.count.done).toBe(0);
      const { done } = load.count;

      const [error, ready] = await idle.exchange(m.query('SELECT 1'));
      expect(error).toMatch(/^E 53100 dbwitness cannot write its journal/);
      expect(ready).toBe('Z I');
      // In the extended protocol, and in a transaction, which stays what it was.
      expect(await idle.exchange(m.parse('', 'SELECT 1'), m.bind('', ''), m.execute(), m.sync())).toEqual([
        error,
        'Z I',
      ]);
      expect((await inTransaction.exchange(m.query('INSERT INTO mine VALUES (1)')))[1]).toBe('Z E');
      await expect(RawClient.connect(access)).rejects.toThrow(/53100/);
      // Nothing changes unrecorded in the control plane either, and the node says what is wrong.
      const change = await node.call('POST', '/users', {
        username: 'later',
        password: 'password-of-later',
        roles: [],
      });
      expect(change.status).toBe(503);
      await waitFor('readiness to say so', async () => {
        const { status, body } = await readiness();
        return status === 503 && body.includes('no space left');
      });
      expect(load.count.lost).toBe(0);
      expect(load.count.done).toBe(done);

      sizeOfJournalDisk(128);
      await waitFor('statements to run again', () => load.count.done > done + 100);
      expect(await idle.exchange(m.query('SELECT 1'))).toContain('C SELECT 1');
      expect(await inTransaction.exchange(m.query('ROLLBACK'), m.query('SELECT 2'))).toContain('C SELECT 1');
      await waitFor('the refused to be served', () => later.count.done > 20);
      await load.stop();
      await later.stop();
      expect([later.count.lost, [...later.count.failures.keys()]]).toEqual([0, ['53100']]);
      expect(load.count.lost).toBe(0);
      expect([...load.count.failures.keys()].filter((code) => code !== '53100')).toEqual([]);
      const records = await idle.statements();
      expect(records.filter((one) => one.outcome === 'completed')).toHaveLength(1);
      await inTransaction.raw.end();
      expect(await allRecorded()).toBeGreaterThan(200);
      await waitFor('readiness', async () => (await readiness()).status === 200);
      expect(node.pid).toBe(pid);
      await whole();
    },
    120_000,
  );

  it('68: without its store, statements go on, sessions end, and the index catches up', async () => {
    await allRecorded();
    const before = await indexed();
    const load = await Load.start(access, 3, 100);
    const leaving = await AuditedClient.connect(node, access);
    await waitFor('the load to run', () => load.count.done > 100);
    cable.unplug();
    const { done } = load.count;
    await waitFor('the load to go on', () => load.count.done > done + 300);
    expect(await leaving.exchange(m.query("SELECT 'without a store'"))).toContain('C SELECT 1');
    await leaving.raw.end();
    // Nobody can be let in whom nobody knows; but they are told at once.
    await expect(RawClient.connect(access)).rejects.toThrow(/FATAL/);
    expect((await readiness()).status).toBe(503);
    await load.stop();
    expect([load.count.lost, load.count.failures.size]).toEqual([0, 0]);
    const ran = await allRecorded();
    expect(ran).toBeGreaterThan(400);

    await cable.plug();
    await waitFor('readiness', async () => (await readiness()).status === 200, { timeoutMs: 40_000 });
    const [statement] = await leaving.recorded();
    expect(statement).toMatchObject({ sql: "SELECT 'without a store'", outcome: 'completed' });
    await waitFor(
      'every statement to be indexed',
      async () => (await indexed()) === before + load.count.done + 1,
    );
    const again = await AuditedClient.connect(node, access);
    expect(await again.exchange(m.query('SELECT 1'))).toContain('C SELECT 1');
    await again.raw.end();
    await whole();
  }, 120_000);
});
