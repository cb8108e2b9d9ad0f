/** The MySQL and MariaDB servers of the harness: each starts, runs unprivileged, speaks TLS, and is gone after `stop`. */
import { existsSync, readFileSync } from 'node:fs';
import mysql, { type RowDataPacket } from 'mysql2/promise';
import { describe, expect, it } from 'vitest';
import {
  isMissing,
  type MysqlServer,
  type MysqlServerOptions,
  startMariadb,
  startMysql,
  waitFor,
} from './index.ts';

type Start = (options: MysqlServerOptions) => Promise<MysqlServer>;

const SERVERS = [
  { name: 'MariaDB 10.11', need: 'mariadb', tls: true, start: startMariadb },
  {
    name: 'MariaDB 11.8',
    need: 'mariadb-11.8',
    tls: true,
    start: ((o) => startMariadb({ ...o, version: '11.8' })) as Start,
  },
  { name: 'MySQL 9.7', need: 'mysql-9.7', tls: true, start: startMysql },
  {
    name: 'MySQL 5.6',
    need: 'mysql-5.6',
    tls: false,
    start: ((o) => startMysql({ ...o, version: '5.6' })) as Start,
  },
] as const;

describe.each(SERVERS)('$name of the harness', ({ name, need, tls, start }) => {
  it.skipIf(isMissing(need, 'openssl'))('starts, lets people in by password, logs, and ends', async () => {
    const server = await start({
      tls,
      logStatements: true,
      settings: { max_connections: '77' },
      initSql: 'CREATE TABLE t (n int); INSERT INTO t VALUES (1), (2)',
    });
    try {
      const [facts] = await server.query<{ version: string; people: number }>(
        'SELECT version() AS version, @@max_connections AS people',
      );
      expect(`${server.family === 'mysql' ? 'MySQL' : 'MariaDB'} ${facts.version}`).toContain(name);
      expect(facts.people).toBe(77);
      expect(readFileSync(`/proc/${server.pid}/status`, 'utf8')).not.toMatch(/^Uid:\s+0/m);

      const ca = server.certificate?.ca;
      const address = { host: server.host, port: server.port, user: server.user, database: 'test' };
      const client = await mysql.createConnection({
        ...address,
        password: server.password,
        ...(ca === undefined ? {} : { ssl: { ca, verifyIdentity: true } }),
      });
      const [counted] = await client.query<RowDataPacket[]>("SELECT count(*) AS n, 'over TCP' AS how FROM t");
      expect(counted[0]['n']).toBe(2);
      const [cipher] = await client.query<RowDataPacket[]>("SHOW STATUS LIKE 'Ssl_cipher'");
      expect(cipher[0]?.['Value'] !== '').toBe(tls);
      await client.end();

      await expect(mysql.createConnection({ ...address, password: 'wrong' })).rejects.toMatchObject({
        errno: 1045,
      });
      await expect(mysql.createConnection({ ...address, user: '' })).rejects.toMatchObject({ errno: 1045 });
      await waitFor('the statement to be logged', () =>
        readFileSync(server.generalLog, 'utf8').includes("'over TCP'"),
      );
    } finally {
      await server.stop();
    }
    expect(existsSync(`/proc/${server.pid}`)).toBe(false);
    expect(existsSync(server.dataDir)).toBe(false);
  });
});

it.skipIf(isMissing('mariadb'))('tells why a server does not start', async () => {
  await expect(startMariadb({ settings: { no_such_variable: '1' } })).rejects.toThrow(
    /did not start: .*no_such_variable/s,
  );
});
