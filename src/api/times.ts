/** Times: RFC 3339 text outside, microseconds since 1970 inside. */
import { ValidationError } from './problems.ts';

/** `2026-01-31T12:00:00.000000Z`: always six digits, so that text sorts as time does. */
export function formatTime(us: number): string {
  const micros = ((us % 1000) + 1000) % 1000;
  const iso = new Date((us - micros) / 1000).toISOString();
  return `${iso.slice(0, -1)}${String(micros).padStart(3, '0')}Z`;
}

export function formatOptionalTime(us: number | null): string | null {
  return us === null ? null : formatTime(us);
}

/** Microseconds of a text that the schema took for a date-time. Digits beyond microseconds are dropped. */
export function parseTime(field: string, text: string): number {
  const ms = Date.parse(text);
  if (Number.isNaN(ms)) throw new ValidationError('request', [{ field, message: 'there is no such time' }]);
  const fraction = /\.(\d+)/.exec(text)?.[1] ?? '';
  const micros = Number(fraction.padEnd(6, '0').slice(3, 6));
  return Math.floor(ms) * 1000 + micros;
}

export function parseOptionalTime(field: string, text: string | undefined): number | undefined {
  return text === undefined ? undefined : parseTime(field, text);
}
