/** The daemon: into a node's journal, by its socket or mutual TLS; into a journal of its own; live to other programs. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fromBinary } from '@bufbuild/protobuf';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { systemClock } from '../../src/base/clock.ts';
import { JournalReader } from '../../src/journal/reader.ts';
import { verifyJournal } from '../../src/journal/verify.ts';
import {
  Engine,
  type Event,
  EventSchema,
  Gap_Reason,
  LogEntrySchema,
  LogType,
  ObservedSession_Kind,
  Witness,
} from '../../src/model/events.ts';
import { EventWriter, ObservationRecord, SessionBytes } from '../../src/witness/probe/event-writer.ts';
import { ProbeReceiver } from '../../src/witness/probe/receiver.ts';
import { BatchSender } from '../../src/witness/probe/sender.ts';
import { ProbeStream } from '../../src/witness/probe/stream.ts';
import {
  freePort,
  isMissing,
  LAUNCHER,
  makeAuthority,
  type PostgresServer,
  type RunningProcess,
  startDbwitness,
  startPostgres,
  startProcess,
  waitFor,
} from '../servers/index.ts';
import { type PrivatePostgres, privatePostgres } from '../servers/private-postgres.ts';
import { cannotProbe } from './support.ts';

const skip = isMissing('postgres', 'openssl') || cannotProbe();
const SESSION = new SessionBytes({
  engine: Engine.POSTGRES,
  serverUid: 'server',
  backendId: '42',
  backendStartedUs: 7,
  database: 'db',
  user: 'joe',
  address: '192.0.2.1',
  port: 5000,
  serverAddress: '192.0.2.2',
  serverPort: 5432,
  application: 'app',
  pid: 42,
  processName: 'postgres',
});

function batchOf(...texts: string[]): Uint8Array {
  const writer = new EventWriter();
  const record = new ObservationRecord();
  for (const text of texts) {
    record.atUs = 1_700_000_000_000_000;
    record.startedUs = 1_700_000_000_000_000;
    record.sql = Buffer.from(text);
    record.sqlBytes = text.length;
    record.returnValue = -2;
    writer.observation(SESSION, record);
  }
  return writer.take();
}

function folder(name: string): string {
  const dir = mkdtempSync(join(tmpdir(), `dbw-${name}-`));
  cleanups.push(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}
const cleanups: (() => Promise<unknown> | void)[] = [];
afterAll(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup();
});

function eventsIn(journal: string): Event[] {
  const reader = JournalReader.open(journal);
  const events: Event[] = [];
  try {
    for (const { event } of reader.events()) events.push(event);
  } finally {
    void reader.close();
  }
  return events;
}

function textsIn(events: readonly Event[]): string[] {
  return events.flatMap(({ body }) =>
    body.case === 'observation' ? [Buffer.from(body.value.sql).toString()] : [],
  );
}

describe.skipIf(skip)('dbwitness probe run', () => {
  let binary: PrivatePostgres;
  let server: PostgresServer;

  beforeAll(async () => {
    binary = await privatePostgres('15');
    server = await startPostgres({ version: '15', binDir: binary.binDir });
    cleanups.push(
      () => binary.remove(),
      () => server.stop(),
    );
  });

  const daemon = (...args: string[]): RunningProcess => {
    const running = startProcess(LAUNCHER, ['probe', 'run', ...args]);
    cleanups.push(() => running.stop());
    return running;
  };
  const ready = (running: RunningProcess): Promise<unknown> =>
    waitFor(
      'the probe to run',
      () =>
        running.stderr().includes('the probe runs') &&
        running.stderr().includes(`attached to ${binary.program}`),
      { timeoutMs: 60_000 },
    );

  it('keeps a verifiable journal of its own; killed and started again, it says since when it did not look', async () => {
    const journal = folder('probe-journal');
    const first = daemon('--journal', journal);
    await ready(first);
    await server.query("SELECT 'before the kill'");
    await waitFor('the record', () => textsIn(eventsIn(journal)).includes("SELECT 'before the kill'"));
    first.child.kill('SIGKILL');
    await first.ended;
    await server.query("SELECT 'while nobody looked'");
    const second = daemon('--journal', journal);
    await ready(second);
    await server.query("SELECT 'after the return'");
    await waitFor('the record', () => textsIn(eventsIn(journal)).includes("SELECT 'after the return'"));
    await second.stop();
    const events = eventsIn(journal);
    expect(textsIn(events)).not.toContain("SELECT 'while nobody looked'");
    const gaps = events.flatMap(({ body }) =>
      body.case === 'gap' && body.value.reason === Gap_Reason.WITNESS_STOPPED ? [body.value] : [],
    );
    expect(gaps).toHaveLength(1);
    const [seenBefore, seenAfter] = ["SELECT 'before the kill'", "SELECT 'after the return'"].map((sql) =>
      events.find(
        ({ body }) => body.case === 'observation' && Buffer.from(body.value.sql).toString() === sql,
      ),
    );
    expect(gaps[0]?.witness).toBe(Witness.PROBE);
    expect(gaps[0]?.untilUs).toBeLessThanOrEqual(seenAfter?.atUs ?? 0n);
    expect(gaps[0]?.fromUs).toBeGreaterThan((seenBefore?.atUs ?? 0n) - 3_000_000n);
    const report = verifyJournal(journal, {
      publicKey: readFileSync(join(journal, 'journal.pub'), 'utf8').trim(),
    });
    expect(report.whole).toBe(true);
  });

  it('hands over to the node of this machine, and to another one by mutual TLS; both index what it saw', async () => {
    const authority = makeAuthority();
    const files = folder('probe-tls');
    for (const [name, content] of Object.entries({ ...authority.issue('localhost'), ca: authority.ca }))
      writeFileSync(join(files, `${name}.pem`), content);
    const port = await freePort();
    const node = await startDbwitness({
      env: {
        DBW_LISTEN_PROBE: `127.0.0.1:${port}`,
        DBW_PROBE_CERT: join(files, 'cert.pem'),
        DBW_PROBE_KEY: join(files, 'key.pem'),
        DBW_PROBE_CA: join(files, 'ca.pem'),
      },
    });
    cleanups.push(() => node.stop());
    const local = daemon('--data-dir', node.dataDir);
    await ready(local);
    await server.query("SELECT 'by the socket'");
    const journal = join(node.dataDir, 'journal');
    await waitFor('the record', () => textsIn(eventsIn(journal)).includes("SELECT 'by the socket'"));
    await local.stop();

    const remote = daemon(
      '--to',
      `localhost:${port}`,
      '--tls-cert',
      join(files, 'cert.pem'),
      '--tls-key',
      join(files, 'key.pem'),
      '--tls-ca',
      join(files, 'ca.pem'),
      '--state',
      join(files, 'state'),
    );
    await ready(remote);
    await server.query("SELECT 'by mutual TLS'");
    await waitFor('the record', () => textsIn(eventsIn(journal)).includes("SELECT 'by mutual TLS'"));
    // A node that goes away and comes back: what was seen meanwhile is handed over then.
    await node.halt();
    await server.query("SELECT 'kept meanwhile'");
    await waitFor('the probe to notice', () => remote.stderr().includes('nobody takes the observations'));
    await node.start();
    await waitFor(
      'the record',
      () => textsIn(eventsIn(journal)).filter((sql) => sql === "SELECT 'kept meanwhile'").length === 1,
      { timeoutMs: 30_000 },
    );
    await remote.stop();
    const events = eventsIn(journal).filter(({ body }) => body.case === 'observation');
    expect(
      textsIn(events).filter((sql) => /by the socket|by mutual TLS|kept meanwhile/.test(sql)),
    ).toHaveLength(3);
    expect(events.every(({ origin }) => origin?.witness === Witness.PROBE)).toBe(true);
  });

  it('prints the two line forms exactly, and JSON with everything', async () => {
    const start = async (...args: string[]): Promise<RunningProcess> => {
      const running = startProcess(LAUNCHER, ['probe', 'postgres', '-m', binary.program, ...args]);
      cleanups.push(() => running.stop());
      await waitFor('it to attach', () => running.stderr().includes('attached to'));
      return running;
    };
    const [lines, hex, json] = [await start(), await start('--hex'), await start('--json', '--parameters')];
    const before = Date.now();
    await server.query('SELECT version();');
    await server.query('SELECT $1::text AS x', ['y']);
    // Not so many lines: JSON also tells what was attached to.
    const second = { hex: Buffer.from('SELECT $1::text AS x').toString('hex'), text: 'SELECT $1::text AS x' };
    await waitFor(
      'the lines',
      () =>
        [lines, json].every((each) => each.stdout().includes(second.text)) &&
        hex.stdout().includes(second.hex),
    );
    const line = lines
      .stdout()
      .split('\n')
      .find((each) => each.includes('version'));
    expect(line).toMatch(/^PID: \d+, Comm: postgres, Time: \d{13}, Query: SELECT version\(\);$/);
    const time = Number(/Time: (\d+)/.exec(line ?? '')?.[1]);
    expect(time).toBeGreaterThanOrEqual(before - 1);
    expect(time).toBeLessThanOrEqual(Date.now());
    expect(hex.stdout()).toContain(`Query: ${Buffer.from('SELECT version();').toString('hex')}\n`);
    const objects = json
      .stdout()
      .trim()
      .split('\n')
      .map(
        (each) =>
          JSON.parse(each) as {
            observation?: { sql: string; tag: string; parameters?: { value: string }[] };
          },
      );
    expect(objects.map(({ observation }) => observation?.sql).filter(Boolean)).toEqual([
      'SELECT version();',
      'SELECT $1::text AS x',
    ]);
    expect(
      objects.find(({ observation }) => observation?.sql.includes('$1'))?.observation?.parameters,
    ).toEqual([{ type: 25, value: 'y' }]);
  });

  it('streams to other programs over WebSocket: our own message, and the shorter one with real addresses', async () => {
    const journal = folder('probe-stream');
    const port = await freePort();
    const running = daemon('--journal', journal, '--stream', `127.0.0.1:${port}`);
    await ready(running);
    const received = { events: [] as Uint8Array[], captured: [] as Uint8Array[] };
    const sockets = (['events', 'captured'] as const).map((form) => {
      const socket = new WebSocket(`ws://127.0.0.1:${port}/${form}`);
      socket.on('message', (data) => received[form].push(new Uint8Array(data as Buffer)));
      return socket;
    });
    await waitFor('both to be open', () => sockets.every((socket) => socket.readyState === WebSocket.OPEN));
    const { default: pg } = await import('pg');
    const client = new pg.Client({
      host: '127.0.0.1',
      port: server.port,
      user: 'postgres',
      password: server.password,
      database: 'postgres',
    });
    await client.connect();
    const { rows } = await client.query<{ pid: number; port: number }>(
      'SELECT pg_backend_pid() AS pid, inet_client_port() AS port',
    );
    await client.end();
    const mine = (): ReturnType<typeof decode>[] =>
      received.captured.map(decode).filter((entry) => entry?.payload.toString().includes('inet_client_port'));
    function decode(bytes: Uint8Array) {
      const entry = fromBinary(LogEntrySchema, bytes);
      if (entry.logType !== LogType.EVENT || entry.payload.case !== 'eventPayload') return null;
      return { ...entry.payload.value, payload: Buffer.from(entry.payload.value.payload).toString() };
    }
    await waitFor('the message', () => mine().length === 1);
    expect(mine()[0]).toMatchObject({
      srcIp: '127.0.0.1',
      srcPort: rows[0]?.port,
      dstIp: '127.0.0.1',
      dstPort: server.port,
      pid: BigInt(rows[0]?.pid ?? 0),
      pname: 'postgres',
      type: 1,
      length: 'SELECT pg_backend_pid() AS pid, inet_client_port() AS port'.length,
      uuid: expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
    });
    const ours = received.events.map((bytes) => fromBinary(EventSchema, bytes));
    expect(textsIn(ours).filter((sql) => sql.includes('inet_client_port'))).toHaveLength(1);
    expect(
      ours.some(
        ({ body }) => body.case === 'observedSession' && body.value.kind === ObservedSession_Kind.OPENED,
      ),
    ).toBe(true);
    for (const socket of sockets) socket.close();
    await running.stop();
  });
});

describe.skipIf(isMissing('openssl'))('the handover', () => {
  it('takes every batch once, in order, whatever breaks in between', async () => {
    const path = join(folder('handover'), 'probe.sock');
    const taken: string[] = [];
    let failing = true;
    const append = (batch: Buffer): Promise<void> => {
      if (failing) return Promise.reject(new Error('the disk is full'));
      taken.push(batch.toString('latin1'));
      return Promise.resolve();
    };
    const reports: string[] = [];
    const options = { append, report: (_level: string, message: string) => void reports.push(message) };
    let receiver = new ProbeReceiver(options);
    await receiver.listenLocal(path);
    const sender = new BatchSender({ kind: 'local', path }, () => undefined);
    const sent = Array.from({ length: 50 }, (_, i) => batchOf(`SELECT ${i}`));
    const done = Promise.all(sent.map((batch) => sender.send(batch)));
    await waitFor('the failure', () => reports.some((report) => report.includes('the disk is full')));
    failing = false;
    await done;
    await receiver.close();
    const later = sender.send(batchOf('SELECT 50'));
    receiver = new ProbeReceiver(options);
    await receiver.listenLocal(path);
    // A receiver that was started anew does not know the run; the sender goes on where it was.
    await later;
    expect(await sender.close(1_000)).toBe(0);
    await receiver.close();
    expect(taken).toEqual(
      [...sent, batchOf('SELECT 50')].map((batch) => Buffer.from(batch).toString('latin1')),
    );
  });

  it('turns away who has no certificate of the authority', async () => {
    const [ours, theirs] = [makeAuthority(), makeAuthority()];
    const taken: Buffer[] = [];
    const reports: string[] = [];
    const receiver = new ProbeReceiver({
      append: (batch) => {
        taken.push(batch);
        return Promise.resolve();
      },
      report: (_level, message) => void reports.push(message),
    });
    const port = await receiver.listenRemote('127.0.0.1', 0, { ...ours.issue('localhost'), ca: ours.ca });
    cleanups.push(() => receiver.close());
    const stranger = new BatchSender(
      { kind: 'remote', host: 'localhost', port, tls: { ...theirs.issue('localhost'), ca: ours.ca } },
      () => undefined,
    );
    void stranger.send(batchOf('SELECT 1'));
    await waitFor('it to be turned away', () => reports.some((report) => report.includes('turned away')));
    await stranger.close(0);
    const friend = new BatchSender(
      { kind: 'remote', host: 'localhost', port, tls: { ...ours.issue('localhost'), ca: ours.ca } },
      () => undefined,
    );
    await friend.send(batchOf('SELECT 2'));
    await friend.close(1_000);
    expect(taken).toHaveLength(1);
  });

  it('the stream is not offered to the network without certificates', async () => {
    await expect(
      ProbeStream.start({ host: '0.0.0.0', port: 0, tls: null, clock: systemClock }),
    ).rejects.toMatchObject({ code: 'PROBE_STREAM_OPEN' });
  });
});
