/**
 * `verify`, `proof`, `verify-proof` and `checkpoint` as programs, on the journal of a node that ran: whole, changed,
 * rolled back; and with nothing but files and the public key.
 */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Statement } from '../../src/api/contract/audit.ts';
import {
  type CommandResult,
  type Dbwitness,
  type PostgresServer,
  startDbwitness,
  startPostgres,
  waitFor,
} from '../servers/index.ts';

const SECRET_PARAMETER = 'a value nobody else should see';
let server: PostgresServer;
let node: Dbwitness;
let scratch: string;
let statement: Statement;
let savedCheckpoint: string;

beforeAll(async () => {
  scratch = mkdtempSync(join(tmpdir(), 'dbw-verify-'));
  [server, node] = await Promise.all([startPostgres(), startDbwitness()]);
  const access = await node.grantAccess(server);
  const client = new pg.Client({ ...access });
  await client.connect();
  for (let i = 0; i < 40; i++)
    await client.query('select $1::int as n, $2::text as t', [i, SECRET_PARAMETER]);
  await client.end();
  const found = await waitFor('the last record', async () => {
    const [last] = await node.cliJson<Statement>('statement', 'ls', '--limit', '1');
    return last?.params?.[0] === '39' && last.outcome === 'completed' ? last : null;
  });
  statement = found;
  savedCheckpoint = join(scratch, 'checkpoint');
});

afterAll(async () => {
  await node.stop();
  await server.stop();
  rmSync(scratch, { recursive: true, force: true });
});

/** Runs without any environment of the node: as an auditor would. */
function audit(...args: string[]): Promise<CommandResult> {
  return node.cli(...args, '--data-dir', scratch);
}

/** A copy of the journal, to do harm to. */
function copy(name: string): string {
  const folder = join(scratch, name);
  cpSync(join(node.dataDir, 'journal'), folder, { recursive: true });
  return folder;
}

it('proves a statement to somebody who has the file and the key alone', async () => {
  const file = join(scratch, 'proof.json');
  const key = join(scratch, 'key.pub');
  writeFileSync(key, readFileSync(join(node.dataDir, 'journal', 'journal.pub')));
  expect(await node.cli('proof', statement.uid, '-o', file)).toMatchObject({ code: 0 });
  expect(readFileSync(file, 'utf8')).toBe((await node.cli('proof', statement.uid)).stdout);

  const held = await audit('verify-proof', file, '--key', key);
  expect(held).toMatchObject({ code: 0, stderr: '' });
  expect(held.stdout).toContain(`The proof holds: statement ${statement.uid} is in the journal`);
  expect(held.stdout).toContain('select $1::int as n, $2::text as t');
  const json = await audit('verify-proof', file, '--key', readFileSync(key, 'utf8').trim(), '--json');
  expect(JSON.parse(json.stdout)).toMatchObject({
    valid: true,
    statement: statement.uid,
    outcome: 'OUTCOME_COMPLETED',
  });

  const text = readFileSync(file, 'utf8');
  const forged = join(scratch, 'forged.json');
  writeFileSync(
    forged,
    text.replace('OUTCOME_COMPLETED', 'OUTCOME_FAILED').replace(/("durationUs": ")\d/, '$19'),
  );
  if (readFileSync(forged, 'utf8') === text) throw new Error('nothing was forged');
  const refused = await audit('verify-proof', forged, '--key', key);
  expect(refused.code).toBe(1);
  expect(refused.stdout).toMatch(/^The proof does NOT hold: /);
  expect((await audit('verify-proof', forged, '--key', key, '--json')).stdout).toMatch(/^\{"valid":false,/);

  expect((await audit('verify-proof', file)).code).toBe(2);
  expect((await audit('verify-proof', join(scratch, 'no-file'), '--key', key)).code).toBe(2);
  expect((await audit('verify-proof', file, '--key', 'not+a+key')).code).toBe(2);
});

it('says what is not there to prove', async () => {
  const result = await node.cli('proof', `${statement.session_uid}-99`);
  expect(result).toMatchObject({ code: 4, stdout: '' });
  expect(result.stderr).toContain('there is no such statement');
});

it('prints the checkpoint, to be kept', async () => {
  const { code, stdout } = await node.cli('checkpoint');
  expect(code).toBe(0);
  expect(stdout.split('\n')[0]).toMatch(/^dbwitness\//);
  writeFileSync(savedCheckpoint, stdout);
  const [json] = await node.cliJson<{ note: string; size: number }>('checkpoint');
  expect(json?.size).toBeGreaterThan(0);
});

it('finds the running journal whole, by its folder, its data folder, or none at all', async () => {
  for (const args of [[], [node.dataDir], [join(node.dataDir, 'journal')], ['--data-dir', node.dataDir]]) {
    const result = await node.cli('verify', ...args);
    expect(result.code, args.join(' ')).toBe(0);
    expect(result.stdout).toMatch(
      /^The journal is whole: \d+ events in \d+ blocks, signed as dbwitness\/\S+\.\n/,
    );
    expect(result.stderr).toContain('keep a copy elsewhere and name it with --key');
  }
  const key = join(node.dataDir, 'journal', 'journal.pub');
  const named = await node.cli('verify', '--key', key, '--checkpoint', savedCheckpoint, '--json');
  expect(named).toMatchObject({ code: 0, stderr: '' });
  expect(JSON.parse(named.stdout)).toMatchObject({ whole: true, broken: null });
});

it('finds a changed byte, and names the place', async () => {
  const folder = copy('changed');
  const [name] = await readdir(join(folder, 'segments'));
  const segment = join(folder, 'segments', name ?? '');
  const bytes = readFileSync(segment);
  const at = bytes.indexOf(SECRET_PARAMETER);
  expect(at).toBeGreaterThan(0);
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  writeFileSync(segment, bytes);
  const result = await audit('verify', folder);
  expect(result.code).toBe(1);
  expect(result.stdout).toMatch(/^The journal is BROKEN at .*segments\/\S+, block \d+/);
  expect(`${result.stdout}${result.stderr}`).not.toContain('a value nobody else');
  const json = JSON.parse((await audit('verify', folder, '--json')).stdout) as {
    whole: boolean;
    broken: { file: string; block: number };
  };
  expect(json.whole).toBe(false);
  expect(json.broken.file).toBe(segment);
});

it('finds another key, and a journal that was rolled back behind a saved checkpoint', async () => {
  const folder = copy('earlier');
  const client = new pg.Client({ ...(await node.grantAccess(server)) });
  await client.connect();
  await client.query('select 1');
  await client.end();
  const size = Number(readFileSync(join(folder, 'log', 'checkpoint'), 'utf8').split('\n')[1]);
  const later = await waitFor('a later checkpoint', async () => {
    const [now] = await node.cliJson<{ note: string; size: number }>('checkpoint');
    return now !== undefined && now.size > size ? now : null;
  });
  const known = join(scratch, 'later');
  writeFileSync(known, later.note);
  expect((await audit('verify', folder)).code).toBe(0);
  const back = await audit('verify', folder, '--checkpoint', known);
  expect(back.code).toBe(1);
  expect(back.stdout).toContain('it was rolled back');

  const key = readFileSync(join(folder, 'journal.pub'), 'utf8').trim();
  const [name, , material] = key.split('+');
  const other = await audit('verify', folder, '--key', `${name}+00000000+${material}`);
  expect(other.code).toBe(2);
  expect((await audit('verify', folder, '--checkpoint', join(scratch, 'no-file'))).code).toBe(2);
});

it('verifies a journal when nothing runs, and names what is missing', async () => {
  await node.halt();
  const stopped = await node.cli('verify', '--json');
  expect(JSON.parse(stopped.stdout)).toMatchObject({ whole: true, unsignedBlocks: 0, unsignedBytes: 0 });
  expect(await node.cli('statement', 'ls')).toMatchObject({ code: 6, stdout: '' });
  expect(await audit('verify', join(scratch, 'nothing-here'))).toMatchObject({ code: 2, stdout: '' });

  const offline = await node.cli('index', 'rebuild', '--json');
  expect(offline.code).toBe(0);
  expect(JSON.parse(offline.stdout)).toMatchObject({ statements: 41 });
  await node.start();
  const [found] = await node.cliJson<Statement>('statement', 'show', statement.uid);
  expect(found).toEqual(statement);
});
