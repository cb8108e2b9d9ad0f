// The programs of Debian 12 that tests and benchmarks start. Root gets them installed; anybody else is told what is
// missing, and the tests that need them say so and are skipped (in CI, where CI is set, they fail).
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

const cpu = process.arch === 'arm64' ? 'aarch64' : 'x86_64';

const packages = {
  test: [
    { name: 'postgresql-15', file: '/usr/lib/postgresql/15/bin/postgres' },
    { name: 'postgresql-client-15', file: '/usr/lib/postgresql/15/bin/psql' },
    { name: 'mariadb-server', file: '/usr/sbin/mariadbd' },
    { name: 'mariadb-client', file: '/usr/bin/mariadb' },
    { name: 'sysbench', file: '/usr/bin/sysbench' },
    { name: 'openssl', file: '/usr/bin/openssl' },
    { name: 'pgbouncer', file: '/usr/sbin/pgbouncer' },
    { name: 'strace', file: '/usr/bin/strace' },
    { name: 'libfaketime', file: `/usr/lib/${cpu}-linux-gnu/faketime/libfaketime.so.1` },
    { name: 'clang', file: '/usr/bin/clang' },
    { name: 'chromium', file: '/usr/bin/chromium' },
  ],
  bench: [{ name: 'haproxy', file: '/usr/sbin/haproxy' }],
};

/** Installs or names what is missing of the given sets. Never ends the process: the tests decide what they need. */
export function ensureDebianPackages(sets) {
  const missing = sets
    .flatMap((set) => packages[set])
    .filter(({ file }) => !existsSync(file))
    .map(({ name }) => name);
  if (missing.length === 0) return;
  const command = `apt-get install -y --no-install-recommends ${missing.join(' ')}`;
  if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) {
    console.error(`missing programs; the tests that need them are skipped. To install them: sudo ${command}`);
    return;
  }
  console.error(`installing Debian packages: ${missing.join(' ')}`);
  const update = aptGet(['update', '-qq']);
  const install = aptGet(['install', '-y', '-qq', '--no-install-recommends', ...missing]);
  if (update !== 0 || install !== 0)
    console.error(`apt-get failed; the tests that need these programs are skipped. To try again: ${command}`);
}

function aptGet(args) {
  const env = {
    ...process.env,
    DEBIAN_FRONTEND: 'noninteractive',
    // Servers that a package would start by itself are not wanted: tests start their own.
    RUNLEVEL: '1',
  };
  return spawnSync('apt-get', ['-o', 'Dpkg::Use-Pty=0', ...args], { env, stdio: ['ignore', 'ignore', 2] })
    .status;
}
