/** `dbwitness probe run`: the daemon. It hands what it sees to a dbwitness: this host's node, another's, or a journal of its own. */
import { mkdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { packageVersion, defaultDataDir } from '../../app/config.ts';
import { pathsOf } from '../../app/node/paths.ts';
import type { AppError } from '../../base/errors.ts';
import { messageOf } from '../../base/errors.ts';
import { Heartbeat } from '../../witness/probe/heartbeat.ts';
import { appendBatch } from '../../witness/probe/journal-sink.ts';
import { defaultProbeOptions } from '../../witness/probe/options.ts';
import { Probe } from '../../witness/probe/probe.ts';
import type { MutualTls } from '../../witness/probe/receiver.ts';
import { BatchSender, type Destination } from '../../witness/probe/sender.ts';
import { ProbeStream } from '../../witness/probe/stream.ts';
import { usage } from '../amounts.ts';
import { type Commands, type Context, environmentOf } from '../context.ts';
import { ringBytes } from './probe-options.ts';
import { untilSignal } from './until-signal.ts';

interface RunOptions {
  readonly to?: string;
  readonly journal?: string;
  readonly stream?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly tlsCa?: string;
  readonly parameters?: boolean;
  readonly ring?: string;
  readonly state?: string;
}

/** How long a stop waits for acknowledgements. */
const GRACE_MS = 5_000;

export function addProbeRunCommand(probe: Commands['program'], action: Commands['action']): void {
  probe
    .command('run', { isDefault: true })
    .description(
      'Runs until it is told to stop, and records what the database servers of this machine run: in the journal of this machine’s node (--data-dir), of another node (--to), or in one of its own (--journal).',
    )
    .option('--to <host:port>', 'hand it to another dbwitness (its DBW_LISTEN_PROBE), by mutual TLS')
    .option('--journal <folder>', 'keep a journal of its own')
    .option('--stream <host:port>', 'offer it live to other programs, by WebSocket')
    .option('--tls-cert <file>', 'certificate of this probe (PEM), for --to and --stream')
    .option('--tls-key <file>', 'its key')
    .option('--tls-ca <file>', 'authority of the other side’s certificate')
    .option('--parameters', 'record parameters of prepared statements (PostgreSQL)')
    .option('--ring <size>', 'size of the ring buffer, a power of two (default: 64MiB)')
    .option(
      '--state <file>',
      'where it remembers until when it ran (default: probe.state in the data folder)',
    )
    .action(action(run));
}

/** Where batches go. */
interface Sink {
  readonly name: string;
  readonly put: (batch: Uint8Array) => Promise<void>;
  readonly close: () => Promise<void>;
}

async function run(context: Context, options: RunOptions): Promise<void> {
  if (options.to !== undefined && options.journal !== undefined)
    throw usage('name --to or --journal, not both');
  const tls = tlsOf(options);
  const dataDir = resolve(environmentOf(context)['DBW_DATA_DIR'] || defaultDataDir());
  const ring = options.ring === undefined ? defaultProbeOptions.ringBytes : ringBytes(options.ring);
  const { io } = context;
  let failure: AppError | null = null;
  await untilSignal(async (stop) => {
    const ends: (() => Promise<unknown> | void)[] = [];
    const endAll = async (): Promise<void> => {
      for (const end of ends.splice(0).reverse()) await end();
    };
    try {
      const sink = await openSink(context, options, dataDir, tls);
      ends.push(() => sink.close());
      const stream = options.stream === undefined ? null : await openStream(context, options.stream, tls);
      if (stream !== null) ends.push(() => stream.close());
      const heartbeat = new Heartbeat(stateFile(options, dataDir), io.clock);
      ends.push(() => heartbeat.stop());
      if (heartbeat.gap !== null) void sink.put(heartbeat.gap);
      const probe = await Probe.start(
        { ...defaultProbeOptions, parameters: options.parameters === true, ringBytes: ring },
        {
          onBatch: (batch) => {
            stream?.publish(batch);
            return sink.put(batch);
          },
          onNotice: (_level, message) => io.note(message),
          onFailure: (error) => {
            failure = error;
            stop();
          },
        },
      );
      ends.push(() => probe.stop(GRACE_MS));
      io.note(`the probe runs; ${sink.name}`);
      return endAll;
    } catch (error) {
      await endAll();
      throw error;
    }
  });
  if (failure !== null) throw failure;
}

function stateFile({ state, journal }: RunOptions, dataDir: string): string {
  if (state !== undefined) return resolve(state);
  const folder = journal === undefined ? dataDir : resolve(journal);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return join(folder, 'probe.state');
}

async function openSink(
  context: Context,
  options: RunOptions,
  dataDir: string,
  tls: MutualTls | null,
): Promise<Sink> {
  if (options.journal !== undefined) return journalSink(context, resolve(options.journal));
  const destination: Destination =
    options.to === undefined
      ? { kind: 'local', path: pathsOf(dataDir).probeSocket }
      : { kind: 'remote', ...hostAndPort(options.to), tls: tls ?? missingTls() };
  const sender = new BatchSender(destination, (_level, message) => context.io.note(message));
  return {
    name: destination.kind === 'local' ? `for the node at ${dataDir}` : `for ${options.to}`,
    put: (batch) => sender.send(batch),
    close: async () => {
      const left = await sender.close(GRACE_MS);
      if (left > 0) context.io.note(`${left} batches were taken by nobody`);
    },
  };
}

async function journalSink(context: Context, folder: string): Promise<Sink> {
  const { openJournal } = await import('../../journal/journal.ts');
  const journal = await openJournal({
    folder,
    node: 'probe',
    version: packageVersion(),
    clock: context.io.clock,
    encryptionKey: null,
  });
  const retry = async (batch: Uint8Array): Promise<void> => {
    for (;;) {
      try {
        const durable = appendBatch(journal, batch);
        journal.flush();
        return await durable;
      } catch (error) {
        context.io.note(messageOf(error));
        await new Promise<void>((done) => setTimeout(done, 1_000));
      }
    }
  };
  return { name: `into the journal at ${folder}`, put: retry, close: () => journal.close() };
}

async function openStream(context: Context, where: string, tls: MutualTls | null): Promise<ProbeStream> {
  const stream = await ProbeStream.start({ ...hostAndPort(where), tls, clock: context.io.clock });
  context.io.note(
    `streaming at ${tls === null ? 'ws' : 'wss'}://${where.replace(/:\d+$/, '')}:${stream.port}/events and /captured`,
  );
  return stream;
}

function tlsOf({ tlsCert, tlsKey, tlsCa }: RunOptions): MutualTls | null {
  if (tlsCert === undefined && tlsKey === undefined && tlsCa === undefined) return null;
  if (tlsCert === undefined || tlsKey === undefined || tlsCa === undefined) return missingTls();
  return { cert: pem(tlsCert), key: pem(tlsKey), ca: pem(tlsCa) };
}

function missingTls(): never {
  throw usage('name all of --tls-cert, --tls-key and --tls-ca');
}

function pem(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw usage(messageOf(error));
  }
}

function hostAndPort(text: string): { host: string; port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text);
  if (match === null || Number(match[3]) > 65_535) throw usage(`"${text}" is no host:port`);
  return { host: match[1] ?? match[2] ?? '', port: Number(match[3]) };
}
