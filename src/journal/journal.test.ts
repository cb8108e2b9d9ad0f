import { execFileSync, spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { systemClock } from '../base/clock.ts';
import { Gap_Reason } from '../model/events.ts';
import { appendEvent } from './encode.ts';
import { type Journal, type JournalOptions, openJournal } from './journal.ts';
import { cosignatureLine, cosignatureVerifier, openCheckpoint, parseVerifierKey } from './note.ts';
import { JournalReader } from './reader.ts';
import { consistencyHolds } from './tree.ts';
import { verifyJournal, type VerifyReport } from './verify.ts';

// Machines may be busy; nothing here measures time.
vi.setConfig({ testTimeout: 120_000 });

let folder: string;
const open: { close(): Promise<void> }[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'dbw-journal-'));
});

afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close().catch(() => undefined);
  rmSync(folder, { recursive: true, force: true });
});

async function start(options: Partial<JournalOptions> = {}): Promise<Journal> {
  const journal = await openJournal({
    folder,
    node: 'test',
    version: '0',
    clock: systemClock,
    encryptionKey: null,
    ...options,
  });
  open.push(journal);
  return journal;
}

function say(journal: Journal, text: string): number {
  return appendEvent(journal, { atUs: 1n, body: { case: 'serverMessage', value: { text } } });
}

const verify = (journal: Journal, options = {}): VerifyReport =>
  verifyJournal(folder, { publicKey: journal.publicKey, ...options });

const durable = (journal: Journal): Promise<void> =>
  new Promise((resolve) => journal.whenDurable(journal.nextSeq, resolve));

/** Waits for a condition. */
const until = (condition: () => boolean): Promise<void> =>
  vi.waitFor(() => expect(condition()).toBe(true), { interval: 5, timeout: 60_000 });

const cases = (of = folder): string[] =>
  [...JournalReader.open(of).events()].map(({ event }) => event.body.case ?? '');

test('a journal that is closed and opened again goes on, is whole, and says so', async () => {
  const first = await start({ checkpointMs: 20 });
  say(first, 'a');
  expect(first.flush()).toBe(true);
  await durable(first);
  expect(first.durable).toBe(2);
  await until(() => first.signedBlocks === 2);
  expect(verify(first)).toMatchObject({ whole: true, signedBlocks: 2 });
  await first.close();
  expect(existsSync(`${folder}/lock`)).toBe(false);
  expect(statSync(`${folder}/journal.key`).mode & 0o777).toBe(0o600);
  expect(readFileSync(`${folder}/journal.pub`, 'utf8').trim()).toBe(first.publicKey);
  const second = await start();
  expect([second.origin, second.publicKey, second.segment]).toEqual([first.origin, first.publicKey, 1]);
  const [opened] = [...JournalReader.open(folder).events(2)];
  expect(opened.event.body).toMatchObject({
    case: 'journalOpened',
    value: { clean: true, previousEvents: 2n },
  });
  expect(verify(second)).toMatchObject({ whole: true });
});

test('one owner only; the lock of a dead process is taken over', async () => {
  const journal = await start();
  await expect(start()).rejects.toMatchObject({ code: 'JOURNAL_LOCKED', kind: 'conflict' });
  await journal.close();
  const sleeper = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1e9)']);
  writeFileSync(`${folder}/lock`, `${sleeper.pid} -\n`);
  const ended = new Promise((resolve) => sleeper.once('exit', resolve));
  sleeper.kill('SIGKILL');
  await ended;
  const again = await start();
  const [opened] = [...JournalReader.open(folder).events(1)];
  expect(opened.event.body).toMatchObject({ value: { clean: false } });
  await again.close();
});

test('a torn tail is cut, kept and recorded; missing signed blocks are refused', async () => {
  const first = await start({ checkpointMs: 20 });
  say(first, 'signed');
  first.flush();
  await first.close();
  const path = `${folder}/segments/${readdirSync(`${folder}/segments`)[0]}`;
  const whole = readFileSync(path);
  // Half a block behind the end, as a killed machine leaves it.
  writeFileSync(path, Buffer.concat([whole, whole.subarray(256, 300)]));
  const second = await start();
  expect(second.recovered).toMatchObject({ lostBytes: 44, nextBlock: 2 });
  const gap = [...JournalReader.open(folder).events(2)][0].event.body;
  expect(gap).toMatchObject({ case: 'gap', value: { reason: Gap_Reason.TORN_TAIL, lostBytes: 44n } });
  expect(readdirSync(`${folder}/quarantine`)).toHaveLength(1);
  expect(verify(second)).toMatchObject({ whole: true });
  await second.close();
  truncateSync(`${folder}/segments/${readdirSync(`${folder}/segments`)[1]}`, 300);
  await expect(start()).rejects.toMatchObject({
    kind: 'corrupt',
    message: expect.stringContaining('dbwitness verify') as string,
  });
  rmSync(`${folder}/segments`, { recursive: true });
  await expect(start()).rejects.toMatchObject({ kind: 'corrupt' });
});

test('a changed signed block is noticed at the next opening when its segment is the last', async () => {
  const first = await start();
  for (let i = 0; i < 5; i++) {
    say(first, `text ${i}`);
    first.flush();
  }
  await first.close();
  const path = `${folder}/segments/${readdirSync(`${folder}/segments`)[0]}`;
  const bytes = readFileSync(path);
  bytes[bytes.length - 1] ^= 1;
  writeFileSync(path, bytes);
  await expect(start()).rejects.toMatchObject({ kind: 'corrupt' });
  expect(verify(first).broken?.file).toBe(path);
});

test('retention drops whole segments, everything left verifies, and what is gone must have been announced', async () => {
  const journal = await start({ segmentBytes: 20_000, checkpointMs: 20 });
  for (let i = 0; i < 900; i++) {
    say(journal, `message ${i}`);
    journal.flush();
  }
  await durable(journal);
  const before = readdirSync(`${folder}/segments`).length;
  let dropped = { segments: 0, bytes: 0 };
  await until(() => journal.signedBlocks >= 901);
  // Tiles become durable little by little; only what they prove is dropped.
  await vi.waitFor(
    async () => {
      dropped = await journal.dropSegments({ maxBytes: 30_000 });
      expect(dropped.segments).toBeGreaterThan(0);
    },
    { interval: 20, timeout: 60_000 },
  );
  expect(readdirSync(`${folder}/segments`).length).toBeLessThan(before);
  const report = verify(journal);
  expect(report).toMatchObject({ whole: true });
  expect(report.droppedBlocks).toBeGreaterThan(100);
  expect(cases()).toContain('segmentsDropped');
  expect(await journal.dropSegments({ olderThanUs: 1 })).toEqual({ segments: 0, bytes: 0 });
  await journal.close();
  const again = await start();
  expect(verify(again)).toMatchObject({ whole: true });
  await again.close();
  // One more, without saying so.
  rmSync(`${folder}/segments/${readdirSync(`${folder}/segments`)[0]}`);
  expect(verify(journal).broken?.what).toContain('no signed event says');
});

/** A C2SP witness: one log, keeps what it cosigned, checks every consistency proof. */
class TestWitness {
  readonly key = generateKeyPairSync('ed25519').privateKey;
  readonly verifier = cosignatureVerifier('witness.example/w1', this.key);
  readonly requests: number[] = [];
  size = 0;
  root: Buffer = Buffer.alloc(0);
  logKey = '';
  readonly #server: Server;

  constructor() {
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const [status, body] = this.#answer(request.url ?? '', Buffer.concat(chunks).toString());
        this.requests.push(status);
        response.writeHead(status, status === 409 ? { 'content-type': 'text/x.tlog.size' } : {}).end(body);
      });
    });
  }

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/w1/`;
  }

  async close(): Promise<void> {
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #answer(url: string, body: string): [number, string] {
    if (url !== '/w1/add-checkpoint') return [404, ''];
    const split = body.indexOf('\n\n');
    const [oldLine, ...proof] = body.slice(0, split).split('\n');
    const checkpoint = openCheckpoint(Buffer.from(body.slice(split + 2)), parseVerifierKey(this.logKey));
    if (typeof checkpoint === 'string') return [403, checkpoint];
    const old = Number(/^old ([0-9]+)$/.exec(oldLine)?.[1] ?? NaN);
    if (!(old <= checkpoint.size)) return [400, 'old size'];
    if (old !== this.size) return [409, `${this.size}\n`];
    const hashes = proof.map((line) => Buffer.from(line, 'base64'));
    if (this.size > 0 && !consistencyHolds(old, checkpoint.size, this.root, checkpoint.root, hashes))
      return [422, 'inconsistent'];
    this.size = checkpoint.size;
    this.root = checkpoint.root;
    return [200, cosignatureLine(checkpoint.note.text, 'witness.example/w1', this.key, 1_700_000_000)];
  }
}

test('a witness cosigns checkpoints, catches up after its own loss, and refuses a rewritten journal', async () => {
  const witness = new TestWitness();
  open.push(witness);
  const url = await witness.listen();
  const problems: string[] = [];
  const options = {
    checkpointMs: 10,
    cosigner: { url, key: witness.verifier.text },
    cosignMs: 1,
    onCosigned: (problem: string) => void problems.push(problem),
  };
  const first = await start({ ...options, origin: 'dbwitness/cosigned' });
  witness.logKey = first.publicKey;
  for (let i = 0; i < 300; i++) {
    say(first, String(i));
    first.flush();
    if (i % 60 === 0) {
      await durable(first);
      const asked = witness.requests.length;
      await until(() => witness.requests.length > asked);
    }
  }
  await first.close();
  expect(witness.size).toBe(301);
  expect(problems.at(-1)).toBe('');
  expect(witness.requests.filter((status) => status === 200).length).toBeGreaterThan(1);
  const checked = verify(first, { witnesses: [witness.verifier.text] });
  expect(checked).toMatchObject({ whole: true, cosignatures: 1, cosignaturesChecked: true });
  const foreign = cosignatureVerifier('witness.example/w1', generateKeyPairSync('ed25519').privateKey);
  expect(verify(first, { witnesses: [foreign.text] }).whole).toBe(false);
  // It lost what we thought it has: asked again from where it is.
  rmSync(`${folder}/log/checkpoint.cosigned`);
  const second = await start(options);
  say(second, 'more');
  second.flush();
  await second.close();
  expect(witness.requests.slice(-2)).toEqual([409, 200]);
  expect(witness.size).toBe(303);
  // Another history, signed with the very same key.
  const key = readFileSync(`${folder}/journal.key`);
  rmSync(folder, { recursive: true });
  const { mkdirSync } = await import('node:fs');
  mkdirSync(folder);
  writeFileSync(`${folder}/journal.key`, key, { mode: 0o600 });
  const forged = await start(options);
  expect(forged.publicKey).toBe(first.publicKey);
  for (let i = 0; i < 400; i++) {
    say(forged, `forged ${i}`);
    forged.flush();
  }
  await forged.close();
  expect(problems.at(-1)).toContain('422');
  expect(witness.size).toBe(303);
});

test('verify runs beside a writer, again and again', async () => {
  const journal = await start({ checkpointMs: 5, segmentBytes: 30_000 });
  for (let round = 0; round < 12; round++) {
    for (let i = 0; i < 100; i++) {
      say(journal, `${round} ${i}`);
      journal.flush();
    }
    const report = verify(journal);
    expect(report.broken, JSON.stringify(report)).toBeNull();
    await new Promise((resolve) => setImmediate(resolve));
  }
});

const canMount = process.getuid?.() === 0 && mounts();

function mounts(): boolean {
  const probe = mkdtempSync(join(tmpdir(), 'dbw-mount-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', probe], { stdio: 'ignore' });
    execFileSync('umount', [probe]);
    return true;
  } catch {
    return false;
  } finally {
    rmSync(probe, { recursive: true, force: true });
  }
}

test.skipIf(!canMount)(
  'a file system that is full: refused, kept, counted, and recovered without a restart (needs root and mount)',
  async () => {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', folder]);
    try {
      const journal = await start({ maxUnwrittenBytes: 50_000, checkpointMs: 20 });
      const states: string[] = [];
      journal.onStatus(({ state }) => states.push(state));
      let written = journal.nextSeq;
      while (journal.flush()) {
        written = journal.nextSeq;
        say(journal, 'x'.repeat(5_000));
      }
      expect(journal.status).toMatchObject({ state: 'failing', failure: `no space left on ${folder}` });
      let kept = journal.nextSeq;
      while (journal.hasRoom) {
        say(journal, 'y'.repeat(5_000));
        journal.flush();
        kept = journal.nextSeq;
      }
      expect(kept).toBeGreaterThan(written + 5);
      journal.countLost(3);
      expect(journal.flush()).toBe(false);
      execFileSync('mount', ['-o', 'remount,size=16m', folder]);
      await until(() => journal.status.state === 'open');
      expect(journal.flush()).toBe(true);
      await durable(journal);
      expect(states).toEqual(['failing', 'open']);
      const events = [...JournalReader.open(folder).events()];
      expect(events.length).toBe(kept + 1);
      expect(events.at(-1)?.event.body).toMatchObject({
        case: 'gap',
        value: { reason: Gap_Reason.JOURNAL_FAILED, lostEvents: 3n, detail: `no space left on ${folder}` },
      });
      await journal.close();
      expect(verify(journal)).toMatchObject({ whole: true });
    } finally {
      execFileSync('umount', ['-l', folder]);
    }
  },
);

test.skipIf(!canMount)('a reserve stops the journal before the disk is full', async () => {
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=3m', 'tmpfs', folder]);
  try {
    const journal = await start({ reserveBytes: 1024 * 1024, checkpointMs: 20 });
    do {
      await durable(journal);
      say(journal, 'x'.repeat(5_000));
    } while (journal.flush());
    expect(journal.status.failure).toContain('less than 1 MiB');
    execFileSync('mount', ['-o', 'remount,size=16m', folder]);
    await until(() => journal.status.state === 'open');
    await journal.close();
    expect(verify(journal)).toMatchObject({ whole: true });
  } finally {
    execFileSync('umount', ['-l', folder]);
  }
});
