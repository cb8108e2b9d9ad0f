/** A journal in memory, with the read side that the indexer and replay use: events in, blocks out. */
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { ByteWriter } from '../../../src/base/bytes.ts';
import { EventSchema } from '../../../src/model/events.ts';
import type { JournalBlock, JournalRange, JournalSource } from '../../../src/store/journal-source.ts';
import type { BlockReader } from '../../../src/store/replay.ts';

export type EventInit = MessageInitShape<typeof EventSchema>;

export class MemoryJournal implements JournalSource, BlockReader {
  readonly all: JournalBlock[] = [];
  nextSeq = 0;
  /** The oldest block that is still there. */
  #first = 0;
  #open = new ByteWriter();
  #openCount = 0;
  #wake = new Set<() => void>();
  /** How often `follow` was started. */
  follows = 0;

  /** Appends to the open block; returns the position. */
  append(event: EventInit): number {
    return this.appendBytes(toBinary(EventSchema, create(EventSchema, event)));
  }

  appendBytes(bytes: Uint8Array): number {
    this.#open.varint(bytes.length);
    this.#open.raw(bytes);
    this.#openCount++;
    return this.nextSeq++;
  }

  /** Ends the open block, as a flush does. */
  flush(): void {
    if (this.#openCount === 0) return;
    this.all.push({
      index: this.all.length,
      firstSeq: this.nextSeq - this.#openCount,
      count: this.#openCount,
      lastUs: 0,
      payload: this.#open.copy(),
    });
    this.#open.reset();
    this.#openCount = 0;
    for (const wake of this.#wake) wake();
  }

  dropBefore(block: number): void {
    this.#first = block;
  }

  /** What a machine's crash may do: blocks from `block` on are gone. */
  cutAt(block: number): void {
    this.flush();
    this.all.length = block;
    const last = this.all.at(-1);
    this.nextSeq = last === undefined ? 0 : last.firstSeq + last.count;
  }

  range(): Promise<JournalRange> {
    const first = this.all[this.#first];
    const last = this.all.at(-1);
    return Promise.resolve({
      firstBlock: this.#first,
      firstSeq: first?.firstSeq ?? 0,
      nextSeq: last === undefined ? 0 : last.firstSeq + last.count,
    });
  }

  async *follow(fromBlock: number, signal: AbortSignal): AsyncGenerator<JournalBlock> {
    this.follows++;
    for (let index = Math.max(fromBlock, this.#first); !signal.aborted; ) {
      const block = this.all[index];
      if (block === undefined) await this.#grown(signal);
      else {
        yield block;
        index++;
      }
    }
  }

  *blocks(fromBlock: number): Generator<JournalBlock> {
    yield* this.all.slice(Math.max(fromBlock, this.#first));
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #grown(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        this.#wake.delete(done);
        signal.removeEventListener('abort', done);
        resolve();
      };
      this.#wake.add(done);
      signal.addEventListener('abort', done);
    });
  }
}
