import { afterEach, beforeEach, expect, it } from 'vitest';
import { systemClock } from '../../base/clock.ts';
import { openSimulated } from '../../journal/simulated-journal.ts';
import { SimulatedDisk } from '../../journal/simulated-disk.ts';
import type { Reactor } from '../../transport/link.ts';
import { createReactor } from '../../transport/reactor.ts';
import { type TurnParticipant, TurnScheduler } from './turn.ts';

let reactor: Reactor;
let turn: TurnScheduler;

beforeEach(() => {
  reactor = createReactor({ driver: 'node' });
  turn = new TurnScheduler(reactor, openSimulated(new SimulatedDisk()).appender, systemClock);
});
afterEach(() => reactor.close());

/** A participant that tells what becomes of it. */
function participant(told: string[], name: string, endTurn = () => {}): TurnParticipant {
  return {
    endTurn: (recorded) => {
      told.push(`${name} ends, recorded: ${recorded}`);
      endTurn();
    },
    fail: (error) => told.push(`${name} failed: ${String(error)}`),
  };
}

it('a participant whose end of the turn throws fails alone, and the turns go on', async () => {
  const told: string[] = [];
  const broken = participant(told, 'first', () => {
    throw new Error('send after end');
  });
  turn.join(broken);
  turn.join(participant(told, 'second'));
  await new Promise<void>((done) => turn.afterTurn(done));
  expect(told.splice(0)).toEqual([
    'first ends, recorded: true',
    'first failed: Error: send after end',
    'second ends, recorded: true',
  ]);
  turn.join(participant(told, 'third'));
  await new Promise<void>((done) => turn.afterTurn(done));
  expect(told).toEqual(['third ends, recorded: true']);
});
