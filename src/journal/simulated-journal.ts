/** A journal on a simulated disk: the appender with its sealer in the same thread, stepped by hand. */
import type { Appender, SealerLink } from './appender.ts';
import { ManualClock } from '../base/clock.ts';
import { appendEvent } from './encode.ts';
import { type JournalOptions, prepare, type Prepared, startAppender } from './journal.ts';
import { Sealer } from './sealer.ts';
import type { SimulatedDisk } from './simulated-disk.ts';

export const FOLDER = '/data/journal';

/** The sealer without its thread: it works only when told. */
export class SteppedSealer implements SealerLink {
  onChange: () => void = () => {};
  failure = '';
  readonly sealer: Sealer;

  constructor(sealer: Sealer) {
    this.sealer = sealer;
  }

  wake(): void {}

  hurry(): void {}

  get durable(): number {
    return this.sealer.durable;
  }

  get signedSize(): number {
    return this.sealer.signed.size;
  }

  get tilesSynced(): number {
    return this.sealer.tilesSynced;
  }

  /** Does one thing of the sealer's loop; a failure becomes the status, as in the thread. */
  step(action: (sealer: Sealer) => void): void {
    try {
      action(this.sealer);
      this.failure = '';
    } catch (error) {
      if (!(error instanceof Error) || error.name === 'SimulatedCrash') throw error;
      this.failure = error.message;
    }
    this.onChange();
  }

  async close(): Promise<void> {
    this.sealer.finish();
    this.sealer.close();
  }
}

export interface Simulated {
  readonly appender: Appender;
  readonly link: SteppedSealer;
  readonly prepared: Prepared;
  readonly clock: ManualClock;
}

export function openSimulated(disk: SimulatedDisk, options: Partial<JournalOptions> = {}): Simulated {
  const clock = new ManualClock();
  const settings: JournalOptions = {
    folder: FOLDER,
    node: 'simulated',
    version: '0',
    clock,
    encryptionKey: null,
    origin: 'dbwitness/simulated',
    ...options,
  };
  const prepared = prepare(disk, settings);
  const link = new SteppedSealer(Sealer.open(disk, prepared.layout, prepared.signer));
  const appender = startAppender(prepared, settings, link, 0);
  return { appender, link, prepared, clock };
}

/** An event whose text can be recognised again. */
export function note(appender: Appender, text: string): number {
  return appendEvent(appender, {
    atUs: 1_700_000_000_000_000n,
    body: { case: 'serverMessage', value: { text } },
  });
}
