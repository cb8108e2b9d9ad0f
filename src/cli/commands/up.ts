/** `dbwitness up`: the node itself. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Config, type ListenAddress, packageVersion, readConfig, SETTINGS } from '../../app/config.ts';
import { pathsOf } from '../../app/node/paths.ts';
import { type Commands, type Context, environmentOf, type Env } from '../context.ts';
import { runDemo } from './demo.ts';
import { type Running, runServer } from './serve.ts';

export function addUpCommand({ program, action }: Commands): void {
  program
    .command('up')
    .summary('start dbwitness on this machine')
    .description(
      'Starts dbwitness and runs until it is told to stop (SIGTERM, Ctrl-C). Settings come from the environment.',
    )
    .addHelpText('after', () => settingsHelp())
    .action(
      action(async (context) => {
        const env = environmentOf(context);
        if (env['DBW_RUN_MODE'] === 'demo') return runDemo(context);
        return runServer(context, () => startUp(context, env));
      }),
    );
}

async function startUp(context: Context, env: Env): Promise<Running> {
  const scratch = await scratchFolder(env);
  const discard = async (): Promise<void> => {
    if (scratch !== null) await rm(scratch, { recursive: true, force: true, maxRetries: 3 });
  };
  try {
    const config = readConfig({
      ...testDefaults(env),
      ...(scratch === null ? {} : { DBW_DATA_DIR: scratch }),
    });
    const running = await startNodeAndTell(context, config);
    return {
      stop: async () => {
        await running.stop();
        await discard();
      },
      abandon: () => running.abandon(),
    };
  } catch (error) {
    await discard();
    throw error;
  }
}

async function startNodeAndTell(context: Context, config: Config): Promise<Running> {
  const { io } = context;
  const [{ startNode }, { createLogger }] = await Promise.all([
    import('../../app/node/node.ts'),
    import('../../app/node/logging.ts'),
  ]);
  const node = await startNode(config, createLogger(config), {
    onGeneratedAdminPassword: (password) =>
      io.write(`First start: log in as "admin" with the password ${password}\nIt is shown this once.\n\n`),
  });
  const rows: [string, string][] = node.listening.map(({ engine, host, port }) => [
    LISTENER_NAMES[engine],
    shownAddress({ host, port }),
  ]);
  rows.push(
    [
      'REST API',
      node.apiAddress === null
        ? 'off'
        : `${node.apiAddress}/api/v1, documentation at ${node.apiAddress}/api/docs`,
    ],
    ['Data', config.dataDir],
    ['Store', config.dsn === '' ? 'embedded, in the data folder' : 'PostgreSQL at DBW_DSN'],
    ['Control', `${pathsOf(config.dataDir).socket} (what "dbwitness user", "statement", … talk to)`],
  );
  const lines = rows.map(([name, value]) => `  ${name.padEnd(12)}${value}`);
  io.write(`dbwitness ${packageVersion()} runs on node ${config.node}\n${lines.join('\n')}\n`);
  return node;
}

const LISTENER_NAMES = {
  postgres: 'PostgreSQL',
  mysql: 'MySQL',
  mariadb: 'MariaDB',
  oracle: 'Oracle',
} as const;

function shownAddress({ host, port }: ListenAddress): string {
  if (['', '::', '0.0.0.0'].includes(host)) return `port ${port}, on all addresses`;
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** DBW_RUN_MODE=test: for tests of programs that use dbwitness. On loopback only, and nothing is kept. */
function testDefaults(env: Env): Env {
  if (env['DBW_RUN_MODE'] !== 'test') return env;
  return {
    DBW_LISTEN_PG: '127.0.0.1:5434',
    DBW_LISTEN_MYSQL: '127.0.0.1:3307',
    DBW_LISTEN_API: '127.0.0.1:4200',
    ...env,
  };
}

async function scratchFolder(env: Env): Promise<string | null> {
  if (env['DBW_RUN_MODE'] !== 'test' || env['DBW_DATA_DIR']) return null;
  return mkdtemp(join(tmpdir(), 'dbwitness-test-'));
}

function settingsHelp(): string {
  const width = Math.max(...SETTINGS.map(({ name }) => name.length));
  const lines = SETTINGS.map(
    ({ name, meaning, default: fallback }) =>
      `  ${name.padEnd(width)}  ${meaning}${fallback === '' ? '' : ` (default: ${fallback})`}`,
  );
  return `\nSettings (environment):\n${lines.join('\n')}`;
}
