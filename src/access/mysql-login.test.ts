/** What the authority gives MySQL's and MariaDB's listener: verifiers, the only database, the servers. */
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { limits } from '../base/limits.ts';
import type { AuthorityNotice, MysqlVerifier, PermitResult } from '../model/access.ts';
import type { Store } from '../store/store.ts';
import { createAccess } from './access.ts';
import { SYSTEM, type Actor } from './actor.ts';
import { MysqlSecrets, NO_STORED_METHODS, type MysqlMethods } from './mysql-secrets.ts';
import { actorOf, emptyStore, openAccess, openTestStore, type AccessBench } from './testing.ts';
import { Vault } from './vault.ts';

let store: Store;
let closeStore: () => Promise<void>;
let bench: AccessBench;
let alice: Actor;

beforeAll(async () => {
  ({ store, close: closeStore } = await openTestStore());
}, 60_000);
afterAll(() => closeStore());

/** Stands for the codec's derivation, which this folder may not import: another function of the secret. */
const publicKey = (secret: string): Uint8Array => createHash('sha256').update('key').update(secret).digest();
const ALL_ON: MysqlMethods = { native: true, ed25519PublicKey: publicKey };

const hour = 3_600_000_000;
const twice = (algorithm: string, text: string): Buffer => {
  const once = createHash(algorithm).update(text).digest();
  return createHash(algorithm).update(once).digest();
};
const PASSWORD = 'alice-pässword';

beforeEach(async () => {
  await emptyStore(store);
  bench = await openAccess(store);
  const user = await bench.access.users.create(SYSTEM, { username: 'alice', password: PASSWORD });
  alice = actorOf(user.uid, user.username, user.roles);
});

async function verifiers(user = 'alice', of = bench): Promise<readonly MysqlVerifier[]> {
  const login = { user, database: 'shop', engine: 'mysql' as const, clientAddress: '192.0.2.1' };
  const challenge = await of.access.authority.challenge(login);
  expect(challenge.scram.verifiers).toEqual([]);
  return challenge.mysql.verifiers;
}

async function password(of = bench): Promise<MysqlVerifier> {
  const found = (await verifiers('alice', of)).find((each) => each.kind === 'password');
  if (found === undefined) throw new Error('alice has no password');
  return found;
}

const check = (secret: string, user = 'alice', of = bench): Promise<unknown> =>
  of.access.authority.checkSecret({ user, secret, clientAddress: '192.0.2.1' });

async function columns(): Promise<{ native: boolean; ed25519: boolean }[]> {
  const rows = await store.db.selectFrom('credentials').selectAll().orderBy('uid').execute();
  return rows.map((row) => ({ native: row.mysql_native !== null, ed25519: row.mysql_ed25519 !== null }));
}

describe('the fast path of caching_sha2_password', () => {
  test('is known of a password after it proved itself in full, and nothing of it is stored', async () => {
    expect(await password()).toMatchObject({ sha2: null, native: null, ed25519: null });
    expect(await check('wrong')).toBeNull();
    expect((await password()).sha2).toBeNull();
    expect(await check(PASSWORD)).not.toBeNull();
    expect((await password()).sha2).toEqual(twice('sha256', PASSWORD));
    const after = await openAccess(store);
    expect((await password(after)).sha2).toBeNull();
    expect(await columns()).toEqual([{ native: false, ed25519: false }]);
  });

  test('is known of an API key from the start, and of none that was revoked or has expired', async () => {
    const { key, secret } = await bench.access.keys.create(alice, {
      expiresUs: bench.clock.wallUs() + hour,
    });
    const mine = async (): Promise<MysqlVerifier | undefined> =>
      (await verifiers()).find((each) => each.credentialUid === key.uid);
    expect(await mine()).toMatchObject({ kind: 'api_key', sha2: twice('sha256', secret), native: null });
    bench.clock.advanceUs(hour);
    expect(await mine()).toBeUndefined();
    const other = await bench.access.keys.create(alice, {});
    expect(await verifiers()).toHaveLength(2);
    await bench.access.keys.revoke(alice, other.key.uid);
    expect(await verifiers()).toHaveLength(1);
  });

  test('is forgotten when the password changes, also on another node, and when the user is disabled', async () => {
    const other = await openAccess(store);
    await check(PASSWORD);
    await check(PASSWORD, 'alice', other);
    await bench.access.users.update(SYSTEM, alice.uid, { password: 'another-password' });
    expect((await password()).sha2).toBeNull();
    expect((await password(other)).sha2).toBeNull();
    expect(await check(PASSWORD)).toBeNull();
    await check('another-password');
    expect((await password()).sha2).toEqual(twice('sha256', 'another-password'));
    await bench.access.users.update(SYSTEM, alice.uid, { disabled: true });
    expect(await verifiers()).toEqual([]);
    await bench.access.users.update(SYSTEM, alice.uid, { disabled: false });
    expect((await password()).sha2).toBeNull();
  });

  test('keeps the passwords that were used last, and only so many', async () => {
    const secrets = new MysqlSecrets(store.db, new Vault(Buffer.alloc(32, 7)), NO_STORED_METHODS);
    const [row] = await store.db.selectFrom('credentials').selectAll().execute();
    const at = (n: number) => ({ ...row, uid: `c${n}`, user_uid: `u${n}` });
    for (let n = 0; n < limits.maxRememberedPasswords; n++) secrets.remember(at(n), 'x');
    expect(secrets.verifier(at(0)).sha2).not.toBeNull();
    secrets.remember(at(-1), 'x');
    expect(secrets.remembered).toBe(limits.maxRememberedPasswords);
    expect(secrets.verifier(at(0)).sha2).not.toBeNull();
    expect(secrets.verifier(at(1)).sha2).toBeNull();
    secrets.forgetUser('u0');
    expect(secrets.verifier(at(0)).sha2).toBeNull();
  });
});

describe('mysql_native_password and client_ed25519', () => {
  const open = (mysqlMethods: MysqlMethods): Promise<AccessBench> => openAccess(store, { mysqlMethods });
  const expected = (secret: string) => ({
    native: twice('sha1', secret),
    ed25519: Buffer.from(publicKey(secret)),
  });

  test('verifiers are made with each new secret while they are on, sealed, and given only then', async () => {
    const on = await open(ALL_ON);
    await on.access.users.update(SYSTEM, alice.uid, { password: 'another-password' });
    const { key, secret } = await on.access.keys.create(alice, {});
    expect(await password(on)).toMatchObject(expected('another-password'));
    expect((await verifiers('alice', on)).find((each) => each.credentialUid === key.uid)).toMatchObject(
      expected(secret),
    );
    const rows = await store.db.selectFrom('credentials').selectAll().execute();
    const stored = Buffer.concat(rows.flatMap((row) => [row.mysql_native!, row.mysql_ed25519!]));
    for (const plain of [...Object.values(expected(secret)), ...Object.values(expected('another-password'))])
      expect(stored.includes(plain)).toBe(false);
    // Changed while they are off: the old ones would let the old password in.
    await bench.access.users.update(SYSTEM, alice.uid, { password: 'a-third-password' });
    expect(await password(on)).toMatchObject({ native: null, ed25519: null });
  });

  test('a secret from before gets them at its next use in clear: full authentication, REST', async () => {
    const { key, secret } = await bench.access.keys.create(alice, {});
    const on = await open(ALL_ON);
    expect(await password(on)).toMatchObject({ native: null, ed25519: null });
    await check('wrong', 'alice', on);
    expect(await password(on)).toMatchObject({ native: null, ed25519: null });
    await on.access.logins.login({ username: 'alice', password: PASSWORD, clientAddress: 'a' });
    expect(await password(on)).toMatchObject(expected(PASSWORD));
    await check(secret, 'alice', on);
    expect((await verifiers('alice', on)).find((each) => each.credentialUid === key.uid)).toMatchObject(
      expected(secret),
    );
  });

  test('a secret that is learnt does not come over one that was set in the meantime', async () => {
    const secrets = new MysqlSecrets(store.db, bench.vault, ALL_ON);
    const [before] = await store.db.selectFrom('credentials').selectAll().execute();
    await bench.access.users.update(SYSTEM, alice.uid, { password: 'another-password' });
    await secrets.learn(before, PASSWORD);
    expect(await columns()).toEqual([{ native: false, ed25519: false }]);
  });

  test('switching a method off erases its verifiers', async () => {
    const on = await open(ALL_ON);
    await check(PASSWORD, 'alice', on);
    expect(await columns()).toEqual([{ native: true, ed25519: true }]);
    await open({ native: true, ed25519PublicKey: null });
    expect(await columns()).toEqual([{ native: true, ed25519: false }]);
    await open(NO_STORED_METHODS);
    expect(await columns()).toEqual([{ native: false, ed25519: false }]);
  });

  test('a rotation of the master key seals them again', async () => {
    await check(PASSWORD, 'alice', await open(ALL_ON));
    const old = Buffer.alloc(32, 7);
    const rotate = (vault: Vault) =>
      createAccess({
        db: store.db,
        clock: bench.clock,
        vault,
        journal: bench.journal,
        options: { mysqlMethods: ALL_ON },
        onBackgroundError: () => undefined,
      });
    await (await rotate(new Vault(Buffer.alloc(32, 8), [old]))).close();
    const only = new Vault(Buffer.alloc(32, 8));
    const [row] = await store.db.selectFrom('credentials').selectAll().execute();
    expect(new MysqlSecrets(store.db, only, ALL_ON).verifier(row)).toMatchObject(expected(PASSWORD));
  });
});

describe('nobody', () => {
  test('looks like a user whose fast path is not known: same shape, same back-off', async () => {
    const { authority } = bench.access;
    const challenge = (user: string, clientAddress: string) =>
      authority.challenge({ user, database: 'shop', engine: 'mysql', clientAddress });
    const known = await challenge('alice', '192.0.2.7');
    const unknown = await challenge('nobody', '192.0.2.8');
    expect(unknown).toMatchObject({ userUid: null, mysql: { verifiers: [] }, delayMs: 0 });
    expect(Object.keys(unknown)).toEqual(Object.keys(known));
    for (let n = 0; n < 6; n++)
      for (const [user, clientAddress] of [
        ['alice', '192.0.2.7'],
        ['nobody', '192.0.2.8'],
      ]) {
        expect(await authority.checkSecret({ user, secret: 'guess', clientAddress })).toBeNull();
        authority.proved({ user, clientAddress, credentialUid: null });
      }
    const delays = await Promise.all([challenge('alice', '192.0.2.7'), challenge('nobody', '192.0.2.8')]);
    expect(delays[0].delayMs).toBeGreaterThan(0);
    expect(delays[1].delayMs).toBe(delays[0].delayMs);
  });
});

describe('databases of both families', () => {
  async function database(name: string, protocol: 'mysql' | 'mariadb' | 'postgres', host = 'db.internal') {
    const fields = { name, protocol, host, databaseName: 'shop', username: 'dbw' };
    return bench.access.databases.create(SYSTEM, fields);
  }
  const grant = (databaseUid: string, startsUs = bench.clock.wallUs()) =>
    bench.access.grants.create(SYSTEM, {
      userUid: alice.uid,
      databaseUid,
      startsUs,
      expiresUs: startsUs + hour,
    });
  async function permit(name: string): Promise<PermitResult> {
    const { credentialUid } = await password();
    return bench.access.authority.permit({
      userUid: alice.uid,
      database: name,
      engine: 'mysql',
      credentialUid,
    });
  }

  test('are found by either name of the listener, and the permit says which family it is', async () => {
    for (const protocol of ['mysql', 'mariadb'] as const) {
      await grant((await database(`on-${protocol}`, protocol)).uid);
      expect(await permit(`on-${protocol}`)).toMatchObject({
        ok: true,
        permit: {
          upstream: { engine: protocol, port: 3306 },
          recording: { allowLocalInfile: false, statementComment: false },
        },
      });
    }
    await grant((await database('elsewhere', 'postgres')).uid);
    expect(await permit('elsewhere')).toMatchObject({ ok: false, refusal: 'unknown_database' });
  });

  test('without a name the only one with a current grant is meant', async () => {
    expect(await permit('')).toMatchObject({ ok: false, refusal: 'no_database' });
    await grant((await database('pg', 'postgres')).uid);
    await grant((await database('later', 'mysql')).uid, bench.clock.wallUs() + hour);
    await database('ungranted', 'mysql');
    expect(await permit('')).toMatchObject({ ok: false, refusal: 'no_database' });
    const shop = await database('shop', 'mysql');
    const { uid } = await grant(shop.uid);
    await grant(shop.uid);
    expect(await permit('')).toMatchObject({ ok: true, permit: { databaseName: 'shop' } });
    await grant((await database('crm', 'mariadb')).uid);
    const refused = await permit('');
    expect(refused).toMatchObject({ ok: false, refusal: 'no_database' });
    if (!refused.ok) expect(refused.message).toMatch(/: crm, shop$/);
    expect(uid).not.toBe('');
  });

  test('their servers are listed once each, and a change of databases is told', async () => {
    const notices: AuthorityNotice[] = [];
    const { authority, databases } = bench.access;
    authority.onNotice((notice) => notices.push(notice));
    const one = await database('one', 'mysql', 'a.internal');
    await database('two', 'mysql', 'a.internal');
    await database('three', 'mariadb', 'b.internal');
    await database('four', 'postgres', 'c.internal');
    expect(notices).toHaveLength(4);
    const list = await authority.servers();
    expect(list.map(({ engine, host, port }) => `${engine} ${host}:${port}`).toSorted()).toEqual([
      'mariadb b.internal:3306',
      'mysql a.internal:3306',
    ]);
    expect(list.map(({ serverUid }) => serverUid)).toContain(one.connection?.serverUid);
    notices.length = 0;
    await databases.update(SYSTEM, one.uid, { host: 'd.internal' });
    await databases.delete(SYSTEM, one.uid);
    expect(notices).toEqual([{ kind: 'servers_changed' }, { kind: 'servers_changed' }]);
    expect(await authority.servers()).toHaveLength(2);
  });
});
