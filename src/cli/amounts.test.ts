import { describe, expect, it } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import {
  demandSpan,
  parseCount,
  parsePoint,
  parseSize,
  parseSpan,
  showBytes,
  showDuration,
  showTime,
} from './amounts.ts';

const NOON = Date.UTC(2026, 0, 31, 12) * 1000;
const clock = new ManualClock(NOON);

describe('spans', () => {
  it.each([
    ['8h', 8 * 3_600],
    ['90m', 5_400],
    ['1d12h', 129_600],
    ['2w', 1_209_600],
    ['45s', 45],
  ])('%s', (text, seconds) => {
    expect(parseSpan(text)).toBe(seconds * 1_000_000);
  });

  it.each(['', '8', 'h', '8x', '-8h', '8h ', '1.5h', '999999999w'])('%j is none', (text) => {
    expect(parseSpan(text)).toBeNull();
  });

  it('names the option, and does not take no time at all', () => {
    expect(() => demandSpan('--for', '0h')).toThrow('--for: "0h" is not a span of time');
    expect(() => demandSpan('--for', 'soon')).toThrow('--for');
  });
});

describe('points in time', () => {
  it.each([
    ['2026-01-31', '2026-01-31T00:00:00Z'],
    ['2026-01-31T18:00Z', '2026-01-31T18:00:00Z'],
    ['2026-01-31 18:00:05+02:00', '2026-01-31T18:00:05+02:00'],
    ['2026-01-31T18:00:00.123456Z', '2026-01-31T18:00:00.123456Z'],
    ['now', '2026-01-31T12:00:00.000Z'],
  ])('%s', (text, iso) => {
    expect(parsePoint('--from', text, 'ago', clock)).toBe(iso);
  });

  it('counts a span back for filters and on for grants', () => {
    expect(parsePoint('--from', '2h', 'ago', clock)).toBe('2026-01-31T10:00:00.000Z');
    expect(parsePoint('--until', '2h', 'ahead', clock)).toBe('2026-01-31T14:00:00.000Z');
  });

  it.each(['', 'yesterday', '2026-02-31x', '2026-13-01', '2026-01-31T18:00', '18:00'])(
    '%j is none: a time without a zone could mean any',
    (text) => {
      expect(() => parsePoint('--from', text, 'ago', clock)).toThrow('--from');
    },
  );
});

describe('sizes and counts', () => {
  it.each([
    ['0', 0],
    ['5000', 5_000],
    ['10MB', 10_000_000],
    ['10 MB', 10_000_000],
    ['1GiB', 1_073_741_824],
  ])('%s', (text, bytes) => {
    expect(parseSize('--max-bytes', text)).toBe(bytes);
  });

  it.each(['', 'MB', '1.5MB', '1mb', '-1', '99999999TB'])('%j is no size', (text) => {
    expect(() => parseSize('--max-bytes', text)).toThrow('--max-bytes');
  });

  it('knows the smallest count', () => {
    expect(parseCount('--limit', '7')).toBe(7);
    expect(() => parseCount('--limit', '0', 1)).toThrow('1 or more');
    expect(() => parseCount('--limit', '1e3')).toThrow('--limit');
  });
});

it('shows them as people read them', () => {
  expect(showTime('2026-01-31T12:00:00.123456Z')).toBe('2026-01-31 12:00:00Z');
  expect(showTime(null)).toBe('');
  expect([0, 850, 12_400, 3_200_000, 125_000_000].map(showDuration)).toEqual([
    '0 µs',
    '850 µs',
    '12.4 ms',
    '3.20 s',
    '2m05s',
  ]);
  expect([0, 1023, 1024, 4_300_000].map(showBytes)).toEqual(['0 B', '1023 B', '1.0 KiB', '4.1 MiB']);
});
