/**
 * The things that requests of a session refer to: texts, portals, and statements in flight.
 */
import type { Classification } from '../../../model/statement.ts';
import type { SecretParameters } from './secret-parameters.ts';

/** A statement's text as parsed (by Parse) or sent (by Query). Immutable but for what the server tells later. */
export class StatementText {
  /** The text as it is recorded: secrets redacted. A copy of its own. */
  readonly recorded: Buffer;
  readonly redacted: boolean;
  /** Length of the original, bytes. */
  readonly originalBytes: number;
  /** Under a grant with controls: what it does. */
  readonly classification: Classification | null;
  /** Parameter type oids: as given by Parse, completed by ParameterDescription. */
  parameterTypes: number[];
  /** RowDescription body of a Describe (statement), formats zero; null until described. */
  description: Buffer | null = null;
  /** The last description with result formats patched in, and the formats it was made for. */
  patched: Buffer | null = null;
  patchedFor: readonly number[] = [];
  /** Reference number of its TextDeclared; 0 none yet. */
  ref = 0;
  /** Journal segment in which `ref` was declared. */
  declaredIn = -1;
  executions = 0;
  /** Whose values are not recorded; `undefined` until somebody asks. */
  secretParameters: SecretParameters | undefined = undefined;

  constructor(
    recorded: Buffer,
    redacted: boolean,
    originalBytes: number,
    parameterTypes: number[],
    classification: Classification | null,
  ) {
    this.recorded = recorded;
    this.redacted = redacted;
    this.originalBytes = originalBytes;
    this.parameterTypes = parameterTypes;
    this.classification = classification;
  }
}

/** A bound portal. `bind` is the Bind body from the parameter formats to the end of the parameters, raw, perhaps cut. */
export class Portal {
  readonly text: StatementText;
  readonly statementName: string;
  bind: Buffer;
  bindStart: number;
  bindEnd: number;
  /** `bind` points into the turn's memory and must be copied to live longer. */
  borrowed: boolean;
  /** Full length of the parameter part when `bind` was cut, else 0. */
  readonly parameterBytes: number;
  /** Result formats as bound: none, one for all, or one for each column. */
  readonly resultFormats: readonly number[];
  /** RowDescription body of a Describe (portal). */
  description: Buffer | null = null;
  /** Values of secret parameters were taken out of `bind`. */
  redacted = false;
  /** Executed without a row limit: it will not be fetched from again. */
  finished = false;

  constructor(
    text: StatementText,
    statementName: string,
    bind: Buffer,
    bindStart: number,
    bindEnd: number,
    parameterBytes: number,
    resultFormats: readonly number[],
  ) {
    this.text = text;
    this.statementName = statementName;
    this.bind = bind;
    this.bindStart = bindStart;
    this.bindEnd = bindEnd;
    this.borrowed = bindEnd > bindStart;
    this.parameterBytes = parameterBytes;
    this.resultFormats = resultFormats;
  }

  /** Makes `bind` independent of the turn's memory. */
  keep(): void {
    if (!this.borrowed) return;
    const copy = Buffer.allocUnsafe(this.bindEnd - this.bindStart);
    this.bind.copy(copy, 0, this.bindStart, this.bindEnd);
    this.bind = copy;
    this.bindEnd = copy.length;
    this.bindStart = 0;
    this.borrowed = false;
  }

  /** The same portal over another text: the one that the server bound it to. */
  rebound(text: StatementText): Portal {
    const { statementName, bind, bindStart, bindEnd, parameterBytes, resultFormats } = this;
    const portal = new Portal(text, statementName, bind, bindStart, bindEnd, parameterBytes, resultFormats);
    portal.redacted = this.redacted;
    return portal;
  }

  /** Gives up bytes that nobody needs any more. */
  forget(): void {
    this.bindEnd = this.bindStart;
    this.borrowed = false;
  }
}

/** One statement on its way: announced in the journal, waiting for its outcome. */
export class InFlight {
  readonly ordinal: number;
  readonly text: StatementText | null;
  /** Monotonic microseconds. */
  readonly startedUs: number;
  firstRowUs = 0;
  rows = 0;
  /** Bytes of rows or COPY data. */
  bytes = 0;
  recordedRows = 0;
  recordedBytes = 0;
  truncated = false;
  /** RowDescription body still to be recorded with the next rows: `description[start, end)`; null when there is none. */
  description: Buffer | null = null;
  descriptionStart = 0;
  descriptionEnd = 0;
  /** `description` points into the turn's memory. */
  descriptionBorrowed = false;
  /** The description has been recorded. */
  described = false;
  portal: Portal | null = null;
  notices: string[] | null = null;
  finished = false;
  /** A secret was taken out of its text: what the server says about it may quote that. */
  redacted: boolean;

  constructor(ordinal: number, text: StatementText | null, startedUs: number) {
    this.ordinal = ordinal;
    this.text = text;
    this.startedUs = startedUs;
    this.redacted = text?.redacted ?? false;
  }

  /** Takes a RowDescription body; borrowed until {@link keep}. */
  describe(bytes: Buffer, start: number, end: number): void {
    this.description = bytes;
    this.descriptionStart = start;
    this.descriptionEnd = end;
    this.descriptionBorrowed = true;
    this.described = false;
  }

  /** Makes the description independent of the turn's memory. */
  keep(): void {
    if (!this.descriptionBorrowed || this.described || !this.description) return;
    this.description = Buffer.from(this.description.subarray(this.descriptionStart, this.descriptionEnd));
    this.descriptionStart = 0;
    this.descriptionEnd = this.description.length;
    this.descriptionBorrowed = false;
  }
}

/** The text behind a name that neither Parse nor Bind gave: SQL made it (DECLARE), or nobody did. */
export function unknownText(name: string): StatementText {
  return new StatementText(Buffer.from(`/* ${JSON.stringify(name)}, named by SQL */`), false, 0, [], null);
}
