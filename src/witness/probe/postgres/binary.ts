/**
 * PostgreSQL 10 to 18 as a binary: which functions to attach to, where its variables lie, what its command tags are.
 *
 * All of it from exported symbols (a server exports them for its extensions, so stripped builds have them too). Two
 * variables are static, and found in the machine code of the functions that return them.
 */
import { AppError } from '../../../base/errors.ts';
import type { ElfFile } from '../elf.ts';
import { type Hook, type Inspected, type InspectOptions, type Place, placeOf } from '../inspected.ts';
import { callsTo, globalRead, localArgument, setsFirstArgument } from '../machine-code.ts';
import { ENTRY, GLOBAL, OFFSET, OPTION } from '../records.ts';

/** Program, function, slot of its address. */
const HOOKS: readonly (readonly [program: string, symbol: string, slot: number | null])[] = [
  ['pg_end_command', 'EndCommand', ENTRY.endCommand],
  ['pg_portal_failed', 'MarkPortalFailed', ENTRY.portalFailed],
  ['pg_error_report', 'EmitErrorReport', null],
  ['pg_send_string', 'pq_sendstring', ENTRY.sendString],
  ['pg_tree_status', 'TransactionIdSetTreeStatus', ENTRY.treeStatus],
  ['pg_init', 'InitPostgres', ENTRY.init],
  ['pg_init_end', 'InitPostgres', null],
  ['pg_application', 'pgstat_report_appname', null],
  ['pg_exit', 'proc_exit', null],
];
const PARAMETER_HOOK = ['pg_portal_start', 'PortalStart', ENTRY.portalStart] as const;
/** Without these there are no statements. */
const REQUIRED = ['PortalRun', 'EndCommand', 'debug_query_string'];
const PORTAL_SUSPENDED = 0x73; // 's'
export const OLDEST_POSTGRES = 10;
export const NEWEST_POSTGRES = 18;

export interface PostgresBinary extends Inspected {
  readonly engine: 'postgres';
  /** Names by number of `CommandTag`; empty before 13, where the record has the tag as text. */
  readonly tags: readonly string[];
  /** Addresses as linked of variables that are read from a process's memory. */
  readonly variables: { readonly port: number; readonly application: number; readonly started: number };
}

export function looksLikePostgres(elf: ElfFile): boolean {
  return elf.exported.has('PortalRun') && elf.exported.has('ProcessInterrupts');
}

/** @throws AppError `invalid` for a version or build that cannot be observed. */
export function inspectPostgres(elf: ElfFile, options: InspectOptions): PostgresBinary {
  const version = versionOf(elf);
  const major = Number.parseInt(version, 10) || 0;
  if (major < OLDEST_POSTGRES)
    throw new AppError(
      'invalid',
      'PROBE_VERSION',
      `${elf.path} is PostgreSQL ${version || 'of an unknown version'}; the probe knows ${OLDEST_POSTGRES} to ${NEWEST_POSTGRES}`,
    );
  const start = options.functionName ?? 'PortalRun';
  const lacking = REQUIRED.filter((name) => !elf.exported.has(name === 'PortalRun' ? start : name));
  if (lacking.length > 0)
    throw new AppError('invalid', 'PROBE_SYMBOLS', `${elf.path} does not export ${lacking.join(', ')}`);
  const places = new Map<string, Place>();
  const hooks: Hook[] = [];
  const entries: Record<number, number> = {};
  const missing: string[] = [];
  const globals = variablesOf(elf, missing);
  const suspended = suspendedIn(elf);
  // One hook less per statement; whoever names a function wants it attached to.
  const lean =
    suspended !== null && globals[GLOBAL.statementTime] !== undefined && options.functionName === undefined;
  const wanted = [
    ...HOOKS,
    ...(lean ? [] : ([['pg_portal_run', start, ENTRY.portalRun]] as const)),
    ...(options.parameters ? [PARAMETER_HOOK] : []),
  ];
  for (const [program, symbol, slot] of wanted) {
    const place = places.get(symbol) ?? placeOf(elf, symbol);
    if (place === null) {
      missing.push(`${symbol} is not exported`);
      continue;
    }
    places.set(symbol, place);
    hooks.push({ program, fileOffset: place.fileOffset });
    if (slot !== null) entries[slot] = place.address;
  }
  if (lean) {
    hooks.push({ program: 'pg_suspended', fileOffset: suspended.place.fileOffset });
    entries[ENTRY.suspended] = suspended.place.address;
  }
  if (!suspended?.tag) missing.push('rows of suspended portals');
  const tag = lean ? suspended.tag : null;
  const [paramCount, params] = major >= 13 ? [56, 64] : major >= 11 ? [48, 56] : [32, 48];
  const tags = major >= 13 ? commandTags(elf) : [];
  if (major >= 13 && tags.length === 0) missing.push('command tags');
  return {
    engine: 'postgres',
    version,
    major,
    buildId: elf.buildId,
    facts: {
      engine: 1,
      major,
      maxTextBytes: options.maxTextBytes,
      options: (options.parameters ? OPTION.parameters : 0) | (tag?.base === 'rbp' ? OPTION.suspendedRbp : 0),
      entries,
      globals,
      offsets: {
        [OFFSET.paramCount]: paramCount,
        [OFFSET.params]: params,
        ...(tag === null ? {} : { [OFFSET.suspended]: tag.displacement }),
      },
    },
    hooks,
    missing,
    tags,
    variables: {
      port: globals[GLOBAL.port] ?? 0,
      application: globals[GLOBAL.application] ?? 0,
      started: globals[GLOBAL.started] ?? 0,
    },
  };
}

function versionOf(elf: ElfFile): string {
  // PG_VERSION_STR, as version() returns it.
  return elf.find(' on ', /PostgreSQL (\d+(?:\.\d+|devel|beta\d+|rc\d+)?)[^\0]{0,60} on \w/)?.[1] ?? '';
}

function variablesOf(elf: ElfFile, missing: string[]): Record<number, number> {
  const globals: Record<number, number> = {};
  const named = (slot: number, symbol: string, what: string): void => {
    const address = elf.exported.get(symbol)?.value;
    if (address === undefined) missing.push(what);
    else globals[slot] = address;
  };
  named(GLOBAL.query, 'debug_query_string', 'texts');
  named(GLOBAL.lastRecord, 'XactLastRecEnd', 'WAL positions');
  named(GLOBAL.port, 'MyProcPort', 'client addresses');
  named(GLOBAL.application, 'application_name', 'application names');
  named(GLOBAL.postmaster, 'PostmasterPid', 'which server a backend belongs to');
  named(GLOBAL.activePortal, 'ActivePortal', 'whose parameters they are');
  // From 12 on; before, the process's own start time is used.
  const started = elf.exported.get('MyStartTimestamp')?.value;
  if (started !== undefined) globals[GLOBAL.started] = started;
  const returned = (slot: number, getter: string, what: string): void => {
    const place = placeOf(elf, getter);
    const code = place === null ? null : elf.read(place.fileOffset, 24);
    const address = place === null || code === null ? null : globalRead(code, place.address);
    if (address === null) missing.push(what);
    else globals[slot] = address;
  };
  returned(GLOBAL.statementTime, 'GetCurrentStatementStartTimestamp', 'start of the message');
  returned(GLOBAL.xid, 'GetTopTransactionIdIfAny', 'transaction ids');
  returned(GLOBAL.stopTime, 'GetCurrentTransactionStopTimestamp', 'times of commits');
  return globals;
}

/**
 * The one place of PostgresMain that says PortalSuspended (`pq_putemptymessage('s')`, at the call, which is emulated),
 * and where in its frame the QueryCompletion of the run lies: what it gives to EndCommand otherwise, which a compiler
 * that put exec_execute_message() into PostgresMain calls there once.
 */
function suspendedIn(
  elf: ElfFile,
): { place: Place; tag: NonNullable<ReturnType<typeof localArgument>> | null } | null {
  const main = elf.exported.get('PostgresMain');
  const put = elf.exported.get('pq_putemptymessage');
  const end = elf.exported.get('EndCommand');
  const code = main === undefined ? null : elf.code('PostgresMain', main.size);
  if (main === undefined || put === undefined || end === undefined || code === null) return null;
  const [at, another] = callsTo(code, main.value, put.value).filter((call) =>
    setsFirstArgument(code, call, PORTAL_SUSPENDED),
  );
  const address = at === undefined ? 0 : main.value + at;
  const fileOffset = elf.offsetOf(address);
  if (at === undefined || another !== undefined || fileOffset === null) return null;
  const ends = callsTo(code, main.value, end.value);
  return {
    place: { address, fileOffset },
    tag: ends.length === 1 ? localArgument(code, ends[0]) : null,
  };
}

const MAX_TAGS = 512;

/**
 * The names of `CommandTag` in their order: a static table of {const char *name, …} with 16 bytes per entry, whose first
 * entries are "???", "ALTER ACCESS METHOD", "ALTER AGGREGATE" (cmdtaglist.h is sorted).
 */
function commandTags(elf: ElfFile): string[] {
  const second = addressOfString(elf, 'ALTER ACCESS METHOD');
  const third = addressOfString(elf, 'ALTER AGGREGATE');
  if (second === null || third === null) return [];
  const pointers = elf.relativePointers();
  for (const [at, to] of pointers) {
    if (to !== second || pointers.get(at + 16) !== third) continue;
    const tags: string[] = [];
    for (let slot = at - 16; tags.length < MAX_TAGS; slot += 16) {
      const name = stringAt(elf, pointers.get(slot));
      if (name === null) break;
      tags.push(name);
    }
    return tags;
  }
  return [];
}

function addressOfString(elf: ElfFile, text: string): number | null {
  const rodata = elf.section('.rodata');
  if (rodata === undefined) return null;
  const at = elf.read(rodata.offset, rodata.size).indexOf(`\0${text}\0`, 0, 'latin1');
  return at < 0 ? null : rodata.address + at + 1;
}

/** A command tag at a virtual address: capital letters and spaces, or the "???" of the first. */
function stringAt(elf: ElfFile, address: number | undefined): string | null {
  const offset = address === undefined ? null : elf.offsetOf(address);
  if (offset === null) return null;
  const text = elf.read(offset, 64).toString('latin1').split('\0', 1)[0] ?? '';
  return /^(?:\?\?\?|[A-Z][A-Z ]{1,50})$/.test(text) ? text : null;
}
