import { create } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { EventSchema, type Observation, ObservationSchema } from '../../model/events.ts';
import { eventJson, longLine, mysqldLine, postgresLine } from './probe-lines.ts';

const event = create(EventSchema, { origin: { backendId: '7' } });
const observation = (more: Partial<Observation> = {}): Observation =>
  create(ObservationSchema, {
    pid: 12_345,
    processName: 'mysqld',
    startedUs: 1_640_000_000_000_999n,
    durationUs: 1500n,
    sql: Buffer.from('SELECT 1'),
    sqlBytes: 8n,
    userName: 'joe',
    databaseName: 'db',
    clientAddress: '192.0.2.1',
    clientPort: 5000,
    rows: 1n,
    ...more,
  } as Parameters<typeof create<typeof ObservationSchema>>[1]);

describe('lines of the probe', () => {
  it.each([
    [
      {},
      'PID:12345, Comm:mysqld, Time:1640000000000, length:(8/8), return:DISPATCH_COMMAND_SUCCESS, Line:SELECT 1',
    ],
    [
      { returnValue: 1 },
      'PID:12345, Comm:mysqld, Time:1640000000000, length:(8/8), return:DISPATCH_COMMAND_CLOSE_CONNECTION, Line:SELECT 1',
    ],
    [
      { returnValue: 2 },
      'PID:12345, Comm:mysqld, Time:1640000000000, length:(8/8), return:DISPATCH_COMMAND_WOULDBLOCK, Line:SELECT 1',
    ],
    [
      { returnValue: -1 },
      'PID:12345, Comm:mysqld, Time:1640000000000, length:(8/8), return:DISPATCH_COMMAND_NOT_CAPTURED, Line:SELECT 1',
    ],
    [
      { returnValue: -2 },
      'PID:12345, Comm:mysqld, Time:1640000000000, length:(8/8), return:DISPATCH_COMMAND_V57_FAILED, Line:SELECT 1',
    ],
    [
      { cut: true, sqlBytes: 3_000_000n },
      'PID:12345, Comm:mysqld, Time:1640000000000, length:(8/3000000), return:DISPATCH_COMMAND_SUCCESS, Line:SELECT 1',
    ],
    [
      { sql: Buffer.from('SELECT\n\u001b[31m') },
      String.raw`PID:12345, Comm:mysqld, Time:1640000000000, length:(8/8), return:DISPATCH_COMMAND_SUCCESS, Line:SELECT\n\x1b[31m`,
    ],
  ])('of mysqld: %o', (more, line) => {
    expect(mysqldLine(false)(observation(more as Partial<Observation>), event)).toBe(line);
  });

  it('of postgres, with the text as hexadecimal where asked for', () => {
    const one = observation({ pid: 23_456, processName: 'postgres', sql: Buffer.from('SELECT version();') });
    expect(postgresLine(false)(one, event)).toBe(
      'PID: 23456, Comm: postgres, Time: 1640000000000, Query: SELECT version();',
    );
    expect(postgresLine(true)(one, event)).toBe(
      `PID: 23456, Comm: postgres, Time: 1640000000000, Query: ${Buffer.from('SELECT version();').toString('hex')}`,
    );
  });

  it('in the long form: who, from where, how long, with what outcome', () => {
    expect(longLine(false)(observation({ tag: 'SELECT 1', applicationName: 'app' }), event)).toBe(
      '2021-12-20T11:33:20.000Z joe@db 192.0.2.1:5000 (app) #7 1.5 ms SELECT 1: SELECT 1',
    );
    const failed = observation({
      error: { code: '42000', number: 1064, message: 'no' } as never,
      clientPort: 0,
      clientAddress: '[local]',
    });
    expect(longLine(false)(failed, event)).toBe(
      '2021-12-20T11:33:20.000Z joe@db [local] #7 1.5 ms 42000 1064 no: SELECT 1',
    );
  });

  it('in JSON: texts as texts', () => {
    const one = create(EventSchema, { body: { case: 'observation', value: observation() } });
    expect(eventJson(one)).toMatchObject({ observation: { sql: 'SELECT 1', pid: 12_345 } });
  });
});
