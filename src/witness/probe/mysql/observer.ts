/**
 * Records of a MySQL or MariaDB server's threads → events. A thread serves one connection at a time; what belongs
 * together comes in order on its thread:
 *
 *   MY_MESSAGE? ─ MY_SESSION? ─ MY_STATEMENT ─ TEXT* ─ … ─ MY_RETURN ──▶ one observation per statement of the packet
 *   MY_HANDSHAKE? ─ MY_LOGIN ──▶ session opened, changed, or log-in failed      MY_EXIT ──▶ session closed
 */
import { Engine, ObservedSession_Kind } from '../../../model/events.ts';
import type { SqlDialect } from '../../../sql/dialect.ts';
import { connectionOf, serverEndOf } from '../addresses.ts';
import { type ErrorFields, ObservationRecord, SessionBytes } from '../event-writer.ts';
import { MAX_RECORDED_BYTES, MAX_SESSIONS, type Observer, type ObserverContext } from '../observer.ts';
import { processFacts } from '../processes.ts';
import { fieldAt, FLAG, MY_TEXT_AT, RECORD, u16At, u32At, u64At } from '../records.ts';
import { withoutQuotes } from '../redaction.ts';
import { PendingText } from '../texts.ts';
import type { MysqlBinary } from './binary.ts';
import { ConnectionParameters } from './parameters.ts';
import { applicationName } from './handshake.ts';
import { COMMANDS, NOT_CAPTURED, returnValue } from './commands.ts';

interface Statement {
  readonly connection: Connection;
  atNs: number;
  readonly startedNs: number;
  readonly queryId: number;
  readonly rows: number;
  affected: number;
  insertId: number;
  readonly total: number;
  readonly command: number;
  readonly index: number;
  readonly database: string;
  /** Recorded when it began: everything else comes with the return. */
  readonly begins: boolean;
  error: ErrorFields | null;
  text: Buffer;
}

interface Connection {
  session: SessionBytes;
  open: boolean;
  /** Where they are asked for, from the first prepared execution on. */
  parameters: ConnectionParameters | null;
}

interface Thread {
  pending: PendingText<Statement> | null;
  /** The packet's last statement, until its return value is known. */
  last: Statement | null;
  message: string;
  /** Of the log-in under way. */
  application: string;
}

interface Process {
  readonly wanted: boolean;
  readonly name: string;
  readonly connections: Map<number, Connection>;
  readonly threads: Map<number, Thread>;
  /** Not among the processes at the last look. */
  missed: boolean;
}

const MAX_THREADS = 65_536;

export class MysqlObserver implements Observer {
  readonly #context: ObserverContext;
  readonly #binary: MysqlBinary;
  readonly #dialect: SqlDialect;
  readonly #processes = new Map<number, Process>();
  readonly #record = new ObservationRecord();

  constructor(context: ObserverContext, binary: MysqlBinary) {
    this.#context = context;
    this.#binary = binary;
    this.#dialect = context.dialects[binary.engine];
  }

  handle(type: number, data: Buffer, at: number): void {
    const pid = u32At(data, at + 4);
    const process = this.#processes.get(pid) ?? this.#meet(pid);
    if (!process.wanted) return;
    const thread = this.#thread(process, u32At(data, at + 8));
    if (thread.pending !== null) {
      if (type === RECORD.text) {
        if (thread.pending.add(type, data, at)) this.#whole(thread, thread.pending);
        return;
      }
      this.#whole(thread, thread.pending);
    }
    switch (type) {
      case RECORD.myStatement:
        return this.#statement(pid, process, thread, data, at);
      case RECORD.myReturn:
        return this.#return(thread, data, at);
      case RECORD.myMessage:
        thread.message = fieldAt(data, at + 24, 512);
        return;
      case RECORD.myPacket: {
        // What is not ended now, lost its return: these are not its parameters.
        this.#finish(thread, NOT_CAPTURED);
        const connection = this.#connection(pid, process, u64At(data, at + 24));
        connection.parameters ??= new ConnectionParameters();
        const packet = data.subarray(at + 40, at + 40 + u32At(data, at + 12));
        return connection.parameters.packet(u32At(data, at + 32), packet, u32At(data, at + 36));
      }
      case RECORD.mySession:
        return this.#session(pid, process, data, at);
      case RECORD.myHandshake:
        thread.application = applicationName(
          data.subarray(at + 32, at + 32 + u32At(data, at + 12)),
          u32At(data, at + 24) !== 0,
        );
        return;
      case RECORD.myLogin:
        return this.#login(pid, process, thread, data, at);
      case RECORD.myExit:
        return this.#exit(process, u64At(data, at + 24), u64At(data, at + 16));
      default:
    }
  }

  processes(pids: readonly number[]): void {
    const alive = new Set(pids);
    for (const [pid, process] of this.#processes) {
      const missed = process.missed;
      process.missed = !alive.has(pid);
      // What it did last may still be in the ring: it is gone when it was gone at the look before, too.
      if (!missed || alive.has(pid)) continue;
      this.#settle(process);
      for (const id of process.connections.keys()) this.#exit(process, id, 0, 'the server ended');
      this.#processes.delete(pid);
    }
    for (const pid of pids) if (!this.#processes.has(pid)) this.#meet(pid);
  }

  flush(): void {
    for (const process of this.#processes.values()) this.#settle(process);
  }

  #settle(process: Process): void {
    for (const thread of process.threads.values()) {
      if (thread.pending !== null) this.#whole(thread, thread.pending);
      this.#finish(thread, NOT_CAPTURED);
    }
  }

  #meet(pid: number): Process {
    const facts = processFacts(pid);
    const process: Process = {
      wanted: facts === null || this.#context.wants(facts),
      name: facts?.name ?? this.#binary.engine,
      connections: new Map(),
      threads: new Map(),
      missed: false,
    };
    this.#processes.set(pid, process);
    return process;
  }

  #thread(process: Process, tid: number): Thread {
    let thread = process.threads.get(tid);
    if (thread === undefined) {
      if (process.threads.size >= MAX_THREADS) this.#forgetThreads(process);
      thread = { pending: null, last: null, message: '', application: '' };
      process.threads.set(tid, thread);
    }
    return thread;
  }

  // Threads end without saying so; what is left of a busy server's life is dropped all at once.
  #forgetThreads(process: Process): void {
    this.#settle(process);
    process.threads.clear();
  }

  #connection(pid: number, process: Process, id: number): Connection {
    let connection = process.connections.get(id);
    if (connection === undefined) {
      const oldest =
        process.connections.size >= MAX_SESSIONS ? process.connections.keys().next().value : undefined;
      if (oldest !== undefined) this.#exit(process, oldest, 0, 'too many sessions');
      connection = {
        open: false,
        parameters: null,
        session: new SessionBytes({
          engine: this.#binary.engine === 'mysql' ? Engine.MYSQL : Engine.MARIADB,
          serverUid: this.#context.serverUidOf(pid),
          backendId: String(id),
          backendStartedUs: 0,
          database: '',
          user: '',
          address: '',
          port: 0,
          serverAddress: '',
          serverPort: 0,
          application: '',
          pid,
          processName: process.name,
        }),
      };
      process.connections.set(id, connection);
    }
    return connection;
  }

  /** Who a connection is that was not seen to log in, or that changed. */
  #session(pid: number, process: Process, data: Buffer, at: number): void {
    const connection = this.#connection(pid, process, u64At(data, at + 24));
    const [user, host, ip] = [
      fieldAt(data, at + 32, 128),
      fieldAt(data, at + 160, 64),
      fieldAt(data, at + 224, 64),
    ];
    const address = clientAddress(ip, host);
    connection.session = connection.session.with({ user, address });
    if (connection.open) return;
    // It was there before us: its port is that of the socket it still has.
    connection.session = connection.session.with(connectionOf(pid, u32At(data, at + 288) | 0, address) ?? {});
    connection.open = true;
    this.#context.out.session(
      this.#timeOf(u64At(data, at + 16)),
      connection.session,
      ObservedSession_Kind.FOUND,
    );
  }

  #login(pid: number, process: Process, thread: Thread, data: Buffer, at: number): void {
    const { application } = thread;
    thread.application = '';
    const atUs = this.#timeOf(u64At(data, at + 16));
    const id = u64At(data, at + 24);
    const connection = this.#connection(pid, process, id);
    const [host, ip] = [fieldAt(data, at + 168, 64), fieldAt(data, at + 232, 64)];
    const address = clientAddress(ip, host);
    const port = u32At(data, at + 36) || connection.session.facts.port;
    const session = connection.session.with({
      user: fieldAt(data, at + 40, 128),
      address,
      ...(port === 0 ? {} : (serverEndOf(pid, address, port) ?? {})),
      database: fieldAt(data, at + 296, 64),
      application,
      port,
      ...(connection.open ? {} : { backendStartedUs: atUs }),
    });
    if (u32At(data, at + 32) !== 0) {
      this.#context.out.loginFailed(atUs, session, 'access denied');
      if (!connection.open) process.connections.delete(id);
      return;
    }
    const kind = connection.open ? ObservedSession_Kind.CHANGED : ObservedSession_Kind.OPENED;
    connection.session = session;
    connection.open = true;
    this.#context.out.session(atUs, session, kind);
  }

  #exit(process: Process, id: number, atNs: number, detail = ''): void {
    const connection = process.connections.get(id);
    if (connection === undefined) return;
    process.connections.delete(id);
    if (connection.open)
      this.#context.out.session(this.#timeOf(atNs), connection.session, ObservedSession_Kind.CLOSED, detail);
  }

  #timeOf(atNs: number): number {
    return atNs === 0 ? this.#context.times.nowUs() : this.#context.times.wallUs(atNs);
  }

  #statement(pid: number, process: Process, thread: Thread, data: Buffer, at: number): void {
    const index = u16At(data, at + 84);
    // The packet goes on: what it returns is said of its last statement. A first one: the return before was lost.
    this.#finish(thread, index > 0 ? 0 : NOT_CAPTURED);
    const number = u32At(data, at + 80);
    const begins = (data[at + 86] & FLAG.begins) !== 0;
    const { message } = thread;
    thread.message = '';
    const text = data.subarray(at + MY_TEXT_AT, at + MY_TEXT_AT + u32At(data, at + 12));
    const statement: Statement = {
      connection: this.#connection(pid, process, u64At(data, at + 32)),
      atNs: u64At(data, at + 16),
      startedNs: u64At(data, at + 24),
      queryId: begins ? 0 : u64At(data, at + 40),
      begins,
      // What the connection's last statement sent is still there when the next one begins.
      rows: begins ? 0 : u64At(data, at + 48),
      affected: u64At(data, at + 56),
      insertId: u64At(data, at + 64),
      total: u32At(data, at + 72),
      command: u32At(data, at + 76),
      index,
      database: fieldAt(data, at + 96, 64),
      error: number === 0 ? null : { severity: 'ERROR', code: fieldAt(data, at + 88, 8), message, number },
      text,
    };
    if (text.length < statement.total) {
      thread.pending = new PendingText(statement, text, statement.total);
      return;
    }
    statement.text = Buffer.from(text);
    thread.last = statement;
  }

  #whole(thread: Thread, pending: PendingText<Statement>): void {
    thread.pending = null;
    pending.statement.text = pending.text();
    thread.last = pending.statement;
  }

  /** The command's end: with what came after the record of its last statement. */
  #return(thread: Thread, data: Buffer, at: number): void {
    const { last, message } = thread;
    thread.message = '';
    if (last !== null) {
      const number = u32At(data, at + 48);
      if (last.begins) last.atNs = u64At(data, at + 16);
      last.affected ||= u64At(data, at + 32);
      last.insertId ||= u64At(data, at + 40);
      if (number !== 0)
        last.error ??= { severity: 'ERROR', code: fieldAt(data, at + 52, 8), message, number };
    }
    this.#finish(thread, returnValue(u32At(data, at + 24), this.#binary.engine, this.#binary.major));
  }

  #finish(thread: Thread, returned: number): void {
    const { last } = thread;
    if (last === null) return;
    thread.last = null;
    const command = COMMANDS[last.command];
    if (command !== undefined) this.#write(last, command, returned);
  }

  #write(statement: Statement, command: string, returned: number): void {
    const { out, times } = this.#context;
    const record = this.#record;
    const { text, redacted } = this.#dialect.redactSecrets(statement.text, 0, statement.text.length);
    record.atUs = times.wallUs(statement.atNs);
    record.startedUs = times.wallUs(statement.startedNs);
    record.durationUs = Math.max(0, record.atUs - record.startedUs);
    record.database = statement.database;
    record.sql = text.length > MAX_RECORDED_BYTES ? text.subarray(0, MAX_RECORDED_BYTES) : text;
    record.sqlBytes = statement.total;
    record.cut = statement.text.length !== statement.total || record.sql !== text;
    record.redacted = redacted;
    record.rows = statement.rows;
    record.affectedRows = statement.affected;
    record.lastInsertId = statement.insertId;
    record.queryId = statement.queryId;
    record.command = command;
    record.place = statement.index;
    record.returnValue = returned;
    const { parameters } = statement.connection;
    if (parameters !== null && command === 'stmt_execute') {
      const values = parameters.take(statement.text);
      if (!redacted) record.parameters = values;
    }
    if (statement.error !== null) {
      const { error } = statement;
      record.error = { ...error, message: withoutQuotes(error.message, redacted) };
    }
    out.observation(statement.connection.session, record);
    record.reset();
  }
}

/** MySQL knows a local client by its host name only. */
function clientAddress(ip: string, host: string): string {
  if (ip !== '') return ip;
  return host === 'localhost' || host === '' ? '[local]' : host;
}
