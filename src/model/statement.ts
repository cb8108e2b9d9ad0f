/**
 * What the SQL layer says of one statement, in words that all engines share. `sql/` makes it, `access/` decides on it.
 */

/** The verb, in lower case: select, insert, update, delete, merge, copy, create, alter, drop, set, begin, … Empty when
 *  the text holds no statement (white space and comments only). */
export type Verb = string;

export interface Classification {
  /** The parser understood the whole text. When `false`, nothing below can be relied on. */
  readonly parsed: boolean;
  readonly verb: Verb;
  /** It may change data, as far as the text can tell: DML, SELECT INTO, functions known to write, CALL, DO, … */
  readonly writes: boolean;
  /** Changes schema objects, roles or privileges. */
  readonly ddl: boolean;
  /** COPY in any form, server-side file and program access, large-object import and export. */
  readonly copy: boolean;
  /** Of those, what touches files or programs of the server's host: reaches beyond the database, so no read_only either. */
  readonly serverFiles: boolean;
  /** Could switch off or leave the read-only mode of the session or transaction, or change who it runs as. */
  readonly escapesReadOnly: boolean;
  /**
   * Sets every setting back to the session's own default (RESET ALL, DISCARD ALL: what connection pools send). It
   * leaves read-only mode only where that mode is no session default: see `PolicyContext` in `access/policy.ts`.
   */
  readonly resets: boolean;
  /** Runs code or SQL that the text does not show (DO, dblink_exec): whatever the controls are, it cannot be judged. */
  readonly opaque: boolean;
  /** Why the flags above hold, for the refusal: "DELETE inside WITH", "function set_config". Never a literal's value. */
  readonly because: string;
  /** Tables named, as written, schema-qualified where they were: for search. Lower-cased unless quoted. */
  readonly tables: readonly string[];
  /** PREPARE name AS …: the name; the inner statement's properties are merged into this one. Else empty. */
  readonly prepares: string;
  /** EXECUTE name: the name of the prepared statement that runs. Its properties are not known here. Else empty. */
  readonly executes: string;
  readonly transaction: 'none' | 'begin' | 'commit' | 'rollback' | 'other';
}

export interface StatementSpan {
  /** Byte offsets into the text, without surrounding white space and without the semicolon. */
  readonly start: number;
  readonly end: number;
}
