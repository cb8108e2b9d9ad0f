/**
 * SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677) as state machines of one log-in, both sides.
 *
 *   client-first   n,,n=user,r=<client nonce>              gs2 header, then the bare message
 *   server-first   r=<client nonce><server nonce>,s=<salt>,i=<iterations>
 *   client-final   c=<base64 of gs2 header and channel binding data>,r=<nonces>,p=<proof>
 *   server-final   v=<server signature>
 *
 *   SaltedPassword = PBKDF2(SASLprep(password), salt, i)
 *   ClientKey = HMAC(SaltedPassword, "Client Key"), StoredKey = SHA-256(ClientKey)
 *   ServerKey = HMAC(SaltedPassword, "Server Key")
 *   proof = ClientKey XOR HMAC(StoredKey, auth message), signature = HMAC(ServerKey, auth message)
 *
 * The server side takes several verifiers that share one salt (a password and API keys) and says which one was proved.
 * Nothing here waits or does I/O; random bytes come from node:crypto unless the caller passes a nonce.
 */
import { createHash, createHmac, pbkdf2Sync, randomBytes, timingSafeEqual } from 'node:crypto';
import { assert } from '../../base/assert.ts';
import { AppError } from '../../base/errors.ts';
import { limits } from '../../base/limits.ts';
import { saslprep } from '../../base/saslprep.ts';

export const SCRAM_SHA_256 = 'SCRAM-SHA-256';
export const SCRAM_SHA_256_PLUS = 'SCRAM-SHA-256-PLUS';
export type ScramMechanism = typeof SCRAM_SHA_256 | typeof SCRAM_SHA_256_PLUS;

/** What a server keeps of one secret. Structurally a part of `ScramVerifier` in `model/access.ts`. */
export interface ScramKeys {
  /** 32 bytes. */
  readonly storedKey: Uint8Array;
  /** 32 bytes. */
  readonly serverKey: Uint8Array;
}

const KEY_BYTES = 32;
/** Messages of honest peers have 100 to 300 bytes. */
const MAX_MESSAGE_BYTES = 4096;
const MAX_NONCE_CHARS = 1024;
const MAX_SALT_BYTES = 1024;
/** As the server and libpq. */
const NONCE_BYTES = 18;
const BINDING_TYPE = 'tls-server-end-point';

const NONCE = '[\\x21-\\x2b\\x2d-\\x7e]+';
const BASE64 = '[A-Za-z0-9+/]+={0,2}';
// oxlint-disable no-control-regex -- a value may hold anything but NUL and comma
const CLIENT_FIRST = new RegExp(
  `^(n|y|p=[A-Za-z0-9.-]+),(a=[^,\\0]*)?,(n=[^,\\0]*,r=(${NONCE})(?:,[^\\0]*)?)$`,
);
const SERVER_FIRST = new RegExp(`^r=(${NONCE}),s=(${BASE64}),i=([1-9][0-9]{0,9})(?:,[^\\0]*)?$`);
const CLIENT_FINAL = new RegExp(`^(c=(${BASE64}),r=(${NONCE})(?:,[A-Za-oq-z]=[^,\\0]*)*),p=(${BASE64})$`);
// oxlint-enable no-control-regex

/** The mechanisms to offer, strongest first. @param serverEndPoint `null` outside TLS. */
export function scramMechanisms(serverEndPoint: Uint8Array | null): ScramMechanism[] {
  return serverEndPoint === null ? [SCRAM_SHA_256] : [SCRAM_SHA_256_PLUS, SCRAM_SHA_256];
}

export function isScramMechanism(name: string): name is ScramMechanism {
  return name === SCRAM_SHA_256 || name === SCRAM_SHA_256_PLUS;
}

/** The strongest mechanism that both sides have; `null`: none. */
export function chooseScramMechanism(
  offered: readonly string[],
  serverEndPoint: Uint8Array | null,
): ScramMechanism | null {
  return scramMechanisms(serverEndPoint).find((mechanism) => offered.includes(mechanism)) ?? null;
}

export type ScramResult<V extends ScramKeys> =
  /** `message` is the server-final message. */
  { readonly ok: true; readonly verifier: V; readonly message: Buffer } | { readonly ok: false };

export interface ScramServerOptions<V extends ScramKeys> {
  /** As named in the client's SASLInitialResponse, and offered to it. */
  readonly mechanism: ScramMechanism;
  /** Hash of the certificate that the client sees (RFC 5929 §4.1); `null` outside TLS. */
  readonly serverEndPoint: Uint8Array | null;
  readonly salt: Uint8Array;
  readonly iterations: number;
  /** None for an unknown user: every proof is wrong then. */
  readonly verifiers: readonly V[];
  /** Only for tests. */
  readonly nonce?: string;
}

/** One log-in, server side: {@link challenge}, then {@link verify}, each once. */
export class ScramServer<V extends ScramKeys> {
  readonly #options: ScramServerOptions<V>;
  #state: 'new' | 'challenged' | 'done' = 'new';
  #gs2Header = '';
  #nonce = '';
  /** The authentication message as far as it is known: client-first-bare and server-first. */
  #transcript = '';

  constructor(options: ScramServerOptions<V>) {
    assert(
      options.mechanism !== SCRAM_SHA_256_PLUS || options.serverEndPoint !== null,
      'SCRAM-SHA-256-PLUS was accepted outside TLS',
    );
    this.#options = options;
  }

  /** Takes client-first, returns server-first. @throws AppError `protocol`, or `denied` for a stripped channel binding. */
  challenge(clientFirst: Uint8Array): Buffer {
    assert(this.#state === 'new', 'a SCRAM exchange has one challenge');
    this.#state = 'done'; // unless all goes well
    const parts = CLIENT_FIRST.exec(text(clientFirst, 'client-first'));
    if (parts === null) throw scramError('client-first', 'its attributes are missing or out of order');
    const [, flag, authorization, bare, clientNonce] = parts;
    this.#checkBindingFlag(flag);
    if (authorization !== undefined)
      throw scramError('client-first', 'it asks for an authorization identity, which is not supported');
    if (clientNonce.length > MAX_NONCE_CHARS) throw scramError('client-first', 'its nonce is too long');
    const { salt, iterations } = this.#options;
    this.#gs2Header = `${flag},,`;
    this.#nonce = clientNonce + (this.#options.nonce ?? randomBytes(NONCE_BYTES).toString('base64'));
    const serverFirst = `r=${this.#nonce},s=${base64(salt)},i=${iterations}`;
    this.#transcript = `${bare},${serverFirst}`;
    this.#state = 'challenged';
    return Buffer.from(serverFirst, 'latin1');
  }

  // RFC 5802 §6: who strips the -PLUS mechanism from our offer is betrayed by the client's "y".
  #checkBindingFlag(flag: string): void {
    const bound = this.#options.mechanism === SCRAM_SHA_256_PLUS;
    if (flag.startsWith('p=')) {
      if (!bound)
        throw scramError('client-first', 'it has channel binding, but the mechanism chosen has not');
      if (flag !== `p=${BINDING_TYPE}`)
        throw scramError('client-first', `only the channel binding type ${BINDING_TYPE} is supported`);
      return;
    }
    if (bound)
      throw scramError('client-first', 'the mechanism chosen needs channel binding, but it has none');
    if (flag === 'y' && this.#options.serverEndPoint !== null)
      throw new AppError(
        'denied',
        'SCRAM_BINDING_STRIPPED',
        'The client supports channel binding and believes that this server does not, but it does: something in between has altered the log-in. Check the path to the server.',
      );
  }

  /** Takes client-final. A wrong proof is a return value; @throws AppError for what no honest client sends. */
  verify(clientFinal: Uint8Array): ScramResult<V> {
    assert(this.#state === 'challenged', 'a SCRAM proof follows its challenge');
    this.#state = 'done';
    const parts = CLIENT_FINAL.exec(text(clientFinal, 'client-final'));
    if (parts === null) throw scramError('client-final', 'its attributes are missing or out of order');
    const [, withoutProof, binding, nonce, proofText] = parts;
    if (!equalBytes(decodeBase64(binding, 'client-final'), this.#expectedBinding()))
      throw new AppError(
        'denied',
        'SCRAM_BINDING_MISMATCH',
        'The channel binding check failed: the client is not connected to the TLS certificate of this server. Something in between ends its TLS.',
      );
    if (!equalBytes(Buffer.from(nonce, 'latin1'), Buffer.from(this.#nonce, 'latin1')))
      throw scramError('client-final', 'its nonce is not the one of this log-in');
    const proof = decodeBase64(proofText, 'client-final');
    if (proof.length !== KEY_BYTES) throw scramError('client-final', 'its proof has the wrong length');
    const authMessage = `${this.#transcript},${withoutProof}`;
    const verifier = this.#proved(proof, authMessage);
    if (verifier === null) return { ok: false };
    const signature = hmac(verifier.serverKey, authMessage);
    return { ok: true, verifier, message: Buffer.from(`v=${base64(signature)}`, 'latin1') };
  }

  #expectedBinding(): Buffer {
    const header = Buffer.from(this.#gs2Header, 'latin1');
    const { mechanism, serverEndPoint } = this.#options;
    return mechanism === SCRAM_SHA_256_PLUS && serverEndPoint !== null
      ? Buffer.concat([header, serverEndPoint])
      : header;
  }

  // Every verifier is tried, and one is tried where there is none, so that the time does not tell who exists.
  #proved(proof: Buffer, authMessage: string): V | null {
    const { verifiers } = this.#options;
    if (verifiers.length === 0) proves(proof, Buffer.alloc(KEY_BYTES), authMessage);
    let found: V | null = null;
    for (const verifier of verifiers) if (proves(proof, verifier.storedKey, authMessage)) found ??= verifier;
    return found;
  }
}

function proves(proof: Uint8Array, storedKey: Uint8Array, authMessage: string): boolean {
  const clientKey = xor(proof, hmac(storedKey, authMessage));
  return equalBytes(sha256(clientKey), storedKey);
}

/**
 * PBKDF2-HMAC-SHA-256 with a result of 32 bytes. Passed in, so that the caller decides on which thread it runs.
 * @param password prepared already, UTF-8.
 */
export type DeriveKey = (password: Buffer, salt: Uint8Array, iterations: number) => Promise<Uint8Array>;

export interface ScramClientOptions {
  /** From {@link chooseScramMechanism}. */
  readonly mechanism: ScramMechanism;
  /** Hash of the certificate that the server showed; `null` outside TLS. */
  readonly serverEndPoint: Uint8Array | null;
  /** Only for tests. PostgreSQL ignores the name and takes the one of the StartupMessage. */
  readonly username?: string;
  readonly nonce?: string;
}

/** One log-in, client side: {@link first}, {@link proof}, {@link finish}, each once and in this order. */
export class ScramClient {
  readonly #options: ScramClientOptions;
  readonly #gs2Header: string;
  readonly #nonce: string;
  #state: 'new' | 'sent' | 'proved' | 'done' = 'new';
  #signature: Buffer = Buffer.alloc(0);

  constructor(options: ScramClientOptions) {
    const { mechanism, serverEndPoint } = options;
    assert(mechanism !== SCRAM_SHA_256_PLUS || serverEndPoint !== null, 'channel binding needs TLS');
    this.#options = options;
    this.#nonce = options.nonce ?? randomBytes(NONCE_BYTES).toString('base64');
    // "y": we could, the server did not offer it. A server that did will know that its offer was altered.
    const flag = mechanism === SCRAM_SHA_256_PLUS ? `p=${BINDING_TYPE}` : serverEndPoint === null ? 'n' : 'y';
    this.#gs2Header = `${flag},,`;
  }

  get #firstBare(): string {
    const name = (this.#options.username ?? '').replaceAll('=', '=3D').replaceAll(',', '=2C');
    return `n=${name},r=${this.#nonce}`;
  }

  /** The client-first message. */
  first(): Buffer {
    assert(this.#state === 'new', 'a SCRAM exchange begins once');
    this.#state = 'sent';
    return Buffer.from(this.#gs2Header + this.#firstBare, 'utf8');
  }

  /**
   * Takes server-first, returns client-final.
   * @throws AppError `protocol`: a nonce that is not ours, a malformed or absurd message (HOSTILE 13).
   */
  async proof(serverFirst: Uint8Array, password: string, deriveKey: DeriveKey): Promise<Buffer> {
    assert(this.#state === 'sent', 'a SCRAM proof answers a challenge');
    this.#state = 'done'; // unless all goes well
    const challenge = text(serverFirst, 'server-first');
    const parts = SERVER_FIRST.exec(challenge);
    if (parts === null) throw scramError('server-first', 'its attributes are missing or out of order');
    const [, nonce, saltText, iterationsText] = parts;
    if (nonce.length > MAX_NONCE_CHARS) throw scramError('server-first', 'its nonce is too long');
    if (!nonce.startsWith(this.#nonce) || nonce.length === this.#nonce.length)
      throw scramError('server-first', 'its nonce does not extend ours');
    const salt = decodeBase64(saltText, 'server-first');
    if (salt.length > MAX_SALT_BYTES) throw scramError('server-first', 'its salt is too long');
    const iterations = Number(iterationsText);
    if (iterations > limits.maxScramIterations)
      throw scramError(
        'server-first',
        `it asks for ${iterations} iterations; at most ${limits.maxScramIterations} are accepted`,
      );
    const salted = await deriveKey(preparedPassword(password), salt, iterations);
    const withoutProof = `c=${base64(this.#binding())},r=${nonce}`;
    const authMessage = Buffer.concat([
      Buffer.from(this.#firstBare, 'utf8'),
      Buffer.from(`,${challenge},${withoutProof}`, 'latin1'),
    ]);
    const clientKey = hmac(salted, 'Client Key');
    const proof = xor(clientKey, hmac(sha256(clientKey), authMessage));
    this.#signature = hmac(hmac(salted, 'Server Key'), authMessage);
    this.#state = 'proved';
    return Buffer.from(`${withoutProof},p=${base64(proof)}`, 'latin1');
  }

  #binding(): Buffer {
    const header = Buffer.from(this.#gs2Header, 'latin1');
    const { mechanism, serverEndPoint } = this.#options;
    return mechanism === SCRAM_SHA_256_PLUS && serverEndPoint !== null
      ? Buffer.concat([header, serverEndPoint])
      : header;
  }

  /** Takes server-final. @throws AppError `denied` when the server does not know the password itself. */
  finish(serverFinal: Uint8Array): void {
    assert(this.#state === 'proved', 'a SCRAM exchange ends once, after the proof');
    this.#state = 'done';
    const message = text(serverFinal, 'server-final');
    const refusal = /^e=([^,]{1,200})/.exec(message);
    if (refusal !== null)
      throw new AppError(
        'denied',
        'SCRAM_REFUSED',
        `The server refused the log-in: ${refusal[1].replaceAll(/[^\x20-\x7e]/g, '?')}. Check the stored user name and password.`,
      );
    const signature = new RegExp(`^v=(${BASE64})(?:,|$)`).exec(message);
    if (signature === null) throw scramError('server-final', 'it has no signature');
    if (!equalBytes(decodeBase64(signature[1], 'server-final'), this.#signature))
      throw new AppError(
        'denied',
        'SCRAM_SERVER_UNPROVED',
        'The server could not prove that it knows the password: it is not the server that the credentials belong to. Check host and port of the database.',
      );
  }
}

function preparedPassword(password: string): Buffer {
  return Buffer.from(saslprep(password), 'utf8');
}

/** The keys of a password. Blocks for some milliseconds: not on the relay's loop. */
export function makeVerifier(password: string, salt: Uint8Array, iterations: number): ScramKeys {
  return verifierOf(pbkdf2Sync(preparedPassword(password), salt, iterations, KEY_BYTES, 'sha256'));
}

/** The same with the derivation passed in. */
export async function makeVerifierWith(
  password: string,
  salt: Uint8Array,
  iterations: number,
  deriveKey: DeriveKey,
): Promise<ScramKeys> {
  return verifierOf(await deriveKey(preparedPassword(password), salt, iterations));
}

function verifierOf(saltedPassword: Uint8Array): ScramKeys {
  return {
    storedKey: sha256(hmac(saltedPassword, 'Client Key')),
    serverKey: hmac(saltedPassword, 'Server Key'),
  };
}

/** The salt of a user who does not exist: the same at every attempt, unpredictable without `secret`. */
export function mockSalt(secret: Uint8Array, username: string, saltBytes = 16): Buffer {
  return hmac(secret, Buffer.from(`scram mock salt\0${username}`, 'utf8')).subarray(0, saltBytes);
}

/** The answer to AuthenticationMD5Password: `md5` + hex(md5(hex(md5(password + user)) + salt)). */
export function md5Response(user: string, password: string, salt: Uint8Array): string {
  const inner = createHash('md5').update(password, 'utf8').update(user, 'utf8').digest('hex');
  return `md5${createHash('md5').update(inner, 'latin1').update(salt).digest('hex')}`;
}

function scramError(message: string, problem: string): AppError {
  return new AppError(
    'protocol',
    'SCRAM_MALFORMED',
    `The ${message} message of a SCRAM log-in is not acceptable: ${problem}.`,
    { details: { message, problem } },
  );
}

/** One character per byte, so that what is signed is what was sent. */
function text(bytes: Uint8Array, message: string): string {
  if (bytes.length > MAX_MESSAGE_BYTES)
    throw scramError(message, `it is longer than ${MAX_MESSAGE_BYTES} bytes`);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64');
}

// Node's decoder skips what it does not like; here one value has one spelling.
function decodeBase64(encoded: string, message: string): Buffer {
  const bytes = Buffer.from(encoded, 'base64');
  if (bytes.toString('base64') !== encoded) throw scramError(message, 'a value is not base64');
  return bytes;
}

// A transcript is a string of one character per byte.
function hmac(key: Uint8Array, data: string | Uint8Array): Buffer {
  const mac = createHmac('sha256', key);
  return (typeof data === 'string' ? mac.update(data, 'latin1') : mac.update(data)).digest();
}

function sha256(data: Uint8Array): Buffer {
  return createHash('sha256').update(data).digest();
}

function xor(a: Uint8Array, b: Uint8Array): Buffer {
  const out = Buffer.alloc(KEY_BYTES);
  for (let i = 0; i < KEY_BYTES; i++) out[i] = a[i] ^ b[i];
  return out;
}

function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}
