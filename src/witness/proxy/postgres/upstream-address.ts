/** Where an upstream is, and how its TLS is verified. */
import { limits } from '../../../base/limits.ts';
import type { UpstreamTarget } from '../../../model/access.ts';
import type { ClientTlsOptions, DialOptions } from '../../../transport/link.ts';

export function dialAddress(upstream: UpstreamTarget, timeoutMs: number): DialOptions {
  // A host that is an absolute path is the folder of the server's Unix socket, as in libpq.
  return upstream.host.startsWith('/')
    ? { host: `${upstream.host}/.s.PGSQL.${upstream.port}`, port: 0, timeoutMs }
    : { host: upstream.host, port: upstream.port, timeoutMs };
}

export function clientTls(upstream: UpstreamTarget): ClientTlsOptions {
  const verify =
    upstream.sslMode === 'verify-full' ? 'full' : upstream.sslMode === 'verify-ca' ? 'ca' : 'none';
  return {
    host: upstream.host,
    // libpq: `require` with a root certificate given behaves like verify-ca.
    verify: verify === 'none' && upstream.sslMode === 'require' && upstream.sslCa !== '' ? 'ca' : verify,
    ca: upstream.sslCa,
    cert: upstream.sslCert,
    key: upstream.sslKey,
    alpnProtocols: ['postgresql'],
    handshakeTimeoutMs: limits.authenticationTimeoutMs,
  };
}
