/**
 * How a probe hands its batches to a dbwitness, over a Unix socket or mutual TLS. Little-endian.
 *
 *   probe ─▶ "DBWP" · u32 version (1) · 16 bytes: uid of this run of the probe
 *         ◀─ "DBWP" · u32 version (1) · u32 number of the last batch of this run that was taken (0: none)
 *   probe ─▶ u32 number (from 1) · u32 bytes · the batch          … as many as it likes
 *         ◀─ u32 number: this batch and all before it are on stable storage
 *
 * A probe that lost its connection sends again what was not acknowledged; what had been taken is skipped by its number,
 * so that every event is recorded once. A receiver closes a connection that does not keep to this.
 */
import { AppError } from '../../base/errors.ts';
import { limits } from '../../base/limits.ts';

export const GREETING_BYTES = 24;
export const ANSWER_BYTES = 12;
export const BATCH_HEADER_BYTES = 8;
export const ACK_BYTES = 4;
const MAGIC = 0x50574244; // "DBWP"
const VERSION = 1;
/** One batch: the worker hands over at every turn, and one turn's worth is the ring at most. */
export const MAX_BATCH_BYTES = 256 * 1024 * 1024;

export function greeting(run: Uint8Array): Buffer {
  const bytes = Buffer.alloc(GREETING_BYTES);
  bytes.writeUInt32LE(MAGIC, 0);
  bytes.writeUInt32LE(VERSION, 4);
  bytes.set(run, 8);
  return bytes;
}

/** The run's uid, as hexadecimal. @throws AppError `protocol` */
export function readGreeting(bytes: Buffer): string {
  checkMagic(bytes);
  return bytes.toString('hex', 8, GREETING_BYTES);
}

export function answer(last: number): Buffer {
  const bytes = Buffer.alloc(ANSWER_BYTES);
  bytes.writeUInt32LE(MAGIC, 0);
  bytes.writeUInt32LE(VERSION, 4);
  bytes.writeUInt32LE(last, 8);
  return bytes;
}

/** @throws AppError `protocol` */
export function readAnswer(bytes: Buffer): number {
  checkMagic(bytes);
  return bytes.readUInt32LE(8);
}

export function batchHeader(number: number, bytes: number): Buffer {
  const header = Buffer.alloc(BATCH_HEADER_BYTES);
  header.writeUInt32LE(number, 0);
  header.writeUInt32LE(bytes, 4);
  return header;
}

function checkMagic(bytes: Buffer): void {
  if (bytes.readUInt32LE(0) !== MAGIC || bytes.readUInt32LE(4) !== VERSION)
    throw new AppError(
      'protocol',
      'PROBE_HANDOVER',
      'the other side does not speak this version of the probe’s protocol',
    );
}

/** What the journal takes (`JournalAppender.beginEvent`). */
const MAX_EVENT_BYTES = limits.maxEventBytes + 64 * 1024;

/** Body fields of Event that a probe may fill: observation, observed_session, transaction_ended, server_observed. */
const ALLOWED = new Set([40, 43, 44, 45]);
const BODY_LOGIN_FAILED = 12;
const BODY_GAP = 31;
const WITNESS_PROBE = 2;

/**
 * Checks that a batch holds events that a probe may say, and nothing else: whoever holds a probe's certificate must not
 * be able to write sessions, statements or control changes of others. Returns the number of events.
 *
 * @throws AppError `protocol`
 */
export function checkBatch(batch: Buffer): number {
  let events = 0;
  for (let at = 0; at < batch.length; events++) {
    if (at + 4 > batch.length) throw forged('an event without its length');
    const bytes = batch.readUInt32LE(at);
    if (bytes > MAX_EVENT_BYTES) throw forged(`an event of ${bytes} bytes`);
    const end = at + 4 + bytes;
    if (end > batch.length) throw forged('an event that is longer than its batch');
    checkEvent(batch, at + 4, end);
    at = end;
  }
  return events;
}

/** Event: 1 at_us, 3 origin, and one body. All but at_us are length-delimited. */
function checkEvent(batch: Buffer, start: number, end: number): void {
  const reader = new Fields(batch, start, end);
  let bodies = 0;
  while (reader.next()) {
    if (reader.field === 1 && reader.wireType === 0) continue;
    if (reader.wireType !== 2) throw forged(`field ${reader.field}`);
    if (reader.field === 3) checkWitness(batch, reader.from, reader.to);
    else if (reader.field === BODY_LOGIN_FAILED) {
      checkFirstMessage(batch, reader.from, reader.to);
      bodies++;
    } else if (reader.field === BODY_GAP) {
      checkWitness(batch, reader.from, reader.to);
      bodies++;
    } else if (ALLOWED.has(reader.field)) bodies++;
    else throw forged(`field ${reader.field}`);
  }
  if (bodies !== 1) throw forged(`${bodies} bodies`);
}

/** Field 1 of the message is the witness, and only this one. */
function checkWitness(batch: Buffer, from: number, to: number): void {
  const reader = new Fields(batch, from, to);
  let seen = false;
  while (reader.next()) {
    if (reader.field !== 1) continue;
    if (reader.wireType !== 0 || reader.value !== WITNESS_PROBE) throw forged('another witness');
    seen = true;
  }
  if (!seen) throw forged('no witness');
}

/** LoginFailed: its field 1 is the Origin. */
function checkFirstMessage(batch: Buffer, from: number, to: number): void {
  const reader = new Fields(batch, from, to);
  let seen = false;
  while (reader.next()) {
    if (reader.field !== 1) continue;
    if (reader.wireType !== 2) throw forged('an origin');
    checkWitness(batch, reader.from, reader.to);
    seen = true;
  }
  if (!seen) throw forged('no origin');
}

/** The fields of a protobuf message, without their content. */
class Fields {
  readonly #bytes: Buffer;
  readonly #end: number;
  #at: number;
  field = 0;
  wireType = 0;
  value = 0;
  from = 0;
  to = 0;

  constructor(bytes: Buffer, at: number, end: number) {
    this.#bytes = bytes;
    this.#at = at;
    this.#end = end;
  }

  next(): boolean {
    if (this.#at >= this.#end) return false;
    const tag = this.#varint();
    this.field = Math.floor(tag / 8);
    this.wireType = tag & 7;
    if (this.wireType === 0) this.value = this.#varint();
    else if (this.wireType === 2) {
      const bytes = this.#varint();
      this.from = this.#at;
      this.to = this.#at + bytes;
      this.#at = this.to;
    } else if (this.wireType === 1) this.#at += 8;
    else if (this.wireType === 5) this.#at += 4;
    else throw forged(`wire type ${this.wireType}`);
    if (this.#at > this.#end) throw forged('a field that is longer than its event');
    return true;
  }

  #varint(): number {
    let value = 0;
    let scale = 1;
    for (let n = 0; n < 10; n++) {
      if (this.#at >= this.#end) throw forged('a number that does not end');
      const byte = this.#bytes[this.#at++];
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
      scale *= 128;
    }
    throw forged('a number of more than ten bytes');
  }
}

function forged(what: string): AppError {
  return new AppError(
    'protocol',
    'PROBE_FORGED',
    `a probe sent what it may not say: ${what}; the connection was closed`,
  );
}
