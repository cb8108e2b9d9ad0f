/**
 * Passwords: Argon2id (RFC 9106) for the REST login, SCRAM-SHA-256 verifiers (RFC 5802 §3, RFC 7677) for databases'
 * own protocols. Both run on libuv's threads, never on the loop of the caller, and only so many at once: each
 * Argon2 holds 19 MiB.
 */
import { createHash, createHmac, pbkdf2, randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import { hash as argon2Hash, verify as argon2Verify } from '@node-rs/argon2';
import { AppError } from '../base/errors.ts';
import { saslprep } from '../base/saslprep.ts';

const pbkdf2Async = promisify(pbkdf2);

/** RFC 7677's minimum and PostgreSQL's default. API keys have full entropy and do not need more. */
export const DEFAULT_SCRAM_ITERATIONS = 4096;
export const SCRAM_SALT_BYTES = 16;

export const passwordLimits = {
  minCharacters: 8,
  /** Beyond this, hashing would be a way to spend our time. */
  maxBytes: 1024,
  maxConcurrent: 2,
  maxWaiting: 64,
} as const;

/** OWASP's first recommendation: 19 MiB, 2 passes, 1 lane. 2 is `Algorithm.Argon2id`, a const enum we cannot import. */
const ARGON2ID = { algorithm: 2, memoryCost: 19_456, timeCost: 2, parallelism: 1, outputLen: 32 } as const;

/** Rejects with `invalid` a password that is too short, too long, or cannot be sent in every protocol (NUL). */
export function checkNewPassword(
  password: string,
  minCharacters: number = passwordLimits.minCharacters,
): void {
  if (Array.from(password).length < minCharacters)
    throw new AppError(
      'invalid',
      'ACCESS_PASSWORD_SHORT',
      `a password needs at least ${minCharacters} characters`,
    );
  if (Buffer.byteLength(password) > passwordLimits.maxBytes)
    throw new AppError(
      'invalid',
      'ACCESS_PASSWORD_LONG',
      `a password may have at most ${passwordLimits.maxBytes} bytes`,
    );
  if (password.includes('\0'))
    throw new AppError(
      'invalid',
      'ACCESS_PASSWORD_NUL',
      'a password cannot contain the character NUL: no database client could send it',
    );
}

/** Argon2id with a bound on how many run and wait. */
export class PasswordHasher {
  #running = 0;
  readonly #waiting: (() => void)[] = [];
  /** Compared against when there is no such user, so that the answer takes as long. */
  #decoy: Promise<string> | null = null;

  hash(password: string): Promise<string> {
    return this.#limited(() => argon2Hash(Buffer.from(password), ARGON2ID));
  }

  /** @param hash `null`: nobody to compare with; takes the same time and is `false`. */
  async verify(hash: string | null, password: string): Promise<boolean> {
    if (Buffer.byteLength(password) > passwordLimits.maxBytes) return false;
    this.#decoy ??= this.hash(randomBytes(16).toString('hex'));
    const against = hash ?? (await this.#decoy);
    const matches = await this.#limited(() => argon2Verify(against, Buffer.from(password)));
    return matches && hash !== null;
  }

  async #limited<T>(task: () => Promise<T>): Promise<T> {
    if (this.#running >= passwordLimits.maxConcurrent) {
      if (this.#waiting.length >= passwordLimits.maxWaiting)
        throw new AppError(
          'exhausted',
          'ACCESS_LOGINS_BUSY',
          'too many logins are being checked at this moment; try again in a few seconds',
          { details: { retry_after_ms: 2_000 } },
        );
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    } else {
      this.#running++;
    }
    try {
      return await task();
    } finally {
      // The place is handed on, not given back, so that nobody slips in between.
      const next = this.#waiting.shift();
      if (next === undefined) this.#running--;
      else next();
    }
  }
}

export interface ScramKeys {
  readonly storedKey: Buffer;
  readonly serverKey: Buffer;
}

/** StoredKey and ServerKey of a secret, RFC 5802 §3: what a SCRAM server keeps instead of the password. */
export async function makeScramKeys(
  secret: string,
  salt: Uint8Array,
  iterations: number,
): Promise<ScramKeys> {
  const salted = await pbkdf2Async(Buffer.from(saslprep(secret)), salt, iterations, 32, 'sha256');
  const clientKey = createHmac('sha256', salted).update('Client Key').digest();
  return {
    storedKey: createHash('sha256').update(clientKey).digest(),
    serverKey: createHmac('sha256', salted).update('Server Key').digest(),
  };
}

export function newScramSalt(): Buffer {
  return randomBytes(SCRAM_SALT_BYTES);
}
