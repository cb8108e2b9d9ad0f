/** Options that commands of the probe share. */
import { parseSize, usage } from '../amounts.ts';

const MAX_RING_BYTES = 1024 * 1024 * 1024;

export function ringBytes(text: string): number {
  const value = parseSize('--ring', text);
  if (value < 4096 || value > MAX_RING_BYTES || (value & (value - 1)) !== 0)
    throw usage(`--ring: "${text}" is no power of two from 4KiB to 1GiB`);
  return value;
}

export function wholeNumber(text: string): number {
  const value = Number(text);
  if (!/^(?:0x[0-9a-f]+|\d+)$/i.test(text) || !Number.isSafeInteger(value))
    throw usage(`"${text}" is not a whole number`);
  return value;
}
