/** COPY, in both directions: the responses that start it, its data, its end. */
import type { ByteWriter } from '../../base/bytes.ts';
import type { Format } from './frontend.ts';
import { Backend, Frontend } from './messages.ts';
import { malformed, MessageReader, stringEnd } from './reader.ts';
import { beginMessage, endMessage, writeCount, writeEmptyMessage, writeString } from './writer.ts';

export type CopyDirection = 'in' | 'out' | 'both';

const RESPONSE_TYPES: Readonly<Record<CopyDirection, number>> = {
  in: Backend.CopyInResponse,
  out: Backend.CopyOutResponse,
  both: Backend.CopyBothResponse,
};

export interface CopyResponse {
  /** 0 text, 1 binary, for the whole COPY. */
  readonly format: number;
  readonly columnFormats: readonly Format[];
}

/** CopyInResponse, CopyOutResponse, CopyBothResponse: `Int8 format, Int16 n, n × Int16 column format`. */
export function decodeCopyResponse(bytes: Buffer, start: number, end: number): CopyResponse {
  const reader = new MessageReader(bytes, start, end, 'CopyResponse');
  const format = reader.uint8();
  const count = reader.count(2);
  const columnFormats: Format[] = [];
  for (let i = 0; i < count; i++) columnFormats.push(reader.uint16());
  reader.finish();
  return { format, columnFormats };
}

export function encodeCopyResponse(out: ByteWriter, direction: CopyDirection, message: CopyResponse): void {
  const mark = beginMessage(out, RESPONSE_TYPES[direction]);
  out.u8(message.format);
  writeCount(out, message.columnFormats.length);
  for (const format of message.columnFormats) out.u16be(format);
  endMessage(out, mark);
}

/** CopyData: its body is the data, so there is nothing to decode. The type byte is the same in both directions. */
export function encodeCopyData(out: ByteWriter, data: Uint8Array): void {
  const mark = beginMessage(out, Frontend.CopyData);
  out.raw(data);
  endMessage(out, mark);
}

/** CopyDone: no body, the same in both directions. */
export function encodeCopyDone(out: ByteWriter): void {
  writeEmptyMessage(out, Frontend.CopyDone);
}

/** CopyFail: `String reason`. */
export function decodeCopyFail(bytes: Buffer, start: number, end: number): string {
  const stop = stringEnd(bytes, start, end, 'CopyFail');
  if (stop + 1 !== end) throw malformed('CopyFail', 'bytes follow its reason');
  return bytes.toString('utf8', start, stop);
}

export function encodeCopyFail(out: ByteWriter, reason: string): void {
  const mark = beginMessage(out, Frontend.CopyFail);
  writeString(out, reason);
  endMessage(out, mark);
}
