/**
 * A copy of a PostgreSQL installation's server binary with an inode of its own, for tests of the kernel probe: what is
 * attached to it disturbs no other server of the machine. Everything else is linked: PostgreSQL finds its files relative
 * to its binary.
 */
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fetchPostgres } from '../../src/app/demo/postgres-binaries.ts';
import { serverIdentity } from '../../src/app/demo/unprivileged.ts';
import type { PostgresMajor } from './postgres.ts';

const DEBIAN = '/usr/lib/postgresql/15';
const made = new Set<string>();
process.once('exit', () => {
  for (const root of made) rmSync(root, { recursive: true, force: true, maxRetries: 3 });
});

export interface PrivatePostgres {
  readonly binDir: string;
  /** The copied binary. */
  readonly program: string;
  remove(): void;
}

/** Debian's 15 where installed, else the npm package's. */
export async function privatePostgres(version: PostgresMajor): Promise<PrivatePostgres> {
  const root = mkdtempSync(join(tmpdir(), `dbw-private-pg${version}-`));
  chmodSync(root, 0o755);
  made.add(root);
  const debian = version === '15' && existsSync(DEBIAN);
  const home = debian ? DEBIAN : dirname(await fetchPostgres(version, serverIdentity(root)));
  const copy = debian ? join(root, 'lib/postgresql/15') : root;
  mkdirSync(join(copy, 'bin'), { recursive: true });
  for (const name of readdirSync(home)) if (name !== 'bin') symlinkSync(join(home, name), join(copy, name));
  for (const name of readdirSync(join(home, 'bin'))) {
    const file = join(copy, 'bin', name);
    // initdb looks for the server beside itself, after links are resolved.
    if (['postgres', 'initdb', 'pg_ctl'].includes(name)) copyFileSync(join(home, 'bin', name), file);
    else symlinkSync(join(home, 'bin', name), file);
  }
  if (debian) {
    mkdirSync(join(root, 'share/postgresql'), { recursive: true });
    symlinkSync('/usr/share/postgresql/15', join(root, 'share/postgresql/15'));
  }
  const binDir = join(copy, 'bin');
  return {
    binDir,
    program: join(binDir, 'postgres'),
    remove: () => {
      rmSync(root, { recursive: true, force: true, maxRetries: 3 });
      made.delete(root);
    },
  };
}
