/**
 * Database servers of a newer Debian than the machine's, unpacked beside the system with all their libraries and their
 * own loader. Nothing is installed; apt-get checks the archive's signatures as always.
 *
 *   apt-get update (its own lists) ─▶ apt-get download ─▶ dpkg-deb -x ─▶ loader asked whether a library is missing ─▶ cache
 *
 * Works for root and for anybody else. Needs a Debian (or a descendant that has its archive key) on x64 and its mirror.
 */
import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface UnpackedRelease {
  /** `trixie`, `sid`, … */
  readonly suite: string;
  /** The server's packages and all that its program links, libc included. */
  readonly packages: readonly string[];
  /** Below the unpacked root: `usr/sbin/mysqld`. */
  readonly program: string;
}

const LIB = 'usr/lib/x86_64-linux-gnu';
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

/** Program and first arguments that run `release.program` from the unpacked `root`, whatever libraries the system has. */
export function unpackedCommand(root: string, release: UnpackedRelease): readonly [string, ...string[]] {
  return [
    join(root, LIB, 'ld-linux-x86-64.so.2'),
    '--library-path',
    join(root, LIB),
    join(root, release.program),
  ];
}

/** Unpacks into `work/root` and returns that. Rejects, saying what the machine lacks, when that is impossible. */
export async function unpackDebian(release: UnpackedRelease, work: string): Promise<string> {
  if (process.arch !== 'x64') throw new Error('only x64 is supported');
  for (const program of ['/usr/bin/apt-get', '/usr/bin/dpkg-deb', KEYRING])
    if (!existsSync(program)) throw new Error(`this needs a Debian system: there is no ${program}`);
  await mkdir(join(work, 'lists', 'partial'), { recursive: true });
  await mkdir(join(work, 'archives', 'partial'), { recursive: true });
  const sources = join(work, 'sources.list');
  await writeFile(sources, `deb [signed-by=${KEYRING}] ${debianMirror()} ${release.suite} main\n`);
  const settings = {
    'Dir::Etc::sourcelist': sources,
    'Dir::Etc::sourceparts': '/dev/null',
    'Dir::State::Lists': join(work, 'lists'),
    'Dir::Cache::archives': join(work, 'archives'),
    'Dir::Cache::pkgcache': '',
    'Dir::Cache::srcpkgcache': '',
    'Acquire::Languages': 'none',
    'APT::Sandbox::User': '',
  };
  const options = Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
  const apt = (...args: readonly string[]) =>
    run('apt-get', ['-qq', ...options, ...args], { cwd: work, timeout: 300_000 });
  await apt('update', '-o', 'APT::Update::Error-Mode=any');
  await apt('download', ...release.packages);
  const root = join(work, 'root');
  for (const file of await readdir(work))
    if (file.endsWith('.deb')) await run('dpkg-deb', ['-x', join(work, file), root]);
  for (const surplus of ['usr/bin', 'usr/share/doc', 'usr/share/man', 'usr/share/locale'])
    await rm(join(root, surplus), { recursive: true, force: true });
  const [loader, ...args] = unpackedCommand(root, release);
  const { stdout } = await run(loader, ['--list', ...args]);
  const missing = stdout.split('\n').filter((line) => line.includes('not found'));
  if (missing.length > 0) throw new Error(`libraries that no package of the list has: ${missing.join(';')}`);
  return root;
}

/** The mirror that the machine's own sources use; Debian's own otherwise. */
function debianMirror(): string {
  const folder = '/etc/apt/sources.list.d';
  const files = existsSync(folder) ? readdirSync(folder).map((name) => join(folder, name)) : [];
  for (const file of ['/etc/apt/sources.list', ...files]) {
    if (!existsSync(file)) continue;
    const match = /^(?:URIs:|deb\s(?:\[[^\]]*\])?)\s*(https?:\/\/\S+\/debian)\/?(?:\s|$)/m.exec(
      readFileSync(file, 'utf8'),
    );
    if (match) return match[1];
  }
  return 'http://deb.debian.org/debian';
}
