// src/model/gen from proto/, by buf with the local protoc-gen-es. `--check` compares and changes nothing.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const check = process.argv.includes('--check');
const out = check ? mkdtempSync(join(tmpdir(), 'dbw-gen-')) : root;
const buf = spawnSync(join(root, 'node_modules/.bin/buf'), ['generate', '-o', out], {
  cwd: root,
  stdio: 'inherit',
  env: { ...process.env, PATH: `${join(root, 'node_modules/.bin')}:${process.env.PATH ?? ''}` },
});
let status = buf.status ?? 1;
if (check && status === 0) {
  const fresh = files(join(out, 'src/model/gen'));
  const committed = files(join(root, 'src/model/gen'));
  const names = new Set([...fresh.keys(), ...committed.keys()]);
  const differing = [...names].filter((name) => fresh.get(name) !== committed.get(name));
  if (names.size === 0 || differing.length > 0) {
    console.error(`src/model/gen is not what proto/ gives: ${differing.join(', ')}. Run: npm run generate`);
    status = 1;
  }
}
if (check) rmSync(out, { recursive: true, force: true });
process.exitCode = status;

function files(dir) {
  return new Map(
    readdirSync(dir, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .map((file) => [relative(dir, file), readFileSync(file, 'utf8')]),
  );
}
