/**
 * API keys: `dbw_` + 32 random base62 characters (190 bits) + 6 base62 characters of CRC-32 over what precedes, as
 * GitHub's tokens, so that a typing error or a scanner's false alarm is told apart from a wrong key without asking
 * the store. Shown once; only the SHA-256 is kept, which is enough for a secret of full entropy.
 */
import { createHash, randomInt } from 'node:crypto';
import { crc32 } from 'node:zlib';

const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const MARK = 'dbw_';
const RANDOM_CHARACTERS = 32;
const CHECKSUM_CHARACTERS = 6;
const FORM = new RegExp(`^${MARK}[0-9A-Za-z]{${RANDOM_CHARACTERS + CHECKSUM_CHARACTERS}}$`);

export interface ApiKeySecret {
  /** The whole key, to be shown once and forgotten. */
  readonly key: string;
  /** `dbw_` and four characters, to recognise it in lists. */
  readonly prefix: string;
  readonly hash: string;
}

export function generateApiKey(): ApiKeySecret {
  let body = MARK;
  for (let i = 0; i < RANDOM_CHARACTERS; i++) body += ALPHABET[randomInt(ALPHABET.length)];
  const key = body + checksum(body);
  return { key, prefix: key.slice(0, MARK.length + 4), hash: hashSecret(key) };
}

/** Whether a text claims to be an API key (whatever its checksum says). */
export function looksLikeApiKey(text: string): boolean {
  return text.startsWith(MARK);
}

/** Whether a text has the form and the checksum of an API key; says nothing about whether it was ever issued. */
export function isApiKey(text: string): boolean {
  return (
    FORM.test(text) && checksum(text.slice(0, -CHECKSUM_CHARACTERS)) === text.slice(-CHECKSUM_CHARACTERS)
  );
}

function checksum(text: string): string {
  let rest = crc32(text);
  let digits = '';
  for (let i = 0; i < CHECKSUM_CHARACTERS; i++) {
    digits = ALPHABET[rest % 62] + digits;
    rest = Math.floor(rest / 62);
  }
  return digits;
}

/** SHA-256 in hex: how API keys and login tokens are kept. Only for secrets of full entropy. */
export function hashSecret(secret: string): string {
  return createHash('sha256').update(secret).digest('hex');
}
