/**
 * How a client proves who it is, once user and database are known.
 *
 *   caching_sha2_password   fast: a hash with the nonce, against a verifier that is in memory
 *                           full: the password, in clear inside TLS, else encrypted with our RSA key
 *   mysql_clear_password    the password, inside TLS only
 *   client_ed25519          a signature of the nonce (MariaDB)            where switched on
 *   mysql_native_password   a SHA-1 hash with the nonce, for old clients  where switched on
 *
 * Unknown users go the same way as known ones, and fail at its end.
 */
import type { KeyObject } from 'node:crypto';
import type { Authority, LoginChallenge, MysqlVerifier, ScramVerifierMatch } from '../../../model/access.ts';
import {
  encodeAuthMoreData,
  encodeAuthSwitchRequest,
  FAST_AUTH_SUCCESS,
  PERFORM_FULL_AUTHENTICATION,
  REQUEST_PUBLIC_KEY_SHA2,
} from '../../../wire/mysql/authentication.ts';
import { checkEd25519, ED25519_NONCE_BYTES } from '../../../wire/mysql/ed25519.ts';
import {
  CACHING_SHA2_PASSWORD,
  checkCachingSha2,
  checkNative,
  CLIENT_ED25519,
  decodeClearResponse,
  decryptPassword,
  makeNonce,
  MYSQL_CLEAR_PASSWORD,
  MYSQL_NATIVE_PASSWORD,
} from '../../../wire/mysql/scramble.ts';
import { randomBytes } from 'node:crypto';
import type { PacketWire } from './packet-wire.ts';

export interface RsaKey {
  readonly privateKey: KeyObject;
  readonly publicPem: string;
}

export interface Proof {
  readonly credentialUid: string;
  readonly kind: 'password' | 'api_key';
  /** Known from the secret itself; else that of the challenge. */
  readonly userUid: string | null;
}

/** The nonce of 20 bytes that a client was given last on its connection. */
export interface GivenNonce {
  bytes: Buffer;
}

export interface ClientAuthParts {
  readonly wire: PacketWire;
  readonly authority: Authority;
  readonly challenge: LoginChallenge;
  readonly user: string;
  readonly clientAddress: string;
  readonly methods: readonly string[];
  readonly rsa: RsaKey;
  /** Kept up by {@link authenticate}. */
  readonly given: GivenNonce;
}

/** What the client sent of its own accord. */
export interface FirstResponse {
  /** The method it used; '' when it cannot say. */
  readonly plugin: string;
  readonly data: Uint8Array;
  /** What we announced with the nonce that it had; '' when that nonce is not certain. */
  readonly announced: string;
  /**
   * COM_CHANGE_USER: a switch repeats the nonce that was given before, as servers do. The native method of the C clients
   * takes its proof from that one whatever a switch says, other clients and methods from the switch's.
   */
  readonly repeats: boolean;
}

/** The method to authenticate with; `null`: there is none that both sides have. */
export function chooseMethod(methods: readonly string[], plugin: string, insideTls: boolean): string | null {
  const usable = methods.filter((one) => insideTls || one !== MYSQL_CLEAR_PASSWORD);
  if (plugin === '') return usable.includes(MYSQL_NATIVE_PASSWORD) ? MYSQL_NATIVE_PASSWORD : null;
  if (usable.includes(plugin)) return plugin;
  const preferred = [CACHING_SHA2_PASSWORD, CLIENT_ED25519, MYSQL_NATIVE_PASSWORD, MYSQL_CLEAR_PASSWORD];
  return preferred.find((one) => usable.includes(one)) ?? null;
}

/** Runs one method to its end. `null`: not proved. */
export async function authenticate(
  parts: ClientAuthParts,
  method: string,
  first: FirstResponse,
): Promise<Proof | null> {
  let { data } = first;
  let nonce = parts.given.bytes;
  const native = method === MYSQL_NATIVE_PASSWORD && first.plugin === '';
  if (first.announced === '' || (!native && (first.plugin !== method || first.announced !== method))) {
    if (method === CLIENT_ED25519) nonce = randomBytes(ED25519_NONCE_BYTES);
    else if (method !== MYSQL_CLEAR_PASSWORD && !first.repeats) nonce = parts.given.bytes = makeNonce();
    const sent = switchData(method, nonce);
    parts.wire.send((out, sequence) =>
      encodeAuthSwitchRequest(out, { plugin: method, data: sent }, sequence),
    );
    data = await parts.wire.read();
  }
  switch (method) {
    case CACHING_SHA2_PASSWORD:
      return cachingSha2(parts, data, nonce);
    case MYSQL_CLEAR_PASSWORD:
      return checkSecret(parts, decodeClearResponse(data));
    case CLIENT_ED25519:
      return byVerifier(parts, (one) => one.ed25519 !== null && checkEd25519(data, nonce, one.ed25519));
    case MYSQL_NATIVE_PASSWORD:
      return byVerifier(parts, (one) => one.native !== null && checkNative(data, nonce, one.native));
    default:
      return null;
  }
}

/** A nonce as it is sent: with its NUL, but for ed25519. */
function switchData(method: string, nonce: Buffer): Buffer {
  if (method === CLIENT_ED25519) return nonce;
  const nul = Buffer.alloc(1);
  return method === MYSQL_CLEAR_PASSWORD ? nul : Buffer.concat([nonce, nul]);
}

function byVerifier(parts: ClientAuthParts, matches: (verifier: MysqlVerifier) => boolean): Proof | null {
  const found = parts.challenge.mysql.verifiers.find(matches);
  return found ? { credentialUid: found.credentialUid, kind: found.kind, userUid: null } : null;
}

async function cachingSha2(
  parts: ClientAuthParts,
  data: Uint8Array,
  nonce: Uint8Array,
): Promise<Proof | null> {
  const { wire } = parts;
  const isEmpty = data.length === 0 || (data.length === 1 && data[0] === 0);
  if (isEmpty) return null; // nobody has an empty secret
  const fast = byVerifier(parts, (one) => one.sha2 !== null && checkCachingSha2(data, nonce, one.sha2));
  if (fast) {
    more(wire, Buffer.from([FAST_AUTH_SUCCESS]));
    return fast;
  }
  more(wire, Buffer.from([PERFORM_FULL_AUTHENTICATION]));
  let answer = await wire.read();
  if (wire.link.tls) return checkSecret(parts, decodeClearResponse(answer));
  if (answer.length === 1 && answer[0] === REQUEST_PUBLIC_KEY_SHA2) {
    more(wire, Buffer.from(parts.rsa.publicPem));
    answer = await wire.read();
  }
  const secret = decryptPassword(answer, nonce, parts.rsa.privateKey);
  return secret === null ? null : checkSecret(parts, secret);
}

function more(wire: PacketWire, data: Buffer): void {
  wire.send((out, sequence) => encodeAuthMoreData(out, data, sequence));
}

async function checkSecret(parts: ClientAuthParts, secret: string): Promise<Proof | null> {
  const { authority, user, clientAddress } = parts;
  const match: ScramVerifierMatch | null = await authority.checkSecret({ user, secret, clientAddress });
  return match;
}
