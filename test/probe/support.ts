/** A probe with everything that it said, for tests that ask it afterwards. */
import { fromBinary } from '@bufbuild/protobuf';
import type pg from 'pg';
import { type Event, EventSchema, type Observation } from '../../src/model/events.ts';
import { checkProbe } from '../../src/witness/probe/check.ts';
import { eventsOf } from '../../src/witness/probe/event-writer.ts';
import { defaultProbeOptions, type ProbeOptions, type ProbeStatus } from '../../src/witness/probe/options.ts';
import { Probe } from '../../src/witness/probe/probe.ts';
import { isMissing, waitFor } from '../servers/index.ts';

/**
 * For `skipIf`: whether the kernel of this machine cannot be probed by us, said on stderr. Not a failure in CI either:
 * no package gives a container the right to load BPF programs.
 */
export function cannotProbe(): boolean {
  if (isMissing('clang')) return true;
  const [first] = checkProbe().filter(({ state }) => state === 'bad');
  if (first === undefined) return false;
  process.stderr.write(`skipped, the kernel cannot be probed here: ${first.what}: ${first.message}\n`);
  return true;
}

export interface Seen {
  readonly event: Event;
  readonly sql: string;
  readonly observation: Observation;
}

export class Recorder {
  readonly events: Event[] = [];
  readonly notices: string[] = [];
  #failure: Error | null = null;
  #probe: Probe | null = null;

  static async start(options: Partial<ProbeOptions>): Promise<Recorder> {
    const recorder = new Recorder();
    recorder.#probe = await Probe.start(
      { ...defaultProbeOptions, ringBytes: 16 * 1024 * 1024, scanMs: 200, ...options },
      {
        onBatch: (batch) => {
          for (const bytes of eventsOf(batch)) recorder.events.push(fromBinary(EventSchema, bytes));
        },
        onNotice: (_level, message) => void recorder.notices.push(message),
        onFailure: (error) => {
          recorder.#failure = error;
          process.stderr.write(`the probe failed: ${error.message}\n`);
        },
      },
    );
    return recorder;
  }

  get probe(): Probe {
    if (this.#probe === null) throw new Error('the probe does not run');
    return this.#probe;
  }

  async stop(): Promise<ProbeStatus> {
    if (this.#failure !== null) throw this.#failure;
    return this.probe.stop();
  }

  /** Observations so far, in the order of the events. */
  seen(where: (seen: Seen) => boolean = () => true): Seen[] {
    return this.events.flatMap((event): Seen[] => {
      if (event.body.case !== 'observation') return [];
      const seen = {
        event,
        observation: event.body.value,
        sql: Buffer.from(event.body.value.sql).toString('utf8'),
      };
      return where(seen) ? [seen] : [];
    });
  }

  /** Waits until an observation of exactly this text has come; returns all so far. */
  async until(sql: string): Promise<Seen[]> {
    await waitFor(
      `the probe to see ${sql.slice(0, 60)}`,
      () => this.seen((seen) => seen.sql === sql).length > 0,
    );
    return this.seen();
  }

  /** Events of one kind, with their body. */
  bodies<Case extends Bodies['case']>(name: Case): { event: Event; value: BodyOf<Case> }[] {
    return this.events.flatMap((event) =>
      event.body.case === name ? [{ event, value: event.body.value as BodyOf<Case> }] : [],
    );
  }
}

type Bodies = Extract<Event['body'], { value: object }>;
type BodyOf<Case extends Bodies['case']> = Extract<Bodies, { case: Case }>['value'];

/** Runs a query in one transaction by Executes of `rows` rows each, through node-postgres' submittable interface. */
export async function fetchInSteps(client: pg.Client, sql: string, rows: number): Promise<void> {
  interface Connection {
    parse(message: object): void;
    bind(message: object): void;
    execute(message: object): void;
    flush(): void;
    sync(): void;
  }
  await new Promise<void>((resolve, reject) => {
    let connection: Connection | null = null;
    const next = (): void => {
      connection?.execute({ portal: '', rows });
      connection?.flush();
    };
    client.query({
      submit(to: Connection) {
        connection = to;
        to.parse({ text: sql, name: '', types: [] });
        to.bind({ portal: '', statement: '', values: [] });
        next();
      },
      handleRowDescription: () => undefined,
      handleDataRow: () => undefined,
      handlePortalSuspended: next,
      handleCommandComplete: () => connection?.sync(),
      handleReadyForQuery: () => resolve(),
      handleError: reject,
    } as never);
  });
}

/** "UPDATE pgbench_tellers": the statement without its values; '' for what pgbench asks before it starts. */
export function kindOf(sql: string): string {
  const text = sql.trim().replace(/;$/, '');
  if (/^(?:BEGIN|END)$/i.test(text)) return text.toUpperCase();
  if (!/^(?:UPDATE|INSERT|SELECT abalance)/.test(text)) return '';
  const relation = /pgbench_\w+/.exec(text)?.[0] ?? text;
  return `${text.split(' ', 1)[0].toUpperCase()} ${relation}`;
}
