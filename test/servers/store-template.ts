/**
 * An empty embedded store, up to date, made once per clone and copied for every node that a test starts: making it
 * (initdb in WASM) takes longer than the rest of such a start. What starts with nothing at all is tested by the tests of
 * `npm start` and `npm run demo`.
 */
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { cp, mkdir, mkdtemp, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { exists } from '../../src/app/demo/server-cache.ts';
import { openStore } from '../../src/store/store.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const CACHE = join(ROOT, '.cache');
/** What the template depends on. */
const SOURCES = [
  'src/store/migrate.ts',
  'src/store/migrations.ts',
  'node_modules/@electric-sql/pglite/package.json',
];

/** Gives a data folder that is still empty its store. Every other folder stays as it is. */
export async function giveEmptyStore(dataDir: string): Promise<void> {
  for (const part of ['store', 'journal']) if (await exists(join(dataDir, part))) return;
  await cp(join(await template(), 'store'), join(dataDir, 'store'), {
    recursive: true,
    mode: constants.COPYFILE_FICLONE,
  });
}

async function template(): Promise<string> {
  const hash = createHash('sha256');
  for (const source of SOURCES) hash.update(await readFile(join(ROOT, source)));
  const made = join(CACHE, `empty-store-${hash.digest('hex').slice(0, 16)}`);
  if (await exists(made)) return made;
  await mkdir(CACHE, { recursive: true });
  const work = await mkdtemp(join(CACHE, 'making-'));
  try {
    await (await openStore({ dataDir: work })).close();
    // Somebody else may have been faster; theirs is as good.
    await rename(work, made).catch(async (error: unknown) => {
      if (!(await exists(made))) throw error;
    });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return made;
}
