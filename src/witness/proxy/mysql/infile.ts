/**
 * LOAD DATA LOCAL INFILE: the server asks, the client sends its file, both through us.
 *
 * A server may ask for any file at any time, and clients that allow it obey. So a request is passed on only when the
 * database allows LOCAL, the client said that it can, the statement that runs is a LOAD … LOCAL of the client's own, and
 * the file is the one it names.
 */
import { Capability, HEADER_BYTES } from '../../../wire/mysql/protocol.ts';
import { decodeLocalInfile } from '../../../wire/mysql/resultset.ts';
import type { Request } from './requests.ts';
import type { MysqlSession } from './session.ts';
import type { InFlight } from './statement.ts';

export class FileTransfer {
  readonly #s: MysqlSession;
  #statement: InFlight | null = null;
  /** The client sends its file. */
  active = false;
  /** Sequence id of the client's next packet. */
  sequence = 0;

  constructor(session: MysqlSession) {
    this.#s = session;
  }

  askedFor(head: Request, bytes: Buffer, at: number, next: number): void {
    const s = this.#s;
    const name = decodeLocalInfile(bytes, at + HEADER_BYTES, next);
    const agreed = (s.upstreamCapabilities.flags & Capability.LOCAL_FILES) !== 0;
    const statement = head.running();
    if (!agreed || !statement || statement.loads === null || !names(statement.loads, name)) {
      s.lostTrack('the server asked for a file of the client that its statement does not name');
      return;
    }
    if (s.queue.size > 1) {
      s.lostTrack('the client sent commands where its file must come');
      return;
    }
    this.#statement = statement;
    this.active = true;
    this.sequence = (bytes[at + 3] + 1) & 0xff;
    s.toClient.push(bytes, at, next);
  }

  /** Payload of the client's file. */
  received(bytes: Buffer, start: number, end: number): void {
    const s = this.#s;
    const statement = this.#statement;
    if (!statement || start >= end) return;
    statement.bytes += end - start;
    const room = s.permit.recording.captureCopyBytes - statement.recordedBytes;
    if (end - start > room) statement.truncated = true;
    if (room <= 0) return;
    const cut = Math.min(end, start + room);
    statement.recordedBytes += cut - start;
    s.recorder.copy(statement.ordinal, true, bytes, start, cut);
  }

  /** The empty packet behind the file has come. */
  end(): void {
    this.active = false;
    this.#statement = null;
    this.#s.backend.fileSent(this.sequence);
  }
}

/** Whether a text names the file, as a whole literal: as it is, or with its escapes undone. */
function names(text: string, file: string): boolean {
  if (file === '') return false;
  const plain = text.replaceAll(/\\(.)/gs, '$1').replaceAll("''", "'");
  return [text, plain].some((one) => one.includes(`'${file}'`) || one.includes(`"${file}"`));
}
