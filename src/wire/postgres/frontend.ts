/**
 * What a client sends: views for the relay, encoders for our own requests. Authentication answers are in
 * `authentication.ts`, COPY in `copy.ts`.
 *
 * The decoders of Query, Parse, Bind, Execute, Describe and Close run for every statement. They fill a view that the
 * caller owns and reuses; they allocate nothing but the names, and nothing for the empty name. Names come as strings of
 * one character per byte, so that two names are equal exactly when their bytes are, whatever the client's encoding.
 *
 * `start` and `end` are the body's: `cursor.body` and `cursor.end`.
 */
import type { ByteWriter } from '../../base/bytes.ts';
import { AppError } from '../../base/errors.ts';
import { Frontend } from './messages.ts';
import { int32At, malformed, nameText, stringEnd, uint16At, uint32At } from './reader.ts';
import {
  beginMessage,
  endMessage,
  writeCount,
  writeEmptyMessage,
  writeLatin1,
  writeUtf8,
  writeValue,
} from './writer.ts';

/** Statement text: UTF-8 when a string, as it is when bytes. */
export type StatementText = string | Uint8Array;

function writeText(out: ByteWriter, text: StatementText): void {
  if (typeof text === 'string') writeUtf8(out, text);
  else out.raw(text);
  out.u8(0);
}

/** Query: `String text`. The text is `bytes[start, result)`. */
export function decodeQuery(bytes: Uint8Array, start: number, end: number): number {
  const stop = stringEnd(bytes, start, end, 'Query');
  if (stop + 1 !== end) throw malformed('Query', 'bytes follow its text');
  return stop;
}

export function encodeQuery(out: ByteWriter, text: StatementText): void {
  const mark = beginMessage(out, Frontend.Query);
  writeText(out, text);
  endMessage(out, mark);
}

/** Parse: `String name, String text, Int16 n, n × Int32 type oid`. */
export class ParseView {
  name = '';
  textStart = 0;
  textEnd = 0;
  typeCount = 0;
  /** Offset of the first type oid. */
  typesStart = 0;
}

export function decodeParse(bytes: Buffer, start: number, end: number, view: ParseView): void {
  const nameEnd = stringEnd(bytes, start, end, 'Parse');
  const textEnd = stringEnd(bytes, nameEnd + 1, end, 'Parse');
  const counts = textEnd + 1;
  if (end - counts < 2) throw malformed('Parse', 'it ends early');
  const typeCount = uint16At(bytes, counts);
  if (counts + 2 + 4 * typeCount !== end)
    throw malformed('Parse', `${typeCount} parameter types do not fit its length`);
  view.name = nameText(bytes, start, nameEnd, view.name);
  view.textStart = nameEnd + 1;
  view.textEnd = textEnd;
  view.typeCount = typeCount;
  view.typesStart = counts + 2;
}

/** The type oids of a Parse or ParameterDescription; 0: left to the server. */
export function typeOids(bytes: Uint8Array, typesStart: number, typeCount: number): number[] {
  const oids: number[] = [];
  for (let i = 0; i < typeCount; i++) oids.push(uint32At(bytes, typesStart + 4 * i));
  return oids;
}

export interface Parse {
  readonly name: string;
  readonly text: StatementText;
  readonly types: readonly number[];
}

export function encodeParse(out: ByteWriter, message: Parse): void {
  const mark = beginMessage(out, Frontend.Parse);
  writeLatin1(out, message.name);
  writeText(out, message.text);
  writeCount(out, message.types.length);
  for (const oid of message.types) out.u32be(oid);
  endMessage(out, mark);
}

/**
 * Bind: `String portal, String statement, Int16 c, c × Int16 format, Int16 n, n × (Int32 length, bytes),
 * Int16 r, r × Int16 result format`.
 *
 * `[formatsStart, resultFormatsStart)` is what a StatementStarted event stores as `bind` and what `decodeParameters` reads.
 */
export class BindView {
  portal = '';
  statement = '';
  /** Offset of the count of parameter formats. */
  formatsStart = 0;
  formatCount = 0;
  /** Offset of the count of parameters. */
  parametersStart = 0;
  parameterCount = 0;
  /** Sum of the values' lengths, in bytes. */
  parameterBytes = 0;
  /** Offset of the count of result formats. */
  resultFormatsStart = 0;
  resultFormatCount = 0;
}

/** @throws AppError `protocol`: WIRE_BIND_COUNT_MISMATCH (HOSTILE 35), WIRE_MESSAGE_MALFORMED. */
export function decodeBind(bytes: Buffer, start: number, end: number, view: BindView): void {
  const portalEnd = stringEnd(bytes, start, end, 'Bind');
  const statementEnd = stringEnd(bytes, portalEnd + 1, end, 'Bind');
  const formatsStart = statementEnd + 1;
  if (end - formatsStart < 2) throw malformed('Bind', 'it ends early');
  const formatCount = uint16At(bytes, formatsStart);
  const parametersStart = formatsStart + 2 + 2 * formatCount;
  if (end - parametersStart < 2) throw malformed('Bind', 'more parameter formats than it holds');
  const parameterCount = uint16At(bytes, parametersStart);
  if (formatCount > 1 && formatCount !== parameterCount)
    throw new AppError(
      'protocol',
      'WIRE_BIND_COUNT_MISMATCH',
      `bind message has ${formatCount} parameter formats but ${parameterCount} parameters. Send none, one, or one for each.`,
      { details: { formatCount, parameterCount } },
    );
  const resultFormatsStart = skipValues(bytes, parametersStart + 2, end, parameterCount, 'Bind');
  if (end - resultFormatsStart < 2) throw malformed('Bind', 'it ends early');
  const resultFormatCount = uint16At(bytes, resultFormatsStart);
  if (resultFormatsStart + 2 + 2 * resultFormatCount !== end)
    throw malformed('Bind', `${resultFormatCount} result formats do not fit its length`);
  view.portal = nameText(bytes, start, portalEnd, view.portal);
  view.statement = nameText(bytes, portalEnd + 1, statementEnd, view.statement);
  view.formatsStart = formatsStart;
  view.formatCount = formatCount;
  view.parametersStart = parametersStart;
  view.parameterCount = parameterCount;
  view.parameterBytes = resultFormatsStart - parametersStart - 2 - 4 * parameterCount;
  view.resultFormatsStart = resultFormatsStart;
  view.resultFormatCount = resultFormatCount;
}

/** Passes over `count` counted values and returns the offset behind them. Every step is bounded by `end`. */
function skipValues(bytes: Uint8Array, at: number, end: number, count: number, message: string): number {
  let offset = at;
  for (let i = 0; i < count; i++) {
    if (end - offset < 4) throw malformed(message, `it holds fewer than its ${count} parameters`);
    const length = int32At(bytes, offset);
    offset += 4;
    if (length === -1) continue;
    if (length < 0) throw malformed(message, `parameter ${i + 1} has length ${length}`);
    if (length > end - offset) throw malformed(message, `parameter ${i + 1} is longer than the message`);
    offset += length;
  }
  return offset;
}

/** 0 text, 1 binary. */
export type Format = number;

export interface Bind {
  readonly portal: string;
  readonly statement: string;
  /** None (all text), one for all, or one for each. */
  readonly formats: readonly Format[];
  readonly parameters: readonly (Uint8Array | null)[];
  readonly resultFormats: readonly Format[];
}

export function encodeBind(out: ByteWriter, message: Bind): void {
  const mark = beginMessage(out, Frontend.Bind);
  writeLatin1(out, message.portal);
  writeLatin1(out, message.statement);
  writeCount(out, message.formats.length);
  for (const format of message.formats) out.u16be(format);
  writeCount(out, message.parameters.length);
  for (const value of message.parameters) writeValue(out, value);
  writeCount(out, message.resultFormats.length);
  for (const format of message.resultFormats) out.u16be(format);
  endMessage(out, mark);
}

/** Execute: `String portal, Int32 maximum number of rows` (0: no limit). */
export class ExecuteView {
  portal = '';
  /** 0 or less: no limit, as in the server. */
  maxRows = 0;
}

export function decodeExecute(bytes: Buffer, start: number, end: number, view: ExecuteView): void {
  const portalEnd = stringEnd(bytes, start, end, 'Execute');
  if (portalEnd + 5 !== end) throw malformed('Execute', 'its length does not fit its contents');
  view.portal = nameText(bytes, start, portalEnd, view.portal);
  view.maxRows = int32At(bytes, portalEnd + 1);
}

export function encodeExecute(out: ByteWriter, portal: string, maxRows = 0): void {
  const mark = beginMessage(out, Frontend.Execute);
  writeLatin1(out, portal);
  out.u32be(maxRows);
  endMessage(out, mark);
}

export const TARGET_STATEMENT = 0x53; // S
export const TARGET_PORTAL = 0x50; // P

/** Describe and Close: `Byte1 'S' or 'P', String name`. */
export class TargetView {
  /** {@link TARGET_STATEMENT} or {@link TARGET_PORTAL}. */
  target = TARGET_STATEMENT;
  name = '';
}

export function decodeDescribe(bytes: Buffer, start: number, end: number, view: TargetView): void {
  decodeTarget(bytes, start, end, view, 'Describe');
}

export function decodeClose(bytes: Buffer, start: number, end: number, view: TargetView): void {
  decodeTarget(bytes, start, end, view, 'Close');
}

function decodeTarget(bytes: Buffer, start: number, end: number, view: TargetView, message: string): void {
  if (start >= end) throw malformed(message, 'it is empty');
  const target = bytes[start];
  if (target !== TARGET_STATEMENT && target !== TARGET_PORTAL)
    throw malformed(message, `it names neither a statement nor a portal but kind ${target}`);
  const nameEnd = stringEnd(bytes, start + 1, end, message);
  if (nameEnd + 1 !== end) throw malformed(message, 'bytes follow its name');
  view.target = target;
  view.name = nameText(bytes, start + 1, nameEnd, view.name);
}

export function encodeDescribe(out: ByteWriter, target: number, name: string): void {
  encodeTarget(out, Frontend.Describe, target, name);
}

export function encodeClose(out: ByteWriter, target: number, name: string): void {
  encodeTarget(out, Frontend.Close, target, name);
}

function encodeTarget(out: ByteWriter, type: number, target: number, name: string): void {
  const mark = beginMessage(out, type);
  out.u8(target);
  writeLatin1(out, name);
  endMessage(out, mark);
}

/** FunctionCall: `Int32 function oid`, formats and arguments as in Bind, `Int16 result format`. */
export class FunctionCallView {
  functionOid = 0;
  /** `[formatsStart, resultFormatStart)` has the layout that `decodeParameters` reads. */
  formatsStart = 0;
  argumentCount = 0;
  resultFormatStart = 0;
  resultFormat: Format = 0;
}

export function decodeFunctionCall(
  bytes: Uint8Array,
  start: number,
  end: number,
  view: FunctionCallView,
): void {
  if (end - start < 10) throw malformed('FunctionCall', 'it ends early');
  const formatsStart = start + 4;
  const formatCount = uint16At(bytes, formatsStart);
  const argumentsStart = formatsStart + 2 + 2 * formatCount;
  if (end - argumentsStart < 4) throw malformed('FunctionCall', 'more argument formats than it holds');
  const argumentCount = uint16At(bytes, argumentsStart);
  if (formatCount > 1 && formatCount !== argumentCount)
    throw malformed('FunctionCall', `${formatCount} argument formats for ${argumentCount} arguments`);
  const resultFormatStart = skipValues(bytes, argumentsStart + 2, end, argumentCount, 'FunctionCall');
  if (resultFormatStart + 2 !== end) throw malformed('FunctionCall', 'its length does not fit its contents');
  view.functionOid = uint32At(bytes, start);
  view.formatsStart = formatsStart;
  view.argumentCount = argumentCount;
  view.resultFormatStart = resultFormatStart;
  view.resultFormat = uint16At(bytes, resultFormatStart);
}

export interface FunctionCall {
  readonly functionOid: number;
  readonly formats: readonly Format[];
  readonly parameters: readonly (Uint8Array | null)[];
  readonly resultFormat: Format;
}

export function encodeFunctionCall(out: ByteWriter, message: FunctionCall): void {
  const mark = beginMessage(out, Frontend.FunctionCall);
  out.u32be(message.functionOid);
  writeCount(out, message.formats.length);
  for (const format of message.formats) out.u16be(format);
  writeCount(out, message.parameters.length);
  for (const value of message.parameters) writeValue(out, value);
  out.u16be(message.resultFormat);
  endMessage(out, mark);
}

/** Sync, Flush and Terminate, which have no body. */
export function decodeEmpty(start: number, end: number, message: string): void {
  if (start !== end) throw malformed(message, 'it should have no body');
}

export function encodeSync(out: ByteWriter): void {
  writeEmptyMessage(out, Frontend.Sync);
}

export function encodeFlush(out: ByteWriter): void {
  writeEmptyMessage(out, Frontend.Flush);
}

export function encodeTerminate(out: ByteWriter): void {
  writeEmptyMessage(out, Frontend.Terminate);
}

/** A decoded parameter list of a Bind or FunctionCall, for tests and the cold path: views of the buffer. */
export function parameterValues(bytes: Buffer, parametersStart: number, count: number): (Buffer | null)[] {
  const values: (Buffer | null)[] = [];
  let at = parametersStart + 2;
  for (let i = 0; i < count; i++) {
    const length = int32At(bytes, at);
    at += 4;
    values.push(length < 0 ? null : bytes.subarray(at, at + length));
    at += Math.max(0, length);
  }
  return values;
}

/** The format codes behind the count at `formatsStart`. */
export function formatCodes(bytes: Uint8Array, formatsStart: number, count: number): Format[] {
  const formats: Format[] = [];
  for (let i = 0; i < count; i++) formats.push(uint16At(bytes, formatsStart + 2 + 2 * i));
  return formats;
}
