/**
 * client_ed25519 of MariaDB: the client signs the server's nonce of 32 bytes with Ed25519 (RFC 8032). The method differs
 * from the standard in its key only: SHA-512 is taken of the password as it is, where the standard has a seed of 32 bytes.
 * Signatures are standard ones, so that node:crypto can verify them; making them, and the public key, needs arithmetic on
 * the curve, as node:crypto takes seeds only.
 *
 *   h = SHA512(P), a = h[0..31] with the bits set as RFC 8032 says, A = a·B     public key A, 32 bytes
 *   r = SHA512(h[32..63] + N) mod L, R = r·B, S = r + SHA512(R + A + N)·a mod L   signature R + S, 64 bytes
 *
 * https://mariadb.com/kb/en/authentication-plugin-ed25519/
 */
import { createHash, createPublicKey, verify } from 'node:crypto';
import { ed25519 } from '@noble/curves/ed25519.js';

/** Bytes of the nonce in its AuthSwitchRequest. */
export const ED25519_NONCE_BYTES = 32;
export const ED25519_SIGNATURE_BYTES = 64;
export const ED25519_PUBLIC_KEY_BYTES = 32;

const { Point } = ed25519;
const L = Point.Fn.ORDER;

/** What a server keeps of a password: 32 bytes. `mysql.global_priv` has them in base64 without padding. Takes about 2 ms. */
export function ed25519PublicKey(password: string | Uint8Array): Buffer {
  return publicPoint(secretOf(password).scalar);
}

/** The answer of client_ed25519: 64 bytes. Takes about 5 ms. */
export function ed25519Response(password: string | Uint8Array, nonce: Uint8Array): Buffer {
  const { scalar, prefix } = secretOf(password);
  const publicKey = publicPoint(scalar);
  const r = modL(sha512(prefix, nonce));
  const R = publicPoint(r);
  const challenge = modL(sha512(R, publicKey, nonce));
  return Buffer.concat([R, littleEndian((r + challenge * scalar) % L)]);
}

/** Whether a response proves the password of a public key. */
export function checkEd25519(response: Uint8Array, nonce: Uint8Array, key: Uint8Array): boolean {
  if (response.length !== ED25519_SIGNATURE_BYTES || key.length !== ED25519_PUBLIC_KEY_BYTES) return false;
  const x = Buffer.from(key).toString('base64url');
  try {
    const publicKey = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
    return verify(null, nonce, publicKey, response);
  } catch {
    return false; // 32 bytes that are no point of the curve
  }
}

interface Secret {
  readonly scalar: bigint;
  readonly prefix: Buffer;
}

function secretOf(password: string | Uint8Array): Secret {
  const digest = sha512(typeof password === 'string' ? Buffer.from(password) : password);
  const scalar = Buffer.from(digest.subarray(0, 32));
  scalar[0] &= 0xf8;
  scalar[31] = (scalar[31] & 0x7f) | 0x40;
  return { scalar: integer(scalar), prefix: digest.subarray(32) };
}

function publicPoint(scalar: bigint): Buffer {
  const reduced = scalar % L;
  return Buffer.from((reduced === 0n ? Point.ZERO : Point.BASE.multiply(reduced)).toBytes());
}

function sha512(...parts: readonly Uint8Array[]): Buffer {
  const state = createHash('sha512');
  for (const part of parts) state.update(part);
  return state.digest();
}

function modL(bytes: Buffer): bigint {
  return integer(bytes) % L;
}

function integer(littleEndianBytes: Buffer): bigint {
  return BigInt(`0x${Buffer.from(littleEndianBytes).reverse().toString('hex')}`);
}

function littleEndian(value: bigint): Buffer {
  return Buffer.from(value.toString(16).padStart(64, '0'), 'hex').reverse();
}
