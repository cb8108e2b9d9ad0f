/**
 * What MySQL's and MariaDB's authentication methods verify against, beside Argon2id and SCRAM:
 *
 * | method | verifier | of a password | of an API key |
 * |---|---|---|---|
 * | caching_sha2_password, fast path | SHA256(SHA256(secret)) | in memory, after a full authentication | made of its stored hash |
 * | mysql_native_password | SHA1(SHA1(secret)) | sealed in the store, where the method is on | the same |
 * | client_ed25519 | public key of the secret | sealed in the store, where the method is on | the same |
 *
 * The hashes are fast ones, so a verifier of a password is worth guessing against: the first is never stored (MySQL's
 * own server keeps it in memory for the same reason), the others exist only while their method is switched on. They
 * are made when the secret is at hand: at its creation or change, and for secrets from before at their next use in
 * clear (full authentication, REST). They are derived from what the journal knows already, so making them is no
 * control change.
 */
import { createHash } from 'node:crypto';
import type { Kysely, Selectable } from 'kysely';
import type { Uid } from '../base/ids.ts';
import { limits } from '../base/limits.ts';
import type { MysqlVerifier } from '../model/access.ts';
import type { CredentialTable, StoreSchema } from '../store/schema.ts';
import type { Vault } from './vault.ts';

/** Which methods need verifiers that are stored. */
export interface MysqlMethods {
  /** mysql_native_password is switched on. */
  readonly native: boolean;
  /** The 32-byte public key that client_ed25519 derives from a secret (a codec's); `null`: switched off. */
  readonly ed25519PublicKey: ((secret: string) => Uint8Array) | null;
}

export const NO_STORED_METHODS: MysqlMethods = { native: false, ed25519PublicKey: null };

type CredentialRow = Selectable<CredentialTable>;
type StoredVerifiers = Pick<CredentialRow, 'mysql_native' | 'mysql_ed25519'>;

interface Remembered {
  readonly userUid: Uid;
  /** The password's Argon2id hash at that time: another one means another password, on whatever node it was set. */
  readonly hash: string;
  readonly sha2: Buffer;
}

export class MysqlSecrets {
  readonly #db: Kysely<StoreSchema>;
  readonly #vault: Vault;
  readonly #methods: MysqlMethods;
  /** By credential; the one used longest ago comes first. */
  readonly #remembered = new Map<Uid, Remembered>();

  constructor(db: Kysely<StoreSchema>, vault: Vault, methods: MysqlMethods) {
    this.#db = db;
    this.#vault = vault;
    this.#methods = methods;
  }

  /** Passwords whose fast path is known at this moment. */
  get remembered(): number {
    return this.#remembered.size;
  }

  /** The columns of a credential whose secret is new. */
  columns(credentialUid: Uid, secret: string): StoredVerifiers {
    const { native, ed25519PublicKey } = this.#methods;
    const bytes = Buffer.from(secret);
    const seal = (plain: Uint8Array, field: keyof StoredVerifiers): Buffer =>
      this.#vault.seal(plain, credentialUid, field);
    return {
      mysql_native: native ? seal(twice('sha1', bytes), 'mysql_native') : null,
      mysql_ed25519: ed25519PublicKey === null ? null : seal(ed25519PublicKey(secret), 'mysql_ed25519'),
    };
  }

  /** The secret of `credential` was given in clear and is right: makes the stored verifiers that are missing. */
  async learn(
    credential: Pick<CredentialRow, 'uid' | 'hash'> & StoredVerifiers,
    secret: string,
  ): Promise<void> {
    const { native, ed25519PublicKey } = this.#methods;
    const missing =
      (native && credential.mysql_native === null) ||
      (ed25519PublicKey !== null && credential.mysql_ed25519 === null);
    if (!missing) return;
    await this.#db
      .updateTable('credentials')
      .set(this.columns(credential.uid, secret))
      .where('uid', '=', credential.uid)
      // Not over a password that was set in the meantime.
      .where('hash', '=', credential.hash)
      .execute();
  }

  /** A password proved itself to a database's listener in full: from now on the fast path will do. */
  remember(credential: CredentialRow, password: string): void {
    this.#remembered.delete(credential.uid);
    this.#remembered.set(credential.uid, {
      userUid: credential.user_uid,
      hash: credential.hash,
      sha2: twice('sha256', Buffer.from(password)),
    });
    if (this.#remembered.size <= limits.maxRememberedPasswords) return;
    const [oldest] = this.#remembered.keys();
    this.#remembered.delete(oldest);
  }

  /** Forgets what was remembered of a user who was changed. */
  forgetUser(userUid: Uid): void {
    for (const [uid, remembered] of this.#remembered)
      if (remembered.userUid === userUid) this.#remembered.delete(uid);
  }

  /** `credential` as the store has it now: one that can be used. */
  verifier(credential: CredentialRow): MysqlVerifier {
    const { uid, kind } = credential;
    const open = (field: keyof StoredVerifiers, isOn: boolean): Buffer | null => {
      const sealed = credential[field];
      return isOn && sealed !== null ? this.#vault.open(sealed, uid, field) : null;
    };
    return {
      credentialUid: uid,
      kind,
      // A key is kept as its SHA-256, see `apikeys.ts`: hashed once more it is the verifier.
      sha2:
        kind === 'api_key' ? once('sha256', Buffer.from(credential.hash, 'hex')) : this.#recall(credential),
      native: open('mysql_native', this.#methods.native),
      ed25519: open('mysql_ed25519', this.#methods.ed25519PublicKey !== null),
    };
  }

  /** Removes the stored verifiers of methods that are switched off. @returns from how many credentials. */
  async eraseSwitchedOff(): Promise<number> {
    const { native, ed25519PublicKey } = this.#methods;
    let erased = 0;
    const erase = async (field: keyof StoredVerifiers): Promise<void> => {
      const result = await this.#db
        .updateTable('credentials')
        .set({ [field]: null })
        .where(field, 'is not', null)
        .executeTakeFirst();
      erased += Number(result.numUpdatedRows);
    };
    if (!native) await erase('mysql_native');
    if (ed25519PublicKey === null) await erase('mysql_ed25519');
    return erased;
  }

  #recall(credential: CredentialRow): Buffer | null {
    const remembered = this.#remembered.get(credential.uid);
    if (remembered === undefined) return null;
    this.#remembered.delete(credential.uid);
    if (remembered.hash !== credential.hash) return null;
    this.#remembered.set(credential.uid, remembered);
    return remembered.sha2;
  }
}

function once(algorithm: 'sha1' | 'sha256', bytes: Uint8Array): Buffer {
  return createHash(algorithm).update(bytes).digest();
}

function twice(algorithm: 'sha1' | 'sha256', bytes: Uint8Array): Buffer {
  return once(algorithm, once(algorithm, bytes));
}
