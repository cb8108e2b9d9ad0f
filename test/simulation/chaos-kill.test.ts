/** HOSTILE 70: kill −9 under load; everything the server's own log shows is in the journal. Long run: npm run chaos:kill */
import { describe, expect, it } from 'vitest';
import { isMissing, newSeed } from '../servers/index.ts';
import { chaosKill, notIn } from './chaos.ts';

describe('what counts as lost', () => {
  const one = (
    pid: number,
    text: string,
    parameters = '',
  ): { pid: number; text: string; parameters: string } => ({
    pid,
    text,
    parameters,
  });

  it('is a statement of another backend, text, parameter, order or number than recorded', () => {
    const recorded = [one(1, 'a'), one(1, 'b', "'1'"), one(1, 'a'), one(2, 'c')];
    expect(notIn([one(1, 'a'), one(1, 'a'), one(2, 'c')], recorded)).toEqual([]);
    expect(notIn([one(2, 'a')], recorded)).toHaveLength(1);
    expect(notIn([one(1, 'b', "'2'")], recorded)).toHaveLength(1);
    expect(notIn([one(1, 'b', "'1'"), one(1, 'b', "'1'")], recorded)).toHaveLength(1);
    expect(notIn([one(1, 'a'), one(1, 'a'), one(1, 'b', "'1'")], recorded)).toHaveLength(1);
    expect(notIn([one(3, 'a')], recorded)).toHaveLength(1);
  });
});

describe.each([
  { server: 'postgres', needs: ['postgres', 'pgbench'] },
  { server: 'mariadb', needs: ['mariadb', 'sysbench'] },
  { server: 'mysql', needs: ['mysql-9.7', 'sysbench'] },
] as const)('kill −9 under load of $server (HOSTILE 70)', ({ server, needs }) => {
  it.skipIf(isMissing(...needs))(
    'loses nothing, and verify passes after each restart',
    async () => {
      const seed = newSeed();
      const lines: string[] = [];
      const result = await chaosKill({ server, rounds: 3, seed, log: (line) => lines.push(line) });
      expect(result.lost.slice(0, 5), `seed ${seed}\n${lines.join('\n')}`).toEqual([]);
      expect(result.statements).toBeGreaterThan(100);
    },
    240_000,
  );
});
