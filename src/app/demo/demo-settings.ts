/** Where the demo keeps its data. Imports nothing heavy: the command line looks here for a demo that runs. */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** `.dbwitness-demo` in the clone; of an installed package, in the current folder. */
export function demoDataDir(): string {
  const root = fileURLToPath(new URL('../../..', import.meta.url));
  const isClone = existsSync(join(root, 'src', 'cli', 'main.ts'));
  return resolve(isClone ? root : '.', '.dbwitness-demo');
}
