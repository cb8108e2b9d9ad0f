/**
 * A seeded stream of events of everything that the index knows: sessions that open, declare, run, fail, are cut off by
 * crashes and go on in a new segment; events of no session; texts and values that are hard to store.
 */
import { uidToBytes } from '../../../src/base/ids.ts';
import {
  Decision,
  Engine,
  Outcome,
  SessionClosed_Reason,
  StatementKind,
  Witness,
} from '../../../src/model/events.ts';
import { encodeBind } from './decoder.ts';
import type { EventInit, MemoryJournal } from './journal.ts';

export type Random = () => number;

/** mulberry32 */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

export function sessionUid(n: number): string {
  return `0198a000-0000-7000-8000-${n.toString(16).padStart(12, '0')}`;
}

export const START_US = Date.UTC(2026, 8, 1) * 1000;
const MONTH_US = 31 * 86_400 * 1_000_000;
const HARD_TEXTS = [
  '',
  "it''s",
  '\0nul\0',
  'żółć 😀',
  '\\',
  'tab\there',
  '\u{10ffff}',
  '{"a":[1,"\\u0000"]}',
];

interface OpenSession {
  readonly n: number;
  readonly uid: Uint8Array;
  ordinal: number;
  texts: number;
  readonly running: number[];
}

export class Workload {
  readonly journal: MemoryJournal;
  readonly random: Random;
  atUs: number;
  /** Longest time between two events: about three months in 1,500 events, so that partitions are made on the way. */
  stepUs: number = MONTH_US / 250;
  readonly #open: OpenSession[] = [];
  #sessions = 0;

  constructor(journal: MemoryJournal, seed: number) {
    this.journal = journal;
    this.random = seeded(seed);
    this.atUs = START_US;
  }

  /** Appends about `count` events; blocks end at random places. */
  run(count: number): void {
    this.#openJournal();
    while (count-- > 0) {
      this.atUs += Math.floor(this.random() * this.stepUs);
      this.#step();
      if (this.random() < 0.2) this.journal.flush();
    }
    this.journal.flush();
  }

  #pick<T>(values: readonly T[]): T {
    return values[Math.floor(this.random() * values.length)];
  }

  #append(session: OpenSession | null, body: NonNullable<EventInit['body']>): void {
    this.journal.append({
      atUs: BigInt(this.atUs),
      ...(session === null ? {} : { sessionUid: session.uid }),
      body,
    });
  }

  #step(): void {
    const dice = this.random();
    const session = this.#open.length === 0 ? null : this.#pick(this.#open);
    if (session === null || (dice < 0.03 && this.#open.length < 12)) this.#openSession();
    else if (dice < 0.05) this.#close(session);
    else if (dice < 0.052) this.#openJournal();
    else if (dice < 0.06) this.#noSession();
    else if (dice < 0.07)
      this.#append(session, { case: 'serverMessage', value: { kind: 'notice', text: 'x' } });
    else if (dice < 0.08) this.#continued(session);
    else if (dice < 0.12) this.#declare(session);
    else if (dice < 0.55 || session.running.length === 0) this.#start(session);
    else this.#finish(session);
  }

  /** A new start of the program: whatever was open has crashed. */
  #openJournal(): void {
    this.#open.length = 0;
    const previousEvents = BigInt(this.journal.nextSeq);
    this.#append(null, { case: 'journalOpened', value: { version: '1', node: 'n1', previousEvents } });
  }

  #opened(session: OpenSession, continued: boolean): void {
    const n = session.n % 5;
    this.#append(session, {
      case: 'sessionOpened',
      value: {
        origin: {
          witness: Witness.PROXY,
          engine: Engine.POSTGRES,
          serverUid: 'server-1',
          backendId: `${4000 + n}`,
        },
        userUid: `user-${n}`,
        userName: `person${n}`,
        databaseUid: `db-${n % 2}`,
        databaseName: n % 2 === 0 ? 'shop' : 'hr',
        grantUid: `grant-${n}`,
        controls: n === 0 ? ['read_only', 'block_ddl'] : [],
        clientAddress: '127.0.0.1',
        clientPort: 50_000 + session.n,
        authentication: 'password',
        applicationName: this.#pick(HARD_TEXTS),
        openedUs: BigInt(START_US + session.n),
        continued,
      },
    });
  }

  #openSession(): void {
    const n = this.#sessions++;
    const session = { n, uid: uidToBytes(sessionUid(n)), ordinal: 0, texts: 0, running: [] };
    this.#open.push(session);
    this.#opened(session, false);
  }

  #continued(session: OpenSession): void {
    this.#opened(session, true);
    for (let ref = 1; ref <= session.texts; ref++) this.#declareRef(session, ref);
  }

  #declare(session: OpenSession): void {
    this.#declareRef(session, ++session.texts);
  }

  #declareRef(session: OpenSession, ref: number): void {
    const sql = Buffer.from(`SELECT a FROM accounts WHERE aid = $1 /* ${ref} */`);
    const sqlBytes = BigInt(sql.length);
    const redacted = ref % 7 === 0;
    this.#append(session, {
      case: 'textDeclared',
      value: { ref, sql, sqlBytes, parameterTypes: [23, 25], redacted },
    });
  }

  #start(session: OpenSession): void {
    const ordinal = ++session.ordinal;
    session.running.push(ordinal);
    const byReference = session.texts > 0 && this.random() < 0.5;
    const refused = this.random() < 0.03;
    this.#append(session, {
      case: 'statementStarted',
      value: {
        ordinal,
        transactionStatus: Buffer.from(this.#pick(['I', 'T', 'E'])),
        decision: refused ? Decision.DENIED : Decision.ALLOWED,
        ...(byReference
          ? {
              kind: StatementKind.EXECUTE,
              textRef: 1 + Math.floor(this.random() * session.texts),
              bind: encodeBind([String(ordinal), this.#pick(HARD_TEXTS)]),
            }
          : {
              kind: StatementKind.SIMPLE,
              sql: Buffer.from(`INSERT INTO orders VALUES (${ordinal}, '${this.#pick(HARD_TEXTS)}')`),
            }),
      },
    });
  }

  #finish(session: OpenSession): void {
    const at = Math.floor(this.random() * session.running.length);
    const ordinal = session.running.splice(at, 1)[0];
    const rows = Math.floor(this.random() * 100);
    if (this.random() < 0.2)
      this.#append(session, { case: 'resultChunk', value: { ordinal, result: { rowCount: 1n } } });
    const failed = this.random() < 0.1;
    const other = this.random() < 0.02;
    this.#append(session, {
      case: 'statementFinished',
      value: {
        ordinal,
        tag: failed ? '' : `SELECT ${rows}`,
        rows: BigInt(rows),
        bytes: BigInt(rows * 20),
        durationUs: BigInt(Math.floor(this.random() * 1e6)),
        firstRowUs: rows > 50 ? 77n : 0n,
        outcome: failed ? Outcome.FAILED : Outcome.COMPLETED,
        ...(failed
          ? { error: { code: '42P01', message: `no table ${this.#pick(HARD_TEXTS)}`, severity: 'ERROR' } }
          : {}),
        ...(other ? { actualSql: Buffer.from('DELETE FROM other_table') } : {}),
        truncated: rows > 90,
        xid: rows > 80 ? BigInt(700 + rows) : 0n,
      },
    });
  }

  #close(session: OpenSession): void {
    this.#open.splice(this.#open.indexOf(session), 1);
    this.#append(session, {
      case: 'sessionClosed',
      value: { reason: SessionClosed_Reason.CLIENT_QUIT, detail: 'bye', bytesIn: 11n, bytesOut: 22n },
    });
  }

  #noSession(): void {
    const clientAddress = '10.0.0.1';
    if (this.random() < 0.5)
      this.#append(null, {
        case: 'loginFailed',
        value: { userName: 'eve', databaseName: 'shop', clientAddress, reason: 'wrong_secret' },
      });
    else
      this.#append(null, {
        case: 'controlChange',
        value: { actorName: 'root', action: 'create', objectKind: 'grant', objectName: 'g', clientAddress },
      });
  }
}
