/**
 * The client's side of a session: every command is framed in place, decided, announced in the journal and kept for the
 * upstream until the turn ends; or it is refused, and answered by us.
 *
 * Commands that a decision or a record needs whole are collected when they are larger than a chunk; long data and files
 * flow through in pieces. A command that contradicts itself is refused; a byte that is no command, or a packet out of
 * order, ends the session, as the server would end it.
 */
import { ByteWriter } from '../../../base/bytes.ts';
import { isAppError } from '../../../base/errors.ts';
import { limits } from '../../../base/limits.ts';
import type { MysqlLongText } from '../../../sql/mysql/dialect.ts';
import { decodeId } from '../../../wire/mysql/commands.ts';
import { encodeQuery } from '../../../wire/mysql/parameters.ts';
import {
  checkContinuation,
  checkSequence,
  joinPayload,
  nextPacket,
  PacketCursor,
  passPacket,
} from '../../../wire/mysql/framing.ts';
import {
  clientInfile,
  clientRunning,
  Command,
  HEADER_BYTES,
  MAX_PACKET_BYTES,
  type PayloadLimits,
} from '../../../wire/mysql/protocol.ts';
import { PAUSE } from '../flow-control.ts';
import { Commands } from './commands.ts';
import { Executions } from './executions.ts';
import { malformedRefusal, oversizedRefusal } from './refusal.ts';
import type { MysqlSession } from './session.ts';
import { Texts } from './texts.ts';
import { StatementKind } from '../recorder.ts';

/** A whole command: its payload in `payload[start, end)`, its packets in `packets[from, to)`. */
export interface WholeCommand {
  payload: Buffer;
  start: number;
  end: number;
  packets: Buffer;
  from: number;
  to: number;
  /** Sequence id of the first packet of its answer. */
  answerSequence: number;
  /** Of a long text: what a worker made of it; offsets from the text's beginning. `null`: not asked. */
  read: MysqlLongText | null;
}

const EMPTY = Buffer.alloc(0);
/** Texts and attributes around a statement. */
const SLACK_BYTES = 64 * 1024;

export class Frontend {
  readonly #s: MysqlSession;
  readonly #limits: PayloadLimits;
  readonly #cursor = new PacketCursor();
  readonly #whole: WholeCommand = {
    payload: EMPTY,
    start: 0,
    end: 0,
    packets: EMPTY,
    from: 0,
    to: 0,
    answerSequence: 1,
    read: null,
  };
  readonly #texts: Texts;
  readonly #executions: Executions;
  readonly #commands: Commands;
  readonly #writer = new ByteWriter(512);
  /** Bytes of a packet in flow that are still to come, and what becomes of them. */
  #flowing = 0;
  #flow: 'infile' | 'longData' | 'dropped' = 'dropped';
  /** The packet in flow is not the last of its payload. */
  #continues = false;
  /** Packets of a command of several, or larger than a chunk, as they come. */
  readonly #collected: Buffer[] = [];
  #collectedBytes = 0;
  /** Of the packet being collected. */
  #missing = 0;
  /** Prepared statements that were closed in this turn. */
  readonly #closed: number[] = [];

  constructor(session: MysqlSession) {
    this.#s = session;
    this.#limits = clientRunning(0x3fff_0000);
    this.#texts = new Texts(session);
    this.#executions = new Executions(session, this.#texts);
    this.#commands = new Commands(session, this.#texts);
  }

  /** What is kept for the upstream is in the middle of something. */
  get midMessage(): boolean {
    return this.#s.file.active || (this.#flowing > 0 && this.#flow !== 'dropped');
  }

  beginTurn(): void {
    if (this.#closed.length > 0) this.#closed.length = 0;
  }

  /** What was passed on in this turn beside requests is passed on again, or given up. */
  takenBack(): void {
    const s = this.#s;
    for (const id of this.#closed) {
      const packet = closeCommand(id);
      s.toUpstream.push(packet, 0, packet.length);
    }
    this.#executions.takenBack();
  }

  /** A COM_QUERY of our own, as this connection writes it. */
  encodeQuery(sql: string): Buffer {
    this.#writer.reset();
    encodeQuery(this.#writer, sql, this.#s.upstreamCapabilities);
    return this.#writer.copy();
  }

  onBytes(bytes: Buffer, start: number, end: number): number {
    const s = this.#s;
    s.joinTurn();
    let at = start;
    while (at < end && !s.closing && !s.clientHeld) {
      const before = at;
      if (this.#flowing > 0) at = this.#goOn(bytes, at, end);
      else if (this.#missing > 0) at = this.#collectMore(bytes, at, end);
      else if (s.file.active || this.#continues) at = this.#filePacket(bytes, at, end);
      else at = this.#command(bytes, at, end);
      if (at === before) break;
    }
    // A client that pipelines more than we hold is not read until answers come (back-pressure).
    if (s.queue.size > limits.maxPipelinedRequests) s.flow.pauseClient(PAUSE.pipeline);
    if (s.closing && !s.detached) at = end;
    s.traffic.countIn(at - start);
    return at;
  }

  // --- commands ---------------------------------------------------------------------------------------------------

  /** A packet of a command. Returns the offset behind what was taken. */
  #command(bytes: Buffer, at: number, end: number): number {
    const s = this.#s;
    const cursor = this.#cursor;
    const here = nextPacket(bytes, at, end, this.#limits, cursor);
    if (cursor.end < 0 || end <= cursor.payload) return here ? this.#emptyContinuation(bytes, at) : at;
    const first = cursor.before === 0;
    checkSequence(cursor, first ? 0 : this.#whole.answerSequence, 'client');
    const command = first ? bytes[cursor.payload] : this.#collected[0][HEADER_BYTES];
    if (!first) checkContinuation(cursor, command, this.#limits);
    if (here && first && cursor.last) {
      this.#one(bytes, at, cursor.payload, cursor.end);
      return cursor.end;
    }
    if (command === Command.STMT_SEND_LONG_DATA && first) {
      if (!here && cursor.end - at <= s.maxChunkBytes / 2) return at;
      return this.#beginLongData(bytes, at, end);
    }
    if (!here && first && cursor.end - at <= s.maxChunkBytes) return at;
    return this.#beginCollecting(bytes, at, end, command);
  }

  /** The empty packet behind one of 2^24−1 bytes ends the command. */
  #emptyContinuation(bytes: Buffer, at: number): number {
    const cursor = this.#cursor;
    checkSequence(cursor, this.#whole.answerSequence, 'client');
    return this.#beginCollecting(bytes, at, cursor.end, this.#collected[0][HEADER_BYTES]);
  }

  /** A command in one packet that is there. */
  #one(bytes: Buffer, at: number, payload: number, next: number): void {
    const whole = this.#whole;
    whole.payload = bytes;
    whole.start = payload;
    whole.end = next;
    whole.packets = bytes;
    whole.from = at;
    whole.to = next;
    whole.answerSequence = 1;
    this.dispatch(whole);
  }

  #beginCollecting(bytes: Buffer, at: number, end: number, command: number): number {
    const s = this.#s;
    const cursor = this.#cursor;
    const payload = cursor.before + cursor.length;
    if (payload > s.maxStatementBytes + SLACK_BYTES) {
      this.#refuseOversized(bytes, at, end, command, payload);
      return Math.min(end, cursor.end);
    }
    const packet = Buffer.allocUnsafeSlow(cursor.end - at);
    const there = Math.min(end, cursor.end);
    bytes.copy(packet, 0, at, there);
    this.#collected.push(packet);
    this.#collectedBytes = there - at;
    this.#missing = cursor.end - there;
    this.#whole.answerSequence = (cursor.sequence + 1) & 0xff;
    if (this.#missing === 0) this.#packetCollected();
    return there;
  }

  #collectMore(bytes: Buffer, at: number, end: number): number {
    const packet = this.#collected[this.#collected.length - 1];
    const count = Math.min(end - at, this.#missing);
    bytes.copy(packet, this.#collectedBytes, at, at + count);
    this.#collectedBytes += count;
    this.#missing -= count;
    if (this.#missing === 0) this.#packetCollected();
    return at + count;
  }

  #packetCollected(): void {
    const cursor = this.#cursor;
    passPacket(cursor);
    if (!cursor.last) return;
    const whole = this.#whole;
    const packets = this.#collected.length === 1 ? this.#collected[0] : Buffer.concat(this.#collected);
    this.#collected.length = 0;
    whole.packets = packets;
    whole.from = 0;
    whole.to = packets.length;
    whole.payload = joinPayload(packets, 0, packets.length);
    whole.start = 0;
    whole.end = whole.payload.length;
    this.dispatch(whole);
    whole.packets = EMPTY;
    whole.payload = EMPTY;
  }

  /** Longer than anything we pass on: refused with its beginning as its record, its bytes dropped. */
  #refuseOversized(bytes: Buffer, at: number, end: number, command: number, payload: number): void {
    const s = this.#s;
    const cursor = this.#cursor;
    const why = oversizedRefusal(payload, s.maxStatementBytes);
    const head = this.#collected[0] ?? bytes.subarray(at, Math.min(end, at + 1024));
    const kind = command === Command.QUERY ? StatementKind.SIMPLE : StatementKind.PREPARE;
    const text =
      command === Command.QUERY || command === Command.STMT_PREPARE
        ? head.subarray(HEADER_BYTES + 1, 1024)
        : Buffer.from('/* an execution too large to be passed on */');
    s.recordRefused(kind, text, 0, text.length, why);
    if (command === Command.STMT_PREPARE) s.statements.refused();
    this.#collected.length = 0;
    this.#whole.answerSequence = (cursor.sequence + 1) & 0xff;
    this.#flow = 'dropped';
    this.#flowing = Math.max(0, cursor.end - end);
    this.#continues = !cursor.last;
    if (cursor.last) s.answerWith(why, (cursor.sequence + 1) & 0xff);
    else this.#afterDrop = () => s.answerWith(why, (cursor.sequence + 1) & 0xff);
    if (this.#flowing === 0) passPacket(cursor);
  }

  #afterDrop: (() => void) | null = null;

  /** Decides about a whole command. */
  dispatch(whole: WholeCommand): void {
    const command = whole.payload[whole.start];
    try {
      switch (command) {
        case Command.QUERY:
          this.#texts.query(whole);
          break;
        case Command.STMT_EXECUTE:
          this.#executions.execute(whole);
          break;
        case Command.STMT_PREPARE:
          this.#texts.prepare(whole);
          break;
        case Command.STMT_BULK_EXECUTE:
          this.#executions.bulk(whole);
          break;
        case Command.STMT_FETCH:
          this.#executions.fetch(whole);
          break;
        case Command.STMT_CLOSE:
          this.#close(whole);
          break;
        case Command.STMT_RESET:
          this.#executions.reset(whole);
          break;
        case Command.STMT_SEND_LONG_DATA:
          this.#executions.longData(whole);
          break;
        default:
          this.#commands.run(command, whole);
      }
    } catch (error) {
      if (!isAppError(error) || error.kind !== 'protocol') throw error;
      this.#malformed(command, whole, error.message);
    }
  }

  /** The server would answer with an error of its own and go on; it does not get to see what we could not read. */
  #malformed(command: number, whole: WholeCommand, message: string): void {
    const s = this.#s;
    const why = malformedRefusal(message);
    const text = Buffer.from(`/* ${message} */`);
    s.recordRefused(StatementKind.COMMAND, text, 0, text.length, why);
    if (command === Command.STMT_PREPARE) s.statements.refused();
    if (command !== Command.STMT_CLOSE && command !== Command.STMT_SEND_LONG_DATA)
      s.answerWith(why, whole.answerSequence);
  }

  #close(whole: WholeCommand): void {
    const s = this.#s;
    const id = decodeId(whole.payload, whole.start, whole.end);
    const known = s.statements.find(id);
    s.statements.close(id);
    if (known && known.id >= 0) this.#closed.push(known.id);
    s.toUpstream.push(whole.packets, whole.from, whole.to);
  }

  // --- what flows -------------------------------------------------------------------------------------------------

  #beginLongData(bytes: Buffer, at: number, end: number): number {
    const s = this.#s;
    const cursor = this.#cursor;
    const there = Math.min(end, cursor.end);
    const passed = this.#executions.beginLongData(bytes, cursor.payload, there);
    this.#flow = passed ? 'longData' : 'dropped';
    if (passed) s.toUpstream.push(bytes, at, there);
    this.#flowing = cursor.end - there;
    this.#continues = !cursor.last;
    this.#whole.answerSequence = (cursor.sequence + 1) & 0xff;
    if (this.#flowing === 0) passPacket(cursor);
    return there;
  }

  #goOn(bytes: Buffer, at: number, end: number): number {
    const s = this.#s;
    const count = Math.min(end - at, this.#flowing);
    this.#flowing -= count;
    if (this.#flow === 'infile') s.file.received(bytes, at, at + count);
    else if (this.#flow === 'longData') this.#executions.moreLongData(bytes, at, at + count);
    if (this.#flow !== 'dropped') s.toUpstream.push(bytes, at, at + count);
    if (this.#flowing === 0) passPacket(this.#cursor);
    return at + count;
  }

  /** A packet of the client's file, or one that goes on with a payload in flow. */
  #filePacket(bytes: Buffer, at: number, end: number): number {
    const s = this.#s;
    const cursor = this.#cursor;
    nextPacket(bytes, at, end, clientInfile, cursor);
    if (cursor.end < 0) return at;
    const ofFile = s.file.active;
    checkSequence(cursor, ofFile ? s.file.sequence : this.#whole.answerSequence, 'client');
    const sequence = (cursor.sequence + 1) & 0xff;
    if (ofFile) s.file.sequence = sequence;
    this.#whole.answerSequence = sequence;
    const there = Math.min(end, cursor.end);
    if (ofFile) {
      this.#flow = 'infile';
      s.file.received(bytes, cursor.payload, there);
    } else if (this.#flow === 'longData') this.#executions.moreLongData(bytes, cursor.payload, there);
    if (this.#flow !== 'dropped') s.toUpstream.push(bytes, at, there);
    this.#flowing = cursor.end - there;
    const fileEnds = ofFile && cursor.length === 0 && cursor.before === 0;
    this.#continues = !ofFile && cursor.length === MAX_PACKET_BYTES;
    if (this.#flowing === 0) passPacket(cursor);
    if (fileEnds) s.file.end();
    else if (!ofFile && !this.#continues && this.#afterDrop) {
      this.#afterDrop();
      this.#afterDrop = null;
    }
    return there;
  }
}

function closeCommand(id: number): Buffer {
  const packet = Buffer.alloc(9);
  packet[0] = 5;
  packet[4] = Command.STMT_CLOSE;
  packet.writeUInt32LE(id, 5);
  return packet;
}
