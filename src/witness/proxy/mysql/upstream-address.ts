/** Where an upstream is, and how its TLS is verified. */
import { limits } from '../../../base/limits.ts';
import type { UpstreamTarget } from '../../../model/access.ts';
import type { ClientTlsOptions, DialOptions } from '../../../transport/link.ts';

/** A host that is an absolute path is the server's Unix socket. */
export function upstreamAddress(
  upstream: Pick<UpstreamTarget, 'host' | 'port'>,
  timeoutMs: number,
): DialOptions {
  return upstream.host.startsWith('/')
    ? { host: upstream.host, port: 0, timeoutMs }
    : { host: upstream.host, port: upstream.port, timeoutMs };
}

const PUBLIC_KEY = /-----BEGIN PUBLIC KEY-----[^]*?-----END PUBLIC KEY-----/;

/** The server's RSA key, where it is pinned: among the certificates of `ssl_ca`. */
export function pinnedKey(upstream: UpstreamTarget): string | null {
  return PUBLIC_KEY.exec(upstream.sslCa)?.[0] ?? null;
}

export function clientTls(upstream: UpstreamTarget): ClientTlsOptions {
  const verify =
    upstream.sslMode === 'verify-full' ? 'full' : upstream.sslMode === 'verify-ca' ? 'ca' : 'none';
  const ca = upstream.sslCa.replace(PUBLIC_KEY, '').trim();
  return {
    host: upstream.host,
    verify: verify === 'none' && upstream.sslMode === 'require' && ca !== '' ? 'ca' : verify,
    ca,
    cert: upstream.sslCert,
    key: upstream.sslKey,
    handshakeTimeoutMs: limits.authenticationTimeoutMs,
  };
}
