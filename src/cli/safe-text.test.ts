/** HOSTILE 71: text of whoever connected, on the terminal of whoever reads the record. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { safeBlock, safeJson, safeLine, safeSql } from './safe-text.ts';

const OBEYED = /[\p{Cc}\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]/u;

describe('HOSTILE 71: a terminal gets nothing to obey', () => {
  it.each([
    ['\u001b[31mred\u001b[0m', String.raw`\x1b[31mred\x1b[0m`],
    ['\u001b]0;title\u0007', String.raw`\x1b]0;title\x07`],
    ['\u009b31m', String.raw`\x9b31m`],
    ['over\rwrite', String.raw`over\rwrite`],
    ['back\b\u007f', String.raw`back\x08\x7f`],
    ['a\u202eb', String.raw`a\u202eb`],
    ['zero\u200bwidth', String.raw`zero\u200bwidth`],
    ['tag\u{e0041}', String.raw`tag\u{e0041}`],
    ['half \ud800', String.raw`half \ud800`],
    ['<b>=1+1</b> åß漢字 😀', '<b>=1+1</b> åß漢字 😀'],
  ])('%j', (text, shown) => {
    expect(safeLine(text)).toBe(shown);
  });

  it('keeps one line one line, and SQL readable', () => {
    expect(safeLine('a\nb\tc')).toBe(String.raw`a\nb\tc`);
    expect(safeSql('  select\n\t1,\r\n   2 ')).toBe('select 1, 2');
    expect(safeSql('select \u001b[2J')).toBe(String.raw`select \x1b[2J`);
    expect(safeBlock('select\n\t1\r\n\u001b[2J')).toBe(`select\n    1\n${String.raw`\x1b[2J`}`);
  });

  it('holds for any text, in every form', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(safeLine(text)).not.toMatch(OBEYED);
        expect(safeSql(text)).not.toMatch(OBEYED);
        expect(safeJson(text)).not.toMatch(OBEYED);
        expect(safeBlock(text).replaceAll('\n', '')).not.toMatch(OBEYED);
      }),
    );
  });

  it('keeps JSON exact', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(JSON.parse(safeJson({ text }))).toEqual({ text });
      }),
    );
    expect(safeJson('\u001b\u202e\u{e0041}\u007f')).toBe(String.raw`"\u001b\u202e\udb40\udc41\u007f"`);
  });
});
