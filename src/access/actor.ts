/**
 * Who asks, and what they may. One table says it for the REST API and the CLI alike; the services ask it before they
 * do anything, so a route that forgets to ask gives nothing away.
 *
 * An API key reads what its owner reads and may take access away (revoke a grant or a key, end a session), but never
 * gives access: it creates and changes no users, no grants, no credentials (HOSTILE 87). So a leaked key cannot make
 * itself a successor.
 */
import { AppError } from '../base/errors.ts';
import type { Uid } from '../base/ids.ts';
import type { Role } from '../model/access.ts';

export interface Actor {
  /** Empty for the local administrator, who is whoever can open the control socket. */
  readonly uid: Uid;
  readonly name: string;
  readonly roles: readonly Role[];
  readonly via: 'token' | 'api_key' | 'local';
  /** The API key, where one was used. */
  readonly credentialUid: Uid | null;
  readonly clientAddress: string;
}

/** Requests on the control socket: whoever may open it (mode 0600) is the machine's administrator. */
export const LOCAL_ADMIN: Actor = {
  uid: '',
  name: 'local',
  roles: ['admin'],
  via: 'local',
  credentialUid: null,
  clientAddress: 'local',
};

/** The system itself, for what nobody asked for: the first administrator, the demo's objects. */
export const SYSTEM: Actor = { ...LOCAL_ADMIN, name: 'system' };

/** Names that mean something in the journal, so no person may have them. */
export const RESERVED_NAMES: readonly string[] = [LOCAL_ADMIN.name, SYSTEM.name];

export type Permission =
  | 'user.read'
  | 'user.write'
  | 'password.change_own'
  | 'database.read'
  | 'database.write'
  | 'grant.read'
  | 'grant.give'
  | 'grant.revoke'
  | 'key.create_own'
  | 'key.create_for_others'
  | 'key.read'
  | 'key.revoke'
  | 'audit.read'
  | 'audit.read_own'
  | 'journal.read'
  | 'session.kill'
  | 'index.rebuild';

interface Rule {
  readonly roles: readonly Role[];
  readonly byApiKey: boolean;
}

const ANYBODY: readonly Role[] = ['admin', 'viewer', 'connector'];

/** `*.read` and `key.revoke` are about others' objects; one's own are always readable, one's own keys revocable. */
export const PERMISSIONS: Readonly<Record<Permission, Rule>> = {
  'user.read': { roles: ['admin', 'viewer'], byApiKey: true },
  'user.write': { roles: ['admin'], byApiKey: false },
  'password.change_own': { roles: ANYBODY, byApiKey: false },
  'database.read': { roles: ['admin', 'viewer'], byApiKey: true },
  'database.write': { roles: ['admin'], byApiKey: true },
  'grant.read': { roles: ['admin', 'viewer'], byApiKey: true },
  'grant.give': { roles: ['admin'], byApiKey: false },
  'grant.revoke': { roles: ['admin'], byApiKey: true },
  'key.create_own': { roles: ANYBODY, byApiKey: false },
  'key.create_for_others': { roles: ['admin'], byApiKey: false },
  'key.read': { roles: ['admin', 'viewer'], byApiKey: true },
  'key.revoke': { roles: ['admin'], byApiKey: true },
  'audit.read': { roles: ['admin', 'viewer'], byApiKey: true },
  'audit.read_own': { roles: ANYBODY, byApiKey: true },
  'journal.read': { roles: ['admin', 'viewer'], byApiKey: true },
  'session.kill': { roles: ['admin'], byApiKey: true },
  'index.rebuild': { roles: ['admin'], byApiKey: true },
};

export function may(actor: Actor, permission: Permission): boolean {
  const rule = PERMISSIONS[permission];
  return hasRole(actor, permission) && (rule.byApiKey || actor.via !== 'api_key');
}

function hasRole(actor: Actor, permission: Permission): boolean {
  return PERMISSIONS[permission].roles.some((role) => actor.roles.includes(role));
}

/** Throws `denied` unless the actor may. */
export function demand(actor: Actor, permission: Permission): void {
  if (may(actor, permission)) return;
  if (hasRole(actor, permission))
    throw new AppError(
      'denied',
      'ACCESS_API_KEY_LIMITED',
      'an API key cannot give access: it creates and changes no users, keys or grants; log in with the password for that',
    );
  throw new AppError(
    'denied',
    'ACCESS_ROLE_MISSING',
    `this needs the role ${PERMISSIONS[permission].roles.join(' or ')}; ask an administrator`,
  );
}

/** May this actor connect to databases through grants? */
export function mayConnect(roles: readonly string[]): boolean {
  return roles.includes('connector') || roles.includes('admin');
}
