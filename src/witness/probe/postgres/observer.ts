/**
 * Records of PostgreSQL's backends → events. A backend is a process with one session; everything of it comes in order.
 *
 *   PG_SESSION ─ PG_READY ────────────────▶ session opened          PG_ERROR before PG_READY ──▶ log-in failed
 *   PG_PARAMETER* ─ PG_STATEMENT ─ TEXT* ─▶ one observation         PG_TRANSACTION ──▶ transaction ended
 *   PG_STATEMENT limited … EndCommand ────▶ one observation, or "suspended" when something else came first (where the
 *                                           binary does not show the place that says PortalSuspended)
 */
import { Engine, ObservedSession_Kind } from '../../../model/events.ts';
import { peerAddress, serverEnd } from '../addresses.ts';
import { ObservationRecord, type ParameterFields, SessionBytes } from '../event-writer.ts';
import { MAX_RECORDED_BYTES, MAX_SESSIONS, type Observer, type ObserverContext } from '../observer.ts';
import { type ProcessFacts, processFacts } from '../processes.ts';
import { fieldAt, FLAG, PG_TEXT_AT, RECORD, u16At, u32At, u64At } from '../records.ts';
import { withoutQuotes } from '../redaction.ts';
import { PendingText } from '../texts.ts';
import { POSTGRES_EPOCH_US, readBackend } from './backend.ts';
import type { PostgresBinary } from './binary.ts';
import { readParameter } from './parameters.ts';

/** Tags whose completion names a number of rows; INSERT has an object id before it, always 0 now. */
const COUNTED = new Set(['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'MERGE', 'FETCH', 'MOVE', 'COPY']);
const NO_TEXT = Buffer.alloc(0);
const SEMICOLON = 0x3b;

/** A statement record, decoded, while its text or its end is waited for. */
interface Statement {
  readonly atNs: number;
  readonly startedNs: number;
  readonly messageUs: number;
  readonly lsn: number;
  readonly xid: number;
  readonly index: number;
  readonly flags: number;
  readonly tag: string;
  readonly rows: number;
  readonly error: { severity: string; code: string; message: string; number: number } | null;
}

interface Backend {
  session: SessionBytes;
  readonly wanted: boolean;
  /** Announced as opened or found. */
  open: boolean;
  parameters: ParameterFields[];
  pending: PendingText<Statement> | null;
  /** A run with a row limit that has not ended yet. */
  limited: { statement: Statement; text: Buffer; total: number } | null;
  closing: string;
  /** Not among the processes at the last look. */
  missed: boolean;
}

export class PostgresObserver implements Observer {
  readonly #context: ObserverContext;
  readonly #binary: PostgresBinary;
  readonly #backends = new Map<number, Backend>();
  /** Processes that serve no client: the postmaster, its workers. */
  readonly #others = new Set<number>();
  /** Seen at the last look for the first time. */
  readonly #newcomers = new Set<number>();
  #looked = false;
  readonly #record = new ObservationRecord();

  constructor(context: ObserverContext, binary: PostgresBinary) {
    this.#context = context;
    this.#binary = binary;
  }

  handle(type: number, data: Buffer, at: number): void {
    const pid = u32At(data, at + 4);
    if (type === RECORD.pgSession) return this.#begin(pid, data, at);
    const backend = this.#backends.get(pid) ?? (type === RECORD.pgExit ? undefined : this.#meet(pid));
    if (backend === undefined) return;
    if (backend.pending !== null) {
      if (type === RECORD.text || type === RECORD.textEnd) {
        if (backend.pending.add(type, data, at)) this.#whole(backend, backend.pending);
        return;
      }
      this.#whole(backend, backend.pending);
    }
    switch (type) {
      case RECORD.pgStatement:
        return this.#statement(backend, data, at);
      case RECORD.pgError:
        return this.#error(pid, backend, data, at);
      case RECORD.pgParameter:
        if (u32At(data, at + 24) === 0) backend.parameters = [];
        backend.parameters.push(readParameter(data, at));
        return;
      case RECORD.pgReady:
        backend.session = backend.session.with({ application: fieldAt(data, at + 24, 64) });
        return this.#announce(backend, u64At(data, at + 16), ObservedSession_Kind.OPENED);
      case RECORD.pgApplication:
        backend.session = backend.session.with({ application: fieldAt(data, at + 24, 64) });
        return;
      case RECORD.pgTransaction:
        return this.#transaction(backend, data, at);
      case RECORD.pgExit:
        return this.#end(pid, backend, u64At(data, at + 16), '');
      default:
    }
  }

  processes(pids: readonly number[]): void {
    const alive = new Set(pids);
    // What a process did last may still be in the ring: it is gone when it was gone at the look before, too.
    for (const [pid, backend] of this.#backends) {
      if (alive.has(pid)) backend.missed = false;
      else if (backend.missed) this.#end(pid, backend, 0, 'the process ended without saying so');
      else backend.missed = true;
    }
    for (const pid of this.#others) if (!alive.has(pid)) this.#others.delete(pid);
    for (const pid of this.#newcomers) if (!alive.has(pid)) this.#newcomers.delete(pid);
    for (const pid of pids) {
      if (this.#backends.has(pid) || this.#others.has(pid)) continue;
      // Whoever logs in just now says so itself before the next look. At the first look everybody was there before.
      if (this.#looked && !this.#newcomers.delete(pid)) this.#newcomers.add(pid);
      else this.#meet(pid, true);
    }
    this.#looked = true;
  }

  flush(): void {
    for (const backend of this.#backends.values()) {
      if (backend.pending !== null) this.#whole(backend, backend.pending);
      this.#suspend(backend);
    }
  }

  /** A log-in begins. */
  #begin(pid: number, data: Buffer, at: number): void {
    const before = this.#backends.get(pid);
    const startedUs = u64At(data, at + 184);
    if (before !== undefined) {
      // Met at the first look while it logged in: it is known already.
      const { backendStartedUs } = before.session.facts;
      if (before.open && startedUs !== 0 && backendStartedUs === startedUs + POSTGRES_EPOCH_US) return;
      this.#end(pid, before, u64At(data, at + 16), 'the process id was used again');
    }
    const facts = {
      database: fieldAt(data, at + 56, 64),
      user: fieldAt(data, at + 120, 64),
      ...peerAddress(data, at + 24),
      ...serverEnd(data, at + 192),
      application: '',
      startedUs: startedUs === 0 ? 0 : startedUs + POSTGRES_EPOCH_US,
    };
    this.#add(pid, processFacts(pid), facts, u32At(data, at + 224));
  }

  /** A backend that was there before us. `clientsOnly`: a process that serves nobody is not remembered. */
  #meet(pid: number, clientsOnly = false): Backend | undefined {
    const facts = readBackend(pid, this.#context.elf, this.#binary);
    if (facts === null && clientsOnly) {
      this.#others.add(pid);
      return undefined;
    }
    const backend = this.#add(pid, processFacts(pid), facts);
    if (facts !== null) this.#announce(backend, 0, ObservedSession_Kind.FOUND);
    return backend;
  }

  /** `postmaster`: of its server, where the backend itself may be gone already; 0 unknown. */
  #add(
    pid: number,
    process: ProcessFacts | null,
    facts: ReturnType<typeof readBackend>,
    postmaster = 0,
  ): Backend {
    const oldest = this.#backends.size >= MAX_SESSIONS ? this.#backends.entries().next().value : undefined;
    if (oldest !== undefined) this.#end(oldest[0], oldest[1], 0, 'too many sessions');
    const { serverUidOf, wants } = this.#context;
    const backend: Backend = {
      session: new SessionBytes({
        engine: Engine.POSTGRES,
        serverUid: (postmaster === 0 ? '' : serverUidOf(postmaster)) || serverUidOf(pid),
        backendId: String(pid),
        backendStartedUs: facts?.startedUs || Math.round(process?.startedUs ?? 0),
        database: facts?.database ?? '',
        user: facts?.user ?? '',
        address: facts?.address ?? '',
        port: facts?.port ?? 0,
        serverAddress: facts?.serverAddress ?? '',
        serverPort: facts?.serverPort ?? 0,
        application: facts?.application ?? '',
        pid,
        processName: process?.name ?? 'postgres',
      }),
      wanted: process === null || wants(process),
      open: false,
      parameters: [],
      pending: null,
      limited: null,
      closing: '',
      missed: false,
    };
    this.#backends.set(pid, backend);
    return backend;
  }

  #announce(backend: Backend, atNs: number, kind: ObservedSession_Kind): void {
    if (backend.open || !backend.wanted) return;
    backend.open = true;
    this.#context.out.session(this.#timeOf(atNs), backend.session, kind);
  }

  #timeOf(atNs: number): number {
    return atNs === 0 ? this.#context.times.nowUs() : this.#context.times.wallUs(atNs);
  }

  #end(pid: number, backend: Backend, atNs: number, detail: string): void {
    if (backend.pending !== null) this.#whole(backend, backend.pending);
    this.#suspend(backend);
    if (backend.open)
      this.#context.out.session(
        this.#timeOf(atNs),
        backend.session,
        ObservedSession_Kind.CLOSED,
        backend.closing || detail,
      );
    this.#backends.delete(pid);
  }

  #transaction(backend: Backend, data: Buffer, at: number): void {
    if (!backend.wanted) return;
    const { times, out } = this.#context;
    const atUs = times.wallUs(u64At(data, at + 16));
    const aborted = u64At(data, at + 48) === 0;
    const endedUs = u64At(data, at + 40);
    const ended = endedUs === 0 ? atUs : endedUs + POSTGRES_EPOCH_US;
    out.transactionEnded(atUs, backend.session, u64At(data, at + 24), u64At(data, at + 32), aborted, ended);
  }

  #statement(backend: Backend, data: Buffer, at: number): void {
    const statement = this.#decode(data, at, null);
    const beginning = data.subarray(at + PG_TEXT_AT, at + PG_TEXT_AT + u32At(data, at + 12));
    if ((statement.flags & FLAG.moreText) !== 0) backend.pending = new PendingText(statement, beginning, 0);
    else this.#complete(backend, statement, beginning, beginning.length);
  }

  #error(pid: number, backend: Backend, data: Buffer, at: number): void {
    const error = {
      severity: fieldAt(data, at + 88, 8),
      code: fieldAt(data, at + 96, 8),
      message: fieldAt(data, at + 104, 512),
      number: 0,
    };
    const statement = this.#decode(data, at, error);
    const fatal = error.severity !== 'ERROR';
    if (u64At(data, at + 56) !== 0) {
      // Before PG_READY: nobody was let in.
      const reason = `${error.code} ${withoutQuotes(error.message, false)}`;
      if (backend.wanted)
        this.#context.out.loginFailed(this.#timeOf(statement.atNs), backend.session, reason);
      this.#backends.delete(pid);
      return;
    }
    if (fatal) backend.closing = `${error.severity} ${error.code} ${withoutQuotes(error.message, false)}`;
    if ((statement.flags & FLAG.moreText) !== 0) backend.pending = new PendingText(statement, NO_TEXT, 0);
  }

  #decode(data: Buffer, at: number, error: Statement['error']): Statement {
    const old = this.#binary.major < 13;
    const ended = error === null && (data[at + 54] & FLAG.limited) === 0;
    const tag = !ended
      ? ''
      : old
        ? fieldAt(data, at + 56, 32)
        : this.#tag(u32At(data, at + 56), u64At(data, at + 64));
    return {
      atNs: u64At(data, at + 16),
      startedNs: u64At(data, at + 24),
      messageUs: u64At(data, at + 32),
      lsn: u64At(data, at + 40),
      xid: u32At(data, at + 48),
      index: u16At(data, at + 52),
      flags: data[at + 54],
      tag,
      rows: !ended ? 0 : old ? Number(/(\d+)$/.exec(tag)?.[1] ?? 0) : u64At(data, at + 64),
      error,
    };
  }

  #tag(number: number, rows: number): string {
    const name = this.#binary.tags[number] ?? '';
    if (!COUNTED.has(name)) return name;
    return name === 'INSERT' ? `INSERT 0 ${rows}` : `${name} ${rows}`;
  }

  #whole(backend: Backend, pending: PendingText<Statement>): void {
    backend.pending = null;
    const text = pending.text();
    this.#complete(backend, pending.statement, text, pending.complete ? text.length : pending.total);
  }

  /** A statement with as much of its text as there will be. `total` 0: its length is not known. */
  #complete(backend: Backend, statement: Statement, text: Buffer, total: number): void {
    if ((statement.flags & FLAG.limited) !== 0) {
      this.#suspend(backend);
      backend.limited = { statement, text: Buffer.from(text), total };
      return;
    }
    // The same run: it came to its end. Another one: the limited one before it did not.
    if (backend.limited !== null) {
      if (statement.startedNs === backend.limited.statement.startedNs) backend.limited = null;
      else this.#suspend(backend);
    }
    this.#write(backend, statement, text, total, (statement.flags & FLAG.suspended) !== 0);
  }

  #suspend(backend: Backend): void {
    const { limited } = backend;
    if (limited === null) return;
    backend.limited = null;
    this.#write(backend, limited.statement, limited.text, limited.total, true);
  }

  #write(backend: Backend, statement: Statement, text: Buffer, total: number, suspended: boolean): void {
    if (!backend.wanted) return;
    const { out, times, dialects } = this.#context;
    const record = this.#record;
    record.atUs = times.wallUs(statement.atNs);
    // The first statement of a message starts when the server took the message up, as statement_timestamp() says.
    const runUs = statement.startedNs === 0 ? 0 : times.wallUs(statement.startedNs);
    const messageUs = statement.messageUs === 0 ? 0 : statement.messageUs + POSTGRES_EPOCH_US;
    record.startedUs = (statement.index === 0 ? messageUs : runUs) || runUs || messageUs || record.atUs;
    if ((statement.flags & FLAG.limited) === 0)
      record.durationUs = Math.max(0, record.atUs - record.startedUs);
    const [start, end] = this.#span(statement, text);
    const { text: shown, redacted } = dialects.postgres.redactSecrets(text, start, end);
    record.sql = shown.length > MAX_RECORDED_BYTES ? shown.subarray(0, MAX_RECORDED_BYTES) : shown;
    record.cut = total !== text.length || record.sql !== shown;
    record.sqlBytes = record.cut ? total : end - start;
    record.redacted = redacted;
    record.rows = COUNTED.has(statement.tag.split(' ', 1)[0] ?? '') ? statement.rows : 0;
    record.tag = suspended ? '' : statement.tag;
    record.xid = statement.xid;
    record.lsn = statement.lsn;
    record.place = statement.index;
    record.suspended = suspended;
    if ((statement.flags & FLAG.parameters) !== 0 && !redacted) record.parameters = backend.parameters;
    if (statement.error !== null) {
      const { error } = statement;
      record.error = { ...error, message: withoutQuotes(error.message, redacted) };
    }
    out.observation(backend.session, record);
    record.reset();
  }

  /**
   * The statement's own part of its message: where a simple query holds several, each runs on its own and the server
   * knows one text for all. A failure before anything ran is one of the whole text.
   */
  #span(statement: Statement, text: Buffer): readonly [start: number, end: number] {
    const whole = [0, text.length] as const;
    const semicolon = text.indexOf(SEMICOLON);
    if (semicolon < 0 || semicolon === text.length - 1) return whole;
    const running = (statement.flags & FLAG.running) !== 0;
    if (statement.error !== null && !running && statement.index === 0) return whole;
    const spans = this.#context.dialects.postgres.split(text, 0, text.length);
    const span = spans.length > 1 ? spans[statement.index] : undefined;
    return span === undefined ? whole : [span.start, span.end];
  }
}
