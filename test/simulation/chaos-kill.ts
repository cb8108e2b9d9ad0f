/**
 * `npm run chaos:kill -- [--rounds 50] [--seed N]`: kill −9 of dbwitness under pgbench load, see chaos.ts. Exit code 1
 * when a statement was lost; a journal that does not verify ends the run at once.
 */
import { parseArgs } from 'node:util';
import { newSeed } from '../servers/index.ts';
import { chaosKill } from './chaos.ts';

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '50' }, seed: { type: 'string' } },
});
const seed = values.seed === undefined ? newSeed() : Number(values.seed);
console.log(`seed ${seed}`);
const result = await chaosKill({ rounds: Number(values.rounds), seed, log: (line) => console.log(line) });
for (const { pid, text, parameters } of result.lost.slice(0, 20))
  console.log(`lost: backend ${pid}: ${text} [${parameters}]`);
console.log(
  `${result.rounds} rounds, ${result.statements} statements in the server's log, lost = ${result.lost.length} (recorded and not run: ${result.onlyRecorded})`,
);
process.exitCode = result.lost.length === 0 && result.statements > 0 ? 0 : 1;
