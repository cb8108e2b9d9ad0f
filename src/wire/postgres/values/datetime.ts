/**
 * Binary dates and times as the server's own text with DateStyle ISO, IntervalStyle postgres, TimeZone UTC. The epoch is
 * 2000-01-01; times are microseconds. JavaScript's Date has neither microseconds nor the server's range of years.
 */
import { expectBytes } from '../../values.ts';

const DAY_US = 86_400_000_000n;
/** Julian day of 2000-01-01. */
const EPOCH_JULIAN_DAY = 2_451_545;
const INFINITY_DAYS = 0x7fff_ffff;
const MINUS_INFINITY_DAYS = -0x8000_0000;
const INFINITY_US = 0x7fff_ffff_ffff_ffffn;
const MINUS_INFINITY_US = -0x8000_0000_0000_0000n;

interface CalendarDate {
  /** `0044-03-15`, without the era. */
  readonly text: string;
  /** ` BC` or nothing; it follows the time. */
  readonly era: string;
}

/** The server's `j2date`: proleptic Gregorian, all of its years. */
function calendarDate(days: number): CalendarDate {
  let julian = days + EPOCH_JULIAN_DAY + 32_044;
  let quad = Math.floor(julian / 146_097);
  const extra = (julian - quad * 146_097) * 4 + 3;
  julian += 60 + quad * 3 + Math.floor(extra / 146_097);
  quad = Math.floor(julian / 1461);
  julian -= quad * 1461;
  let y = Math.floor((julian * 4) / 1461);
  julian = (y !== 0 ? (julian + 305) % 365 : (julian + 306) % 366) + 123;
  y += quad * 4;
  const year = y - 4800;
  quad = Math.floor((julian * 2141) / 65_536);
  const day = julian - Math.floor((7834 * quad) / 256);
  const month = ((quad + 10) % 12) + 1;
  const shown = year > 0 ? year : 1 - year;
  return {
    text: `${String(shown).padStart(4, '0')}-${two(month)}-${two(day)}`,
    era: year > 0 ? '' : ' BC',
  };
}

function two(value: number): string {
  return value < 10 ? `0${value}` : String(value);
}

/** `hh:mm:ss[.ffffff]` without trailing zeros. @param us not negative; hours are not limited to 24. */
function clockText(us: bigint): string {
  const seconds = us / 1_000_000n;
  const fraction = (us % 1_000_000n).toString().padStart(6, '0').replace(/0+$/, '');
  const hours = (seconds / 3600n).toString().padStart(2, '0');
  const rest = Number(seconds % 3600n);
  return `${hours}:${two(Math.floor(rest / 60))}:${two(rest % 60)}${fraction === '' ? '' : `.${fraction}`}`;
}

export function dateText(bytes: Buffer): string {
  expectBytes(bytes, 4, 'date');
  const days = bytes.readInt32BE(0);
  if (days === INFINITY_DAYS) return 'infinity';
  if (days === MINUS_INFINITY_DAYS) return '-infinity';
  const date = calendarDate(days);
  return date.text + date.era;
}

export function timeText(bytes: Buffer): string {
  expectBytes(bytes, 8, 'time');
  return signed(bytes.readBigInt64BE(0), clockText);
}

// A time is never negative; hostile bytes may be.
function signed(us: bigint, text: (us: bigint) => string): string {
  return us < 0n ? `-${text(-us)}` : text(us);
}

/** timetz: `Int64 time, Int32 zone`, the zone in seconds *west* of UTC. */
export function timetzText(bytes: Buffer): string {
  expectBytes(bytes, 12, 'timetz');
  return signed(bytes.readBigInt64BE(0), clockText) + zoneText(-bytes.readInt32BE(8));
}

/** @param east seconds. */
function zoneText(east: number): string {
  const seconds = Math.abs(east);
  const parts = [two(Math.floor(seconds / 3600))];
  if (seconds % 3600 !== 0) parts.push(two(Math.floor(seconds / 60) % 60));
  if (seconds % 60 !== 0) parts.push(two(seconds % 60));
  return (east < 0 ? '-' : '+') + parts.join(':');
}

export function timestampText(bytes: Buffer): string {
  return instantText(bytes, 'timestamp', '');
}

/** In UTC, whatever the session's time zone is: the wire has the instant only. */
export function timestamptzText(bytes: Buffer): string {
  return instantText(bytes, 'timestamptz', '+00');
}

function instantText(bytes: Buffer, type: string, zone: string): string {
  expectBytes(bytes, 8, type);
  const us = bytes.readBigInt64BE(0);
  if (us === INFINITY_US) return 'infinity';
  if (us === MINUS_INFINITY_US) return '-infinity';
  let days = us / DAY_US;
  let rest = us % DAY_US;
  if (rest < 0n) {
    rest += DAY_US;
    days -= 1n;
  }
  const date = calendarDate(Number(days));
  return `${date.text} ${clockText(rest)}${zone}${date.era}`;
}

/** interval: `Int64 time, Int32 days, Int32 months`. */
export function intervalText(bytes: Buffer): string {
  expectBytes(bytes, 16, 'interval');
  const us = bytes.readBigInt64BE(0);
  const days = bytes.readInt32BE(8);
  const months = bytes.readInt32BE(12);
  // Since PostgreSQL 17.
  if (us === INFINITY_US && days === INFINITY_DAYS && months === INFINITY_DAYS) return 'infinity';
  if (us === MINUS_INFINITY_US && days === MINUS_INFINITY_DAYS && months === MINUS_INFINITY_DAYS)
    return '-infinity';
  const parts: string[] = [];
  let before = false; // the part in front was negative, so a positive one needs its sign
  const units: [value: number, unit: string][] = [
    [Math.trunc(months / 12), 'year'],
    [months % 12, 'mon'],
    [days, 'day'],
  ];
  for (const [value, unit] of units) {
    if (value === 0) continue;
    parts.push(`${before && value > 0 ? '+' : ''}${value} ${unit}${value === 1 ? '' : 's'}`);
    before = value < 0;
  }
  if (us !== 0n || parts.length === 0)
    parts.push(us < 0n ? `-${clockText(-us)}` : (before ? '+' : '') + clockText(us));
  return parts.join(' ');
}
