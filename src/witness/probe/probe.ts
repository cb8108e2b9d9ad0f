/**
 * The kernel probe: every statement that the database servers of this host run, whoever sent it, without a change to
 * their configuration and without a restart.
 *
 *   server ── uprobes ─▶ bpf/ ── ring buffer ─▶ worker thread: engine.ts                           this file
 *                                  │  finder → binary inspected → attached                          │
 *                                  │  records → observer per binary → events, secrets redacted ─────┴─▶ batches
 *                                  └  losses counted by the kernel → gap events
 *
 * Invariants
 *  1. Nothing is written into a traced process, and no server ever waits for the probe.
 *  2. What was lost is known: counted in the kernel, and a gap event with that count follows.
 *  3. A text leaves the probe's thread only after its secrets were redacted.
 *  4. One binary file is attached to once, however many servers and containers run it.
 *
 * docs/probe.md says what is seen and what is not.
 */
import { Worker } from 'node:worker_threads';
import { AppError, isAppError, messageOf } from '../../base/errors.ts';
import type { FromProbe, ProbeOptions, ProbeStatus, ToProbe } from './options.ts';
import { unsupportedPlatform } from './syscalls.ts';

export interface ProbeListener {
  /**
   * Some events, each preceded by its length (see event-writer.ts), in order; the next batch comes whether or not the
   * promise of this one is settled. The probe goes on reading while promises are pending, up to a limit; then the
   * kernel's ring fills, and what it loses is counted.
   */
  onBatch(batch: Uint8Array, events: number): void | Promise<void>;
  onNotice?(level: 'info' | 'warn', message: string): void;
  /** It ended by itself: no more events come. */
  onFailure?(error: AppError): void;
}

export class Probe {
  readonly #worker: Worker;
  readonly #listener: ProbeListener;
  #status: ProbeStatus;
  #stopped: ((status: ProbeStatus) => void) | null = null;
  #ending = false;
  readonly #untaken = new Set<Promise<void>>();

  private constructor(worker: Worker, listener: ProbeListener, status: ProbeStatus) {
    this.#worker = worker;
    this.#listener = listener;
    this.#status = status;
  }

  /** Attaches to the servers that run, and to those that come. Rejects with an AppError that says what is missing. */
  static async start(options: ProbeOptions, listener: ProbeListener): Promise<Probe> {
    const unsupported = unsupportedPlatform();
    if (unsupported !== null) throw new AppError('unavailable', 'PROBE_PLATFORM', unsupported);
    const script = new URL(`./worker.${import.meta.url.endsWith('.ts') ? 'ts' : 'js'}`, import.meta.url);
    const worker = new Worker(script, { workerData: options, name: 'probe' });
    const early: FromProbe[] = [];
    return new Promise((resolve, reject) => {
      let probe: Probe | null = null;
      worker.on('message', (message: FromProbe) => {
        if (probe !== null) probe.#receive(message);
        else if (message.type === 'failed') reject(revive(message));
        else if (message.type === 'ready') {
          probe = new Probe(worker, listener, message.status);
          for (const one of early) probe.#receive(one);
          resolve(probe);
        } else early.push(message);
      });
      worker.on('error', (cause) => {
        const error = new AppError(
          'unavailable',
          'PROBE_FAILED',
          `the probe's thread failed: ${String(cause)}`,
          { cause },
        );
        if (probe === null) reject(error);
        else probe.#died(error);
      });
      worker.on('exit', () => {
        reject(new AppError('unavailable', 'PROBE_FAILED', 'the probe’s thread did not start'));
        if (probe !== null)
          probe.#died(new AppError('unavailable', 'PROBE_FAILED', 'the probe’s thread ended'));
      });
    });
  }

  /** As of about a second ago. */
  get status(): ProbeStatus {
    return this.#status;
  }

  /** Looks for servers at once, not at the next interval. */
  scan(): void {
    this.#post({ type: 'scan' });
  }

  /** Detaches, delivers what is left, and resolves with the final counts. Nothing is left to do after a failure.
   * Waits until everything is taken, for at most `graceMs` if given. */
  async stop(graceMs?: number): Promise<ProbeStatus> {
    if (this.#ending) return this.#status;
    const status = await new Promise<ProbeStatus>((resolve) => {
      this.#stopped = resolve;
      this.#ending = true;
      this.#post({ type: 'stop' });
    });
    const taken = Promise.all(this.#untaken);
    if (graceMs === undefined) await taken;
    else await Promise.race([taken, new Promise((done) => setTimeout(done, graceMs).unref())]);
    return status;
  }

  #post(message: ToProbe): void {
    this.#worker.postMessage(message, []);
  }

  #receive(message: FromProbe): void {
    switch (message.type) {
      case 'events':
        this.#deliver(message.batch, message.events);
        return;
      case 'notice':
        this.#listener.onNotice?.(message.level, message.message);
        return;
      case 'failed':
        this.#died(revive(message));
        return;
      case 'stopped':
        this.#status = message.status;
        this.#stopped?.(message.status);
        this.#stopped = null;
        return;
      case 'ready':
      case 'status':
        this.#status = message.status;
    }
  }

  #deliver(batch: Uint8Array<ArrayBuffer>, events: number): void {
    const taken = (): void => {
      this.#untaken.delete(delivery);
      this.#post({ type: 'taken', bytes: batch.length });
    };
    const delivery = Promise.resolve()
      .then(() => this.#listener.onBatch(batch, events))
      .then(taken, (error: unknown) => {
        taken();
        const failure = isAppError(error)
          ? error
          : new AppError(
              'unavailable',
              'PROBE_DELIVERY',
              `events could not be delivered: ${messageOf(error)}`,
            );
        this.#listener.onFailure?.(failure);
      });
    this.#untaken.add(delivery);
  }

  #died(error: AppError): void {
    if (this.#stopped !== null) {
      this.#stopped(this.#status);
      this.#stopped = null;
    }
    if (!this.#ending) this.#listener.onFailure?.(error);
    this.#ending = true;
  }
}

function revive({ kind, code, message }: Extract<FromProbe, { type: 'failed' }>): AppError {
  return new AppError(kind, code, message);
}
