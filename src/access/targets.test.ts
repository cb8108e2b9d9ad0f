import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Store } from '../store/store.ts';
import { SYSTEM, type Actor } from './actor.ts';
import type { NewDatabase } from './databases.ts';
import { actorOf, emptyStore, openAccess, openTestStore, type AccessBench } from './testing.ts';

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

describe('databases', () => {
  test.each([
    ['name', 'a b'],
    ['name', 'x\0y'],
    ['host', ''],
    ['host', 'a host'],
    ['host', 'evil.example/path'],
    ['host', 'h?sslmode=disable'],
    ['port', 0],
    ['port', 65_536],
    ['databaseName', ''],
    ['databaseName', 'a\0b'],
    ['username', 'a\nb'],
    ['password', 'a\0b'],
    ['sslCa', 'not pem'],
  ])('%s %j is refused', async (field, value) => {
    const attempt = bench.access.databases.create(admin, { ...target, [field]: value });
    await expect(attempt).rejects.toMatchObject({ kind: 'invalid' });
  });

  test.each(['10.0.0.1', '::1', 'fe80::1%eth0', '/var/run/postgresql', 'db_1.example.com.'])(
    'host %j is taken',
    async (host) => {
      const database = await bench.access.databases.create(admin, { ...target, host });
      expect(database.connection).toMatchObject({ host, port: 5432, sslMode: 'prefer' });
    },
  );

  test('the upstream password is never in a view', async () => {
    const { databases } = bench.access;
    const { uid } = await databases.create(admin, target);
    const views = [await databases.get(admin, uid), await databases.list(admin, all)];
    expect(JSON.stringify(views)).not.toContain('upstream-secret');
    expect(views[0]).toMatchObject({ connection: { hasPassword: true, hasSslKey: false } });
  });

  test('one with an active grant is not deleted; afterwards its secrets are gone and its name is free', async () => {
    const { access } = bench;
    const alice = await newUser('alice');
    const database = await access.databases.create(admin, target);
    const grant = await newGrant(alice.uid, database.uid);
    await expect(access.databases.delete(admin, database.uid)).rejects.toMatchObject({
      kind: 'conflict',
      message: 'shop has 1 active grant; revoke it first',
    });
    await access.grants.revoke(admin, grant);
    await access.databases.delete(admin, database.uid);
    const row = await store.db.selectFrom('databases').selectAll().executeTakeFirstOrThrow();
    expect(row.password_sealed).toHaveLength(0);
    await expect(access.databases.create(admin, target)).resolves.toBeDefined();
    expect(await access.grants.get(admin, grant)).toMatchObject({ databaseName: 'shop' });
  });

  test('databases at one address share a server', async () => {
    const { databases } = bench.access;
    const a = await databases.create(admin, target);
    const b = await databases.create(admin, { ...target, name: 'b', host: 'DB.internal' });
    const c = await databases.create(admin, { ...target, name: 'c', port: 5433 });
    expect(a.connection?.serverUid).toBe(b.connection?.serverUid);
    expect(a.connection?.serverUid).not.toBe(c.connection?.serverUid);
    const moved = await databases.update(admin, c.uid, { port: 5432 });
    expect(moved.connection?.serverUid).toBe(a.connection?.serverUid);
  });

  test('a connector sees only what they have a grant for, and not how it is reached', async () => {
    const { access } = bench;
    const alice = await newUser('alice');
    const shop = await access.databases.create(admin, target);
    const other = await access.databases.create(admin, { ...target, name: 'other' });
    await newGrant(alice.uid, shop.uid);
    const seen = await access.databases.list(alice.actor, all);
    expect(seen.items).toMatchObject([{ name: 'shop', connection: null }]);
    await expect(access.databases.get(alice.actor, other.uid)).rejects.toMatchObject({ kind: 'not-found' });
  });

  test('recording options are kept as set, over the defaults', async () => {
    const { databases } = bench.access;
    const { uid } = await databases.create(admin, {
      ...target,
      recording: { durability: 'sync', captureRows: 5 },
    });
    await databases.update(admin, uid, { recording: { captureRows: 7 } });
    expect((await databases.get(admin, uid)).connection?.recording).toMatchObject({
      durability: 'sync',
      captureRows: 7,
      captureBytes: 1024 * 1024,
      failOpen: false,
    });
    await expect(databases.update(admin, uid, { recording: { captureRows: -1 } })).rejects.toMatchObject({
      kind: 'invalid',
    });
  });
});

describe('grants', () => {
  test('times, quotas and controls are checked', async () => {
    const alice = await newUser('alice');
    const { uid: databaseUid } = await bench.access.databases.create(admin, target);
    const now = bench.clock.wallUs();
    const good = { userUid: alice.uid, databaseUid, expiresUs: now + hour };
    const bad = [
      { ...good, expiresUs: now },
      { ...good, startsUs: now + hour, expiresUs: now + hour },
      { ...good, expiresUs: Number.NaN },
      { ...good, expiresUs: 1e17 },
      { ...good, controls: ['read_only', 'everything'] },
      { ...good, maxQueryCounts: 0 },
      { ...good, maxBytesTransferred: 1.5 },
      { ...good, userUid: databaseUid },
      { ...good, databaseUid: alice.uid },
    ];
    for (const input of bad)
      await expect(bench.access.grants.create(admin, input)).rejects.toMatchObject({ kind: 'invalid' });
    const grant = await bench.access.grants.create(admin, {
      ...good,
      controls: ['block_ddl', 'read_only', 'read_only'],
      maxQueryCounts: 10,
    });
    expect(grant).toMatchObject({
      controls: ['read_only', 'block_ddl'],
      startsUs: now,
      maxQueryCounts: 10,
      maxBytesTransferred: null,
      state: 'active',
      createdBy: 'root',
    });
  });

  test('the state follows the clock; revoking is final and may be repeated', async () => {
    const { grants, databases } = bench.access;
    const alice = await newUser('alice');
    const { uid: databaseUid } = await databases.create(admin, target);
    const now = bench.clock.wallUs();
    const { uid } = await grants.create(admin, {
      userUid: alice.uid,
      databaseUid,
      startsUs: now + hour,
      expiresUs: now + 2 * hour,
    });
    const state = async (): Promise<string> => (await grants.get(admin, uid)).state;
    expect(await state()).toBe('pending');
    bench.clock.advanceUs(hour);
    expect(await state()).toBe('active');
    bench.clock.advanceUs(hour);
    expect(await state()).toBe('expired');
    await grants.revoke(admin, uid);
    await grants.revoke(admin, uid);
    expect(bench.journal.actions.filter((action) => action.startsWith('revoke'))).toHaveLength(1);
    await expect(grants.update(admin, uid, { expiresUs: 9e15 })).rejects.toMatchObject({ kind: 'conflict' });
  });

  test('72: others’ grants do not exist for a connector', async () => {
    const { grants, databases } = bench.access;
    const alice = await newUser('alice');
    const bob = await newUser('bob');
    const { uid: databaseUid } = await databases.create(admin, target);
    const own = await newGrant(alice.uid, databaseUid);
    await newGrant(bob.uid, databaseUid);
    expect((await grants.list(alice.actor, all)).items.map((grant) => grant.uid)).toEqual([own]);
    await expect(grants.get(bob.actor, own)).rejects.toMatchObject({ kind: 'not-found' });
    await expect(grants.list(alice.actor, all, { userUid: bob.uid })).rejects.toMatchObject({
      kind: 'denied',
    });
    expect((await grants.list(admin, all, { userUid: bob.uid, active: true })).items).toHaveLength(1);
    expect((await grants.list(admin, all, { active: false })).items).toHaveLength(0);
  });
});
