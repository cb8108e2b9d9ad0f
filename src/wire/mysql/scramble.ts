/**
 * What the authentication methods compute, both sides. N is the nonce of 20 bytes, P the password in UTF-8.
 *
 *   mysql_native_password   response SHA1(P) XOR SHA1(N + SHA1(SHA1(P)))             verifier SHA1(SHA1(P))
 *   caching_sha2_password   response SHA256(P) XOR SHA256(SHA256(SHA256(P)) + N)     verifier SHA256(SHA256(P))
 *                           or, where the server's cache does not have it, in full: as sha256_password
 *   sha256_password         inside TLS P and a NUL, outside RSA-OAEP of (P and a NUL) XOR N, repeated
 *   mysql_clear_password    P and a NUL
 *   client_ed25519          `ed25519.ts`
 *
 * An empty password has an empty response. A verifier lets nobody log in by itself: the response needs the hash before it.
 * Nothing here waits or does I/O. https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase_authentication_methods.html
 */
import {
  constants,
  createHash,
  createPublicKey,
  type KeyObject,
  privateDecrypt,
  publicEncrypt,
  randomBytes,
  timingSafeEqual,
} from 'node:crypto';
import { AppError } from '../../base/errors.ts';
import { SCRAMBLE_BYTES } from './handshake.ts';
import { malformed } from './reader.ts';

export const CACHING_SHA2_PASSWORD = 'caching_sha2_password';
export const MYSQL_NATIVE_PASSWORD = 'mysql_native_password';
export const SHA256_PASSWORD = 'sha256_password';
export const MYSQL_CLEAR_PASSWORD = 'mysql_clear_password';
export const CLIENT_ED25519 = 'client_ed25519';

const NOTHING = Buffer.alloc(0);
/** Passwords in clear or encrypted by RSA; the servers' own limit is 256 characters. */
const MAX_PASSWORD_BYTES = 4096;

/** A nonce for a greeting: 20 bytes from 1 to 127, as clients read it as a string. */
export function makeNonce(): Buffer {
  const nonce = randomBytes(SCRAMBLE_BYTES);
  for (let i = 0; i < nonce.length; i++) {
    // Neither NUL nor the '$' that separates the parts of stored hashes, as the servers make theirs.
    const byte = nonce[i] & 0x7f;
    nonce[i] = byte === 0 || byte === 0x24 ? byte + 1 : byte;
  }
  return nonce;
}

/** The answer of caching_sha2_password. */
export function cachingSha2Response(password: string, nonce: Uint8Array): Buffer {
  if (password === '') return NOTHING;
  const once = hash('sha256', Buffer.from(password));
  return xor(once, hash('sha256', hash('sha256', once), nonce));
}

/** SHA256(SHA256(P)), 32 bytes. */
export function cachingSha2Verifier(password: string): Buffer {
  return hash('sha256', hash('sha256', Buffer.from(password)));
}

/** Whether a response proves the password of a verifier. A response of another length proves nothing. */
export function checkCachingSha2(response: Uint8Array, nonce: Uint8Array, verifier: Uint8Array): boolean {
  if (response.length !== 32 || verifier.length !== 32) return false;
  const once = xor(response, hash('sha256', verifier, nonce));
  return timingSafeEqual(hash('sha256', once), verifier);
}

/** The answer of mysql_native_password. */
export function nativeResponse(password: string, nonce: Uint8Array): Buffer {
  if (password === '') return NOTHING;
  const once = hash('sha1', Buffer.from(password));
  return xor(once, hash('sha1', nonce, hash('sha1', once)));
}

/** SHA1(SHA1(P)), 20 bytes: `mysql.user` has it in hexadecimal behind a `*`. */
export function nativeVerifier(password: string): Buffer {
  return hash('sha1', hash('sha1', Buffer.from(password)));
}

/** Whether a response proves the password of a verifier. */
export function checkNative(response: Uint8Array, nonce: Uint8Array, verifier: Uint8Array): boolean {
  if (response.length !== 20 || verifier.length !== 20) return false;
  const once = xor(response, hash('sha1', nonce, verifier));
  return timingSafeEqual(hash('sha1', once), verifier);
}

/** A password in clear as all methods send it: with a NUL behind it. Only inside TLS. */
export function clearResponse(password: string): Buffer {
  return Buffer.from(`${password}\0`);
}

/**
 * The password of a clear response: up to its NUL, or all of it for the drivers that leave it out.
 * @throws AppError `protocol`: WIRE_MESSAGE_MALFORMED (too long).
 */
export function decodeClearResponse(response: Uint8Array): string {
  if (response.length > MAX_PASSWORD_BYTES) throw malformed('password', 'it is too long');
  const end = response.indexOf(0);
  return Buffer.from(response.subarray(0, end < 0 ? response.length : end)).toString('utf8');
}

/**
 * A password for a server outside TLS.
 * @param publicKeyPem what the server sent, or better: what the configuration knows, as the key that was sent may be
 * that of somebody in between.
 * @throws AppError `protocol`: WIRE_PUBLIC_KEY_INVALID.
 */
export function encryptPassword(
  password: string,
  nonce: Uint8Array,
  publicKeyPem: Uint8Array | string,
): Buffer {
  const key = publicKey(publicKeyPem);
  try {
    return publicEncrypt(oaep(key), xorRepeated(clearResponse(password), nonce));
  } catch (cause) {
    throw new AppError(
      'invalid',
      'WIRE_PASSWORD_TOO_LONG',
      'A password is too long for the RSA key of its server. Use TLS, or a larger key.',
      { cause },
    );
  }
}

function publicKey(pem: Uint8Array | string): KeyObject {
  try {
    const key = createPublicKey(Buffer.from(pem));
    if (key.asymmetricKeyType === 'rsa') return key;
  } catch {
    // Said below: what OpenSSL says of it helps nobody.
  }
  throw new AppError(
    'protocol',
    'WIRE_PUBLIC_KEY_INVALID',
    'The server sent a public key that is no RSA key in PEM. Use TLS to it, or check what stands in between.',
  );
}

/** The password that a client encrypted with our public key; `null` when it was not, or not with this nonce. */
export function decryptPassword(
  response: Uint8Array,
  nonce: Uint8Array,
  privateKey: KeyObject,
): string | null {
  let padded: Buffer;
  try {
    padded = privateDecrypt(oaep(privateKey), response);
  } catch {
    return null; // an expected outcome: the client used another key
  }
  const clear = xorRepeated(padded, nonce);
  // The NUL is the only sign that key and nonce were ours.
  return clear.at(-1) === 0 ? decodeClearResponse(clear) : null;
}

function oaep(key: KeyObject): { key: KeyObject; padding: number; oaepHash: string } {
  return { key, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha1' };
}

function hash(algorithm: 'sha1' | 'sha256', ...parts: readonly Uint8Array[]): Buffer {
  const state = createHash(algorithm);
  for (const part of parts) state.update(part);
  return state.digest();
}

function xor(a: Uint8Array, b: Uint8Array): Buffer {
  const result = Buffer.alloc(a.length);
  for (let i = 0; i < a.length; i++) result[i] = a[i] ^ b[i];
  return result;
}

function xorRepeated(bytes: Uint8Array, nonce: Uint8Array): Buffer {
  const result = Buffer.from(bytes);
  for (let i = 0; i < result.length; i++) result[i] ^= nonce[i % nonce.length];
  return result;
}
