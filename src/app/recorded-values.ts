/** Recorded parameters and rows as values for people, engine by engine: the one place that knows which form is whose. */
import type { EngineName } from '../model/access.ts';
import type { JsonValue } from '../store/statement-decoder.ts';
import * as mysql from '../wire/mysql/values/decode.ts';
import * as postgres from '../wire/postgres/values/decode.ts';

/** One piece of a statement's result, in the order recorded: `Result` of an event. */
export interface RecordedPiece {
  /** Not empty where a result set begins. */
  readonly description: Uint8Array;
  readonly rows: Uint8Array;
}

export interface RecordedResultSet {
  /** In the order sent; names may repeat. */
  readonly columns: readonly { readonly name: string; readonly type: string }[];
  /** Values by position. */
  readonly rows: readonly (readonly JsonValue[])[];
  /** The record ends within it, or holds what is no row. */
  readonly truncated: boolean;
}

interface RecordedForm {
  /** One value per parameter. Never throws. */
  parameters(bind: Buffer, types: readonly number[]): readonly JsonValue[];
  /** Never throws. */
  rows(description: Uint8Array, rows: Uint8Array): RecordedResultSet;
}

function formOf(codec: {
  decodeParameters(
    bind: Uint8Array,
    types: readonly number[],
  ): { readonly parameters: readonly { readonly value: JsonValue }[] };
  decodeRows(description: Uint8Array, rows: Uint8Array): RecordedResultSet;
}): RecordedForm {
  return {
    parameters: (bind, types) => codec.decodeParameters(bind, types).parameters.map(({ value }) => value),
    rows: (description, rows) => {
      const { columns, rows: values, truncated } = codec.decodeRows(description, rows);
      return { columns: columns.map(({ name, type }) => ({ name, type })), rows: values, truncated };
    },
  };
}

const mysqlForm = formOf(mysql);
const FORMS: Readonly<Partial<Record<string, RecordedForm>>> = {
  postgres: formOf(postgres),
  mysql: mysqlForm,
  mariadb: mysqlForm,
} satisfies Partial<Record<EngineName, RecordedForm>>;

/** One value per parameter in order, or `null` for an engine whose form nobody knows. Never throws. */
export function recordedParameters(
  engine: string,
  bind: Buffer,
  types: readonly number[],
): readonly JsonValue[] | null {
  return FORMS[engine]?.parameters(bind, types) ?? null;
}

/**
 * The result sets of a statement; a statement that calls a procedure may have several. One that has none recorded gives
 * none. Never throws; of an engine whose form nobody knows the rows cannot be told.
 */
export function recordedResultSets(
  engine: string,
  pieces: readonly RecordedPiece[],
): readonly RecordedResultSet[] {
  const sets: { description: Uint8Array; rows: Uint8Array[] }[] = [];
  for (const { description, rows } of pieces) {
    if (description.length > 0 || sets.length === 0) sets.push({ description, rows: [] });
    if (rows.length > 0) sets.at(-1)?.rows.push(rows);
  }
  const form = FORMS[engine];
  return sets.map(({ description, rows }) =>
    form === undefined
      ? { columns: [], rows: [], truncated: true }
      : form.rows(description, Buffer.concat(rows)),
  );
}
