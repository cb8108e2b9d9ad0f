/**
 * `node bench/session-cost.ts [--seconds N] [--sessions N] [--per-turn N] [--protocol prepared|simple] [--engine
 * postgres|mysql]`: what a statement costs in our own JavaScript, without sockets and disk. Where a whole run is too noisy
 * to show what a change is worth, and for `node --cpu-prof`.
 */
import { parseArgs } from 'node:util';
import { mysql } from './session/mysql.ts';
import { postgres } from './session/postgres.ts';
import { deliver, journaled, reactor } from './session/world.ts';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '3' },
    sessions: { type: 'string', default: '8' },
    'per-turn': { type: 'string', default: '2' },
    protocol: { type: 'string', default: 'prepared' },
    engine: { type: 'string', default: 'postgres' },
  },
});

const WARM_UP = 200_000;
const SAMPLE = 20_000;

const prepared = values.protocol === 'prepared';
const { open, requests, answer } = await (values.engine === 'mysql' ? mysql(prepared) : postgres(prepared));
const pairs = Array.from({ length: Number(values.sessions) }, open);
const perTurn = Number(values['per-turn']);
let next = 0;

function run(statements: number): void {
  for (let i = 0; i < statements; i += perTurn) {
    let at = 0;
    for (let k = 0; k < perTurn; k++)
      at = deliver(pairs[(i + k) % pairs.length].client, requests[next++ % requests.length], at);
    reactor.onTurnEnd();
    at = 0;
    for (let k = 0; k < perTurn; k++) at = deliver(pairs[(i + k) % pairs.length].upstream, answer, at);
    reactor.onTurnEnd();
  }
}

run(WARM_UP);
journaled.bytes = 0;
const costs: number[] = [];
const until = performance.now() + Number(values.seconds) * 1000;
while (performance.now() < until) {
  const before = process.cpuUsage();
  run(SAMPLE);
  const { user, system } = process.cpuUsage(before);
  costs.push((user + system) / SAMPLE);
}
const bytes = journaled.bytes / (costs.length * SAMPLE);
costs.sort((a, b) => a - b);
const [median, least] = [costs[costs.length >> 1], costs[0]].map((cost) => cost.toFixed(2));
console.log(
  `${values.engine}, ${values.protocol}: ${median} µs per statement (median; least ${least}), ${bytes.toFixed(0)} bytes of journal each`,
);
process.exit(0);
