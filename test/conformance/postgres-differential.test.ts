/** The same script, direct and through dbwitness, gives identical results: PostgreSQL 15 and 18. Others: the nightly file. */
import { describe } from 'vitest';
import { isMissing } from '../servers/index.ts';
import { differential } from './postgres/differential.ts';

describe.skipIf(isMissing('psql')).each(['15', '18'] as const)(
  'PostgreSQL %s, direct and through dbwitness',
  (version) => {
    differential(version);
  },
);
