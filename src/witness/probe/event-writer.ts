/**
 * What the probe saw, as events of the journal, encoded straight into one buffer: a batch. Each event is preceded by its
 * length (u32, little-endian). Whoever takes a batch appends the events, sends them, or prints them.
 *
 * What does not change between the statements of a session (Origin, user, database, address) is encoded once, in
 * {@link SessionBytes}, and copied.
 */
import { ByteWriter } from '../../base/bytes.ts';
import { closeMessage, openMessage, text } from '../../journal/encode-fields.ts';
import { Engine, Gap_Reason, Witness, type ObservedSession_Kind } from '../../model/events.ts';

/** Numbers of the `body` oneof of Event. */
const BODY = {
  loginFailed: 12,
  gap: 31,
  observation: 40,
  observedSession: 43,
  transactionEnded: 44,
  serverObserved: 45,
};
const NO_BYTES = Buffer.alloc(0);

/** Who a statement belongs to. Empty or 0: not known. */
export interface SessionFacts {
  readonly engine: Engine;
  readonly serverUid: string;
  readonly backendId: string;
  readonly backendStartedUs: number;
  readonly database: string;
  readonly user: string;
  readonly address: string;
  readonly port: number;
  /** The server's own end of the connection; empty for a Unix socket. */
  readonly serverAddress: string;
  readonly serverPort: number;
  readonly application: string;
  readonly pid: number;
  readonly processName: string;
}

/** The constant parts of a session's events. */
export class SessionBytes {
  readonly facts: SessionFacts;
  /** Event.origin. */
  readonly origin: Buffer;
  /** Observation 2–5, 18, 19, 27, 28. */
  readonly identity: Buffer;
  readonly database: Buffer;

  constructor(facts: SessionFacts) {
    this.facts = facts;
    this.origin = encoded((writer) => {
      const mark = openMessage(writer, 3);
      writer.uintField(1, Witness.PROBE);
      writer.uintField(2, facts.engine);
      text(writer, 3, facts.serverUid);
      text(writer, 4, facts.backendId);
      writer.uintField(5, facts.backendStartedUs);
      closeMessage(writer, mark);
    });
    this.identity = encoded((writer) => {
      text(writer, 2, facts.user);
      text(writer, 3, facts.address);
      writer.uintField(4, facts.port);
      text(writer, 5, facts.application);
      writer.uintField(18, facts.pid);
      text(writer, 19, facts.processName);
      text(writer, 27, facts.serverAddress);
      writer.uintField(28, facts.serverPort);
    });
    this.database = encoded((writer) => text(writer, 1, facts.database));
  }

  with(changes: Partial<SessionFacts>): SessionBytes {
    return new SessionBytes({ ...this.facts, ...changes });
  }
}

export interface ErrorFields {
  severity: string;
  code: string;
  message: string;
  number: number;
}

export interface ParameterFields {
  readonly type: number;
  readonly isNull: boolean;
  readonly value: Buffer;
  /** Full length. */
  readonly bytes: number;
}

/** One statement. Reused: filled, written, reset. */
export class ObservationRecord {
  atUs = 0;
  /** Another database than the session's; `null`: the session's own. */
  database: string | null = null;
  sql: Uint8Array = NO_BYTES;
  sqlBytes = 0;
  startedUs = 0;
  durationUs = 0;
  rows = 0;
  tag = '';
  error: ErrorFields | null = null;
  xid = 0;
  lsn = 0;
  queryId = 0;
  parameters: readonly ParameterFields[] = [];
  redacted = false;
  returnValue = 0;
  affectedRows = 0;
  lastInsertId = 0;
  command = '';
  place = 0;
  suspended = false;
  cut = false;

  reset(): void {
    this.atUs = 0;
    this.database = null;
    this.sql = NO_BYTES;
    this.sqlBytes = 0;
    this.startedUs = 0;
    this.durationUs = 0;
    this.rows = 0;
    this.tag = '';
    this.error = null;
    this.xid = 0;
    this.lsn = 0;
    this.queryId = 0;
    if (this.parameters.length > 0) this.parameters = [];
    this.redacted = false;
    this.returnValue = 0;
    this.affectedRows = 0;
    this.lastInsertId = 0;
    this.command = '';
    this.place = 0;
    this.suspended = false;
    this.cut = false;
  }
}

export interface ServerFacts {
  readonly engine: Engine;
  readonly serverUid: string;
  readonly program: string;
  readonly version: string;
  readonly buildId: string;
  readonly systemIdentifier: string;
  readonly pid: number;
  readonly dataDirectory: string;
  readonly container: string;
}

export class EventWriter {
  readonly #writer: ByteWriter;
  /** Events in the batch. */
  events = 0;

  constructor(initialBytes = 1024 * 1024) {
    this.#writer = new ByteWriter(initialBytes);
  }

  get bytes(): number {
    return this.#writer.length;
  }

  /** A copy of the batch, and an empty one instead. */
  take(): Uint8Array<ArrayBuffer> {
    const batch = new Uint8Array(this.#writer.view());
    this.#writer.reset();
    this.events = 0;
    return batch;
  }

  observation(session: SessionBytes, record: ObservationRecord): void {
    const writer = this.#writer;
    const start = this.#begin(record.atUs, session.origin);
    const body = openMessage(writer, BODY.observation);
    if (record.database === null) writer.raw(session.database);
    else text(writer, 1, record.database);
    writer.raw(session.identity);
    writer.bytesField(6, record.sql);
    writer.uintField(7, record.sqlBytes);
    writer.uintField(8, record.startedUs);
    writer.uintField(9, record.durationUs);
    writer.uintField(10, record.rows);
    text(writer, 11, record.tag);
    if (record.error !== null) statementError(writer, record.error);
    writer.uintField(13, record.xid);
    writer.uintField(14, record.lsn);
    writer.uintField(15, record.queryId);
    for (const one of record.parameters) parameter(writer, one);
    writer.boolField(17, record.redacted);
    intField(writer, 20, record.returnValue);
    writer.uintField(21, record.affectedRows);
    writer.uintField(22, record.lastInsertId);
    text(writer, 23, record.command);
    writer.uintField(24, record.place);
    writer.boolField(25, record.suspended);
    writer.boolField(26, record.cut);
    closeMessage(writer, body);
    this.#end(start);
  }

  session(atUs: number, session: SessionBytes, kind: ObservedSession_Kind, detail = ''): void {
    const writer = this.#writer;
    const { facts } = session;
    const start = this.#begin(atUs, session.origin);
    const body = openMessage(writer, BODY.observedSession);
    writer.uintField(1, kind);
    text(writer, 2, facts.database);
    text(writer, 3, facts.user);
    text(writer, 4, facts.address);
    writer.uintField(5, facts.port);
    text(writer, 6, facts.application);
    writer.uintField(7, facts.pid);
    text(writer, 8, facts.processName);
    text(writer, 9, detail);
    text(writer, 10, facts.serverAddress);
    writer.uintField(11, facts.serverPort);
    closeMessage(writer, body);
    this.#end(start);
  }

  loginFailed(atUs: number, session: SessionBytes, reason: string): void {
    const writer = this.#writer;
    const { facts } = session;
    const start = this.#begin(atUs, NO_BYTES);
    const body = openMessage(writer, BODY.loginFailed);
    // The Origin of LoginFailed is its own field 1, and 3 in the Event: the same message.
    const { origin } = session;
    writer.tag(1, 2);
    writer.raw(origin, 1, origin.length);
    text(writer, 2, facts.user);
    text(writer, 3, facts.database);
    text(writer, 4, facts.address);
    writer.uintField(5, facts.port);
    text(writer, 6, reason);
    text(writer, 7, facts.application);
    closeMessage(writer, body);
    this.#end(start);
  }

  transactionEnded(
    atUs: number,
    session: SessionBytes,
    xid: number,
    lsn: number,
    aborted: boolean,
    endedUs: number,
  ): void {
    const writer = this.#writer;
    const start = this.#begin(atUs, session.origin);
    const body = openMessage(writer, BODY.transactionEnded);
    writer.uintField(1, xid);
    writer.uintField(2, lsn);
    writer.boolField(3, aborted);
    writer.uintField(4, endedUs);
    closeMessage(writer, body);
    this.#end(start);
  }

  server(atUs: number, server: ServerFacts, gone: boolean): void {
    const writer = this.#writer;
    const start = this.#begin(atUs, NO_BYTES);
    const origin = openMessage(writer, 3);
    writer.uintField(1, Witness.PROBE);
    writer.uintField(2, server.engine);
    text(writer, 3, server.serverUid);
    closeMessage(writer, origin);
    const body = openMessage(writer, BODY.serverObserved);
    text(writer, 1, server.program);
    text(writer, 2, server.version);
    text(writer, 3, server.buildId);
    text(writer, 4, server.systemIdentifier);
    writer.uintField(5, server.pid);
    text(writer, 6, server.dataDirectory);
    writer.boolField(7, gone);
    text(writer, 8, server.container);
    closeMessage(writer, body);
    this.#end(start);
  }

  gap(fromUs: number, untilUs: number, reason: Gap_Reason, lostEvents: number, detail: string): void {
    const writer = this.#writer;
    const start = this.#begin(untilUs, NO_BYTES);
    const body = openMessage(writer, BODY.gap);
    writer.uintField(1, Witness.PROBE);
    writer.uintField(2, reason);
    writer.uintField(3, fromUs);
    writer.uintField(4, untilUs);
    writer.uintField(5, lostEvents);
    text(writer, 7, detail);
    closeMessage(writer, body);
    this.#end(start);
  }

  #begin(atUs: number, origin: Buffer): number {
    const writer = this.#writer;
    writer.ensure(4);
    writer.length += 4;
    const start = writer.length;
    writer.uintField(1, atUs);
    writer.raw(origin);
    return start;
  }

  #end(start: number): void {
    this.#writer.bytes.writeUInt32LE(this.#writer.length - start, start - 4);
    this.events++;
  }
}

/** The events of a batch, as views. */
export function* eventsOf(batch: Uint8Array): Generator<Uint8Array> {
  const view = new DataView(batch.buffer, batch.byteOffset, batch.byteLength);
  for (let at = 0; at + 4 <= batch.length; ) {
    const bytes = view.getUint32(at, true);
    yield batch.subarray(at + 4, at + 4 + bytes);
    at += 4 + bytes;
  }
}

function encoded(write: (writer: ByteWriter) => void): Buffer {
  const writer = new ByteWriter(256);
  write(writer);
  return writer.copy();
}

function statementError(writer: ByteWriter, error: ErrorFields): void {
  const mark = openMessage(writer, 12);
  text(writer, 1, error.severity);
  text(writer, 2, error.code);
  text(writer, 3, error.message);
  writer.uintField(7, error.number);
  closeMessage(writer, mark);
}

function parameter(writer: ByteWriter, { type, isNull, value, bytes }: ParameterFields): void {
  const mark = openMessage(writer, 16);
  writer.uintField(1, type);
  writer.boolField(3, isNull);
  writer.bytesField(4, value);
  if (bytes !== value.length) writer.uintField(5, bytes);
  closeMessage(writer, mark);
}

/** An int32 field: negative numbers have ten bytes, sign-extended (protobuf encoding, "Signed Integers"). */
function intField(writer: ByteWriter, field: number, value: number): void {
  if (value >= 0) {
    writer.uintField(field, value);
    return;
  }
  writer.tag(field, 0);
  let low = value;
  for (let i = 0; i < 9; i++) {
    writer.u8((low & 0x7f) | 0x80);
    low >>= 7;
  }
  writer.u8(1);
}
