/**
 * When we know how the server reads a text.
 *
 * Where a string ends depends on `client_encoding` (in SJIS a backslash may be the second half of a character) and on
 * `standard_conforming_strings`. The server reports both, but only with ReadyForQuery. A text that follows a change and
 * comes before that report may mean something else to the server than to us, and hide a statement that a control refuses:
 *
 *   Query  SET client_encoding = 'SJIS'
 *   Query  SELECT E'<95 5c>'; DROP TABLE t; --'      one string in UTF-8, three statements in SJIS
 *
 * So under controls, in a session that has touched these settings, a text that could be read in two ways is judged only
 * when nothing has run since the last report; until then it waits, or, where no report will come by itself (a batch
 * without its Sync), it is refused. All other texts, and sessions that leave the settings alone, are not held up.
 */
import { limits } from '../../../base/limits.ts';
import { latin1 } from '../../../wire/postgres/reader.ts';
import { refusal, type Refusal, SQLSTATE } from './refusal.ts';
import { RequestKind, type RequestQueue } from './requests.ts';

/** What a text must contain to change the settings itself, however it is quoted. Functions that do it unseen: docs/read-only.md. */
const TOUCHES = /client_encoding|standard_conforming|set_config|pg_settings|\bnames\b|u&"/i;

/** What leads to a ReadyForQuery without the client doing anything more. */
const REPORTED: ReadonlySet<RequestKind> = new Set<RequestKind>([
  RequestKind.query,
  RequestKind.functionCall,
  RequestKind.sync,
]);
/** What runs code, and so may change settings. */
const RUNS: ReadonlySet<RequestKind> = new Set<RequestKind>([
  RequestKind.query,
  RequestKind.functionCall,
  RequestKind.bind,
  RequestKind.execute,
]);

export class LexicalKnowledge {
  readonly #queue: RequestQueue;
  #touched = false;
  #ran = false;
  readonly #waiting: (() => void)[] = [];

  constructor(queue: RequestQueue) {
    this.#queue = queue;
  }

  /** A request was passed on. */
  passed(kind: RequestKind): void {
    if (RUNS.has(kind)) this.#ran = true;
  }

  /** ReadyForQuery: with nothing in flight behind it, everything that changed has been reported. */
  ready(): void {
    if (this.#queue.size > 0) return;
    this.#ran = false;
    if (this.#waiting.length > 0) for (const action of this.#waiting.splice(0)) setImmediate(action);
  }

  /** Looks at a text that is about to be judged: may it be, with the settings as we know them? */
  ask(bytes: Buffer, start: number, end: number): 'known' | 'wait' | 'unknown' {
    const doubtful = this.#touched && this.#ran && hasTwoReadings(bytes, start, end);
    this.#touched ||= end - start > limits.maxInlineParseBytes || TOUCHES.test(latin1(bytes, start, end));
    if (!doubtful) return 'known';
    const { size } = this.#queue;
    return size > 0 && REPORTED.has(this.#queue.at(size - 1).kind) ? 'wait' : 'unknown';
  }

  /** Runs `action`, outside of this turn, once the settings are known. */
  whenKnown(action: () => void): void {
    this.#waiting.push(action);
  }
}

function hasTwoReadings(bytes: Buffer, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if (bytes[i] >= 0x80 || bytes[i] === 0x5c) return true;
  return false;
}

export const UNREPORTED: Refusal = refusal(
  SQLSTATE.featureNotSupported,
  'a statement with a backslash or a non-ASCII character cannot be judged here: what ran before it in this batch may have changed how it is read',
  'Send a Sync before it, or set client_encoding and standard_conforming_strings when you connect.',
);
