/** What else people put in front of a database: pgbouncer with session pooling, HAProxy in TCP mode. */
import { chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../../src/app/demo/embedded-postgres.ts';
import { serverIdentity } from '../../src/app/demo/unprivileged.ts';
import { requirePath } from './available.ts';
import type { PostgresServer } from './postgres.ts';
import { type RunningProcess, startProcess } from './processes.ts';
import { waitFor } from './wait.ts';

export interface Peer {
  readonly host: '127.0.0.1';
  readonly port: number;
  readonly pid: number;
  stop(): Promise<void>;
}

/** Session pooling; upstream over the server's Unix socket; any user without a password. */
export async function startPgbouncer(server: PostgresServer): Promise<Peer> {
  return startPeer('pgbouncer', (port, dir) => {
    const ini = join(dir, 'pgbouncer.ini');
    writeFileSync(join(dir, 'users.txt'), `"${server.user}" ""\n`);
    writeFileSync(
      ini,
      `[databases]
* = host=${server.socketDir} port=${server.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = any
auth_file = ${join(dir, 'users.txt')}
pool_mode = session
default_pool_size = 100
max_client_conn = 500
ignore_startup_parameters = extra_float_digits,options
admin_users = ${server.user}
`.replace('* = ', `* = user=${server.user} `),
    );
    return [requirePath('pgbouncer'), ['-q', ini]];
  });
}

/** TCP mode, one thread, upstream over TCP. */
export async function startHaproxy(server: { readonly port: number }): Promise<Peer> {
  return startPeer('haproxy', (port, dir) => {
    const file = join(dir, 'haproxy.cfg');
    writeFileSync(
      file,
      `global
  nbthread 1
  maxconn 1000
defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
listen database
  bind 127.0.0.1:${port}
  server upstream 127.0.0.1:${server.port}
`,
    );
    return [requirePath('haproxy'), ['-db', '-q', '-f', file]];
  });
}

async function startPeer(
  name: string,
  configure: (port: number, dir: string) => [program: string, args: string[]],
): Promise<Peer> {
  const identity = serverIdentity();
  const port = await freePort();
  const dir = mkdtempSync(join(tmpdir(), `dbw-${name}-`));
  const [program, args] = configure(port, dir);
  if (identity.stepsDown) chownSync(dir, identity.uid, identity.gid);
  const running = startProcess(program, args, { cwd: dir, uid: identity.uid, gid: identity.gid });
  await listening(name, port, running);
  return {
    host: '127.0.0.1',
    port,
    pid: running.pid,
    stop: async () => {
      await running.stop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

async function listening(name: string, port: number, running: RunningProcess): Promise<void> {
  await waitFor(`${name} to listen (it said: ${running.output()})`, async () => {
    if (running.child.exitCode !== null) throw new Error(`${name} ended: ${running.output()}`);
    await new Promise<void>((done, fail) => {
      const socket = connect(port, '127.0.0.1', () => {
        socket.destroy();
        done();
      });
      socket.once('error', fail);
    });
    return true;
  });
}
