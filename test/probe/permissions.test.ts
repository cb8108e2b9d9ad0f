/** What the probe says where it may not run, and with how little it runs. */
import { execFile, execFileSync } from 'node:child_process';
import { promisify } from 'node:util';
import { readFileSync } from 'node:fs';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bpfObject } from '../../src/witness/probe/bpf-object.ts';
import { unsupportedPlatform } from '../../src/witness/probe/syscalls.ts';
import {
  isMissing,
  LAUNCHER,
  type PostgresServer,
  startPostgres,
  startProcess,
  waitFor,
} from '../servers/index.ts';
import { type PrivatePostgres, privatePostgres } from '../servers/private-postgres.ts';
import { cannotProbe, fetchInSteps, Recorder } from './support.ts';

const run = promisify(execFile);
const skip = isMissing('postgres') || cannotProbe();
const LEAST = '+bpf,+perfmon,+sys_ptrace,+dac_read_search';

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The command under `setpriv` with these arguments. */
async function under(privileges: readonly string[], ...args: string[]): Promise<Outcome> {
  const env = { ...process.env, HOME: '/nonexistent' };
  try {
    const { stdout, stderr } = await run('setpriv', [...privileges, '--', LAUNCHER, ...args], {
      env,
      timeout: 30_000,
    });
    return { code: 0, stdout, stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as Outcome & { code: number };
    return { code, stdout, stderr };
  }
}

const NOBODY = ['--reuid=65534', '--regid=65534', '--clear-groups'];
const without = (...names: string[]): string[] => [
  `--bounding-set=${names.map((name) => `-${name}`).join(',')}`,
  `--inh-caps=${names.map((name) => `-${name}`).join(',')}`,
];

describe('a platform without the probe', () => {
  it('is told so in one sentence', () => {
    expect(unsupportedPlatform('linux', 'x64')).toBeNull();
    expect(unsupportedPlatform('darwin', 'arm64')).toBe(
      'the kernel probe needs Linux on x86-64; this is darwin on arm64',
    );
    expect(unsupportedPlatform('linux', 'arm64')).toMatch(/Linux on x86-64/);
  });
});

describe.skipIf(skip)('privileges', () => {
  // The project may lie where nobody else can read it; the object is compiled before it is needed.
  bpfObject();
  const readable = (() => {
    try {
      execFileSync('setpriv', [...NOBODY, '--', 'test', '-r', LAUNCHER]);
      return true;
    } catch {
      return false;
    }
  })();

  it('as root without capabilities: each missing one is named with how to give it, and the exit code is 6', async () => {
    const { code, stdout } = await under(without('bpf', 'perfmon', 'sys_admin'), 'probe', 'check');
    expect(code).toBe(6);
    expect(stdout).toMatch(/^MISSING capability CAP_BPF is missing .*AmbientCapabilities=/m);
    expect(stdout).toMatch(/^MISSING capability CAP_PERFMON is missing/m);
    expect(stdout).toMatch(/^MISSING bpf /m);
    expect(
      stdout
        .trim()
        .split('\n')
        .every((line) => /^(ok|note|MISSING)\s+\w+\s/.test(line)),
    ).toBe(true);
  });

  it('without CAP_SYS_PTRACE: check says what is not seen then', async () => {
    const { code, stdout } = await under(without('sys_ptrace', 'dac_read_search'), 'probe', 'check');
    expect(code).toBe(6);
    expect(stdout).toMatch(/^MISSING capability CAP_SYS_PTRACE is missing \(to see which servers run/m);
  });

  it.concurrent.each(['postgres', 'mysqld', 'run'])(
    'probe %s without capabilities: one clear line, and a clean exit',
    async (command) => {
      const { code, stdout, stderr } = await under(
        without('bpf', 'perfmon', 'sys_admin'),
        'probe',
        command,
        ...(command === 'run' ? ['--journal', `/tmp/dbw-probe-denied-${process.pid}`] : []),
      );
      expect(code).toBe(3);
      expect(stdout).toBe('');
      expect(stderr).toMatch(
        /the kernel refused the BPF map .*EPERM.*"dbwitness probe check" says what is missing/,
      );
      expect(stderr).not.toMatch(/\bat .*:\d+:\d+/);
    },
  );

  it('the rest of dbwitness is unaffected', async () => {
    const { code, stdout } = await under([...without('bpf', 'perfmon', 'sys_admin')], '--version');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^\d+\.\d+\.\d+/);
  });

  let binary: PrivatePostgres;
  let server: PostgresServer;
  beforeAll(async () => {
    binary = await privatePostgres('15');
    server = await startPostgres({ version: '15', binDir: binary.binDir });
  });
  afterAll(async () => {
    await server?.stop();
    binary?.remove();
  });

  it.skipIf(!readable)('runs as nobody with four capabilities and nothing else', async () => {
    const args = [
      ...NOBODY,
      `--inh-caps=${LEAST}`,
      `--ambient-caps=${LEAST}`,
      `--bounding-set=-all,${LEAST}`,
      '--',
    ];
    const probe = startProcess('setpriv', [
      ...args,
      LAUNCHER,
      'probe',
      'postgres',
      '-m',
      binary.program,
      '--long',
    ]);
    try {
      await waitFor('it to attach', () => probe.stderr().includes('attached to'));
      await server.query("SELECT 'seen by nobody'");
      await waitFor('the line', () => probe.stdout().includes("SELECT 'seen by nobody'"));
      expect(probe.stdout()).toContain('postgres@postgres [local]');
      const status = readFileSync(`/proc/${probe.pid}/status`, 'utf8');
      expect(status).toMatch(/^Uid:\s+65534/m);
      expect(BigInt(`0x${/^CapEff:\s+(\w+)/m.exec(status)?.[1]}`)).toBe(
        (1n << 39n) | (1n << 38n) | (1n << 19n) | (1n << 2n),
      );
    } finally {
      await probe.stop();
    }
  });

  it('runs with a perf event per function, as kernels before 6.6 need it', async () => {
    const recorder = await Recorder.start({
      path: binary.program,
      links: 'perf',
      functionName: 'PortalRun',
    });
    try {
      expect(recorder.probe.status.links).toBe('perf');
      await server.query("SELECT 'by perf links'");
      await recorder.until("SELECT 'by perf links'");
      await server.query('CREATE TABLE by_perf (n int)');
      await recorder.until('CREATE TABLE by_perf (n int)');
      expect(recorder.bodies('transactionEnded')).toHaveLength(1);
      // A function that was named is attached to: the way for binaries that do not show where a portal is suspended.
      const client = new pg.Client(server.admin());
      await client.connect();
      await fetchInSteps(client, 'SELECT g FROM generate_series(1, 10) g', 4);
      await client.query('SELECT 1; SELECT 1/0; SELECT 2').catch(() => undefined);
      await client.query("SELECT 'end'");
      await client.end();
      const seen = await recorder.until("SELECT 'end'");
      expect(
        seen.slice(-6, -1).map(({ sql, observation: { suspended, tag, error } }) => ({
          sql,
          how: suspended ? 'suspended' : error === undefined ? tag : error.code,
        })),
      ).toEqual([
        { sql: 'SELECT g FROM generate_series(1, 10) g', how: 'suspended' },
        { sql: 'SELECT g FROM generate_series(1, 10) g', how: 'suspended' },
        { sql: 'SELECT g FROM generate_series(1, 10) g', how: 'SELECT 2' },
        { sql: 'SELECT 1', how: 'SELECT 1' },
        { sql: 'SELECT 1/0', how: '22012' },
      ]);
    } finally {
      await recorder.stop();
    }
  });
});
