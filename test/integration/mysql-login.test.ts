/** Log-ins at the MySQL listener, with the clients that people have: methods, fast path, and what takes them away. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { authPlugins } from 'mysql2';
import mysql, { type Connection, type ConnectionOptions } from 'mysql2/promise';
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

const run = promisify(execFile);

let server: MysqlServer;
let node: Dbwitness;
const open: Connection[] = [];

beforeAll(async () => {
  if (isMissing('mariadb', 'mariadb-client')) return;
  server = await startMariadb();
  node = await startDbwitness({ mysql: true });
});
afterEach(() => {
  for (const client of open.splice(0)) client.destroy();
});
afterAll(async () => {
  await node?.stop();
  await server?.stop();
});

type Person = Pick<Access, 'host' | 'port' | 'user' | 'password' | 'database'>;

/** mysql2 without TLS. Tells whether the whole password had to be sent: then the client asked for our RSA key. */
async function byMysql2(
  person: Person,
  options: ConnectionOptions = {},
): Promise<{ client: Connection; inFull: boolean }> {
  let inFull = false;
  const plugin = authPlugins.caching_sha2_password({
    onServerPublicKey: (key: Buffer) => {
      inFull = true;
      expect(key.toString()).toBe(readFileSync(join(node.dataDir, 'tls', 'mysql-rsa.pub'), 'utf8'));
    },
  });
  const { host, port, user, password, database } = person;
  const client = await mysql.createConnection({
    host,
    port,
    user,
    password,
    database,
    authPlugins: { caching_sha2_password: plugin },
    ...options,
  });
  open.push(client);
  const [rows] = await client.query('SELECT 1 AS one');
  expect(rows).toEqual([{ one: 1 }]);
  return { client, inFull };
}

/** MariaDB's own client. Resolves with its standard error, empty when it got in. */
async function byMariadb(person: Person, ...options: readonly string[]): Promise<string> {
  const login = ['-h', person.host, '-P', String(person.port), '-u', person.user, `-p${person.password}`];
  try {
    const { stdout } = await run('mariadb', [...login, ...options, '-N', '-e', 'SELECT 1', person.database]);
    return stdout === '1\n' ? '' : stdout;
  } catch (error) {
    return (error as { stderr?: string }).stderr ?? String(error);
  }
}

describe.skipIf(isMissing('mariadb', 'mariadb-client'))('the MySQL listener', () => {
  it('asks for the whole password once, then takes the fast path; a restart forgets', async () => {
    const person = await node.grantAccess(server);
    expect((await byMysql2(person)).inFull).toBe(true);
    expect((await byMysql2(person)).inFull).toBe(false);
    await expect(byMysql2({ ...person, password: 'wrong' })).rejects.toMatchObject({ errno: 1045 });
    expect((await byMysql2(person)).inFull).toBe(false);
    await node.restart();
    expect((await byMysql2(person)).inFull).toBe(true);
  });

  it('a changed password is asked for in full, and the old one opens nothing', async () => {
    const person = await node.grantAccess(server);
    await byMysql2(person);
    await node.api('PATCH', `/users/${person.userUid}`, { password: 'another-password-1' });
    await expect(byMysql2(person)).rejects.toMatchObject({ errno: 1045 });
    const changed = { ...person, password: 'another-password-1' };
    expect((await byMysql2(changed)).inFull).toBe(true);
    expect((await byMysql2(changed)).inFull).toBe(false);
  });

  it('an API key has the fast path from the start, and ends with its sessions when it is revoked', async () => {
    const person = await node.grantAccess(server);
    const token = await node.login(person.user, person.password);
    const { key, uid } = await node.api<{ key: string; uid: string }>('POST', '/keys', {}, token);
    const byKey = { ...person, password: key };
    const { client, inFull } = await byMysql2(byKey);
    expect(inFull).toBe(false);
    expect(await byMariadb(byKey, '--ssl')).toBe('');
    const ended = new Promise((done) => client.on('error', done));
    await node.api('DELETE', `/keys/${uid}`);
    expect(await ended).toBeInstanceOf(Error);
    await expect(byMysql2(byKey)).rejects.toMatchObject({ errno: 1045 });
    expect((await byMysql2(person)).inFull).toBe(true);
  });

  it('a disabled user and nobody are refused alike', async () => {
    const person = await node.grantAccess(server);
    await byMysql2(person);
    await node.api('PATCH', `/users/${person.userUid}`, { disabled: true });
    const failure = async (one: Person): Promise<string> =>
      byMysql2(one).then(
        () => 'let in',
        (error: Error) => error.message.replaceAll(one.user, 'USER'),
      );
    const refused = await failure(person);
    expect(refused).toMatch(/denied/i);
    expect(await failure({ ...person, user: 'nobody-of-that-name' })).toBe(refused);
    await node.api('PATCH', `/users/${person.userUid}`, { disabled: false });
    expect((await byMysql2(person)).inFull).toBe(true);
  });

  it('without a database, the only one that is granted is meant; with several one must be named', async () => {
    const person = await node.grantAccess(server);
    await byMysql2(person, { database: '' });
    const other = await node.createDatabase(server);
    await node.createGrant(person.userUid, other.uid);
    await expect(byMysql2(person, { database: '' })).rejects.toThrow(
      new RegExp(`${person.database}, ${other.name}|${other.name}, ${person.database}`),
    );
  });

  it('a database named behind the user is meant, also by clients that cannot name one when they log in', async () => {
    const person = await node.grantAccess(server);
    const other = await node.createDatabase(server);
    await node.createGrant(person.userUid, other.uid);
    const named = (database: string): Person => ({ ...person, user: `${person.user}/${database}` });
    await expect(byMysql2(person, { database: '' })).rejects.toThrow(`log in as ${person.user}/DATABASE`);
    for (const { name } of [{ name: person.database }, other]) {
      const { client } = await byMysql2(named(name), { database: '' });
      await client.query(`USE ${name}`);
      await byMysql2(named(name), { database: name });
    }
    await expect(byMysql2(named(other.name))).rejects.toThrow('name one of them only');
    await expect(byMysql2(named('nope'), { database: '' })).rejects.toMatchObject({ errno: 1049 });
    await server.query('CREATE TABLE dumped (a int)');
    const login = ['-h', person.host, '-P', String(person.port), `-p${person.password}`];
    const dump = (user: string): Promise<{ stdout: string }> =>
      run('mariadb-dump', [...login, '-u', user, 'test']);
    await expect(dump(person.user)).rejects.toThrow(/log in as/);
    expect((await dump(named(person.database).user)).stdout).toContain('CREATE TABLE `dumped`');
  });

  it('clients that force an older method get in only where it is switched on, and had to be known', async () => {
    const person = await node.grantAccess(server);
    const methods = ['client_ed25519', 'mysql_native_password'];
    const forced = async (): Promise<string[]> =>
      Promise.all(methods.map((method) => byMariadb(person, '--skip-ssl', `--default-auth=${method}`)));
    // Switched off, the listener switches the client to what is on.
    expect(await forced()).toEqual(['', '']);
    const strict = await startDbwitness({
      mysql: true,
      env: { DBW_MYSQL_AUTH: methods.join(',') },
    });
    try {
      const before = await strict.grantAccess(server);
      const by = (method: string): Promise<string> =>
        byMariadb(before, '--skip-ssl', `--default-auth=${method}`);
      for (const method of methods) expect(await by(method)).toBe('');
      expect(await byMariadb({ ...before, password: 'wrong' }, '--skip-ssl')).toMatch(/ERROR 1045/);
      await waitFor('the back-off to let the next one in', async () => (await by(methods[0])) === '');
    } finally {
      await strict.stop();
    }
  });

  it('requires TLS where TLS is required, and passes the certificate that psql is given too', async () => {
    const strict = await startDbwitness({ mysql: true, env: { DBW_TLS: 'required' } });
    try {
      const person = await strict.grantAccess(server);
      expect(await byMariadb(person, '--skip-ssl')).toMatch(/ERROR .*(TLS|SSL|secure)/i);
      const ca = join(strict.dataDir, 'tls', 'server.crt');
      expect(await byMariadb(person, `--ssl-ca=${ca}`, '--ssl-verify-server-cert')).toBe('');
    } finally {
      await strict.stop();
    }
  });
});
