// dist/: what the npm package carries: JavaScript by tsc, the generated event model as it is, and the kernel probe's BPF
// object by clang. `--out DIR` puts it elsewhere. Without clang there is no probe in it: an error when the package is made
// (npm pack, npm publish), a warning otherwise.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, rmSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const { values } = parseArgs({ options: { out: { type: 'string', default: join(root, 'dist') } } });
const out = resolve(values.out);
rmSync(out, { recursive: true, force: true });
const compiler = join(root, 'node_modules/typescript/bin/tsc');
const tsc = spawnSync(process.execPath, [compiler, '-p', 'tsconfig.build.json', '--outDir', out], {
  cwd: root,
  stdio: 'inherit',
});
if (tsc.status !== 0) process.exit(tsc.status ?? 1);
cpSync(join(root, 'src/model/gen'), join(out, 'model/gen'), { recursive: true });
mkdirSync(join(out, 'bpf'));
// The arguments are those of src/witness/probe/bpf-object.ts.
const clang = spawnSync(
  'clang',
  [
    '-O2',
    '-g0',
    '-target',
    'bpf',
    '-mcpu=v3',
    '-Wall',
    '-Werror',
    '-c',
    join(root, 'bpf/probe.bpf.c'),
    '-o',
    join(out, 'bpf/probe.bpf.o'),
  ],
  { stdio: 'inherit' },
);
if (clang.status !== 0) {
  console.error('clang could not compile bpf/: the kernel probe is missing (apt-get install clang)');
  if (process.env.npm_lifecycle_event === 'prepack') process.exit(1);
}
