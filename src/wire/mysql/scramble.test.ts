import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { checkEd25519, ed25519PublicKey, ed25519Response } from './ed25519.ts';
import {
  cachingSha2Response,
  cachingSha2Verifier,
  checkCachingSha2,
  checkNative,
  clearResponse,
  decodeClearResponse,
  decryptPassword,
  encryptPassword,
  makeNonce,
  nativeResponse,
  nativeVerifier,
} from './scramble.ts';

const nonce = Buffer.from('0123456789abcdefghij');

describe('challenge and response', () => {
  it('verifiers are what the servers store', () => {
    // SELECT PASSWORD('secret')
    expect(nativeVerifier('secret').toString('hex').toUpperCase()).toBe(
      '14E65567ABDB5135D0CFD9A70B3032C179A49EE7',
    );
    // mysql.global_priv of MariaDB, ed25519 using password('secret')
    expect(ed25519PublicKey('secret').toString('base64')).toBe(
      'ZIgUREUg5PVgQ6LskhXmO+eZLS0nC8be6HPjYWR4YJY=',
    );
    expect(ed25519PublicKey(Buffer.from('secret'))).toEqual(ed25519PublicKey('secret'));
  });

  it.each(['x', 'pencil and é', 'long'.repeat(60)])(
    'the right password is let in, no other: %s',
    (password) => {
      for (const [respond, verifier, check] of [
        [cachingSha2Response, cachingSha2Verifier(password), checkCachingSha2],
        [nativeResponse, nativeVerifier(password), checkNative],
        [ed25519Response, ed25519PublicKey(password), checkEd25519],
      ] as const) {
        expect(check(respond(password, nonce), nonce, verifier)).toBe(true);
        expect(check(respond(`${password}!`, nonce), nonce, verifier)).toBe(false);
        expect(check(respond(password, makeNonce()), nonce, verifier)).toBe(false);
        expect(check(Buffer.alloc(0), nonce, verifier)).toBe(false);
        expect(check(respond(password, nonce).subarray(1), nonce, verifier)).toBe(false);
        const bent = Buffer.from(respond(password, nonce));
        bent[3] ^= 1;
        expect(check(bent, nonce, verifier)).toBe(false);
        // What is stored does not let in by itself.
        expect(check(verifier, nonce, verifier)).toBe(false);
      }
    },
  );

  it('an empty password has an empty response, which proves nothing', () => {
    expect(cachingSha2Response('', nonce)).toHaveLength(0);
    expect(nativeResponse('', nonce)).toHaveLength(0);
    expect(checkNative(nativeResponse('', nonce), nonce, nativeVerifier(''))).toBe(false);
  });

  it('nonces are strings of 20 bytes, each another', () => {
    const nonces = Array.from({ length: 200 }, makeNonce);
    for (const each of nonces) {
      expect(each).toHaveLength(20);
      expect(each.every((byte) => byte > 0 && byte < 0x80 && byte !== 0x24)).toBe(true);
    }
    expect(new Set(nonces.map(String)).size).toBe(200);
  });
});

describe('passwords in full', () => {
  const pair = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const other = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const pem = pair.publicKey.export({ type: 'spki', format: 'pem' });

  it('by RSA: with our key and our nonce', () => {
    const secret = encryptPassword('pencil and é', nonce, pem);
    expect(decryptPassword(secret, nonce, pair.privateKey)).toBe('pencil and é');
    expect(decryptPassword(secret, Buffer.alloc(20, 1), pair.privateKey)).toBeNull();
    expect(decryptPassword(secret, nonce, other.privateKey)).toBeNull();
    expect(decryptPassword(secret.subarray(1), nonce, pair.privateKey)).toBeNull();
    expect(decryptPassword(Buffer.alloc(0), nonce, pair.privateKey)).toBeNull();
    expect(decryptPassword(encryptPassword('', nonce, pem), nonce, pair.privateKey)).toBe('');
  });

  it('what a server sends as its key must be one', () => {
    const code = (value: string): Error => expect.objectContaining({ code: value }) as Error;
    expect(() => encryptPassword('x', nonce, 'no key')).toThrow(code('WIRE_PUBLIC_KEY_INVALID'));
    const ed = generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'pem' });
    expect(() => encryptPassword('x', nonce, ed)).toThrow(code('WIRE_PUBLIC_KEY_INVALID'));
    expect(() => encryptPassword('x'.repeat(300), nonce, pem)).toThrow(code('WIRE_PASSWORD_TOO_LONG'));
  });

  it('in clear: with its NUL or without', () => {
    expect(clearResponse('é')).toEqual(Buffer.from([0xc3, 0xa9, 0]));
    expect([clearResponse('é'), Buffer.from('é'), Buffer.from('a\0b')].map(decodeClearResponse)).toEqual([
      'é',
      'é',
      'a',
    ]);
    expect(() => decodeClearResponse(Buffer.alloc(5000, 65))).toThrow('too long');
  });
});
