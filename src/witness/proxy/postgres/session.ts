/**
 * One audited PostgreSQL session: a client link, an upstream link, and between them everything that DESIGN.md's rules
 * ask for. `Frontend` handles what comes from the client, `Backend` what comes from the server; this class holds what
 * both need and what outlives a message: the request queue, the names, the grant, the end.
 *
 *   client ──▶ Frontend ──decide──▶ announce ──▶ queue ──▶ toUpstream ─┐
 *                                                 │head                 ├─ endTurn(): journal flushed, then sent
 *   client ◀── toClient ◀── outcome, rows ◀── Backend ◀── upstream ─────┘
 *
 * When the journal fails (`endTurn(false)`): statements of that turn are taken back and refused; results of that turn,
 * and everything behind them, wait in copies until the journal has their records (`limits.journalPatienceMs`).
 */
import type { StatementSpan } from '../../../model/statement.ts';
import type { Permit } from '../../../model/access.ts';
import type { Link, LinkHandler } from '../../../transport/link.ts';
import { limits } from '../../../base/limits.ts';
import { decodeParameterStatus } from '../../../wire/postgres/backend.ts';
import type { LexicalSettings } from '../../../sql/dialect.ts';
import { type EndableSession, type EndKind, guarded, SessionEnding } from '../ending.ts';
import { type HoldableSession, HeldBackTurns } from '../held-back.ts';
import { type GrantAccount } from '../ledger.ts';
import { Outbox } from '../outbox.ts';
import { CloseReason, MAX_BIND_BYTES, Outcome, type SessionRecorder, StatementKind } from '../recorder.ts';
import type { EndReason, ProxySession } from '../registry.ts';
import { Traffic } from '../traffic.ts';
import { Backend } from './backend.ts';
import { CopyState } from './copy.ts';
import type { PgContext } from './context.ts';
import { FlowControl, PAUSE } from '../flow-control.ts';
import { Frontend } from './frontend.ts';
import { Gate, journalRefusal } from './gate.ts';
import { LexicalKnowledge } from './lexical.ts';
import { NameView } from './names.ts';
import { PgRecords } from './records.ts';
import { errorResponse, refusal, type Refusal, SQLSTATE } from './refusal.ts';
import { Request, RequestKind, RequestQueue } from './requests.ts';
import { SkippedRequests } from './skipped.ts';
import { InFlight, type Portal, StatementText } from './statement.ts';
import { takeBack } from './take-back.ts';
import { XidProbe } from './xid.ts';

export interface PgSessionParts {
  readonly context: PgContext;
  readonly permit: Permit;
  readonly account: GrantAccount;
  readonly credentialUid: string;
  readonly recorder: SessionRecorder;
  readonly client: Link;
  readonly upstream: Link;
  readonly standardConformingStrings: boolean;
  readonly clientEncoding: string;
  /** The client asked for a replication connection, and may have one. */
  readonly replication: boolean;
  /** Cancels what runs upstream. */
  readonly cancelUpstream: () => void;
  /** Called once when both sides are done with. */
  readonly onClosed: () => void;
}

export class PgSession implements ProxySession, HoldableSession, EndableSession<Refusal> {
  readonly permit: Permit;
  readonly account: GrantAccount;
  readonly records: PgRecords;
  readonly recorder: SessionRecorder;
  readonly context: PgContext;
  readonly queue = new RequestQueue();
  readonly predicted = new NameView();
  readonly actual = new NameView();
  readonly toUpstream: Outbox;
  readonly toClient: Outbox;
  readonly xid: XidProbe;
  readonly gate: Gate;
  readonly flow: FlowControl;
  readonly copy: CopyState;
  readonly controlled: boolean;
  readonly probing: boolean;
  /**
   * A replication connection. Its commands are one statement each, but BASE_BACKUP and START_REPLICATION are answered by
   * several results with a CommandComplete each: their outcome is known at ReadyForQuery.
   */
  readonly replication: boolean;
  readonly maxStatementBytes: number;
  readonly maxChunkBytes: number;
  /** Bytes of a Bind that are recorded. */
  readonly maxBindBytes: number;
  lexical: LexicalSettings;
  readonly lexicalKnowledge: LexicalKnowledge;
  readonly skipped = new SkippedRequests(this);
  /** The byte I, T or E of the last ReadyForQuery. */
  transactionStatus = 0x49;
  /** Something in the current batch may have written. */
  batchWrites = false;
  /** The current batch has begun a COPY of the client's data, whose end was not passed on: nothing may get in between. */
  batchCopies = false;
  /** The client is not framed while one of its statements is parsed elsewhere. */
  clientHeld = false;
  /** Nothing more is taken from either side. */
  closing = false;
  /** In the current turn: a statement was announced; something of the server's was recorded. */
  announcedInTurn = false;
  outcomeInTurn = false;
  readonly #frontend: Frontend;
  readonly #backend: Backend;
  readonly #heldBack: HeldBackTurns;
  readonly #ending: SessionEnding<Refusal>;
  /** COM_CHANGE_USER has no counterpart here. */
  readonly detached = false;
  readonly traffic: Traffic;
  readonly #parts: PgSessionParts;
  #joinedTurn = 0;
  #nextOrdinal = 1;

  constructor(parts: PgSessionParts) {
    const { context, permit } = parts;
    this.#parts = parts;
    this.context = context;
    this.permit = permit;
    this.account = parts.account;
    this.recorder = parts.recorder;
    this.records = new PgRecords(parts.recorder, context.turn);
    this.controlled = permit.controls.length > 0;
    this.probing = permit.recording.xidProbe;
    this.replication = parts.replication;
    this.maxStatementBytes = context.maxStatementBytes;
    this.maxBindBytes = Math.min(permit.recording.captureParameterBytes, MAX_BIND_BYTES);
    this.maxChunkBytes = context.reactor.maxChunkBytes;
    this.lexical = {
      standardConformingStrings: parts.standardConformingStrings,
      clientEncoding: parts.clientEncoding,
    };
    this.lexicalKnowledge = new LexicalKnowledge(this.queue);
    this.traffic = new Traffic(parts.account, context.metrics, (message) => this.end('quota', message));
    this.toClient = new Outbox(parts.client);
    this.toUpstream = new Outbox(parts.upstream);
    this.xid = new XidProbe(this);
    const { journal, turn, sql } = context;
    this.gate = new Gate({ permit, account: parts.account, journal, turn, sql, predicted: this.predicted });
    this.copy = new CopyState(this);
    this.flow = new FlowControl(parts.client, parts.upstream);
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

  get turn(): PgContext['turn'] {
    return this.context.turn;
  }

  get sql(): PgContext['sql'] {
    return this.context.sql;
  }

  get busy(): boolean {
    return this.queue.size > 0 || this.transactionStatus !== 0x49;
  }

  get frontend(): Frontend {
    return this.#frontend;
  }

  get clock(): PgContext['clock'] {
    return this.context.clock;
  }

  get journal(): PgContext['journal'] {
    return this.context.journal;
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

  #clientHandler(): LinkHandler {
    return {
      onBytes: guarded(this, this.#frontend),
      onDrain: () => this.flow.resumeUpstream(PAUSE.backlog),
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
    this.copy.inTurn = false;
    this.announcedInTurn = false;
    this.outcomeInTurn = false;
    this.#heldBack.beginTurn();
    turn.join(this);
  }

  endTurn(recorded: boolean): void {
    if (recorded && !this.#heldBack.active) {
      this.toUpstream.send();
      this.toClient.send();
    } else this.#heldBack.endTurn(recorded);
    if (this.#parts.client.backlogBytes > limits.maxBacklogBytes) this.flow.pauseUpstream(PAUSE.backlog);
    if (this.#parts.upstream.backlogBytes > limits.maxBacklogBytes) this.flow.pauseClient(PAUSE.backlog);
  }

  tick(): void {
    this.#heldBack.tick();
  }

  takeBack(): void {
    if (this.announcedInTurn || this.copy.inTurn) takeBack(this, journalRefusal(this.journal.status.failure));
  }

  // --- reading and not reading ------------------------------------------------------------------------------------

  /** Called when the queue got shorter. */
  requestAnswered(): void {
    if (this.flow.pipelineWaits && this.queue.size < limits.maxPipelinedRequests / 2)
      this.flow.resumeClient(PAUSE.pipeline);
  }

  holdClient(): void {
    this.clientHeld = true;
    this.flow.pauseClient(PAUSE.parsing);
  }

  releaseClient(): void {
    this.clientHeld = false;
    this.flow.resumeClient(PAUSE.parsing);
  }

  // --- requests ---------------------------------------------------------------------------------------------------

  /** Passes a message on, and awaits its answers. */
  pass(request: Request, bytes: Buffer, at: number, next: number): void {
    if (request.kind === RequestKind.sync) this.skipped.active = false;
    if (this.skipped.active) this.skipped.add(request);
    else this.queue.push(request);
    this.lexicalKnowledge.passed(request.kind);
    this.toUpstream.push(bytes, at, next);
  }

  // --- statements -------------------------------------------------------------------------------------------------

  newInFlight(text: StatementText | null): InFlight {
    this.recorder.statements++;
    this.announcedInTurn = true;
    this.context.metrics.statements.inc();
    return new InFlight(this.#nextOrdinal++, text, this.turn.monotonicUs);
  }

  /** The statement of a request that the server works on, if it is one. */
  running(request: Request | null): InFlight | null {
    const statements = request?.statements;
    if (!request || !statements || request.done >= statements.length) return null;
    const statement = statements[request.done];
    return statement.finished ? null : statement;
  }

  announceExecution(
    statement: InFlight,
    text: StatementText,
    portal: Portal | null,
    portalName: string,
    maxRows: number,
    why: Refusal | null,
  ): void {
    statement.portal = portal;
    if (why && !this.#canRecord(statement)) return;
    this.records.announceExecution(statement, text, portal, portalName, maxRows, this.transactionStatus, why);
  }

  finishRefused(statement: InFlight, why: Refusal): void {
    if (statement.finished) return;
    statement.finished = true;
    this.context.metrics.refusals.inc();
    this.records.finishRefused(statement.ordinal, why);
  }

  /** Records a text that is refused as a whole. */
  recordRefused(kind: StatementKind, bytes: Buffer, start: number, end: number, why: Refusal): void {
    const statement = this.newInFlight(null);
    if (!this.#canRecord(statement)) return;
    const { text, redacted } = this.sql.redactSecrets(bytes, start, end, this.lexical);
    this.records.announceRefused(
      statement.ordinal,
      kind,
      text,
      redacted,
      end - start,
      this.transactionStatus,
      why,
    );
    this.finishRefused(statement, why);
  }

  /** While the journal fails, refusals are recorded as long as memory allows, then counted. */
  #canRecord(statement: InFlight): boolean {
    if (this.recorder.journal.hasRoom) return true;
    this.recorder.journal.countLost(1);
    statement.finished = true;
    this.context.metrics.refusals.inc();
    return false;
  }

  /** A Parse, Bind or Describe that failed without an execution behind it gets a record of its own. */
  recordFailedPreparation(head: Request, error: Parameters<PgRecords['finish']>[5]): void {
    const text = head.text ?? head.portal?.text;
    if (!text) return;
    const statement = this.newInFlight(text);
    const record = this.recorder.started;
    record.ordinal = statement.ordinal;
    record.kind = StatementKind.PREPARE;
    this.recorder.putText(text);
    record.preparedName = head.kind === RequestKind.parse ? head.name : '';
    record.transactionStatus = this.transactionStatus;
    this.recorder.start();
    this.records.finish(statement, Outcome.FAILED, EMPTY, 0, 0, error);
  }

  /** A simple Query destroys the unnamed statement and portal. */
  unnamedDestroyed(): void {
    this.predicted.unnamedStatement = null;
    this.predicted.unnamedPortal = null;
  }

  // --- the transaction id -----------------------------------------------------------------------------------------

  /** Asks once per transaction, behind the first batch that may have written. */
  beforeSync(): void {
    const writes = this.batchWrites && !this.batchCopies;
    const asks = this.probing && writes && this.transactionStatus !== 0x45 && !this.xid.known;
    if (asks) this.xid.send(false);
    this.batchWrites = false;
    this.batchCopies = false;
  }

  /** Simple queries can be asked about only while their transaction is open: before its COMMIT. */
  probeBeforeCommit(bytes: Buffer, span: StatementSpan): void {
    if (this.transactionStatus !== 0x54 || this.xid.known || this.queue.size > 0) return;
    const { transaction } = this.sql.classify(bytes, span.start, span.end, this.lexical);
    if (transaction === 'commit') this.xid.send(true);
  }

  // --- what the server says of itself -----------------------------------------------------------------------------

  parameterStatus(bytes: Buffer, at: number, next: number): void {
    const { name, value } = decodeParameterStatus(bytes, at + 5, next);
    if (name === 'standard_conforming_strings')
      this.lexical = { ...this.lexical, standardConformingStrings: value === 'on' };
    else if (name === 'client_encoding') this.lexical = { ...this.lexical, clientEncoding: value };
    else if (
      name === 'default_transaction_read_only' &&
      value === 'off' &&
      this.permit.controls.includes('read_only')
    )
      this.#ending.endWith(
        CloseReason.READ_ONLY_LOST,
        refusal(
          SQLSTATE.readOnly,
          'read-only was switched off in this session, but the grant is read_only: the session ends',
          'Do not change default_transaction_read_only, or ask for a grant that may write.',
        ),
      );
  }

  // --- the end ----------------------------------------------------------------------------------------------------

  clientQuit(bytes: Buffer, at: number, next: number): void {
    this.#ending.clientQuits();
    this.toUpstream.push(bytes, at, next);
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

  refusalAtEnd(kind: EndKind, message: string): Refusal {
    if (kind === 'protocol') return refusal(SQLSTATE.protocolViolation, message);
    if (kind === 'internal') return refusal(SQLSTATE.internal, message);
    return refusal(kind === 'quota' ? SQLSTATE.quotaExceeded : SQLSTATE.adminShutdown, message);
  }

  farewell(why: Refusal): Buffer {
    return errorResponse('FATAL', why);
  }

  recordUnanswered(): void {
    this.copy.flush();
    for (let i = 0; i < this.queue.size; i++)
      for (const statement of this.queue.at(i).statements ?? [])
        if (!statement.finished) this.records.finishUnanswered(statement, Outcome.UNKNOWN);
  }
}

const EMPTY = Buffer.alloc(0);
