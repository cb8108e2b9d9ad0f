/**
 * Commands about prepared statements: COM_STMT_EXECUTE, COM_STMT_BULK_EXECUTE, COM_STMT_FETCH, COM_STMT_RESET and
 * COM_STMT_SEND_LONG_DATA. Every execution is a statement, announced with its parameters.
 */
import { ByteWriter } from '../../../base/bytes.ts';
import {
  decodeFetch,
  decodeId,
  decodeLongData,
  encodeIdCommand,
  FetchView,
  LongDataView,
} from '../../../wire/mysql/commands.ts';
import {
  BULK,
  BulkExecuteView,
  CURSOR_TYPE_FOR_UPDATE,
  CURSOR_TYPE_READ_ONLY,
  CURSOR_TYPE_SCROLLABLE,
  decodeBulkExecute,
  decodeExecute,
  executedStatement,
  ExecuteView,
  recordedType,
  writeBind,
} from '../../../wire/mysql/parameters.ts';
import { Command } from '../../../wire/mysql/protocol.ts';
import { StatementKind } from '../recorder.ts';
import type { WholeCommand } from './frontend.ts';
import type { BoundParameters } from './records.ts';
import { CODES, refusal, type Refusal } from './refusal.ts';
import { Request, RequestKind } from './requests.ts';
import { isSecret, MASKED_TYPE, secretsOf, writeMaskedBind, writeMaskedRows } from './secret-parameters.ts';
import type { MysqlSession } from './session.ts';
import { type InFlight, type Prepared, SentData } from './statement.ts';
import { unknownStatement } from './statements.ts';
import type { Texts } from './texts.ts';

const NO_TYPES: readonly number[] = [];
/** Flags of an execution that asks for a cursor. */
const CURSORS = CURSOR_TYPE_READ_ONLY | CURSOR_TYPE_FOR_UPDATE | CURSOR_TYPE_SCROLLABLE;

export class Executions {
  readonly #s: MysqlSession;
  readonly #texts: Texts;
  readonly #view = new ExecuteView();
  readonly #bulkView = new BulkExecuteView();
  readonly #fetchView = new FetchView();
  readonly #longView = new LongDataView();
  readonly #bind = new ByteWriter(4096);
  readonly #bound: { -readonly [K in keyof BoundParameters]: BoundParameters[K] } = {
    bytes: Buffer.alloc(0),
    end: 0,
    types: NO_TYPES,
    fullBytes: 0,
  };
  /** Long data in flow belong to … */
  #sent: SentData | null = null;
  #sentFor: Prepared | null = null;
  /** Statements that were sent long data in this turn. */
  readonly #fed: Prepared[] = [];
  #fedInTurn = 0;

  constructor(session: MysqlSession, texts: Texts) {
    this.#s = session;
    this.#texts = texts;
  }

  /** The turn was taken back: long data of it never arrive. */
  takenBack(): void {
    if (this.#fedInTurn !== this.#s.turn.number) return;
    for (const prepared of this.#fed) prepared.spoiled = true;
  }

  execute(whole: WholeCommand): void {
    const s = this.#s;
    const prepared = this.#find(whole, StatementKind.EXECUTE);
    if (!prepared) return;
    const view = this.#view;
    const longData = prepared.longData;
    decodeExecute(
      whole.payload,
      whole.start,
      whole.end,
      s.upstreamCapabilities,
      prepared.parameterCount,
      prepared.types,
      longData === null ? null : new Set(longData.keys()),
      view,
    );
    if (view.newTypes) {
      prepared.types = view.types.slice(0, view.parameterCount);
      prepared.recordedTypes = null;
    }
    const bound = view.parameterCount === 0 ? null : this.#boundOf(whole, prepared);
    this.#run(whole, prepared, bound, view.newTypes, (view.flags & CURSORS) !== 0);
  }

  #boundOf(whole: WholeCommand, prepared: Prepared): BoundParameters {
    const s = this.#s;
    const view = this.#view;
    const { longData, parameterCount } = prepared;
    const joined =
      longData === null ? null : new Map([...longData].map(([index, sent]) => [index, sent.bytes]));
    const secrets = secretsOf(prepared);
    this.#bind.reset();
    if (secrets === null) writeBind(this.#bind, whole.payload, view, joined);
    else writeMaskedBind(this.#bind, whole.payload, view, joined, secrets, parameterCount);
    let types = prepared.recordedTypes;
    if (types === null || joined !== null) {
      const fresh: number[] = [];
      for (let i = 0; i < view.parameterCount; i++)
        fresh.push(isSecret(secrets, i, parameterCount) ? MASKED_TYPE : recordedType(view, i, joined));
      types = fresh;
      prepared.recordedTypes = joined === null ? fresh : null;
    }
    return this.#fill(
      this.#bind.bytes,
      0,
      this.#bind.length,
      types,
      prepared.unrecordedBytes,
      s.maxBindBytes,
    );
  }

  #fill(
    bytes: Buffer,
    start: number,
    end: number,
    types: readonly number[],
    unrecorded: number,
    maxBytes: number,
  ): BoundParameters {
    const bound = this.#bound;
    const full = end - start;
    bound.bytes = start === 0 ? bytes : bytes.subarray(start, end);
    bound.end = Math.min(full, maxBytes);
    bound.types = types;
    bound.fullBytes = full > maxBytes || unrecorded > 0 ? full + unrecorded : 0;
    return bound;
  }

  bulk(whole: WholeCommand): void {
    const s = this.#s;
    const prepared = this.#find(whole, StatementKind.EXECUTE);
    if (!prepared) return;
    const view = this.#bulkView;
    decodeBulkExecute(whole.payload, whole.start, whole.end, prepared.parameterCount, prepared.types, view);
    if (view.newTypes) {
      prepared.types = view.types.slice(0, prepared.parameterCount);
      prepared.recordedTypes = null;
    }
    const secrets = secretsOf(prepared);
    const types: number[] = [];
    for (let i = 0; i < prepared.parameterCount; i++) {
      const masked = isSecret(secrets, i, prepared.parameterCount);
      types.push((masked ? MASKED_TYPE : view.types[i] & 0x80ff) | BULK);
    }
    let bound: BoundParameters;
    if (secrets === null)
      bound = this.#fill(whole.payload, view.rowsStart, view.rowsEnd, types, 0, s.maxBindBytes);
    else {
      this.#bind.reset();
      writeMaskedRows(this.#bind, whole.payload, view, secrets, prepared.parameterCount);
      bound = this.#fill(this.#bind.bytes, 0, this.#bind.length, types, 0, s.maxBindBytes);
    }
    this.#run(whole, prepared, bound, view.newTypes);
  }

  /** Announces an execution and passes it on, or refuses it. */
  #run(
    whole: WholeCommand,
    prepared: Prepared,
    bound: BoundParameters | null,
    carriedTypes: boolean,
    opensCursor = false,
  ): void {
    const s = this.#s;
    const why = s.gate.statements(1) ?? this.#texts.judgeExecution(prepared) ?? this.#spoiled(prepared);
    const statement = s.newInFlight(prepared.calls);
    statement.redacted = prepared.text.redacted || prepared.text.secrets !== null;
    statement.loads = prepared.loads;
    if (why) this.#refuse(whole, prepared, bound, statement, why, carriedTypes);
    s.statements.forgetLongData(prepared);
    if (why) return;
    s.records.announceExecution(statement, prepared, bound, s.status, null);
    s.account.statements++;
    const { recorded } = prepared.text;
    s.settings.passed(recorded, 0, recorded.length, false);
    const request = new Request(RequestKind.execute, s.turn.number, whole.answerSequence);
    request.prepared = prepared;
    request.opensCursor = opensCursor;
    request.statements = [statement];
    s.pass(request, whole.packets, whole.from, whole.to);
  }

  #refuse(
    whole: WholeCommand,
    prepared: Prepared,
    bound: BoundParameters | null,
    statement: InFlight,
    why: Refusal,
    carriedTypes = false,
  ): void {
    const s = this.#s;
    if (s.canRecord(statement)) {
      s.records.announceExecution(statement, prepared, bound, s.status, why);
      s.finishRefused(statement, why);
    }
    // The server did not get to know these types: an execution that relies on them would be misread.
    if (carriedTypes) prepared.types = null;
    // Long data that it has must not leak into the next execution.
    if (prepared.id >= 0 && (prepared.spoiled || prepared.longData !== null)) this.#resetUpstream(prepared);
    s.answerWith(why, whole.answerSequence);
  }

  #spoiled(prepared: Prepared): Refusal | null {
    if (!prepared.spoiled) return null;
    return refusal(
      CODES.internal,
      'a part of the long data of this statement was not passed on while the journal could not be written',
      'Send the data and the execution again',
    );
  }

  #resetUpstream(prepared: Prepared): void {
    const s = this.#s;
    const writer = new ByteWriter(16);
    encodeIdCommand(writer, Command.STMT_RESET, prepared.id);
    const request = new Request(RequestKind.internal, s.turn.number);
    const packet = writer.copy();
    s.pass(request, packet, 0, packet.length);
    prepared.spoiled = false;
    prepared.types = null;
  }

  fetch(whole: WholeCommand): void {
    const s = this.#s;
    const view = this.#fetchView;
    decodeFetch(whole.payload, whole.start, whole.end, view);
    const prepared = this.#find(whole, StatementKind.EXECUTE, view.statementId, 'mysqld_stmt_fetch');
    if (!prepared) return;
    const why = s.gate.statements(1);
    const statement = s.newInFlight();
    statement.redacted = prepared.text.redacted || prepared.text.secrets !== null;
    s.recorder.started.maxRows = view.rows;
    s.recorder.started.portalName = 'fetch';
    if (why) {
      this.#refuse(whole, prepared, null, statement, why);
      return;
    }
    s.records.announceExecution(statement, prepared, null, s.status, null);
    s.account.statements++;
    const request = new Request(RequestKind.fetch, s.turn.number, whole.answerSequence);
    request.prepared = prepared;
    request.statements = [statement];
    s.pass(request, whole.packets, whole.from, whole.to);
  }

  reset(whole: WholeCommand): void {
    const s = this.#s;
    const id = decodeId(whole.payload, whole.start, whole.end);
    const prepared = s.statements.find(id);
    if (prepared) {
      s.statements.forgetLongData(prepared);
      prepared.spoiled = false;
    }
    s.pass(
      new Request(RequestKind.ok, s.turn.number, whole.answerSequence),
      whole.packets,
      whole.from,
      whole.to,
    );
  }

  /** The statement that an execution is of; `null` when it must wait, or was refused. */
  #find(
    whole: WholeCommand,
    kind: StatementKind,
    id: number = executedStatement(whole.payload, whole.start, whole.end),
    what = 'mysqld_stmt_execute',
  ): Prepared | null {
    const s = this.#s;
    if (s.statements.undecided(id)) {
      this.#texts.later(whole);
      return null;
    }
    const prepared = s.statements.find(id);
    if (prepared) return prepared;
    const why = unknownStatement(id, what);
    const text = Buffer.from(`/* statement ${id}, which nobody prepared */`);
    s.recordRefused(kind, text, 0, text.length, why);
    s.answerWith(why, whole.answerSequence);
    return null;
  }

  // --- long data --------------------------------------------------------------------------------------------------

  longData(whole: WholeCommand): void {
    if (this.#undecidedLongData(whole)) return;
    if (this.beginLongData(whole.payload, whole.start, whole.end))
      this.#s.toUpstream.push(whole.packets, whole.from, whole.to);
  }

  #undecidedLongData(whole: WholeCommand): boolean {
    const s = this.#s;
    decodeLongData(whole.payload, whole.start, whole.end, this.#longView);
    if (!s.statements.undecided(this.#longView.statementId)) return false;
    this.#texts.later(whole);
    return true;
  }

  /** The beginning of a command whose data may go on behind `end`. Returns whether it is passed on. */
  beginLongData(payload: Buffer, start: number, end: number): boolean {
    const s = this.#s;
    const view = this.#longView;
    decodeLongData(payload, start, end, view);
    const prepared = s.statements.find(view.statementId);
    this.#sent = null;
    this.#sentFor = prepared;
    // The server ignores data for what it does not know, and tells at the execution.
    if (!prepared || s.gate.general() !== null) {
      if (prepared) prepared.spoiled = true;
      return false;
    }
    if (prepared.id >= 0 && view.parameter >= prepared.parameterCount) {
      // The server keeps none of it, and answers the execution with an error; there is nothing to be recorded.
      prepared.unrecordedBytes += end - view.dataStart;
      return true;
    }
    prepared.longData ??= new Map();
    let sent = prepared.longData.get(view.parameter);
    if (!sent) {
      sent = new SentData();
      prepared.longData.set(view.parameter, sent);
    }
    this.#sent = sent;
    if (this.#fedInTurn !== s.turn.number) this.#fed.length = 0;
    this.#fedInTurn = s.turn.number;
    if (!this.#fed.includes(prepared)) this.#fed.push(prepared);
    this.moreLongData(payload, view.dataStart, end);
    return true;
  }

  moreLongData(bytes: Buffer, start: number, end: number): void {
    const sent = this.#sent;
    const prepared = this.#sentFor;
    if (!sent || !prepared || start >= end) return;
    // No more is recorded of an execution, so no more is kept, however many parameters and statements it is for.
    const { statements, maxBindBytes } = this.#s;
    const room = Math.max(0, maxBindBytes - statements.longDataBytes);
    const cut = Math.min(end, start + room);
    if (cut > start) sent.add(bytes, start, cut);
    statements.longDataBytes += cut - start;
    prepared.unrecordedBytes += end - cut;
  }
}
