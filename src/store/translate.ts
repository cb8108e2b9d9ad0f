/**
 * Events to rows. A batch of scanned events, in order, becomes an {@link IndexBatch}: everything that one transaction
 * of the index writer puts into the store. Pure but for the state of open sessions (`index-state.ts`), which must have been loaded for
 * every session and text that {@link Translator.missing} names.
 *
 * Why indexing a range again changes nothing:
 *  - rows have the event's identity as their key and hold absolute values, never differences;
 *  - what is counted (statements, errors, usage) is counted per session, and a session knows the last event that it
 *    counted (`last_seq`).
 *
 * A batch starts at a JournalOpened or contains none: what the store holds open at that point is closed first.
 */
import { fromBinary } from '@bufbuild/protobuf';
import { type Event, ParameterSchema } from '../model/events.ts';
import {
  BODY,
  type ScannedEvent,
  type ScannedFinished,
  type ScannedStarted,
  UNDECODABLE,
} from './event-scan.ts';
import { decodeEvent, eventRow, sessionEnd, sessionRow } from './event-rows.ts';
import { BatchBuilder, type IndexBatch } from './index-batch.ts';
import {
  type SessionDelta,
  SessionState,
  type StateCache,
  type StatementFinish,
  type TextState,
} from './index-state.ts';
import { paramsText } from './params-text.ts';
import type { StatementDecoder } from './statement-decoder.ts';
import { TextCache, textState } from './text-cache.ts';

export const BODY_JOURNAL_OPENED = 32;

const NO_TEXT: TextState = textState('', { verb: '', fingerprint: '', tables: [] }, false, []);
const OUTCOMES = ['completed', 'failed', 'refused', 'skipped', 'unknown'] as const;

export interface Missing {
  /** Keys of sessions that are not in the cache. */
  readonly sessions: string[];
  readonly texts: { readonly session: string; readonly ref: number }[];
}

export interface TranslatorCounters {
  /** Finished events whose start is not known: it was in a segment that retention dropped. */
  orphans: number;
  /** Events that no version of the model explains; each is a row of idx_events. */
  undecodable: number;
  /** Statements whose parameters or text the decoder failed on. */
  decoderFailures: number;
}

export class Translator {
  readonly counters: TranslatorCounters = { orphans: 0, undecodable: 0, decoderFailures: 0 };
  readonly #journal: string;
  readonly #decoder: StatementDecoder;
  readonly #texts: TextCache;
  readonly #state: StateCache;
  #batch: BatchBuilder;

  constructor(journal: string, decoder: StatementDecoder, state: StateCache) {
    this.#journal = journal;
    this.#decoder = decoder;
    this.#state = state;
    this.#texts = new TextCache(decoder);
    this.#batch = new BatchBuilder(journal);
  }

  /** What must be loaded into the cache, where the store has it, before these events can be translated. */
  missing(events: readonly ScannedEvent[]): Missing {
    const sessions = new Set<string>();
    const declared = new Set<string>();
    const texts: { session: string; ref: number }[] = [];
    for (const event of events) {
      if (event.session === '') continue;
      const session = this.#state.get(event.session);
      if (session === undefined) sessions.add(event.session);
      // Later pieces of a long text do not bring its beginning.
      if (event.text?.offset === 0) declared.add(`${event.session}${event.text.ref}`);
      const ref = event.started?.textRef ?? 0;
      if (ref === 0 || session?.texts.has(ref) === true) continue;
      const name = `${event.session}${ref}`;
      if (declared.has(name)) continue;
      declared.add(name);
      texts.push({ session: event.session, ref });
    }
    return { sessions: [...sessions], texts };
  }

  translate(events: readonly ScannedEvent[]): IndexBatch {
    const batch = new BatchBuilder(this.#journal);
    this.#batch = batch;
    for (const event of events) this.#one(event);
    return batch.finish();
  }

  #one(event: ScannedEvent): void {
    switch (event.body) {
      case BODY.statementStarted:
        this.#started(event, event.started!);
        break;
      case BODY.statementFinished:
        this.#finished(event, event.finished!);
        break;
      case BODY.textDeclared: {
        const session = this.#session(event);
        const { ref, sql, redacted, parameterTypes, offset } = event.text!;
        if (offset > 0) break; // the index has the beginning of a long text, the journal all of it
        const text = this.#text(session, sql, redacted, parameterTypes ?? []);
        session.declare(ref, text);
        this.#batch.declare(session, ref, text);
        break;
      }
      case BODY.resultChunk:
      case BODY.copyChunk:
        break;
      case BODY.serverMessage:
        this.#count(event, (delta) => {
          delta.serverMessages++;
        });
        break;
      default:
        this.#rare(event);
    }
  }

  #started(event: ScannedEvent, started: ScannedStarted): void {
    const session = this.#session(event);
    const text = this.#textOf(session, started);
    // An execution of MySQL says its own types, whatever its text is; one of PostgreSQL has those of the text.
    const types = started.parameterTypes ?? text.parameterTypes;
    const row = {
      session,
      ordinal: started.ordinal,
      startedUs: event.atUs,
      startSeq: event.seq,
      startBlock: event.block,
      kind: started.kind,
      decision: started.decision,
      transactionStatus: started.transactionStatus,
      text,
      params: this.#params(session, started, types),
      redacted: started.redacted || text.redacted,
      unfinished: 'running' as const,
      finish: null,
    };
    this.#batch.insert(row);
    session.running.set(started.ordinal, { ordinal: started.ordinal, startedUs: event.atUs, row });
    this.#count(event, (delta) => {
      delta.statements++;
      // 0 is DECISION_ALLOWED: only what was let through to the server counts towards the grant's quota.
      if (started.decision === 0) {
        delta.usedStatements++;
        this.#batch.use(session.grantUid, 1, 0);
      }
    });
  }

  #finished(event: ScannedEvent, finished: ScannedFinished): void {
    const session = this.#session(event);
    const finish = this.#finish(session, event.seq, finished);
    this.#count(event, (delta) => {
      if (finish.outcome === 'failed' || finish.outcome === 'refused') delta.errors++;
      delta.usedBytes += finish.bytes;
      this.#batch.use(session.grantUid, 0, finish.bytes);
    });
    const running = session.running.get(finished.ordinal);
    if (running === undefined) {
      this.counters.orphans++;
      return;
    }
    session.running.delete(finished.ordinal);
    if (running.row === null) this.#batch.update(session, running, finish);
    else running.row.finish = finish;
  }

  #finish(session: SessionState, seq: number, finished: ScannedFinished): StatementFinish {
    const { errorCode, errorNumber, failed, actualSql } = finished;
    const code = errorCode.length > 0 ? errorCode : Buffer.from(String(errorNumber));
    return {
      seq,
      tag: finished.tag,
      rows: finished.rows,
      bytes: finished.bytes,
      durationUs: finished.durationUs,
      firstRowUs: finished.firstRowUs === 0 ? null : finished.firstRowUs,
      outcome: finished.outcome === 0 && failed ? 'failed' : (OUTCOMES[finished.outcome] ?? 'unknown'),
      errorCode: failed ? code : null,
      errorMessage: failed ? finished.errorMessage : null,
      xid: finished.xid === 0 ? null : finished.xid,
      truncated: finished.truncated,
      actual: actualSql.length === 0 ? null : this.#text(session, actualSql, false, []),
    };
  }

  #rare(scanned: ScannedEvent): void {
    const event = this.#decode(scanned);
    if (event?.body.case === 'sessionOpened') {
      if (this.#state.get(scanned.session) === undefined) {
        const row = sessionRow(this.#journal, scanned.session, scanned.seq, scanned.atUs, event.body.value);
        this.#add(new SessionState(row, false));
      }
      this.#count(scanned, () => undefined);
      return;
    }
    if (event?.body.case === 'sessionClosed') {
      this.#closed(scanned, event);
      return;
    }
    if (event?.body.case === 'journalOpened') this.#batch.openJournal(scanned.seq);
    if (event?.body.case === 'segmentsDropped') this.#batch.dropUntil(Number(event.body.value.lastEvent) + 1);
    const row = eventRow(this.#journal, scanned, event);
    if (row?.kind === 'undecodable') this.counters.undecodable++;
    if (row !== null) this.#batch.addEvent(row);
  }

  #decode(scanned: ScannedEvent): Event | null {
    if (scanned.body === UNDECODABLE) return null;
    try {
      return decodeEvent(scanned);
    } catch {
      // Becomes a row that says so.
      return null;
    }
  }

  #closed(scanned: ScannedEvent, event: Event): void {
    const session = this.#session(scanned);
    const end = sessionEnd(event);
    this.#delta(session, scanned).closed = end;
    this.#count(scanned, () => undefined);
    for (const running of session.running.values()) {
      if (running.row === null) this.#batch.abandon(session, running);
      else running.row.unfinished = 'unknown';
    }
    session.running.clear();
    session.texts.clear();
    session.textBytes = 0;
    this.#batch.end(session);
    // Should anything of it come later all the same, it is loaded again.
    this.#state.forget(session.key);
  }

  /** The session of an event; one whose SessionOpened is gone is made up, so that its statements are not lost. */
  #session(event: ScannedEvent): SessionState {
    const known = this.#state.get(event.session);
    if (known !== undefined) return known;
    return this.#add(
      new SessionState(sessionRow(this.#journal, event.session, event.seq, event.atUs, null), false),
    );
  }

  #add(session: SessionState): SessionState {
    this.#state.add(session);
    this.#batch.touch(session);
    return session;
  }

  #delta(session: SessionState, event: ScannedEvent): SessionDelta {
    this.#batch.touch(session);
    return (session.delta ??= {
      statements: 0,
      errors: 0,
      usedStatements: 0,
      usedBytes: 0,
      serverMessages: 0,
      lastUs: event.atUs,
      closed: null,
    });
  }

  /** Lets an event count towards its session, unless it did so before. */
  #count(event: ScannedEvent, add: (delta: SessionDelta) => void): void {
    const session = this.#session(event);
    const delta = this.#delta(session, event);
    if (event.seq <= session.lastSeq) return;
    session.lastSeq = event.seq;
    delta.lastUs = Math.max(delta.lastUs, event.atUs);
    add(delta);
  }

  #textOf(session: SessionState, started: ScannedStarted): TextState {
    if (started.textRef !== 0) return session.texts.get(started.textRef) ?? NO_TEXT;
    return started.sql.length === 0 ? NO_TEXT : this.#text(session, started.sql, false, []);
  }

  #text(session: SessionState, sql: Buffer, redacted: boolean, types: readonly number[]): TextState {
    let text: TextState;
    try {
      text = this.#texts.describe(session.engine, sql);
    } catch {
      this.counters.decoderFailures++;
      text = textState(sql.toString('utf8').replaceAll('\0', ''), NO_TEXT.facts, redacted, types);
    }
    return redacted || types.length > 0 ? { ...text, redacted, parameterTypes: types } : text;
  }

  #params(session: SessionState, started: ScannedStarted, types: readonly number[]): string | null {
    if (started.bind === null && started.parameters === null) return null;
    try {
      const parameters = (started.parameters ?? []).map((bytes) => fromBinary(ParameterSchema, bytes));
      const values = this.#decoder.decodeParameters(
        session.engine,
        { bind: started.bind, parameters },
        types,
      );
      return values === null ? null : paramsText(values);
    } catch {
      this.counters.decoderFailures++;
      return null;
    }
  }
}
