import { chmod, mkdtemp, readFile, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { openVault, parseKey, Vault } from './vault.ts';

let dataDir: string;
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'dbw-vault-'));
});

const hexKey = '000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f';

describe('where the key comes from', () => {
  test('hex, base64 and base64url of the same bytes are the same key', async () => {
    const bytes = Buffer.from(hexKey, 'hex');
    const ids = await Promise.all(
      [hexKey, bytes.toString('base64'), bytes.toString('base64url'), ` ${hexKey}\n`].map(
        async (key) => (await openVault({ key, dataDir })).keyId,
      ),
    );
    expect(new Set(ids).size).toBe(1);
  });

  test.each(['', 'abc', hexKey.slice(1), `${hexKey}00`, '!'.repeat(43)])(
    'a malformed key %j is refused without being shown',
    (text) => {
      const attempt = (): unknown => parseKey(text, 'DBW_KEY');
      expect(attempt).toThrow(expect.objectContaining({ code: 'ACCESS_KEY_MALFORMED' }));
      if (text.length > 3)
        expect(attempt).not.toThrow(
          expect.objectContaining({ message: expect.stringContaining(text) as string }),
        );
    },
  );

  test('a key is generated once, with mode 0600, and found again', async () => {
    const [first, second] = await Promise.all([openVault({ dataDir }), openVault({ dataDir })]);
    expect(first.keyId).toBe(second.keyId);
    expect((await stat(join(dataDir, 'key'))).mode & 0o777).toBe(0o600);
    expect((await openVault({ dataDir })).keyId).toBe(first.keyId);
  });

  test('a key file that others can read is refused with the cure', async () => {
    const keyFile = join(dataDir, 'k');
    await writeFile(keyFile, hexKey, { mode: 0o600 });
    await expect(openVault({ keyFile, dataDir })).resolves.toBeInstanceOf(Vault);
    for (const mode of [0o604, 0o620, 0o666]) {
      await chmod(keyFile, mode);
      await expect(openVault({ keyFile, dataDir })).rejects.toMatchObject({
        code: 'ACCESS_KEY_FILE_UNSAFE',
        message: expect.stringContaining(`chmod 600 ${keyFile}`) as string,
      });
    }
  });

  test('32 raw bytes are a key file too; a missing one and two sources are errors', async () => {
    const keyFile = join(dataDir, 'raw');
    await writeFile(keyFile, Buffer.from(hexKey, 'hex'), { mode: 0o600 });
    expect((await openVault({ keyFile, dataDir })).keyId).toBe(
      (await openVault({ key: hexKey, dataDir })).keyId,
    );
    await expect(openVault({ keyFile: `${keyFile}.none`, dataDir })).rejects.toMatchObject({
      code: 'ACCESS_KEY_FILE_UNREADABLE',
    });
    await expect(openVault({ key: hexKey, keyFile, dataDir })).rejects.toMatchObject({
      code: 'ACCESS_KEY_AMBIGUOUS',
    });
  });

  test('a damaged generated key is not silently replaced', async () => {
    await openVault({ dataDir });
    await writeFile(join(dataDir, 'key'), 'short');
    await expect(openVault({ dataDir })).rejects.toMatchObject({ code: 'ACCESS_KEY_MALFORMED' });
    expect(await readFile(join(dataDir, 'key'), 'utf8')).toBe('short');
  });
});

describe('sealing', () => {
  const vault = new Vault(Buffer.from(hexKey, 'hex'));

  test('opens for the same uid and field only, and does not contain the plain text', () => {
    const sealed = vault.seal('upstream secret', 'uid-1', 'password');
    expect(sealed.includes('upstream secret')).toBe(false);
    expect(vault.open(sealed, 'uid-1', 'password').toString()).toBe('upstream secret');
    for (const [uid, field] of [
      ['uid-2', 'password'],
      ['uid-1', 'ssl_key'],
    ])
      expect(() => vault.open(sealed, uid, field)).toThrow(
        expect.objectContaining({ code: 'ACCESS_SEAL_BROKEN' }),
      );
    expect(vault.seal('x', 'u', 'f').equals(vault.seal('x', 'u', 'f'))).toBe(false);
    expect(vault.open(vault.seal('', 'u', 'f'), 'u', 'f')).toHaveLength(0);
  });

  test('every changed byte and every truncation is found', () => {
    const sealed = vault.seal('secret', 'u', 'f');
    for (let at = 0; at < sealed.length; at++) {
      const changed = Buffer.from(sealed);
      changed[at] ^= 1;
      expect(() => vault.open(changed, 'u', 'f'), `byte ${at}`).toThrow();
      expect(() => vault.open(sealed.subarray(0, at), 'u', 'f'), `cut at ${at}`).toThrow();
    }
  });

  test('rotation: the old key still opens, and what it sealed is told apart', () => {
    const old = new Vault(Buffer.alloc(32, 1));
    const sealed = old.seal('secret', 'u', 'f');
    const rotated = new Vault(Buffer.alloc(32, 2), [Buffer.alloc(32, 1)]);
    expect(rotated.open(sealed, 'u', 'f').toString()).toBe('secret');
    expect(rotated.isCurrent(sealed)).toBe(false);
    expect(rotated.isCurrent(rotated.seal('secret', 'u', 'f'))).toBe(true);
    expect(rotated.holds(old.keyId)).toBe(true);
    expect(() => new Vault(Buffer.alloc(32, 2)).open(sealed, 'u', 'f')).toThrow(
      expect.objectContaining({ code: 'ACCESS_KEY_MISSING' }),
    );
  });

  test('subkeys differ by purpose and are stable', () => {
    expect(vault.subkey('a').equals(vault.subkey('a'))).toBe(true);
    expect(vault.subkey('a').equals(vault.subkey('b'))).toBe(false);
    expect(vault.subkey('a')).toHaveLength(32);
  });
});
