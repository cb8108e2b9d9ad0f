import { describe, expect, it } from 'vitest';
import { systemClock } from '../base/clock.ts';
import { cutTo, displayWidth } from './display-width.ts';
import type { Io } from './io.ts';
import { type Column, Output, table } from './output.ts';

interface Item {
  readonly name: string;
  readonly count: number;
  readonly text: string;
}

const COLUMNS: readonly Column<Item>[] = [
  { title: 'NAME', value: (item) => item.name },
  { title: 'COUNT', value: (item) => String(item.count), align: 'right' },
  { title: 'TEXT', value: (item) => item.text, flexible: true },
];
const ITEMS: readonly Item[] = [
  { name: 'a', count: 5, text: 'short' },
  { name: '漢字', count: 1234, text: 'a longer text than the terminal is wide' },
];

function collect(json: boolean): { out: Output; written: () => string; notes: string[] } {
  let written = '';
  const notes: string[] = [];
  const io: Io = {
    env: {},
    clock: systemClock,
    width: null,
    write: (text) => {
      written += text;
    },
    note: (line) => void notes.push(line),
    readSecret: () => Promise.reject(new Error('not asked')),
  };
  return { out: new Output(io, json), written: () => written, notes };
}

describe('a table', () => {
  it('is aligned by what a terminal shows, and whole when there is no terminal', () => {
    expect(table(ITEMS, COLUMNS, null)).toBe(
      'NAME  COUNT  TEXT\na         5  short\n漢字   1234  a longer text than the terminal is wide\n',
    );
  });

  it('cuts the flexible column to the width of the terminal', () => {
    const lines = table(ITEMS, COLUMNS, 34).trimEnd().split('\n');
    expect(lines.map(displayWidth)).toEqual([17, 18, 34]);
    expect(lines[2]).toBe('漢字   1234  a longer text than t…');
  });

  it('shows no control character of a cell', () => {
    const items = [{ name: '\u001b[2J', count: 1, text: 'two\nlines' }];
    expect(table(items, [{ title: 'a\u001bb', value: () => 'c' }], null)).toBe(`${String.raw`a\x1bb`}\nc\n`);
    expect(table(items, COLUMNS, null)).toBe(
      String.raw`NAME     COUNT  TEXT
\x1b[2J      1  two\nlines
`,
    );
  });
});

it('measures wide, combining and plain characters', () => {
  expect(['abc', '漢字', 'e\u0301', '😀', ''].map(displayWidth)).toEqual([3, 4, 1, 2, 0]);
  expect(cutTo('漢字漢字', 5)).toBe('漢字…');
});

describe('--json', () => {
  it('prints one object per line and nothing else', () => {
    const { out, written, notes } = collect(true);
    out.list(ITEMS, COLUMNS, 'nothing');
    out.one({ a: 'x\ny' }, [['a', 'x']]);
    out.done({ uid: '1' }, 'Done.');
    out.list([], COLUMNS, 'nothing');
    expect(
      written()
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as unknown),
    ).toEqual([...ITEMS, { a: 'x\ny' }, { uid: '1' }]);
    expect(notes).toEqual([]);
  });
});

describe('for people', () => {
  it('shows one object by its fields, several lines indented', () => {
    const { out, written } = collect(false);
    out.one({}, [
      ['uid', '7'],
      ['comment', ''],
      ['SQL', 'select\n1'],
    ]);
    expect(written()).toBe('uid      7\ncomment\nSQL\n    select\n    1\n');
  });

  it('says that a list is empty beside the output', () => {
    const { out, written, notes } = collect(false);
    out.list([], COLUMNS, 'There are no items.');
    expect(written()).toBe('');
    expect(notes).toEqual(['There are no items.']);
  });
});
