/** The prepared statements of a session, as its client refers to them. */
import { limits } from '../../../base/limits.ts';
import type { PrepareOk } from '../../../wire/mysql/resultset.ts';
import { CODES, refusal, type Refusal } from './refusal.ts';
import type { Prepared } from './statement.ts';

/** MariaDB: the statement that was prepared last. */
const LAST_PREPARED = 0xffff_ffff;
/** Texts of one session's prepared statements, together: as much as one statement may have. */
const MAX_TEXT_BYTES = limits.maxStatementBytes;

export class PreparedStatements {
  readonly #byId = new Map<number, Prepared>();
  #last: Prepared | null = null;
  /** Prepares that were passed on and are not answered. */
  #pending = 0;
  #textBytes = 0;
  /** Long data that are kept for their record, of all statements together. */
  longDataBytes = 0;

  /** One was passed on. */
  passed(prepared: Prepared): void {
    this.#last = prepared;
    this.#pending++;
  }

  /** One was refused: nothing may take its place. */
  refused(): void {
    this.#last = null;
  }

  /** The server has answered: it exists. */
  answered(prepared: Prepared, ok: Readonly<PrepareOk>): void {
    prepared.id = ok.statementId;
    prepared.parameterCount = ok.parameterCount;
    prepared.columnCount = ok.columnCount;
    this.#byId.set(ok.statementId, prepared);
    this.#textBytes += prepared.text.recorded.length;
  }

  /** An answer to a prepare is complete, whatever it was. */
  concluded(prepared: Prepared): void {
    this.#pending--;
    if (prepared.id < 0 && this.#last === prepared) this.#last = null;
  }

  /** A prepare was taken back before it was sent. */
  takenBack(prepared: Prepared): void {
    this.concluded(prepared);
  }

  /** Whether `id` can only be understood once a prepare on its way is answered. */
  undecided(id: number): boolean {
    return this.#pending > 0 && (id === LAST_PREPARED || !this.#byId.has(id));
  }

  find(id: number): Prepared | null {
    return (id === LAST_PREPARED ? this.#last : this.#byId.get(id)) ?? null;
  }

  close(id: number): void {
    const closed = this.find(id);
    if (!closed) return;
    this.forgetLongData(closed);
    if (this.#byId.delete(closed.id)) this.#textBytes -= closed.text.recorded.length;
    if (this.#last === closed) this.#last = null;
  }

  /** The server has forgotten all of them. */
  clear(): void {
    this.#byId.clear();
    this.#textBytes = 0;
    this.longDataBytes = 0;
    this.#last = null;
  }

  /** The long data of a statement were executed, or will not be. */
  forgetLongData(prepared: Prepared): void {
    for (const { keptBytes } of prepared.longData?.values() ?? []) this.longDataBytes -= keptBytes;
    prepared.longData = null;
    prepared.unrecordedBytes = 0;
  }

  /** One more, whose text has this many bytes. */
  room(bytes: number): Refusal | null {
    if (this.#textBytes > 0 && this.#textBytes + bytes > MAX_TEXT_BYTES)
      return refusal(
        CODES.tooManyStatements,
        `the prepared statements of this session would have more than ${MAX_TEXT_BYTES} bytes, the most dbwitness allows`,
        'Close statements that are not needed any more.',
      );
    if (this.#byId.size < limits.maxPreparedStatements) return null;
    const message = `this session holds ${limits.maxPreparedStatements} prepared statements, the most dbwitness allows`;
    return refusal(CODES.tooManyStatements, message, 'Close statements that are not needed any more.');
  }
}

export function unknownStatement(id: number, what: string): Refusal {
  return refusal(CODES.noSuchStatement, `Unknown prepared statement handler (${id}) given to ${what}`);
}
