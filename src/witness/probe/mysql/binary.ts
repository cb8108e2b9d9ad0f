/**
 * MySQL 5.6 to 9 and MariaDB 10.5 to 11 as a binary. The functions to attach to are exported, under names that say their
 * parameters; where members of THD and Security_context lie is read from the machine code of exported functions that
 * return, set or print them. What is not found is left out and said; without the text of a statement there is no probe.
 */
import { AppError } from '../../../base/errors.ts';
import type { ElfFile } from '../elf.ts';
import { type Hook, type Inspected, type InspectOptions, placeOf } from '../inspected.ts';
import {
  accessorPath,
  firstAddressTaken,
  firstCleared,
  firstComparedToNull,
  firstLoadedPointer,
  lastArgumentMember,
  memberBehindPointer,
  setterOffset,
} from '../machine-code.ts';
import { OFFSET, OPTION } from '../records.ts';

/** dispatch_command(enum_server_command, THD *, char *packet, uint length[, …]) */
const DISPATCH_PACKET = /^_Z16dispatch_command19enum_server_commandP3THDPcj/;
/** dispatch_command(THD *, const COM_DATA *, enum_server_command) */
const DISPATCH_DATA = /^_Z16dispatch_commandP3THDPK8COM_DATA19enum_server_command/;

type Alternatives = readonly (readonly [program: string, symbol: RegExp])[];

/** Of each group the first that is there; `what` is missed without. */
const HOOKS: readonly { readonly what: string; readonly anyOf: Alternatives; readonly also?: string }[] = [
  { what: 'statement ends', anyOf: [['my_statement_end', /^_Z18log_slow_statementP3THD/]] },
  {
    what: 'affected rows',
    anyOf: [
      ['my_ok_protocol', /^_ZN8Protocol11net_send_okEP3THDjjyyPKcb/],
      ['my_ok', /^_ZN16Protocol_classic7send_okEjjyyPKc$/],
      ['my_ok', /^_Z11net_send_okP3THDjjyyPKc$/],
    ],
  },
  {
    what: 'errors',
    anyOf: [
      ['my_error_protocol', /^_ZN8Protocol21net_send_error_packetEP3THDjPKcS3_$/],
      ['my_error', /^_ZN16Protocol_classic10send_errorEjPKcS1_$/],
      ['my_error', /^_Z21net_send_error_packetP3THDjPKcS2_$/],
    ],
  },
  {
    what: 'stored programs',
    anyOf: [['my_program', /^_ZN7sp_head7executeEP3THDb$/]],
    also: 'my_program_end',
  },
  { what: 'log-ins', anyOf: [['my_login', /^_Z16acl_authenticateP3THD/]], also: 'my_login_end' },
  { what: 'application names', anyOf: [['my_handshake', /^_Z23thd_init_client_charsetP3THDj$/]] },
  { what: 'session ends', anyOf: [['my_exit', /^_Z14end_connectionP3THD$/]] },
];

export interface MysqlBinary extends Inspected {
  readonly engine: 'mysql' | 'mariadb';
}

export function looksLikeMysql(elf: ElfFile): boolean {
  return find(elf, DISPATCH_PACKET) !== null || find(elf, DISPATCH_DATA) !== null;
}

/** @throws AppError `invalid` for a build that cannot be observed. */
export function inspectMysql(elf: ElfFile, options: InspectOptions): MysqlBinary {
  const { engine, version } = versionOf(elf);
  const missing: string[] = [];
  const dispatch = dispatchPlace(elf, options, version);
  const hooks: Hook[] = [
    { program: dispatch.program, fileOffset: dispatch.fileOffset },
    { program: 'my_dispatch_end', fileOffset: dispatch.fileOffset },
  ];
  const major = Number.parseInt(version, 10) || (dispatch.program === 'my_dispatch_packet' ? 5 : 8);
  let statementEnds = true;
  for (const { what, anyOf, also } of HOOKS) {
    const hook = firstHook(elf, anyOf);
    if (hook === null) {
      missing.push(what);
      if (what === 'statement ends') statementEnds = false;
      continue;
    }
    hooks.push(hook);
    if (also !== undefined) hooks.push({ program: also, fileOffset: hook.fileOffset });
  }
  hooks.push(...peerHooks(elf, missing));
  const { offsets, securityInside } = offsetsOf(elf, engine, missing);
  const textAtEntry = !statementEnds || offsets[OFFSET.query] === undefined;
  if (textAtEntry) missing.push('texts of prepared executions');
  return {
    engine,
    version,
    major,
    buildId: elf.buildId,
    facts: {
      engine: 2,
      major,
      maxTextBytes: options.maxTextBytes,
      options:
        (options.parameters ? OPTION.parameters : 0) |
        (textAtEntry ? OPTION.textAtEntry : 0) |
        (securityInside ? OPTION.securityInside : 0),
      entries: {},
      globals: {},
      offsets,
    },
    hooks,
    missing,
  };
}

function find(elf: ElfFile, pattern: RegExp): string | null {
  for (const name of elf.exported.keys()) if (pattern.test(name)) return name;
  return null;
}

function firstHook(elf: ElfFile, anyOf: Alternatives): Hook | null {
  for (const [program, pattern] of anyOf) {
    const symbol = find(elf, pattern);
    const place = symbol === null ? null : placeOf(elf, symbol);
    if (place !== null) return { program, fileOffset: place.fileOffset };
  }
  return null;
}

function versionOf(elf: ElfFile): { engine: 'mysql' | 'mariadb'; version: string } {
  const mariadb = elf.find('-MariaDB', /(\d{1,2}\.\d{1,2}\.\d{1,3}-MariaDB)/)?.[1];
  if (mariadb !== undefined) return { engine: 'mariadb', version: mariadb };
  // "MySQL 9.7.4" by itself; before, the folder of the sources in the names that assertions print.
  const mysql =
    elf.find('MySQL ', /\0MySQL (\d{1,2}\.\d{1,2}\.\d{1,3})[\w.-]{0,20}\0/)?.[1] ??
    elf.find('/sql/mysqld.cc', /mysql-(\d{1,2}\.\d{1,2}\.\d{1,3})[^\0]*\/sql\/mysqld\.cc/)?.[1];
  return { engine: 'mysql', version: mysql ?? '' };
}

/** Named or given by the user, or exported. Which of the two forms it has follows from the name, else from the version. */
function dispatchPlace(
  elf: ElfFile,
  { functionName, fileOffset }: InspectOptions,
  version: string,
): { program: string; fileOffset: number } {
  const symbol = functionName ?? find(elf, DISPATCH_PACKET) ?? find(elf, DISPATCH_DATA);
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const data =
    symbol !== null && /dispatch_command/.test(symbol)
      ? DISPATCH_DATA.test(symbol)
      : !version.includes('MariaDB') && (major > 5 || (major === 5 && minor >= 7));
  const program = data ? 'my_dispatch_data' : 'my_dispatch_packet';
  if (fileOffset !== undefined) {
    if (elf.addressAt(fileOffset) === null)
      throw new AppError(
        'invalid',
        'PROBE_OFFSET',
        `${elf.path} has no code at offset 0x${fileOffset.toString(16)}`,
      );
    return { program, fileOffset };
  }
  const place = symbol === null ? null : placeOf(elf, symbol);
  if (place === null)
    throw new AppError(
      'invalid',
      'PROBE_SYMBOLS',
      `${elf.path} does not export ${symbol ?? 'dispatch_command'}; say where it lies with --offset`,
    );
  return { program, fileOffset: place.fileOffset };
}

function peerHooks(elf: ElfFile, missing: string[]): Hook[] {
  const set = firstHook(elf, [['my_peer_set', /^_Z17thd_set_peer_addrP3THD/]]);
  if (set !== null) return [set];
  const get = firstHook(elf, [['my_peer', /^(?:_Z13)?vio_peer_addr(?:P3VioPcPt[jm])?$/]]);
  if (get !== null) return [get, { program: 'my_peer_end', fileOffset: get.fileOffset }];
  missing.push('client ports');
  return [];
}

function offsetsOf(
  elf: ElfFile,
  engine: 'mysql' | 'mariadb',
  missing: string[],
): { offsets: Record<number, number>; securityInside: boolean } {
  const offsets: Record<number, number> = {};
  const code = (symbol: string): Buffer => elf.code(symbol, 320) ?? Buffer.alloc(0);
  const path = (symbol: string): number[] => accessorPath(code(symbol)) ?? [];
  const put = (slot: number, what: string, ...candidates: (number | null | undefined)[]): void => {
    const found = candidates.find((value) => value !== null && value !== undefined);
    if (found !== null && found !== undefined) offsets[slot] = found;
    else missing.push(what);
  };
  put(OFFSET.threadId, 'connection ids', path('thd_get_thread_id')[0]);
  put(OFFSET.query, 'statement texts', path('thd_query_string')[0], path('_Z16thd_query_unsafeP3THD')[0]);
  put(OFFSET.rows, 'rows sent', setterOffset(code('_ZN3THD18set_sent_row_countEy')));
  put(OFFSET.queryId, 'query ids', path('thd_query_id')[0], lastArgumentMember(code('thd_security_context')));
  // 5.6: a Prepared_statement is a Statement, and a THD has a Statement behind the pointer of its first base.
  const inStatement = firstCleared(code('_ZN18Prepared_statement6set_dbEPKcj'));
  put(
    OFFSET.database,
    'databases',
    path('thd_current_db')[0],
    firstCleared(code('_ZN3THD6set_dbERK17MYSQL_LEX_CSTRING')),
    engine === 'mysql' && inStatement !== null ? inStatement + 8 : null,
  );
  put(
    OFFSET.net,
    'application names and ports of connections that were there before',
    memberBehindPointer(code('_ZN16Protocol_classic7get_netEv')),
    firstComparedToNull(code('_ZN8Protocol21net_send_error_packetEP3THDjPKcS3_')),
    firstComparedToNull(code('_Z12net_send_eofP3THDjj')),
  );
  const [pointer, user] = path('thd_user_name');
  if (user !== undefined) {
    put(OFFSET.security, 'users', pointer);
    put(OFFSET.user, 'users', user);
    put(OFFSET.host, 'hosts', path('thd_client_host')[1]);
    put(OFFSET.ip, 'client addresses', path('thd_client_ip')[1]);
    return { offsets, securityInside: false };
  }
  const getter = firstLoadedPointer(code('_Z24thd_get_security_contextP3THDPP16Security_context'));
  if (getter !== null) {
    put(OFFSET.security, 'users', getter);
    put(OFFSET.user, 'users', path('_ZNK16Security_context4userEv')[0]);
    put(OFFSET.host, 'hosts', path('_ZNK16Security_context4hostEv')[0]);
    put(OFFSET.ip, 'client addresses', path('_ZNK16Security_context2ipEv')[0]);
    return { offsets, securityInside: false };
  }
  // 5.6: THD::main_security_ctx {String host, ip, external_user; char *user; …}; a String begins with its pointer.
  put(OFFSET.security, 'users', firstAddressTaken(code('thd_security_context')));
  put(
    OFFSET.user,
    'users',
    path('_ZN16Security_context12user_matchesEPS_')[0],
    firstDereference(code('_ZN16Security_context12user_matchesEPS_')),
  );
  put(OFFSET.host, 'hosts', path('_ZN16Security_context8get_hostEv')[0], 0);
  put(OFFSET.ip, 'client addresses', path('_ZN16Security_context6get_ipEv')[0]);
  return { offsets, securityInside: true };
}

/** `mov disp8(%rdi),%rdi` behind a prologue: user_matches() compares this->user. */
function firstDereference(code: Buffer): number | null {
  for (let at = 0; at + 4 <= Math.min(code.length, 16); at++)
    if (code[at] === 0x48 && code[at + 1] === 0x8b && code[at + 2] === 0x7f) return code.readInt8(at + 3);
  return null;
}
