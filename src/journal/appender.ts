/**
 * The append side: events are encoded straight into the open block of one buffer, and `flush` writes that buffer with
 * one positioned write. Runs on the relay's thread; hashing, signing and fsync are the sealer's, in another one.
 *
 *   buffer:   [ block header | events … ][ block header | events … ][ block header | events … ⟵ open
 *              └──────── sealed: complete and unchangeable ───────┘
 *   file:     … written ┤← offset: where the buffer's first byte belongs
 *
 * Invariants
 *  1. Blocks in the file are whole and in order up to `offset`. Behind it there is at most the first part of the
 *     buffer's sealed blocks, left by a short write; the same bytes are written to the same place again, so nothing is
 *     torn while this process lives.
 *  2. A sealed block never changes: what is retried is what was tried (with encryption: a nonce seals one plaintext).
 *  3. `segment` changes only at the end of a successful flush, when the buffer is empty.
 */
import { assert } from '../base/assert.ts';
import { ByteWriter } from '../base/bytes.ts';
import type { Clock } from '../base/clock.ts';
import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import { Gap_Reason, Witness } from '../model/events.ts';
import type { EventSeq, JournalAppender, JournalState, JournalStatus } from '../model/journal.ts';
import { type DiskFile, explain } from './disk.ts';
import { appendEvent } from './encode.ts';
import { closeMessage } from './encode-fields.ts';
import {
  BLOCK_HEADER_BYTES,
  FLAG_ENCRYPTED,
  FLAG_FIRST_OF_SEGMENT,
  GCM_TAG_BYTES,
  putBlockChecksum,
  putBlockHeader,
  SEGMENT_HEADER_BYTES,
} from './format.ts';

/** Longest event that is taken: a capture of `maxEventBytes` and what is around it. */
export const MAX_EVENT_BYTES: number = limits.maxEventBytes + 64 * 1024;

/** The buffer is given back when it is larger than this after it was written. */
const IDLE_BUFFER_BYTES = 1024 * 1024;
/** Sealed bytes that are written early, before the turn's flush, so that one huge turn stays bounded. */
const EARLY_WRITE_BYTES = 8 * 1024 * 1024;
/** The buffer's own end: beyond what is kept while failing, the events of one turn that nobody could foresee. */
const HARD_BUFFER_BYTES = limits.maxUnwrittenBytes + 64 * 1024 * 1024;

/** Encrypts a block in place. */
export interface BlockCipher {
  /**
   * Encrypts `bytes[payload, end)` in place and writes the tag to `bytes[end, end + 16)`. The block's header, which is
   * authenticated with it, starts at `header`.
   */
  encrypt(bytes: Buffer, header: number, payload: number, end: number, blockIndex: number): void;
}

/** A segment that is open for writing, its header written. */
export interface OpenSegment {
  readonly file: DiskFile;
  readonly number: number;
  readonly cipher: BlockCipher | null;
}

/** Makes the segment that starts with the given block. Throws the system's error when it cannot. */
export type SegmentMaker = (number: number, firstBlock: number, firstSeq: EventSeq) => OpenSegment;

/** The appender's view of the sealer, which works in another thread. */
export interface SealerLink {
  /** Bytes were written. Called after each flush: costs next to nothing unless the sealer sleeps. */
  wake(): void;
  /** Somebody waits for durability: fsync at once. */
  hurry(): void;
  /** Events before this position are on stable storage. */
  readonly durable: EventSeq;
  /** Why nothing more may be written (an fsync failed, the disk has no reserve left, signing fails); empty when it may. */
  readonly failure: string;
  /** Set by the appender; called on its thread when `durable` or `failure` has changed. */
  onChange: () => void;
  /** Syncs, seals and signs everything written, and ends. */
  close(): Promise<void>;
}

export interface AppenderOptions {
  /** For messages: the journal's folder. */
  readonly folder: string;
  readonly clock: Clock;
  readonly makeSegment: SegmentMaker;
  readonly sealer: SealerLink;
  readonly segmentNumber: number;
  readonly nextBlock: number;
  readonly nextSeq: EventSeq;
  readonly segmentBytes: number;
  readonly maxUnwrittenBytes: number;
  /** Time between attempts of its own to write what could not be written; 0: only `flush` tries. */
  readonly retryMs: number;
  /** Releases the folder's lock. */
  readonly release: () => void;
}

interface Waiter {
  readonly seq: EventSeq;
  readonly callback: () => void;
}

export class Appender implements JournalAppender {
  readonly #options: AppenderOptions;
  readonly #clock: Clock;
  readonly #sealer: SealerLink;
  readonly #out = new ByteWriter(IDLE_BUFFER_BYTES, HARD_BUFFER_BYTES);
  #segment: OpenSegment;
  #offset = SEGMENT_HEADER_BYTES;
  /** How much of the buffer a short write has already brought to the file. */
  #partial = 0;
  /** End of the sealed blocks in the buffer. */
  #sealedEnd = 0;
  /** Header of the open block in the buffer, or -1. */
  #blockAt = -1;
  #blockSeq = 0;
  #blockFirstUs = 0;
  #lastUs = 0;
  #eventMark = -1;
  #eventUs = 0;
  #nextBlock: number;
  #nextSeq: EventSeq;
  #writtenSeq: EventSeq;
  #firstOfSegment = true;
  #state: JournalState = 'open';
  #failure = '';
  #writeFailure = '';
  #lost = 0;
  #lostFromUs = 0;
  #lostWhy = '';
  readonly #waiters: Waiter[] = [];
  readonly #listeners: ((status: JournalStatus) => void)[] = [];
  #retryTimer: NodeJS.Timeout | null = null;

  constructor(options: AppenderOptions) {
    this.#options = options;
    this.#clock = options.clock;
    this.#sealer = options.sealer;
    this.#nextBlock = options.nextBlock;
    this.#nextSeq = options.nextSeq;
    this.#writtenSeq = options.nextSeq;
    this.#segment = options.makeSegment(options.segmentNumber, options.nextBlock, options.nextSeq);
    this.#sealer.onChange = () => this.#sealerChanged();
  }

  beginEvent(atUs: number, sessionUid: Uint8Array | null): ByteWriter {
    assert(this.#state !== 'closed', 'the journal is closed');
    const out = this.#out;
    this.#dropUnfinished();
    if (this.#blockAt >= 0 && out.length - this.#blockAt > limits.maxBlockBytes - MAX_EVENT_BYTES)
      this.#sealBlock();
    if (this.#blockAt < 0) this.#openBlock(atUs);
    out.ensure(40);
    out.length += 2; // the event's length; see closeMessage
    this.#eventMark = out.length;
    this.#eventUs = atUs;
    if (atUs !== 0) {
      out.bytes[out.length++] = 0x08;
      out.varint(atUs);
    }
    if (sessionUid !== null) {
      const { bytes } = out;
      let at = out.length;
      bytes[at++] = 0x12;
      bytes[at++] = 16;
      for (let i = 0; i < 16; i++) bytes[at++] = sessionUid[i];
      out.length = at;
    }
    return out;
  }

  endEvent(): EventSeq {
    const mark = this.#eventMark;
    assert(mark >= 0, 'endEvent without beginEvent');
    if (this.#out.length - mark > MAX_EVENT_BYTES) {
      this.#dropUnfinished();
      throw new AppError(
        'invalid',
        'JOURNAL_EVENT_TOO_LONG',
        `an event of more than ${MAX_EVENT_BYTES} bytes cannot be recorded; cut it into several`,
      );
    }
    closeMessage(this.#out, mark);
    this.#eventMark = -1;
    this.#lastUs = this.#eventUs;
    return this.#nextSeq++;
  }

  appendEncoded(event: Uint8Array): EventSeq {
    const atUs = eventTime(event);
    const out = this.beginEvent(0, null);
    if (this.#nextSeq === this.#blockSeq) this.#blockFirstUs = atUs;
    this.#eventUs = atUs;
    out.raw(event);
    return this.endEvent();
  }

  flush(): boolean {
    this.#dropUnfinished();
    if (this.#blockAt >= 0) this.#sealBlock();
    if (this.#sealer.failure !== '') {
      // After a failed fsync the system may have dropped what a short write had already brought to the file.
      this.#partial = 0;
      this.#refresh();
      return false;
    }
    if (this.#sealedEnd > 0) {
      if (!this.#write()) return false;
    } else if (this.#lost === 0) {
      return this.#state === 'open';
    }
    if (this.#lost > 0) this.#recordLost();
    if (this.#offset >= this.#options.segmentBytes) this.#roll();
    return true;
  }

  get pendingBytes(): number {
    return this.#out.length;
  }

  get hasRoom(): boolean {
    return this.#state === 'open' || this.#out.length < this.#options.maxUnwrittenBytes;
  }

  countLost(events: number): void {
    if (this.#lost === 0) {
      this.#lostFromUs = this.#clock.wallUs();
      this.#lostWhy = this.#failure;
    }
    this.#lost += events;
  }

  /**
   * Appends an event in a block of its own that is never encrypted and carries the given flag, so that `verify` reads it
   * without a key.
   */
  appendOpenly(event: Uint8Array, flag: number): EventSeq {
    this.#dropUnfinished();
    if (this.#blockAt >= 0) this.#sealBlock();
    const seq = this.appendEncoded(event);
    this.#sealBlock(flag);
    return seq;
  }

  get nextSeq(): EventSeq {
    return this.#nextSeq;
  }

  get durable(): EventSeq {
    return this.#sealer.durable;
  }

  whenDurable(seq: EventSeq, callback: () => void): void {
    if (seq <= this.#sealer.durable) {
      callback();
      return;
    }
    const waiters = this.#waiters;
    let at = waiters.length;
    while (at > 0 && waiters[at - 1].seq > seq) at--;
    waiters.splice(at, 0, { seq, callback });
    if (seq <= this.#writtenSeq) this.#sealer.hurry();
  }

  get segment(): number {
    return this.#segment.number;
  }

  /** The block index after the last appended block. */
  get nextBlock(): number {
    return this.#nextBlock;
  }

  get status(): JournalStatus {
    return { state: this.#state, failure: this.#failure };
  }

  onStatus(listener: (status: JournalStatus) => void): void {
    this.#listeners.push(listener);
  }

  async close(): Promise<void> {
    if (this.#state === 'closed') return;
    const whole = this.flush();
    const unwritten = this.#out.length;
    const why = this.#failure;
    this.#stopRetrying();
    this.#setStatus('closed', '');
    try {
      await this.#sealer.close();
      this.#runWaiters();
    } finally {
      this.#segment.file.close();
      this.#options.release();
    }
    if (!whole && unwritten > 0)
      throw new AppError(
        'unavailable',
        'JOURNAL_CLOSED_UNWRITTEN',
        `the journal was closed while it could not be written (${why}); ${unwritten} bytes of records were lost`,
        { details: { unwritten } },
      );
  }

  /** An event that was begun and not ended (its encoder threw) is forgotten. */
  #dropUnfinished(): void {
    if (this.#eventMark < 0) return;
    this.#out.length = this.#eventMark - 2;
    this.#eventMark = -1;
    if (this.#nextSeq === this.#blockSeq) {
      this.#out.length = this.#blockAt;
      this.#blockAt = -1;
    }
  }

  #openBlock(atUs: number): void {
    const out = this.#out;
    if (this.#sealedEnd >= EARLY_WRITE_BYTES && this.#state === 'open' && this.#sealer.failure === '')
      this.#write();
    out.ensure(BLOCK_HEADER_BYTES + 64);
    this.#blockAt = out.length;
    this.#blockSeq = this.#nextSeq;
    this.#blockFirstUs = atUs;
    out.length += BLOCK_HEADER_BYTES;
  }

  /** @param open a flag that makes the block one that is not encrypted. */
  #sealBlock(open = 0): void {
    const out = this.#out;
    const header = this.#blockAt;
    const payload = header + BLOCK_HEADER_BYTES;
    const cipher = open === 0 ? this.#segment.cipher : null;
    const end = out.length;
    let flags = open | (this.#firstOfSegment ? FLAG_FIRST_OF_SEGMENT : 0);
    if (cipher !== null) {
      flags |= FLAG_ENCRYPTED;
      out.ensure(GCM_TAG_BYTES);
      out.length += GCM_TAG_BYTES;
    }
    putBlockHeader(
      out.bytes,
      header,
      flags,
      out.length - payload,
      this.#nextBlock,
      this.#blockSeq,
      this.#blockFirstUs,
      this.#lastUs,
      this.#nextSeq - this.#blockSeq,
    );
    if (cipher !== null) cipher.encrypt(out.bytes, header, payload, end, this.#nextBlock);
    putBlockChecksum(out.bytes, header, out.length);
    this.#nextBlock++;
    this.#firstOfSegment = false;
    this.#blockAt = -1;
    this.#sealedEnd = out.length;
  }

  /** Writes the sealed blocks, which are all there is in the buffer. */
  #write(): boolean {
    const out = this.#out;
    const { file } = this.#segment;
    const length = this.#sealedEnd;
    try {
      // One call in all but the rarest cases; a short write is followed up at once and then fails or completes.
      while (this.#partial < length) {
        const count = file.write(
          out.bytes,
          this.#partial,
          length - this.#partial,
          this.#offset + this.#partial,
        );
        if (count <= 0) break;
        this.#partial += count;
      }
    } catch (error) {
      this.#writeFailed(error);
      return false;
    }
    if (this.#partial < length) {
      this.#writeFailed(new Error('the system wrote nothing'));
      return false;
    }
    this.#offset += length;
    this.#partial = 0;
    this.#sealedEnd = 0;
    this.#writtenSeq = this.#nextSeq;
    out.length = 0;
    if (out.bytes.length > IDLE_BUFFER_BYTES) out.bytes = Buffer.allocUnsafeSlow(IDLE_BUFFER_BYTES);
    if (this.#waiters.length > 0) this.#sealer.hurry();
    else this.#sealer.wake();
    if (this.#writeFailure !== '') {
      this.#writeFailure = '';
      this.#refresh();
    }
    return true;
  }

  #writeFailed(error: unknown): void {
    this.#writeFailure = explain(error, this.#options.folder);
    this.#refresh();
    if (this.#retryTimer === null && this.#options.retryMs > 0)
      this.#retryTimer = setInterval(() => this.#retry(), this.#options.retryMs).unref();
  }

  #retry(): void {
    if (this.#eventMark < 0 && this.#state === 'failing') this.flush();
    if (this.#state !== 'failing') this.#stopRetrying();
  }

  #stopRetrying(): void {
    if (this.#retryTimer !== null) clearInterval(this.#retryTimer);
    this.#retryTimer = null;
  }

  /** Appends the gap event of what {@link countLost} counted. If its write fails, it is kept like any record. */
  #recordLost(): void {
    const now = this.#clock.wallUs();
    appendEvent(this, {
      atUs: BigInt(now),
      origin: { witness: Witness.CONTROL },
      body: {
        case: 'gap',
        value: {
          witness: Witness.CONTROL,
          reason: Gap_Reason.JOURNAL_FAILED,
          fromUs: BigInt(this.#lostFromUs),
          untilUs: BigInt(now),
          lostEvents: BigInt(this.#lost),
          detail: this.#lostWhy,
        },
      },
    });
    this.#lost = 0;
    this.#sealBlock();
    this.#write();
  }

  /** The segment is full: goes on in a new one. When that cannot be made, this one goes on and it is tried again. */
  #roll(): void {
    if (this.#out.length > 0) return;
    let next: OpenSegment;
    try {
      next = this.#options.makeSegment(this.#segment.number + 1, this.#nextBlock, this.#nextSeq);
    } catch {
      return;
    }
    this.#segment.file.close();
    this.#segment = next;
    this.#offset = SEGMENT_HEADER_BYTES;
    this.#firstOfSegment = true;
    this.#sealer.wake();
  }

  #sealerChanged(): void {
    this.#refresh();
    this.#runWaiters();
    if (this.#state === 'open' && (this.#out.length > 0 || this.#lost > 0)) this.flush();
  }

  #runWaiters(): void {
    const waiters = this.#waiters;
    const { durable } = this.#sealer;
    while (waiters.length > 0 && waiters[0].seq <= durable) waiters.shift()?.callback();
  }

  #refresh(): void {
    if (this.#state === 'closed') return;
    const failure = this.#writeFailure === '' ? this.#sealer.failure : this.#writeFailure;
    this.#setStatus(failure === '' ? 'open' : 'failing', failure);
  }

  #setStatus(state: JournalState, failure: string): void {
    if (state === this.#state && failure === this.#failure) return;
    this.#state = state;
    this.#failure = failure;
    for (const listener of this.#listeners) listener({ state, failure });
  }
}

/** `at_us` of an encoded event: field 1, which comes first. 0 when it is not there. */
function eventTime(event: Uint8Array): number {
  if (event.length === 0 || event[0] !== 0x08) return 0;
  let value = 0;
  let scale = 1;
  for (let at = 1; at < event.length && at <= 10; at++) {
    value += (event[at] & 0x7f) * scale;
    if (event[at] < 0x80) return value;
    scale *= 128;
  }
  return 0;
}
