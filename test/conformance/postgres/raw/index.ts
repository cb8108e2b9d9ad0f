/** Every conversation in raw messages. */
import { copy } from './copy.ts';
import { extended } from './extended.ts';
import { other } from './other.ts';
import { type Scenario, play } from './scenario.ts';
import { simple } from './simple.ts';

export { play };
export const SCENARIOS: readonly Scenario[] = [...simple, ...extended, ...copy, ...other];
