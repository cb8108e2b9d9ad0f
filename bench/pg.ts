/**
 * `npm run bench:pg`: what dbwitness costs on the way to PostgreSQL, beside HAProxy and pgbouncer, in one alternating
 * run. See README.md for how to read it.
 *
 *   npm run bench:pg -- [--quick] [--rounds N] [--seconds N] [--megabytes N] [--only throughput|transfer]
 *                       [--json FILE] [--assert]
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { fixed } from './statistics.ts';
import { throughput, type Verdict, verdicts } from './throughput.ts';
import { machine, transfers, transferVerdicts } from './transfer.ts';
import { startField } from './ways.ts';

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    seconds: { type: 'string' },
    megabytes: { type: 'string' },
    only: { type: 'string' },
    json: { type: 'string' },
    assert: { type: 'boolean', default: false },
  },
});

const CASES = (['select-only', 'tpcb-like'] as const).flatMap((script) =>
  (['prepared', 'simple'] as const).flatMap((protocol) =>
    [8, 1].map((clients) => ({ script, protocol, clients })),
  ),
);

async function main(): Promise<number> {
  const rounds = Number(values.rounds ?? (values.quick ? 1 : 5));
  const seconds = Number(values.seconds ?? (values.quick ? 1 : 5));
  const megabytes = Number(values.megabytes ?? (values.quick ? 50 : 1000));
  console.log(
    `${machine()}; ${rounds} rounds of ${seconds} s, ${megabytes} MB; fsync off; everything recorded`,
  );
  const field = await startField(values.quick ? 1 : 10);
  try {
    const runs = values.only === 'transfer' ? [] : await throughput(field, { rounds, seconds, cases: CASES });
    const moved = values.only === 'throughput' ? [] : await transfers(field, megabytes, Math.min(rounds, 3));
    const found = [...verdicts(runs), ...transferVerdicts(moved)];
    console.log(`\n${found.map(sentence).join('\n')}`);
    if (values.json !== undefined)
      writeFileSync(values.json, `${JSON.stringify({ machine: machine(), runs, moved, found }, null, 2)}\n`);
    return values.assert && found.some((one) => !one.held) ? 1 : 0;
  } finally {
    await field.stop();
  }
}

function sentence({ what, value, bar, held }: Verdict): string {
  return `${held ? 'held  ' : 'MISSED'}  ${what}: ${fixed(value, value < 10 ? 3 : 0)} (bar ${bar})`;
}

process.exitCode = await main();
