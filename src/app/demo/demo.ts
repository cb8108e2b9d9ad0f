/**
 * The demo: a node on embedded defaults, a sample PostgreSQL server with the data of a clinic, and people with grants.
 * Everything is in one folder; a second start finds it.
 *
 *   .dbwitness-demo/  demo.json        passwords of the people, mode 0600
 *                     sample-postgres/ the target (elsewhere when the server's user cannot reach this: see dataDir)
 *                     journal/ store/  of the node
 *
 * Nothing here is in a node that `dbwitness up` starts.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import type { Access } from '../../access/access.ts';
import { SYSTEM } from '../../access/actor.ts';
import { systemClock } from '../../base/clock.ts';
import { AppError, isAppError } from '../../base/errors.ts';
import type { Uid } from '../../base/ids.ts';
import type { Control, Role } from '../../model/access.ts';
import { type Config, readConfig } from '../config.ts';
import { createLogger } from '../node/logging.ts';
import { type Node, startNode } from '../node/node.ts';
import { demoDataDir } from './demo-settings.ts';
import { type SampleTarget, startSampleTarget } from './sample-target.ts';

const DATABASE = 'clinic';
const GRANT_DAYS = 30;
const DAY_US = 86_400_000_000;

interface Part {
  readonly roles: readonly Role[];
  /** Controls of the grant on the clinic; `null`: no grant. */
  readonly controls: readonly Control[] | null;
  readonly about: string;
}

const PEOPLE = {
  admin: { roles: ['admin'], controls: null, about: 'administers dbwitness' },
  developer: { roles: ['connector'], controls: [], about: 'may do everything in the clinic database' },
  analyst: { roles: ['connector'], controls: ['read_only'], about: 'may only read the clinic database' },
  viewer: { roles: ['viewer'], controls: null, about: 'reads everything that was recorded' },
} as const satisfies Record<string, Part>;

export type PersonName = keyof typeof PEOPLE;
const NAMES = Object.keys(PEOPLE) as PersonName[];

export interface DemoPerson {
  readonly name: PersonName;
  readonly password: string;
  readonly about: string;
  /** What libpq takes; `null` for those who have no grant. */
  readonly uri: string | null;
}

export interface Demo {
  readonly dataDir: string;
  readonly people: readonly DemoPerson[];
  /** Where the sample server's data is, its port, and whether this start made it. */
  readonly target: { readonly dataDir: string; readonly port: number; readonly fresh: boolean };
  readonly apiAddress: string | null;
  stop(): Promise<void>;
  abandon(): void;
}

type Env = Readonly<Record<string, string | undefined>>;

/** Rejects with an AppError that says what is wrong, with nothing left running. */
export async function startDemo(env: Env, log: (line: string) => void): Promise<Demo> {
  const config = demoConfig(env);
  if (config.listenPostgres === null)
    throw new AppError(
      'invalid',
      'DEMO_NO_LISTENER',
      'the demo needs its PostgreSQL listener; set DBW_LISTEN_PG',
    );
  // The sample server runs as another user when we are root, and must be able to go through.
  await mkdir(config.dataDir, { recursive: true, mode: 0o711 });
  const state = await readOrMakeState(join(config.dataDir, 'demo.json'), config.adminPassword);
  const { passwords } = state;
  log('starting dbwitness and the sample PostgreSQL server …');
  const starting = startSampleTarget({
    dataDir: join(config.dataDir, 'sample-postgres'),
    port: await targetPort(env, state.targetPort),
    log,
  });
  const [node, target] = await both(
    startNode({ ...config, adminPassword: passwords.admin }, createLogger(config)),
    starting,
  );
  const stop = async (): Promise<void> => {
    await node.stop();
    await target.server.stop();
  };
  try {
    await writeState(join(config.dataDir, 'demo.json'), { ...state, targetPort: target.server.port });
    await populate(node.access, target, passwords);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    dataDir: config.dataDir,
    people: NAMES.map((name) => describe(name, passwords[name], config)),
    target: { dataDir: target.server.dataDir, port: target.server.port, fresh: target.data.created },
    apiAddress: node.apiAddress,
    stop,
    abandon: () => node.abandon(),
  };
}

/** On loopback unless told otherwise: its passwords are written on the screen. Its sample is a PostgreSQL server. */
function demoConfig(env: Env): Config {
  return readConfig({
    DBW_LISTEN_PG: '127.0.0.1:5434',
    DBW_LISTEN_MYSQL: '',
    DBW_LISTEN_API: '127.0.0.1:4200',
    DBW_LOG_LEVEL: 'warn',
    ...env,
    DBW_DATA_DIR: env['DBW_DATA_DIR'] || demoDataDir(),
    DBW_RUN_MODE: 'demo',
  });
}

/** When one of the two fails, the other is ended before it is told. */
async function both(starting: Promise<Node>, target: Promise<SampleTarget>): Promise<[Node, SampleTarget]> {
  const [node, sample] = await Promise.allSettled([starting, target]);
  if (node.status === 'fulfilled' && sample.status === 'fulfilled') return [node.value, sample.value];
  if (node.status === 'fulfilled') await node.value.stop();
  if (sample.status === 'fulfilled') await sample.value.server.stop();
  throw node.status === 'rejected' ? node.reason : (sample as PromiseRejectedResult).reason;
}

// ---- what is kept ---------------------------------------------------------------------------------------------

interface State {
  readonly passwords: Readonly<Record<PersonName, string>>;
  /** Used again if it is free, so that the database stays the same one. */
  readonly targetPort: number;
}

async function readOrMakeState(file: string, adminPassword: string): Promise<State> {
  const kept = await readFile(file, 'utf8').catch(() => null);
  if (kept !== null) return JSON.parse(kept) as State;
  const made = Object.fromEntries(
    NAMES.map((name) => [name, randomBytes(9).toString('base64').replaceAll(/[+/]/g, 'x')]),
  );
  const passwords = {
    ...(made as State['passwords']),
    ...(adminPassword === '' ? {} : { admin: adminPassword }),
  };
  const state: State = { passwords, targetPort: 0 };
  await writeState(file, state);
  return state;
}

async function writeState(file: string, state: State): Promise<void> {
  await writeFile(file, `${JSON.stringify(state)}\n`, { mode: 0o600 });
}

/** DBW_DEMO_TARGET_PORT, else the one of the last start if nobody has it, else any. */
async function targetPort(env: Env, last: number): Promise<number> {
  const text = env['DBW_DEMO_TARGET_PORT'] ?? '';
  if (text === '') return last !== 0 && (await isFree(last)) ? last : 0;
  const port = Number(text);
  if (Number.isInteger(port) && port > 0 && port <= 65_535) return port;
  throw new AppError('invalid', 'DEMO_TARGET_PORT', `DBW_DEMO_TARGET_PORT: "${text}" is not a port`);
}

function isFree(port: number): Promise<boolean> {
  const server = createServer();
  return new Promise((done) => {
    server.once('error', () => done(false));
    server.listen(port, '127.0.0.1', () => server.close(() => done(true)));
  });
}

// ---- people, database, grants ---------------------------------------------------------------------------------

async function populate(access: Access, target: SampleTarget, passwords: State['passwords']): Promise<void> {
  const databaseUid = await ensureDatabase(access, target);
  for (const name of NAMES) {
    const { roles, controls, about }: Part = PEOPLE[name];
    const userUid = await ensureUser(access, name, passwords[name], roles, about);
    if (controls !== null) await ensureGrant(access, userUid, databaseUid, controls);
  }
}

async function ensureDatabase({ databases }: Access, target: SampleTarget): Promise<Uid> {
  const fields = {
    description: 'Sample data of the demo: a clinic',
    host: target.server.host,
    port: target.server.port,
    databaseName: target.databaseName,
    username: target.username,
    password: target.password,
    sslMode: 'disable' as const,
  };
  const found = await orNull(databases.find(SYSTEM, DATABASE));
  if (found === null) return (await databases.create(SYSTEM, { name: DATABASE, ...fields })).uid;
  const { connection } = found;
  const same = connection?.host === fields.host && connection.port === fields.port;
  if (!same) await databases.update(SYSTEM, found.uid, fields);
  return found.uid;
}

async function ensureUser(
  { users }: Access,
  username: PersonName,
  password: string,
  roles: readonly Role[],
  displayName: string,
): Promise<Uid> {
  const found = await orNull(users.find(SYSTEM, username));
  return (found ?? (await users.create(SYSTEM, { username, password, roles: [...roles], displayName }))).uid;
}

async function ensureGrant(
  { grants }: Access,
  userUid: Uid,
  databaseUid: Uid,
  controls: readonly Control[],
): Promise<void> {
  const { items } = await grants.list(
    SYSTEM,
    { limit: 1, after: null },
    { userUid, databaseUid, active: true },
  );
  if (items.length > 0) return;
  const expiresUs = systemClock.wallUs() + GRANT_DAYS * DAY_US;
  await grants.create(SYSTEM, { userUid, databaseUid, controls: [...controls], expiresUs, reason: 'demo' });
}

async function orNull<T>(found: Promise<T>): Promise<T | null> {
  try {
    return await found;
  } catch (error) {
    if (isAppError(error) && error.kind === 'not-found') return null;
    throw error;
  }
}

function describe(name: PersonName, password: string, { listenPostgres }: Config): DemoPerson {
  const { controls, about }: Part = PEOPLE[name];
  const host = listenPostgres === null || listenPostgres.host === '' ? 'localhost' : listenPostgres.host;
  const shown = ['0.0.0.0', '::'].includes(host) ? 'localhost' : host.includes(':') ? `[${host}]` : host;
  const login = `${name}:${encodeURIComponent(password)}`;
  const uri =
    controls === null || listenPostgres === null
      ? null
      : `postgresql://${login}@${shown}:${listenPostgres.port}/${DATABASE}`;
  return { name, password, about, uri };
}
