/** As postgres-differential.test.ts, for the other supported versions. `npm run test:nightly` */
import { describe } from 'vitest';
import { isMissing } from '../servers/index.ts';
import { differential } from './postgres/differential.ts';

describe.skipIf(isMissing('psql')).each(['13', '14', '16', '17'] as const)(
  'PostgreSQL %s, direct and through dbwitness',
  (version) => {
    differential(version);
  },
);
