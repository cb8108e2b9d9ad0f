/**
 * The rules of the house over every file of the project, and each rule over an example that breaks it. A run that saw
 * too little fails: a renamed folder must not switch the rules off.
 */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { type Facts, violations } from './rules.ts';
import { parseSource } from './source.ts';
import { TABLE } from './table.ts';

const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const GENERATED = 'src/model/gen/';

function sourcesIn(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(ts|mjs)$/.test(entry.name))
    .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)))
    .filter((path) => !path.startsWith(GENERATED));
}

const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  dependencies: Record<string, string>;
};
const facts: Facts = {
  dependencies: new Set(Object.keys(manifest.dependencies)),
  exists: (path) => existsSync(join(ROOT, path)) && statSync(join(ROOT, path)).isFile(),
};

describe('the project', () => {
  const files = ['src', 'test', 'bench', 'scripts'].flatMap(sourcesIn);

  it('is seen: files in all its parts, and no folder that the table does not know', () => {
    for (const part of [
      'src/base/',
      'src/journal/',
      'src/witness/proxy/',
      'test/servers/',
      'bench/',
      'scripts/',
    ])
      expect(files.filter((path) => path.startsWith(part)).length, part).toBeGreaterThan(0);
    const known = new Set(Object.keys(TABLE).map((folder) => folder.split('/')[0]));
    const folders = readdirSync(join(ROOT, 'src'));
    expect(folders.filter((folder) => !known.has(folder))).toEqual([]);
    const witnesses = readdirSync(join(ROOT, 'src/witness'));
    expect(witnesses.filter((name) => !Object.hasOwn(TABLE, `witness/${name}`))).toEqual([]);
  });

  it('keeps every rule in every file', () => {
    const found = files.flatMap((path) =>
      violations(parseSource(path, readFileSync(join(ROOT, path), 'utf8')), facts),
    );
    expect(found).toEqual([]);
  });

  it('names only folders above in its table', () => {
    const floors = Object.keys(TABLE);
    for (const [folder, allowed] of Object.entries(TABLE))
      for (const other of allowed) {
        expect(floors.indexOf(other), `${folder} → ${other}`).toBeGreaterThanOrEqual(0);
        expect(floors.indexOf(other), `${folder} → ${other}`).toBeLessThan(floors.indexOf(folder));
        expect(folder.startsWith('witness/') && other.startsWith('witness/'), `${folder} → ${other}`).toBe(
          false,
        );
      }
  });
});

describe('a rule finds what breaks it', () => {
  const anything: Facts = { dependencies: new Set(['pg']), exists: () => true };
  const long = (lines: number): string => Array.from({ length: lines }, (_, i) => `// ${i}`).join('\n');

  it.each([
    ['src/base/a.ts', "import { x } from '../model/b.ts';", /base must not import model/],
    ['src/wire/a.ts', "import type { X } from '../model/b.ts';", /wire must not import model/],
    ['src/sql/a.ts', "export * from '../journal/b.ts';", /sql must not import journal/],
    ['src/sql/a.ts', "export { x } from '../journal/b.ts';", /sql must not import journal/],
    ['src/model/a.ts', "const x = await import('../store/b.ts');", /model must not import store/],
    ['src/model/a.ts', "type X = import('../store/b.ts').X;", /model must not import store/],
    ['src/store/a.ts', "new Worker(new URL('../app/b.ts', import.meta.url));", /store must not import app/],
    ['src/store/a.ts', "import { x } from '../journal/appender.ts';", /only reads the journal/],
    ['src/model/a.ts', 'const x = await import(name);', /not a constant/],
    ['src/elsewhere/a.ts', 'export {};', /no folder that the import table knows/],
    ['src/witness/other/a.ts', 'export {};', /no folder that the import table knows/],
    ['src/app/a.ts', "import { x } from '../../test/servers/index.ts';", /outside of the table/],
    ['src/witness/proxy/a.ts', "import '../stream/b.ts';", /proxy must not import witness\/stream/],
    ['src/witness/proxy/postgres/a.ts', "import '../mysql/b.ts';", /an engine imports another/],
    ['src/wire/a.ts', "import { readFileSync } from 'node:fs';", /does no I\/O/],
    ['src/app/a.ts', "import x from 'vitest';", /not in dependencies/],
    ['src/base/a.test.ts', "import '../store/b.ts';", /base must not import store/],
    ['src/app/a.ts', long(501), /501 lines/],
    ['src/app/a.ts', `function f() {\n${long(80)}\n}`, /a function of 82 lines/],
    ['src/app/a.ts', "console.log('x');", /console\.log/],
    ['src/app/a.ts', "console['log']('x');", /console\.log/],
    ['src/app/a.ts', 'const log = console.error;', /console\.error/],
    ['src/app/a.ts', 'process.exit(1);', /process\.exit/],
    ['src/app/a.ts', 'const t = Date.now();', /Date\.now/],
    ['src/app/a.ts', 'const t = new Date();', /new Date/],
    ['test/a.test.ts', 'const x = Math.random();', /Math\.random/],
    ['test/a.test.ts', 'const x = y as any;', /casts to any/],
    ['test/a.test.ts', 'await new Promise((done) => setTimeout(done, 5));', /sleeps/],
    ['test/a.test.ts', 'await new Promise((done) => { setTimeout(done, 5); });', /sleeps/],
    ['test/a.test.ts', "import { setTimeout as d } from 'node:timers/promises';", /sleeps/],
    ['test/a.test.ts', "it.only('x', () => {});", /it\.only/],
    ['src/app/a.ts', '// TODO: later', /TODO/],
    ['src/app/a.ts', '// @ts-ignore', /type checker/],
  ])('%#: %s', (path, text, expected) => {
    expect(violations(parseSource(path, text), anything).join('\n')).toMatch(expected);
  });

  it.each([
    ['src/model/a.ts', "import { x } from '../base/b.ts';"],
    ['src/app/a.ts', "import pg from 'pg'; import { y } from 'node:fs'; import './b.ts';"],
    ['src/store/a.ts', "import { x } from '../journal/reader.ts';"],
    ['src/cli/a.ts', "console.log('x'); process.exit(1);"],
    ['src/base/clock.ts', 'const t = Date.now();'],
    ['src/app/a.ts', 'const t = new Date(0);'],
    ['src/wire/a.test.ts', "import { x } from '../../test/servers/index.ts'; import 'vitest';"],
    ['test/a.test.ts', 'await new Promise((done, fail) => setTimeout(() => fail(new Error("late")), 5));'],
    ['src/app/a.ts', long(500)],
  ])('%#: %s is in order', (path, text) => {
    expect(violations(parseSource(path, text), anything)).toEqual([]);
  });
});
