/**
 * Thousands of seeded lives of a journal on a disk that fails: appended to, flushed, synced, sealed, dropped from, killed
 * and crashed in the middle of any operation, reopened. After each death:
 *
 *  - what was acknowledged as durable is there after a crash of the machine;
 *  - what was flushed is there after a kill of the process;
 *  - what is there is what was appended, in order, nothing else in between;
 *  - `verify` says whole; and at the end, any flipped bit of what is signed is found.
 *
 * A failure prints its seed; DBW_SEED runs one seed, DBW_RUNS sets how many.
 */
import { expect, test } from 'vitest';
import { systemErrorCode } from '../../src/base/errors.ts';
import { JournalReader } from '../../src/journal/reader.ts';
import { dropOldSegments } from '../../src/journal/retention.ts';
import { seededRandom, SimulatedCrash, SimulatedDisk } from '../../src/journal/simulated-disk.ts';
import { verifyJournal } from '../../src/journal/verify.ts';
import { FOLDER, note, openSimulated, type Simulated } from '../../src/journal/simulated-journal.ts';

const RUNS = Number(process.env['DBW_RUNS'] ?? 600);
const ONE = process.env['DBW_SEED'];
const KEY = Buffer.alloc(32, 5);

class Life {
  readonly #disk: SimulatedDisk;
  readonly #random: () => number;
  readonly #encryptionKey: Buffer | null;
  #journal: Simulated | null = null;
  /** What each position holds, as far as it was appended by us; `null` for the journal's own events. */
  #appended: (string | null)[] = [];
  /** Positions before these must survive a kill, a crash. */
  #flushed = 0;
  #durable = 0;
  #names = 0;
  #reopening = false;
  #publicKey = '';
  readonly stats = { deaths: 0, lost: 0, failures: 0, dropped: 0 };

  constructor(seed: number) {
    this.#random = seededRandom(seed);
    this.#disk = new SimulatedDisk(seed ^ 0x5bd1e995);
    this.#encryptionKey = this.#random() < 0.3 ? KEY : null;
  }

  async live(steps: number): Promise<void> {
    this.#open();
    if (this.#random() < 0.1) this.#grow();
    for (let i = 0; i < steps; i++) {
      try {
        await this.#step();
      } catch (error) {
        if (!(error instanceof SimulatedCrash)) throw error;
      }
      if (!this.#disk.running) this.#die();
    }
    this.#calm();
    this.#disk.faults.killAfter = -1;
    if (this.#journal?.link.failure !== '') this.#syncAll();
    this.#journal?.appender.flush();
    await this.#journal?.appender.close();
    this.#verify();
    this.#flipBits();
  }

  /** More than a full tile, so that there is something for retention to drop. */
  #grow(): void {
    const appender = this.#journal?.appender;
    for (let i = 0; i < 300; i++) {
      const text = `${this.#names++}`;
      if (appender !== undefined) this.#appended[note(appender, text)] = text;
      this.#flush();
    }
    this.#syncAll();
    this.#journal?.link.step((sealer) => {
      while (sealer.syncTiles(100));
      sealer.saveState();
    });
  }

  async #step(): Promise<void> {
    const { appender, link, prepared, clock } = this.#journal as Simulated;
    clock.advanceUs(1000);
    const dice = this.#random();
    if (dice < 0.4) this.#append();
    else if (dice < 0.62) this.#flush();
    else if (dice < 0.72) this.#sync();
    else if (dice < 0.8) link.step((sealer) => void sealer.seal(1 + this.#random() * 4000));
    else if (dice < 0.86) link.step((sealer) => void sealer.checkpoint());
    else if (dice < 0.9) link.step((sealer) => void sealer.syncTiles(1 + Math.floor(this.#random() * 4)));
    else if (dice < 0.92) link.step((sealer) => sealer.saveState());
    else if (dice < 0.95) this.#upset();
    else if (dice < 0.965) this.#calm();
    else if (dice < 0.975) {
      link.hurry = () => this.#syncAll();
      const policy = { maxBytes: 3000 };
      // It gives up where it would wait for a disk that only we can mend.
      const dropping = dropOldSegments(this.#disk, prepared.layout, patient(link), appender, clock, policy);
      await dropping.then(
        ({ segments }) => (this.stats.dropped += segments),
        (error: unknown) => this.#expectedFailure(error),
      );
    } else if (dice < 0.99) this.#disk.faults.killAfter = Math.floor(this.#random() * 30);
    else this.#die();
  }

  #append(): void {
    const appender = this.#journal?.appender;
    if (appender === undefined) return;
    for (let i = Math.floor(this.#random() * 4); i >= 0; i--) {
      if (!appender.hasRoom) {
        appender.countLost(1);
        continue;
      }
      const text = `${this.#names++} ${'x'.repeat(Math.floor(this.#random() ** 4 * 1500))}`;
      this.#appended[note(appender, text)] = text;
    }
  }

  #flush(): void {
    const appender = this.#journal?.appender;
    if (appender === undefined) return;
    const before = appender.nextSeq;
    if (appender.flush()) this.#flushed = before;
    else this.stats.failures++;
    this.#learn();
  }

  #sync(): void {
    this.#journal?.link.step((sealer) => void sealer.sync());
    this.#learn();
  }

  #syncAll(): void {
    this.#journal?.link.step((sealer) => {
      sealer.sync();
      while (sealer.seal(1e9));
      sealer.checkpoint();
    });
    this.#learn();
  }

  #learn(): void {
    this.#durable = Math.max(this.#durable, this.#journal?.appender.durable ?? 0);
  }

  #upset(): void {
    const { faults } = this.#disk;
    const kind = Math.floor(this.#random() * 4);
    if (kind === 0) faults.capacity = 4000 + this.#random() * 20_000;
    if (kind === 1) faults.writeError = this.#random() * 0.5;
    if (kind === 2) faults.shortWrite = this.#random();
    if (kind === 3) faults.syncError = this.#random() * 0.7;
  }

  #calm(): void {
    Object.assign(this.#disk.faults, { capacity: Infinity, writeError: 0, shortWrite: 0, syncError: 0 });
  }

  /** The process dies, or the whole machine; then everything is opened again, which may die too. */
  #die(): void {
    this.stats.deaths++;
    for (;;) {
      const crash = this.#random() < 0.5;
      if (crash) {
        this.#disk.crashMachine();
        this.#flushed = Math.min(this.#flushed, this.#durable);
      } else {
        this.#disk.killProcess();
      }
      this.#calm();
      this.#disk.faults.killAfter = this.#random() < 0.2 ? Math.floor(this.#random() * 60) : -1;
      try {
        this.#open();
        this.#disk.faults.killAfter = -1;
        this.#reopening = false;
        break;
      } catch (error) {
        this.#reopening = true;
        if (!(error instanceof SimulatedCrash) && this.#disk.running) throw error;
      }
    }
    this.#verify();
  }

  #open(): void {
    this.#journal = openSimulated(this.#disk, {
      segmentBytes: 3000,
      maxUnwrittenBytes: 6000,
      encryptionKey: this.#encryptionKey,
    });
    this.#publicKey = this.#journal.prepared.signer.verifier.text;
    this.#check();
  }

  /** What the reader finds against what we know. */
  #check(): void {
    const reader = JournalReader.open(FOLDER, { disk: this.#disk, key: this.#encryptionKey });
    const found: (string | null)[] = [];
    let next = -1;
    for (const { seq, event } of reader.events()) {
      if (next < 0) next = seq;
      if (seq !== next++) throw new Error(`event ${seq} follows event ${next - 2}`);
      found[seq] = event.body.case === 'serverMessage' ? event.body.value.text : null;
    }
    const end = this.#journal?.prepared.recovered.nextSeq ?? 0;
    const must = Math.max(this.#flushed, this.#durable);
    if (end < must)
      throw new Error(
        `${must} events were acknowledged (flushed ${this.#flushed}, durable ${this.#durable}), ${end} are there`,
      );
    for (let seq = 0; seq < end; seq++) {
      // Dropped by retention: not there, and that is right.
      if (found[seq] === undefined) continue;
      // An opening that died may have cut what was not acknowledged and written its own events there.
      if (this.#reopening && seq >= must && found[seq] === null) continue;
      if ((this.#appended[seq] ?? null) !== found[seq])
        throw new Error(
          `event ${seq} is ${found[seq]?.slice(0, 20)}, not ${this.#appended[seq]?.slice(0, 20)}`,
        );
    }
    this.stats.lost += Math.max(0, this.#appended.length - end);
    this.#appended = found;
    this.#flushed = found.length;
    this.#learn();
  }

  #verify(): void {
    const report = verifyJournal(FOLDER, { publicKey: this.#publicKey, disk: this.#disk });
    if (!report.whole) throw new Error(`not whole: ${JSON.stringify(report.broken)}`);
  }

  #flipBits(): void {
    const disk = this.#disk.snapshot();
    // A segment without a block is not signed yet; drafts and what was cut off are not part of the journal.
    const files = [...disk.files()].filter(
      ([path, bytes]) =>
        !/quarantine|lock|\.tmp$/.test(path) && !(path.includes('/segments/') && bytes.length <= 256),
    );
    for (let i = 0; i < 8; i++) {
      const [path, bytes] = files[Math.floor(this.#random() * files.length)];
      const at = Math.floor(this.#random() * bytes.length);
      const bit = 1 << Math.floor(this.#random() * 8);
      bytes[at] ^= bit;
      if (verifyJournal(FOLDER, { publicKey: this.#publicKey, disk }).whole)
        throw new Error(`bit ${bit} of ${path} at ${at} was flipped unnoticed`);
      bytes[at] ^= bit;
    }
  }

  #expectedFailure(error: unknown): void {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    if (code === 'JOURNAL_RETENTION' || error instanceof SimulatedCrash) return;
    if (['ENOSPC', 'EIO'].includes(systemErrorCode(error) ?? '')) return;
    throw error;
  }
}

/** Retention waits up to a minute for a signature; here it is tried once. */
function patient(link: Simulated['link']): Parameters<typeof dropOldSegments>[2] {
  let tries = 0;
  return {
    hurry: () => link.hurry(),
    get signedSize() {
      if (tries++ > 6) throw Object.assign(new Error('no signature'), { code: 'JOURNAL_RETENTION' });
      return link.signedSize;
    },
    get tilesSynced() {
      return link.tilesSynced;
    },
  };
}

test(`${ONE === undefined ? RUNS : 1} seeded lives`, { timeout: 1_200_000 }, async () => {
  const seeds = ONE === undefined ? Array.from({ length: RUNS }, (_, i) => i + 1) : [Number(ONE)];
  const total = { deaths: 0, lost: 0, failures: 0, dropped: 0 };
  for (const seed of seeds) {
    const life = new Life(seed);
    try {
      await life.live(120);
    } catch (error) {
      throw new Error(
        `seed ${seed} (DBW_SEED=${seed}): ${error instanceof Error ? error.stack : String(error)}`,
        {
          cause: error,
        },
      );
    }
    for (const key of Object.keys(total) as (keyof typeof total)[]) total[key] += life.stats[key];
  }
  // The faults must have had their chance.
  if (ONE === undefined && RUNS >= 100) {
    expect(total.deaths).toBeGreaterThan(RUNS);
    expect(total.lost).toBeGreaterThan(RUNS / 10);
    expect(total.failures).toBeGreaterThan(RUNS / 10);
    expect(total.dropped).toBeGreaterThan(0);
  }
  console.log(JSON.stringify(total));
});
