/**
 * The RSA key pair that clients of the MySQL listener encrypt their password for when they have no TLS
 * (caching_sha2_password, sha256_password). Made once and kept beside the TLS certificate:
 *
 *   <folder>/mysql-rsa.pem   the private key, PKCS #8, mode 0600
 *   <folder>/mysql-rsa.pub   the public key, SPKI, for clients (`--server-public-key-path`)
 */
import { createPrivateKey, createPublicKey, generateKeyPair, type KeyObject } from 'node:crypto';
import { chmod, mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { AppError, messageOf, systemErrorCode } from '../../base/errors.ts';

/** As MySQL's own server makes them; a password with its nonce padding must fit. */
const MODULUS_BITS = 2048;

export interface RsaKey {
  readonly privateKey: KeyObject;
  /** SPKI PEM, as it is sent to clients that ask for it. */
  readonly publicPem: string;
}

/** Loads the pair, making it first if there is none. Rejects with an `invalid` AppError that names a damaged file. */
export async function loadRsaKey(folder: string): Promise<RsaKey> {
  const path = join(folder, 'mysql-rsa.pem');
  const pem = (await readIfThere(path)) ?? (await make(path));
  let privateKey: KeyObject;
  try {
    privateKey = createPrivateKey(pem);
    if (privateKey.asymmetricKeyType !== 'rsa') throw new Error('it is not an RSA key');
  } catch (cause) {
    throw new AppError(
      'invalid',
      'APP_RSA_KEY_INVALID',
      `${path} is not a PEM key without passphrase: ${messageOf(cause)}; remove it, and a new one is made`,
      { cause },
    );
  }
  const publicPem = createPublicKey(privateKey).export({ type: 'spki', format: 'pem' });
  const publicPath = join(folder, 'mysql-rsa.pub');
  if ((await readIfThere(publicPath)) !== publicPem) await writeWhole(publicPath, publicPem, 0o644);
  return { privateKey, publicPem };
}

async function make(path: string): Promise<string> {
  const { privateKey } = await promisify(generateKeyPair)('rsa', { modulusLength: MODULUS_BITS });
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' });
  await mkdir(join(path, '..'), { recursive: true, mode: 0o700 });
  await writeWhole(path, pem, 0o600);
  return pem;
}

async function readIfThere(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    if (systemErrorCode(cause) === 'ENOENT') return null;
    throw new AppError(
      'invalid',
      'APP_RSA_KEY_UNREADABLE',
      `${path} cannot be read (${systemErrorCode(cause) ?? 'unknown'}); check its permissions`,
      { cause },
    );
  }
}

/** In one step, so that a crash leaves no half of it. */
async function writeWhole(path: string, text: string, mode: number): Promise<void> {
  const temporary = `${path}.new`;
  await rm(temporary, { force: true });
  await using file = await open(temporary, 'wx', mode);
  await file.writeFile(text);
  await file.sync();
  await chmod(temporary, mode);
  await rename(temporary, path);
}
