/** Another thread at the store: counts up in transactions, or, told to count nothing, stays inside one for ever. */
import { parentPort, workerData } from 'node:worker_threads';
import { connectStore, type StoreHandle } from '../../../src/store/store.ts';

const { handle, increments } = workerData as { handle: StoreHandle; increments: number };
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
await store.close();
