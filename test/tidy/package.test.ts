/** The npm package: what `npm pack` would carry runs without the sources. */
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { isMissing } from '../servers/index.ts';

const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

it('builds, and its launcher runs dist/ with the Node in PATH', () => {
  const home = mkdtempSync(join(tmpdir(), 'dbw-package-'));
  try {
    execFileSync(process.execPath, ['scripts/build.mjs', '--out', join(home, 'dist')], {
      cwd: ROOT,
      stdio: 'pipe',
    });
    // The kernel probe's programs, so that users need no compiler.
    if (!isMissing('clang')) expect(existsSync(join(home, 'dist/bpf/probe.bpf.o'))).toBe(true);
    for (const part of ['bin', 'package.json', 'proto'])
      cpSync(join(ROOT, part), join(home, part), { recursive: true });
    symlinkSync(join(ROOT, 'node_modules'), join(home, 'node_modules'));
    const PATH = `${dirname(process.execPath)}:/usr/bin:/bin`;
    const run = (...args: string[]): string =>
      execFileSync(join(home, 'bin/dbwitness'), args, { encoding: 'utf8', env: { PATH, HOME: home } });
    const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
    expect(run('--version')).toContain(version);
    expect(run('--help')).toMatch(/verify/);
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
});

it('carries no tests, sources or secrets', () => {
  const { files } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { files: string[] };
  expect(files.toSorted()).toEqual(['bin', 'dist', 'docs', 'proto']);
});
