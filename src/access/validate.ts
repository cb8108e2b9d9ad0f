/**
 * What names, hosts, times and numbers of the control plane may look like. The names that people type into a client
 * (user, database) keep to letters, digits and `_ . @ + $ -`: no NUL, no URL or DSN metacharacter ever gets far enough
 * to be misread by something else (HOSTILE 10).
 */
import { AppError } from '../base/errors.ts';
import { CONTROLS, type Control, type Role } from '../model/access.ts';
import { RESERVED_NAMES } from './actor.ts';

/** PostgreSQL's NAMEDATALEN − 1: what every client can send. */
const MAX_NAME_BYTES = 63;
/** Oracle's service names are the longest. */
const MAX_UPSTREAM_NAME_BYTES = 255;
const NAME = /^[\p{L}\p{N}_][\p{L}\p{M}\p{N}_.@+$-]*$/u;
/** Year 2255: beyond it, microseconds are not exact in a number. */
const MAX_US = 9e15;
const ROLES: readonly string[] = ['admin', 'viewer', 'connector'] satisfies Role[];

export function invalid(field: string, message: string): AppError {
  return new AppError('invalid', 'ACCESS_FIELD_INVALID', `${field}: ${message}`, { details: { field } });
}

export function checkUsername(name: string): string {
  const username = checkName('username', name).toLowerCase();
  if (RESERVED_NAMES.includes(username)) throw invalid('username', `"${username}" is reserved`);
  return username;
}

/** Returns the name in Unicode's composed form. */
export function checkName(field: string, name: string): string {
  const composed = name.normalize('NFC');
  if (!NAME.test(composed))
    throw invalid(field, 'use letters, digits and _ . @ + $ - and begin with a letter, a digit or _');
  if (Buffer.byteLength(composed) > MAX_NAME_BYTES)
    throw invalid(field, `at most ${MAX_NAME_BYTES} bytes of UTF-8`);
  return composed;
}

/** Free text for people, or a name of the upstream's: anything printable. */
export function checkText(field: string, text: string, maxBytes: number): string {
  if (Buffer.byteLength(text) > maxBytes) throw invalid(field, `at most ${maxBytes} bytes`);
  // oxlint-disable-next-line no-control-regex -- they are what is refused
  if (/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/.test(text))
    throw invalid(field, 'no control characters');
  return text;
}

/** A name that the upstream server must take: not empty, one line. */
export function checkUpstreamName(field: string, text: string): string {
  if (text === '') throw invalid(field, 'must not be empty');
  if (/[\r\n\t]/.test(text)) throw invalid(field, 'must be one line');
  return checkText(field, text, MAX_UPSTREAM_NAME_BYTES);
}

/** A host name, an IPv4 or IPv6 address, or the absolute path of a Unix socket's folder. */
export function checkHost(host: string): string {
  const isPath = /^\/[^\s\0]{0,106}$/.test(host);
  const isName = /^[0-9A-Za-z_](?:[0-9A-Za-z_.-]{0,251}[0-9A-Za-z_.])?$/.test(host);
  const isV6 =
    /^[0-9A-Fa-f:]{2,39}(?:[0-9.]{7,15})?(?:%[0-9A-Za-z_.-]{1,32})?$/.test(host) && host.includes(':');
  if (!isPath && !isName && !isV6)
    throw invalid('host', 'must be a host name, an address, or the absolute path of a socket folder');
  return host;
}

export function checkPort(port: number): number {
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw invalid('port', 'must be from 1 to 65535');
  return port;
}

export function checkRoles(roles: readonly string[]): Role[] {
  for (const role of roles)
    if (!ROLES.includes(role)) throw invalid('roles', `there is no role "${role}"; use ${ROLES.join(', ')}`);
  return Array.from(new Set(roles as readonly Role[])).sort();
}

export function checkControls(controls: readonly string[]): Control[] {
  const known: readonly string[] = CONTROLS;
  for (const control of controls)
    if (!known.includes(control))
      throw invalid('controls', `there is no control "${control}"; use ${CONTROLS.join(', ')}`);
  return CONTROLS.filter((control) => controls.includes(control));
}

/** @returns the same. Microseconds since 1970, exact. */
export function checkTime(field: string, us: number): number {
  if (!Number.isSafeInteger(us) || us < 0 || us > MAX_US)
    throw invalid(field, 'must be a time from 1970 to 2255');
  return us;
}

/** `null`: unlimited. */
export function checkQuota(field: string, quota: number | null): number | null {
  if (quota === null) return null;
  if (!Number.isSafeInteger(quota) || quota < 1)
    throw invalid(field, 'must be a whole number from 1, or null for no limit');
  return quota;
}
