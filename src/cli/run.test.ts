/** The command line without a node: what is understood, what is refused, with which exit code and words. */
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import { afterEach, describe, expect, it } from 'vitest';
import { systemClock } from '../base/clock.ts';
import { EXIT_BY_KIND } from './exit-codes.ts';
import type { Io } from './io.ts';
import { buildProgram } from './program.ts';
import { runCli } from './run.ts';

const folder = mkdtempSync(join(tmpdir(), 'dbw-cli-'));
const servers: Server[] = [];

afterEach(async () => {
  for (const server of servers.splice(0)) await new Promise((done) => server.close(done));
  rmSync(folder, { recursive: true, force: true });
});

interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function run(args: readonly string[], env: Record<string, string> = {}): Promise<Ran> {
  let stdout = '';
  let stderr = '';
  const io: Io = {
    env: { DBW_DATA_DIR: folder, ...env },
    clock: systemClock,
    width: null,
    write: (text) => {
      stdout += text;
    },
    note: (line) => {
      stderr += `${line}\n`;
    },
    readSecret: () => Promise.resolve('typed-in-secret'),
  };
  const code = await runCli(args, io);
  return { code, stdout, stderr };
}

/** Somebody who answers HTTP on TCP, whatever is asked. */
async function answering(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  servers.push(server);
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function problem(status: number, code: string): RequestListener {
  return (_request, response) => {
    response.writeHead(status, { 'content-type': 'application/problem+json' });
    response.end(JSON.stringify({ status, code, title: '', type: '', detail: `the server says ${code}` }));
  };
}

describe('usage', () => {
  it.each([
    [['nonsense'], "unknown command 'nonsense'"],
    [['user', 'nonsense'], "unknown command 'nonsense'"],
    [['statement', 'ls', '--nonsense'], "unknown option '--nonsense'"],
    [['statement', 'show'], "missing required argument 'uid'"],
    [['statement', 'ls', '--limit', 'x'], '--limit: "x" is not a whole number'],
    [['statement', 'ls', '--from', 'yesterday'], '--from: "yesterday" is not a time'],
    [['statement', 'ls', '--slower', 'much'], '--slower: "much"'],
    [['statement', 'ls', '--outcome', 'fine'], 'Allowed choices are running, completed'],
    [['session', 'ls', '--open', '--closed'], "option '--closed' cannot be used with option '--open'"],
    [['grant', 'add', '--user', 'a', '--database', 'b'], 'say how long it lasts: --for 8h'],
    [
      ['grant', 'add', '--user', 'a', '--database', 'b', '--for', '8h', '--until', 'now'],
      'cannot be used with',
    ],
    [['grant', 'set', 'x'], 'say what to change'],
    [['user', 'set', 'x'], 'say what to change'],
    [['database', 'add', 'x', '--host', 'h', '--dbname', 'd'], "required option '--username <name>'"],
    [['user', 'add', 'x', '--password-stdin', '--password-file', 'f'], 'not both'],
    [['verify', '/nonexistent'], 'there is no journal in /nonexistent'],
    [['verify', folder], 'there is no journal in'],
  ])('%j is exit code 2 and says why', async (args, words) => {
    const { code, stdout, stderr } = await run(args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain(words);
  });

  it('helps on standard output, with exit code 0', async () => {
    const { code, stdout, stderr } = await run(['grant', 'add', '--help']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain('--control <control...>');
    expect((await run(['--version'])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
    expect((await run(['up', '--help'])).stdout).toContain('DBW_LISTEN_PG');
  });

  it('has words for every command and option, and none that takes a secret as an argument', () => {
    const visit = (command: Command, path: string): string[] => {
      expect(command.description(), path).not.toBe('');
      for (const option of command.options) {
        expect(option.description, `${path} ${option.flags}`).not.toBe('');
        expect(option.flags, path).not.toMatch(/(password|secret|token)\b.*<(?!file)/);
      }
      return [path, ...command.commands.flatMap((each) => visit(each, `${path} ${each.name()}`))];
    };
    const io: Io = {
      env: {},
      clock: systemClock,
      width: null,
      write: () => undefined,
      note: () => undefined,
      readSecret: () => Promise.resolve(''),
    };
    const paths = visit(buildProgram(io).command, 'dbwitness');
    expect(paths).toEqual(
      expect.arrayContaining([
        'dbwitness up',
        'dbwitness demo',
        ...['user', 'database'].flatMap((noun) =>
          ['ls', 'add', 'show', 'set', 'rm'].map((verb) => `dbwitness ${noun} ${verb}`),
        ),
        ...['ls', 'add', 'show', 'revoke'].map((verb) => `dbwitness grant ${verb}`),
        ...['ls', 'add', 'revoke'].map((verb) => `dbwitness key ${verb}`),
        ...['ls', 'show', 'kill', 'events'].map((verb) => `dbwitness session ${verb}`),
        ...['ls', 'show', 'rows'].map((verb) => `dbwitness statement ${verb}`),
        'dbwitness event ls',
        'dbwitness verify',
        'dbwitness proof',
        'dbwitness verify-proof',
        'dbwitness checkpoint',
        'dbwitness index rebuild',
      ]),
    );
  });
});

describe('finding the node', () => {
  it('says what to do when nothing runs', async () => {
    const { code, stderr } = await run(['statement', 'ls']);
    expect(code).toBe(EXIT_BY_KIND.unavailable);
    expect(stderr).toBe(
      `dbwitness: no dbwitness runs in ${folder}; start it with \`dbwitness up\` or \`npm run demo\`, or name another with --data-dir, DBW_DATA_DIR or DBW_URL\n`,
    );
  });

  it('goes to DBW_URL with the key, before DBW_DATA_DIR and after --data-dir', async () => {
    const asked: string[] = [];
    const url = await answering((request, response) => {
      asked.push(`${request.method ?? ''} ${request.url ?? ''} ${request.headers.authorization ?? ''}`);
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end('{"items":[],"next_cursor":null}');
    });
    const env = { DBW_URL: `${url}/behind/a/proxy/`, DBW_API_KEY: 'dbw_key' };
    expect((await run(['user', 'ls'], env)).code).toBe(0);
    expect(asked).toEqual(['GET /behind/a/proxy/api/v1/users?limit=500 Bearer dbw_key']);
    expect((await run(['user', 'ls', '--data-dir', folder], env)).stderr).toContain(
      `no dbwitness runs in ${folder}`,
    );
    expect(asked).toHaveLength(1);
  });

  it.each([
    [{ DBW_URL: 'http://127.0.0.1:1' }, 2, 'DBW_API_KEY is not'],
    [{ DBW_URL: 'ftp://x', DBW_API_KEY: 'k' }, 2, 'DBW_URL: write the address'],
    [
      { DBW_URL: 'http://127.0.0.1:1', DBW_API_KEY: 'k' },
      6,
      'the API at http://127.0.0.1:1 cannot be reached (ECONNREFUSED)',
    ],
  ])('%j', async (env, code, words) => {
    const ran = await run(['user', 'ls'], env);
    expect(ran.code).toBe(code);
    expect(ran.stderr).toContain(words);
  });
});

describe('the answers of a server', () => {
  it.each([
    [400, 2],
    [401, 3],
    [403, 3],
    [404, 4],
    [409, 5],
    [429, 7],
    [500, 1],
    [503, 6],
  ])('status %i is exit code %i', async (status, code) => {
    const url = await answering(problem(status, 'SOME_CODE'));
    const ran = await run(['user', 'ls'], { DBW_URL: url, DBW_API_KEY: 'k' });
    expect(ran).toEqual({ code, stdout: '', stderr: 'dbwitness: the server says SOME_CODE\n' });
  });

  it.each([
    [200, '<html>welcome</html>'],
    [404, '<html>not found</html>'],
    [502, '{"error":"bad gateway"}'],
  ])('what is no dbwitness is told: %i %s', async (status, body) => {
    const url = await answering((_request, response) => {
      response.writeHead(status);
      response.end(body);
    });
    const ran = await run(['user', 'ls'], { DBW_URL: url, DBW_API_KEY: 'k' });
    expect(ran.code).toBe(EXIT_BY_KIND.protocol);
    expect(ran.stderr).toContain('is this the address of a dbwitness API?');
  });

  it('HOSTILE 71: even the words of a failure are made safe', async () => {
    const url = await answering((_request, response) => {
      response.writeHead(404);
      response.end(JSON.stringify({ code: 'X', detail: '\u001b[2J', status: 404 }));
    });
    const ran = await run(['user', 'ls'], { DBW_URL: url, DBW_API_KEY: 'k' });
    expect(ran.stderr).toBe(`${String.raw`dbwitness: \x1b[2J`}\n`);
  });

  it('reads page after page, and never asks for more than is wanted', async () => {
    const asked: string[] = [];
    const url = await answering((request, response) => {
      const query = new URL(request.url ?? '', 'http://x').searchParams;
      asked.push(request.url ?? '');
      const limit = Number(query.get('limit'));
      const items = Array.from({ length: limit }, () => ({
        uid: 'u',
        username: 'n',
        roles: [],
        created_at: '',
      }));
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ items, next_cursor: 'more' }));
    });
    const ran = await run(['statement', 'ls', '--json', '--limit', '1200'], {
      DBW_URL: url,
      DBW_API_KEY: 'k',
    });
    expect(ran.stdout.trimEnd().split('\n')).toHaveLength(1200);
    expect(asked).toEqual([
      '/api/v1/statements?limit=500',
      '/api/v1/statements?cursor=more&limit=500',
      '/api/v1/statements?cursor=more&limit=200',
    ]);
  });
});
