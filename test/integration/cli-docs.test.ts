/** The pages for people: every file that a link names is there, and every command in them is one that exists. */
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import { buildProgram } from '../../src/cli/program.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const pages = globSync(['*.md', 'docs/**/*.md', 'bench/*.md'], { cwd: ROOT });

const { command: program } = buildProgram({
  env: {},
  clock: systemClock,
  width: null,
  write: () => undefined,
  note: () => undefined,
  readSecret: () => Promise.resolve(''),
});

/** Whether `words` begin with a command, and every option after it is one that it or the program has. */
function isCommand(words: readonly string[]): boolean {
  const known = new Set(program.options.map((option) => option.long));
  let at: Command = program;
  let i = 0;
  while (words[i]?.startsWith('--')) i += words[i] === '--json' ? 1 : 2;
  for (; at.commands.length > 0; i++) {
    const next = at.commands.find((each) => each.name() === words[i]);
    if (next === undefined) return false;
    at = next;
  }
  for (const option of at.options) known.add(option.long).add(option.short);
  return words.slice(i).every((word) => !word.startsWith('-') || known.has(word) || word === '--help');
}

it('sees the pages', () => {
  expect(pages).toEqual(expect.arrayContaining(['README.md', 'docs/cli.md', 'docs/getting-started.md']));
});

describe.each(pages)('%s', (page) => {
  const text = readFileSync(join(ROOT, page), 'utf8');

  it('links to what is there', () => {
    const links = [...text.matchAll(/\]\((?!https?:|#)([^)#\s]+)[^)]*\)/g)].map(([, target = '']) => target);
    expect(links.filter((target) => !existsSync(join(ROOT, dirname(page), target)))).toEqual([]);
  });

  it('shows commands that exist, with options that they have', () => {
    const blocks = [...text.matchAll(/^```[^\n]*\n(.*?)^```/gms)].map(([, block = '']) => block).join('\n');
    const lines = [...blocks.matchAll(/^(?:\$ )?(?:bin\/)?dbwitness ([a-z-].*)$/gm)].map(
      ([, rest = '']) => rest,
    );
    const commands = lines.map(
      (line) => line.split(/ [|>] /, 1)[0]?.replaceAll(/'[^']*'|"[^"]*"/g, 'x') ?? '',
    );
    expect(commands.filter((line) => !isCommand(line.trim().split(/\s+/)))).toEqual([]);
  });
});
