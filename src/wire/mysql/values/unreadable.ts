/** What the decoders of binary values throw among themselves; `value.ts` turns it into a marked hex value. */
import { AppError } from '../../../base/errors.ts';

/** @param type the server's name of the type. */
export function unreadable(type: string): AppError {
  return new AppError('protocol', 'WIRE_VALUE_MALFORMED', `A binary value is not a ${type}.`, {
    details: { type },
  });
}

/** Refuses a value of another length than its type has. */
export function expectBytes(bytes: Buffer, count: number, type: string): void {
  if (bytes.length !== count) throw unreadable(type);
}

/** Hexadecimal as dbwitness shows bytes of every engine. */
export function hexText(bytes: Buffer): string {
  return `\\x${bytes.toString('hex')}`;
}
