#!/usr/bin/env node
// Runs a task of this project from a bare clone, whatever Node the machine has (20 or later):
//
//   npm test ─▶ node scripts/run.mjs test ─▶ node_modules complete? (else npm install) ─▶ Debian packages? (else apt-get)
//            ─▶ node_modules/.bin/node (the Node of package.json) ─▶ the task
//
// Plain JavaScript that Node 20 understands; everything after the last arrow runs on the Node of package.json.
import { spawn } from 'node:child_process';
import { dirname, delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ensureDebianPackages } from './debian.mjs';
import { ensureNodeModules, projectNode } from './install.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const bin = (name) => join(root, 'node_modules', name);
const vitest = [bin('vitest/vitest.mjs'), 'run'];
const servers = ['servers', 'test/servers/fetch.ts'];

// What the tests start is in scripts/debian.mjs and test/servers/fetch.ts. Steps run one after the other; the first failure ends the task.
const tasks = {
  install: { steps: [] },
  check: {
    steps: [
      ['types', bin('typescript/bin/tsc'), '-p', '.'],
      ['lint', bin('oxlint/bin/oxlint'), '--type-aware'],
      ['format', bin('@biomejs/biome/bin/biome'), 'format', '.'],
      ['tidy', ...vitest, 'test/tidy'],
    ],
  },
  test: { debian: ['test'], steps: [servers, ['test', ...vitest]] },
  'test:nightly': {
    debian: ['test'],
    env: { DBW_TEST_NIGHTLY: '1' },
    steps: [servers, ['test', ...vitest]],
  },
  demo: { steps: [['demo', 'src/cli/main.ts', 'demo']] },
  start: { steps: [['start', 'src/cli/main.ts', 'up']] },
  build: { steps: [['build', 'scripts/build.mjs']] },
  generate: { steps: [['generate', 'scripts/generate.mjs']] },
  'bench:pg': { debian: ['test', 'bench'], steps: [['bench', 'bench/pg.ts']] },
  'bench:probe': { debian: ['test'], steps: [['bench', 'bench/probe.ts']] },
  'bench:mysql': { debian: ['test', 'bench'], steps: [['bench', 'bench/mysql.ts']] },
  'chaos:kill': { debian: ['test'], steps: [['chaos', 'test/simulation/chaos-kill.ts']] },
};

async function main() {
  const [name, ...args] = process.argv.slice(2);
  const task = Object.hasOwn(tasks, name ?? '') ? tasks[name] : undefined;
  if (task === undefined) {
    console.error(`usage: node scripts/run.mjs ${Object.keys(tasks).join(' | ')} [arguments]`);
    return 2;
  }
  ensureNodeModules(root);
  const node = projectNode(root);
  if (task.debian !== undefined) ensureDebianPackages(task.debian);
  const env = {
    // Compiled code is kept: everything that is started from here starts sooner.
    NODE_COMPILE_CACHE: join(root, '.cache', 'compiled'),
    ...process.env,
    ...task.env,
    PATH: `${join(root, 'node_modules', '.bin')}${delimiter}${process.env.PATH ?? ''}`,
  };
  for (const [index, [label, ...command]] of task.steps.entries()) {
    if (task.steps.length > 1) console.log(`── ${label}`);
    const last = index === task.steps.length - 1;
    const code = await run(node, last ? [...command, ...args] : command, env);
    if (code !== 0) return code;
  }
  return 0;
}

// The child shares our terminal: a Ctrl-C reaches it directly, and we only wait. Signals sent to us alone are passed on.
function run(node, args, env) {
  return new Promise((done) => {
    const child = spawn(node, args, { cwd: root, env, stdio: 'inherit' });
    const atTerminal = [process.stdin, process.stdout, process.stderr].some((stream) => stream.isTTY);
    const pass = (signal) => {
      if (signal !== 'SIGINT' || !atTerminal) child.kill(signal);
    };
    const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
    for (const signal of signals) process.on(signal, pass);
    // npm does not pass a SIGTERM on: it ends, and leaves what it started behind. Then we have another parent.
    const parent = process.ppid;
    const watch = setInterval(() => {
      if (process.env.npm_lifecycle_event !== undefined && process.ppid !== parent) child.kill('SIGTERM');
    }, 1_000);
    child.once('error', (error) => {
      clearInterval(watch);
      console.error(`${node} cannot be started: ${error.message}`);
      done(1);
    });
    child.once('close', (code, signal) => {
      clearInterval(watch);
      for (const one of signals) process.off(one, pass);
      done(code ?? (signal === 'SIGINT' ? 130 : 1));
    });
  });
}

process.exitCode = await main();
