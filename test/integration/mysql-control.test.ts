/** What the control plane knows of MySQL and MariaDB: databases of both by API and command line, and its RSA key. */
import { createPublicKey } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openVault } from '../../src/access/vault.ts';
import { openStore } from '../../src/store/store.ts';
import { ed25519PublicKey } from '../../src/wire/mysql/ed25519.ts';
import { type Dbwitness, startDbwitness } from '../servers/index.ts';

let node: Dbwitness;
beforeAll(async () => {
  node = await startDbwitness({
    mysql: true,
    env: { DBW_MYSQL_AUTH: 'caching_sha2_password,client_ed25519' },
  });
});
afterAll(() => node.stop());

interface DatabaseJson {
  readonly uid: string;
  readonly protocol: string;
  readonly host: string;
  readonly port: number;
  readonly recording: Readonly<Record<string, unknown>>;
}

describe('a database on MySQL or MariaDB', () => {
  const body = (name: string, fields: object): object => ({
    name,
    host: 'db.internal',
    database_name: 'shop',
    username: 'dbw',
    ...fields,
  });

  it.each(['mysql', 'mariadb'])(
    '%s: has the port of its protocol, and options that are off',
    async (protocol) => {
      const made = await node.api<DatabaseJson>('POST', '/databases', body(`api-${protocol}`, { protocol }));
      expect(made).toMatchObject({
        protocol,
        port: 3306,
        recording: { allow_local_infile: false, statement_comment: false },
      });
      const changed = await node.api<DatabaseJson>('PATCH', `/databases/${made.uid}`, {
        host: '/run/mysqld/mysqld.sock',
        recording: { allow_local_infile: true },
      });
      expect(changed).toMatchObject({
        host: '/run/mysqld/mysqld.sock',
        recording: { allow_local_infile: true, statement_comment: false },
      });
    },
  );

  it('is made and changed by the command line', async () => {
    const passwordFile = join(node.dataDir, 'upstream-password');
    writeFileSync(passwordFile, 'upstream\n', { mode: 0o600 });
    const where = ['--host', 'db.internal', '--dbname', 'shop', '--username', 'dbw'];
    const secret = ['--password-file', passwordFile];
    const added = await node.cli('database', 'add', 'shop', '--protocol', 'mariadb', ...where, ...secret);
    expect(added, added.stderr).toMatchObject({ code: 0 });
    expect(added.stdout).toContain('Created shop, which is shop on db.internal:3306.');
    const set = await node.cli(
      'database',
      'set',
      'shop',
      '--local-infile',
      'on',
      '--statement-comment',
      'on',
    );
    expect(set, set.stderr).toMatchObject({ code: 0 });
    const shown = await node.cli('database', 'show', 'shop');
    expect(shown.stdout).toMatch(/protocol +mariadb/);
    expect(shown.stdout).toMatch(/allow local infile +true/);
    expect(shown.stdout).toMatch(/statement comment +true/);
    const wrong = await node.cli('database', 'add', 'no', '--protocol', 'mssql', ...where, ...secret);
    expect(wrong.code).toBe(2);
  });

  it('is in the API’s own description', async () => {
    const document = JSON.stringify(await (await fetch(node.url('/api/docs/openapi.json'))).json());
    for (const word of ['mariadb', 'allow_local_infile', 'statement_comment'])
      expect(document).toContain(word);
  });
});

describe('the log-in methods of the MySQL listener', () => {
  it('have a key for passwords without TLS, beside the certificate', () => {
    const pem = readFileSync(join(node.dataDir, 'tls', 'mysql-rsa.pub'), 'utf8');
    expect(createPublicKey(pem).asymmetricKeyDetails?.modulusLength).toBe(2048);
  });

  it('that are on, and no others, get verifiers when a password is set; sealed by the node’s key', async () => {
    const user = await node.createUser();
    await node.api('PATCH', `/users/${user.uid}`, { password: 'another-password-1' });
    await node.halt();
    const store = await openStore({ dataDir: node.dataDir });
    try {
      const row = await store.db
        .selectFrom('credentials')
        .where('user_uid', '=', user.uid)
        .selectAll()
        .executeTakeFirstOrThrow();
      const vault = await openVault({ dataDir: node.dataDir });
      expect(row.mysql_native).toBeNull();
      expect(vault.open(row.mysql_ed25519 ?? new Uint8Array(), row.uid, 'mysql_ed25519')).toEqual(
        Buffer.from(ed25519PublicKey('another-password-1')),
      );
    } finally {
      await store.close();
    }
  });
});
