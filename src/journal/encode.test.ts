import { create, equals, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import {
  Engine,
  EventSchema,
  Outcome,
  SessionClosed_Reason,
  StatementKind,
  Decision,
  Witness,
} from '../model/events.ts';
import { Appender, type SealerLink } from './appender.ts';
import type { DiskFile } from './disk.ts';
import * as encode from './encode.ts';
import { BLOCK_HEADER_BYTES, countEvents } from './format.ts';

// Machines may be busy; nothing here measures time.
vi.setConfig({ testTimeout: 120_000 });

/** An appender whose file keeps what was written, and the events in it. */
function recorder(): { journal: Appender; events: () => Buffer[] } {
  const chunks: Buffer[] = [];
  const file: DiskFile = {
    read: () => 0,
    write: (from, offset, length) => {
      chunks.push(Buffer.from(from.subarray(offset, offset + length)));
      return length;
    },
    size: () => 0,
    datasync: () => {},
    truncate: () => {},
    close: () => {},
  };
  const sealer: SealerLink = {
    wake: () => {},
    hurry: () => {},
    durable: 0,
    failure: '',
    onChange: () => {},
    close: async () => {},
  };
  const journal = new Appender({
    folder: '/j',
    clock: new ManualClock(),
    makeSegment: (number) => ({ file, number, cipher: null }),
    sealer,
    segmentNumber: 0,
    nextBlock: 0,
    nextSeq: 0,
    segmentBytes: 1e9,
    maxUnwrittenBytes: 1e9,
    retryMs: 0,
    release: () => {},
  });
  return {
    journal,
    events: () => {
      expect(journal.flush()).toBe(true);
      return chunks.splice(0).flatMap((block) => {
        expect(countEvents(block, BLOCK_HEADER_BYTES, block.length)).toBeGreaterThan(0);
        return split(block.subarray(BLOCK_HEADER_BYTES));
      });
    },
  };
}

function split(payload: Buffer): Buffer[] {
  const found: Buffer[] = [];
  for (let at = 0; at < payload.length; ) {
    let size = 0;
    let shift = 0;
    let byte: number;
    do {
      byte = payload[at++];
      size += (byte & 0x7f) * 2 ** shift;
      shift += 7;
    } while (byte >= 0x80);
    found.push(payload.subarray(at, at + size));
    at += size;
  }
  return found;
}

const session = Uint8Array.from({ length: 16 }, (_, i) => i * 16 + 1);
const AT = 1_700_000_000_123_456;

function same(bytes: Buffer, body: NonNullable<MessageInitShape<typeof EventSchema>['body']>): void {
  const expected = create(EventSchema, { atUs: BigInt(AT), sessionUid: session, body });
  const generated = toBinary(EventSchema, expected);
  if (!bytes.equals(generated)) expect(bytes.toString('hex')).toBe(Buffer.from(generated).toString('hex'));
  expect(equals(EventSchema, fromBinary(EventSchema, bytes), expected)).toBe(true);
}

const { journal, events } = recorder();
const one = (): Buffer => {
  const found = events();
  expect(found).toHaveLength(1);
  return found[0];
};

const uint = fc.oneof(fc.constant(0), fc.nat({ max: 300 }), fc.maxSafeNat());
const uint32 = fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xffffffff }));
const words = fc.oneof(
  fc.string({ maxLength: 20 }),
  fc.string({ unit: 'grapheme', maxLength: 200 }),
  fc.constant('x'.repeat(127)),
  fc.constant('é'.repeat(64)),
  fc.constant('z'.repeat(20_000)),
);
const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 40 }),
  fc.uint8Array({ minLength: 100, maxLength: 160 }),
  fc.nat({ max: 20_000 }).map((size) => new Uint8Array(size).fill(7)),
);
/** A slice in the middle of a larger buffer. */
const slice = bytes.map((inner) => {
  const outer = Buffer.concat([Buffer.from('before'), inner, Buffer.from('after')]);
  return { outer, start: 6, end: 6 + inner.length, inner };
});
const map = fc.dictionary(fc.string({ maxLength: 5 }), words, { maxKeys: 4, noNullPrototype: true });

test('SessionOpened', () => {
  fc.assert(
    fc.property(
      fc.record({
        witness: fc.constantFrom(Witness.PROXY, Witness.UNSPECIFIED),
        engine: fc.constantFrom(Engine.POSTGRES, Engine.UNSPECIFIED),
        serverUid: words,
        backendId: words,
        backendStartedUs: uint,
        userUid: words,
        userName: words,
        databaseUid: words,
        databaseName: words,
        grantUid: words,
        controls: fc.array(words, { maxLength: 4 }),
        clientAddress: words,
        clientPort: uint32,
        tls: words,
        authentication: words,
        credentialUid: words,
        applicationName: words,
        clientProtocol: words,
        parameters: map,
        continued: fc.boolean(),
        openedUs: uint,
        parentSessionUid: bytes,
        upstreamUser: words,
      }),
      (fields) => {
        encode.sessionOpened(journal, AT, session, fields);
        const { witness, engine, serverUid, backendId, backendStartedUs, openedUs, ...rest } = fields;
        same(one(), {
          case: 'sessionOpened',
          value: {
            ...rest,
            openedUs: BigInt(openedUs),
            origin: { witness, engine, serverUid, backendId, backendStartedUs: BigInt(backendStartedUs) },
          },
        });
      },
    ),
  );
});

test('SessionClosed', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(SessionClosed_Reason.UNSPECIFIED, SessionClosed_Reason.KILLED),
      words,
      uint,
      uint,
      uint,
      (reason, detail, statements, bytesIn, bytesOut) => {
        encode.sessionClosed(journal, AT, session, reason, detail, statements, bytesIn, bytesOut);
        same(one(), {
          case: 'sessionClosed',
          value: {
            reason,
            detail,
            statements: BigInt(statements),
            bytesIn: BigInt(bytesIn),
            bytesOut: BigInt(bytesOut),
          },
        });
      },
    ),
  );
});

test('TextDeclared', () => {
  fc.assert(
    fc.property(
      uint32,
      slice,
      fc.array(uint32),
      uint,
      fc.boolean(),
      (ref, sql, types, sqlBytes, redacted) => {
        encode.textDeclared(
          journal,
          AT,
          session,
          ref,
          sql.outer,
          sql.start,
          sql.end,
          types,
          sqlBytes,
          redacted,
        );
        same(one(), {
          case: 'textDeclared',
          value: { ref, sql: sql.inner, parameterTypes: types, sqlBytes: BigInt(sqlBytes), redacted },
        });
      },
    ),
  );
});

test('StatementStarted', () => {
  const record = new encode.StatementStartedRecord();
  fc.assert(
    fc.property(
      fc.record({
        ordinal: uint32,
        kind: fc.constantFrom(StatementKind.SIMPLE, StatementKind.EXECUTE, StatementKind.UNSPECIFIED),
        textRef: uint32,
        parameterTypes: fc.array(uint32),
        redacted: fc.boolean(),
        decision: fc.constantFrom(Decision.ALLOWED, Decision.DENIED),
        decisionReason: words,
        preparedName: words,
        portalName: words,
        maxRows: uint32,
      }),
      slice,
      slice,
      uint,
      uint,
      fc.constantFrom(0, 0x49, 0x54, 0x45),
      (plain, sql, bind, parameterBytes, sqlBytes, transactionStatus) => {
        record.reset();
        Object.assign(record, plain, {
          sql: sql.outer,
          sqlStart: sql.start,
          sqlEnd: sql.end,
          bind: bind.outer,
          bindStart: bind.start,
          bindEnd: bind.end,
          parameterBytes,
          sqlBytes,
          transactionStatus,
        });
        encode.statementStarted(journal, AT, session, record);
        same(one(), {
          case: 'statementStarted',
          value: {
            ...plain,
            sql: sql.inner,
            bind: bind.inner,
            parameterBytes: BigInt(parameterBytes),
            sqlBytes: BigInt(sqlBytes),
            transactionStatus: new Uint8Array(transactionStatus === 0 ? [] : [transactionStatus]),
          },
        });
      },
    ),
  );
  record.reset();
  expect(record).toEqual(new encode.StatementStartedRecord());
});

const error = fc.record({
  severity: words,
  code: words,
  message: words,
  detail: words,
  hint: words,
  position: uint32,
  number: uint32,
  fields: map,
});

test('StatementFinished', () => {
  const record = new encode.StatementFinishedRecord();
  fc.assert(
    fc.property(
      fc.record({
        ordinal: uint32,
        truncated: fc.boolean(),
        outcome: fc.constantFrom(Outcome.COMPLETED, Outcome.FAILED),
        actualSql: bytes,
        warnings: uint32,
        suspended: fc.boolean(),
        gtid: words,
        notices: fc.array(words, { maxLength: 3 }),
      }),
      fc.record({
        rows: uint,
        bytes: uint,
        durationUs: uint,
        firstRowUs: uint,
        xid: uint,
        affectedRows: uint,
        lastInsertId: uint,
      }),
      fc.option(error),
      fc.constantFrom('', 'SELECT 1', 'INSERT 0 1'),
      fc.option(fc.tuple(slice, slice, uint)),
      fc.constantFrom(0, 0x49),
      (plain, numbers, failed, tag, result, transactionStatus) => {
        record.reset();
        const tagBytes = Buffer.from(`C${tag}\0`);
        Object.assign(record, plain, numbers, {
          error: failed,
          tag: tagBytes,
          tagStart: 1,
          tagEnd: 1 + tag.length,
          transactionStatus,
        });
        if (result !== null) {
          const [description, rows, count] = result;
          record.description = description.outer;
          record.descriptionStart = description.start;
          record.descriptionEnd = description.end;
          record.resultRows = rows.outer;
          record.resultRowsStart = rows.start;
          record.resultRowsEnd = rows.end;
          record.resultRowCount = count;
        }
        encode.statementFinished(journal, AT, session, record);
        const empty =
          result === null || (result[0].inner.length + result[1].inner.length === 0 && result[2] === 0);
        same(one(), {
          case: 'statementFinished',
          value: {
            ...plain,
            ...(Object.fromEntries(Object.entries(numbers).map(([k, v]) => [k, BigInt(v)])) as object),
            tag,
            ...(failed === null ? {} : { error: failed }),
            ...(empty
              ? {}
              : {
                  result: {
                    description: result[0].inner,
                    rows: result[1].inner,
                    rowCount: BigInt(result[2]),
                  },
                }),
            transactionStatus: new Uint8Array(transactionStatus === 0 ? [] : [transactionStatus]),
          },
        });
      },
    ),
  );
  record.reset();
  expect(record).toEqual(new encode.StatementFinishedRecord());
});

test('ResultChunk and CopyChunk', () => {
  fc.assert(
    fc.property(
      uint32,
      slice,
      slice,
      fc.integer({ min: 1 }),
      fc.boolean(),
      (ordinal, a, b, count, fromClient) => {
        encode.resultChunk(
          journal,
          AT,
          session,
          ordinal,
          a.outer,
          a.start,
          a.end,
          b.outer,
          b.start,
          b.end,
          count,
        );
        same(one(), {
          case: 'resultChunk',
          value: { ordinal, result: { description: a.inner, rows: b.inner, rowCount: BigInt(count) } },
        });
        encode.copyChunk(journal, AT, session, ordinal, fromClient, a.outer, a.start, a.end);
        same(one(), { case: 'copyChunk', value: { ordinal, fromClient, data: a.inner } });
      },
    ),
  );
});

test('several events of one flush keep their order and positions; an encoder that throws leaves nothing', () => {
  const first = encode.sessionClosed(journal, AT, session, 1, 'a', 0, 0, 0);
  journal.beginEvent(AT, session).u8(99); // never ended
  const second = encode.sessionClosed(journal, AT, session, 2, 'b', 0, 0, 0);
  const third = encode.appendEvent(journal, {
    atUs: 5n,
    body: { case: 'serverMessage', value: { text: 'c' } },
  });
  journal.beginEvent(AT, null).u8(99); // never ended
  expect([second, third, journal.nextSeq]).toEqual([first + 1, first + 2, first + 3]);
  const found = events().map((event) => fromBinary(EventSchema, event));
  expect(found.map((event) => event.body.case)).toEqual(['sessionClosed', 'sessionClosed', 'serverMessage']);
  expect(found[2].atUs).toBe(5n);
});
