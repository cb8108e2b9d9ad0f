import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ByteWriter } from '../base/bytes.ts';
import { Decision, EventSchema, Outcome, StatementKind } from '../model/events.ts';
import { scanBlock, type ScannedEvent, scanEvent, UNDECODABLE } from './event-scan.ts';

const SESSION = new Uint8Array(16).fill(0xc3);
type Body = NonNullable<MessageInitShape<typeof EventSchema>['body']>;

function scan(bytes: Uint8Array): ScannedEvent {
  const buffer = Buffer.from(bytes);
  return scanEvent(buffer, 0, buffer.length, 5, 2);
}

const bytes = fc.uint8Array({ maxLength: 300 });
const u32 = fc.nat(0xffffffff);
const u53 = fc.maxSafeNat().map(BigInt);
const startedBody = fc.record({
  ordinal: u32,
  kind: fc.constantFrom(StatementKind.SIMPLE, StatementKind.EXECUTE, StatementKind.UNSPECIFIED),
  sql: bytes,
  textRef: u32,
  parameters: fc.array(fc.record({ type: u32, value: bytes, null: fc.boolean() }), { maxLength: 5 }),
  bind: bytes,
  parameterTypes: fc.array(u32, { maxLength: 10 }),
  parameterBytes: u53,
  redacted: fc.boolean(),
  sqlBytes: u53,
  decision: fc.constantFrom(Decision.ALLOWED, Decision.DENIED, Decision.HELD),
  decisionReason: fc.string(),
  preparedName: fc.string(),
  transactionStatus: fc.constantFrom(
    ...['I', 'T', 'E', ''].map((status) => new Uint8Array(Buffer.from(status))),
  ),
  maxRows: u32,
});
const finishedBody = fc.record({
  ordinal: u32,
  tag: fc.string(),
  rows: u53,
  bytes: u53,
  durationUs: u53,
  firstRowUs: u53,
  error: fc.option(
    fc.record({
      severity: fc.string(),
      code: fc.string(),
      message: fc.string(),
      detail: fc.string(),
      number: u32,
    }),
    { nil: undefined },
  ),
  transactionStatus: bytes,
  xid: u53,
  result: fc.option(fc.record({ description: bytes, rows: bytes, rowCount: u53 }), { nil: undefined }),
  truncated: fc.boolean(),
  outcome: fc.constantFrom(Outcome.COMPLETED, Outcome.FAILED, Outcome.REFUSED, Outcome.UNKNOWN),
  actualSql: bytes,
  affectedRows: u53,
  notices: fc.array(fc.string(), { maxLength: 3 }),
});

describe('scanned events', () => {
  const roundTrip = (atUs: bigint, body: Body): ScannedEvent =>
    scan(toBinary(EventSchema, create(EventSchema, { atUs, sessionUid: SESSION, body })));

  it('have the fields of StatementStarted that the generated code has', () => {
    fc.assert(
      fc.property(u53, startedBody, (atUs, value) => {
        const event = roundTrip(atUs, { case: 'statementStarted', value });
        expect([event.seq, event.block, event.atUs, event.session]).toEqual([
          5,
          2,
          Number(atUs),
          '\xc3'.repeat(16),
        ]);
        const started = event.started!;
        expect(started).toMatchObject({
          ordinal: value.ordinal,
          kind: value.kind,
          textRef: value.textRef,
          redacted: value.redacted,
          decision: value.decision,
          transactionStatus: value.transactionStatus[0] ?? 0,
        });
        expect(Buffer.compare(started.sql, value.sql)).toBe(0);
        expect(Buffer.compare(started.bind ?? Buffer.alloc(0), value.bind)).toBe(0);
        expect(started.parameterTypes ?? []).toEqual(value.parameterTypes);
        expect(started.parameters?.length ?? 0).toBe(value.parameters.length);
      }),
    );
  });

  it('have the fields of StatementFinished that the generated code has', () => {
    fc.assert(
      fc.property(finishedBody, (value) => {
        const finished = roundTrip(1n, { case: 'statementFinished', value }).finished!;
        expect(finished).toMatchObject({
          ordinal: value.ordinal,
          rows: Number(value.rows),
          bytes: Number(value.bytes),
          durationUs: Number(value.durationUs),
          firstRowUs: Number(value.firstRowUs),
          failed: value.error !== undefined,
          xid: Number(value.xid),
          truncated: value.truncated,
          outcome: value.outcome,
          errorNumber: value.error?.number ?? 0,
        });
        expect(finished.tag.toString()).toBe(value.tag);
        expect(finished.errorCode.toString()).toBe(value.error?.code ?? '');
        expect(finished.errorMessage.toString()).toBe(value.error?.message ?? '');
        expect(Buffer.compare(finished.actualSql, value.actualSql)).toBe(0);
      }),
    );
  });

  it('have the fields of TextDeclared, types packed or not', () => {
    const event = roundTrip(1n, {
      case: 'textDeclared',
      value: { ref: 300, sql: Buffer.from('x'), parameterTypes: [23, 70_000], redacted: true, offset: 9n },
    });
    expect(event.text).toEqual({
      ref: 300,
      sql: Buffer.from('x'),
      parameterTypes: [23, 70_000],
      redacted: true,
      offset: 9,
    });
    const unpacked = new ByteWriter();
    unpacked.bytesField(2, SESSION);
    const mark = unpacked.beginMessage(13);
    unpacked.uintField(3, 23);
    unpacked.uintField(3, 70_000);
    unpacked.endMessage(mark);
    expect(scan(unpacked.copy()).text?.parameterTypes).toEqual([23, 70_000]);
  });

  it('come one by one out of a block, from a position on', () => {
    const payload = new ByteWriter();
    for (let i = 0; i < 4; i++) {
      const one = toBinary(
        EventSchema,
        create(EventSchema, { atUs: BigInt(i), body: { case: 'gap', value: {} } }),
      );
      payload.varint(one.length);
      payload.raw(one);
    }
    const seen: number[] = [];
    const block = { index: 1, firstSeq: 10, count: 4, lastUs: 3, payload: payload.copy() };
    expect(scanBlock(block, 12, (event) => seen.push(event.seq, event.atUs))).toBe(4);
    expect(seen).toEqual([12, 2, 13, 3]);
    const cut = { ...block, payload: payload.copy().subarray(0, -1) };
    expect(() => scanBlock(cut, 0, () => undefined)).toThrow(expect.objectContaining({ kind: 'corrupt' }));
  });

  it('are undecodable, and nothing worse, when their bytes make no sense', () => {
    const whole = toBinary(
      EventSchema,
      create(EventSchema, {
        atUs: 1n,
        sessionUid: SESSION,
        body: { case: 'statementStarted', value: { ordinal: 1 } },
      }),
    );
    expect(scan(whole.subarray(0, -1)).body).toBe(UNDECODABLE);
    const orphan = create(EventSchema, { body: { case: 'statementStarted', value: { ordinal: 1 } } });
    expect(scan(toBinary(EventSchema, orphan)).body).toBe(UNDECODABLE);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (noise) => {
        const event = scan(noise);
        if (event.body === UNDECODABLE || event.body === 0) return;
        // What is taken must be readable by the generated code too, but for what the store does not look into.
        if (event.started ?? event.finished ?? event.text)
          expect(() => fromBinary(EventSchema, noise)).not.toThrow(RangeError);
      }),
    );
  });
});
