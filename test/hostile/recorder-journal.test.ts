/**
 * HOSTILE.md 69, 74 and 75 through the running product: the recorder dies in the middle, old segments go, and the record on
 * disk is cut, rolled back or forked. What was signed stays provable, what is missing is said, and what was tampered with
 * is found, by the node that starts on it or by whoever kept a checkpoint or a proof.
 */
import {
  appendFileSync,
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { message as m, RawClient } from '../conformance/postgres/raw-client.ts';
import {
  type Access,
  type ApiObject,
  Dbwitness,
  type DbwitnessOptions,
  isMissing,
  type PostgresServer,
  startDbwitness,
  startPostgres,
  waitFor,
} from '../servers/index.ts';
import { AuditedClient, outcomes, type Recorded } from './support/audit.ts';
import { IndependentWitness } from './support/cosigner.ts';
import { clockOff } from './support/faketime.ts';
import {
  allSigned,
  newestSegment,
  publicKey,
  segments,
  signedBlocks,
  verified,
} from './support/journal-folder.ts';
import { psql } from './support/psql.ts';

const DAY_MS = 86_400_000;

let server: PostgresServer;
let scratch: string;
const running: Dbwitness[] = [];

beforeAll(async () => {
  server = await startPostgres({ version: '15' });
});
afterAll(async () => {
  await server?.stop();
});
beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), 'dbw-hostile-'));
});
afterEach(async () => {
  for (const node of running.splice(0)) await node.stop();
  rmSync(scratch, { recursive: true, force: true, maxRetries: 3 });
});

async function start(options: DbwitnessOptions = {}): Promise<Dbwitness> {
  const node = await startDbwitness({ dataDir: join(scratch, 'data'), ...options });
  running.push(node);
  return node;
}

/** Runs statements in a session of their own, and gives their records. */
async function record(node: Dbwitness, access: Access, ...sql: readonly string[]): Promise<Recorded[]> {
  const client = await AuditedClient.connect(node, access);
  for (const one of sql) await client.exchange(m.query(one));
  return client.statements();
}

/** What an auditor takes away: the newest checkpoint, a proof of a statement, the public key. */
interface Kept {
  readonly statement: string;
  readonly checkpoint: string;
  readonly proof: string;
  readonly key: string;
}

let kept = 0;
async function keep(node: Dbwitness, statement: string): Promise<Kept> {
  await allSigned(node);
  const file = (name: string): string => join(scratch, `${name}.${kept}`);
  kept++;
  writeFileSync(file('checkpoint'), (await node.cli('checkpoint')).stdout);
  const proof = await node.cli('proof', statement, '-o', file('proof'));
  expect(proof.code, proof.stderr).toBe(0);
  writeFileSync(file('key'), publicKey(node.dataDir));
  return { statement, checkpoint: file('checkpoint'), proof: file('proof'), key: file('key') };
}

/** The proof, checked where there is no data folder at all. */
async function proofHolds(node: Dbwitness, { statement, proof, key }: Kept): Promise<void> {
  const result = await node.cli('verify-proof', proof, '--key', key, '--data-dir', join(scratch, 'nowhere'));
  expect(result.stdout + result.stderr).toContain(
    `The proof holds: statement ${statement} is in the journal`,
  );
  expect(result.code).toBe(0);
}

const against = ({ checkpoint, key }: Kept): string[] => ['--key', key, '--checkpoint', checkpoint];

async function events(node: Dbwitness, kind: string): Promise<ApiObject[]> {
  return (await node.api<{ items: ApiObject[] }>('GET', `/events?kind=${kind}`)).items;
}

/** Starts it on what is there, which it must refuse. Gives what it says. */
async function refusedStart(): Promise<string> {
  const error = await start({ startTimeoutMs: 60_000 }).then(
    () => new Error('it started'),
    (reason: unknown) => reason as Error,
  );
  return error.message;
}

describe.skipIf(isMissing('postgres', 'psql'))('69: a crash in the middle of a segment', () => {
  it('of the relay alone: the session is recorded as crashed, the rest is whole, and it goes on by itself', async () => {
    const node = await start();
    const access = await node.grantAccess(server);
    const [before] = await record(node, access, "SELECT 'before'");
    const auditor = await keep(node, before.uid);
    const busy = await AuditedClient.connect(node, access);
    await busy.exchange(m.query('SELECT 1'));
    busy.raw.send(m.query('SELECT pg_sleep(60)'));
    const sleeping =
      "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'";
    await waitFor('the sleep', async () => (await server.query(sleeping)).length === 1);

    const state = JSON.parse(readFileSync(join(node.dataDir, 'node.json'), 'utf8')) as { relay_pid: number };
    process.kill(state.relay_pid, 'SIGKILL');
    await busy.raw.untilClosed();
    await waitFor('a new relay', async () => (await RawClient.connect(access)).end().then(() => true));
    expect(outcomes(await busy.recorded())).toEqual([
      'SELECT 1 → completed',
      'SELECT pg_sleep(60) → unknown',
    ]);
    expect(await busy.closed()).toMatchObject({ close_reason: 'crashed' });
    const opened = await events(node, 'journal_opened');
    expect(opened[0]?.['summary']).toMatch(/after an unclean end$/);
    // Everything that was written is there: nothing to mourn.
    expect(await events(node, 'gap')).toEqual([]);
    expect((await psql(access, "SELECT 'after'")).stdout).toBe('after\n');
    await allSigned(node);
    expect(await verified(node, ...against(auditor))).toMatchObject({ whole: true });
    await proofHolds(node, auditor);
  }, 120_000);

  it('with a torn tail on disk: cut, kept, recorded as a gap that API and command line show', async () => {
    const node = await start();
    const access = await node.grantAccess(server);
    const [before] = await record(node, access, "SELECT 'before'");
    const auditor = await keep(node, before.uid);
    // The statement's outcome is behind the checkpoint for a second after it: long enough to die.
    await waitFor('an unsigned tail that was left behind', async () => {
      const client = await AuditedClient.connect(node, access);
      await client.exchange(m.query("SELECT 'never known'"));
      await node.kill9();
      if ((await verified(node)).unsignedBlocks > 0) return true;
      await node.start();
      return false;
    });
    const torn = newestSegment(node.dataDir);
    truncateSync(torn, statSync(torn).size - 7);
    await node.start();
    const [gap] = await waitFor('the gap in the index', async () => {
      const found = await events(node, 'gap');
      return found.length === 0 ? null : found;
    });
    expect(gap).toMatchObject({
      kind: 'gap',
      subject: 'torn tail',
      body: { gap: { reason: 'REASON_TORN_TAIL' } },
    });
    expect(gap['summary']).toMatch(/^gap: torn tail, \d+ bytes: kept in quarantine\//);
    expect((await node.cli('event', 'ls', '--kind', 'gap')).stdout).toContain('gap: torn tail');
    expect(await verified(node, ...against(auditor))).toMatchObject({ whole: true });
    await proofHolds(node, auditor);

    // And garbage behind the end, as a file system that had grown the file leaves it.
    await node.kill9();
    const garbage = Buffer.concat([Buffer.from('DBWB'), Buffer.alloc(4_999, 0xa5)]);
    appendFileSync(newestSegment(node.dataDir), garbage);
    await node.start();
    const gaps = await waitFor('the second gap', async () => {
      const found = await events(node, 'gap');
      return found.length === 2 ? found : null;
    });
    expect(gaps[0]).toMatchObject({ body: { gap: { lostBytes: String(garbage.length) } } });
    const quarantine = join(node.dataDir, 'journal', 'quarantine');
    const kept = readdirSync(quarantine).map((name) => readFileSync(join(quarantine, name)));
    expect(kept.some((bytes) => bytes.equals(garbage))).toBe(true);

    // The index has nothing that the journal does not have, and what comes now is recorded.
    const [after] = await record(node, access, "SELECT 'after'");
    const { items } = await node.api<{ items: Recorded[] }>('GET', '/statements?limit=100');
    const uids = items.map((one) => one.uid);
    expect(uids).toEqual(expect.arrayContaining([before.uid, after.uid]));
    await allSigned(node);
    for (const one of items) expect((await node.cli('proof', one.uid)).code, one.sql).toBe(0);
    expect(await verified(node, ...against(auditor))).toMatchObject({ whole: true });
  }, 180_000);

  it('that ate signed records is no crash: the node refuses to start on it, says why, and changes nothing', async () => {
    const node = await start();
    const access = await node.grantAccess(server);
    const [before] = await record(node, access, "SELECT 'before'");
    const auditor = await keep(node, before.uid);
    await node.kill9();
    const path = newestSegment(node.dataDir);
    truncateSync(path, statSync(path).size - 7);
    const bytes = readFileSync(path);

    const said = await refusedStart();
    expect(said).toMatch(/signed/);
    expect(said).toMatch(/block \d+/);
    expect(readFileSync(path).equals(bytes)).toBe(true);
    const { broken } = await verified(node);
    expect(broken).toMatchObject({ file: path });
    await proofHolds(node, auditor);
  }, 120_000);
});

describe.skipIf(isMissing('postgres', 'faketime'))('74: retention against proofs', () => {
  it('drops what is old, says so under its signature, and what an auditor holds still proves', async () => {
    const longAgo = await start({ env: clockOff(-3 * DAY_MS) });
    const from = new Date(Date.now() - 30 * DAY_MS).toISOString();
    const access = await longAgo.grantAccess(server, { grant: { starts_at: from } });
    const [old] = await record(longAgo, access, "SELECT 'three days ago'");
    const auditor = await keep(longAgo, old.uid);
    await longAgo.halt();
    const [oldSegment] = segments(longAgo.dataDir);

    const env = { DBW_RETENTION_DAYS: '1' };
    const first = await start({ env });
    // A clock that makes everything old at once is doubted for a while (73).
    await waitFor('the doubt', () => first.output().includes('the clock may be wrong'));
    expect(segments(first.dataDir)).toContain(oldSegment);
    // Retention takes what the tree's full tiles hold: 256 blocks, and here each statement makes two.
    const many = Array.from({ length: 140 }, (_, i) => `SELECT 'today', ${i}`);
    const [recent] = await record(first, { ...access, port: first.pgPort }, ...many);
    await first.halt();

    const node = await start({ env });
    await waitFor('retention', () => !segments(node.dataDir).includes(oldSegment));
    const [dropped] = await waitFor('its event', async () => {
      const found = await events(node, 'segments_dropped');
      return found.length === 0 ? null : found;
    });
    expect(dropped['summary']).toMatch(/^retention dropped blocks 0 to \d+/);
    await allSigned(node);
    // The rest is whole, also for somebody whose checkpoint is from before.
    const report = await verified(node, ...against(auditor));
    expect(report).toMatchObject({ whole: true });
    expect(report.droppedBlocks).toBeGreaterThan(0);
    await proofHolds(node, auditor);
    expect((await node.cli('proof', recent.uid)).code).toBe(0);
    // What is gone can no longer be proved anew, and that is said.
    const gone = await node.cli('proof', old.uid);
    expect(gone.code).toBe(4);
    expect(gone.stdout).toBe('');
    expect(gone.stderr).toMatch(/retention|dropped|no longer/);
    // A segment that goes without such an event is a break.
    await node.halt();
    rmSync(segments(node.dataDir)[0]);
    expect((await verified(node)).broken?.what).toMatch(/no signed event says/);
  }, 240_000);
});

describe.skipIf(isMissing('postgres', 'psql'))('75: a truncated, rolled-back or forked log', () => {
  it('a checkpoint that is newer than the tree: found, and refused', async () => {
    const node = await start();
    const access = await node.grantAccess(server);
    const [one] = await record(node, access, "SELECT 'kept'");
    await node.halt();
    const early = join(scratch, 'early');
    cpSync(join(node.dataDir, 'journal'), early, { recursive: true });
    await node.start();
    await record(node, access, "SELECT 'removed'");
    const auditor = await keep(node, one.uid);
    await node.halt();
    const checkpoint = readFileSync(join(node.dataDir, 'journal', 'log', 'checkpoint'));

    // The segments of before under the checkpoint of today.
    const journal = join(node.dataDir, 'journal');
    rmSync(journal, { recursive: true });
    cpSync(early, journal, { recursive: true });
    writeFileSync(join(journal, 'log', 'checkpoint'), checkpoint);
    expect(await verified(node)).toMatchObject({ whole: false });
    expect(await refusedStart()).toMatch(/signed/);
    // Without any checkpoint it is not taken for a new journal either.
    rmSync(join(journal, 'log', 'checkpoint'));
    expect(await verified(node)).toMatchObject({ whole: false });
    expect(await refusedStart()).toMatch(/checkpoint is missing/);
    await proofHolds(node, auditor);
  }, 120_000);

  it('an old copy put back: a saved checkpoint, a proof and a cosigner each tell, also after it has grown again', async () => {
    const witness = new IndependentWitness();
    await witness.listen();
    const env = { DBW_COSIGNER_URL: witness.url, DBW_COSIGNER_KEY: witness.verifier };
    const node = await start({ env });
    witness.know(publicKey(node.dataDir));
    const access = await node.grantAccess(server);
    const [first] = await record(node, access, "SELECT 'long ago'");
    await node.halt();
    const copy = join(scratch, 'yesterday');
    cpSync(node.dataDir, copy, { recursive: true });

    await node.start();
    const [gone] = await record(node, access, "SELECT 'what somebody wants to be forgotten'");
    const auditor = await keep(node, gone.uid);
    await node.halt();
    const seen = witness.size;
    expect(seen).toBe(signedBlocks(node.dataDir));
    expect(await verified(node, ...against(auditor), '--witness', witness.verifier)).toMatchObject({
      whole: true,
      cosignaturesChecked: true,
    });

    rmSync(node.dataDir, { recursive: true });
    cpSync(copy, node.dataDir, { recursive: true });
    // By itself it is a whole journal, of yesterday …
    expect(await verified(node)).toMatchObject({ whole: true });
    // … but not for those who kept something.
    const { broken } = await verified(node, ...against(auditor));
    expect(broken?.what).toMatch(/saved checkpoint/);
    await proofHolds(node, auditor);
    await node.start();
    await waitFor('the cosigner to tell', () => /rolled back/.test(node.output()));
    const stillThere = await node.call('GET', `/statements/${first.uid}`);
    expect(stillThere.status).toBe(200);
    expect((await node.call('GET', `/statements/${gone.uid}`)).status).toBe(404);

    // Grown beyond what was seen, it has the right size and another content: a fork.
    const again = { ...access };
    for (let i = 0; signedBlocks(node.dataDir) <= seen + 2; i++) {
      await psql(again, `SELECT ${i}`);
      await allSigned(node);
    }
    expect((await verified(node, ...against(auditor))).broken?.what).toMatch(/saved checkpoint/);
    await node.halt();
    expect(node.output()).not.toContain('cosigned: the cosigner refused: 200');
    expect(witness.size).toBe(seen);
    expect(witness.answers.at(-1)).toBe(422);
    witness.close();
  }, 240_000);

  it('a journal put back without its index: the index is made again from what is there', async () => {
    const node = await start();
    const access = await node.grantAccess(server);
    const [first] = await record(node, access, "SELECT 'long ago'");
    await node.halt();
    const journal = join(node.dataDir, 'journal');
    const copy = join(scratch, 'journal-of-yesterday');
    cpSync(journal, copy, { recursive: true });
    await node.start();
    const [gone] = await record(node, access, "SELECT 'indexed, then gone'");
    await node.halt();
    rmSync(journal, { recursive: true });
    cpSync(copy, journal, { recursive: true });
    await node.start();
    await waitFor('the index to be of this journal', async () => {
      const answer = await node.call('GET', `/statements/${gone.uid}`);
      return answer.status === 404;
    });
    await waitFor('the rest to be indexed', async () => {
      return (await node.call('GET', `/statements/${first.uid}`)).status === 200;
    });
    const [after] = await record(node, access, "SELECT 'after'");
    expect((await node.cli('proof', after.uid)).code).toBe(0);
    expect(await verified(node)).toMatchObject({ whole: true });
  }, 180_000);
});
