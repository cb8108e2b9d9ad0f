/**
 * The transaction id behind a write: `SELECT txid_current_if_assigned()` of our own, put behind the client's batch
 * (before its Sync, so inside the same implicit transaction) or before a simple COMMIT. It writes no WAL and needs no
 * privilege; its answers are swallowed. See docs/protocols/postgres.md for what it can and cannot disturb.
 */
import { latin1 } from '../../../wire/postgres/reader.ts';
import { noticeResponse } from './refusal.ts';
import { Request, RequestKind } from './requests.ts';
import type { PgSession } from './session.ts';

const TEXT = 'SELECT pg_catalog.txid_current_if_assigned()';
const NAME = 'dbwitness_xid';

function msg(type: string, body: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head[0] = type.charCodeAt(0);
  head.writeUInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}

const BATCH = Buffer.concat([
  msg('P', Buffer.from(`${NAME}\0${TEXT}\0\0\0`, 'latin1')),
  msg('B', Buffer.from(`${NAME}\0${NAME}\0\0\0\0\0\0\0`, 'latin1')),
  msg('E', Buffer.concat([Buffer.from(`${NAME}\0`, 'latin1'), Buffer.alloc(4)])),
  msg('C', Buffer.from(`P${NAME}\0`, 'latin1')),
  msg('C', Buffer.from(`S${NAME}\0`, 'latin1')),
]);
const QUERY = msg('Q', Buffer.from(`${TEXT}\0`, 'latin1'));
const BATCH_COMPLETIONS = 2; // two CloseCompletes end a batch

export class XidProbe {
  readonly #s: PgSession;
  #closes = 0;
  #simple = false;
  #failed = false;
  #asked = false;
  #value = 0;
  /** Whether each probe in flight is a simple query, oldest first. */
  readonly #kinds: boolean[] = [];

  constructor(session: PgSession) {
    this.#s = session;
  }

  /** The open transaction has been asked about, or its id is known. */
  get known(): boolean {
    return this.#asked;
  }

  /** A transaction has ended. */
  transactionEnded(): void {
    this.#asked = this.#kinds.length > 0;
    this.#value = 0;
  }

  /** The id of the open transaction, for the outcomes that follow; 0 unknown. */
  get value(): number {
    return this.#value;
  }

  #learned(xid: number): void {
    const { recorder } = this.#s;
    this.#value = xid;
    if (recorder.pending) recorder.finished.xid = xid;
    else recorder.serverMessage('transaction_id', String(xid));
  }

  /** Puts a probe behind what was forwarded so far. */
  send(simple: boolean): void {
    const s = this.#s;
    s.queue.push(new Request(RequestKind.xidProbe, '', s.turn.number));
    this.#kinds.push(simple);
    this.#asked = true;
    const bytes = simple ? QUERY : BATCH;
    s.toUpstream.push(bytes, 0, bytes.length);
  }

  /** Whether a message is an answer to the probe at the head of the queue (and not asynchronous). */
  takes(type: number): boolean {
    if (type === 0x4e || type === 0x41 || type === 0x53) return false;
    this.#simple = this.#kinds[0];
    // In a batch that failed at the probe itself, ReadyForQuery belongs to the client's Sync.
    return this.#simple || type !== 0x5a;
  }

  onMessage(type: number, bytes: Buffer, at: number, next: number): void {
    const s = this.#s;
    if (type === 0x44) {
      const length = bytes.readInt32BE(at + 7);
      if (length > 0) this.#learned(Number(latin1(bytes, at + 11, Math.min(next, at + 11 + length))));
    } else if (type === 0x45) {
      // A cancel request hit our probe: in a batch that undoes the client's work, so the client must be told.
      this.#failed = true;
      if (!this.#simple) s.toClient.push(bytes, at, next);
    } else if (type === 0x33 && ++this.#closes === BATCH_COMPLETIONS) this.#done();
    else if (type === 0x5a) {
      if (this.#failed) this.#tell();
      this.#done();
    }
  }

  /** The server skipped the probe at the head of the queue, after an error before it. */
  skipped(): void {
    this.#closes = 0;
    this.#failed = false;
    this.#kinds.shift();
  }

  /** The newest probe was taken back before it was sent. */
  takenBack(): void {
    this.#kinds.pop();
  }

  #done(): void {
    this.#s.queue.shift();
    this.skipped();
  }

  /** A simple probe that failed has aborted the client's transaction: its COMMIT will answer ROLLBACK; say why. */
  #tell(): void {
    const notice = noticeResponse({
      sqlstate: '57014',
      message: 'the transaction was canceled while dbwitness asked for its id',
      detail: '',
      hint: 'Run the transaction again.',
    });
    this.#s.toClient.push(notice, 0, notice.length);
  }
}
