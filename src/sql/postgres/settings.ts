/** The settings that decide whether a session may write, and as whom. All others may be set under any control. */
const GUARDED: ReadonlySet<string> = new Set([
  'default_transaction_read_only',
  'transaction_read_only',
  'role',
  'session_authorization',
  'session_replication_role',
  // Superusers only. They make catalogs writable, or choose code that the server loads.
  'allow_system_table_mods',
  'dynamic_library_path',
  'extension_control_path',
  'local_preload_libraries',
  'session_preload_libraries',
  'event_triggers',
]);

/** Setting names are compared without regard to ASCII case, as guc_name_compare() does. */
export function isGuardedSetting(name: string): boolean {
  return GUARDED.has(foldName(name));
}

/**
 * A name as the server may come to see it. Servers with a single-byte encoding lower-case an unquoted `İ` to `i` under
 * a Turkish locale (downcase_identifier), and a text that is not UTF-8 may hold that letter where we see U+FFFD.
 */
export function foldName(name: string): string {
  const lower = name.toLowerCase();
  return isAscii(lower) ? lower : lower.replaceAll(/i\u0307|[\u0130\ufffd]/g, 'i');
}

function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7f) return false;
  return true;
}
