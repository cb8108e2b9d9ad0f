/**
 * One audited MySQL or MariaDB session: a client link, an upstream link, and between them everything that DESIGN.md's
 * rules ask for. `Frontend` handles what comes from the client, `Backend` what comes from the server; this class holds
 * what both need and what outlives a packet: the request queue, prepared statements, the grant, the end.
 *
 *   client ──▶ Frontend ──decide──▶ announce ──▶ queue ──▶ toUpstream ─┐
 *                          └─refuse─▶ local ─────┤head                 ├─ endTurn(): journal flushed, then sent
 *   client ◀── toClient ◀── outcome, rows ◀── Backend ◀── upstream ────┘
 *
 * Commands are answered one after the other, also where a client sends several at once. What we refuse waits in the queue
 * like the others and is answered by us when its turn comes.
 */
import { limits } from '../../../base/limits.ts';
import type { Permit } from '../../../model/access.ts';
import type { Redaction } from '../../../sql/dialect.ts';
import type { Link, LinkHandler } from '../../../transport/link.ts';
import { type Capabilities, MariadbCapability } from '../../../wire/mysql/protocol.ts';
import type { ErrPacket, OkView } from '../../../wire/mysql/responses.ts';
import type { GrantAccount } from '../ledger.ts';
import { Fifo } from '../fifo.ts';
import { type EndableSession, type EndKind, guarded, SessionEnding } from '../ending.ts';
import { FlowControl, PAUSE } from '../flow-control.ts';
import { type HoldableSession, HeldBackTurns } from '../held-back.ts';
import { Outbox } from '../outbox.ts';
import {
  type CloseReason,
  MAX_BIND_BYTES,
  Outcome,
  type SessionRecorder,
  StatementKind,
} from '../recorder.ts';
import type { EndReason, ProxySession } from '../registry.ts';
import { Traffic } from '../traffic.ts';
import { Backend } from './backend.ts';
import type { MysqlContext } from './context.ts';
import type { Connection, ConnectionIds } from './connections.ts';
import { FileTransfer } from './infile.ts';
import { Frontend, type WholeCommand } from './frontend.ts';
import { Gate } from './gate.ts';
import { MysqlRecords } from './records.ts';
import { errPacket, journalRefusal, type Refusal, refusalAtEnd } from './refusal.ts';
import { type InternalAnswer, Request, RequestKind } from './requests.ts';
import { SessionSettings, type StartSettings } from './settings.ts';
import { InFlight, type Prepared } from './statement.ts';
import { PreparedStatements } from './statements.ts';

export interface MysqlSessionParts {
  readonly context: MysqlContext;
  readonly permit: Permit;
  readonly account: GrantAccount;
  readonly credentialUid: string;
  readonly recorder: SessionRecorder;
  readonly client: Link;
  readonly upstream: Link;
  /** What was agreed with each side; they differ in session tracking only. */
  readonly clientCapabilities: Capabilities;
  readonly upstreamCapabilities: Capabilities;
  readonly start: StartSettings;
  readonly connection: Connection;
  readonly connections: ConnectionIds;
  /** Ends what runs upstream, over a connection of its own. */
  readonly cancelUpstream: () => void;
  /** COM_CHANGE_USER: the client link is free for another log-in. */
  readonly changeUser: (payload: Buffer) => void;
  /** Called once when both sides are done with. */
  readonly onClosed: () => void;
}

export class MysqlSession implements ProxySession, HoldableSession, EndableSession<Refusal> {
  readonly permit: Permit;
  readonly account: GrantAccount;
  readonly context: MysqlContext;
  readonly recorder: SessionRecorder;
  readonly records: MysqlRecords;
  readonly queue = new Fifo<Request>();
  readonly statements = new PreparedStatements();
  readonly toUpstream: Outbox;
  readonly toClient: Outbox;
  readonly gate: Gate;
  readonly flow: FlowControl;
  readonly file: FileTransfer;
  readonly settings: SessionSettings;
  readonly sql: MysqlContext['sql']['mysql'];
  readonly controlled: boolean;
  readonly readOnly: boolean;
  readonly maxStatementBytes: number;
  readonly maxChunkBytes: number;
  readonly maxBindBytes: number;
  readonly clientCapabilities: Capabilities;
  readonly upstreamCapabilities: Capabilities;
  /** Answers to executions may leave column definitions out. */
  readonly keepsColumns: boolean;
  readonly connection: Connection;
  readonly connections: ConnectionIds;
  /** Server status as last reported. */
  status: number;
  /** The client is not framed while one of its commands waits. */
  clientHeld = false;
  /** Nothing more is taken from either side. */
  closing = false;
  /** The client went on to another session of its own. */
  detached = false;
  announcedInTurn = false;
  outcomeInTurn = false;
  readonly traffic: Traffic;
  readonly #frontend: Frontend;
  readonly #backend: Backend;
  readonly #heldBack: HeldBackTurns;
  readonly #ending: SessionEnding<Refusal>;
  readonly #parts: MysqlSessionParts;
  readonly #whenIdle: (() => void)[] = [];
  #joinedTurn = 0;
  #nextOrdinal = 1;

  constructor(parts: MysqlSessionParts) {
    const { context, permit } = parts;
    this.#parts = parts;
    this.context = context;
    this.permit = permit;
    this.account = parts.account;
    this.recorder = parts.recorder;
    this.records = new MysqlRecords(parts.recorder, context.turn);
    this.controlled = permit.controls.length > 0;
    this.readOnly = permit.controls.includes('read_only');
    this.maxStatementBytes = context.maxStatementBytes;
    this.maxBindBytes = Math.min(permit.recording.captureParameterBytes, MAX_BIND_BYTES);
    this.maxChunkBytes = context.reactor.maxChunkBytes;
    this.clientCapabilities = parts.clientCapabilities;
    this.upstreamCapabilities = parts.upstreamCapabilities;
    this.keepsColumns = (parts.upstreamCapabilities.mariadb & MariadbCapability.CACHE_METADATA) !== 0;
    this.connection = parts.connection;
    this.connections = parts.connections;
    this.status = parts.start.status;
    this.sql = context.sql[parts.start.family];
    this.traffic = new Traffic(parts.account, context.metrics, (message) => this.end('quota', message));
    this.toClient = new Outbox(parts.client);
    this.toUpstream = new Outbox(parts.upstream);
    this.gate = new Gate(permit, parts.account, context.journal, context.turn);
    this.flow = new FlowControl(parts.client, parts.upstream);
    this.file = new FileTransfer(this);
    this.settings = new SessionSettings(this, parts.start);
    this.#frontend = new Frontend(this);
    this.#backend = new Backend(this);
    this.#heldBack = new HeldBackTurns(this);
    const onInternalError = context.onInternalError.bind(context);
    this.#ending = new SessionEnding(this, { ...parts, onInternalError }, this.#heldBack);
    parts.client.handler = this.#clientHandler();
    parts.upstream.handler = this.#upstreamHandler();
  }

  get uid(): string {
    return this.recorder.uid;
  }

  get credentialUid(): string {
    return this.#parts.credentialUid;
  }

  get turn(): MysqlContext['turn'] {
    return this.context.turn;
  }

  get clock(): MysqlContext['clock'] {
    return this.context.clock;
  }

  get journal(): MysqlContext['journal'] {
    return this.context.journal;
  }

  get busy(): boolean {
    return this.queue.size > 0 || (this.status & 1) !== 0;
  }

  get midMessage(): boolean {
    return this.#frontend.midMessage;
  }

  get awaitsAnswers(): boolean {
    return this.queue.size > 0;
  }

  get answersPartly(): boolean {
    return this.#backend.midMessage;
  }

  get backend(): Backend {
    return this.#backend;
  }

  #clientHandler(): LinkHandler {
    return {
      onBytes: guarded(this, this.#frontend),
      onDrain: () => {
        this.flow.resumeUpstream(PAUSE.backlog);
        this.flow.resumeClient(PAUSE.answers);
      },
      onEnd: () => {
        if (!this.closing) this.#ending.afterTurn(() => this.toUpstream.end());
      },
      onClose: () => this.#ending.clientClosed(),
    };
  }

  #upstreamHandler(): LinkHandler {
    return {
      onBytes: guarded(this, this.#backend),
      onDrain: () => this.flow.resumeClient(PAUSE.backlog),
      onEnd: () => this.#ending.upstreamEnded(),
      onClose: () => this.#ending.upstreamClosed(),
    };
  }

  // --- turns ------------------------------------------------------------------------------------------------------

  joinTurn(): void {
    const { turn } = this.context;
    if (this.#joinedTurn === turn.number) return;
    this.#joinedTurn = turn.number;
    this.announcedInTurn = false;
    this.outcomeInTurn = false;
    this.#frontend.beginTurn();
    this.#heldBack.beginTurn();
    turn.join(this);
  }

  endTurn(recorded: boolean): void {
    if (recorded && !this.#heldBack.active) {
      this.toUpstream.send();
      this.toClient.send();
    } else this.#heldBack.endTurn(recorded);
    if (this.#parts.client.backlogBytes > limits.maxBacklogBytes) {
      this.flow.pauseUpstream(PAUSE.backlog);
      // A client that sends without reading would pile up refusals, which no upstream holds back.
      this.flow.pauseClient(PAUSE.answers);
    }
    if (this.#parts.upstream.backlogBytes > limits.maxBacklogBytes) this.flow.pauseClient(PAUSE.backlog);
  }

  tick(): void {
    this.#heldBack.tick();
  }

  /** The journal failed: what was announced in this turn is refused; what needs no record goes out all the same. */
  takeBack(): void {
    if (!this.announcedInTurn) return;
    const why = journalRefusal(this.journal.status.failure);
    const { queue, turn } = this;
    let count = 0;
    while (count < queue.size && queue.at(queue.size - 1 - count).turn === turn.number) count++;
    const taken = queue.dropNewest(count);
    this.toUpstream.discard();
    for (const request of taken) {
      if (!request.statements || request.kind === RequestKind.local) {
        this.#enqueue(request);
        if (request.bytes) this.toUpstream.push(request.bytes, request.start, request.end);
        continue;
      }
      for (const statement of request.statements) this.finishRefused(statement, why);
      if (request.prepared) request.prepared.types = null;
      this.answerWith(why, request.answerSequence);
    }
    this.#frontend.takenBack();
  }

  // --- reading and not reading ------------------------------------------------------------------------------------

  holdClient(): void {
    this.clientHeld = true;
    this.flow.pauseClient(PAUSE.parsing);
  }

  releaseClient(): void {
    this.clientHeld = false;
    this.flow.resumeClient(PAUSE.parsing);
  }

  /** Runs `action`, outside of this turn, when everything that was passed on is answered. The client is not read until then. */
  whenIdle(action: () => void): void {
    this.holdClient();
    this.#whenIdle.push(() => {
      if (this.closing) return;
      this.joinTurn();
      this.releaseClient();
      try {
        action();
      } catch (error) {
        this.fail(error);
      }
    });
    if (this.queue.size === 0) this.#idle();
  }

  #idle(): void {
    for (const action of this.#whenIdle.splice(0)) setImmediate(action);
  }

  // --- requests ---------------------------------------------------------------------------------------------------

  /** Passes packets on, and awaits their answer. */
  pass(request: Request, bytes: Buffer, start: number, end: number): void {
    request.bytes = bytes;
    request.start = start;
    request.end = end;
    this.#enqueue(request);
    this.toUpstream.push(bytes, start, end);
  }

  /** Answers a command ourselves, when its turn comes. */
  answerWith(why: Refusal, sequence: number): void {
    this.answerWithPacket(errPacket(why, sequence));
  }

  answerWithPacket(packet: Buffer): void {
    const request = new Request(RequestKind.local, this.turn.number);
    request.answer = packet;
    this.#enqueue(request);
  }

  #enqueue(request: Request): void {
    if (this.queue.size > 0) {
      this.queue.push(request);
      return;
    }
    if (request.kind === RequestKind.local) {
      this.#say(request);
      return;
    }
    this.queue.push(request);
    this.#backend.begin(request);
  }

  #say(request: Request): void {
    const packet = request.answer;
    if (packet) this.toClient.push(packet, 0, packet.length);
  }

  /** A query of our own, behind what was passed on. */
  ask(sql: string, onAnswer: (answer: InternalAnswer) => void): void {
    const request = new Request(RequestKind.internal, this.turn.number);
    request.onAnswer = onAnswer;
    const packet = this.encodeQuery(sql);
    this.pass(request, packet, 0, packet.length);
  }

  /** A COM_QUERY of ours. */
  encodeQuery(sql: string): Buffer {
    return this.#frontend.encodeQuery(sql);
  }

  /** Decides about a command that had to wait. */
  redispatch(whole: WholeCommand): void {
    this.#frontend.dispatch(whole);
  }

  /** The head of the queue has its whole answer. */
  answered(head: Request, error: InternalAnswer['error']): void {
    const { queue } = this;
    queue.shift();
    head.bytes = null;
    if (head.kind === RequestKind.prepare && head.prepared) this.statements.concluded(head.prepared);
    if (head.onSuccess && error === null) head.onSuccess();
    for (let next = queue.head(); next; next = queue.head()) {
      if (next.kind !== RequestKind.local) {
        this.#backend.begin(next);
        break;
      }
      this.#say(queue.shift());
    }
    if (this.flow.pipelineWaits && queue.size < limits.maxPipelinedRequests / 2)
      this.flow.resumeClient(PAUSE.pipeline);
    if (queue.size === 0 && this.#whenIdle.length > 0) this.#idle();
  }

  // --- statements -------------------------------------------------------------------------------------------------

  newInFlight(calls = false): InFlight {
    this.recorder.statements++;
    this.announcedInTurn = true;
    this.context.metrics.statements.inc();
    return new InFlight(this.#nextOrdinal++, this.turn.monotonicUs, calls);
  }

  finishRefused(statement: InFlight, why: Refusal): void {
    if (statement.finished) return;
    statement.finished = true;
    this.context.metrics.refusals.inc();
    this.records.finishRefused(statement.ordinal, why);
  }

  /** Records a text that is refused as a whole, or its beginning. The caller answers. */
  recordRefused(
    kind: StatementKind,
    bytes: Buffer,
    start: number,
    end: number,
    why: Refusal,
    originalBytes = end - start,
  ): void {
    const redaction = this.sql.redactSecrets(bytes, start, end, this.settings.lexical);
    this.recordRedacted(kind, redaction, originalBytes, why);
  }

  /** {@link recordRefused} of what has no secrets any more. */
  recordRedacted(kind: StatementKind, shown: Redaction, originalBytes: number, why: Refusal): void {
    const { text, redacted } = shown;
    const statement = this.newInFlight();
    if (!this.canRecord(statement)) return;
    const { ordinal } = statement;
    this.records.announceText(ordinal, kind, text, 0, text.length, originalBytes, redacted, this.status, why);
    this.finishRefused(statement, why);
  }

  /** While the journal fails, refusals are recorded as long as memory allows, then counted. */
  canRecord(statement: InFlight): boolean {
    if (this.journal.hasRoom) return true;
    this.journal.countLost(1);
    statement.finished = true;
    this.context.metrics.refusals.inc();
    return false;
  }

  /** A COM_STMT_PREPARE that failed gets a record of its own. */
  recordFailedPreparation(prepared: Prepared, error: ErrPacket): void {
    const statement = this.newInFlight();
    statement.redacted = prepared.text.redacted;
    const record = this.recorder.started;
    record.ordinal = statement.ordinal;
    record.kind = StatementKind.PREPARE;
    this.recorder.putText(prepared.text);
    this.recorder.start();
    this.records.finish(statement, this.status, 0, null, EMPTY, error);
    this.outcomeInTurn = true;
  }

  // --- what the server says of itself -----------------------------------------------------------------------------

  /** Every OK and EOF. @param ok decoded from `bytes`; `null` for an EOF. */
  noteStatus(status: number, ok: OkView | null, bytes: Buffer): void {
    this.status = status;
    this.settings.note(status, ok, bytes);
  }

  // --- the end ----------------------------------------------------------------------------------------------------

  /** COM_QUIT. */
  clientQuit(bytes: Buffer, at: number, next: number): void {
    this.#ending.clientQuits();
    this.toUpstream.push(bytes, at, next);
    this.#ending.afterTurn(() => this.toUpstream.end());
  }

  /** COM_CHANGE_USER, with nothing in flight: this session is over, and the client link goes to the next one. */
  changeUser(payload: Buffer): void {
    this.#ending.clientQuits('COM_CHANGE_USER');
    this.detached = true;
    this.closing = true;
    this.#ending.finalize();
    this.toUpstream.push(QUIT, 0, QUIT.length);
    this.#ending.afterTurn(() => {
      this.toUpstream.end();
      this.#parts.changeUser(payload);
    });
  }

  refusalAtEnd(kind: EndKind, message: string, error?: unknown): Refusal {
    return refusalAtEnd(kind, message, error);
  }

  farewell(why: Refusal): Buffer {
    // An idle client takes it as the answer to its next command.
    return errPacket(why, this.queue.size > 0 ? this.#backend.nextSequence : 1);
  }

  recordUnanswered(): void {
    for (let i = 0; i < this.queue.size; i++)
      for (const statement of this.queue.at(i).statements ?? [])
        if (!statement.finished) this.records.finishUnanswered(statement, Outcome.UNKNOWN);
  }

  end(reason: EndReason, message: string): void {
    this.#ending.end(reason, message);
  }

  fail(error: unknown): void {
    this.#ending.fail(error);
  }

  lostTrack(detail: string): void {
    this.#ending.lostTrack(detail);
  }

  endWith(reason: CloseReason, why: Refusal): void {
    this.#ending.endWith(reason, why);
  }
}

const EMPTY = Buffer.alloc(0);
/** COM_QUIT. */
const QUIT = Buffer.from([1, 0, 0, 0, 1]);
