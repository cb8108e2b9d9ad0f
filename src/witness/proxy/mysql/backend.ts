/**
 * The server's side of a session: every packet from the upstream is framed in place and given to the request it answers
 * (answers.ts); rows are counted and captured here, and everything is kept for the client until the turn ends.
 */
import { nextPacket, PacketCursor, skipRows } from '../../../wire/mysql/framing.ts';
import { HEADER_BYTES, MAX_PACKET_BYTES, upstreamRunning } from '../../../wire/mysql/protocol.ts';
import { decodeErr, EOF, ERR } from '../../../wire/mysql/responses.ts';
import { Answers } from './answers.ts';
import { RowCapture } from '../row-capture.ts';
import { type Request, RequestKind } from './requests.ts';
import type { MysqlSession } from './session.ts';
import type { InFlight } from './statement.ts';

/** Packets up to this size wait in the link until they are whole; rows beyond it flow through. */
const WHOLE_BYTES = 16 * 1024;
const MAX_COLLECTED_BYTES = 64 * 1024 * 1024;

export class Backend {
  readonly #s: MysqlSession;
  readonly #cursor = new PacketCursor();
  readonly #capture: RowCapture<InFlight>;
  readonly #answers: Answers;
  /** Sequence id of the packet that comes. */
  #sequence = 1;
  /** Bytes of a row in flow that are still to come; whether another packet of it follows them. */
  #flowing = 0;
  #rowContinues = false;
  #collected: Buffer | null = null;
  #collectedBytes = 0;

  constructor(session: MysqlSession) {
    this.#s = session;
    this.#capture = new RowCapture(session.records, session.permit.recording);
    this.#answers = new Answers(session, this.#capture, (head, bytes, at, end, total) =>
      this.#beginRow(head, bytes, at, end, total),
    );
  }

  /** True while the last byte forwarded to the client was in the middle of a packet. */
  get midMessage(): boolean {
    return this.#flowing > 0;
  }

  /** The sequence id that a packet of ours to the client must have now. */
  get nextSequence(): number {
    return this.#sequence;
  }

  /** The client's file is through: the answer comes behind its last packet. */
  fileSent(nextSequence: number): void {
    this.#sequence = nextSequence;
  }

  /** A request became the head of the queue. */
  begin(request: Request): void {
    this.#sequence = request.answerSequence;
    this.#answers.begin();
  }

  onBytes(bytes: Buffer, start: number, end: number): number {
    const s = this.#s;
    const cursor = this.#cursor;
    s.joinTurn();
    let at = start;
    if (this.#flowing > 0 || this.#collected) at = this.#goOn(bytes, at, end);
    while (at < end && !s.closing && !s.detached) {
      if (this.#answers.inRows && !this.#rowContinues) {
        const after = this.#rows(bytes, at, end);
        if (after !== at) {
          at = after;
          continue;
        }
      }
      cursor.before = 0;
      if (!nextPacket(bytes, at, end, upstreamRunning, cursor)) {
        if (cursor.end < 0 || !this.#beginPartial(bytes, at, end)) break;
        at = end;
        break;
      }
      this.#packet(bytes, at, cursor.end);
      at = cursor.end;
    }
    this.#capture.flush();
    s.recorder.settle();
    if (s.closing) at = end;
    s.traffic.countOut(at - start);
    return at;
  }

  // --- rows -------------------------------------------------------------------------------------------------------

  /** Whole rows, one behind the other: the inner loop of large results. Returns the offset behind the last one. */
  #rows(bytes: Buffer, start: number, end: number): number {
    const s = this.#s;
    const head = s.queue.head();
    if (!head || head.kind === RequestKind.internal) return start;
    const statement = head.running();
    if (!statement) return start;
    const cursor = this.#cursor;
    let rows = 0;
    let at = start;
    if (!statement.truncated) {
      // Those that may be recorded, one by one.
      let captureEnd = start;
      for (;;) {
        const one = this.#oneRow(bytes, at, end);
        if (one < 0) break;
        if (!this.#capture.fits(statement, rows + 1, one - start)) {
          statement.truncated = true;
          break;
        }
        this.#sequence = (this.#sequence + 1) & 0xff;
        rows++;
        at = one;
        captureEnd = one;
      }
      if (rows > 0) this.#capture.take(statement, bytes, start, captureEnd, rows);
    }
    if (statement.truncated) {
      const more = skipRows(bytes, at, end, this.#sequence, cursor);
      if (more > 0) {
        this.#sequence = (cursor.sequence + 1) & 0xff;
        rows += more;
        at = cursor.end;
      }
    }
    if (rows === 0) return start;
    this.#countRows(statement, rows, at - start);
    s.toClient.push(bytes, start, at);
    return at;
  }

  /** The offset behind the row at `at`, or −1: something else, or not whole. */
  #oneRow(bytes: Buffer, at: number, end: number): number {
    if (end - at <= HEADER_BYTES) return -1;
    const length = bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16);
    const next = at + HEADER_BYTES + length;
    if (length === 0 || length === MAX_PACKET_BYTES || next > end) return -1;
    if (bytes[at + HEADER_BYTES] >= EOF || bytes[at + 3] !== this.#sequence) return -1;
    return next;
  }

  #countRows(statement: InFlight, rows: number, bytes: number): void {
    const s = this.#s;
    if (statement.rows === 0) statement.firstRowUs = s.turn.monotonicUs;
    statement.rows += rows;
    statement.bytes += bytes;
    s.outcomeInTurn = true;
  }

  // --- packets larger than what is there --------------------------------------------------------------------------

  /** Returns false when the packet should wait in the link for its rest. */
  #beginPartial(bytes: Buffer, at: number, end: number): boolean {
    const s = this.#s;
    const { end: next, length } = this.#cursor;
    const total = next - at;
    if (total <= WHOLE_BYTES || end - at <= HEADER_BYTES) return false;
    const head = s.queue.head();
    if (head && this.#isRow(bytes[at + HEADER_BYTES], length) && head.kind !== RequestKind.internal) {
      if (!this.#inOrder(bytes, at)) return true;
      this.#beginRow(head, bytes, at, end, total);
      this.#flowing = next - end;
      return true;
    }
    if (total <= s.maxChunkBytes) return false;
    if (total > MAX_COLLECTED_BYTES) {
      s.lostTrack(`the server sent a packet of ${total} bytes that is no row`);
      return true;
    }
    this.#collected = Buffer.allocUnsafeSlow(total);
    this.#collectedBytes = bytes.copy(this.#collected, 0, at, end);
    return true;
  }

  #isRow(first: number, length: number): boolean {
    return this.#rowContinues || this.#answers.isRow(first, length);
  }

  /** A row, or a packet of one, of which `bytes[at, end)` is there. */
  #beginRow(head: Request, bytes: Buffer, at: number, end: number, total: number): void {
    const s = this.#s;
    const statement = head.running();
    if (!statement) {
      s.lostTrack('a row that belongs to no statement');
      return;
    }
    const goesOn = this.#rowContinues;
    this.#rowContinues = this.#cursor.length === MAX_PACKET_BYTES;
    this.#countRows(statement, goesOn ? 0 : 1, total);
    if (goesOn || this.#rowContinues)
      statement.truncated = true; // 16 MiB and more are never recorded
    else this.#capture.beginLong(statement, bytes, at, end, total);
    s.toClient.push(bytes, at, end);
  }

  #goOn(bytes: Buffer, at: number, end: number): number {
    const s = this.#s;
    if (this.#collected) {
      const count = Math.min(end - at, this.#collected.length - this.#collectedBytes);
      bytes.copy(this.#collected, this.#collectedBytes, at, at + count);
      this.#collectedBytes += count;
      if (this.#collectedBytes === this.#collected.length) {
        const whole = this.#collected;
        this.#collected = null;
        this.#cursor.before = 0;
        nextPacket(whole, 0, whole.length, upstreamRunning, this.#cursor);
        this.#packet(whole, 0, whole.length);
      }
      return at + count;
    }
    const count = Math.min(end - at, this.#flowing);
    s.outcomeInTurn = true;
    s.toClient.push(bytes, at, at + count);
    this.#flowing -= count;
    this.#capture.goOn(bytes, at, at + count);
    return at + count;
  }

  // --- whole packets ----------------------------------------------------------------------------------------------

  #inOrder(bytes: Buffer, at: number): boolean {
    const sequence = bytes[at + 3];
    if (sequence !== this.#sequence) {
      this.#s.lostTrack(`the server's packet ${sequence} came where ${this.#sequence} was expected`);
      return false;
    }
    this.#sequence = (sequence + 1) & 0xff;
    return true;
  }

  #packet(bytes: Buffer, at: number, next: number): void {
    const s = this.#s;
    const head = s.queue.head();
    if (!head) {
      this.#unasked(bytes, at, next);
      return;
    }
    if (!this.#inOrder(bytes, at)) return;
    const { length } = this.#cursor;
    if (length === 0 && !this.#rowContinues) {
      s.lostTrack('the server sent an empty packet');
      return;
    }
    if (head.kind !== RequestKind.internal && this.#isRow(bytes[at + HEADER_BYTES], length)) {
      this.#beginRow(head, bytes, at, next, next - at);
      return;
    }
    if (length === MAX_PACKET_BYTES) {
      s.lostTrack('the server sent a packet of 16 MiB that is no row');
      return;
    }
    this.#answers.packet(head, bytes, at, next);
  }

  /** A server says good-bye without having been asked: an idle connection, a shutdown. */
  #unasked(bytes: Buffer, at: number, next: number): void {
    const s = this.#s;
    if (next - at > HEADER_BYTES + 3 && bytes[at + HEADER_BYTES] === ERR) {
      const error = decodeErr(bytes, at + HEADER_BYTES, next);
      s.recorder.serverMessage('error', `${error.number} ${error.sqlState} ${error.message}`.slice(0, 1024));
      s.outcomeInTurn = true;
      s.toClient.push(bytes, at, next);
    } else s.lostTrack('the server sent an answer to nothing');
  }
}
