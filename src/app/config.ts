/**
 * The configuration: environment variables `DBW_*`, nothing else. Every one is listed here with its default, checked at
 * the start, and documented in docs/configuration.md from this table.
 */
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { homedir, hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import { REACTOR_DRIVERS, type ReactorDriver } from '../transport/reactor.ts';

export interface ListenAddress {
  /** Empty: all addresses. */
  readonly host: string;
  readonly port: number;
}

/** How clients of the MySQL listener may log in; in the order in which they are documented. */
export const MYSQL_AUTH_METHODS = [
  'caching_sha2_password',
  'mysql_clear_password',
  'client_ed25519',
  'mysql_native_password',
] as const;
export type MysqlAuthMethod = (typeof MYSQL_AUTH_METHODS)[number];

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const;

export interface Config {
  readonly dataDir: string;
  readonly dsn: string;
  readonly runMode: '' | 'test' | 'demo';
  readonly logLevel: (typeof LOG_LEVELS)[number];
  readonly node: string;
  /** `null`: that listener is off. */
  readonly listenPostgres: ListenAddress | null;
  readonly listenMysql: ListenAddress | null;
  readonly listenApi: ListenAddress | null;
  readonly mysqlAuth: readonly MysqlAuthMethod[];
  /** Addresses and CIDR blocks of load balancers whose PROXY protocol header is believed. */
  readonly mysqlProxyProtocolFrom: readonly string[];
  readonly key: string;
  readonly keyFile: string;
  readonly previousKeys: readonly string[];
  readonly adminPassword: string;
  readonly tls: 'off' | 'on' | 'required';
  readonly tlsCertFile: string;
  readonly tlsKeyFile: string;
  readonly tlsClientCaFile: string;
  readonly clientCertificateLogin: boolean;
  readonly cleartextPasswords: boolean;
  readonly maxStatementBytes: number;
  readonly reactor: ReactorDriver;
  readonly journalEncryption: boolean;
  readonly journalReserveBytes: number;
  /** `null`: kept for ever. */
  readonly retentionDays: number | null;
  readonly cosignerUrl: string;
  readonly cosignerKey: string;
  /** How far the index may fall behind while others need the machine, seconds; 0: it never gives way. */
  readonly indexLagSeconds: number;
  readonly trustedProxies: readonly string[];
  /** For kernel probes of other hosts; `null`: off. */
  readonly listenProbe: ListenAddress | null;
  readonly probeCertFile: string;
  readonly probeKeyFile: string;
  readonly probeCaFile: string;
}

/** One setting, for the documentation and `dbwitness up --help`. */
export interface SettingDoc {
  readonly name: string;
  readonly default: string;
  readonly meaning: string;
}

export const SETTINGS: readonly SettingDoc[] = [
  {
    name: 'DBW_DATA_DIR',
    default: '/var/lib/dbwitness as root, else ~/.local/share/dbwitness',
    meaning: 'folder of journal, embedded store, keys',
  },
  {
    name: 'DBW_DSN',
    default: '(embedded PGlite)',
    meaning: 'postgres://… of the store, when one machine is not enough',
  },
  { name: 'DBW_LISTEN_PG', default: ':5434', meaning: 'address of the PostgreSQL listener; empty: off' },
  {
    name: 'DBW_LISTEN_MYSQL',
    default: ':3307',
    meaning: 'address of the listener for MySQL and MariaDB; empty: off',
  },
  {
    name: 'DBW_LISTEN_ORA',
    default: '(off)',
    meaning: 'reserved for the Oracle listener, which this version does not have',
  },
  {
    name: 'DBW_LISTEN_API',
    default: ':4200',
    meaning: 'address of the REST API; empty: off (the control socket stays)',
  },
  {
    name: 'DBW_ADMIN_PASSWORD',
    default: '(generated, printed once)',
    meaning: 'password of the first user, admin; used at the first start only',
  },
  {
    name: 'DBW_KEY',
    default: '(file `key` in the data folder)',
    meaning: 'master key: 32 bytes as hex or base64',
  },
  { name: 'DBW_KEYFILE', default: '', meaning: 'file with the master key; nobody else may read it' },
  { name: 'DBW_KEY_PREVIOUS', default: '', meaning: 'former master keys, comma-separated, to rotate' },
  { name: 'DBW_TLS', default: 'on', meaning: 'off, on (offered to database clients) or required' },
  {
    name: 'DBW_TLS_CERT',
    default: '(self-signed, kept in the data folder)',
    meaning: 'PEM file of the listener’s certificate chain',
  },
  { name: 'DBW_TLS_KEY', default: '', meaning: 'PEM file of its key' },
  {
    name: 'DBW_TLS_CLIENT_CA',
    default: '',
    meaning: 'PEM file of the authorities of client certificates; set: they are asked for',
  },
  {
    name: 'DBW_CLIENT_CERT_LOGIN',
    default: 'off',
    meaning:
      'on: at the PostgreSQL listener, a verified certificate whose common name is the user needs no password',
  },
  {
    name: 'DBW_CLEARTEXT_PASSWORDS',
    default: 'off',
    meaning:
      'on: at the PostgreSQL listener, inside TLS, ask for the password in clear (clients without SCRAM)',
  },
  {
    name: 'DBW_MYSQL_AUTH',
    default: 'caching_sha2_password,mysql_clear_password',
    meaning:
      'how clients of the MySQL listener may log in, comma-separated; also known: client_ed25519 and mysql_native_password, for clients that need them',
  },
  {
    name: 'DBW_MYSQL_PROXY_PROTOCOL_FROM',
    default: '',
    meaning:
      'addresses or CIDR blocks of load balancers in front of the MySQL listener whose PROXY protocol header is believed, comma-separated',
  },
  {
    name: 'DBW_MAX_STATEMENT_BYTES',
    default: String(limits.maxStatementBytes),
    meaning: 'longest statement text that is passed on',
  },
  {
    name: 'DBW_JOURNAL_ENCRYPTION',
    default: 'off',
    meaning: 'on: new journal segments are encrypted at rest (AES-256-GCM)',
  },
  {
    name: 'DBW_JOURNAL_RESERVE',
    default: '0',
    meaning: 'free bytes below which nothing is recorded, and so nothing let through',
  },
  {
    name: 'DBW_RETENTION_DAYS',
    default: '(for ever)',
    meaning: 'age after which journal segments and their index are dropped',
  },
  { name: 'DBW_COSIGNER_URL', default: '', meaning: 'C2SP witness (tlog-witness) that cosigns checkpoints' },
  { name: 'DBW_COSIGNER_KEY', default: '', meaning: 'its verifier key (vkey)' },
  { name: 'DBW_NODE', default: '(host name)', meaning: 'name of this node in the journal' },
  {
    name: 'DBW_INDEX_LAG_SECONDS',
    default: '120',
    meaning:
      'how far search may fall behind the journal while others need the processor; 0: it never gives way',
  },
  {
    name: 'DBW_REACTOR',
    default: 'auto',
    meaning:
      'how the relay does its input and output: uring (Linux, where io_uring is allowed), epoll (Linux), node (everywhere); auto: the first that works',
  },
  {
    name: 'DBW_TRUSTED_PROXIES',
    default: '',
    meaning: 'addresses of reverse proxies in front of the API, comma-separated',
  },
  {
    name: 'DBW_LISTEN_PROBE',
    default: '(off)',
    meaning: 'address where kernel probes of other hosts hand over what they saw, by mutual TLS',
  },
  { name: 'DBW_PROBE_CERT', default: '', meaning: 'PEM file of the certificate shown to those probes' },
  { name: 'DBW_PROBE_KEY', default: '', meaning: 'PEM file of its key' },
  {
    name: 'DBW_PROBE_CA',
    default: '',
    meaning: 'PEM file of the authorities of those probes’ certificates',
  },
  { name: 'DBW_LOG_LEVEL', default: 'info', meaning: LOG_LEVELS.join(', ') },
  { name: 'DBW_RUN_MODE', default: '(empty)', meaning: 'empty, test or demo' },
];

type Env = Readonly<Record<string, string | undefined>>;

/** Reads the configuration. @throws AppError `invalid` that names the variable and what it takes. */
export function readConfig(env: Env): Config {
  refuseUnknown(env);
  if (env['DBW_LISTEN_ORA']) throw invalid('DBW_LISTEN_ORA', 'this version has no such listener; unset it');
  const cosigner = { url: env['DBW_COSIGNER_URL'] ?? '', key: env['DBW_COSIGNER_KEY'] ?? '' };
  if ((cosigner.url === '') !== (cosigner.key === ''))
    throw invalid('DBW_COSIGNER_KEY', 'set both DBW_COSIGNER_URL and DBW_COSIGNER_KEY, or none');
  return {
    dataDir: resolve(env['DBW_DATA_DIR'] || defaultDataDir()),
    dsn: env['DBW_DSN'] ?? '',
    runMode: oneOf(env, 'DBW_RUN_MODE', ['', 'test', 'demo'], ''),
    logLevel: oneOf(env, 'DBW_LOG_LEVEL', LOG_LEVELS, 'info'),
    node: env['DBW_NODE'] || hostname(),
    listenPostgres: address(env, 'DBW_LISTEN_PG', ':5434'),
    listenMysql: address(env, 'DBW_LISTEN_MYSQL', ':3307'),
    listenApi: address(env, 'DBW_LISTEN_API', ':4200'),
    mysqlAuth: mysqlAuth(env),
    mysqlProxyProtocolFrom: list(env['DBW_MYSQL_PROXY_PROTOCOL_FROM']).map(checkBlock),
    key: env['DBW_KEY'] ?? '',
    keyFile: env['DBW_KEYFILE'] ?? '',
    previousKeys: list(env['DBW_KEY_PREVIOUS']),
    adminPassword: env['DBW_ADMIN_PASSWORD'] ?? '',
    tls: oneOf(env, 'DBW_TLS', ['off', 'on', 'required'], 'on'),
    tlsCertFile: env['DBW_TLS_CERT'] ?? '',
    tlsKeyFile: env['DBW_TLS_KEY'] ?? '',
    tlsClientCaFile: env['DBW_TLS_CLIENT_CA'] ?? '',
    clientCertificateLogin: flag(env, 'DBW_CLIENT_CERT_LOGIN'),
    cleartextPasswords: flag(env, 'DBW_CLEARTEXT_PASSWORDS'),
    maxStatementBytes: integer(env, 'DBW_MAX_STATEMENT_BYTES', limits.maxStatementBytes, 1024, 0x3fffffff),
    reactor: oneOf(env, 'DBW_REACTOR', REACTOR_DRIVERS, 'auto'),
    journalEncryption: flag(env, 'DBW_JOURNAL_ENCRYPTION'),
    journalReserveBytes: integer(env, 'DBW_JOURNAL_RESERVE', 0, 0, Number.MAX_SAFE_INTEGER),
    retentionDays: env['DBW_RETENTION_DAYS'] ? integer(env, 'DBW_RETENTION_DAYS', 0, 1, 36_500) : null,
    cosignerUrl: cosigner.url,
    cosignerKey: cosigner.key,
    indexLagSeconds: integer(env, 'DBW_INDEX_LAG_SECONDS', 120, 0, 86_400),
    trustedProxies: list(env['DBW_TRUSTED_PROXIES']),
    listenProbe: env['DBW_LISTEN_PROBE'] ? address(env, 'DBW_LISTEN_PROBE', '') : null,
    probeCertFile: env['DBW_PROBE_CERT'] ?? '',
    probeKeyFile: env['DBW_PROBE_KEY'] ?? '',
    probeCaFile: env['DBW_PROBE_CA'] ?? '',
  };
}

export function defaultDataDir(): string {
  if (process.getuid?.() === 0) return '/var/lib/dbwitness';
  return join(process.env['XDG_DATA_HOME'] || join(homedir(), '.local', 'share'), 'dbwitness');
}

/** The version of this package. */
export function packageVersion(): string {
  // src/app and dist/app lie equally deep.
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

const KNOWN_ELSEWHERE = new Set(['DBW_URL', 'DBW_API_KEY', 'DBW_NODE_BIN']);

// A misspelt setting that is silently ignored is how a control stays off.
function refuseUnknown(env: Env): void {
  const known = new Set([...SETTINGS.map((setting) => setting.name), ...KNOWN_ELSEWHERE]);
  for (const name of Object.keys(env)) {
    if (!name.startsWith('DBW_') || known.has(name) || /^DBW_(TEST|DEMO|BENCH|CHAOS)/.test(name)) continue;
    throw invalid(name, 'there is no such setting; see docs/configuration.md');
  }
}

function invalid(name: string, problem: string): AppError {
  return new AppError('invalid', 'APP_CONFIG_INVALID', `${name}: ${problem}`, { details: { setting: name } });
}

function oneOf<const T extends string>(env: Env, name: string, values: readonly T[], fallback: T): T {
  const text = env[name];
  if (text === undefined || text === '') return fallback;
  const found = values.find((value) => value === text);
  if (found === undefined)
    throw invalid(name, `"${text}" is none of ${values.filter((value) => value !== '').join(', ')}`);
  return found;
}

function flag(env: Env, name: string): boolean {
  return oneOf(env, name, ['on', 'off'], 'off') === 'on';
}

function integer(env: Env, name: string, fallback: number, min: number, max: number): number {
  const text = env[name];
  if (text === undefined || text === '') return fallback;
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < min || value > max)
    throw invalid(name, `"${text}" is not a whole number from ${min} to ${max}`);
  return value;
}

function list(text: string | undefined): string[] {
  return (text ?? '')
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
}

function mysqlAuth(env: Env): MysqlAuthMethod[] {
  const known: readonly string[] = MYSQL_AUTH_METHODS;
  const methods = list(env['DBW_MYSQL_AUTH'] || 'caching_sha2_password,mysql_clear_password');
  const unknown = methods.find((method) => !known.includes(method));
  if (unknown !== undefined)
    throw invalid('DBW_MYSQL_AUTH', `"${unknown}" is none of ${MYSQL_AUTH_METHODS.join(', ')}`);
  return MYSQL_AUTH_METHODS.filter((method) => methods.includes(method));
}

function checkBlock(block: string): string {
  const [, base, bits] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(block) ?? [];
  const version = isIP(base ?? '');
  if (version === 0 || Number(bits ?? 0) > (version === 4 ? 32 : 128))
    throw invalid(
      'DBW_MYSQL_PROXY_PROTOCOL_FROM',
      `"${block}" is neither an address nor a block; write 192.0.2.1 or 192.0.2.0/24`,
    );
  return block;
}

/** "host:port", ":port", "[::1]:port"; empty: off. */
function address(env: Env, name: string, fallback: string): ListenAddress | null {
  const text = env[name] ?? fallback;
  if (text === '') return null;
  const match = /^(?:\[([^\]]+)\]|([^:]*)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (!match || port > 65_535)
    throw invalid(name, `"${text}" is not an address; write host:port, :port, or nothing to switch it off`);
  return { host: match[1] ?? match[2] ?? '', port };
}
