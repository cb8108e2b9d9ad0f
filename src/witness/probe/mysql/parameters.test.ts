/** What the real servers' tests do not send: long data, packets that were cut, statements from before our time. */
import { describe, expect, it } from 'vitest';
import { COM_STMT_EXECUTE, COM_STMT_SEND_LONG_DATA, ConnectionParameters } from './parameters.ts';

const LONG = 3;
const BLOB = 252;

/** COM_STMT_EXECUTE behind its command byte. `types` `null`: those of before. */
function execute(id: number, nulls: number, types: readonly number[] | null, ...values: number[]): Buffer {
  const sent = types === null ? [0] : [1, ...types.flatMap((type) => [type, 0])];
  return Buffer.from([id, 0, 0, 0, 0, 1, 0, 0, 0, nulls, ...sent, ...values]);
}

function longData(id: number, index: number, text: string): Buffer {
  return Buffer.concat([Buffer.of(id, 0, 0, 0, index, 0), Buffer.from(text)]);
}

const TEXT = Buffer.from("INSERT INTO t VALUES (?, ?) -- ? '?'");

describe('parameters of a prepared execution', () => {
  const taken = (parameters: ConnectionParameters, text = TEXT): string[] =>
    parameters
      .take(text)
      .map(({ type, value, isNull, bytes }) => `${type}:${isNull ? 'NULL' : value.toString()}:${bytes}`);
  const run = (parameters: ConnectionParameters, packet: Buffer, total = packet.length): string[] => {
    parameters.packet(COM_STMT_EXECUTE, packet, total);
    return taken(parameters);
  };

  it('are decoded with the types sent now or before, of each statement its own', () => {
    const parameters = new ConnectionParameters();
    expect(run(parameters, execute(1, 0, [LONG, BLOB], 7, 0, 0, 0, 2, 0x61, 0x62))).toEqual([
      '3:7:1',
      '252:ab:2',
    ]);
    expect(run(parameters, execute(1, 2, null, 8, 0, 0, 0))).toEqual(['3:8:1', '252:NULL:0']);
    expect(run(parameters, execute(2, 2, null, 8, 0, 0, 0))).toEqual([]);
    expect(run(parameters, execute(2, 1, [LONG, LONG], 9, 0, 0, 0))).toEqual(['3:NULL:0', '3:9:1']);
    expect(run(parameters, execute(1, 1, null, 1, 0x63))).toEqual(['3:NULL:0', '252:c:1']);
  });

  it('that came as long data are put in their place, once', () => {
    const parameters = new ConnectionParameters();
    parameters.packet(COM_STMT_SEND_LONG_DATA, longData(1, 1, 'long '), 6 + 5);
    parameters.packet(COM_STMT_SEND_LONG_DATA, longData(1, 1, 'data'), 6 + 100_000);
    expect(run(parameters, execute(1, 0, [LONG, BLOB], 7, 0, 0, 0))).toEqual([
      '3:7:1',
      '252:long data:100005',
    ]);
    expect(run(parameters, execute(1, 0, null, 7, 0, 0, 0, 1, 0x61))).toEqual(['3:7:1', '252:a:1']);
  });

  it('are left out where the packet was cut or is of another statement; its types are remembered', () => {
    const parameters = new ConnectionParameters();
    const whole = execute(1, 0, [LONG, BLOB], 7, 0, 0, 0, 2, 0x61, 0x62);
    expect(run(parameters, whole.subarray(0, -1), whole.length)).toEqual([]);
    expect(run(parameters, execute(1, 0, null, 7, 0, 0, 0, 1, 0x61))).toEqual(['3:7:1', '252:a:1']);
    parameters.packet(COM_STMT_EXECUTE, whole, whole.length);
    expect(taken(parameters, Buffer.from('SELECT ?'))).toEqual([]);
    parameters.packet(COM_STMT_EXECUTE, whole, whole.length);
    expect(taken(parameters, Buffer.from("INSERT INTO t VALUES (7, 'ab')"))).toEqual([]);
    expect(taken(parameters)).toEqual([]);
    for (let length = 0; length < whole.length; length++) run(parameters, whole.subarray(0, length));
  });
});
