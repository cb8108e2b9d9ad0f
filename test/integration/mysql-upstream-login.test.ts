/** The stored account of a database, by every method that its server has: inside TLS, by RSA with a pinned key, and fast. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import mysql from 'mysql2/promise';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type Dbwitness,
  isMissing,
  type MysqlServer,
  startDbwitness,
  startMariadb,
  startMysql,
} from '../servers/index.ts';

const PASSWORD = 'pencil and é';
const REFUSED = /refused the credentials stored for this database/;

let node: Dbwitness;
beforeAll(async () => {
  node = await startDbwitness({ mysql: true });
});
afterAll(() => node?.stop());

/** Who the server says is there, and whether inside TLS; or the error that the client got. */
async function through(
  server: MysqlServer,
  username: string,
  database: Readonly<Record<string, unknown>>,
): Promise<string> {
  const account = { username, password: PASSWORD, ...database };
  const access = await node.grantAccess(server, { database: account });
  const { host, port, user, password } = access;
  try {
    const client = await mysql.createConnection({ host, port, user, password, database: access.database });
    try {
      const [rows] = await client.query('SELECT CURRENT_USER() AS who');
      const [status] = await client.query("SHOW SESSION STATUS LIKE 'Ssl_version'");
      const [{ who }] = rows as { who: string }[];
      return `${who} ${(status as { Value: string }[])[0]?.Value ? 'TLS' : 'plain'}`;
    } finally {
      client.destroy();
    }
  } catch (error) {
    return (error as Error).message;
  }
}

describe.skipIf(isMissing('mysql-9.7'))('MySQL 9.7', () => {
  let server: MysqlServer;
  let key: string;
  const methods = ['caching_sha2_password', 'sha256_password'];
  /** Accounts whose password the server has not cached. */
  const fresh = async (user: string): Promise<void> => {
    await server.query(`ALTER USER ${user}@'%' IDENTIFIED BY '${PASSWORD}'`);
  };

  beforeAll(async () => {
    const users = methods.map(
      (method) =>
        `CREATE USER ${method}@'%' IDENTIFIED WITH ${method} BY '${PASSWORD}'; GRANT ALL ON test.* TO ${method}@'%'`,
    );
    server = await startMysql({ tls: true, initSql: users.join(';') });
    // As MySQL wrote it: with a NUL at its end.
    key = readFileSync(join(server.dataDir, 'public_key.pem'), 'utf8');
  });
  afterAll(() => server?.stop());

  it.each(methods)('%s: with the server’s RSA key pinned', async (method) => {
    const who = `${method}@%`;
    expect(await through(server, method, { ssl_ca: key })).toBe(`${who} plain`);
    await fresh(method);
    const other = readFileSync(join(node.dataDir, 'tls', 'mysql-rsa.pub'), 'utf8');
    expect(await through(server, method, { ssl_ca: other })).toMatch(REFUSED);
    // Then the server has it in its cache, or is asked again.
    expect(await through(server, method, { ssl_ca: key })).toBe(`${who} plain`);
    expect(await through(server, method, { ssl_ca: key })).toBe(`${who} plain`);
  });

  it.each(methods)('%s: with the key that the server sends, and inside TLS', async (method) => {
    const who = `${method}@%`;
    await fresh(method);
    expect(await through(server, method, {})).toBe(`${who} plain`);
    for (const database of [
      { ssl_mode: 'prefer' },
      { ssl_mode: 'require' },
      { ssl_mode: 'verify-ca', ssl_ca: server.certificate?.ca },
      { ssl_mode: 'verify-full', host: 'localhost', ssl_ca: server.certificate?.ca },
      { ssl_mode: 'verify-ca', ssl_ca: `${key.replace('\0', '')}\n${server.certificate?.ca}` },
    ]) {
      await fresh(method);
      expect(await through(server, method, database)).toBe(`${who} TLS`);
    }
    const stranger = readFileSync(join(node.dataDir, 'tls', 'server.crt'), 'utf8');
    const wrong = await through(server, method, { ssl_mode: 'verify-ca', ssl_ca: stranger });
    expect(wrong).toMatch(/certificate/i);
  });

  it('a wrong password of the stored account is the administrator’s business', async () => {
    const refused = await through(server, methods[0], { ssl_mode: 'require', password: 'wrong' });
    expect(refused).toMatch(REFUSED);
    expect(refused).not.toContain('wrong');
  });
});

describe.skipIf(isMissing('mysql-5.6'))('MySQL 5.6', () => {
  it('mysql_native_password, and no password at all', async () => {
    const server = await startMysql({
      version: '5.6',
      initSql: `CREATE USER native@'%' IDENTIFIED BY '${PASSWORD}'; GRANT ALL ON test.* TO native@'%';
        CREATE USER nobody@'%'; GRANT ALL ON test.* TO nobody@'%'`,
    });
    try {
      expect(await through(server, 'native', {})).toBe('native@% plain');
      expect(await through(server, 'nobody', { password: '' })).toBe('nobody@% plain');
      expect(await through(server, 'native', { ssl_mode: 'require' })).toMatch(/does not offer TLS/);
    } finally {
      await server.stop();
    }
  });
});

describe.each(['10.11', '11.8'] as const)('MariaDB %s', (version) => {
  it.skipIf(isMissing(version === '11.8' ? 'mariadb-11.8' : 'mariadb'))(
    'ed25519 and mysql_native_password, plain and inside TLS, and over its Unix socket',
    async () => {
      const server = await startMariadb({
        version,
        tls: true,
        initSql: `INSTALL SONAME 'auth_ed25519';
          CREATE USER native@'%' IDENTIFIED BY '${PASSWORD}'; GRANT ALL ON test.* TO native@'%';
          CREATE USER ed@'%' IDENTIFIED VIA ed25519 USING PASSWORD('${PASSWORD}'); GRANT ALL ON test.* TO ed@'%'`,
      });
      try {
        const ca = server.certificate?.ca;
        for (const user of ['native', 'ed']) {
          expect(await through(server, user, {})).toBe(`${user}@% plain`);
          expect(await through(server, user, { ssl_mode: 'verify-ca', ssl_ca: ca })).toBe(`${user}@% TLS`);
          expect(await through(server, user, { host: server.socket })).toBe(`${user}@% plain`);
          expect(await through(server, user, { password: 'wrong' })).toMatch(REFUSED);
        }
      } finally {
        await server.stop();
      }
    },
  );
});
