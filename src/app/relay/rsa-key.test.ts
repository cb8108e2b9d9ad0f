import { createPublicKey, constants, privateDecrypt, publicEncrypt } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadRsaKey } from './rsa-key.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'dbw-rsa-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('the RSA key of the MySQL listener', () => {
  it('is made once, kept for its owner alone, and its public half lies beside it', async () => {
    const home = join(folder, 'tls');
    const first = await loadRsaKey(home);
    const again = await loadRsaKey(home);
    expect(again.publicPem).toBe(first.publicPem);
    expect(readFileSync(join(home, 'mysql-rsa.pub'), 'utf8')).toBe(first.publicPem);
    expect(statSync(join(home, 'mysql-rsa.pem')).mode & 0o777).toBe(0o600);
    const padding = constants.RSA_PKCS1_OAEP_PADDING;
    const sent = publicEncrypt({ key: createPublicKey(first.publicPem), padding }, Buffer.from('secret\0'));
    expect(privateDecrypt({ key: again.privateKey, padding }, sent).toString()).toBe('secret\0');
  });

  it('is refused by name when its file is damaged', async () => {
    writeFileSync(join(folder, 'mysql-rsa.pem'), 'nonsense');
    await expect(loadRsaKey(folder)).rejects.toMatchObject({ code: 'APP_RSA_KEY_INVALID', kind: 'invalid' });
  });
});
