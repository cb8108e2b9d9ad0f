/** Values as they are shown, the same for every engine: JSON that a person can read, and the bytes where that fails. */
import { AppError } from '../base/errors.ts';

export type JsonValue =
  | null
  | boolean
  | number
  | string
  | readonly JsonValue[]
  | { readonly [key: string]: JsonValue };

/** A value that could not be read as what it should be: its bytes, and why. */
export interface UnreadableValue {
  readonly [key: string]: string;
  /** As {@link hexText} writes it. */
  readonly hex: string;
  readonly problem: string;
}

export interface DecodedColumn {
  readonly name: string;
  readonly type: string;
}

export interface DecodedRows<Column extends DecodedColumn = DecodedColumn> {
  /** In the order sent; names may repeat. */
  readonly columns: readonly Column[];
  /** Values by position. */
  readonly rows: readonly (readonly JsonValue[])[];
  /** The capture ends within the description or within a row, or holds what is no row. */
  readonly truncated: boolean;
}

/**
 * What the decoders of binary values throw among themselves; it becomes an {@link UnreadableValue}.
 * @param type the server's name of the type.
 */
export function unreadable(type: string): AppError {
  return new AppError('protocol', 'WIRE_VALUE_MALFORMED', `A binary value is not a ${type}.`, {
    details: { type },
  });
}

/** Refuses a value of another length than its type has. */
export function expectBytes(bytes: Buffer, count: number, type: string): void {
  if (bytes.length !== count) throw unreadable(type);
}

export function unreadableValue(bytes: Buffer, problem: string): UnreadableValue {
  return { hex: hexText(bytes), problem };
}

/** Hexadecimal as PostgreSQL writes bytea: `\x…`. */
export function hexText(bytes: Buffer): string {
  return `\\x${bytes.toString('hex')}`;
}

/**
 * The number that a decimal text says, or the text itself where a JSON number would not hold it exactly: −0, integers
 * beyond 2^53, NaN and Infinity.
 */
export function exactNumber(text: string): number | string {
  const number = Number(text);
  const exact =
    text.trim() !== '' &&
    Number.isFinite(number) &&
    !Object.is(number, -0) &&
    (Number.isSafeInteger(number) || /[.e]/.test(text));
  return exact ? number : text;
}
