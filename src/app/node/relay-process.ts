/**
 * The relay's process, from the node's side: started, asked, told, and started again when it dies. While it is away
 * nothing can be appended, so the control plane refuses changes: fail closed.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { create, toBinary } from '@bufbuild/protobuf';
import { AppError } from '../../base/errors.ts';
import type { Clock } from '../../base/clock.ts';
import { EventSchema, Witness } from '../../model/events.ts';
import type { Authority, AuthorityNotice } from '../../model/access.ts';
import type { ControlChangeRecord, ControlJournal } from '../../access/changes.ts';
import { Channel } from '../ipc.ts';
import type { ListenerAddress, NodeMethods, RelayMethods, RelayReport } from '../relay/protocol.ts';
import type { RelaySettings } from '../relay/settings.ts';

const MIN_RESTART_MS = 200;
const MAX_RESTART_MS = 10_000;
/** A relay that ran this long is started again at once when it dies. */
const STABLE_MS = 30_000;

export interface RelayOptions {
  readonly settings: RelaySettings;
  readonly clock: Clock;
  readonly log: (level: 'info' | 'warn' | 'error', message: string) => void;
}

export class RelayProcess implements ControlJournal {
  readonly #options: RelayOptions;
  #authority: Authority | null = null;
  #child: ChildProcess | null = null;
  #channel: Channel<NodeMethods, RelayMethods> | null = null;
  #stopping = false;
  #restartMs = MIN_RESTART_MS;
  #restarts = 0;
  #report: RelayReport | null = null;
  #listening: readonly ListenerAddress[] = [];
  #settle: { resolve: () => void; reject: (error: Error) => void } | null = null;

  constructor(options: RelayOptions) {
    this.#options = options;
  }

  /** Resolves when it listens; rejects when the first start fails. */
  start(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
      this.#spawn();
    });
  }

  /** Whoever answers the relay's questions; until it is set, log-ins are refused as unavailable. */
  serve(authority: Authority): void {
    this.#authority = authority;
    authority.onNotice((notice: AuthorityNotice) => this.#channel?.notify('notice', notice));
    // The relay may have asked before anybody could answer.
    this.#channel?.notify('notice', { kind: 'servers_changed' });
  }

  get report(): RelayReport | null {
    return this.#report;
  }

  get restarts(): number {
    return this.#restarts;
  }

  get listening(): readonly ListenerAddress[] {
    return this.#listening;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Resolves when the change is durable in the journal. */
  async append(change: ControlChangeRecord): Promise<void> {
    const event = create(EventSchema, {
      atUs: BigInt(this.#options.clock.wallUs()),
      origin: { witness: Witness.CONTROL },
      body: { case: 'controlChange', value: change },
    });
    await this.#demand().request('append', toBinary(EventSchema, event));
  }

  /** Resolves when the events of a probe's batch are durable in the journal. */
  async appendBatch(batch: Uint8Array): Promise<void> {
    await this.#demand().request('appendBatch', batch);
  }

  /** Drops old segments of the journal. `false`: not now, because the clock may be wrong. */
  async dropSegments(olderThanUs: number): Promise<boolean> {
    return (await this.#demand().request('dropSegments', { olderThanUs })) !== null;
  }

  /** Sessions end, the journal is closed. */
  async stop(): Promise<void> {
    this.#stopping = true;
    const child = this.#child;
    if (!child) return;
    const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    this.#channel?.notify('shutdown', null);
    await exited;
  }

  /** Ends it at once. What it forwarded is in the journal already. */
  kill(): void {
    this.#stopping = true;
    this.#child?.kill('SIGKILL');
  }

  #demand(): Channel<NodeMethods, RelayMethods> {
    if (this.#channel) return this.#channel;
    throw new AppError(
      'unavailable',
      'APP_RELAY_GONE',
      'the relay is being restarted, so nothing can be journaled; try again in a moment',
    );
  }

  #spawn(): void {
    const { settings, log } = this.#options;
    const main = new URL(`../relay/main${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url);
    const startedAt = performance.now();
    const child = fork(main, [], {
      serialization: 'advanced',
      // A session of its own: the scheduler then weighs the relay against the rest of the machine, not against our own
      // index and API threads, and a Ctrl-C of the terminal reaches it through us alone.
      detached: true,
      execArgv: ['--disable-warning=ExperimentalWarning', '--max-semi-space-size=16'],
      env: environment(),
    });
    this.#child = child;
    const channel = new Channel<NodeMethods, RelayMethods>(child, () => {
      if (this.#channel === channel) this.#channel = null;
    });
    this.#channel = channel;
    this.#handle(channel);
    channel.notify('settings', settings);
    child.once('exit', (code, signal) => {
      this.#child = null;
      this.#listening = [];
      this.#report = null;
      if (this.#stopping) return;
      const failure = new AppError(
        'unavailable',
        'APP_RELAY_ENDED',
        `the relay ended (${signal ?? `code ${code}`})`,
      );
      if (this.#settle) {
        this.#settle.reject(failure);
        return;
      }
      if (performance.now() - startedAt > STABLE_MS) this.#restartMs = MIN_RESTART_MS;
      log('error', `${failure.message}; starting it again in ${this.#restartMs} ms`);
      this.#restarts++;
      setTimeout(() => this.#stopping || this.#spawn(), this.#restartMs);
      this.#restartMs = Math.min(MAX_RESTART_MS, this.#restartMs * 2);
    });
  }

  #handle(channel: Channel<NodeMethods, RelayMethods>): void {
    const { log } = this.#options;
    const authority = (): Authority => {
      if (this.#authority) return this.#authority;
      throw new AppError(
        'unavailable',
        'APP_NOT_READY',
        'dbwitness is still starting; try again in a moment',
      );
    };
    channel.handle('challenge', (login) => authority().challenge(login));
    channel.handle('checkSecret', (login) => authority().checkSecret(login));
    channel.handle('permit', (login) => authority().permit(login));
    channel.handle('servers', () => authority().servers());
    channel.handle('proved', (login) => authority().proved(login));
    channel.handle('usage', (usage) => authority().reportUsage(usage));
    channel.handle('report', (report) => {
      this.#report = report;
    });
    channel.handle('log', ({ level, message }) => log(level, message));
    channel.handle('listening', (addresses) => {
      this.#listening = addresses;
      this.#settle?.resolve();
      this.#settle = null;
    });
    channel.handle('failed', ({ code, message }) => {
      if (!this.#settle) return log('error', message);
      // It never ran: whoever started it hears why, and it is not started again.
      this.#stopping = true;
      this.#settle.reject(new AppError('unavailable', code, message));
      this.#settle = null;
    });
  }
}

/** Ours without our settings, some of which are secrets. */
function environment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('DBW_')));
}
