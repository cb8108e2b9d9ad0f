import { create, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isAppError } from '../../base/errors.ts';
import { Engine, EventSchema, Gap_Reason, ObservedSession_Kind, Witness } from '../../model/events.ts';
import { EventWriter, ObservationRecord, SessionBytes } from './event-writer.ts';
import { checkBatch } from './handover.ts';

const session = new SessionBytes({
  engine: Engine.POSTGRES,
  serverUid: 'uid',
  backendId: '1',
  backendStartedUs: 5,
  database: 'd',
  user: 'u',
  address: 'a',
  port: 1,
  serverAddress: '',
  serverPort: 0,
  application: '',
  pid: 1,
  processName: 'p',
});

function framed(...events: Uint8Array[]): Buffer {
  return Buffer.concat(
    events.flatMap((event) => {
      const length = Buffer.alloc(4);
      length.writeUInt32LE(event.length);
      return [length, event];
    }),
  );
}

type Init = Parameters<typeof create<typeof EventSchema>>[1];
const encode = (event: Init): Uint8Array => toBinary(EventSchema, create(EventSchema, event));

describe('a batch', () => {
  it('of everything that a probe says is taken', () => {
    const writer = new EventWriter();
    const record = new ObservationRecord();
    record.sql = Buffer.from('SELECT 1');
    record.returnValue = -1;
    writer.observation(session, record);
    writer.session(1, session, ObservedSession_Kind.OPENED);
    writer.loginFailed(1, session, 'no');
    writer.transactionEnded(1, session, 7, 8, false, 9);
    writer.server(
      1,
      {
        engine: Engine.POSTGRES,
        serverUid: 'u',
        program: 'p',
        version: '',
        buildId: '',
        systemIdentifier: '',
        pid: 1,
        dataDirectory: '',
        container: '',
      },
      false,
    );
    writer.gap(1, 2, Gap_Reason.RING_OVERFLOW, 4, 'lost');
    expect(checkBatch(Buffer.from(writer.take()))).toBe(6);
  });

  it.each<[string, Init]>([
    ['a control change', { atUs: 1n, body: { case: 'controlChange', value: { action: 'create' } } }],
    ['a session of the proxy', { atUs: 1n, body: { case: 'sessionOpened', value: {} } }],
    [
      'a statement of a session',
      { atUs: 1n, sessionUid: new Uint8Array(16), body: { case: 'statementStarted', value: {} } },
    ],
    [
      'an observation in somebody’s session',
      { atUs: 1n, sessionUid: new Uint8Array(16), body: { case: 'observation', value: {} } },
    ],
    [
      'an observation of another witness',
      { atUs: 1n, origin: { witness: Witness.PROXY }, body: { case: 'observation', value: {} } },
    ],
    [
      'a log-in failure of the proxy',
      { atUs: 1n, body: { case: 'loginFailed', value: { origin: { witness: Witness.PROXY } } } },
    ],
    ['a log-in failure of nobody', { atUs: 1n, body: { case: 'loginFailed', value: { userName: 'x' } } }],
    ['a gap of the journal', { atUs: 1n, body: { case: 'gap', value: { witness: Witness.CONTROL } } }],
    ['a row change', { atUs: 1n, body: { case: 'rowChange', value: {} } }],
    ['nothing', { atUs: 1n }],
  ])('with %s is refused', (_what, event) => {
    expect(() => checkBatch(framed(encode(event)))).toThrow(
      expect.objectContaining({ code: 'PROBE_FORGED' }) as Error,
    );
  });

  it('with an event that the journal could not take is refused', () => {
    const event = encode({
      atUs: 1n,
      origin: { witness: Witness.PROBE },
      body: { case: 'observation', value: { sql: new Uint8Array(1_200_000) } },
    });
    expect(() => checkBatch(framed(event))).toThrow(/an event of 1200/);
  });

  it('of any bytes is taken or refused, and nothing else', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        for (const batch of [Buffer.from(bytes), framed(bytes)]) {
          try {
            checkBatch(batch);
          } catch (error) {
            expect(isAppError(error)).toBe(true);
          }
        }
      }),
    );
  });
});
