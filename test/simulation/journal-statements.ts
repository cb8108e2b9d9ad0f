/** The journal's account: every statement that was let through, by the backend that it went to. */
import { JournalReader } from '../../src/journal/reader.ts';
import { Decision, type Event, type TextDeclared } from '../../src/model/events.ts';
import { normalised, type RunStatement } from './server-log.ts';

interface Session {
  readonly pid: number;
  readonly texts: Map<number, string>;
}

export class JournalFollower {
  readonly #folder: string;
  readonly #sessions = new Map<string, Session>();
  #nextSeq = 0;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** What the journal has more than at the last call, in its order. */
  async statementsSince(): Promise<RunStatement[]> {
    const reader = JournalReader.open(this.#folder);
    const found: RunStatement[] = [];
    try {
      for (const { seq, event } of reader.events(this.#nextSeq)) {
        this.#nextSeq = seq + 1;
        const statement = this.#take(event);
        if (statement !== null) found.push(statement);
      }
    } finally {
      await reader.close();
    }
    return found;
  }

  #take(event: Event): RunStatement | null {
    const key = Buffer.from(event.sessionUid).toString('hex');
    const { body } = event;
    if (body.case === 'sessionOpened') {
      const known = this.#sessions.get(key);
      if (known === undefined)
        this.#sessions.set(key, { pid: Number(body.value.origin?.backendId), texts: new Map() });
      return null;
    }
    const session = this.#sessions.get(key);
    if (session === undefined) return null;
    if (body.case === 'textDeclared') declare(session, body.value);
    if (body.case !== 'statementStarted' || body.value.decision !== Decision.ALLOWED) return null;
    const { sql, textRef, bind } = body.value;
    const text = textRef === 0 ? Buffer.from(sql).toString() : session.texts.get(textRef);
    if (text === undefined) throw new Error(`statement refers to text ${textRef}, which was never declared`);
    return { pid: session.pid, text: normalised(text), parameters: parametersOf(Buffer.from(bind)) };
  }
}

function declare(session: Session, text: TextDeclared): void {
  session.texts.set(text.ref, Buffer.from(text.sql).toString());
}

/** Bind's parameters, all in text format, as the server writes them into its log. */
function parametersOf(bind: Buffer): string {
  if (bind.length === 0) return '';
  let at = 2 + 2 * bind.readInt16BE(0);
  const count = bind.readInt16BE(at);
  at += 2;
  const values: string[] = [];
  for (let i = 0; i < count; i++) {
    const length = bind.readInt32BE(at);
    at += 4;
    values.push(length < 0 ? 'NULL' : `'${bind.toString('utf8', at, at + length).replaceAll("'", "''")}'`);
    at += Math.max(0, length);
  }
  return values.join(', ');
}
