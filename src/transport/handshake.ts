/**
 * TLS on a stream that is already there, either side. TLS 1.2 at least; no renegotiation; no session tickets, so that
 * the channel binding of a resumed session is no question.
 */
import { constants, type X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import type { Duplex } from 'node:stream';
import {
  type ConnectionOptions,
  type SecureContext,
  type SecureContextOptions,
  TLSSocket,
  checkServerIdentity,
  connect,
  createSecureContext,
  getCACertificates,
} from 'node:tls';
import { AppError, messageOf, systemErrorCode } from '../base/errors.ts';
import { serverEndPoint } from './channel-binding.ts';
import type { ClientTlsOptions, ServerTlsOptions, TlsFacts } from './link.ts';

const MIN_VERSION = 'TLSv1.2';
/** Contexts towards upstreams that are kept; each holds all trusted authorities. */
const MAX_CLIENT_CONTEXTS = 64;

const serverContexts = new WeakMap<SecureContextOptions, SecureContext>();
const clientContexts = new Map<string, SecureContext>();
let systemAuthorities: string[] | null = null;

/** Certificates of a TLSSocket: `getX509Certificate` is typed on newer versions of the types only. */
interface CertificateSource {
  getX509Certificate(): X509Certificate | undefined;
  getPeerX509Certificate(): X509Certificate | undefined;
}

/**
 * Continues `stream` as the server side of TLS. Rejects with `denied` when the client's certificate does not verify and
 * `unavailable` for everything else; the stream is destroyed then.
 */
export async function secureServer(stream: Duplex, options: ServerTlsOptions): Promise<TLSSocket> {
  const socket = new TLSSocket(stream, {
    isServer: true,
    secureContext: serverContext(options.secureContext),
    requestCert: options.requestClientCertificate,
    rejectUnauthorized: false, // a certificate is optional; one that is shown must verify, see below
    ...(options.alpnProtocols === undefined ? {} : { ALPNProtocols: [...options.alpnProtocols] }),
  });
  await handshake(socket, 'secure', options.handshakeTimeoutMs, 'the client');
  socket.disableRenegotiation();
  if (options.requestClientCertificate) checkClientCertificate(socket);
  return socket;
}

/** Continues `stream` as the client side of TLS, verifying as told. Rejects with `unavailable` or `denied`. */
export async function secureClient(stream: Duplex, options: ClientTlsOptions): Promise<TLSSocket> {
  const settings: ConnectionOptions = {
    socket: stream,
    secureContext: clientContext(options),
    rejectUnauthorized: options.verify !== 'none',
    checkServerIdentity: (_host, certificate) =>
      options.verify === 'full' ? checkServerIdentity(options.host, certificate) : undefined,
    minVersion: MIN_VERSION,
    ...(isIP(options.host) === 0 && options.host !== '' && !options.host.startsWith('/')
      ? { servername: options.host }
      : {}),
    ...(options.alpnProtocols === undefined ? {} : { ALPNProtocols: [...options.alpnProtocols] }),
  };
  const socket = connect(settings);
  await handshake(socket, 'secureConnect', options.handshakeTimeoutMs, options.host);
  return socket;
}

export function tlsFacts(socket: TLSSocket, side: 'server' | 'client'): TlsFacts {
  const source = socket as unknown as CertificateSource;
  const server = side === 'server' ? source.getX509Certificate() : source.getPeerX509Certificate();
  const client = side === 'server' ? source.getPeerX509Certificate() : undefined;
  return {
    version: socket.getProtocol() ?? '',
    cipher: socket.getCipher().name,
    alpn: typeof socket.alpnProtocol === 'string' ? socket.alpnProtocol : '',
    serverEndPoint: server === undefined ? new Uint8Array() : serverEndPoint(server.raw),
    clientCertificate: client === undefined ? null : client.raw,
    clientCommonName: client === undefined ? '' : commonName(client),
  };
}

function commonName(certificate: X509Certificate): string {
  const name: unknown = certificate.toLegacyObject().subject?.CN;
  return typeof name === 'string' ? name : Array.isArray(name) ? String(name[0]) : '';
}

function serverContext(options: SecureContextOptions): SecureContext {
  const known = serverContexts.get(options);
  if (known !== undefined) return known;
  const context = createSecureContext({
    minVersion: MIN_VERSION,
    honorCipherOrder: true,
    ...options,
    secureOptions: (options.secureOptions ?? 0) | constants.SSL_OP_NO_TICKET,
  });
  serverContexts.set(options, context);
  return context;
}

function clientContext(options: ClientTlsOptions): SecureContext {
  const key = JSON.stringify([options.verify === 'none', options.ca, options.cert, options.key]);
  const known = clientContexts.get(key);
  if (known !== undefined) return known;
  const [oldest] = clientContexts.keys();
  if (oldest !== undefined && clientContexts.size >= MAX_CLIENT_CONTEXTS) clientContexts.delete(oldest);
  try {
    const context = createSecureContext({
      minVersion: MIN_VERSION,
      ...(options.verify === 'none' ? { ca: [] } : { ca: options.ca === '' ? authorities() : options.ca }),
      ...(options.cert === '' ? {} : { cert: options.cert, key: options.key }),
    });
    clientContexts.set(key, context);
    return context;
  } catch (error) {
    throw new AppError(
      'invalid',
      'TRANSPORT_TLS_SETTINGS',
      `the TLS settings for ${options.host} cannot be used: ${messageOf(error)}; check the CA, certificate and key (PEM)`,
      { cause: error },
    );
  }
}

function authorities(): string[] {
  systemAuthorities ??= [...new Set([...getCACertificates('default'), ...getCACertificates('system')])];
  return systemAuthorities;
}

/** OpenSSL's verdict on the client's certificate. Node computes `authorized` only inside its own `tls.Server`. */
function checkClientCertificate(socket: TLSSocket): void {
  if ((socket as unknown as CertificateSource).getPeerX509Certificate() === undefined) return;
  const handle = (socket as unknown as { _handle?: { verifyError?: () => Error | null | undefined } })
    ._handle;
  const verdict = handle?.verifyError === undefined ? new Error('cannot be verified') : handle.verifyError();
  if (verdict === null || verdict === undefined) return;
  socket.destroy();
  throw new AppError(
    'denied',
    'TRANSPORT_CLIENT_CERTIFICATE',
    `the client's certificate was refused: ${verdict.message}`,
    { cause: verdict },
  );
}

async function handshake(
  socket: TLSSocket,
  done: 'secure' | 'secureConnect',
  timeoutMs: number,
  who: string,
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let failure: Error | null = null;
  const onError = (error: Error): void => {
    failure ??= error;
  };
  const onClose = (): void => reject(handshakeError(failure, who));
  const onEnd = (): void => void socket.destroy(); // half-open streams would wait for the timeout
  const timer = setTimeout(() => {
    reject(
      new AppError(
        'unavailable',
        'TRANSPORT_TLS_TIMEOUT',
        `the TLS handshake with ${who} did not finish within ${timeoutMs} ms`,
      ),
    );
    socket.destroy();
  }, timeoutMs);
  socket.on('error', onError);
  socket.on('close', onClose);
  socket.on('end', onEnd);
  socket.once(done, () => resolve());
  try {
    await promise;
  } finally {
    clearTimeout(timer);
    socket.off('close', onClose);
    socket.off('end', onEnd);
    // The error listener stays until the link has put its own in place: an error in between must not be uncaught.
  }
}

function handshakeError(failure: Error | null, who: string): AppError {
  if (failure === null)
    return new AppError(
      'unavailable',
      'TRANSPORT_TLS_CLOSED',
      `${who} closed the connection during the TLS handshake`,
    );
  const code = systemErrorCode(failure) ?? '';
  if (CERTIFICATE_CODES.test(code))
    return new AppError(
      'denied',
      'TRANSPORT_CERTIFICATE',
      `the certificate of ${who} was refused (${code}): ${failure.message}; check its CA and host name, or ssl_mode`,
      { cause: failure },
    );
  return new AppError(
    'unavailable',
    'TRANSPORT_TLS_FAILED',
    `the TLS handshake with ${who} failed: ${failure.message}`,
    { cause: failure },
  );
}

/** Node's names for certificates that do not verify (tls documentation, "X509 certificate error codes"). */
const CERTIFICATE_CODES =
  /^(?:ERR_TLS_CERT_ALTNAME_INVALID|CERT_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|CRL_|ERROR_IN_CERT|HOSTNAME_MISMATCH|INVALID_(?:CA|PURPOSE)|PATH_LENGTH)/;
