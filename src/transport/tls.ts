/**
 * The certificate that listeners show: from files, or a self-signed one that is made once and kept in the data folder.
 *
 *   <folder>/server.pem   key and certificate, mode 0600, replaced as one file, so that they always match
 *   <folder>/server.crt   the certificate alone, for clients (`sslrootcert`)
 *
 * A reload takes effect for handshakes that start after it. One that fails changes nothing.
 */
import { X509Certificate, createPrivateKey } from 'node:crypto';
import { unwatchFile, watchFile } from 'node:fs';
import { chmod, mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { type SecureContextOptions, createSecureContext } from 'node:tls';
import { AppError, isAppError, messageOf, systemErrorCode } from '../base/errors.ts';
import { serverEndPoint } from './channel-binding.ts';
import { makeSelfSigned } from './self-signed.ts';

export interface ServerCertificateOptions {
  /** PEM files of the certificate (with its chain) and its key. Both empty: self-signed. */
  readonly certFile: string;
  readonly keyFile: string;
  /** PEM file of the authorities that client certificates are verified against; empty: none. */
  readonly clientCaFile: string;
  /** Where the self-signed certificate is kept; made if missing, mode 0700. */
  readonly folder: string;
  /** The time, for the validity of a self-signed certificate. */
  readonly now: () => Date;
}

interface Loaded {
  readonly secureContext: SecureContextOptions;
  readonly certificate: X509Certificate;
  /** What was read, to see whether a reload changed anything. */
  readonly source: string;
}

const DAY_MS = 86_400_000;
const SELF_SIGNED_DAYS = 3_650;
/** A self-signed certificate is replaced when it has less than this left. */
const RENEW_DAYS = 30;
const WATCH_INTERVAL_MS = 5_000;

export class ServerCertificate {
  readonly #options: ServerCertificateOptions;
  #loaded: Loaded;

  private constructor(options: ServerCertificateOptions, loaded: Loaded) {
    this.#options = options;
    this.#loaded = loaded;
  }

  /** Loads it, making a self-signed one first if needed. Rejects with an `invalid` AppError that names the file. */
  static async load(options: ServerCertificateOptions): Promise<ServerCertificate> {
    return new ServerCertificate(options, await load(options));
  }

  /** For `ServerTlsOptions.secureContext`. The same object until a reload changes it; the built context is cached by it. */
  get secureContext(): SecureContextOptions {
    return this.#loaded.secureContext;
  }

  /** `tls-server-end-point` of the certificate (RFC 5929 §4.1); empty for Ed25519, which has none. */
  get serverEndPoint(): Uint8Array {
    return serverEndPoint(this.#loaded.certificate.raw);
  }

  get isSelfSigned(): boolean {
    return this.#options.certFile === '';
  }

  /** For people, and for pinning: "AB:CD:…" over SHA-256. */
  get fingerprint(): string {
    return this.#loaded.certificate.fingerprint256;
  }

  get validTo(): Date {
    return this.#loaded.certificate.validToDate;
  }

  /** Reads the files again. Resolves with whether anything changed; rejects, keeping the old, when they are not valid. */
  async reload(): Promise<boolean> {
    const loaded = await load(this.#options);
    if (loaded.source === this.#loaded.source) return false;
    this.#loaded = loaded;
    return true;
  }

  /** Reloads when a file changes; keeps nothing alive. Returns a function that stops it. */
  watch(onReload: () => void, onError: (error: AppError) => void): () => void {
    const { certFile, keyFile, clientCaFile, folder } = this.#options;
    const files = [certFile === '' ? join(folder, 'server.pem') : certFile, keyFile, clientCaFile];
    const watched = files.filter((file) => file !== '');
    const changed = (): void => {
      this.reload().then(
        (isNew) => isNew && onReload(),
        (error: unknown) => onError(asAppError(error)),
      );
    };
    for (const file of watched) watchFile(file, { interval: WATCH_INTERVAL_MS, persistent: false }, changed);
    return () => {
      for (const file of watched) unwatchFile(file, changed);
    };
  }
}

function asAppError(error: unknown): AppError {
  return isAppError(error)
    ? error
    : new AppError('unavailable', 'TRANSPORT_CERTIFICATE_UNREADABLE', messageOf(error), { cause: error });
}

async function load(options: ServerCertificateOptions): Promise<Loaded> {
  const { certFile, keyFile, clientCaFile } = options;
  if ((certFile === '') !== (keyFile === ''))
    throw new AppError(
      'invalid',
      'TRANSPORT_CERTIFICATE_HALF',
      'a certificate file and a key file belong together; set both or none',
    );
  const ca = clientCaFile === '' ? '' : await read(clientCaFile);
  if (certFile !== '')
    return check(await read(certFile), await read(keyFile), ca, certFile, keyFile, clientCaFile);
  const kept = join(options.folder, 'server.pem');
  const pem = await readIfThere(kept);
  if (pem !== null) {
    const loaded = check(pem, pem, ca, kept, kept, clientCaFile);
    const left = loaded.certificate.validToDate.getTime() - options.now().getTime();
    if (left > RENEW_DAYS * DAY_MS) return loaded;
    // Self-signed and about to end: a new one takes its place.
  }
  const made = await makeAndKeep(options);
  return check(made, made, ca, kept, kept, clientCaFile);
}

/** Everything that could make a handshake fail later is found here. */
function check(
  cert: string,
  key: string,
  ca: string,
  certFile: string,
  keyFile: string,
  caFile: string,
): Loaded {
  const certificate = attempt(certFile, 'is not a PEM certificate', () => new X509Certificate(cert));
  const privateKey = attempt(keyFile, 'is not a PEM key without passphrase', () => createPrivateKey(key));
  if (!certificate.checkPrivateKey(privateKey))
    throw new AppError(
      'invalid',
      'TRANSPORT_CERTIFICATE_KEY',
      `the key in ${keyFile} does not belong to the certificate in ${certFile}; check the two files`,
    );
  if (ca !== '') attempt(caFile, 'is not a PEM certificate', () => new X509Certificate(ca));
  const secureContext: SecureContextOptions = { cert, key, ...(ca === '' ? {} : { ca }) };
  attempt(certFile, 'cannot be used for TLS', () => createSecureContext(secureContext));
  return { secureContext, certificate, source: `${cert}\n${key}\n${ca}` };
}

function attempt<T>(file: string, problem: string, make: () => T): T {
  try {
    return make();
  } catch (error) {
    throw new AppError(
      'invalid',
      'TRANSPORT_CERTIFICATE_INVALID',
      `${file} ${problem}: ${messageOf(error)}`,
      {
        cause: error,
      },
    );
  }
}

async function makeAndKeep(options: ServerCertificateOptions): Promise<string> {
  const host = hostname();
  const now = options.now();
  const names = ['localhost', ...(isDnsName(host) && host !== 'localhost' ? [host] : []), '127.0.0.1', '::1'];
  const { key, cert } = makeSelfSigned({
    commonName: isDnsName(host) ? host : 'localhost',
    names,
    notBefore: new Date(now.getTime() - DAY_MS), // clients whose clocks are a little behind
    notAfter: new Date(now.getTime() + SELF_SIGNED_DAYS * DAY_MS),
  });
  await mkdir(options.folder, { recursive: true, mode: 0o700 });
  const pem = key + cert;
  await writeWhole(join(options.folder, 'server.pem'), pem, 0o600);
  await writeWhole(join(options.folder, 'server.crt'), cert, 0o644);
  return pem;
}

function isDnsName(name: string): boolean {
  return name.length <= 253 && /^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?$/.test(name);
}

/** Replaces a file in one step, so that neither a crash nor a reader sees half of it. */
async function writeWhole(path: string, text: string, mode: number): Promise<void> {
  const temporary = `${path}.new`;
  await rm(temporary, { force: true });
  const file = await open(temporary, 'wx', mode);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await chmod(temporary, mode);
  await rename(temporary, path);
}

async function read(file: string): Promise<string> {
  const text = await readIfThere(file);
  if (text !== null) return text;
  throw unreadable(file, 'ENOENT');
}

async function readIfThere(file: string): Promise<string | null> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return null;
    throw unreadable(file, systemErrorCode(error) ?? 'unknown', error);
  }
}

function unreadable(file: string, code: string, cause?: unknown): AppError {
  return new AppError(
    'invalid',
    'TRANSPORT_CERTIFICATE_UNREADABLE',
    `${file} cannot be read (${code}); check the path and its permissions`,
    { cause },
  );
}
