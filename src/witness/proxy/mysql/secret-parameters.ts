/**
 * Parameters that stand where the text of a statement would have its secrets taken out (HOSTILE.md 75b): `SET PASSWORD =
 * PASSWORD(?)`, `WHERE password = ?`. Which ones is found out with the text, when it is prepared
 * (`src/sql/mysql/redact.ts`); here their values are replaced before they are recorded. The server gets them as they came.
 *
 * A value is recorded as the string `***`, whatever its type was; NULL stays NULL.
 */
import type { ByteWriter } from '../../../base/bytes.ts';
import { ColumnType, skipValue } from '../../../wire/mysql/column-types.ts';
import {
  type BulkExecuteView,
  type ExecuteView,
  INDICATOR_NONE,
  isNull,
  type LongData,
} from '../../../wire/mysql/parameters.ts';
import { PayloadReader } from '../../../wire/mysql/reader.ts';
import { writeLenencBytes } from '../../../wire/mysql/writer.ts';
import type { Prepared } from './statement.ts';

/** Numbers of the parameters, from 0; `all` of them; `null`: none, as nearly always. */
export type Secrets = ReadonlySet<number> | 'all' | null;

/** The type that is recorded for a value that is not. */
export const MASKED_TYPE = ColumnType.VAR_STRING;
const MASK = Buffer.from('***');

/** Of a statement that the server has prepared. Where it counts otherwise than we do, we may mean other ones. */
export function secretsOf(prepared: Prepared): Secrets {
  const { secrets } = prepared.text;
  if (secrets === null) return null;
  return secrets.counts.every((count) => count === prepared.parameterCount) ? secrets.numbers : 'all';
}

/** Whether parameter `index` is one of them. Attributes of the execution, behind its parameters, are not. */
export function isSecret(secrets: Secrets, index: number, parameterCount: number): boolean {
  if (secrets === null || index >= parameterCount) return false;
  return secrets === 'all' || secrets.has(index);
}

/** `writeBind` of `src/wire/mysql/parameters.ts`, for a statement with secrets. */
export function writeMaskedBind(
  out: ByteWriter,
  bytes: Buffer,
  view: Readonly<ExecuteView>,
  longData: LongData | null,
  secrets: Secrets,
  parameterCount: number,
): void {
  const count = view.parameterCount;
  out.raw(bytes, view.bitmapStart, view.bitmapStart + ((count + 7) >>> 3));
  const reader = new PayloadReader().over(bytes, view.valuesStart, view.valuesEnd, 'COM_STMT_EXECUTE');
  for (let i = 0; i < count; i++) {
    if (isNull(bytes, view.bitmapStart, i)) continue;
    const long = longData?.get(i);
    const from = reader.at;
    if (long === undefined) skipValue(reader, view.types[i]);
    if (isSecret(secrets, i, parameterCount)) writeLenencBytes(out, MASK);
    else if (long === undefined) out.raw(bytes, from, reader.at);
    else writeLenencBytes(out, long);
  }
}

/** The rows of a bulk execution, as sent but for their secrets. */
export function writeMaskedRows(
  out: ByteWriter,
  bytes: Buffer,
  view: Readonly<BulkExecuteView>,
  secrets: Secrets,
  parameterCount: number,
): void {
  const reader = new PayloadReader().over(bytes, view.rowsStart, view.rowsEnd, 'COM_STMT_BULK_EXECUTE');
  while (reader.remaining > 0)
    for (let i = 0; i < parameterCount; i++) {
      const from = reader.at;
      const indicator = reader.uint8();
      if (indicator === INDICATOR_NONE) skipValue(reader, view.types[i]);
      if (indicator === INDICATOR_NONE && isSecret(secrets, i, parameterCount)) {
        out.u8(INDICATOR_NONE);
        writeLenencBytes(out, MASK);
      } else out.raw(bytes, from, reader.at);
    }
}
