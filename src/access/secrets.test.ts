import { describe, expect, test } from 'vitest';
import { generateApiKey, hashSecret, isApiKey, looksLikeApiKey } from './apikeys.ts';
import { checkNewPassword, makeScramKeys, PasswordHasher, passwordLimits } from './passwords.ts';

describe('SCRAM', () => {
  test('a password is prepared: however it was typed, it is one password', async () => {
    const salt = Buffer.alloc(16, 1);
    expect(await makeScramKeys('I\u00adX\u00a0\u00aa', salt, 1)).toEqual(
      await makeScramKeys('IX a', salt, 1),
    );
  });

  test('the keys of the example of RFC 7677 §3', async () => {
    // user "user", password "pencil", salt and i from the RFC; the server signature follows from ServerKey.
    const { createHash, createHmac } = await import('node:crypto');
    const salt = Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64');
    const keys = await makeScramKeys('pencil', salt, 4096);
    const nonce = 'rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0';
    const message = `n=user,r=rOprNGfwEbeRWgbNEkqO,r=${nonce},s=${salt.toString('base64')},i=4096,c=biws,r=${nonce}`;
    const serverSignature = createHmac('sha256', keys.serverKey).update(message).digest('base64');
    expect(serverSignature).toBe('6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=');
    const proof = Buffer.from('dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=', 'base64');
    const clientSignature = createHmac('sha256', keys.storedKey).update(message).digest();
    const clientKey = Buffer.from(proof.map((byte, i) => byte ^ clientSignature[i]));
    expect(createHash('sha256').update(clientKey).digest()).toEqual(keys.storedKey);
  });
});

describe('Argon2id', () => {
  test('verifies the right password only, and nobody for no hash', async () => {
    const hasher = new PasswordHasher();
    const hash = await hasher.hash('correct horse');
    expect(hash).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
    await expect(hasher.verify(hash, 'correct horse')).resolves.toBe(true);
    await expect(hasher.verify(hash, 'correct horsf')).resolves.toBe(false);
    await expect(hasher.verify(null, 'correct horse')).resolves.toBe(false);
    await expect(hasher.verify(hash, 'x'.repeat(passwordLimits.maxBytes + 1))).resolves.toBe(false);
  });

  test('more than the bound is refused, and the places come back', async () => {
    const hasher = new PasswordHasher();
    const many = passwordLimits.maxConcurrent + passwordLimits.maxWaiting + 3;
    const results = await Promise.allSettled(
      Array.from({ length: many }, (_, i) => hasher.hash(`password ${i}`)),
    );
    const refused = results.filter((r) => r.status === 'rejected');
    expect(refused).toHaveLength(3);
    expect(refused[0].reason).toMatchObject({ kind: 'exhausted', code: 'ACCESS_LOGINS_BUSY' });
    await expect(hasher.hash('afterwards')).resolves.toContain('$argon2id$');
  });

  test.each([
    ['short', 'ACCESS_PASSWORD_SHORT'],
    ['éééé', 'ACCESS_PASSWORD_SHORT'],
    ['x'.repeat(1025), 'ACCESS_PASSWORD_LONG'],
    ['with\0in the middle', 'ACCESS_PASSWORD_NUL'],
  ])('a new password %j is refused', (password, code) => {
    expect(() => checkNewPassword(password)).toThrow(expect.objectContaining({ kind: 'invalid', code }));
  });
});

describe('API keys', () => {
  test('have the form, differ, and are known by prefix and hash', () => {
    const a = generateApiKey();
    const b = generateApiKey();
    expect(a.key).toMatch(/^dbw_[0-9A-Za-z]{38}$/);
    expect(a.key).not.toBe(b.key);
    expect(a.key.startsWith(a.prefix)).toBe(true);
    expect(a.prefix).toHaveLength(8);
    expect(a.hash).toBe(hashSecret(a.key));
    expect(isApiKey(a.key)).toBe(true);
    expect(looksLikeApiKey(a.key)).toBe(true);
  });

  test('one wrong character anywhere breaks the checksum', () => {
    const { key } = generateApiKey();
    for (let at = 4; at < key.length; at++) {
      const other = key[at] === 'a' ? 'b' : 'a';
      expect(isApiKey(key.slice(0, at) + other + key.slice(at + 1)), `character ${at}`).toBe(false);
    }
    expect(isApiKey(key.slice(0, -1))).toBe(false);
    expect(isApiKey(`${key}0`)).toBe(false);
    expect(isApiKey('hunter2')).toBe(false);
  });
});
