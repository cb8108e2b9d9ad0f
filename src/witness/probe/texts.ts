/**
 * Texts that came in pieces. A statement's record holds the beginning of its text; the pieces behind it follow in TEXT
 * records of the same thread, before anything else of that thread. So at most one text per thread is under way.
 */
import { RECORD, u32At, u64At } from './records.ts';

/** A text under way, with whatever has to wait for it. */
export class PendingText<Statement> {
  readonly statement: Statement;
  readonly #pieces: Buffer[] = [];
  #bytes = 0;
  /** Full length where known; 0 else. */
  total: number;
  complete = false;

  /** `beginning` is copied. `total` 0: not known, the last piece says so. */
  constructor(statement: Statement, beginning: Buffer, total: number) {
    this.statement = statement;
    this.total = total;
    this.#push(beginning);
  }

  /** Takes a TEXT or TEXT_END record; returns whether the text is as whole as it gets. */
  add(type: number, data: Buffer, at: number): boolean {
    if (type === RECORD.textEnd) {
      this.total = u64At(data, at + 24);
      return true;
    }
    // A piece was lost in between: what follows cannot be put in place.
    if (u32At(data, at + 24) === this.#bytes) {
      this.#push(data.subarray(at + 32, at + 32 + u32At(data, at + 12)));
      if (u32At(data, at + 28) !== 0) {
        this.total ||= this.#bytes;
        this.complete = true;
      }
    }
    return u32At(data, at + 28) !== 0;
  }

  /** What was captured. */
  text(): Buffer {
    return this.#pieces.length === 1 ? this.#pieces[0] : Buffer.concat(this.#pieces);
  }

  #push(piece: Buffer): void {
    this.#pieces.push(Buffer.from(piece));
    this.#bytes += piece.length;
  }
}
