/** What both back ends of the store promise: schema, types, transactions, sharing between threads, outage. */
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Worker } from 'node:worker_threads';
import { isAppError } from '../../src/base/errors.ts';
import { migrate } from '../../src/store/migrate.ts';
import { MIGRATIONS } from '../../src/store/migrations.ts';
import type { Step } from '../../src/store/backend.ts';
import { connectStore, openStore, type Store, transferOf } from '../../src/store/store.ts';
import { waitFor } from '../servers/index.ts';
import { openFresh, startPglite, startPostgres15, type TestBackend } from './store/backends.ts';

/** The AppError that a promise rejects with, as `kind CODE`. */
async function failure(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    return isAppError(error) ? `${error.kind} ${error.code}` : `not an AppError: ${String(error)}`;
  }
  return 'no failure';
}

const user = {
  uid: '0198a000-0000-7000-8000-000000000001',
  username: 'alice',
  display_name: 'Alice \\ "x" {y} żółć 😀',
  email: '',
  roles: ['admin', 'a,b', 'c"d', 'e\\f', '', 'NULL'],
  scram_salt: new Uint8Array([0, 1, 2, 253, 254, 255]),
  scram_iterations: 4096,
  disabled: false,
  deleted_us: null,
  created_us: Number.MAX_SAFE_INTEGER,
  updated_us: 0,
};

describe.each([
  ['pglite', startPglite],
  ['postgres', startPostgres15],
] as const)('store on %s', (kind, start) => {
  let backend: TestBackend;
  let store: Store;

  beforeAll(async () => {
    backend = await start();
    store = await openFresh(backend);
  });
  afterAll(async () => {
    await store.close();
    await backend.stop();
  });

  const setting = (name: string, value: string): Promise<unknown> =>
    store.db.insertInto('settings').values({ name, value }).execute();
  const settings = async (): Promise<string[]> => {
    const rows = await store.db.selectFrom('settings').select('name').orderBy('name').execute();
    return rows.map((row) => row.name);
  };

  describe('migrations', () => {
    it('are recorded, and run once', async () => {
      expect(store.kind).toBe(kind);
      const { rows } = await sql<{ version: number }>`
        select version from schema_migrations order by version`.execute(store.db);
      expect(rows.map((row) => row.version)).toEqual(MIGRATIONS.map((migration) => migration.version));
      expect(await migrate(store)).toEqual([]);
    });

    it('run once when several start at the same time', async () => {
      const next = {
        version: MIGRATIONS.length + 1,
        name: 'test',
        sql: `create table migrated_once (n int); insert into migrated_once values (1)`,
      };
      const all = [...MIGRATIONS, next];
      const runs = await Promise.all([migrate(store, all), migrate(store, all), migrate(store, all)]);
      expect(runs.flat()).toEqual([next.version]);
      await store.transaction((client) =>
        client.query(
          `drop table migrated_once; delete from schema_migrations where version = ${next.version}`,
        ),
      );
    });

    it('leave nothing behind when they fail', async () => {
      const broken = {
        version: MIGRATIONS.length + 1,
        name: 'broken',
        sql: 'create table half (n int); select 1/0',
      };
      expect(await failure(migrate(store, [...MIGRATIONS, broken]))).toBe('invalid STORE_INVALID_VALUE');
      const { rows } = await sql<{ found: boolean }>`select to_regclass('half') is not null as found`.execute(
        store.db,
      );
      expect(rows[0]?.found).toBe(false);
    });

    it('refuse a schema that is newer than the program', async () => {
      expect(await failure(migrate(store, MIGRATIONS.slice(0, -1)))).toBe('conflict STORE_SCHEMA_NEWER');
    });
  });

  describe('values', () => {
    it('come back as they were put in', async () => {
      await store.db.insertInto('users').values(user).execute();
      const back = await store.db.selectFrom('users').selectAll().executeTakeFirstOrThrow();
      expect(back).toEqual(user);
      expect(Object.getPrototypeOf(back.scram_salt)).toBe(Uint8Array.prototype);
    });

    it('count rows: inserted, updated, deleted', async () => {
      await Promise.all([setting('v1', 'x'), setting('v2', 'x')]);
      const updated = await store.db
        .updateTable('settings')
        .set({ value: 'y' })
        .where('value', '=', 'x')
        .executeTakeFirst();
      expect(updated.numUpdatedRows).toBe(2n);
      const deleted = await store.db.deleteFrom('settings').where('value', '=', 'y').executeTakeFirst();
      expect(deleted.numDeletedRows).toBe(2n);
    });

    it('aggregate to numbers', async () => {
      const row = await store.db
        .selectFrom('users')
        .select(({ fn }) => [fn.countAll<number>().as('count'), fn.max('created_us').as('max')])
        .executeTakeFirstOrThrow();
      expect(row).toEqual({ count: 1, max: Number.MAX_SAFE_INTEGER });
    });
  });

  describe('transactions', () => {
    it('are not seen by others before they commit, and keep no reader out for longer', async () => {
      const inside = Promise.withResolvers<void>();
      const goOn = Promise.withResolvers<void>();
      const transaction = store.db.transaction().execute(async (trx) => {
        await trx.insertInto('settings').values({ name: 't1', value: '' }).execute();
        inside.resolve();
        await goOn.promise;
        await trx.insertInto('settings').values({ name: 't2', value: '' }).execute();
      });
      await inside.promise;
      // PostgreSQL answers at once without the rows, PGlite after the commit with both: never with one.
      const reading = settings();
      if (kind === 'postgres') expect(await reading).toEqual([]);
      goOn.resolve();
      if (kind === 'pglite') expect(await reading).toEqual(['t1', 't2']);
      await transaction;
      expect(await settings()).toEqual(['t1', 't2']);
    });

    it('roll back when the work fails, and free the connection', async () => {
      const error = new Error('on purpose');
      await expect(
        store.db.transaction().execute(async (trx) => {
          await trx.insertInto('settings').values({ name: 'r1', value: '' }).execute();
          throw error;
        }),
      ).rejects.toBe(error);
      await expect(
        store.transaction(async (client) => {
          await client.query(`insert into settings values ('r2', '')`);
          await client.query('select 1/0');
        }),
      ).rejects.toMatchObject({ kind: 'invalid' });
      expect(await settings()).toEqual(['t1', 't2']);
    });

    it('many at once, each whole', async () => {
      await store.db.insertInto('settings').values({ name: 'counter', value: '0' }).execute();
      await Promise.all(
        Array.from({ length: 20 }, () =>
          store.transaction(async (client) => {
            const { rows } = await client.query(
              `select value from settings where name = 'counter' for update`,
            );
            const value = String(Number(rows[0]?.['value']) + 1);
            await client.query(`update settings set value = $1 where name = 'counter'`, [value]);
          }),
        ),
      );
      const row = await store.db
        .selectFrom('settings')
        .select('value')
        .where('name', '=', 'counter')
        .executeTakeFirstOrThrow();
      expect(row.value).toBe('20');
    });

    it('a client that is given back inside one is rolled back', async () => {
      const connection = store.db.connection().execute(async (db) => {
        await sql`begin`.execute(db);
        await sql`insert into settings values ('abandoned', '')`.execute(db);
      });
      await connection;
      expect(await settings()).not.toContain('abandoned');
    });
  });

  describe('batches', () => {
    const put = (name: string): Step => ({
      kind: 'query',
      sql: `insert into settings values ($1, '')`,
      params: [name],
    });
    const none: Step = { kind: 'query', sql: 'delete from settings where false', params: [], mustAffect: 1 };

    it('are one transaction: all of it, or nothing', async () => {
      expect(await store.batch([put('b1'), put('b2')])).toBe(true);
      expect(await store.batch([put('b3'), none, put('b4')])).toBe(false);
      expect(await failure(store.batch([put('b5'), put('b1')]))).toBe('conflict STORE_DUPLICATE');
      expect(await failure(store.batch([put('b6'), { ...none, sql: 'select 1/0' }]))).toMatch(/^invalid/);
      expect((await settings()).filter((name) => name.startsWith('b'))).toEqual(['b1', 'b2']);
    });

    it.runIf(kind === 'pglite')('let the questions of others go first', async () => {
      const order: string[] = [];
      const posted = () => new Promise((resolve) => setImmediate(resolve));
      const waiting = store.transaction(async (client) => {
        await client.query('select 1'); // from here on everybody else waits
        const batch = store.batch([put('b7')]).then(() => order.push('batch'));
        await posted();
        const question = settings().then(() => order.push('question'));
        await posted();
        return { all: Promise.all([batch, question]) };
      });
      await (await waiting).all;
      expect(order).toEqual(['question', 'batch']);
    });

    it('come to their turn, however many questions there are', async () => {
      const turn = { came: false };
      const batch = store.batch([put('b9')]).then(() => (turn.came = true));
      while (!turn.came) await Promise.all(Array.from({ length: 5 }, settings));
      await batch;
      expect(await settings()).toContain('b9');
    });

    it.runIf(kind === 'pglite')(
      'end without the thread that began them, so nobody waits for it',
      async () => {
        const handle = store.share();
        const gate = new Int32Array(new SharedArrayBuffer(4));
        const worker = new Worker(new URL('./store/sharing-worker.ts', import.meta.url), {
          workerData: { handle, increments: -1, gate },
          transferList: transferOf(handle),
        });
        const ended = new Promise((resolve) => worker.once('exit', resolve));
        await new Promise((resolve) => worker.once('message', resolve));
        // It does nothing at all from here on, until we let it.
        await waitFor('its batch to be committed', async () => (await settings()).includes('from-afar-2'));
        Atomics.store(gate, 0, 1);
        Atomics.notify(gate, 0);
        await ended;
      },
    );
  });

  describe('failures', () => {
    it('are AppErrors without values', async () => {
      expect(await failure(setting('t1', 'again'))).toBe('conflict STORE_DUPLICATE');
      const key = { uid: 'k', user_uid: 'nobody', kind: 'api_key' as const, name: '', prefix: '', hash: 'h' };
      const rest = {
        scram_stored_key: user.scram_salt,
        scram_server_key: user.scram_salt,
        created_us: 1,
        created_by: '',
      };
      expect(
        await failure(
          store.db
            .insertInto('credentials')
            .values({ ...key, ...rest })
            .execute(),
        ),
      ).toBe('conflict STORE_REFERENCED');
      const odd = sql`select ${'secret-value'}::bigint`.execute(store.db);
      await expect(odd).rejects.toMatchObject({ kind: 'invalid' });
      const error: unknown = await odd.catch((thrown: unknown) => thrown);
      expect(JSON.stringify([String(error), error, (error as Error).cause ?? null])).not.toContain(
        'secret-value',
      );
    });
  });

  describe('other threads', () => {
    it('share it, transactions included', async () => {
      const handle = store.share();
      const worker = new Worker(new URL('./store/sharing-worker.ts', import.meta.url), {
        workerData: { handle, increments: 50 },
        transferList: transferOf(handle),
      });
      const done = new Promise<void>((resolve, reject) => {
        worker.once('error', reject);
        worker.once('exit', () => resolve());
      });
      await store.db.updateTable('settings').set({ value: '0' }).where('name', '=', 'counter').execute();
      for (let i = 0; i < 50; i++)
        await store.transaction(async (client) => {
          const { rows } = await client.query(`select value from settings where name = 'counter' for update`);
          await client.query(`update settings set value = $1 where name = 'counter'`, [
            String(Number(rows[0]?.['value']) + 1),
          ]);
        });
      await done;
      const { value } = await store.db
        .selectFrom('settings')
        .select('value')
        .where('name', '=', 'counter')
        .executeTakeFirstOrThrow();
      expect(value).toBe('100');
    });

    it('that end inside a transaction block nobody', async () => {
      const handle = store.share();
      const worker = new Worker(new URL('./store/sharing-worker.ts', import.meta.url), {
        workerData: { handle, increments: 0 },
        transferList: transferOf(handle),
      });
      await new Promise((resolve) => worker.once('message', resolve));
      await worker.terminate();
      await setting('after-termination', '');
      expect(await settings()).not.toContain('left-open');
    });
  });

  describe('an outage', () => {
    it('fails queries with `unavailable`, and later ones work again', async () => {
      await setting('before', '');
      const shared = connectStore(store.share());
      const other = shared.db.selectFrom('settings').select('name').where('name', '=', 'before');
      expect(await other.execute()).toEqual([{ name: 'before' }]);
      const inside = Promise.withResolvers<void>();
      const resume = Promise.withResolvers<void>();
      const interrupted = store.transaction(async (client) => {
        await client.query(`insert into settings values ('interrupted', '')`);
        inside.resolve();
        await resume.promise;
        await client.query('select 1');
      });
      const outcome = failure(interrupted);
      await inside.promise;
      const restore = await backend.outage(store);
      resume.resolve();
      expect(await outcome).toBe('unavailable STORE_UNAVAILABLE');
      if (kind === 'postgres') expect(await failure(settings())).toBe('unavailable STORE_UNAVAILABLE');
      await restore();
      const names = await waitFor('the store to answer again', settings);
      expect(names).toContain('before');
      expect(names).not.toContain('interrupted');
      expect(await waitFor('the other thread to be served again', () => other.execute())).toEqual([
        { name: 'before' },
      ]);
      await shared.close();
    });
  });

  describe('opening', () => {
    it('twice is for PostgreSQL only', async () => {
      if (kind === 'postgres') {
        const options = await backend.fresh();
        const [one, two] = await Promise.all([openStore(options), openStore(options)]);
        await one.close();
        await two.close();
        const nobody = openStore({ ...options, dsn: 'postgres://127.0.0.1:1/x' });
        expect(await failure(nobody)).toBe('unavailable STORE_UNAVAILABLE');
        const refused = options.dsn?.replace(':of-tests@', ':wrong@') ?? '';
        expect(await failure(openStore({ ...options, dsn: refused }))).toBe(
          'unavailable STORE_LOGIN_REFUSED',
        );
      } else {
        const options = await backend.fresh();
        const one = await openStore(options);
        expect(await failure(openStore(options))).toBe('conflict STORE_IN_USE');
        await one.db.insertInto('settings').values({ name: 'kept', value: 'v' }).execute();
        await one.close();
        const again = await openStore(options);
        expect(await again.db.selectFrom('settings').selectAll().execute()).toEqual([
          { name: 'kept', value: 'v' },
        ]);
        await again.close();
      }
    });
  });
});
