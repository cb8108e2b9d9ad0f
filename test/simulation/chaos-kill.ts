/**
 * `npm run chaos:kill -- [--server postgres|mariadb|mysql] [--rounds 50] [--seed N]`: kill −9 of dbwitness under load,
 * see chaos.ts. Exit code 1 when a statement was lost; a journal that does not verify ends the run at once.
 */
import { parseArgs } from 'node:util';
import { newSeed } from '../servers/index.ts';
import { CHAOS_SERVERS, chaosKill, type ChaosServerName } from './chaos.ts';

const { values } = parseArgs({
  options: {
    server: { type: 'string', default: 'postgres' },
    rounds: { type: 'string', default: '50' },
    seed: { type: 'string' },
  },
});
const seed = values.seed === undefined ? newSeed() : Number(values.seed);
if (!Object.hasOwn(CHAOS_SERVERS, values.server))
  throw new Error(`--server: "${values.server}" is none of ${Object.keys(CHAOS_SERVERS).join(', ')}`);
console.log(`${values.server}, seed ${seed}`);
const result = await chaosKill({
  server: values.server as ChaosServerName,
  rounds: Number(values.rounds),
  seed,
  log: (line) => console.log(line),
});
for (const { pid, text, parameters } of result.lost.slice(0, 20))
  console.log(`lost: connection ${pid}: ${text} [${parameters}]`);
console.log(
  `${result.rounds} rounds, ${result.statements} statements in the server's log, lost = ${result.lost.length} (recorded and not run: ${result.onlyRecorded})`,
);
process.exitCode = result.lost.length === 0 && result.statements > 0 ? 0 : 1;
