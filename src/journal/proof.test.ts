import { expect, test, vi } from 'vitest';
import { FOLDER, openSimulated } from './simulated-journal.ts';
import { newUidBytes, uidFromBytes } from '../base/ids.ts';
import { Decision, Engine, Outcome, StatementKind, Witness } from '../model/events.ts';
import type { JournalAppender } from '../model/journal.ts';
import * as encode from './encode.ts';
import { formatProof, makeProof, verifyProof } from './proof.ts';
import { SimulatedDisk } from './simulated-disk.ts';

// Machines may be busy; nothing here measures time.
vi.setConfig({ testTimeout: 120_000 });

const AT = 1_700_000_000_000_000;
const started = new encode.StatementStartedRecord();
const finished = new encode.StatementFinishedRecord();

function openSession(journal: JournalAppender, session: Uint8Array, userName: string): void {
  encode.sessionOpened(journal, AT, session, {
    witness: Witness.PROXY,
    engine: Engine.POSTGRES,
    serverUid: 's',
    backendId: '77',
    backendStartedUs: 0,
    userUid: 'u',
    userName,
    databaseUid: 'd',
    databaseName: 'clinic',
    grantUid: '',
    controls: [],
    clientAddress: '10.0.0.1',
    clientPort: 1,
    tls: '',
    authentication: 'password',
    credentialUid: '',
    applicationName: 'psql',
    clientProtocol: '3.0',
    parameters: {},
    continued: false,
    openedUs: AT,
    parentSessionUid: encode.NO_BYTES,
    upstreamUser: 'app',
  });
}

function run(journal: JournalAppender, session: Uint8Array, ordinal: number, finish = true): void {
  started.reset();
  Object.assign(started, { ordinal, kind: StatementKind.EXECUTE, textRef: 1, decision: Decision.ALLOWED });
  encode.statementStarted(journal, AT, session, started);
  journal.flush();
  encode.resultChunk(journal, AT, session, ordinal, encode.NO_BYTES, 0, 0, Buffer.from('rows'), 0, 4, 1);
  journal.flush();
  if (!finish) return;
  finished.reset();
  const tag = Buffer.from('SELECT 1');
  Object.assign(finished, { ordinal, tag, tagEnd: tag.length, rows: 1, outcome: Outcome.COMPLETED });
  encode.statementFinished(journal, AT, session, finished);
  journal.flush();
}

function journalWith(key: Uint8Array | null): { disk: SimulatedDisk; session: string; publicKey: string } {
  const disk = new SimulatedDisk();
  const { appender, link, prepared, clock } = openSimulated(disk, { encryptionKey: key });
  const [mine, other] = [newUidBytes(clock), newUidBytes(clock)];
  openSession(appender, mine, 'ada');
  openSession(appender, other, 'eve');
  const sql = Buffer.from('select * from patients where id = $1');
  for (const session of [mine, other])
    encode.textDeclared(appender, AT, session, 1, sql, 0, sql.length, [23], 0, false);
  appender.flush();
  for (let ordinal = 1; ordinal <= 12; ordinal++) {
    run(appender, mine, ordinal);
    run(appender, other, ordinal);
  }
  run(appender, mine, 13, false);
  link.sealer.finish();
  run(appender, mine, 14);
  return { disk, session: uidFromBytes(mine), publicKey: prepared.signer.verifier.text };
}

for (const key of [null, Buffer.alloc(32, 3)])
  test(`a statement is proved with everything about it${key === null ? '' : ', encrypted'}`, () => {
    const { disk, session, publicKey } = journalWith(key);
    const proof = makeProof(FOLDER, { session, ordinal: 5 }, { disk, key });
    const verdict = verifyProof(formatProof(proof), publicKey);
    if (!verdict.valid) throw new Error(verdict.reason);
    expect(verdict.proved).toMatchObject({ statement: `${session}-5`, outcome: 'OUTCOME_COMPLETED' });
    expect(verdict.proved.events.map(({ event }) => event.body.case)).toEqual([
      'sessionOpened',
      'textDeclared',
      'statementStarted',
      'resultChunk',
      'statementFinished',
    ]);
    expect(JSON.stringify(proof.events)).toContain('ada');
    const running = makeProof(FOLDER, { session, ordinal: 13 }, { disk, key });
    expect(verifyProof(formatProof(running), publicKey)).toMatchObject({
      valid: true,
      proved: { outcome: '' },
    });
  });

test('what is not there, not signed yet or encrypted is said', () => {
  const { disk, session } = journalWith(Buffer.alloc(32, 3));
  const make = (ordinal: number, key: Uint8Array | null) => () =>
    makeProof(FOLDER, { session, ordinal }, { disk, key });
  const key = Buffer.alloc(32, 3);
  expect(make(99, key)).toThrow(expect.objectContaining({ code: 'JOURNAL_STATEMENT_NOT_FOUND' }));
  expect(make(14, key)).toThrow(expect.objectContaining({ code: 'JOURNAL_NOT_SIGNED_YET' }));
  expect(make(1, null)).toThrow(expect.objectContaining({ code: 'JOURNAL_ENCRYPTED' }));
});

test('a changed byte anywhere in the proof fails, and so does another key', () => {
  for (const key of [null, Buffer.alloc(32, 3)]) {
    const { disk, session, publicKey } = journalWith(key);
    const file = Buffer.from(formatProof(makeProof(FOLDER, { session, ordinal: 3 }, { disk, key })));
    expect(verifyProof(file, publicKey).valid).toBe(true);
    for (let at = 0; at < file.length; at++) {
      const before = file[at];
      file[at] = before ^ [1, 2, 4, 0x20, 0x80][at % 5];
      const verdict = verifyProof(file, publicKey);
      if (verdict.valid) throw new Error(`byte ${at} was changed from ${before} unnoticed`);
      file[at] = before;
    }
    for (const length of [0, 1, file.length - 1])
      expect(verifyProof(file.subarray(0, length), publicKey).valid).toBe(false);
    expect(verifyProof(Buffer.concat([file, Buffer.from(' ')]), publicKey).valid).toBe(false);
    const other = journalWith(null).publicKey;
    expect(verifyProof(file, other)).toMatchObject({ valid: false });
  }
});

test('a proof of one statement does not pass for another, nor with blocks taken out or put in', () => {
  const { disk, session, publicKey } = journalWith(null);
  const proof = makeProof(FOLDER, { session, ordinal: 3 }, { disk });
  const reject = (changed: object): string => {
    const verdict = verifyProof(formatProof({ ...proof, ...changed }), publicKey);
    return verdict.valid ? 'accepted' : verdict.reason;
  };
  expect(reject({ statement: `${session}-4` })).toContain('beginning');
  expect(reject({ blocks: proof.blocks.slice(0, -1) })).toContain('does not agree');
  const other = makeProof(FOLDER, { session, ordinal: 9 }, { disk });
  expect(reject({ blocks: [...proof.blocks, other.blocks.at(-1)] })).toContain('nothing of the statement');
  expect(reject({ blocks: [...proof.blocks].reverse() })).toContain('order');
  expect(reject({ checkpoint: other.checkpoint.replace('dbwitness', 'dbwitnesz') })).toContain('checkpoint');
});
