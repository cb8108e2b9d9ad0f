import { createHmac } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { AuthorityNotice, EngineName, LoginChallenge, PermitResult } from '../model/access.ts';
import type { Store } from '../store/store.ts';
import { SYSTEM, type Actor } from './actor.ts';
import type { NewGrant } from './grants.ts';
import { makeScramKeys } from './passwords.ts';
import { actorOf, emptyStore, openAccess, openTestStore, type AccessBench } from './testing.ts';

let store: Store;
let closeStore: () => Promise<void>;
let bench: AccessBench;
let alice: Actor;
let databaseUid: string;
let notices: AuthorityNotice[];

beforeAll(async () => {
  ({ store, close: closeStore } = await openTestStore());
}, 60_000);
afterAll(() => closeStore());

beforeEach(async () => {
  await emptyStore(store);
  bench = await openAccess(store);
  const user = await bench.access.users.create(SYSTEM, { username: 'alice', password: 'alice-password' });
  alice = actorOf(user.uid, user.username, user.roles);
  const database = await bench.access.databases.create(SYSTEM, {
    name: 'shop',
    host: 'db.internal',
    databaseName: 'shop_production',
    username: 'dbw',
    password: 'upstream-secret',
    recording: { durability: 'sync' },
  });
  databaseUid = database.uid;
  notices = [];
  bench.access.authority.onNotice((notice) => notices.push(notice));
});
afterEach(() => bench.close());

const hour = 3_600_000_000;

function challenge(user: string, clientAddress = '192.0.2.1'): Promise<LoginChallenge> {
  return bench.access.authority.challenge({ user, database: 'shop', engine: 'postgres', clientAddress });
}

async function grant(terms: Partial<NewGrant> = {}): Promise<string> {
  const { uid } = await bench.access.grants.create(SYSTEM, {
    userUid: alice.uid,
    databaseUid,
    expiresUs: bench.clock.wallUs() + hour,
    ...terms,
  });
  return uid;
}

async function permit(
  options: { database?: string; engine?: EngineName; kind?: string } = {},
): Promise<PermitResult> {
  const { scram } = await challenge('alice');
  const verifier = scram.verifiers.find((each) => each.kind === (options.kind ?? 'password'));
  return bench.access.authority.permit({
    userUid: alice.uid,
    database: options.database ?? 'shop',
    engine: options.engine ?? 'postgres',
    credentialUid: verifier?.credentialUid ?? 'none',
  });
}

async function permitted(): Promise<string> {
  const result = await permit();
  if (!result.ok) throw new Error(`refused: ${result.message}`);
  return result.permit.grantUid;
}

/** Looks as the timers would. */
async function look(): Promise<AuthorityNotice[]> {
  notices.length = 0;
  bench.access.authority.watch.expire();
  await bench.access.authority.watch.look();
  return notices;
}

/** Does a client that knows `secret` pass the challenge? SCRAM by the book, RFC 5802 §3. */
async function proves(given: LoginChallenge, secret: string): Promise<string | null> {
  const salted = await makeScramKeys(secret, given.scram.salt, given.scram.iterations);
  const message = 'n=,r=abc,r=abcdef,s=,i=1,c=biws,r=abcdef';
  const signature = (key: Uint8Array): Buffer => createHmac('sha256', key).update(message).digest();
  for (const verifier of given.scram.verifiers)
    if (signature(verifier.storedKey).equals(signature(salted.storedKey)) && verifier.serverKey.length === 32)
      return verifier.credentialUid;
  return null;
}

describe('challenge', () => {
  test('the password and every live API key pass on one salt; expired and revoked ones do not', async () => {
    const { keys } = bench.access;
    const live = await keys.create(alice, {});
    const expiring = await keys.create(alice, { expiresUs: bench.clock.wallUs() + hour });
    const revoked = await keys.create(alice, {});
    await keys.revoke(alice, revoked.key.uid);
    const before = await challenge('ALICE');
    expect(before.userUid).toBe(alice.uid);
    expect(await proves(before, 'alice-password')).not.toBeNull();
    expect(await proves(before, live.secret)).toBe(live.key.uid);
    expect(await proves(before, expiring.secret)).toBe(expiring.key.uid);
    expect(await proves(before, revoked.secret)).toBeNull();
    expect(await proves(before, 'Alice-password')).toBeNull();
    bench.clock.advanceUs(hour);
    expect(await proves(await challenge('alice'), expiring.secret)).toBeNull();
  });

  test('an unknown user gets a stable salt that looks like any other', async () => {
    const [first, second, other, known] = [
      await challenge('nobody'),
      await challenge('Nobody'),
      await challenge('somebody'),
      await challenge('alice'),
    ];
    expect(first.userUid).toBeNull();
    expect(first.scram.verifiers).toEqual([]);
    expect(Buffer.from(first.scram.salt)).toEqual(Buffer.from(second.scram.salt));
    expect(Buffer.from(first.scram.salt)).not.toEqual(Buffer.from(other.scram.salt));
    expect(first.scram.salt).toHaveLength(known.scram.salt.length);
    expect(first.scram.iterations).toBe(known.scram.iterations);
    await expect(challenge(`a\0${'x'.repeat(9000)}`)).resolves.toMatchObject({ userUid: null });
  });

  test('a disabled user keeps the salt and has no verifier', async () => {
    const before = await challenge('alice');
    await bench.access.users.update(SYSTEM, alice.uid, { disabled: true });
    const after = await challenge('alice');
    expect(Buffer.from(after.scram.salt)).toEqual(Buffer.from(before.scram.salt));
    expect(after).toMatchObject({ userUid: null, scram: { verifiers: [] } });
  });

  test('84: failures on a listener slow the REST login and the other way round', async () => {
    const { authority, logins } = bench.access;
    for (let i = 0; i < 5; i++)
      authority.proved({ user: 'alice', clientAddress: '192.0.2.1', credentialUid: null });
    expect((await challenge('alice')).delayMs).toBeGreaterThan(0);
    expect((await challenge('alice', '192.0.2.2')).delayMs).toBe(0);
    for (let i = 0; i < 4; i++)
      authority.proved({ user: 'root', clientAddress: '192.0.2.3', credentialUid: null });
    for (let i = 0; i < 3; i++)
      await logins
        .login({ username: 'bob', password: 'wrong', clientAddress: '192.0.2.4' })
        .catch(() => undefined);
    expect((await challenge('bob', '192.0.2.4')).delayMs).toBeGreaterThan(0);
    for (let i = 0; i < 300; i++)
      authority.proved({ user: 'carol', clientAddress: '192.0.2.5', credentialUid: null });
    await challenge('carol', '192.0.2.5');
    const login = logins.login({ username: 'carol', password: 'x', clientAddress: '192.0.2.5' });
    await expect(login).rejects.toMatchObject({ kind: 'exhausted', code: 'ACCESS_THROTTLED' });
    await expect(challenge('carol', '192.0.2.5')).rejects.toMatchObject({ code: 'ACCESS_THROTTLED' });
  });

  test('a secret in clear text is checked like the others', async () => {
    const { authority, keys } = bench.access;
    const { key, secret } = await keys.create(alice, {});
    const check = (user: string, given: string): ReturnType<typeof authority.checkSecret> =>
      authority.checkSecret({ user, secret: given, clientAddress: 'a' });
    expect(await check('alice', 'alice-password')).toMatchObject({ userUid: alice.uid, kind: 'password' });
    expect(await check('alice', secret)).toEqual({
      userUid: alice.uid,
      credentialUid: key.uid,
      kind: 'api_key',
    });
    expect(await check('alice', 'wrong')).toBeNull();
    expect(await check('bob', 'alice-password')).toBeNull();
    expect(await check('bob', secret)).toBeNull();
    await keys.revoke(alice, key.uid);
    expect(await check('alice', secret)).toBeNull();
  });
});

describe('permit', () => {
  test('carries the grant and the upstream with its secrets', async () => {
    const grantUid = await grant({ controls: ['read_only'], maxQueryCounts: 5 });
    expect(await permit()).toEqual({
      ok: true,
      permit: expect.objectContaining({
        userName: 'alice',
        databaseName: 'shop',
        grantUid,
        controls: ['read_only'],
        expiresAtUs: bench.clock.wallUs() + hour,
        maxStatements: 5,
        maxBytes: null,
        usedStatements: 0,
        upstream: expect.objectContaining({
          password: 'upstream-secret',
          databaseName: 'shop_production',
        }) as unknown,
        recording: expect.objectContaining({ durability: 'sync', captureRows: 1000 }) as unknown,
      }) as unknown,
    });
  });

  test('85: every refusal has its reason', async () => {
    const { users, databases, keys } = bench.access;
    const refusal = async (options: Parameters<typeof permit>[0] = {}): Promise<string> => {
      const result = await permit(options);
      return result.ok ? 'permitted' : result.refusal;
    };
    expect(await refusal()).toBe('no_grant');
    expect(await refusal({ database: 'elsewhere' })).toBe('unknown_database');
    expect(await refusal({ database: 'sh\0p' })).toBe('unknown_database');
    const messages = await Promise.all([permit(), permit({ database: 'shap' })]);
    expect(messages[0]).toMatchObject({ ok: false });
    if (!messages[0].ok && !messages[1].ok)
      expect(messages[0].message.replace('shop', 'shap')).toBe(messages[1].message);

    const later = await grant({
      startsUs: bench.clock.wallUs() + hour,
      expiresUs: bench.clock.wallUs() + 2 * hour,
    });
    expect(await refusal()).toBe('grant_not_started');
    bench.clock.advanceUs(hour);
    expect(await refusal()).toBe('permitted');
    expect(await refusal({ engine: 'mysql' })).toBe('unknown_database');
    bench.clock.advanceUs(hour);
    expect(await refusal()).toBe('grant_ended');
    const fresh = await grant();
    expect(await refusal()).toBe('permitted');
    await bench.access.grants.revoke(SYSTEM, fresh);
    expect(await refusal()).toBe('grant_ended');
    await bench.access.grants.revoke(SYSTEM, later);

    const open = await grant();
    const { key } = await keys.create(alice, {});
    const byKey = (): Promise<PermitResult> =>
      bench.access.authority.permit({
        userUid: alice.uid,
        database: 'shop',
        engine: 'postgres',
        credentialUid: key.uid,
      });
    expect(await byKey()).toMatchObject({ ok: true });
    await keys.revoke(alice, key.uid);
    expect(await byKey()).toMatchObject({ ok: false, refusal: 'wrong_secret' });
    await users.update(SYSTEM, alice.uid, { roles: ['viewer'] });
    expect(await refusal()).toBe('role_missing');
    await users.update(SYSTEM, alice.uid, { roles: ['admin'] });
    expect(await refusal()).toBe('permitted');
    const second = await users.create(SYSTEM, {
      username: 'second',
      password: 'second-password',
      roles: ['admin'],
    });
    await users.update(SYSTEM, alice.uid, { disabled: true });
    expect(await refusal()).toBe('unknown_user');
    await users.update(actorOf(second.uid, 'second', ['admin']), alice.uid, { disabled: false });
    await bench.access.grants.revoke(SYSTEM, open);
    await databases.delete(SYSTEM, databaseUid);
    expect(await refusal()).toBe('unknown_database');
  });

  test('of several grants, the one with the fewest controls, then the longest', async () => {
    const now = bench.clock.wallUs();
    await grant({ controls: ['read_only', 'block_copy'], expiresUs: now + 9 * hour });
    const one = await grant({ controls: ['read_only'], expiresUs: now + hour });
    expect(await permitted()).toBe(one);
    const longer = await grant({ controls: ['block_ddl'], expiresUs: now + 2 * hour });
    expect(await permitted()).toBe(longer);
    const free = await grant({ startsUs: now - hour, expiresUs: now + 1000, maxQueryCounts: 2 });
    expect(await permitted()).toBe(free);
    bench.access.authority.reportUsage([{ grantUid: free, statements: 2, bytes: 0 }]);
    expect(await permitted()).toBe(longer);
  });

  test('a session lives no longer than the API key that opened it', async () => {
    const expiresUs = bench.clock.wallUs() + hour / 2;
    await grant();
    await bench.access.keys.create(alice, { expiresUs });
    expect(await permit({ kind: 'api_key' })).toMatchObject({ ok: true, permit: { expiresAtUs: expiresUs } });
    bench.clock.advanceUs(hour / 2);
    // The grant itself goes on for others of its sessions.
    expect(await look()).toEqual([]);
  });

  test('86: quotas count what the index and running sessions say, without counting twice', async () => {
    const grantUid = await grant({ maxQueryCounts: 100, maxBytesTransferred: 1000 });
    const index = (statements: number): Promise<unknown> =>
      store.transaction((client) =>
        client.query(
          `insert into idx_usage values ('j', $1, $2, 0) on conflict (grant_uid, journal) do update set statements = $2`,
          [grantUid, statements],
        ),
      );
    const used = async (): Promise<number | string> => {
      const result = await permit();
      return result.ok ? result.permit.usedStatements : result.refusal;
    };
    await index(10);
    expect(await used()).toBe(10);
    const { authority } = bench.access;
    authority.reportUsage([{ grantUid, statements: 5, bytes: 0 }]);
    authority.reportUsage([{ grantUid, statements: 5, bytes: 10 }]);
    expect(await used()).toBe(20);
    await index(20);
    expect(await used()).toBe(20);
    await index(60);
    expect(await used()).toBe(60);
    await index(100);
    expect(await used()).toBe('quota_used_up');
    expect(await look()).toEqual([
      { kind: 'grant_ended', grantUid, message: "the grant's 100 statements are used up" },
    ]);
  });
});

describe('notices', () => {
  test('revocation, on this node at once', async () => {
    const grantUid = await grant();
    await permitted();
    const told = new Promise<AuthorityNotice>((resolve) => bench.access.authority.onNotice(resolve));
    await bench.access.grants.revoke(SYSTEM, grantUid);
    expect(await told).toEqual({ kind: 'grant_ended', grantUid, message: 'the grant was revoked' });
    expect(bench.access.authority.watch.size).toBe(0);
  });

  test('85: revocation by another node, seen in the store', async () => {
    const grantUid = await grant();
    await permitted();
    expect(await look()).toEqual([]);
    await store.db.updateTable('grants').set({ revoked_us: 1 }).where('uid', '=', grantUid).execute();
    expect(await look()).toMatchObject([{ kind: 'grant_ended', grantUid }]);
    expect(await look()).toEqual([]);
  });

  test('expiry by the clock alone, as set or as shortened', async () => {
    const grantUid = await grant();
    await permitted();
    await bench.access.grants.update(SYSTEM, grantUid, { expiresUs: bench.clock.wallUs() + hour / 2 });
    expect(await look()).toEqual([]);
    bench.clock.advanceUs(hour / 2);
    bench.access.authority.watch.expire();
    expect(notices).toEqual([
      { kind: 'grant_ended', grantUid, message: 'the grant has expired; ask for a new one' },
    ]);
  });

  test('tightened controls end sessions, loosened ones do not', async () => {
    const grantUid = await grant({ controls: ['block_ddl'] });
    await permitted();
    await bench.access.grants.update(SYSTEM, grantUid, { controls: [] });
    expect(await look()).toEqual([]);
    await bench.access.grants.update(SYSTEM, grantUid, { controls: ['read_only'] });
    await bench.access.authority.watch.stop();
    expect(notices).toMatchObject([{ kind: 'grant_ended', grantUid }]);
    expect(bench.access.authority.watch.size).toBe(0);
  });

  test('disabled and deleted users, lost roles, revoked keys, deleted databases, kills', async () => {
    const { users, keys, databases } = bench.access;
    const grantUid = await grant();
    await permitted();
    await users.update(SYSTEM, alice.uid, { roles: ['viewer'] });
    expect(await lastNotice('user_disabled')).toEqual({ kind: 'user_disabled', userUid: alice.uid });
    await users.update(SYSTEM, alice.uid, { roles: ['connector'] });

    const { key } = await keys.create(alice, {});
    expect(await permit({ kind: 'api_key' })).toMatchObject({ ok: true });
    await keys.revoke(alice, key.uid);
    expect(await lastNotice('credential_ended')).toMatchObject({ credentialUid: key.uid });

    await permitted();
    await store.db.updateTable('databases').set({ deleted_us: 1 }).where('uid', '=', databaseUid).execute();
    await bench.access.authority.watch.look();
    expect(await lastNotice('grant_ended')).toMatchObject({ grantUid });
    await store.db
      .updateTable('databases')
      .set({ deleted_us: null })
      .where('uid', '=', databaseUid)
      .execute();

    await permitted();
    await users.delete(SYSTEM, alice.uid);
    expect(await lastNotice('user_disabled')).toEqual({ kind: 'user_disabled', userUid: alice.uid });
    expect(databases).toBeDefined();
  });

  test('a kill is journaled and told; others’ sessions do not exist; ended ones are not killed', async () => {
    const { sessions } = bench.access;
    const uid = '01890a5d-ac96-774b-bcce-b302099a8057';
    await insertSession(uid, alice.uid);
    const bob = actorOf('someone-else', 'bob', ['connector']);
    await expect(sessions.kill(bob, uid)).rejects.toMatchObject({ kind: 'not-found' });
    await expect(sessions.kill(actorOf('v', 'v', ['viewer']), uid)).rejects.toMatchObject({ kind: 'denied' });
    await sessions.kill(actorOf('root-uid', 'root', ['admin'], 'api_key'), uid);
    expect(notices).toEqual([{ kind: 'kill_session', sessionUid: uid, by: 'root' }]);
    expect(bench.journal.actions).toContain('kill session alice → shop');
    bench.journal.failing = true;
    await expect(sessions.kill(alice, uid)).rejects.toMatchObject({ kind: 'unavailable' });
    bench.journal.failing = false;
    expect(notices).toHaveLength(1);
    await store.db.updateTable('idx_sessions').set({ closed_us: 1 }).execute();
    await expect(sessions.kill(alice, uid)).rejects.toMatchObject({ kind: 'conflict' });
  });
});

/** The latest notice of a kind, after everything that was set off has been looked at. */
async function lastNotice(kind: AuthorityNotice['kind']): Promise<AuthorityNotice | undefined> {
  await bench.access.authority.watch.stop();
  return notices.filter((notice) => notice.kind === kind).at(-1);
}

async function insertSession(uid: string, userUid: string): Promise<void> {
  await store.transaction((client) =>
    client.query(
      `insert into idx_sessions (uid, journal, opened_us, user_uid, user_name, database_uid, database_name, grant_uid,
        server_uid, engine, backend_id, controls, client_address, client_port, tls, authentication, application_name,
        last_us, first_seq, last_seq)
       values ($1, 'j', 1, $2, 'alice', 'd', 'shop', 'g', 's', 'postgres', '1', '{}', 'a', 1, '', '', '', 1, 0, 0)`,
      [uid, userUid],
    ),
  );
}
