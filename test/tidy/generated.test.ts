/** The event model in src/model/gen is what proto/ gives. */
import { execFileSync } from 'node:child_process';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { it } from 'vitest';

it('has generated code that is up to date', () => {
  const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
  // Exits with 1, naming the files, when they differ.
  execFileSync(process.execPath, ['scripts/generate.mjs', '--check'], { cwd: root, stdio: 'pipe' });
});
