/**
 * Binary dates and times as the server's own text. All begin with a byte of length; what is left out at the end is zero.
 *
 *   DATE, DATETIME, TIMESTAMP  0 | 4: int<2> year, month, day | 7: hour, minute, second | 11: int<4> microseconds
 *   TIME                       0 | 8: int<1> negative, int<4> days, hour, minute, second | 12: int<4> microseconds
 */
import { unreadable } from '../../values.ts';

/** Digits of a fraction that a column does not fix: MySQL's 31, MariaDB's 39. */
const MAX_DECIMALS = 6;

function two(value: number): string {
  return value < 10 ? `0${value}` : String(value);
}

/**
 * @param decimals digits behind the point, as the column definition says; more than 6: as many as there are.
 * @param present whether the value carries microseconds.
 */
function fraction(microseconds: number, decimals: number, present: boolean, type: string): string {
  if (microseconds > 999_999) throw unreadable(type);
  const digits = decimals <= MAX_DECIMALS ? decimals : present ? MAX_DECIMALS : 0;
  return digits === 0 ? '' : `.${String(microseconds).padStart(6, '0').slice(0, digits)}`;
}

/** @param bytes behind the byte of length. */
export function dateText(bytes: Buffer): string {
  if (bytes.length === 0) return '0000-00-00';
  if (bytes.length < 4) throw unreadable('date');
  return `${String(bytes.readUInt16LE(0)).padStart(4, '0')}-${two(bytes[2])}-${two(bytes[3])}`;
}

export function datetimeText(bytes: Buffer, decimals: number): string {
  const { length } = bytes;
  if (length !== 0 && length !== 4 && length !== 7 && length !== 11) throw unreadable('datetime');
  const clock = length >= 7 ? `${two(bytes[4])}:${two(bytes[5])}:${two(bytes[6])}` : '00:00:00';
  const microseconds = length === 11 ? bytes.readUInt32LE(7) : 0;
  return `${dateText(bytes)} ${clock}${fraction(microseconds, decimals, length === 11, 'datetime')}`;
}

export function timeText(bytes: Buffer, decimals: number): string {
  const { length } = bytes;
  if (length === 0) return `00:00:00${fraction(0, decimals, false, 'time')}`;
  if (length !== 8 && length !== 12) throw unreadable('time');
  const hours = bytes.readUInt32LE(1) * 24 + bytes[5];
  const microseconds = length === 12 ? bytes.readUInt32LE(8) : 0;
  const sign = bytes[0] === 0 ? '' : '-';
  const rest = fraction(microseconds, decimals, length === 12, 'time');
  return `${sign}${two(hours)}:${two(bytes[6])}:${two(bytes[7])}${rest}`;
}
