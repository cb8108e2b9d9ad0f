/**
 * Events as the indexer reads them: the frequent ones (statements, texts) decoded by hand from protobuf's wire format,
 * which is about eight times faster than the generated code and makes no object that is not needed; the rare ones left to
 * the generated code. Result and COPY chunks are not looked into. A test compares every field with the generated code.
 *
 * https://protobuf.dev/programming-guides/encoding/
 */
import { AppError } from '../base/errors.ts';
import type { JournalBlock } from './journal-source.ts';

/** Field numbers of `Event.body`. */
export const BODY = {
  sessionOpened: 10,
  sessionClosed: 11,
  textDeclared: 13,
  statementStarted: 14,
  statementFinished: 15,
  resultChunk: 16,
  copyChunk: 17,
  serverMessage: 18,
} as const;

const LOGIN_FAILED = 12;
const NOTHING = Buffer.alloc(0);

export class ScannedEvent {
  seq = 0;
  /** Index of its block. */
  block = 0;
  atUs = 0;
  /** The 16 bytes of the session's uid as a Latin-1 string: a map key that costs little. Empty without a session. */
  session = '';
  /** Field number of the body; 0 when there is none. */
  body = 0;
  /** The whole event. */
  bytes: Buffer = NOTHING;
  started: ScannedStarted | null = null;
  finished: ScannedFinished | null = null;
  text: ScannedText | null = null;
}

export class ScannedStarted {
  ordinal = 0;
  kind = 0;
  sql: Buffer = NOTHING;
  textRef = 0;
  /** Encoded `Parameter` messages. */
  parameters: Buffer[] | null = null;
  bind: Buffer | null = null;
  parameterTypes: number[] | null = null;
  redacted = false;
  decision = 0;
  /** The character code of I, T or E; 0 unknown. */
  transactionStatus = 0;
}

export class ScannedFinished {
  ordinal = 0;
  tag: Buffer = NOTHING;
  rows = 0;
  bytes = 0;
  durationUs = 0;
  firstRowUs = 0;
  failed = false;
  errorCode: Buffer = NOTHING;
  errorMessage: Buffer = NOTHING;
  errorNumber = 0;
  xid = 0;
  truncated = false;
  outcome = 0;
  actualSql: Buffer = NOTHING;
}

export class ScannedText {
  ref = 0;
  sql: Buffer = NOTHING;
  parameterTypes: number[] | null = null;
  redacted = false;
  /** Where this piece begins in a text of several events. */
  offset = 0;
}

/** Reads fields one after the other from `start … end` of a buffer; never beyond `end`. */
class Fields {
  readonly bytes: Buffer;
  at: number;
  end: number;
  field = 0;
  wireType = 0;

  constructor(bytes: Buffer, start: number, end: number) {
    this.bytes = bytes;
    this.at = start;
    this.end = end;
  }

  /** Moves to the next field; `false` at the end. Its value must then be read or skipped. */
  next(): boolean {
    if (this.at >= this.end) return false;
    const tag = this.varint();
    this.field = Math.floor(tag / 8);
    this.wireType = tag & 7;
    return true;
  }

  /** Values from 2^53 on come back as the largest safe integer: no column holds more. */
  varint(): number {
    const { bytes } = this;
    let value = 0;
    let scale = 1;
    for (let i = 0; i < 10; i++) {
      if (this.at >= this.end) throw malformed();
      const byte = bytes[this.at++];
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value > Number.MAX_SAFE_INTEGER ? Number.MAX_SAFE_INTEGER : value;
      scale *= 128;
    }
    throw malformed();
  }

  /** The end of a length-delimited value that starts at `at`. */
  delimited(): number {
    if (this.wireType !== 2) throw malformed();
    const length = this.varint();
    const end = this.at + length;
    if (end > this.end) throw malformed();
    return end;
  }

  view(): Buffer {
    const end = this.delimited();
    const view = this.bytes.subarray(this.at, end);
    this.at = end;
    return view;
  }

  number(): number {
    if (this.wireType !== 0) throw malformed();
    return this.varint();
  }

  skip(): void {
    if (this.wireType === 0) this.varint();
    else if (this.wireType === 2) this.at = this.delimited();
    else {
      this.at += this.wireType === 1 ? 8 : this.wireType === 5 ? 4 : this.end + 1;
      if (this.at > this.end) throw malformed();
    }
  }

  /** `repeated uint32`: packed, or one at a time as older encoders write it. */
  numbers(into: number[] | null): number[] {
    const all = into ?? [];
    if (this.wireType === 0) all.push(this.varint());
    else {
      const packed = new Fields(this.bytes, 0, 0);
      packed.end = this.delimited();
      packed.at = this.at;
      while (packed.at < packed.end) all.push(packed.varint());
      this.at = packed.end;
    }
    return all;
  }
}

/**
 * Calls `receive` for every event of a block from position `fromSeq` on, in order; returns how many the block has in all. An event that cannot be decoded is given with body
 * {@link UNDECODABLE}: it must not stop those behind it. Throws `corrupt` when the payload is not what it should be.
 */
export function scanBlock(
  { payload, index, firstSeq }: JournalBlock,
  fromSeq: number,
  receive: (event: ScannedEvent) => void,
): number {
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
  const frames = new Fields(bytes, 0, bytes.length);
  frames.wireType = 2;
  let seq = firstSeq;
  while (frames.at < bytes.length) {
    const end = frames.delimited();
    if (seq >= fromSeq) receive(scanEvent(bytes, frames.at, end, seq, index));
    frames.at = end;
    seq++;
  }
  return seq - firstSeq;
}

export const UNDECODABLE = -1;

export function scanEvent(
  bytes: Buffer,
  start: number,
  end: number,
  seq: number,
  block: number,
): ScannedEvent {
  const event = new ScannedEvent();
  event.seq = seq;
  event.block = block;
  event.bytes = bytes.subarray(start, end);
  try {
    scanInto(event, new Fields(bytes, start, end));
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    event.body = UNDECODABLE;
  }
  return event;
}

function scanInto(event: ScannedEvent, fields: Fields): void {
  let bodyStart = 0;
  let bodyEnd = 0;
  while (fields.next()) {
    if (fields.field === 1) event.atUs = fields.number();
    else if (fields.field === 2) {
      const end = fields.delimited();
      if (end - fields.at !== 16 && end !== fields.at) throw malformed();
      event.session = fields.bytes.toString('latin1', fields.at, end);
      fields.at = end;
    } else if (fields.field >= 10) {
      bodyEnd = fields.delimited();
      bodyStart = fields.at;
      event.body = fields.field;
      fields.at = bodyEnd;
    } else fields.skip();
  }
  // A session's event without a session would belong to nobody.
  if (event.session === '' && event.body >= BODY.sessionOpened && event.body <= BODY.serverMessage)
    if (event.body !== LOGIN_FAILED) throw malformed();
  if (event.body === BODY.statementStarted)
    event.started = scanStarted(new Fields(fields.bytes, bodyStart, bodyEnd));
  else if (event.body === BODY.statementFinished)
    event.finished = scanFinished(new Fields(fields.bytes, bodyStart, bodyEnd));
  else if (event.body === BODY.textDeclared)
    event.text = scanText(new Fields(fields.bytes, bodyStart, bodyEnd));
}

function scanStarted(fields: Fields): ScannedStarted {
  const started = new ScannedStarted();
  while (fields.next()) {
    switch (fields.field) {
      case 1:
        started.ordinal = fields.number();
        break;
      case 2:
        started.kind = fields.number();
        break;
      case 3:
        started.sql = fields.view();
        break;
      case 4:
        started.textRef = fields.number();
        break;
      case 5:
        (started.parameters ??= []).push(fields.view());
        break;
      case 6:
        started.bind = fields.view();
        break;
      case 7:
        started.parameterTypes = fields.numbers(started.parameterTypes);
        break;
      case 9:
        started.redacted = fields.number() !== 0;
        break;
      case 11:
        started.decision = fields.number();
        break;
      case 15:
        started.transactionStatus = fields.view()[0] ?? 0;
        break;
      default:
        fields.skip();
    }
  }
  return started;
}

function scanFinished(fields: Fields): ScannedFinished {
  const finished = new ScannedFinished();
  while (fields.next()) {
    switch (fields.field) {
      case 1:
        finished.ordinal = fields.number();
        break;
      case 2:
        finished.tag = fields.view();
        break;
      case 3:
        finished.rows = fields.number();
        break;
      case 4:
        finished.bytes = fields.number();
        break;
      case 5:
        finished.durationUs = fields.number();
        break;
      case 6:
        finished.firstRowUs = fields.number();
        break;
      case 7:
        scanError(fields, finished);
        break;
      case 9:
        finished.xid = fields.number();
        break;
      case 11:
        finished.truncated = fields.number() !== 0;
        break;
      case 12:
        finished.outcome = fields.number();
        break;
      case 13:
        finished.actualSql = fields.view();
        break;
      default:
        fields.skip();
    }
  }
  return finished;
}

function scanError(outer: Fields, finished: ScannedFinished): void {
  const end = outer.delimited();
  const fields = new Fields(outer.bytes, outer.at, end);
  finished.failed = true;
  while (fields.next()) {
    if (fields.field === 2) finished.errorCode = fields.view();
    else if (fields.field === 3) finished.errorMessage = fields.view();
    else if (fields.field === 7) finished.errorNumber = fields.number();
    else fields.skip();
  }
  outer.at = end;
}

function scanText(fields: Fields): ScannedText {
  const text = new ScannedText();
  while (fields.next()) {
    if (fields.field === 1) text.ref = fields.number();
    else if (fields.field === 2) text.sql = fields.view();
    else if (fields.field === 3) text.parameterTypes = fields.numbers(text.parameterTypes);
    else if (fields.field === 5) text.redacted = fields.number() !== 0;
    else if (fields.field === 6) text.offset = fields.number();
    else fields.skip();
  }
  return text;
}

function malformed(): AppError {
  return new AppError('corrupt', 'STORE_EVENT_MALFORMED', 'an event of the journal is not valid protobuf');
}
