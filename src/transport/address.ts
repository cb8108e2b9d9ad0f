/**
 * Names and addresses: resolving a host to all its addresses, in the system's order, and the errors of a dial in words
 * that tell what to do.
 */
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { AppError, systemErrorCode } from '../base/errors.ts';
import type { DialOptions } from './link.ts';

export type Target =
  | { readonly family: 4 | 6; readonly address: string; readonly port: number }
  | { readonly family: 'unix'; readonly path: string };

/** Every address of the host, to be tried in order. Rejects with `unavailable`. */
export async function resolveTargets(options: DialOptions): Promise<readonly Target[]> {
  const { host, port } = options;
  if (host.startsWith('/')) return [{ family: 'unix', path: host }];
  const family = isIP(host);
  if (family === 4 || family === 6) return [{ family, address: host, port }];
  let found: readonly { address: string; family: number }[];
  try {
    found = await lookup(host, { all: true, order: 'verbatim' });
  } catch (error) {
    throw new AppError(
      'unavailable',
      'TRANSPORT_HOST_UNKNOWN',
      `the host name ${host} cannot be resolved (${systemErrorCode(error) ?? 'unknown'}); check the name and the resolver`,
      { details: { host }, cause: error },
    );
  }
  return found.map(({ address, family }) => ({ family: family === 6 ? 6 : 4, address, port }));
}

export function describeTarget(options: DialOptions): string {
  if (options.host.startsWith('/')) return options.host;
  return isIP(options.host) === 6 ? `[${options.host}]:${options.port}` : `${options.host}:${options.port}`;
}

const ADVICE: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there; check host and port and that the server runs',
  ENOENT: 'the Unix socket does not exist; check the path and that the server runs',
  EACCES: 'the operating system does not allow it; check the permissions',
  EHOSTUNREACH: 'there is no route; check the network',
  ENETUNREACH: 'there is no route; check the network',
  ECONNRESET: 'the server closed the connection at once',
  EMFILE: 'this process has no file descriptors left; raise its limit (ulimit -n)',
};

export function dialFailed(options: DialOptions, code: string, cause?: unknown): AppError {
  const advice = ADVICE[code];
  return new AppError(
    'unavailable',
    code === 'ECONNREFUSED' ? 'TRANSPORT_REFUSED' : 'TRANSPORT_DIAL_FAILED',
    `cannot connect to ${describeTarget(options)}: ${code}${advice === undefined ? '' : ` (${advice})`}`,
    { details: { host: options.host, port: options.port, code }, cause },
  );
}

export function dialTimedOut(options: DialOptions): AppError {
  return new AppError(
    'unavailable',
    'TRANSPORT_DIAL_TIMEOUT',
    `no answer from ${describeTarget(options)} within ${options.timeoutMs} ms; check host, port and firewalls`,
    { details: { host: options.host, port: options.port } },
  );
}

export function listenFailed(host: string, port: number, code: string, cause?: unknown): AppError {
  const where = host === '' ? `port ${port}` : `${host}:${port}`;
  const advice =
    code === 'EADDRINUSE'
      ? 'another program listens there; stop it or choose another port'
      : code === 'EACCES'
        ? 'ports below 1024 need privileges; choose another port'
        : 'check the listen address';
  return new AppError(
    code === 'EADDRINUSE' ? 'conflict' : 'unavailable',
    'TRANSPORT_LISTEN_FAILED',
    `cannot listen on ${where}: ${code} (${advice})`,
    { details: { host, port, code }, cause },
  );
}

export function acceptFailed(code: string, pauseMs: number): AppError {
  return new AppError(
    'exhausted',
    'TRANSPORT_ACCEPT_FAILED',
    `a connection cannot be accepted: ${code}; accepting pauses for ${pauseMs} ms. ` +
      'Raise the limit of open files (ulimit -n) or lower the number of sessions',
    { details: { code, pauseMs } },
  );
}

/** An IPv4 address that arrived on a dual-stack socket, without its IPv6 clothes; zones are cut off. */
export function plainAddress(address: string): string {
  const zone = address.indexOf('%');
  const bare = zone === -1 ? address : address.slice(0, zone);
  return bare.toLowerCase().startsWith('::ffff:') && isIP(bare.slice(7)) === 4 ? bare.slice(7) : bare;
}

/**
 * Tries `connect` on each address until one answers. Each gets its share of the time that is left, so that one that
 * swallows packets does not keep the others from being tried.
 */
export async function dialInOrder<T>(
  options: DialOptions,
  connect: (target: Target, timeoutMs: number) => Promise<T>,
): Promise<T> {
  const deadline = performance.now() + options.timeoutMs;
  const targets = await resolveTargets(options);
  let failure: AppError | null = null;
  for (const [i, target] of targets.entries()) {
    const left = deadline - performance.now();
    if (left <= 0) break;
    try {
      return await connect(target, Math.ceil(left / (targets.length - i)));
    } catch (error) {
      failure =
        error instanceof AppError
          ? error
          : dialFailed(options, systemErrorCode(error) ?? 'unknown error', error);
    }
  }
  throw failure ?? dialTimedOut(options);
}
