/**
 * Where the BPF object comes from. The npm package carries it (dist/bpf, made by `npm run build`), so that users need no
 * compiler. A clone compiles bpf/ with clang when it is first needed and keeps the result by the sources' hash.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { AppError, messageOf } from '../../base/errors.ts';

const NAME = 'probe.bpf.o';
/** As scripts/build.mjs has it. */
const CLANG = ['-O2', '-g0', '-target', 'bpf', '-mcpu=v3', '-Wall', '-Werror', '-c'];

/** The path of the object. @throws AppError `unavailable` that says what to install. */
export function bpfObject(): string {
  // src/witness/probe and dist/witness/probe lie equally deep.
  const root = fileURLToPath(new URL('../../..', import.meta.url));
  const shipped = join(root, 'dist', 'bpf', NAME);
  const sources = join(root, 'bpf');
  const fromSource = import.meta.url.endsWith('.ts') && existsSync(sources);
  if (!fromSource && existsSync(shipped)) return shipped;
  if (existsSync(sources)) return compiled(sources, [join(root, '.cache', 'bpf'), userCache()]);
  throw new AppError(
    'unavailable',
    'PROBE_NO_OBJECT',
    `${shipped} is not there: this package was built without clang, and has no kernel probe`,
  );
}

function userCache(): string {
  return join(homedir(), '.cache', 'dbwitness', 'bpf');
}

function compiled(sources: string, caches: readonly string[]): string {
  const hash = createHash('sha256');
  for (const name of readdirSync(sources).toSorted())
    hash.update(name).update(readFileSync(join(sources, name)));
  const name = `probe-${hash.digest('hex').slice(0, 16)}.bpf.o`;
  for (const cache of caches) if (existsSync(join(cache, name))) return join(cache, name);
  const target = join(caches.find(writable) ?? sources, name);
  const partial = `${target}.${process.pid}`;
  try {
    execFileSync('clang', [...CLANG, join(sources, 'probe.bpf.c'), '-o', partial], { stdio: 'pipe' });
  } catch (cause) {
    throw new AppError(
      'unavailable',
      'PROBE_NO_CLANG',
      `the BPF programs of this clone must be compiled first, and that failed: ${messageOf(cause).trim()}. Install clang (apt-get install clang), or use the npm package, which carries them.`,
      { cause },
    );
  }
  renameSync(partial, target);
  return target;
}

function writable(folder: string): boolean {
  try {
    mkdirSync(folder, { recursive: true });
    return existsSync(dirname(folder));
  } catch {
    return false;
  }
}
