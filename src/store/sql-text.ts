/** Bytes from the wire as text that PostgreSQL accepts: valid UTF-8 without NUL, cut at a character. */
import { isUtf8 } from 'node:buffer';

/** Longest text (SQL, parameters, messages) that a row of the index holds; the journal has it whole. */
export const MAX_TEXT_BYTES = 64 * 1024;

const REPLACEMENT = '\uFFFD';

/** The same bytes if they will do as they are, else a corrected and perhaps shorter copy. */
export function storableBytes(bytes: Buffer, maxBytes: number = MAX_TEXT_BYTES): Buffer {
  const cut = bytes.length > maxBytes ? bytes.subarray(0, characterBoundary(bytes, maxBytes)) : bytes;
  if (isPlain(cut) || (isUtf8(cut) && !cut.includes(0))) return cut;
  const text = cut.toString('utf8').replaceAll('\0', REPLACEMENT);
  // Replacement characters are longer than what they replace.
  const corrected = Buffer.from(text, 'utf8');
  return corrected.length > maxBytes
    ? corrected.subarray(0, characterBoundary(corrected, maxBytes))
    : corrected;
}

export function storableText(text: string, maxBytes: number = MAX_TEXT_BYTES): string {
  if (text.length * 3 <= maxBytes && !text.includes('\0')) return text.toWellFormed();
  return storableBytes(Buffer.from(text, 'utf8'), maxBytes).toString('utf8');
}

/** Short and printable ASCII, which most texts are: cheaper to see here than to ask for. */
function isPlain(bytes: Buffer): boolean {
  if (bytes.length > 64) return false;
  for (const byte of bytes) if (byte > 0x7e || byte === 0) return false;
  return true;
}

/** The largest length ≤ `maxBytes` that does not cut a UTF-8 sequence. */
function characterBoundary(bytes: Buffer, maxBytes: number): number {
  let at = maxBytes;
  while (at > 0 && at > maxBytes - 4 && (bytes[at] & 0xc0) === 0x80) at--;
  return at;
}
