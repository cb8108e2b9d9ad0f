/** The journal's account: every statement that was let through, by the backend that it went to. */
import { JournalReader } from '../../src/journal/reader.ts';
import { Decision, type Event, type StatementStarted, type TextDeclared } from '../../src/model/events.ts';
import type { RunStatement } from './server-log.ts';

/** A recorded statement as the server's log would show it; `null`: the log does not show such. */
export type RecordedForm = (
  statement: StatementStarted,
  text: string,
  parameterTypes: readonly number[],
) => Omit<RunStatement, 'pid'> | null;

interface Text {
  readonly sql: string;
  readonly parameterTypes: readonly number[];
}

interface Session {
  readonly pid: number;
  readonly texts: Map<number, Text>;
}

export class JournalFollower {
  readonly #folder: string;
  readonly #sessions = new Map<string, Session>();
  readonly #form: RecordedForm;
  #nextSeq = 0;

  constructor(folder: string, form: RecordedForm) {
    this.#folder = folder;
    this.#form = form;
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
    const { sql, textRef, parameterTypes } = body.value;
    const text =
      textRef === 0 ? { sql: Buffer.from(sql).toString(), parameterTypes } : session.texts.get(textRef);
    if (text === undefined) throw new Error(`statement refers to text ${textRef}, which was never declared`);
    const types = parameterTypes.length > 0 ? parameterTypes : text.parameterTypes;
    const form = this.#form(body.value, text.sql, types);
    return form === null ? null : { pid: session.pid, ...form };
  }
}

function declare(session: Session, text: TextDeclared): void {
  session.texts.set(text.ref, { sql: Buffer.from(text.sql).toString(), parameterTypes: text.parameterTypes });
}
