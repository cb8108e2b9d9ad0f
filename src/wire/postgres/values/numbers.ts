/** Binary numbers as the server's own text. */
import { expectBytes, unreadable } from '../../values.ts';

export function int2Text(bytes: Buffer): string {
  expectBytes(bytes, 2, 'int2');
  return String(bytes.readInt16BE(0));
}

export function int4Text(bytes: Buffer): string {
  expectBytes(bytes, 4, 'int4');
  return String(bytes.readInt32BE(0));
}

export function int8Text(bytes: Buffer): string {
  expectBytes(bytes, 8, 'int8');
  return String(bytes.readBigInt64BE(0));
}

/** oid, xid, cid, and the reg* types, whose names only the server knows. */
export function uint4Text(bytes: Buffer): string {
  expectBytes(bytes, 4, 'oid');
  return String(bytes.readUInt32BE(0));
}

export function uint8Text(bytes: Buffer): string {
  expectBytes(bytes, 8, 'xid8');
  return String(bytes.readBigUInt64BE(0));
}

const NUMERIC_NEGATIVE = 0x4000;
const NUMERIC_SPECIAL: Readonly<Record<number, string>> = {
  0xc000: 'NaN',
  0xd000: 'Infinity',
  0xf000: '-Infinity',
};
/** Zeros that are written out; a number of 20 bytes can stand for 131,072 digits. */
const MAX_WRITTEN_ZEROS = 1000;

/**
 * numeric: `Int16 n, Int16 weight, Int16 sign, Int16 scale, n × Int16 digit` to base 10,000; the value is the sum of
 * digit[i] × 10000^(weight − i). Exact. With more than a thousand zeros on either side it is written in exponential
 * notation, which the server does not do: `1e+131071`.
 */
export function numericText(bytes: Buffer): string {
  if (bytes.length < 8) throw unreadable('numeric');
  const count = bytes.readUInt16BE(0);
  const weight = bytes.readInt16BE(2);
  const sign = bytes.readUInt16BE(4);
  const scale = bytes.readUInt16BE(6);
  expectBytes(bytes, 8 + 2 * count, 'numeric');
  const named = NUMERIC_SPECIAL[sign];
  if (named !== undefined) return named;
  if ((sign & ~NUMERIC_NEGATIVE) !== 0) throw unreadable('numeric');
  let digits = '';
  for (let i = 0; i < count; i++) {
    const digit = bytes.readUInt16BE(8 + 2 * i);
    if (digit > 9999) throw unreadable('numeric');
    digits += String(digit).padStart(4, '0');
  }
  const minus = sign === NUMERIC_NEGATIVE ? '-' : '';
  // The decimal point stands behind this many digits; it may stand far outside of them on either side.
  const point = 4 * (weight + 1);
  const zeros = Math.max(0, point - digits.length) + Math.max(0, -point) + Math.max(0, scale - digits.length);
  if (zeros > MAX_WRITTEN_ZEROS) return minus + exponentialNumeric(digits, point);
  const whole =
    point > 0
      ? digits
          .slice(0, point)
          .padEnd(point, '0')
          .replace(/^0+(?=.)/, '')
      : '0';
  const fraction = point > 0 ? digits.slice(point) : '0'.repeat(-point) + digits;
  return `${minus}${whole}${scale > 0 ? `.${fraction.slice(0, scale).padEnd(scale, '0')}` : ''}`;
}

function exponentialNumeric(digits: string, point: number): string {
  const leading = /^0*/.exec(digits)?.[0].length ?? 0;
  const significant = digits.slice(leading).replace(/0+$/, '');
  if (significant === '') return '0';
  const exponent = point - leading - 1;
  const fraction = significant.length > 1 ? `.${significant.slice(1)}` : '';
  return `${significant[0]}${fraction}e${exponent < 0 ? '-' : '+'}${Math.abs(exponent)}`;
}

/** Two fraction digits and no symbol: the currency is in the server's `lc_monetary`, not on the wire. */
export function moneyText(bytes: Buffer): string {
  expectBytes(bytes, 8, 'money');
  const cents = bytes.readBigInt64BE(0);
  const magnitude = (cents < 0n ? -cents : cents).toString().padStart(3, '0');
  return `${cents < 0n ? '-' : ''}${magnitude.slice(0, -2)}.${magnitude.slice(-2)}`;
}

export function lsnText(bytes: Buffer): string {
  expectBytes(bytes, 8, 'pg_lsn');
  return `${hexWord(bytes, 0)}/${hexWord(bytes, 4)}`;
}

function hexWord(bytes: Buffer, at: number): string {
  return bytes.readUInt32BE(at).toString(16).toUpperCase();
}

/** bit and varbit: `Int32 bits`, then the bits, first one highest. */
export function bitText(bytes: Buffer): string {
  if (bytes.length < 4) throw unreadable('bit');
  const bits = bytes.readUInt32BE(0);
  if (Math.ceil(bits / 8) !== bytes.length - 4) throw unreadable('bit');
  let text = '';
  for (let i = 4; i < bytes.length; i++) text += bytes[i].toString(2).padStart(8, '0');
  return text.slice(0, bits);
}

/** tid: `Int32 block, Int16 offset`. */
export function tidText(bytes: Buffer): string {
  expectBytes(bytes, 6, 'tid');
  return `(${bytes.readUInt32BE(0)},${bytes.readUInt16BE(4)})`;
}

/** pg_snapshot, txid_snapshot: `Int32 n, Int64 xmin, Int64 xmax, n × Int64 xid`. */
export function snapshotText(bytes: Buffer): string {
  if (bytes.length < 20) throw unreadable('pg_snapshot');
  const count = bytes.readUInt32BE(0);
  expectBytes(bytes, 20 + 8 * count, 'pg_snapshot');
  const running: string[] = [];
  for (let i = 0; i < count; i++) running.push(String(bytes.readBigUInt64BE(20 + 8 * i)));
  return `${bytes.readBigUInt64BE(4)}:${bytes.readBigUInt64BE(12)}:${running.join(',')}`;
}
