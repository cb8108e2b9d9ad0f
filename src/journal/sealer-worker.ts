/**
 * Entry of the sealer's thread. It sleeps until bytes were written, then lets a batch gather, syncs, seals and signs. It
 * blocks in `Atomics.wait` rather than in the event loop, except while a cosigner is being asked.
 */
import { isMainThread, parentPort, workerData } from 'node:worker_threads';
import { AppError, messageOf } from '../base/errors.ts';
import { Cosigner } from './cosign.ts';
import { explain } from './disk.ts';
import { type Layout, layoutOf } from './layout.ts';
import { parseSignerKey } from './note.ts';
import { realDisk } from './real-disk.ts';
import { Sealer } from './sealer.ts';
import { COUNTER, type SealerMessage, type SealerSettings, WORD, type WorkerSetup } from './sealer-thread.ts';

/** Time between attempts after a failure. */
const RETRY_MS = 100;
/** Sealed in one go, before looking whether there is something more urgent. */
const SEAL_BYTES = 256 * 1024;
/** The same when the journal is closed; a start that makes some tiles again is cheaper than a stop that waits. */
const CLOSE_TILES_MS = 500;
/** Spent on making tiles durable in one go. */
const TILES_MS = 2;
/** So many wait for a quiet moment; with more, one is made durable in each round of traffic. */
const TILES_WAITING = 1_024;
/** Shortest time between looks at the free space, and the longest while nothing is written. */
const SPACE_MS = 5;
const SPACE_IDLE_MS = 200;
/** Time between records of how far tiles are durable. */
const STATE_MS = 2_000;

class SealerLoop {
  readonly #settings: SealerSettings;
  readonly #layout: Layout;
  readonly #words: Int32Array;
  readonly #counters: BigInt64Array;
  readonly #sealer: Sealer;
  readonly #cosigner: Cosigner | null;
  #failure = '';
  #lowSpace = '';
  #checkpointAt = 0;
  #spaceAt = 0;
  #stateAt = 0;

  constructor(setup: WorkerSetup) {
    const { settings } = setup;
    this.#settings = settings;
    this.#layout = layoutOf(settings.folder);
    this.#words = new Int32Array(setup.shared);
    this.#counters = new BigInt64Array(setup.shared);
    const signer = parseSignerKey(settings.signer);
    this.#sealer = Sealer.open(realDisk, this.#layout, signer);
    this.#cosigner =
      settings.cosigner === null
        ? null
        : new Cosigner(realDisk, this.#layout, settings.cosigner, (problem) =>
            send({ type: 'cosigned', problem }),
          );
  }

  async run(): Promise<void> {
    this.#publish(false);
    send({ type: 'ready' });
    while (Atomics.load(this.#words, WORD.closing) === 0) {
      const busy = this.#turn();
      if (this.#cosigner?.asking === true) await this.#cosigner.pause(this.#settings.batchSyncMs);
      else if (!busy) this.#sleep();
    }
    await this.#close();
  }

  /** One round. Returns whether there is more to do at once. */
  #turn(): boolean {
    // Cleared before looking: whoever sets it afterwards wakes us again.
    const urgent = Atomics.exchange(this.#words, WORD.hurry, 0) === 1;
    try {
      this.#watchSpace();
      const durable = this.#sealer.sync();
      this.#publish(urgent);
      const more = this.#sealer.seal(SEAL_BYTES);
      this.#sign(more);
      const waiting = this.#syncTiles(durable);
      this.#saveState();
      if (this.#cosigner?.wanting === true)
        this.#cosigner.offer(this.#sealer.signed, this.#sealer.subtree, this.#settings.cosignMs);
      this.#report(this.#lowSpace);
      if (durable) {
        this.#gather();
        return true;
      }
      return more || waiting;
    } catch (error) {
      this.#report(error instanceof AppError ? error.message : explain(error, this.#settings.folder));
      Atomics.wait(this.#words, WORD.signal, Atomics.load(this.#words, WORD.signal), RETRY_MS);
      return true;
    }
  }

  #watchSpace(): void {
    const now = performance.now();
    if (this.#settings.reserveBytes === 0 || now < this.#spaceAt) return;
    this.#spaceAt = now + SPACE_MS;
    const free = realDisk.freeBytes(this.#settings.folder);
    // Twice the reserve to go on, so that it does not flap.
    const wanted = this.#lowSpace === '' ? this.#settings.reserveBytes : 2 * this.#settings.reserveBytes;
    this.#lowSpace =
      free >= wanted
        ? ''
        : `less than ${Math.ceil(this.#settings.reserveBytes / 1048576)} MiB are left on ${this.#settings.folder}`;
  }

  #sign(more: boolean): void {
    const now = performance.now();
    if (now < this.#checkpointAt) return;
    if (this.#sealer.sealed === this.#sealer.signed.size) return;
    if (more && now < this.#checkpointAt + this.#settings.checkpointMs) return;
    this.#sealer.checkpoint();
    this.#checkpointAt = now + this.#settings.checkpointMs;
    this.#publish(true);
    this.#cosigner?.offer(this.#sealer.signed, this.#sealer.subtree, this.#settings.cosignMs);
  }

  /** Little or nothing while there is traffic, and nothing while somebody waits for a sync: see {@link TILES_WAITING}. */
  #syncTiles(traffic: boolean): boolean {
    if (traffic && this.#sealer.tilesWaiting < TILES_WAITING) return true;
    const until = performance.now() + TILES_MS;
    while (Atomics.load(this.#words, WORD.hurry) === 0 && Atomics.load(this.#words, WORD.closing) === 0) {
      if (!this.#sealer.syncTiles(1)) return false;
      if (traffic || performance.now() > until) break;
    }
    return true;
  }

  #saveState(): void {
    const now = performance.now();
    if (now < this.#stateAt || !this.#sealer.stateChanged) return;
    this.#stateAt = now + STATE_MS;
    this.#sealer.saveState();
    this.#publish(false);
  }

  #publish(tell: boolean): void {
    Atomics.store(this.#counters, COUNTER.durableSeq, BigInt(this.#sealer.durable));
    Atomics.store(this.#counters, COUNTER.durableBlocks, BigInt(this.#sealer.durableBlocks));
    Atomics.store(this.#counters, COUNTER.signedSize, BigInt(this.#sealer.signed.size));
    Atomics.store(this.#counters, COUNTER.tilesSynced, BigInt(this.#sealer.tilesSynced));
    if (tell) send({ type: 'progress' });
  }

  #report(failure: string): void {
    if (failure === this.#failure) return;
    this.#failure = failure;
    send({ type: 'failure', failure });
  }

  /** Lets a batch gather, unless somebody waits. */
  #gather(): void {
    const until = performance.now() + this.#settings.batchSyncMs;
    for (;;) {
      const signal = Atomics.load(this.#words, WORD.signal);
      const left = until - performance.now();
      if (left <= 0 || Atomics.load(this.#words, WORD.hurry) === 1) return;
      Atomics.wait(this.#words, WORD.signal, signal, left);
    }
  }

  /** Sleeps until something was written; wakes by itself when a checkpoint is due. */
  #sleep(): void {
    const signal = Atomics.load(this.#words, WORD.signal);
    Atomics.store(this.#words, WORD.sleeping, 1);
    // What was written before the flag was up is seen by one more look.
    const pending = this.#sealer.sealed > this.#sealer.signed.size;
    if (this.#sealer.behind() || Atomics.load(this.#words, WORD.hurry) === 1) {
      Atomics.store(this.#words, WORD.sleeping, 0);
      return;
    }
    const due = pending ? Math.max(1, this.#checkpointAt - performance.now()) : this.#idleMs();
    Atomics.wait(this.#words, WORD.signal, signal, due);
    Atomics.store(this.#words, WORD.sleeping, 0);
  }

  #idleMs(): number {
    if (this.#lowSpace !== '' || this.#settings.reserveBytes > 0) return SPACE_IDLE_MS;
    return this.#cosigner?.wanting === true ? this.#settings.cosignMs : 1000;
  }

  async #close(): Promise<void> {
    let failure = '';
    try {
      const until = performance.now() + CLOSE_TILES_MS;
      this.#sealer.finish(() => performance.now() < until);
      this.#publish(true);
      if (this.#cosigner !== null) {
        await this.#cosigner.settle();
        this.#cosigner.offer(this.#sealer.signed, this.#sealer.subtree, 0);
        await this.#cosigner.settle();
      }
    } catch (error) {
      failure = error instanceof AppError ? error.message : explain(error, this.#settings.folder);
    }
    this.#sealer.close();
    send({ type: 'closed', failure });
  }
}

function send(message: SealerMessage): void {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread's port has none
  parentPort?.postMessage(message);
}

async function main(): Promise<void> {
  let loop: SealerLoop;
  try {
    loop = new SealerLoop(workerData as WorkerSetup);
  } catch (error) {
    const known = error instanceof AppError;
    send({
      type: 'refused',
      kind: known ? error.kind : 'unavailable',
      code: known ? error.code : 'JOURNAL_SEALER',
      message: messageOf(error),
    });
    return;
  }
  // Keeps the thread's event loop alive between turns.
  const keepAlive = setInterval(() => {}, 1 << 30);
  await loop.run();
  clearInterval(keepAlive);
}

if (!isMainThread) await main();
