/**
 * What a test needs from the machine. A missing server fails in CI; elsewhere the test is skipped and says what to
 * install: `describe.skipIf(isMissing('postgres', 'mysql-9.7'))('…', …)`.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { FETCHED, type FetchedServer, isFetched } from './mysql-binaries.ts';

interface Need {
  /** Any of these paths will do; a bare name is looked up in PATH and the usual system folders. */
  readonly anyOf: readonly string[];
  readonly debianPackage: string;
}

const NEEDS = {
  postgres: { anyOf: ['/usr/lib/postgresql/15/bin/postgres'], debianPackage: 'postgresql-15' },
  psql: { anyOf: ['/usr/lib/postgresql/15/bin/psql'], debianPackage: 'postgresql-client-15' },
  pgbench: { anyOf: ['/usr/lib/postgresql/15/bin/pgbench'], debianPackage: 'postgresql-15' },
  pgbouncer: { anyOf: ['pgbouncer'], debianPackage: 'pgbouncer' },
  haproxy: { anyOf: ['haproxy'], debianPackage: 'haproxy' },
  openssl: { anyOf: ['openssl'], debianPackage: 'openssl' },
  chromium: { anyOf: ['chromium'], debianPackage: 'chromium' },
  mariadb: { anyOf: ['/usr/sbin/mariadbd'], debianPackage: 'mariadb-server' },
  'mariadb-client': { anyOf: ['/usr/bin/mariadb'], debianPackage: 'mariadb-client' },
  sysbench: { anyOf: ['sysbench'], debianPackage: 'sysbench' },
  strace: { anyOf: ['strace'], debianPackage: 'strace' },
  faketime: {
    anyOf: ['x86_64', 'aarch64'].map((cpu) => `/usr/lib/${cpu}-linux-gnu/faketime/libfaketime.so.1`),
    debianPackage: 'libfaketime',
  },
  clang: { anyOf: ['clang'], debianPackage: 'clang' },
} as const satisfies Record<string, Need>;

export type NeedName = keyof typeof NEEDS;

/** The path of a program, or `null` when the machine does not have it. */
export function pathOf(name: NeedName): string | null {
  const folders = [...(process.env['PATH'] ?? '').split(':'), '/usr/bin', '/usr/sbin', '/usr/local/bin'];
  for (const candidate of NEEDS[name].anyOf) {
    if (candidate.startsWith('/')) {
      if (existsSync(candidate)) return candidate;
      continue;
    }
    for (const folder of folders) if (existsSync(join(folder, candidate))) return join(folder, candidate);
  }
  return null;
}

/** The path of a program that the caller cannot do without. */
export function requirePath(name: NeedName): string {
  const path = pathOf(name);
  if (path === null)
    throw new Error(`${name} is not installed: apt-get install ${NEEDS[name].debianPackage}`);
  return path;
}

/** For `skipIf`: `true` when something is missing (said on stderr). Throws in CI (`CI` set), where nothing may be. */
export function isMissing(...names: readonly (NeedName | FetchedServer)[]): boolean {
  const programs = names.filter((name) => !isFetchedServer(name));
  const missing = programs.filter((name) => pathOf(name) === null);
  const unfetched = names.filter((name) => isFetchedServer(name) && !isFetched(name));
  if (missing.length + unfetched.length === 0) return false;
  const packages = [...new Set(missing.map((name) => NEEDS[name].debianPackage))];
  const remedies = [
    ...(packages.length === 0 ? [] : [`apt-get install ${packages.join(' ')}`]),
    ...(unfetched.length === 0 ? [] : [`node test/servers/fetch.ts ${unfetched.join(' ')}`]),
  ];
  const message = `missing: ${[...missing, ...unfetched].join(', ')} (${remedies.join('; ')})`;
  if (process.env['CI'] !== undefined && process.env['CI'] !== '') throw new Error(message);
  process.stderr.write(`skipped, ${message}\n`);
  return true;
}

function isFetchedServer(name: NeedName | FetchedServer): name is FetchedServer {
  return (FETCHED as readonly string[]).includes(name);
}
