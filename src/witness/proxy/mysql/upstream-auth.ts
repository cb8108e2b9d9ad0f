/** How we prove the stored credentials to a server: one answer per request of its. */
import { AppError } from '../../../base/errors.ts';
import type { UpstreamTarget } from '../../../model/access.ts';
import {
  FAST_AUTH_SUCCESS,
  nonceOf,
  PERFORM_FULL_AUTHENTICATION,
  REQUEST_PUBLIC_KEY_SHA2,
  REQUEST_PUBLIC_KEY_SHA256,
} from '../../../wire/mysql/authentication.ts';
import { ED25519_NONCE_BYTES, ed25519Response } from '../../../wire/mysql/ed25519.ts';
import { SCRAMBLE_BYTES } from '../../../wire/mysql/handshake.ts';
import {
  CACHING_SHA2_PASSWORD,
  cachingSha2Response,
  clearResponse,
  CLIENT_ED25519,
  encryptPassword,
  MYSQL_CLEAR_PASSWORD,
  MYSQL_NATIVE_PASSWORD,
  nativeResponse,
  SHA256_PASSWORD,
} from '../../../wire/mysql/scramble.ts';

const NOTHING = Buffer.alloc(0);

export class UpstreamAuth {
  readonly #target: UpstreamTarget;
  /** Inside TLS, or on a Unix socket: the password may go in clear. */
  readonly #secure: boolean;
  readonly #pinnedKey: string | null;
  #plugin = '';
  #nonce: Uint8Array = NOTHING;
  #switches = 0;

  constructor(target: UpstreamTarget, secure: boolean, pinnedKey: string | null) {
    this.#target = target;
    this.#secure = secure;
    this.#pinnedKey = pinnedKey;
  }

  /** What goes into the response to the greeting. A method that we do not have is left to a switch. */
  first(plugin: string, nonce: Uint8Array): { plugin: string; data: Buffer } {
    const known = [CACHING_SHA2_PASSWORD, SHA256_PASSWORD, MYSQL_NATIVE_PASSWORD].includes(plugin);
    this.#plugin = known ? plugin : MYSQL_NATIVE_PASSWORD;
    this.#nonce = nonce;
    return { plugin: this.#plugin, data: this.#answer() };
  }

  switched(plugin: string, data: Uint8Array): Buffer {
    // A server that goes round in circles collects answers.
    if (++this.#switches > 2) throw unsupported(plugin);
    this.#plugin = plugin;
    this.#nonce = Buffer.from(
      nonceOf(data, plugin === CLIENT_ED25519 ? ED25519_NONCE_BYTES : SCRAMBLE_BYTES),
    );
    return this.#answer();
  }

  #answer(): Buffer {
    const { password } = this.#target;
    switch (this.#plugin) {
      case CACHING_SHA2_PASSWORD:
        return cachingSha2Response(password, this.#nonce);
      case MYSQL_NATIVE_PASSWORD:
        return nativeResponse(password, this.#nonce);
      case CLIENT_ED25519:
        return ed25519Response(password, this.#nonce);
      case SHA256_PASSWORD:
        if (password === '') return Buffer.alloc(1);
        if (this.#secure) return clearResponse(password);
        if (this.#pinnedKey !== null) return encryptPassword(password, this.#nonce, this.#pinnedKey);
        return this.#askForKey(REQUEST_PUBLIC_KEY_SHA256);
      case MYSQL_CLEAR_PASSWORD:
        if (!this.#secure) throw inClear();
        return clearResponse(password);
      default:
        throw unsupported(this.#plugin);
    }
  }

  /** AuthMoreData; `null`: nothing to say to it. */
  more(data: Buffer): Buffer | null {
    const { password } = this.#target;
    if (this.#plugin !== CACHING_SHA2_PASSWORD && this.#plugin !== SHA256_PASSWORD)
      throw unsupported(this.#plugin);
    if (data.length > 1) return encryptPassword(password, this.#nonce, this.#fetchedKey(data));
    if (data[0] === FAST_AUTH_SUCCESS) return null;
    if (data[0] !== PERFORM_FULL_AUTHENTICATION) throw unsupported(this.#plugin);
    if (this.#secure) return clearResponse(password);
    if (this.#pinnedKey !== null) return encryptPassword(password, this.#nonce, this.#pinnedKey);
    return this.#askForKey(REQUEST_PUBLIC_KEY_SHA2);
  }

  #keyAsked = false;

  #askForKey(request: number): Buffer {
    const { sslMode } = this.#target;
    if (sslMode !== 'disable' && sslMode !== 'prefer') throw inClear();
    this.#keyAsked = true;
    return Buffer.from([request]);
  }

  /** Whoever stands in between could send a key of their own: only where the administrator asks for no protection. */
  #fetchedKey(data: Buffer): Buffer {
    if (!this.#keyAsked) throw unsupported(this.#plugin);
    return data;
  }
}

function inClear(): AppError {
  return new AppError(
    'unavailable',
    'PROXY_UPSTREAM_IN_CLEAR',
    'the database server asks for the password outside of TLS; set ssl_mode of this database to require, or pin the server’s RSA key in ssl_ca',
  );
}

function unsupported(method: string): AppError {
  return new AppError(
    'unavailable',
    'PROXY_UPSTREAM_METHOD',
    `the database server asks for the authentication method ${method}, which dbwitness does not have; use caching_sha2_password, sha256_password, mysql_native_password or ed25519 for its user`,
  );
}
