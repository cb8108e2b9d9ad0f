/**
 * Another thread at the store: counts up in transactions; or, told to count nothing, stays inside one for ever; or, told
 * less than nothing, sends a batch and stands still until the gate is opened.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { connectStore, type StoreHandle } from '../../../src/store/store.ts';

const { handle, increments, gate } = workerData as {
  handle: StoreHandle;
  increments: number;
  gate?: Int32Array;
};
const store = connectStore(handle);
for (let i = 0; i < increments; i++)
  await store.transaction(async (client) => {
    const { rows } = await client.query(`select value from settings where name = 'counter' for update`);
    await client.query(`update settings set value = $1 where name = 'counter'`, [
      String(Number(rows[0]?.['value']) + 1),
    ]);
  });
if (increments === 0)
  await store.transaction(async (client) => {
    await client.query(`insert into settings values ('left-open', '')`);
    parentPort!.postMessage('inside', []);
    await new Promise((resolve) => parentPort!.once('message', resolve));
  });
if (increments < 0) {
  const put = (name: string) =>
    ({ kind: 'query', sql: `insert into settings values ($1, '')`, params: [name] }) as const;
  await store.batch([put('from-afar')]); // the connection is there now
  const batch = store.batch([put('from-afar-1'), put('from-afar-2')]);
  await new Promise((resolve) => setImmediate(resolve));
  parentPort!.postMessage('sent', []);
  Atomics.wait(gate!, 0, 0);
  await batch;
}
await store.close();
