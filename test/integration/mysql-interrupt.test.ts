/** Ctrl-C in the command line: a second connection, without a database, sends KILL QUERY. */
import { type ChildProcess, spawn } from 'node:child_process';
import mysql, { type Connection } from 'mysql2/promise';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  type Access,
  type Dbwitness,
  isMissing,
  type MysqlServer,
  startDbwitness,
  startMariadb,
  waitFor,
} from '../servers/index.ts';

let server: MysqlServer;
let other: MysqlServer;
let node: Dbwitness;
const open: Connection[] = [];

beforeAll(async () => {
  if (isMissing('mariadb', 'mariadb-client')) return;
  [server, other, node] = await Promise.all([
    startMariadb(),
    startMariadb(),
    startDbwitness({ mysql: true }),
  ]);
});
afterEach(() => {
  for (const client of open.splice(0)) client.destroy();
});
afterAll(async () => {
  await node?.stop();
  await Promise.all([server?.stop(), other?.stop()]);
});

async function connect({ host, port, user, password }: Access, database: string): Promise<Connection> {
  const client = await mysql.createConnection({ host, port, user, password, database });
  open.push(client);
  return client;
}

/** MariaDB's command line with a statement that takes long. */
function sleeping({ host, port, user, password, database }: Access): {
  child: ChildProcess;
  ended: Promise<string>;
} {
  const where = ['-h', host, '-P', String(port), '-u', user, `-p${password}`, database];
  const child = spawn('mariadb', [...where, '-N', '-v', '-e', 'SELECT SLEEP(30); SELECT 6 * 7']);
  let said = '';
  child.stdout.on('data', (chunk) => (said += String(chunk)));
  child.stderr.on('data', (chunk) => (said += String(chunk)));
  return { child, ended: new Promise((done) => child.on('close', () => done(said))) };
}

async function runs(): Promise<boolean> {
  const rows = await server.query(
    "SELECT id FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP%'",
  );
  return rows.length > 0;
}

describe.skipIf(isMissing('mariadb', 'mariadb-client'))('Ctrl-C', () => {
  it('interrupts the statement of a user with one grant, and of one with several', async () => {
    const person = await node.grantAccess(server);
    const elsewhere = await node.createDatabase(other);
    for (const grants of [1, 2]) {
      const { child, ended } = sleeping(person);
      await waitFor('the statement to run', runs);
      if (grants === 2) {
        // The session opened last is on another server; the one that runs something is meant.
        await node.createGrant(person.userUid, elsewhere.uid);
        await connect(person, elsewhere.name);
      }
      child.kill('SIGINT');
      const said = await ended;
      expect(said).toMatch(/query killed/i);
      expect(await runs()).toBe(false);
    }
  });

  it('gives nothing else to a connection without a database, and nobody else’s statements', async () => {
    const person = await node.grantAccess(server);
    const second = await node.createDatabase(server);
    await node.createGrant(person.userUid, second.uid);
    await expect(connect(person, '')).rejects.toMatchObject({ errno: 1046 });
    await connect(person, person.database);
    const control = await connect(person, '');
    const names = new RegExp(`name one of your databases to connect to: .*${second.name}`);
    for (const sql of [
      'SELECT 1',
      'KILL 5; SELECT 1',
      'USE test',
      `USE ${person.database}`,
      'SHOW PROCESSLIST',
    ])
      await expect(control.query(sql), sql).rejects.toThrow(names);
    await expect(control.execute('SELECT 1')).rejects.toThrow(names);
    await control.ping();
    const stranger = await node.grantAccess(server);
    const theirs = await connect(stranger, stranger.database);
    await expect(control.query(`KILL QUERY ${theirs.threadId}`)).rejects.toMatchObject({ errno: 1094 });
    expect((await theirs.query('SELECT 1 AS one'))[0]).toEqual([{ one: 1 }]);
    await control.changeUser({ database: person.database });
    expect((await control.query('SELECT 1 AS one'))[0]).toEqual([{ one: 1 }]);
  });
});
