/**
 * What the indexer must know about SQL and wire formats, given to it by the application: the store may not import
 * `sql/` and `wire/`. In the indexer's own thread it comes from the module that the application starts the thread with
 * (`indexer-thread.ts`).
 */
import type { EngineName } from '../model/access.ts';
import type { Parameter } from '../model/events.ts';

export type JsonValue =
  | string
  | number
  | boolean
  | null
  | readonly JsonValue[]
  | { readonly [name: string]: JsonValue };

export interface StatementFacts {
  /** Lower case: select, insert, … ; empty when the text is not understood. */
  readonly verb: string;
  /** The same for texts that differ in constants only; empty when the text is not understood. */
  readonly fingerprint: string;
  /** As in `Classification.tables`. */
  readonly tables: readonly string[];
}

/** The parameters of one execution, in the form the witness recorded them: at most one of the two is not empty. */
export interface RecordedParameters {
  /** PostgreSQL: the Bind message from the parameter formats to the end of the values. `null`: none recorded. */
  readonly bind: Buffer | null;
  readonly parameters: readonly Parameter[];
}

/** Neither may throw for bytes that it does not understand. Both must be functions of their arguments alone. */
export interface StatementDecoder {
  /** `sql` is as recorded, in the client's encoding. Results are cached by text. */
  describeStatement(engine: EngineName, sql: Buffer): StatementFacts;
  /** One value per parameter in order, or `null` when they cannot be told. `types` may be shorter or empty. */
  decodeParameters(
    engine: EngineName,
    recorded: RecordedParameters,
    types: readonly number[],
  ): readonly JsonValue[] | null;
}

/** For engines and events that nobody decodes: everything is unknown, nothing is lost. */
export const blindDecoder: StatementDecoder = {
  describeStatement: () => ({ verb: '', fingerprint: '', tables: [] }),
  decodeParameters: () => null,
};
