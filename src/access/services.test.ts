import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Store } from '../store/store.ts';
import { createAccess } from './access.ts';
import { LOCAL_ADMIN, SYSTEM, type Actor } from './actor.ts';
import type { NewDatabase } from './databases.ts';
import { actorOf, emptyStore, openAccess, openTestStore, type AccessBench } from './testing.ts';
import { Vault } from './vault.ts';

let store: Store;
let closeStore: () => Promise<void>;
let bench: AccessBench;
let admin: Actor;

beforeAll(async () => {
  ({ store, close: closeStore } = await openTestStore());
}, 60_000);
afterAll(() => closeStore());

beforeEach(async () => {
  await emptyStore(store);
  bench = await openAccess(store);
  const user = await bench.access.users.create(SYSTEM, {
    username: 'root',
    password: 'root-password',
    roles: ['admin'],
  });
  admin = actorOf(user.uid, user.username, user.roles);
  bench.journal.changes.length = 0;
});
afterEach(() => bench.close());

const all = { limit: 100, after: null };
const hour = 3_600_000_000;

const target: NewDatabase = {
  name: 'shop',
  host: 'db.internal',
  databaseName: 'shop_production',
  username: 'dbw',
  password: 'upstream-secret',
};

function newUser(name: string, roles = ['connector']): Promise<{ uid: string; actor: Actor }> {
  return bench.access.users
    .create(admin, { username: name, password: `${name}-password`, roles })
    .then((user) => ({ uid: user.uid, actor: actorOf(user.uid, user.username, user.roles) }));
}

async function newGrant(userUid: string, databaseUid: string): Promise<string> {
  const grant = await bench.access.grants.create(admin, {
    userUid,
    databaseUid,
    expiresUs: bench.clock.wallUs() + hour,
  });
  return grant.uid;
}

/** Everything the store holds, as text, to look for secrets in. */
async function dump(): Promise<string> {
  const parts: string[] = [];
  for (const table of ['users', 'credentials', 'tokens', 'databases', 'grants'] as const) {
    const rows = await store.db.selectFrom(table).selectAll().execute();
    parts.push(
      JSON.stringify(rows, (_key, value: unknown) =>
        value instanceof Uint8Array ? Buffer.from(value).toString('latin1') : value,
      ),
    );
  }
  return parts.join('\n');
}

describe('journal first', () => {
  test('every kind of change is journaled, with actor and without secrets', async () => {
    const { access, journal } = bench;
    const alice = await newUser('alice');
    const database = await access.databases.create(admin, target);
    const grant = await newGrant(alice.uid, database.uid);
    await access.grants.update(admin, grant, { controls: ['read_only'] });
    const { key, secret } = await access.keys.create(alice.actor, { name: 'ci' });
    await access.databases.update(admin, database.uid, { password: 'upstream-secret-2' });
    await access.users.update(admin, alice.uid, { password: 'alice-password-2' });
    await access.keys.revoke(alice.actor, key.uid);
    await access.grants.revoke(admin, grant);
    await access.databases.delete(admin, database.uid);
    await access.users.delete(admin, alice.uid);
    expect(journal.actions).toEqual([
      'create user alice',
      'create database shop',
      'create grant alice → shop',
      'update grant alice → shop',
      'create key ci',
      'update database shop',
      'update user alice',
      'revoke key ci',
      'revoke grant alice → shop',
      'delete database shop',
      'delete user alice',
    ]);
    const said = JSON.stringify(journal.changes);
    for (const word of ['alice-password', 'upstream-secret', secret, 'argon2'])
      expect(said).not.toContain(word);
    expect(journal.changes[0]).toMatchObject({
      actorUid: admin.uid,
      actorName: 'root',
      clientAddress: '192.0.2.1',
    });
    expect(JSON.parse(journal.changes[3].after)).toMatchObject({ controls: ['read_only'] });
    expect(JSON.parse(journal.changes[5].after)).toMatchObject({ changed_secrets: ['password'] });
  });

  test('when the journal refuses, nothing changes', async () => {
    const { access, journal } = bench;
    const alice = await newUser('alice');
    const database = await access.databases.create(admin, target);
    const grant = await newGrant(alice.uid, database.uid);
    const { key } = await access.keys.create(alice.actor, {});
    const before = await dump();
    journal.failing = true;
    const changes = [
      () => newUser('bob'),
      () => access.users.update(admin, alice.uid, { roles: ['admin'] }),
      () => access.users.delete(admin, alice.uid),
      () => access.databases.create(admin, { ...target, name: 'other' }),
      () => access.databases.update(admin, database.uid, { host: 'elsewhere' }),
      () => access.grants.create(admin, { userUid: alice.uid, databaseUid: database.uid, expiresUs: 9e15 }),
      () => access.grants.update(admin, grant, { controls: ['block_ddl'] }),
      () => access.grants.revoke(admin, grant),
      () => access.keys.create(alice.actor, {}),
      () => access.keys.revoke(alice.actor, key.uid),
      () => access.logins.login({ username: 'alice', password: 'alice-password', clientAddress: 'a' }),
    ];
    for (const change of changes)
      await expect(change()).rejects.toMatchObject({ kind: 'unavailable', code: 'ACCESS_JOURNAL_REFUSED' });
    expect(await dump()).toBe(before);
    journal.failing = false;
    await expect(newUser('bob')).resolves.toBeDefined();
  });

  test('a change that the store then refuses is taken back in the journal', async () => {
    const { access, journal } = bench;
    // Another node took the name between our check and our insert.
    const both = Promise.allSettled([
      access.users.create(admin, { username: 'same', password: 'same-password' }),
      (await otherNode()).users.create(admin, { username: 'same', password: 'same-password' }),
    ]);
    const outcomes = (await both).map((result) => result.status).sort();
    expect(outcomes).toEqual(['fulfilled', 'rejected']);
    const rows = await store.db.selectFrom('users').where('username', '=', 'same').selectAll().execute();
    expect(rows).toHaveLength(1);
    const created = journal.actions.filter((action) => action === 'create user same').length;
    const failed = journal.actions.filter((action) => action === 'create_failed user same').length;
    expect(created - failed).toBe(1);
  });
});

/** A second node on the same store, writing to the same journal for the test's sake. */
async function otherNode(): Promise<Awaited<ReturnType<typeof createAccess>>> {
  const { clock, journal, vault } = bench;
  return createAccess({ db: store.db, clock, vault, journal, onBackgroundError: () => undefined });
}

describe('secrets at rest', () => {
  test('no password, API key or token is in the store in clear', async () => {
    const { access } = bench;
    const alice = await newUser('alice');
    await access.databases.create(admin, target);
    const { secret } = await access.keys.create(alice.actor, {});
    const { token } = await access.logins.login({
      username: 'alice',
      password: 'alice-password',
      clientAddress: 'a',
    });
    const everything = await dump();
    for (const word of ['alice-password', 'upstream-secret', secret, secret.slice(8), token])
      expect(everything).not.toContain(word);
    expect(everything).toContain('$argon2id$');
  });

  test('another key is refused; a rotated one opens everything and seals it again', async () => {
    const { access } = bench;
    const alice = await newUser('alice');
    const database = await access.databases.create(admin, target);
    await newGrant(alice.uid, database.uid);
    const open = (vault: Vault): ReturnType<typeof createAccess> =>
      createAccess({ ...bench, db: store.db, vault, onBackgroundError: () => undefined });
    const [old, fresh] = [Buffer.alloc(32, 7), Buffer.alloc(32, 8)];
    await expect(open(new Vault(fresh))).rejects.toMatchObject({ code: 'ACCESS_KEY_MISMATCH' });
    await (await open(new Vault(fresh, [old]))).close();
    const alone = await open(new Vault(fresh));
    const challenge = await alone.authority.challenge({
      user: 'alice',
      database: 'shop',
      engine: 'postgres',
      clientAddress: 'a',
    });
    const permit = await alone.authority.permit({
      userUid: alice.uid,
      database: 'shop',
      engine: 'postgres',
      credentialUid: challenge.scram.verifiers[0].credentialUid,
    });
    expect(permit).toMatchObject({ ok: true, permit: { upstream: { password: 'upstream-secret' } } });
    await alone.close();
    expect(bench.journal.actions).toContain('rotate vault master key');
  });
});

describe('users', () => {
  test.each([
    '',
    'a b',
    'a\0b',
    "a'b",
    'a/b',
    'a?b=c',
    'x'.repeat(64),
    'é'.repeat(32),
    '-x',
    'local',
    'System',
    'a\u202eb',
  ])('10: the name %j is refused', async (username) => {
    const attempt = bench.access.users.create(admin, { username, password: 'long enough' });
    await expect(attempt).rejects.toMatchObject({ kind: 'invalid' });
    expect(bench.journal.changes).toEqual([]);
  });

  test('names are unique without case, and free again after deletion', async () => {
    const { access } = bench;
    const first = await newUser('Alice');
    expect(first.actor.name).toBe('alice');
    await expect(newUser('ALICE')).rejects.toMatchObject({ kind: 'conflict', code: 'ACCESS_NAME_TAKEN' });
    await access.users.delete(admin, first.uid);
    await expect(access.users.get(admin, first.uid)).rejects.toMatchObject({ kind: 'not-found' });
    await expect(newUser('alice')).resolves.not.toMatchObject({ uid: first.uid });
  });

  test('deleting revokes grants, keys and logins', async () => {
    const { access } = bench;
    const alice = await newUser('alice');
    const database = await access.databases.create(admin, target);
    const grant = await newGrant(alice.uid, database.uid);
    const { secret } = await access.keys.create(alice.actor, {});
    const { token } = await access.logins.login({
      username: 'alice',
      password: 'alice-password',
      clientAddress: 'a',
    });
    await access.users.delete(admin, alice.uid);
    expect(await access.grants.get(admin, grant)).toMatchObject({ state: 'revoked', revokedBy: 'root' });
    expect(await access.logins.authenticate(token, 'a')).toBeNull();
    expect(await access.logins.authenticate(secret, 'a')).toBeNull();
  });

  test('the last administrator stays', async () => {
    const { access } = bench;
    const refused = { kind: 'conflict', code: 'ACCESS_LAST_ADMIN' };
    await expect(access.users.delete(admin, admin.uid)).rejects.toMatchObject(refused);
    await expect(access.users.update(admin, admin.uid, { roles: [] })).rejects.toMatchObject(refused);
    await expect(access.users.update(admin, admin.uid, { disabled: true })).rejects.toMatchObject(refused);
    const second = await newUser('second', ['admin']);
    await access.users.update(admin, second.uid, { disabled: true });
    await expect(access.users.delete(admin, admin.uid)).rejects.toMatchObject(refused);
    await access.users.update(admin, second.uid, { disabled: false });
    await expect(access.users.delete(second.actor, admin.uid)).resolves.toBeUndefined();
  });

  test('one changes one’s own password with the current one, and nothing else', async () => {
    const { access } = bench;
    const alice = await newUser('alice');
    const { users, logins } = access;
    const login = (password: string): Promise<unknown> =>
      logins.login({ username: 'alice', password, clientAddress: 'a' });
    await expect(users.update(alice.actor, alice.uid, { password: 'new-password' })).rejects.toMatchObject({
      kind: 'invalid',
    });
    await expect(
      users.update(alice.actor, alice.uid, {
        password: 'new-password',
        currentPassword: 'alice-password',
        roles: ['admin'],
      }),
    ).rejects.toMatchObject({ kind: 'denied' });
    const { token } = await logins.login({
      username: 'alice',
      password: 'alice-password',
      clientAddress: 'a',
    });
    await users.update(alice.actor, alice.uid, {
      password: 'new-password',
      currentPassword: 'alice-password',
    });
    await expect(login('alice-password')).rejects.toMatchObject({ code: 'ACCESS_LOGIN_WRONG' });
    await expect(login('new-password')).resolves.toBeDefined();
    expect(await logins.authenticate(token, 'a')).toBeNull();
    expect(await users.get(alice.actor, alice.uid)).toMatchObject({ roles: ['connector'] });
  });

  test('the first administrator is made once', async () => {
    await expect(bench.access.users.createFirstAdmin('admin', 'whatever-password')).resolves.toBeNull();
    await emptyStore(store);
    const first = await bench.access.users.createFirstAdmin('admin', 'whatever-password');
    expect(first).toMatchObject({ username: 'admin', roles: ['admin', 'connector'] });
  });

  test('pages come in order of creation, without repetition', async () => {
    for (const name of ['u1', 'u2', 'u3', 'u4']) {
      bench.clock.advanceUs(1_000_000);
      await newUser(name);
    }
    const seen: string[] = [];
    let after: string | null = null;
    do {
      const page: Awaited<ReturnType<typeof bench.access.users.list>> = await bench.access.users.list(admin, {
        limit: 2,
        after,
      });
      seen.push(...page.items.map((user) => user.username));
      after = page.next;
    } while (after !== null);
    expect(seen).toEqual(['root', 'u1', 'u2', 'u3', 'u4']);
  });
});

describe('API keys', () => {
  test('87: a key gives nothing away, not even to its owner', async () => {
    const { access } = bench;
    const { uid: databaseUid } = await access.databases.create(admin, target);
    const { secret, key } = await access.keys.create(admin, { name: 'automation' });
    const byKey = await access.logins.authenticate(secret, '192.0.2.9');
    expect(byKey).toMatchObject({ uid: admin.uid, via: 'api_key', credentialUid: key.uid });
    const actor = byKey!;
    const refused = { kind: 'denied', code: 'ACCESS_API_KEY_LIMITED' };
    const expiresUs = bench.clock.wallUs() + hour;
    const grant = await newGrant(admin.uid, databaseUid);
    const attempts = [
      access.keys.create(actor, {}),
      access.users.create(actor, { username: 'eve', password: 'eve-password' }),
      access.users.update(actor, admin.uid, { password: 'new-password', currentPassword: 'root-password' }),
      access.users.delete(actor, admin.uid),
      access.grants.create(actor, { userUid: admin.uid, databaseUid, expiresUs }),
      access.grants.update(actor, grant, { expiresUs: 9e15 }),
      access.databases.update(actor, databaseUid, { host: 'evil.example' }),
    ];
    for (const attempt of attempts) await expect(attempt).rejects.toMatchObject(refused);
    // It reads, and it takes away.
    await expect(access.users.list(actor, all)).resolves.toBeDefined();
    await expect(access.grants.revoke(actor, grant)).resolves.toMatchObject({ state: 'revoked' });
    await expect(access.keys.revoke(actor, key.uid)).resolves.toBeUndefined();
    expect(await access.logins.authenticate(secret, '192.0.2.9')).toBeNull();
  });

  test('expiry, disabled owners, foreign keys, last use', async () => {
    const { access, clock } = bench;
    const alice = await newUser('alice');
    const bob = await newUser('bob');
    const { key, secret } = await access.keys.create(alice.actor, { expiresUs: clock.wallUs() + hour });
    await expect(access.keys.create(alice.actor, { expiresUs: clock.wallUs() })).rejects.toMatchObject({
      kind: 'invalid',
    });
    await expect(access.keys.create(alice.actor, { userUid: bob.uid })).rejects.toMatchObject({
      kind: 'denied',
    });
    await expect(access.keys.get(bob.actor, key.uid)).rejects.toMatchObject({ kind: 'not-found' });
    await expect(access.keys.revoke(bob.actor, key.uid)).rejects.toMatchObject({ kind: 'not-found' });
    expect((await access.keys.list(bob.actor, all)).items).toEqual([]);
    expect(await access.logins.authenticate(secret, 'a')).toMatchObject({ name: 'alice' });
    await access.users.update(admin, alice.uid, { disabled: true });
    expect(await access.logins.authenticate(secret, 'a')).toBeNull();
    await access.users.update(admin, alice.uid, { disabled: false });
    clock.advanceUs(hour);
    expect(await access.logins.authenticate(secret, 'a')).toBeNull();
    await bench.close();
    expect((await access.keys.get(alice.actor, key.uid)).lastUsedUs).toBe(clock.wallUs() - hour);
  });

  test('the local administrator makes keys for users only, and there are only so many', async () => {
    const { keys } = bench.access;
    const alice = await newUser('alice');
    await expect(keys.create(LOCAL_ADMIN, {})).rejects.toMatchObject({ kind: 'invalid' });
    await expect(keys.create(LOCAL_ADMIN, { userUid: alice.uid })).resolves.toMatchObject({
      key: { userName: 'alice', createdBy: 'local' },
    });
    for (let i = 1; i < 50; i++) await keys.create(alice.actor, {});
    await expect(keys.create(alice.actor, {})).rejects.toMatchObject({ code: 'ACCESS_TOO_MANY_KEYS' });
  });
});

describe('logins', () => {
  test('tokens work until they expire or are logged out', async () => {
    const { logins } = bench.access;
    const login = { username: 'ROOT', password: 'root-password', clientAddress: '192.0.2.7' };
    const { token } = await logins.login(login);
    const actor = await logins.authenticate(token, '192.0.2.8');
    expect(actor).toMatchObject({ uid: admin.uid, via: 'token', clientAddress: '192.0.2.8' });
    await logins.logout(actor!, token);
    expect(await logins.authenticate(token, '192.0.2.8')).toBeNull();
    const second = await logins.login(login);
    bench.clock.advanceUs(12 * hour);
    expect(await logins.authenticate(second.token, 'a')).toBeNull();
    expect(await logins.authenticate('dbwt_nonsense', 'a')).toBeNull();
    expect(await logins.authenticate('', 'a')).toBeNull();
    expect(bench.journal.actions).toEqual(['login login root', 'logout login root', 'login login root']);
  });

  test('unknown, wrong and disabled all look the same, and are journaled', async () => {
    const { logins, users } = bench.access;
    const alice = await newUser('alice');
    await users.update(admin, alice.uid, { disabled: true });
    const messages = new Set<string>();
    for (const [username, password] of [
      ['nobody', 'root-password'],
      ['root', 'wrong'],
      ['alice', 'alice-password'],
      ['a\u0001b', 'x'],
    ])
      await logins.login({ username, password, clientAddress: `host-${username}` }).catch((error: Error) => {
        messages.add(error.message);
      });
    expect([...messages]).toEqual(['wrong username or password']);
    expect(bench.journal.actions.filter((action) => action.startsWith('login_failed'))).toHaveLength(4);
  });
});
