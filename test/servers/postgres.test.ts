/** The harness itself: every version starts, runs unprivileged, speaks TLS, and is gone after `stop`. */
import { readFileSync } from 'node:fs';
import pg from 'pg';
import { describe, expect, it } from 'vitest';
import { isMissing, startPostgres, waitFor } from './index.ts';

describe.skipIf(isMissing('postgres', 'openssl'))('PostgreSQL servers of the harness', () => {
  it.each(['15', '18'] as const)(
    'starts version %s, lets several people in by password, and ends it',
    async (version) => {
      const server = await startPostgres({
        version,
        tls: true,
        settings: { log_statement: 'all' },
        initSql: "CREATE ROLE app LOGIN PASSWORD 'app'; CREATE TABLE t (n int)",
      });
      try {
        const [{ major }] = await server.query<{ major: string }>(
          "SELECT current_setting('server_version') AS major",
        );
        expect(major.split('.')[0]).toBe(version);
        expect(readFileSync(`/proc/${server.pid}/status`, 'utf8')).not.toMatch(/^Uid:\s+0/m);
        const people = [1, 2, 3].map(
          () =>
            new pg.Client({
              host: server.host,
              port: server.port,
              user: 'app',
              password: 'app',
              database: 'postgres',
              ssl: { ca: server.certificate?.ca ?? '', servername: 'localhost' },
            }),
        );
        await Promise.all(people.map((person) => person.connect()));
        const rows = await Promise.all(
          people.map((person) => person.query("SELECT 'one of several' AS who")),
        );
        expect(rows.map((result) => (result.rows as { who: string }[])[0].who)).toHaveLength(3);
        await Promise.all(people.map((person) => person.end()));
        await expect(
          new pg.Client({ ...server.admin(), host: server.host, password: 'wrong' }).connect(),
        ).rejects.toThrow(/password authentication failed/);
        expect(readFileSync(server.logFile, 'utf8')).toContain("SELECT 'one of several'");
      } finally {
        await server.stop();
      }
      await waitFor('the process to be gone', () => {
        try {
          process.kill(server.pid, 0);
          return false;
        } catch {
          return true;
        }
      });
    },
  );
});
