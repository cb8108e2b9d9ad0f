/** psql as a real client of libpq: one command, its output, its exit code. */
import { requirePath, startProcess } from '../../servers/index.ts';
import type { PgTarget } from '../../servers/index.ts';

export async function psql(
  target: PgTarget,
  command: string,
  env: Readonly<Record<string, string>> = {},
): Promise<{ readonly code: number | string; readonly stdout: string; readonly stderr: string }> {
  const running = startProcess(
    requirePath('psql'),
    ['-X', '-q', '-t', '-A', '-v', 'ON_ERROR_STOP=1', '-c', command],
    {
      env: {
        PATH: process.env['PATH'],
        HOME: '/nonexistent',
        PGHOST: target.host,
        PGPORT: String(target.port),
        PGUSER: target.user,
        PGPASSWORD: target.password,
        PGDATABASE: target.database,
        PGGSSENCMODE: 'disable',
        ...env,
      },
    },
  );
  const code = await running.ended;
  return { code, stdout: running.stdout(), stderr: running.stderr() };
}
