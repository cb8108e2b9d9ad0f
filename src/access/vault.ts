/**
 * Secrets at rest. One master key of 32 bytes; everything else is derived from it by HKDF-SHA256 (RFC 5869), one
 * subkey per purpose, so that no key is ever used for two things.
 *
 * The master key comes, in this order, from `DBW_KEY` (64 hex digits or base64), from the file that `DBW_KEYFILE`
 * names, or from `<data folder>/key`, which is generated once with mode 0600. A key file that others can read is
 * refused, as ssh and PostgreSQL refuse theirs.
 *
 * A sealed value is AES-256-GCM (NIST SP 800-38D) with associated data `<uid>/<field>`: moved to another row or
 * another column it does not open.
 *
 * ```text
 * offset  bytes
 *      0      1  format, 1
 *      1      8  key id: first bytes of HKDF(master, "dbwitness/v1/key-id")
 *      9     12  nonce, random
 *     21      n  ciphertext
 *   21+n     16  tag
 * ```
 *
 * Rotation: start with the new key as current and the old one among the previous; what was sealed by the old one
 * still opens, {@link Vault.isCurrent} finds it, and it is sealed again.
 */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import { link, mkdir, open, readFile, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError, messageOf, systemErrorCode } from '../base/errors.ts';

const KEY_BYTES = 32;
const FORMAT = 1;
const KEY_ID_BYTES = 8;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const HEADER_BYTES = 1 + KEY_ID_BYTES + NONCE_BYTES;

export interface VaultSource {
  /** `DBW_KEY`: 64 hex digits, or base64 or base64url of 32 bytes. */
  readonly key?: string | undefined;
  /** `DBW_KEYFILE`: a file with a key in the same forms, or with 32 raw bytes. */
  readonly keyFile?: string | undefined;
  /** Where a key is generated, as the file `key`, when neither is given. */
  readonly dataDir: string;
  /** `DBW_KEY_PREVIOUS`: keys that still open what they sealed. */
  readonly previousKeys?: readonly string[] | undefined;
}

/** Opens the vault. Rejects with `invalid` when a key is malformed or its file is unsafe; the message never shows a key. */
export async function openVault(source: VaultSource): Promise<Vault> {
  const previous = (source.previousKeys ?? []).map((text) => parseKey(text, 'DBW_KEY_PREVIOUS'));
  return new Vault(await masterKey(source), previous);
}

async function masterKey(source: VaultSource): Promise<Uint8Array> {
  if (source.key && source.keyFile)
    throw invalid('ACCESS_KEY_AMBIGUOUS', 'both DBW_KEY and DBW_KEYFILE are set; set only one of them');
  if (source.key) return parseKey(source.key, 'DBW_KEY');
  if (source.keyFile) return readKeyFile(source.keyFile);
  const path = join(source.dataDir, 'key');
  await generateKeyFile(source.dataDir, path);
  return readKeyFile(path);
}

function invalid(code: string, message: string, cause?: unknown): AppError {
  return new AppError('invalid', code, message, { cause });
}

/** The 32 bytes that a text stands for. `where` names the setting in the error. */
export function parseKey(text: string, where: string): Uint8Array {
  const trimmed = text.trim();
  if (/^[0-9a-fA-F]{64}$/.test(trimmed)) return Buffer.from(trimmed, 'hex');
  if (/^[0-9A-Za-z+/_-]{43}=?$/.test(trimmed)) {
    const bytes = Buffer.from(trimmed, 'base64');
    if (bytes.length === KEY_BYTES) return bytes;
  }
  throw invalid(
    'ACCESS_KEY_MALFORMED',
    `${where} is not a key: it must be 32 bytes as 64 hex digits or as base64; make one with "openssl rand -base64 32"`,
  );
}

async function readKeyFile(path: string): Promise<Uint8Array> {
  let info: Awaited<ReturnType<typeof stat>>;
  let content: Buffer;
  try {
    info = await stat(path);
    if (!info.isFile() || info.size > 4096) throw new Error('not a key file');
    content = await readFile(path);
  } catch (cause) {
    throw invalid(
      'ACCESS_KEY_FILE_UNREADABLE',
      `the key file ${path} cannot be read: ${messageOf(cause)}`,
      cause,
    );
  }
  refuseReadableByOthers(path, info);
  if (content.length === KEY_BYTES) return content;
  return parseKey(content.toString('latin1'), `the key file ${path}`);
}

// PostgreSQL's rule for ssl_key_file: nothing for others; reading by the group only where root owns the file.
function refuseReadableByOthers(path: string, info: { mode: number; uid: number }): void {
  if (process.platform === 'win32') return;
  const allowed = info.uid === 0 ? 0o740 : 0o700;
  if ((info.mode & 0o777 & ~allowed) === 0) return;
  const mode = (info.mode & 0o777).toString(8).padStart(4, '0');
  throw invalid(
    'ACCESS_KEY_FILE_UNSAFE',
    `the key file ${path} has mode ${mode}: others could read it; run "chmod 600 ${path}" and, if they may have read it, rotate the key`,
  );
}

// Written beside and then linked, so that a crash leaves a whole key or none, and two starts agree on one.
async function generateKeyFile(dataDir: string, path: string): Promise<void> {
  const temporary = `${path}.${process.pid}.${randomBytes(4).toString('hex')}`;
  try {
    await stat(path);
    return;
  } catch (cause) {
    if (systemErrorCode(cause) !== 'ENOENT')
      throw invalid('ACCESS_KEY_FILE_UNREADABLE', `the key file ${path} cannot be read`, cause);
  }
  try {
    await mkdir(dataDir, { recursive: true, mode: 0o700 });
    await using file = await open(temporary, 'wx', 0o600);
    await file.writeFile(`${randomBytes(KEY_BYTES).toString('base64')}\n`);
    await file.sync();
    await link(temporary, path);
  } catch (cause) {
    if (systemErrorCode(cause) === 'EEXIST') return;
    throw new AppError(
      'unavailable',
      'ACCESS_KEY_FILE_UNWRITABLE',
      `no key could be generated at ${path}: ${messageOf(cause)}`,
      { cause },
    );
  } finally {
    await unlink(temporary).catch((cause: unknown) => {
      if (systemErrorCode(cause) !== 'ENOENT') throw cause;
    });
  }
  await using folder = await open(dataDir, 'r');
  await folder.sync();
}

function derive(master: Uint8Array, purpose: string, bytes: number): Buffer {
  return Buffer.from(hkdfSync('sha256', master, new Uint8Array(0), `dbwitness/v1/${purpose}`, bytes));
}

interface SealingKey {
  readonly id: string;
  readonly key: Buffer;
}

function sealingKey(master: Uint8Array): SealingKey {
  return { id: derive(master, 'key-id', KEY_ID_BYTES).toString('hex'), key: derive(master, 'seal', 32) };
}

/** Holds the keys; hands out derived ones only. Safe to share between services of one process. */
export class Vault {
  /** Names the current key, 16 hex digits; says nothing about it. */
  readonly keyId: string;
  readonly #master: Uint8Array;
  readonly #current: SealingKey;
  readonly #byId: ReadonlyMap<string, SealingKey>;

  /** @param master 32 bytes, kept. @param previous older master keys, which only open. */
  constructor(master: Uint8Array, previous: readonly Uint8Array[] = []) {
    this.#master = master;
    this.#current = sealingKey(master);
    this.keyId = this.#current.id;
    this.#byId = new Map([...previous.map(sealingKey), this.#current].map((key) => [key.id, key]));
  }

  /** A 32-byte key for one purpose, stable for a master key: `mock-salt`, `journal-segments`, … */
  subkey(purpose: string): Buffer {
    return derive(this.#master, `subkey/${purpose}`, 32);
  }

  /** Whether this vault holds the key of that id, as current or as previous. */
  holds(keyId: string): boolean {
    return this.#byId.has(keyId);
  }

  /** Seals a value for one field of one object. */
  seal(plain: Uint8Array | string, uid: string, field: string): Buffer {
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv('aes-256-gcm', this.#current.key, nonce);
    cipher.setAAD(Buffer.from(`${uid}/${field}`));
    const body = cipher.update(typeof plain === 'string' ? Buffer.from(plain) : plain);
    return Buffer.concat([
      Buffer.from([FORMAT]),
      Buffer.from(this.#current.id, 'hex'),
      nonce,
      body,
      cipher.final(),
      cipher.getAuthTag(),
    ]);
  }

  /** Opens what {@link seal} made for the same uid and field. Throws `corrupt` for anything else. */
  open(sealed: Uint8Array, uid: string, field: string): Buffer {
    const bytes = Buffer.from(sealed.buffer, sealed.byteOffset, sealed.length);
    if (bytes.length < HEADER_BYTES + TAG_BYTES || bytes[0] !== FORMAT)
      throw new AppError('corrupt', 'ACCESS_SEAL_MALFORMED', `the sealed ${field} of ${uid} is damaged`);
    const keyId = bytes.toString('hex', 1, 1 + KEY_ID_BYTES);
    const key = this.#byId.get(keyId);
    if (key === undefined)
      throw new AppError(
        'unavailable',
        'ACCESS_KEY_MISSING',
        `the ${field} of ${uid} was sealed by key ${keyId}, which is not configured; give it as DBW_KEY_PREVIOUS`,
      );
    try {
      const nonce = bytes.subarray(1 + KEY_ID_BYTES, HEADER_BYTES);
      const decipher = createDecipheriv('aes-256-gcm', key.key, nonce, { authTagLength: TAG_BYTES });
      decipher.setAAD(Buffer.from(`${uid}/${field}`));
      decipher.setAuthTag(bytes.subarray(bytes.length - TAG_BYTES));
      const body = decipher.update(bytes.subarray(HEADER_BYTES, bytes.length - TAG_BYTES));
      return Buffer.concat([body, decipher.final()]);
    } catch (cause) {
      throw new AppError(
        'corrupt',
        'ACCESS_SEAL_BROKEN',
        `the sealed ${field} of ${uid} was altered or belongs elsewhere; set it again`,
        { cause },
      );
    }
  }

  /** Bytes of the plain text, without opening it: whether there is any. */
  sealedBytes(sealed: Uint8Array): number {
    return Math.max(0, sealed.length - HEADER_BYTES - TAG_BYTES);
  }

  /** Whether a sealed value was made by the current key; if not, seal it again. */
  isCurrent(sealed: Uint8Array): boolean {
    return Buffer.from(sealed).toString('hex', 1, 1 + KEY_ID_BYTES) === this.keyId;
  }
}
