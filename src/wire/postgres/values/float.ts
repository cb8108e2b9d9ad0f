/**
 * Floating-point numbers as the server writes them (`extra_float_digits` 1, its default since version 12): the shortest
 * decimal strictly between the midpoints to the neighbouring numbers, of those the closest, of equals the even one.
 * JavaScript's own shortest text also takes a midpoint that would be read back right (1e23), so digits can differ; and
 * it knows nothing of four-byte floats.
 */
import { expectBytes } from '../../values.ts';

export function float4Text(bytes: Buffer): string {
  expectBytes(bytes, 4, 'float4');
  const value = bytes.readFloatBE(0);
  const named = special(value);
  if (named !== undefined) return named;
  const word = bytes.readUInt32BE(0);
  const biased = (word >>> 23) & 0xff;
  const fraction = BigInt(word & 0x7f_ffff);
  // Fixed notation below 10^6: FLT_DIG.
  return written(value, biased, fraction, { fractionBits: 23, bias: 127, fixedBelow: 6 });
}

export function float8Text(bytes: Buffer): string {
  expectBytes(bytes, 8, 'float8');
  return float8At(bytes, 0);
}

/** @param at offset of the number in `bytes`, which the caller has checked. */
export function float8At(bytes: Buffer, at: number): string {
  const value = bytes.readDoubleBE(at);
  const named = special(value);
  if (named !== undefined) return named;
  const word = bytes.readBigUInt64BE(at);
  const biased = Number((word >> 52n) & 0x7ffn);
  const fraction = word & 0xf_ffff_ffff_ffffn;
  // Fixed notation below 10^15: DBL_DIG.
  return written(value, biased, fraction, { fractionBits: 52, bias: 1023, fixedBelow: 15 });
}

function special(value: number): string | undefined {
  if (Number.isNaN(value)) return 'NaN';
  if (!Number.isFinite(value)) return value > 0 ? 'Infinity' : '-Infinity';
  if (value === 0) return Object.is(value, -0) ? '-0' : '0';
  return undefined;
}

interface FloatLayout {
  readonly fractionBits: number;
  readonly bias: number;
  readonly fixedBelow: number;
}

function written(value: number, biased: number, fraction: bigint, layout: FloatLayout): string {
  const { fractionBits, bias } = layout;
  const mantissa = biased === 0 ? fraction : fraction | (1n << BigInt(fractionBits));
  const binaryExponent = Math.max(biased, 1) - bias - fractionBits;
  // Below a power of two the neighbour is half as far away.
  const closerBelow = fraction === 0n && biased > 1;
  // JavaScript's text of a double has as many digits or fewer; of a four-byte float, more: only its first one helps.
  const [shortest, exponent] = Math.abs(value).toExponential().split('e');
  const digitsAfterFirst = fractionBits === 52 ? Math.max(0, shortest.length - 2) : 0;
  const startPower = Number(exponent) - digitsAfterFirst + 1;
  const decimal = shortestDecimal(startPower, mantissa, binaryExponent, closerBelow);
  return (value < 0 ? '-' : '') + notation(decimal, layout.fixedBelow);
}

/** The number `digits` × 10^`power`. */
interface Decimal {
  readonly digits: string;
  readonly power: number;
}

/** @param startPower not below the power of ten of the last digit to be found. */
function shortestDecimal(
  startPower: number,
  mantissa: bigint,
  binaryExponent: number,
  closerBelow: boolean,
): Decimal {
  // In units of a quarter of the last bit, so that the midpoints are whole numbers.
  const shift = binaryExponent - 2;
  const center = mantissa << 2n;
  const low = center - (closerBelow ? 1n : 2n);
  const high = center + 2n;
  for (let power = startPower; ; power--) {
    // d × 10^power in those units is d × unit / scale.
    const unit = (power > 0 ? 10n ** BigInt(power) : 1n) << BigInt(Math.max(0, -shift));
    const scale = (power < 0 ? 10n ** BigInt(-power) : 1n) << BigInt(Math.max(0, shift));
    const below = (center * scale) / unit;
    const rest = center * scale - below * unit;
    const twice = 2n * rest;
    const roundUp = twice > unit || (twice === unit && (below & 1n) === 1n);
    const [nearer, farther] = roundUp ? [below + 1n, below] : [below, below + 1n];
    for (const digits of [nearer, farther]) {
      const scaled = digits * unit;
      if (digits > 0n && scaled > low * scale && scaled < high * scale)
        return { digits: String(digits), power };
    }
  }
}

function notation(decimal: Decimal, fixedBelow: number): string {
  const exponent = decimal.power + decimal.digits.length - 1;
  const digits = decimal.digits.replace(/0+$/, '');
  if (exponent < -4 || exponent >= fixedBelow) {
    const fraction = digits.length > 1 ? `.${digits.slice(1)}` : '';
    return `${digits[0]}${fraction}e${exponent < 0 ? '-' : '+'}${String(Math.abs(exponent)).padStart(2, '0')}`;
  }
  if (exponent < 0) return `0.${'0'.repeat(-exponent - 1)}${digits}`;
  if (digits.length <= exponent + 1) return digits.padEnd(exponent + 1, '0');
  return `${digits.slice(0, exponent + 1)}.${digits.slice(exponent + 1)}`;
}
