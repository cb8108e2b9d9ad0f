/**
 * Start-up parameters: what a client may set for its session upstream.
 *
 *   user, database           replaced by the database's stored ones
 *   replication              refused unless the database allows replication
 *   _pq_.*                   answered by us (NegotiateProtocolVersion), never passed on
 *   application_name         passed on, with the person's name in front where the database says so
 *   options                  passed on; under a grant with controls only if every `-c`/`--` setting in it is harmless
 *   any other setting        passed on; under a grant with controls only if it is harmless
 *   default_transaction_read_only   set to on under read_only, whatever the client says
 *
 * "Harmless" is everything but the settings below, which could weaken a control or change who the session runs as.
 */
import type { Control, RecordingOptions } from '../../../model/access.ts';
import { refusal, type Refusal, SQLSTATE } from './refusal.ts';

const GUARDED = new Set([
  'default_transaction_read_only',
  'transaction_read_only',
  'role',
  'session_authorization',
  'session_replication_role',
  'local_preload_libraries',
  'session_preload_libraries',
  'dynamic_library_path',
  'standard_conforming_strings',
  'backslash_quote',
  'event_triggers',
  'row_security',
  'allow_system_table_mods',
]);

const MAX_APPLICATION_NAME_BYTES = 63;

export interface UpstreamParameters {
  readonly parameters: Map<string, string>;
  /** The application name as the client sent it. */
  readonly applicationName: string;
}

export type ParameterResult =
  | { readonly ok: true; readonly value: UpstreamParameters }
  | { readonly ok: false; readonly refusal: Refusal };

export function upstreamParameters(
  sent: ReadonlyMap<string, string>,
  user: string,
  controls: readonly Control[],
  recording: RecordingOptions,
): ParameterResult {
  const parameters = new Map<string, string>();
  const applicationName = sent.get('application_name') ?? '';
  for (const [name, value] of sent) {
    if (name === 'user' || name === 'database' || name.startsWith('_pq_.')) continue;
    if (name === 'replication') {
      if (isFalse(value)) continue;
      if (!recording.allowReplication || controls.length > 0)
        return refuse(
          'replication connections',
          'Ask an administrator to allow replication for this database.',
        );
    } else if (controls.length > 0) {
      const guarded = name === 'options' ? guardedOption(value) : isGuarded(name, value) ? name : null;
      if (guarded !== null)
        return refuse(`the start-up setting ${guarded}`, 'Remove it from the connection options.');
    }
    parameters.set(name, value);
  }
  if (recording.labelApplicationName) parameters.set('application_name', label(user, applicationName));
  // Last, so that it wins over everything before it.
  if (controls.includes('read_only')) parameters.set('default_transaction_read_only', 'on');
  return { ok: true, value: { parameters, applicationName } };
}

function refuse(what: string, hint: string): ParameterResult {
  return { ok: false, refusal: refusal(SQLSTATE.insufficientPrivilege, `${what} is not allowed here`, hint) };
}

function label(user: string, applicationName: string): string {
  let text = `${user}@dbwitness${applicationName === '' ? '' : ` ${applicationName}`}`;
  while (Buffer.byteLength(text) > MAX_APPLICATION_NAME_BYTES) text = text.slice(0, -1);
  return text;
}

function isGuarded(name: string, value: string): boolean {
  const lower = name.toLowerCase();
  // A client that repeats what the control sets anyway is not a problem.
  return GUARDED.has(lower) && !(lower === 'default_transaction_read_only' && isTrue(value));
}

/**
 * The first guarded setting named in `options`, split as the server does (pg_split_opts): at the white space of C, which
 * is less than that of Unicode; `\` escapes it. Splitting where the server does not would pair `-c` with the wrong word.
 */
function guardedOption(options: string): string | null {
  const words = options.match(/(?:\\.|[^ \t\n\v\f\r\\])+/gs) ?? [];
  for (let i = 0; i < words.length; i++) {
    const word = words[i].replaceAll(/\\(.)/gs, '$1');
    let setting: string | null = null;
    if (word === '-c') setting = (words[++i] ?? '').replaceAll(/\\(.)/gs, '$1');
    else if (word.startsWith('-c')) setting = word.slice(2);
    else if (word.startsWith('--')) setting = word.slice(2);
    else return word; // other switches of the server (-f, -P, -O …): nothing a client under controls needs
    const equals = setting.indexOf('=');
    const name = setting
      .slice(0, equals < 0 ? undefined : equals)
      .trim()
      .replaceAll('-', '_');
    if (isGuarded(name, equals < 0 ? '' : setting.slice(equals + 1))) return name;
  }
  return null;
}

function isTrue(value: string): boolean {
  return ['on', 'true', 'yes', '1', 't', 'y'].includes(value.toLowerCase());
}

function isFalse(value: string): boolean {
  return ['off', 'false', 'no', '0', 'f', 'n'].includes(value.toLowerCase());
}
