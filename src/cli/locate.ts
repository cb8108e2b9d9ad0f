/**
 * Which node a command is for. In this order:
 *
 *   --data-dir DIR     the control socket in DIR                        (the machine's administrator)
 *   DBW_URL            the REST API there, with DBW_API_KEY             (whoever owns the key)
 *   DBW_DATA_DIR       the control socket in that folder
 *   otherwise          the default data folder, then the demo's: the first whose control socket answers
 */
import { existsSync } from 'node:fs';
import { connect } from 'node:net';
import { join, resolve } from 'node:path';
import { defaultDataDir } from '../app/config.ts';
import { demoDataDir } from '../app/demo/demo-settings.ts';
import { pathsOf } from '../app/node/paths.ts';
import { usage } from './amounts.ts';

export type NodeAddress =
  | { readonly kind: 'socket'; readonly path: string; readonly dataDir: string }
  | { readonly kind: 'url'; readonly url: URL; readonly apiKey: string };

type Env = Readonly<Record<string, string | undefined>>;

/** @throws AppError `invalid` when the environment contradicts itself. */
export async function findNode(env: Env, dataDirOption: string | undefined): Promise<NodeAddress> {
  const named = dataDirOption ?? (env['DBW_URL'] ? undefined : env['DBW_DATA_DIR'] || undefined);
  if (named !== undefined) return socketIn(resolve(named));
  if (env['DBW_URL']) return remote(env['DBW_URL'], env['DBW_API_KEY'] ?? '');
  const candidates = [defaultDataDir(), demoDataDir()];
  for (const dataDir of candidates) if (await answers(pathsOf(dataDir).socket)) return socketIn(dataDir);
  return socketIn(candidates[0] ?? '');
}

/** The data folder for commands that read files: named, or of the node that runs, or the first that has a journal. */
export async function findDataDir(env: Env, dataDirOption: string | undefined): Promise<string> {
  const named = dataDirOption ?? (env['DBW_DATA_DIR'] || undefined);
  if (named !== undefined) return resolve(named);
  const candidates = [defaultDataDir(), demoDataDir()];
  for (const dataDir of candidates) if (await answers(pathsOf(dataDir).socket)) return dataDir;
  return candidates.find((dataDir) => existsSync(pathsOf(dataDir).journal)) ?? candidates[0] ?? '';
}

/** The journal's folder of what was named: itself, or a data folder with one in it. */
export function journalFolder(dir: string): string {
  const isJournal = existsSync(join(dir, 'segments')) || existsSync(join(dir, 'log'));
  return isJournal ? dir : pathsOf(dir).journal;
}

function socketIn(dataDir: string): NodeAddress {
  return { kind: 'socket', path: pathsOf(dataDir).socket, dataDir };
}

function remote(text: string, apiKey: string): NodeAddress {
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol))
    throw usage('DBW_URL: write the address of the API, such as https://dbwitness.example:4200');
  if (apiKey === '')
    throw usage('DBW_URL is set, but DBW_API_KEY is not; set both, or none to use the control socket');
  return { kind: 'url', url, apiKey };
}

/** Somebody listens: a socket that a killed node left behind refuses. */
function answers(path: string): Promise<boolean> {
  if (!existsSync(path)) return Promise.resolve(false);
  return new Promise((done) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      done(true);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => done(error.code === 'EACCES'));
  });
}
