/** Times, spans and sizes, as people write and read them. */
import type { Clock } from '../base/clock.ts';
import { AppError } from '../base/errors.ts';

const SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400, w: 604_800 };
const MAX_SPAN_US = 100 * 365 * 86_400_000_000;

/** "8h", "90m", "1d12h", "2w", in microseconds; `null` when it is no span. */
export function parseSpan(text: string): number | null {
  if (!/^(\d{1,9}[smhdw])+$/.test(text)) return null;
  let seconds = 0;
  for (const [, count, unit] of text.matchAll(/(\d+)([smhdw])/g))
    seconds += Number(count) * (SECONDS[unit ?? ''] ?? 0);
  const us = seconds * 1_000_000;
  return us <= MAX_SPAN_US ? us : null;
}

/** A span that must be one. @throws AppError `invalid` that names the option. */
export function demandSpan(option: string, text: string): number {
  const us = parseSpan(text);
  if (us === null || us === 0)
    throw usage(`${option}: "${text}" is not a span of time; write 30m, 8h, 7d, 2w or 1d12h`);
  return us;
}

/**
 * A point in time as the API takes it: RFC 3339, a date ("2026-01-31", its start in UTC), "now", or a span, which is
 * counted from now, back (`ago`) or on (`ahead`).
 */
export function parsePoint(option: string, text: string, direction: 'ago' | 'ahead', clock: Clock): string {
  if (text === 'now') return isoOf(clock.wallUs());
  const span = parseSpan(text);
  if (span !== null) return isoOf(clock.wallUs() + (direction === 'ago' ? -span : span));
  const whole = /^\d{4}-\d{2}-\d{2}$/.test(text) ? `${text}T00:00:00Z` : text.replace(' ', 'T');
  if (/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2})$/.test(whole)) {
    const seconds = /T\d{2}:\d{2}(Z|[+-])/.test(whole) ? whole.replace(/(T\d{2}:\d{2})/, '$1:00') : whole;
    if (!Number.isNaN(Date.parse(seconds))) return seconds;
  }
  throw usage(
    `${option}: "${text}" is not a time; write 2026-01-31, 2026-01-31T12:00:00Z, now, or a span like 8h (${direction === 'ago' ? 'before' : 'from'} now)`,
  );
}

const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  kB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
  TiB: 1024 ** 4,
};

/** "5000", "10MB", "1GiB". @throws AppError `invalid` that names the option. */
export function parseSize(option: string, text: string): number {
  const match = /^(\d+) ?([A-Za-z]*)$/.exec(text);
  const unit = UNITS[match?.[2] ?? ''];
  const bytes = Number(match?.[1]) * (unit ?? Number.NaN);
  if (!Number.isSafeInteger(bytes))
    throw usage(
      `${option}: "${text}" is not a size; write bytes, or a number with kB, MB, GB, KiB, MiB or GiB`,
    );
  return bytes;
}

/** @throws AppError `invalid` that names the option. */
export function parseCount(option: string, text: string, min = 0): number {
  const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= min)) throw usage(`${option}: "${text}" is not a whole number of ${min} or more`);
  return value;
}

/** "2026-01-31 12:00:00Z" of an RFC 3339 time of the API; empty for none. */
export function showTime(time: string | null): string {
  return time === null ? '' : `${time.slice(0, 19).replace('T', ' ')}Z`;
}

/** "850 µs", "12.4 ms", "3.20 s", "2m05s" of microseconds; empty for none. */
export function showDuration(us: number | null): string {
  if (us === null) return '';
  if (us < 1_000) return `${us} µs`;
  if (us < 1_000_000) return `${(us / 1_000).toFixed(1)} ms`;
  if (us < 60_000_000) return `${(us / 1_000_000).toFixed(2)} s`;
  const seconds = Math.round(us / 1_000_000);
  return `${Math.floor(seconds / 60)}m${String(seconds % 60).padStart(2, '0')}s`;
}

/** "812 B", "4.1 KiB", "1.2 GiB". */
export function showBytes(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  const power = Math.min(4, Math.floor(Math.log2(bytes) / 10));
  return `${(bytes / 1024 ** power).toFixed(1)} ${['B', 'KiB', 'MiB', 'GiB', 'TiB'][power]}`;
}

function isoOf(us: number): string {
  return new Date(us / 1000).toISOString();
}

/** The command line was not understood: exit code 2. */
export function usage(message: string): AppError {
  return new AppError('invalid', 'CLI_USAGE', message);
}
