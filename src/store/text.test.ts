import { isUtf8 } from 'node:buffer';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ByteWriter } from '../base/bytes.ts';
import { CopyWriter, encodeFields } from './copy-writer.ts';
import { decodeCursor, encodeCursor, page, pageLimit } from './pages.ts';
import { paramsText } from './params-text.ts';
import { monthOf } from './partitions.ts';
import { MAX_TEXT_BYTES, storableBytes, storableText } from './sql-text.ts';

describe('storable text', () => {
  it('is valid UTF-8 without NUL and within the limit, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.integer({ min: 4, max: 100 }), (noise, max) => {
        const stored = storableBytes(Buffer.from(noise), max);
        expect(isUtf8(stored) && !stored.includes(0) && stored.length <= max).toBe(true);
      }),
    );
  });

  it('is the text itself where that will do, cut between characters where it is too long', () => {
    expect(storableBytes(Buffer.from('żółć')).toString()).toBe('żółć');
    expect(storableBytes(Buffer.from('ab😀'), 5).toString()).toBe('ab');
    expect(storableBytes(Buffer.from('a'.repeat(70_000))).length).toBe(MAX_TEXT_BYTES);
    expect(storableText('a\0b\ud800')).toBe('a\ufffdb\ufffd');
  });
});

describe('parameters as text', () => {
  it('are JSON, cut value by value when they are too long', () => {
    expect(paramsText([1, 'a"b', null, [true]])).toBe('[1,"a\\"b",null,[true]]');
    const long = paramsText([1, 'x'.repeat(100_000), 'short']);
    expect(JSON.parse(long)).toEqual([1, `${'x'.repeat(1024)}…`, 'short']);
    const many = paramsText(Array.from({ length: 50_000 }, (_, i) => i));
    expect(Buffer.byteLength(many)).toBeLessThanOrEqual(MAX_TEXT_BYTES);
    const values = JSON.parse(many) as unknown[];
    expect(values.slice(0, 3)).toEqual([0, 1, 2]);
    expect(values.at(-1)).toBe('…');
  });
});

describe('COPY in binary', () => {
  it('has the bytes that PostgreSQL documents', () => {
    const out = new CopyWriter(new ByteWriter(16));
    out.row(4);
    out.bigint(2 ** 33 + 5);
    out.text('é');
    out.null();
    out.textArray(['a']);
    expect(out.rows).toBe(1);
    expect(Buffer.from(out.finish()).toString('hex')).toBe(
      [
        Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1').toString('hex'),
        '0000000000000000',
        '0004',
        '000000080000000200000005',
        '00000002c3a9',
        'ffffffff',
        '000000190000000100000000000000190000000100000001',
        '0000000161',
        'ffff',
      ].join(''),
    );
  });

  it('takes fields that were encoded before', () => {
    const fields = encodeFields((writer) => {
      writer.boolean(true);
      writer.textArray([]);
    });
    expect(fields.toString('hex')).toBe('00000001010000000c000000000000000000000019');
  });
});

describe('page cursors', () => {
  it('come back as they were given, and nothing else is taken', () => {
    expect(decodeCursor(encodeCursor([5, 'x']), ['number', 'string'])).toEqual([5, 'x']);
    const others = [
      '',
      'x',
      encodeCursor([5]),
      encodeCursor(['5', 'x']),
      encodeCursor([1.5, 'x']),
      'a'.repeat(2000),
    ];
    for (const other of others)
      expect(() => decodeCursor(other, ['number', 'string'])).toThrow(
        expect.objectContaining({ kind: 'invalid' }),
      );
  });

  it('are given only when there is more', () => {
    expect(page([1, 2, 3], 2, (n) => [n])).toEqual({ items: [1, 2], next: encodeCursor([2]) });
    expect(page([1, 2], 2, (n) => [n])).toEqual({ items: [1, 2], next: null });
    for (const limit of [0, 1001, 1.5]) expect(() => pageLimit({ limit })).toThrow();
  });
});

describe('months', () => {
  it('hold their times, from 1970 to 2255', () => {
    fc.assert(
      fc.property(fc.nat(Date.UTC(2255, 5) * 1000 - 1), (us) => {
        const { fromUs, untilUs, suffix } = monthOf(us);
        expect(fromUs <= us && us < untilUs).toBe(true);
        expect(monthOf(untilUs).suffix).not.toBe(suffix);
        expect(monthOf(untilUs - 1).suffix).toBe(suffix);
      }),
    );
    expect(monthOf(Date.UTC(2026, 8, 30) * 1000).suffix).toBe('y2026m09');
  });
});
