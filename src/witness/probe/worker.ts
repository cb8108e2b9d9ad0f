/** The probe's thread: polls the ring, scans for servers, and hands batches of events to whoever started it. */
import { parentPort, workerData } from 'node:worker_threads';
import { systemClock } from '../../base/clock.ts';
import { isAppError, messageOf } from '../../base/errors.ts';
import { ProbeEngine } from './engine.ts';
import { type FromProbe, probeLimits, type ProbeOptions, type ToProbe } from './options.ts';
import { closeDialects, loadDialects } from './redaction.ts';

const port = parentPort;
if (port === null) throw new Error('this file is a worker thread');
const options = workerData as ProbeOptions;
const say = (message: FromProbe): void => port.postMessage(message);

const STATUS_MS = 1_000;

async function run(): Promise<void> {
  const dialects = await loadDialects();
  const engine = new ProbeEngine(options, {
    clock: systemClock,
    dialects,
    notice: (level, message) => say({ type: 'notice', level, message }),
  });
  let untaken = 0;
  let scanned = -Infinity;
  let told = 0;
  let timer: NodeJS.Timeout | null = null;
  const handOver = (): void => {
    if (engine.out.events === 0) return;
    const { events } = engine.out;
    const batch = engine.out.take();
    untaken += batch.length;
    port?.postMessage({ type: 'events', batch, events } satisfies FromProbe, [batch.buffer]);
  };
  const scan = (): void => {
    engine.scan();
    scanned = performance.now();
  };
  const turn = (): void => {
    let records = 0;
    try {
      if (performance.now() - scanned >= options.scanMs) scan();
      if (untaken < probeLimits.maxUntakenBytes) records = engine.drain();
      handOver();
      if (performance.now() - told >= STATUS_MS) {
        told = performance.now();
        say({ type: 'status', status: engine.status() });
      }
    } catch (error) {
      return failed(error);
    }
    timer = setTimeout(turn, records > 0 ? probeLimits.pollMs : probeLimits.idlePollMs);
  };
  port?.on('message', (message: ToProbe) => {
    if (message.type === 'taken') untaken -= message.bytes;
    else if (message.type === 'scan') scan();
    else {
      if (timer !== null) clearTimeout(timer);
      const { attached } = engine.status();
      engine.stop();
      handOver();
      say({ type: 'stopped', status: { ...engine.status(), attached } });
      void closeDialects(dialects).then(() => port?.close());
    }
  });
  scan();
  handOver();
  say({ type: 'ready', status: engine.status() });
  turn();
}

function failed(error: unknown): void {
  say({
    type: 'failed',
    kind: isAppError(error) ? error.kind : 'unavailable',
    code: isAppError(error) ? error.code : 'PROBE_FAILED',
    message: messageOf(error),
  });
  port?.close();
}

run().catch(failed);
